use std::sync::Arc;

use slipstream_cimi::Credentials;

use super::*;
use crate::programs::api_socket::tests::{Fake, Fate, JOB as OWN, request};

fn table() -> Vec<(&'static str, &'static str, &'static str, Repeats)> {
    vec![
        ("GET", "/api/job/1", "", Repeats::Yes),
        ("GET", "/api", "", Repeats::Yes),
        ("HEAD", "/api/job/1", "", Repeats::Yes),
        ("PUT", "/api/virtual-machine", "filter=a", Repeats::Yes),
        ("PUT", "/api/job/1", "{}", Repeats::Yes),
        ("PUT", "/api/job/1?select=a", "{}", Repeats::Yes),
        ("PUT", "/api/job/2", "{}", Repeats::No),
        ("PUT", "/api/credential/1", "{}", Repeats::No),
        ("PUT", "/api", "{}", Repeats::No),
        ("PUT", "/api/api/job/1", "{}", Repeats::No),
        ("POST", "/api/job", "{}", Repeats::WithKey),
        ("POST", "/api/virtual-machine", "{}", Repeats::WithKey),
        ("POST", "/api/job", " [{}]", Repeats::No),
        ("POST", "/api/session", "{}", Repeats::Yes),
        ("POST", "/api/job/1/stop", "", Repeats::No),
        ("POST", "/api/job/2/stop", "", Repeats::No),
        ("PATCH", "/api/job", "{}", Repeats::No),
        ("DELETE", "/api/job/1", "", Repeats::No),
        ("DELETE", "/api/job", "filter=a", Repeats::No),
    ]
}

#[test]
fn repeated_is_only_what_does_nothing_twice() {
    for (method, path, body, expected) in table() {
        let request = request(method, path, body);
        assert_eq!(repeats(&request, Some(OWN)), expected, "{method} {path} {body}");
        let without = if expected == Repeats::Yes && request.uri().path() == "/api/job/1" && method == "PUT" {
            Repeats::No
        } else {
            expected
        };
        assert_eq!(repeats(&request, None), without, "{method} {path} {body} without an own job");
    }
    let mut keyed = request("POST", "/api/job", "[{}]");
    keyed.headers_mut().insert(IDEMPOTENCY_HEADER, "mine".parse().unwrap());
    assert_eq!(repeats(&keyed, None), Repeats::Yes);
}

async fn sent(fake: &Arc<Fake>, method: &str, path: &str) -> Result<Response<Bytes>, Unanswered> {
    let request = request(method, path, "{}");
    let repeats = repeats(&request, Some(OWN));
    send(&fake.client(), request, repeats, &CancellationToken::new()).await
}

fn away(seconds: u64) -> Arc<Fake> {
    let fake = Fake::new([]);
    *fake.away_until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(seconds));
    fake
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_for_twenty_seconds_is_waited_for() {
    for (method, path) in
        [("GET", "/api/job/2"), ("PUT", "/api/virtual-machine"), ("PUT", "/api/job/1"), ("POST", "/api/job")]
    {
        let (fake, begun) = (away(20), Instant::now());
        assert_eq!(sent(&fake, method, path).await.unwrap().status(), 200, "{method} {path}");
        let took = begun.elapsed().as_secs();
        assert!((20..=25).contains(&took) && fake.asked().len() < 15, "{took} s, {} requests", fake.asked().len());
        let keys: Vec<_> = (0..fake.asked().len()).map(|index| fake.header(index, IDEMPOTENCY_HEADER)).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "one key for all repeats");
        assert_eq!(keys[0].is_some(), method == "POST");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_given_up_after_a_minute() {
    let (fake, begun) = (away(1000), Instant::now());
    let unanswered = sent(&fake, "GET", "/api/job/2").await.unwrap_err();
    assert!(begun.elapsed() <= PATIENCE && begun.elapsed() >= PATIENCE * 3 / 4);
    let answer = unanswered.answer();
    assert_eq!(answer.status(), 503);
    let body: Document = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body["status"], 503);
    let message = body["message"].as_str().unwrap();
    assert_eq!(message, "the server was out of reach for 60 s: no answer to GET /api/job/2: connection refused");
}

