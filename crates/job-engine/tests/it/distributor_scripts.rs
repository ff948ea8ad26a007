//! Distributors that are scripts in the style of the original, under real keepers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_cimi::query::Search;
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::{Error, Session};
use slipstream_coordination::{Coordinator, Embedded};
use slipstream_job_engine::internals::distributor::{
    Deps, Python, Script, ScriptFile, StoreMarks, lead_and_distribute,
};
use slipstream_job_engine::internals::process::{Clock, Metrics, Stop};
use slipstream_job_engine::internals::programs::{Context, Keepers};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::commands::run;
use crate::support::{InProcess, Up, eventually};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// Sleeps of the scripts take a moment instead of hours. Each writes down that its process lives.
const SITE: &str = "
import os, time
slept = time.sleep
def sleep(seconds):
    slept(min(seconds, 0.02))
time.sleep = sleep
";
const MINE: &str = "
from slipstream.job.base import main
from slipstream.job.distributor import Distributor
import os, sys, time

class Mine(Distributor):
    def job_generator(self):
        BODY

    def _get_jobs_type(self):
        return 'mine'

if __name__ == '__main__':
    main(Mine)
";

/// A coordinator whose latest session can be cut off.
struct Cut {
    embedded: Embedded,
    latest: Mutex<Option<Arc<EmbeddedSession>>>,
}

#[slipstream_action::async_trait]
impl Coordinator for Cut {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let session = Arc::new(self.embedded.session());
        *self.latest.lock().expect("not poisoned") = Some(session.clone());
        Ok(session)
    }

    fn session_timeout(&self) -> Duration {
        self.embedded.session_timeout()
    }
}

/// A server, and a distributor that is a script.
struct World {
    engine: InProcess,
    coordinator: Arc<Cut>,
    stop: Stop,
    distributor: JoinHandle<()>,
    folder: TempDir,
}

impl World {
    async fn of_original(name: &str) -> Self {
        let file =
            Path::new(REPOSITORY).join("python/tests/fixtures/scripts").join(format!("job_distributor_{name}.py"));
        Self::new(tempfile::tempdir().expect("made"), ScriptFile { name: name.to_owned(), file }).await
    }

    async fn with(body: &str) -> Self {
        let folder = tempfile::tempdir().expect("made");
        let file = folder.path().join("job_distributor_mine.py");
        let body = body.replace("HERE", &folder.path().to_string_lossy()).replace('\n', "\n        ");
        fs::write(&file, MINE.replace("BODY", &body)).expect("written");
        Self::new(folder, ScriptFile { name: "mine".to_owned(), file }).await
    }

    async fn new(folder: TempDir, script: ScriptFile) -> Self {
        let engine = InProcess::new().await;
        fs::write(folder.path().join("sitecustomize.py"), SITE).expect("written");
        let keepers = Keepers::beside_others(PathBuf::from(env!("CARGO_BIN_EXE_slipstream-job")));
        let context = Context::open(Some(&folder.path().join("work")), keepers, "Kenny".to_owned()).expect("opened");
        let package = format!("{}:{REPOSITORY}/python", folder.path().display());
        let python = Python { interpreter: "python3".into(), package: package.into(), arguments: Vec::new() };
        let setup = slipstream_action::protocol::Setup {
            protocols: vec![1],
            url: "http://127.0.0.1".to_owned(),
            ..Default::default()
        };
        let script = Arc::new(Script::new(&script, &python, Arc::new(context), setup, engine.client.clone()));
        let coordinator = Arc::new(Cut { embedded: engine.coordinator.clone(), latest: Mutex::default() });
        let deps = Deps {
            coordinator: coordinator.clone(),
            client: engine.client.clone(),
            marks: Arc::new(StoreMarks::new(engine.store.clone())),
            clock: Clock::system(),
            name: "Kenny".to_owned(),
            metrics: Metrics::default(),
        };
        let stop = Stop::new();
        let distributor = tokio::spawn(lead_and_distribute(script, deps, stop.clone()));
        Self { engine, coordinator, stop, distributor, folder }
    }

    async fn jobs(&self) -> Vec<Value> {
        let found = self.engine.client.search("job", &Search::default()).await.expect("searched");
        found.documents.into_iter().map(Value::Object).collect()
    }

    async fn jobs_at_least(&self, count: usize) -> Vec<Value> {
        eventually("jobs are added", async || {
            let jobs = self.jobs().await;
            (jobs.len() >= count).then_some(jobs)
        })
        .await
    }

    fn processes(&self) -> usize {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let holds = |path: PathBuf| fs::read(path).is_ok_and(|text| String::from_utf8_lossy(&text).contains(&folder));
        let all = fs::read_dir("/proc").expect("read").flatten();
        all.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
            .filter(|entry| holds(entry.path().join("environ")))
            .count()
    }

