//! Connections to the socket: so many at once, and none for longer than it is of use.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Tokens;

/// Most connections at once; those that come then wait.
const MOST_CONNECTIONS: usize = 1024;
/// Longest wait for the head of a connection's first request.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what is sent to it.
const TAKE_TIME: Duration = Duration::from_secs(30);
/// Most bytes of a request's head.
const HEAD_SIZE: usize = 64 * 1024;
/// Pause after a connection could not be accepted: most likely this process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For which attempt a connection works now.
pub(super) struct Use {
    /// Cancelled when that attempt ends, and the connection with it.
    pub(super) ended: CancellationToken,
    /// One of the attempt's connections.
    pub(super) place: OwnedSemaphorePermit,
}

/// Answers requests until it is dropped, which ends all connections.
pub(super) async fn serve(listener: UnixListener, tokens: Arc<Tokens>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // those that have ended are forgotten
        while connections.try_join_next().is_some() {}
        let place = places.clone().acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let tokens = tokens.clone();
                connections.spawn(async move {
                    converse(stream, tokens).await;
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn converse(stream: UnixStream, tokens: Arc<Tokens>) {
    let (user, mut using) = watch::channel(None);
    let service = service_fn(|request: Request<Incoming>| {
        let (tokens, user) = (tokens.clone(), user.clone());
        async move { Ok::<_, Infallible>(tokens.answer(request, &user).await.map(Full::new)) }
    });
    let mut http = http1::Builder::new();
    // between its requests a connection lasts as long as its attempt
    http.header_read_timeout(None).max_buf_size(HEAD_SIZE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(Watched::new(stream)), service));
    let ended = tokio::select! {
        ended = &mut connection => ended,
        was_used = use_over(&mut using) => {
            if !was_used {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection to the API socket ended");
    }
}

/// Ends with the attempt for which the connection works; answers false if there is none in time.
async fn use_over(using: &mut watch::Receiver<Option<Use>>) -> bool {
    if timeout(HEAD_TIME, using.changed()).await.is_err() {
        return false;
    }
    loop {
        let ended = using.borrow_and_update().as_ref().map(|user| user.ended.clone()).unwrap_or_default();
        tokio::select! {
            () = ended.cancelled() => return true,
            changed = using.changed() => if changed.is_err() {
                return true;
            },
        }
    }
}

/// A connection that breaks off when its client takes nothing for too long.
struct Watched {
    stream: UnixStream,
    take: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    fn new(stream: UnixStream) -> Self {
        Self { stream, take: None }
    }

    /// What a write came to, within the limit.
    fn taken<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.take = None;
            return written;
        }
        ready!(self.take.get_or_insert_with(|| Box::pin(sleep(TAKE_TIME))).as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
