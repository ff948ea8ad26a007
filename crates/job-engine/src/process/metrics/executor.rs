//! [`ExecutorMetrics`]: what an executor counts.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::actions::ByAction;
use super::{Labels, long_times, register};

/// In the order of [`ExecutorMetrics::settled`].
const VERDICTS: [&str; 3] = ["consume", "release", "abandon"];

/// What an executor counts; nothing where that is turned off.
#[derive(Clone)]
pub(crate) struct ExecutorMetrics(Option<Arc<Counted>>);

struct Counted {
    claims: Counter,
    verdicts: [Counter; 3],
    durations: ByAction<Histogram>,
    slots: Gauge,
    busy: Gauge,
    hosts: Gauge,
    draining: Gauge,
}

impl ExecutorMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (verdicts, durations) = (
            Family::<[(&'static str, &'static str); 1], Counter>::default(),
            Family::<Labels<1>, Histogram>::new_with_constructor(long_times as fn() -> Histogram),
        );
        register(registry, "slipstream_verdicts_total", verdicts.clone());
        register(registry, "slipstream_action_duration_seconds", durations.clone());
        let counted = Counted {
            claims: Counter::default(),
            verdicts: VERDICTS.map(|verdict| verdicts.get_or_create_owned(&[("verdict", verdict)])),
            durations: ByAction::new(move |action| durations.get_or_create_owned(&[("action", action.to_owned())])),
            slots: Gauge::default(),
            busy: Gauge::default(),
            hosts: Gauge::default(),
            draining: Gauge::default(),
        };
        register(registry, "slipstream_claims_total", counted.claims.clone());
        register(registry, "slipstream_slots", counted.slots.clone());
        register(registry, "slipstream_slots_busy", counted.busy.clone());
        register(registry, "slipstream_hosts", counted.hosts.clone());
        register(registry, "slipstream_draining", counted.draining.clone());
        Self(Some(Arc::new(counted)))
    }

    pub(super) fn off() -> Self {
        Self(None)
    }

    /// So many jobs may run at once.
    pub(crate) fn has_slots(&self, slots: usize) {
        if let Some(counted) = &self.0 {
            counted.slots.set(whole(slots));
        }
    }

    /// There are so many processes of hosts.
    pub(crate) fn has_hosts(&self, hosts: usize) {
        if let Some(counted) = &self.0 {
            counted.hosts.set(whole(hosts));
        }
    }

    /// Whether the executor is drained.
    pub(crate) fn is_draining(&self, is_draining: bool) {
        if let Some(counted) = &self.0 {
            counted.draining.set(i64::from(is_draining));
        }
    }

    /// An entry is claimed, and a slot is busy with it until the answer is dropped.
    pub(crate) fn claimed(&self) -> Busy {
        if let Some(counted) = &self.0 {
            counted.claims.inc();
            counted.busy.inc();
        }
        Busy(self.0.clone())
    }

    /// The claim was consumed (0), released (1) or abandoned (2).
    pub(crate) fn settled(&self, verdict: usize) {
        if let Some(counted) = &self.0 {
            counted.verdicts[verdict].inc();
        }
    }

    /// An action has run for so long.
    pub(crate) fn ran(&self, action: &str, duration: Duration) {
        if let Some(counted) = &self.0 {
            counted.durations.count(action, |durations| durations.observe(duration.as_secs_f64()));
        }
    }
}

/// A slot that has a job.
#[must_use = "the slot is busy until this is dropped"]
pub(crate) struct Busy(Option<Arc<Counted>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(counted) = &self.0 {
            counted.busy.dec();
        }
    }
}

fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