    async fn close(self) {
        self.stop.ask();
        self.distributor.await.expect("ended");
        let folder = self.folder.path().to_owned();
        eventually("nothing is left of it", async || {
            let left = fs::read_dir(folder.join("work")).expect("read").count();
            (left == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn scripts_of_the_original_run_unmodified_for_three_rounds() {
    for (name, action, target) in [
        ("dummy_test_action", "dummy_test_action", "dummy"),
        ("jobs_cleanup", "cleanup_jobs", "job"),
        ("nb_state_snaps_cleanup", "cleanup_nb_state_snaps", "nuvlabox-state-snapshot"),
        ("vms_cleanup", "cleanup_virtual_machines", "virtual-machine"),
        ("nuvlabox_state_check", "nuvlabox_state_check", "job"),
    ] {
        let world = World::of_original(name).await;
        for job in world.jobs_at_least(3).await {
            assert_eq!((&job["action"], &job["targetResource"]["href"]), (&json!(action), &json!(target)), "{name}");
        }
        world.close().await;
    }
}

#[tokio::test]
async fn a_script_that_loses_leadership_is_gone_at_once_and_another_leads_later() {
    let world = World::with("while True:\n    yield {'action': 'noop'}\n    time.sleep(1)").await;
    world.jobs_at_least(2).await;
    assert!(world.processes() >= 1);
    let session = world.coordinator.latest.lock().unwrap().clone().expect("a session");
    session.suspend();
    // long before its session ends, which the coordinator alone decides here
    eventually("no process is left", async || (world.processes() == 0).then_some(())).await;
    let jobs = world.jobs().await.len();
    session.expire();
    drop(session);
    world.jobs_at_least(jobs + 2).await;
    world.close().await;
}

#[tokio::test]
async fn a_refused_job_is_passed_over_and_one_that_ends_is_started_again() {
    let body = "yield {'action': 'first'}\nyield {'action': 7}\nyield {'action': 'third'}\nsys.exit('enough')";
    let world = World::with(body).await;
    let jobs = world.jobs_at_least(4).await;
    let actions: Vec<&str> = jobs.iter().filter_map(|job| job["action"].as_str()).collect();
    assert!(actions.iter().filter(|action| **action == "first").count() >= 2, "{actions:?}");
    assert!(actions.contains(&"third"), "{actions:?}");
    world.close().await;
}

#[tokio::test]
async fn a_script_asks_the_server_without_a_login_of_its_own() {
    let body = "found = self.ss_api.cimi_search('jobs', filter='action=\"seed\"')\n\
                yield {'action': 'found', 'targetResource': {'href': 'count/%d' % found.count}}\ntime.sleep(1)";
    let world = World::with(body).await;
    let jobs = world.jobs_at_least(1).await;
    assert_eq!(jobs[0]["targetResource"]["href"], json!("count/0"));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn up_runs_the_scripts_of_its_folder() {
    let folder = tempfile::tempdir().expect("made");
    let scripts = folder.path().join("distributors");
    fs::create_dir(&scripts).expect("made");
    let body = "while True:\n            yield {'action': 'noop'}\n            time.sleep(0.2)";
    fs::write(scripts.join("job_distributor_mine.py"), MINE.replace("BODY", body)).expect("written");
    let mut up = Up::start(folder.path(), &[]);
    let client = up.client();
    let noops = async || client.search("job", &Search::default()).await.ok().filter(|found| found.count >= 3);
    eventually("its jobs are added", noops).await;
    let table = run(&up, &["distributors"]).good();
    assert!(table.contains("mine") && table.contains("as its script says"), "{table}");
    up.signal("TERM");
    assert!(up.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_does_not_start_is_shown_with_why() {
    let folder = tempfile::tempdir().expect("made");
    let scripts = folder.path().join("distributors");
    fs::create_dir(&scripts).expect("made");
    let write = |name: &str, text: &str| {
        let file = scripts.join(format!("job_distributor_{name}.py"));
        fs::write(&file, text).expect("written");
        file
    };
    write("broken", "import no_such_module\n");
    let open = write("open", "");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).expect("set");
    let mut up = Up::start(folder.path(), &[]);
    let problem = async |name: &str| {
        let all = run(&up, &["distributors", "--json"]).json();
        let shown = all.as_array()?.iter().find(|shown| shown["name"] == name)?;
        assert_eq!((&shown["election"], &shown["leader"]), (&json!(""), &Value::Null), "{shown}");
        shown["problem"].as_str().map(str::to_owned)
    };
    let broken = eventually("one that breaks is shown", async || problem("broken").await).await;
    let expected =
        "its script does not start: it ended: exit code 1: ModuleNotFoundError: No module named 'no_such_module'";
    assert_eq!(broken, expected);
    let refused = eventually("one that is refused is shown", async || problem("open").await).await;
    let expected = format!("its script is not started: {0}: everybody may write it: chmod o-w {0}", open.display());
    assert_eq!(refused, expected);
    let table = run(&up, &["distributors"]).good();
    assert!(table.contains(&format!("\n\nbroken: {broken}\n\nopen: {refused}")), "{table}");
    up.signal("TERM");
    assert!(up.ended().await.success());
}
