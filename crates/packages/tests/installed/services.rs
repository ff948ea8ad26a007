//! Units under a real systemd, over a real `ZooKeeper`.

use std::net::TcpListener;

use slipstream_test_ensemble::Ensemble;

use crate::booted::{Booted, wait_for};
use crate::root::{Root, deb};

const SERVER: &str = "slipstream-job-server.service";
pub const EXECUTOR: &str = "slipstream-job-executor.service";
pub const DISTRIBUTOR: &str = "slipstream-job-distributor@jobs_cleanup.service";
pub const UNITS: [&str; 3] = [SERVER, EXECUTOR, DISTRIBUTOR];
/// The password in `/etc/default`, which no list of processes may show.
pub const PASSWORD: &str = "of-the-service-nobody-else";

/// Actions in shell: one that changes its priorities, which the sandbox is to let it, and two that take their time.
const PRIORITIES: &str = "\
#!/bin/sh
set -e
test \"$(nice -n 5 nice)\" -gt \"$(nice)\"
test \"$(ionice -c 3 ionice)\" = idle
taskset 1 true
echo hello from a shell
";
const PAUSE: &str = "#!/bin/sh\nexec sleep 3\n";
const SLEEP: &str = "#!/bin/sh\nnice -n 5 sleep 600\n";
/// A class file as the original's.
const CLASS: &str = "\
from slipstream.job.actions import action


@action('class_file')
class ClassFile(object):
    def __init__(self, executor, job):
        self.job = job

    def do_work(self):
        return 0
";

/// A site on one machine: installed and configured, nothing started. None where nothing can be booted.
pub fn site(zookeeper: &str) -> Option<(Booted, String)> {
    let root = Root::new();
    root.dpkg(&deb(1));
    add_actions(&root);
    let url = format!("http://{}", free_address());
    let listen = url.trim_start_matches("http://");
    let peers = format!("--ss-url={url} --ss-user=super --ss-pass={PASSWORD} --zk-hosts={zookeeper}");
    for (name, arguments) in [
        ("server", format!("--listen={listen} --zk-hosts={zookeeper}")),
        ("executor", format!("{peers} --threads=4 --grace=30s --name='an executor'")),
        ("distributor", peers),
    ] {
        let password = if name == "server" { format!("SLIPSTREAM_SUPER_PASSWORD={PASSWORD}\n") } else { String::new() };
        root.write(&format!("/etc/default/slipstream-job-{name}"), &format!("DAEMON_ARGS=\"{arguments}\"\n{password}"));
    }
    Some((Booted::new(root)?, url))
}

fn add_actions(root: &Root) {
    for (name, text) in [("priorities", PRIORITIES), ("pause", PAUSE), ("sleep", SLEEP), ("class_file.py", CLASS)] {
        let path = format!("/usr/lib/slipstream/actions/{name}");
        root.write(&path, text);
        root.shell(&format!("chmod 755 {path}"));
    }
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").expect("done").local_addr().expect("done").to_string()
}

/// The files are as they were installed, but for where server and `ZooKeeper` are: an administrator has changed that in the
/// configuration file, and nothing in `/etc/default`.
#[tokio::test(flavor = "multi_thread")]
async fn the_installed_files_run_jobs_and_commands_name_no_host() {
    let ensemble = Ensemble::start(1).await;
    let zookeeper = ensemble.hosts();
    tokio::task::spawn_blocking(move || as_installed(&zookeeper)).await.expect("done");
}

