//! [`Pauses`]: how long to wait before something that failed is tried again.

use std::time::Duration;

use crate::stop::Stop;

/// The first pause.
pub const SHORTEST: Duration = Duration::from_secs(1);
/// No pause is longer.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Each pause is twice as long as the one before.
pub struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: SHORTEST }
    }
}

impl Pauses {
    /// Waits; ends early when somebody asks to stop.
    pub async fn pause(&mut self, stop: &Stop) {
        let length = self.next;
        self.next = (length * 2).min(LONGEST);
        // Either branch is the end of the pause.
        tokio::select! {
            biased;
            () = tokio::time::sleep(length) => {}
            () = stop.asked() => {}
        }
    }

    /// It went well: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = SHORTEST;
    }
}
