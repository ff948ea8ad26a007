//! `slipstream-job queue adopt`: gives a folder of `ZooKeeper` to another store than the one whose queue it is.

use anyhow::{Context, bail};
use clap::Args;
use slipstream_coordination::session::existing;
use slipstream_coordination::{Coordinator, ZooKeeper};
use uuid::Uuid;

use super::options::zookeeper::ZooKeeperArguments;
use super::spinner::Spinner;
use super::terminal::{self, one_line};
use super::{example, secrets};
use crate::process::{owner, paths};

/// To which store, and where.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "For a new store that takes over the folder of one that is gone for good. Executors drop the entries of jobs that \
     the new store does not know. A copied or restored store does not need this: it keeps its identity.",
    "slipstream-job queue adopt 6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
))]
pub struct AdoptArguments {
    /// Identity of the store, as in its server's error
    #[arg(value_name = "STORE")]
    store: Uuid,
    /// Do it; without this, only print what would be done
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    zookeeper: ZooKeeperArguments,
}

/// Makes the folder carry this store's identity. Servers and executors of the store before stop working with it.
pub async fn run(arguments: AdoptArguments) -> anyhow::Result<()> {
    let settings = arguments.zookeeper.settings(secrets::zookeepers())?;
    let (hosts, store) = (settings.hosts.clone(), arguments.store.to_string());
    let zookeeper = ZooKeeper::new(settings).context("invalid ZooKeeper options")?;
    let session = Spinner::on("asking ZooKeeper").during(zookeeper.connect()).await?;
    let before = owner::carried(&*session).await?;
    let was = before.as_deref().map_or_else(|| "of no store".to_owned(), |before| format!("of the store {before}"));
    if before.as_deref() == Some(&*store) {
        session.close().await;
        return terminal::print(&format!("the folder at {} already is the queue of this store", one_line(&hosts)));
    }
    let entries = existing(session.children(paths::ENTRIES).await)?.unwrap_or_default().len();
    if !arguments.yes {
        session.close().await;
        bail!(
            "nothing changed yet: the folder at {hosts} is the queue {was}, with {entries} entries; its servers and \
             executors would stop working with it. Add --yes to assign it to the store {store}"
        );
    }
    owner::adopt(&*session, &store).await.context("cannot assign the folder")?;
    session.close().await;
    terminal::print(&format!(
        "the folder at {} was the queue {was}, and is that of the store {store} now: start its server",
        one_line(&hosts)
    ))
}
