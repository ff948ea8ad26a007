//! How the body of a request is read, within limits.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::body::Body as _;
use serde_json::Value;
use slipstream_cimi::filter::MAXIMUM_LENGTH;

use super::json_text;
use super::shares::{Share, Shares};
use crate::server::auth::access::Caller;
use crate::server::error::ApiError;
use crate::server::routes::{BODY_LIMIT, Refused, SMALL};

/// Longest form in bytes: each byte of the longest filter may be sent as three, and there is room beside it.
const FORM_LIMIT: usize = 3 * MAXIMUM_LENGTH + BODY_LIMIT;
/// Longest request body in bytes of somebody who is not logged in: a login is small.
const ANONYMOUS_BODY_LIMIT: usize = 64 * 1024;
/// Longest wait for a request body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Whether the body is a form. Anything else is JSON.
#[must_use]
pub fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Reads the body that somebody sends, as far as that is allowed. A large one has its share of the memory for bodies
/// until it is dropped, however slowly it arrives.
pub async fn read(
    body: Body,
    headers: &HeaderMap,
    caller: &Caller,
    shares: &Shares,
) -> Result<(Bytes, Option<Share>), ApiError> {
    let limit = match caller {
        Caller::Anonymous => ANONYMOUS_BODY_LIMIT,
        Caller::User { .. } if is_form(headers) => FORM_LIMIT,
        Caller::User { .. } => BODY_LIMIT,
    };
    // found out before anything is read, so that a client that asks first is told not to send it
    if body.size_hint().lower() > limit as u64 {
        return Err(ApiError::too_large(limit));
    }
    let size = body.size_hint().upper().and_then(|upper| usize::try_from(upper).ok()).unwrap_or(limit).min(limit);
    let share = if size > SMALL { Some(shares.take(caller, size).await?) } else { None };
    let bytes = read_within(body, limit).await?;
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok((bytes, share));
    }
    Err(ApiError::unsupported_encoding())
}

/// Reads JSON.
pub fn parse(bytes: Bytes) -> Result<Value, Refused> {
    let mut text = Vec::from(bytes);
    json_text::mend(&mut text).map_err(|error| ApiError::schema(&[error.to_string()]))?;
    serde_json::from_slice(&text).map_err(|_| Refused::MalformedJson)
}

async fn read_within(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let read = axum::body::to_bytes(body, limit);
    match tokio::time::timeout(BODY_TIME, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => Err(ApiError::too_large(limit)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("cannot read the request body: {error}"))),
        Err(_) => Err(ApiError::bad_request("the request body did not arrive in time")),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_arrives_is_waited_for_within_the_limit() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let waiting = tokio::time::timeout(BODY_TIME * 2, read_within(body, BODY_LIMIT)).await;
        let refusal = waiting.expect("within the limit").expect_err("nothing arrives").refusal;
        assert_eq!((refusal.status, refusal.message.as_str()), (400, "the request body did not arrive in time"));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_one_user_that_never_end_have_a_bounded_part_of_the_memory() {
        const BODIES: usize = 40;
        let user = |name: &str| Caller::User { name: name.to_owned(), roles: vec!["USER".to_owned()], session: None };
        let (shares, headers) = (Shares::default(), HeaderMap::new());
        let endless = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let jane = user("jane");
        let mut reading: Vec<_> = (0..BODIES).map(|_| Box::pin(read(endless(), &headers, &jane, &shares))).collect();
        for body in &mut reading {
            assert!(futures_util::poll!(body).is_pending());
        }
        assert_eq!(shares.held(), 16 * BODY_LIMIT, "sixteen are read, the others wait");
        let other = read(Body::from(vec![b' '; BODY_LIMIT]), &headers, &user("joe"), &shares).await;
        assert_eq!(other.expect("joe's is read beside them").0.len(), BODY_LIMIT);
        for body in reading {
            let refusal = body.await.expect_err("none ever ends").refusal;
            assert!(matches!(refusal.status, 400 | 503), "{}", refusal.message);
        }
        assert_eq!(shares.held(), 0);
    }
}
