//! [`run`]: runs an action and watches over its claim, its job, its reports and its time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use slipstream_action::{Failure, JobHandle, Registered, Report, Reports, Success};
use slipstream_cimi::resource::Link;
use slipstream_cimi::{Document, Job, State};
use slipstream_coordination::session;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::attempt::{Attempt, Ending};
use super::changes;
use super::meaning::{Failed, Meaning};
use super::runtime::{Broken, Running};
use super::verdict::{Happening, Verdict, verdict};
use crate::process::supervise::panic_message;

/// How often a running job is read again, to see whether it was stopped (decision 14).
const READ_AGAIN: Duration = Duration::from_secs(30);
/// How long a cancelled action may take to end before it is aborted.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// How long an aborted action may take to reach its next await.
const ABORT_GRACE: Duration = Duration::from_secs(1);
/// How long a report under way is waited for once the action has ended.
const LAST_PROGRESS: Duration = Duration::from_secs(2);
/// Pause after progress that could not be written.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The action has ended, and this is still to be written.
pub(super) struct Finished {
    pub(super) outcome: Result<Success, Failure>,
    /// What the action said and is not in the document.
    pub(super) unsent: Report,
    /// The links of the job as last answered by the server.
    pub(super) known: Vec<Link>,
    /// How many documents the action named that are left out.
    pub(super) left_out: usize,
}

/// Why an action does not run to its end.
enum Interruption {
    TimeLimit(Duration),
    OwnStop,
    Ending(Ending),
    /// Somebody wrote STOPPING and waits for STOPPED.
    StopWanted,
}

/// What is still to be done once the action has been cancelled.
enum Conclusion {
    Report(Result<Success, Failure>),
    ConfirmStop,
    End(Ending),
    /// The claim is kept for as long as the action runs on.
    HoldUntilEnded(Ending),
}

type Run = Running<Result<Success, Failure>>;
type Joined = Result<Result<Success, Failure>, Broken>;

/// Runs the action of a job that is RUNNING now and was `job` before, until it ends or there is a reason to cancel it.
/// `rerun` says that another attempt was lost before.
pub(super) async fn run(
    attempt: &Attempt<'_>,
    registered: &Registered,
    job: Job,
    rerun: bool,
) -> Result<Finished, Ending> {
    let known = job.affected_resources.clone();
    let reports = Reports::new();
    let cancellation = CancellationToken::new();
    let runtime = &attempt.shift.executor.options.runtime;
    let client = runtime.client(attempt.client.clone());
    let handle = JobHandle::new(job, client, rerun, reports.clone(), cancellation.clone());
    let tell_slow = Arc::new(attempt.tell_slow_poll());
    // what is shared with the action is kept here to its end, so that it is freed where it was made
    let (action, shared, tell) = (registered.action.clone(), handle.clone(), tell_slow.clone());
    let mut action = runtime.begin(async move { action.run(shared).await }, tell).await;
    let mut supervision = Supervision::new(attempt, reports, known);

    // an action that ends at once needs nobody to watch over it
    tokio::task::yield_now().await;
    let interruption = tokio::select! {
        biased;
        joined = &mut action => return supervision.finish(outcome_of(joined)).await,
        interruption = supervision.until_interrupted(registered.time_limit) => interruption,
    };
    cancellation.cancel();
    let joined = end(&mut action).await;
    match conclude(interruption, joined) {
        Conclusion::Report(outcome) => supervision.finish(outcome).await,
        Conclusion::ConfirmStop => Err(attempt.confirm_stop().await),
        Conclusion::End(ending) => Err(ending),
        Conclusion::HoldUntilEnded(ending) => Err(hold_until_ended(attempt, &mut action, ending).await),
    }
}

