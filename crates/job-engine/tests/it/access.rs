//! Who may do what, and which methods a path has, route by route.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slipstream_cimi::acl::default_acl;
use slipstream_cimi::resource::format_time;
use slipstream_job_engine::internals::process::Clock;
use slipstream_store::memory::MemoryStore;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Record, Revision, Store, StoreExt};

use crate::failing_store::{Failing, Fault};
use crate::support::{Answered, InProcess, Raw, cookie, document};

/// Every route that is for administrators where access control names nobody else, as (method, path); `ID` is a job's
/// id.
const ADMINISTRATORS_ONLY: [(&str, &str); 11] = [
    ("PUT", "cloud-entry-point"),
    ("POST", "job"),
    ("GET", "ID"),
    ("PUT", "ID"),
    ("DELETE", "ID"),
    ("POST", "ID/stop"),
    ("GET", "ID/ledger"),
    ("GET", "ID/explain"),
    ("POST", "ID/retry"),
    ("GET", "ID/retries"),
    ("POST", "job/reports"),
];

/// A session of somebody with these roles, as a login would have made it; answers its id and its cookie.
pub async fn session_of(store: &dyn Store, name: &str, roles: &str) -> (String, String) {
    let token = Sha256::digest(format!("{name} {roles}"));
    let digest: [u8; 32] = Sha256::digest(token).into();
    let half: [u8; 16] = digest[..16].try_into().expect("half of 32 bytes");
    let id = format!("session/{}", uuid::Builder::from_random_bytes(half).into_uuid());
    let session = document(json!({
        "id": id, "username": name, "roles": format!("{roles} {id}"), "expiry": format_time(Clock::system().now() + SignedDuration::from_hours(23)),
    }));
    let user = store.get(&format!("user/{name}")).await.expect("answers");
    let stamp = user.map_or(Value::Null, |user| user.ledger["stamp"].clone());
    let ledger = json!({"token": hex::encode(digest), "stamp": stamp});
    store
        .insert(Record { id: id.clone(), revision: Revision::default(), document: session.into(), ledger })
        .await
        .expect("stored");
    (id, format!("com.sixsq.slipstream.cookie=token={}", hex::encode(token)))
}

#[tokio::test]
async fn nobody_but_administrators_does_anything_to_the_jobs_of_administrators() {
    let engine = InProcess::new().await;
    let id = engine.client.add("job", &crate::support::job("noop"), None).await.expect("added");
    let before = engine.store.get(&id).await.expect("answers");
    let (_, user) = session_of(&*engine.store, "jane", "USER ANON").await;
    for (method, path) in ADMINISTRATORS_ONLY {
        for cookie in [None, Some(&user)] {
            let request = Raw::new(method, &format!("/api/{}", path.replace("ID", &id)));
            let request = match (method, path) {
                ("POST", "job") => request.json(&json!({"action": "noop"})),
                ("PUT", "ID" | "cloud-entry-point") => request.json(&json!({"name": "x"})),
                _ => request,
            };
            let request = if let Some(cookie) = cookie { request.header("cookie", cookie) } else { request };
            let answered = request.send(&*engine.transport).await;
            assert_eq!(answered.status, 403, "{method} {path} {cookie:?}: {}", answered.text);
        }
    }
    assert_eq!(engine.store.get(&id).await.expect("answers"), before);
    assert_eq!(engine.client.search("job", &slipstream_cimi::query::Search::default()).await.expect("found").count, 1);
}

/// An engine, its administrator's cookie, and that of jane, who is a user.
struct Jane {
    engine: InProcess,
    administrator: String,
    user: String,
}

impl Jane {
    async fn over(store: Arc<dyn Store>) -> Self {
        let engine = InProcess::over(store).await;
        let administrator = cookie(&*engine.transport).await;
        let (_, user) = session_of(&*engine.store, "jane", "USER ANON").await;
        Self { engine, administrator, user }
    }

