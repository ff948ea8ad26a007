//! [`WriteBehind`]: the records that are being worked on, in memory in front of a store.
//!
//! A change is carried out in memory, against the very record that was read, and written by one task. What has to be
//! durable before it is answered waits for that ([`Durability::OnDisk`]), in batches that form by what waits, never by
//! time (decision 10). What need not ([`Durability::Soon`]) is written with the next such change of the same record, or
//! after a moment, for which nobody waits. So the entry's path, RUNNING and the final state of a short job are one
//! write.
//!
//! It is right only where nobody else writes these records. Nobody reads what a caller still waits for: [`get`] answers
//! it once it is durable, and before a search [`settled`] has everything written that was answered.
//!
//! [`get`]: WriteBehind::get
//! [`settled`]: WriteBehind::settled

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Record, Store, StoreError};

#[cfg(test)]
mod tests;

/// Most records in one batch.
const LARGEST_BATCH: usize = 512;
/// Batches under way: the store prepares one while it synchronises the one before.
const BATCHES: usize = 2;
/// How long a change that nobody waits for may stay unwritten; decision 4 allows a second.
const MOMENT: Duration = Duration::from_millis(50);
/// Most records without unwritten changes that are kept, and the most memory for them, in bytes.
const KEPT: usize = 4_096;
const KEPT_BYTES: usize = 32 << 20;
/// Most of them that are looked at whenever another one comes.
const FORGOTTEN_AT_ONCE: usize = 4;

/// When a change has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A moment later; a crash before that loses it.
    Soon,
    /// Before it is answered.
    OnDisk,
}

/// Records in front of a store. Ends with its last user, without writing what nobody waits for; see
/// [`close`](Self::close).
pub struct WriteBehind {
    shared: Arc<Shared>,
    /// Asks the writer to end once everything is written.
    closing: CancellationToken,
    writer: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Shared {
    store: Arc<dyn Store>,
    records: Mutex<Records>,
    /// Something waits to be written.
    waiting: Notify,
}

type Waiter = oneshot::Sender<Result<(), StoreError>>;

#[derive(Default)]
struct Records {
    known: HashMap<String, Known>,
    /// Records whose callers wait.
    urgent: VecDeque<String>,
    /// Records that nobody waits for, each with the time at which it is written.
    unhurried: VecDeque<(String, Instant)>,
    /// Records that the store has, in the order in which it had them; some may have changed again meanwhile.
    kept: VecDeque<String>,
    bytes: usize,
    /// Nothing is written any more.
    closed: bool,
}

enum Known {
    /// Somebody reads it; whoever else wants it waits.
    Loading(Vec<oneshot::Sender<()>>),
    Loaded(Loaded),
}

struct Loaded {
    /// None once it is removed.
    current: Option<Arc<Record>>,
    /// Its revision in the store.
    revision: u64,
    bytes: usize,
    progress: Progress,
    /// Who waits for the batch that it is in.
    writing: Vec<Waiter>,
    /// Who waits for changes that are in no batch yet.
    waiting: Vec<Waiter>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The store has it.
    Written,
    /// It is in a queue.
    Waiting,
    /// It is in a batch; and has been changed since.
    Writing { changed: bool },
}

/// One write of a batch.
struct Task {
    id: String,
    revision: u64,
    record: Option<Arc<Record>>,
}

impl WriteBehind {
    /// In front of a store. Wants a runtime: it starts the task that writes. `lost` is told when a change that nobody
    /// waited for could not be written.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, lost: Arc<Notify>) -> Self {
        let shared = Arc::new(Shared { store, records: Mutex::default(), waiting: Notify::new() });
        let closing = CancellationToken::new();
        let writer = tokio::spawn(write_batches(shared.clone(), closing.clone(), lost));
        Self { shared, closing, writer: Mutex::new(Some(AbortOnDropHandle::new(writer))) }
    }

    /// Adds a record, on the disk before it is answered.
    pub async fn insert(&self, record: Record) -> Result<Arc<Record>, StoreError> {
        let record = Arc::new(Record { revision: 1, ..record });
        self.shared.store.insert(Record::clone(&record)).await?;
        let mut records = self.shared.records();
        if !records.known.contains_key(&record.id) {
            records.load(record.clone());
        }
        Ok(record)
    }

