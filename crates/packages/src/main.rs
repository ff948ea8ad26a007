//! `cargo xtask package`: the program as RPM and DEB. `packaging/root` mirrors the file system, `contents` adds what is made
//! out of the program, `rpm` and `deb` write the same list in two formats.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is no part of the product")]

mod contents;
mod deb;
mod glibc;
mod licences;
mod manual;
mod rpm;
mod scriptlets;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, ensure};
use clap::{Args, Parser};
use slipstream_job_engine::internals::reference;

use crate::contents::{Format, contents};
use crate::glibc::Glibc;

/// Both packages are called so, as the original's is.
const NAME: &str = "slipstream-job-engine";
const SUMMARY: &str = "Distributed job engine of SlipStream";
const DESCRIPTION: &str = "Jobs are documents behind a REST API; executors run them, distributors add them. Server, executor and \
                           distributor as services, and the command line.";

/// Packs the program as RPM and DEB, or writes pages out of its definition
#[derive(Parser)]
enum Task {
    /// Packs
    Pack(Options),
    /// Writes the pages of the repository that are made out of the program's options
    Generate {
        /// The root of the project
        #[arg(long)]
        root: PathBuf,
    },
}

#[derive(Args)]
struct Options {
    /// The program: `slipstream-job` as it is to be installed
    #[arg(long)]
    program: PathBuf,
    /// Where the packages go
    #[arg(long)]
    output: PathBuf,
    /// Number of the package among those of one version
    #[arg(long, default_value_t = 1)]
    release: u32,
    /// The root of the project
    #[arg(long, hide = true)]
    root: PathBuf,
}

/// What a package is packed of, whatever its format.
struct Package {
    version: &'static str,
    release: u32,
    /// Seconds since 1970, which each file and the package itself have as their time.
    time: u32,
    glibc: Glibc,
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Pack(options) => pack(&options),
        Task::Generate { root } => generate(&root),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn generate(root: &Path) -> anyhow::Result<()> {
    for (path, text) in reference::pages() {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("it lies in the project")?)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn pack(options: &Options) -> anyhow::Result<()> {
    let program = fs::read(&options.program).with_context(|| format!("cannot read {}", options.program.display()))?;
    let package = Package {
        version: env!("CARGO_PKG_VERSION"),
        release: options.release,
        time: time(options)?,
        glibc: Glibc::needed(&program).context("the program names no version of the GNU C library")?,
    };
    fs::create_dir_all(&options.output)?;
    let licences = licences::texts(&options.root)?;
    for format in [Format::Rpm, Format::Deb] {
        let items = contents(&options.root, program.clone(), &licences, format)?;
        let write = match format {
            Format::Rpm => rpm::write,
            Format::Deb => deb::write,
        };
        let file = write(&package, &items, &options.root, &options.output)?;
        println!("{}  {} bytes, needs glibc {}", file.display(), fs::metadata(&file)?.len(), package.glibc);
    }
    Ok(())
}

/// The same for the same sources, so that packages can be compared byte by byte.
fn time(options: &Options) -> anyhow::Result<u32> {
    let text = if let Ok(time) = env::var("SOURCE_DATE_EPOCH") {
        time
    } else {
        let commit = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(&options.root).output()?;
        ensure!(commit.status.success(), "git does not say when the last commit was: set SOURCE_DATE_EPOCH");
        String::from_utf8(commit.stdout)?
    };
    text.trim().parse().context("SOURCE_DATE_EPOCH is a number of seconds since 1970")
}
