//! [`Loading`] and [`Settings`]: where an executor's programs come from.

use std::path::PathBuf;

/// The interpreter of class files, unless somebody says otherwise.
pub const DEFAULT_PYTHON: &str = "python3";

/// Where an executor's programs come from, and where they work. By default it has none, as an engine within another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// Folders of actions. One that is missing offers nothing.
    pub folders: Vec<PathBuf>,
    /// Of what they offer, only this file; without it, all.
    pub only: Option<PathBuf>,
    /// The interpreter of class files: a path, or a name that is looked up in `PATH`.
    pub python: PathBuf,
    /// Below which its programs work; without one in a temporary folder that goes with the executor.
    pub work_dir: Option<PathBuf>,
}

impl Default for Loading {
    fn default() -> Self {
        Self { folders: Vec::new(), only: None, python: PathBuf::from(DEFAULT_PYTHON), work_dir: None }
    }
}

/// What [`read_folders`](super::folders::read_folders) reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// As in [`Loading`].
    pub folders: Vec<PathBuf>,
    /// As in [`Loading`].
    pub only: Option<PathBuf>,
    /// As in [`Loading`].
    pub python: PathBuf,
    /// The folder in which the Python package `slipstream_host` lies.
    pub package: PathBuf,
}

impl Settings {
    /// These folders, with the Python package in that one.
    #[must_use]
    pub fn of(loading: &Loading, package: PathBuf) -> Self {
        let Loading { folders, only, python, .. } = loading.clone();
        Self { folders, only, python, package }
    }
}
