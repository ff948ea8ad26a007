//! What of a request is read before it is sent on: for whom it is, what it asks for, and its body within limits.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use slipstream_cimi::filter::MAXIMUM_LENGTH;

use super::answers;

/// Longest body in bytes, as the server has it.
pub(super) const BODY_LIMIT: usize = 1024 * 1024;
/// Longest form in bytes, as the server has it: each byte of the longest filter may be sent as three.
const FORM_LIMIT: usize = 3 * MAXIMUM_LENGTH + BODY_LIMIT;
/// Longest wait for a body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The token that a request names: the host of its target if that is in absolute form, as proxies are asked (RFC 9112,
/// 3.2.2), else of its header.
pub(super) fn token<B>(request: &Request<B>) -> Option<String> {
    let host = match request.uri().authority() {
        Some(authority) => authority.host().to_owned(),
        None => request.headers().get(HOST)?.to_str().ok()?.parse::<Authority>().ok()?.host().to_owned(),
    };
    Some(host.to_ascii_lowercase())
}

/// The target that is sent on: path and query, without the empty segments of old clients (quirk 31). None if it does not
/// lie under `/api`.
pub(super) fn target(uri: &Uri) -> Option<Uri> {
    let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
    // a client of HTTP would leave /api by them
    let is_relative = |segment: &&str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
    if segments.first() != Some(&"api") || segments.iter().any(is_relative) {
        return None;
    }
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    format!("/{}{query}", segments.join("/")).parse().ok()
}

/// Reads the body, or answers why not.
pub(super) async fn body<B>(body: B, headers: &HeaderMap) -> Result<Bytes, Response<Bytes>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let limit = if is_form(headers) { FORM_LIMIT } else { BODY_LIMIT };
    let too_large = || {
        let message = format!("request body is larger than {limit} bytes");
        answers::last_refusal(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    // found out before anything is read, so that a client that asks first is told not to send it
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(answers::last_refusal(StatusCode::BAD_REQUEST, format!("cannot read the request body: {error}")))
        }
        Err(_) => Err(answers::last_refusal(StatusCode::BAD_REQUEST, "the request body did not arrive in time")),
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests;
