//! From a request to an answer: path and method, body, caller, and then the function that does it (specification 0).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Extracted;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use slipstream_action::with_causes;
use slipstream_cimi::dialect::{self, JOB, Kind, SESSION, SESSION_TEMPLATE, USER};
use slipstream_cimi::query::{MOST_AGGREGATIONS, MOST_ORDERS, Parameters};
use slipstream_cimi::{AttemptIdentity, Document, lease};
use uuid::Uuid;

use super::Shared;
use super::admin::marks;
use super::admin::overview::Overview;
use super::auth::access::Caller;
use super::auth::peer::Origin;
use super::auth::{sessions, users};
use super::error::ApiError;
use super::http::pages::Held;
use super::http::shares::Share;
use super::http::{body, cross_site};
use super::jobs::{self, EditRequest};
use super::jobs::{bulk_add, reports};
use super::reconcile::restore;
use super::resources;
use crate::process::paths;

/// Longest request body in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;
/// Longest answer, and longest body, in bytes that is not counted: more of them than there are connections there never are.
pub const SMALL: usize = 64 * 1024;
/// Where a list of jobs may be sent, and nowhere else.
const BULK_ADD_PATH: &str = "/api/job";
/// Longest idempotency key in bytes.
const KEY_LIMIT: usize = 255;
/// Joins an answer to the log (decision 19).
const REQUEST_ID_HEADER: &str = "x-request-id";

const JSON: &str = "application/json";

/// All routes.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

/// A good answer.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: Document,
    /// In place of `body`, already as text.
    text: Option<Vec<u8>>,
    /// In place of `body`, as it is sent.
    page: Option<Body>,
    location: Option<String>,
    cookie: Option<String>,
}

impl Answer {
    /// 200 with a document.
    #[must_use]
    pub fn ok(body: Document) -> Self {
        Self { status: StatusCode::OK, body, text: None, page: None, location: None, cookie: None }
    }

    fn text(text: Vec<u8>) -> Self {
        Self { text: Some(text), ..Self::ok(Document::new()) }
    }

    /// 200 with a page, which has its memory already.
    #[must_use]
    pub fn page(body: Body) -> Self {
        Self { page: Some(body), ..Self::ok(Document::new()) }
    }

    fn created(id: &str) -> Self {
        let body = status_body(StatusCode::CREATED, &format!("{id} created"), id);
        Self { status: StatusCode::CREATED, location: Some(id.to_owned()), ..Self::ok(body) }
    }

    fn deleted(id: &str) -> Self {
        Self::ok(status_body(StatusCode::OK, &format!("{id} deleted"), id))
    }

    fn with_cookie(self, cookie: String) -> Self {
        Self { cookie: Some(cookie), ..self }
    }
}

fn status_body(status: StatusCode, message: &str, id: &str) -> Document {
    let mut body = Document::new();
    body.insert("status".to_owned(), status.as_u16().into());
    body.insert("message".to_owned(), message.into());
    body.insert("resource-id".to_owned(), id.into());
    body
}

/// Handles a request to its end even when the client goes away, so that nothing is left half done; a handler that
/// panics is an answer of 500.
async fn handle(Extracted(shared): Extracted<Arc<Shared>>, request: axum::extract::Request) -> Response {
    let request_id = Uuid::now_v7().to_string();
    let description = format!("{} {}", request.method(), request.uri().path());
    let id = request_id.clone();
    let work = tokio::spawn(async move {
        let call = Call::receive(&shared, request, id).await?;
        let (caller, method) = (call.caller.clone(), call.method.clone());
        into_response(&shared, call.answer(&shared).await?, &caller, &method)
    });
    let answer = work.await.unwrap_or_else(|panic| Err(Refused::Error(ApiError::unexpected(&panic))));
    let mut response = match answer {
        Ok(response) => response,
        Err(Refused::MalformedJson) => malformed_json(),
        Err(Refused::Error(error)) => refused(error, &description, &request_id),
    };
    tracing::debug!(request = description, request_id, status = response.status().as_u16(), "answered");
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    response
}

