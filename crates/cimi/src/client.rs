//! [`Client`]: login, cookie, one re-login on 403, repeatable adds; all above a [`Transport`].

pub mod forward;
pub mod lists;
mod session;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use self::lists::ReportList;
use self::session::Session;
use crate::error::{Code, Error, Refusal};
use crate::lease::{AttemptIdentity, ENTRY_HEADER, EXECUTOR_HEADER, IDEMPOTENCY_HEADER, JOB_HEADER, LEASE_HEADER};
use crate::query::{Collection, Search};
use crate::resource::Document;

/// Characters of a body that is not CIMI that a [`Refusal`] shows.
const SHOWN_TEXT: usize = 200;

/// Why no answer came.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

/// How a request gets an answer. The request's URI is a path with query, e.g. `/api/job/…`.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends it and waits for the whole answer, within a limit of the adapter's own.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError>;

    /// Whether the server is in this process, so that it sees the extensions of a request, in which a list of reports is
    /// handed over as it is.
    fn takes_values(&self) -> bool {
        false
    }
}

/// Who the client is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

/// Talks CIMI to a server. Cheap to clone: clones share the session.
#[derive(Clone)]
pub struct Client {
    session: Arc<Session>,
    /// Whose requests these are. Logins are everybody's.
    attempt: Option<Arc<AttemptIdentity>>,
    /// Where requests are made, unless it is where they are awaited.
    runtime: Option<Handle>,
}

impl Client {
    /// A client that logs in when it is first needed, and again, once, when a request is answered 403.
    pub fn new(transport: Arc<dyn Transport>, credentials: Option<Credentials>) -> Self {
        Self { session: Arc::new(Session::new(transport, credentials)), attempt: None, runtime: None }
    }

    /// The same client, and its clones, whose logins say that this program makes them, such as `slipstream-job/0.1.0`.
    #[must_use]
    pub fn named(self, program: &str) -> Self {
        self.session.name(program);
        self
    }

    /// The same session, with every request marked as written by this attempt.
    #[must_use]
    pub fn for_attempt(&self, identity: impl Into<Arc<AttemptIdentity>>) -> Self {
        Self { attempt: Some(identity.into()), ..self.clone() }
    }

