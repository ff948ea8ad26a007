//! [`start`]: puts the parts together, in the order in which they depend on each other, and takes them apart in the
//! opposite one. Nothing here decides anything.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use slipstream_cimi::{Client, Credentials};
use slipstream_coordination::Embedded;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Engine;
use super::builder::EngineBuilder;
use super::error::EngineError;
use super::gate::Gate;
use super::waiting::Waiting;
use crate::distributor::{self, Surroundings};
use crate::executor;
use crate::registry::host_name;
use crate::server::sessions::ADMINISTRATOR;
use crate::server::store::sqlite::SqliteStore;
use crate::server::{self, Server, reconcile};
use crate::stop::Stop;
use crate::up::data_dir::{DataDir, Password};
use crate::up::marks::StoreMarks;

/// How long CIMI, which is in this very process, may be out of reach before a claim is released.
const CIMI_GRACE: Duration = Duration::from_mins(2);

/// Starts everything; what it opened is closed again if it fails.
pub(super) async fn start(builder: EngineBuilder) -> Result<Engine, EngineError> {
    let folder = Folder::open(builder.folder.as_deref())?;
    let password = folder.data_dir.password()?;
    let door = Door::open(builder.listen).await?;
    let store = Arc::new(SqliteStore::open(&folder.data_dir.database()?)?);
    let started = tokio::select! {
        biased;
        () = builder.stop.asked() => Err(EngineError::Stopped),
        started = Parts::start(&store, &builder, &password) => started,
    };
    let announced = started.and_then(|parts| Ok((parts, folder.announce(door.as_ref())?)));
    let (parts, endpoint) = match announced {
        Ok(announced) => announced,
        Err(error) => {
            close(store).await?;
            return Err(error);
        }
    };
    let ended = CancellationToken::new();
    Ok(Engine {
        client: parts.client.clone(),
        folder: folder.data_dir.path().to_owned(),
        password,
        address: door.as_ref().map(|door| door.address),
        endpoint,
        waiting: Waiting::new(Embedded::clone(&parts.coordinator)),
        stop: builder.stop.clone(),
        ended: ended.clone(),
        running: tokio::spawn(run(parts, store, folder, door, builder, ended.drop_guard())),
    })
}

/// Where an engine keeps everything. A temporary one is removed when this is dropped.
struct Folder {
    data_dir: DataDir,
    _temporary: Option<TempDir>,
}

impl Folder {
    fn open(path: Option<&Path>) -> Result<Self, EngineError> {
        if let Some(path) = path {
            return Ok(Self { data_dir: DataDir::open(path)?, _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("slipstream-job-").tempdir().map_err(EngineError::Temporary)?;
        Ok(Self { data_dir: DataDir::open(temporary.path())?, _temporary: Some(temporary) })
    }

    fn announce(&self, door: Option<&Door>) -> Result<Option<String>, EngineError> {
        Ok(door.map(|door| self.data_dir.announce(door.address)).transpose()?)
    }
}

/// Where the API is reached over HTTP.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    async fn open(address: Option<SocketAddr>) -> Result<Option<Self>, EngineError> {
        let Some(address) = address else { return Ok(None) };
        let failed = |source| EngineError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Some(Self { address: listener.local_addr().map_err(failed)?, listener }))
    }
}

/// What everything that works in this process shares.
struct Parts {
    server: Server,
    coordinator: Arc<Embedded>,
    gate: Arc<Gate>,
    client: Client,
}

impl Parts {
    /// Rebuilds the queue from the store and makes the parts.
    async fn start(
        store: &Arc<SqliteStore>,
        builder: &EngineBuilder,
        password: &Password,
    ) -> Result<Self, EngineError> {
        let coordinator = Embedded::new();
        let without = reconcile::restore(&**store, &coordinator).await?;
        let options = server::Options {
            password: password.secret().clone(),
            max_attempts: builder.attempts,
            coordinator_forgets: true,
        };
        let coordinator = Arc::new(coordinator);
        let server = Server::start(store.clone(), coordinator.clone(), builder.clock.clone(), options).await?;
        if without > 0 {
            server.reconcile_once(SignedDuration::ZERO).await.map_err(EngineError::Reconcile)?;
        }
        let credentials = Credentials { username: ADMINISTRATOR.to_owned(), password: password.secret().clone() };
        let gate = Arc::new(Gate::new(server.transport()));
        let client = Client::new(gate.clone(), Some(credentials));
        Ok(Self { server, coordinator, gate, client })
    }
}

