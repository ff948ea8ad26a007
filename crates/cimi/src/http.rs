//! The [`Transport`] over real HTTP.

#[cfg(test)]
mod tests;

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};

use crate::client::{Transport, TransportError};

/// The largest answer that is read, in bytes: a page of 10,000 documents has room in it.
pub const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// How long a connection that nobody uses is kept: clearly shorter than servers keep theirs, 30 seconds and more, so that
/// none is used at the very moment at which the server closes it.
const KEPT_IDLE: Duration = Duration::from_secs(15);

/// Sends requests to one server, which may speak plain HTTP or HTTPS. Redirects are not followed.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: Client,
    /// Without a slash at its end.
    endpoint: String,
    largest_answer: usize,
}

/// Why there is no transport to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It has no scheme, or another one than HTTP's two.
    #[error("`{endpoint}` does not begin with http:// or https://")]
    Scheme {
        /// As given.
        endpoint: String,
    },
    /// It is not a URL of a server.
    #[error("`{endpoint}` is not the address of a server: {reason}")]
    Address {
        /// As given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client does not start, for instance because the machine has no root certificates.
    #[error("cannot set up connections to {endpoint}")]
    Client {
        /// As given.
        endpoint: String,
        /// What the HTTP library says.
        #[source]
        source: reqwest::Error,
    },
}

impl HttpTransport {
    /// A transport to `endpoint`, e.g. `https://example.org`; each request may take `timeout` from start to the end of
    /// the answer. `insecure` leaves the server's certificate unchecked.
    ///
    /// If the process has no provider of cryptography for TLS, aws-lc-rs becomes the default one.
    pub fn new(endpoint: &str, insecure: bool, timeout: Duration) -> Result<Self, EndpointError> {
        let url = server_url(endpoint)?;
        install_provider();
        let builder = Client::builder()
            .redirect(Policy::none())
            .timeout(timeout)
            .pool_idle_timeout(KEPT_IDLE)
            .tls_danger_accept_invalid_certs(insecure);
        let client = adapt(builder, &url)
            .build()
            .map_err(|source| EndpointError::Client { endpoint: endpoint.to_owned(), source })?;
        let endpoint = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, endpoint, largest_answer: LARGEST_ANSWER })
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let (mut parts, body) = request.into_parts();
        // the original servers' other clients say it, and some proxies demand it (specification 0.2)
        if body.is_empty() && matches!(parts.method, Method::POST | Method::PUT | Method::DELETE) {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        match self.exchange(parts.clone(), body.clone()).await {
            // most likely the server closed a connection that was kept, and a read can be asked again
            Err(error) if parts.method == Method::GET && is_broken_off(&error) => self.exchange(parts, body).await,
            answer => answer,
        }
    }
}

impl HttpTransport {
    async fn exchange(&self, parts: Parts, body: Bytes) -> Result<Response<Bytes>, TransportError> {
        let url = format!("{}{}", self.endpoint, parts.uri);
        let mut answer = self.client.request(parts.method, url).headers(parts.headers).body(body).send().await?;
        let mut whole = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if whole.len() + chunk.len() > self.largest_answer {
                return Err(format!("the answer is larger than {} bytes", self.largest_answer).into());
            }
            whole.extend_from_slice(&chunk);
        }
        let mut response = Response::new(whole.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

/// Whether there was a connection, and it ended before the answer did.
fn is_broken_off(error: &TransportError) -> bool {
    error.downcast_ref::<reqwest::Error>().is_some_and(|error| !error.is_connect() && !error.is_timeout())
}

fn server_url(endpoint: &str) -> Result<Url, EndpointError> {
    let is_of = |scheme: &&str| endpoint.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    if !["http://", "https://"].iter().any(is_of) {
        return Err(EndpointError::Scheme { endpoint: endpoint.to_owned() });
    }
    let address = |reason: String| EndpointError::Address { endpoint: endpoint.to_owned(), reason };
    let url = Url::parse(endpoint).map_err(|error| address(error.to_string()))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(address("it has a query or a fragment".to_owned()));
    }
    Ok(url)
}

/// What depends on the kind of server.
fn adapt(mut builder: ClientBuilder, url: &Url) -> ClientBuilder {
    // over plain HTTP the machine's certificates are never asked, so a machine without any will do
    if url.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    // a proxy of the environment does not lead back to this machine
    if is_here { builder.no_proxy() } else { builder }
}

/// Makes aws-lc-rs the process's default provider, unless it has one.
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // fails only if another thread was faster, and then there is one
        rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap_or_default();
    }
}
