//! How soon an action ends that is stopped, and what is left after an executor was killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::alone::milliseconds;
use super::folder::GRACE_SECONDS;
use super::processes::{descendants, is_alive, until};
use super::world::World;
use crate::figures::{Figure, Report};

/// What is promised, in milliseconds: of a sleeping action, of one that ignores it (and its grace), of a killed executor's.
const SLEEPING: f64 = 200.0;
const IGNORING: f64 = 1_000.0;
const KILLED: f64 = 1_000.0;
/// What a killed executor said before.
const READY: &str = "ready";

pub async fn run(report: &mut Report, world: &World, runs: usize) -> anyhow::Result<()> {
    Report::about(&format!(
        "from the request to stop a job to the action's end: a Python action that sleeps; a command that ignores SIGTERM for \
         {GRACE_SECONDS} s of grace, with all that descends from it; from `kill -9` of an executor to the end of both"
    ));
    let (mut sleeping, mut ignoring, mut killed) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        sleeping.push(sleeper(world).await?);
        ignoring.push(stubborn(world).await?);
        killed.push(executor_killed(&world.loading.python).await?);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds of grace")]
    let grace = GRACE_SECONDS as f64 * 1_000.0;
    report.add(Figure::new("sleeping Python action stopped", "ms", sleeping).at_most(SLEEPING));
    report.add(Figure::new("command that ignores it gone", "ms", ignoring).at_most(grace + IGNORING));
    report.add(Figure::new("all gone after kill -9", "ms", killed).at_most(KILLED));
    Ok(())
}

async fn sleeper(world: &World) -> anyhow::Result<f64> {
    let job = begin(world, "sleeper").await?;
    let ended = world.folder.join("sleeper-ended");
    let begin = Instant::now();
    world.stop_job(&job).await?;
    until("a sleeping action ends", || ended.exists()).await?;
    let took = begin.elapsed();
    fs::remove_file(ended)?;
    Ok(milliseconds(took))
}

async fn stubborn(world: &World) -> anyhow::Result<f64> {
    let before = descendants(std::process::id());
    let job = begin(world, "stubborn").await?;
    let of_job: Vec<u32> = descendants(std::process::id()).difference(&before).copied().collect();
    anyhow::ensure!(of_job.len() >= 3, "a keeper and two shells run");
    let begin = Instant::now();
    world.stop_job(&job).await?;
    until("an action that ignores SIGTERM is gone", || !of_job.iter().any(|pid| is_alive(*pid))).await?;
    Ok(milliseconds(begin.elapsed()))
}

/// Adds a job and waits until its action runs.
async fn begin(world: &World, action: &str) -> anyhow::Result<String> {
    let begun = world.folder.join(format!("{action}-begun"));
    let job = world.submit(action).await?;
    until("an action begins", || begun.exists()).await?;
    fs::remove_file(begun)?;
    Ok(job)
}

/// An executor in a process of its own is killed while it does jobs.
async fn executor_killed(python: &Path) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    let mut executor =
        command.args(["hosts", "victim"]).arg(folder.path()).arg(python).stdout(Stdio::piped()).spawn()?;
    let output = executor.stdout.take().map(BufReader::new);
    let said = tokio::task::spawn_blocking(move || output.and_then(|output| output.lines().next())).await?;
    let programs = descendants(executor.id());
    let begin = Instant::now();
    executor.kill()?;
    executor.wait()?;
    let gone = until("all is gone", || !programs.iter().any(|pid| is_alive(*pid))).await;
    let took = begin.elapsed();
    gone?;
    anyhow::ensure!(said.transpose()?.as_deref() == Some(READY), "the executor does not start");
    anyhow::ensure!(programs.len() >= 6, "its programs ran");
    Ok(milliseconds(took))
}

/// The executor that is killed.
pub async fn be_killed(folder: &Path, python: PathBuf) -> anyhow::Result<()> {
    let world = World::start(folder, python).await?;
    begin(&world, "sleeper").await?;
    begin(&world, "stubborn").await?;
    println!("{READY}");
    std::future::pending().await
}
