//! Bad input gets its status, says what to do, and loses nothing.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::channel;

use serde_json::json;
use slipstream_cimi::filter::MAXIMUM_LENGTH;
use slipstream_job_engine::internals::server::BODY_LIMIT;

use crate::support::{InProcess, LIMIT, Raw, Up, cookie, program, up_command};

/// A search whose filter has so many bytes, each percent-encoded.
fn long_filter(length: usize) -> Raw {
    let filter = format!("%61%3D%27%78%27{}", "%20".repeat(length - "a='x'".len()));
    Raw::new("PUT", "/api/job").text("application/x-www-form-urlencoded", format!("%24filter={filter}"))
}

fn many_orders() -> Raw {
    let attributes: Vec<String> = (0..3000).map(|number| format!("a{number}")).collect();
    Raw::new("PUT", "/api/job")
        .text("application/x-www-form-urlencoded", format!("%24orderby={}", attributes.join(",")))
}

#[tokio::test]
async fn bad_requests_say_what_is_wrong_and_change_nothing() {
    let engine = InProcess::new().await;
    let cookie = cookie(&*engine.transport).await;
    let post = |body: &str| Raw::new("POST", "/api/job").text("application/json", body.to_owned());
    let form = |text: &'static str| Raw::new("PUT", "/api/job").text("application/x-www-form-urlencoded", text);
    let large = format!("{{\"action\": \"{}\"}}", "x".repeat(BODY_LIMIT));
    for (request, status, text) in [
        (post("{\"action\": "), 400, "Malformed JSON in request body."),
        (Raw::new("POST", "/api/user").text("application/json", "[1]"), 400, "expected a JSON object"),
        (post("1"), 400, "expected a JSON object"),
        (post("{}"), 400, "action: missing"),
        (post("{\"action\": 5}"), 400, "action: expected a text that is not blank, got 5"),
        (post("{\"action\": \"noop\", \"colour\": \"red\"}"), 400, "colour: unknown attribute"),
        (
            post("{\"action\": \"noop\", \"priority\": 1000}"),
            400,
            "priority: expected a whole number from 0 to 999, got 1000",
        ),
        (
            post("{\"action\": \"noop\", \"priority\": -1}"),
            400,
            "priority: expected a whole number from 0 to 999, got -1",
        ),
        (post("{\"action\": \"noop\", \"priority\": \"high\"}"), 400, "priority: expected a whole number"),
        (
            post("{\"action\": \"noop\", \"notBefore\": \"2030-01-01T00:00:00.000Z\"}"),
            400,
            "notBefore: not yet supported",
        ),
        (post("{\"action\": \"noop\", \"maxAttempts\": 3}"), 400, "maxAttempts: not yet supported"),
        (
            post("{\"action\": \"noop\", \"targetResource\": {\"href\": \"UPPER/x\"}}"),
            400,
            "targetResource: expected a link",
        ),
        (post("{\"action\": \"noop\", \"acl\": {}}"), 400, "acl/owner: missing"),
        (post(&large), 413, "larger than 1048576 bytes"),
        (
            post("{\"action\": \"noop\"}").header("idempotency-key", &"k".repeat(256)),
            400,
            "idempotency-key takes 1 to 255",
        ),
        (form("%24filter=action%3D"), 400, "Invalid CIMI filter. Parse error at line 1, column 8:"),
        (form("%24filter="), 400, "Invalid CIMI filter."),
        (form("%24filter=created%3E%27soon%27"), 400, "Invalid CIMI filter. Parse error at line 1, column 9:"),
        (form("%24filter=created%3E%27soon%27"), 400, "expected a date, a timestamp or date math, such as"),
        (form("%24filter=g+within+%27POINT(1+2)%27"), 400, "`within`, which is not supported"),
        (long_filter(MAXIMUM_LENGTH), 200, ""),
        (long_filter(MAXIMUM_LENGTH + 1), 400, "Invalid CIMI filter. Parse error at line 1, column 1048577:"),
        (many_orders(), 400, "a search is ordered by at most 64 attributes"),
        (form("%24first=1&%24last=10001"), 400, "size 10001 too large; limit is 10000"),
        (Raw::new("PUT", "/api/job").json(&json!({"filter": "a=1"})), 400, "a search takes its parameters from"),
        (Raw::new("PUT", "/api/job/0a").json(&json!({})), 404, "job/0a not found"),
        (Raw::new("POST", "/api/job/0a/stop"), 404, "job/0a not found"),
        (Raw::new("DELETE", "/api/job/0a"), 404, "job/0a not found"),
    ] {
        let answered = request.header("cookie", &cookie).send(&*engine.transport).await;
        assert_eq!(answered.status, status, "{}", answered.text);
        let message = answered.body["message"].as_str().unwrap_or(&answered.text);
        assert!(message.contains(text), "{message}");
        assert!(answered.headers.contains_key("x-request-id"));
    }
    let all = engine.client.search("job", &slipstream_cimi::query::Search::default()).await.expect("searched");
    assert_eq!(all.count, 0);
}

