//! [`AdminListener`]: answers `/metrics`, `/livez` and `/readyz`, on a thread of its own, so that it does while everything
//! else is blocked. The same thread sends `StatsD` what is counted.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::process::metrics::{CONTENT_TYPE as METRICS_TYPE, Metrics};
use crate::process::statsd::{self, StatsdHost};

/// Most connections at once; for a further one that which has asked nothing for longest is closed.
const MOST_CONNECTIONS: usize = 16;
/// How long a connection may be idle between two scrapes.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// How long the head of a request may take to come, also the first one.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Most bytes of a request's head.
const HEAD_SIZE: usize = 16 * 1024;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What an operator wants to see of a process, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Where metrics and health are answered.
    pub listen: Option<SocketAddr>,
    /// Where metrics are sent.
    pub statsd: Option<StatsdHost>,
}

/// Answers until it is dropped.
#[derive(Debug)]
pub(crate) struct AdminListener {
    _ends: DropGuard,
}

impl AdminListener {
    /// Begins to answer and to send, as it is wanted. What cannot be is said in the log, and is no reason not to start.
    pub(crate) fn begin(wanted: Wanted, metrics: &Metrics) -> Self {
        let ending = CancellationToken::new();
        if wanted.listen.is_some() || wanted.statsd.is_some() {
            let (metrics, ended) = (metrics.clone(), ending.clone());
            let begun =
                thread::Builder::new().name("admin listener".to_owned()).spawn(move || run(wanted, &metrics, &ended));
            if let Err(error) = begun {
                tracing::warn!(%error, "no thread for metrics and health");
            }
        }
        Self { _ends: ending.drop_guard() }
    }
}

fn run(Wanted { listen, statsd }: Wanted, metrics: &Metrics, ended: &CancellationToken) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::warn!(%error, "cannot answer metrics and health"),
    };
    runtime.block_on(ended.run_until_cancelled(async {
        let sending = async {
            if let Some(host) = statsd {
                statsd::send(&host, metrics).await;
            }
        };
        let answering = async {
            if let Some(address) = listen {
                answer_at(address, metrics).await;
            }
        };
        tokio::join!(sending, answering)
    }));
}

async fn answer_at(address: SocketAddr, metrics: &Metrics) {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let address = listener.local_addr().unwrap_or(address);
            tracing::info!("metrics and health at http://{address}/metrics, /livez and /readyz");
            accept(&listener, metrics).await;
        }
        Err(error) => {
            tracing::warn!(%error, "no metrics and health at {address}: choose another address with --admin-listen");
        }
    }
}

/// Never ends.
async fn accept(listener: &TcpListener, metrics: &Metrics) {
    let mut places: Vec<Arc<Place>> = Vec::new();
    let mut is_told = false;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection for metrics and health");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // of those that have ended nobody else knows
        places.retain(|place| Arc::strong_count(place) > 1);
        if places.len() >= MOST_CONNECTIONS {
            if !is_told {
                is_told = true;
                tracing::warn!(
                    connections = MOST_CONNECTIONS,
                    "many connections for metrics and health: that which is idle for longest is closed for each new one"
                );
            }
            let idle = places.iter().enumerate().filter_map(|(index, place)| Some((place.idle_since()?, index)));
            let Some((_, longest)) = idle.min() else { continue };
            places.swap_remove(longest).gives_way.cancel();
        }
        let (place, metrics) = (Arc::new(Place::new()), metrics.clone());
        places.push(place.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                ended = serve(stream, metrics, &place) => if let Err(error) = ended {
                    tracing::debug!(%error, "connection for metrics and health ended");
                },
                () = place.over() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, metrics: Metrics, place: &Arc<Place>) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let (metrics, place) = (metrics.clone(), place.clone());
        async move {
            place.phase.send_replace(Phase::Answering);
            let answer = answer(request.method(), request.uri().path(), &metrics).await;
            place.phase.send_replace(Phase::Idle(Instant::now()));
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    // each place has its own times
    http.header_read_timeout(None).max_buf_size(HEAD_SIZE);
    http.serve_connection(TokioIo::new(Heard { stream, place: place.clone() }), service).await
}

/// One of the connections.
struct Place {
    phase: watch::Sender<Phase>,
    /// Cancelled when it is closed for another one.
    gives_way: CancellationToken,
}

/// What a connection is at, and since when.
#[derive(Clone, Copy)]
enum Phase {
    /// Its last request is answered.
    Idle(Instant),
    /// A request is coming, or awaited from the beginning.
    Asking(Instant),
    Answering,
}

impl Place {
    fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Asking(Instant::now())), gives_way: CancellationToken::new() }
    }

    fn idle_since(&self) -> Option<Instant> {
        match *self.phase.borrow() {
            Phase::Idle(since) | Phase::Asking(since) => Some(since),
            Phase::Answering => None,
        }
    }

    /// Something has come.
    fn hears(&self) {
        self.phase.send_if_modified(|phase| {
            let is_new = matches!(phase, Phase::Idle(_));
            if is_new {
                *phase = Phase::Asking(Instant::now());
            }
            is_new
        });
    }

    /// Ends when the connection is to be closed.
    async fn over(&self) {
        let mut phases = self.phase.subscribe();
        loop {
            let phase = *phases.borrow_and_update();
            let late = async {
                match phase {
                    Phase::Idle(since) => sleep_until(since + IDLE_TIME).await,
                    Phase::Asking(since) => sleep_until(since + HEAD_TIME).await,
                    Phase::Answering => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.gives_way.cancelled() => return,
                changed = phases.changed() => changed.expect("the sender is in this place"),
                () = late => return,
            }
        }
    }
}

