//! The server's way to the queue: it puts entries, removes them, and asks which are there. Every call has a limit,
//! because a job is stored whether or not the coordinator answers (decision 1).

pub mod claims;
pub mod generation;
mod puts;
pub mod recent;
mod session_keeper;
pub mod snapshot;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::overview::ledger::Holder;
use slipstream_coordination::queue::{EntryName, Moved};
use slipstream_coordination::retry::Complaint;
use slipstream_coordination::session::{Cause, Found, Mode, Node, Operation, existing, make_path};
use slipstream_coordination::{Contender, Coordinator, Election, Error, Session};

use tokio::sync::watch;
use tokio::time::Instant;

use self::puts::Puts;
use self::session_keeper::{Connection, SessionKeeper};
use crate::process::paths;
use crate::process::registry;

/// Longest wait for the coordinator within a request.
const LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for a listing: that of a million entries has 30 MB.
const LISTING_LIMIT: Duration = Duration::from_secs(15);
/// How many nodes are read in one request.
const READ_TOGETHER: usize = 250;
/// How many such requests are under way.
const READS_UNDER_WAY: usize = 8;

/// Why the coordinator did not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// No answer within the limit. What was to be done may have been done.
    #[error("no answer from the coordinator within {} seconds", .0.as_secs())]
    Slow(Duration),
    /// The coordinator can be reached and refused this one thing, of which nothing was done: no outage, and nothing that
    /// trying again mends.
    #[error("the coordinator refuses {path}: {cause}")]
    Refused {
        /// The node in question.
        path: String,
        /// What is wrong with it.
        cause: Cause,
    },
    /// There is no session, or the connection is lost. What was to be done may have been done.
    #[error(transparent)]
    Unreachable(Error),
}

impl From<Error> for QueueError {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { path, cause, .. } => Self::Refused { path, cause },
            error => Self::Unreachable(error),
        }
    }
}

/// The queue as the server uses it.
pub struct QueueClient {
    coordinator: Arc<dyn Coordinator>,
    keeper: Arc<SessionKeeper>,
    puts: Puts,
    /// Of entries that could not be put.
    complaint: Mutex<Complaint>,
}

impl QueueClient {
    /// Connects, if that is done within the limit of a request, and goes on trying for as long as it lives.
    pub async fn begin(coordinator: Arc<dyn Coordinator>) -> Self {
        let keeper = Arc::new(SessionKeeper::begin(coordinator.clone()).await);
        Self { coordinator, puts: Puts::new(keeper.clone()), keeper, complaint: Mutex::default() }
    }

    /// Adds jobs' ids to the queue and answers the entries' paths, in their order. What others add at the same time shares
    /// a transaction with them. An error does not say that there is no entry, unless the coordinator refused.
    pub async fn put_all(&self, jobs: Vec<(String, u16)>) -> Vec<Result<String, QueueError>> {
        self.puts.put_all(jobs).await
    }

