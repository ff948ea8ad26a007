//! Cases of the seam itself.

use slipstream_coordination::session::{Cause, Change, Mode, Operation, State, WATCH_CAPACITY, Watch};
use slipstream_coordination::{Error, Session};

use crate::harness::{Harness, within};

fn create(path: &str, mode: Mode) -> Operation {
    Operation::create(path, "", mode)
}

async fn persist(session: &dyn Session, path: &str) {
    session.commit(vec![create(path, Mode::Persistent)]).await.unwrap();
}

async fn exists(session: &dyn Session, path: &str) -> bool {
    session.sync(path).await.unwrap();
    match session.data(path).await {
        Err(error) if error.is(Cause::NoNode) => false,
        node => node.map(|_| true).unwrap(),
    }
}

async fn next(watch: &mut Watch) -> Option<Change> {
    within(watch.recv()).await
}

pub async fn transactions_happen_whole_or_not_at_all(harness: &dyn Harness) {
    let client = harness.connect().await;
    let session = &*client.session;
    let operations = vec![
        create("/a", Mode::Persistent),
        create("/a/e", Mode::Ephemeral),
        Operation::Set { path: "/a".into(), data: b"x".into(), version: Some(0) },
        Operation::delete("/a/e"),
    ];
    let mut broken = operations.clone();
    broken.push(Operation::Delete { path: "/a".into(), version: Some(9) });
    assert!(session.commit(broken).await.unwrap_err().is(Cause::BadVersion));
    assert!(!exists(session, "/a").await);
    assert_eq!(session.commit(operations).await.unwrap(), ["/a", "/a/e", "/a", "/a/e"]);
    let node = session.data("/a").await.unwrap();
    assert_eq!((node.data.as_slice(), node.version), (b"x".as_slice(), 1));
    assert!(session.children("/a").await.unwrap().is_empty());
}

pub async fn a_refusal_names_the_operation(harness: &dyn Harness) {
    let client = harness.connect().await;
    persist(&*client.session, "/a").await;
    persist(&*client.session, "/a/b").await;
    let rows = [
        (create("/a", Mode::Persistent), Cause::NodeExists),
        (create("/none/x", Mode::Persistent), Cause::NoNode),
        (create("/e/x", Mode::Persistent), Cause::ParentIsEphemeral),
        (Operation::delete("/a"), Cause::NotEmpty),
        (Operation::delete("/none"), Cause::NoNode),
        (Operation::Delete { path: "/a/b".into(), version: Some(3) }, Cause::BadVersion),
        (Operation::create("/big", vec![0; 512 * 1024 + 1], Mode::Persistent), Cause::TooLarge),
        (create("/bad//path", Mode::Persistent), Cause::BadPath),
    ];
    for (operation, cause) in rows {
        let operations = vec![create("/e", Mode::Ephemeral), create("/f", Mode::Ephemeral), operation];
        match client.session.commit(operations).await {
            Err(Error::Refused { index, cause: found, .. }) => assert_eq!((index, found), (2, cause)),
            other => panic!("should be refused as {cause}: {other:?}"),
        }
        assert!(!exists(&*client.session, "/e").await);
    }
}

pub async fn sequences_rise_per_parent(harness: &dyn Harness) {
    let client = harness.connect().await;
    let session = &*client.session;
    persist(session, "/a").await;
    persist(session, "/b").await;
    let mut paths = Vec::new();
    for (path, mode) in [
        ("/a/x-", Mode::PersistentSequential),
        ("/a/y-", Mode::EphemeralSequential),
        ("/b/x-", Mode::PersistentSequential),
        ("/a/x-", Mode::PersistentSequential),
    ] {
        let path = session.commit(vec![create(path, mode)]).await.unwrap().concat();
        session.commit(vec![Operation::delete(&path)]).await.unwrap();
        paths.push(path);
    }
    assert_eq!(paths, ["/a/x-0000000000", "/a/y-0000000001", "/b/x-0000000000", "/a/x-0000000002"]);
}

