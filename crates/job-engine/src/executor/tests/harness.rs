//! An executor between a [`FakeServer`] and an embedded coordinator, with actions that tests write as closures.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success};
use slipstream_cimi::State;
use slipstream_cimi::overview::executors::{PassedOver, RegisteredExecutor};
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::{Mode, Operation, SESSION_TIMEOUT};
use slipstream_coordination::{Coordinator, Embedded, Error, LockingQueue, Session};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::fake_server::FakeServer;
use crate::executor::{ActionRuntime, Options, run};
use crate::process::paths;
use crate::process::registry::registered;
use crate::process::stop::Stop;

/// In tokio's paused time; no test waits that long.
const LIMIT: Duration = Duration::from_hours(1);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// An action written as a closure.
pub(super) struct Closure<F>(pub(super) F);

#[async_trait]
impl<F> Action for Closure<F>
where
    F: Fn(JobHandle) -> BoxFuture<'static, Result<Success, Failure>> + Send + Sync,
{
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        (self.0)(job).await
    }
}

/// Counts runs: how many began, how many go on, the most at once.
#[derive(Clone, Default)]
pub(super) struct Runs {
    begun: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

/// Ends the counting of one run when dropped, however the run ends.
pub(super) struct Counted(Runs);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Runs {
    pub(super) fn count(&self) -> Counted {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Counted(self.clone())
    }

    pub(super) fn cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(super) fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// An action that goes on until it is cancelled, or for `duration`.
    pub(super) fn action(&self, duration: Duration) -> impl Action + 'static {
        let runs = self.clone();
        Closure(move |job: JobHandle| -> BoxFuture<'static, Result<Success, Failure>> {
            let runs = runs.clone();
            Box::pin(async move {
                let _counted = runs.count();
                tokio::select! {
                    () = sleep(duration) => Ok(Success::with_message("waited")),
                    () = job.cancelled() => {
                        runs.cancel();
                        Err(Failure::new("cancelled"))
                    }
                }
            })
        })
    }
}

/// An embedded coordinator whose sessions tests can end and suspend.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    pub(super) embedded: Embedded,
    opened: Arc<Mutex<Vec<Arc<EmbeddedSession>>>>,
    /// Instead of the usual time-out of sessions.
    pub(super) timeout: Option<Duration>,
}

impl Sessions {
    pub(super) fn opened(&self) -> usize {
        self.opened.lock().unwrap().len()
    }

    pub(super) fn latest(&self) -> Arc<EmbeddedSession> {
        self.opened.lock().unwrap().last().expect("a session was opened").clone()
    }
}

#[async_trait]
impl Coordinator for Sessions {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let session = Arc::new(self.embedded.session());
        self.opened.lock().unwrap().push(session.clone());
        Ok(session)
    }

    fn session_timeout(&self) -> Duration {
        self.timeout.unwrap_or(SESSION_TIMEOUT)
    }
}

/// An executor and its surroundings.
pub(super) struct Harness {
    pub(super) server: FakeServer,
    pub(super) sessions: Sessions,
    pub(super) session: Arc<EmbeddedSession>,
    pub(super) queue: LockingQueue,
    pub(super) stop: Stop,
    pub(super) catalogue: Catalogue,
    pub(super) options: Options,
    running: Option<JoinHandle<()>>,
}

impl Harness {
    /// Nothing runs yet; the generation is 1.
    pub(super) async fn new() -> Self {
        let sessions = Sessions::default();
        let session = Arc::new(sessions.embedded.session());
        let queue = LockingQueue::open(session.clone(), paths::JOB, &"f".repeat(32)).await.unwrap();
        let options = Options::new("tester", ActionRuntime::shared());
        let harness = Self {
            server: FakeServer::default(),
            sessions,
            session,
            queue,
            stop: Stop::new(),
            catalogue: Catalogue::new(),
            options,
            running: None,
        };
        harness.session.commit(vec![Operation::create(paths::OWN, "", Mode::Persistent)]).await.unwrap();
        harness.write_generation(1).await;
        harness
    }

    pub(super) async fn write_generation(&self, generation: i64) {
        let data = generation.to_string();
        let create = Operation::create(paths::GENERATION, data.as_str(), Mode::Persistent);
        if self.session.commit(vec![create]).await.is_err() {
            let set = Operation::Set { path: paths::GENERATION.to_owned(), data: data.into_bytes(), version: None };
            self.session.commit(vec![set]).await.unwrap();
        }
    }

    /// Stores a QUEUED job and puts its entry, whose path it answers.
    pub(super) async fn add(&self, id: &str, action: &str) -> String {
        self.server.store(id, action, State::Queued);
        self.queue.put(id.as_bytes(), 999).await.unwrap()
    }

    pub(super) fn start(&mut self) {
        self.start_over(Arc::new(self.sessions.clone()));
    }

    pub(super) fn start_over(&mut self, coordinator: Arc<dyn Coordinator>) {
        let (options, catalogue, stop) = (self.options.clone(), self.catalogue.clone(), self.stop.clone());
        self.running = Some(tokio::spawn(run(options, coordinator, self.server.client(), catalogue, stop)));
    }

    /// Waits until a job has this state on the server.
    pub(super) async fn until_state(&self, id: &str, state: State) {
        until(&format!("{id} becomes {state}"), || self.server.state(id) == state.as_str()).await;
    }

    /// Waits until neither entries nor claims are left.
    pub(super) async fn until_empty(&self) {
        let emptied = async {
            while !self.children(paths::ENTRIES).await.is_empty() || !self.children(paths::TAKEN).await.is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, emptied).await.expect("the queue is emptied");
    }

    /// Waits until an entry is there and nobody holds it.
    pub(super) async fn until_free(&self, entry: &str) {
        let freed = async {
            while !self.children(paths::TAKEN).await.is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, freed).await.expect("the claim is released");
        assert!(self.children(paths::ENTRIES).await.contains(&name_of(entry)), "{entry} was consumed");
    }

    pub(super) async fn children(&self, path: &str) -> Vec<String> {
        self.session.children(path).await.unwrap()
    }

    /// The one entry that the one executor leaves alone, as it says itself.
    pub(super) async fn only_passed_over(&self) -> PassedOver {
        let registered = registered::<RegisteredExecutor>(&*self.session, paths::EXECUTORS).await.unwrap().all;
        let [passed_over] = &*registered[0].1.passed_over else { panic!("{registered:?}") };
        passed_over.clone()
    }

    pub(super) async fn delete_node(&self, path: &str) {
        self.session.commit(vec![Operation::delete(path)]).await.unwrap();
    }

    /// Waits until the executor has ended after a stop.
    pub(super) async fn ended(&mut self) {
        let running = self.running.take().expect("it was started");
        timeout(LIMIT, running).await.expect("the executor ends").expect("the executor does not panic");
    }

    pub(super) fn has_ended(&self) -> bool {
        self.running.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops without grace, and waits.
    pub(super) async fn finish(&mut self) {
        self.stop.ask_at_once();
        self.ended().await;
        assert!(self.children(paths::TAKEN).await.is_empty(), "a claim outlives its session");
    }
}

pub(super) fn name_of(path: &str) -> String {
    path.rsplit('/').next().unwrap().to_owned()
}
