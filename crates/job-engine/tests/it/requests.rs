//! Steps of any kind against an engine in this process, and what must hold of every answer: shared by the property test
//! [`super::random_requests`] and the fuzz targets, which only differ in where the steps come from.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use bytes::Bytes;
use http::{Response, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slipstream_cimi::{Document, State, Transport, dialect, lease};
use slipstream_coordination::queue::{Claim, LockingQueue};
use slipstream_coordination::{Coordinator, Embedded};
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::server::job_violations;
use slipstream_job_engine::internals::server::ledger_of;
use slipstream_job_engine::internals::server::state_of;
use slipstream_job_engine::internals::server::{DEFAULT_MAX_ATTEMPTS, Options, Server, Writers};
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Record, Revision, StoreExt};

/// Something that happens to the engine.
#[derive(Clone, Debug)]
pub enum Step {
    /// Somebody asks.
    Request(Request),
    /// An executor claims the first entry; its lease is [`LEASE`] from now on.
    Claim,
    /// The last claim is given up.
    Release,
    /// The reconciler has a round, over every job.
    Reconcile,
    /// So many seconds pass: sessions are read again, or expire.
    Wait(u32),
}

/// A request, with placeholders for what only a running engine knows: [`JOBS`], [`ENTRY`],
/// [`USERS_SESSION`], [`LEASE`].
#[derive(Clone, Debug)]
pub struct Request {
    pub caller: Caller,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, Bytes)>,
    pub body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Nobody,
    User,
    Administrator,
}

pub const CALLERS: [Caller; 4] = [Caller::Administrator, Caller::Administrator, Caller::User, Caller::Nobody];
/// Ids of the newest jobs.
pub const JOBS: [&str; 3] = ["job/NEWEST", "job/SECOND", "job/THIRD"];
/// The entry of the newest job.
pub const ENTRY: &str = "/job/entries/ENTRY";
/// The session of [`Caller::User`].
pub const USERS_SESSION: &str = "session/SESSION";
/// A document of a declared collection that the user may modify.
const CREDENTIAL: &str = "credential/01a2216b-cfa3-7420-bff6-04b959b2b5d9";
/// The lease of the last claim.
pub const LEASE: &str = "LEASE";
/// All that an attempt at the newest job says of itself.
pub const ATTEMPT: [(&str, &str); 3] =
    [(lease::LEASE_HEADER, LEASE), (lease::JOB_HEADER, JOBS[0]), (lease::ENTRY_HEADER, ENTRY)];
