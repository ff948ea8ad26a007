//! Class files of the original engines as actions, in the program as people start it. What the Python host does by itself is
//! in `python/tests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use slipstream_cimi::{Client, Document};
use tempfile::TempDir;

use crate::support::{Up, document, eventually, program, state, up_command};

/// Of the dialect whose classes get an executor: uses its job, the API, and is slow if it is told so.
const USES: &str = r#"
from ..actions import action
from ..util import wait
from slipstream.api import SlipStreamError

@action('uses_everything')
class Uses(object):

    def __init__(self, executor, job):
        self.executor = executor
        self.ss_api = executor.ss_api
        self.job = job

    def do_work(self):
        target = self.job['targetResource']['href']
        self.job.set_progress(30)
        if target == 'slow':
            wait(600)
        if target == 'c':
            sum(range(10 ** 15))
        if target == 'bad':
            raise ValueError('this is bad')
        try:
            self.ss_api.cimi_get('job/no-such-job')
        except SlipStreamError as e:
            assert e.response.status_code == 404, e
        added = self.ss_api.cimi_add('jobs', {'action': 'waits_for_nobody', 'targetResource': {'href': 'child'}})
        child = added.json['resource-id']
        found = self.ss_api.cimi_search('jobs', filter='targetResource/href="child"', select='id', last=5)
        assert child in [one.id for one in found.resources_list]
        self.job.add_affected_resource(child)
        self.job.set_status_message('%s for %s' % (self.job.state, self.executor.args.ss_url))
        return 10000
"#;

/// Of the dialect whose classes get none.
const NUVLA: &str = r"
from ..actions import action
from ..job import JOB_QUEUED

@action('of_nuvla', pull_mode_support=True)
class OfNuvla(object):

    def __init__(self, job):
        self.job = job

    def do_work(self):
        assert self.job['state'] == JOB_QUEUED
        if self.job.target_resource_href == 'bad':
            return 3
        self.job.update_job(status_message='done', progress=90)
        return 0
";

/// An environment that `cargo xtask test` has made.
fn python(environment: &str) -> PathBuf {
    let folder = std::env::var("SLIPSTREAM_TEST_PYTHONS")
        .expect("SLIPSTREAM_TEST_PYTHONS names the folder of Pythons: run the tests by `cargo xtask test`");
    Path::new(&folder).join(environment).join("bin/python")
}

struct World {
    up: Up,
    client: Client,
    _folder: TempDir,
}

impl World {
    /// `up` with this interpreter and these class files.
    fn new(python: &Path, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let actions = folder.path().join("actions");
        fs::create_dir(&actions).expect("made");
        for (name, text) in files {
            fs::write(actions.join(name), text).expect("written");
        }
        Self::over(python, &actions, folder)
    }

    fn over(python: &Path, actions: &Path, folder: TempDir) -> Self {
        let mut command = up_command(&folder.path().join("data"));
        command.arg("--actions-dir").arg(actions).arg("--python").arg(python);
        let up = Up::spawn(command);
        let client = up.client();
        Self { up, client, _folder: folder }
    }

    async fn add(&self, action: &str, target: &str) -> String {
        let job = document(json!({"action": action, "targetResource": {"href": target}}));
        self.client.add("job", &job, None).await.expect("added")
    }

    /// The job once it is in this state.
    async fn in_state(&self, id: &str, wanted: &str) -> Document {
        eventually(wanted, async || {
            let job = self.client.get(id).await.expect("there");
            (state(&job) == wanted).then_some(job)
        })
        .await
    }