/// An action that cannot be ended keeps claim and slot, so that nobody else begins the job while it runs. Only a lost
/// claim and the executor's own end are not waited for.
async fn hold_until_ended(attempt: &Attempt<'_>, action: &mut Run, ending: Ending) -> Ending {
    attempt.tell_it_does_not_end(&ending);
    tokio::select! {
        biased;
        () = attempt.claim.lost() => Happening::ClaimLost.into(),
        // however it ends: its outcome does not count any more
        _ = action => ending,
        () = attempt.shift.executor.interrupted.cancelled() => Ending { happening: Happening::DoesNotEnd, ..ending },
    }
}

/// What follows from why an action was cancelled and how it ended; `None` if it did not.
fn conclude(interruption: Interruption, joined: Option<Joined>) -> Conclusion {
    match (interruption, joined) {
        (Interruption::TimeLimit(limit), _) => {
            Conclusion::Report(Err(Failure::new(format!("time limit of {limit:?} exceeded"))))
        }
        (Interruption::OwnStop, Some(Ok(Ok(success)))) => Conclusion::Report(Ok(success)),
        (Interruption::OwnStop, Some(_)) => Conclusion::End(Happening::Interrupted.into()),
        (Interruption::OwnStop, None) => Conclusion::End(Happening::DoesNotEnd.into()),
        (Interruption::StopWanted, _) => Conclusion::ConfirmStop,
        // Given back is only what has ended (decision 15).
        (Interruption::Ending(ending), None) if verdict(ending.happening) == Verdict::Release => {
            Conclusion::HoldUntilEnded(ending)
        }
        (Interruption::Ending(ending), _) => Conclusion::End(ending),
    }
}

/// Waits for a cancelled action, then aborts it; `None` if not even that ends it.
async fn end(action: &mut Run) -> Option<Joined> {
    if let Ok(joined) = timeout(CANCEL_GRACE, &mut *action).await {
        return Some(joined);
    }
    action.abort();
    timeout(ABORT_GRACE, action).await.ok()
}

/// A panic is a failure with the panic's message.
fn outcome_of(joined: Joined) -> Result<Success, Failure> {
    joined.unwrap_or_else(|error| {
        Err(match error {
            Broken::Aborted => Failure::new("the action was aborted"),
            Broken::Panicked(panic) => Failure::new(panic_message(&*panic)),
        })
    })
}

/// A request under way.
type Answer<'a> = BoxFuture<'a, Result<Document, Failed>>;

/// What is known and under way while an action runs.
struct Supervision<'a> {
    attempt: &'a Attempt<'a>,
    reports: Reports,
    known: Vec<Link>,
    /// At most one report is under way; it is put back if it fails.
    reporting: Option<(Report, Answer<'a>)>,
    report_after: Instant,
    /// What the server refused while the action ran: told once more in the end, or said to be left out.
    refused: Reports,
    reading: Option<Answer<'a>>,
    read_at: Instant,
    entry_is_gone: bool,
}

impl<'a> Supervision<'a> {
    fn new(attempt: &'a Attempt<'a>, reports: Reports, known: Vec<Link>) -> Self {
        let now = Instant::now();
        Self {
            attempt,
            reports,
            known,
            reporting: None,
            report_after: now,
            refused: Reports::new(),
            reading: None,
            read_at: now + READ_AGAIN,
            entry_is_gone: false,
        }
    }

