//! Asking the services of this machine.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use super::peer::Peer;
use super::verb::{Status, Verb};
use super::{DONE, REFUSED, exchange, name_of};

/// How long a service may take to listen, and to answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);
/// Longest answer, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;

/// Which process is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The only one of this machine.
    Only,
    /// That of this id.
    Process(u32),
    /// That which is called so.
    Name(String),
}

/// Finds the process that is meant.
pub fn find(target: &Target) -> anyhow::Result<u32> {
    if let Target::Process(process) = target {
        return Ok(*process);
    }
    let found: Vec<Found> = listening()?.into_iter().map(Found::ask).collect();
    choose(target, &found).map_err(|why| anyhow!(why))
}

/// A process that listens, and how it is, or why it does not say.
#[derive(Debug)]
struct Found {
    process: u32,
    status: Result<Status, String>,
}

impl Found {
    fn ask(process: u32) -> Self {
        let status = ask(process, &Verb::Status)
            .and_then(|lines| serde_json::from_str(&lines.concat()).context("it answers something else"));
        Self { process, status: status.map_err(|error| format!("{error:#}")) }
    }

    fn line(&self) -> String {
        match &self.status {
            Ok(Status { role, name, words, .. }) => format!("  {} {role} {name}: {words}", self.process),
            Err(why) => format!("  {} {why}", self.process),
        }
    }
}

/// The one that is meant, or an error that lists all.
fn choose(target: &Target, found: &[Found]) -> Result<u32, String> {
    let list = |found: &[&Found]| found.iter().map(|found| found.line()).collect::<Vec<_>>().join("\n");
    let name = match target {
        Target::Process(process) => return Ok(*process),
        Target::Name(name) => Some(name),
        Target::Only => None,
    };
    let is_meant = |status: &Status| name.is_none_or(|name| *name == status.name);
    let meant: Vec<&Found> = found.iter().filter(|found| found.status.as_ref().is_ok_and(is_meant)).collect();
    match (&*meant, name) {
        ([one], _) => Ok(one.process),
        ([], _) if found.is_empty() => Err("no service of slipstream-job runs on this machine".to_owned()),
        ([], Some(name)) => {
            Err(format!("no service is called {name}, only:\n{}", list(&found.iter().collect::<Vec<_>>())))
        }
        ([], None) => Err(format!("no service answers:\n{}", list(&found.iter().collect::<Vec<_>>()))),
        (several, _) => Err(format!("several services run here, name one by its process id:\n{}", list(several))),
    }
}

/// Asks a process, and answers its lines.
pub fn ask(process: u32, verb: &Verb) -> anyhow::Result<Vec<String>> {
    let stream = connected(process).with_context(|| format!("no service of slipstream-job is process {process}"))?;
    let peer = Peer::of(&stream).context("cannot see who answers")?;
    let users = [0, geteuid().as_raw(), user_of(process).unwrap_or(0)];
    // anybody may listen by any name
    if u32::try_from(peer.process) != Ok(process) || !users.contains(&peer.user) {
        bail!("somebody else listens in the place of process {process}");
    }
    exchange::write(&stream, &format!("{verb}\n"), CONNECT).context("cannot ask it")?;
    let answer = exchange::read_all(&stream, LONGEST_ANSWER, ANSWER).context("it does not answer")?;
    let mut lines = answer.lines();
    match lines.next() {
        Some(DONE) => Ok(lines.map(str::to_owned).collect()),
        Some(first) => match first.strip_prefix(REFUSED) {
            Some(why) => bail!("{why}"),
            None => bail!("it answers something else"),
        },
        None => bail!("it has ended"),
    }
}

fn connected(process: u32) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // one whose queue is full keeps others waiting
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT))?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(name_of(process).as_bytes())?)?;
    Ok(socket.into())
}

/// The user of a process, who need not be that of its folder in `/proc`.
fn user_of(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}

/// The processes that listen, by what the kernel says.
fn listening() -> anyhow::Result<Vec<u32>> {
    let sockets = fs::read_to_string("/proc/net/unix").context("cannot list the services of this machine")?;
    Ok(listening_in(&sockets))
}

fn listening_in(sockets: &str) -> Vec<u32> {
    let prefix = format!("@{}", name_of(0).trim_end_matches('0'));
    let mut processes: Vec<u32> = sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(7)?.strip_prefix(&prefix)?.parse().ok())
        .collect();
    processes.sort_unstable();
    // one socket for each that is connected, too
    processes.dedup();
    processes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(process: u32, name: &str) -> Found {
        let (role, name, words) = ("executor".to_owned(), name.to_owned(), "0 of 1 jobs running".to_owned());
        Found { process, status: Ok(Status { role, name, words, draining: false, drained: false }) }
    }

    #[test]
    fn processes_that_listen_are_found_once_each() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 4245 @slipstream-job/913
0000000000000000: 00000003 00000000 00000000 0001 03 4246 @slipstream-job/913
0000000000000000: 00000003 00000000 00000000 0001 03 4247
0000000000000000: 00000002 00000000 00010000 0001 01 4248 @slipstream-job/12
0000000000000000: 00000002 00000000 00010000 0001 01 4249 /run/slipstream-job/1
0000000000000000: 00000002 00000000 00010000 0001 01 4250 @slipstream-job/1/2
";
        assert_eq!(listening_in(sockets), [12, 913]);
    }

    #[test]
    fn the_one_that_is_meant_is_chosen_or_all_are_listed() {
        let refused = Found { process: 3, status: Err("only root may ask it".to_owned()) };
        let all = [found(1, "Kenny"), found(2, "Stan"), refused];
        let name = |name: &str| Target::Name(name.to_owned());
        assert_eq!(choose(&name("Stan"), &all), Ok(2));
        assert_eq!(choose(&Target::Only, &all[1..]), Ok(2));
        assert_eq!(choose(&Target::Process(7), &[]), Ok(7));
        let list = "\n  1 executor Kenny: 0 of 1 jobs running\n  2 executor Stan: 0 of 1 jobs running";
        let several = format!("several services run here, name one by its process id:{list}");
        assert_eq!(choose(&Target::Only, &all), Err(several));
        let nobody = format!("no service is called Kyle, only:{list}\n  3 only root may ask it");
        assert_eq!(choose(&name("Kyle"), &all), Err(nobody));
        let silent = "no service answers:\n  3 only root may ask it".to_owned();
        assert_eq!(choose(&Target::Only, &all[2..]), Err(silent));
        assert_eq!(choose(&Target::Only, &[]), Err("no service of slipstream-job runs on this machine".to_owned()));
    }
}
