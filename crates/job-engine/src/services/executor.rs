//! `slipstream-job executor`: does jobs of a server that is elsewhere.

use slipstream_action::Catalogue;

use super::peers::Peers;
use super::until_stopped;
use crate::executor::{self, Options};
use crate::stop::Stop;
use crate::telemetry::say;

/// Runs until `stop`, with the actions of `catalogue`.
pub async fn run(options: Options, peers: Peers, catalogue: Catalogue, stop: Stop) -> anyhow::Result<()> {
    if !peers.answer(&stop).await? {
        return Ok(());
    }
    let Options { name, threads, grace, .. } = &options;
    let grace = *grace;
    let mut actions: Vec<&str> = catalogue.names().collect();
    actions.sort_unstable();
    say(&format!(
        "slipstream-job {} executor {name} is up\n{}\n  jobs at once  {threads}\n  actions       {}",
        env!("CARGO_PKG_VERSION"),
        peers.told(),
        actions.join(", "),
    ));
    let work = executor::run(options, peers.coordinator(), peers.client(), catalogue, stop.clone());
    until_stopped(work, "running jobs", grace, &stop).await
}
