//! `cargo xtask simulate`: the whole engine in simulated time, for as many seeds as wanted.

use anyhow::{Context, bail};

use crate::commands::{cargo, root, run as succeed};

const USAGE: &str = "cargo xtask simulate --seeds N [--first N]";

/// Runs the simulation; a seed that fails is printed with the place of its trace.
pub fn run(arguments: &[String]) -> anyhow::Result<bool> {
    let (mut seeds, mut first) = (None, 0);
    for pair in arguments.chunks(2) {
        let [flag, number] = pair else { bail!(USAGE) };
        let number: u64 = number.parse().with_context(|| format!("{flag} takes a whole number"))?;
        match flag.as_str() {
            "--seeds" => seeds = Some(number),
            "--first" => first = number,
            _ => bail!(USAGE),
        }
    }
    let Some(seeds) = seeds else { bail!(USAGE) };
    simulate(seeds, first)?;
    Ok(true)
}

/// Simulates so many seeds from the first one on.
pub fn simulate(seeds: u64, first: u64) -> anyhow::Result<()> {
    let mut command = cargo(&root()?);
    command.args(["test", "--release", "--locked", "--package", "slipstream-job-engine", "--test", "simulation"]);
    command.args(["every_promise_holds_whatever_happens", "--", "--nocapture"]);
    command.env("SIMULATION_SEEDS", seeds.to_string()).env("SIMULATION_FIRST", first.to_string());
    succeed(command.env_remove("SIMULATION_SEED"))
}
