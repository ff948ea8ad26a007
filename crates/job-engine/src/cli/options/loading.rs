//! Options that say where an executor's programs come from.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, value_parser};

use crate::cli::faults::{Said, placed};
use crate::config::{Config, Value};
use crate::executor::load::settings::{DEFAULT_PYTHON, Loading};

/// Where an executor on a site looks for actions: those of packages, then those of the site.
const SITE_FOLDERS: [&str; 2] = ["/usr/lib/slipstream/actions", "/etc/slipstream/actions"];
/// Where a distributor on a site looks for scripts.
const SITE_SCRIPTS: [&str; 2] = ["/usr/lib/slipstream/distributors", "/etc/slipstream/distributors"];
/// Below the data directory of `up`: folder of scripts.
const OWN_SCRIPTS: &str = "distributors";
/// Below the data directory of `up`: folder of actions, and where programs work.
const OWN_FOLDER: &str = "actions";
const OWN_WORK: &str = "work";
/// Where systemd lets a service keep things (`systemd.exec`, `StateDirectory=`).
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// Where an executor's programs come from.
#[derive(Debug, Args)]
pub struct LoadingOptions {
    /// Folder of actions; may be repeated [default: actions below /usr/lib/slipstream and /etc/slipstream; of `up`:
    /// DIR/actions]
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ':',
        value_parser = value_parser!(OsString),
        env = "SLIPSTREAM_ACTIONS_DIR"
    )]
    actions_dir: Vec<OsString>,
    #[command(flatten)]
    python: PythonOption,
    /// Below which programs have their working directories [default: that of the service, or a temporary folder; of `up`:
    /// DIR/work]
    #[arg(long, value_name = "DIR", value_parser = value_parser!(OsString), env = "SLIPSTREAM_WORK_DIR")]
    work_dir: Option<OsString>,
}

/// Where an executor of this machine looks for actions.
pub fn folders_of_a_site(config: &Config) -> anyhow::Result<Vec<PathBuf>> {
    let written = config.value("executor", "actions-dir").map(Value::words).unwrap_or_default();
    let words = written.iter().flat_map(|word| word.split(':')).map(OsString::from);
    let named = placed(named_folders(&words.collect::<Vec<_>>(), "actions-dir"), &Said::all(config))?;
    Ok(if named.is_empty() { SITE_FOLDERS.map(PathBuf::from).into() } else { named })
}

/// Which Python runs class files.
#[derive(Debug, Args)]
pub struct PythonOption {
    /// Python interpreter of actions and distributors in Python [default: python3]
    #[arg(long, value_name = "FILE", value_parser = value_parser!(OsString), env = "SLIPSTREAM_PYTHON")]
    python: Option<OsString>,
}

/// Where scripts that are distributors come from.
#[derive(Debug, Args)]
pub struct ScriptOptions {
    /// Folder of distributor scripts, named `job_distributor_NAME.py`; may be repeated [default: distributors below /usr/lib/slipstream
    /// and /etc/slipstream; of `up`: DIR/distributors]
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ':',
        value_parser = value_parser!(OsString),
        env = "SLIPSTREAM_DISTRIBUTORS_DIR"
    )]
    distributors_dir: Vec<OsString>,
}

impl ScriptOptions {
    /// For `up`, which has its own folder in its data directory.
    pub fn of_up(&self, data_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
        self.wanted(&[data_dir.join(OWN_SCRIPTS)])
    }

    /// For a distributor on a site.
    pub fn of_a_site(&self) -> anyhow::Result<Vec<PathBuf>> {
        self.wanted(&SITE_SCRIPTS.map(PathBuf::from))
    }

    fn wanted(&self, folders: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
        let named = named_folders(&self.distributors_dir, "--distributors-dir")?;
        if named.is_empty() { folders.iter().map(|path| absolute(path.as_os_str())).collect() } else { Ok(named) }
    }
}

impl PythonOption {
    /// A path from the root, or a name that is looked up in `PATH`.
    pub fn wanted(&self) -> anyhow::Result<PathBuf> {
        let python = given(self.python.as_deref()).unwrap_or(OsStr::new(DEFAULT_PYTHON));
        let is_path = Path::new(python).components().count() > 1;
        if is_path { absolute(python) } else { Ok(python.into()) }
    }
}

/// Below which programs of a service work; without it in a temporary folder.
pub fn work_of_a_site() -> Option<PathBuf> {
    std::env::var_os(STATE_DIRECTORY).as_deref().and_then(first_of)
}

impl LoadingOptions {
    /// For `up`, which has its own folders in its data directory.
    pub fn of_up(&self, data_dir: &Path) -> anyhow::Result<Loading> {
        self.wanted(&[folder_of_up(data_dir)], Some(data_dir.join(OWN_WORK)))
    }

