//! Configuration files, and what `config` says of a machine: the services themselves are asked whether it is right.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::Ran;
use crate::services::support::Service;
use crate::support::{PASSWORD, Up, eventually, program, up_command};

/// A machine's files, below a folder.
struct Machine(TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().expect("a folder"));
        for (path, text) in files {
            machine.write(path, text);
        }
        machine
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn config(&self, arguments: &[&str]) -> Ran {
        let mut command = program();
        command.arg("config").args(arguments).arg("--root").arg(self.root());
        Ran::of(&command.output().expect("the binary starts"))
    }

    /// The service as systemd starts it, as long as nothing is quoted.
    fn service(&self, name: &str) -> Command {
        let text = fs::read_to_string(self.root().join(format!("etc/default/slipstream-job-{name}"))).expect("there");
        let mut command = program();
        command.arg(name).current_dir(self.root());
        for (variable, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match variable {
                "DAEMON_ARGS" => command.args(value.split(' ').filter(|word| !word.is_empty())),
                _ => command.env(variable, value),
            };
        }
        command.env("SLIPSTREAM_CONFIG", self.root().join(FILE));
        command
    }
}

const FILE: &str = "etc/slipstream/job-engine.toml";
const EXECUTOR: &str = "etc/default/slipstream-job-executor";
/// Nobody listens there.
const PEERS: &str = "--ss-url=http://127.0.0.1:1 --ss-user=super --zk-hosts=127.0.0.1:1";

/// Whether the service began, which then misses what it works with; else it has said that its configuration is wrong.
async fn begins(command: Command) -> Result<(), String> {
    let mut service = Service::start(command);
    let begun = eventually("it begins or refuses to", async || {
        let began = service.times(" WARN ") > 0;
        let refused = service.times("error: ") > 0;
        (began || refused).then_some(began)
    })
    .await;
    if begun {
        return Ok(());
    }
    assert_eq!(service.ended().await.code(), Some(2), "{:?}", service.said());
    Err(service.said().join("\n"))
}

#[tokio::test]
async fn what_check_accepts_starts_and_what_it_refuses_does_not() {
    let good = format!("DAEMON_ARGS={PEERS}\nSLIPSTREAM_PASS=p\n");
    let with = |words: &str| good.replace(PEERS, &format!("{PEERS} {words}"));
    let in_file =
        "[peers]\nss-url = \"http://127.0.0.1:1\"\nss-user = \"u\"\nss-pass = \"p\"\nzk-hosts = \"127.0.0.1:1\"\n";
    let rows: Vec<(String, &str, bool)> = vec![
        (good.clone(), "", true),
        (with("--threads=4 --th 3 --es-hosts-list a b"), "[executor]\nthreads = 9\n", true),
        (with("--threads=none"), "", false),
        (with("--colour=red"), "", false),
        (with("--zk-hosts=nowhere:at:all"), "", false),
        (with("--zk-user=jane"), "", false),
        (format!("{}SLIPSTREAM_ZK_PASS=q\n", with("--zk-user=jane")), "", true),
        (with("--actions-dir=/nowhere"), "", false),
        (with("--log-level=a=b=c"), "", false),
        (format!("{good}SLIPSTREAM_LOG=debug\n"), "", true),
        (format!("{good}SLIPSTREAM_LOG=a=b=c\n"), "", false),
        (format!("{good}SLIPSTREAM_THREADS=0\n"), "", false),
        (format!("{good}SLIPSTREAM_PASS_FILE=\n"), "", true),
        (format!("{good}SLIPSTREAM_PASS_FILE=/nowhere/p\n"), "", false),
        (format!("DAEMON_ARGS={PEERS}\n"), "", false),
        ("DAEMON_ARGS=\n".to_owned(), in_file, true),
        ("DAEMON_ARGS=--ss-url=http://127.0.0.2:1\n".to_owned(), in_file, false),
        ("DAEMON_ARGS=\nSLIPSTREAM_URL=\n".to_owned(), in_file, false),
        ("SLIPSTREAM_USER=v\n".to_owned(), in_file, false),
        (good.clone(), "[executor]\nthreads = 0\n", false),
        (with("--threads=2"), "[executor]\nthreads = 0\n", false),
        (good.clone(), "[executor]\nthread = 1\n", false),
        (good.clone(), "[executor\n", false),
        (good.clone(), "[server]\nmax-attempts = 0\n", false),
        (good.clone(), "[[distributor]]\nname = \"one\"\n", false),
        (good.clone(), "[log]\nlog-level = \"a=b=c\"\n", false),
    ];
    for (default, file, expected) in rows {
        let machine = Machine::new(&[(EXECUTOR, &default), (FILE, file)]);
        let checked = machine.config(&["check", "executor"]);
        let begun = begins(machine.service("executor")).await;
        let wanted = if expected { 0 } else { 2 };
        assert_eq!((checked.code, begun.is_ok()), (wanted, expected), "{default}{file}{checked:?}\n{begun:?}");
    }
}

