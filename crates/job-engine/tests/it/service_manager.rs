//! What services tell whoever has started them, by a socket as systemd's (`sd_notify(3)`).

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use slipstream_action::Catalogue;
use slipstream_coordination::{Coordinator, Embedded, Session};
use slipstream_job_engine::internals::executor::{self, ActionRuntime, Options};
use slipstream_job_engine::internals::process::{Activity, Stop, keep_alive, telemetry};
use slipstream_test_ensemble::Ensemble;

use crate::programs::support::Place;
use crate::services::support::{Deaf, Service, Site, server};
use crate::support::{InProcess, eventually, program};

/// Hears what a service tells.
struct Manager {
    folder: tempfile::TempDir,
    told: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(length) = socket.recv(&mut message) {
                let text = String::from_utf8_lossy(&message[..length]).into_owned();
                heard.lock().expect("no reader panics").extend(text.lines().map(str::to_owned));
            }
        });
        Self { folder, told }
    }

    /// Starts a service for which it waits, and whose beats it wants to hear.
    fn start(&self, mut command: Command) -> Service {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify")).env("WATCHDOG_USEC", "600000");
        Service::start(command)
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().expect("no reader panics").clone()
    }

    fn times(&self, what: &str) -> usize {
        self.told().iter().filter(|told| *told == what).count()
    }

    /// Waits until it hears this, after what was heard before.
    async fn hears(&self, heard: &mut usize, what: &str) -> String {
        let found = async || {
            let told = self.told();
            let position = told[*heard..].iter().position(|told| told.starts_with(what))?;
            *heard += position + 1;
            Some(told[*heard - 1].clone())
        };
        eventually(&format!("it tells `{what}`"), found).await
    }
}

#[tokio::test]
async fn an_executor_tells_that_it_is_ready_how_busy_it_is_and_what_its_stop_waits_for() {
    let place = Place::new().await;
    place.action("wait", "#!/bin/sh\nuntil [ -e HERE/go ]; do sleep 0.05; done\n");
    let (manager, mut heard) = (Manager::new(), 0);
    let mut command = place.command("Kenny", 2);
    command.args(["--grace", "11s"]);
    let mut kenny = manager.start(command);
    manager.hears(&mut heard, "READY=1").await;
    manager.hears(&mut heard, "STATUS=0 of 2 jobs running").await;
    manager.hears(&mut heard, "WATCHDOG=1").await;
    let id = place.site.run(&["submit", "wait"]).good().trim().to_owned();
    manager.hears(&mut heard, "STATUS=1 of 2 jobs running").await;
    manager.hears(&mut heard, "WATCHDOG=1").await;
    kenny.signal("TERM");
    manager.hears(&mut heard, "STOPPING=1").await;
    // one that is not given a processor in time passes over a second
    let mut seconds = vec![12];
    while seconds.len() < 4 {
        let told = manager.hears(&mut heard, "STATUS=stopping: 1 job, ").await;
        let left: u32 = told.split(' ').nth(3).and_then(|seconds| seconds.parse().ok()).expect("a number");
        assert!(seconds.last().is_some_and(|before| left <= *before), "{left} after {seconds:?}");
        seconds.push(left);
        seconds.dedup();
    }
    let logged = kenny.says(&format!(": {id} (wait)")).await;
    assert!(logged.contains("stopping: 1 job, ") && logged.contains(" left: "), "{logged}");
    std::fs::write(place.path("go"), "").expect("written");
    assert_eq!(kenny.ended().await.code(), Some(0), "{:?}", kenny.said());
}

