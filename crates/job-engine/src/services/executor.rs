//! `slipstream-job executor`: does jobs of a server that is elsewhere.

use std::time::Duration;

use slipstream_action::Catalogue;

use super::peers::Peers;
use super::until_stopped;
use crate::clock::Clock;
use crate::executor;
use crate::stop::Stop;
use crate::telemetry::say;

/// How an executor runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// For people; need not be unique.
    pub name: String,
    /// How many jobs at once.
    pub threads: usize,
    /// How long running actions may go on after a stop was asked for.
    pub grace: Duration,
    /// How long the server may be out of reach before a job is given back.
    pub cimi_grace: Duration,
    /// Servers of Elasticsearch, for actions that ask it themselves; none of the built-in ones does.
    pub elasticsearch: Vec<String>,
}

/// Runs until `stop`, with the actions of `catalogue`.
pub async fn run(options: Options, peers: Peers, catalogue: Catalogue, clock: Clock, stop: Stop) -> anyhow::Result<()> {
    if !peers.answer(&stop).await? {
        return Ok(());
    }
    let Options { name, threads, grace, cimi_grace, .. } = options;
    let mut actions: Vec<&str> = catalogue.names().collect();
    actions.sort_unstable();
    say(&format!(
        "slipstream-job {} executor {name} is up\n{}\n  jobs at once  {threads}\n  actions       {}",
        env!("CARGO_PKG_VERSION"),
        peers.told(),
        actions.join(", "),
    ));
    let options = executor::Options { name, threads, grace, cimi_grace, clock };
    let work = executor::run(options, peers.coordinator(), peers.client(), catalogue, stop.clone());
    until_stopped(work, "running jobs", grace, &stop).await
}
