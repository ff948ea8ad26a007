//! What the cases need of an adapter, and the session that injects faults above any of them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::{Found, Node, Operation, State, Watch};
use slipstream_coordination::{Embedded, Error, Session};
use tokio::sync::{mpsc, oneshot, watch};

/// What one adapter lets the cases do. Each case gets a tree of its own.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A session of the kind under test.
    async fn connect(&self) -> Client;
    /// A session of the bare adapter, to prepare and to look with.
    async fn operator(&self) -> Client {
        self.connect().await
    }
    /// How many faults were injected so far, if that is what this harness does.
    fn injected(&self) -> Option<usize> {
        None
    }
    /// How long a step takes in which everything else can go on; no time where nothing else takes time.
    fn pace(&self) -> Duration {
        Duration::ZERO
    }
    /// How many of so many rounds a case goes: fewer where time is real.
    fn rounds(&self, rounds: u64) -> u64 {
        rounds
    }
}

/// A session, and what its coordinator does to it.
pub struct Client {
    pub session: Arc<dyn Session>,
    control: Arc<dyn Control>,
    pace: Duration,
}

/// What a coordinator and its network do to a session.
#[async_trait]
pub trait Control: Send + Sync {
    async fn expire(&self);
    async fn suspend(&self);
    async fn resume(&self);
}

impl Client {
    pub fn new(session: Arc<dyn Session>, control: Arc<dyn Control>, pace: Duration) -> Self {
        Self { session, control, pace }
    }

    pub async fn expire(&self) {
        self.control.expire().await;
        self.reaches(State::Expired).await;
    }

    pub async fn suspend(&self) {
        self.control.suspend().await;
        self.reaches(State::Suspended).await;
    }

    pub async fn resume(&self) {
        self.control.resume().await;
        self.reaches(State::Connected).await;
    }

    async fn reaches(&self, wanted: State) {
        let mut state = self.session.state();
        within(state.wait_for(|state| *state == wanted)).await.unwrap();
    }

    /// The same client, its session seen through a plan of faults.
    pub fn with(self, plan: Plan) -> (Self, Arc<Faults>) {
        let faults = Arc::new(Faults { plan: Mutex::new(plan), lost: AtomicUsize::new(0), asked: Mutex::default() });
        let session = Arc::new(FaultySession::new(self.session, faults.clone(), self.pace));
        (Self { session, ..self }, faults)
    }
}

/// Ends, or the case fails.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(2), work).await.expect("this should have ended long ago")
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    for _ in 0..12_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain: {what}");
}

/// Lets everything that can go on go on.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// Lets everything else go one step further, and at least for so long.
pub async fn step(pace: Duration) {
    let start = Instant::now();
    tokio::task::yield_now().await;
    while start.elapsed() < pace {
        tokio::task::yield_now().await;
    }
}

/// Sessions of an [`Embedded`] coordinator.
#[derive(Default)]
pub struct InProcess {
    embedded: Embedded,
}

struct InProcessControl(std::sync::Weak<EmbeddedSession>);

#[async_trait]
impl Harness for InProcess {
    async fn connect(&self) -> Client {
        let session = Arc::new(self.embedded.session());
        let control = Arc::new(InProcessControl(Arc::downgrade(&session)));
        Client::new(session, control, self.pace())
    }
}

#[async_trait]
impl Control for InProcessControl {
    async fn expire(&self) {
        self.0.upgrade().unwrap().expire();
    }

    async fn suspend(&self) {
        self.0.upgrade().unwrap().suspend();
    }

    async fn resume(&self) {
        self.0.upgrade().unwrap().resume();
    }
}

/// Another harness, with requests and answers lost at random.
pub struct Faulty<H> {
    inner: H,
    seed: Mutex<u64>,
    faults: Mutex<Vec<Arc<Faults>>>,
}

impl<H> Faulty<H> {
    pub fn over(inner: H, seed: u64) -> Self {
        Self { inner, seed: Mutex::new(seed << 32), faults: Mutex::default() }
    }
}

#[async_trait]
impl<H: Harness> Harness for Faulty<H> {
    async fn connect(&self) -> Client {
        let seed = {
            let mut seed = self.seed.lock().unwrap();
            *seed += 1;
            *seed
        };
        let (client, faults) = self.inner.connect().await.with(Plan::Random(Box::new(StdRng::seed_from_u64(seed))));
        self.faults.lock().unwrap().push(faults);
        client
    }

    async fn operator(&self) -> Client {
        self.inner.operator().await
    }

