//! Standard error and output take nothing: what cannot be written is dropped, and everything else goes on.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, pipe};
use std::process::Stdio;

use crate::support::{LIMIT, PASSWORD, Raw, Up, eventually, job, program, state, up_command};

/// Takes nothing: every write to it fails as one to a disk that is full.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("a device of Linux")
}

async fn does_a_job(up: &Up) {
    let client = up.client();
    let id = client.add("job", &job("noop"), None).await.expect("added");
    eventually("the job is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
}

/// So many requests that make a line of the log each, of 4 kB and more.
async fn makes_long_lines(up: &Up, count: usize) {
    let (transport, long) = (up.transport(), format!("/api/{}", "x".repeat(4_000)));
    for _ in 0..count {
        let answered = Raw::new("GET", &long).send(&transport).await;
        assert_eq!(answered.status, 404, "{}", answered.text);
    }
}

#[tokio::test]
async fn an_engine_whose_log_cannot_be_written_does_its_jobs_and_stops_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    // so that every job is logged
    command.env("SLIPSTREAM_LOG", "debug");
    let mut up = Up::spawn_logging(command, full());
    for _ in 0..10 {
        does_a_job(&up).await;
    }
    up.signal("TERM");
    up.line_with("stopped");
    assert_eq!(up.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_engine_whose_log_nobody_reads_answers_hears_signals_and_says_what_was_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.env("SLIPSTREAM_LOG", "trace,hyper=trace");
    let (reader, writer) = pipe().expect("a pipe");
    let mut up = Up::spawn_logging(command, writer);
    // many times as much as pipe and queue hold together
    makes_long_lines(&up, 600).await;
    does_a_job(&up).await;
    let reading = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(reader).lines().map(|line| line.expect("text"));
        lines.filter(|line| line.starts_with('…')).collect::<Vec<_>>()
    });
    does_a_job(&up).await;
    up.signal("TERM");
    assert_eq!(up.ended().await.code(), Some(0));
    let lost = tokio::time::timeout(LIMIT, reading).await.expect("the pipe ends").expect("read");
    assert!(lost.iter().any(|line| line.ends_with(" lines were lost")), "{lost:?}");
}

#[tokio::test]
async fn an_engine_that_is_read_by_nobody_at_all_hears_sigterm() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.env("SLIPSTREAM_LOG", "trace");
    let (mut unread, writer) = pipe().expect("a pipe");
    let mut up = Up::spawn_logging(command, writer);
    // twice as much as the pipe holds
    makes_long_lines(&up, 32).await;
    does_a_job(&up).await;
    up.signal("TERM");
    assert_eq!(up.ended().await.code(), Some(0));
    let mut left = Vec::new();
    unread.read_to_end(&mut left).expect("nobody writes any more");
    assert!(left.len() > 32 * 1024, "the pipe was full: {}", left.len());
}

#[tokio::test]
async fn commands_end_with_their_own_code_where_nothing_can_be_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let stopped = up.client().add("job", &job("dummy_test_action"), None).await.expect("added");
    up.client().operation(&stopped, "stop").await.expect("stopped");
    for (words, code) in [
        (&["jobs", "show", "0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a"][..], 2),
        (&["jobs", "stop", "0a0a0a0a-0a0a-4a0a-8a0a-0a0a0a0a0a0a"], 2),
        (&["jobs", "--colour"], 2),
        (&["jobs"], 0),
        (&["submit", "noop", "--wait"], 0),
        (&["jobs", "watch", &stopped], 1),
        (&["executor", "--ss-user", "super", "--zk-hosts", "127.0.0.1:1", "--ss-pass", "wrong"], 2),
        (&["--help"], 0),
    ] {
        let mut command = program();
        command.args(words).env("SLIPSTREAM_URL", &up.endpoint).env("SLIPSTREAM_PASS", PASSWORD);
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full()).status().expect("it starts");
        assert_eq!(status.code(), Some(code), "{words:?}");
        // a reader that has gone
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let status = command.stderr(writer).status().expect("it starts");
        assert_eq!(status.code(), Some(code), "{words:?}");
    }
}

#[test]
fn a_table_that_cannot_be_written_is_an_error_and_a_reader_that_has_gone_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let mut command = program();
    command.args(["executors"]).env("SLIPSTREAM_URL", &up.endpoint).env("SLIPSTREAM_PASS", PASSWORD);
    let failed = command.stdout(full()).output().expect("it starts");
    let complained = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!((failed.status.code(), complained.contains("standard output")), (Some(2), true), "{complained}");
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    assert_eq!(command.stdout(writer).status().expect("it starts").code(), Some(0));
}

#[test]
fn a_usage_line_does_not_demand_what_the_environment_gives() {
    let mut command = program();
    command.arg("submit").env("SLIPSTREAM_URL", "http://127.0.0.1:1").env("SLIPSTREAM_USER", "jane");
    let refused = command.env("SLIPSTREAM_PASS", PASSWORD).output().expect("it starts");
    let complained = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{complained}");
    let usage = complained.lines().find(|line| line.starts_with("Usage: ")).unwrap_or_default();
    assert_eq!(usage, "Usage: slipstream-job submit [OPTIONS] <ACTION>");
}

/// What makes one text look like another, and what steers a terminal.
#[tokio::test]
async fn nothing_hidden_of_others_reaches_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut up = Up::start(folder.path(), &["--distributors", ""]);
    let hidden = "\u{1b}]0;title\u{7}invoice\u{202e}fdp\u{2066}\u{200b}\u{feff}\u{9b}31m";
    let mut document = job("noop");
    for attribute in ["statusMessage", "description"] {
        document.insert(attribute.to_owned(), serde_json::json!(hidden));
    }
    let client = up.client();
    let added = client.add("job", &document, None).await.expect("added");
    for words in [&["jobs"][..], &["jobs", "show", &added], &["jobs", "--json"], &["jobs", "--filter", hidden]] {
        let mut command = program();
        command.args(words).env("SLIPSTREAM_URL", &up.endpoint).env("SLIPSTREAM_PASS", PASSWORD);
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(words.len() == 1 || said.contains("\\u202e"), "{words:?} shows what is hidden: {said}");
        for character in ['\u{1b}', '\u{7}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{9b}'] {
            assert!(!said.contains(character), "{words:?}: {said:?}");
        }
    }
    up.signal("TERM");
    assert!(up.ended().await.success());
}
