//! [`Origin`]: where a request comes from, and whom a trusted proxy vouches for (specification 2.4).

use std::net::IpAddr;

use http::{Extensions, HeaderMap};
use ipnet::{IpNet, Ipv4Net};

use super::access::Caller;

/// `user role*`: whom a trusted proxy vouches for.
const AUTHN_HEADER: &str = "slipstream-authn-info";
/// The address of a trusted proxy's client.
const CLIENT_HEADER: &str = "x-real-ip";
/// Bits of an IPv6 address before an IPv4 address that is mapped into it.
const MAPPED_BITS: u8 = 96;

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
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    peer: Option<Peer>,
    client: Option<IpAddr>,
    is_local: bool,
}

impl Origin {
    /// This process.
    pub const HERE: Self = Self { peer: None, client: None, is_local: true };

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
        Self { peer, client, is_local }
    }

    /// The address of whoever asks, before a trusted proxy; none in this process.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Whether somebody on this machine asks. Never a proxy's client, whatever its address is said to be: the proxy may
    /// be on another machine, or hand on what its client wrote.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
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

/// The header's one value, if it has one and it is text.
fn only<'headers>(headers: &'headers HeaderMap, name: &str) -> Option<&'headers str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Reads a network in CIDR notation, or one address.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network =
        network.map_err(|_| "expected a network such as 10.1.0.0/16 or fd00::/8, or an address".to_owned())?;
    let mapped = match network {
        IpNet::V6(network) if network.prefix_len() >= MAPPED_BITS => {
            network.addr().to_ipv4_mapped().map(|address| (address, network.prefix_len() - MAPPED_BITS))
        }
        _ => None,
    };
    let Some((address, length)) = mapped else { return Ok(network) };
    Ipv4Net::new(address, length).map(IpNet::V4).map_err(|error| error.to_string())
}

#[cfg(test)]
#[path = "peer_tests.rs"]
mod tests;
