//! What systemd is told of a service that it has started: ready, how it is, stopping, and that it is alive (`sd_notify(3)`).
//! Nobody hears it where no service manager asks.

mod status;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::{self, MissedTickBehavior, interval, sleep};

use self::status::{Facts, Jobs, Life, names_of_jobs};
use crate::process::activity::{Activity, Phase};

/// A start is over after this time, also if something that the service needs does not answer: a boot must not hang on it.
const LONGEST_START: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// A start that takes long because a database is changed may take so much longer than its last sign of life.
const EXTENSION: Duration = Duration::from_mins(2);
/// How often the log says what is waited for at the end.
const LOGGED_EVERY: u64 = 10;
/// How many beats there are within the time after which the service manager gives up, and how many turns of a loop in a beat.
const BEATS: u32 = 3;
const TURNS: u32 = 2;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot tell the service manager");
    }
}

/// Whether somebody hears what is told.
fn is_heard() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// The service has begun its work.
pub(crate) fn ready(activity: &Activity) {
    activity.enter(Phase::Up);
    tell(&[NotifyState::Ready, NotifyState::Status(&status_of(activity))]);
}

/// Waits for what a service needs at its start. If that takes long the start is over all the same, and the status says what is
/// waited for.
pub(crate) async fn ready_without<T>(activity: &Activity, needed: impl Future<Output = T>) -> T {
    let over = async {
        sleep(LONGEST_START).await;
        tell(&[NotifyState::Ready, NotifyState::Status(&status_of(activity))]);
        std::future::pending().await
    };
    tokio::select! {
        biased;
        answered = needed => answered,
        never = over => never,
    }
}

/// Says that the service stops; from now on the status counts down for how long jobs, or `what`, may still take.
pub(crate) fn stopping(activity: &Activity, what: &'static str, grace: Duration) {
    let now = Instant::now();
    // further away than any grace
    let end = now.checked_add(grace).unwrap_or(now + Duration::from_hours(24 * 365));
    activity.enter(Phase::Stopping { what, end });
    tell(&[NotifyState::Stopping, NotifyState::Status(&status_of(activity))]);
}

/// Says that the process is alive as often as the service manager wants to hear it, for as long as the loops that matter turn:
/// a process that is stuck is silent, and started again.
pub fn keep_alive(activity: &Activity) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    activity.watch_loops((limit / BEATS / TURNS).clamp(Duration::from_millis(1), SECOND));
    let activity = activity.clone();
    tokio::spawn(async move {
        let beat = (limit / BEATS).max(Duration::from_millis(1));
        let mut beats = interval(beat);
        // after a pause of the whole machine one is enough
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            match activity.stuck(time::Instant::now(), beat) {
                None => tell(&[NotifyState::Watchdog]),
                Some(stuck) => tracing::warn!(stuck, "a loop is stuck: systemd is not told that the process is alive"),
            }
        }
    });
}

/// Keeps the service manager told of how the service is, and the log of what a stop waits for. Never ends.
pub(crate) async fn keep_told(activity: Activity) -> Infallible {
    let (mut phases, mut draining) = (activity.phase(), activity.draining());
    let mut seconds = interval(SECOND);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut log) = (String::new(), Log::default());
    loop {
        let facts = facts_of(&activity);
        log.write(&facts, &activity);
        let status = facts.status();
        let news = news(&facts, &status, &told);
        if !news.is_empty() {
            tell(&news);
        }
        told = status;
        let is_looked_at = is_heard() || !matches!(facts.life, Life::Up) || facts.is_draining;
        tokio::select! {
            _ = seconds.tick(), if is_looked_at => {}
            // they are as old as the activity, which is here
            _ = phases.changed() => {}
            _ = draining.changed() => {}
        }
    }
}

/// What the service manager is told, if it was told that before.
fn news<'a>(facts: &Facts, status: &'a str, told: &str) -> Vec<NotifyState<'a>> {
    let is_long = matches!(facts.life, Life::Changing { .. });
    let longer =
        is_long.then(|| NotifyState::ExtendTimeoutUsec(u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX)));
    let other = (status != told).then_some(NotifyState::Status(status));
    longer.into_iter().chain(other).collect()
}

/// How the service is, in one line for people.
pub(crate) fn status_of(activity: &Activity) -> String {
    facts_of(activity).status()
}

fn facts_of(activity: &Activity) -> Facts {
    let life = match *activity.phase().borrow() {
        Phase::Starting => Life::Starting,
        Phase::Changing { doing, percent } => Life::Changing { doing, percent },
        Phase::Up => Life::Up,
        Phase::Stopping { what, end } => Life::Stopping { what, left: end.saturating_duration_since(Instant::now()) },
    };
    let slots = activity.slots().len();
    let away = activity.peers().iter().filter(|peer| !peer.is_there()).map(|peer| peer.name().to_owned()).collect();
    Facts {
        life,
        jobs: (slots > 0).then(|| Jobs { busy: activity.busy(), slots }),
        is_draining: activity.is_draining(),
        is_drained: activity.is_drained(),
        away,
    }
}

/// What the log says already.
#[derive(Default)]
struct Log {
    is_drained: bool,
    /// In tens of seconds that are left.
    left: Option<u64>,
}

impl Log {
    fn write(&mut self, facts: &Facts, activity: &Activity) {
        if facts.is_drained && !self.is_drained {
            tracing::info!("drained: no job runs, and none is taken until `resume`");
        }
        self.is_drained = facts.is_drained;
        let Life::Stopping { left, .. } = facts.life else { return };
        let tens = left.as_secs() / LOGGED_EVERY;
        let before = self.left.replace(tens);
        if before.is_some_and(|before| before != tens) {
            let jobs =
                activity.attempts().into_iter().map(|(_, it)| (it.job().to_owned(), it.action().map(str::to_owned)));
            tracing::info!("{}{}", facts.status(), names_of_jobs(jobs));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_extended_while_a_database_is_changed() {
        let activity = Activity::new();
        let told = |before: &str| -> Vec<String> {
            let status = status_of(&activity);
            news(&facts_of(&activity), &status, before).iter().map(ToString::to_string).collect()
        };
        assert_eq!(told("starting"), Vec::<String>::new());
        activity.enter(Phase::Changing { doing: "copying the database", percent: Some(7) });
        let extended = "EXTEND_TIMEOUT_USEC=120000000";
        assert_eq!(told("starting"), [extended, "STATUS=copying the database: 7 %"]);
        assert_eq!(told("copying the database: 7 %"), [extended], "again and again");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_needed_is_waited_for_also_when_the_start_is_over() {
        let begin = tokio::time::Instant::now();
        let activity = Activity::new();
        let answered = ready_without(&activity, async {
            sleep(3 * LONGEST_START).await;
            7
        });
        assert_eq!((answered.await, begin.elapsed()), (7, 3 * LONGEST_START));
    }
}
