//! [`EngineError`]: what can go wrong with an engine.

use crate::instance::error::InstanceError;
use crate::programs::context::ContextError;
use crate::server::StartError;
use crate::server::reconcile::{ReconcileError, RestoreError};

/// Why an engine does not start, does not do what it was asked for, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The name of two actions.
    #[error("two actions are called {name}")]
    SameName {
        /// Their name.
        name: String,
    },
    /// The data directory, the store or the listener; another engine may be using the data directory.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The threads of actions do not start.
    #[error("cannot start the threads of actions")]
    Threads(#[source] std::io::Error),
    /// No programs can be started.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The files that programs need cannot be written.
    #[error("cannot write the Python package for actions, check the folder given by --work-dir")]
    Programs(#[source] std::io::Error),
    /// The jobs that wait cannot be queued again.
    #[error(transparent)]
    Queue(#[from] RestoreError),
    /// Those that had no entry cannot be queued.
    #[error("cannot queue the waiting jobs")]
    Reconcile(#[source] ReconcileError),
    /// The server does not start.
    #[error(transparent)]
    Server(#[from] StartError),
    /// Somebody asked to stop before everything had started.
    #[error("stopped before it had started")]
    Stopped,
    /// A request to the engine has no good answer.
    #[error(transparent)]
    Request(#[from] slipstream_cimi::Error),
    /// Somebody deleted the job that is waited for.
    #[error("{id} was deleted")]
    Deleted {
        /// The job.
        id: String,
    },
    /// The engine has ended: nothing more will happen to the job that is waited for.
    #[error("the engine has ended")]
    Ended,
}
