//! A server beside a coordinator that outlives it, as a site has one: it can be taken away, wiped, put back, and made to
//! lose or refuse what is asked of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use slipstream_cimi::Client;
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::{Cause, Found, Node, Operation, State, Watch};
use slipstream_coordination::{Coordinator, Embedded, Error, Session};
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::server::{DEFAULT_MAX_ATTEMPTS, Options, Server, Writers};
use slipstream_store::Store;
use tokio::sync::{Semaphore, watch};

use crate::support::{PASSWORD, credentials};

/// When servers start.
pub const START: &str = "2026-11-24T10:00:00Z";

/// A coordinator, and what happens to it. All sessions of the engine go through it; a test looks at the tree directly.
#[derive(Default)]
pub struct Site {
    tree: Mutex<Embedded>,
    sessions: Mutex<Vec<Arc<EmbeddedSession>>>,
    is_away: AtomicBool,
    /// How often a session was refused.
    pub refused: AtomicUsize,
    /// So many more of those who ask for a session find a bug.
    pub bugs: AtomicUsize,
    faults: Arc<Faults>,
}

/// What becomes of transactions that put entries, and what was asked.
#[derive(Default)]
pub struct Faults {
    /// Of so many more the answer is lost.
    pub lost_answers: AtomicUsize,
    /// Those of more than one entry are refused.
    pub refuses_many: AtomicBool,
    /// Set: each waits for a permit.
    pub held: Mutex<Option<Arc<Semaphore>>>,
    /// How many entries each had.
    pub sizes: Mutex<Vec<usize>>,
    /// Set: each read of many nodes waits for a permit.
    pub reads_held: Mutex<Option<Arc<Semaphore>>>,
    /// How many nodes were read.
    pub read: AtomicUsize,
    /// Nodes that may not be read or changed.
    pub not_allowed: Mutex<HashSet<String>>,
    /// Values of which no entry may be put.
    pub not_put: Mutex<HashSet<String>>,
    /// How often one of the two was asked for.
    pub not_done: AtomicUsize,
}

impl Faults {
    pub fn forbid(&self, path: &str) {
        self.not_allowed.lock().expect("not poisoned").insert(path.to_owned());
    }

    pub fn forbid_put(&self, value: &str) {
        self.not_put.lock().expect("not poisoned").insert(value.to_owned());
    }

    fn allow(&self, path: &str, index: usize) -> Result<(), Error> {
        if !self.not_allowed.lock().expect("not poisoned").contains(path) {
            return Ok(());
        }
        self.not_done.fetch_add(1, Ordering::SeqCst);
        Err(Error::Refused { path: path.to_owned(), index, cause: Cause::NotAllowed })
    }

    fn allow_all(&self, operations: &[Operation]) -> Result<(), Error> {
        for (index, operation) in operations.iter().enumerate() {
            match operation {
                Operation::Create { path, data, .. } => {
                    let value = String::from_utf8_lossy(data).into_owned();
                    if self.not_put.lock().expect("not poisoned").contains(&value) {
                        self.not_done.fetch_add(1, Ordering::SeqCst);
                        return Err(Error::Refused { path: path.clone(), index, cause: Cause::Quota });
                    }
                }
                Operation::Delete { path, .. } | Operation::Set { path, .. } => self.allow(path, index)?,
            }
        }
        Ok(())
    }
}

