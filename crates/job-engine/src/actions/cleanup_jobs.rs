//! `cleanup_jobs`: removes jobs that ended more than a week ago (specification 9.7; unlike the original, which goes by
//! when they were added and leaves STOPPED ones).
//!
//! A job's end is its last update: nothing changes a final job.

#[cfg(test)]
mod tests;

use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use serde_json::Value;
use slipstream_action::{Action, Failure, JobHandle, Success, async_trait, with_causes};
use slipstream_cimi::Document;
use slipstream_cimi::query::{Order, Search};
use slipstream_cimi::resource::format_time;

use crate::process::clock::{CLOCKS_MAY_DIFFER, Clock};

const FINAL: &str = "(state='SUCCESS' or state='FAILED' or state='STOPPED')";
const AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
const PAGE: u64 = 500;
/// How many deletes are under way at once.
const DELETES: usize = 16;

pub(super) struct CleanupJobs {
    pub(super) clock: Clock,
}

/// How far it is.
#[derive(Debug, Default)]
struct Tally {
    removed: u64,
    /// Jobs that somebody else removed meanwhile.
    vanished: u64,
    failed: u64,
    first_failure: Option<String>,
    /// Jobs that ended, by a clock that was wrong, in the future: nobody knows how long ago.
    ahead: u64,
}

enum Deleted {
    Removed,
    Vanished,
    Failed(String),
}

#[async_trait]
impl Action for CleanupJobs {
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        let now = self.clock.now();
        let filter = format!("{FINAL} and updated<'{}'", format_time(now - AGE));
        let ahead = format!("{FINAL} and updated>'{}'", format_time(now + CLOCKS_MAY_DIFFER));
        let count = Search { last: Some(0), ..search(&ahead, 0) };
        let mut tally = Tally { ahead: job.client().search("job", &count).await?.count, ..Tally::default() };
        let mut pages_left = 1;
        let mut all = 0;
        while pages_left > 0 {
            if job.is_cancelled() {
                return Err(Failure::new(format!("cancelled after {} jobs were removed", tally.removed)));
            }
            let page = job.client().search("job", &search(&filter, tally.failed)).await?;
            if all == 0 {
                all = page.count;
                // A server whose searches still show what was deleted must not keep us busy for ever.
                pages_left = all.div_ceil(PAGE);
            }
            if page.documents.is_empty() {
                break;
            }
            let ids: Vec<String> = page.documents.iter().filter_map(id_of).collect();
            let mut deletes = stream::iter(ids).map(|id| delete(&job, id)).buffer_unordered(DELETES);
            while let Some(deleted) = deletes.next().await {
                tally.count(deleted);
                job.set_progress(tally.percent(all));
            }
            pages_left -= 1;
        }
        Ok(Success::with_message(tally.message()))
    }
}

/// A page in order of their end; what could not be removed stays at the front and is passed over.
fn search(filter: &str, skip: u64) -> Search {
    let position = |number: u64| i64::try_from(number).ok();
    Search {
        filter: Some(filter.to_owned()),
        order: vec![Order { attribute: "updated".to_owned(), descending: false }],
        first: position(skip + 1),
        last: position(skip + PAGE),
        select: vec!["id".to_owned()],
        ..Search::default()
    }
}

fn id_of(document: &Document) -> Option<String> {
    document.get("id").and_then(Value::as_str).map(str::to_owned)
}

async fn delete(job: &JobHandle, id: String) -> Deleted {
    if job.is_cancelled() {
        return Deleted::Failed("cancelled".to_owned());
    }
    match job.client().delete(&id).await {
        Ok(()) => Deleted::Removed,
        Err(error) if error.is_not_found(&id) => Deleted::Vanished,
        Err(error) => Deleted::Failed(with_causes(&error)),
    }
}

impl Tally {
    fn count(&mut self, deleted: Deleted) {
        match deleted {
            Deleted::Removed => self.removed += 1,
            Deleted::Vanished => self.vanished += 1,
            Deleted::Failed(reason) => {
                self.failed += 1;
                self.first_failure.get_or_insert(reason);
            }
        }
    }

    fn percent(&self, all: u64) -> u8 {
        let done = self.removed + self.vanished + self.failed;
        u8::try_from(done * 100 / all.max(1)).unwrap_or(100).min(100)
    }

    /// In the original's words, and what it does not know.
    fn message(&self) -> String {
        let Self { removed, failed, ahead, .. } = self;
        let left = match ahead {
            0 => String::new(),
            _ => format!(
                " Left {ahead} whose end is in the future: a clock was wrong. Delete them by `slipstream-job jobs delete`."
            ),
        };
        match &self.first_failure {
            None => format!("Cleanup of completed jobs finished. Removed {removed} jobs.{left}"),
            Some(first) => format!(
                "Cleanup of completed jobs have some failures: \
                 removed {removed} jobs, could not remove {failed}, the first because of: {first}.{left}"
            ),
        }
    }
}
