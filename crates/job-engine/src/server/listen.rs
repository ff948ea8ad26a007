//! Connections: so many at once, each with a limit for a request's head, and all of them ended in an orderly way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::peer::Peer;
use crate::stop::Stop;

/// Most connections at once, well below the usual limit of 1,024 open files; further ones wait in the listener's queue.
const MOST_CONNECTIONS: usize = 512;
/// Longest wait for the head of a request, the first or the next one of a connection.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Most bytes of a request's head.
const HEAD_SIZE: usize = 64 * 1024;
/// Pause after a connection could not be accepted: most likely this process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long open requests may go on after the server was asked to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Answers requests by `router` until `stop`, then lets open requests end. Each request knows its [`Peer`], which is
/// believed within `proxies`.
pub async fn serve(listener: TcpListener, router: Router, proxies: Vec<IpNet>, stop: Stop) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            () = stop.asked() => break,
            (stream, address, place) = accept(&listener, &places) => {
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_SIZE);
                let peer = Peer::new(address.ip(), &proxies);
                let router = router.clone().map_request(move |mut request: hyper::Request<Incoming>| {
                    request.extensions_mut().insert(peer);
                    request
                });
                let service = TowerToHyperService::new(router);
                let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "connection ended");
                    }
                    drop(place);
                });
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = stop.grace_over(LAST_REQUESTS) => {}
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    if places.available_permits() == 0 {
        tracing::warn!(connections = MOST_CONNECTIONS, "no place for a further connection until one ends");
    }
    let place = places.clone().acquire_owned().await.expect("the places are never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "small packets may be delayed");
                }
                return (stream, address, place);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