pub const METHODS: &[&str] = &["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"];
pub const TARGETS: &[&str] = &[
    "/api/job",
    "/api/job/NEWEST",
    "/api/job/NEWEST",
    "/api/job/SECOND",
    "/api/job/NEWEST/stop",
    "/api/job/SECOND/stop",
    "/api/job/NEWEST/ledger",
    "/api/job/NEWEST/explain",
    "/api/job/NEWEST/retry",
    "/api/job/NEWEST/retries",
    "/api/job/NEWEST/start",
    "/api/job/0a",
    "/api/job/reports",
    "/api/job/bulk",
    "/api/operation",
    "/api/doctor",
    "/api/overview",
    "/api/operation/0a",
    "/api/operation/0a/stop",
    "/api/cloud-entry-point",
    "/api/session",
    "/api/session/SESSION",
    "/api/session-template",
    "/api/session-template/internal",
    "/api//job//NEWEST",
    "/api/user",
    "/api/credential",
    "/api/credential/01a2216b-cfa3-7420-bff6-04b959b2b5d9",
    "/api/credential/01a2216b-cfa3-7420-bff6-04b959b2b5d9",
    "/api/credential/0a",
    "/api/credential/0a/stop",
    "/api/user/super",
    "/api/",
    "/",
    "*",
];
pub const QUERIES: &[&str] = &[
    "$filter=type%5E%3D%27cloud%27%20and%20key!%3D%27a%27",
    "$filter=state%3D%27QUEUED%27",
    "$filter=created%3E%27now-1d%27%20and%20(progress%3C50%20or%20name%3D%3D%27a*%27)",
    "$filter=targetResource/href%5E%3D%27c%27",
    "$filter=a%3D",
    "$orderby=created:desc,priority",
    "$first=2",
    "$last=0",
    "$first=-9223372036854775808",
    "$last=9223372036854775807",
    "$select=state,id,acl",
    "select=name,description,state,statusMessage,properties",
    "$aggregation=max:priority",
    "%FF=%00",
];
pub const HEADERS: &[(&str, &str)] = &[
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "application/x-www-form-urlencoded; charset=latin1"),
    (lease::LEASE_HEADER, LEASE),
    (lease::LEASE_HEADER, "1.1"),
    (lease::LEASE_HEADER, "9223372036854775807.9223372036854775807"),
    (lease::LEASE_HEADER, "-1.0"),
    (lease::JOB_HEADER, "job/NEWEST"),
    (lease::JOB_HEADER, "job/SECOND"),
    (lease::ENTRY_HEADER, ENTRY),
    (lease::ENTRY_HEADER, "/job/entries/entry-999-0000000001"),
    (lease::EXECUTOR_HEADER, "executor"),
    (lease::IDEMPOTENCY_HEADER, "once"),
    ("cookie", "com.sixsq.slipstream.cookie=token=00"),
    ("cookie", "a=b; ;;=; com.sixsq.slipstream.cookie=\"token=%\""),
    ("slipstream-authn-info", "super ADMIN"),
    ("accept", "text/html"),
    ("content-length", "3"),
    ("host", "[::1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "a b"),
];
pub const BODIES: &[&str] = &[
    "",
    r#"{"action": "noop"}"#,
    r#"{"action": "noop", "targetResource": {"href": "credential/a"}, "priority": 3, "name": "a"}"#,
    r#"{"action": "noop", "parentJob": "job/NEWEST", "acl": {"owner": {"principal": "jane", "type": "USER"}}}"#,
    r#"{"action": "noop", "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"}, "rules": [{"principal": "USER", "type": "ROLE", "right": "MODIFY"}]}}"#,
    r#"{"type": "cloud-cred-exoscale", "key": "a", "connector": {"href": "connector/a"}, "expiry": null}"#,
    r#"{"type": ["cloud", 1], "acl": {"owner": {"principal": "jane", "type": "USER"}}, "created": "now"}"#,
    r#"[{"type": "cloud"}, {"name": ""}, 1]"#,
    r#"{"state": "RUNNING"}"#,
    r#"{"state": "QUEUED"}"#,
    r#"{"state": "SUCCESS", "returnCode": 0}"#,
    r#"{"state": "FAILED", "statusMessage": "é"}"#,
    r#"{"state": "STOPPED"}"#,
    r#"{"state": "STOPPING"}"#,
    r#"{"progress": 50}"#,
    r#"{"progress": 500}"#,
    r#"{"started": "2026-01-01T00:00:00.000Z", "properties": {"a": "b"}}"#,
    r#"{"sessionTemplate": {"href": "session-template/internal", "username": "super", "password": "for-tests"}}"#,
    r#"{"sessionTemplate": {"href": "session-template/internal", "username": "super", "password": "wrong"}}"#,
    "username=super&password=for-tests",
    "$filter=state!%3D%27FAILED%27&$last=1",
    "{",
    "[]",
    r#"[{"action": "noop"}, {"action": "noop", "parentJob": "job/NEWEST"}, {}, 1]"#,
    r#"{"reports": [{"id": "job/NEWEST", "lease": "LEASE", "entry": "/job/entries/ENTRY", "changes": {"state": "RUNNING"}}, {"id": "job/SECOND", "document": true}, {"id": "user/super"}]}"#,
    r#"{"reports": [{"id": "job/NEWEST", "lease": "LEASE", "entry": "/job/entries/ENTRY", "executor": "é", "changes": {"state": "SUCCESS"}}, {"id": "job/NEWEST", "lease": "1.1", "entry": "/job/entries/ENTRY", "changes": {"progress": 3}}]}"#,
];

/// Takes the steps in simulated time and checks every answer. Answers the statuses in order.
pub fn take(steps: &[Step]) -> Vec<u16> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("no threads are needed").block_on(async {
        let mut world = World::new().await;
        let mut statuses = Vec::new();
        for step in steps {
            if let Some(status) = world.step(step).await {
                statuses.push(status);
            }
        }
        statuses
    })
}

const PASSWORD: &str = "for-tests";
const ADMINISTRATORS_TOKEN: [u8; 32] = [1; 32];
const USERS_TOKEN: [u8; 32] = [2; 32];
/// Longest time a claim is waited for, in simulated time.
const CLAIM_LIMIT: Duration = Duration::from_secs(1);

/// An engine with an administrator and a user who are logged in.
pub struct World {
    store: Arc<MemoryStore>,
    server: Server,
    coordinator: Embedded,
    transport: Arc<dyn Transport>,
    /// Every job whose add was accepted, as it was last seen; none once it is deleted.
    jobs: Vec<(String, Option<Record>)>,
    claims: Vec<Claim>,
    claimants: u32,
    lease: String,
}