    /// The record as it is. Changes that somebody waits for are waited for here, too.
    pub async fn get(&self, id: &str) -> Result<Option<Arc<Record>>, StoreError> {
        loop {
            let looked = self.shared.records().look(id);
            match looked {
                Look::Found(record) => return Ok(Some(record)),
                // however that ended, what there is now is looked at again
                Look::Wait(waiting) => drop(waiting.await),
                Look::Settle(waiting) => drop(waiting.await),
                Look::Load => {
                    let loading = Loading { shared: &self.shared, id };
                    let found = self.shared.store.get(id).await?.map(Arc::new);
                    return Ok(loading.ended(found));
                }
            }
        }
    }

    /// Replaces a record that was read from here, if it is still the one, and answers what it is now.
    pub async fn replace(
        &self,
        base: &Arc<Record>,
        record: Record,
        durability: Durability,
    ) -> Result<Arc<Record>, StoreError> {
        let record = Arc::new(record);
        self.change(base, Some(record.clone()), durability).await?;
        Ok(record)
    }

    /// Removes a record that was read from here, if it is still the one; on the disk before it is answered.
    pub async fn remove(&self, base: &Arc<Record>) -> Result<(), StoreError> {
        self.change(base, None, Durability::OnDisk).await
    }

    async fn change(
        &self,
        base: &Arc<Record>,
        record: Option<Arc<Record>>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let waiting = {
            let mut records = self.shared.records();
            if records.closed {
                return Err(ended(&base.id));
            }
            match records.known.get_mut(&base.id) {
                Some(Known::Loaded(loaded)) if loaded.current.as_ref().is_some_and(|now| Arc::ptr_eq(now, base)) => {
                    loaded.current = record;
                }
                _ => return Err(StoreError::Changed(base.id.clone())),
            }
            records.changed(&base.id, durability)
        };
        self.shared.waiting.notify_one();
        match waiting {
            Some(waiting) => waiting.await.unwrap_or_else(|_| Err(ended(&base.id))),
            None => Ok(()),
        }
    }

    /// Ends once everything that was answered so far is in the store, where a search finds it. What could not be
    /// written is not waited for.
    pub async fn settled(&self) {
        let waiting = self.shared.records().hurry();
        if !waiting.is_empty() {
            self.shared.waiting.notify_one();
            join_all(waiting).await;
        }
    }

    /// Writes everything and lets the store go; later changes fail.
    pub async fn close(&self) {
        self.settled().await;
        self.closing.cancel();
        let writer = self.writer.lock().expect("nothing panics while it holds this").take();
        if let Some(Err(error)) = async { Some(writer?.await) }.await {
            tracing::error!(%error, "the task that writes jobs has crashed");
        }
    }
}

fn ended(id: &str) -> StoreError {
    StoreError::Failed { what: format!("write {id}"), source: "the server is being closed".into() }
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().expect("nothing panics while it holds the records")
    }
}

enum Look {
    Found(Arc<Record>),
    Wait(oneshot::Receiver<()>),
    Settle(oneshot::Receiver<Result<(), StoreError>>),
    Load,
}

/// Somebody reads a record. Whatever becomes of that, who waits for it is told.
struct Loading<'a> {
    shared: &'a Shared,
    id: &'a str,
}

impl Loading<'_> {
    fn ended(&self, found: Option<Arc<Record>>) -> Option<Arc<Record>> {
        let record = found?;
        let mut records = self.shared.records();
        // who waits hears it by the end of the channel
        records.known.remove(self.id);
        records.load(record.clone());
        Some(record)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut records = self.shared.records();
        if matches!(records.known.get(self.id), Some(Known::Loading(_))) {
            records.known.remove(self.id);
        }
    }
}

impl Records {
    fn look(&mut self, id: &str) -> Look {
        match self.known.get_mut(id) {
            None => {
                self.known.insert(id.to_owned(), Known::Loading(Vec::new()));
                Look::Load
            }
            Some(Known::Loading(waiters)) => {
                let (told, waiting) = oneshot::channel();
                waiters.push(told);
                Look::Wait(waiting)
            }
            Some(Known::Loaded(loaded)) => match &loaded.current {
                Some(current) if loaded.writing.is_empty() && loaded.waiting.is_empty() => Look::Found(current.clone()),
                _ => Look::Settle(loaded.wait()),
            },
        }
    }

