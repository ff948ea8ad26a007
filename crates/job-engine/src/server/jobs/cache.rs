//! [`WriteBehind`]: the jobs that are being worked on, in memory in front of a store.
//!
//! A change is carried out in memory, against the very record that was read, and written by one task. What has to be
//! durable before it is answered waits for that ([`Durability::OnDisk`]), in batches that form by what waits, never by
//! time (decision 10). What need not ([`Durability::Soon`]) is written with the next such change of the same record, or
//! after a moment, for which nobody waits. So the entry's path, RUNNING and the final state of a short job are one
//! write.
//!
//! It is right only where nobody else writes these records. Where others do ([`Writers::Several`]) nothing is remembered: each
//! read is one of the store, and each change is written against the revision that was read. Nobody reads what a caller still waits for: [`get`] answers
//! it once it is durable, and before a search [`settled`] has everything written that was answered.
//!
//! [`get`]: WriteBehind::get
//! [`settled`]: WriteBehind::settled

mod records;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use slipstream_store::{Revision, Store, StoreError, StoreExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::records::{Look, Records, Task, ended};
use crate::server::jobs::feed::Feed;
use crate::server::jobs::record::JobRecord;

/// Batches under way: the store prepares one while it synchronises the one before.
const BATCHES: usize = 2;

/// Jobs that are prepared at once, and bytes of them after which no more are: those that are prepared last must not put the
/// first ones out before anybody gets them.
const PREPARED_AT_ONCE: usize = 64;
const PREPARED_BYTES: usize = 8 << 20;

/// When a change has to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A moment later; a crash before that loses it.
    Soon,
    /// Before it is answered.
    OnDisk,
}

/// Who writes the jobs of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// This server alone.
    One,
    /// Other servers, too.
    Several,
}

/// Jobs in front of a store. Ends with its last user, without writing what nobody waits for; see
/// [`close`](Self::close).
pub struct WriteBehind {
    shared: Arc<Shared>,
    writers: Writers,
    /// Asks the writer to end once everything is written.
    closing: CancellationToken,
    writer: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Shared {
    store: Arc<dyn Store>,
    records: Mutex<Records>,
    /// Something waits to be written.
    waiting: Notify,
    feed: Arc<Feed>,
}

impl WriteBehind {
    /// In front of a store. Wants a runtime: it starts the task that writes. `lost` is told when a change that nobody
    /// waited for could not be written.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, writers: Writers, lost: Arc<Notify>) -> Self {
        let shared =
            Arc::new(Shared { store, records: Mutex::default(), waiting: Notify::new(), feed: Arc::default() });
        let closing = CancellationToken::new();
        let writer = tokio::spawn(write_batches(shared.clone(), closing.clone(), lost));
        Self { shared, writers, closing, writer: Mutex::new(Some(AbortOnDropHandle::new(writer))) }
    }

    /// Tells of each change of a job that is made here, once [`get`](Self::get) shows it.
    #[must_use]
    pub fn feed(&self) -> &Arc<Feed> {
        &self.shared.feed
    }

    /// Adds a job, on the disk before it is answered. Whatever somebody does with a job of this id is waited for: an add
    /// that overtakes a removal would be taken for what is removed.
    pub async fn insert(&self, mut record: JobRecord) -> Result<Arc<JobRecord>, StoreError> {
        let id = record.id.clone();
        if self.writers == Writers::Several {
            record.revision = self.shared.store.insert(record.stored(Revision::default())).await?;
            self.shared.feed.count();
            return Ok(Arc::new(record));
        }
        // whoever finds it in the store before it is known here waits
        let Err(_loading) = self.look(&id).await else { return Err(StoreError::Exists((*id).to_owned())) };
        let revision = self.shared.store.insert(record.stored(Revision::default())).await?;
        let record = Arc::new(record);
        self.shared.records().load(record.clone(), revision);
        self.shared.feed.count();
        Ok(record)
    }

    /// The job as it is. Changes that somebody waits for are waited for here, too.
    pub async fn get(&self, id: &str) -> Result<Option<Arc<JobRecord>>, StoreError> {
        if self.writers == Writers::Several {
            let found = self.shared.store.get(id).await?;
            return Ok(found.map(|record| Arc::new(record.into())));
        }
        let _loading = match self.look(id).await {
            Ok(record) => return Ok(Some(record)),
            Err(loading) => loading,
        };
        let Some(found) = self.shared.store.get(id).await? else { return Ok(None) };
        let revision = found.revision;
        let record = Arc::new(JobRecord::from(found));
        self.shared.records().load(record.clone(), revision);
        Ok(Some(record))
    }

    /// Reads those of these jobs that nobody knows, many at once, for whoever gets them next; as many as are kept until then.
    pub async fn prepare(&self, ids: impl IntoIterator<Item = &str>) {
        if self.writers == Writers::Several {
            return;
        }
        let mut loading = Vec::new();
        for id in ids {
            if let Look::Load(number) = self.shared.records().look(id) {
                loading.push(Loading { shared: &self.shared, id, number });
            }
        }
        let mut bytes = 0;
        // one alone is read by whoever gets it
        for some in loading.chunks(PREPARED_AT_ONCE).filter(|some| some.len() > 1) {
            let ids: Vec<&str> = some.iter().map(|loading| loading.id).collect();
            // what cannot be read is told to whoever gets it
            for found in self.shared.store.read(&ids).await.into_iter().flatten().flatten() {
                let (revision, record) = (found.revision, Arc::new(JobRecord::from(found)));
                bytes += record.weight();
                self.shared.records().load(record, revision);
            }
            if bytes > PREPARED_BYTES {
                return;
            }
        }
    }

