//! [`AttemptClient`]: the requests of one attempt about its job. What fails is classified here, tried again while a later
//! answer may be better, and else ends the attempt.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::FutureExt as _;
use slipstream_action::with_causes;
use slipstream_cimi::overview::ledger::{OUTPUT, Printed};
use slipstream_cimi::{AttemptIdentity, Client, Document, Error, State};
use slipstream_coordination::Claim;
use slipstream_coordination::retry::Pauses;
use tokio::time::{Instant, sleep, timeout};
use tracing::field::Empty;
use tracing::{Span, debug, error_span, warn};

use super::Executor;
use super::batcher::Fetched;
use super::edits;
use super::end::{AttemptEnd, EndKind, ErrorClass, Failed, Phase};
use crate::process::activity::slot::AttemptNotes;

/// How often a request about a job is tried before its action runs, while CIMI answers others.
const TRIES: u32 = 3;
/// Most characters of an id that are shown in the log: what is no id of a job may be of any length.
const LONGEST_ID: usize = 100;
/// How long one last write may take once the executor has to end.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Asks and writes as one attempt, for as long as its claim is held.
pub(super) struct AttemptClient<'a> {
    pub(super) executor: &'a Arc<Executor>,
    pub(super) claim: &'a Claim,
    pub(super) identity: Arc<AttemptIdentity>,
    /// Writes under the lease of this attempt.
    pub(super) client: Client,
    /// For whoever asks what the executor is doing.
    pub(super) notes: &'a Arc<AttemptNotes>,
}

impl<'a> AttemptClient<'a> {
    pub(super) fn new(
        executor: &'a Arc<Executor>,
        claim: &'a Claim,
        identity: Arc<AttemptIdentity>,
        notes: &'a Arc<AttemptNotes>,
    ) -> Self {
        Self { executor, claim, client: executor.client.for_attempt(identity.clone()), identity, notes }
    }

    /// Id of the job.
    pub(super) fn job(&self) -> &str {
        &self.identity.job
    }

    /// Reads the job and, where the server does both at once, sets it RUNNING. `asked` becomes true once the server is asked
    /// for that, whose answer may be lost.
    pub(super) async fn begin(&self, asked: &AtomicBool) -> Result<Fetched, AttemptEnd> {
        self.before_the_run(|| self.executor.batcher.begin(&self.client, &self.identity, asked)).await
    }

    /// Sets RUNNING under the lease, where reading the job did not do that.
    pub(super) async fn set_running(&self) -> Result<(), AttemptEnd> {
        let running = edits::state(State::Running);
        self.before_the_run(|| self.try_to_edit(&running)).await.map(drop)
    }