/// A connection that notes when something comes.
struct Heard {
    stream: TcpStream,
    place: Arc<Place>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.place.hears();
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

async fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let (status, content_type, text) = match path {
        "/metrics" | "/livez" | "/readyz" if !matches!(*method, Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, plain, "only GET\n".to_owned())
        }
        "/metrics" => (StatusCode::OK, METRICS_TYPE, metrics.text().await),
        "/livez" => with(plain, metrics.health().live()),
        "/readyz" => with(plain, metrics.health().ready().await),
        _ => (StatusCode::NOT_FOUND, plain, "there are /metrics, /livez and /readyz\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn with(content_type: &'static str, (status, text): (StatusCode, String)) -> (StatusCode, &'static str, String) {
    (status, content_type, text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    /// Long enough for any machine.
    const LIMIT: Duration = Duration::from_mins(1);

    /// Answers until the test ends.
    async fn listens() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { accept(&listener, &Metrics::off()).await });
        address
    }

    async fn says(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn is_answered(stream: &mut TcpStream) {
        let mut read = [0; 1_000];
        let length = timeout(LIMIT, stream.read(&mut read)).await.expect("in time").unwrap();
        let text = String::from_utf8_lossy(&read[..length]);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }

    /// The fault: somebody has all places and asks nothing whole.
    #[tokio::test]
    async fn who_asks_is_answered_however_many_others_ask_half() {
        let address = listens().await;
        let mut half = Vec::new();
        for round in 0..3 {
            for _ in 0..MOST_CONNECTIONS {
                half.push(says(address, "GET /met").await);
            }
            let mut asks = says(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
            is_answered(&mut asks).await;
            assert_eq!(half.len(), (round + 1) * MOST_CONNECTIONS, "all are kept open here");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_a_short_time_and_a_pause_between_two_requests_a_longer_one() {
        let address = listens().await;
        let until_closed = async |mut stream: TcpStream| {
            let begun = Instant::now();
            // closed with something unread it is an error
            let read = stream.read(&mut [0; 100]).await.unwrap_or_default();
            assert_eq!(read, 0);
            begun.elapsed()
        };
        assert!(until_closed(says(address, "GET /met").await).await <= HEAD_TIME + ROUNDING);
        assert!(until_closed(says(address, "").await).await <= HEAD_TIME + ROUNDING);
        let mut again = says(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        is_answered(&mut again).await;
        assert!(until_closed(again).await > 2 * HEAD_TIME);
        let mut half = says(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
        is_answered(&mut half).await;
        half.write_all(b"GET /met").await.unwrap();
        assert!(until_closed(half).await <= HEAD_TIME + ROUNDING);
    }

    /// Of tokio's timers.
    const ROUNDING: Duration = Duration::from_millis(10);
}
