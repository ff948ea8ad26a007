//! One measurement of one product, in processes of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};

use super::cpu::used;
use super::product::Contestant;
use super::program::{Answer, Program};
use super::servers::Server;
use crate::embedded::load::{ARRAY, SUBMITTERS};
use crate::embedded::process::Spent;
use crate::figures::percentile;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measurement {
    /// So many jobs that wait.
    Drain { jobs: u64 },
    /// Jobs added one at a time.
    Submit { submitters: usize, jobs: u64 },
    /// Jobs added in arrays.
    Bulk { jobs: u64 },
    /// The wait of single jobs.
    Pickup { jobs: u64 },
}

/// The two figures of a measurement.
pub type Seen = [f64; 2];

/// A product at work: a program, and the server that keeps its jobs.
struct Scene<'a> {
    contestant: &'a Contestant,
    server: Option<Server>,
    place: String,
}

impl Measurement {
    /// The name of the option and of the figures.
    pub fn name(self) -> String {
        match self {
            Self::Drain { jobs } => format!("drain-{jobs}"),
            Self::Submit { submitters, .. } => format!("submit {submitters}"),
            Self::Bulk { .. } => "bulk-add".to_owned(),
            Self::Pickup { .. } => "pickup".to_owned(),
        }
    }

    /// What its two figures are called, behind the name, and their units.
    pub fn figures(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Drain { .. } | Self::Bulk { .. } => [("", "jobs/s"), (" cpu", "ms/job")],
            Self::Submit { .. } => [("", "adds/s"), (" cpu", "ms/add")],
            Self::Pickup { .. } => [(" p50", "ms"), (" p99", "ms")],
        }
    }

    /// For people.
    pub fn about(self) -> String {
        let name = self.name();
        match self {
            Self::Drain { jobs } => format!(
                "{name}: {jobs} jobs queued beforehand, from the start of the workers until all are done and that is \
                 stored; cpu of the product's processes together, database servers and all"
            ),
            Self::Submit { submitters, jobs } => format!(
                "{name}: {jobs} jobs added one at a time by each of {submitters} submitters, each add awaited, no workers"
            ),
            Self::Bulk { jobs } => format!(
                "{name}: {jobs} jobs in arrays of {ARRAY}, one at a time by each of {SUBMITTERS} submitters, no workers"
            ),
            Self::Pickup { jobs } => format!(
                "{name}: {jobs} adds, each after the one before is done, from before the add to the start of its run"
            ),
        }
    }

    /// None if the product has no way to do this; its reason is printed.
    pub async fn of(self, contestant: &Contestant, folder: &Path) -> anyhow::Result<Option<Seen>> {
        let scene = Scene::set(contestant, folder).await?;
        let seen = self.at(&scene).await;
        scene.end().await?;
        seen
    }

    async fn at(self, scene: &Scene<'_>) -> anyhow::Result<Option<Seen>> {
        let mut program = scene.program()?;
        program.ask("prepare").await?;
        let submitters = if let Self::Submit { submitters, .. } = self { submitters } else { SUBMITTERS };
        program.ask(&format!("open {submitters}")).await?;
        if let Self::Drain { jobs } = self {
            program.ask(&format!("fill {jobs}")).await?;
            expect(&program.ask("count").await?, jobs, 0)?;
            program.end().await?;
            // memory that filling has left behind is no help to a worker
            program = scene.program()?;
            program.ask(&format!("open {submitters}")).await?;
        }
        let (command, jobs, waiting) = match self {
            Self::Drain { jobs } => (format!("drain {jobs}"), jobs, 0),
            Self::Submit { submitters, jobs } => (format!("submit {submitters} {jobs}"), jobs, jobs),
            Self::Bulk { jobs } => (format!("bulk {SUBMITTERS} {jobs} {ARRAY}"), jobs, jobs),
            Self::Pickup { jobs } => (format!("pickup {jobs}"), jobs, 0),
        };
        let before = scene.used(&program)?;
        let answer = program.ask(&command).await?;
        let cpu = scene.used(&program)?.saturating_sub(before);
        if let Some(missing) = answer.missing {
            eprintln!("  {missing}");
            program.end().await?;
            return Ok(None);
        }
        expect(&program.ask("count").await?, waiting, jobs - waiting)?;
        program.end().await?;
        self.seen(&answer, jobs, cpu).map(Some)
    }

    fn seen(self, answer: &Answer, jobs: u64, cpu: Duration) -> anyhow::Result<Seen> {
        if let Self::Pickup { .. } = self {
            ensure!(answer.each.len() as u64 == jobs, "{} of {jobs} jobs were timed", answer.each.len());
            let times: Vec<f64> =
                answer.each.iter().map(|time| Duration::from_nanos(*time).as_secs_f64() * 1_000.0).collect();
            return Ok([percentile(&times, 50), percentile(&times, 99)]);
        }
        let spent = Spent { time: Duration::from_nanos(answer.ns.context("no time was told")?), cpu };
        Ok([spent.rate(jobs), spent.cpu_each(jobs)])
    }
}