    /// Sends reports on and reads the job now and then, until there is a reason to cancel the action.
    async fn until_interrupted(&mut self, time_limit: Option<Duration>) -> Interruption {
        let attempt = self.attempt;
        let executor = &attempt.shift.executor;
        let mut session = attempt.shift.session.state();
        let mut time_over = pin!(or_never(time_limit.map(sleep)));
        let mut unproven = pin!(unproven(attempt));
        loop {
            tokio::select! {
                biased;
                () = attempt.claim.lost() => return Interruption::Ending(Happening::ClaimLost.into()),
                () = executor.interrupted.cancelled() => return Interruption::OwnStop,
                () = &mut time_over => return Interruption::TimeLimit(time_limit.unwrap_or_default()),
                () = &mut unproven => return Interruption::Ending(Happening::Unproven.into()),
                () = attempt.claim.entry_gone(), if !self.entry_is_gone => {
                    self.entry_is_gone = true;
                    self.read_at = Instant::now();
                }
                () = reconnected(&mut session) => self.read_at = Instant::now(),
                () = sleep_until(self.read_at), if self.reading.is_none() => {
                    self.reading = Some(Box::pin(attempt.read()));
                }
                answer = answer_of(&mut self.reading) => {
                    self.reading = None;
                    if let Some(interruption) = self.read(answer) {
                        return interruption;
                    }
                }
                () = report_due(attempt, &self.reports, self.report_after), if self.reporting.is_none() => {
                    self.send_report();
                }
                answer = answer_of_report(&mut self.reporting) => {
                    if let Err(ending) = self.reported(answer) {
                        return Interruption::Ending(ending);
                    }
                }
            }
        }
    }

    /// The job was read again.
    fn read(&mut self, answer: Result<Document, Failed>) -> Option<Interruption> {
        self.read_at = Instant::now() + READ_AGAIN;
        let Failed { meaning, error } = match answer {
            Ok(document) => {
                let state = document.get("state").and_then(|state| State::from_text(state.as_str()?));
                self.known = changes::affected(&document);
                return match state {
                    Some(state) if state.is_final() => Some(Interruption::Ending(Happening::StoppedElsewhere.into())),
                    Some(State::Stopping) => Some(Interruption::StopWanted),
                    _ => None,
                };
            }
            Err(failed) => failed,
        };
        if meaning == Meaning::Gone {
            return Some(Interruption::Ending(Happening::Deleted.because(error)));
        }
        debug!(job = self.attempt.id, %error, "cannot read the running job");
        if self.entry_is_gone {
            // Most likely it was stopped: do not wait for the next turn.
            self.read_at = Instant::now() + AFTER_FAILURE;
        }
        None
    }

    fn send_report(&mut self) {
        let attempt = self.attempt;
        let report = self.reports.take();
        let changes = changes::of_report(&report, &self.known);
        if !changes.is_empty() {
            let answer = async move { attempt.edit(&changes).await };
            self.reporting = Some((report, Box::pin(answer)));
        }
    }

    /// The report under way was answered. Failures do not count, except those that say that the job is not ours.
    fn reported(&mut self, answer: Result<Document, Failed>) -> Result<(), Ending> {
        let reported = self.reporting.take();
        let Failed { meaning, error } = match answer {
            Ok(document) => {
                self.known = changes::affected(&document);
                return Ok(());
            }
            Err(failed) => failed,
        };
        match meaning {
            Meaning::Gone => return Err(Happening::Deleted.because(error)),
            Meaning::Late => return Err(self.attempt.late(error)),
            Meaning::Superseded => return Err(Happening::Superseded.because(error)),
            Meaning::Final => return Err(Happening::StoppedElsewhere.because(error)),
            Meaning::OutOfReach | Meaning::TryLater => {
                debug!(job = self.attempt.id, %error, "progress is written later");
                if let Some((report, _)) = reported {
                    self.reports.put_back(report);
                }
            }
            Meaning::Refused => {
                warn!(job = self.attempt.id, %error, "progress was refused, and is told again in the end");
                if let Some((report, _)) = reported {
                    let earlier = self.refused.take();
                    self.refused.put_back(report);
                    self.refused.put_back(earlier);
                }
            }
        }
        self.report_after = Instant::now() + AFTER_FAILURE;
        Ok(())
    }

    /// The action has ended: lets a report under way come in first, so that it cannot overtake the final one.
    async fn finish(mut self, outcome: Result<Success, Failure>) -> Result<Finished, Ending> {
        if self.reporting.is_some() {
            match timeout(LAST_PROGRESS, answer_of_report(&mut self.reporting)).await {
                Ok(answer) => self.reported(answer)?,
                Err(_) => {
                    if let Some((report, _)) = self.reporting.take() {
                        self.reports.put_back(report);
                    }
                }
            }
        }
        let left_out = self.reports.left_out();
        self.reports.put_back(self.refused.take());
        Ok(Finished { outcome, unsent: self.reports.take(), known: self.known, left_out })
    }
}

