//! [`Pool`]: the processes of one host. Each does one job at a time; there are as many as there are jobs at once, up to a limit.

mod damping;
mod member;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use slipstream_action::protocol::{Hello, Setup};
use slipstream_cimi::overview::executors::loaded::Kind;
use slipstream_coordination::retry::Complaint;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use self::damping::Damping;
use super::{Outcome, Run};
use crate::executor::load::provider::{HostProvider, Program};
use crate::programs::context::Context;
use crate::programs::program::in_words;

/// Why a job is given back that was stopped before a process had it.
const STOPPED_BEFORE: &str = "it was stopped before it began";
/// So many processes may turn out to be gone when they are to take a job; then it is given back.
const TRIES: u32 = 3;
/// How long another start is waited for, before what it has come to is looked at.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The processes of one host. Dropped, its idle processes end, and those with a job when that has ended.
pub struct Pool {
    shared: Arc<Shared>,
    _ends: DropGuard,
}

/// What is known of a host's program.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What its first process said; none before that.
    pub hello: Option<Arc<Hello>>,
    /// Why the last start failed, unless one has gone well since.
    pub failure: Option<String>,
}

/// What the pool and its processes share.
struct Shared {
    provider: HostProvider,
    context: Arc<Context>,
    /// What each process is told first.
    setup: Setup,
    /// One for each process that there may be. Held by who has a job for one, and by a process that ends.
    turns: Arc<Semaphore>,
    known: watch::Sender<Known>,
    state: Mutex<State>,
    /// No job will come any more.
    ending: CancellationToken,
    members: TaskTracker,
}

#[derive(Default)]
struct State {
    /// The one that was used last is at the end, and is used next.
    idle: Vec<Idle>,
    /// All processes that may still get a job.
    alive: BTreeSet<u64>,
    next: u64,
    damping: Damping,
    failures: Complaint,
    other_actions: Complaint,
}

/// A process without a job.
struct Idle {
    id: u64,
    orders: oneshot::Sender<(Order, Turn)>,
}

/// A job for a process.
struct Order {
    run: Run,
    reply: oneshot::Sender<Outcome>,
    /// How many processes have not taken it.
    tries: u32,
}

/// The right to be a process that has a job, begins or ends.
type Turn = OwnedSemaphorePermit;

impl Pool {
    /// Starts a first process, which says what the host can do; tries until that is known. Needs a runtime. Of `setup` all
    /// is told to the program but the protocols.
    #[must_use]
    pub fn start(provider: HostProvider, context: Arc<Context>, setup: Setup) -> Self {
        let most = provider.processes.unwrap_or(setup.threads).clamp(1, Semaphore::MAX_PERMITS);
        let ending = CancellationToken::new();
        let shared = Arc::new(Shared {
            provider,
            context,
            setup: Setup { protocols: vec![slipstream_action::protocol::VERSION], ..setup },
            turns: Arc::new(Semaphore::new(most)),
            known: watch::Sender::default(),
            state: Mutex::default(),
            ending: ending.clone(),
            members: TaskTracker::new(),
        });
        let turn = shared.turns.clone().try_acquire_owned().expect("nobody else has one");
        shared.add_member(None, turn);
        Self { shared, _ends: ending.drop_guard() }
    }

    pub(crate) fn provider(&self) -> &HostProvider {
        &self.shared.provider
    }

    pub(crate) fn context(&self) -> &Context {
        &self.shared.context
    }

    /// How many processes there are that may still get a job.
    pub(crate) fn processes(&self) -> usize {
        self.shared.state().alive.len()
    }

    /// What is known of the program, also later.
    #[must_use]
    pub fn known(&self) -> watch::Receiver<Known> {
        self.shared.known.subscribe()
    }

    /// Does a job. Ends when the job has ended, or nothing is left of its process; dropped before, its process is killed.
    pub(crate) async fn run(&self, run: Run) -> Outcome {
        let turn = tokio::select! {
            biased;
            () = run.job.cancelled() => return Outcome::Released(STOPPED_BEFORE.to_owned()),
            turn = self.shared.turn_at(Instant::now()) => turn,
        };
        let (reply, replied) = oneshot::channel();
        self.shared.give(Order { run, reply, tries: 0 }, turn);
        replied.await.unwrap_or_else(|_| Outcome::Released("its host has ended with the executor".to_owned()))
    }

    /// Ends all processes, those with a job when that has ended.
    pub async fn stop(&self) {
        self.shared.ending.cancel();
        self.shared.members.close();
        self.shared.members.wait().await;
    }
}

impl Shared {
    async fn turn_at(&self, not_before: Instant) -> Turn {
        sleep_until(not_before).await;
        self.turns.clone().acquire_owned().await.expect("never closed")
    }

