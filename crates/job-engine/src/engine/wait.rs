//! [`until_final`]: waits for the end of a job.

use std::sync::Arc;
use std::time::Duration;

use slipstream_cimi::{Client, Error, Job};
use slipstream_coordination::retry::Pauses;
use tokio::time::{sleep, timeout};

use super::error::EngineError;
use crate::server::jobs::feed::Feed;

/// How long a wait relies on being told before it looks for itself.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Between readings that fail.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(1), Duration::from_millis(500));
/// How many readings of a job may fail one after the other: with the pauses, half a minute.
const MOST_FAILURES: u32 = 64;

/// The job once it is in a final state. It is read again whenever it changes.
pub(super) async fn until_final(feed: &Arc<Feed>, client: &Client, id: &str) -> Result<Job, EngineError> {
    let watch = feed.watch(id);
    let (mut pauses, mut failures) = (PAUSES, 0);
    loop {
        let changed = watch.changed();
        match read(client, id).await {
            Ok(job) if job.state.is_final() => return Ok(job),
            Ok(_) => {
                (pauses, failures) = (PAUSES, 0);
                // told or not, it is read again
                drop(timeout(LOOK_AGAIN, changed).await);
            }
            Err(error) if error.is_not_found(id) => return Err(EngineError::Deleted { id: id.to_owned() }),
            Err(error) if error.is_transient() && failures < MOST_FAILURES => {
                failures += 1;
                sleep(pauses.take()).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn read(client: &Client, id: &str) -> Result<Job, Error> {
    let unintelligible = |error: serde_json::Error| Error::Unintelligible {
        request: format!("GET /api/{id}"),
        reason: error.to_string(),
    };
    Job::from_document(client.get(id).await?).map_err(unintelligible)
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::State;
    use tokio::time::Instant;

    use super::*;
    use crate::executor::tests::fake_server::{FakeServer, Fault};

    const LIMIT: Duration = Duration::from_hours(2);
    const JOB: &str = "job/1";

    #[derive(Default)]
    struct World {
        server: FakeServer,
        feed: Arc<Feed>,
    }

    /// A job that runs.
    fn world() -> World {
        let world = World::default();
        world.store(State::Running);
        world
    }

    impl World {
        fn store(&self, state: State) {
            self.server.store(JOB, "noop", state);
        }

        async fn wait(&self) -> Result<Job, EngineError> {
            timeout(LIMIT, until_final(&self.feed, &self.server.client(), JOB)).await.expect("in time")
        }

        fn readings(&self) -> usize {
            self.server.served(JOB).len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_read_again_when_it_changes_and_not_before() {
        let world = world();
        let begin = Instant::now();
        let end = async {
            sleep(LOOK_AGAIN / 2).await;
            assert_eq!(world.readings(), 1);
            world.feed.publish("job/2");
            world.store(State::Success);
            sleep(LOOK_AGAIN / 4).await;
            assert_eq!(world.readings(), 1, "another job is no news");
            world.feed.publish(JOB);
        };
        let (done, ()) = tokio::join!(world.wait(), end);
        assert_eq!(done.unwrap().state, State::Success);
        assert_eq!((world.readings(), begin.elapsed()), (2, LOOK_AGAIN / 4 * 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_while_the_job_is_read_is_not_missed() {
        let world = world();
        let mut is_first = true;
        let (feed, begin) = (world.feed.clone(), Instant::now());
        world.server.script(move |_| {
            if std::mem::take(&mut is_first) {
                feed.publish(JOB);
            }
            Fault::None
        });
        let end = async {
            while world.readings() < 2 {
                sleep(Duration::from_millis(1)).await;
            }
            world.store(State::Success);
            world.feed.publish(JOB);
        };
        let (done, ()) = tokio::join!(world.wait(), end);
        assert_eq!(done.unwrap().state, State::Success);
        assert!(begin.elapsed() < LOOK_AGAIN, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_of_which_nothing_tells_is_seen_all_the_same() {
        let world = world();
        let begin = Instant::now();
        let end = async {
            sleep(Duration::from_secs(1)).await;
            world.store(State::Failed);
        };
        let (done, ()) = tokio::join!(world.wait(), end);
        assert_eq!((done.unwrap().state, begin.elapsed()), (State::Failed, LOOK_AGAIN));
    }

    #[tokio::test(start_paused = true)]
    async fn readings_may_fail_for_a_while_but_not_for_ever() {
        let world = world();
        world.store(State::Success);
        let mut left = MOST_FAILURES;
        world.server.script(move |_| {
            left = left.saturating_sub(1);
            if left > 0 { Fault::Status(503) } else { Fault::None }
        });
        assert_eq!(world.wait().await.unwrap().state, State::Success);
        assert_eq!(world.server.injected(), MOST_FAILURES as usize - 1);
        world.server.script(|_| Fault::Status(503));
        let failed = world.wait().await;
        assert!(matches!(failed, Err(EngineError::Request(_))), "{failed:?}");
        world.server.script(|_| Fault::Status(400));
        let injected = world.server.injected();
        let failed = world.wait().await;
        assert!(matches!(failed, Err(EngineError::Request(_))), "{failed:?}");
        assert_eq!(world.server.injected(), injected + 1, "what cannot get better is not tried again");
    }
}
