//! A running service and what it says; a site of several.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::{Client, Document};
use slipstream_test_ensemble::Ensemble;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::commands::Ran;
use crate::support::{Answered, PASSWORD, Raw, credentials, eventually, program};

/// A running service; killed when dropped.
pub struct Service {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Service {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        keep(child.stdout.take().expect("a pipe"), said.clone());
        keep(child.stderr.take().expect("a pipe"), said.clone());
        Self { child, said }
    }

    /// All that it has said and logged so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().expect("no reader panics").clone()
    }

    /// How many lines hold `text`.
    pub fn times(&self, text: &str) -> usize {
        self.said().iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line that holds `text`.
    pub async fn says(&self, text: &str) -> String {
        let found = async || self.said().into_iter().find(|line| line.contains(text));
        eventually(&format!("it says `{text}`"), found).await
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let process = self.process().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &process]).status().expect("kill runs");
        assert!(status.success(), "kill -{name} {process}");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_none()
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process ends", async || child.try_wait().expect("the process is ours")).await
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(&mut self) -> Vec<String> {
        self.signal("TERM");
        assert_eq!(self.ended().await.code(), Some(0), "{:?}", self.said());
        self.says("stopped").await;
        assert_eq!(self.times("hold the store"), 0, "{:?}", self.said());
        self.said()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("the process is ours");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // it may have ended already
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().expect("the process is there");
            self.child.wait().expect("the process is ours");
        }
    }
}

fn keep(source: impl Read + Send + 'static, said: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            said.lock().expect("no reader panics").push(line);
        }
    });
}

/// Takes connections, counts them, and closes each at once.
pub struct Deaf {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _taking: AbortOnDropHandle<()>,
}

impl Deaf {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there are free ports");
        let address = listener.local_addr().expect("it listens");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let taking = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, connections, _taking: AbortOnDropHandle::new(taking) }
    }

    /// How often it was tried.
    pub fn times(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until it was tried so often.
    pub async fn tried(&self, times: usize) {
        let tried = async || (self.times() >= times).then_some(());
        eventually("it is tried again", tried).await;
    }
}

/// An ensemble, and a server over it.
pub struct Site {
    pub ensemble: Ensemble,
    pub endpoint: String,
    pub server: Service,
    pub folder: tempfile::TempDir,
}

impl Site {
    pub async fn new() -> Self {
        Self::over(Ensemble::start(1).await).await
    }

    pub async fn over(ensemble: Ensemble) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Service::start(server(&folder.path().join("jobs.db"), &ensemble.hosts(), "127.0.0.1:0"));
        let endpoint = endpoint(&server).await;
        Self { ensemble, endpoint, server, folder }
    }

    /// An executor or a distributor of this site.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).args(["--ss-url", &self.endpoint, "--ss-user", "super"]);
        command.args(["--zk-hosts", &self.ensemble.hosts()]).env("SLIPSTREAM_PASS", PASSWORD);
        command
    }

    /// One that has said that it is up.
    pub async fn service(&self, arguments: &[&str]) -> Service {
        let service = Service::start(self.command(arguments));
        service.says(" is up").await;
        service
    }

    pub fn client(&self) -> Client {
        let transport =
            HttpTransport::new(&self.endpoint, false, Duration::from_secs(30)).expect("the address is good");
        Client::new(Arc::new(transport), Some(credentials()))
    }

    /// A command beside the server.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = program();
        command.args(arguments).env("SLIPSTREAM_URL", &self.endpoint).env("SLIPSTREAM_PASS", PASSWORD);
        Ran::of(&command.output().expect("the binary starts"))
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Waits until somebody who is registered holds the job, and answers who.
    pub async fn holder(&self, id: &str) -> String {
        eventually("somebody holds it", async || {
            let queue = self.run(&["queue", "--json"]).json();
            let claims = queue["claimed"]["claims"].as_array()?.clone();
            let claim = claims.into_iter().find(|claim| claim["job"] == id)?;
            claim["executor"].as_str().map(str::to_owned)
        })
        .await
    }
}

/// A server that is to listen there; its log says as little as it may.
pub fn server(store: &Path, hosts: &str, listen: &str) -> Command {
    let mut command = program();
    command.args(["server", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--zk-hosts", hosts, "--store"]);
    command.arg(format!("sqlite:{}", store.display())).env("SLIPSTREAM_SUPER_PASSWORD", PASSWORD);
    command
}

/// Where a service says that it answers metrics and health: the beginning of a URL.
pub async fn admin(service: &Service) -> String {
    let line = service.says("metrics and health at ").await;
    let start = line.find("http://").expect("an address");
    line[start..].split("/metrics").next().expect("a text has a beginning").to_owned()
}

/// What is answered there.
pub async fn asked(endpoint: &str, method: &str, path: &str) -> Answered {
    let transport = HttpTransport::new(endpoint, false, Duration::from_secs(30)).expect("the address is good");
    Raw::new(method, path).send(&transport).await
}

/// Where a server says that it listens.
pub async fn endpoint(server: &Service) -> String {
    let line = server.says("/api/cloud-entry-point").await;
    let start = line.find("http://").expect("an address");
    line[start..].trim_end_matches("/api/cloud-entry-point").to_owned()
}

/// Who made attempts of a job, in their order.
pub fn executors(ledger: &Document) -> Vec<&str> {
    let attempts = ledger.get("attempts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    attempts.iter().filter_map(|attempt| attempt["executor"].as_str()).collect()
}
