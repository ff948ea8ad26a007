//! [`ApiRequest`]: a request that was read whole, and who sends it.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};
use slipstream_action::with_causes;
use slipstream_cimi::client::lists::ReportList;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::query::{MOST_AGGREGATIONS, MOST_ORDERS, Parameters};
use slipstream_cimi::{AttemptIdentity, Document, lease};

use super::body::{self, Body};
use super::cross_site;
use super::shares::Share;
use crate::process::paths;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::auth::proxy::Origin;
use crate::server::error::ApiError;

/// Longest idempotency key in bytes.
const KEY_LIMIT: usize = 255;

/// A request that was read whole.
pub struct ApiRequest {
    /// Joins an answer to the log (decision 19).
    pub id: String,
    /// What is to be done.
    pub method: Method,
    /// With what.
    pub path: String,
    /// As they were sent.
    pub headers: HeaderMap,
    /// Where it comes from.
    pub origin: Origin,
    /// Who sends it.
    pub caller: Caller,
    query: String,
    /// Form body.
    form: Bytes,
    /// JSON body.
    body: Option<Document>,
    /// JSON body of a bulk add.
    list: Option<Vec<Value>>,
    /// Reports that somebody in this process hands over as they are.
    pub reports: Option<ReportList>,
    /// Of the memory for bodies.
    _share: Option<Share>,
}

impl ApiRequest {
    /// Finds out who asks, and reads the body as far as that caller may send one.
    pub async fn receive(shared: &Shared, request: Request<Body>, id: String) -> Result<Self, ApiError> {
        let (Parts { method, uri, version, headers, mut extensions, .. }, body) = request.into_parts();
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
            return Err(ApiError::cross_site());
        }
        let path = without_double_slashes(uri.path());
        let query = uri.query().unwrap_or_default().to_owned();
        let (mut form, mut body, mut list) = (Bytes::new(), None, None);
        if body::is_form(&headers) {
            form = bytes;
        } else if !bytes.is_empty() {
            match body::parse(bytes)? {
                Value::Object(object) => body = Some(object),
                Value::Array(items) if method == Method::POST && takes_lists(shared, &path) => list = Some(items),
                _ => return Err(ApiError::bad_request("expected a JSON object as request body")),
            }
        }
        let reports = extensions.remove();
        Ok(Self { id, method, path, headers, origin, caller, query, form, body, list, reports, _share: share })
    }

    /// The JSON body; an empty document if there is none.
    pub fn document(&mut self) -> Document {
        self.body.take().unwrap_or_default()
    }

    /// The JSON body if it is a list.
    pub fn list(&mut self) -> Option<Vec<Value>> {
        self.list.take()
    }

    /// The JSON body, or a login form's fields as the document that a JSON login would be.
    pub fn login_document(&mut self) -> Document {
        self.body.take().unwrap_or_else(|| {
            let fields = form_urlencoded::parse(&self.form).into_owned().map(|(name, value)| (name, json!(value)));
            Document::from_iter([("sessionTemplate".to_owned(), fields.collect::<Document>().into())])
        })
    }

    /// The query parameters of a search.
    pub fn search(&self) -> Result<Parameters, ApiError> {
        if self.body.is_some() {
            let message = "a search takes its parameters from the query string or a form, not from JSON";
            return Err(ApiError::bad_request(message));
        }
        self.parameters()
    }

    /// The query parameters.
    pub fn parameters(&self) -> Result<Parameters, ApiError> {
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

    /// The parameter of this name in the query, the first if there are several.
    pub fn parameter(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes()).find(|(it, _)| it == name).map(|(_, value)| value.into_owned())
    }

    /// What makes an add repeatable.
    pub fn idempotency_key(&self) -> Result<Option<String>, ApiError> {
        let key = self.header(lease::IDEMPOTENCY_HEADER)?;
        if key.is_some_and(|key| key.is_empty() || key.len() > KEY_LIMIT) {
            let message = format!("{} takes 1 to {KEY_LIMIT} characters", lease::IDEMPOTENCY_HEADER);
            return Err(ApiError::bad_request(message));
        }
        Ok(key.map(str::to_owned))
    }

    /// What the headers say of the attempt that writes. An attempt that names no job or entry cannot be judged.
    pub fn attempt(&self) -> Result<Option<AttemptIdentity>, ApiError> {
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

/// Whether a list of documents may be sent there, to be added.
fn takes_lists(shared: &Shared, path: &str) -> bool {
    let kind = path.strip_prefix("/api/");
    kind.is_some_and(|kind| kind == JOB.name || shared.collections.get(kind).is_some())
}

/// Old clients write `//api/…` when their endpoint ends in a slash (quirk 31).
fn without_double_slashes(path: &str) -> String {
    let mut path = path.to_owned();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}
