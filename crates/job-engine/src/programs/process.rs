//! [`Process`]: a program under a keeper, with its pipes.

mod input;
mod stacks;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Deserialize;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

pub(crate) use self::input::Input;
use self::stacks::Stacks;
use super::keepers::Keepers;
use super::lines::{LineError, Lines};
use super::log::{Log, Stream};
use crate::keeper::{self, Orders};
use crate::process::activity::slot;
use crate::programs::program::Program;

/// How long a keeper may take to start its program.
const START: Duration = Duration::from_secs(10);
/// Most lines that a program may have written by then.
const MOST_EARLY: usize = 100;
/// How long what a program has printed is read once nothing of it is left.
const REST: Duration = Duration::from_secs(1);

/// What a process needs to start.
pub(crate) struct Start<'a> {
    pub(crate) keepers: &'a Keepers,
    pub(crate) program: &'a Program,
    /// Its current directory.
    pub(crate) directory: &'a Path,
    /// A path for the FIFO of its standard error, where nothing is yet.
    pub(crate) errors: PathBuf,
    /// One for that by which it says where its threads are, if it may be able to.
    pub(crate) stacks: Option<PathBuf>,
    /// All that it finds in its environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) log: Log,
}

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// No process could be made for it.
    #[error("cannot start a process for {program}")]
    NoProcess {
        program: String,
        #[source]
        source: io::Error,
    },
    /// The keeper says why, for people.
    #[error("{0}")]
    Refused(String),
    /// The keeper ended, or was silent, before it had started the program.
    #[error("the process that was to start {program} {how}")]
    NoKeeper { program: String, how: String },
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// What a program does next.
#[derive(Debug)]
pub(crate) enum Event {
    /// It reports this, without the line's end.
    Line(Vec<u8>),
    /// What it reports is no line.
    Breach(LineError),
    /// It has closed descriptor 3, as it does when it ends. Said once.
    Silent,
    /// It has ended so, and nothing of it is left.
    Ended(Exit),
}

/// A program that runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    input: Option<Input>,
    reports: Lines<ChildStdout>,
    /// What it reported before it was known to run.
    early: VecDeque<Vec<u8>>,
    /// Nothing else will be reported.
    is_silent: bool,
    log: Log,
    /// The program itself and its group.
    program: Pid,
    keeper: Pid,
    exit: watch::Receiver<Option<Exit>>,
    stacks: Option<Arc<Stacks>>,
}

/// The keeper's line among the reports.
#[derive(Deserialize)]
struct KeepersLine {
    keeper: Started,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Started {
    Pid(i32),
    Error(String),
}

impl Process {
    /// Starts a program. Ends when it runs; dropped before, nothing of it goes on.
    pub(crate) async fn start(start: Start<'_>) -> Result<Self, StartError> {
        let name = || start.program.command[0].display().to_string();
        let no_process = |source| StartError::NoProcess { program: name(), source };
        let (_named, errors) = named_pipe(start.errors.clone()).map_err(no_process)?;
        let stacks = start.stacks.clone().map(stacks::pipe).transpose().map_err(no_process)?;
        let mut command = command(&start);
        let mut child = start.keepers.spawn(&mut command).map_err(no_process)?;
        let keeper = Pid::from_raw(child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default());
        let keeper = keeper.expect("a child that nobody waited for has a number");
        let (stdin, reports, printed) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ((stdin, reports), printed) = stdin.zip(reports).zip(printed).expect("all are pipes");
        let (exit_sender, exit) = watch::channel(None);
        let (log, keepers) = (start.log.clone(), start.keepers.clone());
        let read_output = log.clone().read(printed, Stream::Output);
        let read_errors = log.clone().read(errors, Stream::Error);
        // its program is not known yet, and nobody else can end it
        let given_up = CancellationToken::new();
        let starting = given_up.clone().drop_guard();
        tokio::spawn(async move {
            let reading = AbortOnDropHandle::new(tokio::spawn(async move { tokio::join!(read_output, read_errors) }));
            let exit = watch_over(child, keeper, &keepers, &given_up).await;
            // nobody holds the pipes any more; what has not been read by then is left out. A keeper that has not opened the
            // FIFO never ends it
            drop(timeout(REST, reading).await);
            exit_sender.send_replace(Some(exit));
        });
        let input = Input::new(stdin).map_err(no_process)?;
        let mut reports = Lines::new(reports);
        let failed = |how: String| StartError::NoKeeper { program: name(), how };
        let started = match timeout(START, keepers_line(&mut reports)).await {
            Ok(Some(started)) => Ok(started),
            Ok(None) => Err(failed("ended".to_owned())),
            Err(_) => Err(failed(format!("took more than {START:?}"))),
        };
        let (started, early) = started?;
        let program = match started {
            Started::Pid(pid) => Pid::from_raw(pid).ok_or_else(|| failed("said no number".to_owned()))?,
            Started::Error(error) => return Err(StartError::Refused(error)),
        };
        starting.disarm();
        let stacks = stacks.map(|(_named, pipe)| Arc::new(Stacks::new(pipe, program, exit.clone())));
        Ok(Self { input: Some(input), reports, early, is_silent: false, log: start.log, program, keeper, exit, stacks })
    }

    /// Writes to the program's standard input; the line has its end already.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.as_ref().ok_or(io::ErrorKind::BrokenPipe)?.write(bytes).await
    }

    /// The standard input, for whoever writes it beside reading the reports.
    pub(crate) fn take_input(&mut self) -> Option<Input> {
        self.input.take()
    }

