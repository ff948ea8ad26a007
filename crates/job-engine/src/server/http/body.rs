//! How the body of a request is read, within limits.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http::{HeaderMap, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use serde_json::Value;
use slipstream_cimi::filter::MAXIMUM_LENGTH;

use super::json_text;
use super::shares::{SMALL, Share, Shares};
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;

/// Longest request body in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;
/// Longest form in bytes: each byte of the longest filter may be sent as three, and there is room beside it.
const FORM_LIMIT: usize = 3 * MAXIMUM_LENGTH + BODY_LIMIT;
/// Longest request body in bytes of somebody who is not logged in: a login is small.
const ANONYMOUS_BODY_LIMIT: usize = 64 * 1024;
/// Longest wait for a request body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// The body of a request or of a response.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The body of a request that arrives.
pub fn incoming(body: Incoming) -> Body {
    body.map_err(io::Error::other).boxed_unsync()
}

/// A body that is at hand.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is made piece by piece.
pub fn stream(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

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
pub fn parse(bytes: Bytes) -> Result<Value, ApiError> {
    let mut text = Vec::from(bytes);
    json_text::mend(&mut text).map_err(|error| ApiError::schema(&[error.to_string()]))?;
    serde_json::from_slice(&text).map_err(|_| ApiError::malformed_json())
}

async fn read_within(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(bytes)) => Ok(bytes.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("cannot read the request body: {error}"))),
        Err(_) => Err(ApiError::bad_request("the request body did not arrive in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_arrives_is_waited_for_within_the_limit() {
        let body = stream(futures_util::stream::pending::<io::Result<Bytes>>());
        let waiting = tokio::time::timeout(BODY_TIME * 2, read_within(body, BODY_LIMIT)).await;
        let refusal = waiting.expect("within the limit").expect_err("nothing arrives").refusal;
        assert_eq!((refusal.status, refusal.message.as_str()), (400, "the request body did not arrive in time"));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_of_one_user_that_never_end_have_a_bounded_part_of_the_memory() {
        const BODIES: usize = 40;
        let user = |name: &str| Caller::User { name: name.to_owned(), roles: vec!["USER".to_owned()], session: None };
        let (shares, headers) = (Shares::default(), HeaderMap::new());
        let endless = || stream(futures_util::stream::pending::<io::Result<Bytes>>());
        let jane = user("jane");
        let mut reading: Vec<_> = (0..BODIES).map(|_| Box::pin(read(endless(), &headers, &jane, &shares))).collect();
        for body in &mut reading {
            assert!(futures_util::poll!(body).is_pending());
        }
        assert_eq!(shares.held(), 16 * BODY_LIMIT, "sixteen are read, the others wait");
        let other = read(full(vec![b' '; BODY_LIMIT]), &headers, &user("joe"), &shares).await;
        assert_eq!(other.expect("joe's is read beside them").0.len(), BODY_LIMIT);
        for body in reading {
            let refusal = body.await.expect_err("none ever ends").refusal;
            assert!(matches!(refusal.status, 400 | 503), "{}", refusal.message);
        }
        assert_eq!(shares.held(), 0);
    }
}
