//! The server over a real ensemble: what the embedded coordinator cannot show.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::json;
use slipstream_cimi::Client;
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, Session, ZooKeeper};
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::process::{Clock, Metrics};
use slipstream_job_engine::internals::server::reconcile::Mended;
use slipstream_job_engine::internals::server::{DEFAULT_MAX_ATTEMPTS, Options, Server, Writers};
use slipstream_store::Store;
use slipstream_store::memory::MemoryStore;
use slipstream_test_ensemble::Ensemble;

use crate::support::{PASSWORD, credentials, document, eventually, job};

pub async fn server(ensemble: &Ensemble, store: Arc<dyn Store>) -> (Server, Client) {
    let coordinator = Arc::new(ZooKeeper::new(Settings::new(&ensemble.hosts())).expect("good settings"));
    let options = Options {
        password: PASSWORD.into(),
        max_attempts: DEFAULT_MAX_ATTEMPTS,
        writers: Writers::One,
        coordinator_forgets: false,
        collections: default_collections(),
        metrics: Metrics::default(),
    };
    let server = Server::start(store, coordinator, Clock::system(), options).await.expect("the server starts");
    let client = Client::new(server.transport(), Some(credentials()));
    (server, client)
}

/// A session of its own, with a coordinator that is there.
pub async fn session(ensemble: &Ensemble) -> Arc<dyn Session> {
    let coordinator = ZooKeeper::new(Settings::new(&ensemble.hosts())).expect("good settings");
    eventually("the ensemble is reached", async || coordinator.connect().await.ok()).await
}

/// Ids of the queued jobs in the order of the queue.
async fn queued(session: &dyn Session) -> Vec<String> {
    let mut names = session.children(paths::ENTRIES).await.expect("listed");
    names.sort();
    let paths = names.iter().map(|name| format!("{}/{name}", paths::ENTRIES)).collect();
    let found = session.nodes(paths).await.expect("read").into_iter().flatten().flatten();
    found.map(|node| String::from_utf8(node.data).expect("an id")).collect()
}

async fn shown(session: &dyn Session) -> Option<String> {
    let node = session.data(paths::GENERATION).await.ok()?;
    String::from_utf8(node.data).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_queued_in_order_and_again_after_everything_was_lost() {
    let mut ensemble = Ensemble::start(1).await;
    let store: Arc<MemoryStore> = Arc::default();
    let (first_server, client) = server(&ensemble, store.clone()).await;
    let list = client.add_all("job", &vec![job("noop"); 1_000], None).await.expect("answered");
    let mut ids: Vec<String> = list.into_iter().map(|id| id.expect("added")).collect();
    let before = session(&ensemble).await;
    assert_eq!(queued(&*before).await, ids);
    let urgent = join_all((0..50).map(|_| async {
        let mut urgent = job("noop");
        urgent.insert("priority".to_owned(), json!(7));
        client.add("job", &urgent, None).await.expect("added")
    }));
    let mut urgent = urgent.await;
    urgent.sort();
    let mut first = queued(&*before).await[..50].to_vec();
    first.sort();
    assert_eq!(first, urgent);
    assert_eq!(first_server.reconcile_once(SignedDuration::ZERO).await.expect("a round"), Mended::default());
    assert_eq!(shown(&*before).await.as_deref(), Some("1"));
    first_server.close().await;
    drop((first_server, client));

    let (server, client) = server(&ensemble, store.clone()).await;
    assert_eq!(server.reconcile_once(SignedDuration::ZERO).await.expect("a round"), Mended::default());
    assert_eq!(shown(&*before).await.as_deref(), Some("1"), "a restart raises nothing");
    let done = document(json!({"state": "SUCCESS"}));
    client.edit(&ids.remove(0), &done, &[]).await.expect("ended");
    assert_eq!(server.reconcile_once(SignedDuration::ZERO).await.expect("a round").consumed, 1);

    ensemble.wipe().await;
    let after = session(&ensemble).await;
    // answered although the session may not be back yet
    let meanwhile = client.add("job", &job("noop"), None).await.expect("added");
    let raised = async || shown(&*after).await.filter(|shown| shown != "1");
    eventually("the server notices", raised).await;
    let restored = eventually("all are queued again", async || client.operation("queue", "restore").await.ok()).await;
    assert!(restored["queued"].as_u64().is_some_and(|queued| queued >= 1_049), "{restored:?}");
    let mut all = queued(&*after).await;
    all[..50].sort();
    ids.push(meanwhile);
    assert_eq!((&all[..50], all.len()), (&urgent[..], 50 + ids.len()));
    let mut others = all.split_off(50);
    others.sort();
    assert_eq!(others, ids);
    assert_eq!(client.operation("queue", "restore").await.expect("restored")["queued"], 0);
}
