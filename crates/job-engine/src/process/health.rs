//! [`Health`]: whether this process is alive, and whether it could do its work now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use http::StatusCode;
use tokio::time::{self, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::process::activity::Activity;

/// How often loops that matter turn, and how often is looked whether they have.
const TURN: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_secs(2);
/// How long it may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// How long it may take to find out about one thing that is needed.
const LIMIT: Duration = Duration::from_secs(1);

/// Finds out why something that is needed is not there.
type Look = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Whether this process is alive, and whether it could do its work now. Clones share everything.
#[derive(Clone)]
pub(crate) struct Health(Arc<Shared>);

struct Shared {
    begun: Instant,
    /// Milliseconds from then to the last beat.
    beat: AtomicU64,
    needs: Mutex<Vec<(&'static str, Look)>>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Shared { begun: Instant::now(), beat: AtomicU64::new(0), needs: Mutex::default() }))
    }
}

impl Health {
    /// Follows the runtime that this is called on, and the loops that matter, until the answer is dropped.
    pub(crate) fn follow(&self, activity: &Activity) -> AbortOnDropHandle<()> {
        activity.watch_loops(TURN);
        let (health, activity) = (self.clone(), activity.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut beats = interval(BEAT);
            loop {
                beats.tick().await;
                match activity.stuck(time::Instant::now(), BEAT) {
                    None => health.0.beat.store(health.0.now(), Ordering::Relaxed),
                    Some(stuck) => tracing::debug!(stuck, "a loop does not turn"),
                }
            }
        }))
    }

    /// For how long the process has not gone on, if that is for too long.
    fn silent_for(&self) -> Option<Duration> {
        let beat = self.0.beat.load(Ordering::Relaxed);
        let silent = Duration::from_millis(self.0.now().saturating_sub(beat));
        (silent >= SILENCE).then_some(silent)
    }

    /// The process is not ready while this says why.
    pub(crate) fn needs(
        &self,
        what: &'static str,
        look: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    ) {
        self.0.needs.lock().unwrap_or_else(PoisonError::into_inner).push((what, Arc::new(look)));
    }

    /// The answer to `GET /livez`, in plain text.
    pub(crate) fn live(&self) -> (StatusCode, String) {
        match self.silent_for() {
            None => (StatusCode::OK, "alive\n".to_owned()),
            Some(silent) => {
                let text = format!("the process has not gone on for {} seconds\n", silent.as_secs());
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }

    /// The answer to `GET /readyz`, in plain text.
    pub(crate) async fn ready(&self) -> (StatusCode, String) {
        let reasons = self.reasons().await;
        if reasons.is_empty() {
            return (StatusCode::OK, "ready\n".to_owned());
        }
        (StatusCode::SERVICE_UNAVAILABLE, reasons.into_iter().map(|reason| reason + "\n").collect())
    }

    /// Why the process is not ready, a line for each reason; none if it is. Takes a second at most.
    async fn reasons(&self) -> Vec<String> {
        let needs = self.0.needs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let look = async |(what, look): (&str, Look)| match timeout(LIMIT, look()).await {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(format!("{what}: {reason}")),
            Err(_) => Some(format!("{what}: no answer within {} second", LIMIT.as_secs())),
        };
        join_all(needs.into_iter().map(look)).await.into_iter().flatten().collect()
    }
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn who_is_silent_for_too_long_is_not_alive() {
        let begun = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let health = |seconds| {
            Health(Arc::new(Shared { begun: begun(seconds), beat: AtomicU64::new(0), needs: Mutex::default() }))
        };
        assert_eq!(health(8).live(), (StatusCode::OK, "alive\n".to_owned()));
        let silent = health(11);
        assert_eq!(silent.live().0, StatusCode::SERVICE_UNAVAILABLE);
        silent.0.beat.store(silent.0.now(), Ordering::Relaxed);
        assert_eq!(silent.live().0, StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_goes_on_is_seen_to_and_a_loop_that_does_not() {
        let health = Health::default();
        health.0.beat.store(u64::MAX, Ordering::Relaxed);
        let activity = Activity::new();
        let _following = health.follow(&activity);
        tokio::time::sleep(BEAT / 2).await;
        assert_ne!(health.0.beat.load(Ordering::Relaxed), u64::MAX);
        // polled once, and then stuck
        let mut stuck = pin!(activity.turning("stuck", std::future::pending::<()>()));
        assert!(futures_util::poll!(&mut stuck).is_pending());
        tokio::time::sleep(2 * BEAT).await;
        health.0.beat.store(u64::MAX, Ordering::Relaxed);
        tokio::time::sleep(2 * BEAT).await;
        assert_eq!(health.0.beat.load(Ordering::Relaxed), u64::MAX, "the loop does not turn");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_there_and_what_does_not_answer_are_told() {
        let health = Health::default();
        assert_eq!(health.reasons().await, Vec::<String>::new());
        let is_there = Arc::new(AtomicBool::new(false));
        let found = is_there.clone();
        health.needs("session", move || {
            let is_there = found.load(Ordering::Relaxed);
            Box::pin(async move { if is_there { Ok(()) } else { Err("not connected".to_owned()) } })
        });
        health.needs("store", || Box::pin(std::future::pending()));
        assert_eq!(health.reasons().await, ["session: not connected", "store: no answer within 1 second"]);
        is_there.store(true, Ordering::Relaxed);
        assert_eq!(health.reasons().await, ["store: no answer within 1 second"]);
    }
}
