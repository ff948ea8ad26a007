//! Wrappers at the engine's seams that count entries that are gone, and measure what each part uses of a processor.
//!
//! A measured future charges the processor time of its polls to its part, less what other measured futures inside it
//! use. What no wrapper sees, such as the executor's own work and the runtime's, is the rest.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;
use slipstream_cimi::filter::Filter;
use slipstream_coordination::session::{Error, Found, Node, Operation, State, Watch};
use slipstream_coordination::{Coordinator, Embedded, Session};
use slipstream_job_engine::internals::process::paths;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{IndexRow, Query, Record, Revision, Store, StoreError, Write};
use tokio::sync::watch;

use super::counter::Counter;
use super::process::thread_cpu;

/// A part of the engine that works on the runtime's threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the store does before its own threads and after them.
    Store,
    /// Routes and JSON: all of a request but store and node tree.
    Routes,
    /// The node tree.
    Tree,
}

static USED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

thread_local! {
    /// What is polled on this thread, and what this thread had used when that began or went on.
    static POLLED: Cell<Option<(Part, Duration)>> = const { Cell::new(None) };
}

/// What a part has used since the process began.
pub fn used(part: Part) -> Duration {
    Duration::from_nanos(USED[part as usize].load(Ordering::Relaxed))
}

/// From now on another part, or none that is measured, works on this thread. Answers the one before.
fn switch(next: Option<Part>) -> Option<Part> {
    let now = thread_cpu();
    let before = POLLED.replace(next.map(|part| (part, now)));
    before.map(|(part, since)| {
        let used = u64::try_from(now.saturating_sub(since).as_nanos()).unwrap_or(u64::MAX);
        USED[part as usize].fetch_add(used, Ordering::Relaxed);
        part
    })
}

/// The seams' futures are boxed, so that this one can be moved.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

struct Metered<'a, T> {
    part: Option<Part>,
    inner: Boxed<'a, T>,
}

impl<T> Future for Metered<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(part) = self.part else { return self.inner.as_mut().poll(context) };
        let outer = switch(Some(part));
        let answer = self.inner.as_mut().poll(context);
        switch(outer);
        answer
    }
}

fn metered<T>(part: Part, inner: Boxed<'_, T>) -> Metered<'_, T> {
    Metered { part: Some(part), inner }
}

/// A store that is measured.
pub struct MeteredStore(Arc<SqliteStore>);

impl MeteredStore {
    pub fn new(store: Arc<SqliteStore>) -> Self {
        Self(store)
    }
}

#[async_trait]
impl Store for MeteredStore {
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        metered(Part::Store, self.0.read(ids)).await
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        metered(Part::Store, self.0.write(writes)).await
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<slipstream_store::Found, StoreError> {
        metered(Part::Store, self.0.search(kind, query)).await
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        metered(Part::Store, self.0.index_rows(after, limit)).await
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        metered(Part::Store, self.0.remove_matching(kind, filter)).await
    }
}

/// A transport that is measured.
pub struct MeteredTransport(Arc<dyn Transport>);

impl MeteredTransport {
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self(transport)
    }
}

#[async_trait]
impl Transport for MeteredTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        metered(Part::Routes, self.0.send(request)).await
    }

    fn takes_values(&self) -> bool {
        self.0.takes_values()
    }
}

/// A coordinator whose sessions count entries that are gone, and are measured if that is wanted.
pub struct MeteredCoordinator {
    tree: Embedded,
    gone: Arc<Counter>,
    part: Option<Part>,
}

impl MeteredCoordinator {
    pub fn new(tree: Embedded, gone: Arc<Counter>, measured: bool) -> Self {
        Self { tree, gone, part: measured.then_some(Part::Tree) }
    }

    /// Entries in the queue.
    pub async fn waiting(&self) -> Result<usize, Error> {
        Ok(self.tree.session().children(paths::ENTRIES).await?.len())
    }
}

#[async_trait]
impl Coordinator for MeteredCoordinator {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let inner = self.tree.connect().await?;
        Ok(Arc::new(MeteredSession { inner, gone: self.gone.clone(), part: self.part }))
    }

    fn session_timeout(&self) -> Duration {
        self.tree.session_timeout()
    }
}

struct MeteredSession {
    inner: Arc<dyn Session>,
    gone: Arc<Counter>,
    part: Option<Part>,
}

impl MeteredSession {
    async fn measure<T>(&self, inner: Boxed<'_, T>) -> T {
        Metered { part: self.part, inner }.await
    }
}

#[async_trait]
impl Session for MeteredSession {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        let is_end =
            |operation: &&Operation| matches!(operation, Operation::Delete { path, .. } if paths::is_entry(path));
        let gone = operations.iter().filter(is_end).count();
        let committed = self.measure(self.inner.commit(operations)).await?;
        if gone > 0 {
            self.gone.add(gone as u64);
        }
        Ok(committed)
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        self.measure(self.inner.data(path)).await
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        self.measure(self.inner.nodes(paths)).await
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.measure(self.inner.children(path)).await
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        self.measure(self.inner.watch(path)).await
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        self.measure(self.inner.sync(path)).await
    }

    fn state(&self) -> watch::Receiver<State> {
        self.inner.state()
    }

    async fn close(&self) {
        self.measure(self.inner.close()).await;
    }
}