pub async fn ephemeral_nodes_go_with_their_session(harness: &dyn Harness) {
    let other = harness.connect().await;
    for close in [false, true] {
        let client = harness.connect().await;
        client.session.commit(vec![create("/e", Mode::Ephemeral), create("/p", Mode::Persistent)]).await.unwrap();
        if close {
            client.session.close().await;
        } else {
            client.expire().await;
        }
        assert!(!exists(&*other.session, "/e").await);
        assert!(exists(&*other.session, "/p").await);
        other.session.commit(vec![Operation::delete("/p")]).await.unwrap();
    }
}

pub async fn created_orders_creations(harness: &dyn Harness) {
    let client = harness.connect().await;
    let session = &*client.session;
    persist(session, "/a").await;
    let first = session.data("/a").await.unwrap().created;
    session.commit(vec![Operation::Set { path: "/a".into(), data: b"x".into(), version: None }]).await.unwrap();
    assert_eq!(session.data("/a").await.unwrap().created, first);
    session.commit(vec![Operation::delete("/a")]).await.unwrap();
    persist(session, "/a").await;
    assert!(session.data("/a").await.unwrap().created > first);
}

pub async fn requests_of_an_expired_session_fail(harness: &dyn Harness) {
    let client = harness.connect().await;
    let session = &*client.session;
    client.expire().await;
    assert_eq!(session.commit(vec![create("/a", Mode::Persistent)]).await, Err(Error::Expired));
    assert_eq!(session.data("/").await, Err(Error::Expired));
    assert_eq!(session.children("/").await, Err(Error::Expired));
    assert_eq!(session.sync("/").await, Err(Error::Expired));
    assert_eq!(session.watch("/").await.map(drop), Err(Error::Expired));
    assert_eq!(*session.state().borrow(), State::Expired);
    assert!(!exists(&*harness.connect().await.session, "/a").await);
}

pub async fn several_nodes_are_read_at_once(harness: &dyn Harness) {
    let client = harness.connect().await;
    let session = &*client.session;
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    session.commit(vec![Operation::create("/a", "x", Mode::Ephemeral)]).await.unwrap();
    // sent behind a transaction that is not answered yet
    let created = session.commit(vec![create("/b", Mode::Persistent), create("/b/c", Mode::Ephemeral)]);
    let read = session.nodes(paths(&["/b/c", "/none", "/a", "/b/c/none", "/b"]));
    let (created, read) = tokio::join!(biased; created, read);
    created.unwrap();
    let read = read.unwrap();
    let read: Vec<_> = read.into_iter().map(Result::unwrap).collect();
    assert_eq!(read.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, false, true]);
    assert_eq!(read[2], Some(session.data("/a").await.unwrap()));
    assert!(read[0].as_ref().unwrap().created > read[2].as_ref().unwrap().created);
    assert_eq!(read.iter().flatten().map(|node| node.is_ephemeral).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(session.nodes(Vec::new()).await, Ok(Vec::new()));
}

/// What cannot be read is no fault of the others.
pub async fn each_of_several_nodes_is_found_or_refused(harness: &dyn Harness) {
    let client = harness.connect().await;
    let session = &*client.session;
    session.commit(vec![create("/a", Mode::Persistent), create("/b", Mode::Persistent)]).await.unwrap();
    let read = session.nodes(["/a", "bad", "/none", "/b"].map(str::to_owned).to_vec()).await.unwrap();
    assert_eq!(read[1..3], [Err(Cause::BadPath), Ok(None)]);
    assert!([&read[0], &read[3]].iter().all(|found| matches!(found, Ok(Some(_)))), "{read:?}");
    client.expire().await;
    assert_eq!(session.nodes(vec!["bad".to_owned(), "/a".to_owned()]).await, Err(Error::Expired));
}

