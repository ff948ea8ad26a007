//! [`Measured`]: a transport whose requests to the server are measured.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;

use crate::process::metrics::{Metrics, Peer, Timed};

/// The fixed list of operations.
const OPERATIONS: [&str; 8] = ["login", "report", "add", "read", "search", "edit", "delete", "operation"];

/// A transport that is measured.
pub(super) struct Measured<T> {
    inner: T,
    operations: [Timed; OPERATIONS.len()],
}

impl<T: Transport> Measured<T> {
    pub(super) fn new(inner: T, metrics: &Metrics) -> Self {
        Self { inner, operations: OPERATIONS.map(|operation| metrics.timed(Peer::Server, operation)) }
    }
}

#[async_trait]
impl<T: Transport> Transport for Measured<T> {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let timed = &self.operations[operation(request.method(), request.uri().path())];
        timed.time(self.inner.send(request), is_failure).await
    }

    fn takes_values(&self) -> bool {
        self.inner.takes_values()
    }
}

/// A refusal is an answer; that the server is not there, cannot, or has too much to do is none.
fn is_failure(answer: &Result<Response<Bytes>, TransportError>) -> bool {
    match answer {
        Ok(answer) => answer.status().is_server_error() || answer.status() == StatusCode::TOO_MANY_REQUESTS,
        Err(_) => true,
    }
}

/// Which of the operations a request is, by its place in the list.
fn operation(method: &Method, path: &str) -> usize {
    let mut segments = path.trim_start_matches("/api/").split('/');
    let (kind, document, operation) = (segments.next(), segments.next(), segments.next());
    let name = match (method.as_str(), kind, document, operation) {
        ("POST", Some("session"), None, _) => "login",
        ("POST", Some("job"), Some("reports"), None) => "report",
        ("POST", _, None, _) => "add",
        ("GET", Some("cloud-entry-point"), ..) | ("GET", _, Some(_), None) => "read",
        ("GET" | "PUT", _, None, _) => "search",
        ("PUT", _, Some(_), None) => "edit",
        ("DELETE", ..) => "delete",
        _ => "operation",
    };
    OPERATIONS.iter().position(|operation| *operation == name).expect("it is in the list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_one_of_the_list() {
        let rows = [
            (Method::POST, "/api/session", "login"),
            (Method::POST, "/api/job/reports", "report"),
            (Method::POST, "/api/job", "add"),
            (Method::GET, "/api/job/0a", "read"),
            (Method::GET, "/api/cloud-entry-point", "read"),
            (Method::GET, "/api/job", "search"),
            (Method::PUT, "/api/job", "search"),
            (Method::PUT, "/api/job/0a", "edit"),
            (Method::DELETE, "/api/job/0a", "delete"),
            (Method::POST, "/api/job/0a/stop", "operation"),
            (Method::GET, "/api/job/0a/ledger", "operation"),
            (Method::PATCH, "/", "operation"),
        ];
        for (method, path, name) in rows {
            assert_eq!(OPERATIONS[operation(&method, path)], name, "{method} {path}");
        }
    }
}
