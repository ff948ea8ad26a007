//! [`Timed`]: how long requests of one kind take, and how many fail.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::{register, short_times};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Server,
    Coordinator,
    Store,
}

impl Peer {
    fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Coordinator => "coordinator",
            Self::Store => "store",
        }
    }
}

type Kind = [(&'static str, &'static str); 2];

/// Requests of all kinds.
pub(super) struct Requests {
    durations: Family<Kind, Histogram>,
    errors: Family<Kind, Counter>,
}

impl Requests {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let (durations, errors) = (Family::new_with_constructor(short_times as fn() -> Histogram), Family::default());
        register(registry, "slipstream_request_duration_seconds", durations.clone());
        register(registry, "slipstream_request_errors_total", errors.clone());
        Self { durations, errors }
    }

    pub(super) fn timed(&self, peer: Peer, operation: &'static str) -> Timed {
        let kind = [("peer", peer.label()), ("operation", operation)];
        Timed(Some((self.durations.get_or_create_owned(&kind), self.errors.get_or_create_owned(&kind))))
    }
}

/// Requests of one kind.
#[derive(Clone)]
pub(crate) struct Timed(Option<(Histogram, Counter)>);

impl Timed {
    pub(super) fn off() -> Self {
        Self(None)
    }

    /// Makes the request, and answers what it answers. `is_failure` says which answers are none.
    pub(crate) async fn time<T>(&self, request: impl Future<Output = T>, is_failure: impl FnOnce(&T) -> bool) -> T {
        let Some((durations, errors)) = &self.0 else { return request.await };
        let begun = Instant::now();
        let answer = request.await;
        durations.observe(begun.elapsed().as_secs_f64());
        if is_failure(&answer) {
            errors.inc();
        }
        answer
    }
}
