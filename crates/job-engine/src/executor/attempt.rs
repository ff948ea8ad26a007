//! [`Attempt`]: one run of a job under one lease, from the claim to its verdict.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use slipstream_action::{Failure, Registered, Report, Success, with_causes};
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::{AttemptIdentity, Client, Document, Error, Job, State};
use slipstream_coordination::queue::Settled;
use slipstream_coordination::{Claim, session};
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use super::avoidance::Reason;
use super::changes;
use super::courier::Fetched;
use super::meaning::{Failed, Meaning};
use super::shift::Shift;
use super::supervision::{self, Finished};
use super::unknown_action::Absence;
use super::verdict::{Happening, Verdict, verdict};
use super::{Executor, Then, UnknownAction};
use crate::process::backoff;
use crate::process::backoff::Pauses;
use crate::process::supervise::panic_message;

/// How often a request about a job is tried before its action runs, while CIMI answers others.
const TRIES: u32 = 3;
/// How long no other job that was lost before is begun after one.
const APART: Duration = Duration::from_secs(1);
/// How long one last write may take once the executor has to end.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// How an attempt ended, with the error that led there.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) happening: Happening,
    pub(super) cause: Option<Box<Error>>,
}

impl Ending {
    /// Why the entry is left alone for a while.
    pub(super) fn reason(&self) -> String {
        let reason = self.happening.reason();
        let cause = self.cause.as_deref().map(|cause| with_causes(cause));
        let reason = cause.map_or_else(|| reason.to_string(), |cause| format!("{reason}: {cause}"));
        reason.chars().take(LONGEST_REASON).collect()
    }
}

impl From<Happening> for Ending {
    fn from(happening: Happening) -> Self {
        Self { happening, cause: None }
    }
}

/// What is known of the job before the action runs.
struct Known {
    job: Job,
    /// Whether the attempt was begun by reading it.
    begun: bool,
    /// Whether another attempt was lost before.
    rerun: bool,
}

/// One run of a job under one lease.
pub(super) struct Attempt<'a> {
    pub(super) shift: &'a Shift,
    pub(super) claim: &'a Claim,
    /// Id of the job.
    pub(super) id: String,
    /// Writes under the lease of this attempt.
    pub(super) client: Client,
    identity: Arc<AttemptIdentity>,
    action: String,
    state: Option<State>,
}

impl<'a> Attempt<'a> {
    /// Makes the attempt that this claim gives the right to, and settles the claim.
    pub(super) async fn make(shift: &'a Shift, claim: Claim) {
        let begun = Instant::now();
        let mut attempt = Attempt::new(shift, &claim);
        let mut ending = match AssertUnwindSafe(attempt.follow()).catch_unwind().await {
            Ok(followed) => followed.unwrap_or_else(|ending| ending),
            Err(panic) => {
                error!(job = attempt.id, cause = panic_message(&*panic), "an attempt broke off, its claim is released");
                Happening::BrokenOff.into()
            }
        };
        if verdict(ending.happening) == Verdict::Release {
            ending = attempt.prepare_release(ending).await;
        }
        attempt.log(&ending, begun.elapsed());
        let Attempt { identity, .. } = attempt;
        match verdict(ending.happening) {
            Verdict::Consume => {
                shift.executor.forget(claim.entry());
                tell_unsettled(claim.consume().await, &identity);
            }
            Verdict::Release => {
                let reason = Reason { text: ending.reason(), is_refusal: ending.is_about_the_job() };
                let pause = shift.executor.avoid(claim.entry(), &identity.job, reason);
                shift.queue.avoid(claim.entry(), pause);
                tell_unsettled(claim.release().await, &identity);
            }
            Verdict::Abandon => {
                shift.executor.forget(claim.entry());
                claim.abandon();
            }
        }
    }

    fn new(shift: &'a Shift, claim: &'a Claim) -> Self {
        let id = String::from_utf8_lossy(claim.value()).into_owned();
        let identity = Arc::new(AttemptIdentity {
            job: id.clone(),
            lease: shift.lease(claim),
            entry: claim.entry().to_owned(),
            executor: shift.executor.options.name.clone(),
        });
        Self {
            shift,
            claim,
            id,
            client: shift.executor.client.for_attempt(identity.clone()),
            identity,
            action: String::new(),
            state: None,
        }
    }

