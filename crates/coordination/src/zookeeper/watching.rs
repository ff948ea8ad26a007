//! Watches over `ZooKeeper`: recursive ones, and on servers before 3.6, which have none, child watches that say only
//! that something changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zookeeper_client as library;
use zookeeper_client::{AddWatchMode, Client, EventType, PersistentWatcher, SessionState, WatchedEvent};

use super::{Current, ZooKeeperSession, meaning, polling};
use crate::session::{Change, Error, Session, Watch};
use crate::tasks;
use crate::teller::Teller;

/// Before a watch is asked for again that a server refused.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// Sets a watch and tells its reader, until the reader or the session has gone.
pub(super) async fn begin(session: &ZooKeeperSession, path: &str) -> Result<Watch, Error> {
    let (path, limit) = (path.to_owned(), session.limit);
    if !session.is_old() {
        let state = session.state();
        match session.ask(async |client| client.watch(&path, AddWatchMode::PersistentRecursive).await).await? {
            Ok(watcher) => {
                let (teller, watch) = Teller::new();
                let mut watching = Watching { current: session.client.subscribe(), path, limit, teller };
                spawn(session, async move { watching.tell_all(watcher).await });
                return Ok(watch);
            }
            Err(library::Error::Unimplemented) => session.go_back(state).await,
            Err(error) => return Err(meaning(&error, &path, 0)),
        }
    }
    // nothing is asked yet that would say that the session is over
    session.client()?;
    let (teller, watch) = Teller::new();
    spawn(session, polling::tell_all(session.client.subscribe(), path, limit, teller));
    Ok(watch)
}

/// A watch that tells nothing any more looks like one of a session that is over.
fn spawn(session: &ZooKeeperSession, telling: impl Future<Output = ()> + Send + 'static) {
    let client = session.client.clone();
    tasks::spawn("watch", telling, || async move { drop(client.send_replace(None)) });
}

struct Watching {
    current: Current,
    path: String,
    limit: Duration,
    teller: Teller,
}

impl Watching {
    async fn tell_all(&mut self, mut watcher: PersistentWatcher) {
        loop {
            let event = tokio::select! {
                biased;
                () = self.teller.deaf() => return,
                event = watcher.changed() => event,
            };
            if event.event_type != EventType::Session {
                if let Some(change) = change(event) {
                    self.teller.tell(change);
                }
                continue;
            }
            let next = match event.session_state {
                state if state.is_terminated() => match self.anew().await {
                    Some(next) => Some(next),
                    None => return,
                },
                SessionState::SyncConnected => self.again().await,
                _ => None,
            };
            if let Some(next) = next {
                // the old one goes after the new one is set, so that the server is not asked to forget both
                watcher = next;
                self.teller.tell(Change::Reset);
            }
        }
    }

    /// The library has lost the watch with the connection. None if nobody listens, or if it is disconnected again or
    /// over: then the old one has an event that says so.
    async fn again(&self) -> Option<PersistentWatcher> {
        loop {
            let client = self.current.borrow().clone()?;
            if let Some(watcher) = self.set(&client).await {
                return Some(watcher);
            }
            if self.teller.is_deaf() || client.state() != SessionState::SyncConnected {
                return None;
            }
            drop(client);
            sleep(PAUSE).await;
        }
    }

    /// The library has given the session up, and the watch with it. None if nobody listens or the session is over.
    async fn anew(&mut self) -> Option<PersistentWatcher> {
        loop {
            let client = tokio::select! {
                biased;
                () = self.teller.deaf() => return None,
                client = living(&mut self.current) => client?,
            };
            if let Some(watcher) = self.set(&client).await {
                return Some(watcher);
            }
            drop(client);
            sleep(PAUSE).await;
        }
    }

    async fn set(&self, client: &Client) -> Option<PersistentWatcher> {
        match timeout(self.limit, client.watch(&self.path, AddWatchMode::PersistentRecursive)).await {
            Ok(Ok(watcher)) => return Some(watcher),
            Ok(Err(error)) => tracing::debug!(path = self.path, %error, "a watch is not set again yet"),
            Err(_) => tracing::debug!(path = self.path, "no answer to a watch that is set again"),
        }
        None
    }
}

/// A client that has not ended, now or later; none once the session is over.
pub(super) async fn living(current: &mut Current) -> Option<Arc<Client>> {
    let has_not_ended = |client: &Option<Arc<Client>>| client.as_ref().is_none_or(|it| !it.state().is_terminated());
    current.wait_for(has_not_ended).await.ok()?.clone()
}

fn change(event: WatchedEvent) -> Option<Change> {
    match event.event_type {
        EventType::NodeCreated => Some(Change::Created(event.path)),
        EventType::NodeDeleted => Some(Change::Deleted(event.path)),
        EventType::NodeDataChanged => Some(Change::Set(event.path)),
        EventType::NodeChildrenChanged | EventType::Session => None,
    }
}
