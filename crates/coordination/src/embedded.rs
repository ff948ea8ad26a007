//! The coordinator of one process: a node tree in memory.
//!
//! Everything happens under one lock and is over when the lock is free: a request is answered at its first poll, and
//! what it changed lies in every watch by then. Nothing runs in between, so an idle coordinator costs nothing.
//!
//! What a watch cannot hold becomes a [`Change::Reset`], see `watch_sender`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::session::{
    Cause, Change, Coordinator, Error, Found, Mode, Node, Operation, SESSION_TIMEOUT, Session, State, Watch, found,
};
use crate::tree::{SessionId, Tree};
use crate::watch_sender::WatchSender;

#[cfg(test)]
mod tests;

/// A coordinator that lives in this process. Cheap to clone: clones share the tree.
#[derive(Clone, Default)]
pub struct Embedded {
    inner: Arc<Mutex<Inner>>,
}

/// A session of an [`Embedded`] coordinator. It ends when it is dropped.
pub struct EmbeddedSession {
    embedded: Embedded,
    id: SessionId,
    state: watch::Receiver<State>,
}

#[derive(Default)]
struct Inner {
    tree: Tree,
    /// By the order of their opening, so that the same calls wake the same readers in the same order.
    sessions: BTreeMap<SessionId, Connection>,
}

struct Connection {
    state: watch::Sender<State>,
    watchers: Vec<Watcher>,
}

struct Watcher {
    path: String,
    sender: WatchSender,
}

impl Embedded {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates persistent nodes with these names and data below `parent` (made if missing), and lifts the parent's
    /// sequence above the highest sequence among the names, so that later sequential names come after them. All or
    /// none, but for those that exist: they stay as they are, and the answer is how many that were. For the start of a
    /// process whose tree is rebuilt from a store, page by page.
    pub fn restore(&self, parent: &str, children: Vec<(String, Vec<u8>)>) -> Result<usize, Error> {
        let mut inner = self.lock();
        let session = inner.tree.open();
        let restored = inner.restore(session, parent, children);
        inner.tree.expire(session);
        restored
    }

    /// A new session, as [`Coordinator::connect`], with what tests and simulations do to it.
    #[must_use]
    pub fn session(&self) -> EmbeddedSession {
        let mut inner = self.lock();
        let id = inner.tree.open();
        let (sender, state) = watch::channel(State::Connected);
        inner.sessions.insert(id, Connection { state: sender, watchers: Vec::new() });
        drop(inner);
        EmbeddedSession { embedded: self.clone(), id, state }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics while it holds the tree")
    }
}

impl EmbeddedSession {
    /// Ends the session as a coordinator does that has not heard of it for too long.
    pub fn expire(&self) {
        self.embedded.lock().expire(self.id);
    }

    /// Cuts the connection: requests fail with [`Error::ConnectionLoss`] and are not carried out, changes are missed.
    pub fn suspend(&self) {
        self.embedded.lock().enter(self.id, State::Suspended);
    }

    /// Connects again; every watch yields a [`Change::Reset`].
    pub fn resume(&self) {
        self.embedded.lock().resume(self.id);
    }

    fn connected(&self) -> Result<MutexGuard<'_, Inner>, Error> {
        let inner = self.embedded.lock();
        match *self.state.borrow() {
            State::Connected => Ok(inner),
            State::Suspended => Err(Error::ConnectionLoss),
            State::Expired => Err(Error::Expired),
        }
    }
}

impl Drop for EmbeddedSession {
    fn drop(&mut self) {
        self.expire();
    }
}

#[async_trait]
impl Session for EmbeddedSession {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        self.connected()?.commit(self.id, operations)
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        self.connected()?.tree.data(path)
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        let inner = self.connected()?;
        paths.iter().map(|path| found(inner.tree.data(path))).collect()
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.connected()?.tree.children(path)
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        self.connected()?.watch(self.id, path)
    }

    async fn sync(&self, _path: &str) -> Result<(), Error> {
        self.connected().map(drop)
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    async fn close(&self) {
        self.expire();
    }
}

