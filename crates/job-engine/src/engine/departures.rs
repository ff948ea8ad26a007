//! [`Departures`]: tells whoever waits for it that an entry has left the queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use slipstream_coordination::session::{Cause, Change, Error, Session, Watch};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::process::paths;

/// One watch over all entries, however many wait.
pub(super) struct Departures {
    session: Arc<dyn Session>,
    waiters: Waiters,
    _reader: AbortOnDropHandle<()>,
}

impl Departures {
    /// Watches the queue from now on.
    pub(super) async fn watch(session: Arc<dyn Session>) -> Result<Self, Error> {
        let changes = session.watch(paths::ENTRIES).await?;
        let waiters = Waiters::default();
        let reader = AbortOnDropHandle::new(tokio::spawn(read(changes, waiters.clone())));
        Ok(Self { session, waiters, _reader: reader })
    }

    /// Ends when this entry is not in the queue.
    pub(super) async fn of(&self, entry: &str) {
        let waiter = self.waiters.register(entry);
        loop {
            let told = waiter.notify.notified();
            // It may have gone before anybody was there to be told, or have been missed.
            if self.session.data(entry).await.is_err_and(|error| error.is(Cause::NoNode)) {
                return;
            }
            told.await;
        }
    }
}

/// Ends with the session.
async fn read(mut changes: Watch, waiters: Waiters) {
    while let Some(change) = changes.recv().await {
        match change {
            Change::Deleted(entry) => waiters.tell(&entry),
            Change::Reset => waiters.tell_all(),
            Change::Created(_) | Change::Set(_) => {}
        }
    }
}

/// Who waits for which entry.
#[derive(Clone, Default)]
struct Waiters {
    by_entry: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

/// Somebody who waits; forgotten when dropped.
struct Waiter<'a> {
    waiters: &'a Waiters,
    entry: &'a str,
    notify: Arc<Notify>,
}

impl Waiters {
    fn register<'a>(&'a self, entry: &'a str) -> Waiter<'a> {
        let notify = self.lock().entry(entry.to_owned()).or_default().clone();
        Waiter { waiters: self, entry, notify }
    }

    fn tell(&self, entry: &str) {
        if let Some(notify) = self.lock().get(entry) {
            notify.notify_waiters();
        }
    }

    fn tell_all(&self) {
        self.lock().values().for_each(|notify| notify.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.by_entry.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waiters = self.waiters.lock();
        // The last one: one reference is the map's, the other this one's. Others come and go under the lock.
        if Arc::strong_count(&self.notify) == 2 {
            waiters.remove(self.entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slipstream_coordination::embedded::EmbeddedSession;
    use slipstream_coordination::session::{Mode, Operation, make_path};
    use slipstream_coordination::{Coordinator, Embedded};
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);
    const FIRST: &str = "/job/entries/entry-999-0000000001";
    const SECOND: &str = "/job/entries/entry-999-0000000002";

    async fn queue() -> (EmbeddedSession, Departures) {
        let coordinator = Embedded::new();
        let session = coordinator.session();
        make_path(&session, paths::ENTRIES).await.unwrap();
        put(&session, FIRST).await;
        put(&session, SECOND).await;
        (session, Departures::watch(coordinator.connect().await.unwrap()).await.unwrap())
    }

    async fn put(session: &EmbeddedSession, entry: &str) {
        session.commit(vec![Operation::create(entry, "job/1", Mode::Persistent)]).await.unwrap();
    }

    async fn delete(session: &EmbeddedSession, entry: &str) {
        session.commit(vec![Operation::delete(entry)]).await.unwrap();
    }

    #[tokio::test]
    async fn an_entry_that_goes_is_told_to_all_who_wait_for_it_and_to_nobody_else() {
        let (session, departures) = queue().await;
        let (mut one, mut two) = (Box::pin(departures.of(FIRST)), Box::pin(departures.of(FIRST)));
        let mut other = Box::pin(departures.of(SECOND));
        assert!(futures_util::poll!(&mut one).is_pending() && futures_util::poll!(&mut two).is_pending());
        assert!(futures_util::poll!(&mut other).is_pending());
        put(&session, "/job/entries/entry-999-0000000003").await;
        delete(&session, FIRST).await;
        tokio::join!(one, two);
        assert!(futures_util::poll!(other).is_pending());
        departures.of(FIRST).await;
    }

    #[tokio::test(start_paused = true)]
    async fn more_changes_than_a_watch_holds_hide_no_departure() {
        let (session, departures) = queue().await;
        let mut wait = Box::pin(departures.of(FIRST));
        assert!(futures_util::poll!(&mut wait).is_pending());
        // Nobody reads meanwhile: nothing here gives way to the reader.
        for _ in 0..10_000 {
            session
                .commit(vec![Operation::Set { path: SECOND.to_owned(), data: Vec::new(), version: None }])
                .await
                .unwrap();
        }
        delete(&session, FIRST).await;
        timeout(LIMIT, wait).await.unwrap();
    }

    #[tokio::test]
    async fn waits_that_are_dropped_are_forgotten() {
        let (session, departures) = queue().await;
        let (mut one, mut two) = (Box::pin(departures.of(FIRST)), Box::pin(departures.of(FIRST)));
        assert!(futures_util::poll!(&mut one).is_pending() && futures_util::poll!(&mut two).is_pending());
        drop(one);
        assert_eq!(departures.waiters.lock().len(), 1, "one still waits");
        delete(&session, FIRST).await;
        two.await;
        assert_eq!(departures.waiters.lock().len(), 0);
    }
}
