//! The seam: [`Session`], in `ZooKeeper`'s own vocabulary.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

/// What a new node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stays until deleted.
    Persistent,
    /// Stays until deleted; the server appends ten digits that rise per parent.
    PersistentSequential,
    /// As `Persistent`, in the transaction that deletes the node of this path: whoever might use that one may use the new
    /// one, in the same way.
    PersistentAnew,
    /// Goes with the session.
    Ephemeral,
    /// Goes with the session; the server appends ten digits that rise per parent.
    EphemeralSequential,
}

/// One part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates a node; its parent must exist.
    Create {
        /// Full path; for sequential modes the part before the digits.
        path: String,
        /// What it holds.
        data: Vec<u8>,
        /// What it is.
        mode: Mode,
    },
    /// Deletes a node without children.
    Delete {
        /// Full path.
        path: String,
        /// Only this version, if given.
        version: Option<i32>,
    },
    /// Replaces a node's data.
    Set {
        /// Full path.
        path: String,
        /// What it holds from now on.
        data: Vec<u8>,
        /// Only this version, if given.
        version: Option<i32>,
    },
}

impl Operation {
    /// Creates a node.
    pub fn create(path: impl Into<String>, data: impl Into<Vec<u8>>, mode: Mode) -> Self {
        Self::Create { path: path.into(), data: data.into(), mode }
    }

    /// Deletes a node in whatever version.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::Delete { path: path.into(), version: None }
    }
}

/// A node as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub data: Vec<u8>,
    /// Rises with each set.
    pub version: i32,
    /// Transaction that created it; orders creations within one generation of the tree.
    pub created: i64,
    /// Whether it goes with a session. Where contenders, claims and registrations are, a node that does not belongs to
    /// nobody, and nobody takes it away: backup tools restore ephemeral nodes so.
    pub is_ephemeral: bool,
    /// When it was written last, by the coordinator's own clock, in milliseconds since 1970; none of one that has no clock of
    /// its own.
    pub modified: Option<i64>,
}

/// What was found where one of several nodes was to be read: it, nothing, or why this login may not have it.
pub type Found = Result<Option<Node>, Cause>;

/// What happened below a watched path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Changes may have been missed: read again what is needed. Always the first one of a watch.
    Reset,
    /// A node was created.
    Created(String),
    /// A node was deleted.
    Deleted(String),
    /// A node's data was set.
    Set(String),
}

impl Change {
    pub(crate) fn path(&self) -> Option<&str> {
        match self {
            Self::Created(path) | Self::Deleted(path) | Self::Set(path) => Some(path),
            Self::Reset => None,
        }
    }

    pub(crate) fn into_path(self) -> Option<String> {
        match self {
            Self::Created(path) | Self::Deleted(path) | Self::Set(path) => Some(path),
            Self::Reset => None,
        }
    }
}

/// Changes at and below a path, in order; ends when the session has expired.
pub type Watch = mpsc::Receiver<Change>;

/// How a session stands with its coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Requests are answered.
    Connected,
    /// The coordinator cannot be reached; the session may or may not still live there.
    Suspended,
    /// Over: ephemeral nodes are gone and every request fails. For ever.
    Expired,
}

/// Why one part of a transaction cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The node, or the parent of a node to create, does not exist.
    #[error("no such node")]
    NoNode,
    /// The node to create exists.
    #[error("node exists")]
    NodeExists,
    /// The node to delete has children.
    #[error("node has children")]
    NotEmpty,
    /// The node has another version.
    #[error("node has another version")]
    BadVersion,
    /// Ephemeral nodes have no children.
    #[error("an ephemeral node cannot have children")]
    ParentIsEphemeral,
    /// Not a path: `/` and names between single slashes.
    #[error("not a path")]
    BadPath,
    /// More than 512 KiB of data (`ZooKeeper` closes the connection at 1 MiB).
    #[error("more than 512 KiB of data")]
    TooLarge,
    /// The node's access control list does not allow it to this login.
    #[error("not allowed for this login")]
    NotAllowed,
    /// More nodes or bytes than a quota of the coordinator allows.
    #[error("quota of the coordinator exceeded, raise it or delete what is not needed")]
    Quota,
    /// A server whose sessions are local and stay so keeps no ephemeral nodes.
    #[error("a local session has no ephemeral nodes, set localSessionsUpgradingEnabled=true on the servers")]
    LocalSession,
    /// Something that only the coordinator's own log explains.
    #[error("refused by the coordinator, see its log")]
    Other,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The coordinator refused, and changed nothing.
    #[error("{path}: {cause}")]
    Refused {
        /// The node in question.
        path: String,
        /// Index of the failed operation within its transaction; 0 for reads.
        index: usize,
        /// What is wrong with it.
        cause: Cause,
    },
    /// The answer was lost: whether the request was carried out is not known.
    #[error("connection to the coordinator lost, outcome unknown")]
    ConnectionLoss,
    /// The session has expired: the request was not carried out and nothing will be.
    #[error("session expired")]
    Expired,
    /// No session could be had; another try may succeed. Only of [`Coordinator::connect`].
    #[error("no session with the coordinator at {hosts}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        hosts: String,
        /// What happened.
        reason: String,
    },
    /// No session can be had before somebody mends what is wrong. Only of [`Coordinator::connect`].
    #[error("cannot use the coordinator at {hosts}: {reason}")]
    Unusable {
        /// Where it was looked for.
        hosts: String,
        /// What is wrong, and what to do about it.
        reason: String,
    },
}

