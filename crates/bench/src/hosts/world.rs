//! [`World`]: an engine that has actions of all kinds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use slipstream_action::{Action, Failure, JobHandle, Success, async_trait};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::job::NewJob;
use slipstream_cimi::query::Search;
use slipstream_cimi::{Job, State};
use slipstream_job_engine::Engine;
use slipstream_job_engine::internals::executor::load::Loading;
use slipstream_job_engine::internals::programs::Keepers;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::processes::{Each, Used, until};
use super::{SLOTS, folder, noop};

/// Adds under way at once.
const CONCURRENT: usize = 256;
/// Between two looks at how many jobs are done.
const LOOK: Duration = Duration::from_millis(3);
/// Longest wait for all jobs of a turn.
const TURN: Duration = Duration::from_mins(5);

/// An engine at work.
pub struct World {
    engine: Engine,
    gate: Gate,
    pub folder: PathBuf,
    /// Where the programs come from.
    pub loading: Loading,
    pub keepers: Keepers,
    /// The program that is a keeper when it is asked to.
    pub keeper: PathBuf,
}

impl World {
    /// With everything below this folder.
    pub async fn start(folder: &Path, python: PathBuf) -> anyhow::Result<Self> {
        let keeper = std::env::current_exe()?.with_file_name("slipstream-job");
        anyhow::ensure!(keeper.exists(), "{} is missing: run cargo xtask bench hosts", keeper.display());
        let keepers = Keepers::beside_others(keeper.clone());
        let work_dir = Some(folder.join("work"));
        let loading = Loading { folders: vec![folder::write(folder)?], only: None, python, work_dir };
        let gate = Gate::default();
        let engine = Engine::builder()
            .folder(folder.join("store"))
            .slots(SLOTS)
            .grace(Duration::from_secs(1))
            .action("native", noop)
            .action("gate", gate.clone())
            .programs(loading.clone(), keepers.clone())
            .start()
            .await?;
        Ok(Self { engine, gate, folder: folder.to_owned(), loading, keepers, keeper })
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        Ok(self.engine.stop().await?)
    }

    pub async fn submit(&self, action: &str) -> anyhow::Result<String> {
        Ok(self.engine.submit(action).target("benchmark/1").await?)
    }

    /// Waits for a job, which has to succeed.
    pub async fn wait(&self, id: &str) -> anyhow::Result<Job> {
        let job = self.engine.wait(id).await?;
        anyhow::ensure!(job.state == State::Success, "{} is {:?}: {:?}", job.id, job.state, job.status_message);
        Ok(job)
    }

    pub async fn stop_job(&self, id: &str) -> anyhow::Result<()> {
        self.engine.client().operation(id, "stop").await?;
        Ok(())
    }

    /// Queues so many jobs while all slots are taken, then lets them begin; from there to the end of all. Processes of hosts
    /// are there before.
    pub async fn drain(&self, action: &str, jobs: u64) -> anyhow::Result<Each> {
        let done = self.done(action).await?;
        self.add(action, SLOTS as u64).await?;
        self.until_done(action, done + SLOTS as u64).await?;
        self.gate.close();
        self.add("gate", SLOTS as u64).await?;
        until("all slots are taken", || self.gate.waiting.load(Ordering::Relaxed) == SLOTS).await?;
        self.add(action, jobs).await?;
        let begin = Used::now()?;
        self.gate.open();
        self.until_done(action, done + SLOTS as u64 + jobs).await?;
        Ok(begin.each_until(Used::now()?, jobs))
    }

    async fn add(&self, action: &str, jobs: u64) -> anyhow::Result<()> {
        let job = NewJob { action: action.to_owned(), target: Some("benchmark/1".to_owned()), ..NewJob::default() };
        let (document, left) = (Arc::new(job.document()), Arc::new(AtomicU64::new(jobs)));
        let mut adding = JoinSet::new();
        for _ in 0..CONCURRENT {
            let (client, document, left) = (self.engine.client().clone(), document.clone(), left.clone());
            adding.spawn(async move {
                let take = |left: u64| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    client.add(JOB.name, &document, None).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(added) = adding.join_next().await {
            added??;
        }
        Ok(())
    }

    async fn until_done(&self, action: &str, jobs: u64) -> anyhow::Result<()> {
        let all = async {
            while self.done(action).await? < jobs {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(TURN, all).await.with_context(|| format!("jobs of {action} do not end"))?
    }

    async fn done(&self, action: &str) -> anyhow::Result<u64> {
        let filter = Some(format!("state='SUCCESS' and action='{action}'"));
        let search = Search { filter, last: Some(0), ..Search::default() };
        Ok(self.engine.client().search(JOB.name, &search).await?.count)
    }
}

/// An action that ends when it is let.
#[derive(Clone, Default)]
struct Gate {
    is_open: Arc<watch::Sender<bool>>,
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    fn close(&self) {
        self.waiting.store(0, Ordering::Relaxed);
        self.is_open.send_replace(false);
    }

    fn open(&self) {
        self.is_open.send_replace(true);
    }
}

#[async_trait]
impl Action for Gate {
    async fn run(&self, _job: JobHandle) -> Result<Success, Failure> {
        let mut is_open = self.is_open.subscribe();
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // the sender is this action's
        is_open
            .wait_for(|is_open| *is_open)
            .await
            .map(|_| Success::default())
            .map_err(|error| Failure::new(error.to_string()))
    }
}
