use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::programs::api_socket::folding::PERIOD;
use crate::programs::api_socket::tests::{Fake, Fate, JOB, request};

fn lane(fake: &Arc<Fake>) -> OwnJobLane {
    OwnJobLane::new(fake.client(), JOB.to_owned())
}

async fn put(lane: &OwnJobLane, body: &Value) -> Answer {
    lane.edit(request("PUT", "/api/job/1", &body.to_string()), Repeats::Yes, true).await
}

fn status(answer: &Answer) -> u16 {
    match answer {
        Ok(answer) => answer.status().as_u16(),
        Err(unanswered) => unanswered.answer().status().as_u16(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_reports_are_ten_edits_a_second() {
    let fake = Fake::new([]);
    let lane = lane(&fake);
    for number in 0..1000 {
        let answer = put(&lane, &json!({"progress": number / 10})).await.unwrap();
        let job: Document = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(job["progress"], number / 10, "each is answered as if it were written");
        sleep(Duration::from_millis(1)).await;
    }
    lane.flush().await;
    let came: Vec<Instant> = fake.asked.lock().unwrap().iter().map(|(at, _)| *at).collect();
    assert!((10..=12).contains(&came.len()), "{} edits", came.len());
    // the last is that of the flush
    let apart = came[..came.len() - 1].windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(apart >= PERIOD, "{apart:?}");
    assert_eq!(fake.job.lock().unwrap()["progress"], 99);
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_goes_out_by_itself() {
    let fake = Fake::new([]);
    let lane = lane(&fake);
    put(&lane, &json!({"progress": 1})).await.unwrap();
    put(&lane, &json!({"progress": 2})).await.unwrap();
    assert_eq!(fake.job.lock().unwrap()["progress"], 1);
    sleep(PERIOD * 2).await;
    assert_eq!(fake.job.lock().unwrap()["progress"], 2);
}

/// The fault: whoever reports goes away while its edit is under way.
#[tokio::test(start_paused = true)]
async fn an_edit_whose_sender_is_gone_is_not_overtaken() {
    let fake = Fake::new([Fate::Slow(500)]);
    let lane = lane(&fake);
    let gone = tokio::time::timeout(Duration::from_millis(100), put(&lane, &json!({"progress": 1}))).await;
    assert!(gone.is_err(), "it was not answered in time");
    put(&lane, &json!({"progress": 2})).await.unwrap();
    lane.flush().await;
    assert_eq!(fake.job.lock().unwrap()["progress"], 2);
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reaches_whoever_reports_next() {
    let fake = Fake::new([Fate::Answered, Fate::Status(409), Fate::Status(409)]);
    let lane = lane(&fake);
    put(&lane, &json!({"progress": 1})).await.unwrap();
    assert_eq!(status(&put(&lane, &json!({"progress": 2})).await), 200);
    sleep(PERIOD * 2).await;
    assert_eq!(status(&put(&lane, &json!({"progress": 3})).await), 409);
    assert_eq!(lane.unsettled(), Document::new());
}

#[tokio::test(start_paused = true)]
async fn while_the_server_is_away_for_twenty_seconds_nothing_is_lost() {
    let fake = Fake::new([]);
    let lane = lane(&fake);
    put(&lane, &json!({"progress": 1})).await.unwrap();
    *fake.away_until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(20));
    sleep(PERIOD).await;
    let two = json!({"progress": 2});
    let (report, edit) = tokio::join!(
        put(&lane, &two),
        lane.edit(request("PUT", "/api/job/1", r#"{"state":"FAILED"}"#), Repeats::Yes, true)
    );
    assert_eq!((status(&report), status(&edit)), (200, 200));
    assert_eq!(fake.asked().last().unwrap(), r#"PUT /api/job/1 {"state":"FAILED"}"#);
    assert_eq!(fake.job.lock().unwrap()["progress"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_told_and_what_was_answered_is_kept() {
    let fake = Fake::new([]);
    let lane = lane(&fake);
    put(&lane, &json!({"progress": 1})).await.unwrap();
    put(&lane, &json!({"progress": 2, "statusMessage": "two"})).await.unwrap();
    *fake.away_until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(100));
    let edit = lane.edit(request("PUT", "/api/job/1", r#"{"state":"FAILED"}"#), Repeats::Yes, true).await;
    assert_eq!(status(&edit), 503, "it would overtake what is pending");
    assert_eq!(status(&put(&lane, &json!({"progress": 3})).await), 200, "the server is back");
    let job = fake.job.lock().unwrap().clone();
    assert_eq!((&job["progress"], &job["statusMessage"], &job["state"]), (&json!(3), &json!("two"), &json!("RUNNING")));
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_also_when_nothing_can_be_written() {
    let fake = Fake::new([]);
    let lane = lane(&fake);
    put(&lane, &json!({"progress": 1})).await.unwrap();
    put(&lane, &json!({"progress": 2})).await.unwrap();
    *fake.away_until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(1000));
    let begun = Instant::now();
    lane.flush().await;
    assert!(begun.elapsed() <= repeat::PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_show_the_job_answers_every_report() {
    let fake = Fake::new([Fate::Status(200), Fate::Status(200)]);
    let lane = lane(&fake);
    for percent in [1, 2] {
        assert_eq!(status(&put(&lane, &json!({ "progress": percent })).await), 200);
    }
    assert_eq!(fake.asked().len(), 2);
}

/// What an action does.
#[derive(Clone, Debug)]
enum Act {
    /// The next value of one of the attributes.
    Report(usize),
    /// Of several at once, by threads of their own.
    Threads(Vec<usize>),
    Edit,
    Wait(u64),
}

const ATTRIBUTES: [&str; 3] = ["progress", "statusMessage", "affectedResources"];

fn value(attribute: usize, number: usize) -> Value {
    match attribute {
        0 => json!(number.min(100)),
        1 => json!(format!("{number}")),
        _ => json!([{ "href": format!("a/{number}") }]),
    }
}

fn number(attribute: usize, value: &Value) -> usize {
    match attribute {
        0 => value.as_u64().and_then(|number| number.try_into().ok()).unwrap(),
        1 => value.as_str().unwrap().parse().unwrap(),
        _ => value[0]["href"].as_str().unwrap()[2..].parse().unwrap(),
    }
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3_usize).prop_map(Act::Report),
        2 => proptest::collection::vec(0..3_usize, 2..6).prop_map(Act::Threads),
        1 => Just(Act::Edit),
        3 => (0..150_u64).prop_map(Act::Wait),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        2 => (1..400_u64).prop_map(Fate::Slow),
        1 => Just(Fate::Lost),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::Status(503)),
    ]
}

proptest! {
    /// However slow the server is and whatever it loses: the last value of each attribute arrives, and none arrives after a
    /// later one.
    #[test]
    fn the_last_value_wins_and_arrives(
        acts in proptest::collection::vec(act(), 1..40),
        fates in proptest::collection::vec(fate(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fake = Fake::new(fates);
            let lane = lane(&fake);
            let mut last = [0; 3];
            for act in acts {
                match act {
                    Act::Report(attribute) => {
                        last[attribute] += 1;
                        let changes = json!({ ATTRIBUTES[attribute]: value(attribute, last[attribute]) });
                        assert_eq!(status(&put(&lane, &changes).await), 200);
                    }
                    Act::Threads(attributes) => {
                        let changes = attributes.into_iter().map(|attribute| {
                            last[attribute] += 1;
                            json!({ ATTRIBUTES[attribute]: value(attribute, last[attribute]) })
                        });
                        let all: Vec<Value> = changes.collect();
                        futures_util::future::join_all(all.iter().map(|changes| put(&lane, changes))).await;
                    }
                    Act::Edit => {
                        let edit = request("PUT", "/api/job/1", r#"{"returnCode":1}"#);
                        assert_eq!(status(&lane.edit(edit, Repeats::Yes, true).await), 200);
                    }
                    Act::Wait(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
                }
            }
            lane.flush().await;
            let job = fake.job.lock().unwrap().clone();
            for (attribute, name) in ATTRIBUTES.into_iter().enumerate().filter(|(attribute, _)| last[*attribute] > 0) {
                assert_eq!(job[name], value(attribute, last[attribute]), "{name}");
                let asked = fake.asked.lock().unwrap();
                let bodies = asked.iter().map(|(_, request)| serde_json::from_slice::<Document>(request.body()).unwrap());
                let sent: Vec<usize> = bodies.filter_map(|body| Some(number(attribute, body.get(name)?))).collect();
                assert!(sent.is_sorted(), "{name} turned round: {sent:?}");
            }
        });
    }
}
