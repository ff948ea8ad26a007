//! [`Context`]: what all programs of an executor are started with.

use tokio::task::spawn_blocking;
use tracing::warn;

use super::directories::{Directory, WorkDir};
use super::keepers::Keepers;

/// What all programs of an executor share.
#[derive(Debug)]
pub struct Context {
    /// Who watches over them.
    pub keepers: Keepers,
    /// Where they work.
    pub work_dir: WorkDir,
    /// Name of the executor.
    pub executor: String,
}

impl Context {
    /// Removes a directory, which may hold much, where nobody waits for it.
    pub(crate) async fn clear(&self, directory: Directory) {
        if let Err(error) = spawn_blocking(move || drop(directory)).await {
            warn!(%error, "cannot remove the files of an action");
        }
    }
}
