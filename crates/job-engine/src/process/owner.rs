//! Whose queue it is. Entries hold ids of jobs of one store: whoever reads those of another one's takes its jobs for gone.
//! So a folder carries the identity of its store in the node [`paths::STORE`], and [`Own`] begins a session only where
//! that is the own store's.
//!
//! A store's identity is made once and kept in the store, so that a copy of it has the same. A server takes over a folder
//! that carries none, such as one of the original's; executors and distributors hear from their server whose store it
//! has, and check nothing where the server has none.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use slipstream_cimi::dialect::{ENTRY_POINT, STORE};
use slipstream_cimi::{Client, Document};
use slipstream_coordination::session::{Node, Watch, existing, write_over};
use slipstream_coordination::{Coordinator, Error, Session};
use slipstream_store::{Record, Revision, Store, StoreError, StoreExt};
use uuid::Uuid;

use crate::process::paths;

#[cfg(test)]
mod tests;

/// The document in which a store keeps its identity.
const ID: &str = "store/current";
/// How often a folder that others take over at the same time is looked at again.
const TRIES: usize = 10;

/// The identity of a store, which is made if it has none.
pub async fn identity_of(store: &dyn Store) -> Result<String, StoreError> {
    if let Some(known) = known_identity(store).await? {
        return Ok(known);
    }
    let made = Uuid::new_v4().to_string();
    let document = Document::from_iter([("id".to_owned(), json!(ID)), (STORE.to_owned(), json!(made))]).into();
    match store.insert(Record { id: ID.to_owned(), revision: Revision::default(), document, ledger: Value::Null }).await
    {
        Ok(_) => Ok(made),
        Err(error @ StoreError::Exists(_)) => known_identity(store).await?.ok_or(error),
        Err(error) => Err(error),
    }
}

/// The identity of a store, if it has one.
pub async fn known_identity(store: &dyn Store) -> Result<Option<String>, StoreError> {
    let record = store.get(ID).await?;
    Ok(record.and_then(|record| record.document.get(STORE)?.as_str().map(str::to_owned)))
}

/// Which store is the own one.
pub enum Whose {
    /// That of this server.
    Server(String),
    /// That of the server that this client asks, without a login, at the beginning of each session; with what it said
    /// last, for as long as it cannot be asked.
    Remote(Client, Mutex<Option<String>>),
}

impl Whose {
    /// That of the server that this client asks.
    #[must_use]
    pub fn remote(client: Client) -> Self {
        Self::Remote(client, Mutex::default())
    }

    /// None if it is not known.
    async fn identity(&self) -> Option<String> {
        match self {
            Self::Server(identity) => Some(identity.clone()),
            Self::Remote(client, last) => {
                let answer = client.get(ENTRY_POINT).await;
                let mut last = last.lock().expect("nothing panics while it holds this");
                if let Ok(entry_point) = answer {
                    *last = entry_point.get(STORE).and_then(|store| store["id"].as_str()).map(str::to_owned);
                }
                last.clone()
            }
        }
    }

    /// What somebody should do whose own store is not the one that the folder carries.
    fn advice(&self, own: &str, carried: &str, hosts: &str) -> String {
        match self {
            Self::Server(_) => format!(
                "the folder is the queue of another store, {carried}, and this server's is {own}: give each server \
                 its own folder with --zk-hosts HOST/FOLDER, or, if that store is gone for good, assign this one with \
                 slipstream-job queue adopt {own} --zk-hosts {hosts}"
            ),
            Self::Remote(..) => format!(
                "the folder is the queue of another store, {carried}, and the server's is {own}: check --zk-hosts and \
                 --ss-url"
            ),
        }
    }
}

/// A coordinator whose sessions begin only where the folder is the own store's, and end once it is another's.
pub struct Own<C> {
    inner: C,
    hosts: String,
    whose: Arc<Whose>,
}

impl<C: Coordinator> Own<C> {
    /// The same coordinator, which people know by `hosts`.
    pub fn new(inner: C, hosts: String, whose: Whose) -> Self {
        Self { inner, hosts, whose: Arc::new(whose) }
    }
}

#[async_trait]
impl<C: Coordinator> Coordinator for Own<C> {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let (session, own) = tokio::join!(self.inner.connect(), self.whose.identity());
        let session = session?;
        let Some(own) = own else { return Ok(session) };
        let folder = Folder { hosts: self.hosts.clone(), whose: self.whose.clone(), own };
        // from before the look, so that no change is missed
        let watched = session.watch(paths::STORE).await;
        match folder.check(&*session).await.and(watched) {
            Ok(changes) => {
                tokio::spawn(folder.follow(Arc::downgrade(&session), changes));
                Ok(session)
            }
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    fn session_timeout(&self) -> Duration {
        self.inner.session_timeout()
    }
}

struct Folder {
    hosts: String,
    whose: Arc<Whose>,
    own: String,
}

impl Folder {
    /// Fails if it is another store's. One that carries nothing is the server's from now on.
    async fn check(&self, session: &dyn Session) -> Result<(), Error> {
        for _ in 0..TRIES {
            let node = existing(session.data(paths::STORE).await)?;
            if let Some(carried) = node.as_ref().and_then(|node| identity_in(&node.data)) {
                let Self { hosts, whose, own } = self;
                let is_own = carried == *own;
                let foreign = || Error::Unusable { hosts: hosts.clone(), reason: whose.advice(own, &carried, hosts) };
                return if is_own { Ok(()) } else { Err(foreign()) };
            }
            if matches!(*self.whose, Whose::Remote(..)) {
                return Ok(());
            }
            match adopt_over(session, &self.own, node).await {
                Ok(()) => {
                    tracing::info!(store = self.own, "the folder at {} is the queue of this store now", self.hosts);
                    return Ok(());
                }
                // another server was faster
                Err(error) if error.is_of_a_change() => {}
                Err(error) => return Err(error),
            }
        }
        // somebody writes and deletes it all the while
        Err(Error::ConnectionLoss)
    }

    /// Ends the session once the folder is another store's.
    async fn follow(self, session: Weak<dyn Session>, mut changes: Watch) {
        while let Some(change) = changes.recv().await {
            let Some(session) = session.upgrade() else { return };
            tracing::trace!(?change, "checking which store the folder belongs to");
            if let Err(error @ Error::Unusable { .. }) = self.check(&*session).await {
                tracing::debug!(%error, "the session ends");
                return session.close().await;
            }
        }
    }
}

/// The identity of the store whose queue the folder is, if it carries any.
pub async fn carried(session: &dyn Session) -> Result<Option<String>, Error> {
    let node = existing(session.data(paths::STORE).await)?;
    Ok(node.and_then(|node| identity_in(&node.data)))
}

/// Gives the folder to the store of this identity, whosever queue it is.
pub async fn adopt(session: &dyn Session, identity: &str) -> Result<(), Error> {
    adopt_over(session, identity, existing(session.data(paths::STORE).await)?).await
}

/// What this text says, if it is an identity.
fn identity_in(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?.trim();
    Uuid::try_parse(text).ok().map(|identity| identity.to_string())
}

/// The same, where this node was found.
async fn adopt_over(session: &dyn Session, identity: &str, node: Option<Node>) -> Result<(), Error> {
    write_over(session, paths::STORE, identity.as_bytes().to_vec(), node.map(|node| node.version)).await
}
