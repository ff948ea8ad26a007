//! What a service and an embedded engine count, and how they say that they are well.

use std::net::TcpListener;
use std::sync::Arc;

use slipstream_job_engine::{Engine, Failure, JobHandle, State, Success};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::failing_store::{Failing, Fault};
use crate::services::support::{Service, admin, asked, endpoint};
use crate::support::{InProcess, LIMIT, PASSWORD, Raw, eventually, job, program, up_command};

async fn succeed(_job: JobHandle) -> Result<Success, Failure> {
    Ok(Success::default())
}

async fn fail(_job: JobHandle) -> Result<Success, Failure> {
    Err(Failure::new("as the test wants it"))
}

/// The value of a series, e.g. of `slipstream_slots`.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn an_engine_counts_what_it_does() {
    let engine = Engine::builder().slots(3).action("succeed", succeed).action("fail", fail);
    let engine = engine.start().await.expect("it starts");
    let other = Engine::builder().action("succeed", succeed).start().await.expect("it starts");
    for action in ["succeed", "succeed", "fail", "nobody-has-it"] {
        let id = engine.submit(action).await.expect("added");
        assert_ne!(engine.wait(&id).await.expect("it ends").state, State::Stopped);
    }
    // the last claim is settled once its job has ended
    let text = eventually("all claims are settled", async || {
        let text = engine.metrics().await;
        (value(&text, "slipstream_verdicts_total{verdict=\"consume\"}") == Some(4.0)).then_some(text)
    })
    .await;
    let rows = [
        ("slipstream_jobs_added_total{action=\"succeed\"}", 2.0),
        ("slipstream_jobs_ended_total{action=\"succeed\",state=\"SUCCESS\"}", 2.0),
        ("slipstream_jobs_ended_total{action=\"fail\",state=\"FAILED\"}", 1.0),
        ("slipstream_jobs_ended_total{action=\"nobody-has-it\",state=\"FAILED\"}", 1.0),
        ("slipstream_attempts_total{action=\"succeed\",outcome=\"finished\"}", 2.0),
        ("slipstream_attempts_total{action=\"fail\",outcome=\"failed\"}", 1.0),
        ("slipstream_attempts_total{action=\"fail\",outcome=\"lost\"}", 0.0),
        ("slipstream_job_wait_seconds_count{action=\"succeed\"}", 2.0),
        ("slipstream_action_duration_seconds_count{action=\"fail\"}", 1.0),
        ("slipstream_jobs{state=\"SUCCESS\"}", 2.0),
        ("slipstream_jobs{state=\"FAILED\"}", 2.0),
        ("slipstream_claims_total", 4.0),
        ("slipstream_verdicts_total{verdict=\"release\"}", 0.0),
        ("slipstream_slots", 3.0),
        ("slipstream_slots_busy", 0.0),
        ("slipstream_store_waiting_writes", 0.0),
    ];
    for (series, expected) in rows {
        assert_eq!(value(&text, series), Some(expected), "{series} in {text}");
    }
    assert!(value(&text, "slipstream_request_duration_seconds_count{peer=\"store\",operation=\"write\"}") > Some(4.0));
    let build = format!("slipstream_build_info{{version=\"{}\",commit=", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&build) && text.contains(",part=\"engine\"} 1\n"), "{text}");
    assert!(!text.contains("session_state"), "no coordinator is elsewhere: {text}");
    assert!(!other.metrics().await.contains("succeed"), "each engine counts for itself");
    engine.stop().await.expect("it stops");
    other.stop().await.expect("it stops");
}

#[tokio::test]
async fn up_answers_metrics_and_health_until_it_has_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.args(["--admin-listen", "127.0.0.1:0"]);
    let mut up = Service::start(command);
    let (admin, api) = (admin(&up).await, endpoint(&up).await);
    // a job that goes on while it is looked at
    let mut submit = program();
    submit.args(["submit", "dummy_test_action"]).env("SLIPSTREAM_URL", &api).env("SLIPSTREAM_PASS", PASSWORD);
    assert!(submit.output().expect("it runs").status.success());
    eventually("the job runs", async || {
        let scraped = asked(&admin, "GET", "/metrics").await;
        assert_eq!(scraped.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
        (value(&scraped.text, "slipstream_slots_busy") == Some(1.0)).then_some(())
    })
    .await;
    for place in [&admin, &api] {
        for (path, text) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
            let answer = asked(place, "GET", path).await;
            assert_eq!((answer.status, &*answer.text), (200, text), "{place}{path}");
            assert_eq!(asked(place, "HEAD", path).await.status, 200);
        }
    }
    assert_eq!(asked(&admin, "GET", "/api/job").await.status, 404);
    assert_eq!(asked(&admin, "POST", "/metrics").await.status, 405);
    assert_eq!(asked(&api, "GET", "/metrics").await.status, 404, "not for everybody");
    up.signal("TERM");
    up.says("stopping: running jobs").await;
    for place in [&admin, &api] {
        let answer = asked(place, "GET", "/readyz").await;
        assert_eq!((answer.status, &*answer.text), (503, "process: stopping\n"), "{place}");
        assert_eq!(asked(place, "GET", "/livez").await.status, 200);
    }
    up.signal("TERM");
    assert_eq!(up.ended().await.code(), Some(0), "{:?}", up.said());
}

#[tokio::test]
async fn a_port_that_is_taken_is_no_reason_not_to_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
    let address = taken.local_addr().expect("it listens").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.args(["--admin-listen", &address]);
    let mut up = Service::start(command);
    up.says(&format!("no metrics and health at {address}: choose another address with --admin-listen")).await;
    let api = endpoint(&up).await;
    assert_eq!(asked(&api, "GET", "/readyz").await.status, 200);
    up.stop().await;
}

#[tokio::test]
async fn metrics_are_sent_to_statsd() {
    let server = UdpSocket::bind("127.0.0.1:0").await.expect("there are free ports");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.arg("--statsd").arg(server.local_addr().expect("it has one").to_string());
    let mut up = Service::start(command);
    let mut bytes = [0; 1_500];
    let length = timeout(LIMIT, server.recv(&mut bytes)).await.expect("a packet arrives").expect("received");
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    let is_build = |line: &str| line.starts_with("slipstream.build_info.") && line.ends_with(".up:1|g");
    assert!(text.lines().any(is_build), "{text}");
    assert_eq!(up.times("metrics and health at"), 0, "nobody asked for that");
    up.stop().await;
}

#[tokio::test]
async fn a_server_whose_store_does_not_write_is_not_ready() {
    let store: Arc<Failing> = Arc::default();
    let server = InProcess::over(store.clone()).await;
    let ready = async || {
        let answer = Raw::new("GET", "/readyz").send(&*server.transport).await;
        (answer.status, answer.text)
    };
    assert_eq!(ready().await, (200, "ready\n".to_owned()));
    for (fault, reason) in [
        (Fault::Full, "store: it does not write, see the log\n"),
        (Fault::Held, "store: no answer within 1 second\n"),
        (Fault::Gone, "store: it does not write, see the log\n"),
    ] {
        let before = store.injected();
        store.set(fault);
        // an answer counts for a second
        eventually("it is seen", async || (ready().await == (503, reason.to_owned())).then_some(())).await;
        assert!(store.injected() > before, "{fault:?} did not happen");
        store.set(Fault::None);
        eventually("it is ready again", async || (ready().await.0 == 200).then_some(())).await;
    }
    // in spite of all that
    let added = server.client.add("job", &job("noop"), None).await;
    assert!(added.is_ok(), "{added:?}");
}
