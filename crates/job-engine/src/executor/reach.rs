//! [`Reach`]: whether CIMI answers, as one knowledge of the whole executor.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::pauses::Pauses;

#[derive(Clone, Copy, Debug)]
struct Outage {
    since: Instant,
    pause_until: Instant,
    pauses: Pauses,
}

/// Whether CIMI is within reach. While it is not, all who need it share one growing pause.
#[derive(Debug)]
pub(super) struct Reach(watch::Sender<Option<Outage>>);

impl Reach {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Somebody got no answer.
    pub(super) fn failed(&self) {
        self.0.send_modify(|outage| {
            let now = Instant::now();
            let outage = outage.get_or_insert(Outage { since: now, pause_until: now, pauses: Pauses::default() });
            if now >= outage.pause_until {
                outage.pause_until = now + outage.pauses.take();
            }
        });
    }

    /// Somebody got an answer: the pause is over for everybody.
    pub(super) fn answered(&self) {
        self.0.send_if_modified(|outage| outage.take().is_some());
    }

    /// Ends when it makes sense to ask: at once while CIMI answers, otherwise after the pause.
    pub(super) async fn pause_over(&self) {
        let mut outages = self.0.subscribe();
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
    pub(super) async fn pausing(&self) {
        let paused = |outage: &Option<Outage>| outage.is_some_and(|outage| Instant::now() < outage.pause_until);
        self.0.subscribe().wait_for(paused).await.expect("the sender is kept by self");
    }

    /// Since when nobody got an answer, if so.
    pub(super) fn out_since(&self) -> Option<Instant> {
        self.0.borrow().map(|outage| outage.since)
    }
}
