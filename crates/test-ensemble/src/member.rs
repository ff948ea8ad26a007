//! One server of an ensemble: its folder, its ports, its process.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::java::Java;

/// Longest wait for a server's word on how it is.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// How much of a server's log is shown when it does not start, in lines.
const SHOWN: usize = 40;

/// Kills the server and removes the ensemble's folder when the pipe to it closes: when the tests have died. Twice if the
/// server was still writing.
const WATCHDOG: &str = r#"read -r _; kill -9 "$1"; rm -rf "$2" || { sleep 1; rm -rf "$2"; }"#;

/// A port that stays ours while nobody listens: others are not given it, and who binds it with `SO_REUSEADDR`, as Java
/// does, may listen.
pub(crate) struct Port {
    _held: TcpSocket,
    pub(crate) address: SocketAddr,
}

impl Port {
    pub(crate) fn hold() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.set_reuseaddr(true).expect("an address may be used again");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("there are free ports");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { _held: socket, address }
    }
}

/// The ports of a member: for clients, for the others, for elections.
pub(crate) struct Ports {
    pub(crate) client: Port,
    pub(crate) quorum: Port,
    pub(crate) election: Port,
}

impl Ports {
    pub(crate) fn hold() -> Self {
        Self { client: Port::hold(), quorum: Port::hold(), election: Port::hold() }
    }
}

/// One server. Killed when dropped.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    number: usize,
    process: Option<Process>,
}

struct Process {
    /// Behind a lock, as to look whether a process lives may reap it.
    server: Mutex<Child>,
    watchdog: Child,
}

impl Process {
    fn server(&self) -> MutexGuard<'_, Child> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// Starts nothing yet. `folder` holds what the member keeps; its parent is the ensemble's.
    pub(crate) fn new(folder: PathBuf, number: usize, address: SocketAddr, configuration: &str) -> Self {
        fs::create_dir_all(folder.join("data")).expect("a folder can be made in the ensemble's");
        let data = folder.join("data");
        fs::write(folder.join("zoo.cfg"), format!("dataDir={}\n{configuration}", data.display()))
            .expect("a file can be written in the ensemble's folder");
        Self { address, folder, number, process: None }
    }

    /// Starts the server on what it kept.
    pub(crate) fn start(&mut self, java: &Java) {
        assert!(self.process.is_none(), "member {} runs already", self.number);
        fs::create_dir_all(self.folder.join("data")).expect("a folder can be made in the ensemble's");
        fs::write(self.folder.join("data/myid"), self.number.to_string()).expect("a server's number can be written");
        let log = File::options().create(true).append(true).open(self.log()).expect("a log can be opened");
        let server = Command::new("java")
            .args(java.arguments())
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.folder.join("zoo.cfg"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log can be shared"))
            .stderr(log)
            // what interrupts the tests must leave it to the watchdog
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| Java::cannot_start(&error));
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &server.id().to_string()])
            .arg(self.folder.parent().unwrap_or(Path::new("/nowhere")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh can be started");
        self.process = Some(Process { server: Mutex::new(server), watchdog });
    }

    /// Ends the server at once, whatever it does.
    pub(crate) fn kill(&mut self) {
        if let Some(Process { server, watchdog }) = self.process.take() {
            let server = server.into_inner().unwrap_or_else(PoisonError::into_inner);
            // the watchdog first, so that it never kills a stranger that was given the number
            for mut child in [watchdog, server] {
                // it may have ended by itself
                drop(child.kill());
                drop(child.wait());
            }
        }
    }

    /// Ends the server and forgets all it kept.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        fs::remove_dir_all(self.folder.join("data")).expect("a server's data can be removed");
    }

    /// The process of the server.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the member runs").server().id()
    }

    /// Whether it was started and not killed.
    pub(crate) fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process_id().to_string();
        // the shell's own kill: no other program is needed
        let status = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "signal", name, &process]).status();
        assert!(status.is_ok_and(|status| status.success()), "process {process} takes no signal {name}");
    }

    /// What the server says that it is: `standalone`, `leader` or `follower`; none while it does not serve. Panics, with
    /// the end of its log, when it has ended by itself.
    pub(crate) async fn role(&self) -> Option<String> {
        if let Some(Ok(Some(status))) = self.process.as_ref().map(|process| process.server().try_wait()) {
            panic!("a ZooKeeper server has ended by itself, {status}:\n{}", self.end_of_log());
        }
        // a server without the others answers too, that it is not serving
        let answer = timeout(ANSWER_LIMIT, ask(self.address, "srvr")).await.ok()?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ").map(str::to_owned))
    }

    /// What it said last.
    pub(crate) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The answer to one of the words of four letters; empty if there is none.
async fn ask(address: SocketAddr, word: &str) -> String {
    let Ok(stream) = TcpStream::connect(address).await else { return String::new() };
    let mut answer = Vec::new();
    if stream.writable().await.is_ok() && stream.try_write(word.as_bytes()).is_ok() {
        let mut buffer = [0; 4096];
        while stream.readable().await.is_ok() {
            match stream.try_read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => break,
                Ok(length) => answer.extend_from_slice(&buffer[..length]),
            }
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
