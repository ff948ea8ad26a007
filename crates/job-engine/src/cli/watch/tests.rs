use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;

use super::*;

const ID: &str = "job/0a";

/// What a request gets.
enum Answer {
    Body(u16, Value),
    Nothing,
    Never,
}

/// Answers one after the other, the last one for ever; counts the requests.
struct Script {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<usize>,
    /// What is answered to whoever asks why it waits, and how often that was.
    explanation: Mutex<(u16, Value)>,
    asked_why: Mutex<usize>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Arc<Self> {
        let unknown =
            (404, json!({"status": 404, "message": "undefined action", "resource-id": "/api/job/0a/explain"}));
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::new(0),
            explanation: Mutex::new(unknown),
            asked_why: Mutex::new(0),
        })
    }

    fn client(self: &Arc<Self>) -> Client {
        Client::new(self.clone(), None)
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

#[async_trait]
impl Transport for Script {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let asked = (request.method().as_str(), request.uri().path());
        if asked == ("GET", "/api/job/0a/explain") {
            let (status, body) = self.explanation.lock().unwrap().clone();
            *self.asked_why.lock().unwrap() += 1;
            return Ok(Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap());
        }
        assert_eq!(asked, ("GET", "/api/job/0a"));
        *self.asked.lock().unwrap() += 1;
        let answer = {
            let mut answers = self.answers.lock().unwrap();
            match answers.front() {
                Some(Answer::Body(status, body)) if answers.len() == 1 => Answer::Body(*status, body.clone()),
                Some(Answer::Nothing) if answers.len() == 1 => Answer::Nothing,
                _ => answers.pop_front().unwrap_or(Answer::Never),
            }
        };
        match answer {
            Answer::Body(status, body) => {
                Ok(Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap())
            }
            Answer::Nothing => Err("connection refused".into()),
            Answer::Never => std::future::pending().await,
        }
    }
}

fn job(state: &str, message: &str) -> Answer {
    let body = json!({
        "id": ID, "state": state, "action": "noop", "statusMessage": message, "created": "2026-11-24T12:00:00Z",
        "updated": "2026-11-24T12:00:00Z",
    });
    Answer::Body(200, body)
}

fn not_found() -> Answer {
    Answer::Body(404, json!({"status": 404, "message": "job/0a not found", "resource-id": ID}))
}

async fn watched(script: &Arc<Script>) -> anyhow::Result<Ending> {
    follow(&script.client(), ID, &mut View::new(None), &Stop::new()).await
}

