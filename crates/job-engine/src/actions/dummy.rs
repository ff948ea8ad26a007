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

#[cfg(test)]
mod tests {

    use slipstream_action::Reports;
    use slipstream_cimi::{Job, State};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::executor::tests::fake_server::FakeServer;
    use crate::executor::tests::harness::until;

    fn handle(reports: &Reports, cancellation: &CancellationToken) -> JobHandle {
        let server = FakeServer::default();
        server.store("job/1", "dummy_test_action", State::Running);
        let job = Job::from_document(server.document("job/1")).unwrap();
        JobHandle::new(job, server.client(), false, reports.clone(), cancellation.clone())
    }

    fn run(job: JobHandle) -> tokio::task::JoinHandle<Result<Success, Failure>> {
        tokio::spawn(async move { DummyTestAction.run(job).await })
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_three_to_thirty_seconds_and_tells_every_second() {
        let mut durations = Vec::new();
        for _ in 0..50 {
            let reports = Reports::new();
            let running = run(handle(&reports, &CancellationToken::new()));
            let (begun, mut told) = (Instant::now(), Vec::new());
            while !running.is_finished() {
                sleep(STEP / 10).await;
                told.extend(reports.take().progress);
            }
            running.await.unwrap().unwrap();
            let elapsed = begun.elapsed().as_secs_f64();
            assert!((3.0..30.2).contains(&elapsed), "{elapsed}");
            let expected = begun.elapsed().as_secs();
            assert!((expected - 1..=expected + 1).contains(&(told.len() as u64)), "{told:?} in {elapsed} s");
            assert!(told.is_sorted() && told[0] == 0, "{told:?}");
            durations.push(elapsed);
        }
        let spread =
            durations.iter().copied().fold(f64::MIN, f64::max) - durations.iter().copied().fold(f64::MAX, f64::min);
        assert!(spread > 5.0, "not random: {durations:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_early_when_it_is_cancelled() {
        let (reports, cancellation) = (Reports::new(), CancellationToken::new());
        let running = run(handle(&reports, &cancellation));
        reports.waiting().await;
        cancellation.cancel();
        let mut polls = 0;
        until("it ends", || {
            polls += 1;
            running.is_finished()
        })
        .await;
        assert!(polls < 10, "{polls}");
        assert_eq!(running.await.unwrap(), Err(Failure::new("cancelled")));
    }
}
