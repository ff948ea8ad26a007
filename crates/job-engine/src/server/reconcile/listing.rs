//! [`Listing`]: the entries that there are, and which of them jobs record. [`walk`] holds the jobs against it.

use std::collections::HashSet;

use slipstream_cimi::Lease;
use slipstream_coordination::queue::EntryName;
use slipstream_store::{IndexRow, Store, StoreError, each_unfinished};

use crate::process::paths;

/// Names from one listing, and which of them a job records. Nine bytes for each.
pub(super) struct Listing {
    /// In order.
    names: Vec<EntryName>,
    recorded: Vec<bool>,
    /// Those that somebody could not read.
    unread: HashSet<EntryName>,
    /// Those that somebody holds.
    taken: HashSet<EntryName>,
}

/// Most jobs of [`Walk::begun_and_free`].
const MOST_FREE: usize = 1_000;

/// Whether the entry that a job records is there.
#[derive(Debug, PartialEq, Eq)]
enum Recorded {
    Missing,
    There,
    /// And somebody could not read it: it may be of no use to the job, or not the job's at all.
    Unread,
    /// And another job records it, too: at most one of the two is right.
    Twice,
}

/// What a walk through all jobs that are not final has found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Jobs whose entry is not there, or may be another job's.
    pub(super) missing: Vec<IndexRow>,
    /// The highest lease of any job.
    pub(super) highest: Option<Lease>,
    /// Ids of jobs that an attempt was begun of and whose entry nobody holds: they were released, or are lost.
    pub(super) begun_and_free: Vec<String>,
}

impl Listing {
    /// Of these names, which are in order, and of which somebody could not read some.
    pub(super) fn new(names: Vec<EntryName>, unread: HashSet<EntryName>) -> Self {
        Self { recorded: vec![false; names.len()], names, unread, taken: HashSet::new() }
    }

    /// The same, where somebody holds these.
    pub(super) fn with_taken(self, taken: HashSet<EntryName>) -> Self {
        Self { taken, ..self }
    }

    /// All of them, in order.
    pub(super) fn names(&self) -> &[EntryName] {
        &self.names
    }

    pub(super) fn contains(&self, name: EntryName) -> bool {
        self.names.binary_search(&name).is_ok()
    }

    /// Those that no job records, in order.
    pub(super) fn unrecorded(&self) -> impl Iterator<Item = EntryName> {
        self.names.iter().zip(&self.recorded).filter(|(_, recorded)| !**recorded).map(|(name, _)| *name)
    }

    /// It is not known whether the job that records this is the one that it belongs to.
    fn forget(&mut self, name: EntryName) {
        if let Ok(index) = self.names.binary_search(&name) {
            self.recorded[index] = false;
        }
    }

    /// A job records this.
    fn record(&mut self, name: Option<EntryName>) -> Recorded {
        let Some(index) = name.and_then(|name| self.names.binary_search(&name).ok()) else { return Recorded::Missing };
        if std::mem::replace(&mut self.recorded[index], true) {
            Recorded::Twice
        } else if self.unread.contains(&self.names[index]) {
            Recorded::Unread
        } else {
            Recorded::There
        }
    }
}

