//! The real routes over a store that fails: nothing is lost, nothing is done by halves, and the server lives on
//! (decisions 1, 14 and 19).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use slipstream_cimi::Transport;
use slipstream_cimi::acl::default_acl;
use slipstream_cimi::filter::Filter;
use slipstream_coordination::Coordinator;
use slipstream_coordination::session::Operation;
use slipstream_job_engine::internals::process::paths;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Found, IndexRow, Query, Record, Revision, Store, StoreError, StoreExt, StoredDocument, Write};
use tokio::sync::Semaphore;

use crate::support::{Answered, InProcess, Log, Raw, cookie, eventually};

/// What goes wrong with what is written to jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    Full,
    Failed,
    /// Nothing can be read or written any more.
    Gone,
    /// Only replacing fails.
    NotReplaced,
    Panic,
    /// Inserts wait until they are let go.
    Held,
    /// Somebody else sets the progress just before the next replacement or removal.
    Overtaken,
    /// Somebody else stops the job just before the next replacement.
    Stopped,
    /// Somebody else takes the job for administrators alone just before the next replacement or removal.
    Withdrawn,
    /// Another server raises the generation just before this one does.
    Rival,
}

pub struct Failing {
    inner: MemoryStore,
    fault: Mutex<Fault>,
    injected: AtomicUsize,
    /// Documents read, and searches.
    reads: AtomicUsize,
    let_go: Semaphore,
}

impl Default for Failing {
    fn default() -> Self {
        let fault = Mutex::default();
        let (injected, reads) = Default::default();
        Self { inner: MemoryStore::default(), fault, injected, reads, let_go: Semaphore::new(0) }
    }
}

impl Failing {
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().expect("not poisoned") = fault;
    }

    pub fn injected(&self) -> usize {
        self.injected.load(Ordering::SeqCst)
    }

    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().expect("not poisoned")
    }

    async fn fail(&self, id: &str) -> Result<(), StoreError> {
        let fault = self.fault();
        let kind = if fault == Fault::Rival { "generation/" } else { "job/" };
        if fault == Fault::None || !id.starts_with(kind) {
            return Ok(());
        }
        self.injected.fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::Full => Err(StoreError::Full { path: "jobs.db".to_owned() }),
            Fault::Failed | Fault::NotReplaced => Err(StoreError::failed(format!("write {id}"), "the disk is on fire")),
            Fault::Gone => Err(StoreError::Gone { what: format!("reach {id}"), why: "its thread has ended" }),
            Fault::Panic => panic!("the store panics on {id}"),
            Fault::Held => {
                self.let_go.acquire().await.expect("never closed").forget();
                Ok(())
            }
            Fault::Overtaken => self.overtake(id, "progress", json!(42)).await,
            Fault::Stopped => self.overtake(id, "state", json!("STOPPED")).await,
            Fault::Withdrawn => self.overtake(id, "acl", default_acl()).await,
            Fault::Rival => self.overtake(id, "generation", json!(100)).await,
            Fault::None => Ok(()),
        }
    }

    /// Once.
    async fn overtake(&self, id: &str, attribute: &str, value: Value) -> Result<(), StoreError> {
        self.set(Fault::None);
        let stored = self.inner.get(id).await?;
        let missing = || Record {
            id: id.to_owned(),
            revision: Revision::default(),
            document: StoredDocument::default(),
            ledger: json!(null),
        };
        let mut record = stored.unwrap_or_else(missing);
        record.document.make_mut().insert(attribute.to_owned(), value);
        if record.revision == Revision::default() {
            self.inner.insert(record).await.map(drop)
        } else {
            self.inner.replace(record).await.map(drop)
        }
    }
}

impl Failing {
    async fn read_one(&self, id: &str) -> Result<Option<Record>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.fault() == Fault::Gone {
            self.fail(id).await?;
        }
        self.inner.get(id).await
    }

    async fn write_one(&self, write: Write) -> Result<Revision, StoreError> {
        let is_spared = matches!(write, Write::Create(_))
            && matches!(self.fault(), Fault::NotReplaced | Fault::Overtaken | Fault::Stopped | Fault::Withdrawn);
        if !is_spared {
            self.fail(write.id()).await?;
        }
        self.inner.write(vec![write]).await.remove(0)
    }
}

#[async_trait]
impl Store for Failing {
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        let mut found = Vec::new();
        for id in ids {
            found.push(self.read_one(id).await);
        }
        found
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        let mut answers = Vec::new();
        for write in writes {
            answers.push(self.write_one(write).await);
        }
        answers
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.search(kind, query).await
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        self.inner.index_rows(after, limit).await
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        self.inner.remove_matching(kind, filter).await
    }
}

