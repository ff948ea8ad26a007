//! [`Instance`]: one server on this machine: its data directory with lock and password, its store and its listener, and
//! the order in which they are opened and closed. Nothing here decides anything.

pub(crate) mod data_dir;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod password;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use slipstream_store::Store;
use slipstream_store::sqlite::{Opening, SqliteStore, Step};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::interval;

use self::data_dir::DataDir;
use self::endpoint::EndpointFile;
use self::error::InstanceError;
use self::password::Password;
use crate::process::activity::{Activity, Phase};
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
    /// Listens, if there is to be an address, and opens the store in the file `database` of the data directory. Where that
    /// takes long it is noted, and ends at the stop.
    pub(crate) async fn open(
        data_dir: DataDir,
        database: &Path,
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
        let opened = spawn_blocking(move || SqliteStore::open_as(&path, &opened));
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

/// How often it is looked at how far the opening of a store is.
const LOOK: Duration = Duration::from_millis(250);

/// Waits for the opening of a store; notes what it is at and logs it, and stops it at the stop.
async fn looked_after<T>(
    opened: impl Future<Output = T>,
    at: impl Fn() -> Option<Step>,
    end: impl Fn(),
    activity: &Activity,
    stop: &Stop,
) -> T {
    let mut opened = std::pin::pin!(opened);
    let (mut looks, mut logged) = (interval(LOOK), None);
    loop {
        tokio::select! {
            biased;
            opened = &mut opened => {
                if logged.is_some() {
                    activity.enter(Phase::Starting);
                }
                return opened;
            }
            _ = looks.tick() => {}
        }
        if stop.is_asked() {
            end();
        }
        let Some(now) = at() else { continue };
        let (doing, percent) = match now {
            Step::Waiting => ("waiting until nobody else reads the database", None),
            Step::Copying { percent } => ("copying the database", Some(percent)),
            Step::Checking => ("checking the copy of the database", None),
            Step::Writing { percent } => ("writing the database anew for this version", Some(percent)),
            Step::Indexing => ("indexing the database", None),
        };
        activity.enter(Phase::Changing { doing, percent });
        // each ten percent
        let line = Some((doing, percent.map(|percent| percent / 10)));
        if logged != line {
            tracing::info!(percent, "{doing}");
            logged = line;
        }
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
    use std::cell::Cell;

    use slipstream_coordination::Embedded;

    use super::*;
    use crate::process::clock::Clock;
    use crate::process::metrics::Metrics;
    use crate::server::{DEFAULT_MAX_ATTEMPTS, Options, Writers};

    #[tokio::test]
    async fn a_store_that_has_crashed_ends_the_server_with_an_error() {
        let data_dir = DataDir::temporary().unwrap();
        let (activity, stop) = (Activity::new(), Stop::new());
        let mut instance = Instance::open(data_dir, Path::new("jobs.db"), None, &activity, &stop).await.unwrap();
        let options = Options {
            password: "secret".into(),
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            writers: Writers::One,
            coordinator_forgets: true,
            metrics: Metrics::default(),
        };
        let server =
            Server::start(instance.store(), Arc::new(Embedded::new()), Clock::system(), options).await.unwrap();
        instance.store.inspect(|_| panic!("as the test wants it")).await;
        let ended = instance.work(&server, Vec::new(), JoinSet::new(), &activity, &stop).await.unwrap_err();
        assert!(matches!(ended, InstanceError::Broken) && stop.is_asked(), "{ended}");
        server.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_opening_that_takes_long_is_noted_and_ends_at_the_stop() {
        let (activity, stop) = (Activity::new(), Stop::new());
        let (steps, asked) = (Cell::new(0), Cell::new(0));
        let ends = tokio::sync::Notify::new();
        let at = || {
            steps.set(steps.get() + 1);
            match steps.get() {
                1 => None,
                2 => Some(Step::Copying { percent: 41 }),
                3 => Some(Step::Checking),
                _ => {
                    stop.ask();
                    Some(Step::Indexing)
                }
            }
        };
        let end = || {
            asked.set(asked.get() + 1);
            // what begins at the moment of the first one does not hear it
            if asked.get() == 2 {
                ends.notify_one();
            }
        };
        let mut phases = activity.phase();
        let seen = async {
            let mut seen = Vec::new();
            while seen.last() != Some(&Phase::Starting) {
                phases.changed().await.unwrap();
                seen.push(phases.borrow_and_update().clone());
            }
            seen
        };
        let ((), seen) = tokio::join!(looked_after(ends.notified(), at, end, &activity, &stop), seen);
        let changing = |doing, percent| Phase::Changing { doing, percent };
        assert_eq!(
            (seen.first(), seen.get(1)),
            (
                Some(&changing("copying the database", Some(41))),
                Some(&changing("checking the copy of the database", None))
            )
        );
        assert_eq!(asked.get(), 2);
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
        let opens = Instance::open(data_dir, Path::new("jobs.db"), None, &activity, &stop);
        let goes = async { other.execute_batch("ROLLBACK").unwrap() };
        let (opened, ()) = tokio::join!(opens, goes);
        opened.unwrap().close().await.unwrap();
    }
}
