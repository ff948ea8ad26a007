//! How everything is asked to stop. Signals are read here and nowhere else.

use std::ffi::c_int;
use std::io::{self, IsTerminal, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::process::activity::Activity;
use crate::process::output;

/// Handed to whatever runs until it is told to stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: CancellationToken,
    at_once: CancellationToken,
}

impl Stop {
    /// Nobody asks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for an orderly stop: nothing new is begun, what runs may end within its grace.
    pub fn ask(&self) {
        self.asked.cancel();
    }

    /// Asks to stop without any grace.
    pub fn ask_at_once(&self) {
        self.asked.cancel();
        self.at_once.cancel();
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Ends when somebody asks.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Waits this long; ends early when somebody asks.
    pub async fn pause(&self, pause: Duration) {
        // Either branch is the end of the pause.
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => {}
            () = self.asked() => {}
        }
    }

    /// Ends when the grace is over: `grace` after somebody asked, or when somebody asked to stop at once.
    pub async fn grace_over(&self, grace: Duration) {
        self.asked.cancelled().await;
        // Either branch is the end of the grace.
        tokio::select! {
            biased;
            () = tokio::time::sleep(grace) => {}
            () = self.at_once.cancelled() => {}
        }
    }
}

/// How long after the grace the last steps may take, each of which has a limit of its own unless a disk hangs.
const LAST_STEPS: Duration = Duration::from_mins(2);

impl Stop {
    /// What `work` ends with, if it does so in time after somebody asked to stop.
    pub async fn in_time<T>(&self, grace: Duration, work: impl Future<Output = T>) -> Result<T, Overdue> {
        let overdue = async {
            self.grace_over(grace).await;
            tokio::time::sleep(LAST_STEPS).await;
        };
        tokio::select! {
            biased;
            ended = work => Ok(ended),
            () = overdue => Err(Overdue),
        }
    }
}

/// Something did not end, and is left behind.
#[derive(Debug, thiserror::Error)]
#[error("it did not end in time; what was answered is on disk")]
pub struct Overdue;

/// Exit code after a third signal: 128 and the number of SIGINT, as shells have it.
const THIRD_SIGNAL: i32 = 130;

/// Signals that would end the process at once: writes over a limit, and what only a [`notice`] has a meaning for.
const ENDING: [c_int; 2] = [libc::SIGXFSZ, libc::SIGUSR1];

/// For a command that goes on until it is stopped: asks `stop` at the first SIGTERM, SIGINT, SIGQUIT or SIGHUP, to stop
/// at once at the second, and ends the process at the third.
pub fn on_signals(stop: &Stop) -> io::Result<()> {
    ask_on(stop, &[libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP])
}

/// The same for a service, which lives on when others want something of it that it does not know: SIGHUP asks it to stop
/// only where standard input is a terminal, whose end that signal tells, and else to open its log again; SIGUSR2 drains it;
/// and a file that grows over a limit of the process is an error of its write.
pub fn on_signals_of_a_service(
    stop: &Stop,
    activity: &Activity,
    mut on_hangup: impl FnMut() + Send + 'static,
) -> io::Result<()> {
    let mut asking = vec![libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];
    if io::stdin().is_terminal() {
        asking.push(libc::SIGHUP);
    } else {
        let mut signal = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                tracing::info!("SIGHUP: opening the file of the log again, if there is one");
                output::reopen();
                on_hangup();
            }
        });
    }
    let (mut drains, activity) = (signal(SignalKind::user_defined2())?, activity.clone());
    tokio::spawn(async move {
        while drains.recv().await.is_some() {
            tracing::info!("SIGUSR2: taking no more jobs");
            activity.drain(true);
        }
    });
    let mut alarms = signal(SignalKind::alarm())?;
    tokio::spawn(async move {
        while alarms.recv().await.is_some() {
            tracing::info!("ignoring SIGALRM");
        }
    });
    for number in ENDING {
        // heard, so that it ends nobody: whoever writes more than this process may is told by the error
        let _heard = signal(SignalKind::from_raw(number))?;
    }
    ask_on(stop, &asking)
}