    /// The same client, whose requests are made on this runtime, wherever they are awaited: for whoever may not poll them
    /// for a long time, and would keep others from what a request holds, such as a login.
    #[must_use]
    pub fn on(&self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self.clone() }
    }

    /// Logs in now; only needed to find out early whether the credentials are good. Without credentials nothing to do.
    pub async fn login(&self) -> Result<(), Error> {
        self.session.renew(self.session.number()).await
    }

    /// Ends the session if this client has made one; the next request logs in again. Whoever asks nothing more leaves none
    /// behind.
    pub async fn log_out(&self) -> Result<(), Error> {
        self.session.end().await
    }

    /// Reads a document.
    pub async fn get(&self, id: &str) -> Result<Document, Error> {
        self.view(id).await
    }

    /// Reads what is at a place below `/api/`, as the type that it has there: one of [`overview`](crate::overview).
    pub async fn view<View: DeserializeOwned>(&self, place: &str) -> Result<View, Error> {
        self.send(&Call::new(Method::GET, path(place))).await
    }

    /// The same with these parameters.
    pub async fn view_with<View: DeserializeOwned>(
        &self,
        place: &str,
        parameters: &[(&str, &str)],
    ) -> Result<View, Error> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        self.send(&Call::new(Method::GET, format!("{}?{query}", path(place)))).await
    }

    /// Adds a document to the collection `kind` and answers its id. With a `key` the add is repeatable: one that was
    /// carried out already answers the id of the first (decision 11), also if that first answer was lost.
    pub async fn add(&self, kind: &str, document: &Document, key: Option<&str>) -> Result<String, Error> {
        let call = Call::new(Method::POST, path(kind)).json(document).keyed(key);
        match self.send::<Document>(&call).await {
            Ok(answer) => match answer.get("resource-id") {
                Some(Value::String(id)) => Ok(id.clone()),
                _ => Err(call.unintelligible("it has no resource-id")),
            },
            Err(Error::Refused { refusal: Refusal { status, resource_id: Some(id), code, .. }, .. })
                if key.is_some() && is_earlier_add(status, code) =>
            {
                Ok(id)
            }
            Err(error) => Err(error),
        }
    }

    /// Merges `changes` into a document, after the attributes `remove` are taken out, and answers the result.
    pub async fn edit(&self, id: &str, changes: &Document, remove: &[&str]) -> Result<Document, Error> {
        let mut path = path(id);
        if !remove.is_empty() {
            let mut select = form_urlencoded::Serializer::new(String::new());
            path = format!("{path}?{}", select.append_pair("$select", &remove.join(",")).finish());
        }
        let answer: Document = self.send(&Call::new(Method::PUT, path).json(changes)).await?;
        // specification 3.5: some servers answer the standard body instead of the document
        let is_standard_body = answer.get("status").is_some_and(Value::is_number) && !answer.contains_key("id");
        if is_standard_body { self.get(id).await } else { Ok(answer) }
    }

    /// Deletes a document.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        self.send::<Document>(&Call::new(Method::DELETE, path(id))).await.map(drop)
    }

    /// Searches a collection.
    pub async fn search(&self, kind: &str, search: &Search) -> Result<Collection, Error> {
        let call = Call::new(Method::PUT, path(kind)).form(search);
        Collection::from_document(self.send(&call).await?).map_err(|reason| call.unintelligible(reason))
    }

    /// Asks for an action on a document, e.g. `stop`, and answers the body.
    pub async fn operation(&self, id: &str, name: &str) -> Result<Document, Error> {
        self.send(&Call::new(Method::POST, path(&format!("{id}/{name}")))).await
    }

    /// As [`operation`](Self::operation), with what the action needs.
    pub async fn operation_with(&self, id: &str, name: &str, body: &impl Serialize) -> Result<Document, Error> {
        self.send(&Call::new(Method::POST, path(&format!("{id}/{name}"))).json(body)).await
    }

    async fn send<Answer: DeserializeOwned>(&self, call: &Call) -> Result<Answer, Error> {
        call.answer(self.exchange(call).await?)
    }

    async fn exchange(&self, call: &Call) -> Result<Response<Bytes>, Error> {
        let Some(runtime) = &self.runtime else {
            return self.session.send(call, self.attempt.as_deref()).await;
        };
        let (session, attempt, sent) = (self.session.clone(), self.attempt.clone(), call.clone());
        let request = runtime.spawn(async move { session.send(&sent, attempt.as_deref()).await });
        match AbortOnDropHandle::new(request).await {
            Ok(answer) => answer,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // the runtime has ended
                Err(error) => Err(Error::Unreachable { request: call.to_string(), source: error.into() }),
            },
        }
    }
}

/// A request that can be sent again.
#[derive(Clone)]
struct Call {
    method: Method,
    /// With query.
    path: String,
    headers: HeaderMap,
    body: Bytes,
    /// Instead of a body, see [`Transport::takes_values`].
    values: Option<ReportList>,
    login: Login,
}

/// As whom a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Login {
    /// A request of this client.
    Client,
    /// Somebody else's request, as this client: what it does to the login does not become this client's.
    Lent,
    /// Somebody else's request, which says itself who asks.
    Senders,
}

