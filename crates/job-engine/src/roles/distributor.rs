//! `slipstream-job distributor NAME`: adds jobs of one kind to a server that is elsewhere, while it is elected to.

use std::sync::Arc;

use super::peers::Peers;
use super::until_stopped;
use crate::distributor;
use crate::distributor::Deps;
use crate::distributor::configured::Configured;
use crate::distributor::marks::NodeMarks;
use crate::process::clock::Clock;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;
use crate::process::telemetry::announce;

/// Runs until `stop`; `name` is what this process is called in elections.
pub async fn run(distributor: Configured, name: String, peers: Peers, clock: Clock, stop: Stop) -> anyhow::Result<()> {
    if !peers.answer(&stop).await? {
        return Ok(());
    }
    announce(&format!(
        "slipstream-job {} distributor {} is up\n{}\n  stands as     {name}\n  election      {}\n  schedule      {}",
        env!("CARGO_PKG_VERSION"),
        distributor.name,
        peers.summary(),
        distributor.election,
        distributor.schedule,
    ));
    let coordinator = peers.coordinator();
    let marks = Arc::new(NodeMarks::new(coordinator.clone()));
    let deps = Deps { coordinator, client: peers.client(), marks, clock, name };
    let (distributor, asked) = (Arc::new(distributor), stop.clone());
    let work = supervise(format!("distributor {}", distributor.name), stop.clone(), move || {
        distributor::lead_and_distribute(distributor.clone(), deps.clone(), asked.clone())
    });
    until_stopped(work, "the current round", distributor::GRACE, &stop).await
}
