//! [`Run`]: one run of an action, wherever its code is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use slipstream_action::{Failure, JobHandle, Success};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span};

use super::host;
use super::host::{Outcome, Output, Runner};
use super::offers::Offer;
use super::runtime::{ActionRuntime, Broken, Running};
use crate::process::activity::slot::AttemptNotes;
use crate::process::clock::Clock;
use crate::process::supervise::panic_message;

/// How long an aborted action may take to reach its next await, and a killed program to be gone.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// How a run ended.
pub(super) type Joined = Outcome;

/// A run under way.
pub(super) enum Run {
    /// In this process, among the actions.
    Native(Running<Result<Success, Failure>>),
    /// A program, which the engine itself looks after.
    Program(Program),
}

/// The run of a program.
pub(super) struct Program {
    outcome: AbortOnDropHandle<Outcome>,
    /// Cancelled when nothing of it is left: then only what it reported is still being written.
    gone: CancellationToken,
}

impl Program {
    fn begin(runner: Runner, run: host::Run) -> Self {
        let gone = CancellationToken::new();
        let ends = gone.clone();
        let run = async move { runner.run(run, &ends).await }.in_current_span();
        let outcome = AbortOnDropHandle::new(tokio::spawn(run));
        Self { outcome, gone }
    }
}

impl Run {
    /// Begins to do a job. `slow` is called if native code blocks.
    pub(super) async fn begin(
        offer: &Offer,
        job: JobHandle,
        runtime: &ActionRuntime,
        clock: &Clock,
        output: &Output,
        slow: Arc<impl Fn(Duration) + Send + Sync + 'static>,
        notes: &Arc<AttemptNotes>,
    ) -> Self {
        let Runner::Native(action) = &offer.runner else {
            return Self::Program(Program::begin(offer.runner.clone(), host_run(offer, job, clock, output, notes)));
        };
        let action = action.clone();
        let run = async move { action.run(job).await }.in_current_span();
        Self::Native(runtime.begin(run, slow, notes.clone()).await)
    }

    /// Waits for a run that was told to end, for as long as it may take; then ends it. `None` if not even that does. What a program
    /// has reported may be written later: that has a limit of its own.
    pub(super) async fn cancelled(&mut self, stop_grace: Duration) -> Option<Joined> {
        let grace = match self {
            Self::Native(_) => stop_grace,
            // it kills the program by itself then
            Self::Program(_) => stop_grace + ABORT_GRACE,
        };
        if let Ok(joined) = timeout(grace, &mut *self).await {
            return Some(joined);
        }
        if let Self::Native(action) = self {
            action.abort();
        }
        if !self.has_gone()
            && let Ok(joined) = timeout(ABORT_GRACE, &mut *self).await
        {
            return Some(joined);
        }
        if self.has_gone() { Some(self.await) } else { None }
    }

    /// Whether it is a program of which nothing is left.
    fn has_gone(&self) -> bool {
        matches!(self, Self::Program(program) if program.gone.is_cancelled())
    }
}

fn host_run(offer: &Offer, job: JobHandle, clock: &Clock, output: &Output, notes: &Arc<AttemptNotes>) -> host::Run {
    let deadline = offer.terms.time_limit.and_then(|limit| clock.now().checked_add(limit).ok());
    host::Run {
        job,
        deadline,
        stop_grace: offer.terms.stop_grace,
        output: output.clone(),
        api: String::new(),
        notes: notes.clone(),
        about: Span::current(),
    }
}

impl Future for Run {
    type Output = Joined;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Joined> {
        let broken = |broken| Outcome::Ended(Err(failure(broken)));
        Poll::Ready(match self.get_mut() {
            Self::Native(action) => ready!(Pin::new(action).poll(context)).map_or_else(broken, Outcome::Ended),
            Self::Program(program) => ready!(Pin::new(&mut program.outcome).poll(context))
                .unwrap_or_else(|error| broken(error.try_into_panic().map_or(Broken::Aborted, Broken::Panicked))),
        })
    }
}

/// A panic is a failure with the panic's message.
fn failure(broken: Broken) -> Failure {
    match broken {
        Broken::Aborted => Failure::new("the action was aborted"),
        Broken::Panicked(panic) => Failure::new(panic_message(&*panic)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn program(gone: &CancellationToken, run: impl Future<Output = Outcome> + Send + 'static) -> Run {
        Run::Program(Program { outcome: AbortOnDropHandle::new(tokio::spawn(run)), gone: gone.clone() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_has_gone_has_ended_however_long_its_reports_take() {
        let stop_grace = Duration::from_secs(5);
        // at once, and when it has been aborted
        for goes_after in [Duration::ZERO, stop_grace + ABORT_GRACE + ABORT_GRACE / 2] {
            let gone = CancellationToken::new();
            let ends = gone.clone();
            let mut run = program(&gone, async move {
                tokio::time::sleep(goes_after).await;
                ends.cancel();
                tokio::time::sleep(Duration::from_mins(1)).await;
                Outcome::Left
            });
            assert_eq!(run.cancelled(stop_grace).await, Some(Outcome::Left), "{goes_after:?}");
        }
        let mut run = program(&CancellationToken::new(), pending());
        assert_eq!(run.cancelled(stop_grace).await, None, "it is still there");
    }
}
