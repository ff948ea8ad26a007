//! Connections: so many at once, each with a limit for a request's head, and all of them ended in an orderly way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use http::header;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::connection::Watched;
use super::peer::Peer;
use crate::stop::Stop;

/// Most connections at once; with all others below, well below the usual limit of 1,024 open files.
const MOST_CONNECTIONS: usize = 512;
/// As many more are kept for this machine, so that its administrator gets in whoever takes all the others.
const KEPT_FOR_THIS_MACHINE: usize = 32;
/// As many more may wait for a place; further ones are closed.
const MOST_WAITING: usize = 128;
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

/// Answers requests by `router` until `stop`, then lets open requests end. Each request knows its [`Peer`], which is
/// believed within `proxies`.
pub async fn serve(listener: TcpListener, router: Router, proxies: Vec<IpNet>, stop: Stop) {
    serve_in(Places::new(MOST_CONNECTIONS, KEPT_FOR_THIS_MACHINE, MOST_WAITING), listener, router, proxies, stop).await;
}

async fn serve_in(places: Places, listener: TcpListener, router: Router, proxies: Vec<IpNet>, stop: Stop) {
    let connections = GracefulShutdown::new();
    loop {
        let (stream, address) = tokio::select! {
            () = stop.asked() => break,
            accepted = accept(&listener) => accepted,
        };
        let peer = Peer::new(address.ip(), &proxies);
        let Some(place) = places.offer(peer.is_on_this_machine()) else {
            tracing::warn!(%address, "too many connections, this one is closed");
            continue;
        };
        let mut http = http1::Builder::new();
        // the end of input after a whole request is no reason to drop its answer; whoever is gone is noticed by writing
        http.timer(TokioTimer::new()).header_read_timeout(IDLE_TIME).max_buf_size(HEAD_SIZE).half_close(true);
        let (stream, progress) = Watched::new(stream);
        let answered = progress.clone();
        let router = router.clone().map_request(move |mut request: hyper::Request<Incoming>| {
            progress.begin();
            request.extensions_mut().insert(peer);
            request
        });
        let router = router.map_response(move |response: Response| {
            answered.end(response.headers().contains_key(header::CONNECTION));
            response
        });
        let service = TowerToHyperService::new(router);
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        let stop = stop.clone();
        tokio::spawn(async move {
            let place = tokio::select! {
                biased;
                place = place.taken() => place,
                () = stop.asked() => None,
            };
            if place.is_none() {
                return tracing::debug!(%address, "no place in time, the connection is closed");
            }
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = stop.grace_over(LAST_REQUESTS) => {}
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "small packets may be delayed");
                }
                return (stream, address);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How many connections there may be.
struct Places {
    everybody: Arc<Semaphore>,
    /// For this machine, once those for everybody are taken.
    kept: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A place that a connection has or waits for.
enum Place {
    Taken(OwnedSemaphorePermit),
    Awaited { everybody: Arc<Semaphore>, kept: Option<Arc<Semaphore>>, waiting: OwnedSemaphorePermit },
}

impl Places {
    fn new(everybody: usize, kept: usize, waiting: usize) -> Self {
        let places = |number| Arc::new(Semaphore::new(number));
        Self { everybody: places(everybody), kept: places(kept), waiting: places(waiting) }
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

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
