//! What a server takes, and what it does beyond.

use std::time::Duration;

use slipstream_coordination::Error;
use slipstream_coordination::session::{Cause, DATA_LIMIT, Mode, Operation, Session, State};
use slipstream_coordination::zookeeper::Settings;
use slipstream_test_ensemble::Ensemble;

use crate::support::{connect, create, eventually, exists, hosts, open, reaches, states};

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
