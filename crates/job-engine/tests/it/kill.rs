//! `kill -9` of `up` at random moments while jobs are added over HTTP (decisions 1, 2, 4 and 6; the durability of
//! acknowledged adds and final states).
//!
//! After each kill the store is read before anything can mend it, so that the test knows in which states jobs were
//! hit and that nothing acknowledged is missing. The same while it changes a database of the version before, of
//! `MIGRATED_JOBS` jobs. Seeded: `KILL_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Document};
use slipstream_job_engine::internals::server::new_document;
use slipstream_store::sqlite::{SqliteStore, version_2};
use slipstream_store::{Query, Record, Revision, Store};
use tokio::sync::Mutex;

use crate::support::{self, Up, eventually, job, state, up_command, within};

const KILLS: usize = 50;
const SUBMITTERS: usize = 3;
/// Wide enough for the dummy jobs that survive, so that the others are not stuck behind them.
const THREADS: &str = "24";

/// What was answered, and so must be true for ever.
#[derive(Default)]
struct Acknowledged {
    added: BTreeSet<String>,
    stopped: BTreeSet<String>,
    finished: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_kills_at_random_moments() {
    let (seed, mut random) = seeded();
    println!("KILL_SEED={seed}");
    let folder = tempfile::tempdir().expect("a folder");
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let mut hit: BTreeMap<String, usize> = BTreeMap::new();
    for life in 0..KILLS {
        let up = Up::start(folder.path(), &["--threads", THREADS, "--distributors", "jobs_cleanup"]);
        let moment = Duration::from_millis(random.random_range(0..600));
        let ended = Arc::new(AtomicBool::new(false));
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|number| {
                let random = StdRng::seed_from_u64(random.random());
                tokio::spawn(submit(up.client(), life, number, random, acknowledged.clone(), ended.clone()))
            })
            .collect();
        passes(moment).await;
        up.kill();
        ended.store(true, Ordering::Relaxed);
        for submitter in submitters {
            submitter.await.expect("no panic");
        }
        let stored = read_store(folder.path()).await;
        for record in stored.values() {
            *hit.entry(state(&record.document).to_owned()).or_default() += 1;
        }
        assert_nothing_lost(&stored, &*acknowledged.lock().await, seed);
    }
    for state in ["QUEUED", "RUNNING", "SUCCESS", "FAILED", "STOPPED"] {
        assert!(hit.get(state).copied().unwrap_or(0) > 0, "no kill hit a job in state {state}: {hit:?}, seed {seed}");
    }
    let up = Up::start(folder.path(), &["--threads", THREADS]);
    let client = up.client();
    let acknowledged = acknowledged.lock().await;
    assert!(acknowledged.added.len() >= KILLS, "a floor of work: {} jobs added", acknowledged.added.len());
    for id in &acknowledged.added {
        eventually("every acknowledged job ends", async || {
            let job = client.get(id).await.expect("no job is lost");
            ["SUCCESS", "FAILED", "STOPPED"].contains(&state(&job)).then_some(())
        })
        .await;
    }
    up.kill();
    let extra = assert_extra_attempts_were_killed(&read_store(folder.path()).await, seed);
    println!("{} jobs, {extra} extra attempts, states at the kills: {hit:?}", acknowledged.added.len());
    assert!(extra >= KILLS / 2, "kills hit running attempts: {extra}, seed {seed}");
}

