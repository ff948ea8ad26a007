//! Parts of an executor that panic, which only a bug makes them do: each is begun again, and the jobs of the others go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use slipstream_cimi::State;
use slipstream_coordination::session::{self, Found, Mode, Node, Operation, Watch};
use slipstream_coordination::{Coordinator, Error, Session};
use tokio::sync::watch;
use tokio::time::sleep;

use super::fake_server::Fault;
use super::harness::{Harness, Runs, Sessions, until};
use crate::process::paths;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

/// Sessions whose requests of one kind panic in the task that makes them: the next one, or the one after so many others.
#[derive(Clone)]
struct Crashes {
    sessions: Sessions,
    armed: Arc<Mutex<Option<(&'static str, usize)>>>,
    injected: Arc<AtomicUsize>,
}

impl Crashes {
    fn over(sessions: &Sessions) -> Self {
        Self { sessions: sessions.clone(), armed: Arc::default(), injected: Arc::default() }
    }

    fn arm(&self, request: &'static str, after: usize) {
        *self.armed.lock().unwrap() = Some((request, after));
    }

    fn injected(&self) -> usize {
        self.injected.load(Ordering::SeqCst)
    }

    fn pass(&self, request: &str) {
        let mut armed = self.armed.lock().unwrap();
        match &mut *armed {
            Some((wanted, 0)) if *wanted == request => *armed = None,
            Some((wanted, after)) if *wanted == request => return *after -= 1,
            _ => return,
        }
        drop(armed);
        self.injected.fetch_add(1, Ordering::SeqCst);
        panic!("injected");
    }
}

#[async_trait]
impl Coordinator for Crashes {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        Ok(Arc::new(Crashing { inner: self.sessions.connect().await?, crashes: self.clone() }))
    }

    fn session_timeout(&self) -> Duration {
        self.sessions.session_timeout()
    }
}

struct Crashing {
    inner: Arc<dyn Session>,
    crashes: Crashes,
}

#[async_trait]
impl Session for Crashing {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        self.inner.commit(operations).await
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        self.inner.data(path).await
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        self.inner.nodes(paths).await
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.crashes.pass(path);
        self.inner.children(path).await
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        self.crashes.pass(path);
        self.inner.watch(path).await
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        self.inner.sync(path).await
    }

    fn state(&self) -> watch::Receiver<session::State> {
        self.crashes.pass("state");
        self.inner.state()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// An executor with two slots, an action of an hour and one of a second, and an hour's job that runs.
async fn busy(long: &Runs, short: &Runs) -> (Harness, Crashes) {
    let mut harness = Harness::new().await;
    harness.options.threads = 2;
    harness.catalogue.register("long", long.action(HOUR), None);
    harness.catalogue.register("short", short.action(SECOND), None);
    let crashes = Crashes::over(&harness.sessions);
    harness.add("job/long", "long").await;
    harness.start_over(Arc::new(crashes.clone()));
    until("it runs", || long.now() == 1).await;
    (harness, crashes)
}

/// The job that ran all the while was run once.
async fn is_done_undisturbed(mut harness: Harness, long: &Runs) {
    harness.until_state("job/long", State::Success).await;
    harness.until_empty().await;
    assert_eq!((long.begun(), long.cancelled()), (1, 0));
    assert_eq!(harness.sessions.opened(), 1, "the session lives on");
    harness.finish().await;
}

/// A slot asks for the state when it settles a claim.
#[tokio::test(start_paused = true)]
async fn a_slot_that_crashes_is_begun_again_and_jobs_of_other_slots_go_on() {
    let (long, short) = (Runs::default(), Runs::default());
    let (harness, crashes) = busy(&long, &short).await;
    harness.add("job/1", "short").await;
    until("it runs", || short.now() == 1).await;
    crashes.arm("state", 0);
    harness.until_state("job/1", State::Success).await;
    until("the slot crashes", || crashes.injected() == 1).await;
    harness.add("job/2", "short").await;
    harness.until_state("job/2", State::Success).await;
    assert_eq!((long.now(), short.begun()), (1, 2));
    is_done_undisturbed(harness, &long).await;
}

/// Fault: what takes for all slots asks for the state when it begins, and crashes.
#[tokio::test(start_paused = true)]
async fn a_crash_of_what_fills_the_slots_holds_up_jobs_for_a_moment_only() {
    let short = Runs::default();
    let mut harness = Harness::new().await;
    harness.catalogue.register("short", short.action(SECOND), None);
    let crashes = Crashes::over(&harness.sessions);
    crashes.arm("state", 0);
    harness.add("job/1", "short").await;
    harness.start_over(Arc::new(crashes.clone()));
    harness.until_state("job/1", State::Success).await;
    assert_eq!((crashes.injected(), short.begun()), (1, 1));
    assert_eq!(harness.sessions.opened(), 1, "the session lives on");
    harness.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_what_keeps_the_line_takes_no_job_away() {
    let (long, short) = (Runs::default(), Runs::default());
    let (harness, crashes) = busy(&long, &short).await;
    crashes.arm(paths::EXECUTORS, 0);
    let other = format!("{}/{}", paths::EXECUTORS, "e".repeat(32));
    harness.session.commit(vec![Operation::create(other, "", Mode::Ephemeral)]).await.unwrap();
    until("it crashes", || crashes.injected() == 1).await;
    harness.add("job/1", "short").await;
    harness.until_state("job/1", State::Success).await;
    assert_eq!(long.now(), 1);
    is_done_undisturbed(harness, &long).await;
}

/// Fault: what an attempt does breaks with this job, each time.
#[tokio::test(start_paused = true)]
async fn a_job_whose_attempts_crash_fails_with_that_and_holds_up_no_other() {
    let runs = Runs::default();
    let mut harness = Harness::new().await;
    harness.catalogue.register("act", runs.action(SECOND), None);
    harness.server.script(|asked| {
        let crashes = asked.id == "job/1" && asked.method == "GET";
        if crashes { Fault::Panic } else { Fault::None }
    });
    harness.add("job/1", "act").await;
    for number in 2..5 {
        harness.add(&format!("job/{number}"), "act").await;
    }
    harness.start();
    for number in 2..5 {
        harness.until_state(&format!("job/{number}"), State::Success).await;
    }
    harness.until_empty().await;
    assert_eq!((harness.server.state("job/1").as_str(), runs.begun()), ("FAILED", 3));
    assert_eq!(harness.server.injected(), 10);
    let message = harness.server.attribute("job/1", "statusMessage");
    assert_eq!(message, "its attempt crashed, see the executor's log");
    harness.finish().await;
}

/// Fault: the queue's task panics at its start, and so all its takes fail.
#[tokio::test(start_paused = true)]
async fn an_executor_whose_queue_crashes_begins_again_with_a_new_session() {
    let runs = Runs::default();
    let mut harness = Harness::new().await;
    harness.catalogue.register("act", runs.action(SECOND), None);
    let crashes = Crashes::over(&harness.sessions);
    crashes.arm(paths::JOB, 0);
    harness.add("job/1", "act").await;
    harness.start_over(Arc::new(crashes.clone()));
    harness.until_state("job/1", State::Success).await;
    harness.until_empty().await;
    assert_eq!((crashes.injected(), harness.sessions.opened(), runs.begun()), (1, 2, 1));
    sleep(SECOND).await;
    harness.finish().await;
}
