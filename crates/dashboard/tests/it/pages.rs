//! What pages show, to whom, and what they ask the API for.

use bytes::Bytes;
use http::Request;
use serde_json::json;

use super::html;
use super::scripted::{ADMINISTRATOR, NOW, USER, World, job, jobs};

fn world(roles: &'static str) -> World {
    World::of(roles, |method, path| match (method, path) {
        ("GET", "/api/job") => Some((200, jobs(&[job("0a", "RUNNING"), job("0b", "FAILED")]))),
        ("GET", "/api/job/0a") => Some((200, job("0a", "RUNNING"))),
        ("GET", "/api/job/0b") => Some((200, job("0b", "FAILED"))),
        ("GET", "/api/job/0a/ledger") => Some((
            200,
            json!({
                "attempts": [
                    {"lease": {"generation": 7, "zxid": 41}, "executor": "node-2", "begun": "2026-11-30T12:04:50Z",
                     "ended": "2026-11-30T12:04:58Z", "outcome": "lost"},
                    {"lease": {"generation": 7, "zxid": 44}, "executor": "node-3", "begun": "2026-11-30T12:04:58Z"},
                ],
                "refused": [{"lease": {"generation": 7, "zxid": 41}, "executor": "node-2", "time": "2026-11-30T12:04:59Z",
                             "state": "RUNNING"}],
                "refused-total": 3, "lost": 1,
            }),
        )),
        ("POST", "/api/job/0a/stop") => Some((200, job("0a", "STOPPED"))),
        ("POST", "/api/job/0b/stop") => Some((409, json!({"status": 409, "message": "final", "code": "final"}))),
        ("DELETE", "/api/job/0a" | "/api/session/1") => Some((200, json!({"status": 200, "message": "deleted"}))),
        ("POST", "/api/session") => Some((201, json!({"status": 201, "resource-id": "session/1"}))),
        _ => None,
    })
}

#[tokio::test]
async fn whoever_has_not_logged_in_is_sent_there_and_back() {
    let world = world("");
    let answer = world.get("/ui/jobs/0a?x=1").await;
    assert_eq!((answer.status, answer.header("location")), (303, "../login?next=jobs%2F0a%3Fx%3D1"));
    for (path, location) in [
        ("/", "ui/"),
        ("/ui", "ui/"),
        ("/ui/", "./login?next="),
        ("/ui/live?page=jobs", "./login?next=live%3Fpage%3Djobs"),
    ] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, answer.header("location")), (303, location), "{path}");
    }
    assert_eq!(world.post("/ui/jobs/0a/stop", "").await.header("location"), "../../login");
    let page = world.get("/ui/login?next=jobs%2F0a").await;
    let next = html::check(&page.text).into_iter().find(|element| element.attribute("name") == Some("next"));
    assert_eq!((page.status, next.expect("kept").attribute("value")), (200, Some("jobs/0a")));
    let asked = world.asked();
    assert!(asked.iter().all(|asked| asked == "GET /api/job"), "nothing is asked but who it is: {asked:?}");
    let answer = world.post("/ui/login", "username=jane&password=secret&next=jobs%2F0a").await;
    assert_eq!((answer.status, answer.header("location")), (303, "jobs/0a"));
    assert_eq!(answer.header("set-cookie"), "c=token=1;HttpOnly");
    let asked = world.api.asked.lock().expect("not poisoned");
    let sent: serde_json::Value = serde_json::from_slice(asked.last().expect("a login").body()).expect("JSON");
    assert_eq!(sent["sessionTemplate"]["username"], "jane");
}

#[tokio::test]
async fn a_login_that_is_refused_says_why() {
    for (status, message) in
        [(403, "invalid credentials for 'jane'"), (429, "too many logins have failed, try again in 8 s")]
    {
        let world = World::of("", move |_, _| Some((status, json!({"status": status, "message": message}))));
        let answer = world.post("/ui/login", "username=jane&password=x&next=jobs").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after"), if status == 429 { "8" } else { "" });
        html::check(&answer.text);
        assert!(answer.text.contains(&message[1..].replace('&', "&amp;")), "{}", answer.text);
        assert!(!answer.text.contains("value=\"x\""), "no password comes back");
    }
}