impl Call {
    fn new(method: Method, path: String) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Self { method, path, headers, body: Bytes::new(), values: None, login: Login::Client }
    }

    fn json(self, body: &(impl Serialize + ?Sized)) -> Self {
        self.json_text(serde_json::to_vec(body).expect("a document's keys are texts").into())
    }

    fn json_text(mut self, body: Bytes) -> Self {
        self.body = body;
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    fn values(self, list: ReportList) -> Self {
        Self { values: Some(list), ..self }
    }

    fn keyed(mut self, key: Option<&str>) -> Self {
        self.headers.extend(key.map(|key| (HeaderName::from_static(IDEMPOTENCY_HEADER), header_value(key))));
        self
    }

    fn form(mut self, search: &Search) -> Self {
        self.body = search.to_form().into();
        if !self.body.is_empty() {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            self.headers.insert(CONTENT_TYPE, form);
        }
        self
    }

    fn request(&self, attempt: Option<&AttemptIdentity>, cookie: Option<HeaderValue>) -> Request<Bytes> {
        let mut request = Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().expect("a path whose segments are percent-encoded is a URI");
        *request.headers_mut() = self.headers.clone();
        let headers = request.headers_mut();
        if let Some(AttemptIdentity { job, lease, entry, executor }) = attempt {
            headers.insert(LEASE_HEADER, header_value(&lease.to_string()));
            headers.insert(JOB_HEADER, header_value(job));
            headers.insert(ENTRY_HEADER, header_value(entry));
            headers.insert(EXECUTOR_HEADER, header_value(executor));
        }
        headers.extend(cookie.map(|cookie| (COOKIE, cookie)));
        if let Some(list) = &self.values {
            request.extensions_mut().insert(list.clone());
        }
        request
    }

    /// The document, or the list, in an answer.
    fn answer<Answer: DeserializeOwned>(&self, answer: Response<Bytes>) -> Result<Answer, Error> {
        let status = answer.status();
        let body = answer.into_body();
        if status.is_client_error() || status.is_server_error() {
            return Err(Error::Refused { request: self.to_string(), refusal: refusal(status, &body) });
        }
        serde_json::from_slice(&body).map_err(|error| {
            self.unintelligible(format!("status {}, and not what was asked for: {error}", status.as_u16()))
        })
    }

    fn unintelligible(&self, reason: impl Into<String>) -> Error {
        Error::Unintelligible { request: self.to_string(), reason: reason.into() }
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

/// Whether a keyed add is refused because it was carried out before. Any other code refuses the attempt that adds, and
/// names its job.
fn is_earlier_add(status: u16, code: Option<Code>) -> bool {
    status == 409 && matches!(code, None | Some(Code::Conflict))
}

/// Reads the body of a refusal; one that is not CIMI is shown as text.
fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
    let text_of = |document: &Document, name| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let document: Option<Document> = serde_json::from_slice(body).ok();
    let cimi = document.and_then(|document| text_of(&document, "message").map(|message| (message, document)));
    let status_number = status.as_u16();
    if let Some((message, document)) = cimi {
        // a code that this version does not know is none
        let code = document.get("code").and_then(|code| serde_json::from_value(code.clone()).ok());
        let (resource_id, request_id) = (text_of(&document, "resource-id"), text_of(&document, "request-id"));
        return Refusal { status: status_number, message, resource_id, code, request_id };
    }
    let shown: String = String::from_utf8_lossy(body).trim().chars().take(SHOWN_TEXT).collect();
    let message =
        if shown.is_empty() { status.canonical_reason().unwrap_or("no reason given").to_owned() } else { shown };
    Refusal { status: status_number, message, resource_id: None, code: None, request_id: None }
}

/// What is encoded in a path: everything but letters, digits and these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b'/');

/// The path of a document, a collection or an operation.
fn path(id: &str) -> String {
    format!("/api/{}", utf8_percent_encode(id, ENCODED))
}

/// The text as a header; if it has characters that headers cannot carry, form-encoded.
fn header_value(text: &str) -> HeaderValue {
    let is_plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let text = if is_plain { Cow::Borrowed(text) } else { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    HeaderValue::from_str(&text).expect("visible ASCII is a header's value")
}
