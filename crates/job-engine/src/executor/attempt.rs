//! [`Attempt`]: one run of a job under one lease, from the claim to its verdict.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt as _;
use slipstream_action::{Failure, Report, Success};
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::{AttemptIdentity, Job, State};
use slipstream_coordination::{Claim, session};
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span, error, info, warn};

use super::attempt_client::{AttemptClient, span};
use super::batcher::Fetched;
use super::edits;
use super::end::{AttemptEnd, EndKind, Verdict, verdict};
use super::offers::Offer;
use super::release_backoff::{MOST_REFUSALS, Reason};
use super::run_action::{Finished, run_action};
use super::unknown_action::Absence;
use super::worker_session::WorkerSession;
use super::{Executor, Then, UnknownAction};
use crate::process::activity::slot::{AttemptNotes, Step};
use crate::process::supervise::panic_message;

/// How long no other job that was lost before is begun after one.
const APART: Duration = Duration::from_secs(1);

/// One run of a job under one lease.
pub(super) struct Attempt<'a> {
    executor: &'a Executor,
    session: &'a WorkerSession,
    claim: &'a Claim,
    client: AttemptClient<'a>,
    action: String,
    /// The job's state, as far as it is known.
    state: Option<State>,
}

/// What is known of the job before the action runs.
struct Known {
    job: Box<Job>,
    /// Whether the attempt was begun by reading it.
    begun: bool,
    /// Whether another attempt was lost before.
    rerun: bool,
}

impl<'a> Attempt<'a> {
    /// Makes the attempt that this claim gives the right to, and settles the claim.
    pub(super) async fn make(
        executor: &Arc<Executor>,
        session: &WorkerSession,
        claim: Claim,
        notes: &Arc<AttemptNotes>,
    ) {
        let _busy = executor.metrics.claimed();
        let identity = Arc::new(AttemptIdentity {
            job: notes.job().to_owned(),
            lease: session.lease(&claim),
            entry: claim.entry().to_owned(),
            executor: executor.options.name.clone(),
        });
        notes.note_lease(identity.lease.to_string());
        let span = span(&identity);
        Self::make_as(executor, session, claim, notes, identity).instrument(span).await;
    }

    async fn make_as(
        executor: &Arc<Executor>,
        session: &WorkerSession,
        claim: Claim,
        notes: &Arc<AttemptNotes>,
        identity: Arc<AttemptIdentity>,
    ) {
        let begun = Instant::now();
        let client = AttemptClient::new(executor, &claim, identity.clone(), notes);
        let mut attempt = Attempt { executor, session, claim: &claim, client, action: String::new(), state: None };
        let mut end = match AssertUnwindSafe(attempt.follow()).catch_unwind().await {
            Ok(followed) => followed.unwrap_or_else(|end| end),
            Err(panic) => {
                let cause = panic_message(&*panic);
                error!(cause, "attempt crashed, claim released");
                EndKind::Crashed.into()
            }
        };
        notes.note_step(Step::Settles);
        if verdict(end.kind) == Verdict::Release {
            end = attempt.prepare_release(end).await;
        }
        attempt.log(&end, begun.elapsed());
        settle(executor, session, claim, &identity, &end);
    }

    /// The steps; one that ends the attempt early answers `Err`.
    async fn follow(&mut self) -> Result<AttemptEnd, AttemptEnd> {
        let Known { job, begun, rerun } = self.fetch().await?;
        self.action.clone_from(&job.action);
        Span::current().record("action", &*job.action);
        self.client.notes.note_job(&job.action, rerun);
        let Some(offer) = self.executor.offers.find(&job.action) else {
            return self.refuse_action(&job).await;
        };
        let turn = if rerun && !begun { Some(self.wait_for_turn().await?) } else { None };
        if !begun {
            self.begin().await?;
        }
        info!("attempt begins");
        let finished = self.run(&offer, job, rerun, turn).await?;
        self.report(finished).await
    }

