//! [`Context`]: what all programs of an executor are started with.

use std::path::Path;

use slipstream_action::JobHandle;
use slipstream_action::protocol::{Setup, VERSION};
use tokio::task::spawn_blocking;
use tracing::warn;

use super::api_socket::{Admission, ApiSocket, OwnJob};
use super::directories::{Directory, WorkDir, WorkDirError};
use super::keepers::Keepers;

/// What all programs of an executor, or the script of a distributor, share.
#[derive(Debug)]
pub struct Context {
    /// Who watches over them.
    pub keepers: Keepers,
    /// Where they work.
    pub work_dir: WorkDir,
    /// Where they ask the server; none if they cannot.
    pub api_socket: Option<ApiSocket>,
    /// Name of the executor.
    pub executor: String,
}

/// Why no programs can be started.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// There is no folder for them.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// There is no socket for them.
    #[error(
        "cannot make the socket by which programs ask the server: set XDG_RUNTIME_DIR to a folder with a short path"
    )]
    Socket(#[source] std::io::Error),
}

impl Context {
    /// A folder below `root`, or a temporary one, and a socket. Needs a runtime.
    pub fn open(root: Option<&Path>, keepers: Keepers, executor: String) -> Result<Self, ContextError> {
        let work_dir = root.map_or_else(WorkDir::temporary, WorkDir::open)?;
        let api_socket = Some(ApiSocket::start().map_err(ContextError::Socket)?);
        Ok(Self { keepers, work_dir, api_socket, executor })
    }

    /// What a host is told first, but for what only its caller knows.
    pub(crate) fn setup(&self, threads: usize) -> Setup {
        Setup {
            protocols: vec![VERSION],
            engine: concat!("slipstream-job ", env!("CARGO_PKG_VERSION")).to_owned(),
            executor: self.executor.clone(),
            dialect: "slipstream".to_owned(),
            threads,
            socket: self.socket(),
            ..Setup::default()
        }
    }

    /// Path of the socket, as programs are told it.
    pub(crate) fn socket(&self) -> Option<String> {
        self.api_socket.as_ref().map(|socket| socket.path().to_string_lossy().into_owned())
    }

    /// Lets the program that does a job ask the server.
    pub(crate) fn admit(&self, job: &JobHandle) -> Option<Admission> {
        let own = OwnJob { id: job.job().id.clone() };
        self.api_socket.as_ref().map(|socket| socket.admit(job.client().clone(), Some(own)))
    }

    /// Removes a directory, which may hold much, where nobody waits for it.
    pub(crate) async fn clear(&self, directory: Directory) {
        if let Err(error) = spawn_blocking(move || drop(directory)).await {
            warn!(%error, "cannot remove the files of an action");
        }
    }
}
