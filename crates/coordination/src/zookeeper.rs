//! The coordinator of a site: a `ZooKeeper` ensemble, version 3.6 to 3.9.
//!
//! The client library brings the wire; what it does not promise is here:
//!
//! * **Every request ends.** So many are under way at once, and none waits longer than the session can last. While the
//!   session is suspended requests fail at once, instead of lying in the library's queue without a bound.
//! * **A watch loses nothing silently.** The library forgets its recursive watches at each reconnect, and what happened
//!   meanwhile is lost: so a watch that is connected again is set again, and then yields a `Reset`.
//! * **A session has expired when a server says so.** The library's own clock is not believed: see `reconnector`; and
//!   one whose login is refused later is given up. What has expired stays so, and a new session is a new [`Coordinator::connect`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::ready;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use zookeeper_client as library;
use zookeeper_client::{Acl, Acls, Client, CreateMode, MultiReadResult, MultiWriteError, MultiWriteResult};

use crate::session::{
    Cause, Coordinator, DATA_LIMIT, Error, Found, Mode, Node, Operation, Session, State, Watch, found, is_path,
};
use crate::tasks;
use reconnector::{Connector, Current, Reconnector};
pub use settings::{Login, Scheme, Settings, SettingsError, Tls};

mod hosts;
mod reconnector;
mod settings;
mod srvr;
mod watching;

#[cfg(test)]
mod tests;

/// Most requests of one session that are under way; more wait for these.
const MOST_UNDER_WAY: usize = 1024;
/// `ZooKeeper`'s code for an ephemeral node that a local session may not have, which the library has no name for.
const EPHEMERAL_ON_LOCAL_SESSION: i32 = -120;
/// Said of a server that does not know reads of several nodes, and so has no recursive watches either.
const TOO_OLD: &str = "its ZooKeeper is older than 3.6, upgrade it to a version from 3.6 to 3.9";
/// Longest wait for a server that accepts a connection and says nothing, and for a session to close.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What makes sessions with one ensemble.
pub struct ZooKeeper {
    settings: Settings,
    connector: Connector,
    last_timeout: Mutex<Option<Duration>>,
}

impl ZooKeeper {
    /// Connects to nothing yet.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let (library, hosts) = (settings.connector()?, hosts::canonical(&settings.hosts)?);
        let connector = Connector { library, hosts, is_secure: settings.tls.is_some() };
        Ok(Self { settings, connector, last_timeout: Mutex::default() })
    }

    /// The ensemble keeps sessions within bounds of its own. Logs each time-out that it has chosen once.
    fn log_timeout(&self, chosen: Duration) {
        let asked = self.settings.session_timeout;
        let before = self.last_timeout.lock().expect("nothing panics while it holds this").replace(chosen);
        if is_timeout_news(asked, chosen, before) {
            tracing::warn!(
                asked_s = asked.as_secs_f64(),
                chosen_s = chosen.as_secs_f64(),
                "the ensemble chose another session time-out (see minSessionTimeout and maxSessionTimeout of its \
                     servers)"
            );
        }
    }

    /// As [`Coordinator::connect`], with the type of its own.
    pub async fn open(&self) -> Result<ZooKeeperSession, Error> {
        let hosts = &self.settings.hosts;
        let unreachable = |reason: &str| Error::Unreachable { hosts: hosts.clone(), reason: reason.to_owned() };
        let unusable = |reason: &str| Error::Unusable { hosts: hosts.clone(), reason: reason.to_owned() };
        let limit = self.settings.session_timeout.max(ANSWER_LIMIT);
        let client = match timeout(limit, self.connector.connect(None)).await {
            Ok(Ok(client)) => client,
            Ok(Err(library::Error::AuthFailed)) => {
                return Err(unusable("login refused, check user and password"));
            }
            Ok(Err(library::Error::NoHosts)) if self.settings.tls.is_some() => {
                return Err(unreachable("no server answers, or a certificate is not accepted"));
            }
            Ok(Err(library::Error::NoHosts)) => return Err(unreachable("no server answers")),
            Ok(Err(error)) => return Err(unreachable(&error.to_string())),
            Err(_) => return Err(unreachable("no answer in time")),
        };
        self.log_timeout(client.session_timeout());
        let session = ZooKeeperSession::new(self.connector.clone(), client, self.settings.protects());
        // of a kind that servers before 3.6 do not know
        let root = session.read_all(&["/"]).await;
        if matches!(root, Ok(Err(library::Error::Unimplemented))) {
            return Err(unusable(TOO_OLD));
        }
        match root.and_then(|answer| each_found(answer, &["/"])).as_deref() {
            Ok([Ok(Some(_))]) => Ok(session),
            Ok([Err(Cause::NotAllowed)]) => Err(unusable("this login may not read that folder")),
            Ok([Err(cause)]) => Err(unusable(&cause.to_string())),
            Ok(_) => Err(unusable("the folder after the last host does not exist, create it or leave it out")),
            Err(error) => Err(unreachable(&error.to_string())),
        }
    }
}

