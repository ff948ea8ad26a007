//! [`read_folders`]: what folders offer, and what in them is wrong.
//!
//! In a folder `*.toml` are manifests, `*.py` class files, and what is executable is a command named by its stem. Left out
//! are subfolders, names that begin with `.` or `_` (the author's own helpers), and copies that editors and package managers leave.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use slipstream_cimi::overview::executors::loaded::{FailedToLoad, Kind};

use super::conflicts::{Claim, doubles};
use super::manifest::{self, ClassFiles, Dialect, JOBS_PER_PROCESS, Manifest, START_WITHIN, Started, values};
use super::program;
use super::provider::{CommandProvider, HostProvider, Limits, Program, Provider, Terms};
use super::settings::Settings;
use crate::process::written::text_of;
use crate::programs::ownership::Trust;

/// Most entries of a folder; a folder with more is hardly one of actions.
const MOST_ENTRIES: usize = 10_000;
/// Longest manifest, in bytes.
const LONGEST_MANIFEST: u64 = 1 << 20;
/// Ends of names of what editors and package managers leave beside a file.
const COPIES: [&str; 11] =
    ["~", ".bak", ".orig", ".rej", ".swp", ".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-tmp", ".rpmnew", ".rpmsave"];

/// What folders offer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What can be started, as far as one sees without starting it.
    pub providers: Vec<Provider>,
    /// What is wrong, by file and line.
    pub failed: Vec<FailedToLoad>,
}

/// Reads all folders. What is wrong is in `failed`, all at once; the rest is in `providers`.
#[must_use]
pub fn read_folders(settings: &Settings) -> Found {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut reading =
        Reading { settings, trust: Trust::of_this_process(), path, offered: Vec::new(), failed: Vec::new() };
    let mut seen = BTreeSet::new();
    for folder in &settings.folders {
        let is_missing = fs::symlink_metadata(folder).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let is_known = fs::canonicalize(folder).is_ok_and(|real| !seen.insert(real));
        if !is_missing && !is_known {
            reading.folder(folder);
        }
    }
    let Reading { offered, mut failed, .. } = reading;
    let claims = offered.iter().enumerate().filter_map(|(index, offered)| Some((index, offered.claim.as_ref()?)));
    let (indices, claims): (Vec<usize>, Vec<Claim<'_>>) =
        claims.map(|(index, claim)| (index, Claim::from(claim))).unzip();
    let mut doubles: BTreeMap<usize, FailedToLoad> =
        doubles(&claims).into_iter().map(|(index, double)| (indices[index], double)).collect();
    let mut providers = Vec::new();
    for (index, Offered { provider, .. }) in offered.into_iter().enumerate() {
        match doubles.remove(&index) {
            Some(double) => failed.push(double),
            None => providers.extend(provider),
        }
    }
    if let Some(only) = &settings.only {
        keep_only(&mut providers, only);
    }
    failed.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    Found { providers, failed }
}

/// Keeps what this file is, says or is started by.
fn keep_only(providers: &mut Vec<Provider>, file: &Path) {
    let is_named = |provider: &Provider| {
        let program = provider.program();
        program.file == file || program.command.iter().any(|word| word == file)
    };
    if providers.iter().any(is_named) {
        return providers.retain(is_named);
    }
    // a class file is loaded with the others of its folder
    let is_class_file = file.extension().is_some_and(|extension| extension == "py");
    providers.retain(|provider| is_class_file && Some(&*provider.program().file) == file.parent());
}

/// What a file or a table offers.
struct Offered {
    /// Its action. Which ones a host has it says itself, later on.
    claim: Option<Claimed>,
    /// Who does its jobs; none if anything is wrong.
    provider: Option<Provider>,
}

/// An action, and who has its name.
struct Claimed {
    name: String,
    file: PathBuf,
    line: Option<usize>,
}

impl<'c> From<&'c Claimed> for Claim<'c> {
    fn from(Claimed { name, file, line }: &'c Claimed) -> Self {
        Self { name, file, line: *line }
    }
}

impl Offered {
    fn of(line: Option<usize>, provider: Provider) -> Self {
        let claim = match &provider {
            Provider::Command(CommandProvider { name, program, .. }) => {
                Some(Claimed { name: name.clone(), file: program.file.clone(), line })
            }
            Provider::Host(_) => None,
        };
        Self { claim, provider: Some(provider) }
    }
}

