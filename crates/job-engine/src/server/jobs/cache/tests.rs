use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::filter::Filter;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Found, IndexRow, Query, Record, Revision, Store, StoreError, StoreExt, Write};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::server::jobs::ledger::Ledger;

const ID: &str = "job/0a";
/// Longest wait for what must happen.
const LONG: Duration = Duration::from_hours(1);

/// A store that says what was asked of it, and whose replacements can be held up, or fail.
struct Watched {
    inner: MemoryStore,
    gets: AtomicUsize,
    /// Questions, each for one document or several.
    reads: AtomicUsize,
    replaced: Mutex<Vec<Value>>,
    open: Semaphore,
    fails: AtomicUsize,
}

impl Watched {
    async fn read_one(&self, id: &str) -> Result<Option<Record>, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.inner.get(id).await
    }

    async fn write_one(&self, write: Write) -> Result<Revision, StoreError> {
        match write {
            Write::Create(record) => self.inner.insert(record).await,
            Write::Replace(record) => {
                drop(self.open.acquire().await.expect("never closed"));
                if self.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    return Err(StoreError::Full { path: "jobs.db".to_owned() });
                }
                self.replaced.lock().unwrap().push(record.document["state"].clone());
                self.inner.replace(record).await
            }
            Write::Remove(id, revision) => {
                let removed = self.inner.remove(&id, revision).await;
                // it is gone before that is answered
                drop(self.open.acquire().await.expect("never closed"));
                removed.map(|()| revision)
            }
        }
    }
}

#[async_trait]
impl Store for Watched {
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let mut found = Vec::new();
        for id in ids {
            found.push(self.read_one(id).await);
        }
        found
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        let mut answers = Vec::new();
        for write in writes {
            answers.push(self.write_one(write).await);
        }
        answers
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        self.inner.search(kind, query).await
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        self.inner.index_rows(after, limit).await
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        self.inner.remove_matching(kind, filter).await
    }
}

struct Desk {
    store: Arc<Watched>,
    jobs: Arc<WriteBehind>,
    lost: Arc<Notify>,
}

fn job(id: &str) -> JobRecord {
    JobRecord::new(id, Document::from_iter([("id".to_owned(), json!(id)), ("state".to_owned(), json!("QUEUED"))]))
}

fn into_state(state: &'static str) -> impl FnOnce(&mut JobRecord) {
    move |job| drop(job.document.make_mut().insert("state".to_owned(), json!(state)))
}

impl Desk {
    /// With one job.
    async fn new() -> Self {
        Self::among(Writers::One).await
    }

    async fn among(writers: Writers) -> Self {
        let store = Arc::new(Watched {
            inner: MemoryStore::default(),
            gets: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            replaced: Mutex::default(),
            open: Semaphore::new(Semaphore::MAX_PERMITS),
            fails: AtomicUsize::new(0),
        });
        let desk = Self::over(store, writers);
        desk.jobs.insert(job(ID)).await.unwrap();
        desk
    }

    fn over(store: Arc<Watched>, writers: Writers) -> Self {
        let lost = Arc::new(Notify::new());
        let jobs = Arc::new(WriteBehind::new(store.clone(), writers, lost.clone()));
        Self { store, jobs, lost }
    }

    async fn read(&self) -> Arc<JobRecord> {
        timeout(LONG, self.jobs.get(ID)).await.expect("it is answered").unwrap().expect("it is there")
    }

    async fn change(&self, durability: Durability, state: &'static str) -> Result<Arc<JobRecord>, StoreError> {
        let change = self.jobs.change(self.read().await, durability, into_state(state));
        timeout(LONG, change).await.expect("it is answered")
    }

    /// The states that were written, in order.
    fn written(&self) -> Vec<Value> {
        self.store.replaced.lock().unwrap().clone()
    }

