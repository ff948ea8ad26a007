//! Signals that a service hears: none ends it without grace.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Stdio;

use serde_json::json;

use crate::support::{Up, eventually, job, state, up_command};

async fn runs(up: &Up) -> String {
    let client = up.client();
    let id = client.add("job", &job("dummy_test_action"), None).await.expect("added");
    eventually("it runs", async || (state(&client.get(&id).await.ok()?) == "RUNNING").then_some(())).await;
    id
}

#[tokio::test]
async fn signals_without_a_meaning_end_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.args(["--threads", "1"]).stdin(Stdio::null());
    let mut up = Up::spawn(command);
    let id = runs(&up).await;
    for name in ["HUP", "USR1", "USR2", "ALRM", "XFSZ"] {
        up.signal(name);
    }
    let client = up.client();
    eventually("its job is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
    let ledger = client.operation(&id, "ledger").await.expect("there");
    assert_eq!((ledger["attempts"].as_array().map(Vec::len), &ledger["lost"]), (Some(1), &json!(0)));
    up.signal("TERM");
    up.line_with("stopped");
    assert_eq!(up.ended().await.code(), Some(0));
}

/// Both ends of a terminal that has so many columns.
pub fn terminal(columns: u16) -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    let mut size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the two places are valid for writing, the size is one, and null is allowed for the rest.
    let made = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), &raw mut size) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    // SAFETY: both were just opened, and nobody else has them.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

#[tokio::test]
async fn the_end_of_a_terminal_and_its_quit_are_orderly_stops() {
    for name in ["HUP", "QUIT"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut ours, theirs) = terminal(80);
        let mut command = up_command(folder.path());
        command.args(["--threads", "1", "--grace", "60s"]).stdin(theirs);
        let mut up = Up::spawn(command);
        ours.write_all(b"somebody is there\n").expect("written");
        let id = runs(&up).await;
        up.signal(name);
        up.line_with("stopping");
        up.line_with("stopped");
        assert_eq!(up.ended().await.code(), Some(0), "{name}");
        let up = Up::start(folder.path(), &[]);
        let job = up.client().get(&id).await.expect("there");
        assert_eq!(state(&job), "SUCCESS", "it ended within the grace of SIG{name}");
    }
}
