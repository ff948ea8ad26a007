use std::collections::VecDeque;
use std::sync::Mutex;

use http::header::SET_COOKIE;
use serde_json::json;

use super::*;
use crate::error::Code;
use crate::lease::Lease;
use crate::query::Order;

/// Answers what the script says and keeps what was asked.
#[derive(Default)]
pub(super) struct Script {
    answers: Mutex<VecDeque<Option<Response<Bytes>>>>,
    requests: Mutex<Vec<Request<Bytes>>>,
}

#[async_trait]
impl Transport for Script {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        self.requests.lock().unwrap().push(request);
        // others get their turn while this one is under way
        tokio::task::yield_now().await;
        let answer = self.answers.lock().unwrap().pop_front().expect("the script has an answer to each request");
        answer.ok_or_else(|| "connection reset".into())
    }
}

impl Script {
    pub(super) fn new(answers: impl IntoIterator<Item = Response<Bytes>>) -> Arc<Self> {
        Self::with_losses(answers.into_iter().map(Some))
    }

    /// None is a lost answer.
    pub(super) fn with_losses(answers: impl IntoIterator<Item = Option<Response<Bytes>>>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into_iter().collect()), requests: Mutex::default() })
    }

    /// Method and path of each request, and `cookie` after them if there was one; the script must be used up.
    pub(super) fn asked(&self) -> Vec<String> {
        assert_eq!(self.answers.lock().unwrap().len(), 0, "answers left");
        let line = |request: &Request<Bytes>| {
            let cookie = request.headers().get(COOKIE).map(|cookie| format!(" {}", cookie.to_str().unwrap()));
            format!("{} {}{}", request.method(), request.uri(), cookie.unwrap_or_default())
        };
        self.requests.lock().unwrap().iter().map(line).collect()
    }

    pub(super) fn header(&self, index: usize, name: &str) -> Option<String> {
        let requests = self.requests.lock().unwrap();
        requests[index].headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    pub(super) fn body(&self, index: usize) -> String {
        String::from_utf8(self.requests.lock().unwrap()[index].body().to_vec()).unwrap()
    }
}

fn raw(status: u16, body: &str) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap()
}

pub(super) fn answer(status: u16, body: &Value) -> Response<Bytes> {
    raw(status, &body.to_string())
}

pub(super) fn with_cookie(mut answer: Response<Bytes>, cookie: &str) -> Response<Bytes> {
    answer.headers_mut().append(SET_COOKIE, cookie.parse().unwrap());
    answer
}

pub(super) fn logged_in(token: &str) -> Response<Bytes> {
    let body = json!({"status": 201, "message": "session/1 created", "resource-id": "session/1"});
    let cookie = "com.sixsq.slipstream.cookie=token=TOKEN;Secure;Path=/;Expires=Fri, 22 Nov 2030 10:54:14 +0000";
    with_cookie(answer(201, &body), &cookie.replace("TOKEN", token))
}

pub(super) fn forbidden() -> Response<Bytes> {
    answer(403, &json!({"status": 403, "message": "credentials required"}))
}

fn job() -> Response<Bytes> {
    answer(200, &json!({"id": "job/1", "state": "QUEUED"}))
}

fn super_user() -> Credentials {
    Credentials { username: "super".to_owned(), password: "pw".into() }
}

pub(super) fn client(script: &Arc<Script>) -> Client {
    Client::new(Arc::clone(script) as Arc<dyn Transport>, Some(super_user()))
}

fn anonymous(script: &Arc<Script>) -> Client {
    Client::new(Arc::clone(script) as Arc<dyn Transport>, None)
}

pub(super) fn document(value: Value) -> Document {
    let Value::Object(document) = value else { panic!("an object") };
    document
}

const LOGIN: &str = "POST /api/session";
const WITH_T1: &str = "com.sixsq.slipstream.cookie=token=t1";
const WITH_T2: &str = "com.sixsq.slipstream.cookie=token=t2";

#[tokio::test]
async fn logs_in_when_first_needed_and_keeps_the_cookie() {
    let script = Script::new([logged_in("t1"), job(), job()]);
    let client = client(&script);
    assert_eq!(client.get("job/1").await.unwrap()["state"], "QUEUED");
    client.clone().get("job/1").await.unwrap();
    let get = format!("GET /api/job/1 {WITH_T1}");
    assert_eq!(script.asked(), [LOGIN, get.as_str(), get.as_str()]);
    let sent: Value = serde_json::from_str(&script.body(0)).unwrap();
    let template = json!({"href": "session-template/internal", "username": "super", "password": "pw"});
    assert_eq!(sent, json!({"sessionTemplate": template}));
    assert_eq!(script.header(0, "content-type").as_deref(), Some("application/json"));
}

