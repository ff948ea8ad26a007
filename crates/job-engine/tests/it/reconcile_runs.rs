//! The reconciler by itself, on a paused clock: when its rounds come, whom they leave alone, who runs them, and how
//! the server does without the coordinator meanwhile (decisions 1, 2, 8 and 18).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipstream_cimi::Client;
use slipstream_cimi::resource::format_time;
use slipstream_coordination::session::Operation;
use slipstream_coordination::{Coordinator, Embedded, Error, LockingQueue, Session};
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::server::reconcile::Mended;
use slipstream_job_engine::internals::server::{DEFAULT_MAX_ATTEMPTS, Options, Server, Writers};
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Query, Record, Revision, Store, StoreExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::failing_store::{Failing, Fault};
use crate::support::{InProcess, PASSWORD, credentials, document, job};

struct World {
    server: Server,
    client: Client,
    store: Arc<MemoryStore>,
    coordinator: Embedded,
    session: Arc<dyn Session>,
}

fn options() -> Options {
    Options {
        password: PASSWORD.into(),
        max_attempts: DEFAULT_MAX_ATTEMPTS,
        writers: Writers::One,
        coordinator_forgets: true,
        collections: default_collections(),
        metrics: Metrics::default(),
    }
}

impl World {
    async fn new() -> Self {
        let (store, coordinator) = (Arc::<MemoryStore>::default(), Embedded::new());
        let shared: Arc<dyn Coordinator> = Arc::new(coordinator.clone());
        let clock = Clock::starting_at("2026-11-24T10:00:00Z".parse().expect("a time"));
        let server = Server::start(store.clone(), shared, clock, options()).await.expect("the server starts");
        let client = Client::new(server.transport(), Some(credentials()));
        let session = coordinator.connect().await.expect("connected");
        Self { server, client, store, coordinator, session }
    }

    fn reconciler(&self, name: &'static str) -> Stop {
        let stop = Stop::new();
        let (server, asked) = (self.server.clone(), stop.clone());
        tokio::spawn(async move { server.reconcile(name, asked).await });
        stop
    }

    async fn entries(&self) -> usize {
        self.session.children(paths::ENTRIES).await.expect("listed").len()
    }

    async fn lose_entries(&self) {
        for name in self.session.children(paths::ENTRIES).await.expect("listed") {
            let path = format!("{}/{name}", paths::ENTRIES);
            self.session.commit(vec![Operation::Delete { path, version: None }]).await.expect("deleted");
        }
    }

