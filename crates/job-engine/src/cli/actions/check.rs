//! `slipstream-job actions check`: loads folders as an executor would.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, value_parser};
use jiff::SignedDuration;
use serde::Serialize;
use slipstream_cimi::overview::executors::loaded::{FailedToLoad, Kind};

use crate::actions::built_in;
use crate::cli::executors::failure;
use crate::cli::help::found_wrong;
use crate::cli::options;
use crate::cli::options::loading::{PythonOption, folder_of_up, folders_of_a_site, named_folders};
use crate::cli::spinner::Spinner;
use crate::cli::terminal::{self, Screen, one_line};
use crate::cli::watch;
use crate::config::Config;
use crate::executor::load::provider::{DEFAULT_STOP_GRACE, Limits, Terms};
use crate::executor::load::settings::Loading;
use crate::executor::offers::Offers;
use crate::executor::providers::Providers;
use crate::process::clock::Clock;
use crate::process::registry::host_name;
use crate::process::stop::Stop;
use crate::programs::context::Context;
use crate::programs::directories::WorkDir;
use crate::programs::keepers::Keepers;
use crate::programs::python::write_package;

/// Something failed to load.
const FAILED: u8 = 1;
/// Most lines of an action: its limits may be many.
const MOST_LINES: usize = 3;

/// What `check` is asked for.
#[derive(Debug, Args)]
#[command(after_help = found_wrong!("slipstream-job actions check ~/actions"))]
pub struct CheckArguments {
    /// Folders, as those of one executor [default: those of `up`, then those of `executor`]
    #[arg(value_name = "DIR", value_delimiter = ':', value_parser = value_parser!(OsString), env = "SLIPSTREAM_ACTIONS_DIR")]
    folders: Vec<OsString>,
    #[command(flatten)]
    python: PythonOption,
    /// Print JSON: the actions, and what failed to load
    #[arg(long)]
    json: bool,
}

