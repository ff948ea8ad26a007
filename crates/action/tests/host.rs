//! A program with `slipstream_action::host::run`, the example `host`, driven as an executor drives it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Far beyond what anything here takes.
const LIMIT: Duration = Duration::from_mins(1);

fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test is a program");
    let program = test.ancestors().nth(2).expect("it is in target/…/deps").join("examples/host");
    assert!(program.exists(), "build it: cargo build --example host --features host");
    program
}

/// The host, and what it says.
struct Host {
    child: Child,
    orders: Option<ChildStdin>,
    said: Receiver<String>,
    log: Option<JoinHandle<String>>,
}

impl Host {
    fn start() -> Self {
        // as its keeper does it: what was its standard output is file descriptor 3
        let mut child = Command::new("sh")
            .args(["-c", "exec 3>&1 1>&2; exec \"$0\""])
            .arg(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let (sender, said) = channel();
        let reports = BufReader::new(child.stdout.take().expect("it is a pipe"));
        thread::spawn(move || reports.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        let mut errors = child.stderr.take().expect("it is a pipe");
        let log = thread::spawn(move || {
            let mut log = String::new();
            errors.read_to_string(&mut log).map(|_| log).expect("it is text")
        });
        Self { orders: child.stdin.take(), child, said, log: Some(log) }
    }

    /// After setup and hello.
    fn ready() -> Self {
        let mut host = Self::start();
        host.tell(&json!({ "setup": { "protocols": [1], "executor": "Kenny", "socket": null } }));
        assert_eq!(host.says()["hello"]["protocol"], 1);
        host
    }

    fn tell(&mut self, message: &Value) {
        self.tell_bytes(format!("{message}\n").as_bytes());
    }

    fn tell_bytes(&mut self, bytes: &[u8]) {
        self.orders.as_mut().expect("it is open").write_all(bytes).expect("it reads");
    }

    fn run(&mut self, number: u64, action: &str) {
        self.tell(&json!({ "run": {
            "number": number, "rerun": false, "deadline": null, "api": "http://9f3c0d/api", "directory": "/",
            "job": {
                "id": "job/1", "state": "QUEUED", "action": action, "targetResource": { "href": "user/jane" },
                "created": "2026-11-28T06:00:00Z", "updated": "2026-11-28T06:00:00Z",
            },
        }}));
    }

    fn says(&self) -> Value {
        serde_json::from_str(&self.said.recv_timeout(LIMIT).expect("it says something")).expect("it says JSON")
    }

    fn stop(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it runs");
    }

    /// Its exit status and its log, once there are no more orders for it.
    fn end(mut self) -> (ExitStatus, String) {
        drop(self.orders.take());
        let status = self.child.wait().expect("it is a child");
        assert!(self.said.recv_timeout(LIMIT).is_err(), "it says nothing more");
        (status, self.log.take().expect("it is taken once").join().expect("it is read"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // only a test that fails leaves one that runs
        self.child.kill().and_then(|()| self.child.wait().map(drop)).unwrap_or_default();
    }
}

#[test]
fn two_jobs_are_done_and_what_is_printed_is_the_log() {
    let mut host = Host::start();
    host.tell(&json!({ "setup": { "protocols": [1, 2], "later": true } }));
    let actions = ["compute", "count", "greet", "look", "stumble", "wait"].map(|name| json!({ "name": name }));
    let hello = json!({ "hello": { "protocol": 1, "program": "host", "actions": actions, "failed": [] } });
    assert_eq!(host.says(), hello);
    for number in 1..=2 {
        host.run(number, "greet");
        let report = json!({ "report": { "number": number, "progress": 50, "affected": ["user/jane"] } });
        let end = json!({ "end": { "number": number, "state": "SUCCESS", "message": "hello, user/jane" } });
        // a first report may be on its way before there is more to say
        let mut said = host.says();
        if said["report"].get("affected").is_none() {
            assert_eq!(said, json!({ "report": { "number": number, "progress": 50 } }));
            said = host.says();
            assert_eq!(said, json!({ "report": { "number": number, "affected": ["user/jane"] } }));
        } else {
            assert_eq!(said, report);
        }
        assert_eq!(host.says(), end);
    }
    let (status, log) = host.end();
    assert_eq!((status.code(), log.as_str()), (Some(0), "greeting user/jane\ngreeting user/jane\n"));
}

#[test]
fn sigterm_cancels_the_job_under_way_and_no_other() {
    let mut host = Host::ready();
    host.stop();
    host.run(1, "wait");
    assert_eq!(host.says(), json!({ "report": { "number": 1, "message": "waiting" } }));
    host.stop();
    let end = json!({ "end": { "number": 1, "state": "FAILED", "return-code": 7, "message": "cancelled" } });
    assert_eq!(host.says(), end);
    host.run(2, "wait");
    assert_eq!(host.says(), json!({ "report": { "number": 2, "message": "waiting" } }));
    host.stop();
    assert_eq!(host.says()["end"]["number"], 2);
    assert!(host.end().0.success());
}

#[test]
fn an_action_that_blocks_reports_and_hears_that_it_is_cancelled() {
    let mut host = Host::ready();
    host.run(1, "count");
    let first = host.says();
    let second = host.says();
    assert!(first["report"]["progress"].as_u64() < second["report"]["progress"].as_u64(), "{first} {second}");
    host.stop();
    let end = loop {
        let said = host.says();
        if said.get("end").is_some() {
            break said;
        }
    };
    assert!(end["end"]["message"].as_str().is_some_and(|message| message.starts_with("cancelled at")), "{end}");
    // and the thread of all others as well
    host.run(2, "compute");
    assert_eq!(host.says(), json!({ "report": { "number": 2, "message": "computing" } }));
    host.stop();
    assert_eq!(host.says()["end"]["message"], "cancelled while it computed");
    assert!(host.end().0.success());
}

#[test]
fn a_panic_is_a_failure_and_the_next_job_is_done() {
    let mut host = Host::ready();
    host.run(1, "stumble");
    assert_eq!(host.says(), json!({ "end": { "number": 1, "state": "FAILED", "message": "stumbled" } }));
    host.run(2, "fly");
    let message = "this host does not have the action fly";
    assert_eq!(host.says(), json!({ "end": { "number": 2, "state": "RELEASED", "message": message } }));
    host.run(3, "stumble");
    assert_eq!(host.says()["end"]["number"], 3);
    let (status, log) = host.end();
    assert!(status.success() && log.contains("stumbled"), "{log}");
}

/// Answers one request on a socket with a document of two attributes; what the request says.
fn serve_once(socket: UnixListener) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut connection, _) = socket.accept().expect("a connection");
        let mut request = String::new();
        let lines = BufReader::new(connection.try_clone().expect("a copy")).lines();
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            request.push_str(&line);
            request.push('\n');
        }
        let body = r#"{"id":"user/jane","name":"Jane"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).expect("it is read");
        request
    })
}

