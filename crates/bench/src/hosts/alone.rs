//! One job after the other, with nothing else at work, and what a keeper adds.

use std::process::Stdio;
use std::time::{Duration, Instant};

use slipstream_job_engine::internals::keeper::{KEEP, SMALL_HEAP};
use tokio::process::Command;

use super::processes::{descendants, name, private};
use super::world::World;
use crate::figures::{Figure, Report, median};

/// Jobs of each kind in each turn.
const JOBS: usize = 40;
/// What is promised: of a command above the bare program, in milliseconds, and of a keeper in milliseconds and MiB.
const COMMAND_ABOVE: f64 = 6.0;
const KEEPER_ADDS: f64 = 3.0;
const KEEPER_PRIVATE: f64 = 1.0;
/// What lists of processes call a keeper.
const KEEPER_NAME: &str = "slipstream-keep";
const KINDS: [&str; 4] = ["native", "rust", "python", "command"];

pub async fn run(report: &mut Report, world: &World, runs: usize) -> anyhow::Result<()> {
    Report::about(&format!(
        "one job after the other, from before its add to its final state, medians of {JOBS}; kept: the bare program under a \
         keeper, without a job"
    ));
    let mut medians: [Vec<f64>; 6] = Default::default();
    for _ in 0..runs {
        let mut times: [Vec<f64>; 6] = Default::default();
        for _ in 0..JOBS {
            for (kind, times) in KINDS.into_iter().zip(&mut times) {
                let begin = Instant::now();
                let job = world.submit(kind).await?;
                world.wait(&job).await?;
                times.push(milliseconds(begin.elapsed()));
            }
            times[4].push(started(&mut Command::new("true")).await?);
            times[5].push(started(&mut kept(world)).await?);
        }
        for (medians, times) in medians.iter_mut().zip(&times) {
            medians.push(median(times));
        }
    }
    let difference = |one: usize, other: usize| {
        medians[one].iter().zip(&medians[other]).map(|(one, other)| one - other).collect::<Vec<_>>()
    };
    for (kind, medians) in KINDS.into_iter().zip(&medians) {
        report.add(Figure::new(format!("one {kind} job"), "ms", medians.clone()));
    }
    report.add(Figure::new("one bare program", "ms", medians[4].clone()));
    report.add(Figure::new("one kept program", "ms", medians[5].clone()));
    report.add(Figure::new("command above bare program", "ms", difference(3, 4)).at_most(COMMAND_ABOVE));
    report.add(Figure::new("keeper's time", "ms", difference(5, 4)).at_most(KEEPER_ADDS));
    memory(report)
}

/// Of the processes that now wait for jobs.
fn memory(report: &mut Report) -> anyhow::Result<()> {
    let (mut keepers, mut programs) = (Vec::new(), Vec::new());
    for pid in descendants(std::process::id()) {
        match name(pid).as_str() {
            KEEPER_NAME => keepers.push(private(pid)?),
            name if name.starts_with("python") => programs.push(private(pid)?),
            _ => {}
        }
    }
    anyhow::ensure!(keepers.len() > 1 && !programs.is_empty(), "no host waits for jobs");
    report.add(Figure::new("keeper's private memory", "MiB", keepers).at_most(KEEPER_PRIVATE));
    report.add(Figure::new("Python host's private memory", "MiB", programs));
    Ok(())
}

fn kept(world: &World) -> Command {
    let mut command = Command::new(&world.keeper);
    let executor = std::process::id().to_string();
    command.args([KEEP, &executor, "-", "/dev/null", "true"]).env(SMALL_HEAP.0, SMALL_HEAP.1);
    command.process_group(0).stdout(Stdio::null());
    command
}

/// How long a program takes that ends at once.
async fn started(command: &mut Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let status = command.stdin(Stdio::null()).status().await?;
    anyhow::ensure!(status.success(), "a program that does nothing: {status}");
    Ok(milliseconds(begin.elapsed()))
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
