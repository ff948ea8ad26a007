//! [`run_action`]: runs an action and watches over its claim, its job, its reports and its time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use slipstream_action::{Failure, JobHandle, Report, Reports, Success};
use slipstream_cimi::resource::Link;
use slipstream_cimi::{Document, Job, State};
use slipstream_coordination::session;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Span, debug, warn};

use super::Options;
use super::attempt_client::AttemptClient;
use super::edits;
use super::end::{AttemptEnd, EndKind, ErrorClass, Failed, Phase, Verdict, verdict};
use super::host::{Outcome, Output};
use super::offers::Offer;
use super::run::{Joined, Run};
use super::worker_session::WorkerSession;
use crate::process::activity::slot::Step;

/// How often a running job is read again, to see whether it was stopped (decision 14).
const READ_AGAIN: Duration = Duration::from_secs(30);
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
    End(AttemptEnd),
    /// STOPPING is in the document, and STOPPED is awaited.
    StopWanted,
}

/// What is still to be done once the action has been cancelled.
enum Conclusion {
    Report(Result<Success, Failure>),
    ConfirmStop,
    End(AttemptEnd),
    /// The claim is kept for as long as the action runs on.
    HoldUntilEnded(AttemptEnd),
}

/// Runs the action of a job that is RUNNING now and was `job` before, until it ends or there is a reason to cancel it.
/// `rerun` says that another attempt was lost before. What a program printed last is handed in unless it succeeded.
pub(super) async fn run_action(
    attempt: &AttemptClient<'_>,
    session: &WorkerSession,
    offer: &Offer,
    job: Box<Job>,
    rerun: bool,
) -> Result<Finished, AttemptEnd> {
    let output = Output::default();
    let finished = follow_action(attempt, session, offer, job, rerun, &output).await;
    if !matches!(&finished, Ok(Finished { outcome: Ok(_), .. })) {
        attempt.hand_in(output.take()).await;
    }
    finished
}

async fn follow_action(
    attempt: &AttemptClient<'_>,
    session: &WorkerSession,
    offer: &Offer,
    job: Box<Job>,
    rerun: bool,
    output: &Output,
) -> Result<Finished, AttemptEnd> {
    let known = job.affected_resources.clone();
    let reports = Reports::new();
    let cancellation = CancellationToken::new();
    let Options { runtime, clock, .. } = &attempt.executor.options;
    let client = runtime.client(attempt.client.clone());
    let warn_slow = Arc::new(warn_of_slow_poll(attempt, job.action.clone()));
    // what is shared with the action is kept here to its end, so that it is freed where it was made
    let handle = JobHandle::new(*job, client, rerun, reports.clone(), cancellation.clone());
    let mut action = Run::begin(offer, handle.clone(), runtime, clock, output, warn_slow.clone(), attempt.notes).await;
    let mut monitor = Monitor::new(attempt, session, reports, known);

    // an action that ends at once needs no monitor
    tokio::task::yield_now().await;
    let interruption = tokio::select! {
        biased;
        joined = &mut action => return monitor.finish(outcome_of(attempt, joined)?).await,
        interruption = monitor.until_interrupted(offer.terms.time_limit) => interruption,
    };
    cancellation.cancel();
    attempt.notes.note_step(Step::Cancelled);
    let joined = action.cancelled(offer.terms.stop_grace).await;
    match conclude(interruption, joined) {
        Conclusion::Report(outcome) => monitor.finish(outcome).await,
        Conclusion::ConfirmStop => Err(attempt.confirm_stop().await),
        Conclusion::End(end) => Err(end),
        Conclusion::HoldUntilEnded(end) => Err(hold_until_ended(attempt, &mut action, end).await),
    }
}

/// An action that cannot be ended keeps claim and slot, so that no other executor begins the job while it runs. Only a lost
/// claim and the executor's own end are not waited for.
async fn hold_until_ended(attempt: &AttemptClient<'_>, action: &mut Run, end: AttemptEnd) -> AttemptEnd {
    let entry = attempt.claim.entry();
    attempt.notes.note_step(Step::Held);
    warn!(entry, end = ?end.kind, "the action does not stop: it keeps its slot and job until it does");
    tokio::select! {
        biased;
        () = attempt.claim.lost() => EndKind::ClaimLost.into(),
        // however it ends: its outcome does not count any more
        _ = action => end,
        () = attempt.executor.interrupted.cancelled() => AttemptEnd { kind: EndKind::DoesNotEnd, ..end },
    }
}

