use serde_json::json;

use super::*;
use crate::client::tests::{Script, answer, client, forbidden, logged_in, with_cookie};
use crate::lease::{AttemptIdentity, IDEMPOTENCY_HEADER, Lease};

const OURS: &str = "com.sixsq.slipstream.cookie=token=t1";

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::from_static(b"{\"a\":1}")).unwrap()
}

fn identity() -> AttemptIdentity {
    AttemptIdentity {
        job: "job/1".to_owned(),
        lease: Lease { generation: 7, zxid: 42 },
        entry: "/job/entries/entry-999-0000000042".to_owned(),
        executor: "Kenny".to_owned(),
    }
}

fn ok() -> Response<Bytes> {
    answer(200, &json!({"id": "credential/1"}))
}

#[tokio::test]
async fn goes_on_as_it_is_with_the_login_and_the_attempt() {
    let script = Script::new([logged_in("t1"), answer(418, &json!({"message": "no"}))]);
    let client = client(&script).for_attempt(identity());
    let sent = [
        ("accept", "text/plain"),
        ("content-type", "application/json"),
        ("if-match", "7"),
        ("host", "token"),
        ("connection", "keep-alive, X-Hop"),
        ("x-hop", "1"),
        ("keep-alive", "5"),
        ("job-lease", "99.99"),
        ("job-executor", "forged"),
    ];
    let answered = client.forward(request(Method::PUT, "/api/credential/1?select=a", &sent)).await.unwrap();
    assert_eq!(answered.status(), 418, "every status is an answer");
    assert_eq!(script.asked()[1], format!("PUT /api/credential/1?select=a {OURS}"));
    assert_eq!(script.body(1), "{\"a\":1}");
    let header = |name| script.header(1, name);
    for (name, value) in [
        ("accept", "text/plain"),
        ("content-type", "application/json"),
        ("if-match", "7"),
        ("job-id", "job/1"),
        ("job-lease", "7.42"),
        ("job-entry", "/job/entries/entry-999-0000000042"),
        ("job-executor", "Kenny"),
    ] {
        assert_eq!(header(name).as_deref(), Some(value), "{name}");
    }
    for name in ["host", "connection", "x-hop", "keep-alive", IDEMPOTENCY_HEADER] {
        assert_eq!(header(name), None, "{name}");
    }
}

#[tokio::test]
async fn without_an_attempt_nobody_else_says_one() {
    let script = Script::new([logged_in("t1"), ok()]);
    client(&script)
        .forward(request(Method::GET, "/api/job/1", &[("job-lease", "1.1"), ("job-id", "x")]))
        .await
        .unwrap();
    assert_eq!((script.header(1, "job-lease"), script.header(1, "job-id")), (None, None));
}

#[tokio::test]
async fn an_ended_session_is_renewed_once() {
    let script = Script::new([logged_in("t1"), answer(401, &json!({})), logged_in("t2"), ok()]);
    let answered = client(&script).forward(request(Method::PUT, "/api/credential/1", &[])).await.unwrap();
    assert_eq!(answered.status(), 200);
    let script = Script::new([logged_in("t1"), forbidden(), logged_in("t2"), forbidden()]);
    let answered = client(&script).forward(request(Method::PUT, "/api/credential/1", &[])).await.unwrap();
    assert_eq!((answered.status().as_u16(), script.asked().len()), (403, 4));
}

#[tokio::test]
async fn own_credentials_go_with_the_attempt_and_without_the_login() {
    let own = [
        ("cookie", "com.sixsq.nuvla.cookie=hers"),
        ("authorization", "Bearer x"),
        ("nuvla-authn-info", "user/1 user/1"),
    ];
    for (name, value) in own {
        let script = Script::new([with_cookie(forbidden(), "a=1; Path=/")]);
        let client = client(&script).for_attempt(identity());
        let answered = client.forward(request(Method::GET, "/api/credential/1", &[(name, value)])).await.unwrap();
        assert_eq!(answered.status(), 403, "{name}: another login would not help");
        assert_eq!(script.header(0, name).as_deref(), Some(value));
        assert_eq!(script.header(0, "job-lease").as_deref(), Some("7.42"), "{name}");
        let expected = (name == "cookie").then(|| value.to_owned());
        assert_eq!(script.header(0, "cookie"), expected, "{name}");
        assert_eq!(answered.headers()[SET_COOKIE], "a=1; Path=/");
    }
}

/// Else an action that logs in as somebody by the address that it is told would go on as the executor.
#[tokio::test]
async fn whoever_logs_in_gets_a_cookie_that_its_client_sends_back() {
    for path in ["/api/session", "/api/session/"] {
        let cookie =
            "c=token=x=;Secure; Path=/;Domain=nuv.la; HttpOnly ;secure;Expires=Fri, 22 Nov 2030 10:54:14 +0000";
        let script = Script::new([with_cookie(answer(201, &json!({})), cookie)]);
        let answered = client(&script).forward(request(Method::POST, path, &[])).await.unwrap();
        let cookies: Vec<_> = answered.headers().get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["c=token=x=; Path=/; HttpOnly ;Expires=Fri, 22 Nov 2030 10:54:14 +0000"]);
        assert_eq!(script.asked(), [format!("POST {path}")], "nobody's login was sent with it");
    }
}

#[tokio::test]
async fn cookies_of_the_login_stay_here_and_are_not_changed_by_what_is_forwarded() {
    let logout = with_cookie(ok(), "com.sixsq.slipstream.cookie=INVALID;Path=/;Max-Age=0");
    let script = Script::new([logged_in("t1"), logout, with_cookie(ok(), "other=1"), ok()]);
    let client = client(&script);
    for path in ["/api/session/1", "/api/job/1"] {
        let answered = client.forward(request(Method::DELETE, path, &[])).await.unwrap();
        assert!(!answered.headers().contains_key(SET_COOKIE));
    }
    client.get("job/1").await.unwrap();
    assert_eq!(
        script.asked()[1..],
        [
            format!("DELETE /api/session/1 {OURS}"),
            format!("DELETE /api/job/1 {OURS}"),
            format!("GET /api/job/1 {OURS}")
        ]
    );
}

#[tokio::test]
async fn a_failed_login_is_told_from_a_failed_request() {
    let script = Script::new([answer(503, &json!({"message": "busy"}))]);
    let error = client(&script).forward(request(Method::PUT, "/api/job/1", &[])).await.unwrap_err();
    assert_eq!(error.request(), "POST /api/session");
    let script = Script::with_losses([Some(logged_in("t1")), None]);
    let error = client(&script).forward(request(Method::PUT, "/api/job/1", &[])).await.unwrap_err();
    assert_eq!(error.request(), "PUT /api/job/1");
}

#[test]
fn only_a_post_to_the_sessions_is_a_login() {
    for (method, path, expected) in [
        (Method::POST, "/api/session", true),
        (Method::POST, "/api/session?x=1", true),
        (Method::PUT, "/api/session", false),
        (Method::POST, "/api/session/1/switch-group", false),
        (Method::POST, "/api/session-template", false),
    ] {
        assert_eq!(is_login(&request(method.clone(), path, &[])), expected, "{method} {path}");
    }
}
