//! A server that is scripted, and what is answered to requests that were read.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipstream_cimi::client::TransportError;
use slipstream_cimi::{Credentials, Transport};
use tokio::time::{Instant, sleep};

use super::*;
use crate::process::activity::Activity;

pub(super) const JOB: &str = "job/1";

/// A server with one job, which answers as it is told to.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) job: Mutex<Document>,
    /// What is done with the next requests; after these, [`Fate::Answered`].
    pub(super) fates: Mutex<VecDeque<Fate>>,
    /// Until then nothing reaches it.
    pub(super) away_until: Mutex<Option<Instant>>,
    /// What every add is refused with.
    pub(super) adds: Mutex<Option<Value>>,
    /// When each request came, and what it was.
    pub(super) asked: Mutex<Vec<(Instant, Request<Bytes>)>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Answered,
    /// After so many milliseconds.
    Slow(u64),
    /// It does not arrive.
    Lost,
    /// It is carried out, and its answer does not arrive.
    AnswerLost,
    /// It is not carried out.
    Status(u16),
    /// With so many bytes.
    Big(usize),
}

pub(super) fn document(value: Value) -> Document {
    serde_json::from_value(value).expect("an object")
}

pub(super) fn answer(status: u16, body: &Value) -> Response<Bytes> {
    answers::json(StatusCode::from_u16(status).unwrap(), body)
}

impl Fake {
    pub(super) fn new(fates: impl IntoIterator<Item = Fate>) -> Arc<Self> {
        let job = document(json!({"id": JOB, "state": "RUNNING", "progress": 0}));
        Arc::new(Self { job: Mutex::new(job), fates: Mutex::new(fates.into_iter().collect()), ..Self::default() })
    }

    /// Without a login.
    pub(super) fn client(self: &Arc<Self>) -> Client {
        Client::new(self.clone(), None)
    }

    /// Method, path and body of each request.
    pub(super) fn asked(&self) -> Vec<String> {
        let shown = |(_, request): &(Instant, Request<Bytes>)| {
            format!("{} {} {}", request.method(), request.uri(), String::from_utf8_lossy(request.body()))
        };
        self.asked.lock().unwrap().iter().map(shown).collect()
    }

    pub(super) fn header(&self, index: usize, name: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        asked[index].1.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    fn carry_out(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let refusal = self.adds.lock().unwrap().clone();
        if let (&Method::POST, Some(refusal)) = (request.method(), refusal) {
            return answer(409, &refusal);
        }
        let mut job = self.job.lock().unwrap();
        if request.uri().path() == format!("/api/{JOB}") && request.method() == Method::PUT {
            job.extend(serde_json::from_slice::<Document>(request.body()).expect("an object"));
        }
        answers::json(StatusCode::OK, &*job)
    }
}

#[async_trait]
impl Transport for Fake {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        self.asked.lock().unwrap().push((Instant::now(), request.clone()));
        if self.away_until.lock().unwrap().is_some_and(|until| Instant::now() < until) {
            return Err("connection refused".into());
        }
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Answered);
        match fate {
            Fate::Answered => Ok(self.carry_out(&request)),
            Fate::Slow(milliseconds) => {
                sleep(Duration::from_millis(milliseconds)).await;
                Ok(self.carry_out(&request))
            }
            Fate::Lost => Err("connection reset".into()),
            Fate::AnswerLost => {
                self.carry_out(&request);
                Err("connection reset".into())
            }
            Fate::Big(size) => Ok(Response::new(Bytes::from(vec![b' '; size]))),
            Fate::Status(status) => Ok(answer(status, &json!({"status": status, "message": "no"}))),
        }
    }
}

pub(super) fn request(method: &str, path: &str, body: &str) -> Request<Bytes> {
    Request::builder().method(method).uri(path).body(Bytes::from(body.to_owned())).unwrap()
}

fn admitted(client: Client) -> (ApiSocket, Admission) {
    let folder = std::env::temp_dir();
    let socket = ApiSocket::start_in(&[folder]).unwrap();
    let admission = socket.admit(client, Some(OwnJob { id: JOB.to_owned() }));
    (socket, admission)
}

