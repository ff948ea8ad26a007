//! [`EngineError`]: what can go wrong with an engine.

use std::net::SocketAddr;

use slipstream_store::StoreError;
use slipstream_store::sqlite::OpenError;
use tokio::task::JoinError;

use crate::instance::data_dir::DataDirError;
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
    /// There is no place for a temporary folder.
    #[error("cannot make a temporary folder")]
    Temporary(#[source] std::io::Error),
    /// The folder cannot be used; another engine may be using it.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// The threads of actions do not start.
    #[error("cannot start the threads of actions")]
    Threads(#[source] std::io::Error),
    /// The API cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where it should.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The jobs that wait cannot be queued again.
    #[error(transparent)]
    Queue(#[from] RestoreError),
    /// Those that had no entry cannot be queued.
    #[error("cannot queue the jobs that wait")]
    Reconcile(#[source] ReconcileError),
    /// The server does not start.
    #[error(transparent)]
    Server(#[from] StartError),
    /// Somebody asked to stop before everything had started.
    #[error("asked to stop before it had started")]
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
    /// A part of the engine has ended while it was needed.
    #[error("a part of the engine has ended before it was asked to")]
    EndedEarly(#[source] Option<JoinError>),
    /// A part of the engine has panicked.
    #[error("a part of the engine has crashed")]
    Crashed(#[source] JoinError),
    /// Nothing can be stored any more. What was answered is on disk.
    #[error("the store has crashed, its log says why: start again")]
    Broken,
    /// The store cannot be closed. What was answered is on disk all the same.
    #[error("cannot close the store")]
    Close(#[source] StoreError),
}
