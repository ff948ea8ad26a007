use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::Operation;
use slipstream_coordination::{Coordinator, Embedded};
use slipstream_store::Revision;
use slipstream_store::memory::MemoryStore;

use super::*;

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

/// Of a server whose coordinator outlives it.
async fn begun(store: &Arc<dyn Store>) -> Generation {
    Generation::begin(store.clone(), false).await.unwrap()
}

async fn node(session: &EmbeddedSession) -> String {
    String::from_utf8(session.data(paths::GENERATION).await.unwrap().data).unwrap()
}

async fn set(session: &EmbeddedSession, data: impl Into<Vec<u8>>) {
    let (path, data) = (paths::GENERATION.to_owned(), data.into());
    session.commit(vec![Operation::Set { path, data, version: None }]).await.unwrap();
}

/// A job that is not final and whose ledger has this lease.
async fn job(store: &dyn Store, id: &str, generation: i64, zxid: i64) {
    let document = json!({"id": id, "state": "QUEUED"}).as_object().cloned().unwrap();
    let ledger = json!({"lease": {"generation": generation, "zxid": zxid}});
    store
        .insert(Record { id: id.to_owned(), revision: Revision::default(), document: document.into(), ledger })
        .await
        .unwrap();
}

#[tokio::test]
async fn every_start_beside_a_coordinator_that_forgets_raises_it() {
    let store = store();
    for expected in 1..=3 {
        let generation = Generation::begin(store.clone(), true).await.unwrap();
        let session = Embedded::new().session();
        assert_eq!((generation.known(), generation.agree(&session).await.unwrap()), (expected, expected));
        assert_eq!(node(&session).await, expected.to_string());
    }
}

#[tokio::test]
async fn a_plain_restart_beside_any_other_raises_nothing() {
    let (store, session) = (store(), Embedded::new().session());
    job(&*store, "job/1", 1, 2).await;
    for _ in 0..3 {
        let generation = begun(&store).await;
        generation.check(&session).await.unwrap();
        assert_eq!((generation.known(), node(&session).await), (1, "1".to_owned()));
    }
    assert_eq!(session.children(paths::OWN).await.unwrap(), ["generation"], "nothing else is left behind");
}

#[tokio::test]
async fn executors_see_the_latest_one() {
    let (store, session) = (store(), Embedded::new().session());
    let (one, other) = (begun(&store).await, begun(&store).await);
    one.agree(&session).await.unwrap();
    for expected in ["2", "3", "4"] {
        other.raise().await.unwrap();
        other.agree(&session).await.unwrap();
        assert_eq!(node(&session).await, expected);
        assert_eq!(one.agree(&session).await.unwrap().to_string(), expected);
    }
}

/// Two servers start at the same time: the one that was slower to publish put its lower generation over the other's, and
/// whoever claimed under it was refused as late for ever.
#[tokio::test]
async fn a_lower_generation_is_not_put_over_a_higher_one() {
    let (store, session) = (store(), Embedded::new().session());
    let slow = begun(&store).await;
    let fast = begun(&store).await;
    fast.raise().await.unwrap();
    fast.agree(&session).await.unwrap();
    let shown = node(&session).await;
    assert_eq!(slow.agree(&session).await.unwrap().to_string(), shown);
    assert_eq!(node(&session).await, shown);
}

#[tokio::test]
async fn a_coordinator_that_shows_no_number_has_forgotten() {
    let (store, session) = (store(), Embedded::new().session());
    let generation = begun(&store).await;
    assert_eq!(generation.agree(&session).await.unwrap(), 1, "nobody has been shown any yet");
    session.commit(vec![Operation::delete(paths::GENERATION)]).await.unwrap();
    assert_eq!(generation.agree(&session).await.unwrap(), 2);
    let garbage: [&[u8]; 7] = [b"", b"x", b"0", b"-5", b"\xff\xfe", b"9007199254740993", b"99999999999999999999"];
    for (expected, garbage) in (3..).zip(garbage) {
        set(&session, garbage).await;
        assert_eq!(generation.agree(&session).await.unwrap(), expected, "{garbage:?}");
        assert_eq!((generation.known(), node(&session).await), (expected, expected.to_string()));
    }
}

#[tokio::test]
async fn an_empty_ensemble_in_place_of_the_one_before_is_noticed_at_a_start() {
    let store = store();
    begun(&store).await.agree(&Embedded::new().session()).await.unwrap();
    let another = Embedded::new().session();
    assert_eq!(begun(&store).await.agree(&another).await.unwrap(), 2);
}

