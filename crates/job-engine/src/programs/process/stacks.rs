//! [`Stacks`]: asks a host where its threads are.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, iter};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::{Exit, Named};
use crate::process::activity::slot::Answer;

/// What makes a host say where its threads are.
const ASKS: Signal = Signal::USR1;
/// It has said everything if nothing comes for so long.
const QUIET: Duration = Duration::from_millis(30);
/// Most bytes that are read, and that are left unread from an earlier time: as many as a pipe holds.
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

    /// Asks the program where its threads are. The answer says it in lines, or why it says nothing, and waits until then at
    /// most.
    pub(crate) fn ask(self: &Arc<Self>) -> Answer {
        let (asked, stacks) = (self.signal(), self.clone());
        Box::new(move |deadline| match asked.and_then(|()| stacks.said(deadline)) {
            Ok(said) => said.lines().map(str::to_owned).collect(),
            Err(why) => vec![why.to_owned()],
        })
    }

    fn signal(&self) -> Result<(), &'static str> {
        let (mut pipe, mut late) = (self.pipe(), 0);
        // of an earlier time, too late; it may never end
        while late < MOST
            && let Some(more) = read(&mut pipe, MOST).filter(|more| !more.is_empty())
        {
            late += more.len();
        }
        // until its keeper has ended the number is the program's
        if self.exit.borrow().is_some() {
            return Err("it has ended");
        }
        // whoever has no handler would be ended by it
        if !catches(self.program, ASKS) {
            return Err("it does not take the signal by which it is asked");
        }
        kill_process(self.program, ASKS).map_err(|_| "it has ended")
    }

    fn said(&self, deadline: Instant) -> Result<String, &'static str> {
        let mut pipe = self.pipe();
        let mut said = Vec::new();
        while said.len() < MOST {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = if said.is_empty() { left } else { QUIET.min(left) };
            if !is_ready(&pipe, limit) {
                break;
            }
            match read(&mut pipe, MOST - said.len()) {
                Some(more) if !more.is_empty() => said.extend(more),
                _ => break,
            }
        }
        if said.is_empty() { Err("it does not answer") } else { Ok(String::from_utf8_lossy(&said).into_owned()) }
    }

    fn pipe(&self) -> MutexGuard<'_, File> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// How long each has to answer.
    const LIMIT: Duration = Duration::from_secs(1);

    /// A shell that has descriptor 4, and what asks it.
    struct Shell {
        child: Child,
        stacks: Arc<Stacks>,
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
            let stacks = Arc::new(Stacks::new(reader, Pid::from_child(&child), watched));
            until(|| folder.path().join("ready").exists().then_some(())).await;
            Self { child, stacks, exit, folder }
        }

        fn words(&self) -> Vec<String> {
            self.stacks.ask()(Instant::now() + LIMIT)
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
            assert_eq!(shell.words(), ["File one, line 1", "\u{1b}two"]);
        }
        assert!(shell.folder.path().exists());
    }

    #[tokio::test]
    async fn what_comes_too_late_is_not_heard_the_next_time() {
        let shell = Shell::start("echo 'too late' >&4; trap 'echo now >&4' USR1").await;
        assert_eq!(shell.words(), ["now"]);
    }

    #[tokio::test]
    async fn it_is_not_ended_by_the_question_and_not_waited_for() {
        let mut deaf = Shell::start("").await;
        assert_eq!(deaf.words(), ["it does not take the signal by which it is asked"]);
        assert!(!deaf.has_ended());
        let silent = Shell::start("trap : USR1").await;
        assert_eq!(silent.words(), ["it does not answer"]);
    }

    #[tokio::test]
    async fn one_that_has_ended_gets_no_signal() {
        let shell = Shell::start("trap 'echo asked >&4' USR1").await;
        shell.exit.send_replace(Some(Exit::Code(0)));
        assert_eq!(shell.words(), ["it has ended"]);
    }

    #[tokio::test]
    async fn many_are_asked_at_once_and_one_that_is_silent_takes_no_time_from_others() {
        let silent = Shell::start("trap : USR1").await;
        let shell = Shell::start("trap 'echo 1 >&4; echo now > said' USR1").await;
        let [nothing, one] = [&silent, &shell].map(|shell| shell.stacks.ask());
        until(|| shell.folder.path().join("said").exists().then_some(())).await;
        // there is no time left
        let deadline = Instant::now();
        assert_eq!([nothing(deadline), one(deadline)], [["it does not answer"], ["1"]]);
    }

    /// The fault: a host writes without an end, faster than it is read.
    #[tokio::test]
    async fn one_that_never_ends_is_read_no_further_than_it_may_be() {
        let shell = Shell::start("trap : USR1").await;
        let endless = File::open("/dev/zero").unwrap();
        let stacks = Arc::new(Stacks::new(endless, Pid::from_child(&shell.child), shell.exit.subscribe()));
        let (said, saying) = std::sync::mpsc::channel();
        std::thread::spawn(move || said.send(stacks.ask()(Instant::now() + LIMIT).concat()));
        let endless = saying.recv_timeout(Duration::from_mins(1)).unwrap();
        assert!(endless.len() == MOST && endless.starts_with('\0'), "{}", endless.len());
    }
}
