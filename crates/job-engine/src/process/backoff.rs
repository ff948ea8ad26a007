//! What failed is tried again: [`Pauses`] says when, and [`Complaint`] whether that is worth a line in the log.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::process::stop::Stop;

/// The first pause.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// No pause is longer, unless asked for.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Longer than any process lives: 30 years.
const FOR_EVER: Duration = Duration::from_hours(30 * 365 * 24);

/// Each pause is twice as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Pauses {
    /// Pauses from [`SHORTEST`] to `longest`.
    #[must_use]
    pub fn up_to(longest: Duration) -> Self {
        Self { next: SHORTEST, longest }
    }

    /// From now on no pause is longer than this.
    pub fn limit(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// How long to pause now.
    pub fn take(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// Waits; ends early when somebody asks to stop.
    pub async fn pause(&mut self, stop: &Stop) {
        // Either branch is the end of the pause.
        tokio::select! {
            biased;
            () = sleep(self.take()) => {}
            () = stop.asked() => {}
        }
    }

    /// It went well: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = SHORTEST;
    }
}

/// What was complained of last: what fails in the same way again and again is said once.
#[derive(Debug, Default)]
pub struct Complaint(Option<String>);

impl Complaint {
    /// Whether this is another failure than the last one.
    pub fn is_new(&mut self, failure: String) -> bool {
        let is_new = self.0.as_ref() != Some(&failure);
        self.0 = Some(failure);
        is_new
    }

    /// Whether this is the first failure since it went well, whatever it is.
    pub fn is_first(&mut self) -> bool {
        self.0.replace(String::new()).is_none()
    }

    /// It went well: whether it failed before.
    pub fn is_over(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// It went well: whatever fails next is new.
    pub fn settle(&mut self) {
        self.0 = None;
    }
}

/// When a wait of this length ends that begins now; one that a program sets may be of any length, and then means for ever.
#[must_use]
pub fn deadline(wait: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_that_far_away_or_out_of_sight() {
        let now = Instant::now();
        assert_eq!(deadline(LONGEST), now + LONGEST);
        assert_eq!(deadline(Duration::MAX), now + FOR_EVER);
    }

    #[test]
    fn what_fails_in_the_same_way_again_is_said_once() {
        let mut complaint = Complaint::default();
        let mut is_new = |failure: &str| complaint.is_new(failure.to_owned());
        assert_eq!(["a", "a", "b", "b", "a"].map(&mut is_new), [true, false, true, false, true]);
        complaint.settle();
        assert!(complaint.is_new("a".to_owned()));
        assert!(!complaint.is_first(), "it has failed already");
        assert_eq!([complaint.is_over(), complaint.is_over()], [true, false]);
        assert_eq!([complaint.is_first(), complaint.is_first()], [true, false]);
    }
}
