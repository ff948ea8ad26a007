//! The admin socket: `threads`, `drain` and others ask a running service by it. It is an abstract Unix socket,
//! `@slipstream-job/PID`, so that no file is left behind; who asks is known by the kernel. A plain thread answers, one client
//! after the other, so that a service whose runtime is blocked still says where.

pub mod client;
mod exchange;
mod peer;
mod threads;
pub mod verb;

use std::io;
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::geteuid;

use self::peer::Peer;
use self::verb::Verb;
use crate::process::activity::Activity;
use crate::process::output;
use crate::process::stop::{self, Notice};

/// How long a client may take to ask, and to read its answer; and how long one that is refused.
const ASKING: Duration = Duration::from_secs(1);
const REFUSING: Duration = Duration::from_millis(100);
const READING: Duration = Duration::from_secs(5);
/// Longest question, in bytes.
const LONGEST_QUESTION: usize = 4096;

/// The first line of an answer; of one that is refused what is behind it says why.
const DONE: &str = "ok";
const REFUSED: &str = "refused: ";

/// The socket of a process.
fn name_of(process: u32) -> String {
    format!("slipstream-job/{process}")
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Admin {
    _ends: UnixStream,
}

/// Begins to answer for this process, and to write what its threads do into the log at SIGUSR1, and at SIGABRT before that
/// ends the process.
pub fn start(activity: Activity) -> io::Result<Admin> {
    if let Err(error) = slipstream_stacks::install() {
        tracing::warn!(%error, "`threads` shows no stacks");
    }
    let address = SocketAddr::from_abstract_name(name_of(std::process::id()))?;
    let listener = UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    let (ends, ended) = UnixStream::pair()?;
    let service = Service {
        listener,
        ended,
        asked: stop::notice(libc::SIGUSR1)?,
        aborted: stop::notice(libc::SIGABRT)?,
        activity,
    };
    thread::Builder::new().name("admin".to_owned()).spawn(move || service.run())?;
    Ok(Admin { _ends: ends })
}

struct Service {
    listener: UnixListener,
    ended: UnixStream,
    asked: Notice,
    aborted: Notice,
    activity: Activity,
}

impl Service {
    fn run(self) {
        loop {
            let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
            let (listener, ended) = (self.listener.as_fd(), self.ended.as_fd());
            let mut polled = [listener, ended, self.asked.as_fd(), self.aborted.as_fd()].map(readable);
            match poll(&mut polled, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return tracing::warn!(%error, "the admin socket is closed"),
            }
            let [client, ended, asked, aborted] = polled.map(|polled| !polled.revents().is_empty());
            if aborted && self.aborted.has_come() {
                tracing::error!("SIGABRT: this is what the process was doing");
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
            if client && let Err(error) = self.serve() {
                tracing::debug!(%error, "a client of the admin socket");
            }
        }
    }

    fn log(&self) {
        for line in threads::text(&self.activity) {
            tracing::info!("{line}");
        }
    }

    fn serve(&self) -> io::Result<()> {
        let (stream, _) = match self.listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            accepted => accepted?,
        };
        let may_ask = may_ask(Peer::of(&stream)?.user, geteuid().as_raw());
        // also of who is refused, or the answer would be lost
        let limit = if may_ask { ASKING } else { REFUSING };
        let question = exchange::read_line(&stream, LONGEST_QUESTION, limit)?;
        let answer = if may_ask {
            question.parse().and_then(|verb: Verb| verb.answer(&self.activity))
        } else {
            Err("only root and the user of the process may ask it".to_owned())
        };
        let text = match answer {
            Ok(lines) => [vec![DONE.to_owned()], lines].concat().join("\n"),
            Err(why) => format!("{REFUSED}{why}"),
        };
        exchange::write(&stream, &format!("{text}\n"), READING)
    }
}

/// Whether this user may ask a process of that user.
fn may_ask(user: u32, own: u32) -> bool {
    user == 0 || user == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_own_user_may_ask_and_nobody_else() {
        assert!(may_ask(0, 1000) && may_ask(1000, 1000) && may_ask(0, 0));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }
}
