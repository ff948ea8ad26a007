//! Many jobs leave nothing behind: no process, no descriptor, no folder, no memory. `MANY_JOBS` says how many.

use std::fs;
use std::path::Path;

use slipstream_cimi::{Client, Document};

use super::support::{Found, Place, names};
use crate::services::support::Service;
use crate::support::{document, eventually};
use serde_json::json;

/// Jobs unless somebody says otherwise; `cargo xtask test --everything` has ten thousand done.
const JOBS: usize = 2_000;
/// A command starts two processes for each job, and does one of so many; a host does the others.
const COMMANDS: usize = 10;
/// Before it is counted what there is, so that each slot has done some.
const BEFORE: usize = 300;
const SLOTS: usize = 4;
/// Jobs of one request.
const LIST: usize = 500;
/// How much larger the executor may have become, in bytes: what its allocator keeps for later.
const LARGER: u64 = 24 << 20;

const HOST: &str = r#"#!/usr/bin/env python3
import json, os, sys
def say(kind, **members):
    os.write(3, (json.dumps({kind: members}) + "\n").encode())
for line in sys.stdin:
    order = json.loads(line)
    if "setup" in order:
        say("hello", protocol=1, program="many", actions=[{"name": "hosted"}])
    else:
        open("left", "w").close()
        print("job", order["run"]["number"], flush=True)
        say("report", progress=50, message="half way")
        say("end", state="SUCCESS", message="done")
"#;

/// What an executor has at a moment at which it has nothing to do.
#[derive(Debug, PartialEq, Eq)]
struct Has {
    processes: usize,
    descriptors: usize,
    folders: usize,
    sockets: usize,
}

impl Has {
    fn of(executor: &Service, place: &Place) -> Self {
        let work = place.work("one");
        let own = names(&work);
        assert_eq!(own.len(), 1, "{own:?}");
        Self {
            processes: Found::all_with(&work).len(),
            descriptors: names(Path::new(&format!("/proc/{}/fd", executor.process()))).len(),
            folders: names(&work.join(&own[0])).len(),
            sockets: names(&place.path("run")).len(),
        }
    }
}

/// What is resident of it, in bytes.
fn memory(executor: &Service) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", executor.process())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Adds so many jobs, and waits until all have succeeded.
async fn work(client: &Client, jobs: usize, action: &str) {
    let job = document(json!({"action": action, "targetResource": {"href": "dummy"}}));
    let mut ids = Vec::new();
    for _ in 0..jobs.div_ceil(LIST) {
        let list: Vec<Document> = vec![job.clone(); LIST.min(jobs - ids.len())];
        let added = client.add_all("job", &list, None).await.expect("added");
        ids.extend(added.into_iter().map(|id| id.expect("added")));
    }
    for id in ids {
        eventually("the job succeeds", async || {
            let document = client.get(&id).await.ok()?;
            let state = document["state"].as_str()?;
            assert_ne!(state, "FAILED", "{document:?}");
            (state == "SUCCESS").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_leave_nothing_behind() {
    let jobs = std::env::var("MANY_JOBS").map_or(JOBS, |jobs| jobs.parse().expect("a number"));
    let place = Place::new().await;
    place.action("host.py.sh", HOST);
    place.action("host.toml", "[[host]]\ncommand = [\"./host.py.sh\"]\nprocesses = 2\n");
    place.action("command", "#!/bin/sh\ntouch left\necho '{\"report\":{\"progress\":50}}' >&3\necho done\n");
    let client = place.site.client();
    let mut executor = place.executor("one", SLOTS).await;
    for action in ["hosted", "command"] {
        work(&client, BEFORE, action).await;
    }
    let (before, memory_before) = (Has::of(&executor, &place), memory(&executor));

    work(&client, jobs - jobs / COMMANDS, "hosted").await;
    work(&client, jobs / COMMANDS, "command").await;

    eventually("it has what it had before", async || {
        let now = Has::of(&executor, &place);
        (now.descriptors <= before.descriptors && now == Has { descriptors: now.descriptors, ..before }).then_some(())
    })
    .await;
    let larger = memory(&executor).saturating_sub(memory_before);
    assert!(larger < LARGER, "larger by {} MiB than {} MiB", larger >> 20, memory_before >> 20);
    executor.stop().await;
    place.expect_nothing_left(&["one"]);
}