    fn shut(&self) {
        self.store.open.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn open(&self) {
        self.store.open.add_permits(Semaphore::MAX_PERMITS);
    }
}

/// Lets every task do what it can without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_before_somebody_waits_is_one_write() {
    let desk = Desk::new().await;
    let entry = Ledger { entry: Some("/job/entries/entry-999-0000000001".to_owned()), ..Ledger::default() };
    desk.jobs.change(desk.read().await, Durability::Soon, |job| job.set_ledger(entry)).await.unwrap();
    desk.change(Durability::Soon, "RUNNING").await.unwrap();
    assert_eq!(desk.written(), Vec::<Value>::new());
    desk.change(Durability::OnDisk, "SUCCESS").await.unwrap();
    assert_eq!(desk.written(), ["SUCCESS"]);
    let stored = desk.store.inner.get(ID).await.unwrap().unwrap();
    assert_eq!(
        (stored.revision, stored.ledger["entry"].as_str()),
        (Revision::number(2), Some("/job/entries/entry-999-0000000001"))
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_written_within_the_second() {
    let desk = Desk::new().await;
    desk.change(Durability::Soon, "RUNNING").await.unwrap();
    settle().await;
    assert_eq!(desk.written(), Vec::<Value>::new());
    tokio::time::sleep(Duration::from_millis(999)).await;
    assert_eq!(desk.written(), ["RUNNING"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_reads_what_its_caller_still_waits_for() {
    let desk = Arc::new(Desk::new().await);
    desk.shut();
    let end = tokio::spawn({
        let desk = desk.clone();
        async move { desk.change(Durability::OnDisk, "SUCCESS").await }
    });
    settle().await;
    let reading = tokio::spawn({
        let desk = desk.clone();
        async move { desk.read().await }
    });
    settle().await;
    assert!(!end.is_finished() && !reading.is_finished(), "it is not on the disk");
    desk.open();
    end.await.unwrap().unwrap();
    assert_eq!(reading.await.unwrap().document["state"], "SUCCESS");
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_at_a_job_sees_it_as_it_was_and_cannot_change_a_later_one() {
    let desk = Desk::new().await;
    let seen = desk.read().await;
    for state in ["RUNNING", "STOPPING", "STOPPED"] {
        desk.change(Durability::Soon, state).await.unwrap();
        assert_eq!((&seen.document["state"], &desk.read().await.document["state"]), (&json!("QUEUED"), &json!(state)));
    }
    let late = desk.jobs.change(seen, Durability::Soon, into_state("SUCCESS")).await;
    assert!(matches!(late, Err(StoreError::Changed(id)) if id == ID));
    assert_eq!(desk.read().await.document["state"], "STOPPED");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_nobody_looks_at_is_changed_where_it_is() {
    let desk = Desk::new().await;
    let place = |job: &Arc<JobRecord>| Arc::as_ptr(job);
    let before = place(&desk.read().await);
    desk.change(Durability::Soon, "RUNNING").await.unwrap();
    assert_eq!(place(&desk.read().await), before);
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_it_is_written_is_written_again() {
    let desk = Arc::new(Desk::new().await);
    desk.shut();
    let hurried = tokio::spawn({
        let desk = desk.clone();
        async move { desk.change(Durability::Soon, "RUNNING").await.map(drop) }
    });
    settle().await;
    hurried.await.unwrap().unwrap();
    let settled = tokio::spawn({
        let desk = desk.clone();
        async move { desk.jobs.settled().await }
    });
    settle().await;
    assert!(!settled.is_finished());
    desk.open();
    settled.await.unwrap();
    assert_eq!(desk.written(), ["RUNNING"], "it has settled");
    desk.change(Durability::Soon, "STOPPING").await.unwrap();
    desk.change(Durability::OnDisk, "STOPPED").await.unwrap();
    assert_eq!(desk.written(), ["RUNNING", "STOPPED"]);
    assert_eq!(desk.store.inner.get(ID).await.unwrap().unwrap().revision, Revision::number(3));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_told_and_its_job_is_read_again() {
    let desk = Desk::new().await;
    desk.store.fails.store(1, Ordering::Relaxed);
    let full = desk.change(Durability::OnDisk, "SUCCESS").await;
    assert!(matches!(full, Err(StoreError::Full { .. })));
    assert_eq!(desk.store.fails.load(Ordering::Relaxed), 0, "it did fail");
    timeout(LONG, desk.lost.notified()).await.expect("whoever mends is told");
    let gets = desk.store.gets.load(Ordering::Relaxed);
    assert_eq!(desk.read().await.document["state"], "QUEUED", "as the store has it");
    assert_eq!(desk.store.gets.load(Ordering::Relaxed), gets + 1);
    desk.change(Durability::OnDisk, "SUCCESS").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_removed_is_gone_and_many_read_it_once() {
    let desk = Desk::new().await;
    let base = desk.read().await;
    desk.jobs.remove(base.clone()).await.unwrap();
    assert!(desk.jobs.get(ID).await.unwrap().is_none());
    assert!(desk.jobs.change(base, Durability::Soon, into_state("RUNNING")).await.is_err());
    desk.store.inner.insert(job("job/0b").stored(Revision::default())).await.unwrap();
    let gets = desk.store.gets.load(Ordering::Relaxed);
    let all = join_all((0..10).map(|_| desk.jobs.get("job/0b"))).await;
    assert!(all.iter().all(|found| found.as_ref().is_ok_and(Option::is_some)));
    assert_eq!(desk.store.gets.load(Ordering::Relaxed), gets + 1);
}

#[tokio::test(start_paused = true)]
async fn where_others_write_too_nothing_is_remembered() {
    let desk = Desk::among(Writers::Several).await;
    let another = Desk::over(desk.store.clone(), Writers::Several);
    let (mine, theirs) = (desk.read().await, another.read().await);
    another.jobs.change(theirs.clone(), Durability::Soon, into_state("RUNNING")).await.unwrap();
    assert_eq!(desk.written(), ["RUNNING"], "what need not be durable is on the disk, too");
    assert_eq!(desk.read().await.document["state"], "RUNNING");
    let late = desk.jobs.change(mine.clone(), Durability::OnDisk, into_state("STOPPED")).await;
    assert!(matches!(late, Err(StoreError::Changed(_))), "{late:?}");
    assert!(matches!(desk.jobs.remove(mine).await, Err(StoreError::Changed(_))));
    assert!(matches!(desk.jobs.insert(job(ID)).await, Err(StoreError::Exists(_))));
    let running = desk.read().await;
    let done = desk.jobs.change(running, Durability::OnDisk, into_state("SUCCESS")).await.unwrap();
    desk.jobs.change(done, Durability::OnDisk, into_state("FAILED")).await.expect("under the revision that it has now");
    let failed = another.read().await;
    another.jobs.remove(failed).await.unwrap();
    assert!(desk.jobs.get(ID).await.unwrap().is_none());
    let again = desk.jobs.insert(job(ID)).await.unwrap();
    another.jobs.remove(again).await.expect("under the revision of the new one");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_nobody_works_on_are_forgotten() {
    let desk = Desk::new().await;
    for number in 0..10_000 {
        desk.jobs.insert(job(&format!("job/{number}"))).await.unwrap();
    }
    let gets = desk.store.gets.load(Ordering::Relaxed);
    assert!(desk.jobs.get("job/9999").await.unwrap().is_some());
    assert_eq!(desk.store.gets.load(Ordering::Relaxed), gets, "one of the last is still there");
    assert!(desk.jobs.get("job/0").await.unwrap().is_some());
    assert_eq!(desk.store.gets.load(Ordering::Relaxed), gets + 1, "one of the first is read");
}

#[tokio::test(start_paused = true)]
async fn the_end_writes_everything_and_takes_nothing_more() {
    let desk = Desk::new().await;
    desk.change(Durability::Soon, "RUNNING").await.unwrap();
    timeout(LONG, desk.jobs.close()).await.expect("it ends");
    assert_eq!(desk.written(), ["RUNNING"]);
    let base = Arc::new(job(ID));
    assert!(desk.jobs.change(base, Durability::Soon, into_state("SUCCESS")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_add_that_races_the_removal_of_its_id_is_a_job_of_its_own() {
    let desk = Desk::new().await;
    desk.change(Durability::OnDisk, "RUNNING").await.unwrap();
    let base = desk.read().await;
    desk.shut();
    let jobs = desk.jobs.clone();
    let removed = tokio::spawn(async move { jobs.remove(base).await });
    while desk.store.inner.get(ID).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    let jobs = desk.jobs.clone();
    let added = tokio::spawn(async move { jobs.insert(job(ID)).await.map(drop) });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    desk.open();
    removed.await.unwrap().expect("whoever removed the first is told so");
    added.await.unwrap().expect("and whoever added the second");
    desk.change(Durability::OnDisk, "SUCCESS").await.expect("it has the revision of an added job");
    let stored = desk.store.inner.get(ID).await.unwrap().unwrap();
    assert_eq!((stored.revision, &stored.document["state"]), (Revision::number(2), &json!("SUCCESS")));
}

#[tokio::test(start_paused = true)]
async fn an_add_of_a_job_that_is_there_changes_nothing() {
    let desk = Desk::new().await;
    for durability in [Durability::OnDisk, Durability::Soon] {
        desk.change(durability, "RUNNING").await.unwrap();
        let refused = desk.jobs.insert(job(ID)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Exists(_)), "{refused}");
        assert_eq!(desk.read().await.document["state"], "RUNNING");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_published_once_it_can_be_read() {
    for writers in [Writers::One, Writers::Several] {
        let desk = Desk::among(writers).await;
        let watch = desk.jobs.feed().watch(ID);
        let told = watch.changed();
        desk.change(Durability::Soon, "RUNNING").await.unwrap();
        told.now_or_never().expect("at once");
        let (base, mut told) = (desk.read().await, Box::pin(watch.changed()));
        desk.shut();
        let jobs = desk.jobs.clone();
        let end =
            tokio::spawn(async move { jobs.change(base, Durability::OnDisk, into_state("SUCCESS")).await.map(drop) });
        settle().await;
        assert!(told.as_mut().now_or_never().is_none() && !end.is_finished(), "it is not on the disk");
        if writers == Writers::One {
            end.abort();
            assert!(end.await.is_err(), "whoever asked for it no longer waits");
        }
        desk.open();
        timeout(LONG, told).await.expect("published");
        let done = desk.read().await;
        assert_eq!(done.document["state"], "SUCCESS");
        let told = watch.changed();
        desk.jobs.remove(done).await.unwrap();
        timeout(LONG, told).await.expect("published");
        assert!(desk.jobs.get(ID).await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_lost_is_published_too() {
    let desk = Desk::new().await;
    desk.change(Durability::Soon, "RUNNING").await.unwrap();
    let watch = desk.jobs.feed().watch(ID);
    desk.store.fails.store(1, Ordering::Relaxed);
    timeout(LONG, watch.changed()).await.expect("published");
    assert_eq!(desk.store.fails.load(Ordering::Relaxed), 0, "it did fail");
    assert_eq!(desk.read().await.document["state"], "QUEUED");
}

#[tokio::test(start_paused = true)]
async fn what_is_prepared_is_read_by_one_question_and_known_to_whoever_gets_it() {
    let desk = Desk::new().await;
    let others = ["job/2", "job/3", "job/4"];
    for id in others {
        desk.store.inner.insert(job(id).stored(Revision::default())).await.unwrap();
    }
    desk.jobs.prepare([ID, "job/2", "job/3", "job/none"]).await;
    let gets = || desk.store.gets.load(Ordering::Relaxed);
    assert_eq!((desk.store.reads.load(Ordering::Relaxed), gets()), (1, 3), "the first is known");
    for id in ["job/2", "job/3"] {
        assert!(desk.jobs.get(id).await.unwrap().is_some());
    }
    assert_eq!(gets(), 3);
    assert!(desk.jobs.get("job/4").await.unwrap().is_some(), "nobody has prepared it");
    assert!(desk.jobs.get("job/none").await.unwrap().is_none(), "nobody waits for what is not there");
    assert_eq!(gets(), 5);
}

/// Fault: what was prepared first is forgotten while the rest is read, and somebody else reads it again.
#[test]
fn whoever_gives_up_reading_a_record_leaves_it_to_who_reads_it_after() {
    let mut records = Records::default();
    let load = |records: &mut Records| match records.look(ID) {
        Look::Load(number) => number,
        _ => panic!("nobody knows it"),
    };
    let first = load(&mut records);
    records.load(Arc::new(job(ID)), Revision::default());
    records.not_loaded(ID, first);
    assert!(matches!(records.look(ID), Look::Found(_)));
    let mut records = Records::default();
    let first = load(&mut records);
    records.not_loaded(ID, first);
    let second = load(&mut records);
    records.not_loaded(ID, first);
    assert!(matches!(records.look(ID), Look::Wait(_)), "the second reads it");
    records.not_loaded(ID, second);
    load(&mut records);
}
