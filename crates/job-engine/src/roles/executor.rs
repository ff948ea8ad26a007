//! `slipstream-job executor`: does jobs of a server that is elsewhere.

use slipstream_action::Catalogue;

use super::peers::Peers;
use super::until_stopped;
use crate::executor;
use crate::executor::Options;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;
use crate::process::telemetry::announce;

/// Runs until `stop`, with the actions of `catalogue`.
pub async fn run(options: Options, peers: Peers, catalogue: Catalogue, stop: Stop) -> anyhow::Result<()> {
    if !peers.answer(&stop).await? {
        return Ok(());
    }
    let Options { name, threads, grace, .. } = &options;
    let grace = *grace;
    let mut actions: Vec<&str> = catalogue.names().collect();
    actions.sort_unstable();
    announce(&format!(
        "slipstream-job {} executor {name} is up\n{}\n  jobs at once  {threads}\n  actions       {}",
        env!("CARGO_PKG_VERSION"),
        peers.summary(),
        actions.join(", "),
    ));
    let (coordinator, client, asked) = (peers.coordinator(), peers.client(), stop.clone());
    let work = supervise("executor", stop.clone(), move || {
        executor::run(options.clone(), coordinator.clone(), client.clone(), catalogue.clone(), asked.clone())
    });
    until_stopped(work, "running jobs", grace, &stop).await
}
