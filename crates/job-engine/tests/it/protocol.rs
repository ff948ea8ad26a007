//! The protocol row by row: answers (specification 0.3), what a search is asked (specification 4.1), how it is answered
//! (specification 4.2), and pages (specification 4.5). Where a row is different on purpose,
//! `docs/differences.md` says so, and so does the row.

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::dialect;
use slipstream_store::{Record, Revision, StoreExt};

use crate::failing_store::{Failing, Fault};
use crate::support::{Answered, InProcess, PASSWORD, Raw, cookie, document};

const JSON: &str = "application/json";
const JSON_WITH_ENCODING: &str = "application/json; charset=utf-8";
const FORM: &str = "application/x-www-form-urlencoded";

/// A server and its administrator.
struct Logged {
    engine: InProcess,
    cookie: String,
}

impl Logged {
    async fn over(engine: InProcess) -> Self {
        let cookie = cookie(&*engine.transport).await;
        Self { engine, cookie }
    }

    async fn new() -> Self {
        Self::over(InProcess::new().await).await
    }

    async fn send(&self, request: Raw) -> Answered {
        request.header("cookie", &self.cookie).send(&*self.engine.transport).await
    }

    async fn anonymous(&self, request: Raw) -> Answered {
        request.send(&*self.engine.transport).await
    }

    async fn add(&self) -> String {
        let added = self.send(Raw::new("POST", "/api/job").json(&json!({"action": "noop"}))).await;
        added.body["resource-id"].as_str().unwrap_or_else(|| panic!("{}", added.text)).to_owned()
    }

    /// Stores documents as they are, so that rows may speak of attributes that no job has.
    async fn store(&self, documents: &[Value]) {
        for (number, stored) in documents.iter().enumerate() {
            let id = format!("job/{number:05}");
            let mut stored = document(stored.clone());
            stored.insert("id".to_owned(), json!(id));
            stored.insert("acl".to_owned(), json!({"owner": {"principal": "ADMIN", "type": "ROLE"}}));
            let record = Record { id, revision: Revision::default(), document: stored.into(), ledger: Value::Null };
            self.engine.store.insert(record).await.expect("stored");
        }
    }

    /// Searches by GET with a query string as it is.
    async fn get(&self, query: &str) -> Value {
        let found = self.send(Raw::new("GET", &format!("/api/job?{query}"))).await;
        assert_eq!(found.status, 200, "{query}: {}", found.text);
        found.body
    }

    /// Searches by PUT with a form as it is.
    async fn put(&self, query: &str, content_type: &str, form: &str) -> Value {
        let request = Raw::new("PUT", &format!("/api/job?{query}")).text(content_type, form.to_owned());
        let found = self.send(request).await;
        assert_eq!(found.status, 200, "{query} {form}: {}", found.text);
        found.body
    }
}

fn names(collection: &Value) -> Vec<&str> {
    collection["jobs"].as_array().expect("a list").iter().filter_map(|job| job["name"].as_str()).collect()
}

/// Compares the whole answer; an error has a `request-id` besides, the same as in its header.
fn check(case: &str, mut answered: Answered, status: u16, content_type: &str, body: &Value) {
    let request_id = answered.body.as_object_mut().and_then(|body| body.shift_remove("request-id"));
    let expected_id = (status >= 400).then(|| answered.headers["x-request-id"].to_str().expect("text"));
    assert_eq!(request_id.as_ref().and_then(Value::as_str), expected_id, "{case}");
    assert_eq!((answered.status, &answered.body), (status, body), "{case}: {}", answered.text);
    assert_eq!(answered.headers["content-type"], content_type, "{case}");
}

fn named(status: u16, message: &str, id: &str) -> Value {
    json!({"status": status, "message": message, "resource-id": id})
}

fn login(template: &str, username: &str, password: &str) -> Raw {
    let body = json!({"sessionTemplate": {"href": template, "username": username, "password": password}});
    Raw::new("POST", "/api/session").json(&body)
}

