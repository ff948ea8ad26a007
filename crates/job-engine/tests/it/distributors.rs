//! High-water marks that cannot be believed or understood: what distributors do, what is shown, and what mends it.

use serde_json::{Value, json};
use slipstream_coordination::session::{Coordinator, Mode, Operation, make_path};
use slipstream_job_engine::nodes;
use slipstream_job_engine::server::store::Store;
use slipstream_job_engine::server::store::sqlite::SqliteStore;

use crate::commands::run;
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
    store
        .replace(slipstream_job_engine::server::store::Record { ledger: mark.clone(), ..record })
        .await
        .expect("written");
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
    assert!(problem.contains("its mark said 2126-01-01T00:00:00Z"), "{problem}");
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
    assert!(problem.contains("the high-water mark of each cannot be understood"), "{problem}");
    assert!(!problem.contains("cannot reach"), "{problem}");
    further_rounds(&up).await;
    assert!(told(&up)["last"].is_null(), "the rounds are those of the other one");
    let reset = run(&up, &["distributors", "reset", "each", "--json"]).json();
    assert_eq!(reset["distributor"], "each");
    eventually("it distributes again", async || (told(&up)["last"].as_str()? > reset["last"].as_str()?).then_some(()))
        .await;
}

#[tokio::test]
async fn marks_in_nodes_are_reset_by_administrators_and_nobody_is_made_up() {
    let engine = InProcess::new().await;
    let session = engine.coordinator.connect().await.expect("connected");
    make_path(&*session, nodes::MARKS).await.expect("made");
    let path = format!("{}/nightly", nodes::MARKS);
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