    /// Reads the job.
    pub(super) async fn read(&self) -> Result<Document, Failed> {
        self.understand(self.shift.executor.courier.read(&self.client, &self.id).await).await
    }

    /// Edits the job, and answers it as it is then.
    pub(super) async fn edit(&self, changes: &Document) -> Result<Document, Failed> {
        self.understand(self.try_to_edit(changes).await).await
    }

    async fn try_to_edit(&self, changes: &Document) -> Result<Document, Error> {
        self.shift.executor.courier.edit(&self.client, &self.identity, changes).await
    }

    /// Writes what ends the attempt.
    async fn end(&self, changes: &Document) -> Result<(), Error> {
        self.shift.executor.courier.end(&self.client, &self.identity, changes).await
    }

    /// The steps; one that ends the attempt early answers `Err`.
    async fn follow(&mut self) -> Result<Ending, Ending> {
        let Known { job, begun, rerun } = self.fetch().await?;
        self.action.clone_from(&job.action);
        let Some(registered) = self.shift.executor.catalogue.find(&job.action) else {
            return self.refuse_action(&job).await;
        };
        let turn = if rerun && !begun { Some(self.wait_for_turn().await?) } else { None };
        if !begun {
            self.begin().await?;
        }
        info!(job = self.id, action = self.action, "attempt begins");
        let finished = self.run(registered, job, rerun, turn).await?;
        self.report(finished).await
    }

    /// Runs the action; others get their turn when it is done, or has shown for long enough that it ends no process.
    async fn run(
        &self,
        registered: &Registered,
        job: Job,
        rerun: bool,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<Finished, Ending> {
        let mut run = pin!(supervision::run(self, registered, job, rerun));
        if turn.is_some()
            && let Ok(finished) = timeout(APART, &mut run).await
        {
            return finished;
        }
        drop(turn);
        run.await
    }

    /// A job that was lost before, and perhaps ends the process that runs it, is begun apart from others like it: those whose
    /// attempt has not begun lose nothing with it.
    async fn wait_for_turn(&self) -> Result<SemaphorePermit<'a>, Ending> {
        let executor = &self.shift.executor;
        tokio::select! {
            biased;
            () = self.claim.lost() => Err(Happening::ClaimLost.into()),
            turn = executor.reruns.acquire() => Ok(turn.expect("nobody closes it")),
            () = executor.stop.asked() => Err(Happening::Interrupted.into()),
        }
    }

    /// The job as it is before this attempt, RUNNING under the lease since where the server does both at once.
    async fn fetch(&mut self) -> Result<Known, Ending> {
        if !is_job_id(&self.id) {
            return Err(Happening::NotAJob.into());
        }
        let running = changes::state(State::Running);
        let courier = &self.shift.executor.courier;
        let begins = courier.begins_at_once();
        let fetched = self.before_the_run(|| courier.begin(&self.client, &self.identity, &running)).await;
        if begins || courier.begins_at_once() {
            self.state = state_if_begun(fetched.as_ref().err());
        }
        let Fetched { job, begun, rerun } = fetched?;
        let job = job.map_err(|error| Happening::NotUnderstood.because(error))?;
        self.state = Some(if begun { State::Running } else { job.state });
        match job.state {
            State::Queued | State::Running => {
                Ok(Known { rerun: rerun.unwrap_or(job.state == State::Running), job, begun })
            }
            State::Success | State::Failed | State::Stopped => Err(Happening::AlreadyFinal.into()),
            State::Stopping => Err(self.confirm_stop().await),
        }
    }

    /// Somebody asked for the job to stop, and nothing runs any more.
    pub(super) async fn confirm_stop(&self) -> Ending {
        self.deliver(&changes::state(State::Stopped)).await.err().unwrap_or(Happening::StoppedElsewhere.into())
    }

