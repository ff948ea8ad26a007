//! The commands that show what the engine is doing, and what else is not about jobs.

use serde_json::{Value, json};

use crate::commands::{Busy, Ran, assert_lines, run};
use crate::support::{Up, document, eventually, program};

fn host() -> String {
    slipstream_job_engine::internals::process::host_name()
}

#[tokio::test]
async fn the_queue_tells_what_waits_by_priority_and_who_holds_what_since_when() {
    let busy = Busy::new().await;
    let held = busy.running.trim_start_matches("job/");
    let expected = [
        "PRIORITY WAITING",
        "7 1",
        "999 2",
        "",
        "ACTION QUEUED",
        "noop 3",
        "",
        &format!("3 waiting, the oldest for * {}", busy.waiting[0]),
        "",
        "JOB HELD ACTION EXECUTOR",
        &format!("{held} * dummy_test_action {}", host()),
        "",
        "1 held",
    ];
    assert_lines(&busy.run(&["queue"]).good(), &expected);
    let queue = busy.run(&["queue", "--json"]).json();
    let ledger = busy.up.client().operation(&busy.running, "ledger").await.expect("there");
    let executors = busy.run(&["executors", "--json"]).json();
    let claim = json!({
        "entry": ledger["entry"], "job": busy.running, "action": "dummy_test_action", "state": "RUNNING",
        "claimant": executors[0]["claimant"], "executor": host(), "host": host(),
        "since": ledger["attempts"][0]["begun"],
    });
    assert_eq!(queue["claimed"], json!({"count": 1, "claims": [claim]}));
    let created = busy.up.client().get(&busy.waiting[0]).await.expect("there")["created"].clone();
    let oldest = json!({"job": busy.waiting[0], "action": "noop", "created": created});
    let priorities = json!([{"priority": 7, "count": 1}, {"priority": 999, "count": 2}]);
    let actions = json!([{"action": "noop", "count": 3}]);
    assert_eq!(queue["waiting"], json!({"count": 3, "priorities": priorities, "actions": actions, "oldest": oldest}));
    let all = [&[busy.running.as_str()], &busy.waiting.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat();
    busy.run(&[&["jobs", "delete"], &all[..]].concat()).good();
    let empty = eventually("the claim is gone", async || {
        let said = busy.run(&["queue"]).good();
        (said.lines().count() == 1).then_some(said)
    });
    assert_eq!(empty.await, "the queue is empty\n");
    let nothing = json!({"count": 0, "names": []});
    let empty = json!({
        "waiting": {"count": 0, "priorities": [], "actions": [], "oldest": null}, "claimed": {"count": 0, "claims": []},
        "left_alone": {"entries": nothing, "claims": nothing, "without_session": nothing, "refused": []},
    });
    let mut shown = document(busy.run(&["queue", "--json"]).json());
    assert_eq!(shown.remove("released").expect("told")["count"], 0, "nobody gave anything back");
    assert!(shown.remove("listed").expect("told").is_string(), "when it was listed");
    assert_eq!(Value::Object(shown), empty);
}

#[tokio::test]
async fn the_queue_is_restored_and_nothing_is_queued_twice() {
    let busy = Busy::new().await;
    let nothing = "nothing to queue: every unfinished job has its entry\n";
    assert_eq!(busy.run(&["queue", "restore"]).good(), nothing);
    assert_eq!(busy.run(&["queue", "restore", "--json"]).json()["queued"], 0);
    assert_eq!(busy.run(&["queue", "--json"]).json()["waiting"]["count"], 3);
}

#[tokio::test]
async fn executors_and_their_actions_are_listed() {
    let busy = Busy::new().await;
    let (host, process, version) = (host(), busy.up.process(), env!("CARGO_PKG_VERSION"));
    let row = format!("{host} {host} {process} {version} 1 1 cleanup_jobs, dummy_test_action, noop");
    assert_lines(&busy.run(&["executors"]).good(), &["EXECUTOR HOST PID VERSION SLOTS BUSY ACTIONS", &row]);
    let executors = busy.run(&["executors", "--json"]).json();
    let expected = json!([{
        "claimant": executors[0]["claimant"], "name": host, "slots": 1, "busy": 1,
        "process": {"host": host, "id": process, "version": version},
        "actions": ["cleanup_jobs", "dummy_test_action", "noop"], "begun": executors[0]["begun"],
    }]);
    assert_eq!(executors, expected);
    assert_eq!(executors[0]["claimant"].as_str().map(str::len), Some(32));
    let begun: jiff::Timestamp = executors[0]["begun"].as_str().expect("text").parse().expect("a time");
    let submitted = busy.up.client().get(&busy.running).await.expect("there")["created"].clone();
    assert!(begun < submitted.as_str().expect("text").parse().expect("a time"));
    let rows = ["cleanup_jobs", "dummy_test_action", "noop"].map(|name| format!("{name} native 1 {host}"));
    let table = busy.run(&["actions"]).good();
    assert_lines(&table, &[&["ACTION KIND SLOTS EXECUTORS"], &rows.each_ref().map(String::as_str)[..]].concat());
    let actions = busy.run(&["actions", "--json"]).json();
    let action = |name: &str| json!({"action": name, "kinds": ["native"], "slots": 1, "executors": [host]});
    assert_eq!(actions, Value::Array(["cleanup_jobs", "dummy_test_action", "noop"].map(action).into()));
}

#[tokio::test]
async fn distributors_are_listed_with_who_leads_and_their_rounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[[distributor]]\nname = \"each\"\naction = \"noop\"\nevery = \"1s\"\n\
                  [[distributor]]\nname = \"nightly\"\naction = \"noop\"\nelection = \"nights\"\ncron = \"0 3 * * *\"\n\
                  time-zone = \"Europe/Zurich\"\n";
    std::fs::write(folder.path().join("config.toml"), config).expect("written");
    let up = Up::start(folder.path(), &["--distributors", "each,nightly"]);
    let listed = eventually("both lead", async || {
        let listed = run(&up, &["distributors", "--json"]).json();
        let rounds = listed.as_array()?.iter().filter(|one| one["next"].is_string()).count();
        (rounds == 2).then_some(listed)
    });
    let listed = listed.await;
    let expected = |name: &str, election: &str, schedule: &str, index: usize| {
        json!({
            "name": name, "election": election, "schedule": schedule, "leader": host(), "candidates": [host()],
            "last": listed[index]["last"], "next": listed[index]["next"], "problem": null,
        })
    };
    let each = expected("each", "noop", "every 1s", 0);
    assert_eq!(listed, json!([each, expected("nightly", "nights", "0 3 * * * Europe/Zurich", 1)]));
    let next: jiff::Zoned =
        format!("{}[Europe/Zurich]", listed[1]["next"].as_str().expect("text")).parse().expect("a time");
    assert_eq!((next.hour(), next.minute(), next.second()), (3, 0, 0), "{next}");
    let later = eventually("the next round is done", async || {
        let listed = run(&up, &["distributors", "--json"]).json();
        let last: jiff::Timestamp = listed[0]["last"].as_str()?.parse().ok()?;
        let first: jiff::Timestamp = each["next"].as_str()?.parse().ok()?;
        (last >= first).then_some(last)
    });
    assert_eq!(later.await.subsec_nanosecond(), 0, "the mark is a time of the schedule");
    let table = run(&up, &["distributors"]).good();
    let rows = [
        "DISTRIBUTOR SCHEDULE LEADER LAST NEXT",
        &format!("each every 1s {} * ago in *", host()),
        &format!("nightly 0 3 * * * Europe/Zurich {} * ago in *", host()),
    ];
    assert_lines(&table, &rows);
    let folder = tempfile::tempdir().expect("a folder");
    let none = Up::start(folder.path(), &["--distributors", ""]);
    assert_eq!(run(&none, &["distributors"]).good(), "no distributors\n");
    assert_eq!(run(&none, &["distributors", "--json"]).json(), json!([]));
}

