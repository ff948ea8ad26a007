//! Configuration files, and what `config` says of a machine: the services themselves are asked whether it is right.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::Ran;
use crate::services::support::Service;
use crate::support::{PASSWORD, Up, eventually, program, up_command};

/// A machine's files, below a folder.
pub struct Machine(TempDir);

impl Machine {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().expect("a folder"));
        for (path, text) in files {
            machine.write(path, text);
        }
        machine
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    pub fn config(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["config"], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = program();
        command.args(arguments).arg("--root").arg(self.root());
        Ran::of(&command.output().expect("the binary starts"))
    }

    /// The service as systemd starts it, as long as nothing is quoted.
    pub fn service(&self, name: &str) -> Command {
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

pub const FILE: &str = "etc/slipstream/job-engine.toml";
pub const EXECUTOR: &str = "etc/default/slipstream-job-executor";
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
        (format!("{good}SLIPSTREAM_LOG_FILE=\n"), "", true),
        (good.clone(), "[log]\nlog-file = \"\"\n", true),
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
        "warning: --ss-user holds quotation marks or backslashes, which the original engines took literally",
        "warning: --ss-pass holds quotation marks or backslashes",
        "warning: `grace` of 600 s is not shorter than the 180 s after which systemd kills",
        "slipstream-job-distributor@jobs_cleanup.service: 3 faults\n  no server given",
        "\n  no user given: name an administrator with --ss-user or SLIPSTREAM_USER\n  no password: give it with",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(!told.contains("a\\b") && !told.contains("M. G"), "{told}");
    let quoted = r#"DAEMON_ARGS='--threads=x "--ss-pass=s3cret" a-word --grace=soon'"#;
    machine.write(EXECUTOR, &format!("{quoted}\nSLIPSTREAM_CIMI_GRACE=soon\n"));
    let told = machine.config(&["check", "executor"]).said;
    for expected in [
        "4 faults\n",
        "invalid value 'x' for '--threads <N>'",
        "a word belongs to no option",
        "invalid value 'soon' for '--grace <DURATION>'",
        "slipstream-job-executor, by SLIPSTREAM_CIMI_GRACE: invalid value 'soon' for '--cimi-grace <DURATION>'",
        "warning: --threads holds quotation marks",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    assert!(!told.contains("s3cret") && !told.contains("a-word"), "{told}");
    machine.write(EXECUTOR, "");
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
        "log-file = \"/var/log/slipstream/log/executor.log\" # slipstream-job-executor.service, by LOGS_DIRECTORY",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}\n{shown}");
    }
    assert!(!shown.contains("of-nobody-else"), "{shown}");
    let json = machine.config(&["show", "--json", "executor"]).json();
    let threads = json[0]["values"].as_array().expect("an array").iter().find(|one| one["key"] == "threads");
    let threads = threads.expect("there");
    assert_eq!((&threads["value"], &threads["table"]), (&json!(["8"]), &json!("executor")));
    assert!(!json.to_string().contains("of-nobody-else"), "{json}");
}

#[test]
fn show_tells_what_it_can_in_spite_of_faults() {
    let machine = Machine::new(&[
        (EXECUTOR, "DAEMON_ARGS=\"--threads=none --grace=90s\"\nSLIPSTREAM_LOG_FORMAT=xml\n"),
        (FILE, "[executor]\nthreads = 9\ncimi-grace = \"soon\"\n[peers]\nss-user = \"u\"\n"),
    ]);
    let shown = machine.config(&["show", "executor"]);
    assert_eq!(shown.code, 2);
    for expected in ["# fault: ", "threads = 9 ", "grace = \"90s\" ", "cimi-grace = \"2m\" ", "ss-user = \"u\" "] {
        assert!(shown.said.contains(expected), "{expected}\n{}", shown.said);
    }
    let json: Value = serde_json::from_str(&machine.config(&["show", "executor", "--json"]).said).expect("JSON");
    let count = |name: &str| json[0][name].as_array().map(Vec::len);
    assert_eq!(count("faults"), Some(3), "{json}");
    assert!(count("values") > Some(20), "{json}");
}

