//! High-water marks that cannot be believed or understood: what distributors do, what is shown, and what mends it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_coordination::session::{Coordinator, Mode, Operation, make_path};
use slipstream_job_engine::internals::distributor::Configured;
use slipstream_job_engine::internals::distributor::Missed;
use slipstream_job_engine::internals::distributor::NodeMarks;
use slipstream_job_engine::internals::distributor::Schedule;
use slipstream_job_engine::internals::distributor::{Deps, JobTemplate, lead_and_distribute};
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_store::StoreExt;
use slipstream_store::memory::MemoryStore;
use slipstream_store::sqlite::SqliteStore;

use crate::commands::run;
use crate::site::{START, Site};
use crate::support::{InProcess, Raw, Up, cookie, document, eventually};

const CONFIG: &str = "[[distributor]]\nname = \"each\"\naction = \"noop\"\ntarget = \"each/second\"\nevery = \"1s\"\n";

async fn rounds(up: &Up) -> u64 {
    let search = slipstream_cimi::query::Search::default();
    up.client().search("job", &search).await.expect("searched").count
}

async fn further_rounds(up: &Up) {
    let before = rounds(up).await;
    eventually("further rounds", async || (rounds(up).await >= before + 2).then_some(())).await;
}

fn told(up: &Up) -> Value {
    run(up, &["distributors", "--json"]).json()[0].clone()
}

/// Fault: somebody, or a clock, wrote this.
async fn write_mark(folder: &std::path::Path, mark: &Value) {
    let store = SqliteStore::open(&folder.join("jobs.db")).expect("opened");
    let record = store.get("high-water-mark/each").await.expect("read").expect("a mark");
    store.replace(slipstream_store::Record { ledger: mark.clone(), ..record }).await.expect("written");
    store.close().expect("closed");
}

