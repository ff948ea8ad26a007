//! Server, executor and distributor as processes of their own, which meet at a `ZooKeeper` ensemble.
//!
//! [`server`] serves whether or not the ensemble answers. [`executor`] and [`distributor`] begin once ensemble and
//! server have both taken them: until then what cannot become right by itself, such as a wrong password, ends them, and
//! later on nothing does. `contact` says in the log when one of the two comes or goes.

mod contact;
pub mod distributor;
pub mod executor;
mod greeting;
mod measured;
pub mod peers;
pub mod server;
pub mod up;

use std::time::Duration;

use anyhow::{Context, bail};

use crate::process::activity::Activity;
use crate::process::stop::Stop;
use crate::process::telemetry::{announce, announce_stopping};

/// Lets `work` go on until the stop, and then to its end; `what` of it may take as long as `grace`.
async fn until_stopped(
    work: impl Future<Output = ()> + Send + 'static,
    what: &'static str,
    grace: Duration,
    activity: &Activity,
    stop: &Stop,
) -> anyhow::Result<()> {
    let mut work = tokio::spawn(work);
    tokio::select! {
        biased;
        () = stop.asked() => {}
        ended = &mut work => {
            ended.context("the service crashed, see its log")?;
            bail!("the service ended unexpectedly, see its log");
        }
    }
    announce_stopping(activity, what, grace);
    stop.in_time(grace, work).await?.context("the service crashed, see its log")?;
    announce("stopped");
    Ok(())
}
