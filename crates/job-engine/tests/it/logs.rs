//! The log of a service: where it goes, and how it looks.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Up, eventually, up_command};

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

#[tokio::test]
async fn a_level_that_is_none_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = up_command(folder.path()).args(["--log-level", "a=b=c"]).output().expect("started");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("\"a=b=c\" is no filter of the log"), "{said}");
}