    async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::default())).await
    }

    async fn by(&self, cookie: &str, request: Raw) -> Answered {
        request.header("cookie", cookie).send(&*self.engine.transport).await
    }

    /// A job with one rule for jane; answers its path.
    async fn add(&self, name: &str, right: &str) -> String {
        let acl = json!({"owner": {"type": "USER", "principal": "somebody"},
                         "rules": [{"type": "USER", "principal": "jane", "right": right}]});
        let request = Raw::new("POST", "/api/job").json(&json!({"action": "noop", "name": name, "acl": acl}));
        let added = self.by(&self.administrator, request).await;
        assert_eq!(added.status, 201, "{}", added.text);
        format!("/api/{}", added.body["resource-id"].as_str().expect("an id"))
    }
}

/// What an answer says, but for the request's id, which differs each time.
fn said(answer: &Answered) -> (u16, Value) {
    let mut body = answer.body.clone();
    if let Some(body) = body.as_object_mut() {
        body.shift_remove("request-id");
    }
    (answer.status, body)
}

/// The original says 404 for what is missing and 403 for what is hidden, and so tells whether a document exists.
#[tokio::test]
async fn a_missing_document_answers_as_a_hidden_one_unlike_the_original() {
    let world = Jane::new().await;
    let hidden = world.add("hidden", "DELETE").await;
    let ended = world.add("ended", "VIEW_DATA").await;
    let put = Raw::new("PUT", &ended).json(&json!({"state": "FAILED"}));
    assert_eq!(world.by(&world.administrator, put).await.status, 200);
    for path in [hidden.as_str(), ended.as_str(), "/api/job/0a"] {
        for (method, action) in
            [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/ledger"), ("GET", "/explain")]
        {
            let request = || Raw::new(method, &format!("{path}{action}"));
            let id = path.trim_start_matches("/api/");
            let message = format!("invalid credentials for '{id}'");
            let body = json!({"status": 403, "message": message, "resource-id": id});
            assert_eq!(said(&world.by(&world.user, request()).await), (403, body), "{method} {path}{action}");
            let body = json!({"status": 403, "message": "credentials required"});
            assert_eq!(said(&request().send(&*world.engine.transport).await), (403, body), "{method} {path}{action}");
        }
    }
    assert_eq!(world.by(&world.administrator, Raw::new("GET", "/api/job/0a")).await.status, 404);
}

/// The original lists a document to everybody whom any rule names, whatever its right (quirk 25).
#[tokio::test]
async fn a_search_shows_what_may_be_viewed_and_nothing_else_unlike_the_original() {
    let world = Jane::new().await;
    let listed_by_the_original = world.add("mark", "DELETE").await;
    let viewed = world.add("mark", "VIEW").await;
    let found = world.by(&world.user, Raw::new("GET", "/api/job?$filter=name='mark'")).await;
    assert_eq!((found.status, &found.body["count"]), (200, &json!(1)), "{}", found.text);
    assert_eq!(found.body["jobs"][0]["id"], viewed.trim_start_matches("/api/"));
    assert_eq!(world.by(&world.user, Raw::new("GET", &listed_by_the_original)).await.status, 403);
    let found = world.by(&world.administrator, Raw::new("GET", "/api/job?$filter=name='mark'")).await;
    assert_eq!(found.body["count"], 2);
}

async fn hold_pages(store: Arc<dyn Store>) {
    let world = Jane::over(store).await;
    for number in 10..40 {
        world.add(&number.to_string(), if number % 3 == 0 { "VIEW" } else { "MANAGE" }).await;
    }
    let mut names = Vec::new();
    for (first, last) in [(1, 4), (5, 8), (9, 12)] {
        let question = format!("/api/job?$orderby=name:desc&$first={first}&$last={last}");
        let page = world.by(&world.user, Raw::new("GET", &question)).await.body;
        assert_eq!(page["count"], 10, "{page}");
        let jobs = page["jobs"].as_array().expect("a list");
        names.extend(jobs.iter().filter_map(|job| job["name"].as_str()?.parse::<u32>().ok()));
    }
    assert_eq!(names, [39, 36, 33, 30, 27, 24, 21, 18, 15, 12], "no page has holes, none tells what is left out");
    let counted = world.by(&world.user, Raw::new("GET", "/api/job?$last=0")).await.body;
    assert_eq!((&counted["count"], &counted["jobs"]), (&json!(10), &json!([])));
}

#[tokio::test]
async fn pages_and_counts_are_of_what_may_be_viewed_in_memory() {
    hold_pages(Arc::new(MemoryStore::default())).await;
}

#[tokio::test]
async fn pages_and_counts_are_of_what_may_be_viewed_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    hold_pages(Arc::new(SqliteStore::open(&folder.path().join("jobs.db")).expect("opened"))).await;
}

