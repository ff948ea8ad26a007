//! What a server takes, and what it does beyond.

use std::time::Duration;

use slipstream_coordination::queue::Settled;
use slipstream_coordination::session::{Cause, DATA_LIMIT, Mode, Operation, Session, State};
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Error, LockingQueue};
use slipstream_test_ensemble::Ensemble;

use crate::support::{connect, create, eventually, exists, hosts, open, reaches, states, within};

fn value(path: &str, size: usize) -> Vec<Operation> {
    vec![Operation::create(path, vec![b'x'; size], Mode::Persistent)]
}

#[tokio::test]
async fn the_largest_value_is_taken_and_a_larger_one_is_not_sent() {
    let session = connect(Settings::new(&hosts().await)).await;
    let states = states(&*session);
    session.commit(value("/largest", DATA_LIMIT)).await.unwrap();
    assert_eq!(session.data("/largest").await.unwrap().data.len(), DATA_LIMIT);
    assert!(session.commit(value("/larger", DATA_LIMIT + 1)).await.unwrap_err().is(Cause::TooLarge));
    assert_eq!(*states.lock().unwrap(), [State::Connected], "a server would have closed the connection");
}

/// The fault: the server takes less than we send, and closes the connection.
#[tokio::test]
async fn a_request_too_large_for_the_server_fails_and_the_session_lives_on() {
    let ensemble = Ensemble::start_with(1, &[], &[("jute.maxbuffer", "50000")]).await;
    let session = connect(Settings::new(&ensemble.hosts())).await;
    create(&*session, "/mine", Mode::Ephemeral).await.unwrap();
    let states = states(&*session);
    for _ in 0..3 {
        assert_eq!(session.commit(value("/large", 100_000)).await, Err(Error::ConnectionLoss));
        reaches(&*session, State::Suspended).await;
        reaches(&*session, State::Connected).await;
    }
    session.commit(value("/small", 40_000)).await.unwrap();
    assert!(exists(&*session, "/mine").await);
    assert!(!exists(&*session, "/large").await);
    assert_eq!(states.lock().unwrap().iter().filter(|state| **state == State::Suspended).count(), 3);
}

/// The fault: no more connections from this host.
#[tokio::test]
async fn no_more_connections_is_unreachable_until_one_goes() {
    let ensemble = Ensemble::start_with(1, &[("maxClientCnxns", "2")], &[]).await;
    let settings = || Settings { session_timeout: Duration::from_secs(2), ..Settings::new(&ensemble.hosts()) };
    let first = connect(settings()).await;
    let second = connect(settings()).await;
    let refused = open(settings()).await;
    assert!(matches!(refused, Err(Error::Unreachable { .. })));
    assert!(exists(&*first, "/").await && exists(&*second, "/").await);
    second.close().await;
    eventually("there is room", || async { open(settings()).await.is_ok() }).await;
    assert!(exists(&*first, "/").await);
}

/// The fault: a quota on the queue that its entries have used up. It is called so, and nothing else of the queue stops.
#[tokio::test]
async fn a_quota_is_told_as_one() {
    let ensemble = Ensemble::start_with(1, &[], &[("zookeeper.enforceQuota", "true")]).await;
    let session = connect(Settings::new(&ensemble.hosts())).await;
    let queue = LockingQueue::open(session.clone(), "/job", &"a".repeat(32)).await.unwrap();
    // as its own command line does it: three nodes are there, and two more may be
    let limits = "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=5";
    let quota = |path: &str, data: &str| Operation::create(format!("/zookeeper/quota{path}"), data, Mode::Persistent);
    let statistics = quota("/job/zookeeper_stats", "count=3,bytes=0");
    session.commit(vec![quota("/job", ""), quota("/job/zookeeper_limits", limits), statistics]).await.unwrap();
    queue.put(b"a", 5).await.unwrap();
    queue.put(b"b", 5).await.unwrap();
    let refused = queue.put(b"c", 5).await.unwrap_err();
    assert!(refused.is(Cause::Quota), "{refused}");
    // a claim is a node, too
    let forbidden = tokio::spawn({
        let queue = queue.clone();
        async move { queue.take().await }
    });
    eventually("the entries are seen", async || queue.len() == 2).await;
    assert!(!forbidden.is_finished());
    let [first, ..] = &*queue.entries().await.unwrap() else { panic!("two entries wait") };
    assert!(queue.remove(first, b"a").await.unwrap());
    let claim = within(forbidden).await.unwrap().unwrap();
    assert_eq!(claim.value(), b"b");
    assert_eq!(claim.consume().await, Ok(Settled::Done));
}

/// The fault: sessions that the servers keep to themselves, which may have no ephemeral nodes.
#[tokio::test]
async fn a_local_session_is_told_as_one() {
    let settings = [("localSessionsEnabled", "true"), ("localSessionsUpgradingEnabled", "false")];
    let ensemble = Ensemble::start_with(3, &settings, &[]).await;
    let session = connect(Settings::new(&ensemble.hosts())).await;
    create(&*session, "/folder", Mode::Persistent).await.unwrap();
    let refused = create(&*session, "/folder/mine", Mode::Ephemeral).await.unwrap_err();
    assert!(refused.is(Cause::LocalSession), "{refused}");
    // of what several takers want in one transaction servers say that the session has expired, which it has not
    let queue = LockingQueue::open(session.clone(), "/job", &"a".repeat(32)).await.unwrap();
    let entries = queue.put_all(&[("a", 5), ("b", 5)]).await.unwrap();
    let takers = [queue.clone(), queue.clone()].map(|queue| tokio::spawn(async move { queue.take().await }));
    eventually("they are seen", async || queue.free() == 2).await;
    assert!(takers.iter().all(|taker| !taker.is_finished()));
    assert_eq!(queue.entries().await.unwrap(), entries);
    assert!(session.children("/job/taken").await.unwrap().is_empty());
}
