//! The log of a service: where it goes, and how it looks.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::services::support::asked as scraped;
use crate::support::{Raw, Up, eventually, up_command};

/// Ends an `up` and answers what it wrote to standard error.
async fn stopped(mut up: Up, errors: &Path) -> String {
    up.signal("TERM");
    assert_eq!(up.ended().await.code(), Some(0));
    fs::read_to_string(errors).expect("there")
}

#[tokio::test]
async fn a_file_has_all_and_standard_error_what_matters() {
    let folder = tempfile::tempdir().expect("a folder");
    let (log, errors) = (folder.path().join("a.log"), folder.path().join("errors"));
    let mut command = up_command(&folder.path().join("data"));
    command.arg("--log-file").arg(&log).stdin(std::process::Stdio::null());
    let up = Up::spawn_logging(command, File::create(&errors).expect("made"));
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    eventually("it logs", async || text(&log).contains(" INFO ").then_some(())).await;
    assert_eq!(fs::metadata(&log).expect("there").permissions().mode() & 0o777, 0o640);

    let rotated = folder.path().join("a.log.1");
    fs::rename(&log, &rotated).expect("renamed");
    up.signal("HUP");
    eventually("it is opened again", async || text(&log).contains("opened the file of the log again").then_some(()))
        .await;
    let warned = up.client().get("job/none").await;
    assert!(warned.is_err());
    let errors = stopped(up, &errors).await;
    assert!(!errors.contains(" INFO "), "{errors}");
    assert!(!text(&log).is_empty() && !text(&rotated).contains("opened the file"));
}

/// The fault: the folder of the file is gone when it is opened again.
#[tokio::test]
async fn a_file_that_cannot_be_opened_again_is_told_and_the_old_one_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let [logs, moved] = ["logs", "moved"].map(|name| folder.path().join(name));
    fs::create_dir(&logs).expect("made");
    let (log, errors) = (logs.join("a.log"), folder.path().join("errors"));
    let mut command = up_command(&folder.path().join("data"));
    command.arg("--log-file").arg(&log).stdin(std::process::Stdio::null());
    let up = Up::spawn_logging(command, File::create(&errors).expect("made"));
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    eventually("it logs", async || text(&log).contains(" INFO ").then_some(())).await;
    fs::rename(&logs, &moved).expect("renamed");
    up.signal("HUP");
    for path in [&moved.join("a.log"), &errors] {
        let line = eventually("it is told", async || {
            let text = text(path);
            text.lines().find(|line| line.contains("cannot open the log file again")).map(str::to_owned)
        })
        .await;
        assert!(line.contains("logging goes on into the old one"), "{line}");
        assert!(line.contains(&log.display().to_string()) && line.contains("No such file"), "{line}");
    }
    assert!(!text(&moved.join("a.log")).contains("opened the file of the log again"));
    fs::create_dir(&logs).expect("made");
    up.signal("HUP");
    eventually("it is opened", async || text(&log).contains("opened the file of the log again").then_some(())).await;
    stopped(up, &errors).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let errors = folder.path().join("errors");
    let mut command = up_command(&folder.path().join("data"));
    command.arg("--log-file").arg(folder.path().join("none/a.log"));
    let up = Up::spawn_logging(command, File::create(&errors).expect("made"));
    let errors = stopped(up, &errors).await;
    assert!(errors.contains("cannot write the log file: all goes to standard error"), "{errors}");
    assert!(errors.contains(" INFO "), "{errors}");
}

#[tokio::test]
async fn in_json_each_line_is_an_object() {
    let folder = tempfile::tempdir().expect("a folder");
    let errors = folder.path().join("errors");
    let mut command = up_command(&folder.path().join("data"));
    command.args(["--log-format", "json", "--log-level", "debug"]);
    let up = Up::spawn_logging(command, File::create(&errors).expect("made"));
    let client = up.client();
    client.add("job", &crate::support::job("noop"), None).await.expect("added");
    let errors = stopped(up, &errors).await;
    let lines: Vec<Value> = errors
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    assert!(lines.len() > 3, "{errors}");
    for line in &lines {
        for name in ["time", "level", "target", "message"] {
            assert!(line[name].is_string(), "{name} of {line}");
        }
    }
    assert!(lines.iter().any(|line| line["level"] == json!("DEBUG")), "{errors}");
}

