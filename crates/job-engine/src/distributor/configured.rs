//! [`Configured`]: a distributor that is configuration, not code.

use async_trait::async_trait;
use slipstream_cimi::Client;

use super::Distributor;
use super::fan_out::{FanOut, JobTemplate, Plan};
use super::rounds::Missed;
use super::schedule::Schedule;

/// Adds a job each round, or one for each document of a search. `default-config.toml` has the built-in ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured {
    /// What its high-water mark and the keys of its jobs are named after.
    pub name: String,
    /// Name of the election in which it stands.
    pub election: String,
    /// What its jobs are.
    pub job: JobTemplate,
    /// Which documents they are for; none of one that adds one job each round.
    pub for_each: Option<FanOut>,
    /// When its rounds are due.
    pub schedule: Schedule,
    /// What becomes of missed rounds.
    pub missed: Missed,
}

#[async_trait]
impl Distributor for Configured {
    fn name(&self) -> &str {
        &self.name
    }

    fn election(&self) -> &str {
        &self.election
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn missed(&self) -> Missed {
        self.missed
    }

    fn spread(&self) -> Option<f64> {
        self.for_each.as_ref().and_then(|for_each| for_each.spread)
    }

    async fn plan(&self, client: &Client) -> Result<Plan, slipstream_cimi::Error> {
        match &self.for_each {
            Some(for_each) => for_each.plan(&self.job, client).await,
            None => Ok(self.job.alone()),
        }
    }
}
