//! [`Records`]: what is known of the records that are being worked on, and what is to be written when. Pure but for the
//! channels on which callers wait.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use slipstream_store::{Revision, StoreError, Write};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Durability;
use crate::server::jobs::record::JobRecord;

/// Most records in one batch.
const LARGEST_BATCH: usize = 512;
/// How long a change that nobody waits for may stay unwritten; decision 4 allows a second.
const MOMENT: Duration = Duration::from_millis(50);
/// Most records without unwritten changes that are kept, and the most memory for them, in bytes.
const KEPT: usize = 4_096;
const KEPT_BYTES: usize = 32 << 20;
/// Most of them that are looked at whenever another one comes.
const FORGOTTEN_AT_ONCE: usize = 4;

/// Whoever waits for a write.
pub(super) type Waiter = oneshot::Sender<Result<(), StoreError>>;
/// What it waits on.
pub(super) type Waiting = oneshot::Receiver<Result<(), StoreError>>;

#[derive(Default)]
pub(super) struct Records {
    known: HashMap<Arc<str>, Known>,
    /// Records whose callers wait.
    urgent: VecDeque<Arc<str>>,
    /// Records that nobody waits for, each with the time at which it is written.
    unhurried: VecDeque<(Arc<str>, Instant)>,
    /// Records in the order in which the store had them, each once; some may have changed again meanwhile.
    kept: VecDeque<Arc<str>>,
    bytes: usize,
    /// How often somebody has begun to read a record.
    loads: u64,
    /// Nothing is written any more.
    closed: bool,
}

enum Known {
    /// Somebody reads it, by this number; whoever else wants it waits.
    Loading(u64, Vec<Waiter>),
    Loaded(Loaded),
}

struct Loaded {
    /// None once it is removed.
    current: Option<Arc<JobRecord>>,
    /// Its revision in the store.
    revision: Revision,
    bytes: usize,
    /// Its id is in [`Records::kept`].
    is_kept: bool,
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
pub(super) struct Task {
    pub(super) id: Arc<str>,
    pub(super) revision: Revision,
    /// None removes it.
    pub(super) record: Option<Arc<JobRecord>>,
}

/// What somebody who wants a record finds.
pub(super) enum Look {
    Found(Arc<JobRecord>),
    /// Somebody else reads it, or it has changes that their callers wait for.
    Wait(Waiting),
    /// Nobody knows it: it is to be read, by this number.
    Load(u64),
}

impl Records {
    pub(super) fn look(&mut self, id: &str) -> Look {
        match self.known.get_mut(id) {
            None => {
                self.loads += 1;
                self.known.insert(id.into(), Known::Loading(self.loads, Vec::new()));
                Look::Load(self.loads)
            }
            Some(Known::Loading(_, waiters)) => Look::Wait(wait_among(waiters)),
            Some(Known::Loaded(loaded)) => match &loaded.current {
                Some(current) if loaded.writing.is_empty() && loaded.waiting.is_empty() => Look::Found(current.clone()),
                _ => Look::Wait(loaded.wait()),
            },
        }
    }

    /// Whoever read a record by this number did not find it, or gave up: who waits for that hears it by the end of the
    /// channel. What somebody else reads by now is left to them.
    pub(super) fn not_loaded(&mut self, id: &str, number: u64) {
        if matches!(self.known.get(id), Some(Known::Loading(by, _)) if *by == number) {
            self.known.remove(id);
        }
    }

    /// A record as the store has it; whoever waits for it hears that by the end of the channel.
    pub(super) fn load(&mut self, record: Arc<JobRecord>, revision: Revision) {
        self.forget(&record.id);
        let bytes = record.weight();
        self.bytes += bytes;
        self.kept.push_back(record.id.clone());
        let id = record.id.clone();
        let (current, progress) = (Some(record), Progress::Written);
        let (writing, waits) = (Vec::new(), Vec::new());
        let loaded = Loaded { current, revision, bytes, is_kept: true, progress, writing, waiting: waits };
        self.known.insert(id, Known::Loaded(loaded));
        self.forget_oldest();
    }

