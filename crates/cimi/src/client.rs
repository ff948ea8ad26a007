//! [`Client`]: login, cookie, one re-login on 403, repeatable adds; all above a [`Transport`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use secrecy::SecretString;

use crate::error::Error;
use crate::lease::AttemptIdentity;
use crate::query::{Collection, Search};
use crate::resource::Document;

/// Why no answer came.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

/// How a request gets an answer. The request's URI is a path with query, e.g. `/api/job/…`.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends it and waits for the whole answer, within a limit of the adapter's own.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError>;
}

/// Who the client is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

/// Talks CIMI to a server. Cheap to clone: clones share the session.
#[derive(Clone)]
pub struct Client {
    #[expect(dead_code, reason = "skeleton")]
    transport: Arc<dyn Transport>,
}

impl Client {
    /// A client that logs in when it is first needed, and again, once, when a request is answered 403.
    pub fn new(transport: Arc<dyn Transport>, credentials: Option<Credentials>) -> Self {
        todo!("{credentials:?} {}", Arc::strong_count(&transport))
    }

    /// The same session, with every request marked as written by this attempt.
    #[must_use]
    pub fn for_attempt(&self, identity: AttemptIdentity) -> Self {
        todo!("{identity:?}")
    }

    /// Logs in now; only needed to find out early whether the credentials are good.
    pub async fn login(&self) -> Result<(), Error> {
        todo!()
    }

    /// Reads a document.
    pub async fn get(&self, id: &str) -> Result<Document, Error> {
        todo!("{id}")
    }

    /// Adds a document to the collection `kind` and answers its id. With a `key` the add is repeatable: one that was
    /// carried out already answers the id of the first (decision 11), also if that first answer was lost.
    pub async fn add(&self, kind: &str, document: &Document, key: Option<&str>) -> Result<String, Error> {
        todo!("{kind} {document:?} {key:?}")
    }

    /// Merges `changes` into a document, after the attributes `remove` are taken out, and answers the result.
    pub async fn edit(&self, id: &str, changes: &Document, remove: &[&str]) -> Result<Document, Error> {
        todo!("{id} {changes:?} {remove:?}")
    }

    /// Deletes a document.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        todo!("{id}")
    }

    /// Searches a collection.
    pub async fn search(&self, kind: &str, search: &Search) -> Result<Collection, Error> {
        todo!("{kind} {search:?}")
    }

    /// Asks for an action on a document, e.g. `stop`, and answers the body.
    pub async fn operation(&self, id: &str, name: &str) -> Result<Document, Error> {
        todo!("{id} {name}")
    }
}