    /// The job as it is before this attempt, RUNNING under the lease since where the server does both at once.
    async fn fetch(&mut self) -> Result<Known, AttemptEnd> {
        if !is_job_id(self.client.job()) {
            return Err(EndKind::NotAJob.into());
        }
        let asked = AtomicBool::new(false);
        let fetched = self.client.begin(&asked).await;
        if asked.into_inner() {
            self.state = state_if_begun(fetched.as_ref().err());
        }
        let Fetched { job, begun, rerun } = fetched?;
        let job = job.map_err(|error| EndKind::NotUnderstood.because(error))?;
        self.state = Some(if begun { State::Running } else { job.state });
        match job.state {
            State::Queued | State::Running => {
                Ok(Known { rerun: rerun.unwrap_or(job.state == State::Running), job, begun })
            }
            State::Success | State::Failed | State::Stopped => Err(EndKind::AlreadyFinal.into()),
            State::Stopping => Err(self.client.confirm_stop().await),
        }
    }

    /// This executor does not have the action. The job is left to one that has it, and is FAILED if none has had it for long
    /// (decision 17).
    async fn refuse_action(&mut self, job: &Job) -> Result<AttemptEnd, AttemptEnd> {
        let Self { executor, session, .. } = self;
        let UnknownAction { after, then } = executor.options.unknown_action;
        // others may not have heard of it yet
        if !executor.offers.now().failed.is_empty() {
            return Err(EndKind::ActionNotLoaded.into());
        }
        let known_for = executor.release_backoff().known_for(self.claim.entry());
        match executor.unknown_actions.absence(session, job, known_for).await {
            Absence::Elsewhere => return Err(EndKind::ActionElsewhere.into()),
            Absence::NotLoaded => return Err(EndKind::ActionNotLoaded.into()),
            Absence::For(long) if then == Then::Fail && long >= after => {}
            Absence::For(long) => {
                let left = (then == Then::Fail).then(|| after.saturating_sub(long));
                let until = left.and_then(|left| executor.options.clock.now().checked_add(left).ok());
                return Err(EndKind::ActionNowhere(until).into());
            }
        }
        let outcome: Result<Success, Failure> = Err(Failure::new(format!("Not implemented action: {}", job.action)));
        self.client.finish(&edits::of_outcome(&outcome, &Report::default(), &[])).await?;
        self.state = Some(State::Failed);
        Ok(EndKind::NoSuchAction.into())
    }

