//! [`InProcess`]: the routes called as a function, for clients in the same process.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;
use tokio_util::task::TaskTracker;

use super::{Service, body};

/// Longest wait for an answer: the disk may hang.
const LIMIT: Duration = Duration::from_mins(1);

/// A transport that never leaves the process. Clients are cloned and kept by anybody: once it is closed they do not keep
/// the store open.
pub struct InProcess {
    service: RwLock<Option<Service>>,
    under_way: TaskTracker,
}

/// Why a request is not sent.
#[derive(Debug, thiserror::Error)]
#[error("the engine has stopped")]
struct Closed;

impl InProcess {
    pub(crate) fn new(service: Service) -> Self {
        Self { service: RwLock::new(Some(service)), under_way: TaskTracker::new() }
    }

    /// Lets requests under way end, each of which has a limit, and none begin.
    pub(crate) async fn close(&self) {
        *self.service.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.under_way.close();
        self.under_way.wait().await;
    }

    fn service(&self) -> Option<Service> {
        self.service.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let _under_way = self.under_way.token();
        let service = self.service().ok_or(Closed)?;
        let answer = async {
            let (head, body) = service(request.map(body::full)).await.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(LIMIT, answer).await?
    }

    fn takes_values(&self) -> bool {
        true
    }
}
