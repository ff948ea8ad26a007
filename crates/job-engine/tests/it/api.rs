//! The API as specification 0 to 5 describes it: statuses, bodies and headers.

use serde_json::{Value, json};
use slipstream_cimi::Transport;

use crate::support::{Answered, InProcess, Raw, cookie};

const STOP: &str = "http://schemas.dmtf.org/cimi/2/action/stop";

struct Api {
    engine: InProcess,
    cookie: String,
}

impl Api {
    async fn new() -> Self {
        let engine = InProcess::new().await;
        let cookie = cookie(&*engine.transport).await;
        Self { engine, cookie }
    }

    fn transport(&self) -> &dyn Transport {
        &*self.engine.transport
    }

    async fn send(&self, request: Raw) -> Answered {
        request.header("cookie", &self.cookie).send(self.transport()).await
    }

    async fn anonymous(&self, request: Raw) -> Answered {
        request.send(self.transport()).await
    }

    async fn add(&self, body: Value) -> String {
        let added = self.send(Raw::new("POST", "/api/job").json(&body)).await;
        assert_eq!(added.status, 201, "{}", added.text);
        added.body["resource-id"].as_str().expect("an id").to_owned()
    }

    async fn search(&self, form: &[(&str, &str)]) -> Value {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let found = self.send(Raw::new("PUT", "/api/job").text("application/x-www-form-urlencoded", form)).await;
        assert_eq!(found.status, 200, "{}", found.text);
        found.body
    }
}

fn actions(collection: &Value) -> Vec<&str> {
    collection["jobs"].as_array().expect("a list").iter().filter_map(|job| job["action"].as_str()).collect()
}

#[tokio::test]
async fn the_entry_point_says_what_there_is() {
    let api = Api::new().await;
    let request = Raw::new("GET", "/api/cloud-entry-point").header("host", "cimi.example.org:8201");
    let entry_point = api.anonymous(request).await;
    assert_eq!(entry_point.status, 200);
    assert_eq!(entry_point.body["id"], "cloud-entry-point");
    assert_eq!(entry_point.body["resourceURI"], "http://schemas.dmtf.org/cimi/2/CloudEntryPoint");
    assert_eq!(entry_point.body["baseURI"], "http://cimi.example.org:8201/api/");
    assert_eq!(entry_point.body["jobs"], json!({"href": "job"}));
    assert_eq!(entry_point.body["sessions"], json!({"href": "session"}));
    assert_eq!(entry_point.body.get("operations"), None);
    let forwarded = Raw::new("GET", "/api/cloud-entry-point")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "out.example.org")
        .header("x-forwarded-port", "444");
    assert_eq!(api.anonymous(forwarded).await.body["baseURI"], "https://out.example.org:444/api/");
    let edited = api.send(Raw::new("PUT", "/api/cloud-entry-point").json(&json!({"name": "ours", "id": "x"}))).await;
    assert_eq!(
        (edited.status, &edited.body["name"], &edited.body["id"]),
        (200, &json!("ours"), &json!("cloud-entry-point"))
    );
    let refused = api.anonymous(Raw::new("PUT", "/api/cloud-entry-point").json(&json!({"name": "theirs"}))).await;
    assert_eq!(refused.status, 403);
}

