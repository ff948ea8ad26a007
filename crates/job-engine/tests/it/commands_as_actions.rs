//! Actions that are programs, started once for each job, under real keepers.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use serde_json::{Value, json};
use slipstream_action::Catalogue;
use slipstream_cimi::Document;
use slipstream_job_engine::internals::executor::load::{CommandProvider, Limits, Offers, Program, Terms};

use crate::support::acting::{Acting, STALLS, programs};
use crate::support::{eventually, job, state};

/// A server, and an executor with one slot that has one command, `act`.
struct World(Acting);

impl Deref for World {
    type Target = Acting;

    fn deref(&self) -> &Acting {
        &self.0
    }
}

/// What a test says of its command.
#[derive(Default)]
struct Said {
    terms: Terms,
    limits: Limits,
    env: Vec<(&'static str, &'static str)>,
    pass_env: Vec<&'static str>,
}

impl World {
    async fn new(script: &str) -> Self {
        Self::with(script, Said::default()).await
    }

    async fn with(script: &str, said: Said) -> Self {
        let folder = tempfile::tempdir().expect("made");
        let file = folder.path().join("act");
        fs::write(&file, format!("#!/bin/sh\n{}\n", script.replace("HERE", &folder.path().to_string_lossy())))
            .expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("permitted");
        let program = Program {
            command: vec![file.clone().into()],
            file,
            env: said.env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
            pass_env: said.pass_env.iter().map(|&name| name.to_owned()).collect(),
            limits: said.limits,
        };
        let command = CommandProvider { name: "act".to_owned(), program, terms: said.terms };
        let mut offers = Offers::native(&Catalogue::new());
        offers.add_command(command, &Arc::new(Acting::context(&folder)));
        Self(Acting::start(folder, 1, offers).await)
    }

    /// The document of a job that has ended, once nothing of its program is left.
    async fn ended(&self, id: &str) -> Document {
        let document = self.0.ended(id).await;
        self.expect_nothing_left().await;
        document
    }

    /// State, return code and message of a new job.
    async fn outcome(&self) -> (String, Option<i64>, String) {
        let id = self.add().await;
        outcome_of(&self.ended(&id).await)
    }

    /// No process has anything of this world in its arguments or its environment, and no directory is left.
    async fn expect_nothing_left(&self) {
        eventually("all processes are gone", async || programs(self.folder.path()).is_empty().then_some(())).await;
        eventually("all directories are gone", async || self.directories().is_empty().then_some(())).await;
    }

    async fn close(mut self) {
        self.0.stop().await;
        self.expect_no_folder();
    }
}

fn outcome_of(document: &Document) -> (String, Option<i64>, String) {
    let message = document.get("statusMessage").and_then(Value::as_str).unwrap_or_default().to_owned();
    (state(document).to_owned(), document.get("returnCode").and_then(Value::as_i64), message)
}

fn success(message: &str) -> (String, Option<i64>, String) {
    ("SUCCESS".to_owned(), Some(0), message.to_owned())
}

fn failed(return_code: Option<i64>, message: &str) -> (String, Option<i64>, String) {
    ("FAILED".to_owned(), return_code, message.to_owned())
}

