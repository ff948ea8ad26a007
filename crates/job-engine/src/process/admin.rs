//! The admin socket: `threads`, `drain` and others ask a running service by it. It is an abstract Unix socket,
//! `@slipstream-job/NAMESPACE/PID`, so that no file is left behind; who asks is known by the kernel. A plain thread answers, one
//! client after the other, so that a service whose runtime is blocked still says where.

pub mod client;
mod exchange;
mod peer;
mod threads;
pub mod verb;

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::geteuid;

use self::peer::Peer;
use self::threads::Shown;
use self::verb::Verb;
use crate::process::activity::Activity;
use crate::process::output;
use crate::process::stop::{self, EndingNotice, Notice};
use crate::process::telemetry::ALWAYS;

/// How long a client may take to ask, and to read its answer; and how long one that is refused.
const ASKING: Duration = Duration::from_secs(1);
const READING: Duration = Duration::from_secs(5);
const REFUSING: Duration = Duration::from_millis(100);
/// Longest question, in bytes.
const LONGEST_QUESTION: usize = 4096;
/// Pause after a client that could not be accepted: it is still there.
const PAUSE: Duration = Duration::from_millis(100);
/// How many bytes of what the threads do are logged before they are waited for: the log takes no more than a few times that
/// at once. And how long that may take in all.
const PORTION: usize = 128 << 10;
const LOGGING: Duration = Duration::from_secs(10);
/// What a line of the log has beside what is said, in bytes.
const BESIDE: usize = 100;

/// The first line of an answer; of one that is refused what is behind it says why.
const DONE: &str = "ok";
const REFUSED: &str = "refused: ";

/// What the names of sockets begin with. Containers that share a network share these names, and each has a process 1: so
/// the namespace of the process ids is in them.
fn prefix() -> io::Result<String> {
    Ok(format!("slipstream-job/{}/", fs::metadata("/proc/self/ns/pid")?.ino()))
}

/// The socket of a process.
fn name_of(process: u32) -> io::Result<String> {
    Ok(format!("{}{process}", prefix()?))
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Admin {
    _ends: UnixStream,
}

/// Begins to answer for this process, and to write what its threads do into the log at SIGUSR1, and at SIGABRT before that
/// ends the process. The signals are heard of also if somebody else has the socket's name.
pub fn start(activity: Activity) -> io::Result<Admin> {
    if let Err(error) = slipstream_stacks::install() {
        tracing::warn!(%error, "`threads` shows no stacks");
    }
    let listener =
        listen().inspect_err(|error| tracing::warn!(%error, "cannot listen for `threads`, `drain` and `log`"));
    let (ends, ended) = UnixStream::pair()?;
    let service = Service {
        listener: listener.ok(),
        ended,
        asked: stop::notice(libc::SIGUSR1)?,
        aborted: stop::ending_notice(libc::SIGABRT)?,
        owner: geteuid().as_raw(),
        activity,
    };
    thread::Builder::new().name("admin".to_owned()).spawn(move || service.run())?;
    Ok(Admin { _ends: ends })
}

fn listen() -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name_of(std::process::id())?)?)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Service {
    /// None if it cannot listen.
    listener: Option<UnixListener>,
    ended: UnixStream,
    asked: Notice,
    aborted: EndingNotice,
    /// The user of this process.
    owner: u32,
    activity: Activity,
}

impl Service {
    fn run(self) {
        loop {
            let listener = self.listener.as_ref().map(UnixListener::as_fd);
            let all = [self.ended.as_fd(), self.asked.as_fd(), self.aborted.as_fd()].into_iter().chain(listener);
            let mut polled: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            match poll(&mut polled, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return tracing::warn!(%error, "the admin socket is closed"),
            }
            let mut come = polled.iter().map(|polled| !polled.revents().is_empty());
            let [ended, asked, aborted, client] = [(); 4].map(|()| come.next().unwrap_or_default());
            if aborted && self.aborted.has_come() {
                tracing::error!(target: ALWAYS, "SIGABRT: this is what the process was doing");
                self.log();
                output::flush();
                stop::abort();
            }
            if asked && self.asked.has_come() {
                self.log();
            }
            if ended {
                return;
            }
            if client && let Some(listener) = &self.listener {
                self.serve(listener);
            }
        }
    }

    /// Logs what the threads do, whatever is logged else, and in portions: the log drops what comes faster than it is written.
    fn log(&self) {
        let until = Instant::now() + LOGGING;
        let lines = caught(|| Shown::of(&self.activity).text()).unwrap_or_default();
        in_portions(&lines, |line| tracing::info!(target: ALWAYS, "{line}"), || output::flush_until(until));
    }