pub async fn a_watch_tells_changes_in_order(harness: &dyn Harness) {
    let (client, other) = (harness.connect().await, harness.connect().await);
    let mut watch = client.session.watch("/a").await.unwrap();
    assert_eq!(next(&mut watch).await, Some(Change::Reset));
    persist(&*other.session, "/a").await;
    persist(&*other.session, "/ab").await;
    let operations = vec![create("/a/e", Mode::Ephemeral), create("/a/s", Mode::PersistentSequential)];
    other.session.commit(operations).await.unwrap();
    other.session.commit(vec![create("/a/f", Mode::Persistent), Operation::delete("/none")]).await.unwrap_err();
    client.session.commit(vec![Operation::Set { path: "/a".into(), data: b"x".into(), version: None }]).await.unwrap();
    other.expire().await;
    let expected = [
        Change::Created("/a".into()),
        Change::Created("/a/e".into()),
        Change::Created("/a/s0000000001".into()),
        Change::Set("/a".into()),
        Change::Deleted("/a/e".into()),
    ];
    for change in expected {
        assert_eq!(next(&mut watch).await, Some(change));
    }
}

pub async fn a_watch_ends_with_its_session(harness: &dyn Harness) {
    let client = harness.connect().await;
    let mut watch = client.session.watch("/a").await.unwrap();
    client.expire().await;
    assert_eq!(next(&mut watch).await, Some(Change::Reset));
    assert_eq!(next(&mut watch).await, None);
}

pub async fn a_gap_ends_with_a_reset(harness: &dyn Harness) {
    let (client, other) = (harness.connect().await, harness.connect().await);
    let mut watch = client.session.watch("/a").await.unwrap();
    assert_eq!(next(&mut watch).await, Some(Change::Reset));
    client.suspend().await;
    persist(&*other.session, "/a").await;
    client.resume().await;
    assert_eq!(next(&mut watch).await, Some(Change::Reset));
    persist(&*other.session, "/a/b").await;
    assert_eq!(next(&mut watch).await, Some(Change::Created("/a/b".into())));
}

/// The reader is as slow as can be: it reads nothing until all has happened.
pub async fn an_overflow_ends_with_one_reset(harness: &dyn Harness) {
    let (client, other) = (harness.connect().await, harness.connect().await);
    persist(&*other.session, "/a").await;
    let mut watch = client.session.watch("/a").await.unwrap();
    let create = |times| vec![create("/a/", Mode::PersistentSequential); times];
    for _ in 0..2 * WATCH_CAPACITY / 64 {
        other.session.commit(create(64)).await.unwrap();
    }
    let mut seen = Vec::new();
    loop {
        match next(&mut watch).await.unwrap() {
            Change::Created(path) => seen.push(path),
            Change::Reset if seen.is_empty() => {}
            Change::Reset => break,
            other => panic!("{other:?}"),
        }
        assert!(seen.len() < 2 * WATCH_CAPACITY, "no Reset came");
        // more is missed while the reader catches up, and still one Reset stands for all of it
        other.session.commit(create(1)).await.unwrap();
    }
    assert!(seen.is_sorted());
    // what was created after the Reset is told, and nothing is missed any more
    let last = other.session.commit(create(1)).await.unwrap().concat();
    loop {
        match next(&mut watch).await.unwrap() {
            Change::Created(path) if path == last => break,
            Change::Created(path) => assert!(path < last, "{path} after {last}"),
            other => panic!("{other:?}"),
        }
    }
}

pub async fn a_suspended_session_keeps_its_nodes(harness: &dyn Harness) {
    let (client, other) = (harness.connect().await, harness.connect().await);
    client.session.commit(vec![create("/e", Mode::Ephemeral)]).await.unwrap();
    client.suspend().await;
    assert_eq!(client.session.data("/e").await, Err(Error::ConnectionLoss));
    assert!(exists(&*other.session, "/e").await);
    client.resume().await;
    assert!(exists(&*client.session, "/e").await);
}
