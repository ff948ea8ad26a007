//! [`Throttle`]: how fast a program may report.

use std::time::Duration;

use tokio::time::Instant;

/// Most reports of a program that are read in a second. Then its pipe fills, and the program slows down by itself.
const MOST_REPORTS: u32 = 1000;
const SECOND: Duration = Duration::from_secs(1);

/// Counts reports.
#[derive(Debug)]
pub(crate) struct Throttle {
    second: Instant,
    reports: u32,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { second: Instant::now(), reports: 0 }
    }
}

impl Throttle {
    /// A report was read.
    pub(crate) fn count(&mut self) {
        if self.second.elapsed() >= SECOND {
            (self.second, self.reports) = (Instant::now(), 0);
        }
        self.reports += 1;
    }

    /// Until when none is to be read; `None` if the next may.
    pub(crate) fn pause(&self) -> Option<Instant> {
        let over = self.second + SECOND;
        (self.reports >= MOST_REPORTS && Instant::now() < over).then_some(over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_reports_are_read_in_a_second() {
        let begun = Instant::now();
        let mut throttle = Throttle::default();
        for _ in 0..3 * MOST_REPORTS {
            if let Some(until) = throttle.pause() {
                tokio::time::sleep_until(until).await;
            }
            throttle.count();
        }
        assert_eq!(begun.elapsed(), 2 * SECOND);
    }
}