    fn serve(&self, listener: &UnixListener) {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = self.answer(&stream) {
                    tracing::debug!(%error, "a client of the admin socket");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(%error, "cannot accept a client of the admin socket");
                thread::park_timeout(PAUSE);
            }
        }
    }

    fn answer(&self, stream: &UnixStream) -> io::Result<()> {
        let user = Peer::of(stream)?.user;
        if !may_ask(user, self.owner) {
            // taken as far as it is there, and not waited for: anybody could keep others waiting
            let bytes = exchange::skip(stream, LONGEST_QUESTION);
            tracing::debug!(user, bytes, "refusing a client of the admin socket");
            let why = format!("{REFUSED}only root and the user of the process may ask it\n");
            return exchange::write(stream, &why, REFUSING);
        }
        let question = exchange::read_line(stream, LONGEST_QUESTION, ASKING)?;
        if exchange::is_left(stream) {
            // whoever asked was told that it failed, as while this process was stopped: it must not be done later
            tracing::debug!(question, "nobody waits for the answer of the admin socket");
            return Ok(());
        }
        let answer = caught(|| question.parse().and_then(|verb: Verb| verb.answer(&self.activity)));
        let text = match answer.unwrap_or_else(|| Err("it panicked over the question: its log says where".to_owned())) {
            Ok(lines) => [vec![DONE.to_owned()], lines].concat().join("\n"),
            Err(why) => format!("{REFUSED}{why}"),
        };
        exchange::write(stream, &format!("{text}\n"), READING)
    }
}

/// Hands over the lines, and waits after each [`PORTION`] of them.
fn in_portions(lines: &[String], hand_over: impl Fn(&str), wait: impl Fn()) {
    let mut size = 0;
    for line in lines {
        hand_over(line);
        size += line.len() + BESIDE;
        if size >= PORTION {
            wait();
            size = 0;
        }
    }
}

/// None if it panics, which the log says: who answers goes on.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Whether this user may ask a process of that user.
fn may_ask(user: u32, own: u32) -> bool {
    user == 0 || user == own
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use super::*;
    use crate::process::activity::slot::Program;

    #[test]
    fn root_and_the_own_user_may_ask_and_nobody_else() {
        assert!(may_ask(0, 1000) && may_ask(1000, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }

    fn service(owner: u32, activity: Activity) -> Service {
        Service {
            listener: None,
            ended: UnixStream::pair().unwrap().0,
            asked: stop::notice(libc::SIGWINCH).unwrap(),
            aborted: stop::ending_notice(libc::SIGABRT).unwrap(),
            owner,
            activity,
        }
    }

    /// The fault: the process is stopped until whoever asks has given up.
    #[test]
    fn what_is_asked_by_somebody_who_has_gone_is_not_done() {
        for (has_gone, expected) in [(true, false), (false, true)] {
            let activity = Activity::new();
            activity.has_role("executor", "Kenny");
            let (asks, asked) = UnixStream::pair().unwrap();
            exchange::write(&asks, "drain\n", ASKING).unwrap();
            let waits = (!has_gone).then_some(asks);
            service(geteuid().as_raw(), activity.clone()).answer(&asked).unwrap();
            assert_eq!(activity.is_draining(), expected);
            drop(waits);
        }
    }

    /// Who asks is the user of the tests.
    #[test]
    fn a_process_of_another_user_answers_root_alone() {
        let own = geteuid().as_raw();
        let answer_of = |owner| {
            let (asks, asked) = UnixStream::pair().unwrap();
            let service = service(owner, Activity::new());
            exchange::write(&asks, "status\n", ASKING).unwrap();
            service.answer(&asked).unwrap();
            drop(asked);
            exchange::read_line(&asks, LONGEST_QUESTION, ASKING).unwrap()
        };
        assert_eq!(answer_of(own), DONE);
        let refused = "refused: only root and the user of the process may ask it";
        assert_eq!(answer_of(own + 1), if geteuid().is_root() { DONE } else { refused });
    }

    #[test]
    fn what_is_long_is_logged_in_portions() {
        let (size, portions) = (Cell::new(0), Cell::new(0));
        let lines = vec!["x".repeat(1_000); 1_000];
        let wait = || {
            assert!((PORTION / 2..2 * PORTION).contains(&size.replace(0)));
            portions.set(portions.get() + 1);
        };
        in_portions(&lines, |line| size.set(size.get() + line.len()), wait);
        assert_eq!(portions.get(), 8);
        in_portions(&lines[..10], |_| {}, || panic!("it is short"));
    }

    /// The fault: what makes the answer panics.
    #[test]
    fn a_panic_over_a_question_ends_no_answers() {
        let activity = Activity::new();
        let attempt = activity.slot(0).begin("job/1".to_owned());
        let own_words: Option<crate::process::activity::slot::OwnWords> =
            Some(Arc::new(|| panic!("as the test wants it")));
        let program = Program { name: "python3".to_owned(), process: 1044, own_words };
        let _done_by = attempt.notes().done_by(program);
        let _admin = start(activity).unwrap();
        let own = client::find(&client::Target::Process(std::process::id()), |_| true).unwrap();
        let refused = client::ask(own, &Verb::Threads).unwrap_err();
        assert_eq!(refused.to_string(), "it panicked over the question: its log says where");
        assert_eq!(client::status(own).unwrap().words, "starting");
    }
}
