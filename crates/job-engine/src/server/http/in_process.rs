//! The routes called as a function: for clients in the same process.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;

use super::{Service, body};

/// Longest wait for an answer: the disk may hang.
const LIMIT: Duration = Duration::from_mins(1);

/// A transport that never leaves the process.
pub struct InProcess(pub Service);

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let answer = async {
            let (head, body) = (self.0)(request.map(body::full)).await.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(LIMIT, answer).await?
    }
}