#[tokio::test]
async fn bodies_and_statuses_are_the_originals() {
    let api = Api::new().await;
    let created = api.send(Raw::new("POST", "/api/job").json(&json!({"action": "noop"}))).await;
    let id = created.body["resource-id"].as_str().expect("an id").to_owned();
    assert_eq!(created.body, json!({"status": 201, "message": format!("{id} created"), "resource-id": id}));
    assert_eq!(created.headers["location"], id.as_str());
    assert_eq!(created.headers["content-type"], "application/json; charset=utf-8");

    let deleted = api.send(Raw::new("DELETE", &format!("/api/{id}"))).await;
    assert_eq!(deleted.body, json!({"status": 200, "message": format!("{id} deleted"), "resource-id": id}));

    let refused = async |method: &str, path: &str, as_super: bool| {
        let request = Raw::new(method, path);
        let mut answered = if as_super { api.send(request).await } else { api.anonymous(request).await };
        let request_id = answered.body.as_object_mut().and_then(|body| body.shift_remove("request-id"));
        assert_eq!(request_id.as_ref().and_then(Value::as_str), answered.headers["x-request-id"].to_str().ok());
        assert_eq!(answered.body["status"], answered.status);
        answered.body
    };
    let body = |status: u16, message: &str, id: &str| json!({"status": status, "message": message, "resource-id": id});
    assert_eq!(refused("GET", "/api/job/0a", true).await, body(404, "job/0a not found", "job/0a"));
    assert_eq!(refused("GET", "/api/x/y/z/4", true).await, body(404, "unknown resource", "/api/x/y/z/4"));
    assert_eq!(refused("GET", "/api/volume", true).await, body(404, "unknown resource", "/api/volume"));
    let undefined = "undefined action (post, [\"job\" \"foo\"]) for /api/job/1/foo";
    assert_eq!(refused("POST", "/api/job/1/foo", true).await, body(404, undefined, "/api/job/1/foo"));
    assert_eq!(
        refused("DELETE", "/api/job", true).await,
        body(405, "invalid method (delete) for /api/job", "/api/job")
    );
    assert_eq!(
        refused("POST", "/api/job/1", true).await,
        body(405, "invalid method (post) for /api/job/1", "/api/job/1")
    );
    assert_eq!(refused("OPTIONS", "/api/job", true).await["status"], 405);
    for (method, path) in [("POST", "/api/job"), ("PUT", "/api/job"), ("GET", "/api/job")] {
        assert_eq!(refused(method, path, false).await, json!({"status": 403, "message": "credentials required"}));
    }
    let id = api.add(json!({"action": "noop"})).await;
    for (method, path) in [
        ("GET", String::new()),
        ("PUT", String::new()),
        ("DELETE", String::new()),
        ("POST", "/stop".to_owned()),
        ("GET", "/ledger".to_owned()),
        ("GET", "/explain".to_owned()),
        ("POST", "/retry".to_owned()),
        ("GET", "/retries".to_owned()),
    ] {
        for id in [id.as_str(), "job/0a"] {
            let refusal = refused(method, &format!("/api/{id}{path}"), false).await;
            assert_eq!(refusal, json!({"status": 403, "message": "credentials required"}), "{method} {id}{path}");
        }
    }
    assert_eq!(refused("GET", "/api//job/0a", true).await["status"], 404, "double slashes are tolerated");
    assert_eq!(api.send(Raw::new("GET", &format!("//api//{id}"))).await.status, 200);
}

#[tokio::test]
async fn a_job_has_its_operations_and_its_entry() {
    let api = Api::new().await;
    let id = api
        .add(json!({"action": "noop", "targetResource": {"href": "dummy"}, "state": "SUCCESS", "id": "job/x"}))
        .await;
    let job = api.send(Raw::new("GET", &format!("/api/{id}"))).await.body;
    assert_eq!((&job["id"], &job["state"], &job["progress"]), (&json!(id), &json!("QUEUED"), &json!(0)));
    assert_eq!(job["resourceURI"], "http://sixsq.com/slipstream/1/Job");
    assert_eq!(job["affectedResources"], json!([{"href": "dummy"}]));
    assert_eq!(job["properties"]["zookeeper-path"], "/job/entries/entry-999-0000000000");
    let rels: Vec<&str> = job["operations"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|operation| operation["rel"].as_str())
        .collect();
    assert_eq!(rels, ["edit", "delete", STOP, "stop"]);
    let selected = api.send(Raw::new("GET", &format!("/api/{id}?%24select=id%2Cstate"))).await.body;
    let names: Vec<&String> = selected.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["id", "resourceURI", "state", "acl", "operations"]);
}

