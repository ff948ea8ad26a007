//! The [`Transport`] over a Unix socket: HTTP/1.1 to a server on this machine, such as an executor's API socket
//! (`docs/action-host-protocol.md`).

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::client::{Transport, TransportError};

/// Longest wait for an answer, unless somebody says otherwise: an API socket repeats some requests for a minute.
const LIMIT: Duration = Duration::from_mins(2);
/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Most connections that wait for their next request.
const MOST_IDLE: usize = 16;

/// Sends requests to the server behind one Unix socket. Connections are kept for the next request.
#[derive(Debug)]
pub struct UnixTransport {
    path: PathBuf,
    host: String,
    limit: Duration,
    largest_answer: usize,
    idle: Mutex<Vec<Connection>>,
}

type Connection = SendRequest<Full<Bytes>>;

/// Why no answer came over the socket.
#[derive(Debug, thiserror::Error)]
enum UnixError {
    #[error("cannot connect to the socket {path}")]
    Connect { path: PathBuf, source: io::Error },
    #[error("the connection broke off")]
    Broken(#[source] hyper::Error),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the answer broke off")]
    Cut(#[source] TransportError),
    #[error("no answer within {0:?}")]
    Slow(Duration),
}

impl UnixTransport {
    /// A transport to the socket at `path`; `host` is what each request has as its `Host`, which an API socket takes for
    /// the attempt's token.
    #[must_use]
    pub fn new(path: PathBuf, host: String) -> Self {
        Self { path, host, limit: LIMIT, largest_answer: LARGEST_ANSWER, idle: Mutex::default() }
    }

    /// The same for the API that is named as actions are told it: `http://<token>/api`. None if that is no such address.
    #[must_use]
    pub fn to_api(path: PathBuf, api: &str) -> Option<Self> {
        let host = api.strip_prefix("http://")?.trim_end_matches('/').strip_suffix("/api")?;
        (!host.is_empty()).then(|| Self::new(path, host.to_owned()))
    }

    /// The same, where each request may take this long from its start to the end of the answer.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, UnixError> {
        let (connection, answer) = self.begin(request).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, self.largest_answer).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                UnixError::TooLarge(self.largest_answer)
            } else {
                UnixError::Cut(error)
            }
        })?;
        let mut idle = self.idle();
        if idle.len() < MOST_IDLE {
            idle.push(connection);
        }
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    /// The answer's head, over a kept connection if one is still good. A request that was not sent is sent over the next.
    async fn begin(&self, mut request: Request<Full<Bytes>>) -> Result<(Connection, Response<Incoming>), UnixError> {
        loop {
            let kept = self.idle().pop();
            let is_new = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            match connection.ready().await {
                Err(error) if is_new => return Err(UnixError::Broken(error)),
                Err(_) => continue,
                Ok(()) => {}
            }
            match connection.try_send_request(request).await {
                Ok(answer) => return Ok((connection, answer)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(UnixError::Broken(error.into_error())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<Connection, UnixError> {
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| UnixError::Connect { path: self.path.clone(), source })?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(UnixError::Broken)?;
        // what breaks it, the request that is under way is told
        tokio::spawn(async move { driver.await.unwrap_or_default() });
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for UnixTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let (mut head, body) = request.into_parts();
        head.headers.insert(HOST, HeaderValue::from_str(&self.host)?);
        let request = Request::from_parts(head, Full::new(body));
        let answer = async {
            match self.exchange(request.clone()).await {
                // most likely the server closed a connection that was kept, and a read can be asked again
                Err(UnixError::Broken(_)) if request.method() == Method::GET => self.exchange(request).await,
                answer => answer,
            }
        };
        let answer = timeout(self.limit, answer).await.unwrap_or(Err(UnixError::Slow(self.limit)));
        answer.map_err(Into::into)
    }
}
