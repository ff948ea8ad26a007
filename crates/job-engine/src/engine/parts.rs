//! [`start`]: puts the parts together, in the order in which they depend on each other, and takes them apart in the
//! opposite one. Nothing here decides anything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use slipstream_cimi::{Client, Credentials};
use slipstream_coordination::Embedded;
use slipstream_store::sqlite::SqliteStore;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Engine;
use super::builder::EngineBuilder;
use super::error::EngineError;
use super::gate::Gate;
use super::waiting::Waiting;
use crate::api::user::ADMINISTRATOR;
use crate::distributor::store_marks::StoreMarks;
use crate::distributor::{self, Surroundings};
use crate::executor::{self, ActionRuntime};
use crate::instance::data_dir::DATABASE;
use crate::instance::premises::{Folder, Premises};
use crate::process::registry::host_name;
use crate::process::supervise::supervise;
use crate::server::{self, Server, reconcile};

/// How long CIMI, which is in this very process, may be out of reach before a claim is released.
const CIMI_GRACE: Duration = Duration::from_mins(2);

/// Starts everything; what it opened is closed again if it fails.
pub(super) async fn start(builder: EngineBuilder) -> Result<Engine, EngineError> {
    let runtime = ActionRuntime::start(builder.slots).map_err(EngineError::Threads)?;
    let folder = Folder::open(builder.folder.as_deref())?;
    let mut premises = Premises::open(folder, Path::new(DATABASE), builder.listen).await?;
    let started = tokio::select! {
        biased;
        () = builder.stop.asked() => Err(EngineError::Stopped),
        started = Parts::start(&premises, &builder) => started,
    };
    let announced = started.and_then(|parts| Ok((parts, premises.announce()?)));
    let (parts, endpoint) = match announced {
        Ok(announced) => announced,
        Err(error) => {
            premises.close().await?;
            return Err(error);
        }
    };
    let ended = CancellationToken::new();
    Ok(Engine {
        client: parts.client.clone(),
        folder: premises.folder().to_owned(),
        password: premises.password().clone(),
        address: premises.address(),
        endpoint,
        waiting: Waiting::new(Embedded::clone(&parts.coordinator)),
        stop: builder.stop.clone(),
        ended: ended.clone(),
        running: tokio::spawn(run(parts, premises, runtime, builder, ended.drop_guard())),
    })
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
    async fn start(premises: &Premises, builder: &EngineBuilder) -> Result<Self, EngineError> {
        let (store, password) = (premises.store(), premises.password().secret());
        let coordinator = Embedded::new();
        let without = reconcile::restore(&**store, &coordinator).await?;
        let options = server::Options {
            password: password.clone(),
            max_attempts: builder.attempts,
            writers: server::Writers::One,
            coordinator_forgets: true,
        };
        let coordinator = Arc::new(coordinator);
        let server = Server::start(store.clone(), coordinator.clone(), builder.clock.clone(), options).await?;
        if without > 0 {
            server.reconcile_once(SignedDuration::ZERO).await.map_err(EngineError::Reconcile)?;
        }
        let credentials = Credentials { username: ADMINISTRATOR.to_owned(), password: password.clone() };
        let gate = Arc::new(Gate::new(server.transport()));
        let client = Client::new(gate.clone(), Some(credentials));
        Ok(Self { server, coordinator, gate, client })
    }
}

/// Works until the stop, then closes everything: first those who make requests, then the store, and the folder is let
/// go last.
async fn run(
    parts: Parts,
    mut premises: Premises,
    runtime: ActionRuntime,
    builder: EngineBuilder,
    _ended: DropGuard,
) -> Result<(), EngineError> {
    let (proxies, stop) = (builder.proxies.clone(), builder.stop.clone());
    let work = start_work(&parts, premises.store(), runtime, builder);
    let worked = premises.work(&parts.server, proxies, work, &stop).await;
    parts.gate.close().await;
    parts.server.close().await;
    drop(parts);
    worked.and(premises.close().await)
}

/// Starts the executor and the distributors.
fn start_work(parts: &Parts, store: &Arc<SqliteStore>, runtime: ActionRuntime, builder: EngineBuilder) -> JoinSet<()> {
    let mut work = JoinSet::new();
    let stop = builder.stop;
    let surroundings = Surroundings {
        coordinator: parts.coordinator.clone(),
        client: parts.client.clone(),
        marks: Arc::new(StoreMarks::new(store.clone())),
        clock: builder.clock.clone(),
        name: host_name(),
    };
    let options = executor::Options {
        name: surroundings.name.clone(),
        threads: builder.slots,
        grace: builder.grace,
        cimi_grace: CIMI_GRACE,
        clock: builder.clock,
        runtime,
        unknown_action: builder.unknown_action,
    };
    let (coordinator, client, catalogue) = (parts.coordinator.clone(), parts.client.clone(), builder.catalogue);
    let asked = stop.clone();
    work.spawn(supervise("executor", stop.clone(), move || {
        executor::run(options.clone(), coordinator.clone(), client.clone(), catalogue.clone(), asked.clone())
    }));
    for distributor in builder.distributors {
        let part = format!("distributor {}", distributor.name);
        let (distributor, surroundings, asked) = (Arc::new(distributor), surroundings.clone(), stop.clone());
        work.spawn(supervise(part, stop.clone(), move || {
            distributor::lead_and_distribute(distributor.clone(), surroundings.clone(), asked.clone())
        }));
    }
    work
}
