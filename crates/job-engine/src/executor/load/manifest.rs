//! [`parse`]: what a manifest says. Pure: whether the programs are there is seen by `folders`.

mod fields;
pub(super) mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use slipstream_cimi::overview::executors::loaded::Kind;
use toml::de::{DeTable, DeValue};

use self::fields::Fields;
use super::provider::{CommandProvider, HostProvider, Limits, Own, Program, Provider, Terms};
use crate::process::written::{Wrong, line_of};

/// After how many jobs a host's process is replaced, unless its manifest says otherwise.
pub(super) const JOBS_PER_PROCESS: u64 = 10_000;
/// How long a host may take to say hello, unless its manifest says otherwise.
pub(super) const START_WITHIN: Duration = Duration::from_secs(10);

const MOST_PROCESSES: u64 = 10_000;
const MOST_JOBS_PER_PROCESS: u64 = 1_000_000_000;
/// With fewer a program cannot even be started.
const LEAST_OPEN_FILES: u64 = 16;
const MOST_OPEN_FILES: u64 = 1 << 20;

/// What a manifest says, and what is wrong in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Commands and hosts, each with the line of its table. Those in whose table anything is wrong are left out.
    pub(super) providers: Vec<(usize, Provider)>,
    /// What its tables start, also those in which anything is wrong.
    pub(super) started: Vec<Started>,
    /// The actions of tables in which anything is wrong, with their lines: nobody else may take their names.
    pub(super) claimed: Vec<(usize, String)>,
    /// How the folder's class files run, if it says so.
    pub(super) python: Option<Python>,
    /// Files that it names in commands, also in those that are wrong: they are its programs, and no commands themselves.
    pub(super) named: BTreeSet<PathBuf>,
    /// What is wrong: the line, from 1, and why.
    pub(super) wrong: Vec<(usize, String)>,
}

/// What a table starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Started {
    /// Line of its `command`.
    pub(super) line: usize,
    pub(super) program: Program,
    /// Which of the providers it is, if it is one.
    pub(super) provider: Option<usize>,
}

/// How the class files of a folder run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Python {
    /// Line of the table.
    pub(super) line: usize,
    /// The interpreter and its line, also if anything else is wrong in the table.
    pub(super) interpreter: Option<(usize, PathBuf)>,
    /// What it says; nothing if anything is wrong in it.
    pub(super) said: Option<ClassFiles>,
}

/// What `[python]` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClassFiles {
    pub(super) dialect: Option<Dialect>,
    pub(super) common: Common,
    pub(super) actions: BTreeMap<String, Own>,
    /// Actions of the original that need Python 2, and of which the manifest says that they were ported.
    pub(super) ported: Vec<String>,
    /// Most processes.
    pub(super) processes: Option<usize>,
    pub(super) jobs_per_process: Option<u64>,
    pub(super) start_within: Option<Duration>,
}

/// Of which original the class files of a folder are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Slipstream,
    Nuvla,
}

/// What all three tables may say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Common {
    pub(super) terms: Terms,
    pub(super) env: BTreeMap<String, String>,
    pub(super) pass_env: Vec<String>,
    pub(super) limits: Limits,
}

/// What the manifest `file` with this text says; its paths are relative to the folder of `file`.
pub(super) fn parse(text: &str, file: &Path) -> Manifest {
    let (whole, errors) = DeTable::parse_recoverable(text);
    let source = Source { file, text };
    let mut reader = Reader { source, manifest: Manifest::default(), wrong: Vec::new() };
    reader.read(whole.get_ref());
    let Reader { mut manifest, mut wrong, .. } = reader;
    if whole.get_ref().is_empty() {
        wrong.push(Wrong::at(0, "it says nothing, write `[[action]]`, `[[host]]` or `[python]`"));
    }
    if !errors.is_empty() {
        // what could be understood of a text that is no TOML may mean something else
        manifest.providers.clear();
        manifest.started.clear();
        manifest.claimed.clear();
        if let Some(python) = &mut manifest.python {
            (python.said, python.interpreter) = (None, None);
        }
        wrong = errors.into_iter().map(Wrong::from).collect();
    }
    wrong.sort_by_key(|wrong| wrong.place);
    manifest.wrong = wrong.into_iter().map(|wrong| (source.line(wrong.place), wrong.message)).collect();
    manifest
}

