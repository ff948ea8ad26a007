//! [`Worker`]: what an executor does during one session with the coordinator.

use std::sync::Arc;
use std::time::Duration;

use slipstream_cimi::overview::executors::{MOST_PASSED_OVER, PassedOver, RegisteredExecutor};
use slipstream_coordination::queue::RefusedEntry;
use slipstream_coordination::session::{Error, Session};
use tokio::time::{Instant, sleep};
use tracing::{Instrument as _, error_span, warn};

use super::Executor;
use super::sharing;
use super::slots;
use super::unknown_action;
use super::worker_session::WorkerSession;
use crate::process::paths;
use crate::process::registry::{Registration, this_process};
use crate::process::supervise::persist;

/// How long, after the grace, attempts may take to cancel, report and settle; each step of these has its own limit.
const SETTLING: Duration = Duration::from_secs(20);

/// How often it is shown anew what is left alone, at most.
const SHOW_AGAIN: Duration = Duration::from_secs(1);

/// Works until the stop or until the session is over, and closes the session.
pub(super) async fn work(
    executor: &Arc<Executor>,
    session: Arc<dyn Session>,
    session_timeout: Duration,
) -> Result<(), Error> {
    // not around the slots: there, each job would pay for it, and the lines of attempts have a span of their own
    let span = error_span!("worker", executor = executor.options.name);
    let opened = tokio::select! {
        biased;
        () = executor.stop.asked() => Ok(None),
        opened = WorkerSession::open(session.clone(), session_timeout).instrument(span.clone()) => opened.map(Some),
    };
    let ended = match opened {
        Ok(Some(opened)) => {
            let worker = Worker { executor: executor.clone(), session: Arc::new(opened) };
            let registration = worker.register();
            tokio::select! {
                biased;
                () = worker.fill_slots() => {}
                () = worker.show_others(&registration).instrument(span) => {}
            }
            Ok(())
        }
        opened => opened.map(drop),
    };
    session.close().await;
    ended
}

/// The slots of one session.
struct Worker {
    executor: Arc<Executor>,
    session: Arc<WorkerSession>,
}

impl Worker {
    /// No outcome of a job ends a slot (quirk 40).
    async fn fill_slots(&self) {
        let mut slots = slots::begin(&self.executor, &self.session);
        let overdue = async {
            self.executor.interrupted.cancelled().await;
            sleep(SETTLING).await;
        };
        tokio::select! {
            biased;
            () = async {
                while slots.join_next().await.is_some() {}
                self.session.queue.settled().await;
            } => {}
            () = overdue => warn!(slots = slots.len(), "attempts do not end, closing the session"),
        }
        slots.shutdown().await;
    }

    /// Registers the executor under the claimant that its claims show (decision 17).
    fn register(&self) -> Registration<RegisteredExecutor> {
        let Executor { options, offers, .. } = &*self.executor;
        let WorkerSession { session, claimant, .. } = &*self.session;
        let executor = RegisteredExecutor {
            name: options.name.clone(),
            process: this_process(),
            slots: options.slots(),
            actions: offers.names(),
            loaded: offers.now().registered(),
            begun: options.clock.now(),
            passed_over: Vec::new(),
            draining: options.activity.is_draining(),
        };
        Registration::begin(session.clone(), paths::EXECUTORS, claimant, executor)
    }

    /// Shares the queue with other executors, and shows what this one does and leaves alone. Never ends.
    async fn show_others(&self, registration: &Registration<RegisteredExecutor>) {
        let clock = &self.executor.options.clock;
        let WorkerSession { session, queue, claimant, .. } = &*self.session;
        tokio::join!(
            persist("sharing of the queue", || sharing::keep(&**session, queue, claimant)),
            persist("list of actions", || unknown_action::keep_listed(&**session, &self.executor.offers, clock)),
            persist("list of what is offered", || self.show_offers(registration)),
            persist("list of what is passed over", || self.show_passed_over(registration)),
            persist("registration as draining", || self.show_draining(registration)),
        );
        std::future::pending::<()>().await;
    }

    /// Shows which actions there are: hosts may say later which ones they have, and fail to.
    async fn show_offers(&self, registration: &Registration<RegisteredExecutor>) {
        let mut offers = self.executor.offers.clone();
        loop {
            let (actions, loaded) = (offers.names(), offers.now().registered());
            registration.update(|executor| (executor.actions, executor.loaded) = (actions, loaded));
            offers.changed().await;
        }
    }

    /// Shows whether more is taken.
    async fn show_draining(&self, registration: &Registration<RegisteredExecutor>) {
        let mut draining = self.executor.options.activity.draining();
        loop {
            let is_draining = *draining.borrow_and_update();
            registration.update(|executor| executor.draining = is_draining);
            self.executor.metrics.is_draining(is_draining);
            if draining.changed().await.is_err() {
                return;
            }
        }
    }

    /// Shows which entries are left alone, anew at most once a second.
    async fn show_passed_over(&self, registration: &Registration<RegisteredExecutor>) {
        let mut refused = self.session.queue.refused();
        loop {
            let passed_over = self.passed_over(&refused.borrow_and_update());
            registration.update(|executor| executor.passed_over = passed_over);
            sleep(SHOW_AGAIN).await;
            tokio::select! {
                () = self.executor.backoff_changed.notified() => {}
                // the queue and its sender are as old as the worker
                _ = refused.changed() => {}
            }
        }
    }

    /// What is released and left alone, and what the coordinator refuses.
    fn passed_over(&self, refused: &[RefusedEntry]) -> Vec<PassedOver> {
        let (now, clock_now) = (Instant::now(), self.executor.options.clock.now());
        let time = |until: Instant| clock_now.saturating_add(until.saturating_duration_since(now)).unwrap_or(clock_now);
        let refused = refused.iter().map(|refused| PassedOver {
            entry: refused.entry.clone(),
            job: None,
            reason: format!("refused by the coordinator: {}", refused.cause),
            until: time(refused.until),
        });
        let backoff = self.executor.release_backoff();
        let backed_off = backoff.latest(MOST_PASSED_OVER).into_iter().map(|(entry, released)| PassedOver {
            entry: entry.to_owned(),
            job: Some(released.job.clone()),
            reason: released.reason.clone(),
            until: time(released.until),
        });
        refused.chain(backed_off).take(MOST_PASSED_OVER).collect()
    }
}
