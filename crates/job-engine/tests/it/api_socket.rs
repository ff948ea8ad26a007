//! The API socket, by raw HTTP and by our own clients, in front of the real routes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_cimi::{AttemptIdentity, Client, Lease, UnixTransport};
use slipstream_job_engine::internals::programs::{Admission, ApiSocket, OwnJob};
use slipstream_job_engine::internals::server::BODY_LIMIT;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::{InProcess, LIMIT, PASSWORD, Up, document, eventually, job, state};

const SECRET: &str = "a secret of jane";

/// A server with one running job, and the socket of its executor.
struct Site {
    engine: InProcess,
    socket: ApiSocket,
    job: String,
    entry: String,
    folder: TempDir,
}

impl Site {
    async fn new() -> Self {
        let engine = InProcess::new().await;
        let job = engine.client.add("job", &job("noop"), None).await.expect("added");
        let stored = engine.client.get(&job).await.expect("there");
        let entry = stored["properties"]["zookeeper-path"].as_str().expect("recorded").to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let socket = ApiSocket::start_in(&[folder.path().to_owned()]).expect("a socket");
        Self { engine, socket, job, entry, folder }
    }

    /// The attempt of this lease, which has begun.
    async fn attempt(&self, zxid: i64) -> Admission {
        let lease = Lease { generation: 1, zxid };
        let (job, entry, executor) = (self.job.clone(), self.entry.clone(), "Kenny".to_owned());
        let client = self.engine.client.for_attempt(AttemptIdentity { job, lease, entry, executor });
        client.edit(&self.job, &document(json!({"state": "RUNNING"})), &[]).await.expect("begun");
        self.socket.admit(client, Some(OwnJob { id: self.job.clone() }))
    }

    async fn ask(&self, text: &str) -> Raw {
        let mut connection = Connection::to(self.socket.path()).await;
        connection.ask(text).await
    }
}

/// What was answered.
#[derive(Debug)]
struct Raw {
    status: u16,
    head: String,
    body: Value,
}

struct Connection(UnixStream);

impl Connection {
    async fn to(path: &Path) -> Self {
        Self(UnixStream::connect(path).await.expect("somebody listens"))
    }

    /// Sends these bytes and reads one answer.
    async fn ask(&mut self, text: &str) -> Raw {
        self.0.write_all(text.as_bytes()).await.expect("sent");
        tokio::time::timeout(LIMIT, self.answer()).await.expect("answered in time")
    }