    /// Forgets what the store has had for longest. What has changed since is kept again once the store has it, and what
    /// somebody holds is passed over: most likely it is about to change.
    pub(super) fn forget_oldest(&mut self) {
        for _ in 0..self.kept.len().min(FORGOTTEN_AT_ONCE) {
            if self.kept.len() <= KEPT && self.bytes <= KEPT_BYTES {
                return;
            }
            let Some(id) = self.kept.pop_front() else { return };
            match self.loaded(&id) {
                Some(loaded) if loaded.is_held() => self.kept.push_back(id),
                Some(loaded) if loaded.progress == Progress::Written => self.forget(&id),
                Some(loaded) => loaded.is_kept = false,
                None => {}
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

    /// Whether one of the records, as they are now, is such.
    pub(super) fn any(&self, is_such: impl Fn(&JobRecord) -> bool) -> bool {
        self.known.values().any(|known| match known {
            Known::Loaded(loaded) => loaded.current.as_deref().is_some_and(&is_such),
            Known::Loading(..) => false,
        })
    }

    /// Changes a record if it is still `base`; `None` removes it. Answers the record as it is then, and for what has to
    /// be on the disk what to wait for.
    ///
    /// A record that nobody looks at is changed where it is, and any other in a copy: so whoever has an older one than
    /// the current has another one.
    pub(super) fn change(
        &mut self,
        base: Arc<JobRecord>,
        durability: Durability,
        change: Option<impl FnOnce(&mut JobRecord)>,
    ) -> Result<(Option<Arc<JobRecord>>, Option<Waiting>), StoreError> {
        if self.closed {
            return Err(ended(&base.id));
        }
        let loaded = match self.known.get_mut(&base.id) {
            Some(Known::Loaded(loaded)) if loaded.current.as_ref().is_some_and(|now| Arc::ptr_eq(now, &base)) => loaded,
            _ => return Err(StoreError::Changed((*base.id).to_owned())),
        };
        let id = base.id.clone();
        drop(base);
        match (change, &mut loaded.current) {
            (Some(change), Some(current)) => change(Arc::make_mut(current)),
            _ => loaded.current = None,
        }
        let current = loaded.current.clone();
        Ok((current, self.changed(id, durability)))
    }

    /// A record was changed: it is put into the queue of those that wait, unless it is there.
    fn changed(&mut self, id: Arc<str>, durability: Durability) -> Option<Waiting> {
        let loaded = self.loaded(&id)?;
        let waiting = (durability == Durability::OnDisk).then(|| wait_among(&mut loaded.waiting));
        match &mut loaded.progress {
            Progress::Writing { changed } => *changed = true,
            progress => {
                let is_new = *progress == Progress::Written;
                *progress = Progress::Waiting;
                if waiting.is_some() {
                    self.urgent.push_back(id);
                } else if is_new {
                    self.unhurried.push_back((id, Instant::now() + MOMENT));
                }
            }
        }
        waiting
    }

    /// Waits for everything that was answered and is not written.
    pub(super) fn hurry(&mut self) -> Vec<Waiting> {
        let is_unwritten = |known: &Known| matches!(known, Known::Loaded(it) if it.progress != Progress::Written);
        let mut ids: Vec<Arc<str>> =
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
    pub(super) fn next_batch(&mut self, now: Instant) -> Vec<Task> {
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
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.unhurried.front().map(|(_, due)| *due)
    }

    /// The write of a record that waits; none if it has been taken already.
    fn task(&mut self, id: Arc<str>) -> Option<Task> {
        let loaded = self.loaded(&id).filter(|loaded| loaded.progress == Progress::Waiting)?;
        loaded.progress = Progress::Writing { changed: false };
        loaded.writing.append(&mut loaded.waiting);
        Some(Task { revision: loaded.revision, record: loaded.current.clone(), id })
    }

    /// A record was written, or could not be; answers who waited for that. What could not be written is nowhere but in
    /// memory, and is forgotten: whoever has to change the record reads it again.
    pub(super) fn written(&mut self, id: &Arc<str>, written: &Result<Revision, StoreError>) -> Vec<Waiter> {
        let Some(Known::Loaded(loaded)) = self.known.get_mut(id) else { return Vec::new() };
        let mut waiters = std::mem::take(&mut loaded.writing);
        match (written, loaded.progress) {
            (Ok(revision), Progress::Writing { changed: true }) => {
                loaded.revision = *revision;
                loaded.progress = Progress::Waiting;
                if loaded.waiting.is_empty() {
                    self.unhurried.push_back((id.clone(), Instant::now() + MOMENT));
                } else {
                    self.urgent.push_back(id.clone());
                }
            }
            (Ok(revision), _) if loaded.current.is_some() => {
                loaded.revision = *revision;
                loaded.progress = Progress::Written;
                let bytes = loaded.current.as_ref().map_or(0, |job| job.weight());
                self.bytes = self.bytes + bytes - std::mem::replace(&mut loaded.bytes, bytes);
                if !std::mem::replace(&mut loaded.is_kept, true) {
                    self.kept.push_back(id.clone());
                }
            }
            _ => {
                waiters.append(&mut loaded.waiting);
                self.forget(id);
            }
        }
        waiters
    }

    /// Nothing is written from now on: whoever waits hears it by the end of the channel.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.known.clear();
    }
}

impl Task {
    /// What the store is to do.
    pub(super) fn write(&self) -> Write {
        match &self.record {
            Some(record) => record.write(self.revision),
            None => Write::Remove((*self.id).to_owned(), self.revision),
        }
    }
}

impl Loaded {
    fn is_held(&self) -> bool {
        self.current.as_ref().is_some_and(|current| Arc::strong_count(current) > 1)
    }

    /// Waits for what has been changed so far.
    fn wait(&mut self) -> Waiting {
        let is_in_batch = self.progress == Progress::Writing { changed: false };
        wait_among(if is_in_batch { &mut self.writing } else { &mut self.waiting })
    }
}

fn wait_among(waiters: &mut Vec<Waiter>) -> Waiting {
    let (waiter, waiting) = oneshot::channel();
    waiters.push(waiter);
    waiting
}

/// Why nothing is written any more.
pub(super) fn ended(id: &str) -> StoreError {
    StoreError::Gone { what: format!("write {id}"), why: "the server is being closed" }
}