    /// A request without which the action cannot run; given up when the claim is lost or a stop is asked for.
    async fn before_the_run<T, F>(&self, request: impl Fn() -> F) -> Result<T, AttemptEnd>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let answer = tokio::select! {
            biased;
            () = self.claim.lost() => return Err(EndKind::ClaimLost.into()),
            answer = self.retry(request, TRIES) => answer,
            () = self.executor.stop.asked() => return Err(EndKind::Interrupted.into()),
        };
        answer.map_err(|failed| self.ended_by(failed, Phase::BeforeRun))
    }

    /// Reads the job once.
    pub(super) async fn read(&self) -> Result<Document, Failed> {
        self.classify(self.try_to_read().await).await
    }

    /// Ends when the server answers about the job.
    pub(super) async fn wait_for_answer(&self) {
        // whatever it answers, it answers the next request too
        drop(self.retry(|| self.try_to_read(), u32::MAX).await);
    }

    /// Edits the job once, and answers it as it is then; not for what ends the attempt.
    pub(super) async fn edit(&self, changes: &Document) -> Result<Document, Failed> {
        self.classify(self.try_to_edit(changes).await).await
    }

    /// Writes what ends the job, without what the server refuses of it: the plainest edit that is taken ends it.
    ///
    /// A refusal is no outage: the same request is refused again, for ever.
    pub(super) async fn finish(&self, changes: &Document) -> Result<(), AttemptEnd> {
        let end = match self.finish_with(changes).await {
            Err(end) if end.is_about_the_job() => end,
            finished => return finished,
        };
        let cause = end.cause.as_deref().map_or_else(String::new, |cause| with_causes(cause));
        warn!(cause, "the final report was refused, writing a shortened one");
        match self.finish_with(&edits::state_and_message(changes.clone(), &cause)).await {
            Err(end) if end.is_about_the_job() => self.finish_with(&edits::state_alone(changes)).await,
            finished => finished,
        }
    }

    /// A write that ends the job; given up when the claim is lost or the executor has to end.
    async fn finish_with(&self, changes: &Document) -> Result<(), AttemptEnd> {
        let has_to_end = async {
            self.executor.interrupted.cancelled().await;
            sleep(LAST_WRITE).await;
        };
        let answer = tokio::select! {
            biased;
            () = self.claim.lost() => return Err(EndKind::ClaimLost.into()),
            answer = self.retry(|| self.executor.batcher.end(&self.client, &self.identity, changes), u32::MAX) => answer,
            () = has_to_end => return Err(EndKind::Undelivered.into()),
        };
        answer.map_err(|failed| self.ended_by(failed, Phase::Begun))
    }

    /// Hands in what the attempt's program printed last, where the server takes that. Nothing depends on it.
    pub(super) async fn hand_in(&self, lines: Vec<String>) {
        if lines.is_empty() || !self.executor.batcher.takes_reports() {
            return;
        }
        let printed = Printed::last(lines);
        let answer = tokio::select! {
            biased;
            () = self.claim.lost() => return,
            answer = timeout(LAST_WRITE, self.client.operation_with(self.job(), OUTPUT, &printed)) => answer,
        };
        if let Ok(Err(error)) = answer {
            let cause = with_causes(&error);
            debug!(cause, "the server does not take the output");
        }
    }

    /// A stop was asked for, and nothing runs any more.
    pub(super) async fn confirm_stop(&self) -> AttemptEnd {
        self.finish_with(&edits::state(State::Stopped)).await.err().unwrap_or(EndKind::StoppedElsewhere.into())
    }

    /// Sets QUEUED, so that the job waits again, and answers whether the server has confirmed that. If not, the entry is
    /// given back all the same: the next attempt finds the job RUNNING.
    pub(super) async fn requeue(&self) -> Result<bool, AttemptEnd> {
        let queued = edits::state(State::Queued);
        // in a request of its own: it must not wait behind one that hangs
        let answer = tokio::select! {
            biased;
            () = self.claim.lost() => return Err(EndKind::ClaimLost.into()),
            answer = timeout(LAST_WRITE, self.client.edit(self.job(), &queued, &[])) => answer,
        };
        let error = match answer {
            Ok(Ok(_)) => return Ok(true),
            Ok(Err(error)) => error,
            Err(_) => return Ok(false),
        };
        let class = ErrorClass::of(&error, self.job());
        if class.ends_the_attempt() {
            return Err(self.ended_by(Failed { class, error }, Phase::Begun));
        }
        let cause = with_causes(&error);
        warn!(cause, "cannot set the job to QUEUED before releasing it");
        Ok(false)
    }

    /// The end of the attempt that a request leads to which failed for good.
    pub(super) fn ended_by(&self, Failed { class, error }: Failed, phase: Phase) -> AttemptEnd {
        match EndKind::of(class, phase) {
            // what a late lease means depends on whether the claim is still there
            EndKind::Late if self.claim.lost().now_or_never().is_some() => EndKind::ClaimLost.because(error),
            end => end.because(error),
        }
    }

    async fn try_to_read(&self) -> Result<Document, Error> {
        self.executor.batcher.read(&self.client, self.job()).await
    }

    async fn try_to_edit(&self, changes: &Document) -> Result<Document, Error> {
        self.executor.batcher.edit(&self.client, &self.identity, changes).await
    }

    /// Repeats a request with growing pauses, at most for the grace, while a later answer may be better. If CIMI answers other
    /// requests it is this job that cannot be had, which is tried `tries` times.
    async fn retry<T, F>(&self, request: impl Fn() -> F, mut tries: u32) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let begun = Instant::now();
        let left = || self.executor.options.cimi_grace.saturating_sub(begun.elapsed());
        let mut pauses = Pauses::default();
        loop {
            let answer = timeout(left(), request()).await.unwrap_or_else(|elapsed| {
                let request = format!("a request about {}", self.job());
                Err(Error::Unreachable { request, source: elapsed.into() })
            });
            let failed = match self.classify(answer).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if failed.class == ErrorClass::TryLater {
                tries -= 1;
            }
            if !failed.class.is_transient() || tries == 0 {
                return Err(failed);
            }
            let pause = async {
                match failed.class {
                    ErrorClass::OutOfReach => self.executor.api_health.until_retry().await,
                    _ => sleep(pauses.take()).await,
                }
            };
            tokio::select! {
                biased;
                () = sleep(left()) => return Err(failed),
                () = pause => {}
            }
        }
    }

    /// Classifies a failure, and lets the whole executor know whether CIMI answers: what one job is answered counts as an
    /// outage only if nothing else is answered either.
    async fn classify<T>(&self, answer: Result<T, Error>) -> Result<T, Failed> {
        let Executor { api_health, client, .. } = &**self.executor;
        let error = match answer {
            Ok(answer) => {
                api_health.answered();
                return Ok(answer);
            }
            Err(error) => error,
        };
        let mut class = ErrorClass::of(&error, self.job());
        if class != ErrorClass::OutOfReach {
            api_health.answered();
        } else if !api_health.is_down(client).await {
            class = ErrorClass::TryLater;
        }
        Err(Failed { class, error })
    }
}

/// The span of an attempt, so that each of its lines in the log names it; its action comes in once it is known.
pub(super) fn span(attempt: &AttemptIdentity) -> Span {
    // at the highest level, so that no filter of the log takes the job's id away from a line that it lets through
    error_span!(
        "attempt",
        job = shown_id(attempt),
        action = Empty,
        lease = %attempt.lease,
        executor = attempt.executor
    )
}

/// The id of the attempt's job, for the log.
fn shown_id(attempt: &AttemptIdentity) -> String {
    attempt.job.chars().take(LONGEST_ID).collect()
}