    async fn answer(&mut self) -> Raw {
        let mut read = Vec::new();
        let end = loop {
            assert_ne!(self.0.read_buf(&mut read).await.expect("readable"), 0, "{}", String::from_utf8_lossy(&read));
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8(read[..end].to_vec()).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let length = length.unwrap_or(0);
        while read.len() < end + length {
            assert_ne!(self.0.read_buf(&mut read).await.expect("readable"), 0);
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Raw { status, head, body: serde_json::from_slice(&read[end..]).unwrap_or(Value::Null) }
    }
}

/// The host in the address that an action is told.
fn token(admission: &Admission) -> String {
    admission.api().trim_start_matches("http://").trim_end_matches("/api").to_owned()
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {token}\r\n\r\n")
}

fn with_body(method: &str, path: &str, token: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: {token}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_request_goes_on_with_the_executors_login_and_without_its_cookie() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let path = format!("/api/{}", site.job);
    let mode = std::fs::metadata(site.socket.path().parent().expect("a folder")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for text in [
        get(&path, &token(&admission)),
        get(&path, &token(&admission).to_uppercase()),
        get(&format!("//api//{}", site.job), &token(&admission)),
        // as a proxy is asked
        format!("GET http://{}{path} HTTP/1.1\r\nHost: proxy\r\n\r\n", token(&admission)),
        format!("GET http://{}{path} HTTP/1.1\r\n\r\n", token(&admission)),
    ] {
        let answered = site.ask(&text).await;
        assert_eq!((answered.status, &answered.body["id"]), (200, &json!(site.job)), "{text}");
        assert!(!answered.head.contains("set-cookie"), "{}", answered.head);
    }
    for path in ["/", "/other", "/api/../other", "/apis"] {
        let answered = site.ask(&get(path, &token(&admission))).await;
        assert_eq!((answered.status, &answered.body["status"]), (404, &json!(404)), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_and_an_ended_token_are_late() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let ended = token(&admission);
    let mut kept = Connection::to(site.socket.path()).await;
    assert_eq!(kept.ask(&get("/api/cloud-entry-point", &ended)).await.status, 200);
    admission.close().await;
    assert_eq!(kept.0.read(&mut [0; 1]).await.expect("readable"), 0, "its connection has ended");
    let path = format!("/api/{}", site.job);
    for text in [
        get(&path, &ended),
        get(&path, "localhost"),
        get(&path, ""),
        format!("GET {path} HTTP/1.0\r\n\r\n"),
        with_body("PUT", &path, &ended, "", r#"{"progress":7}"#),
    ] {
        let answered = site.ask(&text).await;
        assert_eq!((answered.status, &answered.body["code"]), (409, &json!("late-lease")), "{text}");
    }
    // its body is read first: a client that still sends must not find a broken pipe instead of the answer
    let body = r#"{"progress":7}"#;
    let text = with_body("PUT", &path, &ended, "Expect: 100-continue\r\n", body);
    let mut asking = Connection::to(site.socket.path()).await;
    assert_eq!(asking.ask(text.trim_end_matches(body)).await.status, 100);
    assert_eq!(asking.ask(body).await.status, 409);
    let later = site.attempt(20).await;
    assert_eq!(site.ask(&get(&path, &token(&later))).await.status, 200);
    assert_ne!(site.engine.client.get(&site.job).await.expect("there")["progress"], 7);
}

#[tokio::test]
async fn what_an_attempt_writes_is_written_under_its_lease() {
    let site = Site::new().await;
    let (early, late) = (site.attempt(10).await, site.attempt(20).await);
    let path = format!("/api/{}", site.job);
    let put = |admission: &Admission| with_body("PUT", &path, &token(admission), "", r#"{"progress":7}"#);
    let refused = site.ask(&put(&early)).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("late-lease")));
    let forged = with_body("PUT", &path, &token(&early), "Job-Lease: 9.99\r\n", r#"{"state":"FAILED"}"#);
    assert_eq!(site.ask(&forged).await.status, 409, "nobody says another lease than its own");
    let taken = site.ask(&put(&late)).await;
    assert_eq!((taken.status, &taken.body["progress"]), (200, &json!(7)));
}

#[tokio::test]
async fn the_last_report_is_in_the_job_before_the_attempt_ends_it() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let mut connection = Connection::to(site.socket.path()).await;
    let path = format!("/api/{}", site.job);
    for percent in 1..=50 {
        let body = json!({"progress": percent, "statusMessage": format!("at {percent}")}).to_string();
        let answered = connection.ask(&with_body("PUT", &path, &token(&admission), "", &body)).await;
        assert_eq!((answered.status, &answered.body["progress"]), (200, &json!(percent)));
        assert_eq!(connection.ask(&get(&path, &token(&admission))).await.body["progress"], percent);
    }
    admission.close().await;
    let job = site.engine.client.get(&site.job).await.expect("there");
    assert_eq!((&job["progress"], &job["statusMessage"]), (&json!(50), &json!("at 50")));
}

#[tokio::test]
async fn own_credentials_are_somebody_elses_rights() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let token = token(&admission);
    let jane = document(json!({"username": "jane", "password": SECRET}));
    site.engine.client.add("user", &jane, None).await.expect("added");
    let login =
        json!({"sessionTemplate": {"href": "session-template/internal", "username": "jane", "password": SECRET}});
    let logged_in = site.ask(&with_body("POST", "/api/session", &token, "", &login.to_string())).await;
    assert_eq!(logged_in.status, 201, "{}", logged_in.head);
    let cookie = logged_in.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(!cookie.to_lowercase().contains("secure"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a value");
    let path = format!("/api/{}", site.job);
    for (headers, status) in [
        (String::new(), 200),
        (format!("Cookie: {cookie}\r\n"), 403),
        ("Authorization: Bearer x\r\n".to_owned(), 403),
        // our server believes it of a trusted proxy alone
        ("slipstream-authn-info: super ADMIN\r\n".to_owned(), 403),
    ] {
        let answered = site.ask(&format!("GET {path} HTTP/1.1\r\nHost: {token}\r\n{headers}\r\n")).await;
        assert_eq!(answered.status, status, "{headers}");
    }
    let wrong =
        json!({"sessionTemplate": {"href": "session-template/internal", "username": "super", "password": "no"}});
    assert_eq!(site.ask(&with_body("POST", "/api/session", &token, "", &wrong.to_string())).await.status, 403);
    assert_eq!(site.ask(&get(&path, &token)).await.status, 200, "the executor's login is as it was");
}

#[tokio::test]
async fn bodies_have_the_bounds_of_the_server() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let path = format!("/api/{}", site.job);
    let message = "x".repeat(BODY_LIMIT - 40);
    let body = json!({"description": message}).to_string();
    let answered = site.ask(&with_body("PUT", &path, &token(&admission), "", &body)).await;
    assert_eq!((answered.status, answered.body["description"].as_str().map(str::len)), (200, Some(message.len())));
    let declared = format!(
        "PUT {path} HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        token(&admission),
        BODY_LIMIT + 1
    );
    let answered = site.ask(&declared).await;
    assert_eq!((answered.status, &answered.body["status"]), (413, &json!(413)));
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", BODY_LIMIT + 1, " ".repeat(BODY_LIMIT + 1));
    let head = format!("PUT {path} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", token(&admission));
    let mut connection = Connection::to(site.socket.path()).await;
    let (mut reading, mut writing) = tokio::io::split(&mut connection.0);
    let mut answered = [0; 12];
    // it may break off while it is still sent
    let text = head + &chunk;
    let (_, read) = tokio::join!(writing.write_all(text.as_bytes()), reading.read_exact(&mut answered));
    read.expect("answered");
    assert_eq!(&answered, b"HTTP/1.1 413");
}

/// The fault: clients that begin a request and hang, as many as one attempt may have connections.
#[tokio::test]
async fn who_hangs_holds_nothing_for_others() {
    let site = Site::new().await;
    let (hanging, other) = (site.attempt(10).await, site.attempt(20).await);
    let path = format!("/api/{}", site.job);
    let mut held = Vec::new();
    for number in 0..200 {
        let mut connection = Connection::to(site.socket.path()).await;
        let whole = with_body("PUT", &path, &token(&hanging), "", r#"{"progress":7}"#);
        let length = if number % 2 == 0 { whole.len() / 2 } else { whole.len() - 1 };
        connection.0.write_all(&whole.as_bytes()[..length]).await.expect("sent");
        held.push(connection);
    }
    for _ in 0..20 {
        assert_eq!(site.ask(&get(&path, &token(&other))).await.status, 200);
    }
}

#[tokio::test]
async fn one_attempt_has_sixty_four_connections() {
    let site = Site::new().await;
    let (first, second) = (site.attempt(10).await, site.attempt(20).await);
    let mut held = Vec::new();
    for number in 0..65 {
        let mut connection = Connection::to(site.socket.path()).await;
        let answered = connection.ask(&get("/api/cloud-entry-point", &token(&first))).await;
        assert_eq!(answered.status, if number < 64 { 200 } else { 503 });
        held.push(connection);
    }
    assert_eq!(site.ask(&get("/api/cloud-entry-point", &token(&second))).await.status, 200);
    held.truncate(60);
    let again = eventually("its places are free again", async || {
        let answered = site.ask(&get("/api/cloud-entry-point", &token(&first))).await;
        (answered.status == 200).then_some(answered)
    });
    again.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_threads_are_served() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let (path, token) = (format!("/api/{}", site.job), token(&admission));
    let threads = (0..16).map(|thread| {
        let (socket, path, token) = (site.socket.path().to_owned(), path.clone(), token.clone());
        tokio::spawn(async move {
            let mut connection = Connection::to(&socket).await;
            for percent in 0..40 {
                let body = json!({"progress": percent, "statusMessage": format!("{thread}")}).to_string();
                let answered = connection.ask(&with_body("PUT", &path, &token, "", &body)).await;
                assert_eq!((answered.status, &answered.body["state"]), (200, &json!("RUNNING")));
                assert_eq!(connection.ask(&get("/api/job?$last=1", &token)).await.status, 200);
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.await.expect("no panic");
    }
    admission.close().await;
    assert_eq!(site.engine.client.get(&site.job).await.expect("there")["progress"], 39);
}

#[tokio::test]
async fn our_own_client_needs_no_login_there() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let transport = UnixTransport::to_api(site.socket.path().to_owned(), &admission.api()).expect("an address");
    let client = Client::new(Arc::new(transport.within(Duration::from_secs(30))), None);
    assert_eq!(client.get(&site.job).await.expect("there")["state"], "RUNNING");
    let added = client.add("job", &job("noop"), Some("a key")).await.expect("added");
    assert_eq!(client.add("job", &job("noop"), Some("a key")).await.expect("added"), added);
    let edited = client.edit(&site.job, &document(json!({"progress": 3})), &[]).await.expect("edited");
    assert_eq!(edited["progress"], 3);
    let super_user = slipstream_cimi::Credentials { username: "super".to_owned(), password: PASSWORD.into() };
    let transport = UnixTransport::to_api(site.socket.path().to_owned(), &admission.api()).expect("an address");
    Client::new(Arc::new(transport), Some(super_user)).login().await.expect("its own login works, too");
}

#[tokio::test]
async fn the_command_line_uses_the_socket_in_an_action() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let command = |arguments: &[&str]| {
        let mut command = crate::support::program();
        command.args(arguments).env("SLIPSTREAM_SOCKET", site.socket.path()).env("SLIPSTREAM_API", admission.api());
        // flags count more, these less
        command.env("SLIPSTREAM_URL", "http://127.0.0.1:1").env("SLIPSTREAM_USER", "jane").env("HOME", "/nowhere");
        command
    };
    let run = async |arguments: &[&str]| {
        let mut command = command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("no panic");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, added, errors) = run(&["submit", "noop", "--key", &site.job]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(run(&["submit", "noop", "--key", &site.job]).await.1, added);
    let (code, shown, errors) = run(&["jobs", "show", added.trim()]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(shown.contains(added.trim()), "{shown}");
    let (code, _, errors) =
        run(&["jobs", "show", added.trim(), "--ss-url", "http://127.0.0.1:1", "--ss-pass", "x"]).await;
    assert_ne!(code, Some(0), "a flag names another server");
    assert!(errors.contains("127.0.0.1:1"), "{errors}");
    admission.close().await;
    let mut late = crate::support::program();
    late.args(["jobs", "list"]).env("SLIPSTREAM_SOCKET", site.socket.path()).env("SLIPSTREAM_API", "http://0a1b/api");
    let output = tokio::task::spawn_blocking(move || late.output().expect("it runs")).await.expect("no panic");
    assert!(String::from_utf8_lossy(&output.stderr).contains("belongs to no attempt"), "{output:?}");
}

/// As an author would write it: an action in shell that adds the next job.
#[tokio::test]
async fn a_script_adds_a_job_by_the_command_line() {
    let data_dir = tempfile::tempdir().expect("a folder");
    let (actions, program) = (data_dir.path().join("actions"), env!("CARGO_BIN_EXE_slipstream-job"));
    std::fs::create_dir(&actions).expect("made");
    let script = format!("#!/bin/sh\n'{program}' submit noop --key \"$SLIPSTREAM_JOB\"\n");
    std::fs::write(actions.join("chain"), script).expect("written");
    std::fs::set_permissions(actions.join("chain"), std::fs::Permissions::from_mode(0o755)).expect("permitted");
    let up = Up::start(data_dir.path(), &[]);
    let client = up.client();
    let ended = async |id: &str| {
        eventually("the job ends", async || {
            let job = client.get(id).await.ok()?;
            ["SUCCESS", "FAILED"].contains(&state(&job)).then_some(job)
        })
        .await
    };
    let first = ended(&client.add("job", &job("chain"), None).await.expect("added")).await;
    assert_eq!(state(&first), "SUCCESS", "{first:?}");
    let next = ended(first["statusMessage"].as_str().expect("the next job's id")).await;
    assert_eq!((state(&next), &next["action"]), ("SUCCESS", &json!("noop")));
}

#[tokio::test]
async fn nothing_is_left_of_the_socket() {
    let site = Site::new().await;
    let admission = site.attempt(10).await;
    let mut connection = Connection::to(site.socket.path()).await;
    assert_eq!(connection.ask(&get("/api/cloud-entry-point", &token(&admission))).await.status, 200);
    let Site { socket, folder, .. } = site;
    drop(socket);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    assert_eq!(connection.0.read(&mut [0; 1]).await.expect("readable"), 0, "its connections have ended");
}
