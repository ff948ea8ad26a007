//! What is secret is in no log, at the most talkative level and in any form, while a whole site works with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::{Client, Credentials, Transport};
use slipstream_test_ensemble::Ensemble;

use super::support::{Service, endpoint, server};
use crate::support::{Raw, document, eventually, job, program};

const ZOOKEEPER: &str = "secret-of-zookeeper";
const SUPER: &str = "secret-of-the-administrator";
const JANE: &str = "secret-of-jane-who-logs-in";
const WRONG: &str = "secret-that-is-mistyped";
const ACTION: &str = "secret-of-an-action";
const PASSED: &str = "secret-that-is-passed-on";
const LOGIN: [&str; 5] = ["--zk-user", "jane", "--zk-scheme", "digest", "--zk-protect"];

/// It asks the server as its job, and lets the test know by which address.
const SCRIPT: &str = "#!/bin/sh
test \"$TOKEN\" = secret-of-an-action && test \"$PASSED\" = secret-that-is-passed-on || exit 1
\"$CLI\" jobs show \"$SLIPSTREAM_JOB\" >/dev/null && echo \"$SLIPSTREAM_API\" > \"$0.api\"
";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_logged_at_any_level_and_in_any_form() {
    for form in ["text", "json"] {
        let folder = tempfile::tempdir().expect("a folder");
        let ensemble = Ensemble::start(1).await;
        let talkative = |mut command: Command, name: &str| {
            command.args(LOGIN).env("SLIPSTREAM_ZK_PASS", ZOOKEEPER);
            command.args(["--log-level", "trace,zookeeper_client=trace", "--log-format", form]);
            command.arg("--log-file").arg(folder.path().join(name));
            command
        };
        let mut first = server(&folder.path().join("jobs.db"), &ensemble.hosts(), "127.0.0.1:0");
        first.env("SLIPSTREAM_SUPER_PASSWORD", SUPER);
        let mut services = vec![Service::start(talkative(first, "server.log"))];
        let endpoint = endpoint(&services[0]).await;
        let part = |words: &[&str]| {
            let mut command = program();
            command.args(words).args(["--ss-url", &endpoint, "--ss-user", "super", "--zk-hosts", &ensemble.hosts()]);
            command
        };
        act(folder.path());
        let mut executor = part(&["executor", "--ss-pass", SUPER, "--name", "Kenny"]);
        executor.arg("--actions-dir").arg(folder.path().join("actions")).env("PASSED", PASSED);
        executor.env("DAEMON_ARGS", format!("--ss-pass {SUPER}"));
        services.push(Service::start(talkative(executor, "executor.log")));
        let password = folder.path().join("password");
        fs::write(&password, SUPER).expect("written");
        let mut distributor = part(&["distributor", "jobs_cleanup"]);
        distributor.arg("--ss-pass-file").arg(&password);
        services.push(Service::start(talkative(distributor, "distributor.log")));
        for service in &services[1..] {
            service.says(" is up").await;
        }
        let mut secrets: Vec<String> = [ZOOKEEPER, SUPER, JANE, WRONG, ACTION, PASSED].map(str::to_owned).to_vec();
        secrets.extend(used(&endpoint, folder.path()).await);
        let mut logged = String::new();
        for service in &mut services {
            logged.push_str(&service.stop().await.join("\n"));
        }
        for name in ["server.log", "executor.log", "distributor.log"] {
            let log = fs::read_to_string(folder.path().join(name)).expect("there");
            assert!(log.contains("TRACE"), "{name} is talkative: {log}");
            logged.push_str(&log);
        }
        for secret in secrets {
            let line = logged.lines().find(|line| line.contains(&secret));
            assert_eq!(line, None, "{form}: {secret}");
        }
    }
}

/// An action whose manifest has secrets of its own.
fn act(folder: &Path) {
    let actions = folder.join("actions");
    fs::create_dir(&actions).expect("made");
    let script = folder.join("act.sh");
    fs::write(&script, SCRIPT).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("permitted");
    let (cli, script) = (env!("CARGO_BIN_EXE_slipstream-job"), script.display());
    let manifest = format!(
        "[[action]]\nname = \"act\"\ncommand = [\"{script}\"]\npass-env = [\"PASSED\"]\n\
         env = {{ CLI = \"{cli}\", TOKEN = \"{ACTION}\" }}\n"
    );
    fs::write(actions.join("act.toml"), manifest).expect("written");
}

/// Has each of them used, and answers those that come up meanwhile: a cookie, and the token of an attempt.
async fn used(endpoint: &str, folder: &Path) -> Vec<String> {
    let transport = || HttpTransport::new(endpoint, false, Duration::from_secs(30)).expect("the address is good");
    let credentials = Credentials { username: "super".to_owned(), password: SUPER.into() };
    let client = Client::new(Arc::new(transport()), Some(credentials));
    let jane = document(json!({"username": "jane", "password": JANE}));
    client.add("user", &jane, None).await.expect("added");
    let asks = transport();
    assert_eq!(login(&asks, WRONG).await.0, 403);
    let (status, cookie) = login(&asks, JANE).await;
    assert_eq!(status, 201);
    let found = Raw::new("GET", "/api/session").header("cookie", &cookie).send(&asks).await;
    assert_eq!(found.status, 200, "{}", found.text);
    let id = client.add("job", &job("act"), None).await.expect("added");
    let done = async || {
        let job = client.get(&id).await.ok()?;
        ["SUCCESS", "FAILED"].contains(&job["state"].as_str()?).then_some(job)
    };
    let job = eventually("its job is done", done).await;
    assert_eq!(job["state"], "SUCCESS", "{job:?}");
    let api = fs::read_to_string(folder.join("act.sh.api")).expect("it has asked");
    let token = api.trim().trim_start_matches("http://").trim_end_matches("/api");
    let value = cookie.split_once('=').expect("a cookie has a value").1;
    assert!(token.len() > 20 && value.len() > 20, "{api} {cookie}");
    vec![token.to_owned(), value.to_owned()]
}

/// The status, and the cookie if there is one.
async fn login(transport: &dyn Transport, password: &str) -> (u16, String) {
    let template = json!({"href": "session-template/internal", "username": "jane", "password": password});
    let answered = Raw::new("POST", "/api/session").json(&json!({"sessionTemplate": template})).send(transport).await;
    let cookie = answered.headers.get("set-cookie").and_then(|cookie| cookie.to_str().ok()).unwrap_or_default();
    (answered.status, cookie.split(';').next().unwrap_or_default().to_owned())
}
