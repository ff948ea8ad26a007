//! Stop and delete reach a running action over the real server, queue and executor (decisions 7 and 14).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
use slipstream_coordination::Coordinator;
use slipstream_job_engine::internals::executor::{self, ActionRuntime, Options};
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_store::StoreExt;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::support::{InProcess, LIMIT, eventually, job, state};

/// An action that ends only when it is cancelled.
#[derive(Clone, Default)]
struct Endless {
    begun: Arc<Notify>,
    cancelled: Arc<Notify>,
}

#[async_trait]
impl Action for Endless {
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        self.begun.notify_one();
        job.cancelled().await;
        self.cancelled.notify_one();
        Err(Failure::new("cancelled"))
    }
}

/// A server and an executor with one slot.
struct World {
    engine: InProcess,
    endless: Endless,
    stop: Stop,
    executor: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let engine = InProcess::new().await;
        let endless = Endless::default();
        let mut catalogue = Catalogue::new();
        assert!(catalogue.register("endless", endless.clone(), None));
        let options = Options {
            grace: Duration::ZERO,
            cimi_grace: Duration::from_secs(30),
            ..Options::new("Kenny", ActionRuntime::shared())
        };
        let stop = Stop::new();
        let coordinator = Arc::new(engine.coordinator.clone());
        let executor =
            tokio::spawn(executor::run(options, coordinator, engine.client.clone(), catalogue, stop.clone()));
        Self { engine, endless, stop, executor }
    }

    async fn running(&self) -> String {
        let id = self.engine.client.add("job", &job("endless"), None).await.expect("added");
        within("the action begins", self.endless.begun.notified()).await;
        eventually("it is RUNNING", async || {
            (state(&self.engine.client.get(&id).await.ok()?) == "RUNNING").then_some(())
        })
        .await;
        id
    }

    async fn entries(&self) -> usize {
        let session = self.engine.coordinator.connect().await.expect("connected");
        session.children(paths::ENTRIES).await.expect("listed").len()
    }

    /// Neither entries nor claims: the queue is as if the job had never been.
    async fn queue_is_empty(&self) {
        let session = self.engine.coordinator.connect().await.expect("connected");
        for folder in [paths::ENTRIES, paths::TAKEN] {
            eventually("entry and claim go", async || {
                session.children(folder).await.expect("listed").is_empty().then_some(())
            })
            .await;
        }
    }

    async fn end(self) {
        self.stop.ask();
        self.executor.await.expect("no panic");
    }
}

async fn within(what: &str, event: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(LIMIT, event).await.is_ok(), "not within {LIMIT:?}: {what}");
}

#[tokio::test]
async fn a_stop_cancels_the_action_and_frees_its_slot() {
    let world = World::new().await;
    for _ in 0..2 {
        let id = world.running().await;
        let stopped = world.engine.client.operation(&id, "stop").await.expect("stopped");
        assert_eq!(state(&stopped), "STOPPED");
        assert_eq!(world.entries().await, 0, "its holder sees the entry vanish");
        within("the action is cancelled", world.endless.cancelled.notified()).await;
        world.queue_is_empty().await;
        let after = world.engine.client.get(&id).await.expect("there");
        assert_eq!((state(&after), after.get("statusMessage")), ("STOPPED", None), "the action's end changes nothing");
        let ledger = world.engine.client.operation(&id, "ledger").await.expect("there");
        assert_eq!((&ledger["attempts"][0]["outcome"], &ledger["lost"]), (&json!("finished"), &json!(0)));
    }
    world.end().await;
}

#[tokio::test]
async fn a_delete_cancels_the_action_and_leaves_nothing() {
    let world = World::new().await;
    for _ in 0..2 {
        let id = world.running().await;
        world.engine.client.delete(&id).await.expect("deleted");
        assert_eq!(world.entries().await, 0, "its holder sees the entry vanish");
        within("the action is cancelled", world.endless.cancelled.notified()).await;
        world.queue_is_empty().await;
        assert_eq!(world.engine.store.get(&id).await.expect("answers"), None, "nobody stored it again");
    }
    world.end().await;
}

#[tokio::test]
async fn an_executor_that_stops_gives_its_job_back_queued() {
    let world = World::new().await;
    let id = world.running().await;
    let (client, coordinator) = (world.engine.client.clone(), world.engine.coordinator.clone());
    world.end().await;
    assert_eq!(state(&client.get(&id).await.expect("there")), "QUEUED");
    let ledger = client.operation(&id, "ledger").await.expect("there");
    assert_eq!((&ledger["attempts"][0]["outcome"], &ledger["lost"]), (&json!("released"), &json!(0)));
    let session = coordinator.connect().await.expect("connected");
    assert_eq!(session.children(paths::ENTRIES).await.expect("listed").len(), 1);
    assert_eq!(session.children(paths::TAKEN).await.expect("listed"), Vec::<String>::new());
}