#[tokio::test]
async fn without_credentials_nobody_logs_in() {
    let script = Script::new([forbidden()]);
    let client = anonymous(&script);
    client.login().await.unwrap();
    assert_eq!(client.get("job/1").await.unwrap_err().refusal().unwrap().status, 403);
    assert_eq!(script.asked(), ["GET /api/job/1"]);
}

#[tokio::test]
async fn an_expired_session_costs_one_login_and_one_repeat() {
    for status in [403, 401] {
        let refused = answer(status, &json!({"status": status, "message": "credentials required"}));
        let script = Script::new([logged_in("t1"), refused, logged_in("t2"), job()]);
        client(&script).get("job/1").await.unwrap();
        let [first, again] = [WITH_T1, WITH_T2].map(|cookie| format!("GET /api/job/1 {cookie}"));
        assert_eq!(script.asked(), [LOGIN, &first, &format!("{LOGIN} {WITH_T1}"), &again]);
    }
}

#[tokio::test]
async fn a_true_refusal_costs_one_login_and_is_reported_as_it_first_came() {
    let first = answer(403, &json!({"status": 403, "message": "first", "resource-id": "job/1"}));
    let script = Script::new([logged_in("t1"), first, logged_in("t2"), forbidden()]);
    let error = client(&script).get("job/1").await.unwrap_err();
    assert_eq!(error.refusal().unwrap().message, "first");
    assert_eq!(error.to_string(), "GET /api/job/1 was refused");
    assert_eq!(script.asked().len(), 4);
}

#[tokio::test]
async fn when_the_login_again_fails_the_first_refusal_is_reported() {
    for failed in [Some(raw(503, "later")), Some(forbidden()), Some(answer(200, &json!({}))), None] {
        let script = Script::with_losses([Some(logged_in("t1")), Some(forbidden()), failed]);
        let error = client(&script).get("job/1").await.unwrap_err();
        assert_eq!(error.refusal().unwrap().status, 403);
        assert_eq!(script.asked().len(), 3);
    }
}

#[tokio::test]
async fn what_the_repeat_is_answered_counts() {
    let conflict =
        answer(409, &json!({"status": 409, "message": "late", "resource-id": "job/1", "code": "late-lease"}));
    let script = Script::new([logged_in("t1"), forbidden(), logged_in("t2"), conflict]);
    let error = client(&script).edit("job/1", &Document::new(), &[]).await.unwrap_err();
    assert_eq!(error.refusal().unwrap().code, Some(Code::LateLease));
    let script = Script::with_losses([Some(logged_in("t1")), Some(forbidden()), Some(logged_in("t2")), None]);
    let error = client(&script).edit("job/1", &Document::new(), &[]).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "whether it was carried out is not known: {error:?}");
}

#[tokio::test]
async fn a_refused_login_is_reported_and_not_repeated() {
    let script = Script::new([forbidden(), answer(200, &json!({"status": 200, "message": "code requested"}))]);
    let client = client(&script);
    assert_eq!(client.login().await.unwrap_err().to_string(), "POST /api/session was refused");
    assert!(matches!(client.get("job/1").await.unwrap_err(), Error::Unintelligible { .. }));
    assert_eq!(script.asked(), [LOGIN, LOGIN]);
}

#[tokio::test]
async fn logging_out_ends_the_session_that_was_made_and_says_nothing_without_one() {
    let script = Script::new([logged_in("one"), answer(200, &json!({})), answer(200, &json!({"status": 200}))]);
    let client = Client::new(script.clone(), Some(super_user())).named("slipstream-job/1");
    client.log_out().await.unwrap();
    client.get("job/1").await.unwrap();
    client.log_out().await.unwrap();
    client.log_out().await.unwrap();
    let cookie = "com.sixsq.slipstream.cookie=token=one";
    let asked =
        ["POST /api/session".to_owned(), format!("GET /api/job/1 {cookie}"), format!("DELETE /api/session/1 {cookie}")];
    assert_eq!(script.asked(), asked);
    assert_eq!(script.header(0, "user-agent").as_deref(), Some("slipstream-job/1"));
}