fn body(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_own_job_is_read_as_it_was_answered() {
    let fake = Fake::new([]);
    let (_socket, admission) = admitted(fake.client());
    let put = |body: &'static str| admission.admitted.answer(request("PUT", "/api/job/1", body));
    assert_eq!(body(&put(r#"{"progress":1}"#).await)["progress"], 1);
    assert_eq!(body(&put(r#"{"progress":2,"statusMessage":"two"}"#).await)["progress"], 2);
    let mut get = request("GET", "/api/job/1", "");
    get.headers_mut().insert(ACCEPT_ENCODING, "gzip".parse().unwrap());
    let read = body(&admission.admitted.answer(get).await);
    assert_eq!(
        (&read["progress"], &read["statusMessage"], &read["state"]),
        (&json!(2), &json!("two"), &json!("RUNNING"))
    );
    assert_eq!(fake.job.lock().unwrap()["progress"], 1, "and it is not written yet");
    assert_eq!(fake.header(1, "accept-encoding"), None, "it has to be read here");
    let selected = admission.admitted.answer(request("GET", "/api/job/1?select=id", "")).await;
    assert_eq!(body(&selected)["progress"], 1, "what is asked for in part is answered by the server alone");
    admission.close().await;
    assert_eq!(fake.job.lock().unwrap()["progress"], 2);
}

/// As `set_progress` of class files writes it.
#[tokio::test(start_paused = true)]
async fn progress_of_the_own_job_is_noted() {
    let fake = Fake::new([Fate::Answered, Fate::Status(403)]);
    let (_socket, admission) = admitted(fake.client());
    let activity = Activity::new();
    let attempt = activity.slot(0).begin(JOB.to_owned());
    admission.note_progress_in(attempt.notes().clone());
    let noted = || attempt.notes().progress().map(|(percent, _)| percent);
    let send = |method, path, body| admission.admitted.answer(request(method, path, body));
    send("PUT", "/api/job/1", r#"{"progress":33,"state":"RUNNING"}"#).await;
    assert_eq!(noted(), Some(33));
    send("PUT", "/api/job/1", r#"{"progress":50,"state":"RUNNING"}"#).await;
    assert_eq!(noted(), Some(33), "the server refused it");
    for (method, path) in [("PUT", "/api/job/2"), ("POST", "/api/job/1/stop"), ("GET", "/api/job/1")] {
        send(method, path, r#"{"progress":60}"#).await;
        assert_eq!(noted(), Some(33), "{method} {path}");
    }
    // answered for before it is written
    send("PUT", "/api/job/1", r#"{"progress":70}"#).await;
    send("PUT", "/api/job/1", r#"{"progress":71}"#).await;
    assert_eq!(noted(), Some(71));
}

#[tokio::test(start_paused = true)]
async fn what_concerns_the_own_job_goes_after_what_is_pending() {
    for (method, path) in
        [("PUT", "/api/job/1"), ("PUT", "/api/job/1?select=x"), ("POST", "/api/job/1/stop"), ("DELETE", "/api/job/1")]
    {
        let fake = Fake::new([]);
        let (_socket, admission) = admitted(fake.client());
        let send = |method, path, body| admission.admitted.answer(request(method, path, body));
        send("PUT", "/api/job/1", r#"{"progress":1}"#).await;
        send("PUT", "/api/job/1", r#"{"progress":2}"#).await;
        send(method, path, r#"{"state":"FAILED"}"#).await;
        let expected = [
            r#"PUT /api/job/1 {"progress":1}"#.to_owned(),
            r#"PUT /api/job/1 {"progress":2}"#.to_owned(),
            format!(r#"{method} {path} {{"state":"FAILED"}}"#),
        ];
        assert_eq!(fake.asked(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn other_documents_wait_for_nothing() {
    let fake = Fake::new([Fate::Slow(60_000)]);
    let (_socket, admission) = admitted(fake.client());
    let slow = admission.admitted.answer(request("PUT", "/api/job/1", r#"{"progress":1}"#));
    let others = async {
        while fake.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        for path in ["/api/job/12", "/api/credential/1"] {
            admission.admitted.answer(request("PUT", path, r#"{"progress":1}"#)).await;
        }
    };
    tokio::select! {
        biased;
        _ = slow => panic!("it takes a minute"),
        () = others => {}
    }
    assert_eq!(fake.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn sixteen_are_sent_on_at_once_and_the_others_in_their_turn() {
    let fake = Fake::new([Fate::Slow(1_000); 40]);
    let (_socket, admission) = admitted(fake.client());
    let begun = Instant::now();
    let all = (0..40).map(|number| admission.admitted.answer(request("GET", &format!("/api/job/{}", number + 2), "")));
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    let came: Vec<u64> = fake.asked.lock().unwrap().iter().map(|(at, _)| (*at - begun).as_secs()).collect();
    assert_eq!(came, [vec![0; 16], vec![1; 16], vec![2; 8]].concat());
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_the_attempt_ends_is_told() {
    let fake = Fake::new([Fate::Slow(1_000); 17]);
    let (_socket, admission) = admitted(fake.client());
    let admitted = admission.admitted.clone();
    let all = futures_util::future::join_all((0..17).map(|_| admitted.answer(request("GET", "/api/job/2", ""))));
    let end = async {
        sleep(Duration::from_millis(500)).await;
        admission.close().await;
    };
    let (answers, ()) = tokio::join!(all, end);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [vec![200; 16], vec![409]].concat(), "and what was sent is answered");
    assert_eq!(body(&answers[16])["code"], "late-lease");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_once_it_is_closed() {
    let fake = Fake::new([]);
    let (socket, admission) = admitted(fake.client());
    let admitted = admission.admitted.clone();
    assert_eq!(socket.tokens.admitted().len(), 1);
    admission.close().await;
    assert_eq!(socket.tokens.admitted().len(), 0);
    assert_eq!(admitted.answer(request("PUT", "/api/job/1", r#"{"progress":1}"#)).await.status(), 409);
    assert_eq!(fake.asked(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_close_has_a_limit_however_many_edits_a_server_does_not_answer() {
    let hour = Fate::Slow(3_600_000);
    let fake = Fake::new([hour; 8]);
    let (_socket, admission) = admitted(fake.client());
    let admitted = admission.admitted.clone();
    let edits = (0..3).map(|_| admitted.answer(request("PUT", "/api/job/1?select=x", "{}")));
    let close = async {
        sleep(Duration::from_secs(1)).await;
        tokio::time::timeout(Duration::from_mins(2), admission.close()).await.expect("it has a limit");
    };
    tokio::select! {
        _ = futures_util::future::join_all(edits) => panic!("they are not answered"),
        () = close => {}
    }
    assert_eq!(fake.asked().len(), 1, "one is under way, and the others wait");
}

#[tokio::test]
async fn tokens_are_random_and_not_shown() {
    let (socket, first) = admitted(Fake::new([]).client());
    let second = socket.admit(Fake::new([]).client(), None);
    assert_ne!(first.token, second.token);
    assert!(first.token.len() == 32 && first.token.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(first.api(), format!("http://{}/api", first.token));
    assert!(!format!("{first:?}").contains(&first.token));
}

#[tokio::test(start_paused = true)]
async fn a_login_of_its_own_makes_no_report() {
    let fake = Fake::new([]);
    let credentials = Credentials { username: "super".to_owned(), password: "pw".into() };
    let (_socket, admission) = admitted(Client::new(fake.clone(), Some(credentials)));
    let mut put = request("PUT", "/api/job/1", r#"{"progress":1}"#);
    put.headers_mut().insert("nuvla-authn-info", "user/1 user/1".parse().unwrap());
    admission.admitted.answer(put).await;
    assert_eq!(fake.asked(), [r#"PUT /api/job/1 {"progress":1}"#], "without the executor's login");
    assert_eq!(fake.header(0, "nuvla-authn-info").as_deref(), Some("user/1 user/1"));
}
