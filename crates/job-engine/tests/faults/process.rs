//! [`Process`]: a process of a site, which does not outlive the test.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_setpipe_size;

use crate::support::eventually;

/// Kills the process when the pipe to it closes: when the tests have died.
const WATCHDOG: &str = r#"read -r _; kill -9 "$1""#;

/// Bytes that a pipe holds at least: a page.
const SHORTEST_PIPE: usize = 4096;
/// Bytes of a line of a log, most often less.
const LONG_LINE: u64 = 1024;

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
        Self::spawn(command.stdout(log).stderr(errors))
    }

    /// Starts it; what it says on standard error goes into the shortest of pipes, which nobody reads.
    pub fn start_unread(command: &mut Command) -> Self {
        let process = Self::spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()));
        let pipe = process.child.stderr.as_ref().expect("it was asked for");
        fcntl_setpipe_size(pipe, SHORTEST_PIPE).expect("a pipe can be made shorter");
        process
    }

    /// Whether a pipe that nobody reads is as good as full: the next line may have no room.
    pub fn is_choked(&self) -> bool {
        let unread = self.child.stderr.as_ref().and_then(|pipe| ioctl_fionread(pipe).ok());
        unread.is_some_and(|unread| unread > SHORTEST_PIPE as u64 - LONG_LINE)
    }

    fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).spawn().expect("the program can be started");
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
