//! A `ZooKeeper` for tests, which start servers of their own.

use std::path::Path;
use std::process::Command;

use crate::commands::{exists, read};
use crate::debian;

/// Where Debian's package puts the server; no service comes with it.
const ARCHIVE: &str = "/usr/share/java/zookeeper.jar";

/// Names a class path to use instead of Debian's.
const CLASS_PATH: &str = "SLIPSTREAM_TEST_ZOOKEEPER";

/// Makes sure that Java, `ZooKeeper` and what makes certificates are there. Quick when they are.
pub fn set_up() -> anyhow::Result<()> {
    let mut missing = Vec::new();
    if !exists("java") {
        missing.push("default-jre-headless");
    }
    if std::env::var_os(CLASS_PATH).is_none() && !Path::new(ARCHIVE).exists() {
        missing.push("zookeeper");
    }
    // the tests make certificates
    if read(Command::new("openssl").arg("version")).is_err() {
        missing.push("openssl");
    }
    // a server under a clock that is ahead
    if !exists("faketime") {
        missing.push("faketime");
    }
    if missing.is_empty() {
        println!("up to date: Java, ZooKeeper, openssl and faketime");
        return Ok(());
    }
    let what = format!("Java, openssl, faketime and ZooKeeper (the variable {CLASS_PATH} may say where: a class path)");
    debian::install(&what, &missing)
}