    /// A record as the store has it.
    fn load(&mut self, record: Arc<Record>) {
        let bytes = weight(&record.ledger) + record.document.values().map(weight).sum::<usize>();
        self.bytes += bytes;
        self.kept.push_back(record.id.clone());
        let (id, revision) = (record.id.clone(), record.revision);
        let loaded = Loaded {
            current: Some(record),
            revision,
            bytes,
            progress: Progress::Written,
            writing: Vec::new(),
            waiting: Vec::new(),
        };
        self.known.insert(id, Known::Loaded(loaded));
        self.forget_oldest();
    }

    /// Forgets what the store has had for longest. What has changed since is kept again once the store has it, and what
    /// somebody holds is passed over: most likely it is about to change.
    fn forget_oldest(&mut self) {
        for _ in 0..self.kept.len().min(FORGOTTEN_AT_ONCE) {
            if self.kept.len() <= KEPT && self.bytes <= KEPT_BYTES {
                return;
            }
            let Some(id) = self.kept.pop_front() else { return };
            match self.loaded(&id) {
                Some(loaded) if loaded.is_held() => self.kept.push_back(id),
                Some(loaded) if loaded.progress == Progress::Written => self.forget(&id),
                _ => {}
            }
        }
    }

    fn forget(&mut self, id: &str) {
        if let Some(Known::Loaded(loaded)) = self.known.remove(id) {
            self.bytes -= loaded.bytes;
        }
    }

    fn loaded(&mut self, id: &str) -> Option<&mut Loaded> {
        match self.known.get_mut(id) {
            Some(Known::Loaded(loaded)) => Some(loaded),
            _ => None,
        }
    }

    /// A record was changed: it is put into the queue of those that wait, unless it is there.
    fn changed(&mut self, id: &str, durability: Durability) -> Option<oneshot::Receiver<Result<(), StoreError>>> {
        let loaded = self.loaded(id)?;
        let waiting = (durability == Durability::OnDisk).then(|| told_by(&mut loaded.waiting));
        match &mut loaded.progress {
            Progress::Writing { changed } => *changed = true,
            progress => {
                let is_new = *progress == Progress::Written;
                *progress = Progress::Waiting;
                if waiting.is_some() {
                    self.urgent.push_back(id.to_owned());
                } else if is_new {
                    self.unhurried.push_back((id.to_owned(), Instant::now() + MOMENT));
                }
            }
        }
        waiting
    }

    /// Waits for everything that was answered and is not written.
    fn hurry(&mut self) -> Vec<oneshot::Receiver<Result<(), StoreError>>> {
        let is_unwritten = |known: &Known| matches!(known, Known::Loaded(it) if it.progress != Progress::Written);
        let mut ids: Vec<String> =
            self.known.iter().filter(|(_, known)| is_unwritten(known)).map(|(id, _)| id.clone()).collect();
        // the same changes are written in the same order, whatever the order of the map
        ids.sort_unstable();
        let mut waiting = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(loaded) = self.loaded(&id) else { continue };
            waiting.push(loaded.wait());
            if loaded.progress == Progress::Waiting {
                self.urgent.push_back(id);
            }
        }
        waiting
    }

    /// The next batch: what somebody waits for, and what nobody waits for and is due.
    fn next_batch(&mut self, now: Instant) -> Vec<Task> {
        let mut batch = Vec::new();
        while batch.len() < LARGEST_BATCH {
            let Some(id) = self.urgent.pop_front() else { break };
            batch.extend(self.task(id));
        }
        while batch.len() < LARGEST_BATCH && self.next_due().is_some_and(|due| due <= now) {
            let Some((id, _)) = self.unhurried.pop_front() else { break };
            batch.extend(self.task(id));
        }
        batch
    }

    /// When the next change that nobody waits for is to be written.
    fn next_due(&self) -> Option<Instant> {
        self.unhurried.front().map(|(_, due)| *due)
    }

    /// The write of a record that waits; none if it has been taken already.
    fn task(&mut self, id: String) -> Option<Task> {
        let loaded = self.loaded(&id).filter(|loaded| loaded.progress == Progress::Waiting)?;
        loaded.progress = Progress::Writing { changed: false };
        loaded.writing.append(&mut loaded.waiting);
        Some(Task { revision: loaded.revision, record: loaded.current.clone(), id })
    }

    /// A record was written, or could not be; answers who waited for that. What could not be written is nowhere but in
    /// memory, and is forgotten: whoever has to change the record reads it again.
    fn written(&mut self, id: &str, written: &Result<u64, StoreError>) -> Vec<Waiter> {
        let Some(loaded) = self.loaded(id) else { return Vec::new() };
        let mut told = std::mem::take(&mut loaded.writing);
        match (written, loaded.progress) {
            (Ok(revision), Progress::Writing { changed: true }) => {
                loaded.revision = *revision;
                loaded.progress = Progress::Waiting;
                if loaded.waiting.is_empty() {
                    self.unhurried.push_back((id.to_owned(), Instant::now() + MOMENT));
                } else {
                    self.urgent.push_back(id.to_owned());
                }
            }
            (Ok(revision), _) if loaded.current.is_some() => {
                loaded.revision = *revision;
                loaded.progress = Progress::Written;
                self.kept.push_back(id.to_owned());
            }
            _ => {
                told.append(&mut loaded.waiting);
                self.forget(id);
            }
        }
        told
    }
}