#[tokio::test]
async fn every_answer_forbids_what_pages_do_not_need() {
    let world = world(ADMINISTRATOR);
    let style = world.get("/ui/jobs").await.text;
    let style =
        style.split("assets/").find(|part| part.starts_with("site-") && part.contains(".css")).expect("a style");
    let style = format!("/ui/assets/{}", style.split('"').next().expect("a name"));
    for path in ["/ui/login", "/ui/jobs", "/ui/jobs/0a", "/ui/nothing", "/ui/", "/", &style] {
        let answer = world.get(path).await;
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"),
            "{path}"
        );
        assert!(answer.header("content-security-policy").contains("require-trusted-types-for 'script'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        let kept = if path == style { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), kept, "{path}");
    }
}

#[tokio::test]
async fn jobs_are_listed_with_how_many_there_are() {
    let world = world(USER);
    let page = world.get("/ui/jobs?filter=action%3D'collect'").await;
    let elements = html::check(&page.text);
    assert_eq!(page.status, 200);
    assert!(page.text.contains("1,234") && page.text.contains("fetched 120 of 200"), "{}", page.text);
    let rows: Vec<_> =
        elements.iter().filter(|element| element.attribute("id").is_some_and(|id| id.starts_with("row-"))).collect();
    assert_eq!(rows.len(), 2);
    let query = |place: usize| {
        let asked = world.api.asked.lock().expect("not poisoned");
        let searches = asked.iter().filter(|request| request.uri().path() == "/api/job");
        let query = searches.map(|request| request.uri().query().unwrap_or_default().to_owned()).nth(place);
        form_urlencoded::parse(query.expect("asked").as_bytes()).into_owned().collect::<Vec<_>>()
    };
    assert!(query(0).contains(&("$last".to_owned(), "50".to_owned())));
    assert!(query(0).contains(&("$orderby".to_owned(), "created:desc".to_owned())));
    assert!(query(1).contains(&("$aggregation".to_owned(), "terms:state".to_owned())));
    assert!(query(1).contains(&("$filter".to_owned(), "action='collect'".to_owned())));
}

#[tokio::test]
async fn a_filter_that_is_refused_says_so_within_the_field() {
    let message = "Invalid CIMI filter. Parse error at line 1, column 7:\nstate=<b>\n      ^\nexpected a number";
    let world = World::of(USER, move |_, _| Some((400, json!({"status": 400, "message": message}))));
    let page = world.get("/ui/jobs?filter=state%3D%3Cb%3E").await;
    let elements = html::check(&page.text);
    assert_eq!(page.status, 400);
    let field = elements.iter().find(|element| element.attribute("id") == Some("filter")).expect("the field");
    assert_eq!(field.attribute("aria-invalid"), Some("true"));
    assert_eq!(field.attribute("value"), Some("state=&lt;b&gt;"), "nothing typed is lost");
    assert!(page.text.contains("state=&lt;b&gt;\n      ^\n"), "{}", page.text);
}

#[tokio::test]
async fn a_state_that_there_is_not_is_told_beside_the_filter() {
    let page = world(USER).get("/ui/jobs?filter=state%3D%27WAITING%27").await;
    html::check(&page.text);
    let hint = "there is no state WAITING; the states are QUEUED, RUNNING";
    assert!(page.status == 200 && page.text.contains(hint), "{}", page.text);
    let page = world(USER).get("/ui/jobs?filter=state%3D%27FAILED%27").await;
    assert!(!page.text.contains("there is no state"), "{}", page.text);
}

#[tokio::test]
async fn a_job_is_shown_with_its_attempts_to_administrators_and_without_to_others() {
    let page = world(ADMINISTRATOR).get("/ui/jobs/0a").await;
    html::check(&page.text);
    for text in
        ["node-2", "node-3", "7.44", "late write refused", "3 late writes were refused in all", "Ledger", "lost"]
    {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let user = world(USER);
    let page = user.get("/ui/jobs/0a").await;
    html::check(&page.text);
    assert!(!page.text.contains("node-2") && !page.text.contains("Ledger"), "{}", page.text);
    assert_eq!(user.asked(), ["GET /api/job/0a", "GET /api/job/0a/explain", "GET /api/job/0a/retries"]);
    for text in
        ["<a href=\"../executors\">all slots &lt;b&gt; are taken</a>", "two entries are before it", "Run again as"]
    {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    let page = user.get("/ui/jobs/none").await;
    html::check(&page.text);
    assert!(page.status == 404 && page.text.contains("/api/job/none not found"), "{}", page.text);
}

#[tokio::test]
async fn something_is_done_after_a_question_and_only_what_one_may() {
    let world = world(USER);
    let running = world.get("/ui/jobs/0a").await.text;
    assert!(running.contains("../jobs/0a/stop") && running.contains("../jobs/0a/delete"), "{running}");
    let failed = world.get("/ui/jobs/0b").await.text;
    assert!(!failed.contains("0b/stop") && failed.contains("0b/delete"), "what has ended is not stopped");
    let question = world.get("/ui/jobs/0a/stop").await;
    let form = html::check(&question.text)
        .into_iter()
        .find(|element| element.attribute("action") == Some("../../jobs/0a/stop"));
    assert_eq!(form.expect("a form").attribute("method"), Some("post"));
    assert!(!world.asked().iter().any(|asked| asked.starts_with("POST")), "nothing is done by looking");
    let done = world.post("/ui/jobs/0a/stop", "").await;
    assert_eq!((done.status, done.header("location")), (303, "../../jobs/0a"));
    assert_eq!(
        world.post("/ui/jobs/0b/stop", "").await.header("location"),
        "../../jobs/0b",
        "it has ended, as was wanted"
    );
    let done = world.post("/ui/jobs/0a/delete", "").await;
    assert_eq!((done.status, done.header("location")), (303, "../../jobs"));
    assert_eq!(world.asked().last().map(String::as_str), Some("DELETE /api/job/0a"));
    let others = World::of(USER, |_, _| {
        let mut job = job("0a", "RUNNING");
        job["operations"] = json!([{"rel": "stop"}]);
        Some((200, job))
    });
    let page = others.get("/ui/jobs/0a").await.text;
    assert!(!page.contains("0a/stop") && !page.contains("0a/delete"), "what one may not do is not drawn");
    assert!(others.get("/ui/jobs/0a/stop").await.text.contains("You may not do that"));
}

#[tokio::test]
async fn a_job_that_has_ended_is_run_again_once_however_often_that_is_clicked() {
    let again = World::of(ADMINISTRATOR, |method, path| match (method, path) {
        ("GET", "/api/job/0a") => Some((200, job("0a", "RUNNING"))),
        ("GET", "/api/job/0b") => Some((200, job("0b", "FAILED"))),
        ("GET", path) if path.ends_with("/ledger") => Some((200, json!({}))),
        ("POST", "/api/job/0b/retry") => Some((201, json!({"status": 201, "resource-id": "job/0d"}))),
        ("POST", "/api/job/0e/retry") => Some((
            409,
            json!({
            "status": 409, "code": "conflict", "message": "conflict with job/0d", "resource-id": "job/0d"}),
        )),
        ("POST", "/api/job/0f/retry") => Some((
            409,
            json!({
            "status": 409, "code": "conflict", "message": "job/0f is RUNNING", "resource-id": "job/0f"}),
        )),
        _ => None,
    });
    assert!(again.get("/ui/jobs/0b").await.text.contains("0b/retry"));
    assert!(!again.get("/ui/jobs/0a").await.text.contains("0a/retry"), "it has not ended");
    let question = html::check(&again.get("/ui/jobs/0b/retry").await.text);
    let seen =
        question.iter().find(|element| element.attribute("name") == Some("retries")).expect("how many there were");
    assert_eq!(seen.attribute("value"), Some("1"));
    let done = again.post("/ui/jobs/0b/retry", "retries=1").await;
    assert_eq!((done.status, done.header("location")), (303, "../../jobs/0d"));
    let sent: serde_json::Value = {
        let asked = again.api.asked.lock().expect("not poisoned");
        serde_json::from_slice(asked.last().expect("asked").body()).expect("JSON")
    };
    assert_eq!(sent, json!({"retries": 1}));
    assert_eq!(again.post("/ui/jobs/0e/retry", "retries=1").await.header("location"), "../../jobs/0d", "clicked twice");
    assert_eq!(again.post("/ui/jobs/0f/retry", "retries=1").await.status, 409);
}

#[tokio::test]
async fn the_api_is_asked_as_whoever_asks_for_the_page() {
    #[derive(Clone, PartialEq, Debug)]
    struct Peer(u8);
    let world = world(USER);
    let mut request = Request::post("/ui/jobs/0a/stop");
    for (name, value) in [
        ("cookie", "c=token=1"),
        ("host", "here"),
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("x-real-ip", "10.0.0.7"),
        ("x-forwarded-host", "front"),
        ("slipstream-authn-info", "jane USER"),
        ("accept", "text/html"),
        ("content-type", "application/x-www-form-urlencoded"),
    ] {
        request = request.header(name, value);
    }
    world.send(request.extension(Peer(7)).body(Bytes::new()).expect("a request")).await;
    let asked = world.api.asked.lock().expect("not poisoned");
    assert_eq!(asked.len(), 3, "the session, whether the header is believed, and what is to be done");
    for request in asked.iter() {
        let names: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
        assert_eq!(
            names,
            ["cookie", "host", "origin", "sec-fetch-site", "x-real-ip", "x-forwarded-host", "slipstream-authn-info"]
        );
        assert_eq!(request.extensions().get(), Some(&Peer(7)));
    }
}

#[tokio::test]
async fn logging_out_deletes_the_session() {
    let world = world(USER);
    let answer = world.post("/ui/logout", "").await;
    assert_eq!((answer.status, answer.header("location")), (303, "login"));
    assert_eq!(world.asked(), ["DELETE /api/session/1"]);
}

#[tokio::test]
async fn the_look_is_remembered_by_the_browser() {
    let world = world(USER);
    let answer = world.post("/ui/look", "look=dark&next=jobs%3Ffilter%3Dstate%253D'FAILED'").await;
    assert_eq!((answer.status, answer.header("location")), (303, "jobs?filter=state%3D'FAILED'"));
    let cookie = answer.header("set-cookie").split(';').next().expect("a cookie").to_owned();
    assert_eq!(cookie, "slipstream-look=dark");
    let request = Request::get("/ui/jobs").header("cookie", cookie).body(Bytes::new()).expect("a request");
    assert!(world.send(request).await.text.contains("<html lang=\"en\" data-look=\"dark\">"));
    assert!(world.post("/ui/look", "look=system&next=//evil.example").await.header("location") == "./");
}

#[tokio::test]
async fn methods_and_places_that_are_not_there_are_refused() {
    let world = world(ADMINISTRATOR);
    for (method, path, status) in [
        ("POST", "/ui/jobs", 405),
        ("PUT", "/ui/jobs/0a", 405),
        ("GET", "/ui/logout", 405),
        ("DELETE", "/ui/login", 405),
        ("POST", "/ui/live", 405),
        ("GET", "/ui/nothing", 404),
        ("GET", "/ui/jobs/0a/fly", 404),
        ("GET", "/ui/assets/x.js", 404),
        ("GET", "/ui/regions?page=login", 404),
        ("GET", "/ui/live?page=//evil.example", 404),
    ] {
        let request = Request::builder().method(method).uri(path).body(Bytes::new()).expect("a request");
        let answer = world.send(request).await;
        assert_eq!(answer.status, status, "{method} {path}");
        html::check(&answer.text);
        assert_eq!(answer.header("allow").is_empty(), status != 405, "{method} {path}");
    }
}

#[tokio::test]
async fn a_filter_is_completed_by_its_grammar_and_by_what_there_is() {
    let world = world(USER);
    let completed = async |filter: &str| -> serde_json::Value {
        let query: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        world.get(&format!("/ui/jobs/complete?filter={query}")).await.text.parse().expect("JSON")
    };
    assert_eq!(
        completed("sta").await,
        json!({"from": 0, "items": [{"text": "state="}, {"text": "started>"}, {"text": "statusMessage="}]})
    );
    assert_eq!(completed("state='F").await, json!({"from": 6, "items": [{"text": "'FAILED'", "note": "1,234"}]}));
    assert_eq!(completed("name='é' ").await["from"], 9);
    assert_eq!(completed("state=<").await["items"], json!([]));
}

#[tokio::test]
async fn the_menu_leads_where_one_may_go() {
    let places = async |roles| {
        let page = world(roles).get("/ui/jobs").await;
        let links = html::check(&page.text)
            .into_iter()
            .filter(|element| element.attribute("id").is_some_and(|id| id.starts_with("to-")));
        links.map(|link| link.attribute("href").unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let all = ["./", "./jobs", "./queue", "./actions", "./distributors", "./executors", "./users", "./about"];
    assert_eq!(places(ADMINISTRATOR).await, all);
    assert_eq!(places(USER).await, all[..2]);
    let user = world(USER);
    for place in &all[2..] {
        let page = user.get(&format!("/ui/{}", &place[2..])).await;
        assert_eq!(page.status, 403, "{place}");
    }
    assert!(user.asked().is_empty(), "the API is not even asked");
}

/// What one action did.
fn overview(since: &str) -> serde_json::Value {
    let action = json!({"name": "collect", "added": 8, "ended": 8, "failed": 5, "series": [],
                        "run": {"count": 8, "p50": 0.25, "p99": 2.14}});
    let total = json!({"added": 8, "success": 3, "failed": 5, "stopped": 0, "lost": 0, "released": 0, "refused": 0,
                       "addedPerSecond": 0.0, "endedPerSecond": 0.0});
    json!({"time": since, "span": "15m", "jobs": {}, "work": {
        "since": since, "total": total, "actions": [action], "failures": [], "late": [], "attention": [],
        "series": {"begin": since, "step": 10, "added": [], "ended": [], "failed": []},
    }})
}

#[tokio::test]
async fn queue_executors_distributors_and_actions_show_what_the_api_answers() {
    let since = "2026-11-30T12:00:00Z";
    let world = World::of(ADMINISTRATOR, move |method, path| match (method, path) {
        ("GET", "/api/queue/recent") => Some((
            200,
            json!({
                "waiting": {"count": 12204, "priorities": [{"priority": 5, "count": 4}, {"priority": 999, "count": 12200}],
                            "oldest": {"job": "job/0a", "action": "collect", "created": since}},
                "claimed": {"count": 1, "claims": [{"entry": "/job/entries/entry-999-0000000001", "job": "job/0b", "action": "collect",
                            "state": "RUNNING", "claimant": "c1", "executor": "node-2", "host": "h", "since": since}]},
                "left_alone": {"entries": {"count": 1, "names": ["entry-<b>"]}, "claims": {"count": 0, "names": []}},
            }),
        )),
        ("POST", "/api/queue/restore") => Some((200, json!({"queued": 3, "generation": 8}))),
        ("GET", "/api/executor") => Some((
            200,
            json!({"count": 1, "executors": [{
            "claimant": "c1", "name": "node-2", "process": {"host": "h", "id": 7, "version": "0.1.0"}, "slots": 4,
            "actions": ["collect"], "begun": since, "busy": 1, "draining": true,
        }], "foreign": [{"claimant": "old", "busy": 2}]}),
        )),
        ("GET", "/api/distributor") => Some((
            200,
            json!({"count": 1, "distributors": [{
                "name": "nightly", "election": "nightly", "schedule": "every day", "leader": "one", "candidates": ["one", "two"],
                "last": since, "next": null, "problem": "two rounds given up",
            }]}),
        )),
        ("GET", "/api/overview") => Some((200, overview(since))),
        ("POST", "/api/distributor/nightly/reset") => Some((200, json!({}))),
        ("GET", "/api/job") => Some((
            200,
            json!({"count": 3, "jobs": [], "aggregations": {"terms:action": {
            "sum_other_doc_count": 0, "buckets": [{"key": "nobody_has_it", "doc_count": 3}]}}}),
        )),
        _ => None,
    });
    let pages: [(&str, &[&str]); 8] = [
        ("/ui/queue", &["12,204", "priority 999", "node-2", "entry-&lt;b&gt;", "./queue/restore"]),
        ("/ui/queue/restore", &["Restore the queue?"]),
        ("/ui/executors", &["node-2", "draining", "▮▯▯▯", "1/4", "old"]),
        ("/ui/executors/c1", &["collect", "RUNNING"]),
        ("/ui/distributors", &["nightly", "every day", "two rounds given up", "and 1 more"]),
        ("/ui/distributors/nightly", &["two", "nightly/reset"]),
        ("/ui/distributors/nightly/reset", &["Reset nightly?"]),
        (
            "/ui/actions",
            &[
                "collect",
                "62.5 %",
                "250 ms",
                "2.1 s",
                "no executor has it",
                "state%3D%27QUEUED%27%20and%20action%3D%27nobody_has_it%27",
            ],
        ),
    ];
    for (path, texts) in pages {
        let page = world.get(path).await;
        html::check(&page.text);
        for text in texts {
            assert!(page.status == 200 && page.text.contains(text), "{path}: {text} in {}", page.text);
        }
    }
    let restored = world.post("/ui/queue/restore", "").await;
    html::check(&restored.text);
    assert!(restored.text.contains("3 jobs were queued"), "{}", restored.text);
    let reset = world.post("/ui/distributors/nightly/reset", "").await;
    assert_eq!((reset.status, reset.header("location")), (303, "../../distributors/nightly"));
    assert_eq!(world.get("/ui/executors/none").await.status, 404);
}

#[tokio::test]
async fn users_are_added_and_changed_and_what_is_refused_is_said_beside_the_form() {
    let user = json!({"id": "user/jane", "username": "jane", "state": "ACTIVE", "isSuperUser": false, "created": "2026-11-30T12:00:00Z"});
    let world = World::of(ADMINISTRATOR, move |method, path| match (method, path) {
        ("GET", "/api/user") => Some((200, json!({"count": 1, "users": [user]}))),
        ("GET" | "PUT", "/api/user/jane") => Some((200, user.clone())),
        ("GET", "/api/user/jane/sessions") => Some((200, sessions("jane"))),
        ("POST", "/api/user") => Some((400, json!({"status": 400, "message": "password: <too short>"}))),
        ("DELETE", "/api/user/jane") => Some((200, json!({}))),
        _ => None,
    });
    for path in ["/ui/users", "/ui/users/jane", "/ui/users/jane/password", "/ui/users/jane/delete"] {
        let page = world.get(path).await;
        html::check(&page.text);
        assert!(page.status == 200 && page.text.contains("jane"), "{path}: {}", page.text);
    }
    let page = world.get("/ui/users/jane").await.text;
    assert!(page.contains("jane/disable") && !page.contains("jane/enable"), "{page}");
    let administrator = World::of(ADMINISTRATOR, |_, path| {
        let user = json!({"username": "super", "state": "ACTIVE"});
        Some((200, if path.ends_with("/sessions") { sessions("super") } else { user }))
    });
    let page = administrator.get("/ui/users/super").await.text;
    let deeds = page.matches("users/super/").count();
    assert!(deeds == 1 && page.contains("users/super/end-sessions"), "it stays as it is: {page}");
    let refused = world.post("/ui/users", "username=joe&password=x").await;
    html::check(&refused.text);
    assert!(refused.status == 400 && refused.text.contains("password: &lt;too short&gt;"), "{}", refused.text);
    for (deed, next, change) in [
        ("disable", "../../users/jane", Some(json!({"state": "SUSPENDED"}))),
        ("promote", "../../users/jane", Some(json!({"isSuperUser": true}))),
        ("password", "../../users/jane", Some(json!({"password": "a new one"}))),
        ("delete", "../../users", None),
    ] {
        let done = world.post(&format!("/ui/users/jane/{deed}"), "password=a+new+one").await;
        assert_eq!((done.status, done.header("location")), (303, next), "{deed}");
        let asked = world.api.asked.lock().expect("not poisoned");
        let sent = asked.last().expect("asked");
        assert_eq!(serde_json::from_slice(sent.body()).ok(), change, "{deed}");
    }
}

fn sessions(user: &str) -> serde_json::Value {
    let session = |id: &str, address: &str, current| json!({"id": format!("session/{id}"), "address": address, "program": "curl/8 <i>", "created": NOW, "used": NOW, "expiry": NOW, "current": current});
    json!({"user": user, "count": 2, "sessions": [session("1", "192.0.2.7", true), session("2", "<b>", false)]})
}

#[tokio::test]
async fn sessions_are_shown_and_each_is_ended_by_itself_or_all_together() {
    let world = World::of(USER, |method, path| match (method, path) {
        ("GET", "/api/session/all") => Some((200, sessions("jane"))),
        ("DELETE", "/api/session/2" | "/api/session/all") => Some((200, json!({"ended": 2}))),
        _ => None,
    });
    let page = world.get("/ui/sessions").await;
    html::check(&page.text);
    for text in
        ["192.0.2.7", "&lt;b&gt;", "curl/8 &lt;i&gt;", "This one: log out", "./sessions/2/end", "./sessions/end"]
    {
        assert!(page.status == 200 && page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(!page.text.contains("sessions/1/end"), "one logs out of this one");
    for (path, form, next) in [
        ("/ui/sessions/2/end", "", "../../sessions"),
        ("/ui/sessions/2/end", "user=jane", "../../users/jane"),
        ("/ui/sessions/end", "", "../login"),
    ] {
        let done = world.post(path, form).await;
        assert_eq!((done.status, done.header("location")), (303, next), "{path} {form}");
    }
    let question = world.get("/ui/sessions/end").await;
    html::check(&question.text);
    assert_eq!(question.status, 200);
    assert_eq!(
        world.asked(),
        ["GET /api/session/all", "DELETE /api/session/2", "DELETE /api/session/2", "DELETE /api/session/all"]
    );
}
