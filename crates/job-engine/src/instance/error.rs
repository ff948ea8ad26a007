//! [`InstanceError`]: why an instance does not start, or has ended.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use slipstream_store::sqlite::OpenError;
use slipstream_store::{StoreError, files};
use tokio::task::JoinError;

/// Why an instance does not start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// There is no place for a temporary folder.
    #[error("cannot create a temporary folder")]
    Temporary(#[source] io::Error),
    /// Another instance uses the data directory.
    #[error("another engine uses the data directory {}", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The data directory cannot be made.
    #[error("cannot create the data directory {}", path.display())]
    Make {
        /// The data directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file of the password is there, without one.
    #[error("{} is empty: write a password into it, or remove it to generate one", path.display())]
    EmptyPassword {
        /// The file.
        path: PathBuf,
    },
    /// The file that is to have the password has none.
    #[error("the first line of {} is empty: it must be the password of the user super", path.display())]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// The password in the environment is no text.
    #[error("{variable} is not UTF-8")]
    NotText {
        /// The environment variable.
        variable: &'static str,
    },
    /// The operating system refuses a file.
    #[error("cannot {what} {}{}", path.display(), files::who_may(source, path))]
    Refused {
        /// What was tried, e.g. `open`.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The API cannot listen.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where it should.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A part of the engine has ended while it was needed.
    #[error("a part of the engine ended unexpectedly")]
    EndedEarly(#[source] Option<JoinError>),
    /// A part of the engine has panicked.
    #[error("a part of the engine crashed")]
    Crashed(#[source] JoinError),
    /// Nothing can be stored any more. What was answered is on disk.
    #[error("the store crashed: see the log, and start again")]
    Broken,
    /// The store cannot be closed. What was answered is on disk all the same.
    #[error("cannot close the store")]
    Close(#[source] StoreError),
}

/// Names what was refused.
pub(super) fn refused(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstanceError {
    let path = path.to_owned();
    move |source| InstanceError::Refused { what, path, source }
}