/// A manifest and its text.
#[derive(Clone, Copy)]
struct Source<'r> {
    file: &'r Path,
    text: &'r str,
}

struct Reader<'r> {
    source: Source<'r>,
    manifest: Manifest,
    wrong: Vec<Wrong>,
}

impl Source<'_> {
    fn line(self, place: usize) -> usize {
        line_of(self.text.as_bytes(), place)
    }
}

impl Reader<'_> {
    fn read(&mut self, whole: &DeTable<'_>) {
        for (key, value) in whole {
            let place = key.span().start;
            match (&**key.get_ref(), value.get_ref()) {
                ("action" | "host", DeValue::Array(tables)) => {
                    for one in tables {
                        match one.get_ref() {
                            DeValue::Table(table) => self.provider(key.get_ref(), one.span().start, table),
                            _ => self.note(one.span().start, format!("write `[[{}]]` above its keys", key.get_ref())),
                        }
                    }
                }
                ("action" | "host", _) => self.note(place, format!("write `[[{}]]`, in two brackets", key.get_ref())),
                ("python", DeValue::Table(table)) => self.python(value.span().start, table),
                ("python", _) => self.note(place, "write `[python]`, in one bracket, once"),
                (unknown, _) => {
                    let unknown = values::shown(unknown);
                    self.note(
                        place,
                        format!("unknown key `{unknown}`, expected `[[action]]`, `[[host]]` or `[python]`"),
                    );
                }
            }
        }
    }

    fn note(&mut self, place: usize, message: impl Into<String>) {
        self.wrong.push(Wrong::at(place, message));
    }

    fn provider(&mut self, kind: &str, place: usize, table: &DeTable<'_>) {
        let source = self.source;
        let folder = source.file.parent().unwrap_or(Path::new("."));
        let mut fields = Fields::of(table, &mut self.wrong);
        let is_command = kind == "action";
        let name = if is_command {
            fields.require("name", place, "\"backup\"");
            fields.read("name", values::name)
        } else {
            None
        };
        fields.require("command", place, "[\"./program\"]");
        let command_place = fields.place("command").unwrap_or(place);
        let command = fields.read_parts("command", values::command).map(|words| resolved(&words, folder));
        let program = |command, common: Common| Program {
            command,
            file: source.file.to_owned(),
            env: common.env,
            pass_env: common.pass_env,
            limits: common.limits,
        };
        let common = common(&mut fields);
        let started = command.clone().map(|command| program(command, common.clone()));
        let provider = if is_command {
            let (name, command) = (name.clone().unwrap_or_default(), command.clone().unwrap_or_default());
            let terms = common.terms.clone();
            Provider::Command(CommandProvider { name, terms, program: program(command, common) })
        } else {
            let Hosting { processes, jobs_per_process, start_within } = hosting(&mut fields);
            Provider::Host(HostProvider {
                kind: Kind::Host,
                line: Some(source.line(command_place)),
                processes,
                jobs_per_process: jobs_per_process.unwrap_or(JOBS_PER_PROCESS),
                start_within: start_within.unwrap_or(START_WITHIN),
                actions: actions(&mut fields, source, &common.terms, None),
                terms: common.terms.clone(),
                program: program(command.clone().unwrap_or_default(), common),
            })
        };
        let is_right = fields.finish();
        let paths = command.iter().flatten().map(PathBuf::from).filter(|path| path.is_absolute());
        let Manifest { providers, started: all_started, claimed, named, .. } = &mut self.manifest;
        named.extend(paths);
        let index = is_right.then_some(providers.len());
        all_started.extend(started.map(|program| Started {
            line: source.line(command_place),
            program,
            provider: index,
        }));
        if is_right {
            providers.push((source.line(place), provider));
        } else {
            claimed.extend(name.map(|name| (source.line(place), name)));
        }
    }

    fn python(&mut self, place: usize, table: &DeTable<'_>) {
        let source = self.source;
        let folder = source.file.parent().unwrap_or(Path::new("."));
        let mut fields = Fields::of(table, &mut self.wrong);
        let interpreter_place = fields.place("interpreter").unwrap_or(place);
        let interpreter = fields.read("interpreter", values::text);
        let dialect = fields.read("dialect", |value| match &*values::text(value)? {
            "slipstream" => Ok(Dialect::Slipstream),
            "nuvla" => Ok(Dialect::Nuvla),
            other => Err(format!("`{}` is neither \"slipstream\" nor \"nuvla\"", values::shown(other))),
        });
        let common = common(&mut fields);
        let Hosting { processes, jobs_per_process, start_within } = hosting(&mut fields);
        let mut ported = Vec::new();
        let actions = actions(&mut fields, source, &common.terms, Some(&mut ported));
        let said = fields.finish().then_some(ClassFiles {
            dialect,
            common,
            actions,
            ported,
            processes,
            jobs_per_process,
            start_within,
        });
        let interpreter =
            interpreter.map(|word| (source.line(interpreter_place), PathBuf::from(&resolved(&[word], folder)[0])));
        self.manifest.python = Some(Python { line: source.line(place), interpreter, said });
    }
}

