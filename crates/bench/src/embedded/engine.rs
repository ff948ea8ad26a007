//! The parts of `slipstream-job up`, put together as `up` does it, with counters.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use serde_json::json;
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Credentials, Document, Transport};
use slipstream_coordination::Embedded;
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_job_engine::internals::executor;
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::server::{self, DEFAULT_MAX_ATTEMPTS, Server, reconcile};
use slipstream_store::sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::counter::Counter;
use super::meters::{MeteredCoordinator, MeteredStore, MeteredTransport};

/// Jobs at once of an executor in the server's process.
pub const SLOTS: usize = 512;
/// Jobs at once of an executor that talks HTTP: each has a connection, and a server takes 512.
pub const HTTP_SLOTS: usize = 128;
/// Longest wait for an answer over HTTP.
const ANSWER: Duration = Duration::from_mins(1);
/// Longest wait for what still uses the store when all have ended.
const LAST_TASKS: Duration = Duration::from_secs(30);
/// Of the administrator.
pub const PASSWORD: &str = "benchmark";
const ACTION: &str = "noop";

/// An engine without an executor.
pub struct Engine {
    store: Arc<SqliteStore>,
    server: Server,
    coordinator: Arc<MeteredCoordinator>,
    /// What is counted.
    pub metrics: Metrics,
    stop: Stop,
    reconciler: JoinHandle<()>,
    /// In process.
    pub client: Client,
    /// Actions begun.
    pub begun: Arc<Counter>,
    /// Entries that are gone from the queue: their jobs are final, and that is on the disk.
    pub gone: Arc<Counter>,
}

/// An executor at work.
pub struct Working {
    stop: Stop,
    task: JoinHandle<()>,
}

/// An API that listens.
pub struct Listening {
    endpoint: String,
    stop: Stop,
    task: JoinHandle<()>,
}

impl Engine {
    /// With what `path` holds, if there is anything. `metered` measures what each part uses, which slows it down.
    pub async fn open(path: &Path, metered: bool) -> anyhow::Result<Self> {
        Self::counting(path, metered, Metrics::default()).await
    }

    /// The same, which counts in these.
    pub async fn counting(path: &Path, metered: bool, metrics: Metrics) -> anyhow::Result<Self> {
        let store = Arc::new(SqliteStore::open(path)?);
        let tree = Embedded::new();
        let without = reconcile::restore(&*store, &tree).await?;
        let gone = Arc::new(Counter::default());
        let coordinator = Arc::new(MeteredCoordinator::new(tree, gone.clone(), metered));
        let clock = Clock::system();
        let options = server::Options {
            password: PASSWORD.into(),
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            writers: server::Writers::One,
            coordinator_forgets: true,
            collections: default_collections(),
            metrics: metrics.clone(),
        };
        let seen: Arc<dyn slipstream_store::Store> =
            if metered { Arc::new(MeteredStore::new(store.clone())) } else { store.clone() };
        let server = Server::start(seen, coordinator.clone(), clock, options).await?;
        if without > 0 {
            server.reconcile_once(SignedDuration::ZERO).await?;
        }
        let transport = server.transport();
        let client = client(if metered { Arc::new(MeteredTransport::new(transport)) } else { transport });
        client.login().await?;
        let stop = Stop::new();
        let reconciler = {
            let (server, stop) = (server.clone(), stop.clone());
            tokio::spawn(async move { server.reconcile("benchmark", stop).await })
        };
        let begun = Arc::default();
        Ok(Self { store, server, coordinator, metrics, stop, reconciler, client, begun, gone })
    }

    /// Starts an executor of so many slots whose requests go by `client`.
    pub fn work(&self, slots: usize, client: &Client) -> Working {
        let runtime = executor::ActionRuntime::start(slots).expect("threads start");
        let metrics = self.metrics.clone();
        let options = executor::Options { threads: slots, metrics, ..executor::Options::new("benchmark", runtime) };
        let mut catalogue = Catalogue::new();
        catalogue.register(ACTION, Noop { begun: self.begun.clone() }, None);
        let stop = Stop::new();
        let work = executor::run(options, self.coordinator.clone(), client.clone(), catalogue, stop.clone());
        Working { stop, task: tokio::spawn(work) }
    }

