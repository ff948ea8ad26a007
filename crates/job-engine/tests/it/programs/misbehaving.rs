//! What misbehaves below a real executor: class files, a killed keeper beside one that lives, files that are not to be run; and
//! what a program finds in its environment.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use rustix::process::geteuid;
use serde_json::Value;
use slipstream_cimi::{Client, Document};

use super::support::{Found, Place};
use crate::services::support::Service;
use crate::support::{PASSWORD, eventually, job, state};

/// Each class does as its name says. HERE is the folder of the site.
const CLASSES: &str = r"
import ctypes, os, threading, time
from ..actions import action

def touch(name):
    open('HERE/' + name, 'w').close()

class Base(object):
    def __init__(self, executor, job):
        self.job = job

@action('behave')
class Behave(Base):
    def do_work(self):
        found = os.getcwd() == os.environ['TMPDIR'] and 'LEFT' not in os.environ and os.umask(0o022)
        return 0 if found == 0o022 and os.listdir('.') == [] else 1

@action('swallow')
class Swallow(Base):
    def do_work(self):
        touch('swallow')
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass

@action('hold')
class Hold(Base):
    def do_work(self):
        mutex, libc = ctypes.create_string_buffer(256), ctypes.PyDLL(None)
        touch('hold')
        while True:
            libc.pthread_mutex_lock(mutex)

@action('fork')
class Fork(Base):
    def do_work(self):
        os.fork()
        return 0

@action('change')
class Change(Base):
    def do_work(self):
        open('left', 'w').close()
        os.chdir('/')
        os.umask(0o777)
        os.environ['LEFT'] = 'x'
        return 0

@action('late')
class Late(Base):
    def do_work(self):
        threading.Thread(target=self.go_on, daemon=True).start()
        return 0

    def go_on(self):
        try:
            while True:
                self.job.set_status_message('from a thread')
        except BaseException as error:
            with open('HERE/new', 'w') as refused:
                refused.write(str(error))
            os.rename('HERE/new', 'HERE/refused')
";

async fn ended(client: &Client, id: &str) -> Document {
    eventually("the job ends", async || {
        let document = client.get(id).await.ok()?;
        (!["QUEUED", "RUNNING"].contains(&state(&document))).then_some(document)
    })
    .await
}

async fn appears(place: &Place, name: &str) {
    eventually(name, async || place.path(name).exists().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn class_files_that_misbehave_are_ended_and_their_slot_is_usable() {
    let place = Place::new().await;
    place.action("classes.py", CLASSES);
    place.action("python.toml", "[python]\nstop-grace = \"300ms\"\n");
    let client = place.site.client();
    let mut executor = place.executor("one", 1).await;
    let add = async |action: &str| client.add("job", &job(action), None).await.expect("added");
    for (action, expected) in [("swallow", "STOPPED"), ("hold", "STOPPED"), ("fork", "SUCCESS"), ("change", "SUCCESS")]
    {
        let id = add(action).await;
        if expected == "STOPPED" {
            appears(&place, action).await;
            client.operation(&id, "stop").await.expect("stopped");
        }
        assert_eq!(state(&ended(&client, &id).await), expected, "{action}");
        let document = ended(&client, &add("behave").await).await;
        assert_eq!(document["returnCode"], 0, "it finds all as it should be after {action}: {document:?}");
    }
    let id = add("late").await;
    assert_eq!(state(&ended(&client, &id).await), "SUCCESS");
    appears(&place, "refused").await;
    let refused = fs::read_to_string(place.path("refused")).expect("read");
    assert!(refused.contains("belongs to no attempt that still runs"), "{refused}");
    assert_eq!(ended(&client, &add("behave").await).await["returnCode"], 0);
    executor.stop().await;
    place.expect_nothing_left(&["one"]);
}

/// What a killed keeper leaves becomes the executor's, which ends it, and nothing of other keepers.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_keeper_leaves_is_ended_and_other_programs_go_on() {
    let place = Place::new().await;
    place.action(
        "daemons",
        "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM; (setsid sleep 1000 &); sleep 1001; :' &\n(sleep 1002 &)\n\
         touch \"HERE/begun-${SLIPSTREAM_JOB#job/}\"\nwhile ! test -e HERE/go; do sleep 0.01; done\necho done\n",
    );
    let client = place.site.client();
    let mut executor = place.executor("one", 2).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let id = client.add("job", &job("daemons"), None).await.expect("added");
        appears(&place, &id.replace("job/", "begun-")).await;
        ids.push(id);
    }
    let keepers = Found::keepers_of(&executor, &place.work("one"));
    let first = keepers.iter().find(|keeper| keeper.variable("SLIPSTREAM_JOB") == Some(&ids[0])).expect("it is kept");
    let below = first.directory();
    eventually("all have begun", async || (Found::all_with(&below).len() >= 6).then_some(())).await;
    assert!(first.kill());

    let document = ended(&client, &ids[0]).await;
    let message = document["statusMessage"].as_str().unwrap_or_default();
    // a shell whose child is ended a moment before it says so
    assert!(state(&document) == "FAILED" && message.starts_with("killed by SIGKILL"), "{document:?}");
    eventually("all is gone", async || Found::all_with(&below).is_empty().then_some(())).await;
    assert_eq!(state(&client.get(&ids[1]).await.expect("there")), "RUNNING");
    fs::write(place.path("go"), "").expect("written");
    assert_eq!(state(&ended(&client, &ids[1]).await), "SUCCESS");
    let next = client.add("job", &job("daemons"), None).await.expect("added");
    assert_eq!(state(&ended(&client, &next).await), "SUCCESS", "the slot is usable");
    executor.stop().await;
    place.expect_nothing_left(&["one"]);
}

