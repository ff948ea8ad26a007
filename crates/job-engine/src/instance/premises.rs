//! [`Premises`]: what a server stands on in this process, its folder, its store and its address, and the order in which
//! that is opened and closed. Nothing here decides anything.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use slipstream_store::sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::engine::error::EngineError;
use crate::instance::data_dir::{DataDir, Password};
use crate::process::registry::host_name;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;
use crate::server::Server;

/// How long those may hold the store whose end nobody waits for: tasks that were told to end, requests whose clients
/// have gone.
const LAST_HOLDERS: Duration = Duration::from_secs(1);
/// Pause between two looks whether they have let it go.
const PAUSE: Duration = Duration::from_millis(5);

/// A folder that this process holds, the store in it, and perhaps an address. To be [closed](Self::close).
pub(crate) struct Premises {
    folder: Folder,
    password: Password,
    door: Option<Door>,
    store: Arc<SqliteStore>,
}

/// Where everything is kept. A temporary folder is removed when this is dropped.
pub(crate) struct Folder {
    data_dir: DataDir,
    _temporary: Option<TempDir>,
}

impl Folder {
    /// Locks the folder of this path, or else one that goes with this value.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, EngineError> {
        if let Some(path) = path {
            return Ok(Self { data_dir: DataDir::open(path)?, _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("slipstream-job-").tempdir().map_err(EngineError::Temporary)?;
        Ok(Self { data_dir: DataDir::open(temporary.path())?, _temporary: Some(temporary) })
    }
}

/// Where the API is reached over HTTP.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    async fn open(address: SocketAddr) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self { address: listener.local_addr().map_err(failed)?, listener })
    }
}

impl Premises {
    /// Listens, if there is to be an address, and opens the store in the file `database` of the folder.
    pub(crate) async fn open(folder: Folder, database: &Path, listen: Option<SocketAddr>) -> Result<Self, EngineError> {
        let password = folder.data_dir.password()?;
        let door = match listen {
            Some(address) => Some(Door::open(address).await?),
            None => None,
        };
        let store = Arc::new(SqliteStore::open(&folder.data_dir.path().join(database))?);
        Ok(Self { folder, password, door, store })
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.data_dir.path()
    }

    /// The administrator's password.
    pub(crate) fn password(&self) -> &Password {
        &self.password
    }

    /// Where the API listens, if it does.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.door.as_ref().map(|door| door.address)
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<SqliteStore> {
        &self.store
    }

    /// Tells command lines on this machine where the API listens, if it does, and answers that.
    pub(crate) fn announce(&mut self) -> Result<Option<String>, EngineError> {
        Ok(self.address().map(|address| self.folder.data_dir.announce(address)).transpose()?)
    }

    /// Works until the stop, with the reconciler beside `work`: neither ends before unless it cannot be started again.
    /// The API answers until the last of the work has ended.
    pub(crate) async fn work(
        &mut self,
        server: &Server,
        proxies: Vec<IpNet>,
        mut work: JoinSet<()>,
        stop: &Stop,
    ) -> Result<(), EngineError> {
        let (serving, mut api) = (Stop::new(), JoinSet::new());
        let has_door = self.door.is_some();
        if let Some(Door { listener, .. }) = self.door.take() {
            let (server, serving) = (server.clone(), serving.clone());
            api.spawn(async move { server.serve_behind(listener, proxies, serving).await });
        }
        let (reconciled, asked) = (server.clone(), stop.clone());
        work.spawn(supervise("reconciler", stop.clone(), move || {
            let (server, stop) = (reconciled.clone(), asked.clone());
            async move { server.reconcile(&host_name(), stop).await }
        }));
        let early = tokio::select! {
            biased;
            () = stop.asked() => Ok(()),
            () = self.store.broken() => Err(EngineError::Broken),
            Some(ended) = work.join_next() => Err(EngineError::EndedEarly(ended.err())),
            Some(ended) = api.join_next() => Err(EngineError::EndedEarly(ended.err())),
        };
        if matches!(early, Err(EngineError::Broken)) {
            // nothing that still runs can say how it ended
            stop.ask_at_once();
        } else {
            stop.ask();
        }
        let worked = finish(work).await;
        serving.ask();
        let ended = finish(api).await;
        let retracted = if has_door { self.folder.data_dir.retract() } else { Ok(()) };
        early.and(worked).and(ended).and(retracted.map_err(EngineError::from))
    }

    /// Puts everything into the one file, once nobody else uses the store, and lets the folder go. A request that nobody
    /// has answered may hold the store for longer; then its end closes it, which loses nothing that was answered.
    pub(crate) async fn close(self) -> Result<(), EngineError> {
        let (mut held, deadline) = (self.store, Instant::now() + LAST_HOLDERS);
        let store = loop {
            held = match Arc::try_unwrap(held) {
                Ok(store) => break store,
                Err(held) => held,
            };
            if Instant::now() >= deadline {
                tracing::warn!("requests are still open, and hold the store until they end");
                return Ok(());
            }
            sleep(PAUSE).await;
        };
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        closed.map_err(EngineError::Crashed)?.map_err(EngineError::Close)
    }
}

/// Waits for all tasks; one that panicked is an error once the others have ended.
async fn finish(mut tasks: JoinSet<()>) -> Result<(), EngineError> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.map_err(EngineError::Crashed));
    }
    result
}

#[cfg(test)]
mod tests {
    use slipstream_coordination::Embedded;

    use super::*;
    use crate::process::clock::Clock;
    use crate::server::{DEFAULT_MAX_ATTEMPTS, Options, Writers};

    #[tokio::test]
    async fn a_store_that_has_crashed_ends_the_server_with_an_error() {
        let folder = Folder::open(None).unwrap();
        let mut premises = Premises::open(folder, Path::new("jobs.db"), None).await.unwrap();
        let options = Options {
            password: "secret".into(),
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            writers: Writers::One,
            coordinator_forgets: true,
        };
        let store = premises.store().clone();
        let server = Server::start(store.clone(), Arc::new(Embedded::new()), Clock::system(), options).await.unwrap();
        store.inspect(|_| panic!("as the test wants it")).await;
        drop(store);
        let stop = Stop::new();
        let ended = premises.work(&server, Vec::new(), JoinSet::new(), &stop).await.unwrap_err();
        assert!(matches!(ended, EngineError::Broken) && stop.is_asked(), "{ended}");
        server.close().await;
    }
}