/// Specification 0.3: created, deleted, and the answers that are documents.
#[tokio::test]
async fn good_answers_are_the_originals() {
    let api = Logged::new().await;
    let created = api.send(Raw::new("POST", "/api/job").json(&json!({"action": "noop"}))).await;
    let id = created.headers["location"].to_str().expect("text").to_owned();
    assert!(id.starts_with("job/"), "{id} is an id, not a URL");
    check("created", created, 201, JSON_WITH_ENCODING, &named(201, &format!("{id} created"), &id));
    let session = api.anonymous(login("session-template/internal", "super", PASSWORD)).await;
    let session_id = session.headers["location"].to_str().expect("text").to_owned();
    let body = named(201, &format!("{session_id} created"), &session_id);
    check("created session", session, 201, JSON_WITH_ENCODING, &body);

    for (method, path, body, content_type) in [
        ("GET", "/api/cloud-entry-point".to_owned(), None, JSON_WITH_ENCODING),
        ("PUT", "/api/cloud-entry-point".to_owned(), Some(json!({"name": "ours"})), JSON_WITH_ENCODING),
        ("GET", "/api/job".to_owned(), None, JSON),
        ("PUT", "/api/job".to_owned(), None, JSON),
        ("GET", "/api/session".to_owned(), None, JSON),
        ("GET", "/api/session-template".to_owned(), None, JSON),
        ("GET", "/api/session-template/internal".to_owned(), None, JSON),
        ("GET", format!("/api/{session_id}"), None, JSON),
        ("GET", format!("/api/{id}"), None, JSON),
        ("PUT", format!("/api/{id}"), Some(json!({"name": "renamed"})), JSON),
        ("GET", format!("/api/{id}/ledger"), None, JSON),
        ("GET", format!("/api/{id}/explain"), None, JSON),
        ("GET", format!("/api/{id}/retries"), None, JSON),
        ("POST", format!("/api/{id}/stop"), None, JSON),
    ] {
        let request = Raw::new(method, &path);
        let answered = api.send(body.into_iter().fold(request, |request, body| request.json(&body))).await;
        let found = (answered.status, answered.headers["content-type"].to_str().expect("text"));
        assert_eq!(found, (200, content_type), "{method} {path}");
        assert!(answered.body.is_object(), "{method} {path}: {}", answered.text);
        assert_eq!(answered.headers.get("location"), None, "{method} {path}");
    }
    for id in [&id, &session_id] {
        let deleted = api.send(Raw::new("DELETE", &format!("/api/{id}"))).await;
        check("deleted", deleted, 200, JSON, &named(200, &format!("{id} deleted"), id));
    }
}

/// Specification 0.3: what is refused, with the wording of the original.
#[tokio::test]
async fn refusals_are_the_originals() {
    let api = Logged::new().await;
    let get = |path: &str| Raw::new("GET", path);
    let undefined = |method: &str, path: &str| {
        named(404, &format!("undefined action ({method}, [\"job\" \"foo\"]) for {path}"), path)
    };
    let invalid = |method: &str, path: &str| named(405, &format!("invalid method ({method}) for {path}"), path);
    let unknown = |path: &str| named(404, "unknown resource", path);
    let rows = [
        ("not found", get("/api/job/0a"), named(404, "job/0a not found", "job/0a")),
        ("not found, edit", Raw::new("PUT", "/api/job/0a"), named(404, "job/0a not found", "job/0a")),
        ("not found, delete", Raw::new("DELETE", "/api/job/0a"), named(404, "job/0a not found", "job/0a")),
        ("not found, action", Raw::new("POST", "/api/job/0a/stop"), named(404, "job/0a not found", "job/0a")),
        ("not found, session", get("/api/session/0a"), named(404, "session/0a not found", "session/0a")),
        ("unknown URL", get("/api/a/b/c/d"), unknown("/api/a/b/c/d")),
        ("unknown URL, slash at the end", get("/api/job/"), unknown("/api/job/")),
        ("unknown URL, not under /api/", get("/auth"), unknown("/auth")),
        // 405 in the original
        ("unknown type", get("/api/volume"), unknown("/api/volume")),
        ("unknown type, wrong case", get("/api/Job"), unknown("/api/Job")),
        ("unknown action", Raw::new("POST", "/api/job/1/foo"), undefined("post", "/api/job/1/foo")),
        ("unknown action, any method", get("/api/job/1/foo"), undefined("get", "/api/job/1/foo")),
        ("wrong method", Raw::new("DELETE", "/api/job"), invalid("delete", "/api/job")),
        ("wrong method, document", Raw::new("POST", "/api/job/1"), invalid("post", "/api/job/1")),
        ("wrong method, bulk action", Raw::new("PATCH", "/api/job/1"), invalid("patch", "/api/job/1")),
        (
            "wrong method, entry point",
            Raw::new("DELETE", "/api/cloud-entry-point"),
            invalid("delete", "/api/cloud-entry-point"),
        ),
        ("wrong method, options", Raw::new("OPTIONS", "/api/job"), invalid("options", "/api/job")),
        (
            "not allowed, id known",
            login("session-template/internal", "super", "wrong"),
            named(403, "invalid credentials for 'super'", "super"),
        ),
        (
            "unresolvable href in a create body",
            login("session-template/x", "super", PASSWORD),
            named(404, "session-template/x not found", "session-template/x"),
        ),
    ];
    for (case, request, body) in rows {
        let status = u16::try_from(body["status"].as_u64().expect("a number")).expect("a status");
        check(case, api.send(request).await, status, JSON, &body);
    }
    for (method, path) in
        [("POST", "/api/job"), ("PUT", "/api/job"), ("GET", "/api/job"), ("PUT", "/api/cloud-entry-point")]
    {
        let body = json!({"status": 403, "message": "credentials required"});
        check("not allowed, no id known", api.anonymous(Raw::new(method, path)).await, 403, JSON, &body);
    }
}