/// Ends when there is something to report and the server can be expected to answer.
async fn report_due(attempt: &Attempt<'_>, reports: &Reports, not_before: Instant) {
    reports.waiting().await;
    sleep_until(not_before).await;
    attempt.shift.executor.reach.pause_over().await;
}

async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn answer_of(request: &mut Option<Answer<'_>>) -> Result<Document, Failed> {
    or_never(request.as_mut()).await
}

async fn answer_of_report(request: &mut Option<(Report, Answer<'_>)>) -> Result<Document, Failed> {
    or_never(request.as_mut().map(|(_, answer)| answer)).await
}

/// Ends when the session is connected again after it was suspended.
async fn reconnected(session: &mut watch::Receiver<session::State>) {
    loop {
        if session.changed().await.is_err() {
            return std::future::pending().await;
        }
        if *session.borrow_and_update() == session::State::Connected {
            return;
        }
    }
}

/// Ends when the session has been suspended, and the server out of reach, for longer than the session's time-out: then the
/// claim is most likely gone (decision 7).
async fn unproven(attempt: &Attempt<'_>) {
    let limit = attempt.shift.session_timeout;
    let mut session = attempt.shift.session.state();
    while session.wait_for(|state| *state == session::State::Suspended).await.is_ok() {
        let since = Instant::now();
        while *session.borrow() == session::State::Suspended {
            let out_since = attempt.shift.executor.reach.out_since();
            if out_since.is_some_and(|out_since| out_since.max(since).elapsed() > limit) {
                return;
            }
            sleep(AFTER_FAILURE).await;
        }
    }
    // The session is over, which the claim will say.
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported, or what happened.
    fn told(interruption: Interruption, joined: Option<Joined>) -> Result<Result<Success, Failure>, Option<Happening>> {
        match conclude(interruption, joined) {
            Conclusion::Report(outcome) => Ok(outcome),
            Conclusion::ConfirmStop => Err(None),
            Conclusion::End(ending) => Err(Some(ending.happening)),
            Conclusion::HoldUntilEnded(_) => Err(Some(Happening::DoesNotEnd)),
        }
    }

    #[test]
    fn every_interruption_has_its_conclusion() {
        let success = || Some(Ok(Ok(Success::default())));
        let failure = || Some(Ok(Err(Failure::new("cancelled"))));
        let late = || Interruption::Ending(Happening::Late.into());
        let stopped = || Interruption::Ending(Happening::StoppedElsewhere.into());
        let limit = || Interruption::TimeLimit(Duration::from_mins(1));
        let over = Ok(Err(Failure::new("time limit of 60s exceeded")));
        let rows = [
            (limit(), success(), over.clone()),
            (limit(), failure(), over.clone()),
            (limit(), None, over),
            (Interruption::OwnStop, success(), Ok(Ok(Success::default()))),
            (Interruption::OwnStop, failure(), Err(Some(Happening::Interrupted))),
            (Interruption::OwnStop, None, Err(Some(Happening::DoesNotEnd))),
            (Interruption::StopWanted, success(), Err(None)),
            (Interruption::StopWanted, None, Err(None)),
            (late(), success(), Err(Some(Happening::Late))),
            (late(), None, Err(Some(Happening::DoesNotEnd))),
            (stopped(), failure(), Err(Some(Happening::StoppedElsewhere))),
            (stopped(), None, Err(Some(Happening::StoppedElsewhere))),
        ];
        for (row, (interruption, joined, expected)) in rows.into_iter().enumerate() {
            assert_eq!(told(interruption, joined), expected, "row {row}");
        }
    }
}
