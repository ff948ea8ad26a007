//! What nobody of ours has made in the node tree is reported and left alone, and disturbs nothing (decision 2).

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use slipstream_cimi::Client;
use slipstream_coordination::LockingQueue;
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::{Mode, Operation, Session};
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::Server;
use slipstream_job_engine::internals::server::reconcile::Mended;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Record, Revision, StoreExt};

use crate::site::Site;
use crate::support::{document, eventually, job};

struct World {
    site: Arc<Site>,
    store: Arc<MemoryStore>,
    server: Server,
    client: Client,
    session: EmbeddedSession,
}

impl World {
    async fn new() -> Self {
        let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
        let (server, client) = site.server(store.clone()).await;
        let session = site.tree().session();
        Self { site, store, server, client, session }
    }

    async fn create(&self, path: &str, data: impl Into<Vec<u8>>, mode: Mode) {
        self.session.commit(vec![Operation::create(path, data, mode)]).await.expect("created");
    }

    async fn entry(&self, data: impl Into<Vec<u8>>) {
        self.create(&format!("{}/entry-500-", paths::ENTRIES), data, Mode::PersistentSequential).await;
    }

    async fn round(&self) -> Mended {
        self.server.reconcile_once(SignedDuration::ZERO).await.expect("a round")
    }
}

#[tokio::test]
async fn entries_with_garbage_and_foreign_nodes_are_left_alone_and_the_others_are_mended() {
    let world = World::new().await;
    let ended = world.client.add("job", &job("noop"), None).await.expect("added");
    let lost = world.client.add("job", &job("noop"), None).await.expect("added");
    let garbage: [&[u8]; 6] = [b"", b"\xff\xfe\x00", b"job", b"job/", b"session/1", b"job/of-somebody-else"];
    for data in garbage {
        world.entry(data).await;
    }
    for name in ["aaa", "entry-1000-0000000001", "entry-999-1", "entry--01-0000000001"] {
        world.create(&format!("{}/{name}", paths::ENTRIES), ended.as_bytes(), Mode::Persistent).await;
    }
    let entry = world.client.get(&lost).await.expect("there")["properties"]["zookeeper-path"].clone();
    world.session.commit(vec![Operation::delete(entry.as_str().expect("text"))]).await.expect("deleted");
    let done = document(json!({"state": "SUCCESS"}));
    world.client.edit(&ended, &done, &[]).await.expect("ended");
    let left = world.site.names(paths::ENTRIES).await.len() - 1;
    assert_eq!(world.round().await, Mended { put: 1, consumed: 1, unknown: 6, ..Mended::default() });
    assert_eq!(world.site.names(paths::ENTRIES).await.len(), left + 1);
    assert!(world.site.queued().await.contains(&lost));
    assert_eq!(world.round().await, Mended { unknown: 6, ..Mended::default() });
}

#[tokio::test]
async fn claims_without_an_entry_are_told_in_the_second_round_and_stay() {
    let world = World::new().await;
    let id = world.client.add("job", &job("noop"), None).await.expect("added");
    let queue = world.site.tree().session();
    let queue = LockingQueue::open(Arc::new(queue), paths::JOB, &"a".repeat(32)).await.expect("open");
    let claim = queue.take().await.expect("taken");
    let stale = format!("{}/entry-999-0000009999", paths::TAKEN);
    world.create(&stale, "a".repeat(32), Mode::Persistent).await;
    world.create(&format!("{}/foreign", paths::TAKEN), "?", Mode::Persistent).await;
    assert_eq!(world.round().await, Mended::default(), "a claim may have lost its entry just now");
    for _ in 0..2 {
        assert_eq!(world.round().await, Mended { leftovers: 2, ..Mended::default() });
    }
    // the holder of a job that was stopped lets go within its time
    world.client.operation(&id, "stop").await.expect("stopped");
    assert_eq!(world.round().await.leftovers, 2);
    claim.consume().await.expect("let go");
    assert_eq!(world.round().await.leftovers, 2);
    assert_eq!(world.site.names(paths::TAKEN).await, ["entry-999-0000009999", "foreign"]);
}

