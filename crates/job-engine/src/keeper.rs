//! The keeper: a process of this program between an executor and a program that does jobs. It lets nothing of that program
//! outlive the program itself or the executor, however either ends.
//!
//! It has one thread, as `PR_SET_PDEATHSIG` needs, and is the *child subreaper* of whatever the program starts: a daemon that
//! forks twice becomes its child again. `docs/decisions.md#decision-20` has the reasons.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio, exit};
use std::ptr;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitOptions, getppid, kill_process, pidfd_open, set_child_subreaper,
    set_parent_process_death_signal, setrlimit, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdout};
use rustix::thread::set_name;
use serde_json::json;

use crate::process::descendants::{children, descendants};

/// The hidden first argument by which this program is a keeper.
pub(crate) const KEEP: &str = "--keep-program";
/// What the keeper is called in lists of processes, so that `killall slipstream-job` spares it.
pub(crate) const NAME: &str = "slipstream-keeper";
/// A setting of the keeper's allocator, taken from it before `main`: no memory is reserved, of which the kernel would give two
/// huge pages at once. In small letters, which the allocator does not mind, so that a manifest may set it for its program.
pub(crate) const SMALL_HEAP: (&str, &str) = ("mimalloc_arena_reserve", "0");
/// Where a program reports.
const REPORTS: RawFd = 3;
/// Where a host says where its threads are.
const STACKS: RawFd = 4;
/// Stands for an order that is not given.
const NONE: &str = "-";
/// How much sooner than the executor a program is killed when memory runs out.
const OOM_SCORE: &str = "500";
/// How long killed processes are waited for before those are looked for that came meanwhile.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// A program that could not be started.
const NOT_STARTED: i32 = 127;

/// Keeps a program and answers how it ended, if this process was started for that; else `None`. To be called before anything
/// else in `main`, while the process has one thread.
#[must_use]
pub fn serve_if_asked() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != KEEP {
        return None;
    }
    let Some(orders) = Orders::parse(arguments) else { return Some(ExitCode::from(2)) };
    match keep(&orders) {
        Ok(status) => end_like(status),
        Err(error) => {
            // without a reader there is nobody to tell
            drop(say(stdout(), &json!({"error": error.to_string()})));
            exit(NOT_STARTED)
        }
    }
}

/// What a keeper is started for.
pub(crate) struct Orders {
    pub executor: Pid,
    /// Most open files of each process.
    pub open_files: Option<u64>,
    /// A FIFO that takes the program's standard error.
    pub errors: OsString,
    /// A FIFO that takes where the program's threads are, if it is asked for that.
    pub stacks: Option<OsString>,
    /// With its arguments.
    pub program: Vec<OsString>,
}

impl Orders {
    /// As arguments of this program.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let open_files = self.open_files.map_or_else(|| NONE.to_owned(), |files| files.to_string());
        let stacks = self.stacks.clone().unwrap_or_else(|| NONE.into());
        let mut arguments =
            vec![KEEP.into(), self.executor.to_string().into(), open_files.into(), self.errors.clone(), stacks];
        arguments.extend(self.program.iter().cloned());
        arguments
    }

    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let executor = arguments.next()?.to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let open_files = match arguments.next()?.to_str()? {
            NONE => None,
            files => Some(files.parse().ok()?),
        };
        let errors = arguments.next()?;
        let stacks = arguments.next().map(|path| (path != NONE).then_some(path))?;
        let program: Vec<OsString> = arguments.collect();
        (!program.is_empty()).then_some(Self { executor, open_files, errors, stacks, program })
    }
}

/// Starts the program and waits until it or the executor has ended; then nothing of it is left.
fn keep(orders: &Orders) -> io::Result<ExitStatus> {
    set_name(c"slipstream-keep")?;
    close_inherited();
    set_child_subreaper(Some(rustix::process::getpid()))?;
    let executor = pidfd_open(orders.executor, PidfdFlags::empty())?;
    if getppid() != Some(orders.executor) {
        return Err(io::Error::other("the executor has ended"));
    }
    let ended_children = prepare_signals()?;
    limit(orders.open_files)?;
    let mut program = start(orders)?;
    let pid = Pid::from_child(&program);
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    // an executor that has ended meanwhile is seen below
    drop(say(stdout(), &json!({"pid": pid.as_raw_nonzero().get()})));
    give_up_pipes()?;
    loop {
        let mut watched = [&executor, &ended, &ended_children].map(|fd| PollFd::new(fd, PollFlags::IN));
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if watched[..2].iter().any(|fd| !fd.revents().is_empty()) {
            break;
        }
        forget_signals(&ended_children);
        reap_all_but(pid);
    }
    sweep(pid);
    program.wait()
}

/// Closes what whoever started the executor has left open: neither the program nor this process is to hold it. What it needs
/// itself is opened later.
fn close_inherited() {
    let first: RawFd = stderr().as_raw_fd() + 1;
    // SAFETY: nothing of this process owns any of these descriptors yet: it has just begun, and has one thread.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } == 0 {
        return;
    }
    // Linux before 5.9
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<RawFd> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd >= first) {
        // SAFETY: as above. The one of the listing is closed already, which is no error that anybody has to see.
        unsafe { libc::close(fd) };
    }
}

/// Kills everything that descends from this process. The program itself is reaped last, by the caller, so that its number is
/// nobody else's while the executor may still signal it.
fn sweep(program: Pid) {
    loop {
        let left = descendants(rustix::process::getpid());
        for &pid in &left {
            // one that has ended meanwhile is no error
            kill_process(pid, Signal::KILL).ok();
        }
        reap_all_but(program);
        if children(rustix::process::getpid()).iter().all(|&child| child == program) && has_ended(program) {
            return;
        }
        pause();
    }
}

