//! [`Process`]: a process of a site, which does not outlive the test.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::support::eventually;

/// Kills the process when the pipe to it closes: when the tests have died.
const WATCHDOG: &str = r#"read -r _; kill -9 "$1""#;

/// A process. Killed when dropped.
pub struct Process {
    child: Child,
    watchdog: Child,
}

impl Process {
    /// Starts it; what it says is added to the file `log`. Its standard input ends with the test.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let mut log = File::options().create(true).append(true).open(log).expect("a log can be opened");
        let errors = log.try_clone().expect("a log can be shared");
        writeln!(log, "--- {command:?}").expect("a log can be written to");
        let child =
            command.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn().expect("the program can be started");
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh can be started");
        Self { child, watchdog }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let process = self.id().to_string();
        // the shell's own kill: no other program is needed
        let status = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "signal", name, &process]).status();
        assert!(status.is_ok_and(|status| status.success()), "process {process} takes no signal {name}");
    }

    /// `SIGSTOP`: its connections stay open, nothing is answered. Returns once it stands still.
    pub async fn pause(&self) {
        self.signal("STOP");
        eventually("the process stands still", async || (self.state() == Some('T')).then_some(())).await;
    }

    /// `SIGCONT`.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// As `ps` shows it (proc(5)).
    pub fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// `kill -9`: nothing is flushed, nothing is said.
    pub fn kill(&mut self) {
        // the watchdog first, so that it never kills a stranger that was given the number
        for child in [&mut self.watchdog, &mut self.child] {
            // it may have ended by itself
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks it to stop, as its unit does, and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually("the process ends", async || child.try_wait().expect("the process is ours")).await;
        self.kill();
        status
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Ends its standard input.
    pub fn let_go(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