/// Shows what the folders offer, and what is wrong there.
pub async fn run(arguments: &CheckArguments, config: &Config) -> anyhow::Result<ExitCode> {
    let named = named_folders(&arguments.folders, "the name")?;
    let executors = if named.is_empty() { usual_folders(config)? } else { vec![named] };
    // before anything is there that a signal would leave behind
    let stop = watch::stop_on_signals()?;
    let keepers =
        Keepers::of_executor().context("cannot prepare this process for programs, allow it the system call prctl")?;
    let mut checked = Checked::default();
    for folders in executors.clone() {
        let loading = Loading { folders, only: None, python: arguments.python.wanted()?, work_dir: None };
        checked.add(Spinner::on("loading").during(load(&loading, keepers.clone(), &stop)).await?);
    }
    let has_failed = !checked.failed.is_empty();
    terminal::print(&if arguments.json {
        serde_json::to_string_pretty(&checked)?
    } else {
        let looked_at: Vec<PathBuf> = executors.into_iter().flatten().collect();
        checked.render(&looked_at, Screen::standard_output())
    })?;
    Ok(if has_failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// What an executor with these folders would have. Each host is started and asked.
async fn load(loading: &Loading, keepers: Keepers, stop: &Stop) -> anyhow::Result<Checked> {
    let work_dir = WorkDir::temporary()?;
    let context = Arc::new(Context { keepers, work_dir, api_socket: None, executor: host_name() });
    let native = built_in(Clock::system());
    let package = write_package(context.work_dir.path()).context("cannot write the Python package for actions")?;
    let providers = Providers::start(loading, package, &native, &context, &context.setup(1));
    let checked = tokio::select! {
        biased;
        () = stop.asked() => Err(anyhow!("stopped before all had said what they have")),
        () = providers.settled() => Ok(Checked::of(&providers.offered().now())),
    };
    providers.stop().await;
    checked
}

/// Those of `up`, and those of `executor`: each process reads its own.
fn usual_folders(config: &Config) -> anyhow::Result<Vec<Vec<PathBuf>>> {
    Ok(vec![vec![folder_of_up(&options::data_dir(None)?)], folders_of_a_site(config)?])
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Checked {
    actions: Vec<Action>,
    failed: Vec<Wrong>,
}

/// An action that would be there.
#[derive(Debug, Serialize)]
struct Action {
    #[serde(rename = "action")]
    name: String,
    kind: Kind,
    file: String,
    /// Name and version of the host that has it.
    version: Option<String>,
    /// What it may take and use, as far as its manifest says so.
    limits: Vec<String>,
    /// Whether the engine has an action of this name.
    replaces_built_in: bool,
}

/// What failed to load.
#[derive(Debug, Serialize)]
struct Wrong {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    reason: String,
}

impl Checked {
    fn of(offers: &Offers) -> Self {
        let offered = offers.actions.iter().filter(|(_, offer)| offer.kind != Kind::Native);
        let actions = offered.map(|(name, offer)| Action {
            name: name.clone(),
            kind: offer.kind,
            file: offer.file.as_deref().unwrap_or(Path::new("")).display().to_string(),
            version: offer.runner.version(),
            limits: limits(&offer.terms, offer.runner.program().map(|program| &program.limits)),
            replaces_built_in: offers.built_in.contains(name),
        });
        let failed = offers.failed.iter().map(|FailedToLoad { file, line, reason }| Wrong {
            file: file.display().to_string(),
            line: *line,
            reason: reason.clone(),
        });
        Self { actions: actions.collect(), failed: failed.collect() }
    }

    fn add(&mut self, other: Self) {
        self.actions.extend(other.actions);
        self.failed.extend(other.failed);
    }

    fn render(&self, looked_at: &[PathBuf], screen: Screen) -> String {
        if self.actions.is_empty() && self.failed.is_empty() {
            let folders: Vec<String> = looked_at.iter().map(|folder| folder.display().to_string()).collect();
            return screen.wrapped(&format!("no actions in {}", folders.join(", ")), 0);
        }
        let mut parts = self.by_folder(screen);
        let replaced = self.actions.iter().filter(|action| action.replaces_built_in).map(|it| one_line(&it.name));
        let replaced: Vec<String> =
            replaced.map(|name| format!("{name} takes the place of the built-in action")).collect();
        parts.extend((!replaced.is_empty()).then(|| replaced.join("\n")));
        if !self.failed.is_empty() {
            let failed = self.failed.iter().map(|Wrong { file, line, reason }| {
                let failed = FailedToLoad { file: Path::new(file).to_owned(), line: *line, reason: reason.clone() };
                failure(None, &failed, screen)
            });
            let lines = std::iter::once(screen.bold("failed to load")).chain(failed);
            parts.push(lines.collect::<Vec<_>>().join("\n"));
        }
        parts.join("\n\n")
    }

    /// A table for each folder, as most paths are long.
    fn by_folder(&self, screen: Screen) -> Vec<String> {
        let mut folders: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        for action in &self.actions {
            let (folder, file) = action.place();
            let version = action.version.as_deref().map(one_line).unwrap_or_default();
            let row = vec![
                one_line(&action.name),
                action.kind.to_string(),
                one_line(&file),
                version,
                action.limits.join(", "),
            ];
            folders.entry(one_line(&folder)).or_default().push(row);
        }
        let titles = ["ACTION", "KIND", "FILE", "VERSION", "LIMITS"];
        let table =
            |(folder, rows)| format!("{folder}\n{}", screen.tall_listing(&titles, &[0, 2, 3, 4], rows, MOST_LINES));
        folders.into_iter().map(table).collect()
    }
}

impl Action {
    /// Its folder, and its file there.
    fn place(&self) -> (String, String) {
        match self.file.rsplit_once('/') {
            Some((folder, file)) => (folder.to_owned(), file.to_owned()),
            None => (String::new(), self.file.clone()),
        }
    }
}

/// What differs from what is usual.
fn limits(terms: &Terms, limits: Option<&Limits>) -> Vec<String> {
    let limits = limits.cloned().unwrap_or_default();
    let grace = Some(terms.stop_grace).filter(|grace| *grace != DEFAULT_STOP_GRACE);
    let all = [
        terms.time_limit.map(|limit| format!("time {}", duration(limit))),
        grace.map(|grace| format!("grace {}", duration(grace))),
        limits.memory.map(|bytes| format!("memory {}", size(bytes))),
        limits.cpu_time.map(|limit| format!("cpu {}", duration(limit))),
        limits.open_files.map(|files| format!("files {files}")),
    ];
    all.into_iter().flatten().collect()
}

fn duration(duration: Duration) -> String {
    SignedDuration::try_from(duration).map_or_else(|_| "long".to_owned(), |duration| format!("{duration:#}"))
}

/// In the largest unit of which it is a whole number.
fn size(bytes: u64) -> String {
    let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{} {name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(name: &str, kind: Kind, file: &str, version: Option<&str>, limits: &[&str]) -> Action {
        Action {
            name: name.to_owned(),
            kind,
            file: format!("/data/jane/.local/share/slipstream-job/actions/{file}"),
            version: version.map(str::to_owned),
            limits: limits.iter().map(ToString::to_string).collect(),
            replaces_built_in: name == "noop",
        }
    }

    #[test]
    fn what_loads_and_what_does_not_fits_80_columns() {
        let python = Some("slipstream-python 0.1.0, CPython 3.11.7");
        let size = "`memory`: `1 GB` is not a size, write a whole number of KiB, MiB, GiB or TiB, such as \"512 MiB\"";
        let checked = Checked {
            actions: vec![
                action(
                    "backup-everything",
                    Kind::Command,
                    "m.toml",
                    None,
                    &["time 2h", "grace 1m 30s", "memory 1 GiB"],
                ),
                action("noop", Kind::Command, "noop.sh", None, &[]),
                action("collect", Kind::Python, "quotas.py", python, &[]),
            ],
            failed: vec![Wrong {
                file: "/data/jane/.local/share/slipstream-job/actions/m.toml".to_owned(),
                line: Some(16),
                reason: size.to_owned(),
            }],
        };
        let expected = "\
/data/jane/.local/share/slipstream-job/actions
ACTION             KIND     FILE       VERSION               LIMITS
backup-everything  command  m.toml                           time 2h, grace 1m
                                                             30s, memory 1 GiB
noop               command  noop.sh
collect            python   quotas.py  slipstream-python
                                       0.1.0, CPython
                                       3.11.7

noop takes the place of the built-in action

failed to load
  /data/jane/.local/share/slipstream-job/actions/m.toml:16
      `memory`: `1 GB` is not a size, write a whole number of KiB, MiB, GiB or
      TiB, such as \"512 MiB\"";
        assert_eq!(checked.render(&[], Screen { width: Some(80), colours: false }), expected);
    }

    #[test]
    fn where_nothing_is_it_is_said_where_was_looked() {
        let shown = Checked::default().render(&["/srv/actions".into()], Screen { width: Some(80), colours: false });
        assert_eq!(shown, "no actions in /srv/actions");
    }

    #[test]
    fn limits_are_shown_as_people_write_them() {
        let seconds = Duration::from_secs;
        let terms = Terms { time_limit: Some(seconds(5400)), stop_grace: Duration::ZERO };
        let some = Limits { memory: Some(1536 << 20), cpu_time: Some(seconds(90)), open_files: Some(64) };
        assert_eq!(
            limits(&terms, Some(&some)),
            ["time 1h 30m", "grace 0s", "memory 1536 MiB", "cpu 1m 30s", "files 64"]
        );
        assert!(limits(&Terms::default(), None).is_empty());
    }
}
