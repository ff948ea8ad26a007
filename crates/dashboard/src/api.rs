//! [`Api`]: what a page asks of the API, as whoever asked for the page.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderName, ORIGIN, RETRY_AFTER, USER_AGENT};
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipstream_cimi::client::TransportError;
use slipstream_cimi::dialect::{JOB, SESSION};
use slipstream_cimi::query::{Collection, Search};
use slipstream_cimi::{Document, Refusal, Transport, acl};

/// What a browser, or a proxy before it, says about who asks and for which site: it goes along with each request, so that
/// the API decides by it as it does for requests of its own.
const HANDED_ON: [HeaderName; 6] = [COOKIE, HOST, ORIGIN, USER_AGENT, VOUCHED, HeaderName::from_static("x-real-ip")];
/// The same by the beginning of their names.
const HANDED_ON_BEGINNINGS: [&str; 2] = ["x-forwarded-", "sec-fetch-"];

/// Everything but letters, digits and what ids have.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// What pages are made from: the API, and the time by the server's clock.
#[derive(Clone)]
pub struct Site {
    /// The API.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// The API, asked as somebody.
#[derive(Clone)]
pub struct Api {
    site: Site,
    version: Version,
    headers: HeaderMap,
    extensions: Extensions,
}

/// Why the API has not answered as it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It refuses.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// When asking again may help: the header `Retry-After`.
        retry_after: Option<HeaderValue>,
    },
    /// No answer came.
    #[error("the API does not answer")]
    Unreachable(#[source] TransportError),
    /// The answer is not what was asked for.
    #[error("the API answered something else: {0}")]
    Unintelligible(String),
    /// The request cannot be written as one.
    #[error("that is too long for a request")]
    TooLong,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user's name.
    pub name: String,
    /// Whether everything may be seen and done.
    pub is_administrator: bool,
    /// Id of the session, of somebody who has logged in here.
    pub session: Option<String>,
    /// Whoever has the same may see the same.
    pub audience: String,
}

/// By this a trusted proxy vouches for somebody: `user role*`.
const VOUCHED: HeaderName = HeaderName::from_static("slipstream-authn-info");

impl Api {
    /// The API, asked as the sender of a page's request.
    pub fn of<T>(site: Site, request: &Request<T>) -> Self {
        let is_handed_on = |name: &HeaderName| {
            HANDED_ON.contains(name) || HANDED_ON_BEGINNINGS.iter().any(|begin| name.as_str().starts_with(begin))
        };
        let headers = request.headers().iter().filter(|(name, _)| is_handed_on(name));
        Self {
            site,
            version: request.version(),
            headers: headers.fold(HeaderMap::new(), |mut kept, (name, value)| {
                kept.append(name, value.clone());
                kept
            }),
            extensions: request.extensions().clone(),
        }
    }

    /// The time by the server's clock, as precise as documents have it.
    pub fn now(&self) -> Timestamp {
        let now = (self.site.now)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// Who asks; nobody without a login.
    pub async fn who(&self) -> Result<Option<Who>, ApiError> {
        let sessions = self.search(SESSION.name, &Search::default()).await?;
        match sessions.documents.first() {
            Some(session) if !self.headers.contains_key(VOUCHED) => Ok(Some(logged_in(session))),
            session => self.found_out(session).await,
        }
    }

    /// Somebody of whom the session does not say all: a proxy may vouch for it, and be believed or not, or the session is
    /// in the server's memory alone. Whether it may search shows that there is somebody, and whether it may add jobs, that
    /// it is an administrator.
    async fn found_out(&self, session: Option<&Document>) -> Result<Option<Who>, ApiError> {
        let nothing = Search { last: Some(0), ..Search::default() };
        let path = format!("{}?{}", path(JOB.name), nothing.to_form());
        let jobs: Document = match self.send(Method::GET, &path, None).await {
            Ok(answer) => parse(&answer)?,
            Err(ApiError::Refused { refusal, .. }) if refusal.status == 403 => return Ok(None),
            Err(error) => return Err(error),
        };
        let said = [VOUCHED, COOKIE].map(|name| self.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect());
        let said: [Vec<&[u8]>; 2] = said;
        let audience = String::from_utf8_lossy(&said.concat().join(&b'\n')).into_owned();
        let vouched = self.headers.get(VOUCHED).and_then(|said| said.to_str().ok()).unwrap_or_default();
        let name = vouched.split_ascii_whitespace().next().unwrap_or("nobody known").to_owned();
        let known = session.map(logged_in);
        Ok(Some(Who {
            name: known.as_ref().map_or(name, |known| known.name.clone()),
            is_administrator: jobs.contains_key("operations"),
            session: known.and_then(|known| known.session),
            audience,
        }))
    }

    /// Reads what is at a place below `/api/`, e.g. an id.
    pub async fn get<T: DeserializeOwned>(&self, place: &str) -> Result<T, ApiError> {
        parse(&self.send(Method::GET, &path(place), None).await?)
    }

    /// The same with these parameters.
    pub async fn get_with<T: DeserializeOwned>(&self, place: &str, parameters: &[(&str, &str)]) -> Result<T, ApiError> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        parse(&self.send(Method::GET, &format!("{}?{query}", path(place)), None).await?)
    }

