//! Folders of actions as people meet them: checked without a server, loaded by `up`, shown with what failed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{LIMIT, PASSWORD, Up, eventually, job, program, state};

const CLASS: &str = "from slipstream.job.actions import action\n\n\n@action('collect')\nclass Collect(object):\n    \
                     def __init__(self, executor, job):\n        self.job = job\n\n    def do_work(self):\n        \
                     self.job.set_status_message('collected')\n";

/// A host with one action, which it never does.
const HOST: &str = "import os, sys\nsys.stdin.readline()\n\
                    os.write(3, b'{\"hello\":{\"protocol\":1,\"actions\":[{\"name\":\"greet\"}]}}\\n')\nsys.stdin.readline()\n";

fn folder_of(files: &[(&str, u32, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permitted");
    for (name, mode, content) in files {
        let file = folder.path().join(name);
        fs::write(&file, content).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).expect("permitted");
    }
    folder
}

/// Three good actions, and three things that are wrong.
fn folder() -> TempDir {
    folder_of(&[
        ("backup.sh", 0o755, "#!/bin/sh\necho copied\n"),
        ("noop.sh", 0o755, "#!/bin/sh\necho mine\n"),
        ("collect.py", 0o644, CLASS),
        ("open.sh", 0o757, "#!/bin/sh\n"),
        ("quotas.py", 0o644, "\nimport no_such_module\n"),
        ("wrong.toml", 0o644, "[[action]]\nname = \"a\"\ncommand = [\"sh\"]\nmemory = \"1 GB\"\n"),
    ])
}

fn name_of(file: &Value) -> &str {
    file.as_str().and_then(|file| file.rsplit('/').next()).expect("a path")
}

/// Name and line of each file that failed to load, in order.
fn failed(list: &Value) -> Vec<(String, Option<u64>)> {
    let list = list.as_array().expect("a list").iter();
    let mut failed: Vec<_> = list.map(|one| (name_of(&one["file"]).to_owned(), one["line"].as_u64())).collect();
    failed.sort();
    failed
}

fn expected_failures() -> Vec<(String, Option<u64>)> {
    [("open.sh", None), ("quotas.py", Some(2)), ("wrong.toml", Some(4))]
        .map(|(name, line)| (name.to_owned(), line))
        .into()
}

fn check(folder: &Path, words: &[&str]) -> Output {
    program().args(["actions", "check"]).arg(folder).args(words).output().expect("the binary starts")
}

#[test]
fn a_folder_is_checked_without_a_server_and_hosts_say_what_they_have() {
    let folder = folder();
    let ran = check(folder.path(), &["--json"]);
    assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
    let checked: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let actions: Vec<_> = checked["actions"].as_array().expect("a list").iter().collect();
    let shown: Vec<_> = actions.iter().map(|it| (&it["action"], &it["kind"], name_of(&it["file"]))).collect();
    let expected =
        [("backup", "command", "backup.sh"), ("collect", "python", "collect.py"), ("noop", "command", "noop.sh")];
    let expected = expected.map(|(name, kind, file)| (json!(name), json!(kind), file));
    assert_eq!(shown, expected.each_ref().map(|(name, kind, file)| (name, kind, *file)));
    assert!(actions[1]["version"].as_str().is_some_and(|version| version.contains("Python 3.")), "{checked}");
    assert_eq!([&actions[0]["replaces_built_in"], &actions[2]["replaces_built_in"]], [&json!(false), &json!(true)]);
    assert_eq!(failed(&checked["failed"]), expected_failures());

    for name in ["open.sh", "quotas.py", "wrong.toml"] {
        fs::remove_file(folder.path().join(name)).expect("removed");
    }
    let ran = check(folder.path(), &[]);
    let table = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && table.contains("noop takes the place of the built-in action"), "{table}");
    let ran = check(&folder.path().join("missing"), &[]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("there is no folder"), "{ran:?}");
}

#[test]
fn settings_of_an_action_that_its_host_does_not_have_are_told() {
    let manifest = "[[host]]\ncommand = [\"python3\", \"./greeter.py\"]\nactions.greet.time-limit = \"1 min\"\n\
                    actions.wave.time-limit = \"1 min\"\n[python]\nactions.colect.stop-grace = \"1 s\"\n";
    let files = [("collect.py", 0o644, CLASS), ("greeter.py", 0o644, HOST), ("m.toml", 0o644, manifest)];
    let folder = folder_of(&files);
    let ran = check(folder.path(), &["--json"]);
    assert_eq!(ran.status.code(), Some(1), "{}", String::from_utf8_lossy(&ran.stderr));
    let checked: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let names: Vec<_> = checked["actions"].as_array().expect("a list").iter().map(|it| &it["action"]).collect();
    assert_eq!(names, ["collect", "greet"], "the host's program is no class file: {checked}");
    let lines = [4, 6].map(|line| ("m.toml".to_owned(), Some(line)));
    assert_eq!(failed(&checked["failed"]), lines, "{checked}");
    let reasons = checked["failed"].to_string();
    assert!(reasons.contains("`actions.wave`: its host has no action of this name"), "{reasons}");

    // if one of them failed to load, it may be the one that is meant
    fs::write(folder.path().join("quotas.py"), "import no_such_module\n").expect("written");
    let checked: Value = serde_json::from_slice(&check(folder.path(), &["--json"]).stdout).expect("JSON");
    let expected = [("m.toml", 4), ("quotas.py", 1)].map(|(name, line)| (name.to_owned(), Some(line)));
    assert_eq!(failed(&checked["failed"]), expected, "{checked}");
}

