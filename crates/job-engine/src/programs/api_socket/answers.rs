//! What the API socket answers by itself: CIMI bodies.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use slipstream_cimi::{Code, Refusal};

/// A body with this status.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let text = serde_json::to_vec(body).expect("an answer is made of documents, texts and numbers");
    let mut answer = Response::new(Bytes::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// A refusal.
pub(super) fn refusal(status: StatusCode, message: impl Into<String>) -> Response<Bytes> {
    with_code(status, message, None)
}

/// A refusal of a request whose body is not read to its end, so that nothing follows it.
pub(super) fn last_refusal(status: StatusCode, message: impl Into<String>) -> Response<Bytes> {
    let mut answer = refusal(status, message);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Nobody has this token, or not any more.
pub(super) fn late_lease() -> Response<Bytes> {
    let message = "this address belongs to no attempt that still runs: nothing more is done under it";
    with_code(StatusCode::CONFLICT, message, Some(Code::LateLease))
}

/// The server's answer is larger than what is passed on.
pub(super) fn too_large_answer(limit: usize) -> Response<Bytes> {
    let message = format!("the server's answer is larger than {limit} bytes: ask for less at once");
    refusal(StatusCode::BAD_GATEWAY, message)
}

fn with_code(status: StatusCode, message: impl Into<String>, code: Option<Code>) -> Response<Bytes> {
    let message = message.into();
    json(status, &Refusal { status: status.as_u16(), message, resource_id: None, code, request_id: None })
}
