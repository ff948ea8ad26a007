//! Which rounds the jobs of a site's distributors stand for. A job's id follows from its key, and the key from the
//! schedule time: so the jobs that there are prove the rounds that there were.

use std::collections::BTreeMap;

use jiff::Timestamp;
use slipstream_cimi::Client;
use slipstream_cimi::query::Search;
use slipstream_job_engine::internals::server::id_of_key;

use crate::site::{TICK, TICK_TARGET};
use crate::support::{credentials, text};

/// The rounds of a second each that were distributed, and jobs that belong to none of them.
#[derive(Debug, Default)]
pub struct Distributed {
    /// By their schedule times, in seconds.
    pub rounds: BTreeMap<i64, String>,
    /// Jobs of distributors that no schedule time accounts for: rounds that were doubled.
    pub strangers: Vec<String>,
}

/// Reads all jobs of a site's distributors, whose first round was due at `first` or later.
pub async fn read(client: &Client, first: Timestamp, last: Timestamp) -> Option<Distributed> {
    let search = Search { filter: Some("action='noop'".to_owned()), last: Some(10_000), ..Search::default() };
    let jobs = client.search("job", &search).await.ok()?.documents;
    let times = first.as_second()..=last.as_second();
    let expected: BTreeMap<String, i64> = times.filter_map(|second| Some((id_of_round(second)?, second))).collect();
    let mut distributed = Distributed::default();
    for job in jobs {
        let id = text(&job, "id").to_owned();
        match expected.get(&id) {
            Some(second) => drop(distributed.rounds.insert(*second, id)),
            None => distributed.strangers.push(id),
        }
    }
    Some(distributed)
}

fn id_of_round(second: i64) -> Option<String> {
    let time = Timestamp::from_second(second).ok()?;
    Some(id_of_key("job", &credentials().username, &format!("{TICK} {time} {TICK_TARGET}")))
}

impl Distributed {
    /// Schedule times between the first and `last` that have no job.
    pub fn missing(&self, last: Timestamp) -> Vec<i64> {
        let Some((first, _)) = self.rounds.first_key_value() else { return vec![last.as_second()] };
        (*first..=last.as_second()).filter(|second| !self.rounds.contains_key(second)).collect()
    }
}
