//! Jobs in a second, and what one costs.

use tokio::process::Command;
use tokio::task::JoinSet;

use super::SLOTS;
use super::processes::{Each, Used};
use super::world::World;
use crate::figures::{Figure, Report};

/// What is promised.
const PYTHON: f64 = 5_000.0;
const RUST: f64 = 10_000.0;
/// Or so much of the native rate.
const RUST_OF_NATIVE: f64 = 0.8;
/// Processor time of a job in Python above that of a native one, in milliseconds.
const ABOVE_NATIVE: f64 = 0.15;
/// Of so many jobs one is done as a command.
const COMMANDS: u64 = 20;

pub async fn run(report: &mut Report, world: &World, jobs: u64, runs: usize) -> anyhow::Result<()> {
    let commands = jobs / COMMANDS;
    Report::about(&format!(
        "{jobs} no-op jobs queued beforehand, {SLOTS} slots, hosts of two processes; {commands} of `true` as a command, and \
         as many processes of `true` without keeper or job, {SLOTS} at once. cpu: engine; programs: keepers and theirs"
    ));
    let mut all: [Vec<Each>; 5] = Default::default();
    for _ in 0..runs {
        all[0].push(world.drain("native", jobs).await?);
        all[1].push(world.drain("python", jobs).await?);
        all[2].push(world.drain("rust", jobs).await?);
        all[3].push(world.drain("command", commands).await?);
        all[4].push(bare(commands).await?);
    }
    let [native, python, rust, command, bare] = all;
    let whole = |each: &Each| each.engine + each.programs;
    let above = |each: &[Each]| each.iter().zip(&native).map(|(each, native)| whole(each) - whole(native)).collect();
    let native_rate = Figure::new("native", "jobs/s", native.iter().map(|each| each.rate).collect()).median;
    add(report, "native", &native, None, None);
    add(report, "python", &python, Some(PYTHON), Some(("native", native_rate)));
    report.add(Figure::new("python cpu above native", "ms/job", above(&python)).at_most(ABOVE_NATIVE));
    let promised = RUST.min(native_rate * RUST_OF_NATIVE);
    add(report, "rust", &rust, Some(promised), Some(("native", native_rate)));
    report.add(Figure::new("rust cpu above native", "ms/job", above(&rust)));
    let bare_rate = Figure::new("bare", "jobs/s", bare.iter().map(|each| each.rate).collect()).median;
    add(report, "command", &command, None, Some(("bare program", bare_rate)));
    add(report, "bare program", &bare, None, None);
    Ok(())
}

fn add(report: &mut Report, name: &str, runs: &[Each], promised: Option<f64>, of: Option<(&str, f64)>) {
    let figures = |figure: fn(&Each) -> f64| runs.iter().map(figure).collect::<Vec<_>>();
    let mut rate = Figure::new(name, "jobs/s", figures(|each| each.rate));
    if let Some(promised) = promised {
        rate = rate.at_least(promised);
    }
    if let Some((other, median)) = of {
        rate = rate.of(other, median);
    }
    report.add(rate);
    report.add(Figure::new(format!("{name} cpu"), "ms/job", figures(|each| each.engine)));
    report.add(Figure::new(format!("{name} cpu of programs"), "ms/job", figures(|each| each.programs)));
}

/// The program that the command is, so many times.
async fn bare(programs: u64) -> anyhow::Result<Each> {
    let begin = Used::now()?;
    let (mut running, mut left) = (JoinSet::new(), programs);
    while left > 0 || !running.is_empty() {
        while left > 0 && running.len() < SLOTS {
            left -= 1;
            running.spawn(async { Command::new("true").status().await });
        }
        if let Some(ended) = running.join_next().await {
            anyhow::ensure!(ended??.success(), "true failed");
        }
    }
    Ok(begin.each_until(Used::now()?, programs))
}