#[test]
fn what_fails_to_load_is_told_once_to_whoever_tries_it() {
    let manifest = "[[host]]\ncommand = [\"sh\", \"-c\", \"echo out of order >&2; exit 3\"]\n";
    let folder = folder_of(&[("m.toml", 0o644, manifest)]);
    let mut test = program();
    let ran = test.args(["actions", "test", "greet", "--actions-dir"]).arg(folder.path()).output();
    let ran = ran.expect("the binary starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("error: it does not load\n"), "{said}");
    let place = format!("{}:2\n", folder.path().join("m.toml").display());
    let reason = "sh -c \"echo out of order >&2; exit 3\": the program ended: exit code 3: out of order";
    assert!(said.contains(&place) && said.contains(reason), "{said}");
    assert!(said.contains("log: out of order\n") && !said.contains("warning"), "{said}");
}

#[tokio::test]
async fn the_rest_is_loaded_what_failed_is_shown_and_an_unknown_action_is_waited_for() {
    let (data, folder) = (tempfile::tempdir().expect("made"), folder());
    let up = Up::start(data.path(), &["--actions-dir", folder.path().to_str().expect("text")]);
    let client = up.client();
    for (action, message) in [("backup", "copied"), ("noop", "mine"), ("collect", "collected")] {
        let id = client.add("job", &job(action), None).await.expect("added");
        let done = eventually("it is done", async || {
            client.get(&id).await.ok().filter(|job| ["SUCCESS", "FAILED"].contains(&state(job)))
        });
        let done = done.await;
        assert_eq!((state(&done), &done["statusMessage"]), ("SUCCESS", &json!(message)), "{action}");
    }
    let executors = client.get("executor").await.expect("read");
    let executor = &executors["executors"][0];
    assert_eq!(executor["sources"]["noop"]["kind"], "command");
    assert_eq!(failed(&executor["failed"]), expected_failures());
    let mut actions = program();
    actions.args(["actions", "--ss-url", &up.endpoint, "--ss-user", "super", "--ss-pass", PASSWORD]);
    let table = String::from_utf8(actions.output().expect("the binary starts").stdout).expect("text");
    for text in ["collect            python", "failed to load", "open.sh\n", "quotas.py:2\n", "wrong.toml:4\n"] {
        assert!(table.contains(text), "{text}: {table}");
    }

    let id = client.add("job", &job("dance"), None).await.expect("added");
    let reason = "no executor has its action, and something failed to load: see slipstream-job actions";
    eventually("it is passed over", async || {
        let executors = client.get("executor").await.ok()?;
        (executors["executors"][0]["passed_over"][0]["reason"] == reason).then_some(())
    })
    .await;
    assert_eq!(state(&client.get(&id).await.expect("read")), "QUEUED");
}

/// A host that writes down that it has begun, and never says what it has.
const SILENT: &str =
    "[[host]]\ncommand = [\"sh\", \"-c\", \"touch HERE/begun; exec sleep 10000\"]\nstart-within = \"1 h\"\n";

fn silent_in(folder: &TempDir) {
    let manifest = SILENT.replace("HERE", &folder.path().to_string_lossy());
    fs::write(folder.path().join("silent.toml"), manifest).expect("written");
}

async fn output(command: &mut std::process::Command) -> Output {
    let mut command = tokio::process::Command::from(std::mem::replace(command, program()));
    let ran = tokio::time::timeout(LIMIT, command.kill_on_drop(true).output()).await;
    ran.expect("it waits for nobody else").expect("the binary starts")
}

#[tokio::test]
async fn an_action_is_tried_without_waiting_for_others_of_its_folder() {
    let folder = folder_of(&[("good.sh", 0o755, "#!/bin/sh\necho fine\n")]);
    silent_in(&folder);
    let here = folder.path().to_str().expect("text");
    let ran = output(program().args(["actions", "test"]).arg(folder.path().join("good.sh"))).await;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(!folder.path().join("begun").exists(), "of a file nothing else is started");
    let ran = output(program().args(["actions", "test", "good", "--actions-dir", here])).await;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn whatever_stops_a_trial_leaves_nothing_behind() {
    let slow = "#!/bin/sh\ntouch HERE/begun\nexec sleep 10000\n";
    for (signal, words) in [
        ("TERM", vec!["test", "HERE/slow.sh"]),
        ("HUP", vec!["test", "HERE/slow.sh"]),
        ("INT", vec!["test", "HERE/slow.sh"]),
        ("TERM", vec!["test", "HERE/silent.toml"]),
        ("HUP", vec!["check", "HERE"]),
    ] {
        let (folder, temporary) = (folder_of(&[]), tempfile::tempdir().expect("made"));
        let here = folder.path().to_string_lossy().into_owned();
        silent_in(&folder);
        let file = folder.path().join("slow.sh");
        fs::write(&file, slow.replace("HERE", &here)).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("permitted");
        let words: Vec<String> = words.iter().map(|word| word.replace("HERE", &here)).collect();
        let mut command = program();
        command.arg("actions").args(&words).env("TMPDIR", temporary.path()).env_remove("XDG_RUNTIME_DIR");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let tried = command.spawn().expect("the binary starts");
        let begun = folder.path().join("begun");
        eventually("it has begun", async || begun.exists().then_some(())).await;
        assert!(fs::read_dir(temporary.path()).expect("read").count() > 0, "there is something to leave behind");
        let pid = i32::try_from(tried.id()).ok().and_then(Pid::from_raw).expect("a number");
        let number = match signal {
            "TERM" => Signal::TERM,
            "HUP" => Signal::HUP,
            _ => Signal::INT,
        };
        kill_process(pid, number).expect("it was there");
        let waits = tokio::task::spawn_blocking(move || tried.wait_with_output());
        let ended = tokio::time::timeout(LIMIT, waits).await.expect("it ends").expect("no panic").expect("waited for");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let left: Vec<_> = fs::read_dir(temporary.path()).expect("read").flatten().map(|left| left.path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{signal} {words:?}: {said}");
        assert!(said.contains("stopped") && !said.contains("jobs show"), "{signal} {words:?}: {said}");
        assert!(ended.status.code().is_some_and(|code| code > 0), "{signal} {words:?}: {ended:?}");
    }
}

#[tokio::test]
async fn whatever_new_writes_loads() {
    const CRATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let folder = folder_of(&[]);
    let new =
        async |words: &[&str]| output(program().args(["actions", "new", "--dir"]).arg(folder.path()).args(words)).await;
    let mut expected = Vec::new();
    for name in ["none", "true", "action", "util", "actions", "job", "os", "sys", "class", "back.up-1", "Zz9"] {
        for (language, end) in [("--python", ""), ("--shell", "-sh")] {
            let name = format!("{name}{end}");
            let ran = new(&[language, &name]).await;
            assert!(ran.status.success(), "{name}: {}", String::from_utf8_lossy(&ran.stderr));
            expected.push(name);
        }
    }
    assert!(new(&["--rust", "greet", "--crates", CRATES]).await.status.success());
    fs::copy("/bin/sh", folder.path().join("greet")).expect("copied");
    let checked = check(folder.path(), &["--json"]);
    let checked: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    let names = checked["actions"].as_array().expect("a list").iter().filter_map(|it| it["action"].as_str());
    let (names, expected) = (names.collect::<BTreeSet<_>>(), expected.iter().map(String::as_str).collect());
    assert_eq!(names, expected, "{checked}");
    let failed = checked["failed"].as_array().expect("a list");
    let place = folder.path().join("greet.toml");
    assert!(
        failed.len() == 1 && failed[0]["file"] == json!(place),
        "what stands for a program of Rust is none: {failed:?}"
    );
    for (language, name) in [
        ("--python", "collect_quotas"),
        ("--python", "collect_storage_buckets"),
        ("--python", "collect_virtual_machines"),
        ("--python", "start_deployment"),
        ("--python", "stop_deployment"),
        ("--rust", "deps"),
    ] {
        let crates = if language == "--rust" { &["--crates", CRATES][..] } else { &[] };
        let ran = new(&[&[language, name], crates].concat()).await;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() == Some(2) && said.contains("choose another name"), "{name}: {said}");
    }
}

#[test]
fn an_interpreter_that_is_too_old_is_told_so() {
    let folder = folder_of(&[("collect.py", 0o644, CLASS)]);
    // as the package finds it out: before it does anything that an older one does not understand
    let old = "#!/bin/sh\nexec python3 -c 'import sys; sys.version_info = (2, 7, 18, \"final\", 0); import slipstream_host'\n";
    let python = folder_of(&[("python2", 0o755, old)]);
    let python = python.path().join("python2");
    let ran = check(folder.path(), &["--json", "--python", python.to_str().expect("text")]);
    let checked: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let reason = checked["failed"][0]["reason"].as_str().expect("a reason");
    let needs = "exit code 2: class files and scripts need Python 3.7 or newer, and ";
    assert!(reason.starts_with(&format!("{}: the program ended: {needs}", python.display())), "{reason}");
    assert!(reason.ends_with(" is 2.7.18"), "{reason}");
}