    /// A job that was lost before may crash the process that runs it. So it is begun apart from others like it, which lose
    /// nothing while their own attempt has not begun.
    async fn wait_for_turn(&self) -> Result<SemaphorePermit<'a>, AttemptEnd> {
        self.client.notes.note_step(Step::Waits);
        tokio::select! {
            biased;
            () = self.claim.lost() => Err(EndKind::ClaimLost.into()),
            turn = self.executor.reruns.acquire() => Ok(turn.expect("never closed")),
            () = self.executor.stop.asked() => Err(EndKind::Interrupted.into()),
        }
    }

    /// Sets RUNNING under the lease, where reading the job did not do that.
    async fn begin(&mut self) -> Result<(), AttemptEnd> {
        self.client.notes.note_step(Step::Begins);
        let begun = self.client.set_running().await;
        self.state = state_if_begun(begun.as_ref().err());
        begun
    }

    /// Runs the action. The next job that was lost before gets its turn when this one is done, or has run for long enough
    /// without crashing the process.
    async fn run(
        &self,
        offer: &Offer,
        job: Box<Job>,
        rerun: bool,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<Finished, AttemptEnd> {
        self.client.notes.note_step(Step::Runs);
        let begun = Instant::now();
        let mut run = pin!(async {
            let finished = run_action(&self.client, self.session, offer, job, rerun).await;
            self.executor.metrics.ran(&self.action, begun.elapsed());
            finished
        });
        if turn.is_some()
            && let Ok(finished) = timeout(APART, &mut run).await
        {
            return finished;
        }
        drop(turn);
        run.await
    }

    /// Writes how the action ended.
    async fn report(&mut self, finished: Finished) -> Result<AttemptEnd, AttemptEnd> {
        let Finished { outcome, unsent, known, left_out } = finished;
        self.client.notes.note_step(Step::Reports);
        let changes = edits::with_left_out(edits::of_outcome(&outcome, &unsent, &known), left_out);
        self.client.finish(&changes).await?;
        self.state = Some(if outcome.is_ok() { State::Success } else { State::Failed });
        Ok(EndKind::Ended.into())
    }

    /// A release is clean if the job waits again (decision 15); what the server answers may change the end.
    async fn prepare_release(&mut self, end: AttemptEnd) -> AttemptEnd {
        if let Some(given_up) = self.give_up(&end).await {
            return given_up;
        }
        match end.kind {
            EndKind::Late => {
                self.session.refresh_generation().await;
                return end;
            }
            // its action has run, or what comes beside it breaks: another run is a rerun, and counts, or it would be run again without end
            EndKind::Undelivered | EndKind::Refused | EndKind::Crashed => return end,
            EndKind::Unproven => {
                if let Some(end) = self.wait_for_proof().await {
                    return end;
                }
            }
            _ => {}
        }
        if self.state == Some(State::Running) {
            match self.client.requeue().await {
                Ok(true) => self.state = Some(State::Queued),
                Ok(false) => {}
                Err(end) => return end,
            }
        }
        end
    }

    /// The job is to be released: if it has been refused so often that others would be, too, it is FAILED instead.
    ///
    /// A server that refuses that as well, as for a lease that it does not want, does not mean the job: that one waits, is
    /// shown by name, and is tried more and more seldom.
    async fn give_up(&mut self, end: &AttemptEnd) -> Option<AttemptEnd> {
        let refusals = self.executor.release_backoff().refusals(self.claim.entry());
        if !end.is_about_the_job() || refusals + 1 < MOST_REFUSALS {
            return None;
        }
        let outcome = Err(Failure::new(end.reason()));
        match self.client.finish(&edits::of_outcome(&outcome, &Report::default(), &[])).await {
            Ok(()) => {
                self.state = Some(State::Failed);
                Some(EndKind::GivenUp.into())
            }
            Err(other) => (verdict(other.kind) != Verdict::Release).then_some(other),
        }
    }

    /// Waits until coordinator and server are reached again, in which case the claim is there or known to be lost, or until
    /// the executor has to end; answers an end if there is nothing to give back.
    async fn wait_for_proof(&self) -> Option<AttemptEnd> {
        let mut session = self.session.state();
        let reached = async {
            // a session that is over makes the claim lost
            if session.wait_for(|state| *state == session::State::Connected).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.client.wait_for_answer().await;
        };
        tokio::select! {
            biased;
            () = self.claim.lost() => Some(EndKind::ClaimLost.into()),
            () = reached => None,
            () = self.executor.interrupted.cancelled() => Some(EndKind::DoesNotEnd.into()),
        }
    }

    fn log(&self, end: &AttemptEnd, duration: Duration) {
        let entry = self.claim.entry();
        let state = self.state.map_or("unknown", State::as_str);
        let seconds = format!("{:.1}", duration.as_secs_f64());
        let (kind, cause) = (end.kind, end.cause());
        match verdict(kind) {
            Verdict::Consume if kind == EndKind::Ended => info!(state, seconds, "attempt ends"),
            Verdict::Consume => info!(state, seconds, end = ?kind, cause, "attempt ends"),
            Verdict::Release => {
                warn!(state, seconds, end = ?kind, cause, entry, "attempt ends, job released");
            }
            Verdict::Abandon => {
                warn!(state, seconds, end = ?kind, cause, entry, "attempt ends, claim abandoned");
            }
        }
    }
}

/// Does with the claim what the verdict says. A claim that cannot be settled is not tried again: the session's close gives
/// the entry back, and its next claimant finds a final job (decision 7).
fn settle(executor: &Executor, session: &WorkerSession, claim: Claim, attempt: &AttemptIdentity, end: &AttemptEnd) {
    let entry = &attempt.entry;
    executor.metrics.settled(verdict(end.kind) as usize);
    // nobody waits for the queue: the slot is free for the next job
    match verdict(end.kind) {
        Verdict::Consume => {
            executor.forget(entry);
            claim.consume_later();
        }
        Verdict::Release => {
            let reason = Reason { text: end.reason(), is_refusal: end.is_about_the_job() };
            let pause = executor.back_off(entry, &attempt.job, reason);
            session.queue.avoid(entry, pause);
            claim.release_later();
        }
        Verdict::Abandon => {
            executor.forget(entry);
            claim.abandon();
        }
    }
}

/// The job's state once it was asked to be RUNNING: without an answer that may have been carried out.
fn state_if_begun(end: Option<&AttemptEnd>) -> Option<State> {
    match end.map(|end| end.kind) {
        None | Some(EndKind::OutOfReach | EndKind::Unanswered | EndKind::Interrupted) => Some(State::Running),
        Some(_) => None,
    }
}