    /// Searches a collection. By GET, as pages that only show something have no business with other methods.
    pub async fn search(&self, kind: &str, search: &Search) -> Result<Collection, ApiError> {
        let path = format!("{}?{}", path(kind), search.to_form());
        let document: Document = parse(&self.send(Method::GET, &path, None).await?)?;
        Collection::from_document(document).map_err(|reason| ApiError::Unintelligible(reason.to_owned()))
    }

    /// Asks for an operation without a body, and answers what came of it.
    pub async fn ask_for<T: DeserializeOwned>(&self, place: &str) -> Result<T, ApiError> {
        parse(&self.send(Method::POST, &path(place), None).await?)
    }

    /// Posts to a place below `/api/`, and answers the whole response.
    pub async fn post(&self, place: &str, body: Option<&impl Serialize>) -> Result<Response<Bytes>, ApiError> {
        let body = body.map(|body| serde_json::to_vec(body).expect("a document's keys are texts").into());
        self.send(Method::POST, &path(place), body).await
    }

    /// Merges changes into a document, and answers the whole response.
    pub async fn put(&self, id: &str, changes: &impl Serialize) -> Result<Response<Bytes>, ApiError> {
        let body = serde_json::to_vec(changes).expect("a document's keys are texts").into();
        self.send(Method::PUT, &path(id), Some(body)).await
    }

    /// Deletes a document, and answers the whole response.
    pub async fn delete(&self, id: &str) -> Result<Response<Bytes>, ApiError> {
        self.send(Method::DELETE, &path(id), None).await
    }

    async fn send(&self, method: Method, path: &str, json: Option<Bytes>) -> Result<Response<Bytes>, ApiError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = Uri::try_from(path).map_err(|_| ApiError::TooLong)?;
        *request.method_mut() = method;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        if let Some(json) = json {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = json;
        }
        let response = self.site.transport.send(request).await.map_err(ApiError::Unreachable)?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let retry_after = response.headers().get(RETRY_AFTER).cloned();
            return Err(ApiError::Refused { refusal: refusal(status, response.body()), retry_after });
        }
        Ok(response)
    }
}

impl ApiError {
    /// The status with which a page says it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused { refusal, .. } => StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_GATEWAY),
            Self::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unintelligible(_) => StatusCode::BAD_GATEWAY,
            Self::TooLong => StatusCode::URI_TOO_LONG,
        }
    }
}

/// Whose session it is.
fn logged_in(session: &Document) -> Who {
    let text = |name| session.get(name).and_then(Value::as_str).unwrap_or_default();
    let (id, name, roles) = (text("id"), text("username"), text("roles"));
    let mut roles: Vec<&str> = roles.split_ascii_whitespace().filter(|role| *role != id).collect();
    roles.sort_unstable();
    Who {
        name: name.to_owned(),
        is_administrator: roles.contains(&acl::ADMINISTRATORS),
        session: Some(id.to_owned()),
        audience: format!("{name} {}", roles.join(" ")),
    }
}

/// The path of a place below `/api/`: what stands between its slashes may be anything.
fn path(place: &str) -> String {
    let segments: Vec<String> = place.split('/').map(encoded).collect();
    format!("/api/{}", segments.join("/"))
}

/// A text as one segment of a path.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn parse<T: DeserializeOwned>(response: &Response<Bytes>) -> Result<T, ApiError> {
    serde_json::from_slice(response.body()).map_err(|error| ApiError::Unintelligible(error.to_string()))
}

/// What a refusal says; one that is no CIMI says its status.
fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
    let said: Option<Refusal> = serde_json::from_slice(body).ok();
    let message = || status.canonical_reason().unwrap_or("refused").to_lowercase();
    said.map_or_else(
        || Refusal { status: status.as_u16(), message: message(), resource_id: None, code: None, request_id: None },
        |said| Refusal { status: status.as_u16(), ..said },
    )
}