    async fn ends(&self, action: &str, target: &str, wanted: &str) -> Document {
        let id = self.add(action, target).await;
        self.in_state(&id, wanted).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn class_files_of_both_dialects_do_jobs() {
    for environment in ["oldest", "oldest-real", "newest", "newest-real"] {
        let world = World::new(&python(environment), &[("uses.py", USES), ("nuvla.py", NUVLA)]);
        let done = world.ends("uses_everything", "something", "SUCCESS").await;
        assert_eq!((&done["returnCode"], &done["progress"]), (&json!(10_000), &json!(100)), "{environment}: {done:?}");
        let message = done["statusMessage"].as_str().expect("a text");
        assert!(message.starts_with("RUNNING for http"), "{environment}: {message}");
        let affected = done["affectedResources"].as_array().expect("a list");
        let mut affected = affected.iter().filter_map(|link| link["href"].as_str());
        let child = affected.find(|id| id.starts_with("job/")).expect("the job that was added");
        // nobody has its action
        world.in_state(child, "FAILED").await;
        let failed = world.ends("uses_everything", "bad", "FAILED").await;
        assert_eq!(failed["statusMessage"], "this is bad");
        let done = world.ends("of_nuvla", "something", "SUCCESS").await;
        assert_eq!(
            (&done["returnCode"], &done["statusMessage"]),
            (&json!(0), &json!("done")),
            "{environment}: {done:?}"
        );
        assert_eq!(world.ends("of_nuvla", "bad", "FAILED").await["returnCode"], 3);
    }
}

/// Asleep, or busy without ever giving others a turn.
#[tokio::test(flavor = "multi_thread")]
async fn threads_shows_where_class_files_are_and_their_log_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("uses.py"), USES).expect("written");
    let log = folder.path().join("log");
    let mut command = up_command(&folder.path().join("data"));
    command.arg("--actions-dir").arg(folder.path()).arg("--python").arg(python("newest"));
    let up = Up::spawn_logging(command, fs::File::create(&log).expect("made"));
    for target in ["slow", "c"] {
        let job = document(json!({"action": "uses_everything", "targetResource": {"href": target}}));
        up.client().add("job", &job, None).await.expect("added");
    }
    let line = |inner: &str| USES.lines().position(|line| line.contains(inner)).expect("it is there") + 1;
    let process = up.process().to_string();
    for inner in ["wait(600)", "sum(range("] {
        let frame = format!("uses.py\", line {} in do_work", line(inner));
        let shown = eventually(&frame, async || {
            let shown = program().args(["threads", &process]).output().expect("the binary starts").stdout;
            let shown = String::from_utf8_lossy(&shown).into_owned();
            shown.contains(&frame).then_some(shown)
        })
        .await;
        assert!(shown.contains("last progress 30 % "), "{shown}");
    }
    let logged = fs::read_to_string(&log).expect("there");
    assert!(logged.contains("attempt begins") && !logged.contains("most recent call first"), "{logged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_reaches_a_class_file_and_the_next_job_is_done() {
    let world = World::new(&python("newest"), &[("uses.py", USES)]);
    let id = world.add("uses_everything", "slow").await;
    eventually("progress", async || {
        let job = world.client.get(&id).await.expect("there");
        (job.get("progress") == Some(&json!(30))).then_some(())
    })
    .await;
    let output = program()
        .args(["jobs", "stop", &id, "--ss-url", &world.up.endpoint])
        .env("SLIPSTREAM_PASS", crate::support::PASSWORD)
        .output()
        .expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    world.in_state(&id, "STOPPED").await;
    world.ends("uses_everything", "bad", "FAILED").await;
}

/// `nuvla-job-engine` 5.1.4, unmodified.
#[tokio::test(flavor = "multi_thread")]
async fn nuvlas_own_actions_load_from_their_own_folder_and_its_dummy_action_succeeds() {
    let python = python("newest-real");
    let place = "import os, nuvla.job_engine as m; print(os.path.dirname(m.__file__))";
    let output = Command::new(&python).args(["-c", place]).output().expect("Python starts");
    let place = String::from_utf8(output.stdout).expect("text");
    let actions = Path::new(place.trim()).join("job/actions");
    let world = World::over(&python, &actions, tempfile::tempdir().expect("a folder"));
    // It waits for up to 30 s.
    let done = world.ends("dummy_test_action", "dummy", "SUCCESS").await;
    assert_eq!(done["returnCode"], 0);
}
