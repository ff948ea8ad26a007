//! [`Metrics`]: what a process counts and measures, for Prometheus and `StatsD`. `docs/metrics.md` lists all of it.
//!
//! Counting is on the path of each job, so it is an addition to an atomic or two. What is known elsewhere, such as how
//! many jobs there are of each state, is read when somebody asks.

mod actions;
mod coordinator;
pub(crate) mod counters;
pub(crate) mod definitions;
mod distributor;
mod executor;
mod jobs;
mod requests;
mod server;
mod sessions;
mod store;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};
use slipstream_coordination::session::State;
use tokio::time::timeout;

pub(crate) use self::coordinator::Measured as MeasuredCoordinator;
use self::counters::Counters;
use self::definitions::definition;
pub(crate) use self::distributor::DistributorMetrics;
pub(crate) use self::executor::ExecutorMetrics;
use self::requests::Requests;
pub(crate) use self::requests::{Peer, Timed};
pub(crate) use self::server::{AttemptOutcome, QueueOfPriority, ServerMetrics};
use self::sessions::Sessions;
pub(crate) use self::store::Measured as MeasuredStore;
use crate::process::health::Health;
use crate::process::output;

/// Content type of [`Metrics::text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long what is read for an answer may take; without it, the answer has what was read before.
const REFRESH_LIMIT: Duration = Duration::from_secs(1);
/// The commit that this program was built of, where whoever built it has said so.
const COMMIT: Option<&str> = option_env!("SLIPSTREAM_COMMIT");

/// Names and values of labels.
type Labels<const N: usize> = [(&'static str, String); N];
/// Brings a gauge up to date.
type Refresh = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What a process, or an embedded engine, counts and measures, and whether it is well. Cheap to clone: clones share
/// everything.
#[derive(Clone)]
pub struct Metrics {
    counted: Option<Arc<Counted>>,
    /// What happened to jobs: counted once, for whoever asks.
    happened: Arc<Counters>,
    health: Health,
}

struct Counted {
    registry: Mutex<Registry>,
    refreshes: Mutex<Vec<Refresh>>,
    requests: Requests,
    sessions: OnceLock<Sessions>,
    server: OnceLock<ServerMetrics>,
    executor: OnceLock<ExecutorMetrics>,
    distributor: OnceLock<DistributorMetrics>,
}

impl Metrics {
    /// Those of a part of the engine: `server`, `executor`, `distributor`, `up`, or `engine` in another program.
    #[must_use]
    pub fn of(part: &'static str) -> Self {
        let mut registry = Registry::default();
        let build = [("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT.unwrap_or("unknown")), ("part", part)];
        let info = Family::<[(&'static str, &'static str); 3], Gauge>::default();
        info.get_or_create(&build).set(1);
        register(&mut registry, "slipstream_build_info", info);
        registry.register_collector(Box::new(DroppedLines));
        let counted = Counted {
            requests: Requests::new(&mut registry),
            registry: Mutex::new(registry),
            refreshes: Mutex::default(),
            sessions: OnceLock::new(),
            server: OnceLock::new(),
            executor: OnceLock::new(),
            distributor: OnceLock::new(),
        };
        Self { counted: Some(Arc::new(counted)), happened: Arc::default(), health: Health::default() }
    }

    /// Counts nothing that could be scraped: what counting costs is measured against this. What happens to jobs is counted
    /// all the same, for the server's history.
    #[must_use]
    pub fn off() -> Self {
        Self { counted: None, happened: Arc::default(), health: Health::default() }
    }

    /// Whether the process is well.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Of a server.
    pub(crate) fn server(&self) -> ServerMetrics {
        let Some(counted) = &self.counted else { return ServerMetrics::off(self.happened.clone()) };
        let new = || ServerMetrics::new(self.happened.clone(), &mut counted.registry());
        counted.server.get_or_init(new).clone()
    }

    /// Of an executor.
    pub(crate) fn executor(&self) -> ExecutorMetrics {
        let counted = self.counted.as_ref();
        let new = |counted: &Arc<Counted>| {
            counted.executor.get_or_init(|| ExecutorMetrics::new(&mut counted.registry())).clone()
        };
        counted.map_or_else(ExecutorMetrics::off, new)
    }

    /// Of the distributors of this process.
    pub(crate) fn distributor(&self) -> DistributorMetrics {
        let counted = self.counted.as_ref();
        let new = |counted: &Arc<Counted>| {
            counted.distributor.get_or_init(|| DistributorMetrics::new(&mut counted.registry())).clone()
        };
        counted.map_or_else(DistributorMetrics::off, new)
    }

    /// Of the sessions of this process with a coordinator that is elsewhere; none if nothing is counted.
    fn sessions(&self) -> Option<&Sessions> {
        let counted = self.counted.as_ref()?;
        Some(counted.sessions.get_or_init(|| Sessions::new(&mut counted.registry())))
    }

    /// The state of the session with a coordinator that is elsewhere: `None` without one.
    pub(crate) fn session_state(&self) -> Option<State> {
        self.sessions()?.state()
    }

    /// How long requests of this kind take, and how many fail.
    pub(crate) fn timed(&self, peer: Peer, operation: &'static str) -> Timed {
        self.counted.as_ref().map_or_else(Timed::off, |counted| counted.requests.timed(peer, operation))
    }

    /// Has this done before each answer; what it takes longer for than a second the answer does not wait for.
    pub(crate) fn refresh_by(&self, refresh: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        if let Some(counted) = &self.counted {
            lock(&counted.refreshes).push(Arc::new(refresh));
        }
    }

    /// All of them, in the text of `OpenMetrics` 1.0.
    pub async fn text(&self) -> String {
        let Some(counted) = &self.counted else { return "# EOF\n".to_owned() };
        let refreshes: Vec<Refresh> = lock(&counted.refreshes).clone();
        // what comes too late is shown the next time
        join_all(refreshes.iter().map(|refresh| timeout(REFRESH_LIMIT, refresh()))).await;
        if let Some(sessions) = counted.sessions.get() {
            sessions.refresh();
        }
        let mut text = String::new();
        encode(&mut text, &counted.registry()).expect("a text takes everything");
        text
    }
}

impl Counted {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::of("engine")
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").field("is_on", &self.counted.is_some()).finish_non_exhaustive()
    }
}

/// Nothing that is held by this lock is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a metric of the table under its full name.
fn register(registry: &mut Registry, name: &str, metric: impl Metric) {
    let definition = definition(name);
    registry.register(definition.registered(), definition.help, metric);
}

/// From 10 milliseconds to some hours, as jobs take.
fn long_times() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 11))
}

/// From half a millisecond to half a minute, as requests take.
fn short_times() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 4.0, 9))
}

/// The log is the process's, whoever counts.
#[derive(Debug)]
struct DroppedLines;

impl prometheus_client::collector::Collector for DroppedLines {
    fn encode(&self, mut encoder: prometheus_client::encoding::DescriptorEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeMetric as _;
        let definition = definition("slipstream_log_lines_dropped_total");
        let dropped = ConstCounter::new(output::dropped());
        // as the registry has it of others
        let help = format!("{}.", definition.help);
        let metric = encoder.encode_descriptor(definition.registered(), &help, None, dropped.metric_type())?;
        dropped.encode(metric)
    }
}

#[cfg(test)]
mod tests;
