//! `cargo xtask bench query`: how long searches take in a store with very many jobs.
//!
//! All goes through [`SqliteStore`] as the server uses it. Each question is asked many times with varying values, one
//! at a time; an answer is the newest 20 with the exact count, unless the question says otherwise.

pub mod documents;
mod questions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use rand::SeedableRng;
use rand::rngs::StdRng;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Found, Query, Record, Store, StoreError, StoreExt};

use self::documents::Jobs;
use self::questions::{Kind, Question};

/// How often each question is asked, unless that takes too long.
const TIMES: usize = 1_000;
/// How long one question is asked at most, and how often at least if something is promised.
const LONGEST: Duration = Duration::from_secs(3);
const FEWEST: usize = 500;
/// What is promised for each answer, at the 99th percentile.
const PROMISED: Duration = Duration::from_millis(2);
/// Writes under way at once while the store is filled.
const CONCURRENT: usize = 2_048;
/// Jobs whose whole life is written to measure what the indexes cost.
const LIVES: u64 = 20_000;

/// The store to search, and where it is.
#[derive(clap::Args)]
pub struct Options {
    /// Jobs in it
    jobs: u64,
    /// A file to keep it in; one that exists is searched as it is [default: a temporary one]
    file: Option<PathBuf>,
}

/// Fills the store, asks each question, and fails if an answer takes longer than is promised.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let number = options.jobs;
    let path = options.file.unwrap_or_else(|| folder.path().join("store.db"));
    let jobs = Jobs::new(number);
    if !path.exists() {
        let filling = Instant::now();
        let store = SqliteStore::open(&path)?;
        fill(&store, &jobs).await?;
        store.close()?;
        println!("filled       in {:.0} s", filling.elapsed().as_secs_f64());
    }
    println!("store        {number} jobs, {} MiB", std::fs::metadata(&path)?.len() >> 20);
    let store = SqliteStore::open(&path)?;
    let questions = questions::all(&jobs);
    let mut broken = Vec::new();
    println!("{:<54} {:>6} {:>9} {:>9} {:>9} {:>9}", "milliseconds", "times", "p50", "p99", "max", "count");
    for question in &questions {
        let measured = ask(&store, question).await?;
        let holds = measured.p99 <= PROMISED;
        let remark = match question.kind {
            Kind::Promised if holds => "holds",
            Kind::Promised => "BROKEN",
            Kind::Shown => "not promised",
            Kind::Control => "control",
        };
        println!("{:<54} {measured} {remark}", question.name);
        if question.kind == Kind::Promised && !holds {
            broken.push(question.name);
        }
    }
    let lives = lives(&store, &jobs).await?;
    store.close()?;
    println!("writes       {lives:.0} jobs per second from QUEUED over RUNNING to SUCCESS, {CONCURRENT} at once");
    ensure!(broken.is_empty(), "p99 above {} ms: {}", PROMISED.as_millis(), broken.join("; "));
    Ok(())
}

async fn fill(store: &SqliteStore, jobs: &Jobs) -> anyhow::Result<()> {
    let tenth = jobs.number.div_ceil(10).max(1);
    let inserts = stream::iter(0..jobs.number).map(|number| async move {
        store.insert(jobs.record(number)).await?;
        if (number + 1) % tenth == 0 {
            eprintln!("{} of {} jobs stored", number + 1, jobs.number);
        }
        anyhow::Ok(())
    });
    inserts.buffer_unordered(CONCURRENT).try_collect().await
}

struct Measured {
    times: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
    /// Of the last answer.
    count: u64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, max] = [self.p50, self.p99, self.max].map(|time| time.as_secs_f64() * 1_000.0);
        write!(formatter, "{:>6} {p50:>9.3} {p99:>9.3} {max:>9.3} {:>9}", self.times, self.count)
    }
}

async fn ask(store: &SqliteStore, question: &Question) -> anyhow::Result<Measured> {
    let mut random = StdRng::seed_from_u64(7);
    let mut times = Vec::with_capacity(TIMES);
    let mut largest = 0;
    let fewest = if question.kind == Kind::Promised { FEWEST } else { 3 };
    let start = Instant::now();
    while times.len() < TIMES && (start.elapsed() < LONGEST || times.len() < fewest) {
        let query = (question.query)(&mut random);
        let before = Instant::now();
        let page = answer(store, question, &query).await.with_context(|| question.name)?;
        times.push(before.elapsed());
        largest = largest.max(page.count);
    }
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
    Ok(Measured { times: times.len(), p50: at(50), p99: at(99), max: at(100), count: largest })
}

async fn answer(store: &SqliteStore, question: &Question, query: &Query) -> anyhow::Result<Found> {
    if question.gets {
        let id = query.after.as_deref().context("the question names an id")?;
        let found = store.get(id).await?;
        ensure!(found.is_some(), "{id} is missing");
        return Ok(Found::default());
    }
    match store.search("job", query).await {
        // what nobody promises may be stopped; its time is what it had
        Err(StoreError::TooSlow { .. }) if question.kind != Kind::Promised => Ok(Found::default()),
        other => Ok(other?),
    }
}

/// Whole lives per second: insert, RUNNING, SUCCESS.
async fn lives(store: &SqliteStore, jobs: &Jobs) -> anyhow::Result<f64> {
    let jobs = Arc::new(jobs);
    let start = Instant::now();
    let lives = stream::iter(jobs.number..jobs.number + LIVES).map(|number| {
        let jobs = Arc::clone(&jobs);
        async move {
            let mut record: Record = jobs.queued(number);
            record.revision = store.insert(record.clone()).await?;
            for state in ["RUNNING", "SUCCESS"] {
                record.document = jobs.changed(&record.document, number, state);
                record.revision = store.replace(record.clone()).await?;
            }
            anyhow::Ok(())
        }
    });
    lives.buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    Ok(LIVES as f64 / start.elapsed().as_secs_f64())
}
