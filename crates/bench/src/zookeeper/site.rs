//! [`Site`]: a `ZooKeeper`, a server and executors, each in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::json;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::overview::user::ADMINISTRATOR;
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Credentials, Document};
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, Session, ZooKeeper};
use slipstream_job_engine::internals::process::paths;
use slipstream_test_ensemble::Ensemble;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::roles::{NOOP, PASSWORD};
use crate::arrays::Bulk;

/// Jobs of one array, and arrays under way at once, when a backlog is made.
const ARRAY: u64 = 1_000;
const SUBMITTERS: usize = 4;
/// Longest wait for something that is to happen soon.
const SOON: Duration = Duration::from_mins(2);
/// Who has used less than a tenth of a core for so long has nothing to do.
const MOMENT: Duration = Duration::from_millis(500);
/// Clock ticks per second in `/proc/<pid>/stat` (proc(5); fixed on every Linux that Rust supports).
const TICKS: f64 = 100.0;

/// What is measured.
pub struct Site {
    ensemble: Ensemble,
    _folder: TempDir,
    server: Process,
    endpoint: String,
    executors: Vec<(Process, Arc<Progress>)>,
    pub bulk: Bulk,
    pub client: Client,
    session: Arc<dyn Session>,
    added: u64,
    /// Moments at which actions say that they have begun.
    pub begun: mpsc::UnboundedReceiver<Timestamp>,
    hear: mpsc::UnboundedSender<Timestamp>,
}

/// What an executor says of itself.
#[derive(Default)]
struct Progress {
    done: AtomicU64,
    requests: AtomicU64,
}

/// A process that ends when it is dropped.
struct Process(Child);

/// What was used and done until a moment.
#[derive(Clone, Copy)]
pub struct Moment {
    pub at: Instant,
    pub done: u64,
    pub api_requests: u64,
    pub coordinator_requests: u64,
    pub executors: f64,
    pub server: f64,
    pub zookeeper: f64,
    pub load: f64,
}

