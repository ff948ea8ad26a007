//! The executor: takes entries, runs the actions that jobs name, reports into the documents.
//!
//! [`run`] has one worker for each session with the coordinator, with as many slots as the executor has threads. A slot
//! takes one claim after the other and makes an attempt of each, whose reads and writes the `batcher` carries; `end` says
//! what becomes of the claim.

mod api_health;
mod attempt;
mod attempt_client;
mod batcher;
mod edits;
mod end;
pub mod host;
pub mod load;
pub mod offers;
pub mod providers;
mod release_backoff;
mod run;
mod run_action;
mod runtime;
mod sharing;
mod slots;
mod threads;
mod unknown_action;
mod worker;
mod worker_session;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub use runtime::ActionRuntime;
use slipstream_action::with_causes;
use slipstream_cimi::Client;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::{Coordinator, Error};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::api_health::ApiHealth;
use self::batcher::Batcher;
use self::offers::Offered;
use self::release_backoff::{Reason, ReleaseBackoff};
use self::unknown_action::UnknownActions;
use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::metrics::{ExecutorMetrics, Metrics};
use crate::process::stop::Stop;
use crate::process::supervise::persist;

/// How an executor runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// For people; need not be unique.
    pub name: String,
    /// How many jobs at once; 0 counts as 1.
    pub threads: usize,
    /// How long running actions may go on after a stop was asked for.
    pub grace: Duration,
    /// How long CIMI may be out of reach before a claim is released.
    pub cimi_grace: Duration,
    /// The time of day, for the registry.
    pub clock: Clock,
    /// Where the actions run.
    pub runtime: ActionRuntime,
    /// What becomes of jobs whose action no executor has.
    pub unknown_action: UnknownAction,
    /// What is counted.
    pub metrics: Metrics,
    /// Where it notes what it does.
    pub activity: Activity,
}

impl Options {
    /// One job at once, and whatever else is usual.
    #[must_use]
    pub fn new(name: impl Into<String>, runtime: ActionRuntime) -> Self {
        Self {
            name: name.into(),
            threads: 1,
            grace: Duration::from_mins(2),
            cimi_grace: Duration::from_mins(2),
            clock: Clock::system(),
            runtime,
            unknown_action: UnknownAction::default(),
            metrics: Metrics::default(),
            activity: Activity::new(),
        }
    }

    /// How many jobs at once, at least one.
    fn slots(&self) -> usize {
        self.threads.max(1)
    }
}

/// What becomes of a job whose action no executor has (decision 17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAction {
    /// How long the job waits for an executor that has it.
    pub after: Duration,
    /// What happens then.
    pub then: Then,
}

impl Default for UnknownAction {
    fn default() -> Self {
        Self { after: Duration::from_mins(15), then: Then::Fail }
    }
}

/// What happens to a job once no executor has had its action for that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Then {
    /// It is FAILED.
    Fail,
    /// It is left to wait for as long as it takes.
    Release,
}

/// Runs until `stop`; survives expired sessions and unreachable servers.
///
/// After a stop was asked for nothing new is begun; what still runs when the grace is over is cancelled, set QUEUED
/// and released. Ends at the latest some seconds after that.
pub async fn run(
    options: Options,
    coordinator: Arc<dyn Coordinator>,
    client: Client,
    offers: impl Into<Offered>,
    stop: Stop,
) {
    let offers = offers.into();
    let actions = offers.names();
    info!(executor = options.name, threads = options.threads, ?actions, "executor begins");
    let unknown_actions = UnknownActions::new(options.clock.clone());
    let metrics = options.metrics.executor();
    metrics.has_slots(options.threads.max(1));
    let executor = Arc::new(Executor {
        options,
        metrics,
        batcher: Batcher::new(client.clone(), offers.clone()),
        client,
        offers,
        stop,
        interrupted: CancellationToken::new(),
        api_health: ApiHealth::new(),
        reruns: Semaphore::new(1),
        unknown_actions,
        release_backoff: Mutex::default(),
        backoff_changed: Notify::new(),
        blocking_actions: Mutex::default(),
    });
    // all of them are there from the begin
    drop(executor.options.activity.slot(executor.options.slots() - 1));
    let work = async {
        tokio::select! {
            biased;
            () = executor.work(coordinator.as_ref()) => {}
            () = executor.interrupt_after_grace() => {}
        }
    };
    executor.options.activity.turning("executor", work).await;
    info!(executor = executor.options.name, "executor ends");
}

/// What all workers, slots and attempts share.
struct Executor {
    options: Options,
    metrics: ExecutorMetrics,
    client: Client,
    batcher: Batcher,
    offers: Offered,
    stop: Stop,
    /// Cancelled when the grace after a stop is over.
    interrupted: CancellationToken,
    api_health: ApiHealth,
    /// Held by the one job that was lost before and begins.
    reruns: Semaphore,
    unknown_actions: UnknownActions,
    release_backoff: Mutex<ReleaseBackoff>,
    backoff_changed: Notify,
    /// Actions of which the log says already that they block.
    blocking_actions: Mutex<BTreeSet<String>>,
}

impl Executor {
    /// Never ends.
    async fn interrupt_after_grace(&self) {
        self.stop.grace_over(self.options.grace).await;
        self.interrupted.cancel();
        std::future::pending::<()>().await;
    }

    /// One worker for each session, until the stop.
    async fn work(self: &Arc<Self>, coordinator: &dyn Coordinator) {
        let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
        while !self.stop.is_asked() {
            let begun = Instant::now();
            let connected = tokio::select! {
                biased;
                () = self.stop.asked() => return,
                connected = coordinator.connect() => connected,
            };
            let ended = match connected {
                Ok(session) => tokio::select! {
                    biased;
                    ended = worker::work(self, session, coordinator.session_timeout()) => ended,
                    never = persist("detection of reports", || self.batcher.find_out()) => match never {},
                },
                Err(error) => Err(error),
            };
            self.note(ended, &mut complaint);
            pauses.reset_after(begun.elapsed());
            self.stop.pause(pauses.take()).await;
        }
    }

    /// An unreachable coordinator is logged once for the whole process, by the part that made it.
    fn note(&self, ended: Result<(), Error>, complaint: &mut Complaint) {
        let Err(error) = ended else {
            complaint.settle();
            return;
        };
        let is_out_of_reach = matches!(error, Error::Unreachable { .. } | Error::Unusable { .. });
        let (executor, cause) = (&self.options.name, with_causes(&error));
        if complaint.is_new(cause.clone()) && !is_out_of_reach {
            warn!(executor, cause, "cannot work with the coordinator, retrying");
        } else {
            debug!(executor, cause, "no session with the coordinator");
        }
    }

    /// The entry of this job is released: how long to leave it alone.
    fn back_off(&self, entry: &str, job: &str, reason: Reason) -> Duration {
        let pause = self.release_backoff().released(entry, job, reason);
        self.backoff_changed.notify_one();
        pause
    }

    /// The entry need not be remembered any longer.
    fn forget(&self, entry: &str) {
        if self.release_backoff().forget(entry) {
            self.backoff_changed.notify_one();
        }
    }

    fn release_backoff(&self) -> MutexGuard<'_, ReleaseBackoff> {
        self.release_backoff.lock().expect("no holder of this lock panics")
    }
}