#[tokio::test(start_paused = true)]
async fn what_may_do_something_twice_is_sent_once() {
    for (method, path) in [("DELETE", "/api/job/2"), ("POST", "/api/job/2/stop"), ("PUT", "/api/credential/1")] {
        let fake = Fake::new([Fate::AnswerLost]);
        let answer = sent(&fake, method, path).await.unwrap_err().answer();
        assert_eq!((answer.status().as_u16(), fake.asked().len()), (502, 1), "{method} {path}");
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(text.contains("may have been carried out"), "{text}");
        let fake = Fake::new([Fate::Status(503)]);
        assert_eq!(sent(&fake, method, path).await.unwrap().status(), 503, "an answer is an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_a_proxy_tells_is_one_and_its_last_answer_is_passed_on() {
    for status in [502, 503, 504] {
        let fake = Fake::new([Fate::Status(status), Fate::Lost]);
        assert_eq!(sent(&fake, "GET", "/api/job/2").await.unwrap().status(), 200);
        let fake = Fake::new([Fate::Status(status); 100]);
        assert_eq!(sent(&fake, "GET", "/api/job/2").await.unwrap().status().as_u16(), status);
    }
    for status in [400, 404, 409, 429, 500] {
        let fake = Fake::new([Fate::Status(status)]);
        assert_eq!(sent(&fake, "GET", "/api/job/2").await.unwrap().status().as_u16(), status);
        assert_eq!(fake.asked().len(), 1);
    }
}

/// The fault: the first answer is lost, and the server refuses to add the same job twice.
#[tokio::test(start_paused = true)]
async fn an_add_that_was_carried_out_before_is_answered_as_the_first() {
    let known = json!({"status": 409, "message": "conflict with job/7", "resource-id": "job/7", "code": "conflict"});
    let late = json!({"status": 409, "message": "late", "resource-id": "job/1", "code": "late-lease"});
    for (path, own_key, refusal, expected) in [
        ("/api/job", None, &known, 201),
        ("/api/job", Some("mine"), &known, 409),
        ("/api/job", None, &late, 409),
        // it was there before: other kinds have no keys
        ("/api/user", None, &known, 409),
    ] {
        let fake = Fake::new([Fate::AnswerLost]);
        *fake.adds.lock().unwrap() = Some(refusal.clone());
        let mut add = request("POST", path, "{}");
        add.headers_mut()
            .extend(own_key.map(|key| (HeaderName::from_static(IDEMPOTENCY_HEADER), HeaderValue::from_static(key))));
        let repeats = repeats(&add, None);
        let answer = send(&fake.client(), add, repeats, &CancellationToken::new()).await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{path} {refusal}");
        let body: Document = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["resource-id"], refusal["resource-id"]);
    }
    let fake = Fake::new([]);
    *fake.adds.lock().unwrap() = Some(known);
    let answer = sent(&fake, "POST", "/api/job").await.unwrap();
    assert_eq!(answer.status(), 409, "the first refusal is no answer to an earlier one");
}

#[tokio::test]
async fn answers_have_a_bound() {
    for (size, status) in [(LARGEST_ANSWER, 200), (LARGEST_ANSWER + 1, 502)] {
        let answer = sent(&Fake::new([Fate::Big(size)]), "GET", "/api/job").await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

/// The fault: the executor is not logged in, and cannot.
#[tokio::test(start_paused = true)]
async fn without_a_login_nothing_was_carried_out() {
    let logged_in = |fake: &Arc<Fake>| {
        let credentials = Credentials { username: "super".to_owned(), password: "pw".into() };
        Client::new(fake.clone(), Some(credentials))
    };
    let delete = || request("DELETE", "/api/job/2", "");
    let fake = Fake::new([Fate::Status(403)]);
    let unanswered = send(&logged_in(&fake), delete(), Repeats::No, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(unanswered, Unanswered::NoLogin(_)), "{unanswered:?}");
    assert_eq!(unanswered.answer().status(), 502);
    let fake = Fake::new([Fate::Lost; 100]);
    let unanswered = send(&logged_in(&fake), delete(), Repeats::No, &CancellationToken::new()).await.unwrap_err();
    assert!(matches!(unanswered, Unanswered::OutOfReach(_)), "{unanswered:?}");
    assert!(fake.asked().iter().all(|asked| asked.starts_with("POST /api/session ")), "only the login was repeated");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_attempt_ends_the_repeats() {
    let (fake, ended) = (away(1000), CancellationToken::new());
    let (client, request) = (fake.client(), request("GET", "/api/job/2", ""));
    let end = async {
        sleep(Duration::from_secs(5)).await;
        ended.cancel();
    };
    let (answer, ()) = tokio::join!(send(&client, request, Repeats::Yes, &ended), end);
    assert_eq!(answer.unwrap_err(), Unanswered::Ended);
}