fn as_installed(zookeeper: &str) {
    let root = Root::new();
    root.dpkg(&deb(1));
    add_actions(&root);
    let listen = free_address();
    let file = "/etc/slipstream/job-engine.toml";
    root.shell(&format!(
        "sed -i -e 's!^ss-url = .*!ss-url = \"http://{listen}\"!' -e 's!^zk-hosts = .*!zk-hosts = \"{zookeeper}\"!' \
            -e 's!^#listen = .*!listen = \"{listen}\"!' {file}"
    ));
    let Some(booted) = Booted::new(root) else { return };
    for unit in UNITS {
        assert!(booted.is_so(&format!("systemctl start {unit}")), "{unit}:\n{}", booted.journal(unit));
    }
    for action in ["priorities", "class_file", "noop"] {
        let said = booted.shell(&format!("timeout 60 slipstream-job submit {action} --wait 2>&1"));
        assert!(said.contains("SUCCESS"), "{action}: {said}\n{}", booted.journal(EXECUTOR));
    }
    let said = booted.shell("slipstream-job executors --json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).expect("JSON")[0]["slots"], 8, "{said}");
    assert!(booted.is_so("runuser --user slipstream -- slipstream-job distributors"), "the service's own user");
    for log in ["server", "executor", "distributor_jobs_cleanup"] {
        assert!(booted.is_so(&format!("test -s /var/log/slipstream/log/{log}.log")), "{log}");
    }
    let checked = booted.shell("slipstream-job config check 2>&1");
    assert_eq!(checked.matches(": no fault").count(), UNITS.len(), "{checked}");
    the_configuration_file_counts(&booted, file);
}

/// Nothing that the packages bring counts more.
fn the_configuration_file_counts(booted: &Booted, file: &str) {
    booted.shell(&format!(
        "systemctl stop {SERVER} && cp -a /var/lib/slipstream/server /var/lib/slipstream/other && \
         sed -i -e 's/^threads = .*/threads = 3/' -e 's!^#log-file = .*!log-file = \"/var/log/slipstream/log/all.log\"!' \
            -e 's!^#store = .*!store = \"sqlite:/var/lib/slipstream/other/jobs.db\"!' {file} && \
         systemctl start {SERVER}"
    ));
    let server = booted.property(SERVER, "MainPID");
    assert!(booted.is_so(&format!("ls -l /proc/{server}/fd | grep -q slipstream/other/jobs.db")));
    booted.shell(&format!("systemctl restart {EXECUTOR}"));
    let said = booted.shell("slipstream-job executors --json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).expect("JSON")[0]["slots"], 3, "{said}");
    assert!(booted.is_so("test -s /var/log/slipstream/log/all.log"));
}

/// The command line of an operator.
pub fn job(url: &str, arguments: &str) -> String {
    format!(
        "SLIPSTREAM_URL={url} SLIPSTREAM_USER=super SLIPSTREAM_PASS={PASSWORD} timeout 60 slipstream-job {arguments}"
    )
}

#[test]
fn the_units_are_sound_and_closed() {
    let root = Root::new();
    root.dpkg(&deb(1));
    let Some(booted) = Booted::new(root) else { return };
    for unit in
        ["slipstream-job-server.service", "slipstream-job-executor.service", "slipstream-job-distributor@x.service"]
    {
        let said = booted.shell(&format!("systemd-analyze verify --man=no {unit} 2>&1"));
        assert_eq!(said, "", "{unit}");
        let said = booted.shell(&format!("systemd-analyze security --offline=true --threshold=20 {unit} 2>&1"));
        assert!(said.contains("Overall exposure level"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_start_work_come_back_and_stop() {
    let ensemble = Ensemble::start(1).await;
    let zookeeper = ensemble.hosts();
    tokio::task::spawn_blocking(move || life(&zookeeper)).await.expect("done");
}

fn life(zookeeper: &str) {
    let Some((booted, url)) = site(zookeeper) else { return };
    for unit in UNITS {
        assert!(booted.is_so(&format!("systemctl start {unit}")), "{unit}:\n{}", booted.journal(unit));
        assert_eq!(booted.property(unit, "ActiveState"), "active");
    }
    for action in ["priorities", "class_file", "noop"] {
        let said = booted.shell(&job(&url, &format!("submit {action} --wait 2>&1")));
        assert!(said.contains("SUCCESS"), "{action}: {said}\n{}", booted.journal(EXECUTOR));
    }
    no_process_shows_a_password(&booted);
    threads_answers_root_and_the_own_user_and_nobody_else(&booted, &url);
    rotated_logs_hold_every_job(&booted, &url);
    an_upgrade_lets_a_running_job_end(&booted, &url);
    comes_back_after_a_kill(&booted);
    the_watchdog_bites_what_hangs(&booted);
    a_stop_lets_a_job_end_within_the_grace(&booted, &url);
    a_stop_keeps_the_grace_and_counts_down(&booted, &url);
    a_wrong_password_fails_the_start(&booted);
    a_credential_is_the_password(&booted);
}

fn threads_answers_root_and_the_own_user_and_nobody_else(booted: &Booted, url: &str) {
    let id = booted.shell(&job(url, "submit sleep"));
    booted.wait_for(EXECUTOR, "StatusText", |status| status == "1 of 4 jobs running");
    let ask = |unit: &str| format!("slipstream-job threads {} 2>&1", booted.property(unit, "MainPID"));
    for user in ["root", "slipstream"] {
        let said = booted.ask(&format!("runuser --user {user} -- {}", ask(EXECUTOR)));
        assert!(said.contains(&format!("  {}  sleep  running ", id.trim())), "{user}: {said}");
        assert!(said.contains("tokio-rt-worker") && said.contains(" threads in "), "{user}: {said}");
        assert!(said.contains("  idle\n") && said.contains("none missed"), "{user}: {said}");
        assert!(said.contains("tokio::runtime"), "{user}: no names of functions: {said}");
        for unit in [SERVER, DISTRIBUTOR] {
            let said = booted.ask(&format!("runuser --user {user} -- {}", ask(unit)));
            assert!(said.contains(" threads in "), "{unit}: {user}: {said}");
        }
    }
    let said = booted.ask(&format!("runuser --user nobody -- {}", ask(EXECUTOR)));
    assert_eq!(said, "error: only root and the user of the process may ask it");
    booted.shell(&job(url, &format!("jobs stop {}", id.trim())));
    booted.wait_for(EXECUTOR, "StatusText", |status| status == "0 of 4 jobs running");
}

fn no_process_shows_a_password(booted: &Booted) {
    // whoever looks for it has it neither in arguments nor in its environment
    booted.shell(&format!("echo {PASSWORD} > /srv/password"));
    let found = booted.ask("grep -slaF -f /srv/password /proc/[0-9]*/environ /proc/[0-9]*/cmdline /srv/password");
    assert_eq!(found, "/srv/password");
}

/// Rotated as the packages have it, while jobs are done.
fn rotated_logs_hold_every_job(booted: &Booted, url: &str) {
    let rotated = booted.shell(&format!(
        "(while [ ! -e /srv/rotated ]; do {}; done > /srv/jobs) & \
         for turn in 1 2 3 4; do \
             sleep 0.5; \
             logrotate --force /etc/logrotate.d/slipstream-job-engine; \
         done; \
         touch /srv/rotated; wait; sort -u /srv/jobs",
        job(url, "submit noop --wait | sed -n s/SUCCESS.*//\\;1p")
    ));
    let jobs: Vec<&str> = rotated.split_whitespace().collect();
    assert!(jobs.len() >= 5, "{rotated}");
    assert!(booted.is_so("ls /var/log/slipstream/log/executor.log.4*"), "it was rotated four times");
    for job in jobs {
        booted.shell(&format!("zcat -f /var/log/slipstream/log/executor.log* | grep 'attempt ends' | grep -q {job}"));
    }
}

fn an_upgrade_lets_a_running_job_end(booted: &Booted, url: &str) {
    let id = booted.shell(&job(url, "submit pause"));
    wait_for("the job to run", || booted.is_so("pgrep -x sleep"));
    let before = UNITS.map(|unit| booted.property(unit, "MainPID"));
    booted.install(&deb(2));
    for (unit, before) in UNITS.into_iter().zip(before) {
        booted.wait_for(unit, "MainPID", |now| now != "0" && now != before);
        booted.wait_for(unit, "ActiveState", |state| state == "active");
    }
    let said = booted.shell(&job(url, &format!("jobs watch {id}").replace('\n', "")));
    assert!(said.contains("SUCCESS"), "{said}\n{}", booted.journal(EXECUTOR));
    let log =
        booted.shell(&format!("cat /var/log/slipstream/log/executor.log | grep -c '{}.*attempt begins'", id.trim()));
    assert_eq!(log.trim(), "1", "it was begun once, and ended by itself");
}

fn comes_back_after_a_kill(booted: &Booted) {
    let before = booted.property(EXECUTOR, "MainPID");
    booted.shell(&format!("systemctl kill --signal=KILL --kill-who=main {EXECUTOR}"));
    booted.wait_for(EXECUTOR, "MainPID", |now| now != "0" && now != before);
    booted.wait_for(EXECUTOR, "ActiveState", |state| state == "active");
}

fn the_watchdog_bites_what_hangs(booted: &Booted) {
    booted.shell(&format!(
        "mkdir -p /run/systemd/system/{EXECUTOR}.d && \
         printf '[Service]\\nWatchdogSec=2\\n' > /run/systemd/system/{EXECUTOR}.d/watchdog.conf && \
         systemctl daemon-reload && systemctl restart {EXECUTOR}"
    ));
    let before = booted.property(EXECUTOR, "MainPID");
    booted.shell(&format!("kill -STOP {before}"));
    wait_for("the watchdog", || booted.journal(EXECUTOR).contains("Watchdog timeout"));
    booted.wait_for(EXECUTOR, "MainPID", |now| now != "0" && now != before);
    booted.wait_for(EXECUTOR, "ActiveState", |state| state == "active");
}

fn a_stop_keeps_the_grace_and_counts_down(booted: &Booted, url: &str) {
    let said = booted.shell(&job(url, "submit sleep"));
    booted.wait_for(EXECUTOR, "TasksCurrent", |_| booted.is_so("pgrep -x sleep"));
    booted.shell(&format!("systemctl stop --no-block {EXECUTOR}"));
    booted.wait_for(EXECUTOR, "StatusText", |status| status.starts_with("stopping: 1 job, "));
    // nobody waits for the whole grace: a second request ends it
    booted.shell(&format!("systemctl kill --kill-who=main --signal=TERM {EXECUTOR}"));
    booted.wait_for(EXECUTOR, "ActiveState", |state| state == "inactive");
    assert_eq!(booted.property(EXECUTOR, "Result"), "success", "{said}\n{}", booted.journal(EXECUTOR));
    assert!(!booted.is_so("pgrep -x sleep"), "the program of the job is gone");
}

/// Of 30 seconds, of which the job needs three.
fn a_stop_lets_a_job_end_within_the_grace(booted: &Booted, url: &str) {
    let id = booted.shell(&job(url, "submit pause"));
    wait_for("the job to run", || booted.is_so("pgrep -x sleep"));
    booted.shell(&format!("systemctl stop {EXECUTOR}"));
    assert_eq!(booted.property(EXECUTOR, "Result"), "success", "{}", booted.journal(EXECUTOR));
    let shown = booted.shell(&job(url, &format!("jobs show {} --json", id.trim())));
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert!(shown.to_string().contains("SUCCESS"), "{shown}");
    booted.shell(&format!("systemctl start {EXECUTOR}"));
}

fn a_wrong_password_fails_the_start(booted: &Booted) {
    booted.shell(&format!("sed -i 's/--ss-pass={PASSWORD}/--ss-pass=wrong/' /etc/default/slipstream-job-executor"));
    assert!(!booted.is_so(&format!("systemctl start {EXECUTOR}")));
    assert_eq!(booted.property(EXECUTOR, "ExecMainStatus"), "2", "{}", booted.journal(EXECUTOR));
    assert_eq!(booted.property(EXECUTOR, "ActiveState"), "failed");
}

/// Not in `/etc/default`, but in a file that systemd alone reads.
fn a_credential_is_the_password(booted: &Booted) {
    booted.shell(&format!(
        "sed -i 's/--ss-pass=wrong//' /etc/default/slipstream-job-executor && \
         (umask 077 && echo {PASSWORD} > /etc/slipstream/super.password) && \
         printf '[Service]\\nLoadCredential=super:/etc/slipstream/super.password\\n' \
             > /run/systemd/system/{EXECUTOR}.d/password.conf && \
         systemctl daemon-reload"
    ));
    assert!(booted.is_so(&format!("systemctl start {EXECUTOR}")), "{}", booted.journal(EXECUTOR));
    assert_eq!(booted.property(EXECUTOR, "ActiveState"), "active");
}

#[test]
fn an_outage_of_what_a_service_needs_does_not_fail_its_start() {
    let Some((booted, _)) = site(&free_address()) else { return };
    for unit in [SERVER, EXECUTOR] {
        assert!(booted.is_so(&format!("systemctl start {unit}")), "{unit}:\n{}", booted.journal(unit));
    }
    booted.wait_for(EXECUTOR, "StatusText", |status| status.starts_with("waiting for"));
}
