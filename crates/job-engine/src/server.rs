//! The CIMI server: documents in a [store](slipstream_store), ids of waiting jobs in the queue.
//!
//! Read [`jobs`] for what happens to a job, [`jobs::ledger`] for the decision behind every edit, [`reconcile`] for what
//! mends everything that was interrupted, and [`routes`] for how a request gets there.

pub mod admin;
pub mod auth;
pub mod error;
mod front;
pub mod history;
pub mod http;
pub mod jobs;
mod observed;
pub mod queue;
pub mod reconcile;
pub mod resources;
pub mod routes;

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use ipnet::IpNet;
use jiff::SignedDuration;
use secrecy::SecretString;
use slipstream_action::with_causes;
pub use slipstream_cimi::overview::ledger::DEFAULT_MAX_ATTEMPTS;
use slipstream_cimi::overview::queue::Queue;
use slipstream_coordination::Coordinator;
use slipstream_dashboard::Dashboard;
use slipstream_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use self::auth::sessions::{self, PasswordError, Sessions};
use self::history::History;
use self::http::in_process::InProcess;
use self::http::listen;
use self::http::shares::Shares;
use self::jobs::bulk::Bulk;
use self::jobs::cache::WriteBehind;
pub use self::jobs::cache::Writers;
use self::jobs::feed::Feed;
use self::jobs::released::Releases;
use self::queue::QueueClient;
use self::queue::generation::{self, Generation};
use self::queue::recent::Recent;
use self::queue::snapshot::Snapshots;
use self::reconcile::LastRound;
use crate::collections::Collections;
use crate::process::clock::Clock;
use crate::process::health::Health;
use crate::process::metrics::{MeasuredStore, Metrics, ServerMetrics};
use crate::process::owner;
use crate::process::stop::Stop;
use crate::process::supervise::Part;

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Password of the administrator `super`.
    pub password: SecretString,
    /// How often a job may be claimed and lost before it is given up (decision 6).
    pub max_attempts: u32,
    /// Who writes the jobs of the store.
    pub writers: Writers,
    /// Whether the coordinator forgets everything with this process, as one in this process does: then its zxids start
    /// again at each start, and the generation rises. It rises for any other one when that is found to have forgotten
    /// (decision 3).
    pub coordinator_forgets: bool,
    /// The collections beside those that every server has.
    pub collections: Collections,
    /// What is counted.
    pub metrics: Metrics,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The administrator.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The generation could not be read or raised.
    #[error("cannot raise the generation")]
    Generation(#[source] StoreError),
    /// The identity of the store could not be read.
    #[error("cannot read the identity of the store")]
    Identity(#[source] StoreError),
}

/// What all requests share.
pub struct Shared {
    store: Arc<dyn Store>,
    /// The identity of the store, if it has one: that of a server whose coordinator is elsewhere has.
    identity: Option<String>,
    /// The jobs of the store, which change here and nowhere else.
    jobs: WriteBehind,
    queue: Arc<QueueClient>,
    /// What happened to jobs.
    history: Arc<History>,
    /// Writes it down.
    _historian: Part,
    /// Bulk operations.
    bulk: Bulk,
    /// Of the queue, as it was a moment ago.
    snapshots: Snapshots,
    recent_queue: Recent<Queue>,
    sessions: Sessions,
    collections: Collections,
    clock: Clock,
    generation: Arc<Generation>,
    /// Shows the generation in each session with the coordinator.
    _watch: Part,
    max_attempts: u32,
    metrics: ServerMetrics,
    health: Health,
    nudge: Arc<Notify>,
    /// One at a time compares all jobs with all entries.
    reconcile_lock: tokio::sync::Mutex<()>,
    /// What the last round of the reconciler found.
    last_round: Mutex<LastRound>,
    /// What became free again without having ended.
    released: Mutex<Releases>,
    /// Of those who are no administrators one searches at a time, so that they cannot hold up anybody else's searches.
    user_search_permit: Semaphore,
    /// Memory for answers.
    shares: Shares,
    /// For the bodies of requests.
    bodies: Shares,
}

impl Shared {
    async fn new(
        store: Arc<dyn Store>,
        coordinator: Arc<dyn Coordinator>,
        clock: Clock,
        generation: Generation,
        options: &Options,
    ) -> Self {
        let nudge = Arc::new(Notify::new());
        let (queue, generation) = (Arc::new(QueueClient::begin(coordinator).await), Arc::new(generation));
        let (watched, asked) = (generation.clone(), queue.clone());
        let watch = move || generation::watch(watched.clone(), asked.clone());
        let metrics = options.metrics.server();
        let history = Arc::new(History::new(store.clone(), metrics.happened().clone(), clock.clone()));
        let written = history.clone();
        let write = move || {
            let history = written.clone();
            async move { history.run().await }
        };
        Self {
            jobs: WriteBehind::new(store.clone(), options.writers, nudge.clone()),
            store,
            identity: None,
            queue,
            bulk: Bulk::default(),
            snapshots: Snapshots::default(),
            recent_queue: Recent::default(),
            sessions: Sessions::default(),
            collections: options.collections.clone(),
            released: Mutex::new(Releases::since(clock.now())),
            clock,
            generation,
            _watch: Part::begin("watch over the generation", watch),
            max_attempts: options.max_attempts,
            metrics,
            history,
            _historian: Part::begin("history", write),
            health: options.metrics.health().clone(),
            nudge,
            reconcile_lock: tokio::sync::Mutex::default(),
            last_round: Mutex::default(),
            user_search_permit: Semaphore::new(1),
            shares: Shares::default(),
            bodies: Shares::default(),
        }
    }

    fn released(&self) -> MutexGuard<'_, Releases> {
        self.released.lock().expect("nothing panics while it holds this")
    }

    fn last_round(&self) -> MutexGuard<'_, LastRound> {
        self.last_round.lock().expect("nothing panics while it holds this")
    }
}

