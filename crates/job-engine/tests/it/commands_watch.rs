//! `jobs watch`, where its output is no terminal; and commands in a terminal of 80 columns.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::commands::{Busy, Ran, command};
use crate::support::{Up, eventually};

/// A watching command, and a signal to it.
fn watching(up: &Up, arguments: &[&str]) -> Child {
    command(up, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
}

/// The first lines of what it prints, until one fits.
fn lines_until(child: &mut Child, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let mut output = BufReader::new(child.stdout.as_mut().expect("a pipe"));
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(output.read_line(&mut line).expect("text") > 0, "ended after {lines:#?}");
        let line = line.trim_end().to_owned();
        lines.push(line.clone());
        if fits(&line) {
            return lines;
        }
    }
}

#[tokio::test]
async fn watching_all_prints_a_line_for_each_change_until_ctrl_c() {
    let busy = Busy::new().await;
    let mut child = watching(&busy.up, &["jobs", "watch"]);
    let lines = lines_until(&mut child, |line| *line == format!("{} QUEUED 0% noop", busy.waiting[2]));
    assert!(lines[0].starts_with(&format!("{} RUNNING ", busy.running)), "{lines:#?}");
    assert!(lines[0].contains("% dummy_test_action: waited "), "{lines:#?}");
    let first = busy.waiting[0].as_str();
    assert_eq!(lines[1], format!("{first} QUEUED 0% noop"), "what has waited for longest comes first");
    busy.run(&["jobs", "stop", first]).good();
    let lines = lines_until(&mut child, |line| line.starts_with(&format!("{first} STOPPED 100% noop")));
    assert!(lines.iter().all(|line| !line.contains("QUEUED")), "what has not changed is not repeated: {lines:#?}");
    interrupt(&child);
    assert_eq!(Ran::of(&child.wait_with_output().expect("ended")).code, 0);
}

#[tokio::test]
async fn watching_as_json_prints_documents() {
    let busy = Busy::new().await;
    let mut child = watching(&busy.up, &["jobs", "watch", "--json"]);
    let last = busy.waiting[2].clone();
    let lines = lines_until(&mut child, |line| line.contains(&last));
    let documents: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seen: Vec<Value> = documents.iter().map(|job| json!([job["id"], job["state"]])).collect();
    let mut expected = vec![json!([busy.running, "RUNNING"])];
    expected.extend(busy.waiting.iter().map(|id| json!([id, "QUEUED"])));
    assert_eq!(seen, expected);
    // A reader that goes away ends it.
    drop(child.stdout.take());
    busy.run(&["jobs", "delete", &busy.running]).good();
    let ended = eventually("it ends", async || child.try_wait().expect("ours"));
    assert_eq!(ended.await.code(), Some(0));
}

#[tokio::test]
async fn watching_one_job_ends_with_it() {
    let busy = Busy::new().await;
    let child = watching(&busy.up, &["jobs", "watch", &busy.waiting[1]]);
    let json = watching(&busy.up, &["jobs", "watch", &busy.waiting[1], "--json"]);
    let mut stopped = watching(&busy.up, &["jobs", "watch", &busy.waiting[2]]);
    lines_until(&mut stopped, |line| *line == format!("{} QUEUED 0% noop", busy.waiting[2]));
    busy.run(&["jobs", "stop", &busy.waiting[2]]).good();
    let stopped = Ran::of(&stopped.wait_with_output().expect("ended"));
    assert_eq!(stopped.code, 1);
    assert!(stopped.complained.starts_with(&format!("{} STOPPED", busy.waiting[2])), "{stopped:?}");
    let done = Ran::of(&child.wait_with_output().expect("ended"));
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<&str> = done.said.lines().collect();
    assert_eq!(lines[0], format!("{} QUEUED 0% noop", busy.waiting[1]));
    assert!(lines[lines.len() - 1].starts_with(&format!("{} SUCCESS 100% noop", busy.waiting[1])), "{lines:#?}");
    let done = Ran::of(&json.wait_with_output().expect("ended")).good();
    let states: Vec<Value> =
        done.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["state"].clone()).collect();
    assert_eq!((&states[0], &states[states.len() - 1]), (&json!("QUEUED"), &json!("SUCCESS")));
    let unknown = busy.run(&["jobs", "watch", "0a"]).failed();
    assert!(unknown.starts_with("error: there is no job/0a\nhint: "), "{unknown}");
    let endless = watching(&busy.up, &["jobs", "watch", &busy.running]);
    let ended = busy.up.client().get(&busy.running).await.expect("there");
    assert_eq!(ended["state"], "SUCCESS", "the others waited for it");
    assert_eq!(Ran::of(&endless.wait_with_output().expect("ended")).code, 0);
}