/// Works until the stop, then closes everything: first those who make requests, then the store, and the folder is let
/// go last.
async fn run(
    parts: Parts,
    store: Arc<SqliteStore>,
    folder: Folder,
    door: Option<Door>,
    builder: EngineBuilder,
    _ended: DropGuard,
) -> Result<(), EngineError> {
    let has_door = door.is_some();
    let worked = work(&parts, &store, door, builder).await;
    let retracted = if has_door { folder.data_dir.retract() } else { Ok(()) };
    parts.gate.close().await;
    parts.server.close().await;
    drop(parts);
    let closed = close(store).await;
    drop(folder);
    worked.and(retracted.map_err(EngineError::from)).and(closed)
}

/// Works until the stop, or until a part ends that should not. The API answers until the last job has ended.
async fn work(
    parts: &Parts,
    store: &Arc<SqliteStore>,
    door: Option<Door>,
    builder: EngineBuilder,
) -> Result<(), EngineError> {
    let (serving, stop) = (Stop::new(), builder.stop.clone());
    let mut api = JoinSet::new();
    if let Some(Door { listener, .. }) = door {
        let (server, proxies, serving) = (parts.server.clone(), builder.proxies.clone(), serving.clone());
        api.spawn(async move { server.serve_behind(listener, proxies, serving).await });
    }
    let mut work = start_work(parts, store, builder);
    let early = tokio::select! {
        biased;
        () = stop.asked() => Ok(()),
        Some(ended) = work.join_next() => Err(EngineError::EndedEarly(ended.err())),
        Some(ended) = api.join_next() => Err(EngineError::EndedEarly(ended.err())),
    };
    stop.ask();
    let worked = finish(work).await;
    serving.ask();
    let served = finish(api).await;
    early.and(worked).and(served)
}

/// Starts the reconciler, the executor and the distributors.
fn start_work(parts: &Parts, store: &Arc<SqliteStore>, builder: EngineBuilder) -> JoinSet<()> {
    let mut work = JoinSet::new();
    let name = host_name();
    {
        let (server, name, stop) = (parts.server.clone(), name.clone(), builder.stop.clone());
        work.spawn(async move { server.reconcile(&name, stop).await });
    }
    let options = executor::Options {
        name: name.clone(),
        threads: builder.slots,
        grace: builder.grace,
        cimi_grace: CIMI_GRACE,
        clock: builder.clock.clone(),
    };
    let (coordinator, client) = (parts.coordinator.clone(), parts.client.clone());
    work.spawn(executor::run(options, coordinator, client, builder.catalogue, builder.stop.clone()));
    let surroundings = Surroundings {
        coordinator: parts.coordinator.clone(),
        client: parts.client.clone(),
        marks: Arc::new(StoreMarks::new(store.clone())),
        clock: builder.clock,
        name,
    };
    for distributor in builder.distributors {
        let distributor = Arc::new(distributor);
        work.spawn(distributor::lead_and_distribute(distributor, surroundings.clone(), builder.stop.clone()));
    }
    work
}

/// Waits for all tasks; one that panicked is an error once the others have ended.
async fn finish(mut tasks: JoinSet<()>) -> Result<(), EngineError> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.map_err(EngineError::Crashed));
    }
    result
}

/// Puts everything into the one file. A request over HTTP that nobody has answered may still hold the store; then its
/// end closes it, which loses nothing that was answered.
async fn close(store: Arc<SqliteStore>) -> Result<(), EngineError> {
    let Some(store) = Arc::into_inner(store) else {
        tracing::warn!("requests are still open, and hold the store until they end");
        return Ok(());
    };
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.map_err(EngineError::Crashed)?.map_err(EngineError::Close)
}