impl Site {
    pub fn tree(&self) -> Embedded {
        self.tree.lock().expect("not poisoned").clone()
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Nobody has a session any more, and nobody gets one.
    pub fn take_away(&self) {
        self.is_away.store(true, Ordering::SeqCst);
        self.end_sessions();
    }

    pub fn bring_back(&self) {
        self.is_away.store(false, Ordering::SeqCst);
    }

    /// An empty tree in place of this one.
    pub fn wipe(&self) {
        *self.tree.lock().expect("not poisoned") = Embedded::new();
        self.end_sessions();
    }

    /// A session of the server, too, ends as if it had expired.
    pub fn end_sessions(&self) {
        let sessions: Vec<_> = self.sessions.lock().expect("not poisoned").drain(..).collect();
        for session in sessions {
            session.expire();
        }
    }

    /// Names below a folder, in order.
    pub async fn names(&self, folder: &str) -> Vec<String> {
        let mut names = self.tree().session().children(folder).await.unwrap_or_default();
        names.sort();
        names
    }

    /// What a node holds, as text.
    pub async fn text(&self, path: &str) -> Option<String> {
        let node = self.tree().session().data(path).await.ok()?;
        Some(String::from_utf8_lossy(&node.data).into_owned())
    }

    /// What the entries hold, in the order of the queue.
    pub async fn queued(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for name in self.names(paths::ENTRIES).await {
            ids.extend(self.text(&format!("{}/{name}", paths::ENTRIES)).await);
        }
        ids
    }

    /// A server that has this store for itself.
    pub async fn server(self: &Arc<Self>, store: Arc<dyn Store>) -> (Server, Client) {
        self.server_with(store, Clock::starting_at(START.parse().expect("a time")), Writers::One).await
    }

    /// One of several servers over this store.
    pub async fn server_among_others(self: &Arc<Self>, store: Arc<dyn Store>) -> (Server, Client) {
        self.server_with(store, Clock::starting_at(START.parse().expect("a time")), Writers::Several).await
    }

    /// A server over this store, under a clock of its own.
    pub async fn server_with(
        self: &Arc<Self>,
        store: Arc<dyn Store>,
        clock: Clock,
        writers: Writers,
    ) -> (Server, Client) {
        let (password, max_attempts) = (PASSWORD.into(), DEFAULT_MAX_ATTEMPTS);
        let options = Options {
            password,
            max_attempts,
            writers,
            coordinator_forgets: false,
            collections: default_collections(),
            metrics: Metrics::default(),
        };
        let server = Server::start(store, self.clone(), clock, options).await.expect("the server starts");
        let client = Client::new(server.transport(), Some(credentials()));
        (server, client)
    }
}

#[async_trait]
impl Coordinator for Site {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        if self.is_away.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Error::Unreachable { hosts: "here".to_owned(), reason: "it is away".to_owned() });
        }
        let one_less = |left: usize| left.checked_sub(1);
        assert!(self.bugs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_err(), "a bug of this test");
        let inner = Arc::new(self.tree().session());
        self.sessions.lock().expect("not poisoned").push(inner.clone());
        Ok(Arc::new(SiteSession { inner, faults: self.faults.clone() }))
    }

    fn session_timeout(&self) -> Duration {
        self.tree().session_timeout()
    }
}

struct SiteSession {
    inner: Arc<EmbeddedSession>,
    faults: Arc<Faults>,
}

fn puts(operations: &[Operation]) -> bool {
    let is_entry = |path: &str| path.starts_with(paths::ENTRIES) && path != paths::ENTRIES;
    operations.iter().all(|it| matches!(it, Operation::Create { path, .. } if is_entry(path)))
}

#[async_trait]
impl Session for SiteSession {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        let (faults, count) = (&self.faults, operations.len());
        faults.allow_all(&operations)?;
        if !puts(&operations) {
            return self.inner.commit(operations).await;
        }
        faults.sizes.lock().expect("not poisoned").push(count);
        let held = faults.held.lock().expect("not poisoned").clone();
        if let Some(held) = held {
            held.acquire().await.expect("never closed").forget();
        }
        if count > 1 && faults.refuses_many.load(Ordering::SeqCst) {
            let path = paths::ENTRIES.to_owned();
            return Err(Error::Refused { path, index: count - 1, cause: Cause::Other });
        }
        let answer = self.inner.commit(operations).await;
        let one_less = |left: usize| left.checked_sub(1);
        match faults.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(Error::ConnectionLoss),
            Err(_) => answer,
        }
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        self.faults.read.fetch_add(1, Ordering::SeqCst);
        self.faults.allow(path, 0)?;
        self.inner.data(path).await
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        self.faults.read.fetch_add(paths.len(), Ordering::SeqCst);
        let held = self.faults.reads_held.lock().expect("not poisoned").clone();
        if let Some(held) = held {
            held.acquire().await.expect("never closed").forget();
        }
        let refused: Vec<bool> = paths.iter().map(|path| self.faults.allow(path, 0).is_err()).collect();
        let read = self.inner.nodes(paths).await?;
        let found = |(found, is_refused)| if is_refused { Err(Cause::NotAllowed) } else { found };
        Ok(read.into_iter().zip(refused).map(found).collect())
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.faults.allow(path, 0)?;
        self.inner.children(path).await
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        self.inner.watch(path).await
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        self.inner.sync(path).await
    }

    fn state(&self) -> watch::Receiver<State> {
        self.inner.state()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
