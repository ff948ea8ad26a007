//! What tests need of the system, from Debian's packages.

use std::process::Command;

use anyhow::bail;

use crate::commands::{exists, read, run};

/// Installs Debian packages if this user may; says what to install if not. `what` is what they are on other systems.
pub fn install(what: &str, packages: &[&str]) -> anyhow::Result<()> {
    let list = packages.join(" ");
    let is_root = read(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !(is_root && exists("apt-get")) {
        bail!("install {what} and try again; on Debian, as root: apt-get install {list}");
    }
    println!("installing with apt-get: {list}");
    run(Command::new("apt-get").args(["update", "--quiet"]))?;
    run(Command::new("apt-get")
        .args(["install", "--quiet", "--yes", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}