/// What a product says of itself, once it works.
pub async fn about(contestant: &Contestant, folder: &Path) -> anyhow::Result<String> {
    let scene = Scene::set(contestant, folder).await?;
    let mut program = scene.program()?;
    program.ask("prepare").await?;
    let answer = program.ask("open 1").await?;
    program.end().await?;
    scene.end().await?;
    answer.about.context("the program says nothing of itself")
}

/// Fails unless so many jobs are stored; finished ones only if the product keeps them.
fn expect(counted: &Answer, waiting: u64, done: u64) -> anyhow::Result<()> {
    let found = counted.waiting.context("jobs were not counted")?;
    ensure!(found == waiting, "{found} jobs wait, and not {waiting}");
    let finished = counted.done.unwrap_or(done);
    ensure!(finished == done, "{finished} jobs are done, and not {done}");
    Ok(())
}

impl<'a> Scene<'a> {
    async fn set(contestant: &'a Contestant, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(contestant.product.name());
        let (server, place) = if let Some(kind) = &contestant.server {
            let server = kind.start(&folder).await?;
            let url = server.url.clone();
            (Some(server), url)
        } else {
            std::fs::create_dir_all(&folder)?;
            (None, folder.join("jobs.db").display().to_string())
        };
        Ok(Self { contestant, server, place })
    }

    fn program(&self) -> anyhow::Result<Program> {
        Program::start(self.contestant.command(&self.place))
    }

    /// Processor time of all its processes so far.
    fn used(&self, program: &Program) -> anyhow::Result<Duration> {
        let program = program.process().context("the program has ended")?;
        used(&[Some(program), self.server.as_ref().map(Server::process)].into_iter().flatten().collect::<Vec<_>>())
    }

    async fn end(self) -> anyhow::Result<()> {
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_are_lost_or_too_many_are_an_error() {
        let counted = |waiting, done| Answer { waiting, done, ..Answer::default() };
        assert!(expect(&counted(Some(0), Some(7)), 0, 7).is_ok());
        assert!(expect(&counted(Some(0), None), 0, 7).is_ok(), "the product keeps no finished jobs");
        assert!(expect(&counted(Some(1), Some(7)), 0, 7).is_err());
        assert!(expect(&counted(Some(0), Some(6)), 0, 7).is_err());
        assert!(expect(&counted(None, None), 0, 7).is_err());
    }

    #[test]
    fn figures_are_rates_with_processor_time_or_percentiles() {
        let answer = Answer { ns: Some(500_000_000), ..Answer::default() };
        let seen = Measurement::Drain { jobs: 1_000 }.seen(&answer, 1_000, Duration::from_millis(100)).unwrap();
        assert_eq!(seen.map(|figure| format!("{figure:.3}")), ["2000.000", "0.100"]);
        let answer = Answer { each: (1..=100).map(|time| time * 1_000_000).collect(), ..Answer::default() };
        let seen = Measurement::Pickup { jobs: 100 }.seen(&answer, 100, Duration::ZERO).unwrap();
        assert_eq!(seen.map(|figure| format!("{figure:.3}")), ["50.000", "99.000"]);
        assert!(Measurement::Pickup { jobs: 99 }.seen(&answer, 99, Duration::ZERO).is_err());
    }
}
