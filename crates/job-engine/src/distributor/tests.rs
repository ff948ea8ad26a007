mod faults;
mod world;

use std::time::Duration;

use serde_json::json;
use slipstream_cimi::job::NewJob;
use slipstream_coordination::Election;
use world::{World, configured, time};

use super::*;
use crate::process::registry::RegisteredTerm;

fn keys(times: &[&str]) -> Vec<String> {
    times.iter().map(|time| format!("each 2026-11-24T{time}Z dummy")).collect()
}

#[test]
fn a_job_is_sent_as_the_original_does() {
    let job = NewJob { action: "cleanup_jobs".to_owned(), target: Some("job".to_owned()), ..NewJob::default() };
    assert_eq!(json!(job.document()), json!({"action": "cleanup_jobs", "targetResource": {"href": "job"}}));
    let job = NewJob { action: "count".to_owned(), priority: Some(7), ..NewJob::default() };
    assert_eq!(json!(job.document()), json!({"action": "count", "priority": 7}));
}

#[tokio::test(start_paused = true)]
async fn each_round_comes_at_its_time() {
    let world = World::new();
    let running = world.start("one", configured("each", 15, Missed::Coalesce));
    world.pass("12:01:00").await;
    running.stop().await;
    assert_eq!(world.server.keys(), keys(&["12:00:15", "12:00:30", "12:00:45", "12:01:00"]));
    for (asked, due) in world.server.asked.lock().unwrap().iter().zip(["12:00:15", "12:00:30", "12:00:45", "12:01:00"])
    {
        let late = asked.duration_since(time(due));
        assert!(!late.is_negative() && late.as_millis() < 100, "{due}: {late}");
    }
    let (_, document) = world.server.created.lock().unwrap()[0].clone();
    assert_eq!(document, json!({"action": "count", "targetResource": {"href": "dummy"}}));
}