fn common(fields: &mut Fields<'_, '_>) -> Common {
    Common {
        terms: terms(fields, &Terms::default()),
        limits: Limits {
            memory: fields.read("memory", values::size),
            cpu_time: fields.read("cpu-time", values::limit),
            open_files: fields.read("open-files", |value| values::count(value, LEAST_OPEN_FILES, MOST_OPEN_FILES)),
        },
        env: fields.read_parts("env", values::variables).unwrap_or_default(),
        pass_env: fields.read_parts("pass-env", values::names_of_variables).unwrap_or_default(),
    }
}

/// What is not said is as in `otherwise`.
fn terms(fields: &mut Fields<'_, '_>, otherwise: &Terms) -> Terms {
    Terms {
        time_limit: fields.read("time-limit", values::limit).or(otherwise.time_limit),
        stop_grace: fields.read("stop-grace", values::duration).unwrap_or(otherwise.stop_grace),
    }
}

struct Hosting {
    processes: Option<usize>,
    jobs_per_process: Option<u64>,
    start_within: Option<Duration>,
}

fn hosting(fields: &mut Fields<'_, '_>) -> Hosting {
    let processes = fields.read("processes", |value| values::count(value, 1, MOST_PROCESSES));
    Hosting {
        processes: processes.and_then(|processes| usize::try_from(processes).ok()),
        jobs_per_process: fields.read("jobs-per-process", |value| values::count(value, 1, MOST_JOBS_PER_PROCESS)),
        start_within: fields.read("start-within", values::limit),
    }
}

/// What differs for single actions; `ported` collects those that say `python3 = true`, where that may be said.
fn actions(
    fields: &mut Fields<'_, '_>,
    source: Source<'_>,
    otherwise: &Terms,
    mut ported: Option<&mut Vec<String>>,
) -> BTreeMap<String, Own> {
    let mut actions = BTreeMap::new();
    for (name, value) in fields.entries("actions") {
        if let Some(wrong) = values::wrong_name(name.get_ref()) {
            fields.note(name.span().start, wrong);
        }
        let Some(table) = value.get_ref().as_table() else {
            let name = values::shown(name.get_ref());
            fields.note(value.span().start, format!("write `actions.{name}.time-limit = \"5 min\"`"));
            continue;
        };
        let mut own = Fields::of(table, fields.wrong());
        let (terms, line) = (terms(&mut own, otherwise), source.line(name.span().start));
        actions.insert(name.get_ref().to_string(), Own { terms, file: source.file.to_owned(), line });
        if let Some(ported) = ported.as_deref_mut()
            && own.read("python3", values::flag) == Some(true)
        {
            ported.push(name.get_ref().to_string());
        }
        own.finish();
    }
    actions
}

/// The words of a command as they are started: what begins with `./` or `../`, and a program with a slash in its name, is a
/// path relative to `folder`.
fn resolved(words: &[String], folder: &Path) -> Vec<OsString> {
    let is_path = |index: usize, word: &str| {
        word.starts_with("./") || word.starts_with("../") || (index == 0 && word.contains('/'))
    };
    let words = words.iter().enumerate();
    words
        .map(|(index, word)| {
            if !is_path(index, word) {
                return OsString::from(word);
            }
            let joined = folder.join(word);
            joined.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>().into_os_string()
        })
        .collect()
}

#[cfg(test)]
mod tests;
