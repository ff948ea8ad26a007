//! [`Configured`]: a distributor that is configuration, not code.

use async_trait::async_trait;
use slipstream_cimi::Client;
use slipstream_cimi::job::NewJob;

use super::Distributor;
use super::rounds::Missed;
use super::schedule::Schedule;

/// Adds one and the same job each round. `default-config.toml` has the built-in ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured {
    /// What its high-water mark and the keys of its jobs are named after.
    pub name: String,
    /// Name of the election in which it stands.
    pub election: String,
    /// Action of its jobs.
    pub action: String,
    /// What its jobs work on.
    pub target: Option<String>,
    /// Priority of its jobs, 0 (first) to 999 (last).
    pub priority: Option<u16>,
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

    async fn jobs(&self, _client: &Client) -> Result<Vec<NewJob>, slipstream_cimi::Error> {
        Ok(vec![NewJob { action: self.action.clone(), target: self.target.clone(), priority: self.priority }])
    }
}
