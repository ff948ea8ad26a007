//! [`Root`]: a Debian of its own, and the packages to be installed there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::{env, fs};

use tempfile::TempDir;

/// Where the Debian is that is copied.
const VARIABLE: &str = "SLIPSTREAM_TEST_DEBIAN";
const NAME: &str = "slipstream-job-engine";

/// The packages, packed once for all tests: releases 1 and 2 of the same program.
static PACKED: LazyLock<TempDir> = LazyLock::new(|| {
    let output = tempfile::tempdir().expect("done");
    for release in ["1", "2"] {
        pack(release, output.path());
    }
    output
});

/// Packs the program that was built with these tests.
pub fn pack(release: &str, output: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream-packages"));
    command.arg("pack").arg("--program").arg(program()).arg("--output").arg(output);
    command.args(["--release", release, "--root"]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    succeed(command.env("SOURCE_DATE_EPOCH", "1790000000"));
}

pub fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_slipstream-packages")).with_file_name("slipstream-job");
    assert!(program.exists(), "{} is missing: run cargo xtask test", program.display());
    program
}

pub fn rpm(release: u32) -> PathBuf {
    PACKED.path().join(format!("{NAME}-{}-{release}.x86_64.rpm", env!("CARGO_PKG_VERSION")))
}

pub fn deb(release: u32) -> PathBuf {
    PACKED.path().join(format!("{NAME}_{}-{release}_amd64.deb", env!("CARGO_PKG_VERSION")))
}

/// Runs it and answers what it printed on standard output.
pub fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("done");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A Debian, removed with this.
pub struct Root(TempDir);

impl Root {
    pub fn new() -> Self {
        let debian = env::var(VARIABLE).unwrap_or_else(|_| panic!("{VARIABLE} is not set: run cargo xtask test"));
        let folder = tempfile::tempdir().expect("done");
        succeed(
            Command::new("cp")
                .args(["--archive", "--reflink=auto", "--no-target-directory", &debian])
                .arg(folder.path()),
        );
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file or folder in it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.path().join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().expect("done")).expect("done");
        fs::write(self.at(path), text).expect("done");
    }

    /// A line of shell in it, as root; answers what it prints.
    pub fn shell(&self, line: &str) -> String {
        succeed(
            Command::new("chroot").arg(self.path()).args(["/bin/sh", "-ec", line]).env("PATH", "/usr/sbin:/usr/bin"),
        )
    }

    /// Installs or upgrades; keeps what an administrator has changed.
    pub fn dpkg(&self, package: &Path) {
        let inside = self.at("/tmp/package.deb");
        fs::copy(package, &inside).expect("done");
        self.shell("dpkg --force-confold --install /tmp/package.deb 2>&1");
        fs::remove_file(inside).expect("done");
    }

    /// Answers what the scriptlets say.
    pub fn rpm(&self, arguments: &[&str], package: &Path) -> String {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(self.path()).args(["--nodeps", "--dbpath", "/var/lib/rpm"]);
        let Output { status, stdout, stderr } = command.args(arguments).arg(package).output().expect("done");
        let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "rpm {arguments:?}: {said}");
        assert!(!said.contains("scriptlet failed"), "{said}");
        said
    }

    /// Mode, owner and group, e.g. `750 root slipstream`; empty if nothing is there.
    pub fn rights(&self, path: &str) -> String {
        self.shell(&format!("stat --format '%a %U %G' {path} 2>/dev/null || :")).trim().to_owned()
    }
}
