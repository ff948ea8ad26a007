use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;
use tokio::time::{Instant, sleep};

use super::*;

/// Answers searches with this status at this time, or never with 0.
struct Server {
    status: fn(seconds: u64) -> u16,
    begun: Instant,
    asked: AtomicUsize,
}

#[async_trait]
impl Transport for Server {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        assert_eq!((request.method().as_str(), request.uri().path()), ("PUT", "/api/job"));
        self.asked.fetch_add(1, Ordering::Relaxed);
        match (self.status)(self.begun.elapsed().as_secs()) {
            0 => std::future::pending().await,
            status => {
                let body = json!({"count": 0, "jobs": [], "status": status, "message": "no"});
                Ok(Response::builder().status(status).body(Bytes::from(body.to_string()))?)
            }
        }
    }
}

/// Watches until somebody asks to stop after so many seconds; answers how it ended, after how long and after how many
/// requests.
async fn watched(status: fn(u64) -> u16, stopped_after: u64) -> (anyhow::Result<()>, u64, usize) {
    let server = Arc::new(Server { status, begun: Instant::now(), asked: AtomicUsize::default() });
    let (client, stop) = (Client::new(server.clone(), None), Stop::new());
    let asking = stop.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(stopped_after)).await;
        asking.ask();
    });
    let ended = follow(&client, &mut View::Changes(Changes::new(true)), &stop).await;
    (ended, server.begun.elapsed().as_secs(), server.asked.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn jobs_are_looked_at_each_second_and_trouble_that_passes_is_sat_out() {
    let (ended, seconds, asked) = watched(|seconds| if (5..50).contains(&seconds) { 503 } else { 200 }, 100).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(seconds, 100);
    // three searches for each look, one where the first is refused
    assert!((190..=215).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn trouble_that_stays_is_an_error_after_a_minute_and_a_refusal_at_once() {
    let (ended, seconds, _) = watched(|seconds| if seconds < 5 { 200 } else { 503 }, 600).await;
    assert!(ended.is_err() && (60..70).contains(&seconds), "{seconds}");
    let (ended, seconds, asked) = watched(|_| 400, 600).await;
    assert!(ended.is_err() && seconds == 0 && asked == 1, "{seconds} {asked}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_look_that_is_not_answered() {
    let (ended, seconds, asked) = watched(|_| 0, 7).await;
    assert!(ended.is_ok());
    assert_eq!((seconds, asked), (7, 1));
}

fn job(last: usize, state: &str) -> Document {
    let Value::Object(job) = json!({
        "id": format!("job/01991d3c-7c1e-7a3b-8f3c-{last:012}"), "state": state, "action": "dummy_test_action",
        "statusMessage": "so far so good",
    }) else {
        panic!("not an object")
    };
    job
}

#[test]
fn a_live_table_shows_what_runs_then_what_ended_then_what_waits_as_far_as_there_is_room() {
    let queued = (3..100).map(|last| job(last, "QUEUED")).collect();
    let reading = Reading {
        running: (1, vec![job(1, "RUNNING")]),
        ended: (1, vec![job(2, "SUCCESS")]),
        queued: (1_000_000, queued),
    };
    let screen = Screen { width: Some(80), colours: false };
    let expected = "\
1 running, 1000000 queued, 1 just ended
JOB                                   STATE    DONE  AGE  ACTION
01991d3c-7c1e-7a3b-8f3c-000000000001  RUNNING             dummy_test_action
  so far so good
01991d3c-7c1e-7a3b-8f3c-000000000002  SUCCESS             dummy_test_action
01991d3c-7c1e-7a3b-8f3c-000000000003  QUEUED              dummy_test_action
  so far so good";
    assert_eq!(reading.lines(screen, 7).join("\n"), expected);
    let nothing = Reading { running: (0, Vec::new()), ended: (0, Vec::new()), queued: (0, Vec::new()) };
    assert_eq!(nothing.lines(screen, 7), ["0 running, 0 queued, 0 just ended"]);
}