/// A right that was withdrawn between reading and writing counts as withdrawn.
#[tokio::test]
async fn a_right_is_checked_on_the_very_record_that_is_written() {
    let store: Arc<Failing> = Arc::default();
    let world = Jane::over(store.clone()).await;
    for (number, what) in ["edit", "stop", "delete"].into_iter().enumerate() {
        let path = world.add(what, "MODIFY").await;
        let request = match what {
            "edit" => Raw::new("PUT", &path).json(&json!({"name": "taken"})),
            "stop" => Raw::new("POST", &format!("{path}/stop")),
            _ => Raw::new("DELETE", &path),
        };
        let id = path.trim_start_matches("/api/");
        let mut expected = store.get(id).await.expect("answers").expect("there");
        store.set(Fault::Withdrawn);
        let answered = world.by(&world.user, request).await;
        let message = format!("invalid credentials for '{id}'");
        assert_eq!((answered.status, &answered.body["message"]), (403, &json!(message)), "{what}: {}", answered.text);
        assert_eq!(store.injected(), number + 1, "{what}: overtaken");
        expected.document.make_mut().insert("acl".to_owned(), default_acl());
        let found = store.get(id).await.expect("answers").expect("still there");
        assert_eq!((&found.document, &found.ledger), (&expected.document, &expected.ledger), "{what}");
    }
}

#[tokio::test]
async fn whoever_may_modify_may_give_a_job_away_but_never_from_administrators() {
    let world = Jane::new().await;
    let path = world.add("gift", "MODIFY").await;
    let put = |query: &str, body: Value| Raw::new("PUT", &format!("{path}{query}")).json(&body);
    let kept = world.by(&world.user, put("?$select=acl", json!({}))).await;
    assert_eq!((kept.status, &kept.body["acl"]["rules"][0]["right"]), (200, &json!("MODIFY")), "never without");
    let broken = world.by(&world.user, put("", json!({"acl": {"rules": []}}))).await;
    assert_eq!(broken.status, 400, "{}", broken.text);
    let john = json!({"type": "USER", "principal": "john"});
    let given = world.by(&world.user, put("", json!({"acl": {"owner": john}}))).await;
    let administrators = json!({"type": "ROLE", "principal": "ADMIN", "right": "ALL"});
    assert_eq!(said(&given).1["acl"], json!({"owner": john, "rules": [administrators]}));
    for request in [Raw::new("GET", &path), put("", json!({})), Raw::new("DELETE", &path)] {
        assert_eq!(world.by(&world.user, request).await.status, 403, "given is given");
    }
    assert_eq!(world.by(&world.user, Raw::new("GET", "/api/job")).await.body["count"], 0);
    let (_, john) = session_of(&*world.engine.store, "john", "USER ANON").await;
    assert_eq!(world.by(&john, put("", json!({"name": "mine"}))).await.body["name"], "mine");
    assert_eq!(world.by(&world.administrator, Raw::new("GET", &path)).await.body["name"], "mine");
}