    fn injected(&self) -> Option<usize> {
        Some(self.faults.lock().unwrap().iter().map(|faults| faults.lost()).sum())
    }
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives.
    Request,
    /// It is carried out, and nobody hears of it.
    Answer,
}

/// Which requests suffer which fault.
pub enum Plan {
    /// None, for counting.
    None,
    /// One in four, half of them requests and half of them answers.
    Random(Box<StdRng>),
    /// The first of this kind of request; then none.
    Once(&'static str, Fault),
}

/// What a plan did, and what was asked.
pub struct Faults {
    plan: Mutex<Plan>,
    lost: AtomicUsize,
    asked: Mutex<HashMap<&'static str, usize>>,
}

impl Faults {
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }

    /// How many requests of this kind there were.
    pub fn asked(&self, kind: &'static str) -> usize {
        self.asked.lock().unwrap().get(kind).copied().unwrap_or_default()
    }

    pub fn plan(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    fn next(&self, kind: &'static str) -> Option<Fault> {
        *self.asked.lock().unwrap().entry(kind).or_default() += 1;
        let mut plan = self.plan.lock().unwrap();
        let fault = match &mut *plan {
            Plan::Random(random) => match random.random_range(0..8) {
                0 => Some(Fault::Request),
                1 => Some(Fault::Answer),
                _ => None,
            },
            Plan::Once(wanted, fault) if *wanted == kind => Some(*fault),
            Plan::None | Plan::Once(..) => None,
        };
        if let (Plan::Once(..), Some(_)) = (&*plan, fault) {
            *plan = Plan::None;
        }
        self.lost.fetch_add(usize::from(fault.is_some()), Ordering::Relaxed);
        fault
    }
}

/// Sends requests over a line: they are carried out one after the other in the order of their first polls, each takes
/// its time, none is taken back by a drop, and some are lost.
struct FaultySession {
    inner: Arc<dyn Session>,
    faults: Arc<Faults>,
    line: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
    pace: Duration,
}

impl FaultySession {
    fn new(inner: Arc<dyn Session>, faults: Arc<Faults>, pace: Duration) -> Self {
        let (line, mut requests) = mpsc::unbounded_channel::<BoxFuture<'static, ()>>();
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                step(pace).await;
                request.await;
            }
        });
        Self { inner, faults, line, pace }
    }

    async fn send<T, F>(&self, kind: &'static str, request: impl FnOnce(Arc<dyn Session>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let fault = self.faults.next(kind);
        if fault == Some(Fault::Request) {
            step(self.pace).await;
            return Err(Error::ConnectionLoss);
        }
        let request = request(self.inner.clone());
        let (answer, answered) = oneshot::channel();
        let work = async move {
            let outcome = request.await;
            // who asked may have gone
            drop(answer.send(outcome));
        };
        self.line.send(Box::pin(work)).unwrap();
        let outcome = answered.await.unwrap();
        // events may overtake an answer
        step(self.pace).await;
        if fault == Some(Fault::Answer) { Err(Error::ConnectionLoss) } else { outcome }
    }
}

/// The kind of a transaction: what its first operation does, and where.
fn kind(operations: &[Operation]) -> &'static str {
    match operations.first() {
        Some(Operation::Create { path, .. }) if path.contains("/taken/") => "create claim",
        Some(Operation::Create { path, .. }) if path.contains("/entries/") => "create entry",
        Some(Operation::Create { path, .. }) if path.contains("__lock__") => "create candidate",
        Some(Operation::Delete { path, .. }) if path.contains("/taken/") => "delete claim",
        Some(Operation::Delete { path, .. }) if path.contains("/entries/") => "delete entry",
        _ => "other",
    }
}

#[async_trait]
impl Session for FaultySession {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        self.send(kind(&operations), |session| async move { session.commit(operations).await }).await
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        let path = path.to_owned();
        self.send("data", |session| async move { session.data(&path).await }).await
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        self.send("nodes", |session| async move { session.nodes(paths).await }).await
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        let path = path.to_owned();
        self.send("children", |session| async move { session.children(&path).await }).await
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        let path = path.to_owned();
        let kind = if path.contains("__lock__") { "watch candidate" } else { "watch" };
        self.send(kind, |session| async move { session.watch(&path).await }).await
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        let path = path.to_owned();
        self.send("sync", |session| async move { session.sync(&path).await }).await
    }

    fn state(&self) -> watch::Receiver<State> {
        self.inner.state()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