#[tokio::test(start_paused = true)]
async fn rounds_missed_between_two_starts_are_treated_as_configured() {
    let rows: [(Missed, &[&str]); 4] = [
        (Missed::Skip, &["12:00:20", "12:01:00", "12:01:20"]),
        (Missed::Coalesce, &["12:00:20", "12:01:00", "12:01:20"]),
        (Missed::CatchUp { limit: 1000 }, &["12:00:20", "12:00:40", "12:01:00", "12:01:20"]),
        (Missed::CatchUp { limit: 1 }, &["12:00:20", "12:01:00", "12:01:20"]),
    ];
    for (missed, expected) in rows {
        let world = World::new();
        let running = world.start("one", configured("each", 20, missed));
        world.pass("12:00:25").await;
        running.stop().await;
        world.pass("12:01:10").await;
        let running = world.start("two", configured("each", 20, missed));
        world.pass("12:01:20").await;
        running.stop().await;
        assert_eq!(world.server.keys(), keys(expected), "{missed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_round_is_made_up_for_unless_it_is_to_be_skipped() {
    let rows: [(Missed, &[&str]); 2] =
        [(Missed::Skip, &["13:00:00", "15:00:00"]), (Missed::Coalesce, &["13:00:00", "14:00:00", "15:00:00"])];
    for (missed, expected) in rows {
        let world = World::new();
        let running = world.start("one", configured("each", 3600, missed));
        world.pass("13:00:00").await;
        running.stop().await;
        world.pass("14:30:00").await;
        let running = world.start("two", configured("each", 3600, missed));
        world.pass("15:00:00").await;
        running.stop().await;
        assert_eq!(world.server.keys(), keys(expected), "{missed:?}");
    }
}

/// Rounds count from the first start on, also if nobody leads when the first one is due.
#[tokio::test(start_paused = true)]
async fn the_first_round_is_not_forgotten_by_a_restart_before_it() {
    let world = World::new();
    let running = world.start("one", configured("each", 3600, Missed::Coalesce));
    world.pass("12:30:00").await;
    running.stop().await;
    assert_eq!(world.server.keys(), keys(&[]), "none at once");
    world.pass("13:30:00").await;
    let running = world.start("one", configured("each", 3600, Missed::Coalesce));
    world.pass("13:31:00").await;
    running.stop().await;
    assert_eq!(world.server.keys(), keys(&["13:00:00"]));
}

#[tokio::test(start_paused = true)]
async fn of_two_candidates_one_leads_and_hands_over() {
    let world = World::new();
    let first = world.start("Kenny", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:08").await;
    let second = world.start("Stan", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:30").await;
    let observer = world.coordination.tree.connect().await.unwrap();
    let election = Election::new(observer, "/election/count", "observer");
    let contenders = async || {
        let contenders = election.contenders().await.unwrap();
        contenders.into_iter().filter_map(|contender| contender.identifier).collect::<Vec<_>>()
    };
    assert_eq!(contenders().await, ["Kenny", "Stan"]);
    first.stop().await;
    assert_eq!(contenders().await, ["Stan"], "nothing stays behind");
    world.pass("12:01:00").await;
    second.stop().await;
    assert_eq!(world.server.keys(), keys(&["12:00:15", "12:00:30", "12:00:45", "12:01:00"]));
    assert_eq!(world.server.asked.lock().unwrap().len(), 4, "only the leader asks");
    assert!(contenders().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_round_under_way_but_not_for_long() {
    for (released, expected) in [(true, keys(&["12:00:15"])), (false, keys(&[]))] {
        let world = World::new();
        world.server.gate.forget_permits(usize::MAX);
        let running = world.start("one", configured("each", 15, Missed::Coalesce));
        world.pass("12:00:15").await;
        assert_eq!(world.server.asked.lock().unwrap().len(), 1, "a round is under way");
        running.stop.ask();
        if released {
            world.server.gate.add_permits(1);
        }
        let stopped = tokio::time::timeout(GRACE + Duration::from_secs(1), running.task).await;
        stopped.expect("it stops within the grace").unwrap();
        assert_eq!(world.server.keys(), expected);
        let pending = world.marks.saved.borrow().pending;
        assert_eq!(pending, (!released).then(|| time("12:00:15")), "what was cut short stays pending");
    }
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_does_not_lead_stops_too() {
    let world = World::new();
    let first = world.start("one", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:08").await;
    let second = world.start("two", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:09").await;
    second.stop().await;
    first.stop().await;
    let world = World::new();
    *world.coordination.refused.lock().unwrap() = usize::MAX;
    let unconnected = world.start("one", configured("each", 15, Missed::Coalesce));
    world.pass("12:05:00").await;
    unconnected.stop().await;
    let tried = usize::MAX - *world.coordination.refused.lock().unwrap();
    assert!((5..30).contains(&tried), "it tries again and again, with pauses: {tried}");
}

/// Decision 17.
#[tokio::test(start_paused = true)]
async fn candidates_are_registered_and_the_leader_says_how_far_it_is() {
    let world = World::new();
    let observer = world.coordination.tree.connect().await.unwrap();
    let registered = async || {
        let mut all = Vec::new();
        for name in observer.children(DISTRIBUTORS).await.unwrap() {
            let node = observer.data(&format!("{DISTRIBUTORS}/{name}")).await.unwrap();
            all.push(serde_json::from_slice::<RegisteredDistributor>(&node.data).unwrap());
        }
        all.sort_by(|one, other| one.candidate.cmp(&other.candidate));
        all
    };
    let term = |last: &str, next: &str| {
        Some(RegisteredTerm { last: Some(time(last)), next: Some(time(next)), given_up: None, rounds: Vec::new() })
    };
    let first = world.start("Kenny", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:08").await;
    let second = world.start("Stan", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:10").await;
    let [kenny, stan] = registered().await.try_into().expect("two");
    assert_eq!(
        (kenny.candidate.as_str(), kenny.name.as_str(), kenny.election.as_deref()),
        ("Kenny", "each", Some("count"))
    );
    assert_eq!((kenny.schedule.as_str(), kenny.term), ("every 15s", term("12:00:07", "12:00:15")));
    assert_eq!((stan.candidate.as_str(), stan.term), ("Stan", None));
    world.pass("12:00:15").await;
    assert_eq!(registered().await[0].term, term("12:00:15", "12:00:30"));
    first.stop().await;
    world.pass("12:00:31").await;
    let [stan] = registered().await.try_into().expect("one");
    assert_eq!((stan.candidate.as_str(), stan.term), ("Stan", term("12:00:30", "12:00:45")));
    second.stop().await;
    assert!(registered().await.is_empty(), "they go with their sessions");
}
