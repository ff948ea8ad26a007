//! Who may do what, and which methods a path has, route by route.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use slipstream_job_engine::server::store::{Record, Store};

use crate::support::{InProcess, Raw, cookie, document};

/// Every route that is for administrators where access control names nobody else, as (method, path); `ID` is a job's
/// id.
const ADMINISTRATORS_ONLY: [(&str, &str); 7] = [
    ("PUT", "cloud-entry-point"),
    ("POST", "job"),
    ("GET", "ID"),
    ("PUT", "ID"),
    ("DELETE", "ID"),
    ("POST", "ID/stop"),
    ("GET", "ID/ledger"),
];

/// A session of somebody with these roles, as a login would have made it; answers its id and its cookie.
pub async fn session_of(store: &dyn Store, name: &str, roles: &str) -> (String, String) {
    let token = Sha256::digest(format!("{name} {roles}"));
    let digest: [u8; 32] = Sha256::digest(token).into();
    let half: [u8; 16] = digest[..16].try_into().expect("half of 32 bytes");
    let id = format!("session/{}", uuid::Builder::from_random_bytes(half).into_uuid());
    let session = document(json!({
        "id": id, "username": name, "roles": format!("{roles} {id}"), "expiry": "2999-01-01T00:00:00.000Z",
    }));
    let ledger = json!({"token": hex::encode(digest)});
    store.insert(Record { id: id.clone(), revision: 0, document: session, ledger }).await.expect("stored");
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
    let others = format!("/api/{}", found.body["sessions"][0]["id"].as_str().expect("an id"));
    let own = format!("/api/{own}");
    for (method, path) in [("GET", &own), ("DELETE", &own), ("GET", &others), ("DELETE", &others)] {
        assert_eq!(send(method, path, None).await.status, 403, "{method} {path} by nobody");
    }
    for method in ["GET", "DELETE"] {
        assert_eq!(send(method, &others, Some(&user)).await.status, 403, "{method} by another user");
    }
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