#[tokio::test]
async fn a_bad_edit_leaves_the_job_as_it_was() {
    let engine = InProcess::new().await;
    let cookie = cookie(&*engine.transport).await;
    let id = engine.client.add("job", &crate::support::job("noop"), None).await.expect("added");
    let before = engine.client.get(&id).await.expect("there");
    for bad in [
        json!({"state": "DONE"}),
        json!({"progress": 101}),
        json!({"colour": 1}),
        json!({"progress": null}),
        json!({"maxAttempts": 1}),
    ] {
        let request = Raw::new("PUT", &format!("/api/{id}")).json(&bad).header("cookie", &cookie);
        assert_eq!(request.send(&*engine.transport).await.status, 400, "{bad}");
    }
    for header in ["x", "1", "1.x"] {
        let request = Raw::new("PUT", &format!("/api/{id}"))
            .json(&json!({}))
            .header("cookie", &cookie)
            .header("job-lease", header);
        assert_eq!(request.send(&*engine.transport).await.status, 400, "{header}");
    }
    for entry in
        ["/etc/passwd", "/job/entries/", "/job/entries/entry-1-0000000001", "/job/entries/entry-999-0000000001/x"]
    {
        let request = Raw::new("PUT", &format!("/api/{id}")).json(&json!({})).header("cookie", &cookie);
        let request = request.header("job-lease", "1.1").header("job-id", &id).header("job-entry", entry);
        let answered = request.send(&*engine.transport).await;
        assert_eq!(
            (answered.status, answered.body["message"].as_str()),
            (400, Some("job-entry is not the path of an entry"))
        );
    }
    assert_eq!(engine.client.get(&id).await.expect("there"), before);
}

#[tokio::test]
async fn a_filter_error_points_at_its_place() {
    let engine = InProcess::new().await;
    let cookie = cookie(&*engine.transport).await;
    let request = Raw::new("GET", "/api/job?%24filter=state%3D%27QUEUED%27%20AND%20a%3D1").header("cookie", &cookie);
    let message = request.send(&*engine.transport).await.body["message"].as_str().expect("a message").to_owned();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[1], "state='QUEUED' AND a=1");
    assert_eq!(lines[2].trim_end().len(), "state='QUEUED' A".len(), "{message}");
    assert!(lines[2].trim_end().ends_with('^'), "{message}");
}

fn up_fails(data_dir: &Path, arguments: &[&str]) -> String {
    let mut command = up_command(data_dir);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut errors = child.stderr.take().expect("standard error is a pipe");
    let (sender, said) = channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let read = errors.read_to_string(&mut text);
        sender.send(read.map(|_| text)).expect("the test waits");
    });
    let Ok(message) = said.recv_timeout(LIMIT) else {
        child.kill().expect("the process is there");
        panic!("`up` runs, and should have refused to");
    };
    reader.join().expect("no panic");
    let message = message.expect("text");
    assert_eq!(child.wait().expect("the process is ours").code(), Some(2));
    assert_eq!(message.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{message}");
    message
}

#[test]
fn up_refuses_what_it_cannot_run_on_and_touches_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let corrupt = folder.path().join("corrupt");
    std::fs::create_dir(&corrupt).expect("made");
    let content = "this is no database, but somebody's letter\n".repeat(200);
    std::fs::write(corrupt.join("jobs.db"), &content).expect("written");
    let message = up_fails(&corrupt, &[]);
    assert!(message.contains("jobs.db") && message.contains("not a database"), "{message}");
    assert_eq!(std::fs::read_to_string(corrupt.join("jobs.db")).expect("still there"), content);

    let message = up_fails(&folder.path().join("new"), &["--distributors", "nightly"]);
    assert!(message.contains("there is no distributor nightly"), "{message}");

    let configured = folder.path().join("configured");
    std::fs::create_dir(&configured).expect("made");
    std::fs::write(
        configured.join("config.toml"),
        "[[distributor]]\nname = \"x\"\naction = \"noop\"\nevery = \"soon\"\n",
    )
    .expect("written");
    let message = up_fails(&configured, &[]);
    assert!(message.contains("config.toml:4:"), "{message}");
}

#[test]
fn up_refuses_the_data_directory_of_a_newer_version() {
    let folder = tempfile::tempdir().expect("a folder");
    Up::start(folder.path(), &[]).kill();
    let database = rusqlite::Connection::open(folder.path().join("jobs.db")).expect("opened");
    database.pragma_update(None, "user_version", 1_000_000).expect("written");
    drop(database);
    let message = up_fails(folder.path(), &[]);
    assert!(message.contains("has version 1000000 and this program knows versions up to"), "{message}");
}

#[test]
fn a_second_up_on_one_data_directory_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Up::start(folder.path(), &[]);
    let message = up_fails(folder.path(), &[]);
    assert!(message.contains("another slipstream-job up or server uses the folder"), "{message}");
    drop(first);
    Up::start(folder.path(), &[]);
}

#[test]
fn commands_without_an_engine_say_what_to_do() {
    let home = tempfile::tempdir().expect("a folder");
    for (arguments, hint) in [
        (vec!["jobs"], "start one with `slipstream-job up`"),
        (vec!["jobs", "--ss-url", "http://127.0.0.1:1"], "no password"),
        (vec!["jobs", "--ss-url", "http://127.0.0.1:1", "--ss-pass", "x"], "127.0.0.1:1"),
        (vec!["submit", "noop", "--priority", "1000", "--ss-pass", "x"], "1000"),
    ] {
        let output = program().args(&arguments).env("XDG_DATA_HOME", home.path()).output().expect("the binary starts");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(hint), "{arguments:?}: {message}");
    }
}
