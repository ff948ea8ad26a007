//! `up` as a whole: what it prints, how it stops, what it keeps over a restart, and the commands beside it.

use std::process::{Command, Output};

use serde_json::Value;
use slipstream_cimi::query::{Order, Search};

use crate::support::{PASSWORD, Up, eventually, job, program, state, up_command};

fn beside(up: &Up, arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).args(["--ss-url", &up.endpoint]).env("SLIPSTREAM_PASS", PASSWORD);
    command.output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_newcomer_needs_nothing_but_two_commands() {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = program();
    command.args(["up", "--demo", "--listen", "127.0.0.1:0"]).env("XDG_DATA_HOME", home.path());
    let mut up = Up::spawn(command);
    let place = up.line_with("password");
    let data_dir = home.path().join("slipstream-job");
    assert!(place.ends_with("super.password"), "{place}");
    let password = std::fs::read_to_string(data_dir.join("super.password")).expect("made");
    assert!(!place.contains(password.trim()));
    let submit = |arguments: &[&str]| {
        program().args(arguments).env("XDG_DATA_HOME", home.path()).output().expect("the binary starts")
    };
    let done = submit(&["submit", "noop", "--wait"]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(said(&done).starts_with("job/"), "{}", said(&done));
    let failed = submit(&["submit", "no_such_action", "--wait"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("Not implemented action: no_such_action"));
    let listed = submit(&["jobs", "list", "--filter", "action='dummy_test_action'", "--json"]);
    let jobs: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert!(jobs.len() >= 10, "ten demonstration jobs: {}", jobs.len());
    up.signal("INT");
    up.line_with("stopping");
    up.signal("INT");
    assert!(up.ended().await.success());
}

#[tokio::test]
async fn what_it_says_to_do_in_another_terminal_works_as_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = up_command(&folder.path().join("jane's data"));
    command.env_remove("SLIPSTREAM_SUPER_PASSWORD");
    let up = Up::spawn(command);
    up.line_with("In another terminal:");
    let script = [up.line_with("export "), up.line_with(" submit ").replace("dummy_test_action", "noop")].join("\n");
    let output = Command::new("/bin/sh").env_clear().args(["-c", &script]).output().expect("a shell");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(said(&output).starts_with("job/"), "{}", said(&output));
}

#[tokio::test]
async fn commands_list_show_stop_and_delete() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &[]);
    let id =
        said(&beside(&up, &["submit", "dummy_test_action", "--target", "dummy", "--priority", "5"])).trim().to_owned();
    let client = up.client();
    eventually("the job runs", async || (state(&client.get(&id).await.ok()?) == "RUNNING").then_some(())).await;
    let shown = said(&beside(&up, &["jobs", "show", &id]));
    for expected in [id.as_str(), "RUNNING", "dummy_test_action", "/job/entries/entry-005-", "attempt"] {
        assert!(shown.contains(expected), "{expected} is missing:\n{shown}");
    }
    let listed = said(&beside(&up, &["jobs"]));
    assert!(listed.contains("RUNNING") && listed.contains("1 of 1"), "{listed}");
    let stopped = beside(&up, &["jobs", "stop", &id]);
    assert!(said(&stopped).contains("STOPPED"), "{}", said(&stopped));
    let job = client.get(&id).await.expect("there");
    assert_eq!((state(&job), job["progress"].as_i64()), ("STOPPED", Some(100)));
    let short = id.trim_start_matches("job/");
    assert!(beside(&up, &["jobs", "delete", short]).status.success());
    let gone = beside(&up, &["jobs", "show", &id]);
    assert_eq!(gone.status.code(), Some(2));
    let complained = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(complained.contains(&id), "{complained}");
    let wrong = beside(&up, &["jobs", "--filter", "state=="]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains('^'), "{}", String::from_utf8_lossy(&wrong.stderr));
}

#[tokio::test]
async fn a_stopped_up_lets_running_jobs_end_and_takes_no_new_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut up = Up::start(folder.path(), &["--threads", "1", "--grace", "60s"]);
    let client = up.client();
    let running = client.add("job", &job("dummy_test_action"), None).await.expect("added");
    let waiting = client.add("job", &job("noop"), None).await.expect("added");
    eventually("it runs", async || (state(&client.get(&running).await.ok()?) == "RUNNING").then_some(())).await;
    up.signal("TERM");
    up.line_with("stopping");
    let late = client.add("job", &job("noop"), None).await.expect("the API answers until the last job has ended");
    assert!(up.ended().await.success());
    let up = Up::start(folder.path(), &[]);
    let client = up.client();
    let ended = client.get(&running).await.expect("there");
    assert_eq!(state(&ended), "SUCCESS");
    for id in [&waiting, &late] {
        eventually("the others are done by the next start", async || {
            (state(&client.get(id).await.ok()?) == "SUCCESS").then_some(())
        })
        .await;
    }
    let ledger = client.operation(&waiting, "ledger").await.expect("there");
    assert_eq!(ledger["attempts"].as_array().map(Vec::len), Some(1), "it was not begun before the stop");
}

#[tokio::test]
async fn a_second_signal_releases_running_jobs_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut up = Up::start(folder.path(), &[]);
    let client = up.client();
    let id = client.add("job", &job("dummy_test_action"), None).await.expect("added");
    eventually("it runs", async || (state(&client.get(&id).await.ok()?) == "RUNNING").then_some(())).await;
    up.signal("TERM");
    up.line_with("stopping");
    up.signal("TERM");
    assert!(up.ended().await.success());
    let up = Up::start(folder.path(), &[]);
    let client = up.client();
    let ledger = client.operation(&id, "ledger").await.expect("there");
    assert_eq!(ledger["attempts"][0]["outcome"], "released");
    assert_eq!(ledger["lost"], 0, "a clean release is no loss");
}

