//! [`Answer`]: what a request is answered, and how that, or a refusal, becomes a response.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use slipstream_cimi::client::lists::ReportAnswers;

use super::body::{self, Body};
use super::shares::{Held, SMALL, Shares};
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;

const JSON: &str = "application/json";
/// Some answers of the original name their encoding, and the others do not (specification 0.3).
const JSON_IN_UTF_8: &str = "application/json; charset=utf-8";

/// A good answer.
pub struct Answer {
    status: StatusCode,
    content_type: &'static str,
    content: Content,
    location: Option<String>,
    cookie: Option<String>,
}

enum Content {
    Text(Vec<u8>),
    /// A page, which has its memory already.
    Page(Body),
    /// To reports that were handed over as they are.
    Reports(ReportAnswers),
}

impl Answer {
    /// 200 with what is written as a JSON object.
    #[must_use]
    pub fn ok(body: &impl Serialize) -> Self {
        Self::text(json_text(body))
    }

    /// 200 with JSON that is written already.
    #[must_use]
    pub fn text(text: Vec<u8>) -> Self {
        Self::new(Content::Text(text))
    }

    /// 200 with a page, which has its memory already.
    #[must_use]
    pub fn page(body: Body) -> Self {
        Self::new(Content::Page(body))
    }

    /// 200 with answers that are handed over as they are.
    #[must_use]
    pub fn reports(answers: ReportAnswers) -> Self {
        Self::new(Content::Reports(answers))
    }

    /// 201 for a document of this id.
    #[must_use]
    pub fn created(id: &str) -> Self {
        let body = json!({"status": 201, "message": format!("{id} created"), "resource-id": id});
        Self { status: StatusCode::CREATED, location: Some(id.to_owned()), ..Self::ok(&body) }.naming_its_encoding()
    }

    /// 202 for what the document of this id tells of.
    #[must_use]
    pub fn accepted(id: &str) -> Self {
        let body = json!({"status": 202, "message": format!("{id} begun"), "resource-id": id});
        Self { status: StatusCode::ACCEPTED, location: Some(id.to_owned()), ..Self::ok(&body) }
    }

    /// 200 for a document of this id that is gone.
    #[must_use]
    pub fn deleted(id: &str) -> Self {
        Self::ok(&json!({"status": 200, "message": format!("{id} deleted"), "resource-id": id}))
    }

    /// The same with a header `Set-Cookie`.
    #[must_use]
    pub fn with_cookie(self, cookie: String) -> Self {
        Self { cookie: Some(cookie), ..self }
    }

    /// The same with a content type that names the encoding.
    #[must_use]
    pub fn naming_its_encoding(self) -> Self {
        Self { content_type: JSON_IN_UTF_8, ..self }
    }

    fn new(content: Content) -> Self {
        Self { status: StatusCode::OK, content_type: JSON, content, location: None, cookie: None }
    }

    /// The response to this caller. A large answer has its share of the memory for answers; where there is none left,
    /// whatever changed nothing (`is_safe`) may as well be asked again.
    pub fn into_response(self, shares: &Shares, caller: &Caller, is_safe: bool) -> Result<Response<Body>, ApiError> {
        let mut values = None;
        let body = match self.content {
            Content::Page(page) => page,
            Content::Reports(answers) => {
                values = Some(answers);
                body::full("")
            }
            Content::Text(text) if text.len() <= SMALL => body::full(text),
            Content::Text(text) => match shares.try_take(caller, text.len()) {
                Some(share) => body::full(Held::bytes(text, Arc::new(share))),
                None if is_safe => return Err(ApiError::too_much_at_once()),
                None => body::full(text),
            },
        };
        let mut response = response(self.status, self.content_type, body);
        if let Some(answers) = values {
            response.extensions_mut().insert(answers);
        }
        for (name, value) in [(header::LOCATION, self.location), (header::SET_COOKIE, self.cookie)] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }
}

/// The response to a request that is refused.
pub fn refused(error: ApiError, request_id: &str) -> Response<Body> {
    if error.is_malformed_json {
        return response(StatusCode::BAD_REQUEST, "text/plain", body::full(error.refusal.message));
    }
    let status = StatusCode::from_u16(error.refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = if status == StatusCode::INTERNAL_SERVER_ERROR { JSON_IN_UTF_8 } else { JSON };
    let retry_after = error.retry_after;
    let mut response = response(status, content_type, body::full(json_text(&error.respond(request_id))));
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        // the rest of its body is not read
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn json_text(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("an answer is made of documents, texts and numbers")
}

fn response(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
