//! [`Waiting`]: waits for the end of jobs, woken when their entries leave the queue.

use std::time::Duration;

use slipstream_cimi::{Client, Error, Job};
use slipstream_coordination::{Coordinator, Embedded};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::departures::Departures;
use super::error::EngineError;
use crate::process::paths;
use crate::server::jobs::document;

/// Where no event tells of a job, it is read again after pauses that double from here …
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// … to here.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long a wait relies on being told before it looks for itself.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How many readings of a job may fail one after the other: with the pauses, half a minute.
const MOST_FAILURES: u32 = 64;

/// Waits for jobs of one engine.
pub(super) struct Waiting {
    coordinator: Embedded,
    /// The queue is watched from the first wait on: most engines need not.
    departures: OnceCell<Departures>,
}

impl Waiting {
    pub(super) fn new(coordinator: Embedded) -> Self {
        Self { coordinator, departures: OnceCell::new() }
    }

    /// The job once it is in a final state. An executor writes that before it takes the entry away, and so do stop and
    /// delete, so that the job is worth reading when its entry goes and no sooner.
    pub(super) async fn until_final(&self, client: &Client, id: &str) -> Result<Job, EngineError> {
        let mut pause = SHORTEST_PAUSE;
        let mut failures = 0;
        let mut departed = None;
        loop {
            let mut entry = None;
            match read(client, id).await {
                Ok(job) if job.state.is_final() => return Ok(job),
                Ok(job) => (entry, failures) = (entry_of(&job), 0),
                Err(error) if error.is_not_found(id) => return Err(EngineError::Deleted { id: id.to_owned() }),
                Err(error) if error.is_transient() && failures < MOST_FAILURES => failures += 1,
                Err(error) => return Err(error.into()),
            }
            // The entry of a job that is not final goes only when something else is wrong, which others mend.
            let Some(entry) = entry.filter(|entry| departed.as_ref() != Some(entry)) else {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            };
            if timeout(LOOK_AGAIN, self.departure(&entry)).await.is_ok() {
                departed = Some(entry);
            }
        }
    }

    async fn departure(&self, entry: &str) {
        let watch = async || Departures::watch(self.coordinator.connect().await?).await;
        match self.departures.get_or_try_init(watch).await {
            Ok(departures) => departures.of(entry).await,
            Err(error) => {
                tracing::debug!(%error, "the queue cannot be watched");
                sleep(LONGEST_PAUSE).await;
            }
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

fn entry_of(job: &Job) -> Option<String> {
    let entry = job.others.get("properties")?.get(document::ENTRY_PROPERTY)?.as_str()?;
    paths::is_entry(entry).then(|| entry.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use slipstream_cimi::State;
    use slipstream_coordination::embedded::EmbeddedSession;
    use slipstream_coordination::session::{Mode, Operation, Session, make_path};
    use tokio::time::Instant;

    use super::*;
    use crate::executor::tests::fake_server::{FakeServer, Fault};

    const LIMIT: Duration = Duration::from_hours(2);
    const JOB: &str = "job/1";
    const ENTRY: &str = "/job/entries/entry-999-0000000001";

    struct World {
        server: FakeServer,
        session: EmbeddedSession,
        waiting: Waiting,
    }

    /// A job that runs, with its entry in the queue.
    async fn world() -> World {
        let coordinator = Embedded::new();
        let session = coordinator.session();
        make_path(&session, paths::ENTRIES).await.unwrap();
        session.commit(vec![Operation::create(ENTRY, JOB, Mode::Persistent)]).await.unwrap();
        let world = World { server: FakeServer::default(), session, waiting: Waiting::new(coordinator) };
        world.store(State::Running);
        world
    }

    impl World {
        fn store(&self, state: State) {
            self.server.store(JOB, "noop", state);
            let mut job = self.server.document(JOB);
            job.insert("properties".to_owned(), json!({ document::ENTRY_PROPERTY: ENTRY }));
            self.server.store_document(job);
        }

        async fn delete_entry(&self) {
            self.session.commit(vec![Operation::delete(ENTRY)]).await.unwrap();
        }

        async fn wait(&self) -> Result<Job, EngineError> {
            timeout(LIMIT, self.waiting.until_final(&self.server.client(), JOB)).await.expect("in time")
        }

        fn readings(&self) -> usize {
            self.server.served(JOB).len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_read_again_when_its_entry_goes_and_not_before() {
        let world = world().await;
        let begin = Instant::now();
        let end = async {
            sleep(LOOK_AGAIN / 2).await;
            assert_eq!(world.readings(), 1);
            world.store(State::Success);
            world.delete_entry().await;
        };
        let (done, ()) = tokio::join!(world.wait(), end);
        assert_eq!(done.unwrap().state, State::Success);
        assert_eq!((world.readings(), begin.elapsed()), (2, LOOK_AGAIN / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_of_which_nothing_tells_is_seen_all_the_same() {
        let world = world().await;
        let begin = Instant::now();
        let end = async {
            sleep(Duration::from_secs(1)).await;
            world.store(State::Failed);
        };
        let (done, ()) = tokio::join!(world.wait(), end);
        assert_eq!((done.unwrap().state, begin.elapsed()), (State::Failed, LOOK_AGAIN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_without_its_entry_is_read_after_growing_pauses() {
        let world = world().await;
        world.delete_entry().await;
        let end = async {
            sleep(Duration::from_hours(1)).await;
            let readings = world.readings();
            assert!((7_000..7_300).contains(&readings), "twice a second at most: {readings}");
            world.store(State::Stopped);
        };
        let begin = Instant::now();
        let (done, ()) = tokio::join!(world.wait(), end);
        assert_eq!(done.unwrap().state, State::Stopped);
        assert!(begin.elapsed() <= Duration::from_hours(1) + LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn readings_may_fail_for_a_while_but_not_for_ever() {
        let world = world().await;
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