/// What follows from why an action was cancelled and how it ended; `None` if it did not.
fn conclude(interruption: Interruption, joined: Option<Joined>) -> Conclusion {
    match (interruption, joined) {
        (Interruption::TimeLimit(limit), _) => {
            Conclusion::Report(Err(Failure::new(format!("time limit of {limit:?} exceeded"))))
        }
        (Interruption::OwnStop, Some(Outcome::Ended(Ok(success)))) => Conclusion::Report(Ok(success)),
        (Interruption::OwnStop, Some(_)) => Conclusion::End(EndKind::Interrupted.into()),
        (Interruption::OwnStop, None) => Conclusion::End(EndKind::DoesNotEnd.into()),
        (Interruption::StopWanted, _) => Conclusion::ConfirmStop,
        // Given back is only what has ended (decision 15).
        (Interruption::End(end), None) if verdict(end.kind) == Verdict::Release => Conclusion::HoldUntilEnded(end),
        (Interruption::End(end), _) => Conclusion::End(end),
    }
}

/// What an action that ended by itself has to say of its job, or how it leaves it.
fn outcome_of(attempt: &AttemptClient<'_>, joined: Joined) -> Result<Result<Success, Failure>, AttemptEnd> {
    match joined {
        Outcome::Ended(outcome) => Ok(outcome),
        Outcome::Released(reason) => Err(EndKind::GivenBack.saying(reason)),
        // our own server queues a running job without an entry again, so that leaving it would only delay it
        Outcome::Left if attempt.executor.batcher.takes_reports() => {
            Err(EndKind::GivenBack.saying("its action leaves it to others, which this server does not know".to_owned()))
        }
        Outcome::Left => Err(EndKind::LeftByAction.into()),
    }
}

/// A request under way.
type Answer<'a> = BoxFuture<'a, Result<Document, Failed>>;

/// Sends the reports of a running action and reads its job again; knows what is under way.
struct Monitor<'a> {
    attempt: &'a AttemptClient<'a>,
    session: &'a WorkerSession,
    reports: Reports,
    known: Vec<Link>,
    /// At most one report is under way; it is put back if it fails.
    reporting: Option<(Report, Answer<'a>)>,
    report_after: Instant,
    /// What the server refused while the action ran: sent once more in the end, or said to be left out.
    refused: Reports,
    reading: Option<Answer<'a>>,
    read_at: Instant,
    entry_is_gone: bool,
}

