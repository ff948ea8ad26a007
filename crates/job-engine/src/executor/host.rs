//! [`Runner`]: who does the jobs of an action, code of this process or a program.

mod command;
mod conversation;
pub mod pool;

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, mem};

use jiff::Timestamp;
use slipstream_action::{Action, Failure, JobHandle, Success};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::programs::program::Program;

pub use self::command::Command;
pub use self::pool::Pool;
use crate::process::activity::slot::AttemptNotes;
use crate::programs::api_socket::Admission;

/// Who does the jobs of an action.
#[derive(Clone)]
pub enum Runner {
    /// Code in this process.
    Native(Arc<dyn Action>),
    /// A program that is started for each job.
    Command(Arc<Command>),
    /// A program that does one job after the other.
    Hosted(Arc<Pool>),
}

impl Runner {
    /// What is started; nothing for code in this process.
    pub(crate) fn program(&self) -> Option<&Program> {
        match self {
            Self::Native(_) => None,
            Self::Command(command) => Some(&command.provider().program),
            Self::Hosted(pool) => Some(&pool.provider().program),
        }
    }

    /// Name and version of a host, as it has said it.
    pub(crate) fn version(&self) -> Option<String> {
        match self {
            Self::Hosted(pool) => pool.known().borrow().hello.as_ref().map(|hello| hello.program.clone()),
            Self::Native(_) | Self::Command(_) => None,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The action did.
    Ended(Result<Success, Failure>),
    /// It gives the job back, or could not begin, for this reason.
    Released(String),
    /// The job goes on elsewhere, without an executor.
    Left,
}

/// What the program of a run printed last, for whoever looks at a job that did not succeed. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output(Arc<Mutex<Vec<String>>>);

impl Output {
    /// The last lines, oldest first.
    pub(crate) fn set(&self, lines: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    /// Takes them out.
    pub(crate) fn take(&self) -> Vec<String> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A job for a program.
#[derive(Clone)]
pub(crate) struct Run {
    /// The job as it was before this attempt, and the way for its reports.
    pub(crate) job: JobHandle,
    /// When its time limit is over.
    pub(crate) deadline: Option<Timestamp>,
    /// How long it may take to end once it is stopped.
    pub(crate) stop_grace: Duration,
    /// Where its last lines go.
    pub(crate) output: Output,
    /// Address of the API for this attempt; empty if its program cannot ask the server.
    pub(crate) api: String,
    /// For whoever asks what the executor is doing.
    pub(crate) notes: Arc<AttemptNotes>,
    /// What its lines in the log are about.
    pub(crate) about: Span,
}

impl Runner {
    /// Does a job by a program. Ends when nothing of it is left, or it is ready for the next, and what it reported is written;
    /// `gone` is cancelled between the two.
    pub(crate) async fn run(&self, mut run: Run, gone: &CancellationToken) -> Outcome {
        let context = match self {
            Self::Native(_) => unreachable!("it runs among the actions"),
            Self::Command(command) => command.context(),
            Self::Hosted(pool) => pool.context(),
        };
        let admission = context.admit(&run.job);
        if let Some(admission) = &admission {
            admission.note_progress_in(run.notes.clone());
        }
        run.api = admission.as_ref().map(Admission::api).unwrap_or_default();
        let outcome = match self {
            Self::Native(_) => unreachable!("it runs among the actions"),
            Self::Command(command) => command.run(&run).await,
            Self::Hosted(pool) => pool.run(run).await,
        };
        gone.cancel();
        if let Some(admission) = admission {
            admission.close().await;
        }
        outcome
    }
}

/// Ends then, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native(_) => "Native",
            Self::Command(_) => "Command",
            Self::Hosted(_) => "Hosted",
        })
    }
}