    /// This executor has not the action. The job is left to one that has it, and is FAILED if nobody has had it for long
    /// (decision 17).
    async fn refuse_action(&mut self, job: &Job) -> Result<Ending, Ending> {
        let executor = &self.shift.executor;
        let UnknownAction { after, then } = executor.options.unknown_action;
        let known_for = executor.avoidance().known_for(self.claim.entry());
        match executor.unknown_actions.absence(self.shift, &job.action, job.created, known_for).await {
            Absence::Elsewhere => return Err(Happening::ActionElsewhere.into()),
            Absence::For(long) if then == Then::Fail && long >= after => {}
            Absence::For(long) => {
                let left = (then == Then::Fail).then(|| after.saturating_sub(long));
                let until = left.and_then(|left| executor.options.clock.now().checked_add(left).ok());
                return Err(Happening::ActionNowhere(until).into());
            }
        }
        let outcome: Result<Success, Failure> = Err(Failure::new(format!("Not implemented action: {}", job.action)));
        self.deliver(&changes::of_outcome(&outcome, &Report::default(), &[])).await?;
        self.state = Some(State::Failed);
        Ok(Happening::NoSuchAction.into())
    }

    /// Sets RUNNING under the lease, where reading the job did not do that.
    async fn begin(&mut self) -> Result<(), Ending> {
        let running = changes::state(State::Running);
        let begun = self.before_the_run(|| self.try_to_edit(&running)).await;
        self.state = state_if_begun(begun.as_ref().err());
        begun.map(drop)
    }

    /// Writes how the action ended.
    async fn report(&mut self, finished: Finished) -> Result<Ending, Ending> {
        let Finished { outcome, unsent, known, left_out } = finished;
        let changes = changes::with_left_out(changes::of_outcome(&outcome, &unsent, &known), left_out);
        self.deliver_as_taken(&changes).await?;
        self.state = Some(if outcome.is_ok() { State::Success } else { State::Failed });
        Ok(Happening::Ended.into())
    }

