//! [`ApiHealth`]: a circuit breaker that all requests of the executor share: whether CIMI is up.

use slipstream_cimi::Client;
use slipstream_cimi::dialect::ENTRY_POINT;
use slipstream_coordination::retry::Pauses;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    pause_until: Instant,
    pauses: Pauses,
}

/// Whether CIMI is up. While it is down, all requests share one growing pause.
#[derive(Debug)]
pub(super) struct ApiHealth {
    outage: watch::Sender<Option<Outage>>,
    /// When CIMI was last probed, and whether it answered.
    last_probe: Mutex<Option<(Instant, bool)>>,
}

impl ApiHealth {
    pub(super) fn new() -> Self {
        Self { outage: watch::Sender::new(None), last_probe: Mutex::default() }
    }

    /// A request failed: finds out by another read whether that is this request's own fault, and answers whether CIMI is
    /// down. Callers that ask meanwhile share the answer.
    pub(super) async fn is_down(&self, client: &Client) -> bool {
        let asked = Instant::now();
        let mut last_probe = self.last_probe.lock().await;
        let (_, answers) = match *last_probe {
            Some(probe @ (begun, _)) if begun >= asked => probe,
            _ => {
                let begun = Instant::now();
                *last_probe.insert((begun, client.get(ENTRY_POINT).await.is_ok()))
            }
        };
        if answers {
            self.answered();
        } else {
            self.failed(asked);
        }
        !answers
    }

    /// No request has been answered since then.
    fn failed(&self, since: Instant) {
        self.outage.send_modify(|outage| {
            let now = Instant::now();
            let outage = outage.get_or_insert(Outage { since, pause_until: now, pauses: Pauses::default() });
            if now >= outage.pause_until {
                outage.pause_until = now + outage.pauses.take();
            }
        });
    }

    /// A request was answered: the pause is over for all.
    pub(super) fn answered(&self) {
        self.outage.send_if_modified(|outage| outage.take().is_some());
    }

    /// Ends when it makes sense to ask: at once while CIMI answers, otherwise after the pause.
    pub(super) async fn until_retry(&self) {
        let mut outages = self.outage.subscribe();
        loop {
            let outage = *outages.borrow_and_update();
            let Some(outage) = outage.filter(|outage| Instant::now() < outage.pause_until) else { return };
            tokio::select! {
                biased;
                () = sleep_until(outage.pause_until) => {}
                changed = outages.changed() => changed.expect("the sender is kept by self"),
            }
        }
    }

    /// Ends when a pause is on.
    pub(super) async fn until_down(&self) {
        let paused = |outage: &Option<Outage>| outage.is_some_and(|outage| Instant::now() < outage.pause_until);
        self.outage.subscribe().wait_for(paused).await.expect("the sender is kept by self");
    }

    /// Since when it is down, if it is.
    pub(super) fn down_since(&self) -> Option<Instant> {
        self.outage.borrow().map(|outage| outage.since)
    }
}
