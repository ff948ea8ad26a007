//! What the processes of a site do. Each ends when its standard input does, so that none outlives the benchmark.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::{Client, Credentials, Transport};
use slipstream_coordination::ZooKeeper;
use slipstream_coordination::zookeeper::Settings;
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_job_engine::internals::executor;
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::telemetry;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::server::{self, DEFAULT_MAX_ATTEMPTS, Server};
use slipstream_store::sqlite::SqliteStore;
use tokio::net::TcpListener;

/// Of the administrator.
pub const PASSWORD: &str = "benchmark";
/// Ends at once.
pub const NOOP: &str = "noop";
/// Says when it begins.
pub const PICKUP: &str = "pickup";
/// Says when it begins, and does not end.
pub const HOLD: &str = "hold";
/// How often an executor says how far it is.
const WORD: Duration = Duration::from_millis(20);

/// Serves until standard input ends; says where.
pub async fn serve(hosts: &str, path: &Path) -> anyhow::Result<()> {
    telemetry::start("warn")?;
    let store = Arc::new(SqliteStore::open(path)?);
    let options = server::Options {
        password: PASSWORD.into(),
        max_attempts: DEFAULT_MAX_ATTEMPTS,
        writers: server::Writers::One,
        coordinator_forgets: false,
        collections: default_collections(),
        metrics: Metrics::default(),
    };
    let coordinator = Arc::new(ZooKeeper::new(Settings::new(hosts))?);
    let server = Server::start(store, coordinator, Clock::system(), options).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let stop = Stop::new();
    let (serving, reconciling) =
        (server.serve(listener, Vec::new(), stop.clone()), server.reconcile("benchmark", stop.clone()));
    tokio::select! {
        () = serving => {}
        () = reconciling => {}
        ended = input_ended() => ended?,
    }
    stop.ask();
    server.close().await;
    Ok(())
}

/// Executes until standard input ends; says how much it has done.
pub async fn execute(hosts: &str, endpoint: &str, name: String, threads: usize) -> anyhow::Result<()> {
    telemetry::start("warn")?;
    let coordinator = Arc::new(ZooKeeper::new(Settings::new(hosts))?);
    let requests = Arc::new(AtomicU64::new(0));
    let inner = HttpTransport::new(endpoint, false, Duration::from_mins(1))?;
    let transport = Arc::new(Counted { inner, requests: requests.clone() });
    let client =
        Client::new(transport, Some(Credentials { username: ADMINISTRATOR.into(), password: PASSWORD.into() }));
    let begun = Arc::new(AtomicU64::new(0));
    let mut catalogue = Catalogue::new();
    catalogue.register(NOOP, Noop(begun.clone()), None);
    catalogue.register(PICKUP, Pickup, None);
    catalogue.register(HOLD, Hold, None);
    let options =
        executor::Options { threads, ..executor::Options::new(name, executor::ActionRuntime::start(threads)?) };
    let stop = Stop::new();
    let work = tokio::spawn(executor::run(options, coordinator, client, catalogue, stop.clone()));
    let words = async {
        loop {
            tokio::time::sleep(WORD).await;
            say(&format!("done {} {}", begun.load(Ordering::Relaxed), requests.load(Ordering::Relaxed)));
        }
    };
    tokio::select! {
        () = words => {}
        ended = input_ended() => ended?,
    }
    stop.ask();
    work.await?;
    Ok(())
}

async fn input_ended() -> std::io::Result<()> {
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()).map(drop)).await?
}

fn say(line: &str) {
    // whoever started this process may have gone, and then it ends soon
    drop(std::io::stdout().write_all(format!("{line}\n").as_bytes()));
}

struct Noop(Arc<AtomicU64>);

#[async_trait]
impl Action for Noop {
    async fn run(&self, _job: JobHandle) -> Result<Success, Failure> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Success::default())
    }
}

struct Pickup;

#[async_trait]
impl Action for Pickup {
    async fn run(&self, _job: JobHandle) -> Result<Success, Failure> {
        say(&format!("begun {}", Clock::system().now()));
        Ok(Success::default())
    }
}

struct Hold;

#[async_trait]
impl Action for Hold {
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        Pickup.run(job).await?;
        std::future::pending().await
    }
}

/// Counts requests.
struct Counted {
    inner: HttpTransport,
    requests: Arc<AtomicU64>,
}

#[async_trait]
impl Transport for Counted {
    async fn send(
        &self,
        request: Request<bytes::Bytes>,
    ) -> Result<Response<bytes::Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.send(request).await
    }
}
