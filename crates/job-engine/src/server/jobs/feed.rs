//! [`Feed`]: tells whoever waits for a job that it has changed or is gone, and whoever looks at any that something has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, watch};

/// Who waits for which job, and who looks at all. Where nobody does, [`publish`](Self::publish) costs the load of two
/// flags.
#[derive(Default)]
pub struct Feed {
    is_watched: AtomicBool,
    by_id: Mutex<HashMap<Arc<str>, Arc<Notify>>>,
    /// Rises with every change, while somebody looks.
    changes: watch::Sender<u64>,
}

/// Whoever is ready to look, and does not yet, holds one receiver of the counter of changes.
const READY: usize = 1;

impl Feed {
    /// Watches a job from now on, whether there is one of this id or not. What was published before is not seen, so that
    /// the job is to be read afterwards.
    #[must_use]
    pub fn watch(self: &Arc<Self>, id: &str) -> JobWatch {
        let (id, mut by_id) = (Arc::<str>::from(id), self.lock());
        let notify = by_id.entry(id.clone()).or_default().clone();
        self.is_watched.store(true, Ordering::SeqCst);
        JobWatch { feed: self.clone(), id, notify }
    }

    /// Counts changes from when it is cloned on: the first of its kind is held by whoever is only ready to look.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Something that is shown was changed, of a job that nobody can wait for.
    pub(crate) fn count(&self) {
        if self.changes.receiver_count() > READY {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// The job was changed or removed, and whoever reads it from now on sees that. Whoever watches and read it before
    /// had raised the flag by then, as reading and changing a job take the same lock.
    pub(crate) fn publish(&self, id: &str) {
        self.count();
        if !self.is_watched.load(Ordering::SeqCst) {
            return;
        }
        if let Some(notify) = self.lock().get(id) {
            notify.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Notify>>> {
        self.by_id.lock().expect("no holder of this lock panics")
    }
}

/// Somebody who waits for a job; forgotten when dropped.
pub struct JobWatch {
    feed: Arc<Feed>,
    id: Arc<str>,
    notify: Arc<Notify>,
}

impl JobWatch {
    /// Ends at the next change after this was called, even if it is awaited only later.
    pub fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.notify.notified()
    }
}

impl Drop for JobWatch {
    fn drop(&mut self) {
        let mut by_id = self.feed.lock();
        // The last one: one reference is the map's, the other this one's. Others come and go under the lock.
        if Arc::strong_count(&self.notify) == 2 {
            by_id.remove(&self.id);
            self.feed.is_watched.store(!by_id.is_empty(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_change_is_told_to_all_who_wait_for_that_job_and_to_nobody_else() {
        let feed = Arc::new(Feed::default());
        let (one, two, other) = (feed.watch("job/1"), feed.watch("job/1"), feed.watch("job/2"));
        let (told, told_too, mut not_told) = (one.changed(), two.changed(), Box::pin(other.changed()));
        feed.publish("job/1");
        tokio::join!(told, told_too);
        assert!(poll!(&mut not_told).is_pending());
        let mut next = Box::pin(one.changed());
        assert!(poll!(&mut next).is_pending(), "each change is told once");
        drop(two);
        feed.publish("job/1");
        next.await;
    }

    #[test]
    fn changes_are_counted_while_somebody_looks() {
        let feed = Feed::default();
        let ready = feed.changes();
        feed.publish("job/1");
        let looking = ready.clone();
        assert_eq!(*looking.borrow(), 0, "nobody looked");
        feed.publish("job/1");
        feed.count();
        assert_eq!(*looking.borrow(), 2);
        drop(looking);
        feed.publish("job/1");
        assert_eq!(*ready.borrow(), 2);
    }

    #[test]
    fn waits_that_are_dropped_are_forgotten() {
        let feed = Arc::new(Feed::default());
        let (one, two) = (feed.watch("job/1"), feed.watch("job/1"));
        drop(one);
        assert!(feed.lock().contains_key("job/1") && feed.is_watched.load(Ordering::SeqCst), "one still waits");
        drop(two);
        assert!(feed.lock().is_empty() && !feed.is_watched.load(Ordering::SeqCst));
    }
}