impl<'a> Monitor<'a> {
    fn new(attempt: &'a AttemptClient<'a>, session: &'a WorkerSession, reports: Reports, known: Vec<Link>) -> Self {
        let now = Instant::now();
        Self {
            attempt,
            session,
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
        let executor = &attempt.executor;
        let mut session = self.session.state();
        let mut time_over = pin!(sleep(time_limit.unwrap_or(Duration::MAX)));
        let mut unproven = pin!(unproven(attempt, self.session));
        loop {
            tokio::select! {
                biased;
                () = attempt.claim.lost() => return Interruption::End(EndKind::ClaimLost.into()),
                () = executor.interrupted.cancelled() => return Interruption::OwnStop,
                () = &mut time_over => return Interruption::TimeLimit(time_limit.unwrap_or_default()),
                () = &mut unproven => return Interruption::End(EndKind::Unproven.into()),
                () = attempt.claim.entry_gone(), if !self.entry_is_gone => {
                    self.entry_is_gone = true;
                    self.read_at = Instant::now();
                }
                () = reconnected(&mut session) => self.read_at = Instant::now(),
                () = sleep_until(self.read_at), if self.reading.is_none() => {
                    self.reading = Some(Box::pin(attempt.read()));
                }
                answer = or_never(self.reading.as_mut()) => {
                    self.reading = None;
                    if let Some(interruption) = self.read(answer) {
                        return interruption;
                    }
                }
                () = report_due(attempt, &self.reports, self.report_after), if self.reporting.is_none() => {
                    self.send_report();
                }
                answer = answer_of_report(&mut self.reporting) => {
                    if let Err(end) = self.reported(answer) {
                        return Interruption::End(end);
                    }
                }
            }
        }
    }

    /// The job was read again.
    fn read(&mut self, answer: Result<Document, Failed>) -> Option<Interruption> {
        self.read_at = Instant::now() + READ_AGAIN;
        let failed = match answer {
            Ok(document) => {
                let state = document.get("state").and_then(|state| State::from_text(state.as_str()?));
                self.known = edits::affected(&document);
                return match state {
                    Some(state) if state.is_final() => Some(Interruption::End(EndKind::StoppedElsewhere.into())),
                    Some(State::Stopping) => Some(Interruption::StopWanted),
                    _ => None,
                };
            }
            Err(failed) => failed,
        };
        if failed.class == ErrorClass::Gone {
            return Some(Interruption::End(self.attempt.ended_by(failed, Phase::Begun)));
        }
        debug!(error = %failed.error, "cannot read the running job");
        if self.entry_is_gone {
            // Most likely it was stopped: do not wait for the next turn.
            self.read_at = Instant::now() + AFTER_FAILURE;
        }
        None
    }

    fn send_report(&mut self) {
        let attempt = self.attempt;
        let report = self.reports.take();
        attempt.notes.note_progress(report.progress);
        let changes = edits::of_report(&report, &self.known);
        if !changes.is_empty() {
            let answer = async move { attempt.edit(&changes).await };
            self.reporting = Some((report, Box::pin(answer)));
        }
    }

    /// The report under way was answered. Failures do not count, except those that say that the job is not ours.
    fn reported(&mut self, answer: Result<Document, Failed>) -> Result<(), AttemptEnd> {
        let reported = self.reporting.take().map(|(report, _)| report);
        let failed = match answer {
            Ok(document) => {
                self.known = edits::affected(&document);
                return Ok(());
            }
            Err(failed) if failed.class.ends_the_attempt() => return Err(self.attempt.ended_by(failed, Phase::Begun)),
            Err(failed) => failed,
        };
        let (error, report) = (&failed.error, reported.unwrap_or_default());
        if failed.class.is_transient() {
            debug!(%error, "cannot write progress, retrying later");
            self.reports.put_back(report);
        } else {
            warn!(%error, "progress was refused, sending it again with the final report");
            let earlier = self.refused.take();
            self.refused.put_back(report);
            self.refused.put_back(earlier);
        }
        self.report_after = Instant::now() + AFTER_FAILURE;
        Ok(())
    }

    /// The action has ended: lets a report under way come in first, so that it cannot overtake the final one.
    async fn finish(mut self, outcome: Result<Success, Failure>) -> Result<Finished, AttemptEnd> {
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
async fn report_due(attempt: &AttemptClient<'_>, reports: &Reports, not_before: Instant) {
    reports.waiting().await;
    sleep_until(not_before).await;
    attempt.executor.api_health.until_retry().await;
}

async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
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
async fn unproven(attempt: &AttemptClient<'_>, session: &WorkerSession) {
    let limit = session.timeout;
    let mut session = session.state();
    while session.wait_for(|state| *state == session::State::Suspended).await.is_ok() {
        let since = Instant::now();
        while *session.borrow() == session::State::Suspended {
            let down_since = attempt.executor.api_health.down_since();
            if down_since.is_some_and(|down_since| down_since.max(since).elapsed() > limit) {
                return;
            }
            sleep(AFTER_FAILURE).await;
        }
    }
    // The session is over, which the claim will say.
    std::future::pending::<()>().await;
}

/// Logs a poll of this attempt's action that took too long, if it is the action's first one.
fn warn_of_slow_poll(attempt: &AttemptClient<'_>, action: String) -> impl Fn(Duration) + Send + Sync + 'static {
    let (executor, about) = (attempt.executor.clone(), Span::current());
    move |took| {
        if executor.blocking_actions.lock().expect("no holder of this lock panics").insert(action.clone()) {
            let milliseconds = took.as_millis();
            about.in_scope(|| {
                warn!(
                    milliseconds,
                    "the action blocks its thread and cannot be cancelled: let it await, or use spawn_blocking; logged \
                     once per action"
                );
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported, or what happened.
    fn concluded(
        interruption: Interruption,
        joined: Option<Joined>,
    ) -> Result<Result<Success, Failure>, Option<EndKind>> {
        match conclude(interruption, joined) {
            Conclusion::Report(outcome) => Ok(outcome),
            Conclusion::ConfirmStop => Err(None),
            Conclusion::End(end) => Err(Some(end.kind)),
            Conclusion::HoldUntilEnded(_) => Err(Some(EndKind::DoesNotEnd)),
        }
    }

    #[test]
    fn every_interruption_has_its_conclusion() {
        let success = || Some(Outcome::Ended(Ok(Success::default())));
        let failure = || Some(Outcome::Ended(Err(Failure::new("cancelled"))));
        let late = || Interruption::End(EndKind::Late.into());
        let stopped = || Interruption::End(EndKind::StoppedElsewhere.into());
        let limit = || Interruption::TimeLimit(Duration::from_mins(1));
        let over = Ok(Err(Failure::new("time limit of 60s exceeded")));
        let rows = [
            (limit(), success(), over.clone()),
            (limit(), failure(), over.clone()),
            (limit(), None, over),
            (Interruption::OwnStop, success(), Ok(Ok(Success::default()))),
            (Interruption::OwnStop, failure(), Err(Some(EndKind::Interrupted))),
            (Interruption::OwnStop, None, Err(Some(EndKind::DoesNotEnd))),
            (Interruption::StopWanted, success(), Err(None)),
            (Interruption::StopWanted, None, Err(None)),
            (late(), success(), Err(Some(EndKind::Late))),
            (late(), None, Err(Some(EndKind::DoesNotEnd))),
            (stopped(), failure(), Err(Some(EndKind::StoppedElsewhere))),
            (stopped(), None, Err(Some(EndKind::StoppedElsewhere))),
        ];
        for (row, (interruption, joined, expected)) in rows.into_iter().enumerate() {
            assert_eq!(concluded(interruption, joined), expected, "row {row}");
        }
    }
}
