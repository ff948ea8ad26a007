//! [`Waiting`]: waits for the end of jobs, woken when their entries leave the queue.

use std::time::Duration;

use slipstream_cimi::{Client, Error, Job};
use slipstream_coordination::{Coordinator, Embedded};
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::departures::Departures;
use super::error::EngineError;
use crate::nodes;
use crate::server::job_document;

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
    let entry = job.others.get("properties")?.get(job_document::ENTRY_PROPERTY)?.as_str()?;
    nodes::is_entry(entry).then(|| entry.to_owned())
}