    /// A request without which the action cannot run; given up when the claim is lost or a stop is asked for.
    async fn before_the_run<T, F>(&self, request: impl Fn() -> F) -> Result<T, Ending>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let answer = tokio::select! {
            biased;
            () = self.claim.lost() => return Err(Happening::ClaimLost.into()),
            answer = self.patiently(request, TRIES) => answer,
            () = self.shift.executor.stop.asked() => return Err(Happening::Interrupted.into()),
        };
        answer.map_err(|Failed { meaning, error }| match meaning {
            Meaning::OutOfReach => Happening::OutOfReach.because(error),
            Meaning::TryLater => Happening::Unanswered.because(error),
            Meaning::Gone => Happening::Missing.because(error),
            Meaning::Final => Happening::AlreadyFinal.because(error),
            Meaning::Late => self.late(error),
            Meaning::Superseded => Happening::Superseded.because(error),
            Meaning::Refused => Happening::Refused.because(error),
        })
    }

    /// A write that ends the job; given up when the claim is lost or the executor has to end.
    pub(super) async fn deliver(&self, changes: &Document) -> Result<(), Ending> {
        let has_to_end = async {
            self.shift.executor.interrupted.cancelled().await;
            sleep(LAST_WRITE).await;
        };
        let answer = tokio::select! {
            biased;
            () = self.claim.lost() => return Err(Happening::ClaimLost.into()),
            answer = self.patiently(|| self.end(changes), u32::MAX) => answer,
            () = has_to_end => return Err(Happening::Undelivered.into()),
        };
        answer.map_err(|Failed { meaning, error }| match meaning {
            Meaning::OutOfReach | Meaning::TryLater => Happening::Undelivered.because(error),
            Meaning::Gone => Happening::Deleted.because(error),
            Meaning::Final => Happening::StoppedElsewhere.because(error),
            Meaning::Late => self.late(error),
            Meaning::Superseded => Happening::Superseded.because(error),
            Meaning::Refused => Happening::Refused.because(error),
        })
    }

    /// Repeats a request, with growing pauses and at most for the grace, while a later answer may be better: so many times
    /// if CIMI answers others, as it is this job that cannot be had then.
    async fn patiently<T, F>(&self, request: impl Fn() -> F, mut tries: u32) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let executor = &self.shift.executor;
        let deadline = backoff::deadline(executor.options.cimi_grace);
        let mut pauses = Pauses::default();
        loop {
            let answer = timeout_at(deadline, request()).await.unwrap_or_else(|elapsed| {
                let request = format!("a request about {}", self.id);
                Err(Error::Unreachable { request, source: elapsed.into() })
            });
            let failed = match self.understand(answer).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if failed.meaning == Meaning::TryLater {
                tries -= 1;
            }
            if !failed.meaning.may_pass() || tries == 0 {
                return Err(failed);
            }
            let pause = async {
                match failed.meaning {
                    Meaning::OutOfReach => executor.reach.pause_over().await,
                    _ => sleep(pauses.take()).await,
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(deadline) => return Err(failed),
                () = pause => {}
            }
        }
    }

    /// Says what a failure means, and lets the whole executor know whether CIMI answers: what one job is answered counts as
    /// an outage only if nothing else is answered either.
    async fn understand<T>(&self, answer: Result<T, Error>) -> Result<T, Failed> {
        let Executor { reach, client, .. } = &*self.shift.executor;
        let error = match answer {
            Ok(answer) => {
                reach.answered();
                return Ok(answer);
            }
            Err(error) => error,
        };
        let mut meaning = Meaning::of(&error, &self.id);
        if meaning != Meaning::OutOfReach {
            reach.answered();
        } else if !reach.is_lost(client).await {
            meaning = Meaning::TryLater;
        }
        Err(Failed { meaning, error })
    }

    /// A lease was refused as late: what that means depends on whether the claim is still there.
    pub(super) fn late(&self, error: Error) -> Ending {
        let lost = self.claim.lost().now_or_never().is_some();
        if lost { Happening::ClaimLost.because(error) } else { Happening::Late.because(error) }
    }

    /// A release is clean if the job waits again (decision 15); what the server answers may change the ending.
    async fn prepare_release(&mut self, ending: Ending) -> Ending {
        if let Some(given_up) = self.give_up(&ending).await {
            if given_up.happening == Happening::GivenUp {
                self.state = Some(State::Failed);
            }
            return given_up;
        }
        match ending.happening {
            Happening::Late => {
                self.shift.refresh_generation().await;
                return ending;
            }
            // its action has run, or what comes beside it breaks: another run is a rerun, and counts, or it would be run again without end
            Happening::Undelivered | Happening::Refused | Happening::BrokenOff => return ending,
            Happening::Unproven => {
                if let Some(ending) = self.wait_for_proof().await {
                    return ending;
                }
            }
            _ => {}
        }
        if self.state != Some(State::Running) {
            return ending;
        }
        let queued = changes::state(State::Queued);
        // in a request of its own: it must not wait behind one that hangs
        let answer = tokio::select! {
            biased;
            () = self.claim.lost() => return Happening::ClaimLost.into(),
            answer = timeout(LAST_WRITE, self.client.edit(&self.id, &queued, &[])) => answer,
        };
        // Without an answer the entry is given back all the same: the next attempt finds the job RUNNING.
        let Ok(answer) = answer else { return ending };
        let Err(error) = answer else {
            self.state = Some(State::Queued);
            return ending;
        };
        match Meaning::of(&error, &self.id) {
            Meaning::Gone => return Happening::Deleted.because(error),
            Meaning::Final => return Happening::StoppedElsewhere.because(error),
            Meaning::Superseded => return Happening::Superseded.because(error),
            Meaning::Late => return self.late(error),
            Meaning::OutOfReach | Meaning::TryLater | Meaning::Refused => {
                warn!(job = self.id, cause = with_causes(&error), "cannot set the job QUEUED before its release");
            }
        }
        ending
    }

    /// Waits until coordinator and server are reached again, in which case the claim is there or known to be lost, or until
    /// the executor has to end; answers an ending if there is nothing to give back.
    async fn wait_for_proof(&self) -> Option<Ending> {
        let executor = &self.shift.executor;
        let mut session = self.shift.session.state();
        let reached = async {
            // a session that is over makes the claim lost
            if session.wait_for(|state| *state == session::State::Connected).await.is_err() {
                std::future::pending::<()>().await;
            }
            self.patiently(|| self.shift.executor.courier.read(&self.client, &self.id), u32::MAX).await
        };
        tokio::select! {
            biased;
            () = self.claim.lost() => Some(Happening::ClaimLost.into()),
            // whatever it is answered: giving back asks once more
            _ = reached => None,
            () = executor.interrupted.cancelled() => Some(Happening::DoesNotEnd.into()),
        }
    }

    /// Tells of a poll of this attempt's action that took too long, if it is the action's first one.
    pub(super) fn tell_slow_poll(&self) -> impl Fn(Duration) + Send + Sync + 'static {
        let (executor, identity, action) = (self.shift.executor.clone(), self.identity.clone(), self.action.clone());
        move |took| {
            if executor.blocking_actions.lock().expect("no holder of this lock panics").insert(action.clone()) {
                let (job, milliseconds) = (&identity.job, took.as_millis());
                warn!(
                    job,
                    action,
                    milliseconds,
                    "the action blocks its thread, so that it cannot be cancelled: let it \
                     await, or leave the work to spawn_blocking; said once for each action"
                );
            }
        }
    }

    /// Tells that the claim is kept because the action runs on.
    pub(super) fn tell_it_does_not_end(&self, ending: &Ending) {
        let (job, action, entry) = (&self.id, &self.action, self.claim.entry());
        let happening = ending.happening;
        warn!(job, action, entry, ?happening, "the action does not end: it keeps its slot and its job until it does");
    }

    fn log(&self, ending: &Ending, duration: Duration) {
        let Ending { happening, cause } = ending;
        let action = &self.action;
        // what is no id of a job may be of any length
        let id: String = self.id.chars().take(LONGEST_TOLD).collect();
        let state = self.state.map_or("unknown", State::as_str);
        let seconds = format!("{:.1}", duration.as_secs_f64());
        let cause = cause.as_deref().map(|cause| with_causes(cause));
        match verdict(*happening) {
            Verdict::Consume if *happening == Happening::Ended => {
                info!(job = id, action, state, seconds, "attempt ends");
            }
            Verdict::Consume => info!(job = id, action, state, seconds, ?happening, cause, "attempt ends"),
            verdict => {
                let entry = self.claim.entry();
                warn!(
                    job = id,
                    action,
                    state,
                    seconds,
                    ?happening,
                    cause,
                    entry,
                    ?verdict,
                    "attempt ends without the job"
                );
            }
        }
    }
}