#[async_trait]
impl Coordinator for Embedded {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        Ok(Arc::new(self.session()))
    }

    fn session_timeout(&self) -> Duration {
        SESSION_TIMEOUT
    }
}

impl Inner {
    fn commit(&mut self, session: SessionId, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        let changes = self.tree.apply(session, operations)?;
        self.publish(&changes);
        Ok(changes.into_iter().filter_map(Change::into_path).collect())
    }

    fn watch(&mut self, session: SessionId, path: &str) -> Result<Watch, Error> {
        if !crate::session::is_path(path) {
            return Err(Error::Refused { path: path.to_owned(), index: 0, cause: Cause::BadPath });
        }
        let connection = self.sessions.get_mut(&session).ok_or(Error::Expired)?;
        let (sender, reader) = WatchSender::new();
        connection.watchers.push(Watcher { path: path.to_owned(), sender });
        Ok(reader)
    }

    fn restore(&mut self, session: SessionId, parent: &str, children: Vec<(String, Vec<u8>)>) -> Result<usize, Error> {
        for (end, _) in parent.match_indices('/').skip(1).chain([(parent.len(), "")]) {
            match self.commit(session, vec![Operation::create(&parent[..end], "", Mode::Persistent)]) {
                Err(error) if !error.is(Cause::NodeExists) => return Err(error),
                _ => {}
            }
        }
        let nexts = children.iter().filter_map(|(name, _)| sequence(name)).map(|sequence| sequence.wrapping_add(1));
        let next = nexts.max().unwrap_or(0);
        let existing = self.tree.restore(parent, children)?;
        self.tree.lift_sequence(parent, next)?;
        let connected = self.sessions.values_mut().filter(|session| *session.state.borrow() == State::Connected);
        let watchers = connected.flat_map(|session| &mut session.watchers);
        watchers
            .filter(|watcher| is_at_or_below(parent, &watcher.path) || is_at_or_below(&watcher.path, parent))
            .for_each(|watcher| watcher.sender.send(Change::Reset));
        Ok(existing)
    }

    fn publish(&mut self, changes: &[Change]) {
        for connection in self.sessions.values_mut() {
            connection.watchers.retain(|watcher| !watcher.sender.is_closed());
            if *connection.state.borrow() == State::Connected {
                connection.watchers.iter_mut().for_each(|watcher| watcher.send(changes));
            }
        }
    }

    fn expire(&mut self, session: SessionId) {
        // the watches of the session end here, with their senders
        if let Some(connection) = self.sessions.remove(&session) {
            connection.state.send_replace(State::Expired);
            let changes = self.tree.expire(session);
            self.publish(&changes);
        }
    }

    fn resume(&mut self, session: SessionId) {
        if self.enter(session, State::Connected)
            && let Some(connection) = self.sessions.get_mut(&session)
        {
            connection.watchers.iter_mut().for_each(|watcher| watcher.sender.send(Change::Reset));
        }
    }

    /// Whether that is a change. A state that is entered twice must not look like two changes.
    fn enter(&mut self, session: SessionId, state: State) -> bool {
        let Some(connection) = self.sessions.get(&session) else { return false };
        connection.state.send_if_modified(|now| std::mem::replace(now, state) != state)
    }
}

impl Watcher {
    fn send(&mut self, changes: &[Change]) {
        for change in changes {
            if change.path().is_some_and(|path| is_at_or_below(path, &self.path)) {
                self.sender.send(change.clone());
            }
        }
    }
}

fn is_at_or_below(path: &str, watched: &str) -> bool {
    watched == "/" || path.strip_prefix(watched).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The sequence number that ends a name, `-` included if it is negative.
fn sequence(name: &str) -> Option<i32> {
    let digits = name.get(name.len().checked_sub(10)?..)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let negative = name[..name.len() - 10].ends_with("--");
    format!("{}{digits}", if negative { "-" } else { "" }).parse().ok()
}