/// The id of a keyed add follows from user and key: a second add would name it.
#[tokio::test]
async fn a_key_tells_nobody_but_administrators_that_its_job_exists() {
    let world = Jane::new().await;
    let add = || Raw::new("POST", "/api/job").json(&json!({"action": "noop"})).header("idempotency-key", "key");
    assert_eq!(world.by(&world.administrator, add()).await.status, 201);
    let (_, other) = session_of(&*world.engine.store, "super", "USER ANON").await;
    for cookie in [&world.user, &other] {
        let refused = world.by(cookie, add()).await;
        assert_eq!(said(&refused), (403, json!({"status": 403, "message": "credentials required"})));
    }
    assert_eq!(world.by(&world.administrator, add()).await.status, 409);
}

#[tokio::test]
async fn a_session_is_its_owners_and_the_administrators_alone() {
    let engine = InProcess::new().await;
    let administrator = cookie(&*engine.transport).await;
    let (own, user) = session_of(&*engine.store, "jane", "USER ANON").await;
    let send = async |method: &str, path: &str, cookie: Option<&str>| {
        let request = Raw::new(method, path);
        let request = if let Some(cookie) = cookie { request.header("cookie", cookie) } else { request };
        request.send(&*engine.transport).await
    };
    let found = send("GET", "/api/session", Some(&administrator)).await;
    let others = found.body["sessions"][0]["id"].as_str().expect("an id").to_owned();
    for id in [others.as_str(), "session/0a", own.as_str()] {
        for method in ["GET", "DELETE"] {
            let path = format!("/api/{id}");
            let refused = send(method, &path, None).await;
            let body = json!({"status": 403, "message": "credentials required"});
            assert_eq!(said(&refused), (403, body), "{method} {id} by nobody");
            if id != own {
                let refused = send(method, &path, Some(&user)).await;
                let message = format!("invalid credentials for '{id}'");
                let body = json!({"status": 403, "message": message, "resource-id": id});
                assert_eq!(said(&refused), (403, body), "{method} {id} by another user");
            }
        }
    }
    assert_eq!(send("GET", "/api/session/0a", Some(&administrator)).await.status, 404);
    let own = format!("/api/{own}");
    let found = send("GET", "/api/session", Some(&user)).await;
    assert_eq!((&found.body["count"], &found.body["sessions"][0]["username"]), (&json!(1), &json!("jane")));
    assert_eq!(send("GET", &own, Some(&user)).await.status, 200);
    assert_eq!(send("GET", &own, Some(&administrator)).await.status, 200);
    assert_eq!(send("DELETE", &own, Some(&user)).await.status, 200);
    assert_eq!(send("GET", "/api/session", Some(&user)).await.body["count"], 0);
}

#[tokio::test]
async fn anybody_may_read_where_to_log_in() {
    let engine = InProcess::new().await;
    for path in ["cloud-entry-point", "session", "session-template", "session-template/internal"] {
        for method in ["GET", "HEAD"] {
            let answered = Raw::new(method, &format!("/api/{path}")).send(&*engine.transport).await;
            assert_eq!(answered.status, 200, "{method} {path}: {}", answered.text);
        }
    }
}