/// A command in a terminal of 80 columns and 24 lines: once a text is shown, keys are typed.
fn in_terminal(up: &Up, steps: &Value, arguments: &[&str]) -> (i32, String) {
    let python = std::env::var("SLIPSTREAM_TEST_PYTHON").expect("run the tests by `cargo xtask test`");
    let direct = command(up, arguments);
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py")).arg(steps.to_string());
    command.arg(direct.get_program()).args(direct.get_args());
    for (name, value) in direct.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR");
    let ran = Ran::of(&command.output().expect("Python starts"));
    assert_eq!(ran.complained, "", "{}", ran.said);
    (ran.code, ran.said)
}

fn without_colours(text: &str) -> String {
    console::strip_ansi_codes(text).replace('\r', "")
}

#[tokio::test]
async fn every_listing_fits_80_columns_in_colour() {
    let busy = Busy::new().await;
    for arguments in [
        &["jobs"][..],
        &["jobs", "show", &busy.running],
        &["queue"],
        &["executors"],
        &["actions"],
        &["distributors"],
        &["users"],
        &["--help"],
        &["jobs", "watch", "--help"],
    ] {
        let (code, said) = in_terminal(&busy.up, &json!([]), arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        assert!(said.contains("\u{1b}[1m"), "titles are bold: {said:?}");
        let plain = without_colours(&said);
        let is_id_whole = arguments != ["jobs"] || plain.contains(busy.running.trim_start_matches("job/"));
        assert!(is_id_whole && plain.lines().count() > 1, "{plain}");
        for line in plain.lines() {
            assert!(console::measure_text_width(line) <= 80, "{arguments:?}: {line}");
        }
    }
}

#[tokio::test]
async fn the_live_table_is_drawn_in_place_and_ctrl_c_ends_it_well() {
    let busy = Busy::new().await;
    let (code, said) = in_terminal(&busy.up, &json!([["3 queued", ""], ["3 queued", "\u{3}"]]), &["jobs", "watch"]);
    assert_eq!(code, 0, "{said}");
    // A summary, titles, a running job with its message below, and three that wait.
    assert!(said.contains("\u{1b}[7A"), "the second drawing begins seven lines up: {said:?}");
    assert!(without_colours(&said).contains("1 running, 3 queued, 0 just ended"), "{said}");
}

#[tokio::test]
async fn one_job_in_a_terminal_has_a_bar() {
    let busy = Busy::new().await;
    let (code, said) = in_terminal(&busy.up, &json!([["RUNNING", ""]]), &["jobs", "watch", &busy.running]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains('━') && said.contains("SUCCESS"), "{said}");
    let waiting = ["jobs", "stop", &busy.waiting[0], &busy.waiting[1], &busy.waiting[2]];
    busy.run(&waiting);
}

#[tokio::test]
async fn ctrl_d_at_the_prompt_for_a_password_is_no_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let ask = |steps: Value| in_terminal(&up, &steps, &["users", "add", "jane"]);
    let (first, again) = ("New password of the user jane: ", "The same again: ");
    for (steps, complaint) in [
        (json!([[first, "\u{4}"]]), "no password was given, nothing was changed"),
        (json!([[first, "\n"]]), "no password was given, nothing was changed"),
        (json!([[first, "a secret\n"], [again, "\u{4}"]]), "no password was given, nothing was changed"),
        (json!([[first, "a secret\n"], [again, "another\n"]]), "the two passwords differ, nothing was changed"),
    ] {
        let (code, said) = ask(steps);
        assert_eq!((code, said.contains(complaint)), (2, true), "{said}");
        assert!(!said.contains("a secret"), "what is typed is not shown: {said}");
    }
    let (code, said) = ask(json!([[first, "a secret\n"], [again, "a secret\n"]]));
    assert_eq!((code, said.contains("user/jane added")), (0, true), "{said}");
}
