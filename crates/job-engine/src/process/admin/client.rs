//! Asking the services of this machine.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::geteuid;

use super::peer::Peer;
use super::verb::{Status, Verb};
use super::{DONE, REFUSED, exchange, name_of, prefix};
use crate::process::visible::visible;

/// How long a service may take to listen, and to answer.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);
/// How long each may take to say how it is where one is looked for: longer than it takes to show another client all threads.
const LOOK: Duration = Duration::from_secs(5);
/// So many are asked at once.
const TOGETHER: usize = 32;
/// Longest answer, in bytes.
const LONGEST_ANSWER: usize = 16 << 20;
/// The user that the packages let services run as.
const USER: &str = "slipstream";

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

/// A process that can be asked; shown as its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    process: u32,
    /// Somebody has named the process itself, and so knows whose it is.
    is_given: bool,
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.process.fmt(formatter)
    }
}

impl Service {
    /// Whether there still is such a process, which need not be a service.
    #[must_use]
    pub fn is_there(self) -> bool {
        let status = fs::read_to_string(format!("/proc/{self}/status"));
        // one that has ended stays until somebody looks how
        status.is_ok_and(|status| !status.lines().any(|line| line.starts_with("State:\tZ")))
    }
}

/// Finds the process that is meant; without its id or name, it is one of those that are of use.
pub fn find(target: &Target, is_of_use: fn(&Status) -> bool) -> anyhow::Result<Service> {
    let name = match target {
        Target::Process(process) => return Ok(Service { process: *process, is_given: true }),
        Target::Name(name) => Some(&**name),
        Target::Only => None,
    };
    let believed = believed();
    let mut found = Vec::new();
    // one that does not answer holds up no other
    for processes in listening()?.chunks(TOGETHER) {
        thread::scope(|scope| {
            let ask = |process: &u32| {
                let (process, believed) = (*process, &believed);
                scope.spawn(move || Found::ask(process, believed))
            };
            let asked: Vec<_> = processes.iter().map(ask).collect();
            found.extend(asked.into_iter().filter_map(|asked| asked.join().ok()));
        });
    }
    let process = choose(name, &found, is_of_use).map_err(|why| anyhow!(why))?;
    Ok(Service { process, is_given: false })
}

/// A process that listens, and how it is, or why it does not say.
#[derive(Debug)]
struct Found {
    process: u32,
    status: Result<Status, String>,
}

impl Found {
    fn ask(process: u32, believed: &[u32]) -> Self {
        let status = match user_of(process) {
            Some(user) if believed.contains(&user) => {
                status_within(Service { process, is_given: false }, LOOK).map_err(|error| format!("{error:#}"))
            }
            _ => Err("belongs to another user: if you trust it, name it by its process id".to_owned()),
        };
        Self { process, status }
    }

    fn line(&self) -> String {
        match &self.status {
            Ok(Status { role, name, words, .. }) => format!("  {} {role} {name}: {words}", self.process),
            Err(why) => format!("  {} {why}", self.process),
        }
    }
}

/// The one that is meant, or an error that lists all.
fn choose(name: Option<&str>, found: &[Found], is_of_use: fn(&Status) -> bool) -> Result<u32, String> {
    let list = |found: &[&Found]| found.iter().map(|found| found.line()).collect::<Vec<_>>().join("\n");
    let all = || list(&found.iter().collect::<Vec<_>>());
    let is_meant = |status: &Status| name.map_or_else(|| is_of_use(status), |name| name == status.name);
    let meant: Vec<&Found> = found.iter().filter(|found| found.status.as_ref().is_ok_and(is_meant)).collect();
    match (&*meant, name) {
        ([one], _) => Ok(one.process),
        ([], _) if found.is_empty() => Err("no service of slipstream-job runs on this machine".to_owned()),
        ([], Some(name)) => Err(format!("no service is called {name}, only:\n{}", all())),
        ([], None) if found.iter().any(|found| found.status.is_ok()) => {
            Err(format!("no service here takes jobs, only an executor does:\n{}", all()))
        }
        ([], None) => Err(format!("no service answers:\n{}", all())),
        (several, _) => Err(format!("several services run here, name one by its process id:\n{}", list(several))),
    }
}

/// Asks a process, and answers its lines, which steer no terminal.
pub fn ask(service: Service, verb: &Verb) -> anyhow::Result<Vec<String>> {
    ask_within(service, verb, ANSWER)
}

/// Asks a process how it is.
pub fn status(service: Service) -> anyhow::Result<Status> {
    status_within(service, ANSWER)
}

fn status_within(service: Service, limit: Duration) -> anyhow::Result<Status> {
    let lines = ask_within(service, &Verb::Status, limit)?;
    let status: Status = serde_json::from_str(&lines.concat()).context("it answers something else")?;
    // what JSON escapes is as it was again
    let [role, name, words] = [&status.role, &status.name, &status.words].map(|text| visible(text, &[]));
    Ok(Status { role, name, words, ..status })
}

fn ask_within(service: Service, verb: &Verb, limit: Duration) -> anyhow::Result<Vec<String>> {
    let Service { process, is_given } = service;
    let limit_of_connect = limit.min(CONNECT);
    let none = || format!("no service of slipstream-job is process {process}");
    let stream = connected(process, limit_of_connect).map_err(|error| unanswered(error, limit_of_connect, none()))?;
    let peer = Peer::of(&stream).context("cannot see who answers")?;
    let mut users = believed();
    users.extend(user_of(process).filter(|_| is_given));
    // anybody may listen by any name
    if u32::try_from(peer.process) != Ok(process) || !users.contains(&peer.user) {
        bail!("somebody else listens in the place of process {process}");
    }
    match exchange::write(&stream, &format!("{verb}\n"), CONNECT) {
        // who is refused is told so without being heard
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.map_err(|error| unanswered(error, CONNECT, "cannot ask it".to_owned()))?,
    }
    let answer = exchange::read_all(&stream, LONGEST_ANSWER, limit)
        .map_err(|error| unanswered(error, limit, "it does not answer".to_owned()))?;
    let mut lines = answer.lines().map(|line| visible(line, &[]));
    match lines.next() {
        Some(first) if first == DONE => Ok(lines.collect()),
        Some(first) => match first.strip_prefix(REFUSED) {
            Some(why) => bail!("{why}"),
            None => bail!("it answers something else"),
        },
        None => bail!("it has ended"),
    }
}

