//! `slipstream-job actions check`: loads folders as an executor would.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, value_parser};
use jiff::SignedDuration;
use serde::Serialize;

use crate::actions::built_in;
use crate::cli::executors::failure;
use crate::cli::help::found_wrong;
use crate::cli::options;
use crate::cli::options::loading::{PythonOption, SITE_FOLDERS, folder_of_up, named_folders};
use crate::cli::terminal::{self, Screen, one_line};
use crate::executor::load::folders::{Found, read_folders};
use crate::executor::load::provider::{DEFAULT_STOP_GRACE, Limits, Provider, Terms};
use crate::executor::load::settings::Settings;
use crate::process::clock::Clock;
use crate::process::registry::loaded::{FailedToLoad, Kind};

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
pub fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let named = named_folders(&arguments.folders, "the name")?;
    let python = arguments.python.wanted()?;
    let executors = if named.is_empty() { usual_folders()? } else { vec![named] };
    let looked_at: Vec<&PathBuf> = executors.iter().flatten().collect();
    let found = executors.iter().map(|folders| {
        read_folders(&Settings { folders: folders.clone(), python: python.clone(), package: PathBuf::new() })
    });
    let checked = Checked::of(found);
    let has_failed = !checked.failed.is_empty();
    terminal::print(&if arguments.json {
        serde_json::to_string_pretty(&checked)?
    } else {
        checked.render(&looked_at, Screen::standard_output())
    })?;
    Ok(if has_failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Those of `up`, and those of `executor`: each process reads its own.
fn usual_folders() -> anyhow::Result<Vec<Vec<PathBuf>>> {
    Ok(vec![vec![folder_of_up(&options::data_dir(None)?)], SITE_FOLDERS.map(PathBuf::from).into()])
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Checked {
    actions: Vec<Action>,
    failed: Vec<Wrong>,
}

/// An action, or a host, which says by itself which ones it has.
#[derive(Debug, Serialize)]
struct Action {
    /// None of a host.
    #[serde(rename = "action")]
    name: Option<String>,
    kind: Kind,
    file: String,
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
    fn of(found: impl IntoIterator<Item = Found>) -> Self {
        let built_in = built_in(Clock::system());
        let mut checked = Self::default();
        for Found { providers, failed } in found {
            checked
                .actions
                .extend(providers.iter().map(|provider| Action::of(provider, |name| built_in.find(name).is_some())));
            checked.failed.extend(failed.into_iter().map(|FailedToLoad { file, line, reason }| Wrong {
                file: file.display().to_string(),
                line,
                reason,
            }));
        }
        checked
    }

    fn render(&self, looked_at: &[&PathBuf], screen: Screen) -> String {
        if self.actions.is_empty() && self.failed.is_empty() {
            let folders: Vec<String> = looked_at.iter().map(|folder| folder.display().to_string()).collect();
            return screen.wrapped(&format!("no actions in {}", folders.join(", ")), 0);
        }
        let mut parts = self.by_folder(screen);
        let replaced = self.actions.iter().filter(|action| action.replaces_built_in).filter_map(|it| it.name.as_ref());
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
}

impl Checked {
    /// A table for each folder, as most paths are long.
    fn by_folder(&self, screen: Screen) -> Vec<String> {
        let mut folders: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
        for action in &self.actions {
            let (folder, file) = action.place();
            let name = action.name.as_deref().map_or_else(|| "(said when it starts)".to_owned(), one_line);
            let row = vec![name, action.kind.to_string(), one_line(&file), action.limits.join(", ")];
            folders.entry(one_line(&folder)).or_default().push(row);
        }
        let titles = ["ACTION", "KIND", "FILE", "LIMITS"];
        let table =
            |(folder, rows)| format!("{folder}\n{}", screen.tall_listing(&titles, &[0, 2, 3], rows, MOST_LINES));
        folders.into_iter().map(table).collect()
    }
}

impl Action {
    /// Its folder, and its file there.
    fn place(&self) -> (String, String) {
        match self.file.rsplit_once('/') {
            // what is written of class files is their folder
            _ if self.kind == Kind::Python => (self.file.clone(), "*.py".to_owned()),
            Some((folder, file)) => (folder.to_owned(), file.to_owned()),
            None => (String::new(), self.file.clone()),
        }
    }

    fn of(provider: &Provider, is_built_in: impl Fn(&str) -> bool) -> Self {
        let (name, kind, program, terms) = match provider {
            Provider::Command(it) => (Some(&it.name), Kind::Command, &it.program, &it.terms),
            Provider::Host(it) => (None, it.kind, &it.program, &it.terms),
        };
        let mut limits = limits(terms, &program.limits);
        if let Provider::Host(host) = provider {
            limits.extend(host.processes.map(|processes| format!("processes {processes}")));
        }
        Self {
            name: name.cloned(),
            kind,
            file: program.file.display().to_string(),
            limits,
            replaces_built_in: name.is_some_and(|name| is_built_in(name)),
        }
    }
}

/// What differs from what is usual.
fn limits(terms: &Terms, limits: &Limits) -> Vec<String> {
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

    const MANIFEST: &str = "[[action]]\nname = \"backup-everything\"\ncommand = [\"sh\", \"-c\", \"true\"]\n\
                            time-limit = \"2 h\"\nstop-grace = \"90 s\"\nmemory = \"1 GiB\"\n\
                            [[host]]\ncommand = [\"sh\"]\nprocesses = 4\n\
                            [[action]]\nname = \"noop\"\ncommand = [\"sh\"]\n\
                            [[action]]\nname = \"bad\"\ncommand = [\"sh\"]\nmemory = \"1 GB\"\n";

    #[test]
    fn what_loads_and_what_does_not_fits_80_columns() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.toml");
        std::fs::write(&file, MANIFEST).unwrap();
        std::fs::write(folder.path().join("quotas.py"), "").unwrap();
        let settings =
            Settings { folders: vec![folder.path().into()], python: "python3".into(), package: PathBuf::new() };
        let mut checked = Checked::of([read_folders(&settings)]);
        for file in
            checked.actions.iter_mut().map(|it| &mut it.file).chain(checked.failed.iter_mut().map(|it| &mut it.file))
        {
            *file = file.replace(folder.path().to_str().unwrap(), "/home/jane/.local/share/slipstream-job/actions");
        }
        let expected = "\
/home/jane/.local/share/slipstream-job/actions
ACTION                 KIND     FILE    LIMITS
backup-everything      command  m.toml  time 2h, grace 1m 30s, memory 1 GiB
noop                   command  m.toml
(said when it starts)  host     m.toml  processes 4
(said when it starts)  python   *.py

noop takes the place of the built-in action

failed to load
  /home/jane/.local/share/slipstream-job/actions/m.toml:16
      `memory`: `1 GB` is not a size, write a whole number of KiB, MiB, GiB or
      TiB, such as \"512 MiB\"";
        assert_eq!(checked.render(&[], Screen { width: Some(80), colours: false }), expected);
    }

    #[test]
    fn where_nothing_is_it_is_said_where_was_looked() {
        let folder = PathBuf::from("/srv/actions");
        let shown = Checked::default().render(&[&folder], Screen { width: Some(80), colours: false });
        assert_eq!(shown, "no actions in /srv/actions");
    }

    #[test]
    fn limits_are_shown_as_people_write_them() {
        let seconds = Duration::from_secs;
        let terms = Terms { time_limit: Some(seconds(5400)), stop_grace: Duration::ZERO };
        let some = Limits { memory: Some(1536 << 20), cpu_time: Some(seconds(90)), open_files: Some(64) };
        assert_eq!(limits(&terms, &some), ["time 1h 30m", "grace 0s", "memory 1536 MiB", "cpu 1m 30s", "files 64"]);
        assert!(limits(&Terms::default(), &Limits::default()).is_empty());
    }
}
