//! A password is shown to nobody: not to those who list processes, not in help, log or errors.

use std::fs;

use super::support::Service;
use crate::commands::Ran;
use crate::support::{PASSWORD, Up, eventually, program, up_command};

const SECRET: &str = "a-secret-of-these-tests";

/// What everybody on this machine may read of a process.
fn arguments(process: u32) -> String {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Waits until the password is not among the arguments any more.
async fn hides(process: u32) -> String {
    eventually("the password is hidden", async || {
        let arguments = arguments(process);
        arguments.contains("--ss-pass-file=/dev/fd/").then_some(arguments)
    })
    .await
}

#[tokio::test]
async fn a_password_that_was_an_argument_is_hidden_and_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    for spelling in [&["--ss-pass", PASSWORD][..], &["--ss-p=for-tests"], &["--ss-pas", "x", "--ss-pass=for-tests"]] {
        let mut command = program();
        command.args(["executor", "--ss-user", "super"]).args(spelling);
        command.args(["--ss-url", &up.endpoint, "--zk-hosts", "127.0.0.1:1", "--name", "M. Garrison"]);
        let mut service = Service::start(command);
        let arguments = hides(service.process()).await;
        assert!(!arguments.contains(PASSWORD), "{arguments}");
        assert!(arguments.contains(" --ss-user super ") && arguments.contains(" M. Garrison"), "{arguments}");
        let environment = fs::read(format!("/proc/{}/environ", service.process())).expect("ours");
        assert!(!String::from_utf8_lossy(&environment).contains(PASSWORD));
        // it was taken by the server: what ends a service that has a wrong one would have come first
        service.says("cannot reach ZooKeeper").await;
        let said = service.stop().await.join("\n");
        assert!(!said.contains(PASSWORD) && !said.contains("refused by"), "{said}");
    }
}

/// Nobody who may look at a process of ours finds a password, neither while it runs as what it was started nor as it goes
/// on.
#[tokio::test]
async fn no_process_shows_a_password_in_arguments_or_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(folder.path());
    command.args(["--distributors", ""]).env("SLIPSTREAM_SUPER_PASSWORD", SECRET);
    let up = Up::spawn(command);
    let executor = |words: &[&str]| {
        let mut command = program();
        command.args(["executor", "--ss-user", "super", "--zk-user", "jane", "--zk-hosts", "127.0.0.1:1"]).args(words);
        command.args(["--ss-url", &up.endpoint]).env("SLIPSTREAM_ZK_PASS", SECRET);
        command
    };
    let mut by_variable = executor(&[]);
    by_variable.env("SLIPSTREAM_PASS", SECRET);
    let mut by_unit = executor(&["--ss-pass", SECRET]);
    by_unit.env("DAEMON_ARGS", format!("--ss-user super --ss-pass {SECRET}"));
    let mut services = [Service::start(by_variable), Service::start(by_unit)];
    for service in &services {
        service.says("cannot reach ZooKeeper").await;
    }
    for process in [up.process(), services[0].process(), services[1].process()] {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{process}/{file}")).expect("ours");
            let shown = String::from_utf8_lossy(&bytes).replace('\0', " ");
            assert!(!shown.contains(SECRET) && !shown.contains("DAEMON_ARGS"), "{shown}");
            assert!(file == "environ" || shown.contains("slipstream-job"), "{shown}");
        }
    }
    for service in &mut services {
        let said = service.stop().await.join("\n");
        assert!(!said.contains("refused by"), "the password is used all the same: {said}");
    }
}

#[tokio::test]
async fn a_command_hides_its_password_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", "", "--threads", "1"]);
    let mut command = program();
    command.args(["submit", "dummy_test_action", "--wait", "--ss-pass", PASSWORD, "--ss-url", &up.endpoint]);
    let waiting = Service::start(command);
    let arguments = hides(waiting.process()).await;
    assert!(!arguments.contains(PASSWORD) && arguments.contains("submit dummy_test_action --wait "), "{arguments}");
    waiting.says("job/").await;
    waiting.kill();
}

#[test]
fn help_shows_no_password_of_the_environment() {
    for words in [&["server"][..], &["executor"], &["distributor"], &["submit"], &["jobs", "show"], &["users", "add"]] {
        let mut command = program();
        command.args(words).arg("--help");
        for variable in ["SLIPSTREAM_PASS", "SLIPSTREAM_ZK_PASS", "SLIPSTREAM_SUPER_PASSWORD"] {
            command.env(variable, SECRET);
        }
        let help = Ran::of(&command.output().expect("the binary starts")).good();
        assert!(!help.contains(SECRET), "{help}");
    }
}

#[test]
fn errors_about_arguments_show_no_password() {
    for words in [
        &["executor", "--ss-user", "u", "--ss-pass", SECRET, "--colour"][..],
        &["executor", "--ss-user", "u", "--ss-pass", SECRET, "--threads", "0"],
        &["executor", "--ss-user", "u", "--ss-pass", SECRET, "--zk-hosts", "a:b:c"],
        &["executor", "--ss-user", "u", "--ss-pass", SECRET, "--zk-pass", SECRET],
        &["executor", "--ss-pass", SECRET],
        &["distributor", "vms", "--ss-user", "u", "--ss-pass", SECRET],
        &["jobs", "--ss-pass", SECRET, "--ss-pass", SECRET],
        &["jobs", "--ss-url", "nowhere", "--ss-pass", SECRET],
    ] {
        let mut command = program();
        command.args(words).env("SLIPSTREAM_LOG", "trace");
        let ran = Ran::of(&command.output().expect("the binary starts"));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(!ran.said.contains(SECRET) && !ran.complained.contains(SECRET), "{words:?}: {ran:?}");
    }
}

#[test]
fn the_most_talkative_log_shows_no_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let mut command = program();
    command.args(["executor", "--ss-user", "super", "--ss-pass", SECRET, "--ss-url", &up.endpoint]);
    command.args(["--zk-hosts", "127.0.0.1:1", "--zk-user", "jane"]);
    command.env("SLIPSTREAM_ZK_PASS", SECRET).env("SLIPSTREAM_LOG", "trace,zookeeper_client=trace");
    let ran = Ran::of(&command.output().expect("the binary starts"));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.complained.contains("invalid credentials for 'super'") && ran.complained.contains("TRACE"), "{ran:?}");
    assert!(!ran.complained.contains(SECRET), "{}", ran.complained);
}