/// Why there is no answer: what the kernel says of a wait that was too long helps nobody.
fn unanswered(error: io::Error, limit: Duration, else_said: String) -> anyhow::Error {
    if exchange::is_late(&error) {
        return anyhow!("it does not answer within {} seconds: it is stopped or stuck", limit.as_secs());
    }
    anyhow::Error::new(error).context(else_said)
}

fn connected(process: u32, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // one whose queue is full keeps others waiting
    set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(name_of(process)?.as_bytes())?)?;
    Ok(socket.into())
}

/// The users whose processes are believed what they say of themselves: root, who asks, and whom the packages let services run
/// as. Anybody may start a process that claims to be a service, and to be drained.
fn believed() -> Vec<u32> {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    [0, geteuid().as_raw()].into_iter().chain(user_called(USER, &users)).collect()
}

/// By the system's list of users.
fn user_called(name: &str, users: &str) -> Option<u32> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|fields| fields.first() == Some(&name))?.get(2)?.parse().ok()
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
    let prefix = prefix().context("cannot list the services of this machine")?;
    Ok(listening_in(&sockets, &format!("@{prefix}")))
}

fn listening_in(sockets: &str, prefix: &str) -> Vec<u32> {
    let mut processes: Vec<u32> =
        sockets.lines().filter_map(|line| line.split_whitespace().nth(7)?.strip_prefix(prefix)?.parse().ok()).collect();
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
    fn processes_that_listen_are_found_once_each_and_only_those_of_the_own_namespace() {
        let sockets = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 4245 @slipstream-job/77/913
0000000000000000: 00000003 00000000 00000000 0001 03 4246 @slipstream-job/77/913
0000000000000000: 00000003 00000000 00000000 0001 03 4247
0000000000000000: 00000002 00000000 00010000 0001 01 4248 @slipstream-job/77/12
0000000000000000: 00000002 00000000 00010000 0001 01 4249 /run/slipstream-job/77/1
0000000000000000: 00000002 00000000 00010000 0001 01 4250 @slipstream-job/77/1/2
0000000000000000: 00000002 00000000 00010000 0001 01 4251 @slipstream-job/78/1
";
        assert_eq!(listening_in(sockets, "@slipstream-job/77/"), [12, 913]);
    }

    #[test]
    fn the_one_that_is_meant_is_chosen_or_all_are_listed() {
        let refused = Found { process: 3, status: Err("only root may ask it".to_owned()) };
        let all = [found(1, "Kenny"), found(2, "Stan"), refused];
        let any = |name: Option<&str>, found: &[Found]| choose(name, found, |_| true);
        assert_eq!(any(Some("Stan"), &all), Ok(2));
        assert_eq!(any(None, &all[1..]), Ok(2));
        let list = "\n  1 executor Kenny: 0 of 1 jobs running\n  2 executor Stan: 0 of 1 jobs running";
        let several = format!("several services run here, name one by its process id:{list}");
        assert_eq!(any(None, &all), Err(several));
        let nobody = format!("no service is called Kyle, only:{list}\n  3 only root may ask it");
        assert_eq!(any(Some("Kyle"), &all), Err(nobody));
        let silent = "no service answers:\n  3 only root may ask it".to_owned();
        assert_eq!(any(None, &all[2..]), Err(silent));
        assert_eq!(any(None, &[]), Err("no service of slipstream-job runs on this machine".to_owned()));
    }

    #[test]
    fn one_that_takes_no_jobs_is_in_the_way_of_no_executor() {
        let mut all = [found(1, "Kenny"), found(2, "127.0.0.1:8201")];
        all[1].status.as_mut().unwrap().role = "server".to_owned();
        assert_eq!(choose(None, &all, Status::takes_jobs), Ok(1));
        assert_eq!(choose(Some("127.0.0.1:8201"), &all, Status::takes_jobs), Ok(2), "it says itself why it does not");
        let none = "no service here takes jobs, only an executor does:\n  2 server 127.0.0.1:8201: 0 of 1 jobs running";
        assert_eq!(choose(None, &all[1..], Status::takes_jobs), Err(none.to_owned()));
    }

    /// The fault: somebody listens and never answers, as a process that is stopped.
    #[test]
    fn who_does_not_answer_in_time_is_stopped_or_stuck() {
        let (asks, _silent) = UnixStream::pair().unwrap();
        let error = exchange::read_all(&asks, LONGEST_ANSWER, Duration::from_millis(1)).unwrap_err();
        let said = |error| format!("{:#}", unanswered(error, ANSWER, "cannot ask it".to_owned()));
        assert_eq!(said(error), "it does not answer within 30 seconds: it is stopped or stuck");
        assert!(said(ErrorKind::ConnectionRefused.into()).starts_with("cannot ask it: "));
    }

    #[test]
    fn a_user_is_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\nslipstream:x:997:996::/var/lib/slipstream:/usr/sbin/nologin\n";
        assert_eq!([user_called("slipstream", users), user_called("slip", users)], [Some(997), None]);
        assert_eq!(user_called("x", "x\nx:x:y:\n"), None);
    }
}