    /// What comes next. The end comes after all lines; until it has ended none is read while `reads` is false. May be dropped
    /// and asked again.
    pub(crate) async fn event(&mut self, reads: bool) -> Event {
        if let Some(line) = self.early.pop_front_if(|_| reads) {
            return Event::Line(line);
        }
        let mut has_ended = false;
        loop {
            tokio::select! {
                biased;
                line = self.reports.next(), if (reads || has_ended) && !self.is_silent => match line {
                    Ok(Some(line)) => return Event::Line(line),
                    Ok(None) => {
                        self.is_silent = true;
                        return Event::Silent;
                    }
                    Err(error) => {
                        self.is_silent = true;
                        return Event::Breach(error);
                    }
                },
                exit = ended(&mut self.exit), if !has_ended || self.is_silent => {
                    if self.is_silent {
                        return Event::Ended(exit);
                    }
                    has_ended = true;
                }
                // a keeper that was killed may have left somebody who holds the pipe
                () = sleep(REST), if has_ended => self.is_silent = true,
            }
        }
    }

    /// Asks the program and its group to end.
    pub(crate) fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
        // one that was halted hears nothing
        self.signal(Signal::CONT);
    }

    /// Sends a signal to the program and its group. `KILL` ends all that descends from it as well.
    pub(crate) fn signal(&self, signal: Signal) {
        // until the keeper has ended the number is the program's
        if self.exit.borrow().is_none() {
            // a group may have ended already
            kill_process_group(self.program, signal).ok();
        }
        if signal == Signal::KILL {
            self.kill();
        }
    }

    fn kill(&self) {
        if self.exit.borrow().is_none() {
            // also one that has left its group
            kill_process(self.program, Signal::KILL).ok();
        }
    }

    /// What it prints.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// What is shown of it to whoever asks what the executor is doing.
    pub(crate) fn shown(&self, program: &Program) -> slot::Program {
        let path = Path::new(&program.command[0]);
        let name = path.file_name().unwrap_or(path.as_os_str());
        let process = self.program.as_raw_nonzero().get();
        let own_words = self.stacks.clone().map(|stacks| Arc::new(move || stacks.ask()) as slot::OwnWords);
        slot::Program { name: name.to_string_lossy().into_owned(), process, own_words }
    }

    /// It has said that it cannot say where its threads are.
    pub(crate) fn has_no_stacks(&mut self) {
        self.stacks = None;
    }

    /// The process above it, of which all others of it descend.
    pub(crate) fn keeper(&self) -> Pid {
        self.keeper
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The keeper's line, and those that the program has written before it: it runs already when the keeper can say so. `None` if
/// none came.
async fn keepers_line(reports: &mut Lines<ChildStdout>) -> Option<(Started, VecDeque<Vec<u8>>)> {
    let mut early = VecDeque::new();
    while let Ok(Some(line)) = reports.next().await {
        match serde_json::from_slice::<KeepersLine>(&line) {
            Ok(line) => return Some((line.keeper, early)),
            Err(_) if early.len() < MOST_EARLY => early.push_back(line),
            Err(_) => return None,
        }
    }
    None
}

/// How the program ended, once nothing of it is left.
async fn ended(exit: &mut watch::Receiver<Option<Exit>>) -> Exit {
    match exit.wait_for(Option::is_some).await.map(|exit| *exit) {
        Ok(Some(exit)) => exit,
        // whoever watches over it was stopped, with the runtime
        _ => std::future::pending().await,
    }
}

/// Waits for the keeper's end. Killed when it is given up, it takes its program along.
async fn watch_over(mut child: Child, keeper: Pid, keepers: &Keepers, given_up: &CancellationToken) -> Exit {
    tokio::select! {
        // its status is kept
        _ = child.wait() => {}
        () = given_up.cancelled() => child.start_kill().unwrap_or_default(),
    }
    let status = child.wait().await.unwrap_or_else(|error| {
        warn!(%error, "cannot wait for a program");
        ExitStatus::from_raw(libc::SIGKILL)
    });
    keepers.ended(keeper, status).await;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
    }
}

fn command(start: &Start<'_>) -> Command {
    let orders = Orders {
        executor: rustix::process::getpid(),
        open_files: start.program.limits.open_files,
        errors: start.errors.clone().into_os_string(),
        stacks: start.stacks.clone().map(PathBuf::into_os_string),
        program: start.program.command.clone(),
    };
    let mut command = Command::new(start.keepers.program());
    command
        .arg0(keeper::NAME)
        .args(orders.arguments())
        .process_group(0)
        .env_clear()
        .envs(start.environment.iter().map(|(name, value)| (name, value)))
        .env(keeper::SMALL_HEAP.0, keeper::SMALL_HEAP.1)
        .current_dir(start.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The name of a pipe, for as long as it takes the keeper to open it.
struct Named(PathBuf);

impl Named {
    fn new(path: PathBuf) -> io::Result<Self> {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        Ok(Self(path))
    }
}

fn named_pipe(path: PathBuf) -> io::Result<(Named, pipe::Receiver)> {
    let named = Named::new(path)?;
    let receiver = pipe::OpenOptions::new().open_receiver(&named.0)?;
    Ok((named, receiver))
}

impl Drop for Named {
    fn drop(&mut self) {
        // it goes with its folder at the latest
        drop(std::fs::remove_file(&self.0));
    }
}

impl Exit {
    /// In words for people.
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Code(code) => format!("exit code {code}"),
            Self::Signal(signal) => format!("killed by {}", signal_name(signal)),
        }
    }
}

/// As `signal(7)` has it.
fn signal_name(number: i32) -> String {
    let known = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    let name = known.iter().find(|(known, _)| *known == number);
    name.map_or_else(|| format!("signal {number}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests;
