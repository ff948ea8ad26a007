//! The executors of a site: processes of this very binary, put together as `slipstream-job executor` is, with an action
//! that keeps a record of its runs.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use slipstream_coordination::zookeeper::Settings;
use slipstream_job_engine::internals::actions;
use slipstream_job_engine::internals::executor::load::Loading;
use slipstream_job_engine::internals::executor::{ActionRuntime, Options};
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::on_signals;
use slipstream_job_engine::internals::process::telemetry;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::programs::Keepers;
use slipstream_job_engine::internals::roles::executor::{self, Programs};
use slipstream_job_engine::internals::roles::{Account, Peers};
use slipstream_job_engine::{Action, Failure, JobHandle, Success, async_trait};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::process::Process;
use crate::records::{How, Record};
use crate::support::{credentials, eventually, program_in};

/// Says to a process of this binary what it is to be, as JSON.
const ROLE: &str = "FAULTS_EXECUTOR";
/// Names a binary of the version before that is to be started instead.
const EXECUTOR_PROGRAM: &str = "FAULTS_EXECUTOR_PROGRAM";
/// The test that is the process of an executor when that is set.
const TEST: &str = "roles::an_executor_ends_with_its_input";
/// The action with a record.
pub const STEP: &str = "step";
/// The kind of job whose action does not yield.
pub const BLOCK: &str = "block";
/// Between two words of an action on how far it is.
const PROGRESS: Duration = Duration::from_millis(100);

/// What an executor is told.
#[expect(clippy::unsafe_derive_deserialize, reason = "the macros of tokio are what is unsafe")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    pub name: String,
    pub hosts: String,
    pub session_timeout: Duration,
    pub endpoint: String,
    pub threads: usize,
    pub grace: Duration,
    pub cimi_grace: Duration,
    pub records: PathBuf,
}

impl Role {
    /// Starts it as a process.
    pub fn command(&self) -> Command {
        let this = std::env::current_exe().expect("this binary has a path");
        let mut command = Command::new(program_in(EXECUTOR_PROGRAM, this));
        command.args(["--exact", TEST, "--nocapture"]);
        command.env(ROLE, serde_json::to_string(self).expect("texts and numbers"));
        command
    }

    async fn work(self) {
        telemetry::start("info").expect("the log begins");
        let stop = Stop::new();
        on_signals(&stop).expect("signals can be listened for");
        let account = Account { endpoint: self.endpoint, credentials: credentials(), is_insecure: false };
        let zookeeper = Settings { session_timeout: self.session_timeout, ..Settings::new(&self.hosts) };
        let peers = Peers::new(account, zookeeper, Metrics::default()).expect("good addresses");
        let mut catalogue = actions::built_in(Clock::system());
        catalogue.register(STEP, Step { executor: self.name.clone(), records: self.records }, None);
        let options = Options {
            threads: self.threads,
            grace: self.grace,
            cimi_grace: self.cimi_grace,
            ..Options::new(self.name, ActionRuntime::start(self.threads).expect("threads start"))
        };
        let programs = Programs {
            loading: Loading::default(),
            keepers: Keepers::beside_others(PathBuf::from(env!("CARGO_BIN_EXE_slipstream-job"))),
            elasticsearch: Vec::new(),
        };
        let work = executor::run(options, peers, catalogue, programs, stop);
        tokio::select! {
            done = work => done.expect("it works until it is stopped"),
            () = input_ended() => {}
        }
    }
}

/// By a thread of its own, for which nobody waits in the end.
async fn input_ended() {
    let (ended, seen) = oneshot::channel();
    std::thread::spawn(move || {
        let read = std::io::stdin().read_to_end(&mut Vec::new());
        // an executor that has ended listens no more
        drop(ended.send(read));
    });
    seen.await.expect("the thread lives").expect("a pipe can be read");
}

/// Takes as long as its job's target says, `<kind>/<milliseconds>`; of the kind `quiet` it reports nothing meanwhile, and of
/// the kind `block` it does not yield.
struct Step {
    executor: String,
    records: PathBuf,
}

/// Does not yield for so long: this is the fault.
fn block(length: Duration) {
    let begun = std::time::Instant::now();
    while let Some(left) = length.checked_sub(begun.elapsed()) {
        std::thread::park_timeout(left);
    }
}

#[async_trait]
impl Action for Step {
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        let id = job.job().id.clone();
        let target = job.job().target_resource.clone().map(|link| link.href).unwrap_or_default();
        let (kind, length) = target.split_once('/').ok_or_else(|| Failure::new("no length"))?;
        let length = Duration::from_millis(length.parse().map_err(|_| Failure::new("no length"))?);
        let record = |how| Record::new(&id, &self.executor, how).append(&self.records);
        record(How::Begun { rerun: job.is_rerun() });
        if kind == BLOCK {
            block(length);
        }
        let begun = Instant::now();
        let mut next = begun;
        while kind != BLOCK && begun.elapsed() < length {
            next = (next + PROGRESS).min(begun + length);
            tokio::select! {
                () = job.cancelled() => {
                    record(How::Cancelled);
                    return Err(Failure::new(format!("cancelled on {}", self.executor)));
                }
                () = sleep_until(next) => {}
            }
            if kind != "quiet" && next < begun + length {
                let part = begun.elapsed().as_millis() * 100 / length.as_millis().max(1);
                job.set_progress(u8::try_from(part).unwrap_or(100));
                job.set_status_message(format!("under way on {}", self.executor));
            }
        }
        record(How::Done);
        Ok(Success::with_message(format!("done on {}", self.executor)))
    }
}

/// A process that outlived its test would go on with a queue that is none any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_ends_with_its_input() {
    if let Ok(role) = std::env::var(ROLE) {
        let role: Role = serde_json::from_str(&role).expect("a role");
        return role.work().await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let role = Role {
        name: "alone".to_owned(),
        // nobody is there
        hosts: "127.0.0.1:1".to_owned(),
        session_timeout: Duration::from_secs(1),
        endpoint: "http://127.0.0.1:1".to_owned(),
        threads: 1,
        grace: Duration::ZERO,
        cimi_grace: Duration::ZERO,
        records: folder.path().join("records"),
    };
    let log = folder.path().join("log");
    let mut process = Process::start(&mut role.command(), &log);
    let said = async || std::fs::read_to_string(&log).unwrap_or_default().contains("cannot reach").then_some(());
    eventually("it works", said).await;
    assert!(process.runs());
    process.let_go();
    assert!(process.ended().await.success());
}