#[async_trait]
impl Coordinator for ZooKeeper {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        Ok(Arc::new(self.open().await?))
    }

    fn session_timeout(&self) -> Duration {
        let chosen = *self.last_timeout.lock().expect("nothing panics while it holds this");
        chosen.unwrap_or(self.settings.session_timeout)
    }

    /// By the command `srvr`, which a site may not allow, and which a server that wants TLS does not take in plain text.
    async fn version(&self) -> Option<String> {
        if self.settings.tls.is_some() {
            return None;
        }
        srvr::version(&self.connector.hosts).await
    }
}

/// Whether a session's time-out is another one than was asked for, and was before.
fn is_timeout_news(asked: Duration, chosen: Duration, before: Option<Duration>) -> bool {
    chosen != asked && before != Some(chosen)
}

/// A session with an ensemble. It ends when it is closed or dropped.
pub struct ZooKeeperSession {
    /// Taken away to close it: the session ends with the last client.
    client: Arc<watch::Sender<Option<Arc<Client>>>>,
    state: watch::Receiver<State>,
    under_way: Semaphore,
    limit: Duration,
    acls: Acls<'static>,
}

impl Drop for ZooKeeperSession {
    fn drop(&mut self) {
        self.client.send_replace(None);
    }
}

impl ZooKeeperSession {
    fn new(connector: Connector, client: Client, protects: bool) -> Self {
        let limit = client.session_timeout();
        let reconnector = Reconnector::new(connector, client);
        let (client, state) = (reconnector.client(), reconnector.state());
        // however it ends, the session is over
        tasks::spawn("client of ZooKeeper", reconnector.keep(), || ready(()));
        let acls = if protects { Acls::creator_all() } else { Acls::anyone_all() };
        Self { client, state, under_way: Semaphore::new(MOST_UNDER_WAY), limit, acls }
    }

    /// By what another connection of the library can take this session over: so tests end it.
    #[doc(hidden)]
    pub fn identity(&self) -> Result<library::SessionInfo, Error> {
        Ok(self.client()?.session().clone())
    }

    fn client(&self) -> Result<Arc<Client>, Error> {
        let (client, state) = (self.client.borrow().clone(), *self.state.borrow());
        match (client, state) {
            (Some(client), State::Connected) => Ok(client),
            (Some(_), State::Suspended) => Err(Error::ConnectionLoss),
            _ => Err(Error::Expired),
        }
    }

    /// Sends a request when its turn comes, and waits for the answer no longer than the session can last without one.
    async fn ask<T, E>(&self, request: impl AsyncFnOnce(Arc<Client>) -> Result<T, E>) -> Result<Result<T, E>, Error> {
        let turn = async {
            let _turn = self.under_way.acquire().await.map_err(|_| Error::Expired)?;
            Ok(request(self.client()?).await)
        };
        timeout(self.limit, turn).await.unwrap_or(Err(Error::ConnectionLoss))
    }

    async fn single(&self, operation: &Operation) -> Result<String, Error> {
        let path = operation.path();
        let answer = match operation {
            Operation::Create { data, mode, .. } => {
                let options = mode_of(*mode).with_acls(self.acls);
                let created = self.ask(async |client| client.create(path, data, &options).await).await?;
                let sequential = matches!(mode, Mode::PersistentSequential | Mode::EphemeralSequential);
                created.map(|(_, sequence)| if sequential { format!("{path}{sequence}") } else { path.to_owned() })
            }
            Operation::Delete { version, .. } => {
                self.ask(async |client| client.delete(path, *version).await).await?.map(|()| path.to_owned())
            }
            Operation::Set { data, version, .. } => {
                self.ask(async |client| client.set_data(path, data, *version).await).await?.map(|_| path.to_owned())
            }
        };
        answer.map_err(|error| classify(&error, path, 0))
    }