/// Whatever writes it: the executor, a program, what a program asks the server.
#[tokio::test(flavor = "multi_thread")]
async fn each_line_within_an_attempt_names_job_action_attempt_and_executor() {
    let cli = env!("CARGO_BIN_EXE_slipstream-job");
    let script = format!("#!/bin/sh\necho printed by it\n'{cli}' jobs show \"$SLIPSTREAM_JOB\" >/dev/null\n");
    for form in ["text", "json"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (errors, actions) = (folder.path().join("errors"), folder.path().join("actions"));
        fs::create_dir(&actions).expect("made");
        fs::write(actions.join("greet"), &script).expect("written");
        fs::set_permissions(actions.join("greet"), fs::Permissions::from_mode(0o755)).expect("permitted");
        let mut command = up_command(&folder.path().join("data"));
        command.args(["--log-format", form, "--log-level", "debug", "--distributors", "", "--actions-dir"]);
        // two targets
        let log = folder.path().join("a.log");
        command.arg(&actions).arg("--log-file").arg(&log);
        let up = Up::spawn_logging(command, File::create(&errors).expect("made"));
        let client = up.client();
        let id = client.add("job", &crate::support::job("greet"), None).await.expect("added");
        eventually("it ends", async || (client.get(&id).await.ok()?["state"] == "SUCCESS").then_some(())).await;
        let native = client.add("job", &crate::support::job("noop"), None).await.expect("added");
        eventually("it ends", async || (client.get(&native).await.ok()?["state"] == "SUCCESS").then_some(())).await;
        stopped(up, &errors).await;
        let errors = fs::read_to_string(&log).expect("there");
        let asked = format!("GET /api/{id} 200");
        for (about, id, action) in [
            ("attempt begins", &id, "greet"),
            ("printed by it", &id, "greet"),
            (&*asked, &id, "greet"),
            ("attempt ends", &id, "greet"),
            ("attempt begins", &native, "noop"),
            ("attempt ends", &native, "noop"),
        ] {
            let found = errors.lines().filter(|line| line.contains(about) && line.contains(&**id));
            let found: Vec<&str> = found.collect();
            assert!(!found.is_empty(), "{about}: {errors}");
            for line in found {
                assert!(names(form, line, id, action), "{line}");
            }
        }
    }
}

fn names(form: &str, line: &str, job: &str, action: &str) -> bool {
    if form == "text" {
        let Some((_, rest)) = line.split_once("attempt{") else { return false };
        let Some((fields, message)) = rest.split_once("}: ") else { return false };
        let has = |field: &str| fields.split(' ').filter(|found| found.starts_with(field)).count() == 1;
        has(&format!("job=\"{job}\""))
            && has(&format!("action=\"{action}\""))
            && has("lease=")
            && has("executor=")
            && !message.contains("job=")
            && !message.contains("action=")
    } else {
        let line: Value = serde_json::from_str(line).expect("an object");
        let is_text = |field: &str| line[field].as_str().is_some_and(|text| !text.is_empty());
        line["job"] == *job && line["action"] == action && is_text("attempt") && is_text("executor")
    }
}

/// Requests that make many lines each, while the file is rotated as fast as it is made again.
#[tokio::test(flavor = "multi_thread")]
async fn rotations_under_load_lose_no_line() {
    const ASKING: usize = 4;
    const ROTATIONS: usize = 10;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("a.log");
    let mut command = up_command(&folder.path().join("data"));
    command.args(["--log-level", "trace", "--distributors", "", "--admin-listen", "127.0.0.1:0", "--log-file"]);
    command.arg(&log).stdin(std::process::Stdio::null());
    let up = Up::spawn(command);
    let text = fs::read_to_string(&log).expect("there");
    let admin = text.split(" at ").find_map(|rest| rest.split_once("/metrics")).expect("it says where").0.to_owned();
    let begin = Instant::now();
    let ends = Arc::new(AtomicBool::new(false));
    let asking = (0..ASKING).map(|number| {
        let (transport, ends) = (up.transport(), ends.clone());
        tokio::spawn(async move {
            let mut asked = 0;
            while !ends.load(Ordering::Relaxed) {
                let answered = Raw::new("GET", &format!("/api/nothing-{number}-{asked}-")).send(&transport).await;
                assert_eq!(answered.status, 404, "{}", answered.text);
                asked += 1;
            }
            asked
        })
    });
    let asking: Vec<_> = asking.collect();
    for rotation in 0..ROTATIONS {
        fs::rename(&log, folder.path().join(format!("a.log.{rotation}"))).expect("renamed");
        up.signal("HUP");
        eventually("it is made again", async || fs::metadata(&log).is_ok_and(|log| log.len() > 500_000).then_some(()))
            .await;
    }
    ends.store(true, Ordering::Relaxed);
    let mut asked = Vec::new();
    for one in asking {
        asked.push(one.await.expect("answered"));
    }
    let took = begin.elapsed();
    let dropped = scraped(&admin, "GET", "/metrics").await.text;
    assert!(dropped.contains("\nslipstream_log_lines_dropped_total 0\n"), "{dropped}");
    let mut up = up;
    up.signal("TERM");
    assert_eq!(up.ended().await.code(), Some(0));
    let files = fs::read_dir(folder.path()).expect("there").map(|entry| entry.expect("there").path());
    let text: String =
        files.filter(|file| file.is_file()).map(|file| fs::read_to_string(file).expect("text")).collect();
    assert!(!text.contains("were lost") && !text.contains("was lost"));
    let lines = text.lines().count();
    assert!(lines > 20_000, "{lines} lines");
    println!("{lines} lines in {took:?}");
    let named: BTreeSet<(&str, &str)> = text.lines().filter_map(number_and_count).collect();
    for (number, asked) in asked.into_iter().enumerate() {
        assert!(asked > ROTATIONS, "{asked}");
        let missing = (0..asked).find(|one| !named.contains(&(&*number.to_string(), &*one.to_string())));
        assert_eq!(missing, None, "of {asked}");
    }
}

/// Who asked for nothing, and how often before, by a line of the log.
fn number_and_count(line: &str) -> Option<(&str, &str)> {
    let mut parts = line.split_once("/api/nothing-")?.1.split('-');
    Some((parts.next()?, parts.next()?))
}

#[tokio::test]
async fn a_level_that_is_none_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = up_command(folder.path()).args(["--log-level", "a=b=c"]).output().expect("started");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\"a=b=c\" is no filter of the log"), "{said}");
}