#[tokio::test]
async fn a_restart_never_makes_a_lease_go_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut leases = Vec::new();
    for _ in 0..4 {
        let up = Up::start(folder.path(), &[]);
        let client = up.client();
        let id = client.add("job", &job("noop"), None).await.expect("added");
        eventually("it is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
        let lease = client.operation(&id, "ledger").await.expect("there")["lease"].clone();
        leases.push((lease["generation"].as_i64().expect("a number"), lease["zxid"].as_i64().expect("a number")));
        up.kill();
    }
    assert!(leases.windows(2).all(|pair| pair[0] < pair[1]), "{leases:?}");
    assert!(leases.windows(2).any(|pair| pair[0].1 >= pair[1].1), "zxids did start again: {leases:?}");
}

#[tokio::test]
async fn a_distributor_neither_forgets_nor_doubles_a_round_over_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[[distributor]]\nname = \"each\"\naction = \"noop\"\ntarget = \"each/second\"\nevery = \"1s\"\nmissed = \"catch-up\"\n";
    std::fs::write(folder.path().join("config.toml"), config).expect("written");
    let rounds = Search {
        filter: Some("targetResource/href='each/second'".to_owned()),
        order: vec![Order { attribute: "created".to_owned(), descending: false }],
        ..Search::default()
    };
    let mut counts = Vec::new();
    for life in 0..5 {
        let up = Up::start(folder.path(), &["--distributors", "each"]);
        let client = up.client();
        let before = counts.last().copied().unwrap_or(0);
        let count = eventually("further rounds", async || {
            let count = client.search("job", &rounds).await.ok()?.count;
            (count >= before + 2).then_some(count)
        })
        .await;
        counts.push(count);
        if life < 4 {
            up.kill();
        } else {
            let marks = client.search("job", &rounds).await.expect("searched").documents;
            let seconds: Vec<i64> = marks.iter().map(created_second).collect();
            let (first, last) = (seconds[0], seconds[seconds.len() - 1]);
            let due = u64::try_from(last - first).expect("time goes on") + 1;
            // Rounds missed between lives are caught up, so that the number of jobs is the number of seconds, give or
            // take the round that falls on either edge.
            let found = seconds.len() as u64;
            assert!(found.abs_diff(due) <= 1, "{found} jobs in {due} seconds: {seconds:?}");
        }
    }
}

fn created_second(job: &slipstream_cimi::Document) -> i64 {
    let created: jiff::Timestamp = job["created"].as_str().expect("text").parse().expect("a timestamp");
    created.as_second()
}

#[tokio::test]
async fn the_password_file_counts_when_the_environment_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("super.password"), format!("{PASSWORD}\n")).expect("written");
    let mut command = up_command(folder.path());
    command.env_remove("SLIPSTREAM_SUPER_PASSWORD");
    let up = Up::spawn(command);
    up.client().login().await.expect("the password is that of the file");
}

#[tokio::test]
async fn keys_make_submits_repeatable() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &[]);
    let first = said(&beside(&up, &["submit", "noop", "--key", "k1", "--json"]));
    let again = said(&beside(&up, &["submit", "noop", "--key", "k1", "--json"]));
    let id = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["id"].clone();
    assert_eq!(id(&first), id(&again));
    let count = up.client().search("job", &Search::default()).await.expect("searched").count;
    assert_eq!(count, 1);
}

/// Decision 2: the start recreates recorded entries by name, so that nothing is written to the store.
#[tokio::test]
async fn a_restart_finds_the_queue_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--threads", "1", "--distributors", "jobs_cleanup"]);
    let client = up.client();
    let first = client.add("job", &job("noop"), None).await.expect("added");
    eventually("the first is done", async || (state(&client.get(&first).await.ok()?) == "SUCCESS").then_some(())).await;
    let running = client.add("job", &job("dummy_test_action"), None).await.expect("added");
    eventually("it runs", async || (state(&client.get(&running).await.ok()?) == "RUNNING").then_some(())).await;
    let waiting = client.add("job", &job("noop"), None).await.expect("added");
    let before = client.get(&waiting).await.expect("there");
    assert_eq!(before["properties"]["zookeeper-path"], "/job/entries/entry-999-0000000002");
    assert!(folder.path().join("endpoint").exists());
    // a search finds everything in the store, so that the recorded entries are there by now, too
    client.search("job", &Search::default()).await.expect("searched");
    up.kill();
    let mut up = Up::start(folder.path(), &["--threads", "1", "--distributors", "jobs_cleanup"]);
    let client = up.client();
    for id in [&running, &waiting] {
        let job = client.get(id).await.expect("there");
        let name = if *id == running { "1" } else { "2" };
        assert_eq!(job["properties"]["zookeeper-path"], format!("/job/entries/entry-999-000000000{name}"));
    }
    assert_eq!(client.get(&first).await.expect("there")["state"], "SUCCESS", "a final state survives");
    let next = client.add("job", &job("noop"), None).await.expect("added");
    let next = client.get(&next).await.expect("there");
    assert_eq!(next["properties"]["zookeeper-path"], "/job/entries/entry-999-0000000003");
    up.signal("TERM");
    up.line_with("stopping");
    up.signal("TERM");
    assert!(up.ended().await.success());
    assert!(!folder.path().join("endpoint").exists(), "nobody is told of an API that is no more");
}
