use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::overview::executors::loaded::Loaded;
use slipstream_coordination::Embedded;
use slipstream_coordination::session::{Coordinator, Found, Node, State, Watch};

use super::*;

const FOLDER: &str = "/slipstream/executors";
const NODE: &str = "/slipstream/executors/0a";

/// The fault: a registration that a backup tool has restored, of an executor that is gone.
#[tokio::test]
async fn who_registered_without_a_session_is_gone() {
    let session = Embedded::new().session();
    make_path(&session, FOLDER).await.expect("made");
    let executor = RegisteredExecutor {
        name: "Kenny".to_owned(),
        process: this_process(),
        slots: 1,
        actions: Vec::new(),
        loaded: Loaded::default(),
        begun: Timestamp::UNIX_EPOCH,
        passed_over: Vec::new(),
        draining: false,
    };
    let data = serde_json::to_vec(&executor).expect("texts and numbers");
    let node = |name: &str, mode| Operation::create(format!("{FOLDER}/{name}"), data.clone(), mode);
    session.commit(vec![node("a", Mode::Ephemeral), node("b", Mode::Persistent)]).await.expect("made");
    let Registered { all, strays } = registered::<RegisteredExecutor>(&session, FOLDER).await.expect("read");
    assert_eq!(all, [("a".to_owned(), executor)]);
    assert_eq!(strays, [format!("{FOLDER}/b")]);
}

/// Loses the answers to the first transactions: half of them are carried out all the same.
struct Lossy {
    inner: Arc<dyn Session>,
    left: AtomicUsize,
}

#[async_trait]
impl Session for Lossy {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return self.inner.commit(operations).await;
        }
        self.left.store(left - 1, Ordering::Relaxed);
        if left.is_multiple_of(2) {
            drop(self.inner.commit(operations).await);
        }
        Err(Error::ConnectionLoss)
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        self.inner.data(path).await
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        self.inner.nodes(paths).await
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.inner.children(path).await
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        self.inner.watch(path).await
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        self.inner.sync(path).await
    }

    fn state(&self) -> watch::Receiver<State> {
        self.inner.state()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// What the node says once it says `wanted`, within two minutes of paused time.
async fn said(session: &dyn Session, wanted: &str) {
    let reads = async {
        while session.data(NODE).await.map(|node| node.data) != Ok(wanted.as_bytes().to_vec()) {
            sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(2), reads).await.expect("the node says what was wanted");
}

#[tokio::test(start_paused = true)]
async fn a_registration_follows_what_is_wanted_and_goes_with_its_session() {
    let embedded = Embedded::new();
    let (own, others) = (embedded.connect().await.unwrap(), embedded.connect().await.unwrap());
    let registration = Registration::begin(own.clone(), FOLDER, "0a", 1);
    said(&*others, "1").await;
    registration.update(|number| *number = 2);
    said(&*others, "2").await;
    let version = others.data(NODE).await.unwrap().version;
    registration.update(|_| {});
    sleep(std::time::Duration::from_mins(1)).await;
    assert_eq!(others.data(NODE).await.unwrap().version, version, "what is said already is not written again");
    own.close().await;
    assert!(others.data(NODE).await.unwrap_err().is(Cause::NoNode));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_written_later() {
    const LOST: usize = 7;
    let embedded = Embedded::new();
    let inner = embedded.connect().await.unwrap();
    let lossy = Arc::new(Lossy { inner: inner.clone(), left: LOST.into() });
    let registration = Registration::begin(lossy.clone(), FOLDER, "0a", "first".to_owned());
    registration.update(|text| "second".clone_into(text));
    said(&*inner, "\"second\"").await;
    assert_eq!(lossy.left.load(Ordering::Relaxed), 0, "all of the answers were lost that were to be");
}

/// Fault: what keeps a registration panics, here with what is to be said the first time.
#[derive(Clone)]
struct Faulty(Arc<AtomicUsize>);

impl PartialEq for Faulty {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Serialize for Faulty {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0.fetch_add(1, Ordering::Relaxed), 0, "injected");
        "said".serialize(serializer)
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_whose_keeper_crashes_is_kept_again() {
    let session = Embedded::new().connect().await.unwrap();
    let faulty = Faulty(Arc::default());
    let _registration = Registration::begin(session.clone(), FOLDER, "0a", faulty.clone());
    said(&*session, "\"said\"").await;
    assert_eq!(faulty.0.load(Ordering::Relaxed), 2);
}
