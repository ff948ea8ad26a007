//! [`Measured`]: a store whose requests are measured.

use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::metrics::gauge::Gauge;
use slipstream_cimi::filter::Filter;
use slipstream_store::{Found, IndexRow, Query, Record, Revision, Space, Store, StoreError, Write};

use super::{Metrics, Peer, Timed};

/// A store that is measured.
pub(crate) struct Measured {
    inner: Arc<dyn Store>,
    /// Writes that are under way.
    waiting: Gauge,
    read: Timed,
    write: Timed,
    search: Timed,
    walk: Timed,
    remove: Timed,
}

impl Measured {
    /// The same store where nothing is counted.
    pub(crate) fn wrap(inner: Arc<dyn Store>, metrics: &Metrics) -> Arc<dyn Store> {
        let Some(waiting) = metrics.server().waiting_writes() else { return inner };
        let timed = |operation| metrics.timed(Peer::Store, operation);
        Arc::new(Self {
            inner,
            waiting,
            read: timed("read"),
            write: timed("write"),
            search: timed("search"),
            walk: timed("walk"),
            remove: timed("remove"),
        })
    }
}

/// One that is under way.
struct Waiting<'a>(&'a Gauge, i64);

impl<'a> Waiting<'a> {
    fn begin(gauge: &'a Gauge, writes: usize) -> Self {
        let writes = i64::try_from(writes).unwrap_or(i64::MAX);
        gauge.inc_by(writes);
        Self(gauge, writes)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

#[async_trait]
impl Store for Measured {
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        self.read.time(self.inner.read(ids), |answers| answers.iter().any(is_failure)).await
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        let _waiting = Waiting::begin(&self.waiting, writes.len());
        self.write.time(self.inner.write(writes), |answers| answers.iter().any(is_failure)).await
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        self.search.time(self.inner.search(kind, query), is_failure).await
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        self.walk.time(self.inner.index_rows(after, limit), is_failure).await
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        self.remove.time(self.inner.remove_matching(kind, filter), is_failure).await
    }

    async fn space(&self) -> Option<Space> {
        self.inner.space().await
    }
}

/// What says of a request that it does not fit what is stored, or cannot be answered, is an answer.
fn is_failure<T>(answer: &Result<T, StoreError>) -> bool {
    match answer {
        Ok(_)
        | Err(
            StoreError::Exists(_) | StoreError::Changed(_) | StoreError::TooSlow { .. } | StoreError::Aggregation(_),
        ) => false,
        Err(_) => true,
    }
}
