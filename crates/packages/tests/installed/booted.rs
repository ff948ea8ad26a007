//! [`Booted`]: a Debian with systemd as its first process, on this machine's network.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::root::{Root, succeed};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Set, to the reason, where `systemd-nspawn` does not run.
const REFUSED: &str = "SLIPSTREAM_TEST_UNBOOTED";

/// Containers without a unit of their own share that of the tests, in which only one can be the first.
static ONE: Mutex<()> = Mutex::new(());

/// Stopped with this.
pub struct Booted {
    container: Child,
    /// Its first process.
    leader: String,
    // last, after what runs in it
    root: Root,
    _only: MutexGuard<'static, ()>,
}

impl Booted {
    /// None where `cargo xtask test` has found that this machine refuses it, and says so beside the totals.
    pub fn new(root: Root) -> Option<Self> {
        if std::env::var_os(REFUSED).is_some() {
            return None;
        }
        let only = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = Command::new("systemd-nspawn");
        command.args(["--boot", "--quiet", "--register=no", "--keep-unit", "--directory"]).arg(root.path());
        let output = fs::File::create(root.at("/console")).expect("done");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("done")).stderr(output);
        let container = command.spawn().expect("done");
        let children = format!("/proc/{0}/task/{0}/children", container.id());
        let mut booted = Self { container, leader: String::new(), root, _only: only };
        wait_for("a first process", || {
            let all = fs::read_to_string(&children).unwrap_or_default();
            let first = all.split_whitespace().find(|process| is_first(process));
            first.unwrap_or_default().clone_into(&mut booted.leader);
            !booted.leader.is_empty()
        });
        let runs = || ["running", "degraded"].contains(&&*booted.ask("systemctl is-system-running"));
        assert!(comes_true(runs), "systemd does not run:\n{}", booted.root.read("/console"));
        Some(booted)
    }

    /// Copies a package into it and has its package manager install it or upgrade to it; answers what that says.
    pub fn install(&self, package: &Path) -> String {
        let name = package.file_name().expect("done").to_string_lossy();
        let inside = format!("/srv/{name}");
        fs::copy(package, self.root.at(&inside)).expect("done");
        match package.extension().and_then(|extension| extension.to_str()) {
            Some("deb") => self.shell(&format!("dpkg --force-confold --install {inside} 2>&1")),
            _ => self.shell(&format!("rpm --nodeps --dbpath /var/lib/rpm --upgrade {inside} 2>&1")),
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.leader, "--mount", "--pid", "--net", "--uts", "--ipc"]);
        command.args(["/bin/sh", "-c", line]).env("PATH", "/usr/sbin:/usr/bin").env_remove("NOTIFY_SOCKET");
        command
    }

    /// A line of shell in it, which has to succeed; answers what it prints.
    pub fn shell(&self, line: &str) -> String {
        succeed(&mut self.command(line))
    }

    /// What a line of shell prints, whether it succeeds or not.
    pub fn ask(&self, line: &str) -> String {
        let output = self.command(line).output().expect("done");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Whether a line of shell succeeds.
    pub fn is_so(&self, line: &str) -> bool {
        self.command(line).output().expect("done").status.success()
    }

    /// What systemd knows of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.ask(&format!("systemctl show --property={name} --value {unit}"))
    }

    /// Waits until a property of a unit is as it should be.
    pub fn wait_for(&self, unit: &str, name: &str, is_right: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            last = self.property(unit, name);
            if is_right(&last) {
                return;
            }
            std::thread::park_timeout(LOOK);
        }
        panic!("{unit}: {name} is {last:?}\n{}", self.journal(unit));
    }

    /// What a unit has logged.
    pub fn journal(&self, unit: &str) -> String {
        self.ask(&format!("journalctl --no-pager --output=cat --unit={unit}"))
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // to systemd as the first process of a container: power off
        Command::new("kill").args(["-s", "RTMIN+4", &self.leader]).status().ok();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Ok(Some(_)) = self.container.try_wait() {
                return;
            }
            std::thread::park_timeout(LOOK);
        }
        self.container.kill().ok();
        self.container.wait().ok();
    }
}

/// Whether a process is the first one in a namespace of its own (`proc_pid_status(5)`), and not one that only makes it.
fn is_first(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    numbers.split_whitespace().nth(1) == Some("1")
}

/// Waits until something is so.
pub fn wait_for(what: &str, is_so: impl FnMut() -> bool) {
    assert!(comes_true(is_so), "waited {PATIENCE:?} for {what}");
}

/// Whether something becomes so.
fn comes_true(mut is_so: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if is_so() {
            return true;
        }
        if begin.elapsed() > PATIENCE {
            return false;
        }
        std::thread::park_timeout(LOOK);
    }
}
