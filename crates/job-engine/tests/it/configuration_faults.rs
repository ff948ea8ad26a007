//! What is told of values that cannot be: all of them, each of its own place, and no password.

use std::fs;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, mknodat};

use crate::commands::Ran;
use crate::configuration::{EXECUTOR, FILE, Machine};
use crate::support::program;

/// What a command says that ends at once.
fn refused(mut command: Command) -> String {
    Ran::of(&command.stdin(Stdio::null()).output().expect("the binary starts")).failed()
}

fn executor(arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("executor").args(arguments).env("SLIPSTREAM_CONFIG", "/dev/null");
    command
}

#[test]
fn no_command_shows_a_password_that_stands_in_an_address() {
    const ADDRESS: &str = "http://super:s3cret@h:1";
    let in_file = format!("[peers]\nss-url = \"{ADDRESS}\"\nzk-hosts = [\"u:s3cret@a:1\", \"u:s3cret@b:2\"]\n");
    for (variables, file) in [
        (String::new(), &*in_file),
        (format!("SLIPSTREAM_URL={ADDRESS}\nSLIPSTREAM_ZK_HOSTS=u:s3cret@a:1\n"), ""),
        (format!("DAEMON_ARGS=\"--ss-url={ADDRESS} --zk-hosts u:s3cret@a:1\"\n"), ""),
        ("SLIPSTREAM_STATSD=super:s3cret@h\n".to_owned(), &*in_file),
        ("DAEMON_ARGS=--statsd=super:s3cret@h:8125\n".to_owned(), &*in_file),
        (String::new(), "[admin]\nstatsd = \"super:s3cret@h\"\nadmin-listen = \"super:s3cret@h\"\n"),
    ] {
        let machine = Machine::new(&[(EXECUTOR, &variables), (FILE, file)]);
        for arguments in [&["show", "executor"][..], &["show", "executor", "--json"], &["check", "executor"]] {
            let told = format!("{:?}", machine.config(arguments));
            assert!(!told.contains("s3cret"), "{variables}{file}: {told}");
        }
        if !variables.contains("STATSD") && !variables.contains("statsd") && !file.contains("statsd") {
            let shown = machine.config(&["show", "executor"]).said;
            assert!(shown.contains("ss-url = \"http://h:1\" "), "{shown}");
        }
    }
    for arguments in [
        &["executor", "--ss-url", ADDRESS][..],
        &["executor", "--statsd", "super:s3cret@h:x"],
        &["executor", "--statsd", "super:s3cret@h:1", "--threads", "none"],
        &["executor", "--ss-url", "http://h:1", "--ss-user", "u", "--ss-pass", "p", "--zk-hosts", "u:s3cret@a:1"],
        &["jobs", "--ss-url", ADDRESS],
        &["jobs", "--ss-url", ADDRESS, "--ss-user", "u", "--ss-pass", "p"],
    ] {
        let mut command = program();
        command.args(arguments).env("SLIPSTREAM_CONFIG", "/dev/null");
        let told = refused(command);
        assert!(!told.contains("s3cret"), "{arguments:?}: {told}");
    }
}

#[test]
fn a_fault_is_told_of_the_value_that_is_wrong() {
    let peers = "[peers]\nss-url = \"http://127.0.0.1:1\"\nss-pass-file = \"/nowhere/super.password\"\n\
                 ss-user = \"super\"\n[executor]\nactions-dir = \"/nowhere/a\"\n";
    let machine = Machine::new(&[(EXECUTOR, ""), (FILE, peers)]);
    for told in [machine.config(&["check", "executor"]).said, refused(machine.service("executor"))] {
        assert!(told.contains("(`ss-pass-file` in ") && told.contains("job-engine.toml:3)"), "{told}");
        assert!(!told.contains("(`ss-user` in "), "{told}");
    }
    machine.write(EXECUTOR, "DAEMON_ARGS=--actions-dir=/nowhere/a --ss-user=super\n");
    let told = machine.config(&["check", "executor"]).said;
    assert!(told.contains("etc/default/slipstream-job-executor, by --actions-dir)"), "{told}");
    for told in [told, refused(machine.service("executor"))] {
        assert!(!told.contains("job-engine.toml:6)"), "the flag counts, and not the file: {told}");
    }
}

#[test]
fn a_service_tells_all_that_is_wrong_with_flags_environment_and_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.toml");
    fs::write(&file, "[executor]\nthreads = 0\ngrace = \"soon\"\nthread = 1\n").expect("written");
    let file = file.display().to_string();
    let mut command = executor(&["--colour=red", "--cimi-grace", "soon", "--config", &file]);
    command.env("SLIPSTREAM_THREADS", "none");
    let told = refused(command);
    for expected in [
        "error: 6 faults\n",
        "unexpected argument '--colour' found",
        "invalid value 'soon' for '--cimi-grace <DURATION>'",
        "SLIPSTREAM_THREADS: invalid value 'none' for '--threads <N>'",
        "bad.toml:2: ",
        "bad.toml:3: ",
        "bad.toml:4: ",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let one = refused(executor(&["--colour=red"]));
    assert!(one.starts_with("error: unexpected argument '--colour' found") && one.contains("Usage: "), "{one}");
    let several = refused(executor(&["--colour=red", "--nothing"]));
    assert!(several.starts_with("error: 2 faults\n"), "{several}");
    let mut help = executor(&["--help"]);
    assert!(help.env("SLIPSTREAM_THREADS", "none").output().expect("it starts").status.success());
}

#[test]
fn a_missing_user_and_one_fault_of_zookeeper_hide_no_other() {
    let told =
        refused(executor(&["--zk-hosts=a:b", "--zk-protect", "--zk-ca=/nowhere/ca", "--actions-dir=/nowhere/a"]));
    for expected in [
        "no server given",
        "no user given: name an administrator with --ss-user",
        "no password: give it with",
        "`a:b` is not an address of ZooKeeper",
        "protected nodes need a user",
        "cannot read /nowhere/ca,",
        "/nowhere/a",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let told = refused(executor(&["--zk-certificate=/nowhere/c", "--zk-key=/nowhere/k"]));
    for expected in ["cannot read /nowhere/c,", "cannot read /nowhere/k,", "give them with --zk-ca"] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn what_is_no_regular_file_is_no_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe.toml");
    mknodat(CWD, &pipe, FileType::Fifo, 0o600.into(), 0).expect("made");
    for file in [&*pipe.display().to_string(), "/dev/zero"] {
        let mut command = executor(&[]);
        let told = refused({
            command.args(["--config", file]);
            command
        });
        let expected = format!("cannot read the configuration file {file}, check its name and permissions: it is no");
        assert!(told.contains(&expected), "{told}");
    }
}
