//! [`Client::forward`]: requests of somebody else, such as an action's, sent on with this client's login.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};

use super::{Call, Client, Login};
use crate::error::Error;
use crate::lease::{ENTRY_HEADER, EXECUTOR_HEADER, JOB_HEADER, LEASE_HEADER};

/// Ends the names of the headers by which a trusted peer says who asks (specification 2.4).
const AUTHN_INFO: &str = "-authn-info";
/// Where logins go.
const LOGINS: &str = "/api/session";
/// What concerns one connection alone (RFC 9110, 7.6.1), and what follows from the body, which is at hand.
const OF_THE_CONNECTION: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// The same, of names that have no constant.
const ALSO_OF_THE_CONNECTION: [&str; 2] = ["keep-alive", "proxy-connection"];

impl Client {
    /// Sends a request under `/api` on and answers what the server answers, whatever its status: with this client's login,
    /// once more after a new one if it is answered 401 or 403, and with the attempt's headers, which nobody else sets.
    ///
    /// A request that brings its own credentials ([`has_own_login`]) goes on with them and without this client's. It alone
    /// sees the cookies of its answer, as ones that may be sent back without TLS and to the host that the sender knows.
    ///
    /// Errors: no answer, or this client cannot log in; then [`Error::request`] is not this request.
    pub async fn forward(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        let login = if has_own_login(&request) { Login::Senders } else { Login::Lent };
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut headers = head.headers;
        for name in [LEASE_HEADER, JOB_HEADER, ENTRY_HEADER, EXECUTOR_HEADER] {
            headers.remove(name);
        }
        remove_those_of_the_connection(&mut headers);
        let mut answer = self.exchange(&Call { method: head.method, path, headers, body, values: None, login }).await?;
        remove_those_of_the_connection(answer.headers_mut());
        keep_cookies(answer.headers_mut(), login == Login::Senders);
        Ok(answer)
    }
}

/// Whether a request says itself who asks: by a cookie, `Authorization`, a header such as `nuvla-authn-info`, or by being
/// a login.
#[must_use]
pub fn has_own_login<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    headers.contains_key(COOKIE)
        || headers.contains_key(AUTHORIZATION)
        || headers.keys().any(|name| name.as_str().ends_with(AUTHN_INFO))
        || is_login(request)
}

/// Whether a request is a login.
#[must_use]
pub fn is_login<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.uri().path().trim_end_matches('/') == LOGINS
}

fn remove_those_of_the_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_THE_CONNECTION) {
        headers.remove(name);
    }
    for name in ALSO_OF_THE_CONNECTION {
        headers.remove(name);
    }
}

/// Takes the cookies out of an answer, or makes them such that whoever logged in over a socket sends them back: an action
/// that is logged in as somebody must not go on as the executor.
fn keep_cookies(headers: &mut HeaderMap, is_senders: bool) {
    let cookies: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().filter_map(without_tls_and_domain).collect();
    headers.remove(SET_COOKIE);
    if is_senders {
        headers.extend(cookies.into_iter().map(|cookie| (SET_COOKIE, cookie)));
    }
}

/// The text as it is, but for two attributes.
fn without_tls_and_domain(cookie: &HeaderValue) -> Option<HeaderValue> {
    let text = cookie.to_str().ok()?;
    let is_kept = |attribute: &&str| {
        let name = attribute.split('=').next().unwrap_or_default().trim();
        !name.eq_ignore_ascii_case("secure") && !name.eq_ignore_ascii_case("domain")
    };
    let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
    let kept: Vec<&str> = [pair].into_iter().chain(attributes.split(';').filter(is_kept)).collect();
    HeaderValue::from_str(kept.join(";").trim_end_matches(';')).ok()
}

#[cfg(test)]
mod tests;