#[tokio::test]
async fn what_is_left_alone_is_shown_on_every_server() {
    let world = World::new().await;
    let (_second, other) = world.site.server_among_others(world.store.clone()).await;
    assert_eq!(other.get("queue").await.expect("read")["left_alone"], json!(null), "no reconciler is at work");
    for _ in 0..12 {
        world.entry("job/of-somebody-else").await;
    }
    let stop = Stop::new();
    let running = tokio::spawn({
        let (server, stop) = (world.server.clone(), stop.clone());
        async move { server.reconcile("one", stop).await }
    });
    let left_alone = eventually("the reconciler says so", async || {
        let queue = other.get("queue").await.expect("read");
        (queue["left_alone"]["entries"]["count"] == 12).then(|| queue["left_alone"].clone())
    });
    let names: Vec<String> = (0..10).map(|number| format!("entry-500-{number:010}")).collect();
    let expected = json!({"entries": {"count": 12, "names": names}, "claims": {"count": 0, "names": []}, "without_session": {"count": 0, "names": []}, "refused": []});
    assert_eq!(left_alone.await, expected);
    stop.ask();
    running.await.expect("no panic");
    eventually("nobody says anything any more", async || {
        (other.get("queue").await.expect("read")["left_alone"] == json!(null)).then_some(())
    })
    .await;
}

/// After a wipe new entries have the names of lost ones, which jobs still record.
#[tokio::test]
async fn an_entry_that_has_the_name_of_a_lost_one_is_nobodys_but_its_jobs() {
    let world = World::new().await;
    let taken = world.client.add("job", &job("noop"), None).await.expect("added");
    world.server.settled().await;
    let stored = world.store.get(&taken).await.expect("answers").expect("there");
    let (mut document, ledger) = ((*stored.document).clone(), json!({"entry": stored.entry()}));
    for id in ["job/00", "job/zz"] {
        document.insert("id".to_owned(), json!(id));
        let record = Record {
            id: id.to_owned(),
            revision: Revision::default(),
            document: document.clone().into(),
            ledger: ledger.clone(),
        };
        world.store.insert(record).await.expect("stored");
    }
    assert_eq!(world.round().await, Mended { put: 2, ..Mended::default() });
    let queued = world.site.queued().await;
    assert_eq!(queued.len(), 3);
    assert!(queued[0] == taken && queued.contains(&"job/00".to_owned()) && queued.contains(&"job/zz".to_owned()));
    assert_eq!(world.round().await, Mended::default());
}

/// The put of the third one was never answered.
#[tokio::test]
async fn an_entry_whose_name_two_jobs_record_may_be_that_of_a_third_one() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.client.add("job", &job("noop"), None).await.expect("added"));
    }
    world.server.close().await;
    let path = format!("{}/entry-999-0000000000", paths::ENTRIES);
    for (id, entry) in ids.iter().zip([json!(path), json!(path), json!(null)]) {
        let mut record = world.store.get(id).await.expect("answers").expect("there");
        record.ledger["entry"] = entry;
        world.store.replace(record).await.expect("replaced");
    }
    world.site.wipe();
    let session = world.site.tree().session();
    let queue = LockingQueue::open(Arc::new(session), paths::JOB, &"a".repeat(32)).await.expect("open");
    assert_eq!(queue.put(ids[2].as_bytes(), 999).await.expect("put"), path);
    let (server, _client) = world.site.server(world.store.clone()).await;
    // the clock of this server began after the jobs were written
    let mended = server.reconcile_once(SignedDuration::from_hours(-1)).await.expect("a round");
    assert_eq!(mended, Mended { put: 3, ..Mended::default() });
    let mut queued = world.site.queued().await;
    assert_eq!(queued[0], ids[2]);
    queued.sort();
    assert_eq!(queued, ids);
}