    /// Who may do what with the nodes that are made anew.
    async fn kept<'paths>(&self, operations: &'paths [Operation]) -> Result<HashMap<&'paths str, Vec<Acl>>, Error> {
        let mut kept = HashMap::new();
        for operation in operations {
            let Operation::Create { path, mode: Mode::PersistentAnew, .. } = operation else { continue };
            let answer = self.ask(async |client| client.get_acl(path).await).await?;
            let (acls, _) = answer.map_err(|error| classify(&error, path, 0))?;
            // a server shows `x` for a password's digest to those who may not change who may do what
            if acls.iter().any(|acl| acl.scheme() == "digest" && acl.id().ends_with(":x")) {
                return Err(Error::Refused { path: path.clone(), index: 0, cause: Cause::NotAllowed });
            }
            kept.insert(path.as_str(), acls);
        }
        Ok(kept)
    }

    async fn several(&self, operations: &[Operation]) -> Result<Vec<String>, Error> {
        let kept = self.kept(operations).await?;
        let acls = |path| kept.get(path).map_or(self.acls, |kept| Acls::new(kept));
        let answer = self
            .ask(async |client| {
                let mut writer = client.new_multi_writer();
                for operation in operations {
                    let path = operation.path();
                    match operation {
                        Operation::Create { data, mode, .. } => {
                            writer.add_create(path, data, &mode_of(*mode).with_acls(acls(path)))?;
                        }
                        Operation::Delete { version, .. } => writer.add_delete(path, *version)?,
                        Operation::Set { data, version, .. } => writer.add_set_data(path, data, *version)?,
                    }
                }
                writer.commit().await
            })
            .await?;
        match answer {
            Ok(results) => Ok(results.into_iter().zip(operations).map(created_path).collect()),
            Err(MultiWriteError::OperationFailed { index, source }) => {
                Err(classify(&source, operations.get(index).map_or("", Operation::path), index))
            }
            Err(MultiWriteError::RequestFailed { source }) => Err(classify(&source, "", 0)),
        }
    }

    /// Reads several nodes in one request.
    async fn read_all(&self, paths: &[&str]) -> Result<Result<Vec<MultiReadResult>, library::Error>, Error> {
        self.ask(async |client| {
            let mut reader = client.new_multi_reader();
            paths.iter().try_for_each(|path| reader.add_get_data(path))?;
            reader.commit().await
        })
        .await
    }
}

#[async_trait]
impl Session for ZooKeeperSession {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        for (index, operation) in operations.iter().enumerate() {
            if let Some(cause) = operation.fault() {
                return Err(Error::Refused { path: operation.path().to_owned(), index, cause });
            }
        }
        match operations.as_slice() {
            [] => Ok(Vec::new()),
            [operation] => self.single(operation).await.map(|path| vec![path]),
            operations => self.several(operations).await,
        }
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        checked(path)?;
        let answer = self.ask(async |client| client.get_data(path).await).await?;
        answer.map(node).map_err(|error| classify(&error, path, 0))
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        // one that is no path would be refused with all others
        let sent: Vec<&str> = paths.iter().map(String::as_str).filter(|path| is_path(path)).collect();
        let mut read = each_found(self.read_all(&sent).await?, &sent)?.into_iter();
        let answer = |path: &String| if is_path(path) { read.next() } else { Some(Err(Cause::BadPath)) };
        // a server that answers for fewer has lost the rest
        paths.iter().map(answer).collect::<Option<Vec<_>>>().ok_or(Error::ConnectionLoss)
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        checked(path)?;
        let answer = self.ask(async |client| client.list_children(path).await).await?;
        answer.map_err(|error| classify(&error, path, 0))
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        checked(path)?;
        watching::begin(self, path).await
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        checked(path)?;
        let answer = self.ask(async |client| client.sync(path).await).await?;
        answer.map_err(|error| classify(&error, path, 0))
    }

    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    async fn close(&self) {
        self.client.send_replace(None);
        let closed = async {
            // an error says that the state will not change any more
            let mut state = self.state.clone();
            drop(state.wait_for(|state| *state == State::Expired).await);
        };
        if timeout(ANSWER_LIMIT, closed).await.is_err() {
            tracing::debug!("session not closed as no server answers, it ends by time-out");
        }
    }
}

impl Operation {
    fn path(&self) -> &str {
        let (Self::Create { path, .. } | Self::Delete { path, .. } | Self::Set { path, .. }) = self;
        path
    }

