//! [`LockingQueue`] and [`Claim`], byte-compatible with kazoo's `LockingQueue` (`/job/entries`, `/job/taken`).

use std::sync::Arc;

use crate::session::{Error, Session};

/// A queue of small values in order of priority, of which each is held by at most one taker.
/// Cheap to clone: clones share one mirror of the queue.
#[derive(Clone)]
pub struct LockingQueue {}

/// How consuming or releasing a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Done, by us.
    Done,
    /// The claim was no longer ours; nothing of anybody else was touched.
    Lost,
}

impl LockingQueue {
    /// A queue below `root` (e.g. `/job`), whose nodes are made if missing. `claimant` is written into claim nodes:
    /// 32 lower-case hex characters. The queue ends with its session.
    pub async fn open(session: Arc<dyn Session>, root: &str, claimant: &str) -> Result<Self, Error> {
        todo!("{root} {claimant} {}", Arc::strong_count(&session))
    }

    /// Adds a value with a priority (0 to 999, lower first) and answers the path of its entry.
    pub async fn put(&self, value: &[u8], priority: u16) -> Result<String, Error> {
        todo!("{value:?} {priority}")
    }

    /// Waits for the first free entry that can be held. Dropping the future at any point leaves no claim behind.
    /// Fails only when the session has expired.
    pub async fn take(&self) -> Result<Claim, Error> {
        todo!()
    }

    /// Leaves an entry alone for a while: `take` of this process passes over it until then.
    pub fn avoid(&self, entry: &str, duration: std::time::Duration) {
        todo!("{entry} {duration:?}")
    }

    /// How many entries wait, free or taken, as the mirror knows.
    #[must_use]
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether no entry waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The right to one entry. Consume or release it; a claim that is dropped is released in the background.
#[must_use = "a claim that is dropped is released"]
pub struct Claim {}

impl Claim {
    /// What was put.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        todo!()
    }

    /// Path of the entry, e.g. `/job/entries/entry-999-0000000042`.
    #[must_use]
    pub fn entry(&self) -> &str {
        todo!()
    }

    /// Transaction that created the claim node.
    #[must_use]
    pub fn zxid(&self) -> i64 {
        todo!()
    }

    /// Deletes entry and claim in one transaction; a claim whose entry is gone is deleted alone.
    pub async fn consume(self) -> Result<Settled, Error> {
        todo!()
    }

    /// Gives the entry back.
    pub async fn release(self) -> Result<Settled, Error> {
        todo!()
    }

    /// Touches nothing: for a claim known to be lost, or left to the session's close.
    pub fn abandon(self) {
        todo!()
    }

    /// Ends when the claim is known to be gone: its node was deleted or its session has expired.
    pub async fn lost(&self) {
        todo!()
    }

    /// Ends when the entry was deleted by somebody else: the job was stopped or deleted.
    pub async fn entry_gone(&self) {
        todo!()
    }
}
