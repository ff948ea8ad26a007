//! A small Debian in a folder, in copies of which tests install packages and boot systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;

use crate::commands::{exists, remove, run, target};
use crate::debian;

/// Tells the tests where it is.
pub const VARIABLE: &str = "SLIPSTREAM_TEST_DEBIAN";

/// Tells the tests why nothing boots there, where it does not.
pub const REFUSED: &str = "SLIPSTREAM_TEST_UNBOOTED";

const SUITE: &str = "bookworm";
/// What a server has that our packages meet.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,logrotate,procps,python3,rpm";
/// The programs that the tests call, and their packages.
const TOOLS: [(&str, &str); 3] =
    [("debootstrap", "debootstrap"), ("systemd-nspawn", "systemd-container"), ("rpm", "rpm")];

/// Makes sure that `target/debian` is there. Quick when it is.
pub fn set_up(root: &Path) -> anyhow::Result<PathBuf> {
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| !exists(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        debian::install("debootstrap, systemd-nspawn and rpm", &missing)?;
    }
    let folder = target(root).join("debian");
    let mark = target(root).join("debian.installed");
    let wanted = format!("{SUITE} {PACKAGES}");
    if folder.exists() && fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        println!("up to date: {}", folder.display());
        return Ok(folder);
    }
    remove(&folder)?;
    let include = format!("--include={PACKAGES}");
    run(Command::new("debootstrap").args(["--variant=minbase", &include, SUITE]).arg(&folder))?;
    fs::write(&mark, wanted).with_context(|| format!("cannot write {}", mark.display()))?;
    Ok(folder)
}

/// Why this machine does not let `systemd-nspawn` run a program there, if it does not.
pub fn refusal(debian: &Path) -> Option<String> {
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "--directory"]).arg(debian);
    let output = match command.arg("/bin/true").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => return None,
        Ok(output) => output,
        Err(error) => return Some(error.to_string()),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    Some(said.lines().next().map_or_else(|| output.status.to_string(), str::to_owned))
}