#[test]
fn requests_of_an_action_go_through_the_socket_with_its_jobs_token() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let served = serve_once(UnixListener::bind(&socket).unwrap());
    let mut host = Host::start();
    host.tell(&json!({ "setup": { "protocols": [1], "socket": socket } }));
    assert_eq!(host.says()["hello"]["protocol"], 1);
    host.run(1, "look");
    assert_eq!(host.says()["end"]["message"], "user/jane has 2 attributes");
    let request = served.join().unwrap();
    assert!(request.starts_with("GET /api/user/jane HTTP/1.1\n"), "{request}");
    assert!(request.to_lowercase().contains("host: 9f3c0d\n"), "{request}");
    assert!(host.end().0.success());

    let mut host = Host::ready();
    host.run(1, "look");
    let message = "no answer to GET /api/user/jane: this executor passes no requests on";
    assert_eq!(host.says()["end"]["message"], message);
    assert!(host.end().0.success());
}

#[test]
fn what_an_action_starts_has_nothing_of_the_conversation() {
    let host = Host::ready();
    let own = PathBuf::from(format!("/proc/{}", host.child.id()));
    assert_eq!(fs::read_link(own.join("fd/0")).unwrap(), PathBuf::from("/dev/null"));
    let reports = fs::read_link(own.join("fd/3")).unwrap();
    let orders = host.orders.as_ref().expect("it is open").as_raw_fd();
    let orders = fs::read_link(format!("/proc/self/fd/{orders}")).unwrap();
    let mut found = BTreeSet::new();
    for descriptor in fs::read_dir(own.join("fd")).unwrap() {
        let name = descriptor.unwrap().file_name();
        let file = fs::read_link(own.join("fd").join(&name)).unwrap();
        if [&reports, &orders].contains(&&file) {
            let info = fs::read_to_string(own.join("fdinfo").join(&name)).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("it has flags").trim();
            let closes_on_exec = u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0;
            assert!(closes_on_exec, "descriptor {}", name.display());
            found.insert(file);
        }
    }
    assert_eq!(found, BTreeSet::from([reports, orders]));
}

#[test]
fn started_by_hand_it_says_how_to_try_it() {
    for stdin in [Stdio::null(), Stdio::piped()] {
        let started = Command::new("sh").args(["-c", "exec \"$0\" 3>&-"]).arg(program()).stdin(stdin).output().unwrap();
        let text = String::from_utf8(started.stderr).unwrap();
        assert_eq!(started.status.code(), Some(2), "{text}");
        for words in ["compute, count, greet, look", "[[host]]", "slipstream-job actions test compute"] {
            assert!(text.contains(words), "{text}");
        }
    }
}

#[test]
fn an_executor_that_cannot_be_understood_ends_the_program() {
    let setup = br#"{"setup":{"protocols":[1]}}"#;
    let mut long = vec![b' '; 1024 * 1024 + 1];
    long.push(b'\n');
    let cases: [(&[&[u8]], &str); 6] = [
        (&[br#"{"setup":{"protocols":[2,3]}}"#], "speaks versions [2, 3] of the protocol"),
        (&[br#"{"run":{"number":1,"job":{}}}"#], "no setup first"),
        (&[setup, setup], "a second one"),
        (&[b"nonsense"], "does not understand"),
        (&[setup, br#"{"pause":{}}"#], "unknown variant `pause`"),
        (&[&long], "too long"),
    ];
    for (lines, expected) in cases {
        let mut host = Host::start();
        for line in lines {
            // it may have ended before it has read all
            let mut orders = host.orders.as_ref().expect("it is open");
            orders.write_all(line).and_then(|()| orders.write_all(b"\n")).unwrap_or_default();
        }
        let status = host.child.wait().unwrap();
        let text = host.log.take().unwrap().join().unwrap();
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert!(Host::start().end().0.success(), "an executor that says nothing has nothing to do");
}
