//! Actions that block their threads, as no action should.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use slipstream_cimi::Client;
use slipstream_cimi::http::HttpTransport;
use slipstream_job_engine::{Action, Engine, Failure, Job, JobHandle, State, Success, async_trait};
use tokio::time::timeout;

use crate::support::{LIMIT, eventually};

async fn job(engine: &Engine, id: &str) -> Job {
    timeout(LIMIT, engine.wait(id)).await.expect("ended in time").expect("ended")
}

async fn succeed(_job: JobHandle) -> Result<Success, Failure> {
    Ok(Success::default())
}

/// Blocks its thread, until it is let.
#[derive(Clone, Default)]
struct Blocking {
    begun: Arc<AtomicUsize>,
    door: Arc<(Mutex<bool>, Condvar)>,
}

impl Blocking {
    fn let_go(&self) {
        *self.door.0.lock().expect("nobody panics") = true;
        self.door.1.notify_all();
    }

    async fn have_begun(&self, count: usize) {
        eventually("they block", async || (self.begun.load(Ordering::SeqCst) == count).then_some(())).await;
    }
}

#[async_trait]
impl Action for Blocking {
    async fn run(&self, _job: JobHandle) -> Result<Success, Failure> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        drop(self.door.1.wait_while(self.door.0.lock().expect("nobody panics"), |open| !*open));
        Ok(Success::default())
    }
}

/// On one thread, which every action would have stopped.
#[tokio::test]
async fn actions_that_block_in_every_slot_stop_nothing_but_themselves() {
    const SLOTS: usize = 4;
    let blocking = Blocking::default();
    let engine = Engine::builder()
        .slots(SLOTS)
        .listen(([127, 0, 0, 1], 0).into())
        .action("blocking", blocking.clone())
        .action_within(Duration::from_millis(1), "limited", blocking.clone());
    let engine = engine.start().await.expect("started");
    let limited = engine.submit("limited").await.expect("added");
    let mut blocked = Vec::new();
    for _ in 1..SLOTS {
        blocked.push(engine.submit("blocking").await.expect("added"));
    }
    blocking.have_begun(SLOTS).await;
    let client = Client::new(
        Arc::new(HttpTransport::new(engine.endpoint().expect("listens"), false, LIMIT).expect("an address")),
        None,
    );
    client.get("cloud-entry-point").await.expect("the API answers");
    // its slot is free once its job has ended, although its thread still blocks
    let ended = job(&engine, &limited).await;
    assert_eq!(ended.status_message.as_deref(), Some("time limit of 1ms exceeded"));
    let next = engine.submit("blocking").await.expect("added");
    blocking.have_begun(SLOTS + 1).await;
    // one that is stopped is given up at once, and its slot with it
    engine.client().operation(&blocked[0], "stop").await.expect("stopped");
    assert_eq!(job(&engine, &blocked[0]).await.state, State::Stopped);
    blocking.let_go();
    for id in blocked[1..].iter().chain([&next]) {
        assert_eq!(job(&engine, id).await.state, State::Success);
    }
    engine.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_engine_ends_although_its_actions_block() {
    let folder = tempfile::tempdir().expect("a folder");
    let blocking = Blocking::default();
    let engine = Engine::builder().folder(folder.path()).action("succeed", blocking.clone()).grace(Duration::ZERO);
    let engine = engine.start().await.expect("started");
    let id = engine.submit("succeed").await.expect("added");
    blocking.have_begun(1).await;
    timeout(LIMIT, engine.stop()).await.expect("it ends").expect("and well");
    let again = Engine::builder().folder(folder.path()).action("succeed", succeed).start().await.expect("it is free");
    assert_eq!(job(&again, &id).await.state, State::Success, "it is run again");
    again.stop().await.expect("stopped");
    blocking.let_go();
}
