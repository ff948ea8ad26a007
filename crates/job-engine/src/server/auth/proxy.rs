//! [`Origin`]: where a request comes from, and whom a trusted proxy vouches for (specification 2.4).

use std::net::IpAddr;

use http::uri::Authority;
use http::{Extensions, HeaderMap, Version, header};
use ipnet::IpNet;

use super::caller::Caller;
use crate::server::error::ApiError;

/// `user role*`: whom a trusted proxy vouches for.
const AUTHN_HEADER: &str = "slipstream-authn-info";
/// The address of a trusted proxy's client.
const CLIENT_HEADER: &str = "x-real-ip";

/// Characters of what a program calls itself.
const LONGEST_PROGRAM: usize = 250;

/// Who is at the other end of a connection; an extension of every request that came through a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    address: IpAddr,
    is_trusted: bool,
}

impl Peer {
    /// The peer of this address, believed if it is within one of `trusted`. An IPv4 address that is mapped into IPv6
    /// is the IPv4 address.
    #[must_use]
    pub fn new(address: IpAddr, trusted: &[IpNet]) -> Self {
        let address = address.to_canonical();
        Self { address, is_trusted: trusted.iter().any(|network| network.contains(&address)) }
    }

    /// Whether this connection is this machine's own. That of a trusted proxy is anybody's.
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        self.address.is_loopback() && !self.is_trusted
    }
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    peer: Option<Peer>,
    /// The address of whoever asks, before a trusted proxy; none in this process.
    pub client: Option<IpAddr>,
    /// Whether somebody on this machine asks. Never a proxy's client, whatever its address is said to be: the proxy may
    /// be on another machine, or hand on what its client wrote.
    pub is_local: bool,
    /// Whether a trusted proxy says that its client speaks HTTPS.
    pub is_https: bool,
    /// The program that asks, as it says itself: see [`program`]. Only of a login.
    pub program: Option<String>,
}

impl Origin {
    /// This process.
    pub const HERE: Self = Self { peer: None, client: None, is_local: true, is_https: false, program: None };

    /// Reads the peer, and what a trusted one says of its own client.
    #[must_use]
    pub fn of(extensions: &Extensions, headers: &HeaderMap) -> Self {
        let peer = extensions.get::<Peer>().copied();
        let said =
            || -> Option<IpAddr> { Some(only(headers, CLIENT_HEADER)?.trim().parse::<IpAddr>().ok()?.to_canonical()) };
        let client = match peer {
            Some(Peer { address, is_trusted: true }) => Some(said().unwrap_or(address)),
            Some(Peer { address, is_trusted: false }) => Some(address),
            None => None,
        };
        let is_local = peer
            .is_none_or(|peer| peer.address.is_loopback() && !(peer.is_trusted && headers.contains_key(CLIENT_HEADER)));
        let is_trusted = peer.is_some_and(|peer| peer.is_trusted);
        let is_https = is_trusted && forwarded_scheme(headers) == Some("https");
        Self { peer, client, is_local, is_https, program: None }
    }

    /// By what names the server was asked: that of the request, and what a trusted proxy says that it was.
    #[must_use]
    pub fn hosts(&self, headers: &HeaderMap) -> Vec<String> {
        let asked = only(headers, header::HOST.as_str()).and_then(host).map(str::to_owned);
        let is_trusted = self.peer.is_some_and(|peer| peer.is_trusted);
        asked.into_iter().chain(forwarded_host(headers).filter(|_| is_trusted)).collect()
    }

    /// Refuses what came over a connection and names no host, several, or what is none (RFC 9112, 3.2).
    pub fn check_host(&self, version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let is_good = match (hosts.next(), hosts.next()) {
            _ if self.peer.is_none() => true,
            (None, _) => version <= Version::HTTP_10,
            (Some(one), None) => one.is_empty() || one.to_str().ok().and_then(host).is_some(),
            (Some(_), Some(_)) => false,
        };
        if is_good { Ok(()) } else { Err(ApiError::bad_request("a request needs one header Host that names a host")) }
    }

    /// Whom a trusted peer vouches for. A header from anybody else, one that is sent twice or that names nobody is none.
    #[must_use]
    pub fn vouched(&self, headers: &HeaderMap) -> Option<Caller> {
        if !self.peer.is_some_and(|peer| peer.is_trusted) {
            return None;
        }
        let mut words = only(headers, AUTHN_HEADER)?.split_ascii_whitespace().map(str::to_owned);
        let name = words.next()?;
        let mut roles: Vec<String> = words.collect();
        let session = roles.iter().find(|role| role.starts_with("session/")).cloned();
        if !roles.iter().any(|role| role == "ANON") {
            roles.push("ANON".to_owned());
        }
        Some(Caller::User { name, roles, session })
    }
}

/// The program that sends a request, as it says itself, cut to a length at which it harms nobody.
#[must_use]
pub fn program(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.chars().take(LONGEST_PROGRAM).collect())
}

/// The scheme that a proxy's client spoke, if the header says one of HTTP's.
#[must_use]
pub fn forwarded_scheme(headers: &HeaderMap) -> Option<&str> {
    only(headers, "x-forwarded-proto").filter(|scheme| matches!(*scheme, "http" | "https"))
}

/// The host that a proxy's client asked, with the port if there is a header for it.
#[must_use]
pub fn forwarded_host(headers: &HeaderMap) -> Option<String> {
    let name = only(headers, "x-forwarded-host").and_then(host)?;
    let port = only(headers, "x-forwarded-port").and_then(|port| port.parse::<u16>().ok());
    Some(port.map_or_else(|| name.to_owned(), |port| format!("{name}:{port}")))
}

/// The text if it is a host, with or without a port.
#[must_use]
pub fn host(text: &str) -> Option<&str> {
    let authority: Authority = text.parse().ok()?;
    let port = text.strip_prefix(authority.host())?;
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (is_port && !authority.host().is_empty()).then_some(text)
}

/// The header's one value, if it has one and it is text.
fn only<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests;