/// Walks through all jobs that are not final, in order of id, and answers the first `most` whose entry is missing.
pub(super) async fn walk(store: &dyn Store, listing: &mut Listing, most: usize) -> Result<Walk, StoreError> {
    let mut found = Walk::default();
    let mut contested = HashSet::new();
    each_unfinished(store, |job| {
        found.highest = found.highest.max(job.lease);
        let name = job.entry.as_deref().and_then(paths::entry_name);
        let is_free = name.is_none_or(|name| !listing.taken.contains(&name));
        if job.lease.is_some() && is_free && found.begun_and_free.len() < MOST_FREE {
            found.begun_and_free.push(job.id.clone());
        }
        let recorded = listing.record(name);
        if recorded == Recorded::There || found.missing.len() >= most {
            return;
        }
        contested.extend(name.filter(|_| recorded == Recorded::Twice));
        found.missing.push(job);
    })
    .await?;
    if contested.is_empty() {
        return Ok(found);
    }
    // after a coordinator was wiped, a new entry may have the name of one that was lost: whose it is, its data tell
    let known: HashSet<String> = found.missing.iter().map(|job| job.id.clone()).collect();
    each_unfinished(store, |job| {
        let name = job.entry.as_deref().and_then(paths::entry_name);
        if name.is_some_and(|name| contested.contains(&name)) && !known.contains(&job.id) {
            found.missing.push(job);
        }
    })
    .await?;
    // and it may be that of a third one, which has not recorded it
    for name in contested {
        listing.forget(name);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use slipstream_store::memory::MemoryStore;
    use slipstream_store::{Record, Revision, StoreExt};

    fn entry(number: u32) -> String {
        format!("{}/entry-999-{number:010}", paths::ENTRIES)
    }

    async fn store(jobs: &[(&str, Option<u32>, i64)]) -> MemoryStore {
        let store = MemoryStore::default();
        for (id, number, zxid) in jobs {
            let lease = json!({"generation": 1, "zxid": zxid});
            let ledger = json!({ "entry": number.map(entry), "lease": lease });
            let document = json!({"id": id, "state": "QUEUED"}).as_object().cloned().unwrap();
            let record =
                Record { id: (*id).to_owned(), revision: Revision::default(), document: document.into(), ledger };
            store.insert(record).await.unwrap();
        }
        store
    }

    fn names(numbers: &[u32]) -> impl Iterator<Item = EntryName> {
        numbers.iter().filter_map(|number| paths::entry_name(&entry(*number)))
    }

    fn listing(numbers: &[u32]) -> Listing {
        Listing::new(names(numbers).collect(), HashSet::new())
    }

    async fn missing(store: &MemoryStore, listing: &mut Listing, most: usize) -> Vec<String> {
        let found = walk(store, listing, most).await.unwrap();
        found.missing.into_iter().map(|job| job.id).collect()
    }

    #[tokio::test]
    async fn whose_entry_is_missing_is_told_and_the_others_are_marked() {
        let store = store(&[("job/a", Some(1), 3), ("job/b", Some(2), 9), ("job/c", None, 5)]).await;
        let mut one = listing(&[1, 3]);
        assert_eq!(missing(&store, &mut one, 10).await, ["job/b", "job/c"]);
        assert_eq!(one.unrecorded().map(paths::entry_path).collect::<Vec<_>>(), [entry(3)]);
        let highest = walk(&store, &mut listing(&[]), 10).await.unwrap().highest;
        assert_eq!(highest, Some(Lease { generation: 1, zxid: 9 }));
    }

    #[tokio::test]
    async fn jobs_that_were_begun_and_that_nobody_holds_are_told() {
        let store = store(&[("job/a", Some(1), 3), ("job/b", Some(2), 9), ("job/c", None, 5)]).await;
        let mut one = listing(&[1, 2]).with_taken(names(&[1]).collect());
        assert_eq!(walk(&store, &mut one, 10).await.unwrap().begun_and_free, ["job/b", "job/c"]);
    }

    /// Found by thought: a round that stopped looking at its ten thousandth job took the entries of the later ones for
    /// nobody's, and put a second one for each job whose entry had been put without an answer.
    #[tokio::test]
    async fn a_walk_that_has_found_enough_looks_at_the_others_all_the_same() {
        let store = store(&[("job/a", None, 3), ("job/b", None, 1), ("job/c", Some(7), 9)]).await;
        let mut one = listing(&[7, 8]);
        assert_eq!(missing(&store, &mut one, 1).await, ["job/a"]);
        assert_eq!(one.unrecorded().map(paths::entry_path).collect::<Vec<_>>(), [entry(8)]);
    }

    #[tokio::test]
    async fn an_entry_that_somebody_could_not_read_has_to_be_looked_at() {
        let store = store(&[("job/a", Some(1), 3), ("job/b", Some(2), 3)]).await;
        let mut one = Listing::new(names(&[1, 2]).collect(), names(&[2, 3]).collect());
        assert_eq!(missing(&store, &mut one, 10).await, ["job/b"]);
        assert_eq!(one.unrecorded().count(), 0);
    }

    #[tokio::test]
    async fn an_entry_that_two_jobs_record_has_to_be_looked_at_for_both() {
        let store = store(&[("job/a", Some(1), 3), ("job/b", Some(2), 3), ("job/c", Some(1), 3)]).await;
        let mut one = listing(&[1, 2]);
        assert_eq!(missing(&store, &mut one, 10).await, ["job/c", "job/a"]);
        assert_eq!(one.unrecorded().map(paths::entry_path).collect::<Vec<_>>(), [entry(1)]);
    }
}