#[test]
fn check_tells_all_that_is_wrong_at_once() {
    let machine = Machine::new(&[
        (EXECUTOR, "DAEMON_ARGS=\"--ss-user 'M. G' --ss-pass=a\\\\b --grace=10m\"\n"),
        ("etc/default/slipstream-job-server", "DAEMON_ARGS='--listen here'\n"),
        (FILE, "[executor]\nthreads = 2\n"),
    ]);
    let told = machine.config(&["check"]);
    assert_eq!((told.code, &*told.complained), (2, ""));
    let root = machine.root().display().to_string();
    let told = told.said.replace(&root, "");
    for expected in [
        "slipstream-job-server.service: 1 fault\n  /etc/default/slipstream-job-server: invalid value 'here' for",
        "slipstream-job-executor.service: 1 fault\n  no server given",
        "warning: --ss-user is `M. G`, and was `'M.` `G'` for the shell of the original engines",
        "warning: --ss-pass holds quotation marks or backslashes",
        "warning: `grace` of 600 s is not shorter than the 180 s after which systemd kills",
        "slipstream-job-distributor@jobs_cleanup.service: 1 fault\n",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(!told.contains("a\\b"), "{told}");
    machine.write(FILE, "[executor]\nthreads = 0\ngrace = \"soon\"\n[serve]\n");
    let found: Value = serde_json::from_str(&machine.config(&["check", "executor", "--json"]).said).expect("JSON");
    assert_eq!(found[0]["faults"].as_array().map(Vec::len), Some(3), "{found}");
}

#[test]
fn show_tells_each_value_and_where_it_comes_from() {
    let machine = Machine::new(&[
        (EXECUTOR, "DAEMON_ARGS=\"--threads=8 --ss-pass=of-nobody-else --zk-hosts a:1 b:2\"\nSLIPSTREAM_GRACE=90s\n"),
        (FILE, "[executor]\nthreads = 9\ncimi-grace = \"3m\"\n[peers]\nss-url = \"http://a\"\nss-user = \"u\"\n"),
        ("etc/slipstream/job-engine.d/10-log.toml", "[log]\nlog-level = \"debug\"\n"),
    ]);
    let shown = machine.config(&["show", "executor"]).good();
    let root = machine.root().display().to_string();
    let lines: Vec<String> =
        shown.replace(&root, "").lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "# slipstream-job-executor.service",
        "[executor]",
        "threads = 8 # /etc/default/slipstream-job-executor, by --threads",
        "grace = \"90s\" # /etc/default/slipstream-job-executor, by SLIPSTREAM_GRACE",
        "cimi-grace = \"3m\" # /etc/slipstream/job-engine.toml:3",
        "unknown-action = \"fail\" # default",
        "#name # not set",
        "[peers]",
        "ss-url = \"http://a\" # /etc/slipstream/job-engine.toml:5",
        "ss-pass = (set) # /etc/default/slipstream-job-executor, by --ss-pass",
        "ss-insecure = false # default",
        "zk-hosts = [\"a:1\", \"b:2\"] # /etc/default/slipstream-job-executor, by --zk-hosts",
        "[log]",
        "log-level = \"debug\" # /etc/slipstream/job-engine.d/10-log.toml:2",
        "log-file = \"/var/log/slipstream/log/executor.log\" # slipstream-job-executor.service, by SLIPSTREAM_LOG_FILE",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}\n{shown}");
    }
    assert!(!shown.contains("of-nobody-else"), "{shown}");
    let json = machine.config(&["show", "--json", "executor"]).json();
    let threads = json.as_array().expect("an array").iter().find(|one| one["key"] == "threads").expect("there");
    assert_eq!((&threads["value"], &threads["table"]), (&json!(["8"]), &json!("executor")));
    assert!(!json.to_string().contains("of-nobody-else"), "{json}");
}