struct World {
    store: Arc<Failing>,
    engine: InProcess,
    cookie: String,
}

impl World {
    async fn new() -> Self {
        let store: Arc<Failing> = Arc::default();
        let engine = InProcess::over(store.clone()).await;
        let cookie = cookie(&*engine.transport).await;
        Self { store, engine, cookie }
    }

    async fn send(&self, method: &str, path: &str, body: Option<serde_json::Value>) -> Answered {
        let request = Raw::new(method, path).header("cookie", &self.cookie);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        request.send(&*self.engine.transport).await
    }

    async fn add(&self) -> String {
        let added = self.send("POST", "/api/job", Some(json!({"action": "noop"}))).await;
        assert_eq!(added.status, 201, "{}", added.text);
        added.body["resource-id"].as_str().expect("an id").to_owned()
    }

    /// Every way to write to a job.
    async fn write_in_every_way(&self, id: &str) -> Vec<Answered> {
        let path = format!("/api/{id}");
        vec![
            self.send("POST", "/api/job", Some(json!({"action": "noop"}))).await,
            self.send("PUT", &path, Some(json!({"state": "RUNNING"}))).await,
            self.send("POST", &format!("{path}/stop"), None).await,
            self.send("DELETE", &path, None).await,
        ]
    }

    async fn entries(&self) -> Vec<String> {
        let session = self.engine.coordinator.connect().await.expect("connected");
        let mut names = session.children(paths::ENTRIES).await.expect("listed");
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_full_store_is_answered_507_loses_nothing_and_is_survived() {
    let world = World::new().await;
    let id = world.add().await;
    let (record, entries) = (world.store.get(&id).await.expect("answers"), world.entries().await);
    world.store.set(Fault::Full);
    for answered in world.write_in_every_way(&id).await {
        assert_eq!((answered.status, &answered.body["status"]), (507, &json!(507)), "{}", answered.text);
        let message = answered.body["message"].as_str().expect("a message");
        assert!(message.contains("no space left") && message.contains("nothing was changed"), "{message}");
    }
    assert_eq!(world.store.injected(), 4, "each write met the full store");
    assert_eq!(world.send("GET", &format!("/api/{id}"), None).await.status, 200, "reading goes on");
    assert_eq!((world.store.get(&id).await.expect("answers"), world.entries().await), (record, entries));

    world.store.set(Fault::None);
    let again = world.write_in_every_way(&id).await;
    assert_eq!(again.iter().map(|answered| answered.status).collect::<Vec<_>>(), [201, 200, 200, 200]);
}

/// A job is stored before it is queued, and changed before its entry goes.
#[tokio::test]
async fn what_cannot_be_stored_changes_nothing_in_the_queue() {
    let world = World::new().await;
    let id = world.add().await;
    let entries = world.entries().await;
    assert_eq!(entries.len(), 1);
    world.engine.server.settled().await;
    world.store.set(Fault::Failed);
    for answered in world.write_in_every_way(&id).await {
        assert_eq!(answered.status, 500, "{}", answered.text);
        assert_eq!(world.entries().await, entries);
    }
    assert_eq!(world.store.injected(), 4);
    world.store.set(Fault::None);
    assert_eq!(world.send("POST", &format!("/api/{id}/stop"), None).await.body["state"], "STOPPED");
    assert_eq!(world.entries().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_write_that_was_overtaken_is_decided_again_and_takes_nothing_back() {
    let world = World::new().await;
    world.store.set(Fault::Overtaken);
    let id = world.add().await;
    world.engine.server.settled().await;
    let path = format!("/api/{id}");
    let added = world.send("GET", &path, None).await.body;
    assert_eq!(added["progress"], 42);
    world.engine.server.reconcile_once(jiff::SignedDuration::ZERO).await.expect("reconciled");
    let added = world.send("GET", &path, None).await.body;
    assert!(added["properties"]["zookeeper-path"].is_string(), "its entry is recorded all the same");

    let other = format!("/api/{}", world.add().await);
    world.engine.server.settled().await;
    world.store.set(Fault::Overtaken);
    let edited = world.send("PUT", &other, Some(json!({"name": "n"}))).await;
    assert_eq!((edited.status, &edited.body["name"], &edited.body["progress"]), (200, &json!("n"), &json!(42)));
    world.store.set(Fault::Stopped);
    let edited = world.send("PUT", &other, Some(json!({"progress": 50}))).await;
    assert_eq!((edited.status, &edited.body["code"]), (409, &json!("final")), "judged again");

    world.store.set(Fault::Overtaken);
    assert_eq!(world.send("POST", &format!("{path}/stop"), None).await.body["state"], "STOPPED");
    world.store.set(Fault::Overtaken);
    assert_eq!(world.send("DELETE", &path, None).await.status, 200);
    assert_eq!((world.send("GET", &path, None).await.status, world.store.injected()), (404, 5));
}

#[tokio::test]
async fn a_round_reads_no_job_unless_its_entry_is_missing() {
    let world = World::new().await;
    for _ in 0..3 {
        world.add().await;
    }
    world.engine.server.settled().await;
    let round = async || {
        let before = world.store.reads();
        let mended = world.engine.server.reconcile_once(jiff::SignedDuration::ZERO).await.expect("a round");
        (mended.put, world.store.reads() - before)
    };
    assert_eq!(round().await, (0, 0));
    let session = world.engine.coordinator.connect().await.expect("connected");
    let path = format!("{}/{}", paths::ENTRIES, world.entries().await[1]);
    session.commit(vec![Operation::delete(path)]).await.expect("deleted");
    assert_eq!(round().await, (1, 0), "the one whose entry is gone is known");
    assert_eq!(round().await, (0, 0));
}

#[tokio::test]
async fn servers_that_start_at_once_have_generations_of_their_own() {
    let store: Arc<Failing> = Arc::default();
    for (start, expected) in ["101", "101", "102"].into_iter().enumerate() {
        store.set(if start < 2 { Fault::Rival } else { Fault::None });
        let engine = InProcess::over(store.clone()).await;
        let session = engine.coordinator.connect().await.expect("connected");
        let node = session.data(paths::GENERATION).await.expect("published");
        assert_eq!(String::from_utf8_lossy(&node.data), expected);
    }
    assert_eq!(store.injected(), 2);
}

#[tokio::test]
async fn a_job_that_exists_is_not_queued_twice() {
    let world = World::new().await;
    for status in [201, 409, 409] {
        let request = Raw::new("POST", "/api/job").header("cookie", &world.cookie).header("idempotency-key", "key");
        let answered = request.json(&json!({"action": "noop"})).send(&*world.engine.transport).await;
        assert_eq!(answered.status, status, "{}", answered.text);
    }
    assert_eq!(world.entries().await.len(), 1);
}

#[tokio::test]
async fn an_error_has_a_message_for_the_caller_and_one_for_the_log_joined_by_the_request_id() {
    let log = Log::capture();
    let world = World::new().await;
    world.store.set(Fault::Failed);
    let answered = world.send("POST", "/api/job", Some(json!({"action": "noop"}))).await;
    assert_eq!((answered.status, world.store.injected()), (500, 1));
    let request_id = answered.headers["x-request-id"].to_str().expect("text");
    assert_eq!(answered.body["request-id"], request_id);
    assert!(!answered.text.contains("on fire"), "the cause is for the log: {}", answered.text);
    let written = log.written();
    let lines: Vec<&str> = written.lines().filter(|line| line.contains(request_id)).collect();
    assert_eq!(lines.len(), 1, "{written}");
    assert!(lines[0].contains("ERROR") && lines[0].contains("method=POST path=\"/api/job\""), "{}", lines[0]);
    assert!(lines[0].contains("the disk is on fire"), "{}", lines[0]);
}

#[tokio::test]
async fn a_handler_that_panics_is_answered_500_and_the_server_lives_on() {
    let world = World::new().await;
    let id = world.add().await;
    world.engine.server.settled().await;
    world.store.set(Fault::Panic);
    for answered in world.write_in_every_way(&id).await {
        assert_eq!(answered.status, 500, "{}", answered.text);
        assert_eq!(answered.body["request-id"].as_str(), answered.headers["x-request-id"].to_str().ok());
    }
    assert_eq!(world.store.injected(), 4);
    world.store.set(Fault::None);
    assert_eq!(world.send("GET", &format!("/api/{id}"), None).await.body["state"], "QUEUED");
    let again = world.write_in_every_way(&id).await;
    assert_eq!(again.iter().map(|answered| answered.status).collect::<Vec<_>>(), [201, 200, 200, 200]);
}

#[tokio::test]
async fn what_a_client_began_is_done_even_when_it_goes_away() {
    let world = World::new().await;
    world.store.set(Fault::Held);
    let transport: Arc<dyn Transport> = world.engine.transport.clone();
    let cookie = world.cookie.clone();
    let client = tokio::spawn(async move {
        let request = Raw::new("POST", "/api/job").header("cookie", &cookie).json(&json!({"action": "noop"}));
        request.send(&*transport).await
    });
    eventually("the add is under way", async || (world.store.injected() > 0).then_some(())).await;
    client.abort();
    assert!(client.await.expect_err("gone").is_cancelled());
    world.store.set(Fault::None);
    world.store.let_go.add_permits(1);
    eventually("the job is stored and queued", async || (world.entries().await.len() == 1).then_some(())).await;
}
