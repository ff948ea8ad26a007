//! Connections: so many at once, each with a limit for a request's head, and all of them ended in an orderly way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection::Watched;
use super::{Service, body};
use crate::process::stop::Stop;
use crate::server::auth::proxy::Peer;

/// Most connections at once, where enough files may be open.
const MOST_CONNECTIONS: usize = 512;
/// As many more are kept for this machine, so that its administrator gets in whoever takes all the others.
const KEPT_FOR_THIS_MACHINE: usize = 32;
/// As many more that a page is followed by, each of which lasts for hours: others keep their places, however many pages are
/// open.
const MOST_STREAMS: usize = 128;
/// As many more may wait for a place; further ones are closed.
const MOST_WAITING: usize = 128;
/// Files that this process has open besides its connections, at most: the store's, the coordinator's, its own requests.
const OTHER_FILES: usize = 128;
/// So many open files are asked for.
const WANTED_FILES: u64 = 4_096;
/// What happens again and again is logged so often.
const LOG_PERIOD: Duration = Duration::from_mins(1);
/// Longest wait for a place.
const PLACE_TIME: Duration = Duration::from_secs(30);
/// How long a connection may be idle between an answer and the end of the next request's head. Clearly longer than a
/// client keeps it for its next request: of two that give it up at the same time one has sent a request in vain.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// Most bytes of a request's head.
const HEAD_SIZE: usize = 64 * 1024;
/// Pause after a connection could not be accepted: most likely this process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open requests may go on after the server was asked to stop.
pub(crate) const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Answers requests by `service` until `stop`, then lets open requests end. Each request knows its [`Peer`], which is
/// believed within `proxies`.
pub async fn serve(listener: TcpListener, service: Service, proxies: Vec<IpNet>, stop: Stop) {
    let files = open_files();
    let [everybody, kept, waiting, streams] = numbers(files);
    if everybody < MOST_CONNECTIONS {
        tracing::warn!(
            files,
            connections = everybody,
            "few open files are allowed, so few connections are: raise the limit, with ulimit -n or LimitNOFILE, to {}",
            MOST_CONNECTIONS + KEPT_FOR_THIS_MACHINE + MOST_WAITING + MOST_STREAMS + OTHER_FILES
        );
    }
    serve_in(Places::new(everybody, kept, waiting, streams), listener, service, proxies, stop).await;
}

async fn serve_in(places: Places, listener: TcpListener, service: Service, proxies: Vec<IpNet>, stop: Stop) {
    let connections = GracefulShutdown::new();
    let (mut failing, mut closing) = (Rarely::default(), Rarely::default());
    loop {
        let (stream, address) = tokio::select! {
            () = stop.asked() => break,
            accepted = accept(&listener, &mut failing) => accepted,
        };
        let peer = Peer::new(address.ip(), &proxies);
        let Some(place) = places.offer(peer.is_on_this_machine()) else {
            if let Some(times) = closing.count() {
                tracing::warn!(%address, times, "too many connections, further ones are closed");
            }
            continue;
        };
        let mut http = http1::Builder::new();
        // the end of input after a whole request is no reason to drop its answer; whoever is gone is noticed by writing
        http.timer(TokioTimer::new()).header_read_timeout(IDLE_TIME).max_buf_size(HEAD_SIZE).half_close(true);
        let (stream, progress) = Watched::new(stream);
        let held = Held { permit: Arc::default(), streams: places.streams.clone() };
        let (service, holding) = (service.clone(), held.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            progress.begin();
            request.extensions_mut().insert(peer);
            let answer = service(request.map(body::incoming));
            let (progress, holding) = (progress.clone(), holding.clone());
            async move {
                let response = answer.await;
                if is_stream(response.headers()) {
                    holding.go_among_streams();
                    progress.stream();
                } else {
                    progress.end(response.headers().contains_key(header::CONNECTION));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        let stop = stop.clone();
        tokio::spawn(async move {
            let place = tokio::select! {
                biased;
                place = place.taken() => place,
                () = stop.asked() => None,
            };
            let Some(place) = place else {
                return tracing::debug!(%address, "too many connections, waited too long, closed");
            };
            held.hold(place);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            held.give_up();
        });
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = stop.grace_over(LAST_REQUESTS) => {}
    }
}

async fn accept(listener: &TcpListener, failing: &mut Rarely) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "small packets may be delayed");
                }
                return (stream, address);
            }
            Err(error) => {
                if let Some(times) = failing.count() {
                    tracing::warn!(%error, times, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Something that may happen very often.
#[derive(Default)]
struct Rarely {
    logged: Option<Instant>,
    times: u64,
}

impl Rarely {
    /// It has happened; answers how often since it was logged last, if it is to be logged now.
    fn count(&mut self) -> Option<u64> {
        self.times += 1;
        if self.logged.is_some_and(|logged| logged.elapsed() < LOG_PERIOD) {
            return None;
        }
        self.logged = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
    }
}

/// How many files may be open, after more were asked for where few are allowed.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(WANTED_FILES, |maximum| maximum.min(WANTED_FILES));
    match limit.current {
        Some(current) if current < wanted => {
            match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }) {
                Ok(()) => wanted,
                Err(error) => {
                    tracing::debug!(%error, "too many open files");
                    current
                }
            }
        }
        Some(current) => current,
        None => u64::MAX,
    }
}

