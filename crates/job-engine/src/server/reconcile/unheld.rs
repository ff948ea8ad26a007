//! [`unheld`]: RUNNING jobs whose entry nobody holds, as after the end of an executor until the next free slot takes them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::Filter;
use slipstream_coordination::queue::EntryName;
use slipstream_store::{Query, Store, StoreError};

use crate::process::paths;
use crate::server::Shared;
use crate::server::jobs::document::{UNTOUCHED, is_written_within, state_of, time_of};

/// Most RUNNING jobs that are looked at.
const MOST_RUNNING: u64 = 1_000;

/// RUNNING jobs that nobody holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheld {
    /// How many.
    pub count: u64,
    /// The one that was written to longest ago; none if there are none.
    pub oldest: Option<OldestUnheld>,
}

/// A RUNNING job that nobody holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldestUnheld {
    /// Its id.
    pub job: String,
    /// When it was last written to: whoever held it was at work then.
    pub since: Timestamp,
}

impl Unheld {
    /// These.
    #[must_use]
    pub fn of(jobs: &[OldestUnheld]) -> Self {
        Self { count: jobs.len() as u64, oldest: jobs.iter().min_by_key(|job| job.since).cloned() }
    }
}

/// RUNNING jobs whose entry is not among those that somebody holds. One that was written to just now may have ended or begun
/// since.
pub async fn unheld(shared: &Shared, taken: &BTreeSet<EntryName>) -> Result<Vec<OldestUnheld>, StoreError> {
    let filter = Filter::parse(&format!("state='{}'", State::Running)).expect("it is a filter");
    let running = Query { filter: Some(filter), limit: MOST_RUNNING, ..Query::default() };
    let now = shared.clock.now();
    let records = shared.store.search(JOB.name, &running).await?.records.into_iter();
    let unheld = records.filter(|record| {
        let entry = record.entry().and_then(paths::entry_name);
        entry.is_none_or(|entry| !taken.contains(&entry)) && !is_written_within(&record.document, UNTOUCHED, now)
    });
    Ok(unheld.map(|record| OldestUnheld { since: time_of(&record.document, "updated"), job: record.id }).collect())
}

/// Those of these jobs that are RUNNING and were not written to since shortly before `checked`, when nobody held their
/// entries.
pub(super) async fn running_among(store: &dyn Store, ids: &[String], checked: Timestamp) -> Result<Unheld, StoreError> {
    if ids.is_empty() {
        return Ok(Unheld::default());
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut running = Vec::new();
    for found in store.read(&ids).await {
        let record = match found {
            // whoever asks for it is told
            Err(StoreError::Damaged { .. }) | Ok(None) => continue,
            found => found?,
        };
        let Some(record) = record else { continue };
        let since = time_of(&record.document, "updated");
        if state_of(&record.document) == State::Running && since <= checked - UNTOUCHED {
            running.push(OldestUnheld { job: record.id, since });
        }
    }
    Ok(Unheld::of(&running))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipstream_store::memory::MemoryStore;
    use slipstream_store::{Record, Revision, StoreExt};

    use super::*;

    #[tokio::test]
    async fn of_jobs_that_were_free_those_are_told_that_run_and_did_so_for_a_while() {
        let store = MemoryStore::default();
        for (id, state, updated) in [
            ("job/lost", "RUNNING", "2026-11-30T12:00:00.000Z"),
            ("job/released", "QUEUED", "2026-11-30T12:00:00.000Z"),
            ("job/begun", "RUNNING", "2026-11-30T12:00:55.000Z"),
            ("job/begun-since", "RUNNING", "2026-11-30T12:05:00.000Z"),
        ] {
            let document =
                json!({"id": id, "state": state, "updated": updated}).as_object().cloned().expect("an object");
            let (revision, ledger) = (Revision::default(), serde_json::Value::Null);
            store
                .insert(Record { id: id.to_owned(), revision, document: document.into(), ledger })
                .await
                .expect("added");
        }
        let ids = ["job/lost", "job/released", "job/begun", "job/begun-since", "job/gone"].map(str::to_owned);
        let checked = "2026-11-30T12:01:00Z".parse().expect("a time");
        let found = running_among(&store, &ids, checked).await.expect("read");
        assert_eq!((found.count, found.oldest.map(|oldest| oldest.job)), (1, Some("job/lost".to_owned())));
    }

    #[test]
    fn the_oldest_is_the_one_that_was_written_to_longest_ago() {
        let job = |job: &str, second| OldestUnheld {
            job: job.to_owned(),
            since: Timestamp::from_second(second).expect("it is one"),
        };
        let found = Unheld::of(&[job("job/1", 9), job("job/2", 3), job("job/3", 5)]);
        assert_eq!(found, Unheld { count: 3, oldest: Some(job("job/2", 3)) });
        assert_eq!(Unheld::of(&[]), Unheld::default());
    }
}