#[tokio::test]
async fn three_lines_of_shell_are_an_action() {
    let world = World::new(r#"test "$SLIPSTREAM_TARGET" = dummy && echo "copied $SLIPSTREAM_TARGET""#).await;
    assert_eq!(world.outcome().await, success("copied dummy"));
    assert_eq!(world.outcome().await, success("copied dummy"), "the slot is usable afterwards");
    world.close().await;
}

#[tokio::test]
async fn what_the_executor_inherited_is_open_in_no_program() {
    let world = World::new("ls -l /proc/$$/fd; ls -l /proc/$$/fd | grep -c inherited || true").await;
    let inherited = fs::File::create(world.file("inherited")).expect("made");
    // Fault: as a careless parent leaves it open
    fcntl_setfd(&inherited, FdFlags::empty()).expect("set");
    assert!(!fcntl_getfd(&inherited).expect("read").contains(FdFlags::CLOEXEC));
    assert_eq!(world.outcome().await, success("0"));
    drop(inherited);
    world.close().await;
}

#[tokio::test]
async fn the_job_comes_on_standard_input_and_its_directory_goes() {
    let world = World::new(
        "cat > HERE/job.json; pwd > HERE/pwd; touch kept; ls -A | tr '\\n' ' '; echo; test \"$TMPDIR\" = \"$(pwd)\"",
    )
    .await;
    let id = world.add().await;
    assert_eq!(outcome_of(&world.ended(&id).await), success("kept"));
    let document: Value = serde_json::from_slice(&fs::read(world.file("job.json")).unwrap()).unwrap();
    assert_eq!(
        (&document["id"], &document["state"], &document["action"]),
        (&json!(id), &json!("QUEUED"), &json!("act"))
    );
    let directory = PathBuf::from(fs::read_to_string(world.file("pwd")).unwrap().trim());
    assert!(directory.is_absolute() && !directory.exists(), "{}", directory.display());
    world.close().await;
}

#[tokio::test]
async fn a_job_that_nobody_reads_does_no_harm() {
    let world = World::new("exec 0<&-; echo done").await;
    let mut document = job("act");
    document.insert("description".to_owned(), json!("x".repeat(300_000)));
    let id = world.engine.client.add("job", &document, None).await.expect("added");
    assert_eq!(outcome_of(&world.ended(&id).await), success("done"));
    world.close().await;
}

#[tokio::test]
async fn the_environment_is_what_a_program_needs_and_nothing_else() {
    let said = Said { env: vec![("SET", "by the manifest")], pass_env: vec!["CARGO_MANIFEST_DIR"], ..Said::default() };
    let world = World::with("env | cut -d= -f1 | sort | tr '\\n' ' ' > HERE/names; env > HERE/env", said).await;
    let id = world.add().await;
    assert_eq!(state(&world.ended(&id).await), "SUCCESS");
    let names = fs::read_to_string(world.file("names")).unwrap();
    let allowed =
        ["HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "TZ", "USER", "_", "TMPDIR", "SET", "CARGO_MANIFEST_DIR"];
    for name in names.split_whitespace() {
        let known = allowed.contains(&name) || name.starts_with("LC_") || name.starts_with("SLIPSTREAM_");
        assert!(
            known || name.to_lowercase().ends_with("proxy") || name.contains("CERT") || name.contains("CA_"),
            "{name} in {names}"
        );
    }
    let environment = fs::read_to_string(world.file("env")).unwrap();
    for line in [
        &*format!("SLIPSTREAM_JOB={id}"),
        "SLIPSTREAM_ACTION=act",
        "SLIPSTREAM_TARGET=dummy",
        "SLIPSTREAM_RERUN=false",
        "SLIPSTREAM_DEADLINE=",
        "SLIPSTREAM_EXECUTOR=Kenny",
        "SET=by the manifest",
    ] {
        assert!(environment.lines().any(|found| found == line), "{line} in {environment}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_code_fails_the_job_with_what_it_complained_of() {
    for (script, expected) in [
        ("echo working; echo 'no such host' >&2; exit 3", failed(Some(3), "no such host")),
        ("echo only this; exit 4", failed(Some(4), "only this")),
        ("exit 5", failed(Some(5), "exit code 5")),
        ("kill -SEGV $$", failed(None, "killed by SIGSEGV")),
        ("echo bye; kill -KILL $$", failed(None, "killed by SIGKILL: bye")),
        ("echo noise >&2; echo result; echo >&2", success("result")),
        ("echo noise >&2", success("noise")),
    ] {
        let world = World::new(script).await;
        assert_eq!(world.outcome().await, expected, "{script}");
        world.close().await;
    }
}

#[tokio::test]
async fn reports_reach_the_job() {
    let script = r#"echo '{"report":{"progress":40,"message":"half way","affected":["credential/1"],"later":1}}' >&3
        while ! test -e HERE/go; do sleep 0.01; done"#;
    let world = World::new(script).await;
    let id = world.add().await;
    let document = eventually("progress is in the job", async || {
        let document = world.engine.client.get(&id).await.ok()?;
        (document.get("progress") == Some(&json!(40))).then_some(document)
    })
    .await;
    assert_eq!(document["statusMessage"], json!("half way"));
    world.touch("go");
    let document = world.ended(&id).await;
    assert_eq!(outcome_of(&document), success("half way"));
    assert!(document["affectedResources"].as_array().unwrap().contains(&json!({"href": "credential/1"})));
    world.close().await;
}

#[tokio::test]
async fn what_is_no_report_is_a_breach() {
    for (script, part) in [
        ("echo nonsense >&3; sleep 100", "`nonsense` is no message: expected"),
        ("echo '{\"order\":{}}' >&3; sleep 100", "order"),
        ("echo '{\"hello\":{\"protocol\":1}}' >&3; sleep 100", "only report"),
        ("head -c 2000000 /dev/zero | tr '\\0' a >&3; echo >&3; sleep 100", "longer than 1048576 bytes"),
    ] {
        let world = World::new(script).await;
        let (state, code, message) = world.outcome().await;
        assert_eq!((&*state, code), ("FAILED", None), "{script}");
        assert!(message.starts_with("broke the protocol: ") && message.contains(part), "{script}: {message}");
        world.close().await;
    }
}

#[tokio::test]
async fn a_million_reports_slow_down_who_writes_them_alone() {
    let world = World::new(&format!("exec python3 - <<'END'\n{STALLS}\nprint(stalls())\nEND")).await;
    let (state, _, stalls) = world.outcome().await;
    assert_eq!(state, "SUCCESS", "{stalls}");
    assert!(stalls.parse::<u32>().expect("a number") >= 2, "after one thousand and after two nobody reads: {stalls}");
    world.close().await;
}

#[tokio::test]
async fn half_a_report_counts_for_nothing_and_closed_pipes_are_no_end() {
    for script in [
        "printf '{\"report\":{\"progress\":9' >&3; echo done",
        "exec 3>&-; sleep 0.2; echo done",
        "exec 3>&- 2>&-; sleep 0.2; echo done",
    ] {
        let world = World::new(script).await;
        assert_eq!(world.outcome().await, success("done"), "{script}");
        world.close().await;
    }
    let world = World::new("exec 1>&- 2>&-; sleep 0.2").await;
    assert_eq!(world.outcome().await, success(""));
    world.close().await;
}

#[tokio::test]
async fn a_hundred_megabytes_without_a_newline_stop_nobody() {
    let world = World::new("head -c 100000000 /dev/zero | tr '\\0' a; echo; echo done").await;
    assert_eq!(world.outcome().await, success("done"));
    world.close().await;
}

#[tokio::test]
async fn nothing_outlives_the_program() {
    let script = "setsid sh -c 'trap \"\" TERM; sleep 1000; :' & (sh -c 'sleep 1001; :' &) & \
        (setsid sh -c 'sleep 1002 & wait' &) ; sleep 0.1; echo done";
    let world = World::new(script).await;
    assert_eq!(world.outcome().await, success("done"));
    world.close().await;
}

#[tokio::test]
async fn a_job_ends_with_its_program_whoever_holds_the_pipes_of_a_killed_keeper() {
    // it gets its job once its keeper is known; a child of the shell beside the stray one would be one more of these
    let script = "read -r job; setsid sleep 1000 & echo $! > HERE/stray; kill -9 $PPID; while :; do :; done";
    let world = World::new(script).await;
    let id = world.add().await;
    let ended = world.0.ended(&id).await;
    let stray = fs::read_to_string(world.file("stray")).expect("it was started");
    let killed = Command::new("kill").args(["-9", stray.trim()]).status().expect("kill is there");
    assert!(killed.success(), "it was there to the end");
    assert_eq!(outcome_of(&ended), failed(None, "killed by SIGKILL"));
    world.expect_nothing_left().await;
    world.close().await;
}

#[tokio::test]
async fn a_keeper_that_cannot_start_its_program_leaves_no_pipe_open() {
    let limits = Limits { open_files: Some(1 << 40), ..Limits::default() };
    let world = World::with("echo done", Said { limits, ..Said::default() }).await;
    world.given_back().await;
    let errors = || {
        let descriptors = fs::read_dir("/proc/self/fd").expect("read").flatten();
        let paths = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        paths
            .filter(|path| path.starts_with(world.folder.path()))
            .filter(|path| path.to_string_lossy().contains(".errors"))
            .count()
    };
    eventually("its pipe is closed", async || (errors() == 0).then_some(())).await;
    world.close().await;
}

async fn stopped(world: &World, ready: &str) -> (String, Option<i64>, String) {
    let id = world.add().await;
    world.appears(ready).await;
    world.engine.client.operation(&id, "stop").await.expect("stopped");
    outcome_of(&world.ended(&id).await)
}

#[tokio::test]
async fn a_stop_is_sigterm() {
    let world =
        World::new("trap 'touch HERE/heard; exit 9' TERM; touch HERE/ready; while :; do sleep 0.01; done").await;
    let (state, ..) = stopped(&world, "ready").await;
    assert_eq!(state, "STOPPED");
    assert!(world.file("heard").exists());
    fs::remove_file(world.file("ready")).unwrap();
    assert_eq!(stopped(&world, "ready").await.0, "STOPPED", "the slot is usable afterwards");
    world.close().await;
}

#[tokio::test]
async fn what_ignores_a_stop_is_killed_with_all_that_it_began() {
    let terms = Terms { stop_grace: Duration::from_millis(300), ..Terms::default() };
    for script in [
        "trap '' TERM; setsid sleep 1000 & sleep 1001 & touch HERE/ready; while :; do sleep 1002; done",
        "touch HERE/ready; kill -STOP $$",
    ] {
        let world = World::with(script, Said { terms: terms.clone(), ..Said::default() }).await;
        let (state, ..) = stopped(&world, "ready").await;
        assert_eq!(state, "STOPPED");
        world.close().await;
    }
}

#[tokio::test]
async fn a_time_limit_ends_it() {
    let terms = Terms { time_limit: Some(Duration::from_millis(300)), ..Terms::default() };
    let world = World::with("test -n \"$SLIPSTREAM_DEADLINE\" && sleep 1000", Said { terms, ..Said::default() }).await;
    assert_eq!(world.outcome().await, failed(None, "time limit of 300ms exceeded"));
    world.close().await;
}

#[tokio::test]
async fn what_uses_too_much_is_killed_and_the_figure_is_said() {
    let limits = Limits { memory: Some(64 << 20), ..Limits::default() };
    let eats = "x=$(head -c 100000000 /dev/zero | tr '\\0' a); sleep 1000";
    let (state, _, message) = World::with(eats, Said { limits, ..Said::default() }).await.outcome().await;
    assert!(state == "FAILED" && message.contains("of memory, and 64 MiB is its limit"), "{message}");
    let limits = Limits { cpu_time: Some(Duration::from_millis(200)), ..Limits::default() };
    let spins = "while :; do :; done";
    let (state, _, message) = World::with(spins, Said { limits, ..Said::default() }).await.outcome().await;
    assert!(state == "FAILED" && message.contains("of processor time, and 200ms is its limit"), "{message}");
    let limits = Limits { open_files: Some(32), ..Limits::default() };
    let counts = "ulimit -n";
    assert_eq!(World::with(counts, Said { limits, ..Said::default() }).await.outcome().await, success("32"));
}

#[tokio::test]
async fn a_program_that_cannot_start_gives_its_job_back() {
    let world = World::new("echo done").await;
    let away = world.file("away");
    fs::rename(world.file("act"), &away).unwrap();
    let id = world.given_back().await;
    fs::rename(&away, world.file("act")).unwrap();
    assert_eq!(outcome_of(&world.ended(&id).await), success("done"));
    world.close().await;
}

#[tokio::test]
async fn the_last_lines_of_what_did_not_succeed_are_in_the_ledger() {
    let output = async |world: &World, id: &str| -> Value {
        let ledger = world.engine.client.operation(id, "ledger").await.expect("read");
        ledger["attempts"][0].get("output").cloned().unwrap_or_default()
    };
    // by one pipe: of two, the order is nobody's
    let world = World::new("seq 1 30 >&2; echo oops >&2; exit 1").await;
    let id = world.add().await;
    assert_eq!(outcome_of(&world.ended(&id).await), failed(Some(1), "oops"));
    let lines = output(&world, &id).await;
    let lines = lines.as_array().unwrap();
    assert_eq!((lines.len(), lines.contains(&json!("oops")), lines.contains(&json!("30"))), (20, true, true));
    world.close().await;

    let world = World::new("echo so far; touch HERE/ready; sleep 1000").await;
    let id = world.add().await;
    world.appears("ready").await;
    world.engine.client.operation(&id, "stop").await.expect("stopped");
    assert_eq!(state(&world.ended(&id).await), "STOPPED");
    eventually("its output is kept", async || (output(&world, &id).await == json!(["so far"])).then_some(())).await;
    world.close().await;

    let world = World::new("echo all is well").await;
    let id = world.add().await;
    assert_eq!(outcome_of(&world.ended(&id).await), success("all is well"));
    assert_eq!(output(&world, &id).await, Value::Null);
    world.close().await;
}
