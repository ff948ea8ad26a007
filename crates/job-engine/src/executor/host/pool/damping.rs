//! [`Damping`]: how soon a program that does not start is started again.

use std::time::Duration;

use slipstream_coordination::retry::Pauses;
use tokio::time::Instant;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// What is known of starts that failed.
#[derive(Debug)]
pub(super) struct Damping {
    pauses: Pauses,
    last: Option<Failed>,
}

/// The last start that failed, since the last one that did not.
#[derive(Debug)]
struct Failed {
    at: Instant,
    next: Instant,
    reason: String,
    /// Whether another start is under way, on which those that come later depend.
    is_tried: bool,
}

impl Default for Damping {
    fn default() -> Self {
        Self { pauses: Pauses::new(SHORTEST, LONGEST), last: None }
    }
}

impl Damping {
    /// A process is to be started; if none may be, answers why the last start failed. After one that failed a single one is
    /// tried.
    pub(super) fn begin(&mut self, now: Instant) -> Result<(), String> {
        match &mut self.last {
            Some(last) if now < last.next || last.is_tried => Err(last.reason.clone()),
            Some(last) => {
                last.is_tried = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A start that was begun then has failed; answers when the next may be tried. Of several at once the first counts.
    pub(super) fn failed(&mut self, begun: Instant, now: Instant, reason: &str) -> Instant {
        match &mut self.last {
            Some(last) if begun <= last.at => last.next,
            _ => {
                let next = now + self.pauses.take();
                self.last = Some(Failed { at: now, next, reason: reason.to_owned(), is_tried: false });
                next
            }
        }
    }

    /// A process has said hello: others may be started, too.
    pub(super) fn begun(&mut self) {
        if let Some(last) = &mut self.last {
            last.is_tried = false;
        }
    }

    /// A process has done a job: the next pause is the shortest again.
    pub(super) fn succeeded(&mut self) {
        if self.last.take().is_some() {
            self.pauses.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_failed_start_doubles_the_pause_before_the_next() {
        let (mut damping, begun) = (Damping::default(), Instant::now());
        assert_eq!(damping.begin(begun), Ok(()));
        let mut now = begun;
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let next = damping.failed(now, now, "broken");
            assert_eq!(next, now + Duration::from_secs(seconds));
            assert_eq!(damping.begin(next - Duration::from_millis(1)), Err("broken".to_owned()));
            assert_eq!(damping.begin(next), Ok(()));
            now = next;
        }
        damping.succeeded();
        assert_eq!(damping.begin(now), Ok(()));
        assert_eq!(damping.failed(now, now, "broken"), now + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn starts_that_fail_together_count_once() {
        let (mut damping, begun) = (Damping::default(), Instant::now());
        let now = begun + Duration::from_secs(10);
        let next = damping.failed(begun, now, "slow");
        for later in 0..50 {
            assert_eq!(damping.failed(begun, now + Duration::from_millis(later), "slow"), next);
        }
        assert_eq!(damping.failed(next, next, "slow"), next + Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_one_start_is_tried_before_there_are_others() {
        let (mut damping, now) = (Damping::default(), Instant::now());
        let next = damping.failed(now, now, "broken");
        assert_eq!(damping.begin(next), Ok(()));
        assert_eq!(damping.begin(next), Err("broken".to_owned()));
        damping.begun();
        assert_eq!([damping.begin(next), damping.begin(next)], [Ok(()), Err("broken".to_owned())]);
        damping.succeeded();
        assert_eq!([damping.begin(next), damping.begin(next)], [Ok(()), Ok(())]);
    }
}