#[test]
fn completions_know_every_command_and_flag() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Ran::of(&program().args(["completions", shell]).output().expect("the binary starts")).good();
        for word in ["distributors", "executors", "watch", "passwd", "password-file", "trust-authn-header-from"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let wrong = Ran::of(&program().args(["completions", "command.com"]).output().expect("the binary starts")).failed();
    assert!(wrong.contains("[possible values: bash, elvish, fish, powershell, zsh]"), "{wrong}");
}

#[test]
fn help_goes_to_standard_output_and_mistakes_to_standard_error() {
    let run = |arguments: &[&str]| Ran::of(&program().args(arguments).output().expect("the binary starts"));
    let help = run(&["--help"]).good();
    assert!(help.contains("\nExit codes: 0 done, 1 the job did not succeed"), "{help}");
    assert_eq!(run(&["help", "queue"]).good(), run(&["queue", "--help"]).good());
    assert!(run(&["--version"]).good().starts_with("slipstream-job "));
    assert!(run(&[]).failed().contains("Usage: slipstream-job [OPTIONS] <COMMAND>"));
    assert!(run(&["jobbs"]).failed().contains("a similar subcommand exists: 'jobs'"));
}

#[tokio::test]
async fn a_command_leaves_no_session_behind_and_each_says_what_made_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", "jobs_cleanup"]);
    run(&up, &["jobs"]).good();
    run(&up, &["jobs", "show", "0a"]).failed();
    let sessions = run(&up, &["users", "sessions", "--json"]).json();
    let made_by = |session: &Value| session["program"].as_str().unwrap_or_default().to_owned();
    let all: Vec<String> = sessions.as_array().expect("a list").iter().map(made_by).collect();
    let commands: Vec<&String> = all.iter().filter(|program| program.starts_with("slipstream-job/")).collect();
    assert_eq!(commands.len(), 1, "only that which asks: {all:?}");
    let said = run(&up, &["users", "sessions", "end", "0a"]).failed();
    assert!(said.contains("there is no session/0a, or no longer: `users sessions` lists"), "{said}");
}

