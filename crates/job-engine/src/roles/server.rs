//! `slipstream-job server`: serves the API and mends the queue, for executors and distributors that are elsewhere.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ipnet::IpNet;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, ZooKeeper};
use slipstream_store::sqlite::OpenError;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::greeting::{environment_line, notes, start_error};
use super::peers::{coordinator, ensemble, first_contact};
use crate::collections::Collections;
use crate::instance::Instance;
use crate::instance::data_dir::DataDir;
use crate::instance::error::InstanceError;
use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::metrics::{MeasuredCoordinator, Metrics};
use crate::process::owner::{Whose, identity_of};
use crate::process::stop::Stop;
use crate::process::telemetry::{announce, announce_stopping, announce_up};
use crate::server;
use crate::server::http::listen::LAST_REQUESTS;
use crate::server::{Server, StartError};

/// How long the greeting waits for `ZooKeeper`, so that it can say how it is; requests are answered meanwhile.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// How a server runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// The store's file. Its folder is this server's alone: lock, password and endpoint lie in it, as in that of `up`.
    pub store: PathBuf,
    /// Whose word counts when they say who asks: the networks of proxies.
    pub proxies: Vec<IpNet>,
    /// How often a job may be claimed and lost before it is given up.
    pub max_attempts: u32,
    /// Where the queue is.
    pub zookeeper: Settings,
    /// The collections beside those that every server has.
    pub collections: Collections,
    /// What is counted.
    pub metrics: Metrics,
}

/// Serves until `stop`, whether or not `ZooKeeper` can be reached. If that will have nothing to do with this server when
/// it is first asked, as trying again cannot mend, that ends the server.
pub async fn run(options: Options, clock: Clock, activity: Activity, stop: Stop) -> anyhow::Result<()> {
    let ensemble = ensemble(options.zookeeper.clone())?;
    let (folder, file) = folder_and_file(&options.store)?;
    let data_dir = DataDir::open(folder).map_err(with_advice)?;
    let database = (file, options.collections.declared());
    let mut instance = match Instance::open(data_dir, database, Some(options.listen), &activity, &stop).await {
        Err(InstanceError::Open(OpenError::Stopped { .. })) => {
            announce("stopped");
            return Ok(());
        }
        opened => opened.map_err(with_advice)?,
    };
    activity.has_role("server", &options.listen.to_string());
    let started = start(&instance, ensemble, &options, clock, &activity).await;
    let written = started.and_then(|(server, coordinator)| Ok((server, coordinator, instance.write_endpoint()?)));
    let (server, coordinator, endpoint) = match written {
        Ok(written) => written,
        Err(error) => {
            instance.close().await?;
            return Err(error);
        }
    };
    let greeting = |is_reached| greeting(&instance, &options, endpoint.as_deref().unwrap_or_default(), is_reached);
    let greetings = [greeting(true), greeting(false)];
    let proxies = options.proxies.clone();
    let introduced = introduce(&*coordinator, &greetings, &activity, &stop);
    let work = async {
        let (worked, introduced) =
            tokio::join!(instance.work(&server, proxies, JoinSet::new(), &activity, &stop), introduced);
        server.close().await;
        drop(server);
        let closed = instance.close().await;
        introduced?;
        anyhow::Ok(worked.and(closed)?)
    };
    stop.in_time(Duration::ZERO, work).await??;
    announce("stopped");
    Ok(())
}

/// The server, and its coordinator: the queue of its own store in the ensemble.
async fn start(
    instance: &Instance,
    ensemble: ZooKeeper,
    options: &Options,
    clock: Clock,
    activity: &Activity,
) -> anyhow::Result<(Server, Arc<dyn Coordinator>)> {
    let store = instance.store();
    let identity = identity_of(&*store).await.map_err(StartError::Identity)?;
    let ensemble = MeasuredCoordinator::new(ensemble, options.metrics.clone());
    let (coordinator, zookeeper) = coordinator(ensemble, &options.zookeeper.hosts, Whose::Server(identity));
    activity.needs([zookeeper]);
    let server_options = server::Options {
        password: instance.password().secret().clone(),
        max_attempts: options.max_attempts,
        writers: server::Writers::One,
        coordinator_forgets: false,
        collections: options.collections.clone(),
        metrics: options.metrics.clone(),
    };
    let server = Server::start(store, coordinator.clone(), clock, server_options).await?;
    Ok((server, coordinator))
}

/// Greets, and waits for the stop, which it asks for itself if `ZooKeeper` will have nothing to do with this server.
async fn introduce(
    coordinator: &dyn Coordinator,
    greetings: &[String; 2],
    activity: &Activity,
    stop: &Stop,
) -> anyhow::Result<()> {
    let contact = tokio::select! {
        biased;
        () = stop.asked() => Ok(()),
        contact = greet(first_contact(coordinator), greetings, activity) => contact,
    };
    if contact.is_err() {
        stop.ask_at_once();
    } else {
        stop.asked().await;
        // the last requests are waited for by others
        announce_stopping(activity, "open requests", LAST_REQUESTS);
    }
    contact
}

/// Greets once it is known whether `ZooKeeper` answers, or after a moment, and waits on until it does.
async fn greet(
    contact: impl Future<Output = anyhow::Result<()>>,
    greetings: &[String; 2],
    activity: &Activity,
) -> anyhow::Result<()> {
    let [is_reached, is_out_of_reach] = greetings;
    let mut contact = pin!(contact);
    if let Ok(made) = timeout(FIRST_LOOK, &mut contact).await {
        return made.map(|()| announce_up(activity, is_reached));
    }
    announce_up(activity, is_out_of_reach);
    contact.await
}

fn folder_and_file(store: &Path) -> anyhow::Result<(&Path, &Path)> {
    let file = store.file_name().with_context(|| format!("{} is not the name of a file", store.display()))?;
    let folder = store.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), Path::new(file)))
}

fn with_advice(error: InstanceError) -> anyhow::Error {
    start_error(error, "choose a --store in another folder")
}

fn greeting(instance: &Instance, options: &Options, endpoint: &str, is_reached: bool) -> String {
    let hosts = &options.zookeeper.hosts;
    let reached = if is_reached { "" } else { " (unreachable: jobs are stored, and queued once it answers)" };
    let mut lines = vec![format!(
        "slipstream-job {} server is up
  API           {endpoint}/api/cloud-entry-point
  dashboard     {endpoint}/ui/
  user          {ADMINISTRATOR}
  password      {}
  store         {}
  ZooKeeper     {hosts}{reached}",
        env!("CARGO_PKG_VERSION"),
        instance.password().place(),
        options.store.display(),
    )];
    lines.extend(notes(options.listen, &options.proxies));
    let program = std::env::args().next().unwrap_or_else(|| "slipstream-job".to_owned());
    let place = environment_line(instance.data_dir()).unwrap_or_default();
    lines.push(format!("Ctrl-C stops it. In another terminal:{place}\n  {program} jobs"));
    lines.join("\n")
}
