//! [`work`]: what an executor does during one session with the coordinator.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use slipstream_cimi::Lease;
use slipstream_coordination::session::{Cause, Error, Session, State};
use slipstream_coordination::{Claim, LockingQueue};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::Executor;
use super::attempt::Attempt;
use super::line::{self, Slots};
use super::reach::Reach;
use crate::nodes;
use crate::pauses::Pauses;
use crate::registry::{Process, RegisteredExecutor, Registration};
use crate::supervise::panic_message;

/// How long a slot rests after a bug broke its attempt.
const BROKEN_PAUSE: Duration = Duration::from_secs(1);
/// How long, after the grace, attempts may take to cancel, report and settle; each step of these has its own limit.
const SETTLING: Duration = Duration::from_secs(20);

/// One session's work.
pub(super) struct Shift {
    pub(super) executor: Arc<Executor>,
    pub(super) session: Arc<dyn Session>,
    pub(super) queue: LockingQueue,
    claimant: String,
    generation: AtomicI64,
    slots: Arc<Slots>,
}

/// Works until the stop or until the session is over, and closes the session.
pub(super) async fn work(executor: &Arc<Executor>, session: Arc<dyn Session>) -> Result<(), Error> {
    let opened = tokio::select! {
        biased;
        () = executor.stop.asked() => None,
        shift = Shift::open(executor, &session) => Some(shift),
    };
    let ended = match opened {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(shift)) => {
            let registration = shift.register();
            let line =
                line::keep(shift.session.clone(), shift.queue.clone(), shift.claimant.clone(), shift.slots.clone());
            let line = AbortOnDropHandle::new(tokio::spawn(line));
            Arc::new(shift).fill_slots().await;
            drop((registration, line));
            Ok(())
        }
    };
    session.close().await;
    ended
}

impl Shift {
    async fn open(executor: &Arc<Executor>, session: &Arc<dyn Session>) -> Result<Self, Error> {
        let claimant = Uuid::new_v4().simple().to_string();
        debug!(executor = executor.options.name, claimant, "session begins");
        let generation = wait_for_generation(session.as_ref()).await?;
        let queue = LockingQueue::open(session.clone(), nodes::JOB, &claimant).await?;
        let (executor, session) = (executor.clone(), session.clone());
        let slots = Arc::new(Slots::new(executor.options.threads.max(1)));
        Ok(Self { executor, session, queue, claimant, generation: generation.into(), slots })
    }

    /// Says under the name that its claims show who works here (decision 17).
    fn register(&self) -> Registration<RegisteredExecutor> {
        let Executor { options, catalogue, .. } = &*self.executor;
        let mut actions: Vec<String> = catalogue.names().map(str::to_owned).collect();
        actions.sort_unstable();
        let executor = RegisteredExecutor {
            name: options.name.clone(),
            process: Process::this(),
            slots: options.threads.max(1),
            actions,
            begun: options.clock.now(),
            passed_over: Vec::new(),
        };
        Registration::begin(self.session.clone(), nodes::EXECUTORS, &self.claimant, executor)
    }

    async fn fill_slots(self: Arc<Self>) {
        let mut slots = JoinSet::new();
        for _ in 0..self.executor.options.threads.max(1) {
            slots.spawn(self.clone().slot());
        }
        let overdue = async {
            self.executor.interrupted.cancelled().await;
            sleep(SETTLING).await;
        };
        tokio::select! {
            biased;
            () = async { while slots.join_next().await.is_some() {} } => {}
            () = overdue => warn!(slots = slots.len(), "attempts that do not end are left to the session's close"),
        }
        slots.shutdown().await;
    }

    /// One claim after the other; no outcome of a job ends it (quirk 40 of the specification).
    async fn slot(self: Arc<Self>) {
        while let Some(claim) = self.next_claim().await {
            if let Err(panic) = AssertUnwindSafe(Attempt::make(&self, claim)).catch_unwind().await {
                error!(cause = panic_message(&*panic), "an attempt broke off, its claim is released");
                // The same entry may be taken again at once, and break the next attempt.
                sleep(BROKEN_PAUSE).await;
            }
        }
    }

    /// The next claim, while it makes sense to take one; `None` when the shift is over.
    async fn next_claim(&self) -> Option<Claim> {
        let executor = &self.executor;
        let mut session = self.session.state();
        loop {
            tokio::select! {
                biased;
                () = executor.stop.asked() => return None,
                () = ready(&mut session, &executor.reach) => {}
            }
            tokio::select! {
                biased;
                () = executor.stop.asked() => return None,
                () = self.slots.looking() => {}
            }
            tokio::select! {
                biased;
                () = executor.stop.asked() => return None,
                Ok(_) = session.wait_for(|state| *state == State::Suspended) => {}
                () = executor.reach.pausing() => {}
                () = self.slots.resting() => {}
                taken = self.slots.free_while(self.queue.take()) => return taken.inspect_err(|error| debug!(%error, "the queue ends")).ok(),
            }
        }
    }

    /// The lease that this claim gives.
    pub(super) fn lease(&self, claim: &Claim) -> Lease {
        Lease { generation: self.generation.load(Ordering::Relaxed), zxid: claim.zxid() }
    }

    /// Reads the generation again: a held claim whose lease is refused as late may mean that it rose.
    pub(super) async fn refresh_generation(&self) {
        match read_generation(self.session.as_ref()).await {
            Ok(Some(generation)) => self.generation.store(generation, Ordering::Relaxed),
            Ok(None) => warn!(node = nodes::GENERATION, "the generation is not there any more"),
            Err(error) => debug!(%error, "cannot read the generation again"),
        }
    }
}

/// Ends when the session is not suspended and CIMI is not known to be out of reach.
async fn ready(session: &mut watch::Receiver<State>, reach: &Reach) {
    // A closed channel belongs to a session that is over, which the queue will say.
    if session.wait_for(|state| *state != State::Suspended).await.is_ok() {
        reach.pause_over().await;
    }
}

/// The server writes it when it starts, which may be later than now.
async fn wait_for_generation(session: &dyn Session) -> Result<i64, Error> {
    let (mut pauses, mut is_told) = (Pauses::default(), false);
    loop {
        match read_generation(session).await {
            Ok(Some(generation)) => return Ok(generation),
            Ok(None) if is_told => debug!(node = nodes::GENERATION, "still waiting for the generation"),
            Ok(None) => {
                info!(node = nodes::GENERATION, "waiting for a server of this engine to write the generation");
                is_told = true;
            }
            Err(error @ (Error::Expired | Error::Refused { .. })) => return Err(error),
            Err(error) => debug!(%error, "cannot read the generation"),
        }
        sleep(pauses.take()).await;
    }
}

/// The generation, if there is one above zero.
async fn read_generation(session: &dyn Session) -> Result<Option<i64>, Error> {
    match session.data(nodes::GENERATION).await {
        Ok(node) => Ok(nodes::shown_generation(&node.data)),
        Err(error) if error.is(Cause::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}
