//! [`Recent`]: an answer that costs something, shared by all who ask for it within a while.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// An answer serves for so many times what it took …
const TIMES_ITS_COST: u32 = 20;
/// … and for so long at least.
pub(super) const SHORTEST_AGE: Duration = Duration::from_secs(2);

/// The latest answer, until it is too old.
pub struct Recent<T>(Mutex<Option<Taken<T>>>);

struct Taken<T> {
    answer: Arc<T>,
    until: Instant,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Recent<T> {
    /// The latest one, or a new one if that is too old. Who asks while one is taken waits for that.
    pub async fn get<Error>(&self, take: impl AsyncFnOnce() -> Result<T, Error>) -> Result<Arc<T>, Error> {
        let mut latest = self.0.lock().await;
        if let Some(taken) = latest.as_ref().filter(|taken| Instant::now() < taken.until) {
            return Ok(taken.answer.clone());
        }
        let begun = Instant::now();
        let answer = Arc::new(take().await?);
        let serves = (begun.elapsed() * TIMES_ITS_COST).max(SHORTEST_AGE);
        *latest = Some(Taken { answer: answer.clone(), until: Instant::now() + serves });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio::time::{advance, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_serves_for_twenty_times_its_cost() {
        let recent = Recent::default();
        let taking = async |cost: u64, answer: u32| {
            let take = async || {
                sleep(Duration::from_secs(cost)).await;
                Ok::<_, Infallible>(answer)
            };
            recent.get(take).await.map_or_else(|never| match never {}, |answer| *answer)
        };
        assert_eq!(taking(1, 1).await, 1);
        advance(Duration::from_secs(19)).await;
        assert_eq!(taking(0, 2).await, 1, "it took a second");
        advance(Duration::from_secs(1)).await;
        assert_eq!(taking(0, 3).await, 3);
        advance(Duration::from_secs(1)).await;
        assert_eq!(taking(0, 4).await, 3, "two seconds at least");
    }
}