    /// Answers requests on a free port of this machine.
    pub async fn listen(&self) -> anyhow::Result<Listening> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let stop = Stop::new();
        let (server, asked) = (self.server.clone(), stop.clone());
        Ok(Listening {
            endpoint,
            stop,
            task: tokio::spawn(async move { server.serve(listener, Vec::new(), asked).await }),
        })
    }

    /// How requests of this process get to the server.
    pub fn transport(&self) -> Arc<dyn Transport> {
        self.server.transport()
    }

    /// One round of the reconciler.
    pub async fn reconcile(&self) -> anyhow::Result<()> {
        self.server.reconcile_once(SignedDuration::ZERO).await?;
        Ok(())
    }

    /// So many jobs are SUCCESS, there are no others, and nothing waits.
    pub async fn ensure_done(&self, jobs: u64) -> anyhow::Result<()> {
        let (all, done) = (self.count(None).await?, self.count(Some("state='SUCCESS'")).await?);
        ensure!(all == jobs && done == jobs, "{done} of {all} jobs are SUCCESS, and not {jobs}");
        let waiting = self.coordinator.waiting().await?;
        ensure!(waiting == 0, "{waiting} entries still wait");
        Ok(())
    }

    /// So many jobs are there, all QUEUED, and each waits.
    pub async fn ensure_queued(&self, jobs: u64) -> anyhow::Result<()> {
        let (all, queued) = (self.count(None).await?, self.count(Some("state='QUEUED'")).await?);
        ensure!(all == jobs && queued == jobs, "{queued} of {all} jobs are QUEUED, and not {jobs}");
        let waiting = self.coordinator.waiting().await?;
        ensure!(u64::try_from(waiting)? == jobs, "{waiting} entries wait, and not {jobs}");
        Ok(())
    }

    /// Jobs that a filter matches, or all.
    pub async fn count(&self, filter: Option<&str>) -> anyhow::Result<u64> {
        let search = Search { filter: filter.map(str::to_owned), last: Some(0), ..Search::default() };
        Ok(self.client.search(JOB.name, &search).await?.count)
    }

    /// Ends everything and puts the store into its one file.
    pub async fn close(self) -> anyhow::Result<()> {
        let Self { store, server, stop, reconciler, client, .. } = self;
        stop.ask();
        reconciler.await?;
        server.close().await;
        drop((server, client));
        // tasks that were aborted are dropped when a worker gets to them
        let freed = async {
            while Arc::strong_count(&store) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LAST_TASKS, freed).await.context("somebody still uses the store")?;
        let store = Arc::into_inner(store).context("somebody uses the store again")?;
        Ok(tokio::task::spawn_blocking(move || store.close()).await??)
    }
}

impl Working {
    /// Lets running jobs end.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stop.ask();
        Ok(self.task.await?)
    }
}

impl Listening {
    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client with connections of its own, logged in.
    pub async fn client(&self) -> anyhow::Result<Client> {
        let client = client(self.transport()?);
        client.login().await?;
        Ok(client)
    }

    /// Connections of its own.
    pub fn transport(&self) -> anyhow::Result<Arc<dyn Transport>> {
        Ok(Arc::new(HttpTransport::new(&self.endpoint, false, ANSWER)?))
    }

    /// Once its clients are gone.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stop.ask();
        Ok(self.task.await?)
    }
}

fn client(transport: Arc<dyn Transport>) -> Client {
    let credentials = Credentials { username: ADMINISTRATOR.to_owned(), password: PASSWORD.into() };
    Client::new(transport, Some(credentials))
}

/// The job that is added, again and again.
pub fn job() -> Document {
    let parts = [("action", json!(ACTION)), ("targetResource", json!({"href": "benchmark"}))];
    parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Succeeds at once.
struct Noop {
    begun: Arc<Counter>,
}

#[async_trait]
impl Action for Noop {
    async fn run(&self, _job: JobHandle) -> Result<Success, Failure> {
        self.begun.add(1);
        Ok(Success::default())
    }
}
