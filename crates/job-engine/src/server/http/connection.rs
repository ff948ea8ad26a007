//! [`Watched`]: a connection that ends when its client does nothing for too long, and whose last answer arrives.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// Longest wait for the head of a request: for the first one from when the connection begins, for the next one from its
/// first byte.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long a client may take nothing of what is sent to it.
pub(super) const TAKE_TIME: Duration = Duration::from_secs(30);
/// How much is read of what nobody wants any more, and for how long, so that a client that is still sending reads its
/// answer: a connection that is closed before that is reset.
const LAST_BYTES: usize = 8 * 1024 * 1024;
const LAST_TIME: Duration = Duration::from_secs(5);

/// How far the requests of a connection are.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<AtomicU8>);

/// The next request is waited for.
const IDLE: u8 = 0;
/// It has begun.
const HEAD: u8 = 1;
/// It is answered.
const ANSWERED: u8 = 2;
/// So it is, and its body was not read to its end.
const LEFT: u8 = 3;
/// It is answered by a stream, until its client has gone.
const STREAM: u8 = 4;

impl Progress {
    /// A request has arrived.
    pub fn begin(&self) {
        self.0.store(ANSWERED, Ordering::Relaxed);
    }

    /// Its answer is there. What the client still sends nobody reads if `is_last`.
    pub fn end(&self, is_last: bool) {
        self.0.store(if is_last { LEFT } else { IDLE }, Ordering::Relaxed);
    }

    /// Its answer goes on until the client goes.
    pub fn stream(&self) {
        self.0.store(STREAM, Ordering::Relaxed);
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }
}

/// A connection with limits.
pub(super) struct Watched {
    stream: TcpStream,
    progress: Progress,
    /// Until when the head of a request has to be there.
    head: Limit,
    /// Until when the client has to take something.
    take: Limit,
    /// Until when the client may go on sending what nobody wants, and how much it has sent.
    last: Limit,
    discarded: usize,
}

/// A limit that is set while something is waited for.
#[derive(Default)]
struct Limit(Option<Pin<Box<Sleep>>>);

impl Limit {
    /// Whether it is over; begins now if it has not begun.
    fn poll_over(&mut self, time: Duration, context: &mut Context<'_>) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(context)
    }

    fn clear(&mut self) {
        self.0 = None;
    }
}

impl Watched {
    /// Watches a new connection.
    pub fn new(stream: TcpStream) -> (Self, Progress) {
        let progress = Progress(Arc::new(AtomicU8::new(HEAD)));
        let watched = Self {
            stream,
            progress: progress.clone(),
            head: Limit(Some(Box::pin(sleep(HEAD_TIME)))),
            take: Limit::default(),
            last: Limit::default(),
            discarded: 0,
        };
        (watched, progress)
    }

    /// What a write came to, unless the client takes nothing for too long.
    fn taken<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.take.clear();
            return written;
        }
        ready!(self.take.poll_over(TAKE_TIME, context));
        Poll::Ready(Err(timed_out("the client does not read")))
    }

    /// Whether the client sends nothing any more.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match ready!(self.stream.poll_peek(context, &mut ReadBuf::new(&mut byte))) {
            Ok(0) | Err(_) => Poll::Ready(()),
            // of a next request, which would be answered after the stream
            Ok(_) => Poll::Pending,
        }
    }

    /// Reads and forgets, within the limits, until the client ends too.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.discarded < LAST_BYTES {
            let mut bytes = [0; 16 * 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return self.last.poll_over(LAST_TIME, context),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.discarded += buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        Poll::Ready(())
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.progress.is(IDLE) {
            self.progress.0.store(HEAD, Ordering::Relaxed);
        }
        if !self.progress.is(HEAD) {
            self.head.clear();
        } else if read.is_pending() {
            ready!(self.head.poll_over(HEAD_TIME, context));
            return Poll::Ready(Err(timed_out("the request head did not arrive in time")));
        }
        read
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

    /// Is asked each time when the connection goes on, and so hears of the end of a client that follows a stream, to which
    /// there may be nothing to write for long.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.progress.is(STREAM) && self.poll_gone(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        if self.progress.is(LEFT) {
            ready!(self.poll_discard(context));
        }
        Poll::Ready(Ok(()))
    }
}
