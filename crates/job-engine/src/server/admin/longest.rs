//! The jobs that take longest at present: those that have been running for longest, and the one that waits for longest.

use std::borrow::Cow;

use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::work::{Longest, RunningJob};
use slipstream_store::{Query, Record, Store, StoreError};

use super::queue::{added_first, oldest_waiting};
use crate::server::jobs::record::ledger_of;

/// Of RUNNING jobs those are looked at that were added first: more than this run at once where there are more slots. So the
/// cost grows neither with the jobs that are stored nor with those that wait.
const MOST_RUNNING: u64 = 1_000;
/// Bytes of documents that are read for it at most.
const AT_ONCE: u64 = 4 << 20;
/// So many are told.
const MOST_TOLD: usize = 5;

/// Looks for them.
pub async fn longest(store: &dyn Store) -> Result<Longest, StoreError> {
    let query = Query { at_once: Some(AT_ONCE), ..added_first(State::Running, MOST_RUNNING) };
    let found = store.search(JOB.name, &query).await?.records;
    Ok(Longest { running: longest_running(&found), waiting: oldest_waiting(store).await? })
}

/// Those that began first. One that was added first may have been lost and begun anew a moment ago.
fn longest_running(records: &[Record]) -> Vec<RunningJob> {
    let mut running: Vec<RunningJob> = records.iter().filter_map(running_job).collect();
    running.sort_by_key(|job| job.since);
    running.truncate(MOST_TOLD);
    running
}

/// None of a job that does not say when it began.
fn running_job(record: &Record) -> Option<RunningJob> {
    let text = |name: &str| record.document.text(name).map(Cow::into_owned);
    // of one whose ledger cannot be read, the document tells
    let ledger = ledger_of(record).ok();
    let open = ledger.as_ref().and_then(|ledger| ledger.open_attempt());
    let since = open.map(|open| open.begun).or_else(|| text("started")?.parse().ok())?;
    let executor = open.map(|open| open.executor.clone());
    Some(RunningJob { job: record.id.clone(), action: text("action").unwrap_or_default(), executor, since })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use slipstream_store::memory::MemoryStore;
    use slipstream_store::{Revision, StoreExt};

    use super::*;

    async fn add(store: &MemoryStore, id: &str, mut document: Value, ledger: Value) {
        document["id"] = json!(id);
        let document = document.as_object().cloned().expect("an object").into();
        let record = Record { id: id.to_owned(), revision: Revision::default(), document, ledger };
        store.insert(record).await.expect("added");
    }

    fn at(minute: u32) -> String {
        format!("2026-11-30T12:{minute:02}:00.000Z")
    }

    fn attempt(executor: &str, begun: u32, outcome: Option<&str>) -> Value {
        json!({"lease": [1, begun], "executor": executor, "begun": at(begun), "ended": null, "outcome": outcome})
    }

    #[tokio::test]
    async fn those_are_told_that_began_first_whoever_was_added_first() {
        let store = MemoryStore::default();
        let running = |created, started| json!({"state": "RUNNING", "action": "a", "created": at(created), "started": at(started)});
        let begun_anew = json!({"attempts": [attempt("one", 2, Some("lost")), attempt("two", 50, None)]});
        add(&store, "job/anew", running(1, 2), begun_anew).await;
        add(&store, "job/long", running(10, 11), json!({"attempts": [attempt("three", 11, None)]})).await;
        add(&store, "job/plain", running(9, 30), Value::Null).await;
        add(&store, "job/unreadable", running(9, 31), json!(7)).await;
        add(&store, "job/odd", json!({"state": "RUNNING", "created": at(0)}), Value::Null).await;
        for (id, state, created) in [("new", "QUEUED", 40), ("old", "QUEUED", 20), ("done", "SUCCESS", 0)] {
            let document = json!({"state": state, "action": "b", "created": at(created)});
            add(&store, &format!("job/{id}"), document, Value::Null).await;
        }
        let found = longest(&store).await.expect("found");
        let told: Vec<(&str, Option<&str>, Timestamp)> =
            found.running.iter().map(|it| (&*it.job, it.executor.as_deref(), it.since)).collect();
        let time = |minute| at(minute).parse().expect("a time");
        let expected = [
            ("job/long", Some("three"), time(11)),
            ("job/plain", None, time(30)),
            ("job/unreadable", None, time(31)),
            ("job/anew", Some("two"), time(50)),
        ];
        assert_eq!(told, expected);
        let waiting = found.waiting.expect("one waits");
        assert_eq!((&*waiting.job, waiting.action.as_deref()), ("job/old", Some("b")));
    }

    #[tokio::test]
    async fn a_few_are_told_and_none_where_none_runs_or_waits() {
        let store = MemoryStore::default();
        assert_eq!(longest(&store).await.expect("found"), Longest::default());
        for minute in 0..20 {
            let document = json!({"state": "RUNNING", "created": at(minute), "started": at(minute)});
            add(&store, &format!("job/{minute}"), document, Value::Null).await;
        }
        let found = longest(&store).await.expect("found").running;
        let ids: Vec<&str> = found.iter().map(|it| &*it.job).collect();
        assert_eq!(ids, ["job/0", "job/1", "job/2", "job/3", "job/4"]);
    }
}