    /// How long it takes until there are so many entries.
    async fn time_until_entries(&self, count: usize) -> Duration {
        let begun = Instant::now();
        while self.entries().await != count {
            assert!(begun.elapsed() < Duration::from_mins(5), "never {count} entries");
            sleep(Duration::from_millis(100)).await;
        }
        begun.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_entry_is_put_again_once_its_job_was_left_alone_for_ten_seconds() {
    let world = World::new().await;
    let stop = world.reconciler("one");
    world.client.add("job", &job("noop"), None).await.expect("added");
    sleep(Duration::from_secs(25)).await;
    // The next round comes at about 30 seconds, when this job has been written to 5 seconds before.
    world.client.add("job", &job("noop"), None).await.expect("added");
    world.lose_entries().await;
    let first = world.time_until_entries(1).await;
    assert!(first < Duration::from_secs(10), "{first:?}");
    let second = world.time_until_entries(2).await;
    assert!(second > Duration::from_secs(10) && second < Duration::from_secs(20), "{second:?}");
    stop.ask();
}

#[tokio::test(start_paused = true)]
async fn expired_sessions_are_removed_while_the_reconciler_runs() {
    let world = World::new().await;
    world.client.login().await.expect("logged in");
    let sessions = async || world.store.search("session", &Query::default()).await.expect("found").count;
    let stop = world.reconciler("one");
    sleep(Duration::from_hours(23)).await;
    assert_eq!(sessions().await, 1);
    sleep(Duration::from_hours(2)).await;
    assert_eq!(sessions().await, 0);
    stop.ask();
}

#[tokio::test(start_paused = true)]
async fn of_two_reconcilers_one_works_and_hands_over() {
    let world = World::new().await;
    let second = {
        // Another server over the same store and queue.
        let shared: Arc<dyn Coordinator> = Arc::new(world.coordinator.clone());
        let clock = Clock::starting_at("2026-11-24T10:00:00Z".parse().expect("a time"));
        Server::start(world.store.clone(), shared, clock, options()).await.expect("the server starts")
    };
    let leader = world.reconciler("one");
    sleep(Duration::from_secs(1)).await;
    let (stop, asked) = (Stop::new(), Stop::new());
    let candidate = {
        let (second, stop) = (second.clone(), stop.clone());
        tokio::spawn(async move { second.reconcile("two", stop).await })
    };
    sleep(Duration::from_secs(1)).await;
    let contenders = world.session.children(paths::RECONCILER).await.expect("listed");
    assert_eq!(contenders.len(), 2, "{contenders:?}");
    leader.ask();
    sleep(Duration::from_secs(1)).await;
    world.client.add("job", &job("noop"), None).await.expect("added");
    world.lose_entries().await;
    world.time_until_entries(1).await;
    stop.ask();
    candidate.await.expect("no panic");
    asked.ask();
    assert_eq!(world.session.children(paths::RECONCILER).await.expect("listed"), Vec::<String>::new());
}

#[tokio::test]
async fn a_round_mends_at_most_ten_thousand_jobs_and_the_next_one_the_others() {
    let engine = InProcess::new().await;
    engine.client.add("job", &job("noop"), None).await.expect("added with its entry, so that pages are not even");
    for number in 0..10_003 {
        let id = format!("job/{number:05}");
        let job = json!({"id": id, "state": "QUEUED", "action": "noop", "updated": format_time(Timestamp::UNIX_EPOCH)});
        let record = Record { id, revision: Revision::default(), document: document(job).into(), ledger: json!({}) };
        engine.store.insert(record).await.expect("stored");
    }
    for (put, is_cut) in [(10_000, true), (3, false), (0, false)] {
        let mended = engine.server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
        assert_eq!(mended, Mended { put, is_cut, ..Mended::default() });
    }
}

/// It had to wait half a minute for each ten thousand.
#[tokio::test(start_paused = true)]
async fn what_is_more_than_a_round_mends_follows_at_once() {
    const JOBS: usize = 25_000;
    let world = World::new().await;
    for number in 0..JOBS {
        let id = format!("job/{number:05}");
        let job = json!({"id": id, "state": "QUEUED", "action": "noop", "updated": format_time(Timestamp::UNIX_EPOCH)});
        let record = Record { id, revision: Revision::default(), document: document(job).into(), ledger: json!({}) };
        world.store.insert(record).await.expect("stored");
    }
    let stop = world.reconciler("one");
    let begun = Instant::now();
    while world.entries().await != JOBS {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} entries", world.entries().await);
        sleep(Duration::from_millis(100)).await;
    }
    stop.ask();
}

/// A coordinator that can be made to answer nothing at all.
struct Silent {
    inner: Embedded,
    silent: watch::Sender<bool>,
}

#[async_trait]
impl Coordinator for Silent {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let mut silent = self.silent.subscribe();
        silent.wait_for(|silent| !silent).await.expect("the sender is ours");
        let session = Arc::new(self.inner.session());
        // A session of a coordinator that falls silent is useless at once.
        let (mortal, mut silent) = (session.clone(), self.silent.subscribe());
        tokio::spawn(async move {
            if silent.wait_for(|silent| *silent).await.is_ok() {
                mortal.expire();
            }
        });
        Ok(session)
    }

