//! The server's way to the queue: it puts entries, removes them, and asks which are there. One session, made again
//! when it has expired; every call has a limit, because a job is stored whether or not the coordinator answers
//! (decision 1).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use slipstream_coordination::queue::EntryName;
use slipstream_coordination::session::{Cause, Node, State};
use slipstream_coordination::{Coordinator, Election, Error, LockingQueue, Session};
use tokio::sync::Mutex;

use crate::nodes;

/// Longest wait for the coordinator within a request.
const LIMIT: Duration = Duration::from_secs(2);
/// How many nodes are read at once.
const READS_AT_ONCE: usize = 64;

/// Why the coordinator did not do it.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    /// No answer within the limit.
    #[error("no answer from the coordinator within {} seconds", LIMIT.as_secs())]
    Slow,
    /// The coordinator refused, or the connection is lost.
    #[error(transparent)]
    Coordination(#[from] Error),
}

/// The queue as the server uses it.
pub struct Entries {
    coordinator: Arc<dyn Coordinator>,
    connection: Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    session: Arc<dyn Session>,
    queue: LockingQueue,
}

impl Entries {
    /// Connects when it is first needed.
    #[must_use]
    pub fn new(coordinator: Arc<dyn Coordinator>) -> Self {
        Self { coordinator, connection: Mutex::new(None) }
    }

    /// Adds a job's id to the queue and answers the entry's path.
    pub async fn put(&self, id: &str, priority: u16) -> Result<String, EntriesError> {
        self.within_limit(async |connection| connection.queue.put(id.as_bytes(), priority).await).await
    }

    /// Removes the entry at `path` if it is this job's, claimed or not: whoever holds it sees it vanish.
    pub async fn remove(&self, path: &str, id: &str) -> Result<(), EntriesError> {
        self.within_limit(async |connection| connection.queue.remove(path, id.as_bytes()).await.map(|_| ())).await
    }

    /// Removes the entry at `path` unless somebody holds it. Answers whether it is gone.
    pub async fn consume_unclaimed(&self, path: &str) -> Result<bool, EntriesError> {
        self.within_limit(async |connection| connection.queue.consume_unclaimed(path).await).await
    }

    /// What the node at `path` holds, if it exists: an entry a job's id, the generation's node a number.
    pub async fn text_at(&self, path: &str) -> Result<Option<String>, EntriesError> {
        let node = self.within_limit(async |connection| optional(connection.session.data(path).await)).await?;
        Ok(node.map(|node| String::from_utf8_lossy(&node.data).into_owned()))
    }

    /// The zxid of the claim on the entry at `path`, if somebody holds it.
    pub async fn claim_on(&self, path: &str) -> Result<Option<i64>, EntriesError> {
        let Some(name) = path.strip_prefix(nodes::ENTRIES) else { return Ok(None) };
        let taken = format!("{}{name}", nodes::TAKEN);
        let node = self.within_limit(async |connection| optional(connection.session.data(&taken).await)).await?;
        Ok(node.map(|node| node.created))
    }

    /// Names of the nodes below `folder`, from a fresh listing, in no order; none if there is no such folder.
    pub async fn names_in(&self, folder: &str) -> Result<Vec<String>, EntriesError> {
        let names = self
            .within_limit(async |connection| {
                connection.session.sync(folder).await?;
                optional(connection.session.children(folder).await)
            })
            .await?;
        Ok(names.unwrap_or_default())
    }

    /// The nodes of these names below `folder`, each with its name, in their order; those that are gone are left out.
    pub async fn nodes_in(&self, folder: &str, names: &[String]) -> Result<Vec<(String, Node)>, EntriesError> {
        self.within_limit(async |connection| {
            let session = &*connection.session;
            let read = async |name: &String| {
                let node = optional(session.data(&format!("{folder}/{name}")).await)?;
                Ok::<_, Error>(node.map(|node| (name.clone(), node)))
            };
            let found = stream::iter(names.iter().map(read)).buffered(READS_AT_ONCE);
            found.try_filter_map(async |found| Ok(found)).try_collect().await
        })
        .await
    }

    /// Identifiers of the candidates in the election at `path`, the leader first.
    pub async fn candidates(&self, path: &str) -> Result<Vec<String>, EntriesError> {
        self.within_limit(async |connection| Election::new(connection.session, path, "").contenders().await).await
    }

    /// Names of all entries, from a fresh listing. What else lies there is not ours.
    pub async fn list(&self) -> Result<BTreeSet<EntryName>, EntriesError> {
        let names = self.names_in(nodes::ENTRIES).await?;
        Ok(names.into_iter().filter_map(|name| EntryName::parse(&name)).collect())
    }

    /// The session, for elections and for the generation's node.
    pub async fn session(&self) -> Result<Arc<dyn Session>, EntriesError> {
        self.within_limit(async |connection| Ok(connection.session)).await
    }

    async fn within_limit<T>(
        &self,
        request: impl AsyncFnOnce(Connection) -> Result<T, Error>,
    ) -> Result<T, EntriesError> {
        let work = async { request(self.connected().await?).await };
        Ok(tokio::time::timeout(LIMIT, work).await.map_err(|_| EntriesError::Slow)??)
    }

    async fn connected(&self) -> Result<Connection, Error> {
        let mut connection = self.connection.lock().await;
        let live = |connection: &&Connection| *connection.session.state().borrow() != State::Expired;
        if let Some(connection) = connection.as_ref().filter(live) {
            return Ok(connection.clone());
        }
        let session = self.coordinator.connect().await?;
        let claimant = uuid::Uuid::new_v4().simple().to_string();
        let queue = LockingQueue::open(session.clone(), nodes::JOB, &claimant).await?;
        Ok(connection.insert(Connection { session, queue }).clone())
    }
}

/// A missing node is an answer, not an error.
fn optional<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is(Cause::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}
