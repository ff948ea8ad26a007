//! A server, and an executor in this process whose only action, `act`, is done by a program under a real keeper.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slipstream_cimi::{Client, Document};
use slipstream_job_engine::internals::executor::load::{Offered, Offers};
use slipstream_job_engine::internals::executor::{self, ActionRuntime, Options};
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::programs::{Context, Keepers, WorkDir};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{InProcess, eventually, job, state};

/// For a program in Python: writes three thousand reports, and answers how often nobody has read for a while meanwhile.
pub const STALLS: &str = r#"
import os, select

def stalls():
    found, line = 0, b'{"report":{"progress":7,"padding":"' + b"x" * 900 + b'"}}\n'
    os.set_blocking(3, False)
    for _ in range(3000):
        rest = line
        while rest:
            try:
                rest = rest[os.write(3, rest):]
            except BlockingIOError:
                if not select.select([], [3], [], 0.3)[1]:
                    found += 1
                    select.select([], [3], [])
    os.set_blocking(3, True)
    return found
"#;

pub struct Acting {
    pub engine: InProcess,
    /// Where the program is, and in `work` its directories.
    pub folder: TempDir,
    stop: Stop,
    executor: JoinHandle<()>,
}

impl Acting {
    /// What programs of this folder are started with.
    pub fn context(folder: &TempDir) -> Context {
        Context {
            keepers: Keepers::beside_others(PathBuf::from(env!("CARGO_BIN_EXE_slipstream-job"))),
            work_dir: WorkDir::open(&folder.path().join("work")).expect("opened"),
            api_socket: None,
            executor: "Kenny".to_owned(),
        }
    }

    pub async fn start(folder: TempDir, threads: usize, offers: Offers) -> Self {
        let engine = InProcess::new().await;
        let client = engine.client.clone();
        Self::start_over(engine, client, folder, threads, offers)
    }

    /// The same over a server that the executor asks by this client.
    pub fn start_over(engine: InProcess, client: Client, folder: TempDir, threads: usize, offers: Offers) -> Self {
        let offered = Offered::new(watch::channel(Arc::new(offers)).1);
        let options = Options { grace: Duration::ZERO, threads, ..Options::new("Kenny", ActionRuntime::shared()) };
        let stop = Stop::new();
        let coordinator = Arc::new(engine.coordinator.clone());
        let executor = tokio::spawn(executor::run(options, coordinator, client, offered, stop.clone()));
        Self { engine, folder, stop, executor }
    }

    pub async fn add(&self) -> String {
        self.engine.client.add("job", &job("act"), None).await.expect("added")
    }

    pub async fn document(&self, id: &str) -> Document {
        self.engine.client.get(id).await.expect("it is there")
    }

    /// The document of a job that has ended.
    pub async fn ended(&self, id: &str) -> Document {
        eventually("the job ends", async || {
            let document = self.document(id).await;
            ["SUCCESS", "FAILED", "STOPPED"].contains(&state(&document)).then_some(document)
        })
        .await
    }

    /// A new job is given back.
    pub async fn given_back(&self) -> String {
        let id = self.add().await;
        eventually("the job is given back", async || {
            let document = self.document(&id).await;
            (state(&document) == "QUEUED" && document.get("started").is_some()).then_some(())
        })
        .await;
        id
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn touch(&self, name: &str) {
        fs::write(self.file(name), "").expect("written");
    }

    pub async fn appears(&self, name: &str) {
        eventually(name, async || self.file(name).exists().then_some(())).await;
    }

    /// What is in the executor's folder besides its lock.
    pub fn directories(&self) -> Vec<OsString> {
        let own = fs::read_dir(self.file("work")).expect("read").next().expect("one").expect("read").path();
        let left = fs::read_dir(own).expect("read").flatten().map(|entry| entry.file_name());
        left.filter(|name| name != "lock").collect()
    }

    /// Waits until the executor has ended.
    pub async fn stop(&mut self) {
        self.stop.ask();
        (&mut self.executor).await.expect("ended");
    }

    /// Asserts that no folder is left of an executor that has ended.
    pub fn expect_no_folder(&self) {
        assert_eq!(fs::read_dir(self.file("work")).expect("read").count(), 0, "its folder is left");
    }
}

/// Processes that have anything of this folder in their arguments or their environment.
pub fn programs(folder: &Path) -> Vec<u32> {
    let folder = folder.to_string_lossy().into_owned();
    let has = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).contains(&folder);
    let entries = fs::read_dir("/proc").expect("read").flatten();
    let all = entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    all.filter(|(_, path)| has(path.join("cmdline")) || has(path.join("environ"))).map(|(pid, _)| pid).collect()
}
