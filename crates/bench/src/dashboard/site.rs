//! The engine whose pages are looked at, in a process of its own that does what it is told, and what its store holds.

use std::path::Path;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use slipstream_job_engine::internals::process::Clock;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Record, StoreExt};

use crate::embedded::engine::{Engine, Listening, SLOTS, Working};
use crate::embedded::process::Moment;
use crate::peers::program::{self, Answer};
use crate::query::documents::Jobs;

/// Writes under way at once while the store is filled.
const CONCURRENT: usize = 2_048;

/// Fills a store with jobs that have ended.
pub async fn fill(path: &Path, number: u64) -> anyhow::Result<()> {
    let store = SqliteStore::open(path)?;
    let jobs = &Jobs { end: Clock::system().now(), ..Jobs::new(number) };
    let tenth = number.div_ceil(10).max(1);
    let inserts = stream::iter(0..number).map(|number| {
        let store = &store;
        async move {
            store.insert(ended(jobs, number)).await?;
            if (number + 1) % tenth == 0 {
                eprintln!("{} of {} jobs stored", number + 1, jobs.number);
            }
            anyhow::Ok(())
        }
    });
    inserts.buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    store.close()?;
    Ok(())
}

/// As [`Jobs::record`] has it, but that none waits or runs.
fn ended(jobs: &Jobs, number: u64) -> Record {
    let queued = jobs.queued(number);
    let state = match number % 100 {
        0..12 => "FAILED",
        12..15 => "STOPPED",
        _ => "SUCCESS",
    };
    let document = jobs.changed(&queued.document, number, state);
    Record { document, ledger: json!({}), ..queued }
}

/// An engine that listens.
struct Site {
    engine: Engine,
    listening: Listening,
    working: Option<Working>,
}

/// Obeys until its input ends: `work` and `rest` start and stop an executor, `drain N` answers what N jobs that wait took
/// on the wall and of processor time, in nanoseconds.
pub async fn obey(store: &Path) -> anyhow::Result<()> {
    let engine = Engine::open(store, false).await?;
    let listening = engine.listen().await?;
    let mut site = Site { engine, listening, working: None };
    program::obey(async |line: &str| site.answer(line).await).await?;
    site.rest().await?;
    site.listening.end().await?;
    site.engine.close().await
}

impl Site {
    async fn answer(&mut self, line: &str) -> anyhow::Result<Answer> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("where", "") => Ok(Answer { about: Some(self.listening.endpoint().to_owned()), ..Answer::default() }),
            ("work", "") => {
                self.working = Some(self.engine.work(SLOTS, &self.engine.client));
                Ok(Answer::default())
            }
            ("rest", "") => self.rest().await.map(|()| Answer::default()),
            ("drain", jobs) => {
                let jobs: u64 = jobs.parse().context("drain takes a number")?;
                let gone = self.engine.gone.mark(self.engine.gone.number() + jobs);
                let begin = Moment::now();
                self.working = Some(self.engine.work(SLOTS, &self.engine.client));
                let spent = begin.until(gone.reached().await?);
                self.rest().await?;
                let each = [spent.time, spent.cpu].map(|time| u64::try_from(time.as_nanos()));
                Ok(Answer { each: each.into_iter().collect::<Result<_, _>>()?, ..Answer::default() })
            }
            _ => bail!("there is no command {line}"),
        }
    }

    async fn rest(&mut self) -> anyhow::Result<()> {
        match self.working.take() {
            Some(working) => working.end().await,
            None => Ok(()),
        }
    }
}