#[test]
fn a_file_that_somebody_names_is_checked_in_place_of_the_usual_ones() {
    let machine = Machine::new(&[(FILE, "[executor]\nthreads = 0\n"), ("other.toml", "[executor]\nthreads = 5\n")]);
    let other = machine.root().join("other.toml").display().to_string();
    let shown = machine.run(&["--config", &other, "config", "show", "executor"]).said;
    assert!(shown.contains("threads = 5 ") && !shown.contains("cannot be `0`"), "{shown}");
    // the service has its own
    machine.write(EXECUTOR, "SLIPSTREAM_CONFIG=/etc/slipstream/job-engine.toml\n");
    let told = machine.run(&["config", "check", "executor", "--config", &other]).said;
    assert!(told.contains("job-engine.toml:2: `threads` cannot be `0`"), "{told}");
    machine.write(EXECUTOR, "SLIPSTREAM_CONFIG=\n");
    let told = machine.config(&["check", "executor"]).said;
    assert!(told.contains("job-engine.toml:2: `threads` cannot be `0`"), "{told}");
    machine.write(EXECUTOR, "SLIPSTREAM_CONFIG=/etc/slipstream/job-engine.toml\n");
    machine.write(FILE, "[executor]\nthreads = 4\n");
    let shown = machine.run(&["config", "show", "executor", "--config", &other]).said;
    assert!(shown.contains("threads = 4 "), "{shown}");
    machine.write(EXECUTOR, "DAEMON_ARGS=--config=/etc/slipstream/missing.toml\n");
    let told = machine.config(&["check", "executor"]).said;
    assert!(told.contains("cannot read the configuration file "), "{told}");
}

#[test]
fn up_is_checked_as_somebody_would_start_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    fs::write(&file, "[executor]\nthreads = 3\n[log]\nlog-level = \"a=b=c\"\n").expect("written");
    let run = |arguments: &[&str]| {
        let mut command = program();
        command.arg("config").args(arguments).env("SLIPSTREAM_DATA_DIR", folder.path()).env("SLIPSTREAM_GRACE", "7s");
        Ran::of(&command.output().expect("the binary starts"))
    };
    let told = run(&["check", "up"]).said;
    let said = "give a level such as debug, or warn,slipstream_job_engine=debug";
    assert!(told.contains(said) && told.contains(&format!("(`log-level` in {}:4)", file.display())), "{told}");
    fs::write(&file, "[executor]\nthreads = 3\n").expect("written");
    let shown = run(&["show", "up"]).good();
    let lines: Vec<String> = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "# slipstream-job up",
        &*format!("threads = 3 # {}:2", file.display()),
        "grace = \"7s\" # the environment, by SLIPSTREAM_GRACE",
        "listen = \"127.0.0.1:8201\" # default",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}\n{shown}");
    }
}

/// What root may read is no proof that the service may.
#[test]
fn root_is_told_what_the_user_of_a_service_cannot_read() {
    let machine = Machine::new(&[
        (EXECUTOR, "DAEMON_ARGS=\"--ss-url=http://a --ss-user=u\"\n"),
        (FILE, "[executor]\nthreads = 2\n"),
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\nslipstream:x:65533:65533::/:/bin/sh\n"),
        ("p", "secret\n"),
    ]);
    let password = machine.root().join("p");
    machine.write(
        EXECUTOR,
        &format!("DAEMON_ARGS=\"--ss-url=http://a --ss-user=u --ss-pass-file={}\"\n", password.display()),
    );
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    for path in [machine.root().to_owned(), machine.root().join("etc"), machine.root().join("etc/slipstream")] {
        mode(&path, 0o755);
    }
    mode(&machine.root().join(FILE), 0o644);
    mode(&password, 0o644);
    let sound = machine.config(&["check", "executor"]);
    assert_eq!(sound.code, 0, "{sound:?}");
    mode(&password, 0o600);
    mode(&machine.root().join("etc/slipstream"), 0o700);
    let told = machine.config(&["check", "executor"]).said;
    // nobody else can ask for another user
    let count = if rustix::process::geteuid().is_root() { 2 } else { 0 };
    assert_eq!(
        told.matches("the user slipstream of slipstream-job-executor.service cannot read ").count(),
        count,
        "{told}"
    );
}

