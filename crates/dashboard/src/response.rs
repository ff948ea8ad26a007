//! How answers are written, and with which headers: a page may load nothing and send nothing anywhere but here.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION};
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What pages may do: nothing that is not listed, and the script writes no HTML but by its one policy.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types dashboard";

/// On every answer.
const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// An answer that no browser keeps.
pub fn fresh(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// A page.
pub fn page(status: StatusCode, html: impl Into<Bytes>) -> Response<Body> {
    fresh(status, "text/html; charset=utf-8", full(html))
}

/// JSON for the script.
pub fn json(text: impl Into<Bytes>) -> Response<Body> {
    fresh(StatusCode::OK, "application/json", full(text))
}

/// Sends the browser to another page, from where it is: what is before `/ui/` is a proxy's affair.
pub fn see_other(place: &str) -> Response<Body> {
    let mut response = fresh(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", full(""));
    // what pages send somebody to is encoded, or begins with a page's name
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

/// A file whose name changes with its content.
pub fn asset(content_type: &'static str, bytes: &'static [u8]) -> Response<Body> {
    let mut response = fresh(StatusCode::OK, content_type, full(bytes));
    let for_a_year = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, for_a_year);
    response
}

/// Events, one after the other, as they come (Server-Sent Events). No proxy is to collect them.
pub fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let body = StreamBody::new(events.map(|event| Ok(Frame::data(event)))).boxed_unsync();
    let mut response = fresh(StatusCode::OK, "text/event-stream", body);
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// A body that is at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}
