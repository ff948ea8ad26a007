//! [`Stacks`]: asks a host where its threads are.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, iter};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::{Exit, Named};
use crate::process::visible::visible;

/// What makes a host say where its threads are.
const ASKS: Signal = Signal::USR1;
/// How long it has for that.
const LIMIT: Duration = Duration::from_millis(300);
/// It has said everything if nothing comes for so long.
const QUIET: Duration = Duration::from_millis(30);
/// Most bytes that are read.
const MOST: usize = 64 * 1024;

/// The way to ask one process, as long as it runs. Needs no runtime.
#[derive(Debug)]
pub(crate) struct Stacks {
    /// What it says comes from here; nobody waits in it.
    pipe: Mutex<File>,
    program: Pid,
    exit: watch::Receiver<Option<Exit>>,
}

/// A pipe for it: its name goes when this is dropped.
pub(super) fn pipe(path: PathBuf) -> io::Result<(Named, File)> {
    let named = Named::new(path)?;
    let pipe = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&named.0)?;
    Ok((named, pipe))
}

impl Stacks {
    pub(super) fn new(pipe: File, program: Pid, exit: watch::Receiver<Option<Exit>>) -> Self {
        Self { pipe: Mutex::new(pipe), program, exit }
    }

    /// What the program says of its threads, in lines, or why it says nothing. Waits for it 300 ms at most.
    pub(crate) fn words(&self) -> Vec<String> {
        match self.ask() {
            Ok(said) => said.lines().map(|line| visible(line, &[])).collect(),
            Err(why) => vec![why.to_owned()],
        }
    }

    fn ask(&self) -> Result<String, &'static str> {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        // of an earlier time, too late
        while read(&mut pipe, MOST).is_some_and(|late| !late.is_empty()) {}
        // until its keeper has ended the number is the program's
        if self.exit.borrow().is_some() {
            return Err("it has ended");
        }
        // whoever has no handler would be ended by it
        if !catches(self.program, ASKS) {
            return Err("it does not take the signal by which it is asked");
        }
        if kill_process(self.program, ASKS).is_err() {
            return Err("it has ended");
        }
        let deadline = Instant::now() + LIMIT;
        let mut said = Vec::new();
        while said.len() < MOST {
            let quiet = if said.is_empty() { LIMIT } else { QUIET };
            let left = deadline.saturating_duration_since(Instant::now());
            if !is_ready(&pipe, quiet.min(left)) {
                break;
            }
            match read(&mut pipe, MOST - said.len()) {
                Some(more) if !more.is_empty() => said.extend(more),
                _ => break,
            }
        }
        if said.is_empty() { Err("it does not answer") } else { Ok(String::from_utf8_lossy(&said).into_owned()) }
    }
}

/// What has arrived; nothing at the end, none if there is nothing now.
fn read(pipe: &mut File, most: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; most.min(4096)];
    let read = iter::repeat_with(|| pipe.read(&mut bytes))
        .find(|read| !read.as_ref().is_err_and(|error| error.kind() == ErrorKind::Interrupted))?;
    bytes.truncate(read.ok()?);
    Some(bytes)
}

fn is_ready(pipe: &File, limit: Duration) -> bool {
    let Ok(limit) = Timespec::try_from(limit) else { return false };
    poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
}

/// Whether a process has a handler for a signal, by `proc_pid_status(5)`.
fn catches(process: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok()).unwrap_or_default();
    caught >> (signal.as_raw() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::programs::process::tests::until;

    /// A shell that has descriptor 4, and what asks it.
    struct Shell {
        child: Child,
        stacks: Stacks,
        exit: watch::Sender<Option<Exit>>,
        folder: tempfile::TempDir,
    }

    impl Shell {
        /// Runs until its input ends.
        async fn start(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (named, reader) = pipe(folder.path().join("stacks")).unwrap();
            let script =
                format!("exec 4<>'{}'\n{script}\n: > ready\nwhile ! read -r line; do :; done", named.0.display());
            let child = Command::new("sh")
                .args(["-c", &script])
                .current_dir(folder.path())
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            let (exit, watched) = watch::channel(None);
            let stacks = Stacks::new(reader, Pid::from_child(&child), watched);
            until(|| folder.path().join("ready").exists().then_some(())).await;
            Self { child, stacks, exit, folder }
        }

        fn has_ended(&mut self) -> bool {
            self.child.try_wait().unwrap().is_some()
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            self.child.kill().unwrap_or_default();
            self.child.wait().map(drop).unwrap_or_default();
        }
    }

    #[tokio::test]
    async fn it_says_it_each_time_it_is_asked() {
        let shell = Shell::start("trap 'echo \"File one, line 1\" >&4; printf \"\\033two\\n\" >&4' USR1").await;
        for _ in 0..3 {
            assert_eq!(shell.stacks.words(), ["File one, line 1", "\\u001btwo"]);
        }
        assert!(shell.folder.path().exists());
    }

    #[tokio::test]
    async fn what_comes_too_late_is_not_heard_the_next_time() {
        let shell = Shell::start("echo 'too late' >&4; trap 'echo now >&4' USR1").await;
        assert_eq!(shell.stacks.words(), ["now"]);
    }

    #[tokio::test]
    async fn it_is_not_ended_by_the_question_and_not_waited_for() {
        let mut deaf = Shell::start("").await;
        assert_eq!(deaf.stacks.words(), ["it does not take the signal by which it is asked"]);
        assert!(!deaf.has_ended());
        let silent = Shell::start("trap : USR1").await;
        assert_eq!(silent.stacks.words(), ["it does not answer"]);
    }

    #[tokio::test]
    async fn one_that_has_ended_gets_no_signal() {
        let shell = Shell::start("trap 'echo asked >&4' USR1").await;
        shell.exit.send_replace(Some(Exit::Code(0)));
        assert_eq!(shell.stacks.words(), ["it has ended"]);
    }
}
