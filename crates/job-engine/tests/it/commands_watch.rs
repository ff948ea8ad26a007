//! `jobs watch`, where its output is no terminal; and commands in a terminal of 80 columns.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::commands::{Busy, Ran, command};
use crate::support::{Up, eventually, up_command};

/// A command that watches.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn new(up: &Up, arguments: &[&str]) -> Self {
        let mut command = command(up, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    /// The next lines that it prints, until one begins so.
    fn until(&mut self, beginning: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).expect("text") > 0, "no {beginning} in {lines:#?}");
            let line = line.trim_end().to_owned();
            lines.push(line.clone());
            if line.starts_with(beginning) {
                return lines;
            }
        }
    }

    fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// How it ended; what it has said since it was last asked.
    fn ended(mut self) -> Ran {
        let mut said = String::new();
        self.lines.read_to_string(&mut said).expect("text");
        Ran { said, ..Ran::of(&self.child.wait_with_output().expect("ended")) }
    }
}

#[tokio::test]
async fn watching_all_prints_a_line_for_each_change_until_ctrl_c() {
    let busy = Busy::new().await;
    let mut watching = Watching::new(&busy.up, &["jobs", "watch"]);
    let [first, second, third] = [0, 1, 2].map(|index| busy.waiting[index].as_str());
    let lines = watching.until(&format!("{third} QUEUED 0% noop"));
    let running = lines.iter().position(|line| line.starts_with(&format!("{} RUNNING ", busy.running)));
    let waiting = lines.iter().position(|line| *line == format!("{first} QUEUED 0% noop"));
    assert!(running.is_some() && running < waiting, "what runs comes first: {lines:#?}");
    assert!(lines[running.unwrap_or_default()].contains("% dummy_test_action: waited "), "{lines:#?}");
    for id in [first, second] {
        busy.run(&["jobs", "stop", id]).good();
        let lines = watching.until(&format!("{id} STOPPED 100% noop"));
        assert!(lines.iter().all(|line| !line.contains("QUEUED")), "what has not changed is not repeated: {lines:#?}");
    }
    watching.interrupt();
    assert_eq!(watching.ended().code, 0);
}

#[tokio::test]
async fn watching_as_json_prints_documents() {
    let busy = Busy::new().await;
    let mut watching = Watching::new(&busy.up, &["jobs", "watch", "--json"]);
    let mut seen = Vec::new();
    loop {
        let document: Value = serde_json::from_str(&watching.until("{")[0]).expect("JSON");
        seen.push(json!([document["id"], document["state"]]));
        if document["id"] == busy.waiting[2] {
            break;
        }
    }
    let mut expected = vec![json!([busy.running, "RUNNING"])];
    expected.extend(busy.waiting.iter().map(|id| json!([id, "QUEUED"])));
    seen.retain(|one| expected.contains(one));
    seen.dedup();
    assert_eq!(seen, expected);
    // A reader that goes away ends it.
    let Watching { mut child, lines } = watching;
    drop(lines);
    busy.run(&["jobs", "delete", &busy.running]).good();
    let ended = eventually("it ends", async || child.try_wait().expect("ours"));
    assert_eq!(ended.await.code(), Some(0));
}

