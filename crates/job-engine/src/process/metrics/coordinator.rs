//! [`Measured`]: a coordinator, and its sessions, whose requests are measured.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use slipstream_coordination::session::{Error, Found, Node, Operation, State, Watch};
use slipstream_coordination::{Coordinator, Session};
use tokio::sync::watch;

use super::{Metrics, Peer, Timed};

/// A coordinator that is measured.
pub(crate) struct Measured<C> {
    inner: C,
    metrics: Metrics,
    connect: Timed,
    requests: Requests,
}

/// The fixed list of operations.
#[derive(Clone)]
struct Requests {
    commit: Timed,
    data: Timed,
    nodes: Timed,
    children: Timed,
    watch: Timed,
    sync: Timed,
}

impl<C: Coordinator> Measured<C> {
    pub(crate) fn new(inner: C, metrics: Metrics) -> Self {
        let timed = |operation| metrics.timed(Peer::Coordinator, operation);
        let requests = Requests {
            commit: timed("commit"),
            data: timed("data"),
            nodes: timed("nodes"),
            children: timed("children"),
            watch: timed("watch"),
            sync: timed("sync"),
        };
        let connect = timed("connect");
        // so that there is a state before the first session
        metrics.sessions();
        Self { inner, metrics, connect, requests }
    }
}

#[async_trait]
impl<C: Coordinator> Coordinator for Measured<C> {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let session = self.connect.time(self.inner.connect(), Result::is_err).await?;
        if let Some(sessions) = self.metrics.sessions() {
            sessions.note(session.state());
        }
        Ok(Arc::new(MeasuredSession { inner: session, requests: self.requests.clone() }))
    }

    fn session_timeout(&self) -> Duration {
        self.inner.session_timeout()
    }
}

struct MeasuredSession {
    inner: Arc<dyn Session>,
    requests: Requests,
}

#[async_trait]
impl Session for MeasuredSession {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        self.requests.commit.time(self.inner.commit(operations), is_outage).await
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        self.requests.data.time(self.inner.data(path), is_outage).await
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        self.requests.nodes.time(self.inner.nodes(paths), is_outage).await
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.requests.children.time(self.inner.children(path), is_outage).await
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        self.requests.watch.time(self.inner.watch(path), is_outage).await
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        self.requests.sync.time(self.inner.sync(path), is_outage).await
    }

    fn state(&self) -> watch::Receiver<State> {
        self.inner.state()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A refusal is an answer: that a node was there already, or has changed, is how the queue works.
fn is_outage<T>(answer: &Result<T, Error>) -> bool {
    answer.as_ref().is_err_and(|error| error.refusal().is_none())
}