#[tokio::test]
async fn a_command_needs_to_name_nothing_that_a_file_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::spawn(up_command(folder.path()));
    let password = folder.path().join("p");
    fs::write(&password, format!("{PASSWORD}\n")).expect("written");
    let config = folder.path().join("machine.toml");
    let peers = format!("[peers]\nss-url = \"{}\"\nss-pass-file = \"{}\"\n", up.endpoint, password.display());
    fs::write(&config, peers).expect("written");
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.args(arguments).env("SLIPSTREAM_CONFIG", &config).env("HOME", folder.path().join("nobody"));
        Ran::of(&command.output().expect("the binary starts"))
    };
    assert_eq!(run(&["queue"]).good(), "the queue is empty\n");
    let other = run(&["queue", "--ss-url", "http://127.0.0.1:1"]).failed();
    assert!(other.contains("no password of the user super"), "it goes to no other server: {other}");
    let other = run(&["queue", "--ss-user", "jane", "--ss-pass", "wrong"]).failed();
    assert!(other.contains("invalid credentials"), "{other}");
}

#[test]
fn up_reads_its_own_file_and_tells_all_that_is_wrong_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = "[server]\nlisten = \"127.0.0.1:99999\"\n[executor]\nthreads = 0\n[[distributor]]\nname = \"one\"\n";
    fs::write(folder.path().join("config.toml"), file).expect("written");
    let told = Ran::of(&up_command(folder.path()).output().expect("the binary starts")).failed();
    assert!(told.starts_with("error: 4 faults in the configuration\n"), "{told}");
    for line in ["config.toml:2: ", "config.toml:4: ", "config.toml:5: missing", "config.toml:5: it has no schedule"] {
        assert!(told.contains(line), "{told}");
    }
    assert!(!folder.path().join("jobs.db").exists());
}

#[tokio::test]
async fn up_takes_its_options_from_its_own_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = "[executor]\nthreads = 3\n[distributors]\ndistributors = []\n[log]\nlog-level = \"warn\"\n";
    fs::write(folder.path().join("config.toml"), file).expect("written");
    let up = Up::spawn(up_command(folder.path()));
    assert!(up.line_with("jobs at once").ends_with(" 3"));
    assert!(up.line_with("distributors").ends_with("jobs_cleanup"), "an empty list is none");
}

#[tokio::test]
async fn a_service_reads_the_level_of_its_log_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let level = |level: &str| fs::write(&file, format!("[log]\nlog-level = {level}\n")).expect("written");
    level("\"info\"");
    let mut service = Service::start(up_command(folder.path()));
    service.says(" is up").await;
    service.signal("HUP");
    service.says("opened the file of the log again").await;
    level("\"warn,slipstream_job_engine=info\"");
    service.signal("HUP");
    service.says("the configuration has another level of the log now").await;
    level("[]");
    service.signal("HUP");
    let wrong = service.says("cannot read the level of the log again").await;
    assert!(wrong.contains("config.toml:2: `log-level` has an impossible value"), "{wrong}");
    assert_eq!(service.times("another level of the log"), 1);
    service.stop().await;
}
