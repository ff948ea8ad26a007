//! The benchmarks of the engine, as `cargo xtask bench` runs them.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is no part of the product, and may end where nothing can be written"
)]

mod arrays;
mod dashboard;
mod embedded;
mod figures;
mod hosts;
mod peers;
mod query;
mod zookeeper;

use std::process::ExitCode;

use clap::Parser;

/// As `slipstream-job` does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
enum Benchmark {
    /// How long searches take in a store with very many jobs
    Query(query::Options),
    /// What an engine in one process does in a second, and what that costs
    #[command(subcommand)]
    Embedded(embedded::Task),
    /// What actions cost that are programs
    #[command(subcommand)]
    Hosts(hosts::Task),
    /// What a site over a real `ZooKeeper` does in a second, and what that costs
    #[command(subcommand)]
    Zookeeper(zookeeper::Task),
    /// What the dashboard costs, and how soon its pages are there
    #[command(subcommand)]
    Dashboard(dashboard::Task),
    /// Other job engines beside this one
    #[command(subcommand)]
    Peers(peers::Task),
}

fn main() -> anyhow::Result<ExitCode> {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == hosts::HOST) {
        return Ok(hosts::serve());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match Benchmark::parse() {
            Benchmark::Query(options) => query::run(options).await,
            Benchmark::Embedded(task) => embedded::perform(task).await,
            Benchmark::Hosts(task) => hosts::perform(task).await,
            Benchmark::Zookeeper(task) => zookeeper::perform(task).await,
            Benchmark::Dashboard(task) => dashboard::perform(task).await,
            Benchmark::Peers(task) => peers::perform(task).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
