//! Folders of actions as people meet them: checked without a server, loaded by `up`, shown with what failed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PASSWORD, Up, eventually, job, program, state};

const CLASS: &str = "from slipstream.job.actions import action\n\n\n@action('collect')\nclass Collect(object):\n    \
                     def __init__(self, executor, job):\n        self.job = job\n\n    def do_work(self):\n        \
                     self.job.set_status_message('collected')\n";

/// Three good actions, and three things that are wrong.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("made");
    let put = |name: &str, mode: u32, content: &str| {
        let file = folder.path().join(name);
        fs::write(&file, content).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("permitted");
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permitted");
    put("backup.sh", 0o755, "#!/bin/sh\necho copied\n");
    put("noop.sh", 0o755, "#!/bin/sh\necho mine\n");
    put("collect.py", 0o644, CLASS);
    put("open.sh", 0o757, "#!/bin/sh\n");
    put("quotas.py", 0o644, "\nimport no_such_module\n");
    put("wrong.toml", 0o644, "[[action]]\nname = \"a\"\ncommand = [\"sh\"]\nmemory = \"1 GB\"\n");
    folder
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
