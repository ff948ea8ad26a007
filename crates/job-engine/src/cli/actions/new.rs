//! `slipstream-job actions new`: a new action that works at once.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;

use crate::cli::example;
use crate::cli::terminal;

const SHELL: &str = include_str!("new/shell.sh");
const PYTHON: &str = include_str!("new/python.py");
const RUST: &str = include_str!("new/rust.rs");
const CARGO: &str = include_str!("new/Cargo.toml.txt");
const MANIFEST: &str = include_str!("new/manifest.toml");

/// Nobody but their owner may write programs and their folders, or they are not loaded.
const PROGRAM: u32 = 0o755;
const TEXT: u32 = 0o644;
/// Longest name of an action that becomes the name of a file.
const LONGEST_NAME: usize = 100;

/// Actions of the original that the Python host refuses, as they do harm under Python 3 (specification 9.9).
const WITHOUT_PYTHON_3: [&str; 5] =
    ["collect_quotas", "collect_storage_buckets", "collect_virtual_machines", "start_deployment", "stop_deployment"];
/// Names that Cargo needs for folders of its own, and crates that are always there.
const NO_PACKAGES: [&str; 9] =
    ["alloc", "build", "core", "deps", "examples", "incremental", "proc_macro", "slipstream_action", "std"];

/// What `new` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job actions new --shell backup"))]
pub struct NewArguments {
    /// Name of the action
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    language: LanguageOptions,
    /// Folder into which it is written
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Folder of the crates of slipstream-job, for --rust: PATH/action has to be there
    #[arg(long, value_name = "PATH", conflicts_with_all = ["shell", "python"], required_if_eq("rust", "true"))]
    crates: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct LanguageOptions {
    /// A shell script, started for each job
    #[arg(long)]
    shell: bool,
    /// A Python class
    #[arg(long)]
    python: bool,
    /// A Rust project of a program that does one job after the other
    #[arg(long)]
    rust: bool,
}

/// Writes the action, and says what to do next.
pub fn run(arguments: &NewArguments) -> anyhow::Result<()> {
    let NewArguments { name, dir, .. } = arguments;
    let (files, next) = files(arguments)?;
    // before anything is written
    if let Some((there, ..)) = files.iter().find(|(file, ..)| file.symlink_metadata().is_ok()) {
        return Err(exists(there));
    }
    for (file, mode, content) in &files {
        write(file, *mode, content).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => exists(file),
            _ => anyhow!(error).context(format!("cannot write {}", file.display())),
        })?;
    }
    let written = files.iter().map(|(file, ..)| format!("wrote {}", file.display()));
    let next = next.into_iter().chain(["try it in an engine of its own:".to_owned()]).chain([
        format!("  slipstream-job actions test {name} --actions-dir {}", shown(dir)),
        "or in one that stays:".to_owned(),
        format!("  slipstream-job up --actions-dir {}", shown(dir)),
        "in another terminal:".to_owned(),
        format!("  slipstream-job submit {name} --wait"),
    ]);
    terminal::print(&written.chain(next).collect::<Vec<_>>().join("\n"))
}

/// Path, mode and content of what is written, and what its author does first.
type Files = Vec<(PathBuf, u32, String)>;

fn files(arguments: &NewArguments) -> anyhow::Result<(Files, Vec<String>)> {
    let NewArguments { name, dir, language, crates } = arguments;
    if language.shell {
        return Ok((vec![(dir.join(format!("{name}.sh")), PROGRAM, SHELL.replace("NAME", name))], Vec::new()));
    }
    if language.python {
        if WITHOUT_PYTHON_3.contains(&&**name) {
            bail!("{name} is refused as an action of the original that needs Python 2: choose another name");
        }
        let text = PYTHON.replace("NAME", name).replace("CLASS", &class(name));
        return Ok((vec![(dir.join(format!("{}.py", identifier(name))), TEXT, text)], Vec::new()));
    }
    let crates = crates.as_deref().context("name the folder of the crates with --crates")?;
    let crates = std::path::absolute(crates).with_context(|| format!("cannot tell where {} is", crates.display()))?;
    if !crates.join("action/Cargo.toml").is_file() {
        bail!("there is no crate {}: correct --crates", crates.join("action").display());
    }
    let package = identifier(name);
    if NO_PACKAGES.contains(&&*package) {
        bail!("Cargo builds no program that is called {package}: choose another name");
    }
    let project = dir.join(format!("{package}-project"));
    let cargo = CARGO.replace("PACKAGE", &package).replace("CRATES", &escaped(&crates)?);
    let files = vec![
        (project.join("Cargo.toml"), TEXT, cargo),
        (project.join("src/main.rs"), TEXT, RUST.replace("NAME", name)),
        (dir.join(format!("{package}.toml")), TEXT, MANIFEST.replace("PACKAGE", &package)),
    ];
    let next = vec![
        "build it:".to_owned(),
        format!("  cargo build --release --manifest-path {}", shown(&project.join("Cargo.toml"))),
        format!("  cp {} {}", shown(&project.join("target/release").join(&package)), shown(dir)),
    ];
    Ok((files, next))
}

fn write(file: &Path, mode: u32, content: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(PROGRAM).create(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?.write_all(content.as_bytes())
}

fn exists(file: &Path) -> anyhow::Error {
    anyhow!("there is a file {} already: choose another name, or remove it", file.display())
}

/// A path as a shell reads it.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "/._-+,:@%".contains(sign);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A path within quotes of TOML.
fn escaped(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.replace('\\', r"\\").replace('"', "\\\""))
}

/// A name that Python and Cargo take for a module.
fn identifier(name: &str) -> String {
    name.chars().map(|sign| if sign.is_ascii_alphanumeric() { sign } else { '_' }).collect()
}

/// A name as classes are called: `cleanup_disks` becomes `CleanupDisks`.
fn class(name: &str) -> String {
    let words = name.split(|sign: char| !sign.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let class: String = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    // the capitalized keywords of Python
    if ["None", "True", "False"].contains(&&*class) { class + "Action" } else { class }
}

/// It becomes the name of a file, of a class and of a program.
fn parse_name(text: &str) -> Result<String, String> {
    let fits = |sign: char| sign.is_ascii_alphanumeric() || "_-.".contains(sign);
    if text.len() <= LONGEST_NAME && text.starts_with(|sign: char| sign.is_ascii_alphabetic()) && text.chars().all(fits)
    {
        return Ok(text.to_owned());
    }
    Err(format!("expected a letter, then up to {LONGEST_NAME} letters, digits, `_`, `-` and `.`"))
}

#[cfg(test)]
mod tests;