#[tokio::test]
async fn the_doctor_says_what_is_not_well_and_exits_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", "jobs_cleanup", "--unknown-action", "release"]);
    let well = eventually("all has begun", async || {
        let ran = run(&up, &["doctor"]);
        (ran.code == 0 && !ran.said.contains("  ! ")).then_some(ran.said)
    })
    .await;
    for line in ["✓ store", "✓ coordinator", "✓ reconciler", "✓ executors", "✓ distributor jobs_cleanup"] {
        assert!(well.contains(line), "{well}");
    }
    let id = up.client().add("job", &document(json!({"action": "nobody has it"})), None).await.expect("added");
    let ill = eventually("it is seen", async || {
        let ran = run(&up, &["doctor", "--json"]);
        (ran.code == 1).then_some(ran.said)
    })
    .await;
    assert!(ill.contains("1 jobs of the action nobody has it wait"), "{ill}");
    let why = run(&up, &["jobs", "explain", &id]).good();
    assert!(why.contains("no registered executor has the action nobody has it"), "{why}");
    let json = run(&up, &["jobs", "explain", &id, "--json"]).json();
    assert_eq!((&json["reasons"][0]["code"], &json["reasons"][0]["blocks"]), (&json!("no-executor"), &json!(true)));
    let counted = run(&up, &["jobs", "bulk", "stop", "--filter", "state='QUEUED'"]).good();
    assert_eq!(counted, "1 job matches: add --yes to stop it\n");
    let stopped = run(&up, &["jobs", "bulk", "stop", "--filter", "state='QUEUED'", "--yes"]).good();
    assert!(stopped.contains("SUCCESS: 1 of 1 stopped"), "{stopped}");
    let again = run(&up, &["jobs", "retry", &id]).good();
    assert!(again.starts_with(&format!("{id} retried as job/")), "{again}");
    let bulk = ["jobs", "bulk", "retry", "--yes", "--filter", "state='STOPPED'"];
    assert_eq!(run(&up, &bulk).good(), "1 job matches, 1 of them retried already: nothing to retry\n");
}