/// How many connections everybody may have, are kept for this machine, may wait, and are followed pages' if so many files may
/// be open.
fn numbers(files: u64) -> [usize; 4] {
    let wanted = [MOST_CONNECTIONS, KEPT_FOR_THIS_MACHINE, MOST_WAITING, MOST_STREAMS];
    let all: usize = wanted.iter().sum();
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    // with very few of them, half are left for everything else
    let free = files.saturating_sub(OTHER_FILES).max(files / 2).min(all);
    wanted.map(|number| (number * free / all).max(1))
}

/// How many connections there may be.
struct Places {
    everybody: Arc<Semaphore>,
    /// For this machine, once those for everybody are taken.
    kept: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A place that a connection has or waits for.
enum Place {
    Taken(OwnedSemaphorePermit),
    Awaited { everybody: Arc<Semaphore>, kept: Option<Arc<Semaphore>>, waiting: OwnedSemaphorePermit },
}

impl Places {
    fn new(everybody: usize, kept: usize, waiting: usize, streams: usize) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        Self { everybody: places(everybody), kept: places(kept), waiting: places(waiting), streams: places(streams) }
    }

    /// A place for one more connection, unless too many wait already.
    fn offer(&self, is_on_this_machine: bool) -> Option<Place> {
        let kept = is_on_this_machine.then_some(&self.kept);
        let free = [Some(&self.everybody), kept].into_iter().flatten();
        if let Some(place) = free.cloned().find_map(|places| places.try_acquire_owned().ok()) {
            return Some(Place::Taken(place));
        }
        let waiting = self.waiting.clone().try_acquire_owned().ok()?;
        Some(Place::Awaited { everybody: self.everybody.clone(), kept: kept.cloned(), waiting })
    }
}

impl Place {
    /// The place once it is free; none if that takes too long.
    async fn taken(self) -> Option<OwnedSemaphorePermit> {
        let (everybody, kept, _waiting) = match self {
            Self::Taken(place) => return Some(place),
            Self::Awaited { everybody, kept, waiting } => (everybody, kept, waiting),
        };
        let of_kept = async {
            match kept {
                Some(kept) => kept.acquire_owned().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            place = everybody.acquire_owned() => place.ok(),
            place = of_kept => place.ok(),
            () = tokio::time::sleep(PLACE_TIME) => None,
        }
    }
}

/// The place of a connection while it has one.
#[derive(Clone)]
struct Held {
    permit: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    streams: Arc<Semaphore>,
}

impl Held {
    fn hold(&self, permit: OwnedSemaphorePermit) {
        *self.permit.lock().expect("nothing panics while it holds this") = Some(permit);
    }

    /// Others have the place that it had, if there is one among streams. It does not come back: a stream ends with its
    /// connection.
    fn go_among_streams(&self) {
        if let Ok(permit) = self.streams.clone().try_acquire_owned() {
            self.hold(permit);
        }
    }

    fn give_up(&self) {
        self.permit.lock().expect("nothing panics while it holds this").take();
    }
}

/// Whether what is answered goes on for as long as somebody looks at a page.
fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream")
}

#[cfg(test)]
mod tests;
