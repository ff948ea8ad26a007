//! [`Instance`]: one server on this machine: its data directory with lock and password, its store and its listener, and
//! the order in which they are opened and closed. Nothing here decides anything.

pub(crate) mod data_dir;
pub(crate) mod endpoint;
pub(crate) mod error;
mod opening;
pub(crate) mod password;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use slipstream_store::Store;
use slipstream_store::sqlite::{Declared, Opening, SqliteStore};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};

use self::data_dir::DataDir;
use self::endpoint::EndpointFile;
use self::error::InstanceError;
use self::opening::looked_after;
use self::password::Password;
use crate::process::activity::Activity;
use crate::process::registry::host_name;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;
use crate::server::Server;

/// A data directory that this process holds, the store in it, and perhaps a listener. To be [closed](Self::close).
pub(crate) struct Instance {
    data_dir: DataDir,
    password: Password,
    listener: Option<TcpListener>,
    endpoint: Option<EndpointFile>,
    store: Arc<SqliteStore>,
}

impl Instance {
    /// Listens, if there is to be an address, and opens the store in the file `database` of the data directory, with what is
    /// declared. Where that takes long it is noted, and ends at the stop.
    pub(crate) async fn open(
        data_dir: DataDir,
        (database, declared): (&Path, Declared),
        listen: Option<SocketAddr>,
        activity: &Activity,
        stop: &Stop,
    ) -> Result<Self, InstanceError> {
        let password = Password::load(data_dir.path())?;
        let listener = match listen {
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|source| InstanceError::Listen { address, source })?)
            }
            None => None,
        };
        let (opening, path) = (Opening::default(), data_dir.path().join(database));
        let opened = opening.clone();
        let opened = spawn_blocking(move || SqliteStore::open_as(&path, declared, &opened));
        let opened = looked_after(opened, || opening.step(), || opening.stop(), activity, stop).await;
        let store = Arc::new(opened.map_err(InstanceError::Crashed)??);
        Ok(Self { data_dir, password, listener, endpoint: None, store })
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    pub(crate) fn password(&self) -> &Password {
        &self.password
    }

    /// Where the API listens, if it does and [`work`](Self::work) has not begun.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// Tells command lines on this machine where the API listens, if it does, and answers the URL.
    pub(crate) fn write_endpoint(&mut self) -> Result<Option<String>, InstanceError> {
        let Some(address) = self.address() else { return Ok(None) };
        let endpoint = self.endpoint.insert(EndpointFile::write(self.data_dir.path(), address)?);
        Ok(Some(endpoint.url().to_owned()))
    }

    /// Works until the stop, with the reconciler beside `work`: neither ends before unless it cannot be started again.
    /// The API answers until the last of the work has ended.
    pub(crate) async fn work(
        &mut self,
        server: &Server,
        proxies: Vec<IpNet>,
        mut work: JoinSet<()>,
        activity: &Activity,
        stop: &Stop,
    ) -> Result<(), InstanceError> {
        let (serving, mut api) = (Stop::new(), JoinSet::new());
        if let Some(listener) = self.listener.take() {
            let (server, serving, activity) = (server.clone(), serving.clone(), activity.clone());
            api.spawn(async move { activity.turning("listener", server.serve(listener, proxies, serving)).await });
        }
        let (reconciled, asked, turning) = (server.clone(), stop.clone(), activity.clone());
        work.spawn(supervise("reconciler", stop.clone(), move || {
            let (server, stop, activity) = (reconciled.clone(), asked.clone(), turning.clone());
            async move { activity.turning("reconciler", server.reconcile(&host_name(), stop)).await }
        }));
        let early = tokio::select! {
            biased;
            () = stop.asked() => Ok(()),
            () = self.store.broken() => Err(InstanceError::Broken),
            Some(ended) = work.join_next() => Err(InstanceError::EndedEarly(ended.err())),
            Some(ended) = api.join_next() => Err(InstanceError::EndedEarly(ended.err())),
        };
        if matches!(early, Err(InstanceError::Broken)) {
            // nothing that still runs can say how it ended
            stop.ask_at_once();
        } else {
            stop.ask();
        }
        let worked = finish(work).await;
        serving.ask();
        let ended = finish(api).await;
        early.and(worked).and(ended).and(self.endpoint.take().map_or(Ok(()), EndpointFile::remove))
    }

    /// Puts everything into the one file and lets the data directory go. A request that is still open is refused by the
    /// store from now on.
    pub(crate) async fn close(self) -> Result<(), InstanceError> {
        let store = self.store.clone();
        spawn_blocking(move || store.close()).await.map_err(InstanceError::Crashed)?.map_err(InstanceError::Close)
    }
}

/// Waits for all tasks; one that panicked is an error once the others have ended.
async fn finish(mut tasks: JoinSet<()>) -> Result<(), InstanceError> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.map_err(InstanceError::Crashed));
    }
    result
}

#[cfg(test)]
mod tests {
    use slipstream_coordination::Embedded;

    use super::*;
    use crate::config::default_collections;
    use crate::process::clock::Clock;
    use crate::process::metrics::Metrics;
    use crate::server::{DEFAULT_MAX_ATTEMPTS, Options, Writers};

    #[tokio::test]
    async fn a_store_that_has_crashed_ends_the_server_with_an_error() {
        let data_dir = DataDir::temporary().unwrap();
        let (activity, stop) = (Activity::new(), Stop::new());
        let database = (Path::new("jobs.db"), Declared::default());
        let mut instance = Instance::open(data_dir, database, None, &activity, &stop).await.unwrap();
        let options = Options {
            password: "secret".into(),
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            writers: Writers::One,
            coordinator_forgets: true,
            collections: default_collections(),
            metrics: Metrics::default(),
        };
        let server =
            Server::start(instance.store(), Arc::new(Embedded::new()), Clock::system(), options).await.unwrap();
        instance.store.inspect(|_| panic!("as the test wants it")).await;
        let ended = instance.work(&server, Vec::new(), JoinSet::new(), &activity, &stop).await.unwrap_err();
        assert!(matches!(ended, InstanceError::Broken) && stop.is_asked(), "{ended}");
        server.close().await;
    }

    /// The fault: another program has the database for a while, which the store waits for.
    #[tokio::test]
    async fn a_store_that_is_waited_for_stops_nothing_else() {
        let data_dir = DataDir::temporary().unwrap();
        let path = data_dir.path().join("jobs.db");
        drop(SqliteStore::open(&path).unwrap());
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE;").unwrap();
        let (activity, stop) = (Activity::new(), Stop::new());
        let database = (Path::new("jobs.db"), Declared::default());
        let opens = Instance::open(data_dir, database, None, &activity, &stop);
        let goes = async { other.execute_batch("ROLLBACK").unwrap() };
        let (opened, ()) = tokio::join!(opens, goes);
        opened.unwrap().close().await.unwrap();
    }
}
