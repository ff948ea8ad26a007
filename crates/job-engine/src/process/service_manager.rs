//! What systemd is told of a service that it has started: ready, how it is, stopping, and that it is alive (`sd_notify(3)`).
//! Nobody hears it where no service manager asks.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::task::AbortOnDropHandle;

/// A start is over after this time, also if something that the service needs does not answer: a boot must not hang on it.
const LONGEST_START: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// How often the log says what is waited for at the end.
const LOGGED_EVERY: u64 = 10;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot tell the service manager");
    }
}

/// The service has begun its work.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("up")]);
}

/// Waits for what a service needs at its start. If that takes long the start is over all the same, and the status says what is
/// waited for.
pub(crate) async fn ready_without<T>(what: &str, needed: impl Future<Output = T>) -> T {
    let over = async {
        sleep(LONGEST_START).await;
        let status = format!("waiting for {what}");
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        std::future::pending().await
    };
    tokio::select! {
        biased;
        answered = needed => answered,
        never = over => never,
    }
}

/// Says that the service stops and, each second until the answer is dropped, for how long `what` may still take.
pub(crate) fn stopping(what: &str, grace: Duration) -> AbortOnDropHandle<()> {
    tell(&[NotifyState::Stopping]);
    let (what, end) = (what.to_owned(), Instant::now() + grace);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut seconds = interval(SECOND);
        loop {
            let now = seconds.tick().await;
            let status = countdown(&what, end.saturating_duration_since(now));
            tell(&[NotifyState::Status(&status)]);
            let left = end.saturating_duration_since(now).as_secs();
            if left > 0 && left.is_multiple_of(LOGGED_EVERY) && left < grace.as_secs() {
                tracing::info!("{status}");
            }
        }
    }))
}

fn countdown(what: &str, left: Duration) -> String {
    match left.as_secs_f64().ceil() {
        0.0 => "stopping".to_owned(),
        1.0 => format!("stopping: {what}, 1 second left"),
        seconds => format!("stopping: {what}, {seconds} seconds left"),
    }
}

/// Says that the process is alive as often as the service manager wants to hear it, for as long as the runtime goes on: one
/// whose threads are all blocked is silent, and started again.
pub(crate) fn keep_alive() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        let mut beats = interval(limit / 3);
        // after a pause of the whole machine one is enough
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up() {
        let rows = [
            (Duration::from_millis(97_400), "stopping: running jobs, 98 seconds left"),
            (Duration::from_millis(300), "stopping: running jobs, 1 second left"),
            (Duration::ZERO, "stopping"),
        ];
        for (left, status) in rows {
            assert_eq!(countdown("running jobs", left), status);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_needed_is_waited_for_also_when_the_start_is_over() {
        let begin = Instant::now();
        let answered = ready_without("ZooKeeper", async {
            sleep(3 * LONGEST_START).await;
            7
        });
        assert_eq!((answered.await, begin.elapsed()), (7, 3 * LONGEST_START));
    }
}