fn ask_on(stop: &Stop, numbers: &[c_int]) -> io::Result<()> {
    let signals = numbers.iter().map(|number| signal(SignalKind::from_raw(*number)));
    let mut signals: Vec<Signal> = signals.collect::<io::Result<_>>()?;
    let stop = stop.clone();
    tokio::spawn(async move {
        for ask in [Stop::ask, Stop::ask_at_once] {
            any_of(&mut signals).await;
            ask(&stop);
        }
        any_of(&mut signals).await;
        // Whoever asks a third time does not want to wait for anything; what was answered is on disk.
        std::process::exit(THIRD_SIGNAL);
    });
    Ok(())
}

/// A signal for a plain thread, which can wait for it as for a socket: there is something to read once it has come.
#[derive(Debug)]
pub struct Notice(UnixStream);

/// Hears of this signal from now on, beside whoever hears of it as well.
pub fn notice(signal: c_int) -> io::Result<Notice> {
    let (told, tells) = UnixStream::pair()?;
    told.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, tells)?;
    Ok(Notice(told))
}

impl Notice {
    /// Whether it has come since this was last asked.
    pub fn has_come(&self) -> bool {
        let mut bytes = [0; 64];
        let mut has_come = false;
        while let Ok(1..) = (&self.0).read(&mut bytes) {
            has_come = true;
        }
        has_come
    }
}

impl AsFd for Notice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A [`Notice`] of a signal that ends the process, as it does again once nobody listens any more.
#[derive(Debug)]
pub struct EndingNotice {
    notice: Notice,
    nobody_listens: Arc<AtomicBool>,
    signal: c_int,
}

/// Hears of this signal from now on, instead of the process's end.
pub fn ending_notice(signal: c_int) -> io::Result<EndingNotice> {
    let nobody_listens = Arc::new(AtomicBool::new(false));
    // whoever is asked first ends the process
    signal_hook::flag::register_conditional_default(signal, nobody_listens.clone())?;
    match notice(signal) {
        Ok(notice) => Ok(EndingNotice { notice, nobody_listens, signal }),
        Err(error) => {
            nobody_listens.store(true, Ordering::SeqCst);
            Err(error)
        }
    }
}

impl EndingNotice {
    /// As that of a [`Notice`].
    pub fn has_come(&self) -> bool {
        self.notice.has_come()
    }
}

impl AsFd for EndingNotice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notice.as_fd()
    }
}

impl Drop for EndingNotice {
    fn drop(&mut self) {
        self.nobody_listens.store(true, Ordering::SeqCst);
        // in between, so that nobody has looked
        if self.notice.has_come()
            && let Err(error) = signal_hook::low_level::emulate_default_handler(self.signal)
        {
            tracing::warn!(%error, "cannot end this process by a signal");
        }
    }
}

/// Ends the process as SIGABRT does that nobody hears of.
pub fn abort() -> ! {
    std::process::abort()
}

/// Ends when one of them comes: each asks for the same.
async fn any_of(signals: &mut [Signal]) {
    std::future::poll_fn(|context| {
        let is_there = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if is_there { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_thread_hears_of_a_signal_once() {
        // ignored unless somebody hears of it
        let notice = notice(libc::SIGWINCH).unwrap();
        assert!(!notice.has_come());
        signal_hook::low_level::raise(libc::SIGWINCH).unwrap();
        assert!(notice.has_come() && !notice.has_come());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_after_a_stop_is_left_behind() {
        let stop = Stop::new();
        assert_eq!(stop.in_time(Duration::ZERO, async { 1 }).await.ok(), Some(1));
        let start = tokio::time::Instant::now();
        let hanging = stop.in_time(Duration::from_mins(3), std::future::pending::<()>());
        let asked = async {
            tokio::time::sleep(Duration::from_hours(1)).await;
            stop.ask();
        };
        let both = async { tokio::join!(hanging, asked) };
        let (ended, ()) = tokio::time::timeout(Duration::from_hours(2), both).await.expect("it is left behind");
        assert!(ended.is_err());
        assert_eq!(start.elapsed(), Duration::from_mins(63) + LAST_STEPS);
    }
}
