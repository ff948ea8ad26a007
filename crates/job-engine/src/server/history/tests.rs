use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use slipstream_cimi::filter::Filter;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Found, IndexRow, Query, Record, Revision, StoreExt as _, Write};
use tokio::task::JoinHandle;

use super::*;
use crate::process::metrics::counters::Count;
use crate::process::metrics::counters::Span as Measured;

/// A process over a store, at work from this time on.
struct Process {
    history: Arc<History>,
    counters: Arc<Counters>,
    work: JoinHandle<Infallible>,
}

impl Process {
    fn begin(store: &Arc<impl Store + 'static>, clock: &Clock) -> Self {
        let counters = Arc::<Counters>::default();
        let store: Arc<dyn Store> = store.clone();
        let history = Arc::new(History::new(store, counters.clone(), clock.clone()));
        let at_work = history.clone();
        Self { history, counters, work: tokio::spawn(async move { at_work.run().await }) }
    }

    fn count(&self, action: &str, count: Count, times: u32) {
        (0..times).for_each(|_| self.counters.count(action, count));
    }

    async fn added(&self, span: Span) -> u64 {
        self.history.within(span).await.expect("read").total().added
    }

    async fn stop(self) {
        self.history.close().await;
        self.work.abort();
    }
}

fn clock(time: &str) -> Clock {
    Clock::starting_at(time.parse().expect("a time"))
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn ids(store: &MemoryStore, kind: &str) -> Vec<String> {
    let found = store.search(kind, &Query { limit: 100_000, ..Query::default() }).await.expect("found");
    found.records.into_iter().map(|record| record.id).collect()
}

async fn documents(store: &MemoryStore) -> [usize; 2] {
    [ids(store, "history-minute").await.len(), ids(store, "history-hour").await.len()]
}

#[tokio::test(start_paused = true)]
async fn where_nothing_happens_nothing_is_written() {
    let store = Arc::new(MemoryStore::default());
    let process = Process::begin(&store, &clock("2026-11-30T10:00:00Z"));
    pass(7_200).await;
    assert_eq!(documents(&store).await, [0, 0]);
    process.count("noop", Count::Added, 1);
    pass(59).await;
    assert_eq!(documents(&store).await, [0, 0], "at the end of the minute");
    pass(2).await;
    assert_eq!(documents(&store).await, [1, 1]);
    let written: Vec<u64> = {
        let ids = [ids(&store, "history-minute").await, ids(&store, "history-hour").await].concat();
        let mut revisions = Vec::new();
        for id in ids {
            let record = store.get(&id).await.expect("read").expect("there");
            revisions.push(u64::from(record.revision == slipstream_store::Revision::number(1)));
        }
        revisions
    };
    pass(7_200).await;
    assert_eq!((documents(&store).await, written), ([1, 1], vec![1, 1]), "once");
    process.stop().await;
    assert_eq!(documents(&store).await, [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_minute_before_a_restart_and_after_it_adds_up_in_each_span() {
    let store = Arc::new(MemoryStore::default());
    let clock = clock("2026-11-30T10:00:05Z");
    let first = Process::begin(&store, &clock);
    first.count("noop", Count::Added, 3);
    pass(20).await;
    first.count("noop", Count::Added, 1);
    first.stop().await;
    let second = Process::begin(&store, &clock);
    second.count("noop", Count::Added, 2);
    second.counters.measure("noop", Measured::Wait, Duration::from_millis(8));
    for span in Span::ALL {
        assert_eq!(second.added(span).await, 6, "{span:?}, not written yet");
    }
    pass(60).await;
    for span in Span::ALL {
        assert_eq!(second.added(span).await, 6, "{span:?}");
    }
    assert_eq!(documents(&store).await, [2, 2], "one of each process");
    let waited = second.history.within(Span::Season).await.expect("read").total().wait.expect("measured");
    assert_eq!(waited.count, 1);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_is_there_at_once_and_once_whenever_somebody_looks() {
    let store = Arc::new(MemoryStore::default());
    let process = Process::begin(&store, &clock("2026-11-30T10:00:00Z"));
    for second in 1..200 {
        process.count("noop", Count::Added, 1);
        for span in Span::ALL {
            assert_eq!(process.added(span).await, second, "{span:?}");
        }
        pass(1).await;
    }
    let (added, ended) = process.history.per_second();
    assert!((0.9..=1.1).contains(&added) && ended.abs() < f64::EPSILON, "{added} {ended}");
    pass(900).await;
    assert_eq!((process.added(Span::Quarter).await, process.added(Span::Day).await), (0, 199));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn minutes_are_kept_for_two_days_and_hours_for_ninety() {
    let store = Arc::new(MemoryStore::default());
    let process = Process::begin(&store, &clock("2026-01-01T10:00:00Z"));
    for (hours, expected) in [(0, [1, 1]), (40, [2, 2]), (9, [2, 3]), (91 * 24, [1, 1])] {
        pass(hours * 3_600).await;
        process.count("noop", Count::Added, 1);
        pass(61).await;
        assert_eq!(documents(&store).await, expected, "after {hours} more hours");
    }
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn sixty_four_actions_have_rows_of_their_own() {
    let store = Arc::new(MemoryStore::default());
    let process = Process::begin(&store, &clock("2026-11-30T10:00:00Z"));
    for number in 0..100 {
        process.count(&format!("action-{number}"), Count::Added, 1);
    }
    let actions = process.history.within(Span::Quarter).await.expect("read").actions();
    assert_eq!((actions.len(), &*actions[0].name, actions[0].added), (65, "other", 36));
    process.stop().await;
}

/// A store that refuses what is written to documents of one kind, as long as it is told to, and counts that.
#[derive(Default)]
struct Refusing {
    store: MemoryStore,
    kind: Mutex<Option<&'static str>>,
    refused: AtomicU32,
}

impl Refusing {
    fn refuse(&self, kind: Option<&'static str>) {
        *self.kind.lock().expect("not poisoned") = kind;
    }

    fn refused(&self) -> u32 {
        self.refused.swap(0, Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for Refusing {
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        self.store.read(ids).await
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        let kind = *self.kind.lock().expect("not poisoned");
        let is_refused = |write: &Write| match write {
            Write::Create(record) | Write::Replace(record) => kind.is_some_and(|kind| record.id.starts_with(kind)),
            Write::Remove(..) => false,
        };
        if writes.iter().any(is_refused) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return writes.iter().map(|_| Err(StoreError::Full { path: "jobs.db".to_owned() })).collect();
        }
        self.store.write(writes).await
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        self.store.search(kind, query).await
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        self.store.index_rows(after, limit).await
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        self.store.remove_matching(kind, filter).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_store_refuses_is_written_later_and_counted_once() {
    for kind in ["history-minute", "history-hour"] {
        let store = Arc::new(Refusing::default());
        let clock = clock("2026-11-30T10:58:05Z");
        let process = Process::begin(&store, &clock);
        store.refuse(Some(kind));
        let mut counted = 0;
        // over the end of an hour
        for _ in 0..4 {
            process.count("noop", Count::Added, 3);
            counted += 3;
            pass(60).await;
            for span in Span::ALL {
                assert_eq!(process.added(span).await, counted, "{kind}, {span:?}, while it is refused");
            }
        }
        assert!(store.refused() >= 3, "{kind}: it was refused again and again");
        store.refuse(None);
        process.count("noop", Count::Added, 1);
        pass(121).await;
        for span in Span::ALL {
            assert_eq!(process.added(span).await, counted + 1, "{kind}, {span:?}, once it is not");
        }
        process.stop().await;
        let after = Process::begin(&store, &clock);
        for span in Span::ALL {
            assert_eq!(after.added(span).await, counted + 1, "{kind}, {span:?}, over a restart");
        }
        after.stop().await;
    }
}
