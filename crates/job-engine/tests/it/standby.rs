//! More executors than jobs over a real ensemble: who follows the queue, and who does the jobs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
use slipstream_cimi::Client;
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, ZooKeeper};
use slipstream_job_engine::internals::executor;
use slipstream_job_engine::internals::process::clock::Clock;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::process::stop::Stop;
use slipstream_store::memory::MemoryStore;
use slipstream_test_ensemble::Ensemble;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::over_zookeeper::{server, session};
use crate::site::Site;
use crate::support::{eventually, job, state};

const EXECUTORS: usize = 6;
const THREADS: usize = 2;
/// As many are active as `executor/standby.rs` says.
const ACTIVE: usize = 3;

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

/// How many sessions follow the queue, as `ZooKeeper` says (`wchp`: watches by path).
async fn watchers(ensemble: &Ensemble) -> usize {
    let mut stream = TcpStream::connect(ensemble.addresses()[0]).await.expect("connected");
    stream.write_all(b"wchp").await.expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let below = answer.lines().skip_while(|line| *line != paths::JOB).skip(1);
    below.take_while(|line| line.starts_with('\t')).count()
}

async fn exactly(ensemble: &Ensemble, wanted: usize, what: &str) {
    eventually(what, async || (watchers(ensemble).await == wanted).then_some(())).await;
}

fn employ(
    number: usize,
    coordinator: Arc<dyn Coordinator>,
    client: &Client,
    catalogue: Catalogue,
) -> (Stop, JoinHandle<()>) {
    let (grace, clock) = (Duration::from_mins(1), Clock::system());
    let name = format!("executor-{number}");
    let (threads, cimi_grace, runtime) = (THREADS, grace, executor::ActionRuntime::shared());
    let options = executor::Options { threads, grace, cimi_grace, clock, ..executor::Options::new(name, runtime) };
    let (client, stop) = (client.clone(), Stop::new());
    (stop.clone(), tokio::spawn(async move { executor::run(options, coordinator, client, catalogue, stop).await }))
}

/// Sessions end while some executors stand by, before these look by themselves: they notice it by the standby list alone.
#[tokio::test(start_paused = true)]
async fn an_executor_that_stands_by_notices_the_end_of_its_session() {
    let site = Arc::new(Site::default());
    let (_server, client) = site.server(Arc::<MemoryStore>::default()).await;
    let executors: Vec<_> =
        (0..EXECUTORS).map(|number| employ(number, site.clone(), &client, Catalogue::new())).collect();
    let all = async || (site.names(paths::EXECUTORS).await.len() == EXECUTORS).then_some(());
    eventually("all are there", all).await;
    // some stand by after five seconds without a job, and look by themselves after ten
    tokio::time::sleep(Duration::from_secs(7)).await;
    let before = site.names(paths::EXECUTORS).await;
    site.end_sessions();
    eventually("all have sessions again", async || {
        let now = site.names(paths::EXECUTORS).await;
        (now.len() == EXECUTORS && now.iter().all(|name| !before.contains(name))).then_some(())
    })
    .await;
    for (stop, ended) in executors {
        stop.ask();
        ended.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_executors_a_few_follow_the_queue_and_all_do_its_jobs() {
    let mut ensemble = Ensemble::start(1).await;
    let (_server, client) = server(&ensemble, Arc::<MemoryStore>::default()).await;
    let (running, may_end) = (watch::Sender::new(0), Arc::new(Semaphore::new(0)));
    let hosts = ensemble.hosts();
    let employ = |number: usize| {
        let mut catalogue = Catalogue::new();
        catalogue.register("held", Held { running: running.clone(), may_end: may_end.clone() }, None);
        let coordinator = Arc::new(ZooKeeper::new(Settings::new(&hosts)).expect("good settings"));
        employ(number, coordinator, &client, catalogue)
    };
    let mut executors = vec![employ(0)];
    exactly(&ensemble, 1, "one that is alone is active").await;
    executors.extend((1..EXECUTORS).map(employ));
    exactly(&ensemble, EXECUTORS, "all are active when they come").await;
    exactly(&ensemble, ACTIVE, "those behind the first few stand by").await;

    // the active ones have too few slots: the others take what is left
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
    exactly(&ensemble, ACTIVE, "a few are active when nothing is left to do").await;

    // sessions end while some stand by: all begin anew
    ensemble.wipe().await;
    let after = session(&ensemble).await;
    let registered = async || after.children(paths::EXECUTORS).await.is_ok_and(|all| all.len() == EXECUTORS);
    eventually("all are there again", async || registered().await.then_some(())).await;
    exactly(&ensemble, ACTIVE, "a few are active after everything was lost").await;

    // those that stand by take the place of those that go
    for (stop, _) in &executors[..ACTIVE] {
        stop.ask();
    }
    join_all(executors.drain(..ACTIVE).map(|(_, ended)| ended)).await;
    exactly(&ensemble, EXECUTORS - ACTIVE, "the others are active").await;
    may_end.add_permits(1);
    let last = client.add("job", &job("held"), None).await.expect("added");
    let done = async || (state(&client.get(&last).await.expect("there")) == "SUCCESS").then_some(());
    eventually("the last job is done", done).await;
    for (stop, ended) in executors {
        stop.ask();
        ended.await.expect("no panic");
    }
}
