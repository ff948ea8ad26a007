//! A running `up`, an engine in this process, and waiting for a condition with a limit.

pub mod acting;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::{Client, Credentials, Document, Transport};
use slipstream_coordination::{Coordinator, Embedded};
use slipstream_job_engine::internals::collections::{Collections, default_collections};
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::server::{DEFAULT_MAX_ATTEMPTS, Options, Server, Writers};
use slipstream_store::Store;
use slipstream_store::memory::MemoryStore;

pub const PASSWORD: &str = "for-tests";
/// Longest wait for anything in a test.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Asks `condition` until it answers something.
pub async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    within(LIMIT, what, condition).await
}

/// As [`eventually`], for what takes longer.
pub async fn within<T>(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        pause.tick().await;
    }
}

pub fn document(value: Value) -> Document {
    match value {
        Value::Object(document) => document,
        other => panic!("not an object: {other}"),
    }
}

pub fn job(action: &str) -> Document {
    document(json!({"action": action, "targetResource": {"href": "dummy"}}))
}

pub fn credentials() -> Credentials {
    Credentials { username: "super".to_owned(), password: PASSWORD.into() }
}

/// What the tasks of this thread write to the log.
pub struct Log {
    written: Written,
    _captured: tracing::subscriber::DefaultGuard,
    _second: tracing::Dispatch,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on, until this is dropped.
    pub fn capture() -> Self {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        // While a single subscriber lives, tracing asks the thread that comes by a place first, which is another test's.
        let second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
        Self { written, _captured: tracing::subscriber::set_default(subscriber), _second: second }
    }

    pub fn written(&self) -> String {
        String::from_utf8(self.written.0.lock().expect("not poisoned").clone()).expect("text")
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A server in this process, without executor: the test claims and writes itself.
pub struct InProcess {
    pub server: Server,
    pub coordinator: Embedded,
    pub store: Arc<dyn Store>,
    pub transport: Arc<dyn Transport>,
    pub client: Client,
}

impl InProcess {
    pub async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::default())).await
    }

    /// Over a store that may have been used before, as at a new start of `up`.
    pub async fn over(store: Arc<dyn Store>) -> Self {
        Self::with(store, default_collections()).await
    }

    /// The same with these collections.
    pub async fn with(store: Arc<dyn Store>, collections: Collections) -> Self {
        let coordinator = Embedded::new();
        let options = Options {
            password: PASSWORD.into(),
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            writers: Writers::One,
            coordinator_forgets: true,
            collections,
            metrics: Metrics::default(),
        };
        let shared: Arc<dyn Coordinator> = Arc::new(coordinator.clone());
        let server = Server::start(store.clone(), shared, Clock::system(), options).await.expect("the server starts");
        let transport = server.transport();
        let client = Client::new(transport.clone(), Some(credentials()));
        Self { server, coordinator, store, transport, client }
    }
}

/// A running `slipstream-job up`; killed when dropped.
pub struct Up {
    child: Child,
    lines: Receiver<String>,
    pub endpoint: String,
}

impl Up {
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut command = up_command(data_dir);
        command.args(arguments);
        Self::spawn(command)
    }

    pub fn spawn(command: Command) -> Self {
        Self::spawn_logging(command, Stdio::null())
    }

    pub fn spawn_logging(mut command: Command, log: impl Into<Stdio>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the binary starts");
        let output = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut up = Self { child, lines, endpoint: String::new() };
        let line = up.line_with("/api/cloud-entry-point");
        let start = line.find("http://").expect("an address");
        up.endpoint.push_str(line[start..].trim_end_matches("/api/cloud-entry-point"));
        up
    }

    /// Waits for a line of standard output that holds `text`.
    pub fn line_with(&self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|error| panic!("no line with `{text}`: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client::new(Arc::new(self.transport()), Some(credentials()))
    }

    pub fn transport(&self) -> HttpTransport {
        HttpTransport::new(&self.endpoint, false, Duration::from_secs(30)).expect("the address is good")
    }

    /// `kill -9`: nothing is flushed, nothing is said.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is there");
        self.child.wait().expect("the process is ours");
    }

    pub fn signal(&self, name: &str) {
        let process = self.process().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &process]).status().expect("kill runs");
        assert!(status.success(), "kill -{name} {process}");
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process ends", async || child.try_wait().expect("the process is ours")).await
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended already.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().expect("the process is there");
            self.child.wait().expect("the process is ours");
        }
    }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipstream-job"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("SLIPSTREAM_") && name != "SLIPSTREAM_TEST_PYTHON")
    {
        command.env_remove(name);
    }
    // many run at once: whoever looks at metrics says where
    command.env("SLIPSTREAM_ADMIN_LISTEN", "none");
    command
}

pub fn up_command(data_dir: &Path) -> Command {
    let mut command = program();
    command.env("SLIPSTREAM_SUPER_PASSWORD", PASSWORD);
    command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    command
}

pub fn state(document: &Document) -> &str {
    document["state"].as_str().expect("a job has a state")
}

/// One request without any client above it.
pub struct Raw {
    request: http::request::Builder,
    body: bytes::Bytes,
}

/// What came back.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
    /// Null if the body is not JSON.
    pub body: Value,
}

impl Raw {
    pub fn new(method: &str, path: &str) -> Self {
        Self { request: http::Request::builder().method(method).uri(path), body: bytes::Bytes::new() }
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self { request: self.request.header(name, value), ..self }
    }

    pub fn json(self, body: &Value) -> Self {
        Self { body: body.to_string().into(), ..self }.header("content-type", "application/json")
    }

    pub fn text(self, content_type: &str, body: impl Into<bytes::Bytes>) -> Self {
        self.bare(body).header("content-type", content_type)
    }

    /// A body of no named type.
    pub fn bare(self, body: impl Into<bytes::Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub async fn send(self, transport: &dyn Transport) -> Answered {
        let request = self.request.body(self.body).expect("a good request");
        let response = transport.send(request).await.expect("answered");
        let text = String::from_utf8_lossy(response.body()).into_owned();
        Answered {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }
}

/// Logs in and answers the `Cookie` header.
pub async fn cookie(transport: &dyn Transport) -> String {
    let body =
        json!({"sessionTemplate": {"href": "session-template/internal", "username": "super", "password": PASSWORD}});
    let login = Raw::new("POST", "/api/session").json(&body).send(transport).await;
    assert_eq!(login.status, 201, "{}", login.text);
    let cookie = login.headers["set-cookie"].to_str().expect("text");
    cookie.split(';').next().expect("a value").to_owned()
}