#[tokio::test]
async fn an_edit_merges_removes_and_answers_the_document() {
    let api = Api::new().await;
    let id = api.add(json!({"action": "noop", "name": "n", "statusMessage": "m"})).await;
    let path = format!("/api/{id}");
    let edited = api.send(Raw::new("PUT", &path).json(&json!({"state": "RUNNING", "resourceURI": "x"}))).await;
    assert_eq!((edited.status, &edited.body["state"]), (200, &json!("RUNNING")));
    assert!(edited.body.get("started").is_some() && edited.body.get("operations").is_none());
    let removed =
        api.send(Raw::new("PUT", &format!("{path}?%24select=name,statusMessage,id")).json(&json!({}))).await.body;
    assert_eq!((removed.get("name"), removed.get("statusMessage")), (None, None));
    assert_eq!(removed["id"], id.as_str());
    let backwards = api.send(Raw::new("PUT", &path).json(&json!({"state": "STOPPING"}))).await;
    assert_eq!(backwards.status, 200);
    let impossible = api.send(Raw::new("PUT", &path).json(&json!({"state": "QUEUED"}))).await;
    assert_eq!((impossible.status, &impossible.body["code"]), (409, &json!("conflict")));
    let done = api.send(Raw::new("PUT", &path).json(&json!({"state": "SUCCESS", "returnCode": 3}))).await.body;
    assert_eq!((&done["progress"], &done["returnCode"], &done["duration"]), (&json!(100), &json!(3), &json!(0)));
    let stopped = api.send(Raw::new("POST", &format!("{path}/stop"))).await;
    assert_eq!((stopped.status, &stopped.body), (200, &done), "a final job stays as it is");
}

#[tokio::test]
async fn stop_ends_a_job_and_takes_its_entry_away() {
    let api = Api::new().await;
    for state in ["QUEUED", "RUNNING"] {
        let id = api.add(json!({"action": "noop"})).await;
        if state == "RUNNING" {
            api.send(Raw::new("PUT", &format!("/api/{id}")).json(&json!({"state": state}))).await;
        }
        let stopped = api.send(Raw::new("POST", &format!("/api/{id}/stop"))).await;
        assert_eq!((stopped.status, &stopped.body["state"]), (200, &json!("STOPPED")));
        let entry = stopped.body["properties"]["zookeeper-path"].as_str().expect("recorded").to_owned();
        let session = slipstream_coordination::Coordinator::connect(&api.engine.coordinator).await.expect("connected");
        session.data(&entry).await.expect_err("its entry is gone");
        let again = api.send(Raw::new("POST", &format!("/api/{id}/stop"))).await;
        assert_eq!((again.status, &again.body["updated"]), (200, &stopped.body["updated"]));
    }
}

#[tokio::test]
async fn searches_filter_order_page_select_and_count() {
    let api = Api::new().await;
    for (action, priority) in [("b", 2), ("a", 1), ("c", 3), ("d", 3)] {
        api.add(json!({"action": action, "priority": priority, "targetResource": {"href": format!("dummy/{action}")}}))
            .await;
    }
    let all = api.search(&[("$orderby", "action")]).await;
    assert_eq!((&all["count"], actions(&all)), (&json!(4), vec!["a", "b", "c", "d"]));
    assert_eq!(all["resourceURI"], "http://sixsq.com/slipstream/1/JobCollection");
    assert_eq!((&all["id"], &all["operations"]), (&json!("job"), &json!([{"rel": "add", "href": "job"}])));
    assert!(all["jobs"][0]["operations"].is_array());
    let filtered =
        api.search(&[("$filter", "action='a' or (priority=3 and action!='c')"), ("$orderby", "action:desc")]).await;
    assert_eq!(actions(&filtered), ["d", "a"]);
    let target = api.search(&[("filter", "targetResource/href='dummy/c'")]).await;
    assert_eq!(actions(&target), ["c"]);
    let both = api.search(&[("$filter", "priority=3"), ("$filter", "action!='c'")]).await;
    assert_eq!(actions(&both), ["d"]);
    let page = api.search(&[("$orderby", "priority:desc,action"), ("$first", "2"), ("$last", "3")]).await;
    assert_eq!((&page["count"], actions(&page)), (&json!(4), vec!["d", "b"]));
    let count = api.search(&[("$last", "0"), ("$filter", "state='QUEUED'")]).await;
    assert_eq!((&count["count"], &count["jobs"]), (&json!(4), &json!([])));
    let selected = api.search(&[("$select", "action"), ("$filter", "action='a'")]).await;
    assert_eq!(selected["jobs"][0].get("state"), None);
    assert_eq!(actions(&selected), ["a"]);
    let by_query_string = api.send(Raw::new("GET", "/api/job?%24filter=action%3D%27b%27")).await.body;
    assert_eq!(actions(&by_query_string), ["b"]);
    for (filter, count) in [
        ("created<='now'", 4),
        ("created>'now+1m'", 0),
        ("created>'now-1h' and created<'now+1h'", 4),
        ("created<'now-7d'", 0),
        ("action^='a'", 1),
        ("action=['a','b'] and state!=['RUNNING']", 2),
        ("property['x']=null", 4),
        ("action=='a d'", 2),
        ("2<priority", 2),
    ] {
        assert_eq!(api.search(&[("$filter", filter)]).await["count"], count, "{filter}");
    }
}

