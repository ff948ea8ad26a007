//! Watches over `ZooKeeper`: recursive ones.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zookeeper_client::{AddWatchMode, Client, EventType, PersistentWatcher, SessionState, WatchedEvent};

use super::{Current, ZooKeeperSession, classify};
use crate::session::{Change, Error, Watch};
use crate::tasks;
use crate::watch_sender::WatchSender;

/// Before a watch is asked for again that a server refused.
const PAUSE: Duration = Duration::from_millis(500);

/// Sets a watch and passes on what changes, until the reader or the session has gone.
pub(super) async fn begin(session: &ZooKeeperSession, path: &str) -> Result<Watch, Error> {
    let answer = session.ask(async |client| client.watch(path, AddWatchMode::PersistentRecursive).await).await?;
    let watcher = answer.map_err(|error| classify(&error, path, 0))?;
    let (sender, watch) = WatchSender::new();
    let (current, path, limit) = (session.client.subscribe(), path.to_owned(), session.limit);
    let mut watching = Watching { current, path, limit, sender };
    let client = session.client.clone();
    // a watch that yields nothing any more looks like one of a session that is over
    let close = || async move { drop(client.send_replace(None)) };
    tasks::spawn("watch", async move { watching.pass_on(watcher).await }, close);
    Ok(watch)
}

struct Watching {
    current: Current,
    path: String,
    limit: Duration,
    sender: WatchSender,
}

impl Watching {
    async fn pass_on(&mut self, mut watcher: PersistentWatcher) {
        loop {
            let event = tokio::select! {
                biased;
                () = self.sender.closed() => return,
                event = watcher.changed() => event,
            };
            if event.event_type != EventType::Session {
                if let Some(change) = change(event) {
                    self.sender.send(change);
                }
                continue;
            }
            let is_given_up = event.session_state.is_terminated();
            if !is_given_up && event.session_state != SessionState::SyncConnected {
                continue;
            }
            match self.again(is_given_up).await {
                Some(next) => {
                    // the old one goes after the new one is set, so that the server is not asked to forget both
                    watcher = next;
                    self.sender.send(Change::Reset);
                }
                None if is_given_up => return,
                None => {}
            }
        }
    }

    /// The library has lost the watch with the connection, or has given the session up. None if nobody listens, if the
    /// session is over, or if it is disconnected again: then the old one has an event that says so, unless it was given up.
    async fn again(&mut self, is_given_up: bool) -> Option<PersistentWatcher> {
        loop {
            let client = tokio::select! {
                biased;
                () = self.sender.closed() => return None,
                client = living(&mut self.current) => client?,
            };
            if let Some(watcher) = self.set(&client).await {
                return Some(watcher);
            }
            if !is_given_up && client.state() != SessionState::SyncConnected {
                return None;
            }
            drop(client);
            sleep(PAUSE).await;
        }
    }

    async fn set(&self, client: &Client) -> Option<PersistentWatcher> {
        match timeout(self.limit, client.watch(&self.path, AddWatchMode::PersistentRecursive)).await {
            Ok(Ok(watcher)) => return Some(watcher),
            Ok(Err(error)) => tracing::debug!(path = self.path, %error, "watch not set again yet"),
            Err(_) => tracing::debug!(path = self.path, "no answer to a watch"),
        }
        None
    }
}

/// A client that has not ended, now or later; none once the session is over.
async fn living(current: &mut Current) -> Option<Arc<Client>> {
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
