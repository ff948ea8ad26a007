//! `slipstream-job backup`: a copy of the store, beside a running server or without one.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use slipstream_store::sqlite::{BackupError, backup};

use super::options::{self, parse_store};
use super::{example, terminal};
use crate::instance::data_dir::{DATABASE, TAKEN};

#[derive(Debug, Args)]
#[command(after_help = example!(
    "The copy is one checked file that only its owner can read: it holds password\n\
     hashes. To restore it, stop the server, replace jobs.db with it, and remove\n\
     jobs.db-wal and jobs.db-shm.",
    "slipstream-job backup jobs-2026-11-24.db"
))]
pub struct BackupArguments {
    /// File to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[arg(
        long,
        value_name = "DIR",
        help = "Data directory of `up` [env: SLIPSTREAM_DATA_DIR] [default: ~/.local/share/slipstream-job]"
    )]
    data_dir: Option<PathBuf>,
    /// Where `server` keeps documents: sqlite:PATH
    #[arg(long, value_name = "STORE", value_parser = parse_store, conflicts_with = "data_dir")]
    store: Option<PathBuf>,
    /// Replace FILE if it is an older backup
    #[arg(long)]
    overwrite: bool,
}

/// Copies the store, and says what is in the copy.
pub async fn run(arguments: BackupArguments) -> anyhow::Result<()> {
    let BackupArguments { file, data_dir, store, overwrite } = arguments;
    let store = match store {
        Some(store) => store,
        None => options::data_dir(data_dir)?.join(DATABASE),
    };
    let (from, to) = (store.clone(), file.clone());
    let copied = tokio::task::spawn_blocking(move || backup(&from, &to, overwrite, &TAKEN))
        .await
        .context("the backup crashed")?;
    let copied = match copied {
        Err(BackupError::Exists { path }) => {
            bail!("{} exists: choose another file, or replace a backup with --overwrite", path.display())
        }
        Err(BackupError::Missing { path }) => {
            bail!("there is no database {}: name it with --data-dir or --store", path.display())
        }
        copied => copied?,
    };
    let (store, file) = (store.display(), file.display());
    terminal::print(&format!("backed up {store} to {file}: {} jobs, {} bytes, checked", copied.jobs, copied.bytes))
}