impl World {
    pub async fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let hash = password_hash();
        insert(&store, "user/super", json!({"username": "super", "state": "ACTIVE"}), json!({"password": hash})).await;
        insert_session(&store, "super", "ADMIN USER ANON", &ADMINISTRATORS_TOKEN).await;
        insert_session(&store, "jane", "USER ANON", &USERS_TOKEN).await;
        let owner = json!({"owner": {"principal": "jane", "type": "USER"}});
        insert(&store, CREDENTIAL, json!({"type": "cloud-cred-exoscale", "acl": owner}), Value::Null).await;
        let coordinator = Embedded::new();
        let shared: Arc<dyn Coordinator> = Arc::new(coordinator.clone());
        let options = Options {
            password: PASSWORD.into(),
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            writers: Writers::One,
            coordinator_forgets: true,
            collections: default_collections(),
            metrics: Metrics::default(),
        };
        let start = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56);
        let server = Server::start(store.clone(), shared, Clock::starting_at(start), options).await;
        let server = server.expect("the server starts");
        let transport = server.transport();
        let lease = "1.1".to_owned();
        Self { store, server, coordinator, transport, jobs: Vec::new(), claims: Vec::new(), claimants: 0, lease }
    }

    /// Takes the step; answers the status of a request.
    pub async fn step(&mut self, step: &Step) -> Option<u16> {
        match step {
            Step::Request(request) => return self.send(request).await,
            Step::Claim => self.claim().await,
            Step::Release => {
                if let Some(claim) = self.claims.pop() {
                    claim.release().await.expect("the session lives");
                }
            }
            Step::Reconcile => {
                self.server.reconcile_once(SignedDuration::ZERO).await.expect("store and coordinator answer");
            }
            Step::Wait(seconds) => tokio::time::advance(Duration::from_secs((*seconds).into())).await,
        }
        self.check_jobs(true).await;
        None
    }

    /// None for what no HTTP parser would hand on.
    async fn send(&mut self, request: &Request) -> Option<u16> {
        let sent = self.build(request)?;
        let response = self.transport.send(sent).await.expect("answered");
        let status = response.status().as_u16();
        check_answer(request, &response);
        for id in added(request, &response) {
            self.server.settled().await;
            let record = self.store.get(&id).await.expect("the store answers");
            assert!(record.is_some(), "{id} was added and is not there");
            // A key may add a job again that was deleted.
            self.jobs.retain(|(other, _)| *other != id);
            self.jobs.push((id, record));
        }
        // A late lease is noted in the ledger, and a job without attempts left becomes FAILED: both are a 409.
        let may_write = status < 400 || status == 409;
        self.check_jobs(may_write).await;
        Some(status)
    }

    fn build(&self, request: &Request) -> Option<http::Request<Bytes>> {
        let target = self.filled(&request.target);
        let mut builder = http::Request::builder().method(request.method.as_bytes()).uri(target);
        for (name, value) in &request.headers {
            let value =
                std::str::from_utf8(value).map_or_else(|_| value.to_vec(), |text| self.filled(text).into_bytes());
            builder = builder.header(name, value);
        }
        let token = match request.caller {
            Caller::Nobody => None,
            Caller::User => Some(USERS_TOKEN),
            Caller::Administrator => Some(ADMINISTRATORS_TOKEN),
        };
        if let Some(token) = token {
            builder = builder.header(header::COOKIE, format!("{}=token={}", dialect::COOKIE_NAME, hex::encode(token)));
        }
        let body = match std::str::from_utf8(&request.body) {
            Ok(text) => self.filled(text).into(),
            Err(_) => request.body.clone(),
        };
        builder.body(body).ok()
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (placeholder, (id, _)) in JOBS.iter().zip(self.jobs.iter().rev()) {
            text = text.replace(placeholder, id);
        }
        let newest = self.jobs.last().and_then(|(_, record)| record.as_ref());
        let entry = newest.and_then(|record| ledger_of(record).expect("a readable ledger").entry);
        text = text.replace(ENTRY, &entry.unwrap_or_else(|| format!("{}/entry-999-0000000000", paths::ENTRIES)));
        text.replace(LEASE, &self.lease).replace(USERS_SESSION, &session_id(&USERS_TOKEN))
    }

    async fn claim(&mut self) {
        let session = Arc::new(self.coordinator.session());
        self.claimants += 1;
        let claimant = format!("{:032x}", self.claimants);
        let queue = LockingQueue::open(session, paths::JOB, &claimant).await.expect("the coordinator answers");
        if let Ok(claim) = tokio::time::timeout(CLAIM_LIMIT, queue.take()).await {
            let claim = claim.expect("the session lives");
            self.lease = format!("1.{}", claim.zxid());
            self.claims.push(claim);
        }
    }

    /// What is stored is valid and readable, has not left a final state, and has not changed unless it may have.
    async fn check_jobs(&mut self, may_write: bool) {
        self.server.settled().await;
        for (id, before) in &mut self.jobs {
            let after = self.store.get(id).await.expect("the store answers");
            if !may_write {
                assert_eq!(&after, before, "a refused request changed {id}");
            }
            if let Some(after) = &after {
                assert_eq!(job_violations(&after.document), Vec::<String>::new());
                ledger_of(after).expect("a readable ledger");
            }
            if let (Some(before), Some(after)) = (&before, &after) {
                check_change(before, after);
            }
            assert!(before.is_some() || after.is_none(), "{id} was deleted and is there again");
            *before = after;
        }
    }
}