/// Why a request has no good answer. Malformed JSON has a body of its own in the original.
pub enum Refused {
    /// The body is no JSON.
    MalformedJson,
    /// Anything else.
    Error(ApiError),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

fn json_response(status: StatusCode, body: &Document) -> Response {
    body_response(status, json_type(status, body), Body::from(text_of(body)))
}

fn text_of(body: &Document) -> Vec<u8> {
    serde_json::to_vec(body).expect("a document has texts as keys")
}

fn body_response(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Some answers of the original name their encoding, and the others do not (specification 0.3).
fn json_type(status: StatusCode, body: &Document) -> &'static str {
    let names_it = matches!(status, StatusCode::CREATED | StatusCode::INTERNAL_SERVER_ERROR)
        || body.get("id").is_some_and(|id| id == resources::ENTRY_POINT);
    if names_it { "application/json; charset=utf-8" } else { JSON }
}

/// A large answer has its share of the memory for answers. Where there is none left, whatever changed nothing may as well
/// be asked again.
fn into_response(shared: &Shared, answer: Answer, caller: &Caller, method: &Method) -> Result<Response, Refused> {
    let mut response = if let Some(page) = answer.page {
        body_response(answer.status, JSON, page)
    } else {
        let text = answer.text.unwrap_or_else(|| text_of(&answer.body));
        let share = if text.len() > SMALL { shared.shares.try_take(caller, text.len()) } else { None };
        let body = match share {
            Some(share) => Body::from(Held::bytes(text, Arc::new(share))),
            None if text.len() > SMALL && method.is_safe() => return Err(ApiError::too_much_at_once().into()),
            None => Body::from(text),
        };
        body_response(answer.status, json_type(answer.status, &answer.body), body)
    };
    for (name, value) in [(header::LOCATION, answer.location), (header::SET_COOKIE, answer.cookie)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn refused(error: ApiError, request: &str, request_id: &str) -> Response {
    let status = StatusCode::from_u16(error.refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let retry_after = error.retry_after;
    let mut response = match serde_json::to_value(error.tell(request, request_id)) {
        Ok(Value::Object(body)) => json_response(status, &body),
        _ => unreachable!("a refusal is an object"),
    };
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        // the rest of its body is not read
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn malformed_json() -> Response {
    let mut response = Response::new(Body::from("Malformed JSON in request body."));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A request that was read whole.
struct Call {
    request_id: String,
    method: Method,
    path: String,
    headers: HeaderMap,
    query: String,
    /// Form body.
    form: Bytes,
    /// JSON body.
    body: Option<Document>,
    /// JSON body of a bulk add.
    list: Option<Vec<Value>>,
    origin: Origin,
    caller: Caller,
    /// Of the memory for bodies.
    _share: Option<Share>,
}

impl Call {
    async fn receive(shared: &Shared, request: axum::extract::Request, request_id: String) -> Result<Self, Refused> {
        let (Parts { method, uri, version, headers, extensions, .. }, body) = request.into_parts();
        let cookies: Vec<&str> =
            headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).collect();
        let origin = Origin::of(&extensions, &headers);
        let caller = match origin.vouched(&headers) {
            Some(caller) => caller,
            None => shared.sessions.caller(&*shared.store, &cookies, shared.clock.now()).await?,
        };
        let (bytes, share) = body::read(body, &headers, &caller, &shared.bodies).await?;
        origin.check_host(version, &headers)?;
        if cross_site::is_foreign(&method, &headers, &origin.hosts(&headers)) {
            return Err(ApiError::cross_site().into());
        }
        let path = resources::without_double_slashes(uri.path());
        let query = uri.query().unwrap_or_default().to_owned();
        let (mut form, mut body, mut list) = (Bytes::new(), None, None);
        if body::is_form(&headers) {
            form = bytes;
        } else if !bytes.is_empty() {
            match body::parse(bytes)? {
                Value::Object(object) => body = Some(object),
                Value::Array(items) if method == Method::POST && path == BULK_ADD_PATH => list = Some(items),
                _ => return Err(ApiError::bad_request("expected a JSON object as request body").into()),
            }
        }
        Ok(Self { request_id, method, path, headers, query, form, body, list, origin, caller, _share: share })
    }

    async fn answer(mut self, shared: &Shared) -> Result<Answer, Refused> {
        let path = std::mem::take(&mut self.path);
        let method = self.method.as_str().to_lowercase();
        let route = Route::of(&path)?;
        if route.kind() == Some(USER) {
            // Before anything is looked up: whether a user exists is nobody else's affair.
            self.caller.require_administrator()?;
        }
        let answer = match route {
            Route::EntryPoint => match self.method {
                Method::GET | Method::HEAD => resources::entry_point(shared, &self.caller, &self.headers).await?,
                Method::PUT => {
                    let changes = self.body.take().unwrap_or_default();
                    resources::edit_entry_point(shared, &self.caller, &self.headers, changes).await?
                }
                _ => return Err(ApiError::invalid_method(&method, &path).into()),
            },
            Route::Collection(kind) => match self.method {
                Method::GET | Method::HEAD | Method::PUT => self.search(shared, kind).await?,
                Method::POST if kind != SESSION_TEMPLATE => self.add(shared, kind).await?,
                _ => return Err(ApiError::invalid_method(&method, &path).into()),
            },
            Route::Document(kind, id) => match self.method {
                Method::GET | Method::HEAD => self.read(shared, kind, &id).await?,
                Method::PUT if matches!(kind, JOB | USER) => self.edit(shared, kind, &id).await?,
                Method::DELETE if kind != SESSION_TEMPLATE => self.delete(shared, kind, &id).await?,
                Method::POST if id == dialect::REPORTS_PLACE => {
                    self.fence(shared).await?;
                    let body = self.body.take().unwrap_or_default();
                    Answer::text(reports::carry_out(shared, &self.caller, body, &self.request_id).await?)
                }
                _ => return Err(ApiError::invalid_method(&method, &path).into()),
            },
            Route::Action(kind, id, action) => match (kind, action) {
                (JOB, "stop") if self.method != Method::POST => {
                    return Err(ApiError::invalid_method(&method, &path).into());
                }
                (JOB, "stop") => {
                    self.fence(shared).await?;
                    Answer::ok(jobs::stop(shared, &self.caller, &id).await?.shown())
                }
                (JOB, "ledger") => Answer::ok(jobs::read_ledger(shared, &self.caller, &id).await?),
                _ => return Err(ApiError::undefined_action(&method, kind.name, action, &path).into()),
            },
            Route::Restore => match self.method {
                Method::POST => {
                    self.fence(shared).await?;
                    Answer::ok(restore::all(shared, &self.caller).await?)
                }
                _ => return Err(ApiError::invalid_method(&method, &path).into()),
            },
            Route::Reset(distributor) => match self.method {
                Method::POST => {
                    self.fence(shared).await?;
                    Answer::ok(marks::reset(shared, &self.caller, distributor).await?)
                }
                _ => return Err(ApiError::invalid_method(&method, &path).into()),
            },
            Route::Overview(overview) => match self.method {
                Method::GET | Method::HEAD => Answer::ok(overview.read(shared, &self.caller).await?),
                _ => return Err(ApiError::invalid_method(&method, &path).into()),
            },
        };
        Ok(answer)
    }

    async fn search(&self, shared: &Shared, kind: Kind) -> Result<Answer, Refused> {
        if self.body.is_some() {
            let message = "a search takes its parameters from the query string or a form, not from JSON";
            return Err(ApiError::bad_request(message).into());
        }
        let parameters = self.parameters()?;
        let mut answer = match kind {
            JOB => return Ok(resources::search_jobs(shared, &self.caller, &parameters).await?),
            SESSION => resources::search_sessions(shared, &self.caller).await?,
            USER => return Ok(users::search(shared, &self.caller, &parameters).await?),
            _ => resources::search_templates(),
        };
        resources::aggregate(kind, &mut answer.body, &parameters.aggregations)?;
        Ok(answer)
    }

    async fn add(mut self, shared: &Shared, kind: Kind) -> Result<Answer, Refused> {
        if kind == SESSION {
            let body = self.body.take().unwrap_or_else(|| resources::login_form(&self.form));
            let login = shared.sessions.login(&*shared.store, &body, &self.origin, shared.clock.now()).await?;
            return Ok(Answer::created(&login.id).with_cookie(login.cookie));
        }
        if kind == USER {
            self.fence(shared).await?;
            return Ok(Answer::created(&users::add(shared, self.body.take().unwrap_or_default()).await?));
        }
        let key = self.header(lease::IDEMPOTENCY_HEADER)?.map(str::to_owned);
        if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > KEY_LIMIT) {
            let message = format!("{} takes 1 to {KEY_LIMIT} characters", lease::IDEMPOTENCY_HEADER);
            return Err(ApiError::bad_request(message).into());
        }
        self.fence(shared).await?;
        if let Some(list) = self.list.take() {
            let added = bulk_add::add_all(shared, &self.caller, list, key.as_deref(), &self.request_id).await?;
            return Ok(Answer::ok(added));
        }
        let sent = self.body.take().unwrap_or_default();
        let id = jobs::add(shared, &self.caller, sent, key.as_deref()).await?;
        Ok(Answer::created(&id))
    }

    async fn read(&self, shared: &Shared, kind: Kind, id: &str) -> Result<Answer, Refused> {
        let select = self.parameters()?.select;
        Ok(match kind {
            JOB => {
                let job = jobs::read(shared, &self.caller, id).await?;
                Answer::ok(resources::presented_job(&self.caller, job.shown(), &select))
            }
            SESSION => resources::read_session(shared, &self.caller, id).await?,
            USER => Answer::ok(users::read(shared, id, &select).await?),
            _ => resources::read_template(id)?,
        })
    }

    async fn edit(mut self, shared: &Shared, kind: Kind, id: &str) -> Result<Answer, Refused> {
        let remove = self.parameters()?.select;
        let changes = self.body.take().unwrap_or_default();
        let attempt = self.attempt()?.filter(|attempt| kind == JOB && attempt.job == id);
        if attempt.is_none() {
            self.fence(shared).await?;
        }
        if kind == USER {
            return Ok(Answer::ok(users::edit(shared, id, changes, &remove).await?));
        }
        let request = EditRequest { changes, remove, attempt };
        Ok(Answer::ok(jobs::edit(shared, &self.caller, id, &request).await?.shown()))
    }

    async fn delete(&self, shared: &Shared, kind: Kind, id: &str) -> Result<Answer, Refused> {
        if kind == SESSION {
            resources::delete_session(shared, &self.caller, id).await?;
            let answer = Answer::deleted(id);
            let is_own = self.caller.session() == Some(id);
            let farewell = || sessions::farewell_cookie(shared.clock.now());
            return Ok(if is_own { answer.with_cookie(farewell()) } else { answer });
        }
        self.fence(shared).await?;
        match kind {
            USER => users::delete(shared, id).await?,
            _ => jobs::delete(shared, &self.caller, id).await?,
        }
        Ok(Answer::deleted(id))
    }

    fn parameters(&self) -> Result<Parameters, ApiError> {
        let parameters = Parameters::parse(&self.query, &self.form);
        let parameters = parameters.map_err(|error| ApiError::bad_request(error.to_string()))?;
        if parameters.aggregations.len() > MOST_AGGREGATIONS {
            return Err(ApiError::bad_request(format!("a search takes at most {MOST_AGGREGATIONS} aggregations")));
        }
        if parameters.order.len() > MOST_ORDERS {
            return Err(ApiError::bad_request(format!("a search is ordered by at most {MOST_ORDERS} attributes")));
        }
        Ok(parameters)
    }

    /// An attempt writes to other documents than its job, too: only as long as it is the latest (decision 4).
    async fn fence(&self, shared: &Shared) -> Result<(), ApiError> {
        match self.attempt()? {
            Some(attempt) => jobs::fence(shared, &self.caller, &attempt).await,
            None => Ok(()),
        }
    }

    /// What the headers say of the attempt that writes. An attempt that names no job or entry cannot be judged.
    fn attempt(&self) -> Result<Option<AttemptIdentity>, ApiError> {
        let Some(text) = self.header(lease::LEASE_HEADER)? else { return Ok(None) };
        let lease = text.parse().map_err(|error| ApiError::bad_request(with_causes(&error as &lease::NotALease)))?;
        let required = |name| -> Result<String, ApiError> {
            let missing = || ApiError::bad_request(format!("{} without {name}", lease::LEASE_HEADER));
            self.header(name)?.map(str::to_owned).ok_or_else(missing)
        };
        let executor = self.header(lease::EXECUTOR_HEADER)?.unwrap_or("unnamed").to_owned();
        let (job, entry) = (required(lease::JOB_HEADER)?, required(lease::ENTRY_HEADER)?);
        if !paths::is_entry(&entry) {
            return Err(ApiError::bad_request(format!("{} is not the path of an entry", lease::ENTRY_HEADER)));
        }
        Ok(Some(AttemptIdentity { job, lease, entry, executor }))
    }

    fn header(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let not_text = |_| ApiError::bad_request(format!("{name} is not text"));
        self.headers.get(name).map(|value| value.to_str().map_err(not_text)).transpose()
    }
}

/// Where a path leads (specification 0.1).
#[derive(Debug, PartialEq, Eq)]
enum Route<'path> {
    EntryPoint,
    Collection(Kind),
    Document(Kind, String),
    Action(Kind, String, &'path str),
    Overview(Overview),
    /// Of the queue.
    Restore,
    /// Of the distributor of this name.
    Reset(&'path str),
}

impl<'path> Route<'path> {
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::EntryPoint | Self::Overview(_) | Self::Restore | Self::Reset(_) => None,
            Self::Collection(kind) | Self::Document(kind, _) | Self::Action(kind, ..) => Some(*kind),
        }
    }

    fn of(path: &'path str) -> Result<Self, ApiError> {
        let unknown = || ApiError::unknown_resource(path);
        // what the entry point calls its baseURI
        if matches!(path, "/api" | "/api/") {
            return Ok(Self::EntryPoint);
        }
        let segments: Vec<&str> = path.strip_prefix("/api/").ok_or_else(unknown)?.split('/').collect();
        let kind = |name: &str| [JOB, SESSION, SESSION_TEMPLATE, USER].into_iter().find(|kind| kind.name == name);
        match segments[..] {
            [resources::ENTRY_POINT] => Ok(Self::EntryPoint),
            [name] => {
                let collection = kind(name).map(Self::Collection);
                collection.or_else(|| Overview::of(name).map(Self::Overview)).ok_or_else(unknown)
            }
            [_, ""] | [_, _, ""] => Err(unknown()),
            ["queue", "restore"] => Ok(Self::Restore),
            ["distributor", name, "reset"] => Ok(Self::Reset(name)),
            [name, uuid] => {
                let kind = kind(name).ok_or_else(unknown)?;
                Ok(Self::Document(kind, id(kind, uuid)))
            }
            [name, uuid, action] => {
                let kind = kind(name).ok_or_else(unknown)?;
                Ok(Self::Action(kind, id(kind, uuid), action))
            }
            _ => Err(unknown()),
        }
    }
}

/// The id that is meant: those that are UUIDs may be written in any way in which UUIDs are.
fn id(kind: Kind, name: &str) -> String {
    let uuid = Uuid::try_parse(name).ok().filter(|_| kind != USER && matches!(name.len(), 32 | 36));
    uuid.map_or_else(|| format!("{}/{name}", kind.name), |uuid| format!("{}/{uuid}", kind.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_however_its_uuid_is_written() {
        let id = "job/01a2216b-cfa3-7420-bff6-04b959b2b5d9";
        for written in [
            "01a2216b-cfa3-7420-bff6-04b959b2b5d9",
            "01A2216B-CFA3-7420-BFF6-04B959B2B5D9",
            "01a2216bcfa37420bff604b959b2b5d9",
        ] {
            let path = format!("/api/job/{written}");
            assert_eq!(Route::of(&path).ok(), Some(Route::Document(JOB, id.to_owned())));
            let path = format!("{path}/stop");
            assert_eq!(Route::of(&path).ok(), Some(Route::Action(JOB, id.to_owned(), "stop")));
        }
        let user = "01A2216BCFA37420BFF604B959B2B5D9";
        let path = format!("/api/user/{user}");
        assert_eq!(Route::of(&path).ok(), Some(Route::Document(USER, format!("user/{user}"))), "a name");
    }

    #[test]
    fn paths_lead_where_the_table_says() {
        let id = "job/0a".to_owned();
        assert_eq!(Route::of("/api/cloud-entry-point").ok(), Some(Route::EntryPoint));
        assert_eq!(Route::of("/api/").ok(), Some(Route::EntryPoint));
        assert_eq!(Route::of("/api").ok(), Some(Route::EntryPoint));
        assert_eq!(Route::of("/api/job").ok(), Some(Route::Collection(JOB)));
        assert_eq!(Route::of("/api/job/0a").ok(), Some(Route::Document(JOB, id.clone())));
        assert_eq!(Route::of("/api/queue").ok(), Some(Route::Overview(Overview::Queue)));
        assert_eq!(Route::of("/api/queue/restore").ok(), Some(Route::Restore));
        assert_eq!(Route::of("/api/distributor/each/reset").ok(), Some(Route::Reset("each")));
        assert_eq!(Route::of("/api/job/0a/stop").ok(), Some(Route::Action(JOB, id, "stop")));
        for unknown in [
            "/",
            "/api/Job",
            "/api/jobs",
            "/api/job/",
            "/api/job/0a/",
            "/api/job/0a/stop/x",
            "/api/queue/0a",
            "/api/queue/restore/0a",
            "/api/distributor/each",
            "/api/distributor/each/stop",
            "/auth/login",
        ] {
            let refusal = Route::of(unknown).expect_err(unknown).refusal;
            assert_eq!((refusal.status, refusal.resource_id.as_deref()), (404, Some(unknown)));
        }
    }
}
