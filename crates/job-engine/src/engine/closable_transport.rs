//! [`ClosableTransport`]: what refuses the requests of clients that outlive their engine.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;
use tokio_util::task::TaskTracker;

/// A transport until it is closed. Clients are cloned and kept by anybody: they must not keep the store open.
pub(super) struct ClosableTransport {
    open: RwLock<Option<Arc<dyn Transport>>>,
    under_way: TaskTracker,
}

/// Why a request is not sent.
#[derive(Debug, thiserror::Error)]
#[error("the engine has stopped")]
struct Closed;

impl ClosableTransport {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { open: RwLock::new(Some(transport)), under_way: TaskTracker::new() }
    }

    /// Lets requests under way end, each of which has a limit of its own, and none begin.
    pub(super) async fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.under_way.close();
        self.under_way.wait().await;
    }

    fn transport(&self) -> Option<Arc<dyn Transport>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Transport for ClosableTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let _under_way = self.under_way.token();
        let transport = self.transport().ok_or(Closed)?;
        transport.send(request).await
    }
}