struct Reading<'s> {
    settings: &'s Settings,
    trust: Trust,
    /// Where programs without a slash in their names are looked for.
    path: OsString,
    offered: Vec<Offered>,
    failed: Vec<FailedToLoad>,
}

/// What a file in a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Manifest,
    ClassFile,
    /// Not loaded itself, and loaded by class files.
    Helper,
    Command,
    /// Neither executable nor anything else: a command if it is a script.
    Other,
    LeftOut,
}

impl Sort {
    fn of(name: &str, is_folder: bool, is_executable: bool) -> Self {
        let extension = Path::new(name).extension().and_then(OsStr::to_str);
        let is_hidden = name.starts_with(['.', '_']);
        if is_folder {
            // of what lies in it Python believes that it was made from the class files
            return if name == "__pycache__" { Self::Helper } else { Self::LeftOut };
        }
        if COPIES.iter().any(|end| name.ends_with(end)) {
            return Self::LeftOut;
        }
        match extension {
            Some("py") if is_hidden => Self::Helper,
            _ if is_hidden => Self::LeftOut,
            Some("py") => Self::ClassFile,
            Some("toml") => Self::Manifest,
            _ if is_executable => Self::Command,
            _ => Self::Other,
        }
    }
}

/// The files of a folder that may be loaded.
#[derive(Default)]
struct Sorted {
    manifests: Vec<PathBuf>,
    class_files: Vec<PathBuf>,
    commands: Vec<PathBuf>,
    /// A class file, or what they load, that is not to be trusted.
    distrusted: Option<PathBuf>,
}

