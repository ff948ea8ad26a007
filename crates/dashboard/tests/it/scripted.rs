//! An API that answers as it is told, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;
use slipstream_dashboard::{Body, Dashboard};
use tokio::sync::watch;

/// The time by the server's clock.
pub const NOW: &str = "2026-11-30T12:10:00.000Z";

type Answer = dyn Fn(&str, &str) -> Option<(u16, Value)> + Send + Sync;

/// The API.
pub struct Scripted {
    answer: Box<Answer>,
    pub asked: Mutex<Vec<Request<Bytes>>>,
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let path = request.uri().path().to_owned();
        let known = (self.answer)(request.method().as_str(), &path);
        let (status, body) = known.unwrap_or_else(|| {
            (404, json!({"status": 404, "message": format!("{path} not found"), "resource-id": path}))
        });
        let is_login = request.method() == "POST" && path == "/api/session" && status == 201;
        self.asked.lock().expect("not poisoned").push(request);
        let response = Response::builder().status(status);
        let response = if is_login { response.header("set-cookie", "c=token=1;HttpOnly") } else { response };
        let response = if status == 429 { response.header("retry-after", "8") } else { response };
        Ok(response.body(body.to_string().into())?)
    }
}

/// Pages over it.
pub struct World {
    pub api: Arc<Scripted>,
    pub dashboard: Dashboard,
    pub changes: watch::Sender<u64>,
}

/// What came back.
pub struct Answered {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl World {
    /// Over an API that answers so to whoever has logged in with the role.
    pub fn of(
        roles: &'static str,
        answer: impl Fn(&str, &str) -> Option<(u16, Value)> + Send + Sync + 'static,
    ) -> Self {
        let answer = move |method: &str, path: &str| match (method, path) {
            ("GET", "/api/session") => Some((200, sessions(roles))),
            ("POST", "/api/session") => answer(method, path),
            ("GET", path) if path.ends_with("/explain") => Some((200, explanation())),
            ("GET", path) if path.ends_with("/retries") => {
                Some((200, json!({"job": "job/0a", "count": 1, "retries": ["job/0c"]})))
            }
            _ if roles.is_empty() => Some((403, json!({"status": 403, "message": "credentials required"}))),
            _ => answer(method, path),
        };
        let api = Arc::new(Scripted { answer: Box::new(answer), asked: Mutex::default() });
        let (changes, counted) = watch::channel(0);
        let now = || NOW.parse().expect("a time");
        Self { dashboard: Dashboard::new(api.clone(), counted, now), api, changes }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send(Request::get(path).body(Bytes::new()).expect("a request")).await
    }

    pub async fn post(&self, path: &str, form: &str) -> Answered {
        self.send(Request::post(path).body(form.to_owned().into()).expect("a request")).await
    }

    pub async fn send(&self, request: Request<Bytes>) -> Answered {
        let (head, body) = self.open(request).await.into_parts();
        let bytes = body.collect().await.expect("whole").to_bytes();
        let text = String::from_utf8(bytes.into()).expect("UTF-8");
        Answered { status: head.status.as_u16(), headers: head.headers, text }
    }

    pub async fn open(&self, request: Request<Bytes>) -> Response<Body> {
        self.dashboard.respond(request).await
    }

    /// Methods and paths of what was asked, but who asks.
    pub fn asked(&self) -> Vec<String> {
        let asked = self.api.asked.lock().expect("not poisoned");
        let shown = asked.iter().map(|request| format!("{} {}", request.method(), request.uri().path()));
        shown.filter(|shown| shown != "GET /api/session" && shown != "GET /api/notices").collect()
    }
}

impl Answered {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

fn sessions(roles: &str) -> Value {
    let session = json!({"id": "session/1", "username": "jane", "roles": roles});
    let sessions = if roles.is_empty() { vec![] } else { vec![session] };
    json!({"count": sessions.len(), "sessions": sessions})
}

fn explanation() -> Value {
    json!({"job": "job/0a", "reasons": [
        {"code": "busy", "text": "all slots <b> are taken", "blocks": true, "since": "2026-11-30T12:05:00Z", "href": "executor"},
        {"code": "a-newer-one", "text": "two entries are before it", "blocks": false, "executor": "node-9"},
    ]})
}

pub const ADMINISTRATOR: &str = "ADMIN USER ANON session/1";
pub const USER: &str = "USER ANON session/1";

/// A job that somebody may change.
pub fn job(name: &str, state: &str) -> Value {
    json!({
        "id": format!("job/{name}"), "state": state, "action": "collect", "progress": 40, "priority": 999,
        "created": "2026-11-30T12:04:46.000Z", "updated": "2026-11-30T12:05:00.000Z", "started": "2026-11-30T12:04:58.000Z",
        "targetResource": {"href": "credential/1"}, "statusMessage": "fetched 120 of 200",
        "acl": {"owner": {"principal": "jane", "type": "USER"}, "rules": [{"principal": "ADMIN", "type": "ROLE", "right": "ALL"}]},
        "operations": [{"rel": "edit", "href": format!("job/{name}")}],
    })
}

/// A collection of jobs, with how many there are of each state.
pub fn jobs(jobs: &[Value]) -> Value {
    let buckets =
        json!({"terms:state": {"buckets": [{"key": "RUNNING", "doc_count": 1}, {"key": "FAILED", "doc_count": 1234}]}});
    json!({"count": jobs.len(), "jobs": jobs, "aggregations": buckets})
}
