//! [`ServerMetrics`]: what a server counts.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use slipstream_cimi::{Code, State};

use super::counters::{Count, Counters, Span};
use super::jobs::{JobMetrics, REFUSED};
use super::{register, short_times};

/// How an attempt ended, as far as the server learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptOutcome {
    /// Its job has ended.
    Finished,
    /// Its job is FAILED.
    Failed,
    /// The job waits again.
    Released,
    /// Nothing was heard of it again.
    Lost,
}

/// The queue's entries of some priorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueOfPriority {
    /// E.g. `0-99`.
    pub priority: &'static str,
    /// How many wait.
    pub jobs: u64,
    /// How long the oldest has waited; none if that cannot be said, or none waits.
    pub oldest: Option<Duration>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u64,
}

/// What a server counts. What happens to jobs always counts, as the server's history is made of it; the rest, and whatever
/// somebody could scrape, is nothing where that is turned off.
#[derive(Clone)]
pub(crate) struct ServerMetrics {
    happened: Arc<Counters>,
    counted: Option<Arc<Counted>>,
}

struct Counted {
    jobs: Family<[(&'static str, &'static str); 1], Gauge>,
    queue_jobs: Family<[(&'static str, &'static str); 1], Gauge>,
    queue_oldest: Family<[(&'static str, &'static str); 1], Gauge>,
    mended: Family<[(&'static str, &'static str); 1], Counter>,
    answers: Family<Answered, Counter>,
    answer_times: Family<[(&'static str, &'static str); 1], Histogram>,
    waiting_writes: Gauge,
}

impl ServerMetrics {
    pub(super) fn new(happened: Arc<Counters>, registry: &mut Registry) -> Self {
        let counted = Counted {
            jobs: Family::default(),
            queue_jobs: Family::default(),
            queue_oldest: Family::default(),
            mended: Family::default(),
            answers: Family::default(),
            answer_times: Family::new_with_constructor(short_times as fn() -> Histogram),
            waiting_writes: Gauge::default(),
        };
        registry.register_collector(Box::new(JobMetrics::new(happened.clone())));
        register(registry, "slipstream_jobs", counted.jobs.clone());
        register(registry, "slipstream_queue_jobs", counted.queue_jobs.clone());
        register(registry, "slipstream_queue_oldest_seconds", counted.queue_oldest.clone());
        register(registry, "slipstream_reconciler_mended_total", counted.mended.clone());
        register(registry, "slipstream_http_requests_total", counted.answers.clone());
        register(registry, "slipstream_http_request_seconds", counted.answer_times.clone());
        register(registry, "slipstream_store_waiting_writes", counted.waiting_writes.clone());
        Self { happened, counted: Some(Arc::new(counted)) }
    }

    pub(super) fn off(happened: Arc<Counters>) -> Self {
        Self { happened, counted: None }
    }

    /// What happened to jobs.
    pub(crate) fn happened(&self) -> &Arc<Counters> {
        &self.happened
    }

    pub(super) fn waiting_writes(&self) -> Option<Gauge> {
        self.counted.as_ref().map(|counted| counted.waiting_writes.clone())
    }

    /// Whether anything is counted.
    pub(crate) fn is_on(&self) -> bool {
        self.counted.is_some()
    }

    /// A job was added.
    pub(crate) fn added(&self, action: &str) {
        self.happened.count(action, Count::Added);
    }

    /// The first attempt of a job has begun, so long after the job was added.
    pub(crate) fn begun(&self, action: &str, wait: Duration) {
        self.happened.measure(action, Span::Wait, wait);
    }

    /// A job has reached this final state.
    pub(crate) fn ended(&self, action: &str, state: State) {
        match state {
            State::Success => self.happened.count(action, Count::Success),
            State::Failed => self.happened.count(action, Count::Failed),
            State::Stopped => self.happened.count(action, Count::Stopped),
            State::Queued | State::Running | State::Stopping => {}
        }
    }

    /// The attempt that has ended its job has run for so long.
    pub(crate) fn ran(&self, action: &str, run: Duration) {
        self.happened.measure(action, Span::Run, run);
    }

    /// An attempt has ended.
    pub(crate) fn attempt_ended(&self, action: &str, outcome: AttemptOutcome) {
        let count = match outcome {
            AttemptOutcome::Finished => Count::AttemptFinished,
            AttemptOutcome::Failed => Count::AttemptFailed,
            AttemptOutcome::Released => Count::AttemptReleased,
            AttemptOutcome::Lost => Count::AttemptLost,
        };
        self.happened.count(action, count);
    }

    /// A write to a job was refused.
    pub(crate) fn refused(&self, action: &str, code: Code) {
        if let Some((_, count)) = REFUSED.into_iter().find(|(it, _)| *it == code) {
            self.happened.count(action, count);
        }
    }

    /// So many jobs of this state are in the store.
    pub(crate) fn has_jobs(&self, state: State, jobs: u64) {
        if let Some(counted) = &self.counted {
            counted.jobs.get_or_create(&[("state", state.as_str())]).set(whole(jobs));
        }
    }

    /// What waits, as a round of the reconciler has found it; nothing if this server does not know.
    pub(crate) fn waits(&self, queue: &[QueueOfPriority]) {
        let Some(counted) = &self.counted else { return };
        if queue.is_empty() {
            counted.queue_jobs.clear();
            counted.queue_oldest.clear();
        }
        for QueueOfPriority { priority, jobs, oldest } in queue {
            counted.queue_jobs.get_or_create(&[("priority", priority)]).set(whole(*jobs));
            let seconds = oldest.unwrap_or_default().as_secs();
            counted.queue_oldest.get_or_create(&[("priority", priority)]).set(whole(seconds));
        }
    }

    /// A round of the reconciler has put and consumed so many entries.
    pub(crate) fn mended(&self, put: usize, consumed: usize) {
        let Some(counted) = &self.counted else { return };
        for (what, entries) in [("put", put), ("consumed", consumed)] {
            counted.mended.get_or_create(&[("what", what)]).inc_by(entries as u64);
        }
    }

    /// The API has answered a request to one of its routes, of which there are few.
    pub(crate) fn answered(&self, route: &'static str, status: u16, duration: Duration) {
        if let Some(counted) = &self.counted {
            counted.answers.get_or_create(&Answered { route, status: status.into() }).inc();
            counted.answer_times.get_or_create(&[("route", route)]).observe(duration.as_secs_f64());
        }
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
