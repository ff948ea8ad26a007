//! Our program of the protocol: the engine as `bench embedded` measures it, in a process of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use slipstream_cimi::Client;

use super::program::{self, Answer};
use crate::arrays::Bulk;
use crate::embedded::drain::work_off;
use crate::embedded::engine::{Engine, PASSWORD, SLOTS, Working, job};
use crate::embedded::flow::pick_up;
use crate::embedded::load::{fill, submit};
use crate::embedded::process::Moment;

/// An engine over one store.
struct Ours {
    store: PathBuf,
    open: Option<Open>,
}

/// What is there once it is open.
struct Open {
    engine: Engine,
    bulk: Bulk,
    submitters: Vec<Client>,
    working: Option<Working>,
}

/// Obeys until its input ends.
pub async fn obey(store: &Path) -> anyhow::Result<()> {
    let mut ours = Ours { store: store.to_owned(), open: None };
    program::obey(async |line: &str| ours.answer(line).await).await?;
    ours.close().await
}

impl Ours {
    async fn answer(&mut self, line: &str) -> anyhow::Result<Answer> {
        let (command, numbers) = line.split_once(' ').unwrap_or((line, ""));
        let numbers: Vec<u64> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        match (command, numbers.as_slice()) {
            ("prepare", []) => self.prepare(),
            ("open", [submitters]) => self.open(usize::try_from(*submitters)?).await,
            (_, numbers) => self.open.as_mut().context("it is not open")?.answer(command, numbers).await,
        }
    }

    fn prepare(&self) -> anyhow::Result<Answer> {
        if self.store.exists() {
            std::fs::remove_file(&self.store)?;
        }
        Ok(Answer::default())
    }

    async fn open(&mut self, submitters: usize) -> anyhow::Result<Answer> {
        let engine = Engine::open(&self.store, false).await?;
        let bulk = Bulk::log_in(engine.transport(), PASSWORD, job()).await?.context("this server takes no arrays")?;
        let submitters = vec![engine.client.clone(); submitters];
        self.open = Some(Open { engine, bulk, submitters, working: None });
        let about = format!("this engine in one process, {SLOTS} slots; what is answered is on disk");
        Ok(Answer { about: Some(about), ..Answer::default() })
    }

    async fn close(self) -> anyhow::Result<()> {
        let Some(Open { engine, bulk, submitters, working }) = self.open else { return Ok(()) };
        drop((bulk, submitters));
        if let Some(working) = working {
            working.end().await?;
        }
        engine.close().await
    }
}

impl Open {
    async fn answer(&mut self, command: &str, numbers: &[u64]) -> anyhow::Result<Answer> {
        let engine = &self.engine;
        let begin = Moment::now();
        Ok(match (command, numbers) {
            ("fill", [jobs]) => {
                fill(engine, *jobs).await?;
                Answer::default()
            }
            ("drain", [jobs]) => {
                let (spent, working) = work_off(engine, *jobs).await?;
                self.working = Some(working);
                Answer { ns: Some(nanoseconds(spent.time)?), ..Answer::default() }
            }
            ("submit", [submitters, jobs]) => {
                let submitters = self.submitters.iter().take(usize::try_from(*submitters)?).cloned().collect();
                submit(submitters, *jobs).await?;
                since(begin)?
            }
            ("bulk", [submitters, jobs, array]) => {
                self.bulk.add(*jobs, *array, usize::try_from(*submitters)?).await?;
                since(begin)?
            }
            ("pickup", [jobs]) => {
                self.working = Some(engine.work(SLOTS, &engine.client));
                let times = pick_up(engine, &engine.client, *jobs).await?;
                let each = times.into_iter().map(nanoseconds).collect::<Result<_, _>>()?;
                Answer { each, ..Answer::default() }
            }
            ("count", []) => {
                let (all, done) = (engine.count(None).await?, engine.count(Some("state='SUCCESS'")).await?);
                Answer { waiting: Some(all - done), done: Some(done), ..Answer::default() }
            }
            _ => bail!("there is no command {command} with {} numbers", numbers.len()),
        })
    }
}

/// The time that passed.
fn since(begin: Moment) -> anyhow::Result<Answer> {
    Ok(Answer { ns: Some(nanoseconds(begin.until(Moment::now()).time)?), ..Answer::default() })
}

fn nanoseconds(time: Duration) -> anyhow::Result<u64> {
    Ok(u64::try_from(time.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each command as the benchmark says it, the store closed in between.
    #[tokio::test]
    async fn it_does_what_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("jobs.db");
        let mut ours = Ours { store: store.clone(), open: None };
        assert!(ours.answer("count").await.unwrap_err().to_string().contains("not open"));
        ours.answer("prepare").await.unwrap();
        ours.answer("open 2").await.unwrap();
        ours.answer("fill 20").await.unwrap();
        assert!(ours.answer("submit 2 5").await.unwrap().ns.unwrap() > 0);
        assert!(ours.answer("bulk 2 5 3").await.unwrap().ns.unwrap() > 0);
        assert_eq!(ours.answer("count").await.unwrap().waiting, Some(30));
        ours.close().await.unwrap();
        let mut ours = Ours { store: store.clone(), open: None };
        ours.answer("open 1").await.unwrap();
        assert!(ours.answer("drain 30").await.unwrap().ns.unwrap() > 0);
        let counted = ours.answer("count").await.unwrap();
        assert_eq!((counted.waiting, counted.done), (Some(0), Some(30)));
        ours.close().await.unwrap();
        let mut ours = Ours { store, open: None };
        ours.answer("prepare").await.unwrap();
        ours.answer("open 1").await.unwrap();
        assert_eq!(ours.answer("pickup 3").await.unwrap().each.len(), 3);
        assert_eq!(ours.answer("count").await.unwrap().done, Some(3));
        ours.close().await.unwrap();
    }
}