/// Of the version before, one in ten to be done.
const OLDER_JOBS: u64 = 20_000;
const KILLS_OF_CHANGE: usize = 20;
/// To change a million jobs takes two minutes, and as long again to read what a kill has left.
const LIMIT_OF_CHANGE: Duration = Duration::from_mins(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_the_version_before_survives_kills_while_it_is_changed() {
    let (seed, mut random) = seeded();
    println!("KILL_SEED={seed}");
    let folder = tempfile::tempdir().expect("a folder");
    let (made, path) = (folder.path().join("made"), folder.path().join("jobs.db"));
    let all = std::env::var("MIGRATED_JOBS").map_or(OLDER_JOBS, |all| all.parse().expect("a number"));
    let jobs: BTreeMap<String, Record> = (0..all).map(older_job).map(|record| (record.id.clone(), record)).collect();
    version_2::make(&made, &jobs.values().cloned().collect::<Vec<_>>()).expect("made");
    std::fs::copy(&made, &path).expect("copied");
    let left = |suffix: &str| folder.path().join(format!("jobs.db{suffix}"));
    let mut hit: BTreeMap<&str, usize> = BTreeMap::new();
    let start = || {
        let mut command = up_command(folder.path());
        command.args(["--distributors", ""]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary starts")
    };
    for _ in 0..KILLS_OF_CHANGE {
        let mut up = start();
        let begun = left([".before-2.new", ".new"][random.random_range(0..2)]);
        let is_there = async || (begun.exists() || version(&path) > 2).then_some(());
        within(LIMIT_OF_CHANGE, "the change is there", is_there).await;
        passes(Duration::from_millis(random.random_range(0..all / 100))).await;
        up.kill().expect("it is there");
        up.wait().expect("it is ours");
        let what = match version(&path) {
            2 if left(".new").exists() => "writing",
            2 if left(".before-2.new").exists() => "copying",
            2 => "between",
            _ => "changed",
        };
        *hit.entry(what).or_default() += 1;
        if what != "changed" {
            assert_eq!(read_older(&path), jobs, "{what}, seed {seed}");
            continue;
        }
        assert_ended_jobs_are_kept(&read_store(folder.path()).await, &jobs, seed);
        assert_eq!(read_older(&left(".before-2")), jobs, "what it was is kept, seed {seed}");
        for suffix in ["", "-wal", "-shm", ".before-2"] {
            drop(std::fs::remove_file(left(suffix)));
        }
        std::fs::copy(&made, &path).expect("copied");
    }
    println!("what the kills hit: {hit:?}");
    for what in ["copying", "writing"] {
        assert!(hit.contains_key(what), "no kill hit {what}: {hit:?}, seed {seed}");
    }
    let mut up = start();
    within(LIMIT_OF_CHANGE, "the database is changed", async || (version(&path) > 2).then_some(())).await;
    up.kill().expect("it is there");
    up.wait().expect("it is ours");
    let up = Up::start(folder.path(), &["--threads", THREADS, "--distributors", ""]);
    let (client, filter) = (up.client(), Some("state='SUCCESS'".to_owned()));
    within(LIMIT_OF_CHANGE, "every job ends", async || {
        let found = client.search("job", &Search { filter: filter.clone(), ..Search::default() }).await.expect("found");
        (found.count == all).then_some(())
    })
    .await;
    up.kill();
    assert_ended_jobs_are_kept(&read_store(folder.path()).await, &jobs, seed);
}

fn older_job(number: u64) -> Record {
    let id = format!("job/{number:08x}-57ff-7010-b0be-14f3f033efd6");
    let created = "2026-11-29T18:34:31.296Z".parse().expect("a time");
    let mut document = new_document(&id, job("noop"), created);
    let mut ledger = Value::Null;
    if !number.is_multiple_of(10) {
        document.insert("state".to_owned(), json!("SUCCESS"));
        ledger = json!({"lease": {"generation": 1, "zxid": number}, "lost": 0, "attempts": []});
    }
    Record { id, revision: Revision::number(1), document: document.into(), ledger }
}

/// The version that a file says of itself, at its place in the header.
fn version(path: &Path) -> u32 {
    let mut number = [0; 4];
    let file = File::open(path).expect("there is always a file");
    file.read_exact_at(&mut number, 60).expect("it is whole");
    u32::from_be_bytes(number)
}

fn read_older(path: &Path) -> BTreeMap<String, Record> {
    let connection = rusqlite::Connection::open(path).expect("opened");
    let mut all = connection.prepare("SELECT id, document, ledger FROM resource").expect("its tables are there");
    let records = all.query_map([], |row| {
        let parsed = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
        let document = support::document(parsed(row.get(1)?)).into();
        let ledger = row.get::<_, Option<String>>(2)?.map_or(Value::Null, parsed);
        Ok(Record { id: row.get(0)?, revision: Revision::number(1), document, ledger })
    });
    records.expect("read").map(|record| record.expect("read")).map(|record| (record.id.clone(), record)).collect()
}

/// The others are done meanwhile.
fn assert_ended_jobs_are_kept(stored: &BTreeMap<String, Record>, jobs: &BTreeMap<String, Record>, seed: u64) {
    for (id, record) in jobs {
        let kept = stored.get(id).unwrap_or_else(|| panic!("{id} is lost, seed {seed}"));
        assert!(state(&record.document) == "QUEUED" || kept == record, "{id} is not the same, seed {seed}: {kept:?}");
    }
    assert_eq!(stored.len(), jobs.len());
}

fn seeded() -> (u64, StdRng) {
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    (seed, StdRng::seed_from_u64(seed))
}

async fn passes(time: Duration) {
    tokio::time::interval_at(tokio::time::Instant::now() + time, Duration::from_secs(1)).tick().await;
}

/// Adds jobs until the server is gone, stops some, and looks at others.
async fn submit(
    client: Client,
    life: usize,
    number: usize,
    mut random: StdRng,
    acknowledged: Arc<Mutex<Acknowledged>>,
    ended: Arc<AtomicBool>,
) {
    let mut round = 0;
    while !ended.load(Ordering::Relaxed) {
        let action = if round == 0 && number == 0 { "dummy_test_action" } else { "noop" };
        let key = format!("{life} {number} {round}");
        round += 1;
        let Ok(id) = client.add("job", &job(action), Some(&key)).await else { continue };
        acknowledged.lock().await.added.insert(id.clone());
        match random.random_range(0..6) {
            0 => {
                if let Ok(stopped) = client.operation(&id, "stop").await
                    && state(&stopped) == "STOPPED"
                {
                    acknowledged.lock().await.stopped.insert(id);
                }
            }
            1 | 2 => {
                if let Ok(read) = client.get(&id).await
                    && ["SUCCESS", "FAILED"].contains(&state(&read))
                {
                    acknowledged.lock().await.finished.insert(id, state(&read).to_owned());
                }
            }
            _ => {}
        }
    }
}

async fn read_store(folder: &Path) -> BTreeMap<String, Record> {
    let store = SqliteStore::open(&folder.join("jobs.db")).expect("the database is sound after a kill");
    let mut records = BTreeMap::new();
    let mut after = None;
    loop {
        let query = Query { after: after.take(), limit: 1000, ..Query::default() };
        let page = store.search("job", &query).await.expect("readable").records;
        let Some(last) = page.last() else { return records };
        after = Some(last.id.clone());
        records.extend(page.into_iter().map(|record| (record.id.clone(), record)));
    }
}

fn assert_nothing_lost(stored: &BTreeMap<String, Record>, acknowledged: &Acknowledged, seed: u64) {
    let state_of = |id: &String| stored.get(id).map(|record| state(&record.document).to_owned());
    for id in &acknowledged.added {
        assert!(stored.contains_key(id), "{id} was answered 201 and is lost, seed {seed}");
    }
    for id in &acknowledged.stopped {
        assert_eq!(state_of(id).as_deref(), Some("STOPPED"), "{id} was answered STOPPED, seed {seed}");
    }
    for (id, answered) in &acknowledged.finished {
        assert_eq!(state_of(id).as_ref(), Some(answered), "{id} was answered {answered}, seed {seed}");
    }
}

/// Every attempt but a job's last was lost, and each in a life of its own: a generation ends only by a kill. A job
/// was given up only after five of them, of which those count half that were lost at once with others.
fn assert_extra_attempts_were_killed(stored: &BTreeMap<String, Record>, seed: u64) -> usize {
    let mut extra = 0;
    for (id, record) in stored {
        let attempts = record.ledger["attempts"].as_array().cloned().unwrap_or_default();
        let lives: Vec<i64> = attempts.iter().filter_map(|attempt| attempt["lease"]["generation"].as_i64()).collect();
        assert_eq!(lives.len(), attempts.len(), "{id}: every attempt has a lease, seed {seed}");
        assert!(
            lives.windows(2).all(|pair| pair[0] < pair[1]),
            "{id} was begun twice in one life: {attempts:?}, seed {seed}"
        );
        assert!(lives.iter().all(|life| *life <= i64::try_from(KILLS).expect("few") + 1));
        let lost = attempts.iter().filter(|attempt| attempt["outcome"] == json!("lost")).count();
        let given_up = text(&record.document, "statusMessage").starts_with("given up after");
        if given_up {
            let count = |name: &str| record.ledger[name].as_u64().unwrap_or(0);
            let halves = 2 * count("lost") - count("lost-together");
            assert!(halves >= 10, "{id} was given up too early: {}, seed {seed}", record.ledger);
        }
        let expected = attempts.len() - usize::from(!given_up && !attempts.is_empty());
        assert_eq!(lost, expected, "{id}: {attempts:?}, seed {seed}");
        extra += attempts.len().saturating_sub(1);
    }
    extra
}

fn text<'a>(document: &'a Document, attribute: &str) -> &'a str {
    document.get(attribute).and_then(Value::as_str).unwrap_or_default()
}