/// A server. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// Makes the administrator and sees to the generation (decision 3). A coordinator that is out of reach keeps no server
    /// from starting (decision 1): it is told the generation once it is reached.
    pub async fn start(
        store: Arc<dyn Store>,
        coordinator: Arc<dyn Coordinator>,
        clock: Clock,
        options: Options,
    ) -> Result<Self, StartError> {
        let store = MeasuredStore::wrap(store, &options.metrics);
        sessions::ensure_administrator(&*store, options.password.clone(), clock.now()).await?;
        let generation = Generation::begin(store.clone(), options.coordinator_forgets).await;
        let generation = generation.map_err(StartError::Generation)?;
        let identity = owner::known_identity(&*store).await.map_err(StartError::Identity)?;
        let shared = Shared::new(store, coordinator, clock, generation, &options).await;
        let shared = Shared { identity, ..shared };
        // so that executors of this process find it at once; what fails here is done in the background
        if let Ok(session) = shared.queue.session().await
            && let Err(error) = shared.generation.agree(&*session).await
        {
            tracing::debug!(error = with_causes(&error), "generation not published yet");
        }
        let shared = Arc::new(shared);
        observed::observe(&shared, &options.metrics);
        Ok(Self { shared })
    }

    /// A transport that calls the routes as a function: the same answers, without a socket.
    #[must_use]
    pub fn transport(&self) -> Arc<InProcess> {
        Arc::new(InProcess::new(routes::service(self.shared.clone())))
    }

    /// Tells of each change of a job that this server makes. Those of other servers of the same store are not seen.
    #[must_use]
    pub fn feed(&self) -> Arc<Feed> {
        self.shared.jobs.feed().clone()
    }

    /// Answers requests until `stop`, then lets open requests end. A peer within one of the networks `proxies` is believed
    /// when it says who asks (specification 2.4).
    pub async fn serve(&self, listener: TcpListener, proxies: Vec<IpNet>, stop: Stop) {
        let clock = self.shared.clock.clone();
        let now = move || clock.now();
        let dashboard = Arc::new(Dashboard::new(self.transport(), self.feed().changes(), now));
        let service = front::service(self.shared.clone(), dashboard.clone());
        let streams = async {
            stop.asked().await;
            // connections are waited for, and those of streams would not end
            dashboard.stop();
            pending::<()>().await;
        };
        let mut away = self.shared.queue.away();
        let notices = async {
            while away.changed().await.is_ok() {
                self.feed().count();
            }
            pending::<()>().await;
        };
        tokio::select! {
            () = listen::serve(listener, service, proxies, stop.clone()) => {}
            () = streams => {}
            () = notices => {}
        }
    }

    /// Ends once everything that was answered so far is in the store.
    pub async fn settled(&self) {
        self.shared.jobs.settled().await;
    }

    /// Writes what was answered and is not written yet, and ends: later changes of jobs are refused.
    pub async fn close(&self) {
        self.shared.jobs.close().await;
        self.shared.history.close().await;
    }

    /// Mends what was interrupted, until `stop` (decision 2).
    pub async fn reconcile(&self, name: &str, stop: Stop) {
        reconcile::run(&self.shared, name, stop).await;
    }

    /// One round of the reconciler over jobs that nobody has written to for `untouched`: zero for a start at which
    /// nobody else can be at work.
    pub async fn reconcile_once(
        &self,
        untouched: SignedDuration,
    ) -> Result<reconcile::Mended, reconcile::ReconcileError> {
        reconcile::round(&self.shared, untouched).await
    }
}