impl Site {
    /// A site without executors.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("site-").tempdir_in(folder)?;
        let ensemble = Ensemble::start_as_on_a_site(1, &[], &[]).await;
        let store = folder.path().join("jobs.db");
        let (server, mut lines) = start(&["zookeeper", "serve", &ensemble.hosts(), &store.display().to_string()])?;
        let endpoint = lines.recv().await.context("the server has ended")?;
        let transport = Arc::new(HttpTransport::new(&endpoint, false, SOON)?);
        let credentials = Credentials { username: ADMINISTRATOR.to_owned(), password: PASSWORD.into() };
        let client = Client::new(transport.clone(), Some(credentials));
        let bulk = Bulk::log_in(transport, PASSWORD, job(NOOP)).await?.context("this server takes no arrays")?;
        let session = ZooKeeper::new(Settings::new(&ensemble.hosts()))?.connect().await?;
        let (hear, begun) = mpsc::unbounded_channel();
        let executors = Vec::new();
        Ok(Self {
            ensemble,
            _folder: folder,
            server,
            endpoint,
            executors,
            bulk,
            client,
            session,
            added: 0,
            begun,
            hear,
        })
    }

    /// Adds jobs before anybody works.
    pub async fn add(&mut self, jobs: u64) -> anyhow::Result<()> {
        self.added += jobs;
        self.bulk.add(jobs, ARRAY, SUBMITTERS).await?;
        self.settled().await
    }

    /// Waits until the server has written what it was told, and has nothing to do.
    async fn settled(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut used = self.server.used()?;
        loop {
            tokio::time::sleep(MOMENT).await;
            let before = std::mem::replace(&mut used, self.server.used()?);
            if used - before < MOMENT.as_secs_f64() / 10.0 {
                return Ok(());
            }
            ensure!(begun.elapsed() < SOON, "waited in vain: the server has nothing to do");
        }
    }

    /// Counts jobs that were added in another way.
    pub fn count_added(&mut self, jobs: u64) {
        self.added += jobs;
    }

    /// Starts executors; answers how long the first one took to begin a job, if any wait.
    pub async fn employ(&mut self, executors: usize, threads: usize) -> anyhow::Result<Duration> {
        let began = Instant::now();
        for number in self.executors.len()..self.executors.len() + executors {
            let name = format!("executor-{number}");
            let hosts = self.ensemble.hosts();
            let (process, mut lines) =
                start(&["zookeeper", "execute", &hosts, &self.endpoint, &name, &threads.to_string()])?;
            let progress = Arc::new(Progress::default());
            let (told, hear) = (progress.clone(), self.hear.clone());
            tokio::spawn(async move {
                while let Some(line) = lines.recv().await {
                    let words: Vec<_> = line.split(' ').collect();
                    match words.as_slice() {
                        ["done", done, requests] => {
                            told.done.store(done.parse().unwrap_or_default(), Ordering::Relaxed);
                            told.requests.store(requests.parse().unwrap_or_default(), Ordering::Relaxed);
                        }
                        // nobody may ask for it
                        ["begun", at] => drop(at.parse().map(|at: Timestamp| hear.send(at))),
                        _ => println!("executor: {line}"),
                    }
                }
            });
            self.executors.push((process, progress));
        }
        wait_until("all executors are registered", async || {
            let names = self.session.children(paths::EXECUTORS).await.unwrap_or_default();
            names.len() >= self.executors.len() && (self.added == 0 || self.done() > 0)
        })
        .await?;
        Ok(began.elapsed())
    }

    /// `kill -9` for the executor that has been there longest.
    pub fn kill_first(&mut self) {
        drop(self.executors.remove(0));
    }

    /// Jobs whose action was begun.
    pub fn done(&self) -> u64 {
        self.executors.iter().map(|(_, progress)| progress.done.load(Ordering::Relaxed)).sum()
    }

    pub async fn now(&self) -> anyhow::Result<Moment> {
        let executors = self.executors.iter().map(|(process, _)| process.used()).sum::<anyhow::Result<f64>>()?;
        Ok(Moment {
            at: Instant::now(),
            done: self.done(),
            api_requests: self.executors.iter().map(|(_, progress)| progress.requests.load(Ordering::Relaxed)).sum(),
            coordinator_requests: self.packets().await?,
            executors,
            server: self.server.used()?,
            zookeeper: used(self.ensemble.process_id(0))?,
            load: used(std::process::id())?,
        })
    }

    /// How many requests `ZooKeeper` has had.
    async fn packets(&self) -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect(self.ensemble.addresses()[0]).await?;
        stream.write_all(b"mntr").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let line = answer.lines().find_map(|line| line.strip_prefix("zk_packets_received"));
        Ok(line.context("ZooKeeper counts its packets")?.trim().parse()?)
    }

    /// Waits until all jobs are done, and checks that they are. If it would take too long, only what is done is checked.
    pub async fn finish(self, all: bool) -> anyhow::Result<()> {
        if all {
            wait_until("all jobs are done", async || self.done() >= self.added).await?;
            wait_until("all jobs are SUCCESS", async || {
                self.count(Some("state='SUCCESS'")).await.is_ok_and(|done| done == self.added)
            })
            .await?;
            wait_until("the queue is empty", async || {
                let entries = self.session.children(paths::ENTRIES).await;
                entries.is_ok_and(|entries| entries.is_empty())
            })
            .await?;
        }
        let (count, done) = (self.count(None).await?, self.done());
        ensure!(count == self.added, "{count} jobs are there, and {} were added", self.added);
        ensure!(done <= self.added, "{done} attempts at {} jobs", self.added);
        Ok(())
    }

    async fn count(&self, filter: Option<&str>) -> anyhow::Result<u64> {
        let search = Search { filter: filter.map(str::to_owned), last: Some(0), ..Search::default() };
        Ok(self.client.search(JOB.name, &search).await?.count)
    }
}

/// A job of this action.
pub fn job(action: &str) -> Document {
    let parts = [("action", json!(action)), ("targetResource", json!({"href": "benchmark"}))];
    parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Waits for a condition, looking often.
pub async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition().await {
        ensure!(begun.elapsed() < SOON, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// This program in another role, and the lines that it says.
fn start(arguments: &[&str]) -> anyhow::Result<(Process, mpsc::UnboundedReceiver<String>)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("standard output is a pipe")?;
    let (say, said) = mpsc::unbounded_channel();
    // ends with the process
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // nobody listens once the process is to end
            drop(say.send(line));
        }
    });
    Ok((Process(child), said))
}

impl Process {
    fn used(&self) -> anyhow::Result<f64> {
        used(self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = killed {
            eprintln!("cannot end process {}: {error}", self.0.id());
        }
    }
}

/// Processor time used so far in seconds: user and system (fields 14 and 15 of proc(5) `stat`).
fn used(process: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit_once(") ").context("stat names the program in parentheses")?.1;
    let number = |index: usize| fields.split(' ').nth(index).and_then(|field| field.parse::<f64>().ok());
    Ok((number(11).context("user time")? + number(12).context("system time")?) / TICKS)
}