#[tokio::test]
async fn concurrent_callers_share_one_login() {
    let script = Script::new([logged_in("t1"), job(), job(), job()]);
    let client = client(&script);
    let results = tokio::join!(client.get("job/1"), client.get("job/2"), client.get("job/3"));
    assert!(results.0.is_ok() && results.1.is_ok() && results.2.is_ok());
    assert_eq!(script.asked().iter().filter(|line| line.starts_with(LOGIN)).count(), 1);
}

#[tokio::test]
async fn concurrent_callers_share_one_login_again() {
    // two requests under the first session, both refused; the deletion that comes late spares the new cookie
    let deleting = with_cookie(forbidden(), "com.sixsq.slipstream.cookie=INVALID;Path=/;Max-Age=0");
    let script = Script::new([logged_in("t1"), forbidden(), deleting, logged_in("t2"), job(), job()]);
    let client = client(&script);
    client.login().await.unwrap();
    let results = tokio::join!(client.get("job/1"), client.get("job/2"));
    assert!(results.0.is_ok() && results.1.is_ok(), "{results:?}");
    let asked = script.asked();
    assert_eq!(asked.iter().filter(|line| line.starts_with(LOGIN)).count(), 2, "{asked:?}");
    assert_eq!(asked.iter().filter(|line| line.ends_with(WITH_T2)).count(), 2, "{asked:?}");
}

/// Answers `/api/job/late` only when told to, and then deletes the cookie; the rest by script.
struct Late(Arc<Script>, tokio::sync::Mutex<Option<tokio::sync::oneshot::Receiver<()>>>);
#[async_trait]
impl Transport for Late {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        if request.uri() == "/api/job/late" {
            let released = self.1.lock().await.take().expect("asked once");
            released.await?;
            return Ok(with_cookie(job(), "com.sixsq.slipstream.cookie=;Max-Age=0"));
        }
        self.0.send(request).await
    }
}

#[tokio::test]
async fn an_answer_to_the_session_before_takes_no_cookie_away() {
    let (release, released) = tokio::sync::oneshot::channel();
    let script = Script::new([logged_in("t1"), forbidden(), logged_in("t2"), job(), job()]);
    let late = Late(Arc::clone(&script), tokio::sync::Mutex::new(Some(released)));
    let client = Client::new(Arc::new(late), Some(super_user()));
    client.login().await.unwrap();
    let renewing = async {
        client.get("job/1").await.unwrap();
        release.send(()).unwrap();
    };
    tokio::join!(async { client.get("job/late").await.unwrap() }, renewing);
    client.get("job/1").await.unwrap();
    assert_eq!(script.asked().last(), Some(&format!("GET /api/job/1 {WITH_T2}")));
}

#[tokio::test]
async fn cookies_are_kept_replaced_and_deleted() {
    let mut dated = with_cookie(job(), "d=4;Expires=Wed, 21 Oct 2026 07:28:00 GMT");
    dated.headers_mut().insert("date", "Wed, 21 Oct 2026 07:28:00 GMT".parse().unwrap());
    let steps = [
        (with_cookie(with_cookie(job(), "a=1"), "d=1;Expires=Wed, 21 Oct 2026 07:29:00 GMT"), "a=1; d=1"),
        (with_cookie(job(), "a=2;Path=/;HttpOnly"), "a=2; d=1"),
        (with_cookie(job(), "a=INVALID;Path=/;Max-Age=0;Expires=Fri, 22 Nov 2099 10:54:14 GMT"), "d=1"),
        (with_cookie(job(), "nonsense"), "d=1"),
        (dated, ""),
        (with_cookie(job(), "e=1;Max-Age=60;Expires=Thu, 01 Jan 1970 00:00:00 GMT"), "e=1"),
        (with_cookie(job(), "e=1;Expires=Thu, 01 Jan 1970 00:00:00 GMT"), ""),
    ];
    for (index, (_, expected)) in steps.iter().enumerate() {
        let script = Script::new(steps[..=index].iter().map(|(answer, _)| answer.clone()).chain([job()]));
        let client = anonymous(&script);
        for _ in 0..index + 2 {
            client.get("job/1").await.unwrap();
        }
        let mut cookies: Vec<String> =
            script.header(index + 1, "cookie").unwrap_or_default().split("; ").map(str::to_owned).collect();
        cookies.sort();
        assert_eq!(cookies.join("; "), *expected, "after answer {index}");
    }
}