#[tokio::test(start_paused = true)]
async fn each_ending_has_its_exit_code_and_remark() {
    for (last, code, remark) in [
        (job("SUCCESS", "done"), 0, None),
        (job("FAILED", "broken\npipe"), 1, Some("job/0a FAILED: broken\npipe")),
        (job("STOPPED", "half"), 1, Some("job/0a STOPPED: half")),
        (not_found(), 1, Some("job/0a was deleted")),
    ] {
        let script = Script::new([job("QUEUED", ""), job("RUNNING", "half"), last]);
        let ending = watched(&script).await.unwrap();
        assert_eq!((ending.exit_code(), ending.remark(ID).as_deref()), (code, remark));
        assert!(ending.document().is_some());
        assert_eq!(script.asked(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_within_a_minute_is_sat_out_however_often_it_comes() {
    const TIMES: usize = 4;
    let trouble = || {
        let foreign = Answer::Body(404, json!("a proxy's"));
        [job("RUNNING", ""), Answer::Nothing, Answer::Body(503, json!({})), foreign, Answer::Never]
    };
    let script = Script::new((0..TIMES).flat_map(|_| trouble()).chain([job("SUCCESS", "")]));
    let begun = Instant::now();
    assert_eq!(watched(&script).await.unwrap().exit_code(), 0);
    assert_eq!(script.asked(), TIMES * 5 + 1, "all of the trouble was met");
    assert!(begun.elapsed() > PATIENCE, "more than a minute of trouble in all");
    assert!(begun.elapsed() < READING * 6, "a reading without answer is given up");
}

#[tokio::test(start_paused = true)]
async fn trouble_that_stays_is_an_error_after_a_minute() {
    let script = Script::new([job("RUNNING", ""), Answer::Nothing]);
    let begun = Instant::now();
    let error = format!("{:#}", watched(&script).await.unwrap_err());
    assert_eq!(error, "no answer to GET /api/job/0a: connection refused");
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_error_at_once() {
    let script = Script::new([Answer::Body(403, json!({"status": 403, "message": "credentials required"}))]);
    assert!(watched(&script).await.is_err());
    assert_eq!(script.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_a_second() {
    let running = std::iter::repeat_with(|| job("RUNNING", "")).take(66);
    let script = Script::new(running.chain([job("SUCCESS", "")]));
    let begun = Instant::now();
    watched(&script).await.unwrap();
    // 0.1, 0.15, 0.225, … takes 1.9 s to grow to 1 s; 60 more pauses take 60 s
    let seconds = begun.elapsed().as_secs();
    assert!((61..=63).contains(&seconds), "{seconds}");
    assert_eq!(script.asked(), 67);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_watcher_knows_what_it_saw_last_and_says_that_the_job_goes_on() {
    for answers in [vec![job("RUNNING", "half")], vec![job("RUNNING", "half"), Answer::Never]] {
        let script = Script::new(answers);
        let (client, stop, mut view) = (script.client(), Stop::new(), View::new(None));
        let asking = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            stop.ask();
        };
        let watching = tokio::time::timeout(Duration::from_secs(10), follow(&client, ID, &mut view, &stop));
        let (ending, ()) = tokio::join!(watching, asking);
        let ending = ending.expect("the watcher ends when it is asked to").unwrap();
        assert_eq!(ending.exit_code(), 1);
        assert_eq!(ending.document().unwrap()["statusMessage"], "half");
        assert!(ending.remark(ID).unwrap().contains("job/0a goes on"));
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_job_that_waits_the_reason_is_shown() {
    let queued = || (0..5).map(|_| job("QUEUED", "")).chain([job("RUNNING", ""), job("SUCCESS", "done")]);
    let script = Script::new(queued());
    let reasons = json!([
        {"code": "no-executor", "text": "no executor has the action `backup`", "blocks": true},
        {"code": "released", "text": "the host does not start", "executor": "Kenny", "blocks": false},
        {"code": "next", "text": "it is next", "blocks": false},
    ]);
    let explanation = json!({"job": ID, "reasons": reasons});
    *script.explanation.lock().unwrap() = (200, explanation.clone());
    let mut view = View::new(None);
    let waits = watched_in(&script, &mut view).await;
    assert!(matches!(waits, Ending::Final(State::Success, _)), "{waits:?}");
    assert_eq!(*script.asked_why.lock().unwrap(), 3, "not in the first moments, and while it waits");
    let said = why::in_a_line(&why::in_the_way(serde_json::from_value(explanation).unwrap()));
    let said = said.expect("there are reasons");
    assert_eq!(said, "waits because no executor has the action `backup`; Kenny: the host does not start");
    assert_eq!(why::in_a_line(&[]), None);

    let script = Script::new(queued());
    watched_in(&script, &mut View::new(None)).await;
    assert_eq!(*script.asked_why.lock().unwrap(), 1, "who is not told does not ask again");
}

#[tokio::test]
async fn a_line_says_why_a_job_waits() {
    let Answer::Body(_, Value::Object(document)) = job("QUEUED", "") else { panic!("a job") };
    let queued = Job::from_document(document.clone()).unwrap();
    let mut view = View::new(None);
    view.show(&queued, &document, Some("waits because no executor has it")).unwrap();
    assert_eq!(view.last_line.as_deref(), Some("QUEUED waits because no executor has it"));
    view.show(&queued, &document, None).unwrap();
    assert_eq!(view.last_line.as_deref(), Some("QUEUED"));
}

async fn watched_in(script: &Arc<Script>, view: &mut View) -> Ending {
    follow(&script.client(), ID, view, &Stop::new()).await.unwrap()
}