    /// For an executor on a site.
    pub fn of_a_site(&self) -> anyhow::Result<Loading> {
        self.wanted(&SITE_FOLDERS.map(PathBuf::from), work_of_a_site())
    }

    fn wanted(&self, folders: &[PathBuf], work_dir: Option<PathBuf>) -> anyhow::Result<Loading> {
        let named = named_folders(&self.actions_dir, "--actions-dir")?;
        let usual = || folders.iter().map(|path| absolute(path.as_os_str())).collect::<Result<_, _>>();
        Ok(Loading {
            folders: if named.is_empty() { usual()? } else { named },
            only: None,
            python: self.python.wanted()?,
            work_dir: match given(self.work_dir.as_deref()) {
                Some(path) => Some(absolute(path)?),
                None => work_dir.map(|path| absolute(path.as_os_str())).transpose()?,
            },
        })
    }
}

/// The folder of actions of an `up` with this data directory.
pub fn folder_of_up(data_dir: &Path) -> PathBuf {
    data_dir.join(OWN_FOLDER)
}

/// Folders that somebody names, who is told which of them is not there, and what to correct.
pub fn named_folders(names: &[OsString], option: &str) -> anyhow::Result<Vec<PathBuf>> {
    let names = names.iter().filter(|name| !name.is_empty());
    let folders: Vec<PathBuf> = names.map(|name| absolute(name)).collect::<Result<_, _>>()?;
    match folders.iter().find(|folder| !folder.is_dir()) {
        Some(missing) => bail!("there is no folder {}: make it, or correct {option}", missing.display()),
        None => Ok(folders),
    }
}

/// Programs run in folders of their own, so that a relative path would mean something else to them.
fn absolute(path: &OsStr) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))
}

/// A variable that is set to nothing gives nothing.
fn given(text: Option<&OsStr>) -> Option<&OsStr> {
    text.filter(|text| !text.is_empty())
}

/// The folder for work in the first of the state directories, which systemd separates by colons.
fn first_of(state: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(state).find(|path| path.is_absolute()).map(|path| path.join(OWN_WORK))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        loading: LoadingOptions,
    }

    fn options(words: &[&str]) -> LoadingOptions {
        Command::try_parse_from([&["command"], words].concat()).unwrap().loading
    }

    #[test]
    fn without_options_everything_lies_where_it_usually_does() {
        let up = options(&[]).of_up(Path::new("/data")).unwrap();
        let expected = Loading {
            folders: vec!["/data/actions".into()],
            only: None,
            python: "python3".into(),
            work_dir: Some("/data/work".into()),
        };
        assert_eq!(up, expected);
        let site = options(&[]).wanted(&SITE_FOLDERS.map(PathBuf::from), None).unwrap();
        let folders = ["/usr/lib/slipstream/actions", "/etc/slipstream/actions"].map(PathBuf::from);
        assert_eq!((&site.folders[..], site.work_dir), (&folders[..], None));
        let here = options(&[]).of_up(Path::new("data")).unwrap();
        assert_eq!(here.folders, [std::env::current_dir().unwrap().join("data/actions")]);
        assert_eq!(first_of(OsStr::new("/var/lib/a:/var/lib/b")), Some("/var/lib/a/work".into()));
        assert_eq!(first_of(OsStr::new("")), None);
    }

    #[test]
    fn folders_that_are_named_are_the_only_ones_and_have_to_be_there() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = |folder: &tempfile::TempDir| folder.path().to_str().unwrap().to_owned();
        let both = format!("{}:{}", text(&one), text(&other));
        for words in
            [vec!["--actions-dir", &*text(&one), "--actions-dir", &*text(&other)], vec!["--actions-dir", &*both]]
        {
            let found = options(&words).of_up(Path::new("/data")).unwrap();
            assert_eq!(found.folders, [one.path(), other.path()]);
        }
        let missing = format!("{}/missing", text(&one));
        let refused = options(&["--actions-dir", &missing]).of_a_site().unwrap_err().to_string();
        assert_eq!(refused, format!("there is no folder {missing}: make it, or correct --actions-dir"));
    }

    #[test]
    fn a_relative_path_is_seen_from_here_and_a_name_is_a_name() {
        let here = std::env::current_dir().unwrap();
        let found = options(&["--python", "venv/bin/python", "--work-dir", "w"]).of_up(Path::new("/data")).unwrap();
        assert_eq!((found.python, found.work_dir), (here.join("venv/bin/python"), Some(here.join("w"))));
        let found = options(&["--python", "python3.9", "--work-dir", ""]).of_up(Path::new("/data")).unwrap();
        assert_eq!((found.python, found.work_dir), ("python3.9".into(), Some("/data/work".into())));
    }
}