#[tokio::test]
async fn what_is_found_wrong_later_is_told_with_its_line() {
    let file = "[peers]\nss-url = \"ftp://a\"\nss-user = \"u\"\nss-pass-file = \"/nowhere/p\"\nzk-hosts = \"a:b\"\n\
                [executor]\nactions-dir = [\"/nowhere/a\"]\n";
    let machine = Machine::new(&[(EXECUTOR, ""), (FILE, file)]);
    let told = machine.config(&["check", "executor"]).said;
    let refused = begins(machine.service("executor")).await.expect_err("it cannot be");
    for told in [told, refused] {
        for expected in ["(`ss-pass-file` in ", "job-engine.toml:4)", "(`actions-dir` in ", "job-engine.toml:7)"] {
            assert!(told.contains(expected), "{expected}\n{told}");
        }
    }
}

#[test]
fn actions_are_checked_and_tried_as_the_executor_of_this_machine_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let actions = folder.path().join("actions");
    fs::create_dir(&actions).expect("made");
    fs::write(actions.join("greet"), "#!/bin/sh\necho hello\n").expect("written");
    fs::set_permissions(actions.join("greet"), fs::Permissions::from_mode(0o755)).expect("ours");
    let config = folder.path().join("machine.toml");
    let python = "/usr/bin/python3";
    fs::write(&config, format!("[executor]\nactions-dir = \"{}\"\npython = \"{python}\"\n", actions.display()))
        .expect("written");
    let run = |arguments: &[&str]| {
        let mut command = program();
        command
            .args(arguments)
            .env("SLIPSTREAM_CONFIG", &config)
            .env("SLIPSTREAM_DATA_DIR", folder.path().join("data"));
        Ran::of(&command.output().expect("the binary starts"))
    };
    let checked = run(&["actions", "check", "--json"]).json();
    assert_eq!(checked["actions"][0]["action"], "greet", "{checked}");
    let tried = run(&["actions", "test", "greet"]);
    assert!(tried.code == 0 && tried.complained.contains("SUCCESS hello"), "{tried:?}");
    fs::write(&config, "[executor]\nactions-dir = \"/nowhere/a\"\n").expect("written");
    for arguments in [&["actions", "check"][..], &["actions", "test", "greet"]] {
        let refused = run(arguments).failed();
        assert!(refused.contains("there is no folder /nowhere/a") && refused.contains("machine.toml:2"), "{refused}");
    }
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
    // the environment names an engine, which is not there
    let nobody = folder.path().join("nobody").display().to_string();
    let mut command = program();
    command.args(["queue", "--config"]).arg(&config).env("SLIPSTREAM_DATA_DIR", &nobody);
    let other = Ran::of(&command.output().expect("the binary starts")).failed();
    assert!(other.contains(&format!("no engine is running in {nobody}")), "{other}");
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
    assert!(told.starts_with("error: 4 faults\n"), "{told}");
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
    assert!(up.line_with("distributors").ends_with(" none"), "an empty list is none");
}

#[tokio::test]
async fn a_service_reads_the_level_of_its_log_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    // at once: the service may read it at any time
    let level = |level: &str| {
        let unfinished = file.with_extension("new");
        fs::write(&unfinished, format!("[log]\nlog-level = {level}\n")).expect("written");
        fs::rename(&unfinished, &file).expect("renamed");
    };
    let restart = "log-file or log-format has changed in the configuration: restart the service for it";
    level("\"info\"");
    let mut service = Service::start(up_command(folder.path()));
    service.says(" is up").await;
    service.signal("HUP");
    service.says("SIGHUP: opening the file of the log again").await;
    level("\"warn,slipstream_job_engine=info\"");
    service.signal("HUP");
    service.says("the configuration has another level of the log now").await;
    assert_eq!(service.times(restart), 0);
    level("\"warn,slipstream_job_engine=info\"\nlog-format = \"json\"");
    service.signal("HUP");
    service.says(restart).await;
    level("[]");
    service.signal("HUP");
    let wrong = service.says("cannot read the level of the log again").await;
    assert!(wrong.contains("config.toml:2: `log-level` has an impossible value"), "{wrong}");
    assert_eq!(service.times("another level of the log"), 1);
    service.stop().await;
}
