//! [`Pauses`]: how long to wait before something that failed is tried again.

use std::time::Duration;

use tokio::time::sleep;

use crate::stop::Stop;

/// The first pause.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// No pause is longer, unless asked for.
pub const LONGEST: Duration = Duration::from_secs(30);

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
