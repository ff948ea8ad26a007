//! Entries that are put together, and puts that are never answered (decisions 1, 9 and 10).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use jiff::SignedDuration;
use slipstream_cimi::{Client, Document};
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::Server;
use slipstream_job_engine::internals::server::reconcile::Mended;
use slipstream_store::memory::MemoryStore;
use tokio::sync::Semaphore;

use crate::site::Site;
use crate::support::{eventually, job};

async fn world() -> (Arc<Site>, Server, Client) {
    let site = Arc::new(Site::default());
    let (server, client) = site.server(Arc::new(MemoryStore::default())).await;
    (site, server, client)
}

fn jobs(count: usize) -> Vec<Document> {
    vec![job("noop"); count]
}

/// The largest and the number of all transactions.
fn sizes(site: &Site) -> (usize, usize) {
    let sizes = site.faults().sizes.lock().expect("not poisoned");
    (sizes.iter().copied().max().unwrap_or(0), sizes.len())
}

#[tokio::test]
async fn an_add_whose_put_is_never_answered_is_answered_and_has_one_entry() {
    let (site, server, client) = world().await;
    site.faults().lost_answers.store(1, Ordering::SeqCst);
    let id = client.add("job", &job("noop"), None).await.expect("answered 201");
    assert_eq!(site.faults().lost_answers.load(Ordering::SeqCst), 0);
    assert!(client.get(&id).await.expect("there").get("properties").is_none(), "nobody knows its path");
    let mended = server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert_eq!(mended, Mended { put: 1, ..Mended::default() });
    assert_eq!(site.queued().await, std::slice::from_ref(&id), "the entry that was there, and no second one");
    let path = format!("{}/{}", paths::ENTRIES, site.names(paths::ENTRIES).await[0]);
    assert_eq!(client.get(&id).await.expect("there")["properties"]["zookeeper-path"], path);
    assert_eq!(server.reconcile_once(SignedDuration::ZERO).await.expect("a round"), Mended::default());
}

#[tokio::test]
async fn a_list_whose_puts_are_never_answered_is_answered_and_each_job_has_one_entry() {
    let (site, server, client) = world().await;
    site.faults().lost_answers.store(7, Ordering::SeqCst);
    let ids = client.add_all("job", &jobs(1_000), None).await.expect("answered");
    let ids: Vec<String> = ids.into_iter().map(|id| id.expect("answered 201")).collect();
    assert_eq!(site.faults().lost_answers.load(Ordering::SeqCst), 0);
    assert_eq!(sizes(&site), (100, 10));
    let mended = server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert_eq!(mended, Mended { put: 700, ..Mended::default() });
    assert_eq!(site.queued().await, ids);
}

#[tokio::test]
async fn a_transaction_that_is_refused_is_settled_one_by_one() {
    let (site, server, client) = world().await;
    site.faults().refuses_many.store(true, Ordering::SeqCst);
    let ids = client.add_all("job", &jobs(150), None).await.expect("answered");
    let ids: Vec<String> = ids.into_iter().map(|id| id.expect("answered 201")).collect();
    assert_eq!(sizes(&site), (100, 152));
    let mut queued = site.queued().await;
    queued.sort();
    assert_eq!(queued, ids);
    assert_eq!(server.reconcile_once(SignedDuration::ZERO).await.expect("a round"), Mended::default());
}

#[tokio::test]
async fn adds_that_come_at_the_same_time_share_transactions() {
    let (site, _server, client) = world().await;
    client.add("job", &job("noop"), None).await.expect("added, with nobody else");
    assert_eq!(sizes(&site), (1, 1));
    let gate = Arc::new(Semaphore::new(0));
    *site.faults().held.lock().expect("not poisoned") = Some(gate.clone());
    let adding = tokio::spawn({
        let client = client.clone();
        async move { join_all((0..300).map(|_| async { client.add("job", &job("noop"), None).await })).await }
    });
    // what has not come to the coordinator yet is stored and waits
    let search = slipstream_cimi::query::Search::default();
    let stored = async || client.search("job", &search).await.expect("searched").count;
    eventually("all are stored", async || (stored().await == 301).then_some(())).await;
    gate.add_permits(1_000);
    for id in adding.await.expect("no panic") {
        id.expect("added");
    }
    let (largest, count) = sizes(&site);
    assert!(largest <= 100 && count <= 12, "{count} transactions, the largest of {largest}");
    assert_eq!(site.queued().await.len(), 301);
}

#[tokio::test]
async fn two_servers_over_one_store_put_nothing_twice() {
    let (site, store) = (Arc::new(Site::default()), Arc::new(MemoryStore::default()));
    let (first, client) = site.server_among_others(store.clone()).await;
    let (second, other) = site.server_among_others(store).await;
    site.faults().lost_answers.store(2, Ordering::SeqCst);
    for client in [&client, &other] {
        client.add("job", &job("noop"), None).await.expect("answered 201");
    }
    let mut put = 0;
    for server in [&first, &second, &first, &second] {
        put += server.reconcile_once(SignedDuration::ZERO).await.expect("a round").put;
    }
    assert_eq!((put, site.queued().await.len()), (2, 2));
}