    /// The job once nobody waits for it; if nobody knows it, the caller is to load it.
    async fn look<'a>(&'a self, id: &'a str) -> Result<Arc<JobRecord>, Loading<'a>> {
        loop {
            let looked = self.shared.records().look(id);
            match looked {
                Look::Found(record) => return Ok(record),
                // however that ended, what there is now is looked at again
                Look::Wait(waiting) => drop(waiting.await),
                Look::Load(number) => return Err(Loading { shared: &self.shared, id, number }),
            }
        }
    }

    /// Whether one of the jobs that are being worked on is such, be it on the disk or not. Nothing else is done meanwhile.
    pub fn any(&self, is_such: impl Fn(&JobRecord) -> bool) -> bool {
        self.shared.records().any(is_such)
    }

    /// Changes a job that was read from here, if it is still the one, and answers it as it is then. Whoever keeps the
    /// job that it gives here makes a copy necessary.
    pub async fn change(
        &self,
        base: Arc<JobRecord>,
        durability: Durability,
        change: impl FnOnce(&mut JobRecord),
    ) -> Result<Arc<JobRecord>, StoreError> {
        let changed = self.carry_out(base, durability, Some(change)).await?;
        Ok(changed.expect("only a removal leaves nothing"))
    }

    /// Removes a job that was read from here, if it is still the one; on the disk before it is answered.
    pub async fn remove(&self, base: Arc<JobRecord>) -> Result<(), StoreError> {
        self.carry_out(base, Durability::OnDisk, None::<fn(&mut JobRecord)>).await.map(drop)
    }

    async fn carry_out(
        &self,
        base: Arc<JobRecord>,
        durability: Durability,
        change: Option<impl FnOnce(&mut JobRecord)>,
    ) -> Result<Option<Arc<JobRecord>>, StoreError> {
        let id = base.id.clone();
        if self.writers == Writers::Several {
            let changed = write_through(&*self.shared.store, &base, change).await?;
            self.shared.feed.publish(&id);
            return Ok(changed);
        }
        let (changed, waiting) = self.shared.records().change(base, durability, change)?;
        self.shared.waiting.notify_one();
        if let Some(waiting) = waiting {
            // the writer publishes it, whether it is still waited for here or not
            waiting.await.unwrap_or_else(|_| Err(ended(&id)))?;
        } else {
            self.shared.feed.publish(&id);
        }
        Ok(changed)
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
            tracing::error!(%error, "the task that writes jobs crashed");
        }
    }
}

/// Writes a change against the revision that was read.
async fn write_through(
    store: &dyn Store,
    base: &JobRecord,
    change: Option<impl FnOnce(&mut JobRecord)>,
) -> Result<Option<Arc<JobRecord>>, StoreError> {
    let Some(change) = change else { return store.remove(&base.id, base.revision).await.map(|()| None) };
    let mut changed = base.clone();
    change(&mut changed);
    changed.revision = store.replace(changed.stored(base.revision)).await?;
    Ok(Some(Arc::new(changed)))
}

impl Shared {
    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().expect("nothing panics while it holds the records")
    }
}

/// Somebody reads a record. Whatever becomes of that, who waits for it is told.
struct Loading<'a> {
    shared: &'a Shared,
    id: &'a str,
    number: u64,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.shared.records().not_loaded(self.id, self.number);
    }
}

/// Whoever waits when the writer ends is told by the end of the channel.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.records().close();
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
    let answers = carry_out(&*shared.store, &batch).await;
    let mut written = Vec::with_capacity(batch.len());
    {
        let mut records = shared.records();
        for (task, answer) in batch.into_iter().zip(answers) {
            written.push((records.written(&task.id, &answer), answer, task.id));
        }
        records.forget_oldest();
    }
    for (waiters, answer, id) in written {
        // what nobody waits for was published as soon as it was made; lost, it is back as it was
        let is_unpublished = !waiters.is_empty() || answer.is_err();
        if let Err(error) = &answer {
            tracing::warn!(
                id = &*id,
                error = error as &dyn std::error::Error,
                "write failed, unacknowledged changes are lost"
            );
            lost.notify_one();
        }
        for waiter in waiters {
            // a caller that no longer waits is not told
            drop(waiter.send(answer.as_ref().map(drop).map_err(StoreError::clone)));
        }
        if is_unpublished {
            shared.feed.publish(&id);
        }
    }
}

/// A store that panics has written nothing that it has answered, and ends no other batch.
async fn carry_out(store: &dyn Store, batch: &[Task]) -> Vec<Result<Revision, StoreError>> {
    let written = AssertUnwindSafe(store.write(batch.iter().map(Task::write).collect())).catch_unwind().await;
    written.unwrap_or_else(|_| {
        let panicked = |task: &Task| Err(StoreError::failed(format!("write {}", task.id), "the store panicked"));
        batch.iter().map(panicked).collect()
    })
}