/// Most characters of a reason that are told to others.
const LONGEST_REASON: usize = 200;
/// Most characters of an id that are told in the log.
const LONGEST_TOLD: usize = 100;

impl Happening {
    /// An ending to which this error led.
    pub(super) fn because(self, cause: Error) -> Ending {
        Ending { happening: self, cause: Some(Box::new(cause)) }
    }
}

/// The job's state once it was asked to be RUNNING: without an answer that may have been carried out.
fn state_if_begun(error: Option<&Ending>) -> Option<State> {
    match error {
        None
        | Some(Ending { happening: Happening::OutOfReach | Happening::Unanswered | Happening::Interrupted, .. }) => {
            Some(State::Running)
        }
        Some(_) => None,
    }
}

/// A claim that is not settled is not settled again: the session's close gives the entry back, and whoever takes it next
/// finds a final job (decision 7).
fn tell_unsettled(settled: Result<Settled, slipstream_coordination::Error>, attempt: &AttemptIdentity) {
    let entry = &attempt.entry;
    match settled {
        Ok(Settled::Done) => {}
        // the queue says so itself where that is new
        Ok(Settled::Refused(cause)) => debug!(entry, %cause, "the entry stays, and is left alone"),
        Ok(Settled::Lost) => warn!(entry, "the claim was lost before it was settled"),
        Err(error) => warn!(entry, cause = with_causes(&error), "the claim is not settled"),
    }
}
