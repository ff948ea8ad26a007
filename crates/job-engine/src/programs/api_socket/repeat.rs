//! Sending a request on while the server is out of reach: what is repeated, and what is answered in the end.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use slipstream_action::with_causes;
use slipstream_cimi::client::forward::is_login;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::lease::IDEMPOTENCY_HEADER;
use slipstream_cimi::{Client, Document, Error};
use slipstream_coordination::retry::Pauses;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::answers;

/// How long a request is repeated. The original clients wait for two minutes.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// The largest answer that is passed on, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Between repeats.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(250), Duration::from_secs(5));

/// Whether a request may be sent once more when it is not known whether it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    /// It changes nothing, or twice the same as once.
    Yes,
    /// An add, which is repeatable with a key (decision 11). It has none of its own.
    WithKey,
    /// It may do something twice.
    No,
}

/// No answer came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// For as long as it was repeated; the cause.
    OutOfReach(String),
    /// It is not repeated, and may have been carried out; the cause.
    Unknown(String),
    /// It was not sent, because the executor has no login; the cause.
    NoLogin(String),
    /// The attempt ended meanwhile.
    Ended,
}

impl Unanswered {
    /// What its sender is told.
    pub(super) fn answer(&self) -> Response<Bytes> {
        match self {
            Self::OutOfReach(cause) => {
                let message = format!("the server was out of reach for {} s: {cause}", PATIENCE.as_secs());
                answers::refusal(StatusCode::SERVICE_UNAVAILABLE, message)
            }
            Self::Unknown(cause) => {
                let message = format!("no answer from the server, the request may have been carried out: {cause}");
                answers::refusal(StatusCode::BAD_GATEWAY, message)
            }
            Self::NoLogin(cause) => {
                let message = format!("the executor cannot log in, the request was not carried out: {cause}");
                answers::refusal(StatusCode::BAD_GATEWAY, message)
            }
            Self::Ended => answers::late_lease(),
        }
    }
}

/// How a request is to be treated; `own` is the id of the attempt's job.
pub(super) fn repeats(request: &Request<Bytes>, own: Option<&str>) -> Repeats {
    let path = place(request);
    let is_collection = !path.is_empty() && !path.contains('/');
    match *request.method() {
        Method::GET | Method::HEAD | Method::OPTIONS => Repeats::Yes,
        // a search
        Method::PUT if is_collection => Repeats::Yes,
        Method::PUT if own == Some(path) => Repeats::Yes,
        // of two sessions one is not used
        Method::POST if is_login(request) => Repeats::Yes,
        Method::POST if is_collection && request.headers().contains_key(IDEMPOTENCY_HEADER) => Repeats::Yes,
        // the items of a list are answered one by one
        Method::POST if is_collection && !request.body().trim_ascii_start().starts_with(b"[") => Repeats::WithKey,
        _ => Repeats::No,
    }
}

/// What a request is about, below the API: `job`, or `job/1`.
fn place(request: &Request<Bytes>) -> &str {
    let path = request.uri().path();
    path.strip_prefix("/api").unwrap_or(path).trim_matches('/')
}

/// Sends a request on until it is answered, or for [`PATIENCE`]; `ended` is cancelled once that is of no use any more.
pub(super) async fn send(
    client: &Client,
    mut request: Request<Bytes>,
    repeats: Repeats,
    ended: &CancellationToken,
) -> Result<Response<Bytes>, Unanswered> {
    if repeats == Repeats::WithKey {
        // one for all repeats
        let key = HeaderValue::try_from(Uuid::new_v4().to_string()).expect("a UUID is visible ASCII");
        request.headers_mut().insert(HeaderName::from_static(IDEMPOTENCY_HEADER), key);
    }
    let (begun, mut pauses, mut is_repeated) = (Instant::now(), PAUSES, false);
    loop {
        let outcome = match client.forward(request.clone()).await {
            Ok(answer) if answer.body().len() > LARGEST_ANSWER => return Ok(answers::too_large_answer(LARGEST_ANSWER)),
            Ok(answer) if repeats == Repeats::No || !is_outage(&answer) => {
                let is_of_ours = is_repeated && repeats == Repeats::WithKey && is_add_of_job(&request);
                return Ok(if is_of_ours { as_if_first(answer) } else { answer });
            }
            Ok(answer) => Ok(answer),
            Err(error) => Err(unanswered(&error, &request, repeats)?),
        };
        let pause = pauses.take();
        if begun.elapsed() + pause > PATIENCE {
            return outcome;
        }
        tokio::select! {
            biased;
            () = ended.cancelled() => return Err(Unanswered::Ended),
            () = sleep(pause) => {}
        }
        is_repeated = true;
    }
}

/// What is answered if it is not repeated any more; the outer error, at once.
fn unanswered(error: &Error, request: &Request<Bytes>, repeats: Repeats) -> Result<Unanswered, Unanswered> {
    let cause = with_causes(error);
    let own_name = format!("{} {}", request.method(), request.uri());
    if error.request() != own_name {
        // not even sent
        return if error.is_transient() { Ok(Unanswered::OutOfReach(cause)) } else { Err(Unanswered::NoLogin(cause)) };
    }
    if repeats == Repeats::No { Err(Unanswered::Unknown(cause)) } else { Ok(Unanswered::OutOfReach(cause)) }
}

/// Whether the server, or a proxy before it, says that it cannot answer now.
pub(super) fn is_outage(answer: &Response<Bytes>) -> bool {
    matches!(answer.status(), StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Servers have keys for jobs alone.
fn is_add_of_job(request: &Request<Bytes>) -> bool {
    place(request) == JOB.name
}

/// A repeated add whose key is known is one whose first answer was lost.
fn as_if_first(answer: Response<Bytes>) -> Response<Bytes> {
    let added = || {
        let body: Document = serde_json::from_slice(answer.body()).ok()?;
        let is_conflict = body.get("code").is_none_or(|code| code == "conflict");
        let id = body.get("resource-id").and_then(Value::as_str).filter(|_| is_conflict)?;
        let created = json!({"status": 201, "message": format!("{id} created"), "resource-id": id});
        Some(answers::json(StatusCode::CREATED, &created))
    };
    if answer.status() == StatusCode::CONFLICT { added().unwrap_or(answer) } else { answer }
}

#[cfg(test)]
mod tests;