    fn session_timeout(&self) -> Duration {
        self.inner.session_timeout()
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_coordinator_holds_up_an_add_for_a_bounded_time_and_edits_say_try_again() {
    let coordinator = Arc::new(Silent { inner: Embedded::new(), silent: watch::Sender::new(false) });
    let clock = Clock::starting_at("2026-11-24T10:00:00Z".parse().expect("a time"));
    let store: Arc<MemoryStore> = Arc::default();
    let server = Server::start(store, coordinator.clone(), clock, options()).await.expect("the server starts");
    let client = Client::new(server.transport(), Some(credentials()));
    let session = coordinator.inner.connect().await.expect("connected");
    let queue = LockingQueue::open(session, paths::JOB, &"a".repeat(32)).await.expect("open");
    let queued = client.add("job", &job("noop"), None).await.expect("added");
    let _claim = queue.take().await.expect("taken");

    coordinator.silent.send_replace(true);
    sleep(Duration::from_millis(1)).await;
    let begun = Instant::now();
    let added = client.add("job", &job("noop"), None).await.expect("added while the coordinator is silent");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(client.get(&added).await.expect("there").get("properties").is_none(), "no entry yet");
    let running = document(json!({"state": "RUNNING"}));
    let refused = client.edit(&queued, &running, &[]).await.expect_err("the claim cannot be looked up");
    assert_eq!(refused.refusal().map(|refusal| refusal.status), Some(503));
    client.edit(&queued, &document(json!({"name": "n"})), &[]).await.expect("needs no coordinator");

    coordinator.silent.send_replace(false);
    client.edit(&queued, &running, &[]).await.expect("later the same request succeeds");
    server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert!(client.get(&added).await.expect("there").get("properties").is_some(), "its entry was put");
}

/// The timer alone would take up to forty seconds.
#[tokio::test(start_paused = true)]
async fn who_leaves_something_to_the_reconciler_nudges_it() {
    let store: Arc<Failing> = Arc::default();
    let shared: Arc<dyn Coordinator> = Arc::new(Embedded::new());
    let clock = Clock::starting_at("2026-11-24T10:00:00Z".parse().expect("a time"));
    let server = Server::start(store.clone(), shared, clock, options()).await.expect("the server starts");
    let client = Client::new(server.transport(), Some(credentials()));
    let stop = Stop::new();
    let running = {
        let (server, stop) = (server.clone(), stop.clone());
        tokio::spawn(async move { server.reconcile("one", stop).await })
    };
    sleep(Duration::from_secs(2)).await;
    store.set(Fault::NotReplaced);
    let id = client.add("job", &job("noop"), None).await.expect("added");
    server.settled().await;
    assert_eq!(store.injected(), 1, "its entry could not be recorded");
    store.set(Fault::None);
    let begun = Instant::now();
    while client.get(&id).await.expect("there").get("properties").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(15), "not by the timer");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(9), "jobs just written to are left alone");
    stop.ask();
    running.await.expect("no panic");
}

/// The fault: the coordinator is away, which every page is to say to administrators.
#[tokio::test(start_paused = true)]
async fn while_the_coordinator_is_away_that_is_told_and_since_when() {
    let coordinator = Arc::new(Silent { inner: Embedded::new(), silent: watch::Sender::new(false) });
    let clock = Clock::starting_at("2026-11-24T10:00:00Z".parse().expect("a time"));
    let store: Arc<MemoryStore> = Arc::default();
    let server = Server::start(store, coordinator.clone(), clock, options()).await.expect("the server starts");
    let client = Client::new(server.transport(), Some(credentials()));
    let told = async || client.get("notices").await.expect("answered").get("coordinatorAway").cloned();
    assert_eq!(told().await, None);
    coordinator.silent.send_replace(true);
    sleep(Duration::from_mins(1)).await;
    let since = told().await.expect("it is away");
    sleep(Duration::from_mins(5)).await;
    assert_eq!(told().await, Some(since.clone()), "since when it is so does not change");
    assert!(since.as_str().is_some_and(|since| since.starts_with("2026-11-24T10:0")), "{since}");
    coordinator.silent.send_replace(false);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(told().await, None);
}