/// Specification 0.3: conflict, schema, filter and malformed JSON; the texts of the middle two go on freely.
#[tokio::test]
async fn bad_bodies_are_refused_as_in_the_original() {
    let api = Logged::new().await;
    let add = || Raw::new("POST", "/api/job").json(&json!({"action": "noop"})).header("idempotency-key", "k");
    let id = api.send(add()).await.body["resource-id"].as_str().expect("an id").to_owned();
    let mut body = named(409, &format!("conflict with {id}"), &id);
    // more than the original says
    body["code"] = json!("conflict");
    check("conflict", api.send(add()).await, 409, JSON, &body);

    let filter = "Invalid CIMI filter. Parse error at line 1, column 5:\na=1 AND b=2\n    ^\nexpected ";
    for (case, request, start) in [
        (
            "schema violation, add",
            Raw::new("POST", "/api/job").json(&json!({})),
            "resource does not satisfy defined schema:\n",
        ),
        (
            "schema violation, edit",
            Raw::new("PUT", &format!("/api/{id}")).json(&json!({"progress": 101})),
            "resource does not satisfy defined schema:\n",
        ),
        ("bad filter, query string", Raw::new("GET", "/api/job?$filter=a=1%20AND%20b=2"), filter),
        ("bad filter, form", Raw::new("PUT", "/api/job").text(FORM, "%24filter=a%3D1+AND+b%3D2"), filter),
    ] {
        let answered = api.send(request).await;
        let message = answered.body["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with(start) && message.len() > start.len(), "{case}: {}", answered.text);
        check(case, answered, 400, JSON, &json!({"status": 400, "message": message}));
    }
    let malformed = api.send(Raw::new("POST", "/api/job").text(JSON, "{")).await;
    assert_eq!((malformed.status, malformed.text.as_str()), (400, "Malformed JSON in request body."));
    assert_eq!(malformed.headers["content-type"], "text/plain");
}

/// Specification 0.3: anything unexpected.
#[tokio::test]
async fn what_is_unexpected_is_answered_as_in_the_original() {
    let store = Arc::new(Failing::default());
    let api = Logged::over(InProcess::over(store.clone()).await).await;
    for (fault, start) in
        [(Fault::Panic, "Unexpected exception thrown: "), (Fault::Failed, "unexpected error occurred: ")]
    {
        store.set(fault);
        let before = store.injected();
        let answered = api.send(Raw::new("POST", "/api/job").json(&json!({"action": "noop"}))).await;
        assert!(store.injected() > before, "{fault:?} was not injected");
        let message = answered.body["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with(start) && message.len() > start.len(), "{fault:?}: {}", answered.text);
        check(start, answered, 500, JSON_WITH_ENCODING, &json!({"status": 500, "message": message}));
        store.set(Fault::None);
    }
}

/// Specification 0.2: what a client may leave out, and how it may send the rest.
#[tokio::test]
async fn bodies_are_read_as_in_the_original() {
    let api = Logged::new().await;
    let id = api.add().await;
    for (method, path) in
        [("PUT", format!("/api/{id}")), ("POST", format!("/api/{id}/stop")), ("PUT", "/api/job".to_owned())]
    {
        for request in
            [Raw::new(method, &path), Raw::new(method, &path).text(JSON, ""), Raw::new(method, &path).text(FORM, "")]
        {
            assert_eq!(api.send(request.header("content-length", "0")).await.status, 200, "{method} {path}");
        }
    }
    for content_type in [JSON, JSON_WITH_ENCODING, "application/merge-patch+json"] {
        let request = Raw::new("POST", "/api/job").text(content_type, "{\"action\": \"noop\"}");
        assert_eq!(api.send(request).await.status, 201, "{content_type}");
    }
    // without Content-Type the original fails with 500; its successor and this server take it for JSON
    let request = Raw::new("POST", "/api/job").bare("{\"action\": \"noop\"}");
    assert_eq!(api.send(request).await.status, 201);
    // the form of an edit and of a DELETE is parameters too
    let named = api.send(Raw::new("POST", "/api/job").json(&json!({"action": "noop", "name": "n"}))).await;
    let id = named.body["resource-id"].as_str().expect("an id").to_owned();
    let unnamed = api.send(Raw::new("PUT", &format!("/api/{id}")).text(FORM, "%24select=name")).await;
    assert_eq!((unnamed.status, unnamed.body.get("name")), (200, None));
    assert_eq!(api.send(Raw::new("DELETE", &format!("/api/{id}")).text(FORM, "a=b")).await.status, 200);
}

/// Specification 4.1: each parameter, its two names, its two places, repeated and with blanks.
#[tokio::test]
async fn searches_are_asked_as_in_the_original() {
    let api = Logged::new().await;
    api.store(&[
        json!({"name": "a", "priority": 1, "targetResource": {"href": "x/1"}}),
        json!({"name": "b", "priority": 2, "targetResource": {"href": "x/3"}}),
        json!({"name": "c", "priority": 2, "targetResource": {"href": "x/2"}}),
        json!({"name": "d", "priority": 3}),
    ])
    .await;
    let rows: &[(&str, &[&str])] = &[
        ("", &["a", "b", "c", "d"]),
        // filter
        ("$filter=priority=2", &["b", "c"]),
        ("%24filter=priority%3D2", &["b", "c"]),
        ("filter=priority=2", &["b", "c"]),
        ("$filter=priority=2&$filter=name!='b'", &["c"]),
        ("$filter=priority=2&filter=name!='b'", &["c"]),
        ("$filter=name='a'+or+name='b'&$filter=priority=2+or+priority=3", &["b"]),
        // first and last
        ("$orderby=name&$first=2&$last=3", &["b", "c"]),
        ("orderby=name&first=2&last=3", &["b", "c"]),
        ("$orderby=name&$first=3", &["c", "d"]),
        ("$orderby=name&$last=1", &["a"]),
        ("$orderby=name&$first=two&$last=3.5", &["a", "b", "c", "d"]),
        ("$orderby=name&$first=&$last=3", &["a", "b", "c"]),
        // orderby
        ("$orderby=name:asc", &["a", "b", "c", "d"]),
        ("$orderby=name:desc", &["d", "c", "b", "a"]),
        ("$orderby=priority:desc,name:desc", &["d", "c", "b", "a"]),
        ("$orderby=priority:desc&$orderby=name", &["d", "b", "c", "a"]),
        ("$orderby=+priority:desc+,+name+", &["d", "b", "c", "a"]),
        // neither needs a level to be written in one way, nor is a missing value anywhere but last
        ("$orderby=targetResource.href", &["a", "c", "b", "d"]),
        ("$orderby=targetResource/href:desc", &["b", "c", "a", "d"]),
        // parsed, never used
        ("$expand=targetResource&$format=xml&unknown=1", &["a", "b", "c", "d"]),
    ];
    for (query, expected) in rows {
        assert_eq!(names(&api.get(query).await), *expected, "GET {query}");
        assert_eq!(names(&api.put(query, FORM, "").await), *expected, "PUT {query}");
        let form = query.replace('$', "%24");
        for content_type in [FORM, "application/x-www-form-urlencoded; charset=UTF-8"] {
            assert_eq!(names(&api.put("", content_type, &form).await), *expected, "PUT, form: {query}");
        }
    }
    let both = api.put("$filter=priority=2&last=1", FORM, "%24filter=name!%3D'b'&orderby=name").await;
    assert_eq!(names(&both), ["c"], "query string and form are one");
    for empty in ["$filter=", "filter=", "$filter=+", "$filter=name='a'&$filter="] {
        for request in [Raw::new("GET", &format!("/api/job?{empty}")), Raw::new("PUT", "/api/job").text(FORM, empty)] {
            let refused = api.send(request).await;
            assert_eq!(refused.status, 400, "{empty}");
            let message = refused.body["message"].as_str().expect("a message");
            assert!(message.starts_with("Invalid CIMI filter. Parse error at line 1, column "), "{empty}: {message}");
        }
    }
    // the original takes this for a search without filter; what a client meant as one must not find everything
    let as_json = api.send(Raw::new("PUT", "/api/job").json(&json!({"filter": "name='a'"}))).await;
    assert_eq!(as_json.status, 400);
}

/// Specification 4.1: what is selected; some attributes are always there: clients need them (specification 4.2).
#[tokio::test]
async fn selections_are_as_in_the_original() {
    let api = Logged::new().await;
    api.store(&[json!({"name": "a", "state": "A", "resourceURI": "x", "priority": 1})]).await;
    let everything: &[&str] = &["name", "state", "resourceURI", "priority", "id", "acl", "operations"];
    let rows: &[(&str, &[&str])] = &[
        ("", everything),
        ("$select=*", everything),
        ("$select=name,*", everything),
        ("$select=name&$select=*", everything),
        ("$select=", everything),
        ("$select=name", &["name", "resourceURI", "id", "acl", "operations"]),
        ("select=name", &["name", "resourceURI", "id", "acl", "operations"]),
        ("$select=name,state", &["name", "state", "resourceURI", "id", "acl", "operations"]),
        ("$select=name&$select=state", &["name", "state", "resourceURI", "id", "acl", "operations"]),
        ("$select=id,+name+,+priority", &["name", "resourceURI", "priority", "id", "acl", "operations"]),
        ("$select=nowhere", &["resourceURI", "id", "acl", "operations"]),
    ];
    for (query, expected) in rows {
        let found = api.get(query).await;
        assert_eq!(found["jobs"][0].as_object().expect("a job").keys().collect::<Vec<_>>(), *expected, "{query}");
        let one = api.send(Raw::new("GET", &format!("/api/job/00000?{query}"))).await.body;
        assert_eq!(one.as_object().expect("a job").keys().collect::<Vec<_>>(), *expected, "{query}, one");
    }
}

/// Specification 4.2: the members of a collection, its list under the key that the entry point gives it.
#[tokio::test]
async fn collections_are_answered_as_in_the_original() {
    let api = Logged::new().await;
    api.store(&[json!({"name": "a"}), json!({"name": "b"}), json!({"name": "c"})]).await;
    let entry_point = api.anonymous(Raw::new("GET", "/api/cloud-entry-point")).await.body;
    let add = |href: &str| json!([{"rel": "add", "href": href}]);
    for (key, href, uri, count, operations) in [
        ("jobs", "job", dialect::JOB.resource_uri, 3, add("job")),
        ("sessions", "session", dialect::SESSION.resource_uri, 1, add("session")),
        ("sessionTemplates", "session-template", dialect::SESSION_TEMPLATE.resource_uri, 1, Value::Null),
    ] {
        assert_eq!(entry_point[key], json!({"href": href}));
        let mut found = api.send(Raw::new("GET", &format!("/api/{href}"))).await.body;
        let members = found.as_object_mut().expect("an object");
        let acl = members.shift_remove("acl").expect("an acl");
        assert!(acl["owner"]["principal"].is_string() && acl["owner"]["type"].is_string(), "{key}: {acl}");
        let list = members.shift_remove(key).unwrap_or_else(|| panic!("no list under {key}"));
        assert_eq!(list.as_array().map(Vec::len), Some(count), "{key}");
        assert_eq!(members.shift_remove("operations").unwrap_or(Value::Null), operations, "{key}");
        assert_eq!(*members, document(json!({"count": count, "resourceURI": format!("{uri}Collection"), "id": href})));
    }
    let page = api.get("$filter=name!='b'&$last=1&$select=name").await;
    assert_eq!((&page["count"], names(&page)), (&json!(2), vec!["a"]), "the count is that before paging");
    assert!(page["jobs"][0]["operations"].is_array(), "elements get operations also when not selected");
    // specification 4.4: not searchable, because not stored
    assert_eq!(api.get("$filter=operations!=null&$last=0").await["count"], 0);
    // 200 with a count of null in the original
    for failing in ["$filter=created%3E'soon'", "$filter=created%3C5"] {
        assert_eq!(api.send(Raw::new("GET", &format!("/api/job?{failing}"))).await.status, 400, "{failing}");
    }
}

/// Specification 4.5: each row over a store that holds more than a page.
#[tokio::test]
async fn pages_are_as_the_table_says() {
    const STORED: usize = 10_003;
    let api = Logged::new().await;
    let documents: Vec<Value> = (0..STORED).map(|number| json!({"priority": number})).collect();
    api.store(&documents).await;
    let rows: &[(&str, usize, usize)] = &[
        ("", 0, 10_000),
        ("$first=2", 1, 10_000),
        ("$first=10001", 10_000, 3),
        ("$first=10004", 0, 0),
        ("$last=0", 0, 0),
        ("$first=3&$last=2", 0, 0),
        ("$last=-1", 0, 0),
        ("$first=-5&$last=-1", 0, 0),
        ("$first=0&$last=2", 0, 2),
        ("$first=-7&$last=2", 0, 2),
        ("$first=1&$last=10000", 0, 10_000),
        ("$first=2&$last=10001", 1, 10_000),
        ("$first=5&$last=5", 4, 1),
    ];
    for (query, offset, size) in rows {
        let found = api.get(&format!("{query}&$orderby=priority&$select=priority")).await;
        let jobs = found["jobs"].as_array().expect("a list");
        assert_eq!((found["count"].as_u64(), jobs.len()), (Some(STORED as u64), *size), "{query}");
        let first = jobs.first().map(|job| &job["priority"]);
        assert_eq!(first, (*size > 0).then(|| json!(offset)).as_ref(), "{query}");
    }
    // 500 in the original
    for query in ["$first=1&$last=10001", "$last=10001"] {
        let refused = api.send(Raw::new("GET", &format!("/api/job?{query}"))).await;
        let message = "size 10001 too large; limit is 10000; for more go on from page to page by $after and the \
                       answer's next";
        let body = json!({"status": 400, "message": message});
        check(query, refused, 400, JSON, &body);
    }
}

/// Specification 4.5: filter, sort, page; missing values last in both directions.
#[tokio::test]
async fn searches_are_ordered_as_the_text_says() {
    let api = Logged::new().await;
    api.store(&[
        json!({"name": "none", "progress": 5}),
        json!({"name": "null", "priority": null, "progress": 5}),
        json!({"name": "two", "priority": 2, "progress": 5}),
        json!({"name": "ten", "priority": 10, "progress": 5}),
        json!({"name": "one", "priority": 1, "progress": 0}),
    ])
    .await;
    let rows: &[(&str, &[&str])] = &[
        ("$orderby=priority", &["one", "two", "ten", "none", "null"]),
        ("$orderby=priority:desc", &["ten", "two", "one", "none", "null"]),
        ("$orderby=priority&$filter=progress=5&$first=1&$last=2", &["two", "ten"]),
        ("$orderby=priority:desc&$filter=progress=5&$first=2&$last=3", &["two", "none"]),
        ("$orderby=name", &["none", "null", "one", "ten", "two"]),
        // an error in the original; here every value is missing
        ("$orderby=nowhere", &["none", "null", "two", "ten", "one"]),
    ];
    for (query, expected) in rows {
        assert_eq!(names(&api.get(query).await), *expected, "{query}");
    }
}
