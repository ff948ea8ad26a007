//! `dummy_test_action`: waits a random 3 to 30 seconds as the original (specification 9.7), but reports progress.

use std::time::Duration;

use slipstream_action::{Action, Failure, JobHandle, Success, async_trait};
use tokio::time::{Instant, sleep, sleep_until};

const SHORTEST: f64 = 3.0;
const LONGEST: f64 = 30.0;
const STEP: Duration = Duration::from_secs(1);

pub(super) struct DummyTestAction;

#[async_trait]
impl Action for DummyTestAction {
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        let duration = Duration::from_secs_f64(rand::random_range(SHORTEST..=LONGEST));
        let message = format!("waited {:.1} seconds", duration.as_secs_f64());
        // Either is the end of the wait.
        tokio::select! {
            () = job.cancelled() => Err(Failure::new("cancelled")),
            () = wait(&job, duration) => Ok(Success::with_message(message)),
        }
    }
}

async fn wait(job: &JobHandle, duration: Duration) {
    let begun = Instant::now();
    let end = begun + duration;
    while begun.elapsed() < duration {
        job.set_progress(percent(begun.elapsed(), duration));
        let (waited, all) = (begun.elapsed().as_secs(), duration.as_secs_f64());
        job.set_status_message(format!("waited {waited} of {all:.1} seconds"));
        tokio::select! {
            () = sleep(STEP) => {}
            () = sleep_until(end) => {}
        }
    }
}

fn percent(part: Duration, whole: Duration) -> u8 {
    u8::try_from(part.as_millis() * 100 / whole.as_millis().max(1)).unwrap_or(100).min(100)
}
