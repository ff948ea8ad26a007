//! [`Product`]: what is measured, and what it needs.

use std::path::PathBuf;

use clap::ValueEnum;
use tokio::process::Command;

use super::Options;
use super::servers::Kind;

/// A job engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Product {
    #[value(skip)]
    Ours,
    /// Graphile Worker in batch mode, on `PostgreSQL`
    Graphile,
    /// River, on `PostgreSQL`
    River,
    /// asynq, on a Redis that writes each change to the disk before it answers
    Asynq,
    /// asynq, on a Redis that writes to the disk each second, and may lose that much
    AsynqMemory,
}

/// A product that can be measured.
#[derive(Clone, Debug)]
pub struct Contestant {
    pub product: Product,
    program: Vec<PathBuf>,
    /// None if its program keeps the jobs itself.
    pub server: Option<Kind>,
}

impl Product {
    /// Measured unless somebody says otherwise.
    pub const PEERS: [Self; 3] = [Self::Graphile, Self::River, Self::Asynq];

    /// As the figures and `--peers` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Graphile => "graphile",
            Self::River => "river",
            Self::Asynq => "asynq",
            Self::AsynqMemory => "asynq-memory",
        }
    }
}

impl Contestant {
    /// Ours, which is this program.
    pub fn ours() -> anyhow::Result<Self> {
        let program = vec![std::env::current_exe()?, "peers".into(), "obey".into()];
        Ok(Self { product: Product::Ours, program, server: None })
    }

    /// None if it is not installed.
    pub fn peer(product: Product, options: &Options) -> Option<Self> {
        let postgres = || options.postgres.clone().map(Kind::Postgres);
        let redis = |sync| options.redis.clone().map(|program| Kind::Redis(program, sync));
        let (program, server) = match product {
            Product::Ours => return None,
            Product::Graphile => (vec!["node".into(), options.graphile.clone()?], postgres()?),
            Product::River => (vec![options.river.clone()?], postgres()?),
            Product::Asynq => (vec![options.asynq.clone()?], redis("always")?),
            Product::AsynqMemory => (vec![options.asynq.clone()?], redis("everysec")?),
        };
        Some(Self { product, program, server: Some(server) })
    }

    /// Its program, which is to keep jobs there.
    pub fn command(&self, place: &str) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg(place);
        command
    }
}