    /// What was said of entries that could not be put.
    pub fn complaint(&self) -> MutexGuard<'_, Complaint> {
        self.complaint.lock().expect("nothing panics while it holds this")
    }

    /// Removes the entry at `path` if it is this job's, claimed or not: whoever holds it sees it vanish.
    pub async fn remove(&self, path: &str, id: &str) -> Result<(), QueueError> {
        self.within(LIMIT, async |connection| connection.queue.remove(path, id.as_bytes()).await.map(|_| ())).await
    }

    /// Removes the entry at `path` unless somebody holds it. Answers whether it is gone.
    pub async fn consume_unclaimed(&self, path: &str) -> Result<bool, QueueError> {
        self.within(LIMIT, async |connection| connection.queue.consume_unclaimed(path).await).await
    }

    /// Gives this job's entry at `path` another priority unless somebody holds it. What is not this job's is gone.
    pub async fn move_unclaimed(&self, path: &str, id: &str, priority: u16) -> Result<Moved, QueueError> {
        if self.text_at(path).await?.as_deref() != Some(id) {
            return Ok(Moved::Gone);
        }
        let request =
            async |connection: Connection| connection.queue.move_unclaimed(path, id.as_bytes(), priority).await;
        self.within(LIMIT, request).await
    }

    /// What the entry at `path` holds, if it exists: a job's id. One that may not be read is refused.
    pub async fn text_at(&self, path: &str) -> Result<Option<String>, QueueError> {
        let node = self.within(LIMIT, async |connection| existing(connection.session.data(path).await)).await?;
        Ok(node.as_ref().map(text))
    }

    /// As [`text_at`](Self::text_at) for many, in their order, many in one request: each is found or refused by itself.
    pub async fn texts_at(&self, paths: Vec<String>) -> Result<Vec<Result<Option<String>, Cause>>, QueueError> {
        Ok(self.nodes_at(paths).await?.into_iter().map(|found| found.map(|node| node.as_ref().map(text))).collect())
    }

    /// Which of these jobs, each with the path that it records, has its entry there. An entry that may not be read is of
    /// no use to its job.
    pub async fn are_queued(&self, jobs: &[(&str, Option<&str>)]) -> Result<Vec<bool>, QueueError> {
        let recorded = |path: Option<&str>| path.filter(|path| paths::is_entry(path)).map(str::to_owned);
        let paths = jobs.iter().filter_map(|(_, path)| recorded(*path)).collect();
        let mut texts = self.texts_at(paths).await?.into_iter();
        let is_queued = |(id, path): &(&str, Option<&str>)| {
            let text = recorded(*path).and_then(|_| texts.next()?.ok()?);
            text.is_some_and(|text| text == *id)
        };
        Ok(jobs.iter().map(is_queued).collect())
    }

    /// The claim on the entry at `path`, if somebody holds it. One that may not be read is refused: somebody holds it.
    pub async fn claim_on(&self, path: &str) -> Result<Option<Node>, QueueError> {
        let Some(name) = path.strip_prefix(paths::ENTRIES) else { return Ok(None) };
        let taken = format!("{}{name}", paths::TAKEN);
        self.within(LIMIT, async |connection| existing(connection.session.data(&taken).await)).await
    }

    /// Who holds the entry of this path, if anybody does.
    pub async fn holder(&self, entry: &str) -> Result<Option<Holder>, QueueError> {
        let Some(claim) = self.claim_on(entry).await? else { return Ok(None) };
        let claimant = text(&claim);
        let is_name = !claimant.is_empty() && !claimant.contains('/');
        let names: Vec<String> = is_name.then(|| claimant.clone()).into_iter().collect();
        let nodes = self.nodes_in(paths::EXECUTORS, &names).await.unwrap_or_default();
        let registered: Option<RegisteredExecutor> =
            nodes.first().and_then(|(_, node)| serde_json::from_slice(&node.as_ref().ok()?.data).ok());
        let (executor, host) = registered.map(|registered| (registered.name, registered.process.host)).unzip();
        Ok(Some(Holder { claimant, zxid: claim.created, executor, host }))
    }

    /// Who is registered below `folder`, each with the name of its node.
    pub async fn registered<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<(String, T)>, QueueError> {
        let registered = async |connection: Connection| {
            connection.session.sync(folder).await?;
            Ok(registry::registered(&*connection.session, folder).await?.all)
        };
        self.within(LISTING_LIMIT, registered).await
    }

    /// Names of the nodes below `folder`, from a fresh listing, in no order; none if there is no such folder.
    pub async fn names_in(&self, folder: &str) -> Result<Vec<String>, QueueError> {
        let names = self.within(LISTING_LIMIT, async |connection| {
            connection.session.sync(folder).await?;
            existing(connection.session.children(folder).await)
        });
        Ok(names.await?.unwrap_or_default())
    }

    /// The nodes of these names below `folder`, each with its name, in their order; those that are gone are left out, and
    /// those that may not be read say why.
    pub async fn nodes_in(
        &self,
        folder: &str,
        names: &[String],
    ) -> Result<Vec<(String, Result<Node, Cause>)>, QueueError> {
        let paths = names.iter().map(|name| format!("{folder}/{name}")).collect();
        let nodes = names.iter().zip(self.nodes_at(paths).await?);
        Ok(nodes.filter_map(|(name, found)| Some((name.clone(), found.transpose()?))).collect())
    }

    async fn nodes_at(&self, paths: Vec<String>) -> Result<Vec<Found>, QueueError> {
        let read = |paths: &[String]| {
            let paths = paths.to_vec();
            self.within(LIMIT, async |connection: Connection| connection.session.nodes(paths).await)
        };
        let requests: Vec<_> = paths.chunks(READ_TOGETHER).map(read).collect();
        let read: Vec<Vec<_>> = stream::iter(requests).buffered(READS_UNDER_WAY).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Replaces what the node at `path` holds, and answers whether there is one.
    pub async fn replace(&self, path: &str, data: Vec<u8>) -> Result<bool, QueueError> {
        let set = vec![Operation::Set { path: path.to_owned(), data, version: None }];
        let set = self.within(LIMIT, async |connection| existing(connection.session.commit(set).await)).await?;
        Ok(set.is_some())
    }

    /// The candidates in the election at `path`, in their order.
    pub async fn candidates(&self, path: &str) -> Result<Vec<Contender>, QueueError> {
        let contenders = async |connection: Connection| Election::new(connection.session, path, "").contenders().await;
        self.within(LIMIT, contenders).await
    }

    /// Names of all entries in the order of the queue, from a fresh listing. What else lies there is not ours.
    pub async fn list(&self) -> Result<Vec<EntryName>, QueueError> {
        let names = self.names_in(paths::ENTRIES).await?;
        let mut names: Vec<EntryName> = names.into_iter().filter_map(|name| EntryName::parse(&name)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The session, for the generation's node.
    pub async fn session(&self) -> Result<Arc<dyn Session>, QueueError> {
        self.within(LIMIT, async |connection| Ok(connection.session)).await
    }

    /// Since when the coordinator cannot be used, if it cannot: now, and from now on.
    pub fn away(&self) -> watch::Receiver<Option<Instant>> {
        self.keeper.away()
    }

    /// The same as a time by the clock that says that it is `now`.
    pub fn away_since(&self, now: Timestamp) -> Option<Timestamp> {
        let away = *self.away().borrow();
        away.and_then(|away| SignedDuration::try_from(away.elapsed()).ok()).map(|for_so_long| {
            let since = now - for_so_long;
            // the same each time that it is asked
            Timestamp::from_second(since.as_second()).unwrap_or(since)
        })
    }

    /// What the coordinator calls its version, if it says it.
    pub async fn version(&self) -> Option<String> {
        self.coordinator.version().await
    }

    /// What time it is by the coordinator's own clock, in milliseconds since 1970, if it has one: a node is written to find
    /// that out, and goes at once.
    pub async fn time(&self) -> Result<Option<i64>, QueueError> {
        let ask = async |Connection { session, claimant, .. }: Connection| {
            make_path(&*session, paths::CLOCK).await?;
            let path = format!("{}/{claimant}", paths::CLOCK);
            session.commit(vec![Operation::create(&path, "", Mode::Ephemeral)]).await?;
            let node = session.data(&path).await;
            session.commit(vec![Operation::delete(&path)]).await?;
            Ok(node?.modified)
        };
        self.within(LIMIT, ask).await
    }

    /// The session once there is one, however long that takes, and a name that no other session has.
    pub async fn connected(&self) -> (Arc<dyn Session>, String) {
        let Connection { session, claimant, .. } = self.keeper.connected().await;
        (session, claimant)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        request: impl AsyncFnOnce(Connection) -> Result<T, Error>,
    ) -> Result<T, QueueError> {
        let work = async { request(self.keeper.connection().await?).await };
        Ok(tokio::time::timeout(limit, work).await.map_err(|_| QueueError::Slow(limit))??)
    }
}

/// What a node holds, as text.
pub(super) fn text(node: &Node) -> String {
    String::from_utf8_lossy(&node.data).into_owned()
}
