//! [`AdminListener`]: answers `/metrics`, `/livez` and `/readyz`, on a thread of its own, so that it does while everything
//! else is blocked. The same thread sends `StatsD` what is counted.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::process::metrics::{CONTENT_TYPE as METRICS_TYPE, Metrics};
use crate::process::statsd::{self, StatsdHost};

/// Most connections at once; further ones are closed.
const MOST_CONNECTIONS: usize = 16;
/// How long a connection may be idle, between two scrapes too.
const IDLE_TIME: Duration = Duration::from_secs(75);
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
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection for metrics and health");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, metrics).await {
                tracing::debug!(%error, "connection for metrics and health ended");
            }
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, metrics: Metrics) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let metrics = metrics.clone();
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &metrics).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE_TIME).max_buf_size(HEAD_SIZE);
    http.serve_connection(TokioIo::new(stream), service).await
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