#[tokio::test]
async fn cookies_are_bounded() {
    let many = (0..60).fold(job(), |answer, number| with_cookie(answer, &format!("c{number}=1")));
    let script = Script::new([many, job()]);
    let client = anonymous(&script);
    client.get("job/1").await.unwrap();
    client.get("job/1").await.unwrap();
    assert_eq!(script.header(1, "cookie").unwrap().split("; ").count(), 50);
}

#[tokio::test]
async fn searches_by_form() {
    let page = answer(200, &json!({"count": 7, "operations": [], "jobs": [{"id": "job/1"}]}));
    let empty = answer(200, &json!({"count": 0, "jobs": []}));
    let script = Script::new([page, empty, answer(200, &json!({"count": null, "jobs": []}))]);
    let client = anonymous(&script);
    let order = vec![Order { attribute: "created".to_owned(), descending: true }];
    let search = Search { filter: Some("a='x y'".to_owned()), order, last: Some(1), ..Search::default() };
    let collection = client.search("job", &search).await.unwrap();
    assert_eq!((collection.count, collection.documents.len()), (7, 1));
    assert_eq!(script.body(0), "%24filter=a%3D%27x+y%27&%24orderby=created%3Adesc&%24last=1");
    assert_eq!(script.header(0, "content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    client.search("job", &Search::default()).await.unwrap();
    assert_eq!((script.body(1).as_str(), script.header(1, "content-type")), ("", None));
    let error = client.search("job", &Search::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot understand the answer to PUT /api/job: it has no count");
    assert_eq!(script.asked(), ["PUT /api/job"; 3]);
}

#[tokio::test]
async fn edits_with_removals() {
    let script = Script::new([job(), job(), answer(200, &json!({"id": "x/1", "status": 5}))]);
    let client = anonymous(&script);
    let changes = document(json!({"state": "RUNNING"}));
    assert_eq!(client.edit("job/1", &changes, &["statusMessage", "name"]).await.unwrap()["id"], "job/1");
    client.edit("job/1", &changes, &[]).await.unwrap();
    client.edit("x/1", &changes, &[]).await.unwrap();
    assert_eq!(script.asked(), ["PUT /api/job/1?%24select=statusMessage%2Cname", "PUT /api/job/1", "PUT /api/x/1"]);
    assert_eq!(script.body(0), r#"{"state":"RUNNING"}"#);
}

#[tokio::test]
async fn an_edit_answered_by_the_standard_body_is_read_again() {
    let standard = answer(200, &json!({"status": 200, "message": "updated job/1", "resource-id": "job/1"}));
    let script = Script::new([standard, job()]);
    assert_eq!(anonymous(&script).edit("job/1", &Document::new(), &[]).await.unwrap()["state"], "QUEUED");
    assert_eq!(script.asked(), ["PUT /api/job/1", "GET /api/job/1"]);
}

#[tokio::test]
async fn adds_are_repeatable_with_a_key_only() {
    let created = json!({"status": 201, "message": "job/1 created", "resource-id": "job/1"});
    let conflict = json!({"status": 409, "message": "conflict with job/1", "resource-id": "job/1", "code": "conflict"});
    let nameless = json!({"status": 409, "message": "conflict"});
    let script = Script::new([
        answer(201, &created),
        answer(409, &conflict),
        answer(409, &conflict),
        answer(409, &nameless),
        answer(201, &json!({})),
    ]);
    let client = anonymous(&script);
    let job = document(json!({"action": "noop"}));
    assert_eq!(client.add("job", &job, Some("key 1")).await.unwrap(), "job/1");
    assert_eq!(client.add("job", &job, Some("schlüssel")).await.unwrap(), "job/1");
    assert_eq!(client.add("job", &job, None).await.unwrap_err().refusal().unwrap().code, Some(Code::Conflict));
    assert_eq!(client.add("job", &job, Some("k")).await.unwrap_err().refusal().unwrap().status, 409);
    assert!(matches!(client.add("job", &job, Some("k")).await.unwrap_err(), Error::Unintelligible { .. }));
    assert_eq!(script.asked(), ["POST /api/job"; 5]);
    assert_eq!(script.body(0), r#"{"action":"noop"}"#);
    let keys: Vec<_> = (0..3).map(|index| script.header(index, IDEMPOTENCY_HEADER)).collect();
    assert_eq!(keys, [Some("key 1".to_owned()), Some("schl%C3%BCssel".to_owned()), None]);
}

#[tokio::test]
async fn operates_and_deletes() {
    let deleted = answer(200, &json!({"status": 200, "message": "job/1 deleted", "resource-id": "job/1"}));
    let script = Script::new([job(), deleted]);
    let client = anonymous(&script);
    assert_eq!(client.operation("job/1", "stop").await.unwrap()["id"], "job/1");
    client.delete("job/1").await.unwrap();
    assert_eq!(script.asked(), ["POST /api/job/1/stop", "DELETE /api/job/1"]);
    assert_eq!((script.body(0), script.header(0, "content-type")), (String::new(), None));
}

#[tokio::test]
async fn an_attempt_marks_its_requests_and_shares_the_session() {
    let script = Script::new([logged_in("t1"), job(), job()]);
    let client = client(&script);
    let attempt = client.for_attempt(AttemptIdentity {
        job: "job/1".to_owned(),
        lease: Lease { generation: 2, zxid: 42 },
        entry: "/job/entries/entry-999-0000000042".to_owned(),
        executor: "küche\n1".to_owned(),
    });
    attempt.get("job/1").await.unwrap();
    client.get("job/1").await.unwrap();
    let marks = [JOB_HEADER, LEASE_HEADER, ENTRY_HEADER, EXECUTOR_HEADER];
    let sent = |index| marks.map(|name| script.header(index, name));
    let expected = ["job/1", "2.42", "/job/entries/entry-999-0000000042", "k%C3%BCche%0A1"];
    assert_eq!(sent(1), expected.map(|value| Some(value.to_owned())));
    assert_eq!((sent(0), sent(2)), ([const { None }; 4], [const { None }; 4]));
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test]
async fn refusals_are_read() {
    let whole = json!({"status": 1, "message": "no", "resource-id": "job/1", "code": "superseded", "request-id": "r"});
    let long = "ü".repeat(300);
    let refusal = |status, message: &str| Refusal {
        status,
        message: message.to_owned(),
        resource_id: None,
        code: None,
        request_id: None,
    };
    let named = Refusal { resource_id: Some("job/1".to_owned()), ..refusal(409, "no") };
    let rows = [
        (answer(409, &whole), Refusal { code: Some(Code::Superseded), request_id: Some("r".to_owned()), ..named }),
        (answer(400, &json!({"message": "m", "code": "unheard-of", "resource-id": 1})), refusal(400, "m")),
        (answer(404, &json!({"resource-id": "job/1"})), refusal(404, r#"{"resource-id":"job/1"}"#)),
        (raw(502, "<html>proxy</html>"), refusal(502, "<html>proxy</html>")),
        (raw(500, &long), refusal(500, &long[..400])),
        (raw(503, ""), refusal(503, "Service Unavailable")),
    ];
    for (answer, expected) in rows {
        let script = Script::new([answer]);
        let error = anonymous(&script).get("job/1").await.unwrap_err();
        assert_eq!(error.refusal(), Some(&expected));
    }
}

#[tokio::test]
async fn only_the_servers_own_404_says_that_a_document_is_missing() {
    let own = answer(404, &json!({"status": 404, "message": "job/1 not found", "resource-id": "job/1"}));
    let rows = [(own, true), (raw(404, "<h1>not here</h1>"), false)];
    for (answer, is_own) in rows {
        let script = Script::new([answer]);
        let error = anonymous(&script).get("job/1").await.unwrap_err();
        assert_eq!((error.is_not_found("job/1"), error.is_transient()), (is_own, !is_own));
        assert!(!error.is_not_found("job/2"));
    }
}

#[tokio::test]
async fn what_is_not_an_object_is_unintelligible() {
    for body in ["", "[]", "null", "<html>", "{"] {
        for status in [200, 302] {
            let script = Script::new([raw(status, body)]);
            let error = anonymous(&script).get("job/1").await.unwrap_err();
            assert!(
                matches!(error, Error::Unintelligible { .. }) && error.is_transient(),
                "{status} {body}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_lost_answer_is_unreachable() {
    let script = Script::with_losses([None]);
    let error = anonymous(&script).get("job/1").await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to GET /api/job/1");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "connection reset");
}

#[tokio::test]
async fn paths_are_encoded_by_segment() {
    let script = Script::new([job(), job()]);
    let client = anonymous(&script);
    client.get("user/a b/ü?#%+").await.unwrap();
    client.operation("job/A_b-1.c", "stop it").await.unwrap();
    assert_eq!(script.asked(), ["GET /api/user/a%20b/%C3%BC%3F%23%25%2B", "POST /api/job/A_b-1.c/stop%20it"]);
}
