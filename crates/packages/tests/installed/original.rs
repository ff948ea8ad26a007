//! Over a package that is laid out as the original's is.

use std::path::PathBuf;

use rpm::{BuildConfig, CompressionType, FileOptions, PackageBuilder};

use crate::booted::{Booted, wait_for};
use crate::root::{Root, rpm};

const UNIT: &str = "/usr/lib/systemd/system/slipstream-job-executor.service";
const EXECUTOR: &str = "slipstream-job-executor.service";
/// In place of the original's engine: says when it was asked to stop, and how it ended.
const ENGINE: &str = "\
import signal, time

def log(text):
    with open('/var/log/slipstream/job/executor.log', 'a') as file:
        file.write(text + '\\n')

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
log('started')
while not asked:
    time.sleep(0.05)
time.sleep(1)
log('ended by itself')
";
/// As the original's: a shell puts the arguments in; see the specification, 9.2.
const UNIT_TEXT: &str = "\
[Service]
EnvironmentFile=-/etc/default/slipstream-job-executor
ExecStart=/bin/sh -c \"/usr/bin/python3 /opt/slipstream/job/sbin/job_executor.py $DAEMON_ARGS\"
Restart=on-failure
TimeoutStopSec=60
";
const ACTIONS: &str = "/usr/lib/python2.7/site-packages/slipstream/job/actions";

/// Version 3.71 without an architecture, as the original's; see the specification, 9.2.
fn original(folder: &std::path::Path) -> PathBuf {
    let mut builder = PackageBuilder::new("slipstream-job-engine", "3.71", "Apache-2.0", "noarch", "the original");
    builder.using_config(BuildConfig::v4().compression(CompressionType::Gzip)).release("1");
    for (path, text) in [
        ("/opt/slipstream/job/sbin/job_executor.py", ENGINE),
        (&format!("{ACTIONS}/packaged.py"), "pass\n"),
        ("/etc/logrotate.d/slipstream-job-engine", "/var/log/slipstream/job/*.log { copytruncate }\n"),
        (UNIT, UNIT_TEXT),
    ] {
        builder.with_file_contents(text, FileOptions::new(path).permissions(0o644)).expect("done");
    }
    builder.with_dir_entry(FileOptions::dir("/var/log/slipstream/job").permissions(0o755)).expect("done");
    let file = folder.join("original.rpm");
    builder.build().expect("done").write_file(&file).expect("done");
    file
}

#[test]
fn an_upgrade_from_the_original_keeps_what_is_the_sites() {
    let root = Root::new();
    root.rpm(&["--install"], &original(root.path()));
    let defaults = "DAEMON_ARGS='--ss-url=https://nuv.la --ss-user=super --ss-pass=it\"s'\n";
    root.write("/etc/default/slipstream-job-executor", defaults);
    root.shell("chmod 644 /etc/default/slipstream-job-executor");
    root.write(&format!("{ACTIONS}/own.py"), "pass\n");
    root.write("/var/log/slipstream/job/executor.log", "old lines\n");

    let said = root.rpm(&["--upgrade"], &rpm(1));
    assert_eq!(root.read("/etc/default/slipstream-job-executor"), defaults);
    assert_eq!(root.read(&format!("{ACTIONS}/own.py")), "pass\n");
    assert_eq!(root.rights(&format!("{ACTIONS}/packaged.py")), "");
    assert_eq!(root.rights("/opt/slipstream/job/sbin/job_executor.py"), "");
    assert_eq!(root.read("/var/log/slipstream/log/executor.log"), "old lines\n");
    assert_eq!(root.shell("readlink /var/log/slipstream/job"), "log\n");
    assert!(root.read(UNIT).contains("/usr/bin/slipstream-job executor $DAEMON_ARGS"));
    assert!(root.read("/etc/logrotate.d/slipstream-job-engine").contains("signal=HUP"));
    assert!(said.contains("has a password in it and can be read by everybody"), "{said}");
    assert!(said.contains("has a quote or a backslash in DAEMON_ARGS"), "{said}");
    assert!(root.read("/etc/slipstream/job-engine.d/original.toml").ends_with("\n[executor]\nthreads = 1\n"));
    assert_eq!(root.rights("/etc/slipstream/job-engine.d/original.toml"), "640 root slipstream");

    // told once
    let said = root.rpm(&["--upgrade"], &rpm(2));
    assert!(!said.contains("password"), "{said}");
}

/// `systemctl start` with no unit would fail, and say so.
#[test]
fn an_original_that_does_not_run_is_replaced_in_silence() {
    let root = Root::new();
    root.rpm(&["--install"], &original(root.path()));
    let Some(booted) = Booted::new(root) else { return };
    let said = booted.install(&rpm(1));
    assert!(!said.contains("systemctl") && !said.contains("arguments"), "{said}");
    assert!(booted.is_so(&format!("! systemctl is-active {EXECUTOR}")));
}

#[test]
fn a_running_original_ends_by_itself_and_ours_takes_its_place() {
    let root = Root::new();
    root.rpm(&["--install"], &original(root.path()));
    let peers = "--ss-url=http://127.0.0.1:1 --ss-user=super --ss-pass=secret --zk-hosts=127.0.0.1:1";
    root.write("/etc/default/slipstream-job-executor", &format!("DAEMON_ARGS='{peers}'\n"));
    let Some(booted) = Booted::new(root) else { return };
    booted.shell(&format!("systemctl start {EXECUTOR}"));
    wait_for("the original to start", || booted.ask("cat /var/log/slipstream/job/executor.log") == "started");

    booted.install(&rpm(1));
    let log = booted.shell("cat /var/log/slipstream/log/executor.log");
    assert!(log.starts_with("started\nended by itself\n"), "it was killed: {log}");
    booted.wait_for(EXECUTOR, "MainPID", |pid| {
        booted.ask(&format!("readlink /proc/{pid}/exe")) == "/usr/bin/slipstream-job"
    });
    assert!(!booted.is_so("pgrep -f 'job_[e]xecutor'"), "two engines run");
}