const DUMP: &str = "#!/bin/sh\nenv > HERE/of-a-command; tr '\\0' '\\n' < /proc/$PPID/environ > HERE/of-its-keeper\n";
const DUMPING_CLASS: &str = r"
import os
from ..actions import action

@action('dumping_class')
class Dumping(object):
    def __init__(self, executor, job):
        pass

    def do_work(self):
        with open('HERE/of-a-class-file', 'w') as dump:
            dump.writelines('%s=%s\n' % pair for pair in os.environ.items())
        return 0
";
/// What the executor has that is nobody else's.
const SECRET: &str = "a-secret-of-the-executor";
/// What of ours a program is told.
const TOLD: [&str; 8] = ["JOB", "ACTION", "TARGET", "RERUN", "DEADLINE", "EXECUTOR", "SOCKET", "API"];

#[tokio::test(flavor = "multi_thread")]
async fn no_program_finds_a_login_of_its_executor() {
    let place = Place::new().await;
    place.action("dump", DUMP);
    place.action("dumping.py", DUMPING_CLASS);
    let client = place.site.client();
    let mut command = place.command("one", 1);
    let own =
        ["SLIPSTREAM_SUPER_PASSWORD", "SLIPSTREAM_COOKIE", "DAEMON_ARGS", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"];
    for name in own {
        command.env(name, SECRET);
    }
    command.env("SLIPSTREAM_USER", "super").env("AWS_SECRET_ACCESS_KEY", SECRET);
    let mut executor = Service::start(command);
    executor.says(" is up").await;
    for action in ["dump", "dumping_class"] {
        let id = client.add("job", &job(action), None).await.expect("added");
        assert_eq!(state(&ended(&client, &id).await), "SUCCESS", "{action}");
    }
    for dump in ["of-a-command", "of-its-keeper", "of-a-class-file"] {
        let text = fs::read_to_string(place.path(dump)).expect("read");
        assert!(text.contains("TMPDIR="), "{dump}: {text}");
        assert!(!text.contains(SECRET) && !text.contains(PASSWORD), "{dump}: {text}");
        let ours = text.lines().filter_map(|line| line.strip_prefix("SLIPSTREAM_")?.split('=').next());
        let others: Vec<&str> = ours.filter(|name| !TOLD.contains(name)).collect();
        assert_eq!(others, Vec::<&str>::new(), "{dump}");
    }
    executor.stop().await;
    place.expect_nothing_left(&["one"]);
}

/// Who may write a file of root's says what root does; and of two files of one name nobody knows which is meant.
#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_and_files_of_one_name_are_not_run_and_the_rest_is() {
    let place = Place::new().await;
    let script = "#!/bin/sh\ntouch HERE/ran; echo done\n";
    for name in ["good", "of_others", "twice.sh", "twice.pl"] {
        place.action(name, script);
    }
    let others = place.actions().join("of_others");
    if geteuid().is_root() {
        chown(&others, Some(65_534), None).expect("given away");
    } else {
        fs::set_permissions(&others, fs::Permissions::from_mode(0o777)).expect("permitted");
    }
    let client = place.site.client();
    let mut executor = place.executor("one", 1).await;
    let wrong = ["of_others", "twice"];
    let mut ids = Vec::new();
    for action in wrong {
        ids.push(client.add("job", &job(action), None).await.expect("added"));
    }
    // these are put aside meanwhile
    let good = client.add("job", &job("good"), None).await.expect("added");
    fs::remove_file(place.path("ran")).ok();
    assert_eq!(state(&ended(&client, &good).await), "SUCCESS");
    for (file, reason) in [
        ("of_others", if geteuid().is_root() { "belongs to user 65534" } else { "everybody may write it" }),
        ("twice.sh", "twice.pl: rename or remove one"),
        ("twice.pl", "twice.sh: rename or remove one"),
    ] {
        let said = executor.said();
        let told = |line: &String| {
            line.contains("cannot load an action") && line.contains(&format!("{file} ")) && line.contains(reason)
        };
        assert!(said.iter().any(told), "{file}: {said:#?}");
    }
    for id in &ids {
        let document = client.get(id).await.expect("there");
        let begun = document.get("started").is_some_and(|begun| *begun != Value::Null);
        assert_eq!((state(&document), begun), ("QUEUED", false), "{document:?}");
    }
    executor.stop().await;
    place.expect_nothing_left(&["one"]);
}