impl Loaded {
    fn is_held(&self) -> bool {
        self.current.as_ref().is_some_and(|current| Arc::strong_count(current) > 1)
    }

    /// Waits for what has been changed so far.
    fn wait(&mut self) -> oneshot::Receiver<Result<(), StoreError>> {
        let is_in_batch = self.progress == Progress::Writing { changed: false };
        told_by(if is_in_batch { &mut self.writing } else { &mut self.waiting })
    }
}

fn told_by(waiters: &mut Vec<Waiter>) -> oneshot::Receiver<Result<(), StoreError>> {
    let (told, waiting) = oneshot::channel();
    waiters.push(told);
    waiting
}

/// Whoever waits when the writer ends is told by the end of the channel.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut records = self.0.records();
        records.closed = true;
        records.known.clear();
    }
}

/// Writes batches until the store is closed.
async fn write_batches(shared: Arc<Shared>, closing: CancellationToken, lost: Arc<Notify>) {
    let _end = End(shared.clone());
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < BATCHES {
            let batch = shared.records().next_batch(Instant::now());
            if batch.is_empty() {
                break;
            }
            under_way.push(write(&shared, batch, &lost));
        }
        let due = shared.records().next_due();
        tokio::select! {
            biased;
            Some(()) = under_way.next() => {}
            () = shared.waiting.notified(), if under_way.len() < BATCHES => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && under_way.len() < BATCHES => {}
            () = closing.cancelled(), if under_way.is_empty() && due.is_none() => return,
        }
    }
}

/// Writes one batch and tells whoever waits for it.
async fn write(shared: &Shared, batch: Vec<Task>, lost: &Notify) {
    let answers = join_all(batch.iter().map(|task| carry_out(&*shared.store, task))).await;
    let mut told = Vec::with_capacity(batch.len());
    {
        let mut records = shared.records();
        for (task, answer) in batch.into_iter().zip(answers) {
            told.push((records.written(&task.id, &answer), answer, task.id));
        }
        records.forget_oldest();
    }
    for (waiters, answer, id) in told {
        if let Err(error) = &answer {
            tracing::warn!(
                id,
                error = error as &dyn std::error::Error,
                "not written, and what nobody waited for is lost"
            );
            lost.notify_one();
        }
        for waiter in waiters {
            // a caller that no longer waits is not told
            drop(waiter.send(answer.as_ref().map(drop).map_err(StoreError::told_again)));
        }
    }
}

/// A store that panics at one write ends no other.
async fn carry_out(store: &dyn Store, task: &Task) -> Result<u64, StoreError> {
    let write = async {
        match &task.record {
            Some(record) => store.replace(Record { revision: task.revision, ..Record::clone(record) }).await,
            None => store.remove(&task.id, task.revision).await.map(|()| task.revision),
        }
    };
    let panicked =
        |_| Err(StoreError::Failed { what: format!("write {}", task.id), source: "the store panicked".into() });
    AssertUnwindSafe(write).catch_unwind().await.unwrap_or_else(panicked)
}

/// About how much memory a value takes, in bytes.
fn weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(weight).sum(),
            Value::Object(members) => members.iter().map(|(name, value)| 64 + name.len() + weight(value)).sum(),
        }
}