/// Leases of executors have it; a server that did not know it refused them all.
#[tokio::test]
async fn a_store_that_was_put_back_takes_the_generation_that_is_shown() {
    let (store, session) = (store(), Embedded::new().session());
    let generation = begun(&store).await;
    generation.agree(&session).await.unwrap();
    set(&session, "7").await;
    assert_eq!(generation.agree(&session).await.unwrap(), 7);
    assert_eq!((generation.latest().await.unwrap(), node(&session).await), (7, "7".to_owned()));
}

/// One that was written by a slip of the hand was taken over, and nobody believed the next one.
#[tokio::test]
async fn a_generation_that_nobody_has_raised_this_one_to_is_replaced() {
    let (store, session) = (store(), Embedded::new().session());
    let generation = begun(&store).await;
    generation.agree(&session).await.unwrap();
    let most = 1 + MOST_AHEAD;
    set(&session, most.to_string()).await;
    assert_eq!(generation.agree(&session).await.unwrap(), most, "as far ahead as it may be");
    for (expected, shown) in (most + 1..).zip([most + MOST_AHEAD + 1, 1 << 53, i64::MAX]) {
        set(&session, shown.to_string()).await;
        assert_eq!(generation.agree(&session).await.unwrap(), expected, "{shown}");
        assert_eq!((generation.latest().await.unwrap(), node(&session).await), (expected, expected.to_string()));
    }
}

/// A version before has taken it over.
#[tokio::test]
async fn a_store_that_has_such_a_generation_goes_on_behind_it() {
    let (store, session) = (store(), Embedded::new().session());
    let generation = begun(&store).await;
    generation.agree(&session).await.unwrap();
    generation.write(|_| Some(1 << 53)).await.unwrap();
    set(&session, "9007199254740992").await;
    assert_eq!(generation.agree(&session).await.unwrap(), 1 << 53);
    assert_eq!(generation.raise().await.unwrap(), (1 << 53) + 1);
    assert_eq!(generation.agree(&session).await.unwrap(), (1 << 53) + 1);
    assert_eq!(paths::shown_generation(node(&session).await.as_bytes()), Some((1 << 53) + 1), "executors believe it");
}

#[tokio::test]
async fn a_coordinator_that_went_back_is_known_by_the_highest_lease() {
    let (store, coordinator) = (store(), Embedded::new());
    let session = coordinator.session();
    let generation = begun(&store).await;
    generation.check(&session).await.unwrap();
    let newest = newest_transaction(&session).await.unwrap();
    job(&*store, "job/1", 1, newest).await;
    generation.check(&session).await.unwrap();
    assert_eq!(node(&session).await, "1", "its claim is older than what is newest now");
    job(&*store, "job/2", 1, newest + 100).await;
    job(&*store, "job/3", 1, 5).await;
    generation.check(&session).await.unwrap();
    assert_eq!(node(&session).await, "2");
    generation.check(&session).await.unwrap();
    assert_eq!(node(&session).await, "2", "a lease of an earlier generation says nothing");
    // what another server that shares the store has done already is not done again
    job(&*store, "job/4", 2, newest + 100).await;
    let slow = begun(&store).await;
    generation.check(&session).await.unwrap();
    slow.compare(&session, Some(Lease { generation: 2, zxid: newest + 100 })).await.unwrap();
    assert_eq!(node(&session).await, "3");
}

#[tokio::test]
async fn leases_say_nothing_of_a_coordinator_that_forgets() {
    let (store, session) = (store(), Embedded::new().session());
    job(&*store, "job/1", 1, i64::MAX).await;
    let generation = Generation::begin(store.clone(), true).await.unwrap();
    generation.check(&session).await.unwrap();
    assert_eq!(node(&session).await, "1");
}

#[tokio::test(start_paused = true)]
async fn it_is_watched_from_session_to_session() {
    let (store, coordinator) = (store(), Arc::new(Embedded::new()));
    let generation = Arc::new(begun(&store).await);
    let entries = Arc::new(QueueClient::begin(coordinator.clone() as Arc<dyn Coordinator>).await);
    let watching = tokio::spawn(watch(generation.clone(), entries.clone()));
    let operator = coordinator.session();
    let shown = async |expected: &str| {
        for _ in 0..10_000 {
            if operator.data(paths::GENERATION).await.is_ok_and(|node| node.data == expected.as_bytes()) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("never {expected}");
    };
    shown("1").await;
    operator.commit(vec![Operation::delete(paths::GENERATION)]).await.unwrap();
    entries.session().await.unwrap().close().await;
    entries.connected().await;
    shown("2").await;
    watching.abort();
}
