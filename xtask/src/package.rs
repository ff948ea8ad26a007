//! `cargo xtask package`: the packages for sites, RPM and DEB.
//!
//! The program is built for an old GNU C library, so that one package installs on all systems that sites have: Zig's linker
//! has the symbols of each version. `--program` packs another build, as the tests do.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::bench::commit;
use crate::commands::{cargo, root, run as succeed, target};
use crate::python;

/// The oldest GNU C library that the program runs with: that of RHEL 8 and Debian 10.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const GLIBC: &str = "2.28";
/// What builds for it, out of the Python package index.
const TOOLS: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// Builds the program and packs it.
pub fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let root = root()?;
    let (mut program, mut release) = (None, "1".to_owned());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} takes a value"));
        match word.as_str() {
            "--program" => program = Some(PathBuf::from(value()?)),
            "--release" => release.clone_from(value()?),
            _ => bail!("cargo xtask package [--program FILE] [--release N]"),
        }
    }
    let program = program.map_or_else(|| build(&root), Ok)?;
    let mut pack = cargo(&root);
    pack.args(["run", "--release", "--locked", "--quiet", "--package", "slipstream-packages", "--", "pack"]);
    pack.arg("--program").arg(program).arg("--output").arg(target(&root).join("packages")).arg("--root").arg(&root);
    succeed(pack.args(["--release", &release]))?;
    Ok(true)
}

/// `cargo xtask generate`: the pages that are made out of the program's definition of its options.
pub fn generate() -> anyhow::Result<bool> {
    let root = root()?;
    let mut generate = cargo(&root);
    generate.args(["run", "--release", "--locked", "--quiet", "--package", "slipstream-packages", "--", "generate"]);
    succeed(generate.arg("--root").arg(&root))?;
    Ok(true)
}

/// Builds the program for the oldest library; answers where it is.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = target(root).join("zig");
    let interpreter = folder.join("bin/python");
    let mark = folder.join("installed");
    let wanted = TOOLS.join("\n");
    if !std::fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        crate::commands::remove(&folder)?;
        python::create(Path::new("python3"), &folder)?;
        println!("installing from PyPI into {}: {}", folder.display(), TOOLS.join(", "));
        succeed(python::pip(&interpreter).args(["install", "--quiet", "--no-cache-dir"]).args(TOOLS))?;
        std::fs::write(&mark, wanted)?;
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut build = cargo(root);
    build.env("PATH", format!("{}:{path}", folder.join("bin").display()));
    // shown by its metrics
    build.env("SLIPSTREAM_COMMIT", commit(root)?);
    build.args([
        "zigbuild",
        "--profile",
        "packaged",
        "--locked",
        "--package",
        "slipstream-job-engine",
        "--bin",
        "slipstream-job",
    ]);
    succeed(build.args(["--target", &format!("{TARGET}.{GLIBC}")]))?;
    Ok(target(root).join(TARGET).join("packaged/slipstream-job"))
}
