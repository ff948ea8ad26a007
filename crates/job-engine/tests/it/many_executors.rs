//! Many executors over a real ensemble, which come and go, and do all jobs.

use std::sync::Arc;

use futures_util::future::join_all;
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
use slipstream_coordination::ZooKeeper;
use slipstream_coordination::zookeeper::Settings;
use slipstream_job_engine::internals::executor;
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_store::memory::MemoryStore;
use slipstream_test_ensemble::Ensemble;
use tokio::sync::{Semaphore, watch};

use crate::over_zookeeper::{server, session};
use crate::support::{eventually, job, state};

const EXECUTORS: usize = 6;
const THREADS: usize = 2;

/// Counts itself while it runs, and ends when it may.
struct Held {
    running: watch::Sender<usize>,
    may_end: Arc<Semaphore>,
}

#[async_trait]
impl Action for Held {
    async fn run(&self, _: JobHandle) -> Result<Success, Failure> {
        self.running.send_modify(|running| *running += 1);
        self.may_end.acquire().await.expect("never closed").forget();
        self.running.send_modify(|running| *running -= 1);
        Ok(Success::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_executors_that_come_and_go_do_all_jobs() {
    let mut ensemble = Ensemble::start(1).await;
    let (_server, client) = server(&ensemble, Arc::<MemoryStore>::default()).await;
    let (running, may_end) = (watch::Sender::new(0), Arc::new(Semaphore::new(0)));
    let hosts = ensemble.hosts();
    let employ = |number: usize| {
        let mut catalogue = Catalogue::new();
        catalogue.register("held", Held { running: running.clone(), may_end: may_end.clone() }, None);
        let coordinator = Arc::new(ZooKeeper::new(Settings::new(&hosts)).expect("good settings"));
        let (name, runtime) = (format!("executor-{number}"), executor::ActionRuntime::shared());
        let options = executor::Options { threads: THREADS, ..executor::Options::new(name, runtime) };
        let (client, stop) = (client.clone(), Stop::new());
        (stop.clone(), tokio::spawn(executor::run(options, coordinator, client, catalogue, stop)))
    };
    let mut executors: Vec<_> = (0..EXECUTORS).map(employ).collect();
    // as many as there are slots: each executor takes its part
    let jobs = vec![job("held"); EXECUTORS * THREADS];
    let added = client.add_all("job", &jobs, None).await.expect("answered");
    let ids: Vec<String> = added.into_iter().map(|id| id.expect("added")).collect();
    let all = async || (*running.borrow() == jobs.len()).then_some(());
    eventually("all jobs run at once", all).await;
    may_end.add_permits(jobs.len());
    for id in &ids {
        let ended = async || (state(&client.get(id).await.expect("there")) == "SUCCESS").then_some(());
        eventually("a job is done", ended).await;
    }

    // all sessions end: all begin anew
    ensemble.wipe().await;
    let after = session(&ensemble).await;
    let registered = async || after.children(paths::EXECUTORS).await.is_ok_and(|all| all.len() == EXECUTORS);
    eventually("all are there again", async || registered().await.then_some(())).await;

    // those that stay take the part of those that go
    for (stop, _) in &executors[1..] {
        stop.ask();
    }
    join_all(executors.drain(1..).map(|(_, ended)| ended)).await;
    may_end.add_permits(1);
    let last = client.add("job", &job("held"), None).await.expect("added");
    let done = async || (state(&client.get(&last).await.expect("there")) == "SUCCESS").then_some(());
    eventually("the last job is done", done).await;
    for (stop, ended) in executors {
        stop.ask();
        ended.await.expect("no panic");
    }
}
