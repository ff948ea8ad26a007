//! `slipstream-job executor`: does jobs of a server that is elsewhere.

use std::future::ready;
use std::sync::Arc;

use anyhow::Context as _;
use slipstream_action::Catalogue;
use slipstream_action::protocol::Setup;

use super::peers::Peers;
use super::until_stopped;
use crate::executor;
use crate::executor::Options;
use crate::executor::load::settings::Loading;
use crate::executor::providers::Providers;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;
use crate::process::telemetry::announce_up;
use crate::programs::context::Context;
use crate::programs::keepers::Keepers;
use crate::programs::python::write_package;

/// What an executor has beside the actions of this program.
pub struct Programs {
    /// Where they come from.
    pub loading: Loading,
    /// Who keeps them.
    pub keepers: Keepers,
    /// Elasticsearch servers, for actions that ask them.
    pub elasticsearch: Vec<String>,
}

/// Runs until `stop`, with the actions of `catalogue`, and with those of `programs`.
pub async fn run(
    options: Options,
    peers: Peers,
    catalogue: Catalogue,
    programs: Programs,
    stop: Stop,
) -> anyhow::Result<()> {
    let activity = options.activity.clone();
    activity.has_role("executor", &options.name);
    if !peers.answer("executor", &activity, &stop).await? {
        return Ok(());
    }
    let Options { name, threads, grace, .. } = &options;
    let grace = *grace;
    let Programs { loading, keepers, elasticsearch } = programs;
    let context = Context::open(loading.work_dir.as_deref(), keepers, name.clone())?;
    let setup = Setup {
        url: peers.endpoint().to_owned(),
        insecure: peers.is_insecure(),
        es_hosts: elasticsearch,
        ..context.setup(*threads)
    };
    let package = write_package(context.work_dir.path())
        .context("cannot write the Python package for actions, check the folder given by --work-dir")?;
    let providers = Providers::start(&loading, package, &catalogue, &Arc::new(context), &setup);
    tokio::select! {
        // until then it is not known which actions there are
        () = providers.settled() => {}
        () = stop.asked() => {}
    }
    let offered = providers.offered();
    let (hosts, counted) = (providers.hosts(), options.metrics.executor());
    options.metrics.refresh_by(move || {
        counted.has_hosts(hosts.processes());
        Box::pin(ready(()))
    });
    let drains = activity.clone();
    options.metrics.health().needs("executor", move || {
        Box::pin(ready(if drains.is_draining() { Err("draining".to_owned()) } else { Ok(()) }))
    });
    announce_up(
        &activity,
        &format!(
            "slipstream-job {} executor {name} is up\n{}\n  jobs at once  {threads}\n  actions       {}",
            env!("CARGO_PKG_VERSION"),
            peers.summary(),
            offered.names().join(", "),
        ),
    );
    let (coordinator, client, asked) = (peers.coordinator(), peers.client(), stop.clone());
    let work = supervise("executor", stop.clone(), move || {
        executor::run(options.clone(), coordinator.clone(), client.clone(), offered.clone(), asked.clone())
    });
    let ended = until_stopped(work, "running jobs", grace, &activity, &stop).await;
    providers.stop().await;
    ended
}