fn check_change(before: &Record, after: &Record) {
    for kept in ["id", "resourceURI", "created"] {
        assert_eq!(before.document.get(kept), after.document.get(kept), "{kept} changed");
    }
    let (old, new) = (state_of(&before.document), state_of(&after.document));
    // The one exception of decision 13.
    let finished_late = old == State::Stopped && matches!(new, State::Success | State::Failed);
    let is_moved = before.document.get("priority") != after.document.get("priority");
    assert!(!is_moved || !old.is_final() || finished_late, "the priority of a job that is over changed");
    assert!(!old.is_final() || old == new || finished_late, "from {old:?} to {new:?}");
}

/// Ids of the jobs that a request added, alone or in a list.
fn added(request: &Request, response: &Response<Bytes>) -> Vec<String> {
    let alone = response.headers().get(header::LOCATION).filter(|_| request.method == "POST");
    let alone = alone.map(|id| id.to_str().expect("text").to_owned());
    let items = list(response).into_iter().filter(|item| item["status"] == 201);
    let items = items.map(|item| item["resource-id"].as_str().expect("an id").to_owned());
    items.chain(alone).filter(|id| id.starts_with("job/")).collect()
}

/// The answers to the items of a list; none if no list was sent.
fn list(response: &Response<Bytes>) -> Vec<Value> {
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    let items = ["jobs", "reports", "credentials"].into_iter().filter_map(|name| body.get(name)?.as_array());
    items.flatten().filter(|item| item["status"].is_number()).cloned().collect()
}

fn check_answer(request: &Request, response: &Response<Bytes>) {
    let status = response.status().as_u16();
    let text = String::from_utf8_lossy(response.body());
    assert!(status < 500, "{status} {text}\n{request:#?}");
    let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    assert!(id.is_some_and(|id| !id.is_empty()), "no request id\n{request:#?}");
    let is_head = request.method == "HEAD";
    if response.headers()[header::CONTENT_TYPE] == "text/plain" {
        let expected = if is_head { "" } else { "Malformed JSON in request body." };
        assert_eq!((status, &*text), (400, expected));
        assert!(serde_json::from_slice::<Value>(&request.body).is_err(), "this is JSON\n{request:#?}");
        return;
    }
    if is_head {
        assert_eq!(text, "", "HEAD has no body");
        return;
    }
    for item in list(response) {
        assert!(item["status"].as_u64().is_some_and(|status| status < 500), "{item}\n{request:#?}");
    }
    let body: Document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{request:#?}"));
    if status >= 400 {
        assert_eq!(body["status"], status, "{text}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
        assert_eq!(body["request-id"].as_str(), id, "{text}");
    }
}

/// A hash of [`PASSWORD`] that is cheap to check.
fn password_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let cheap = Params::new(8, 1, 1, None).expect("the least that is allowed");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
        argon2.hash_password(PASSWORD.as_bytes()).expect("the password can be hashed").to_string()
    })
}

async fn insert_session(store: &MemoryStore, username: &str, roles: &str, token: &[u8; 32]) {
    let digest: [u8; 32] = Sha256::digest(token).into();
    let id = session_id(token);
    let document = json!({
        "username": username, "roles": format!("{roles} {id}"), "expiry": "2025-12-18T23:00:00.000Z",
        "acl": {"owner": {"principal": id, "type": "ROLE"}},
    });
    insert(store, &id, document, json!({"token": hex::encode(digest)})).await;
}

fn session_id(token: &[u8; 32]) -> String {
    let digest: [u8; 32] = Sha256::digest(token).into();
    let half: [u8; 16] = digest[..16].try_into().expect("half of 32 bytes");
    format!("session/{}", uuid::Builder::from_random_bytes(half).into_uuid())
}

async fn insert(store: &MemoryStore, id: &str, mut document: Value, ledger: Value) {
    document["id"] = json!(id);
    let Value::Object(document) = document else { unreachable!("written as an object") };
    let record = Record { id: id.to_owned(), revision: Revision::default(), document: document.into(), ledger };
    store.insert(record).await.expect("an id that is free");
}

/// How often each status was answered.
pub fn tally(statuses: &[u16]) -> BTreeMap<u16, usize> {
    let mut tally = BTreeMap::new();
    for status in statuses {
        *tally.entry(*status).or_default() += 1;
    }
    tally
}