/// Whether a child is only to be waited for.
fn has_ended(child: Pid) -> bool {
    let options = rustix::process::WaitIdOptions::EXITED
        | rustix::process::WaitIdOptions::NOHANG
        | rustix::process::WaitIdOptions::NOWAIT;
    !matches!(rustix::process::waitid(rustix::process::WaitId::Pid(child), options), Ok(None))
}

/// Those that became ours because their parent ended.
fn reap_all_but(program: Pid) {
    for child in children(rustix::process::getpid()) {
        if child != program {
            // one that is still running is reaped later
            waitpid(Some(child), WaitOptions::NOHANG).ok();
        }
    }
}

fn pause() {
    let timeout = Timespec::try_from(SWEEP_PAUSE).expect("a millisecond fits");
    // either end of it is right
    poll(&mut [], Some(&timeout)).ok();
}

/// Signals for the executor's group are not for the keeper, which ends by itself; a descriptor tells when a child has ended.
fn prepare_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is made by `sigemptyset` before it is read, all numbers are those of signals, and this process has one
    // thread, so that no other sees the mask change.
    let fd = unsafe {
        let mut blocked = MaybeUninit::uninit();
        libc::sigemptyset(blocked.as_mut_ptr());
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGCHLD] {
            // a program inherits what is ignored; what is blocked is unblocked for it, see `start`
            libc::signal(signal, libc::SIG_DFL);
            libc::sigaddset(blocked.as_mut_ptr(), signal);
        }
        if libc::sigprocmask(libc::SIG_BLOCK, blocked.as_ptr(), ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut children = MaybeUninit::uninit();
        libc::sigemptyset(children.as_mut_ptr());
        libc::sigaddset(children.as_mut_ptr(), libc::SIGCHLD);
        libc::signalfd(-1, children.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads what the descriptor of ended children holds, so that it waits for the next.
fn forget_signals(ended_children: &OwnedFd) {
    let mut one = [0; size_of::<libc::signalfd_siginfo>()];
    // an error says that there is none left
    while rustix::io::read(ended_children, &mut one).is_ok_and(|read| read > 0) {}
}

/// Also for what the program starts.
fn limit(open_files: Option<u64>) -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    if let Some(files) = open_files {
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: Some(files) })?;
    }
    // where it may not be written, the kernel chooses by itself
    drop(fs::write("/proc/self/oom_score_adj", OOM_SCORE));
    Ok(())
}

/// The program reads what comes in here, prints to the log, and reports on a descriptor of its own.
fn start(orders: &Orders) -> io::Result<Child> {
    let errors = File::options().write(true).open(Path::new(&orders.errors))?;
    // above those that the program gets, so that none is overwritten before it is copied
    let reports = fcntl_dupfd_cloexec(stdout(), STACKS + 1)?;
    let stacks = orders.stacks.as_deref().map(open_stacks).transpose()?;
    let keeper = rustix::process::getpid();
    let mut program = Command::new(&orders.program[0]);
    program
        .args(&orders.program[1..])
        .env_remove(SMALL_HEAP.0)
        .process_group(0)
        .stdin(Stdio::inherit())
        .stdout(Stdio::from(stderr().try_clone_to_owned()?))
        .stderr(Stdio::from(errors));
    let prepare = move || {
        // SAFETY: the set is made by `sigemptyset` before it is read.
        let unblocked = unsafe {
            let mut none = MaybeUninit::uninit();
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
        };
        if unblocked != 0 {
            return Err(io::Error::last_os_error());
        }
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(keeper) {
            return Err(io::Error::other("the keeper has ended"));
        }
        for (ours, number) in [(Some(&reports), REPORTS), (stacks.as_ref(), STACKS)] {
            // SAFETY: nothing that is needed is under that number: it is closed by the program's start
            if let Some(ours) = ours
                && unsafe { libc::dup2(ours.as_raw_fd(), number) } < 0
            {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only: it takes no lock, and allocates only to say an error, where
    // one thread means that nobody holds the allocator.
    unsafe { program.pre_exec(prepare) };
    program.spawn().map_err(|error| io::Error::new(error.kind(), cannot_start(&orders.program[0], &error)))
}

/// A program that writes there waits for nobody, and is not ended when nobody reads.
fn open_stacks(path: &OsStr) -> io::Result<OwnedFd> {
    let opened = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    Ok(fcntl_dupfd_cloexec(opened, STACKS + 1)?)
}

fn cannot_start(program: &OsStr, error: &io::Error) -> String {
    format!("cannot start {}: {error}", program.display())
}

/// The pipes are the program's alone, so that they end with it and with those it gave them to.
fn give_up_pipes() -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok(())
}

/// A line for the executor, before the program writes any.
fn say(reports: BorrowedFd<'_>, keeper: &serde_json::Value) -> io::Result<()> {
    let mut line = json!({"keeper": keeper}).to_string();
    line.push('\n');
    File::from(reports.as_fd().try_clone_to_owned()?).write_all(line.as_bytes())
}

/// Ends as the program has ended.
fn end_like(status: ExitStatus) -> ! {
    if let Some(signal) = status.signal() {
        // SAFETY: the signal's action becomes the usual one and it is unblocked, in a process of one thread that ends here.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            let mut set = MaybeUninit::uninit();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::sigprocmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
            libc::raise(signal);
        }
    }
    // also for signals that end nobody
    exit(status.code().unwrap_or(NOT_STARTED))
}