    /// What can be said before anything is sent: the server would close the connection at data that are too long.
    fn fault(&self) -> Option<Cause> {
        let (data, sequential) = match self {
            Self::Create { data, mode, .. } => {
                (data.len(), matches!(mode, Mode::PersistentSequential | Mode::EphemeralSequential))
            }
            Self::Set { data, .. } => (data.len(), false),
            Self::Delete { .. } => (0, false),
        };
        // the name of a sequential node may be all digits
        let path = if sequential { Cow::from(format!("{}0", self.path())) } else { Cow::from(self.path()) };
        match () {
            () if !is_path(&path) => Some(Cause::BadPath),
            () if data > DATA_LIMIT => Some(Cause::TooLarge),
            () => None,
        }
    }
}

fn checked(path: &str) -> Result<(), Error> {
    let refused = || Error::Refused { path: path.to_owned(), index: 0, cause: Cause::BadPath };
    if is_path(path) { Ok(()) } else { Err(refused()) }
}

fn mode_of(mode: Mode) -> CreateMode {
    match mode {
        Mode::Persistent | Mode::PersistentAnew => CreateMode::Persistent,
        Mode::PersistentSequential => CreateMode::PersistentSequential,
        Mode::Ephemeral => CreateMode::Ephemeral,
        Mode::EphemeralSequential => CreateMode::EphemeralSequential,
    }
}

fn state_of(state: library::SessionState) -> State {
    match state {
        library::SessionState::SyncConnected => State::Connected,
        // a server without the others takes no writes
        library::SessionState::Disconnected | library::SessionState::ConnectedReadOnly => State::Suspended,
        library::SessionState::Expired | library::SessionState::AuthFailed | library::SessionState::Closed => {
            State::Expired
        }
    }
}

fn node((data, stat): (Vec<u8>, library::Stat)) -> Node {
    // a container's owner is the lowest number, and no session
    let is_ephemeral = !matches!(stat.ephemeral_owner, 0 | i64::MIN);
    Node { data, version: stat.version, created: stat.czxid, is_ephemeral, modified: Some(stat.mtime) }
}

/// What was read of each of these paths.
fn each_found(answer: Result<Vec<MultiReadResult>, library::Error>, paths: &[&str]) -> Result<Vec<Found>, Error> {
    let results = answer.map_err(|error| match classify(&error, "", 0) {
        // only single reads are refused: this is an answer that nobody understands
        Error::Refused { .. } => Error::ConnectionLoss,
        error => error,
    })?;
    let read = |(result, path): (MultiReadResult, &&str)| match result {
        MultiReadResult::Data { data, stat } => Ok(Ok(Some(node((data, stat))))),
        MultiReadResult::Error { err } => found(Err(classify(&err, path, 0))),
        _ => Ok(Err(Cause::Other)),
    };
    results.into_iter().zip(paths).map(read).collect()
}

fn created_path((result, operation): (MultiWriteResult, &Operation)) -> String {
    match result {
        MultiWriteResult::Create { path, .. } => path,
        _ => operation.path().to_owned(),
    }
}

/// What an error of the library means at this seam.
fn classify(error: &library::Error, path: &str, index: usize) -> Error {
    let cause = match error {
        library::Error::NoNode => Cause::NoNode,
        library::Error::NodeExists => Cause::NodeExists,
        library::Error::NotEmpty => Cause::NotEmpty,
        library::Error::BadVersion => Cause::BadVersion,
        library::Error::NoChildrenForEphemerals => Cause::ParentIsEphemeral,
        library::Error::BadArguments(_) => Cause::BadPath,
        library::Error::NoAuth | library::Error::InvalidAcl => Cause::NotAllowed,
        library::Error::QuotaExceeded => Cause::Quota,
        library::Error::UnexpectedErrorCode(EPHEMERAL_ON_LOCAL_SESSION) => Cause::LocalSession,
        library::Error::ConnectionLoss
        // the library's own word: the session is over when its state says so
        | library::Error::SessionExpired
        | library::Error::ClientClosed
        | library::Error::AuthFailed
        | library::Error::Timeout
        | library::Error::SessionMoved
        | library::Error::NotReadOnly
        | library::Error::Throttled
        // how the connection ended, or what made no sense on it
        | library::Error::Custom(_)
        | library::Error::UnexpectedError(_) => return Error::ConnectionLoss,
        other => {
            tracing::warn!(path, error = %other, "unexpected ZooKeeper error");
            Cause::Other
        }
    };
    Error::Refused { path: path.to_owned(), index, cause }
}