impl Error {
    /// Whether the coordinator refused because of `cause`.
    #[must_use]
    pub fn is(&self, cause: Cause) -> bool {
        matches!(self, Self::Refused { cause: found, .. } if *found == cause)
    }

    /// Whether what was to be written was written, made or deleted by somebody else since it was read.
    #[must_use]
    pub fn is_of_a_change(&self) -> bool {
        self.is(Cause::BadVersion) || self.is(Cause::NodeExists) || self.is(Cause::NoNode)
    }

    /// Why the coordinator refused, if it did. Whatever else an error says, it says of the connection.
    #[must_use]
    pub fn refusal(&self) -> Option<Cause> {
        match self {
            Self::Refused { cause, .. } => Some(*cause),
            _ => None,
        }
    }
}

/// A session with a coordinator. Every call ends: by an answer, by [`Error::ConnectionLoss`] or [`Error::Expired`].
/// A request is under way once the method's future was first polled; dropping the future does not take it back.
#[async_trait]
pub trait Session: Send + Sync {
    /// Carries out all operations or none, and answers a path for each: for creates the path created, sequence digits
    /// included.
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error>;
    /// Reads a node.
    async fn data(&self, path: &str) -> Result<Node, Error>;
    /// Reads several nodes in one request, and answers for each what was found: one that may not be read is no fault of
    /// the others, and an error is never a refusal. Sent after a [`commit`](Session::commit) of the same session it sees
    /// what that one did, answered or not.
    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error>;
    /// Names of a node's children, in no order.
    async fn children(&self, path: &str) -> Result<Vec<String>, Error>;
    /// Changes at and below a path from now on. The path need not exist.
    async fn watch(&self, path: &str) -> Result<Watch, Error>;
    /// What is read afterwards is not older than this call.
    async fn sync(&self, path: &str) -> Result<(), Error>;
    /// The state now and from now on.
    fn state(&self) -> watch::Receiver<State>;
    /// Ends the session; its ephemeral nodes go at once.
    async fn close(&self);
}

/// For how long sessions may be suspended whose coordinator sets no limit, such as the embedded one.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// What makes sessions.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// A new session, connected.
    async fn connect(&self) -> Result<Arc<dyn Session>, Error>;

    /// For how long the latest session may be suspended before it is most likely over, as the coordinator has chosen.
    fn session_timeout(&self) -> Duration;

    /// What it calls its version; none if it does not say.
    async fn version(&self) -> Option<String> {
        None
    }
}

/// How many changes a watch holds unread before it loses some and says so by [`Change::Reset`].
pub const WATCH_CAPACITY: usize = 1024;

/// Longest data of one node, in bytes.
pub const DATA_LIMIT: usize = 512 * 1024;

/// Longest path, in bytes; bounds the depth of a tree too.
pub const PATH_LIMIT: usize = 1024;

/// Whether this is a path: `/`, or names between single slashes, without `.`, `..` and the characters that
/// `ZooKeeper` refuses (control characters, private use, the last sixteen of the basic plane), at most [`PATH_LIMIT`]
/// bytes.
#[must_use]
pub fn is_path(path: &str) -> bool {
    let refused = |c: char| c.is_control() || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}');
    // almost all are ASCII, of which many bytes are looked at in one step
    let has_refused = if path.is_ascii() {
        path.bytes().fold(false, |found, byte| found | byte.is_ascii_control())
    } else {
        path.contains(refused)
    };
    let good = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    let names =
        |path: &str| path.strip_prefix('/').is_some_and(|it| it.as_bytes().split(|byte| *byte == b'/').all(good));
    path == "/" || path.len() <= PATH_LIMIT && !has_refused && names(path)
}

/// Creates the persistent nodes of `path` that are missing, empty as kazoo's. Those that are there need not allow it:
/// a coordinator that asks who may create does so before it looks what exists.
pub async fn make_path(session: &dyn Session, path: &str) -> Result<(), Error> {
    let ends = path.match_indices('/').map(|(end, _)| end).skip(1).chain([path.len()]);
    for end in ends {
        let created = session.commit(vec![Operation::create(&path[..end], "", Mode::Persistent)]).await;
        let is_there = match &created {
            Err(error) if error.is(Cause::NodeExists) => true,
            Err(Error::Refused { .. }) => {
                session.nodes(vec![path[..end].to_owned()]).await?.first().is_some_and(|found| *found != Ok(None))
            }
            created => created.is_ok(),
        };
        if !is_there {
            created?;
        }
    }
    Ok(())
}

/// Replaces what a node holds that was read in this version, or creates the one that was not there, and what is missing
/// above it. Fails with an error that [is of a change](Error::is_of_a_change) if somebody else was faster.
pub async fn write_over(session: &dyn Session, path: &str, data: Vec<u8>, version: Option<i32>) -> Result<(), Error> {
    let operation = if version.is_some() {
        Operation::Set { path: path.to_owned(), data, version }
    } else {
        make_path(session, path.rsplit_once('/').map_or("", |(parent, _)| parent)).await?;
        Operation::create(path, data, Mode::Persistent)
    };
    session.commit(vec![operation]).await.map(drop)
}

/// One of several reads: what the coordinator refuses is the fault of this one, anything else that of the connection.
pub(crate) fn found(read: Result<Node, Error>) -> Result<Found, Error> {
    match existing(read) {
        Err(Error::Refused { cause, .. }) => Ok(Err(cause)),
        Err(error) => Err(error),
        Ok(node) => Ok(Ok(node)),
    }
}

/// A node that may be missing.
pub fn existing<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(error) if error.is(Cause::NoNode) => Ok(None),
        other => other.map(Some),
    }
}
