//! Final reports that the servers refuse for what they say, as one that is too large or malformed.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::client::TransportError;
use slipstream_cimi::dialect::REPORTS;

use crate::plan::Fault;
use crate::transport::{reports, with_reports};
use crate::world::{Door, World};

/// What a job touched of which no final report may say so.
pub const MARK: &str = "work/refused";

/// Hands a request on, without the final reports in it that are refused.
pub async fn send(world: &World, door: &Door, mut request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
    let refuse = |job: &str| {
        world.inject(Fault::RefusedReport, &door.life.name, job);
        let status = if job.ends_with(|last: char| last.is_ascii_digit()) { 413 } else { 400 };
        json!({"status": status, "message": "refused for what it says", "resource-id": job})
    };
    let Some(items) = reports(&request) else {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        if request.method() != Method::PUT || !is_refused(&body) {
            return door.routes.send(request).await;
        }
        let answer = refuse(request.uri().path().trim_start_matches("/api/"));
        let status = answer["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
        return Ok(answered(StatusCode::from_u16(status)?, &answer));
    };
    let refused: Vec<Option<Value>> = items
        .iter()
        .map(|item| is_refused(&item["changes"]).then(|| refuse(item["id"].as_str().unwrap_or_default())))
        .collect();
    if refused.iter().all(Option::is_none) {
        return door.routes.send(request).await;
    }
    let mut others = refused.iter().map(Option::is_none);
    with_reports(&mut request, |items| items.retain(|_| others.next() == Some(true)));
    let answer = door.routes.send(request).await?;
    let mut body: Document = serde_json::from_slice(answer.body()).unwrap_or_default();
    let Some(Value::Array(answers)) = body.shift_remove(REPORTS) else { return Ok(answer) };
    let mut answers = answers.into_iter();
    let all: Vec<Value> = refused.into_iter().filter_map(|refused| refused.or_else(|| answers.next())).collect();
    Ok(answered(answer.status(), &json!({REPORTS: all})))
}

fn is_refused(changes: &Value) -> bool {
    let links = changes["affectedResources"].as_array();
    let is_final = matches!(changes["state"].as_str(), Some("SUCCESS" | "FAILED"));
    is_final && links.is_some_and(|links| links.iter().any(|link| link["href"] == MARK))
}

fn answered(status: StatusCode, body: &Value) -> Response<Bytes> {
    let body = serde_json::to_vec(body).expect("texts and numbers");
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(body.into()).expect("a good status")
}
