//! The stacks of all threads of the running process, also of a release build, without stopping it and without its runtime:
//! [`install`] once, then [`capture`].
//!
//! Each thread in turn gets a signal. Its handler copies registers and stack, and does nothing else; the asking thread
//! unwinds from the copy. So whatever a thread is interrupted in, even an unwinding of its own, comes to no harm. As with any
//! signal, a system call that `SA_RESTART` does not restart (`epoll_wait`, `nanosleep`) ends with `EINTR`, and C's `sleep`
//! returns early.
//!
//! What a thread's stack holds beyond 64 KiB from its top is not seen. Code of a file that was replaced while the process
//! runs has no names, but the program's own file is always found.

mod files;
mod maps;
mod modules;
mod registers;
mod signal;
mod tasks;

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::modules::Modules;
use self::signal::Asker;
use self::tasks::Task;

/// How long a thread has to answer.
const EACH: Duration = Duration::from_millis(200);
/// After so long no further thread is asked.
const ALL: Duration = Duration::from_secs(3);

static CAPTURER: Mutex<Capturer> = Mutex::new(Capturer { asker: Asker::new(), modules: None });

/// All threads of the process at about the same time.
#[derive(Clone, Debug)]
pub struct Capture {
    /// The main thread, then the others in the order of their ids.
    pub threads: Vec<Thread>,
    /// How many of the threads have no frames.
    pub missed: usize,
    /// How long it took to ask them all.
    pub took: Duration,
}

/// A thread of the process.
#[derive(Clone, Debug)]
pub struct Thread {
    /// The kernel's number of it.
    pub id: i32,
    /// Its name, of which the kernel keeps 15 bytes.
    pub name: String,
    /// What it did before it was asked, by the letters of `proc_pid_stat(5)`: `R` running, `S` sleeping, `D` waiting in the
    /// kernel.
    pub state: char,
    /// Processor time that it has used.
    pub cpu: Duration,
    /// The functions that it is in, innermost first, or why they are not known. Code without a name is shown as file and
    /// address in it.
    pub frames: Result<Vec<String>, Missed>,
}

/// Why a thread's frames are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missed {
    /// [`install`] was not called, or somebody else has taken the signal.
    #[error("this process does not answer for its threads")]
    NotInstalled,
    /// It ended meanwhile.
    #[error("it ended meanwhile")]
    Ended,
    /// It blocks the signal.
    #[error("it blocks signals")]
    Blocked,
    /// It did not answer in time: the kernel does not let it go on, or there is no processor for it.
    #[error("it does not answer")]
    Silent,
    /// A thread that was asked before it is still answering.
    #[error("another thread is still answering")]
    Busy,
    /// The system did not let it copy its stack.
    #[error("its stack cannot be read")]
    Unreadable,
    /// Asking the others has taken too long.
    #[error("there was no time left to ask it")]
    NoTime,
}

/// Lets the threads of this process answer [`capture`] from now on, by the signal `SIGRTMIN+7`. Fails if somebody else has
/// this signal.
pub fn install() -> io::Result<()> {
    signal::install()
}

/// Asks every thread of the process, this one too, where it is. Takes milliseconds, and 4 seconds at most, most of which it
/// waits for threads that do not answer. Before that it reads the files of the code that it does not know yet: the first time
/// the program's own, which takes longer. Captures happen one after the other.
pub fn capture() -> Capture {
    let mut capturer = CAPTURER.lock().unwrap_or_else(PoisonError::into_inner);
    let is_installed = signal::is_installed();
    if is_installed {
        // files are of any size, and no thread is to miss its turn for them
        capturer.modules().update();
    }
    let begun = Instant::now();
    let last = begun + ALL;
    let threads = tasks::all().into_iter().filter_map(|id| {
        let Task { name, state, cpu, blocked, pending } = tasks::read(id)?;
        let frames = match state {
            _ if !is_installed => Err(Missed::NotInstalled),
            'Z' | 'X' => Err(Missed::Ended),
            _ if signal::is_in(blocked) => Err(Missed::Blocked),
            _ if Instant::now() >= last => Err(Missed::NoTime),
            _ => capturer.frames(id, signal::is_in(pending)),
        };
        Some(Thread { id, name, state, cpu, frames })
    });
    let threads: Vec<Thread> = threads.collect();
    let missed = threads.iter().filter(|thread| thread.frames.is_err()).count();
    Capture { threads, missed, took: begun.elapsed() }
}

struct Capturer {
    asker: Asker,
    /// None before the first capture.
    modules: Option<Modules>,
}

impl Capturer {
    fn frames(&mut self, task: i32, is_asked: bool) -> Result<Vec<String>, Missed> {
        let sample = self.asker.ask(task, is_asked, EACH)?;
        Ok(self.modules().frames(&sample))
    }

    fn modules(&mut self) -> &mut Modules {
        self.modules.get_or_insert_with(Modules::new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_mapped_is_looked_at_once_for_all_threads() {
        install().unwrap();
        let (held, ends) = mpsc::channel::<()>();
        let (ends, count) = (Mutex::new(ends), 5);
        let looks = || CAPTURER.lock().unwrap().modules().looks;
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| ends.lock().unwrap().recv().unwrap_err());
            }
            let before = looks();
            let all = capture();
            assert_eq!(looks(), before + 1);
            let found = all.threads.iter().filter(|thread| thread.frames.is_ok()).count();
            assert!(found > count, "{all:?}");
            drop(held);
        });
    }
}