#[tokio::test]
async fn sessions_log_in_tell_who_they_are_and_log_out() {
    let api = Api::new().await;
    let own = api
        .send(Raw::new("PUT", "/api/session").text("application/x-www-form-urlencoded", "%24filter=username%3D%27x%27"))
        .await
        .body;
    assert_eq!(own["count"], 1, "the filter is replaced by the caller's own session");
    let session = own["sessions"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(own["sessions"][0]["username"], "super");
    assert_eq!(api.anonymous(Raw::new("GET", "/api/session")).await.body["count"], 0);
    assert_eq!(api.anonymous(Raw::new("GET", &format!("/api/{session}"))).await.status, 403);
    let logout = api.send(Raw::new("DELETE", &format!("/api/{session}"))).await;
    assert_eq!(logout.status, 200);
    let cookie = logout.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("com.sixsq.slipstream.cookie=INVALID;Path=/;Max-Age=0;"), "{cookie}");
    assert_eq!(api.send(Raw::new("GET", "/api/job")).await.status, 403, "the token is revoked");
    assert_eq!(api.send(Raw::new("GET", "/api/session")).await.body["count"], 0);
}

#[tokio::test]
async fn logins_are_refused_as_the_original_refuses_them() {
    let api = Api::new().await;
    let login = async |href: &str, user: &str, password: &str| {
        let body = json!({"sessionTemplate": {"href": href, "username": user, "password": password}});
        api.anonymous(Raw::new("POST", "/api/session").json(&body)).await
    };
    let wrong = login("session-template/internal", "super", "wrong").await;
    assert_eq!((wrong.status, &wrong.body["message"]), (403, &json!("invalid credentials for 'super'")));
    assert_eq!(wrong.body["resource-id"], "super");
    let unknown = login("session-template/x", "super", "x").await;
    assert_eq!((unknown.status, &unknown.body["message"]), (404, &json!("session-template/x not found")));
    let form = "href=session-template%2Finternal&username=super&password=for-tests";
    let by_form = api.anonymous(Raw::new("POST", "/api/session").text("application/x-www-form-urlencoded", form)).await;
    assert_eq!(by_form.status, 201);
    let template = api.anonymous(Raw::new("GET", "/api/session-template/internal")).await;
    assert_eq!((template.status, &template.body["method"]), (200, &json!("internal")));
}

#[tokio::test]
async fn the_cookie_lives_a_day_and_is_not_secure_over_plain_http() {
    let api = Api::new().await;
    let body = json!({"sessionTemplate": {"href": "session-template/internal", "username": "super", "password": crate::support::PASSWORD}});
    let login = api.anonymous(Raw::new("POST", "/api/session").json(&body)).await;
    let cookie = login.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("com.sixsq.slipstream.cookie=token="), "{cookie}");
    assert!(
        cookie.contains(";Path=/;HttpOnly;Expires=") && cookie.ends_with(" +0000") && !cookie.contains("Secure"),
        "{cookie}"
    );
    assert!(login.headers["location"].to_str().is_ok_and(|location| location.starts_with("session/")));
}
