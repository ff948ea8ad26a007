//! The other job engines that `cargo xtask bench peers` measures, and the servers in which they keep their jobs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::commands::{exists, read, run, target};
use crate::{debian, node};

/// The programs of ours that drive them, with the versions of what they use.
const SOURCES: &str = "crates/bench/peers";
/// Where Debian's packages put each version of `PostgreSQL`.
const POSTGRES: &str = "/usr/lib/postgresql";
/// What is measured unless `--peers` says otherwise.
const PEERS: &str = "graphile,river,asynq";

/// Installs and builds what these options ask for, and answers the options that say where it is. What cannot be installed
/// is told and left out.
pub fn set_up(root: &Path, options: &[String]) -> Vec<String> {
    if options.iter().any(|option| option == "--help" || option == "-h") {
        return Vec::new();
    }
    let peers = wanted(options);
    let wants = |name: &str| peers.split(',').any(|peer| peer == name);
    let asynq = wants("asynq") || wants("asynq-memory");
    let mut found = Vec::new();
    let mut add = |option: &str, path: anyhow::Result<PathBuf>| match path {
        Ok(path) => found.extend([format!("--{option}"), path.display().to_string()]),
        Err(error) => println!("left out: {option}: {error:#}"),
    };
    if wants("graphile") || wants("river") {
        add("postgres", postgres());
    }
    if asynq {
        add("redis", redis());
    }
    if wants("graphile") {
        add("graphile", graphile(root));
    }
    if wants("river") {
        add("river", go(root, "river"));
    }
    if asynq {
        add("asynq", go(root, "asynq"));
    }
    found
}

/// What `--peers` names.
fn wanted(options: &[String]) -> &str {
    let apart = options.iter().position(|option| option == "--peers").and_then(|index| options.get(index + 1));
    let joined = options.iter().find_map(|option| option.strip_prefix("--peers="));
    apart.map(String::as_str).or(joined).unwrap_or(PEERS)
}

/// The folder of its programs. A server that Debian's package starts is of no use here, and is left alone.
fn postgres() -> anyhow::Result<PathBuf> {
    if let Some(folder) = postgres_folder() {
        return Ok(folder);
    }
    debian::install("PostgreSQL", &["postgresql"])?;
    postgres_folder().context("Debian's package put no initdb where it is looked for")
}

/// Of the newest version.
fn postgres_folder() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    let folders = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let debian = folders.filter(|(_, folder)| folder.join("initdb").exists()).max();
    let elsewhere = || Some(PathBuf::from(read(Command::new("pg_config").arg("--bindir")).ok()?.trim()));
    let folder = debian.map(|(_, folder)| folder).or_else(elsewhere)?;
    folder.join("initdb").exists().then_some(folder)
}

fn redis() -> anyhow::Result<PathBuf> {
    if !exists("redis-server") {
        debian::install("Redis", &["redis-server"])?;
    }
    Ok("redis-server".into())
}

/// Its program, with the packages beside it.
fn graphile(root: &Path) -> anyhow::Result<PathBuf> {
    node::set_up()?;
    if !exists("npm") {
        debian::install("npm", &["npm"])?;
    }
    let source = root.join(SOURCES).join("graphile");
    let folder = folder(root)?.join("graphile");
    fs::create_dir_all(&folder)?;
    let program = folder.join("peer.js");
    fs::copy(source.join("peer.js"), &program)?;
    let wanted = fs::read_to_string(source.join("package.json"))?;
    let mark = folder.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        println!("up to date: {}", folder.display());
        return Ok(program);
    }
    fs::write(folder.join("package.json"), &wanted)?;
    let install = ["install", "--omit=dev", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"];
    run(Command::new("npm").args(install).current_dir(&folder))?;
    fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))?;
    Ok(program)
}

/// A program in Go: quick when it is built.
fn go(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    if read(Command::new("go").arg("version")).is_err() {
        bail!("install Go of the version in {SOURCES}/go/go.mod, or newer, and try again");
    }
    let program = folder(root)?.join(name);
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-trimpath", "-o"]).arg(&program).arg(format!("./{name}"));
    // with the Go that is here, and no other one
    run(build.current_dir(root.join(SOURCES).join("go")).env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0"))?;
    ensure!(program.exists(), "go build made no {}", program.display());
    Ok(program)
}

/// Where all of it goes.
fn folder(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = target(root).join("bench/peers");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn only_what_is_measured_is_installed() {
        let options = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!(wanted(&options(&["--runs", "1"])), "graphile,river,asynq");
        assert_eq!(wanted(&options(&["--peers", "river", "--runs", "1"])), "river");
        assert_eq!(wanted(&options(&["--peers=asynq,river"])), "asynq,river");
    }
}