async fn ended(mut up: Up) {
    up.signal("TERM");
    assert!(up.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_from_a_clock_that_was_years_ahead_silences_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.toml"), CONFIG).expect("written");
    let up = Up::start(folder.path(), &["--distributors", "each"]);
    further_rounds(&up).await;
    ended(up).await;
    write_mark(folder.path(), &json!({"pending": "2126-01-01T00:00:01Z", "done": "2126-01-01T00:00:00Z"})).await;
    let up = Up::start(folder.path(), &["--distributors", "each"]);
    further_rounds(&up).await;
    let problem = told(&up)["problem"].as_str().expect("a problem").to_owned();
    assert!(problem.contains("ignoring its high-water mark of 2126-01-01T00:00:00Z"), "{problem}");
    assert!(problem.contains("`slipstream-job distributors reset each`"), "{problem}");
    let table = run(&up, &["distributors"]).good();
    assert!(table.contains(&format!("\n\neach: {problem}")), "{table}");
    assert_eq!(run(&up, &["distributors", "reset", "each"]).good(), "each: rounds count from now on\n");
    eventually("the mark is forgotten", async || told(&up)["problem"].is_null().then_some(())).await;
    further_rounds(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_none_is_told_and_made_anew_by_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = "[[distributor]]\nname = \"other\"\naction = \"noop\"\nelection = \"other\"\ntarget = \"other/one\"\nevery = \"1s\"\n";
    std::fs::write(folder.path().join("config.toml"), format!("{CONFIG}{other}")).expect("written");
    let up = Up::start(folder.path(), &["--distributors", "each,other"]);
    further_rounds(&up).await;
    ended(up).await;
    write_mark(folder.path(), &json!({"done": 7})).await;
    let up = Up::start(folder.path(), &["--distributors", "each,other"]);
    let problem = eventually("it is told", async || told(&up)["problem"].as_str().map(str::to_owned)).await;
    assert!(problem.contains("the high-water mark of each is damaged"), "{problem}");
    assert!(!problem.contains("cannot reach"), "{problem}");
    further_rounds(&up).await;
    assert!(told(&up)["last"].is_null(), "the rounds are those of the other one");
    let reset = run(&up, &["distributors", "reset", "each", "--json"]).json();
    assert_eq!(reset["distributor"], "each");
    eventually("it distributes again", async || (told(&up)["last"].as_str()? > reset["last"].as_str()?).then_some(()))
        .await;
}

/// Fault: what lies in the store is no JSON, no object, or no document.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_is_no_json_is_told_and_made_anew_by_command() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.toml"), CONFIG).expect("written");
    let up = Up::start(folder.path(), &["--distributors", "each"]);
    further_rounds(&up).await;
    ended(up).await;
    for (column, text) in [("ledger", "tomorrow"), ("ledger", "[\"tomorrow\"]"), ("document", "{")] {
        let database = rusqlite::Connection::open(folder.path().join("jobs.db")).expect("opened");
        let sql = format!("UPDATE resource SET {column} = ? WHERE id = 'high-water-mark/each'");
        assert_eq!(database.execute(&sql, [text]).expect("written"), 1);
        drop(database);
        let up = Up::start(folder.path(), &["--distributors", "each"]);
        let problem = eventually("it is told", async || told(&up)["problem"].as_str().map(str::to_owned)).await;
        assert!(problem.contains("the high-water mark of each is damaged"), "{column} {text}: {problem}");
        assert!(problem.contains("`slipstream-job distributors reset each`"), "{column} {text}: {problem}");
        assert_eq!(run(&up, &["distributors", "reset", "each"]).good(), "each: rounds count from now on\n");
        further_rounds(&up).await;
        ended(up).await;
    }
}

/// Fault: somebody has made the mark's node with an access of his own.
#[tokio::test]
async fn a_mark_that_may_not_be_read_is_told_by_name_and_goes_on_once_it_may() {
    let site = Arc::new(Site::default());
    let (server, client) = site.server(Arc::new(MemoryStore::default())).await;
    let path = format!("{}/each", paths::MARKS);
    let session = site.tree().connect().await.expect("connected");
    make_path(&*session, paths::MARKS).await.expect("made");
    session.commit(vec![Operation::create(&path, "{\"done\":null}", Mode::Persistent)]).await.expect("created");
    site.faults().forbid(&path);
    let deps = Deps {
        coordinator: site.clone(),
        client: client.clone(),
        marks: Arc::new(NodeMarks::new(site.clone())),
        clock: Clock::starting_at(START.parse().expect("a time")),
        name: "Kenny".to_owned(),
        metrics: Metrics::default(),
    };
    let each = Configured {
        name: "each".to_owned(),
        election: "each".to_owned(),
        job: JobTemplate { action: "noop".to_owned(), ..JobTemplate::default() },
        for_each: None,
        schedule: Schedule::every(Duration::from_secs(1)).expect("an interval"),
        missed: Missed::Coalesce,
    };
    let stop = Stop::new();
    let distributing = tokio::spawn(lead_and_distribute(Arc::new(each), deps, stop.clone()));
    let shown = async || Some(client.get("distributor").await.ok()?["distributors"][0].clone());
    let problem = eventually("it is told", async || shown().await?["problem"].as_str().map(str::to_owned)).await;
    let expected = "the coordinator refuses the high-water mark of each";
    assert!(problem.contains(expected) && problem.contains(&path), "{problem}");
    assert!(!problem.contains("cannot reach"), "{problem}");
    let reset = Raw::new("POST", "/api/distributor/each/reset");
    let reset = reset.header("cookie", &cookie(&*server.transport()).await).send(&*server.transport()).await;
    assert_eq!(reset.status, 409);
    assert!(reset.body["message"].as_str().is_some_and(|told| told.contains(&path)), "{}", reset.body);
    assert!(site.faults().not_done.load(Ordering::SeqCst) > 0, "the fault was injected");
    site.faults().not_allowed.lock().expect("not poisoned").clear();
    eventually("it distributes, and has no problem", async || {
        let shown = shown().await?;
        (shown["problem"].is_null() && shown["last"].is_string()).then_some(())
    })
    .await;
    eventually("its jobs are there", async || {
        let jobs = client.search("job", &slipstream_cimi::query::Search::default()).await.ok()?;
        (jobs.count >= 2).then_some(())
    })
    .await;
    stop.ask();
    distributing.await.expect("no panic");
}

#[tokio::test]
async fn marks_in_nodes_are_reset_by_administrators_and_nobody_is_made_up() {
    let engine = InProcess::new().await;
    let session = engine.coordinator.connect().await.expect("connected");
    make_path(&*session, paths::MARKS).await.expect("made");
    let path = format!("{}/nightly", paths::MARKS);
    session.commit(vec![Operation::create(&path, "tomorrow", Mode::Persistent)]).await.expect("created");
    let administrator = cookie(&*engine.transport).await;
    let post = async |name: &str, cookie: Option<&str>| {
        let request = Raw::new("POST", &format!("/api/distributor/{name}/reset"));
        let request = cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
        request.send(&*engine.transport).await
    };
    assert_eq!(post("nightly", None).await.status, 403);
    let jane = document(json!({"username": "jane", "password": "a secret of jane"}));
    engine.client.add("user", &jane, None).await.expect("added");
    for unknown in ["daily", "..", "a%2fb"] {
        assert_eq!(post(unknown, Some(&administrator)).await.status, 404, "{unknown}");
    }
    let node = session.data(&path).await.expect("there");
    assert_eq!(node.data, b"tomorrow", "nobody who may not has changed it");
    let reset = post("nightly", Some(&administrator)).await;
    assert_eq!((reset.status, &reset.body["distributor"]), (200, &json!("nightly")));
    let node = session.data(&path).await.expect("there");
    let mark: Value = serde_json::from_slice(&node.data).expect("a mark");
    assert_eq!(mark, json!({"pending": null, "done": reset.body["last"]}));
    let wrong = Raw::new("GET", "/api/distributor/nightly/reset").header("cookie", &administrator);
    assert_eq!(wrong.send(&*engine.transport).await.status, 405);
}

/// Fault: a backup tool has restored an ephemeral node as a persistent one.
#[tokio::test]
async fn a_candidate_without_a_session_is_shown_with_what_to_delete() {
    let engine = InProcess::new().await;
    let session = engine.coordinator.connect().await.expect("connected");
    make_path(&*session, "/election/noop").await.expect("made");
    let node = format!("/election/noop/{}__lock__0000000000", "f".repeat(32));
    session.commit(vec![Operation::create(&node, "old", Mode::Persistent)]).await.expect("created");
    let seen = engine.client.get("distributor").await.expect("read")["distributors"].clone();
    assert_eq!((&seen[0]["name"], &seen[0]["leader"]), (&json!("noop"), &Value::Null));
    let problem = seen[0]["problem"].as_str().expect("a problem");
    assert!(problem.starts_with(&format!("{node} has no session")), "{problem}");
}
