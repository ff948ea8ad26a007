//! [`DistributorMetrics`]: what the distributors of a process count.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Labels, register};

/// What distributors count; nothing where that is turned off.
#[derive(Clone)]
pub(crate) struct DistributorMetrics(Option<Arc<Counted>>);

#[derive(Default)]
struct Counted {
    leader: Family<Labels<1>, Gauge>,
    rounds: Family<Labels<2>, Counter>,
}

impl DistributorMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let counted = Counted::default();
        register(registry, "slipstream_leader", counted.leader.clone());
        register(registry, "slipstream_rounds_total", counted.rounds.clone());
        Self(Some(Arc::new(counted)))
    }

    pub(super) fn off() -> Self {
        Self(None)
    }

    /// Whether this process leads the distributor of this name, in whose election it stands.
    pub(crate) fn leads(&self, distributor: &str, leads: bool) {
        if let Some(counted) = &self.0 {
            counted.leader.get_or_create(&of(distributor)).set(i64::from(leads));
        }
    }

    /// A round was distributed.
    pub(crate) fn distributed(&self, distributor: &str) {
        if let Some(counted) = &self.0 {
            counted.rounds.get_or_create(&round(distributor, "distributed")).inc();
        }
    }

    /// Rounds were missed, and are given up as the policy wants it.
    pub(crate) fn gave_up(&self, distributor: &str) {
        if let Some(counted) = &self.0 {
            counted.rounds.get_or_create(&round(distributor, "given_up")).inc();
        }
    }
}

fn of(distributor: &str) -> Labels<1> {
    [("distributor", distributor.to_owned())]
}

fn round(distributor: &str, what: &str) -> Labels<2> {
    [("distributor", distributor.to_owned()), ("what", what.to_owned())]
}