#[tokio::test]
async fn servers_and_distributors_tell_that_they_are_ready_alive_and_stopping() {
    let (ensemble, manager, folder) =
        (Ensemble::start(1).await, Manager::new(), tempfile::tempdir().expect("a folder"));
    let mut heard = 0;
    let started = manager.start(server(&folder.path().join("jobs.db"), &ensemble.hosts(), "127.0.0.1:0"));
    manager.hears(&mut heard, "READY=1").await;
    manager.hears(&mut heard, "WATCHDOG=1").await;
    let endpoint = crate::services::support::endpoint(&started).await;
    let mut site = Site { ensemble, endpoint, server: started, folder };
    let (distributors_manager, mut distributors_heard) = (Manager::new(), 0);
    let mut distributor = distributors_manager.start(site.command(&["distributor", "jobs_cleanup"]));
    distributors_manager.hears(&mut distributors_heard, "READY=1").await;
    assert_eq!(distributors_manager.hears(&mut distributors_heard, "STATUS=").await, "STATUS=up");
    distributors_manager.hears(&mut distributors_heard, "WATCHDOG=1").await;
    distributor.stop().await;
    distributors_manager.hears(&mut distributors_heard, "STOPPING=1").await;

    site.ensemble.kill(0);
    let waiting = manager.hears(&mut heard, "STATUS=waiting for ").await;
    assert_eq!(waiting, format!("STATUS=waiting for ZooKeeper at {}", site.ensemble.hosts()));
    site.server.stop().await;
    manager.hears(&mut heard, "STOPPING=1").await;
}

#[tokio::test]
async fn a_service_tells_whom_it_waits_for() {
    let (zookeeper, cimi, manager) = (Deaf::new().await, Deaf::new().await, Manager::new());
    let mut command = program();
    command.args(["executor", "--ss-user", "super", "--zk-hosts", &zookeeper.address.to_string()]);
    command.args(["--ss-url", &format!("http://{}", cimi.address)]).env("SLIPSTREAM_PASS", "x");
    let mut service = manager.start(command);
    let mut heard = 0;
    let status =
        format!("STATUS=waiting for ZooKeeper at {} and the server at http://{}", zookeeper.address, cimi.address);
    manager.hears(&mut heard, &status).await;
    manager.hears(&mut heard, "WATCHDOG=1").await;
    service.stop().await;
    assert_eq!(manager.times("READY=1"), 0, "{:?}", manager.told());
}

/// Where the process that the next test starts finds the file that makes it stuck.
const STUCK: &str = "SLIPSTREAM_TEST_STUCK";

/// Blocks its thread, once there is a file of this name.
struct Blocking {
    inner: Embedded,
    file: PathBuf,
}

#[async_trait]
impl Coordinator for Blocking {
    async fn connect(&self) -> Result<Arc<dyn Session>, slipstream_coordination::Error> {
        let session = self.inner.connect().await;
        while !self.file.exists() {
            tokio::task::yield_now().await;
        }
        // as a lock that nobody lets go of
        let (_held, never) = std::sync::mpsc::channel::<()>();
        never.recv().expect_err("nobody sends");
        session
    }

    fn session_timeout(&self) -> Duration {
        self.inner.session_timeout()
    }
}

/// The fault: the executor is stuck, and everything else of its process goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_process_whose_executor_is_stuck_is_silent() {
    if let Some(file) = std::env::var_os(STUCK) {
        return be_stuck(file.into()).await;
    }
    let (manager, mut heard) = (Manager::new(), 0);
    let file = manager.folder.path().join("stuck");
    let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
    command.args(["--exact", "service_manager::a_process_whose_executor_is_stuck_is_silent", "--nocapture"]);
    let service = manager.start({
        command.env(STUCK, &file);
        command
    });
    for _ in 0..3 {
        manager.hears(&mut heard, "WATCHDOG=1").await;
    }
    std::fs::write(&file, "").expect("written");
    // it may have been slow before
    let before = service.times("a loop is stuck");
    let complaints = async |times| {
        let told = async || (service.times("a loop is stuck") >= before + times).then_some(());
        eventually("it says that it is stuck", told).await;
    };
    // the first one may be about a turn before, and be followed by a beat
    complaints(2).await;
    let beats = manager.times("WATCHDOG=1");
    complaints(5).await;
    assert_eq!(manager.times("WATCHDOG=1"), beats, "{:?}", service.said());
}

async fn be_stuck(file: PathBuf) {
    telemetry::start("info").expect("the log starts");
    let InProcess { client, .. } = InProcess::new().await;
    let activity = Activity::new();
    keep_alive(&activity);
    let options = Options { activity, ..Options::new("Kenny", ActionRuntime::start(1).expect("threads")) };
    let coordinator = Arc::new(Blocking { inner: Embedded::new(), file });
    tokio::spawn(executor::run(options, coordinator, client, Catalogue::new(), Stop::new())).await.expect("no panic");
}
