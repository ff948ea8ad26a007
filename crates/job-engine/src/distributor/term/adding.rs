//! How the jobs of a round are added: each at its time, and in lists where the server takes them.

use std::time::Duration;

use slipstream_action::with_causes;
use slipstream_cimi::client::lists::{keyed, takes_item_keys};
use slipstream_cimi::dialect::{ENTRY_POINT, JOB, MOST_ITEMS};
use slipstream_cimi::job::NewJob;
use slipstream_cimi::{Document, Error};
use tokio::time::Instant;

use super::{Interruption, Term};

/// Most bytes of the jobs of one list, so that its request stays below what servers take.
const LONGEST_LIST: usize = 512 * 1024;

/// What came of the jobs of a round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// That are there now.
    pub added: u64,
    /// That the server calls malformed: repeating them would hold up all rounds to come.
    pub refused: u64,
    /// Why the first of those was.
    pub first_refusal: Option<String>,
}

/// What makes adding a job repeatable (decision 11): the same in every repetition of a round, by whatever leader.
pub fn key(round: &str, job: &NewJob) -> String {
    format!("{round} {}", job.target.as_deref().unwrap_or_default()).trim_end().to_owned()
}

/// How many of so many jobs are due after `elapsed`, if the first one is due at once and the last one before `span` is over.
fn due(jobs: usize, elapsed: Duration, span: Duration) -> usize {
    if elapsed >= span {
        return jobs;
    }
    let passed = elapsed.as_nanos() * jobs as u128 / span.as_nanos();
    usize::try_from(passed + 1).unwrap_or(jobs).min(jobs)
}

/// When the job of this number, from 0, is due.
fn time_of(number: usize, jobs: usize, span: Duration) -> Duration {
    let nanoseconds = (span.as_nanos() * number as u128).div_ceil(jobs as u128);
    u64::try_from(nanoseconds).map_or(span, Duration::from_nanos)
}

impl Term<'_> {
    /// Adds jobs under the keys of a round, spread over `span`.
    pub(super) async fn add_all(&self, round: &str, jobs: &[NewJob], span: Duration) -> Result<Added, Interruption> {
        let (begun, mut added, mut next) = (Instant::now(), Added::default(), 0);
        let takes_lists = jobs.len() > 1 && self.takes_lists().await?;
        while next < jobs.len() {
            let due = due(jobs.len(), begun.elapsed(), span);
            if next >= due {
                self.pause_until(begun + time_of(next, jobs.len(), span)).await?;
                continue;
            }
            next += if takes_lists {
                self.add_list(round, &jobs[next..due.min(next + MOST_ITEMS)], &mut added).await?
            } else {
                let job = &jobs[next];
                let key = key(round, job);
                let document = job.document();
                let client = &self.deps.client;
                let outcome = self
                    .insist("cannot add a job", || async {
                        judged(client.add(JOB.name, &document, Some(&key)).await)
                    })
                    .await?;
                added.count(&key, outcome);
                1
            };
        }
        Ok(added)
    }

    /// Adds the jobs at the beginning of these that fit into one list, and answers how many.
    async fn add_list(&self, round: &str, jobs: &[NewJob], added: &mut Added) -> Result<usize, Interruption> {
        let (mut list, mut keys, mut length): (Vec<Document>, Vec<String>, usize) = (Vec::new(), Vec::new(), 0);
        for job in jobs {
            let key = key(round, job);
            let document = keyed(job.document(), key.clone());
            length += serde_json::to_string(&document).map_or(0, |text| text.len());
            if length > LONGEST_LIST && !list.is_empty() {
                break;
            }
            list.push(document);
            keys.push(key);
        }
        let client = &self.deps.client;
        let outcomes = self
            .insist("cannot add jobs", || async {
                let answers = client.add_all(JOB.name, &list, None).await?;
                answers.into_iter().map(judged).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        keys.iter().zip(outcomes).for_each(|(key, outcome)| added.count(key, outcome));
        Ok(keys.len())
    }

    /// Whether the server takes lists of jobs that have keys of their own.
    async fn takes_lists(&self) -> Result<bool, Interruption> {
        let client = &self.deps.client;
        let ask = || async {
            match client.get(ENTRY_POINT).await {
                Ok(entry_point) => Ok(takes_item_keys(&entry_point)),
                Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 404) => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.insist("cannot find out what the server takes", ask).await
    }
}

/// What came of one job: none if it is there, or why it is passed over. Any other error is tried again.
fn judged(answer: Result<String, Error>) -> Result<Option<String>, Error> {
    match answer {
        Ok(_) => Ok(None),
        Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 400) => Ok(Some(with_causes(&error))),
        Err(error) => Err(error),
    }
}

impl Added {
    /// The first refusal of a round is logged, as all may be alike.
    fn count(&mut self, key: &str, refusal: Option<String>) {
        let Some(refusal) = refusal else {
            self.added += 1;
            return;
        };
        self.refused += 1;
        if self.first_refusal.is_none() {
            tracing::error!(key, error = refusal, "skipping a malformed job");
            self.first_refusal = Some(refusal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_spread_evenly_and_the_last_one_before_the_end() {
        let minute = Duration::from_mins(1);
        let at = |seconds| due(4, Duration::from_secs(seconds), minute);
        assert_eq!([0, 14, 15, 30, 44, 45, 59, 60, 61].map(at), [1, 1, 2, 3, 3, 4, 4, 4, 4]);
        assert_eq!((due(7, Duration::ZERO, Duration::ZERO), due(0, Duration::ZERO, minute)), (7, 0));
        for jobs in [1, 3, 7, 1_000, 9_999] {
            for number in [0, jobs / 2, jobs - 1] {
                let time = time_of(number, jobs, minute);
                assert!(due(jobs, time, minute) > number, "job {number} of {jobs} is due at its time");
                let before = time.saturating_sub(Duration::from_nanos(1));
                assert!(number == 0 || due(jobs, before, minute) <= number, "and not before");
                assert!(time < minute);
            }
        }
    }

    #[test]
    fn a_key_names_the_round_and_the_target() {
        let job = |target: Option<&str>| NewJob { target: target.map(str::to_owned), ..NewJob::default() };
        assert_eq!(key("count 2026-11-24T12:00:00Z", &job(Some("job"))), "count 2026-11-24T12:00:00Z job");
        assert_eq!(key("count 2026-11-24T12:00:00Z", &job(None)), "count 2026-11-24T12:00:00Z");
    }
}
