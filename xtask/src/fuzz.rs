//! `cargo xtask fuzz`: random input for a target, bent towards code that was not reached yet.
//!
//! The engine is libFuzzer, on the stable toolchain: rustc is told to count what was reached. The folder `fuzz` has the
//! layout of cargo-fuzz, so that whoever has it can use it as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, bail};

use crate::commands::{cargo, describe, exists, read, root, target};

/// The targets, with what each one is for.
const TARGETS: [(&str, &str); 4] = [
    ("filter", "texts as filters, query strings and forms"),
    ("job_document", "adds and edits of jobs whose documents are nearly right"),
    ("pages", "pages of the dashboard over any documents"),
    ("routes", "requests of anybody to anywhere"),
];
const USAGE: &str = "\
cargo xtask fuzz NAME --minutes N [--corpus FOLDER]
cargo xtask fuzz NAME --input FILE";
/// How long each target runs in `cargo xtask check`, in seconds.
const BRIEFLY: u64 = 10;
/// One input that takes this long is a finding, in seconds.
const SLOWEST: u64 = 10;
/// Longest input in bytes; what is long only by repetition has a short form in the target `filter`.
const LONGEST: u64 = 4096;
/// What cargo-fuzz tells rustc, but for the sanitizer, which stable has not; there is next to no unsafe code to find.
const FLAGS: &str = "--cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares -C codegen-units=1";

/// Fuzzes a target, or gives it one input once more. Answers whether nothing was found.
pub fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let root = root()?;
    let Some((name, options)) = arguments.split_first() else { bail!(usage()) };
    let Some((name, _)) = TARGETS.iter().find(|(known, _)| known == name) else {
        bail!("there is no target `{name}`\n{}", usage());
    };
    let (mut minutes, mut corpus, mut input) = (None, None, None);
    for pair in options.chunks(2) {
        let [flag, value] = pair else { bail!(usage()) };
        match flag.as_str() {
            "--minutes" => minutes = Some(value.parse::<u64>().context("--minutes takes a whole number")?),
            "--corpus" => corpus = Some(PathBuf::from(value)),
            "--input" => input = Some(PathBuf::from(value)),
            _ => bail!(usage()),
        }
    }
    match (minutes, input) {
        (Some(minutes), None) => fuzz(&root, name, minutes * 60, corpus),
        (None, Some(input)) if corpus.is_none() => replay(&root, name, &input),
        _ => bail!(usage()),
    }
}

/// Every target for a bounded time; says what was found.
pub fn briefly(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (name, _) in TARGETS {
        match fuzz(root, name, BRIEFLY, None) {
            Ok(true) => {}
            Ok(false) => found.push(format!("{name}: an input breaks a rule; see above")),
            Err(error) => {
                found.push(format!("{name}: {error:#}"));
                break;
            }
        }
    }
    found
}

fn usage() -> String {
    let targets: Vec<String> = TARGETS.iter().map(|(name, what)| format!("  {name:<14}{what}")).collect();
    format!("{USAGE}\n\nNAME is one of\n{}", targets.join("\n"))
}

fn fuzz(root: &Path, name: &str, seconds: u64, corpus: Option<PathBuf>) -> anyhow::Result<bool> {
    let program = build(root, name)?;
    let findings = target(root).join("fuzz/findings").join(name);
    let corpus = corpus.unwrap_or_else(|| target(root).join("fuzz/corpus").join(name));
    for folder in [&findings, &corpus] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-timeout={SLOWEST}"));
    command.arg(format!("-artifact_prefix={}/", findings.display())).args(["-print_final_stats=1", "-verbosity=1"]);
    let dictionary = root.join("fuzz/dictionaries").join(name);
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    // What is new goes to the first folder.
    command.arg(corpus).arg(root.join("fuzz/seeds").join(name)).current_dir(root);
    let status = command.status().with_context(|| format!("cannot start `{}`", describe(&command)))?;
    if !status.success() {
        let input = newest(&findings)?.context("the fuzzer failed and left no input; see above")?;
        println!("{name} breaks on {}", input.display());
        println!("to see it again: cargo xtask fuzz {name} --input {}", input.display());
    }
    Ok(status.success())
}

fn replay(root: &Path, name: &str, input: &Path) -> anyhow::Result<bool> {
    // The fuzzer takes a file that is not there for nothing to do.
    if !input.is_file() {
        bail!("there is no file {}", input.display());
    }
    let program = build(root, name)?;
    let mut command = Command::new(program);
    let status = command.arg(format!("-timeout={SLOWEST}")).arg(input).status();
    Ok(status.with_context(|| format!("cannot start `{}`", describe(&command)))?.success())
}

/// Builds a target in a folder of its own, as nothing in it can be shared with other builds.
fn build(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if !exists(&compiler) {
        bail!(
            "there is no C++ compiler `{compiler}`, which the fuzzer needs: install g++ or clang, or name one in CXX"
        );
    }
    let version = read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    let folder = target(root).join("fuzz");
    let mut command = cargo(root);
    command.args(["build", "--release", "--locked", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--bin", name]);
    // With a target named, the flags do not reach build scripts and macros.
    command.args(["--target", host, "--target-dir"]).arg(&folder);
    crate::commands::run(command.env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    Ok(folder.join(host).join("release").join(name))
}

fn newest(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    Ok(files.into_iter().max().map(|(_, path)| path))
}