#[tokio::test]
async fn watching_one_job_ends_with_it() {
    let busy = Busy::new().await;
    let [_, second, third] = [0, 1, 2].map(|index| busy.waiting[index].as_str());
    let mut done = Watching::new(&busy.up, &["jobs", "watch", second]);
    let mut json = Watching::new(&busy.up, &["jobs", "watch", second, "--json"]);
    let mut stopped = Watching::new(&busy.up, &["jobs", "watch", third]);
    let mut interrupted = Watching::new(&busy.up, &["jobs", "watch", third]);
    for watching in [&mut stopped, &mut interrupted] {
        assert_eq!(watching.until(third), [format!("{third} QUEUED 0% noop")]);
    }
    interrupted.interrupt();
    let interrupted = interrupted.ended();
    assert_eq!((interrupted.code, interrupted.complained.starts_with(&format!("{third} goes on"))), (1, true));
    busy.run(&["jobs", "stop", third]).good();
    let stopped = stopped.ended();
    assert!(stopped.code == 1 && stopped.complained.starts_with(&format!("{third} STOPPED")), "{stopped:?}");
    assert_eq!(done.until(second), [format!("{second} QUEUED 0% noop")]);
    let first: Value = serde_json::from_str(&json.until("{")[0]).expect("JSON");
    assert_eq!((&first["id"], &first["state"]), (&json!(second), &json!("QUEUED")));
    busy.run(&["jobs", "stop", &busy.running]).good();
    let done = done.ended().good();
    assert!(done.lines().last().is_some_and(|line| line.starts_with(&format!("{second} SUCCESS 100% noop"))), "{done}");
    let json = json.ended().good();
    let last: Value = serde_json::from_str(json.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!(last["state"], "SUCCESS");
    let unknown = busy.run(&["jobs", "watch", "0a"]).failed();
    assert!(unknown.starts_with("error: there is no job/0a\nhint: "), "{unknown}");
}

/// A command in a terminal of 80 columns and 24 lines: once a text is shown, keys are typed.
fn in_terminal(up: &Up, steps: &Value, arguments: &[&str]) -> (i32, String) {
    terminal(command(up, arguments).env_remove("NO_COLOR").env_remove("CLICOLOR"), steps)
}

fn terminal(direct: &Command, steps: &Value) -> (i32, String) {
    let python = std::env::var("SLIPSTREAM_TEST_PYTHON")
        .expect("SLIPSTREAM_TEST_PYTHON names a Python: run the tests by `cargo xtask test`");
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py")).arg(steps.to_string());
    command.env("TERM", "xterm").arg(direct.get_program()).args(direct.get_args());
    for (name, value) in direct.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
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
    let long = "orchestrate_everything_".repeat(5);
    let long = busy.run(&["submit", &long, "--target", &format!("credential/{}", &long[..80])]).good();
    for arguments in [
        &["jobs"][..],
        &["jobs", "show", &busy.running],
        &["jobs", "show", long.trim()],
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
    let job = busy.waiting[0].as_str();
    let mut stopping =
        command(&busy.up, &["jobs", "stop", &busy.running]).stdout(Stdio::null()).spawn().expect("the binary starts");
    let (code, said) = in_terminal(&busy.up, &json!([]), &["jobs", "watch", job]);
    assert!(stopping.wait().expect("ours").success());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains('━') && said.contains("SUCCESS"), "{said}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_bar_once_and_says_that_the_job_goes_on() {
    let busy = Busy::new().await;
    let job = busy.waiting[0].as_str();
    let (code, said) = in_terminal(&busy.up, &json!([["QUEUED", "\u{3}"]]), &["jobs", "watch", job]);
    assert_eq!(code, 1, "{said}");
    let (before, _) = said.split_once(&format!("{job} goes on")).expect("it says so");
    let last = before.rsplit("\u{1b}[2K").next().unwrap_or_default();
    assert_eq!(without_colours(last).trim(), "", "nothing is drawn below the bar: {said:?}");
}

#[tokio::test]
async fn ctrl_d_at_the_prompt_for_a_password_is_no_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let ask = |steps: Value| in_terminal(&up, &steps, &["users", "add", "jane"]);
    let (first, again) = ("New password of the user jane: ", "Repeat it: ");
    for (steps, complaint) in [
        (json!([[first, "\u{4}"]]), "no password given, nothing changed"),
        (json!([[first, "\n"]]), "no password given, nothing changed"),
        (json!([[first, "a secret\n"], [again, "\u{4}"]]), "no password given, nothing changed"),
        (json!([[first, "a secret\n"], [again, "another\n"]]), "the two passwords differ, nothing changed"),
    ] {
        let (code, said) = ask(steps);
        assert_eq!((code, said.contains(complaint)), (2, true), "{said}");
        assert!(!said.contains("a secret"), "what is typed is not shown: {said}");
    }
    let (code, said) = ask(json!([[first, "a secret\n"], [again, "a secret\n"]]));
    assert_eq!((code, said.contains("user/jane added")), (0, true), "{said}");
}

#[tokio::test]
async fn no_color_is_honoured_and_a_long_wait_is_shown_in_a_terminal_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let (code, said) = terminal(command(&up, &["executors"]).env("NO_COLOR", "1"), &json!([]));
    assert_eq!((code, said.contains('\u{1b}'), said.starts_with("EXECUTOR")), (0, false, true), "{said:?}");
    let another = tempfile::tempdir().expect("a folder");
    let (code, said) =
        terminal(up_command(another.path()).env("NO_COLOR", "1"), &json!([["INFO executor begins", "\u{3}"]]));
    assert_eq!((code, said.contains('\u{1b}')), (0, false), "{said:?}");
    up.signal("STOP");
    let piped = Watching::new(&up, &["executors"]);
    // Whoever sees that it takes long types Ctrl-C.
    let (code, said) = in_terminal(&up, &json!([["asking the server", "\u{3}"]]), &["executors"]);
    assert_eq!(code, 130, "{said:?}");
    up.signal("CONT");
    assert!(!piped.ended().good().contains("asking"));
}

#[tokio::test]
async fn a_terminal_that_knows_no_escapes_is_sent_none() {
    let busy = Busy::new().await;
    for arguments in [&["jobs", "watch"][..], &["jobs", "watch", &busy.waiting[0]]] {
        let mut dumb = command(&busy.up, arguments);
        dumb.env("TERM", "dumb");
        let (_, said) = terminal(&dumb, &json!([["QUEUED", "\u{3}"]]));
        assert!(said.contains("QUEUED") && !said.contains('\u{1b}'), "{said:?}");
    }
}
