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

use super::actions::ByAction;
use super::{Labels, long_times, register, short_times};

/// The final states, in the order of [`OfAction::ended`].
const FINAL: [State; 3] = [State::Success, State::Failed, State::Stopped];

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

impl AttemptOutcome {
    const ALL: [Self; 4] = [Self::Finished, Self::Failed, Self::Released, Self::Lost];

    fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Lost => "lost",
        }
    }
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

/// What a server counts; nothing where that is turned off.
#[derive(Clone)]
pub(crate) struct ServerMetrics(Option<Arc<Counted>>);

struct Counted {
    actions: ByAction<OfAction>,
    jobs: Family<[(&'static str, &'static str); 1], Gauge>,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
    queue_jobs: Family<[(&'static str, &'static str); 1], Gauge>,
    queue_oldest: Family<[(&'static str, &'static str); 1], Gauge>,
    mended: Family<[(&'static str, &'static str); 1], Counter>,
    answers: Family<Answered, Counter>,
    answer_times: Family<[(&'static str, &'static str); 1], Histogram>,
    waiting_writes: Gauge,
}

struct OfAction {
    added: Counter,
    ended: [Counter; 3],
    attempts: [Counter; 4],
    wait: Histogram,
}

impl ServerMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let counted = Counted {
            actions: by_action(registry),
            jobs: Family::default(),
            refused: Family::default(),
            queue_jobs: Family::default(),
            queue_oldest: Family::default(),
            mended: Family::default(),
            answers: Family::default(),
            answer_times: Family::new_with_constructor(short_times as fn() -> Histogram),
            waiting_writes: Gauge::default(),
        };
        for code in [Code::LateLease, Code::Superseded, Code::Final, Code::Conflict] {
            drop(counted.refused.get_or_create_owned(&[("code", code.as_str())]));
        }
        register(registry, "slipstream_jobs", counted.jobs.clone());
        register(registry, "slipstream_writes_refused_total", counted.refused.clone());
        register(registry, "slipstream_queue_jobs", counted.queue_jobs.clone());
        register(registry, "slipstream_queue_oldest_seconds", counted.queue_oldest.clone());
        register(registry, "slipstream_reconciler_mended_total", counted.mended.clone());
        register(registry, "slipstream_http_requests_total", counted.answers.clone());
        register(registry, "slipstream_http_request_seconds", counted.answer_times.clone());
        register(registry, "slipstream_store_waiting_writes", counted.waiting_writes.clone());
        Self(Some(Arc::new(counted)))
    }

    pub(super) fn off() -> Self {
        Self(None)
    }

    pub(super) fn waiting_writes(&self) -> Option<Gauge> {
        self.0.as_ref().map(|counted| counted.waiting_writes.clone())
    }

    /// Whether anything is counted.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A job was added.
    pub(crate) fn added(&self, action: &str) {
        if let Some(counted) = &self.0 {
            counted.actions.count(action, |of| {
                of.added.inc();
            });
        }
    }

    /// The first attempt of a job has begun, so long after the job was added.
    pub(crate) fn begun(&self, action: &str, wait: Duration) {
        if let Some(counted) = &self.0 {
            counted.actions.count(action, |of| of.wait.observe(wait.as_secs_f64()));
        }
    }

    /// A job has reached this final state.
    pub(crate) fn ended(&self, action: &str, state: State) {
        let index = FINAL.iter().position(|it| *it == state);
        if let (Some(counted), Some(index)) = (&self.0, index) {
            counted.actions.count(action, |of| {
                of.ended[index].inc();
            });
        }
    }

    /// An attempt has ended.
    pub(crate) fn attempt_ended(&self, action: &str, outcome: AttemptOutcome) {
        if let Some(counted) = &self.0 {
            counted.actions.count(action, |of| {
                of.attempts[outcome as usize].inc();
            });
        }
    }

    /// A write to a job was refused.
    pub(crate) fn refused(&self, code: Code) {
        if let Some(counted) = &self.0 {
            counted.refused.get_or_create(&[("code", code.as_str())]).inc();
        }
    }

    /// So many jobs of this state are in the store.
    pub(crate) fn has_jobs(&self, state: State, jobs: u64) {
        if let Some(counted) = &self.0 {
            counted.jobs.get_or_create(&[("state", state.as_str())]).set(whole(jobs));
        }
    }

    /// What waits, as a round of the reconciler has found it; nothing if this server does not know.
    pub(crate) fn waits(&self, queue: &[QueueOfPriority]) {
        let Some(counted) = &self.0 else { return };
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
        let Some(counted) = &self.0 else { return };
        for (what, entries) in [("put", put), ("consumed", consumed)] {
            counted.mended.get_or_create(&[("what", what)]).inc_by(entries as u64);
        }
    }

    /// The API has answered a request to one of its routes, of which there are few.
    pub(crate) fn answered(&self, route: &'static str, status: u16, duration: Duration) {
        if let Some(counted) = &self.0 {
            counted.answers.get_or_create(&Answered { route, status: status.into() }).inc();
            counted.answer_times.get_or_create(&[("route", route)]).observe(duration.as_secs_f64());
        }
    }
}

fn by_action(registry: &mut Registry) -> ByAction<OfAction> {
    let (added, ended, attempts) = (
        Family::<Labels<1>, Counter>::default(),
        Family::<Labels<2>, Counter>::default(),
        Family::<Labels<2>, Counter>::default(),
    );
    let wait = Family::<Labels<1>, Histogram>::new_with_constructor(long_times as fn() -> Histogram);
    register(registry, "slipstream_jobs_added_total", added.clone());
    register(registry, "slipstream_jobs_ended_total", ended.clone());
    register(registry, "slipstream_attempts_total", attempts.clone());
    register(registry, "slipstream_job_wait_seconds", wait.clone());
    ByAction::new(move |action| {
        let one = || [("action", action.to_owned())];
        let two = |name, value: &str| [("action", action.to_owned()), (name, value.to_owned())];
        OfAction {
            added: added.get_or_create_owned(&one()),
            ended: FINAL.map(|state| ended.get_or_create_owned(&two("state", state.as_str()))),
            attempts: AttemptOutcome::ALL.map(|outcome| attempts.get_or_create_owned(&two("outcome", outcome.label()))),
            wait: wait.get_or_create_owned(&one()),
        }
    })
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