#[tokio::test]
async fn each_path_has_its_methods_and_no_others() {
    let engine = InProcess::new().await;
    let cookie = cookie(&*engine.transport).await;
    for (methods, path) in [
        (vec!["POST", "DELETE", "PATCH"], "cloud-entry-point"),
        (vec!["DELETE", "PATCH"], "job"),
        (vec!["DELETE", "PATCH"], "session"),
        (vec!["POST", "DELETE", "PATCH"], "session-template"),
        (vec!["POST", "PATCH"], "job/0a"),
        (vec!["POST", "PUT", "PATCH"], "session/0a"),
        (vec!["POST", "PUT", "DELETE", "PATCH"], "session-template/internal"),
    ] {
        for method in methods {
            let request = Raw::new(method, &format!("/api/{path}")).header("cookie", &cookie);
            let answered = request.send(&*engine.transport).await;
            let message = format!("invalid method ({}) for /api/{path}", method.to_lowercase());
            assert_eq!((answered.status, &answered.body["message"]), (405, &json!(message)), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn headers_of_an_attempt_are_checked() {
    let engine = InProcess::new().await;
    let cookie = cookie(&*engine.transport).await;
    let id = engine.client.add("job", &crate::support::job("noop"), None).await.expect("added");
    let before = engine.store.get(&id).await.expect("answers");
    for (headers, message) in [
        (vec![("job-lease", "1.5")], "job-lease without job-id"),
        (vec![("job-lease", "1.5"), ("job-id", "job/0a")], "job-lease without job-entry"),
        (vec![("job-lease", "five"), ("job-entry", "/job/entries/entry-999-0000000000")], "is not a lease"),
        (vec![("job-lease", "\u{e9}")], "job-lease is not text"),
        (vec![("job-lease", "1.5"), ("job-id", "job/0a"), ("job-entry", "\u{e9}")], "job-entry is not text"),
    ] {
        let request = Raw::new("PUT", &format!("/api/{id}")).json(&json!({"state": "RUNNING"}));
        let request = request.header("cookie", &cookie);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answered = request.send(&*engine.transport).await;
        assert_eq!(answered.status, 400, "{headers:?}: {}", answered.text);
        assert!(answered.body["message"].as_str().is_some_and(|text| text.contains(message)), "{}", answered.text);
    }
    let empty_key = Raw::new("POST", "/api/job").json(&json!({"action": "noop"})).header("cookie", &cookie);
    assert_eq!(empty_key.header("idempotency-key", "").send(&*engine.transport).await.status, 400);
    assert_eq!(engine.store.get(&id).await.expect("answers"), before);
}

#[tokio::test]
async fn only_some_members_of_the_entry_point_may_be_set() {
    let engine = InProcess::new().await;
    let cookie = cookie(&*engine.transport).await;
    let put = async |body: Value| {
        let request = Raw::new("PUT", "/api/cloud-entry-point").json(&body).header("cookie", &cookie);
        request.send(&*engine.transport).await
    };
    let edited = put(json!({"description": "ours", "acl": {}, "created": "x", "jobs": 1, "colour": "red"})).await;
    assert_eq!((edited.status, &edited.body["description"]), (200, &json!("ours")));
    assert_eq!((&edited.body["jobs"], edited.body.get("colour")), (&json!({"href": "job"}), None));
    assert_eq!(edited.body["acl"]["owner"]["principal"], "ADMIN");
    assert_eq!(put(json!({"name": 5})).await.status, 400);
}

/// Only administrators add jobs; whoever could put another action into one would add a job all the same.
#[tokio::test]
async fn whoever_may_modify_a_job_does_not_say_what_is_run() {
    let engine = InProcess::new().await;
    let acl = json!({"owner": {"type": "USER", "principal": "jane"}});
    let job = document(json!({"action": "noop", "acl": acl}));
    let id = engine.client.add("job", &job, None).await.expect("added");
    let (_, jane) = session_of(&*engine.store, "jane", "USER ANON").await;
    let edit = async |action: &str| {
        let changes = json!({"action": action, "name": "mine"});
        Raw::new("PUT", &format!("/api/{id}")).json(&changes).header("cookie", &jane).send(&*engine.transport).await
    };
    let refused = edit("cleanup_jobs").await;
    assert_eq!((refused.status, &refused.body["resource-id"]), (403, &json!(id)), "{}", refused.text);
    let accepted = edit("noop").await;
    assert_eq!((accepted.status, &accepted.body["name"]), (200, &json!("mine")), "{}", accepted.text);
    let changes = document(json!({"action": "dummy_test_action"}));
    let edited = engine.client.edit(&id, &changes, &[]).await.expect("administrators may");
    assert_eq!(edited["action"], "dummy_test_action");
}
