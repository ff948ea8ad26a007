//! The engine as a part of another program.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slipstream_cimi::query::Search;
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::{Config, Files};
use slipstream_job_engine::{
    Action, Engine, EngineError, Failure, InstanceError, JobHandle, State, Success, async_trait,
};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{LIMIT, Log, eventually};

async fn succeed(_job: JobHandle) -> Result<Success, Failure> {
    Ok(Success::default())
}

/// Says that it has begun, and ends when it is let.
#[derive(Clone)]
struct Held {
    begun: Arc<Semaphore>,
    go_on: Arc<Notify>,
}

impl Held {
    fn new() -> Self {
        Self { begun: Arc::new(Semaphore::new(0)), go_on: Arc::default() }
    }

    async fn has_begun(&self) {
        timeout(LIMIT, self.begun.acquire()).await.expect("begun in time").expect("never closed").forget();
    }
}

#[async_trait]
impl Action for Held {
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        self.begun.add_permits(1);
        tokio::select! {
            () = self.go_on.notified() => Ok(Success::with_message("let go")),
            () = job.cancelled() => Err(Failure::new("cancelled")),
        }
    }
}

/// Once nobody else holds it.
async fn reopen(folder: &Path) -> Engine {
    eventually("the folder is free", async || {
        match Engine::builder().folder(folder).action("succeed", succeed).start().await {
            Ok(engine) => Some(engine),
            Err(EngineError::Instance(error)) => {
                assert!(error.to_string().starts_with("another engine uses the data directory"), "{error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    })
    .await
}

async fn job(engine: &Engine, id: &str) -> slipstream_job_engine::Job {
    timeout(LIMIT, engine.wait(id)).await.expect("ended in time").expect("ended")
}

#[tokio::test]
async fn types_and_functions_are_actions_and_their_ends_are_seen() {
    let held = Held::new();
    let greeting = "hello".to_owned();
    let engine = Engine::builder()
        .action("succeed", succeed)
        .action("held", held.clone())
        .action("greet", move |job: JobHandle| {
            let greeting = greeting.clone();
            async move {
                let target = job.job().target_resource.as_ref().ok_or_else(|| Failure::new("nobody to greet"))?;
                Ok(Success { message: Some(format!("{greeting}, {}", target.href)), return_code: Some(7) })
            }
        })
        .action("panic", async |_: JobHandle| panic!("out of order"))
        .action_within(Duration::from_millis(10), "too_slow", Held::new())
        .start()
        .await
        .expect("started");
    let greeted = engine.submit("greet").target("user/jane").priority(3).await.expect("added");
    let greeted = job(&engine, &greeted).await;
    assert_eq!((greeted.state, greeted.return_code, greeted.priority), (State::Success, Some(7), Some(3)));
    assert_eq!(greeted.status_message.as_deref(), Some("hello, user/jane"));
    for (action, message) in [
        ("greet", "nobody to greet"),
        ("panic", "out of order"),
        ("too_slow", "time limit of 10ms exceeded"),
        ("unknown", "Not implemented action: unknown"),
    ] {
        let id = engine.submit(action).await.expect("added");
        let failed = job(&engine, &id).await;
        assert_eq!((failed.state, failed.status_message.as_deref()), (State::Failed, Some(message)), "{action}");
    }
    let id = engine.submit("held").await.expect("added");
    held.has_begun().await;
    held.go_on.notify_one();
    assert_eq!(job(&engine, &id).await.status_message.as_deref(), Some("let go"));
    assert_eq!(engine.address(), None);
    engine.stop().await.expect("stopped");
}

#[tokio::test]
async fn jobs_of_one_key_are_one_job() {
    let engine = Engine::builder().action("succeed", succeed).start().await.expect("started");
    let first = engine.submit("succeed").key("once").await.expect("added");
    assert_eq!(engine.submit("succeed").key("once").await.expect("answered"), first);
    let (other, another) =
        (engine.submit("succeed").await.expect("added"), engine.submit("succeed").await.expect("added"));
    assert!(first != other && other != another);
    let refused = engine.submit("succeed").priority(1_000).await.expect_err("there is no such priority");
    assert!(
        matches!(&refused, EngineError::Request(error) if error.refusal().is_some_and(|it| it.status == 400)),
        "{refused}"
    );
    assert_eq!(engine.client().search("job", &Search::default()).await.expect("searched").count, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wait_for_one_job_and_for_many() {
    let held = Held::new();
    let engine = Engine::builder().action("succeed", succeed).action("held", held.clone()).start().await;
    let engine = Arc::new(engine.expect("started"));
    let id = engine.submit("held").await.expect("added");
    held.has_begun().await;
    let mut waits = JoinSet::new();
    for _ in 0..2 {
        let (engine, id) = (engine.clone(), id.clone());
        waits.spawn(async move { job(&engine, &id).await.state });
    }
    let mut quick = JoinSet::new();
    for _ in 0..3 {
        let engine = engine.clone();
        quick.spawn(async move {
            for _ in 0..20 {
                let id = engine.submit("succeed").await.expect("added");
                assert_eq!(job(&engine, &id).await.state, State::Success);
            }
        });
    }
    quick.join_all().await;
    held.go_on.notify_one();
    assert_eq!(waits.join_all().await, [State::Success, State::Success]);
}

#[tokio::test]
async fn a_wait_ends_when_its_job_is_stopped_deleted_or_unknown() {
    let held = Held::new();
    let engine = Engine::builder().slots(1).action("held", held.clone()).start().await.expect("started");
    let running = engine.submit("held").await.expect("added");
    held.has_begun().await;
    let waiting = engine.submit("held").await.expect("added");
    let change = async {
        engine.client().operation(&running, "stop").await.expect("stopped");
        held.has_begun().await;
        engine.client().delete(&waiting).await.expect("deleted");
    };
    let (stopped, deleted, ()) =
        timeout(LIMIT, async { tokio::join!(engine.wait(&running), engine.wait(&waiting), change) })
            .await
            .expect("in time");
    assert_eq!(stopped.expect("there").state, State::Stopped);
    assert!(matches!(&deleted, Err(EngineError::Deleted { id }) if *id == waiting), "{deleted:?}");
    let unknown = engine.wait("job/00000000-0000-4000-8000-000000000000").await;
    assert!(matches!(unknown, Err(EngineError::Deleted { .. })), "{unknown:?}");
}

/// The wait that is dropped is one of two: the other must be told all the same.
#[tokio::test]
async fn a_dropped_wait_takes_nothing_from_others() {
    let held = Held::new();
    let engine = Engine::builder().action("held", held.clone()).start().await.expect("started");
    let id = engine.submit("held").await.expect("added");
    held.has_begun().await;
    let mut kept = Box::pin(engine.wait(&id));
    for _ in 0..3 {
        timeout(Duration::from_millis(20), engine.wait(&id)).await.expect_err("it still runs");
        assert!(timeout(Duration::from_millis(20), &mut kept).await.is_err(), "it still runs");
    }
    held.go_on.notify_one();
    assert_eq!(timeout(LIMIT, kept).await.expect("in time").expect("ended").state, State::Success);
}

#[tokio::test]
async fn two_engines_live_side_by_side() {
    let start = async |name: &str| {
        let text = name.to_owned();
        let greet = move |_: JobHandle| std::future::ready(Ok(Success::with_message(text.clone())));
        Engine::builder().action("greet", greet).listen(([127, 0, 0, 1], 0).into()).start().await.expect("started")
    };
    let (one, two) = (start("one").await, start("two").await);
    assert_ne!(one.address().expect("listens"), two.address().expect("listens"));
    assert_ne!(one.folder(), two.folder());
    let (first, second) = (one.submit("greet").await.expect("added"), two.submit("greet").await.expect("added"));
    assert_eq!(job(&one, &first).await.status_message.as_deref(), Some("one"));
    assert_eq!(job(&two, &second).await.status_message.as_deref(), Some("two"));
    assert!(matches!(one.wait(&second).await, Err(EngineError::Deleted { .. })), "each knows its own jobs alone");
    one.stop().await.expect("stopped");
    let third = two.submit("greet").await.expect("the end of one is none of the other's business");
    assert_eq!(job(&two, &third).await.state, State::Success);
}

#[tokio::test]
async fn an_address_is_answered_and_serves_the_same_jobs() {
    let engine =
        Engine::builder().action("succeed", succeed).listen(([127, 0, 0, 1], 0).into()).start().await.expect("started");
    let id = engine.submit("succeed").await.expect("added");
    job(&engine, &id).await;
    let password = match std::env::var("SLIPSTREAM_SUPER_PASSWORD") {
        Ok(password) => password,
        Err(_) => std::fs::read_to_string(engine.folder().join("super.password")).expect("made").trim().to_owned(),
    };
    let endpoint = format!("http://{}", engine.address().expect("listens"));
    assert_eq!(engine.endpoint(), Some(endpoint.as_str()));
    let transport = slipstream_cimi::http::HttpTransport::new(&endpoint, false, LIMIT).expect("a good address");
    let credentials = slipstream_cimi::Credentials { username: "super".to_owned(), password: password.into() };
    let client = slipstream_cimi::Client::new(Arc::new(transport), Some(credentials));
    assert_eq!(client.get(&id).await.expect("there")["state"], "SUCCESS");
    let second = Engine::builder().listen(engine.address().expect("listens")).start().await;
    assert!(matches!(second, Err(EngineError::Instance(InstanceError::Listen { .. }))), "{second:?}");
}

#[tokio::test]
async fn stop_waits_for_running_jobs_and_the_folder_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = Held::new();
    let engine =
        Engine::builder().folder(folder.path()).slots(1).action("held", held.clone()).start().await.expect("started");
    let running = engine.submit("held").await.expect("added");
    held.has_begun().await;
    let waiting = engine.submit("succeed").await.expect("added");
    let client = engine.client().clone();
    let mut stopping = Box::pin(engine.stop());
    assert!(timeout(Duration::from_millis(50), &mut stopping).await.is_err(), "a job still runs");
    client.get(&running).await.expect("clients are served until the last job has ended");
    held.go_on.notify_one();
    timeout(LIMIT, stopping).await.expect("in time").expect("stopped");
    let closed = client.get(&running).await.expect_err("its engine has stopped");
    let causes = slipstream_action::with_causes(&closed);
    assert!(causes.ends_with("the engine has stopped"), "{causes}");

    let engine =
        Engine::builder().folder(folder.path()).action("succeed", succeed).start().await.expect("the folder is free");
    assert_eq!(engine.client().get(&running).await.expect("kept")["statusMessage"], "let go");
    assert_eq!(job(&engine, &waiting).await.state, State::Success);
    engine.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_engine_that_is_dropped_loses_nothing_and_runs_its_jobs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = Held::new();
    let engine =
        Engine::builder().folder(folder.path()).action("succeed", held.clone()).start().await.expect("started");
    let id = engine.submit("succeed").await.expect("added");
    held.has_begun().await;
    drop(engine);
    let engine = reopen(folder.path()).await;
    let done = job(&engine, &id).await;
    assert_eq!((done.state, done.status_message), (State::Success, None), "run again, by the other action");
}

/// The runtime goes with the engine in the middle of everything, as at the end of a test.
#[test]
fn an_engine_may_go_with_its_runtime() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let id = runtime().block_on(async {
        let engine =
            Engine::builder().folder(folder.path()).action("held", Held::new()).start().await.expect("started");
        engine.submit("succeed").await.expect("added")
    });
    let state = runtime().block_on(async { job(&reopen(folder.path()).await, &id).await.state });
    assert!(state.is_final(), "{state}");
}

#[tokio::test]
async fn a_temporary_folder_goes_with_its_engine() {
    let engine = Engine::builder().start().await.expect("started");
    let folder = engine.folder().to_owned();
    assert!(folder.join("jobs.db").is_file());
    engine.stop().await.expect("stopped");
    assert!(!folder.exists());
    let engine = Engine::builder().start().await.expect("started");
    let folder = engine.folder().to_owned();
    drop(engine);
    eventually("the folder is removed", async || (!folder.exists()).then_some(())).await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_leaves_the_folder_free() {
    let twice = Engine::builder().action("a", succeed).action("a", succeed).start().await;
    assert!(matches!(&twice, Err(EngineError::SameName { name }) if name == "a"), "{twice:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let stop = slipstream_job_engine::internals::process::Stop::new();
    stop.ask();
    let stopped = Engine::builder().folder(folder.path()).stopped_by(stop).start().await;
    assert!(matches!(stopped, Err(EngineError::Stopped)), "{stopped:?}");
    let engine = Engine::builder().folder(folder.path()).start().await.expect("the folder is free");
    let second = Engine::builder().folder(folder.path()).start().await;
    assert!(matches!(second, Err(EngineError::Instance(InstanceError::InUse { .. }))), "{second:?}");
    drop(engine);
}

#[tokio::test]
async fn waits_end_with_the_engine() {
    let stop = slipstream_job_engine::internals::process::Stop::new();
    let engine = Engine::builder()
        .grace(Duration::ZERO)
        .action("held", Held::new())
        .stopped_by(stop.clone())
        .start()
        .await
        .expect("started");
    let id = engine.submit("held").await.expect("added");
    let ask = async {
        stop.ask();
    };
    let (waited, ()) = timeout(LIMIT, async { tokio::join!(engine.wait(&id), ask) }).await.expect("in time");
    assert!(matches!(waited, Err(EngineError::Ended)), "{waited:?}");
    engine.stop().await.expect("an orderly end");
}

/// The fault is a bug in a part: the clock, which all of them read, panics whenever a task of theirs reads it.
#[tokio::test]
async fn parts_that_crash_are_started_again_and_go_on_with_their_work() {
    const PARTS: [&str; 3] = ["part=\"reconciler\"", "part=\"executor\"", "part=\"distributor tick\""];
    let log = Log::capture();
    let is_broken = Arc::new(AtomicBool::new(true));
    let (broken, system) = (is_broken.clone(), Clock::system());
    let clock = Clock::showing(move || {
        let is_part = tokio::task::try_id().is_some();
        assert!(!(is_part && broken.load(Ordering::Relaxed)), "the clock is broken");
        system.now()
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let config = "[[distributor]]\nname = 'tick'\naction = 'succeed'\nevery = '1 second'\n";
    std::fs::write(&file, config).expect("written");
    let tick = Config::read(&Files::named(&file)).0.distributor("tick").expect("there").clone();
    let engine = Engine::builder().action("succeed", succeed).clock(clock).distributors(vec![tick]);
    let engine = engine.start().await.expect("started");
    eventually("each part has crashed", async || {
        let log = log.written();
        let crashed = |part: &&str| log.lines().any(|line| line.contains(part) && line.contains("the clock is broken"));
        PARTS.iter().all(crashed).then_some(())
    })
    .await;
    is_broken.store(false, Ordering::Relaxed);
    let id = eventually("a job is added", async || engine.submit("succeed").await.ok()).await;
    assert_eq!(job(&engine, &id).await.state, State::Success);
    let ticks = Search { filter: Some("action='succeed' and state='SUCCESS'".to_owned()), ..Search::default() };
    eventually("jobs of the distributor are done", async || {
        (engine.client().search("job", &ticks).await.ok()?.count > 1).then_some(())
    })
    .await;
    engine.stop().await.expect("nothing is wrong any more");
}