    /// The turn for another start that no job asks for; none if it is known meanwhile what the host can do, or no job will
    /// come.
    async fn turn_of_first(&self, mut at: Instant) -> Option<Turn> {
        loop {
            let turn = tokio::select! {
                biased;
                () = self.ending.cancelled() => return None,
                turn = self.turn_at(at) => turn,
            };
            if self.known.borrow().hello.is_some() {
                return None;
            }
            let now = Instant::now();
            if self.state().damping.begin(now).is_ok() {
                return Some(turn);
            }
            at = now + TRY_AGAIN;
        }
    }

    /// Gives the job to an idle process, or to a new one.
    fn give(self: &Arc<Self>, order: Order, turn: Turn) {
        let mut given = (order, turn);
        {
            let mut state = self.state();
            while let Some(idle) = state.idle.pop() {
                match idle.orders.send(given) {
                    Ok(()) => return,
                    Err(unsent) => given = unsent,
                }
            }
            if let Err(reason) = state.damping.begin(Instant::now()) {
                drop(state);
                return given.0.end(Outcome::Released(reason));
            }
        }
        self.add_member(Some(given.0), given.1);
    }

    /// Gives a job to another process than the one that did not take it, for this reason.
    fn give_again(self: &Arc<Self>, mut order: Order, turn: Turn, reason: String) {
        order.tries += 1;
        if order.tries < TRIES {
            self.give(order, turn);
        } else {
            drop(turn);
            order.end(Outcome::Released(reason));
        }
    }

    fn add_member(self: &Arc<Self>, order: Option<Order>, turn: Turn) {
        let id = {
            let mut state = self.state();
            state.next += 1;
            let id = state.next;
            state.alive.insert(id);
            id
        };
        self.members.spawn(member::live(self.clone(), id, order, turn));
    }

    /// The process is idle: where its next job will come from.
    fn rest(&self, id: u64) -> oneshot::Receiver<(Order, Turn)> {
        let (orders, receiver) = oneshot::channel();
        self.state().idle.push(Idle { id, orders });
        receiver
    }

    /// The process is to get no job any more. Answers whether none is on its way.
    fn withdraw(&self, id: u64) -> bool {
        let mut state = self.state();
        state.alive.remove(&id);
        let idle = state.idle.len();
        state.idle.retain(|idle| idle.id != id);
        state.idle.len() < idle
    }

    /// Whether a process that has been idle for long is one too many; if so it gets no job any more.
    fn may_leave(&self, id: u64) -> bool {
        let mut state = self.state();
        let position = state.idle.iter().position(|idle| idle.id == id);
        let Some(position) = position.filter(|_| state.alive.len() > 1) else { return false };
        state.idle.remove(position);
        state.alive.remove(&id);
        true
    }

    /// A process has said hello.
    fn greeted(&self, hello: &Arc<Hello>) {
        let is_first = self.known.borrow().hello.is_none();
        self.known.send_modify(|known| {
            known.failure = None;
            known.hello.get_or_insert_with(|| hello.clone());
        });
        let mut state = self.state();
        state.damping.begun();
        state.failures.settle();
        let (host, program, actions) = (self.name(), &hello.program, names(hello));
        if is_first {
            info!(host, program, ?actions, "host is ready");
        } else if self.known.borrow().hello.as_ref().is_some_and(|first| names(first) != actions)
            && state.other_actions.is_new(format!("{actions:?}"))
        {
            warn!(
                host,
                program,
                ?actions,
                "a new process of the host has other actions: restart the executor to use them"
            );
        }
    }

    /// A start has failed, or a process ended before it had taken the job for which it was started. Answers when the next start
    /// may be.
    fn not_started(&self, begun: Instant, reason: &str) -> Instant {
        let mut state = self.state();
        let now = Instant::now();
        let next = state.damping.failed(begun, now, reason);
        let (host, seconds) = (self.name(), (next - now).as_secs());
        if state.failures.is_new(reason.to_owned()) {
            warn!(host, reason, "host does not start, trying again");
        } else {
            debug!(host, reason, seconds, "host does not start");
        }
        drop(state);
        self.known.send_modify(|known| known.failure = Some(reason.to_owned()));
        next
    }

    /// A process has done a job.
    fn has_worked(&self) {
        self.state().damping.succeeded();
    }

    /// For people.
    fn name(&self) -> String {
        self.provider.program.file.display().to_string()
    }

    /// What is started, for people. Of class files the folder is known, and the package that loads it is always the same.
    fn program(&self) -> String {
        let Program { command, .. } = &self.provider.program;
        match self.provider.kind {
            Kind::Python => in_words(&command[..command.len().min(1)]),
            Kind::Native | Kind::Command | Kind::Host => in_words(command),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Order {
    fn end(self, outcome: Outcome) {
        // whoever has dropped the run does not want to know
        self.reply.send(outcome).ok();
    }
}

fn names(hello: &Hello) -> Vec<&str> {
    let mut names: Vec<&str> = hello.actions.iter().map(|action| &*action.name).collect();
    names.sort_unstable();
    names
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Pool").field(&self.shared.provider.program.file).finish()
    }
}