impl Reading<'_> {
    fn fail(&mut self, file: &Path, line: Option<usize>, reason: impl Into<String>) {
        self.failed.push(FailedToLoad { file: file.to_owned(), line, reason: reason.into() });
    }

    fn folder(&mut self, folder: &Path) {
        if let Err(wrong) = self.trust.check(folder) {
            return self.fail(folder, None, wrong);
        }
        let entries = match entries(folder) {
            Ok(entries) => entries,
            Err(error) => return self.fail(folder, None, format!("cannot read it: {error}")),
        };
        if entries.len() > MOST_ENTRIES {
            return self.fail(folder, None, format!("it has more than {MOST_ENTRIES} files"));
        }
        let Sorted { manifests, mut class_files, mut commands, distrusted } = self.sort(entries);
        let manifests: Vec<(PathBuf, Manifest)> =
            manifests.into_iter().filter_map(|file| Some((file.clone(), self.manifest(&file)?))).collect();
        let real = |path: &Path| fs::canonicalize(path).ok();
        let named: BTreeSet<PathBuf> =
            manifests.iter().flat_map(|(_, it)| &it.named).filter_map(|it| real(it)).collect();
        let is_named = |file: &mut PathBuf| real(file).is_some_and(|file| named.contains(&file));
        let programs: Vec<PathBuf> = class_files.extract_if(.., is_named).collect();
        commands.retain_mut(|file| !is_named(file));
        for file in commands {
            self.command(&file);
        }
        let mut python = Vec::new();
        for (file, manifest) in manifests {
            let Manifest { providers, started, claimed, python: said, .. } = manifest;
            self.tables(&file, providers, started, claimed);
            python.extend(said.map(|said| (file, said)));
        }
        if let (Some(distrusted), false) = (&distrusted, class_files.is_empty()) {
            let name = distrusted.file_name().unwrap_or_default().display();
            return self.fail(
                folder,
                None,
                format!("its class files load each other, so none is loaded because of {name}"),
            );
        }
        if !class_files.is_empty() {
            self.class_files(folder, python, &programs);
        }
    }

    /// What each file is. Those that cannot be looked at, or are not to be trusted, are told.
    fn sort(&mut self, entries: Vec<PathBuf>) -> Sorted {
        let mut sorted = Sorted::default();
        for file in entries {
            let Some(name) = file.file_name().and_then(OsStr::to_str) else {
                self.fail(&file, None, "its name is not UTF-8: rename it");
                continue;
            };
            // what a link leads to, if it leads anywhere
            let found = fs::metadata(&file).ok();
            let is_folder = found.as_ref().is_some_and(fs::Metadata::is_dir);
            if found.as_ref().is_some_and(|found| !found.is_file() && !found.is_dir()) {
                // to open it may wait for ever, as with a named pipe
                let sort = Sort::of(name, false, true);
                if sort != Sort::LeftOut {
                    self.fail(&file, None, "it is no regular file");
                }
                if matches!(sort, Sort::ClassFile | Sort::Helper) {
                    sorted.distrusted = Some(file);
                }
                continue;
            }
            let mode = found.filter(fs::Metadata::is_file).map_or(0, |found| found.permissions().mode());
            let sort = match Sort::of(name, is_folder, mode & 0o111 != 0) {
                Sort::Other if fs::metadata(&file).is_ok() && !program::is_script(&file) => Sort::LeftOut,
                sort => sort,
            };
            if sort == Sort::LeftOut {
                continue;
            }
            if let Err(wrong) = self.trust.check(&file) {
                self.fail(&file, None, wrong);
                if matches!(sort, Sort::ClassFile | Sort::Helper) {
                    sorted.distrusted = Some(file);
                }
                continue;
            }
            match sort {
                Sort::Manifest => sorted.manifests.push(file),
                Sort::ClassFile => sorted.class_files.push(file),
                Sort::Command | Sort::Other => sorted.commands.push(file),
                Sort::Helper | Sort::LeftOut => {}
            }
        }
        sorted
    }

    fn manifest(&mut self, file: &Path) -> Option<Manifest> {
        let read = fs::File::open(file).and_then(|opened| {
            let mut bytes = Vec::new();
            opened.take(LONGEST_MANIFEST + 1).read_to_end(&mut bytes).map(|_| bytes)
        });
        let bytes = match read {
            Ok(bytes) if bytes.len() as u64 > LONGEST_MANIFEST => {
                self.fail(file, None, format!("it is longer than {LONGEST_MANIFEST} bytes"));
                return None;
            }
            Ok(bytes) => bytes,
            Err(error) => {
                self.fail(file, None, format!("cannot read it: {error}"));
                return None;
            }
        };
        match text_of(&bytes) {
            Ok(text) => {
                let mut manifest = manifest::parse(text, file);
                for (line, wrong) in std::mem::take(&mut manifest.wrong) {
                    self.fail(file, Some(line), wrong);
                }
                Some(manifest)
            }
            Err(wrong) => {
                self.fail(file, Some(wrong.line_in(&bytes)), wrong.message);
                None
            }
        }
    }

    /// An executable file, which no manifest names.
    fn command(&mut self, file: &Path) {
        let name = file.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let wrong = values::wrong_name(name).or_else(|| program::check(file, &self.path).err());
        if let Some(wrong) = wrong {
            return self.fail(file, None, wrong);
        }
        let program = Program {
            command: vec![file.as_os_str().to_owned()],
            file: file.to_owned(),
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            limits: Limits::default(),
        };
        let provider = Provider::Command(CommandProvider { name: name.to_owned(), program, terms: Terms::default() });
        self.offered.push(Offered::of(None, provider));
    }

    /// What the tables of a manifest say whose programs can be started.
    fn tables(
        &mut self,
        file: &Path,
        providers: Vec<(usize, Provider)>,
        started: Vec<Started>,
        claimed: Vec<(usize, String)>,
    ) {
        let mut broken = BTreeSet::new();
        for Started { line, program, provider } in started {
            if let Err(wrong) = self.startable(&program) {
                self.fail(file, Some(line), wrong);
                broken.extend(provider);
            }
        }
        for (index, (line, provider)) in providers.into_iter().enumerate() {
            let mut offered = Offered::of(Some(line), provider);
            offered.provider = offered.provider.filter(|_| !broken.contains(&index));
            self.offered.push(offered);
        }
        self.offered.extend(claimed.into_iter().map(|(line, name)| Offered {
            claim: Some(Claimed { name, file: file.to_owned(), line: Some(line) }),
            provider: None,
        }));
    }

    /// Whether the files beside a manifest that it hands to its program may be run: most likely a script is among them.
    fn trusted_beside(&self, program: &Program) -> Result<(), String> {
        let folder = program.file.parent().unwrap_or(&program.file);
        let files = program.command.iter().skip(1).map(Path::new);
        for file in files.filter(|file| file.starts_with(folder) && file.is_file()) {
            self.trust.check(file).map_err(|wrong| format!("cannot use {}: {wrong}", file.display()))?;
        }
        Ok(())
    }

    /// Whether the program is there, can be started, and may be.
    fn startable(&self, program: &Program) -> Result<(), String> {
        let name = program.command.first().map(OsString::as_os_str).unwrap_or_default();
        let path = program.env.get("PATH").map_or(&*self.path, OsStr::new);
        let file = Path::new(name);
        if file.is_absolute() {
            let trusted = self.trust.check(file).and_then(|_| program::check(file, path));
            trusted.map_err(|wrong| format!("cannot start {}: {wrong}", file.display()))?;
            return self.trusted_beside(program);
        }
        if program::find(name, path).is_some() {
            return self.trusted_beside(program);
        }
        let name = name.display();
        let beside = program.file.parent().is_some_and(|folder| folder.join(file).exists());
        let hint = if beside { format!(", write ./{name} for the file beside this one") } else { String::new() };
        Err(format!("cannot start {name}: no program of this name is found in PATH{hint}"))
    }

    /// All class files of a folder, as one host, but those that manifests start as programs.
    fn class_files(&mut self, folder: &Path, mut said: Vec<(PathBuf, manifest::Python)>, programs: &[PathBuf]) {
        if let [(one, first), (other, second), ..] = &said[..] {
            let reason = |file: &Path, line: usize| {
                format!("the folder's class files run as one, and {}:{line} says how, too: remove one", file.display())
            };
            let (one_reason, other_reason) = (reason(other, second.line), reason(one, first.line));
            let (one, other, lines) = (one.clone(), other.clone(), [first.line, second.line]);
            self.fail(&one, Some(lines[0]), one_reason);
            return self.fail(&other, Some(lines[1]), other_reason);
        }
        let (file, at, interpreter, said) = match said.pop() {
            None => (folder.to_owned(), None, None, Some(ClassFiles::default())),
            Some((file, manifest::Python { line, interpreter, said })) => {
                let at = interpreter.as_ref().map_or(line, |(line, _)| *line);
                (file, Some(at), interpreter.map(|(_, interpreter)| interpreter), said)
            }
        };
        // what is wrong in the table has been told, but for an interpreter that is not there
        let is_right = said.is_some();
        let interpreter = interpreter.unwrap_or_else(|| self.settings.python.clone());
        let mut provider = self.python(folder, interpreter, said.unwrap_or_default());
        let names = programs.iter().filter_map(|file| file.file_name());
        provider.program.command.extend(names.flat_map(|name| ["--without".into(), name.to_owned()]));
        match self.startable(&provider.program) {
            Ok(()) if is_right => self.offered.push(Offered::of(at, Provider::Host(provider))),
            Ok(()) => {}
            Err(wrong) => {
                let hint = "name an interpreter with --python, or with `interpreter` in a manifest's [python]";
                self.fail(&file, at, format!("{wrong}; {hint}"));
            }
        }
    }

    fn python(&self, folder: &Path, interpreter: PathBuf, said: ClassFiles) -> HostProvider {
        let ClassFiles { dialect, common, actions, ported, .. } = said;
        let mut command: Vec<OsString> = vec![interpreter.into()];
        command.extend(["-u", "-m", "slipstream_host", "actions"].map(OsString::from));
        command.push(folder.into());
        if let Some(dialect) = dialect {
            let dialect = match dialect {
                Dialect::Slipstream => "slipstream",
                Dialect::Nuvla => "nuvla",
            };
            command.extend(["--dialect", dialect].map(OsString::from));
        }
        command.extend(ported.into_iter().flat_map(|name| ["--python3".into(), name.into()]));
        let mut env = common.env;
        let package = self.settings.package.display().to_string();
        let search = env.remove("PYTHONPATH").map_or(package.clone(), |others| format!("{package}:{others}"));
        env.insert("PYTHONPATH".to_owned(), search);
        HostProvider {
            kind: Kind::Python,
            line: None,
            program: Program {
                command,
                file: folder.to_owned(),
                env,
                pass_env: common.pass_env,
                limits: common.limits,
            },
            processes: said.processes,
            jobs_per_process: said.jobs_per_process.unwrap_or(JOBS_PER_PROCESS),
            start_within: said.start_within.unwrap_or(START_WITHIN),
            terms: common.terms,
            actions,
        }
    }
}

/// What lies in a folder, by name; one more than is allowed at most.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.take(MOST_ENTRIES + 1);
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort_unstable();
    Ok(entries)
}

#[cfg(test)]
mod tests;
