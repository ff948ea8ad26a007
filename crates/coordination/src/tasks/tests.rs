use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::session::{Error, Found, Node, Operation, Session, State, Watch};
use crate::{Election, Embedded, LockingQueue};

const LIMIT: Duration = Duration::from_mins(1);

/// Fault: the first request of this kind about such a path panics in the task that makes it, once it is armed.
struct Crashing {
    inner: Arc<dyn Session>,
    request: &'static str,
    path: &'static str,
    armed: AtomicUsize,
}

impl Crashing {
    fn over(tree: &Embedded, request: &'static str, path: &'static str) -> Arc<Self> {
        Arc::new(Self { inner: Arc::new(tree.session()), request, path, armed: AtomicUsize::new(0) })
    }

    fn arm(&self) {
        self.armed.store(1, Ordering::SeqCst);
    }

    fn was_injected(&self) -> bool {
        self.armed.load(Ordering::SeqCst) == 2
    }

    fn pass(&self, request: &str, path: &str) {
        if request == self.request && path.starts_with(self.path) {
            let injected = self.armed.compare_exchange(1, 2, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            assert!(!injected, "injected");
        }
    }
}

#[async_trait]
impl Session for Crashing {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        if let [Operation::Delete { path, .. }, ..] = &operations[..] {
            self.pass("delete", path);
        }
        self.inner.commit(operations).await
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
        self.pass("watch", path);
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

/// Ends when the session is over, however that came.
async fn over(session: &dyn Session) {
    let mut state = session.state();
    let over = state.wait_for(|state| *state == State::Expired);
    timeout(LIMIT, over).await.expect("the session ends").expect("its state is told");
}

async fn queue(session: Arc<dyn Session>, claimant: &str) -> LockingQueue {
    LockingQueue::open(session, "/job", &claimant.repeat(32)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_queue_whose_task_crashes_ends_its_session() {
    let tree = Embedded::new();
    let session = Crashing::over(&tree, "watch", "/job");
    let crashing = queue(session.clone(), "a").await;
    session.arm();
    assert_eq!(crashing.take().await.err(), Some(Error::Expired));
    over(&*session).await;
    assert!(session.was_injected());
}

#[tokio::test(start_paused = true)]
async fn claims_of_a_queue_whose_task_crashes_are_lost_and_others_get_the_entries() {
    let tree = Embedded::new();
    let session = Crashing::over(&tree, "delete", "/job/taken");
    let (crashing, other) = (queue(session.clone(), "a").await, queue(Arc::new(tree.session()), "b").await);
    other.put(b"first", 1).await.unwrap();
    other.put(b"second", 2).await.unwrap();
    let (first, second) = (crashing.take().await.unwrap(), crashing.take().await.unwrap());
    session.arm();
    assert_eq!(first.release().await, Err(Error::Expired));
    assert!(session.was_injected());
    timeout(LIMIT, second.lost()).await.expect("the other claim is lost");
    for value in [&b"first"[..], b"second"] {
        let claim = timeout(LIMIT, other.take()).await.expect("somebody else gets it").unwrap();
        assert_eq!(claim.value(), value);
        claim.consume().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_candidate_whose_task_crashes_ends_its_session_and_the_next_one_leads() {
    for (request, path) in [("watch", "/election/"), ("delete", "/election/")] {
        let tree = Embedded::new();
        let session = Crashing::over(&tree, request, path);
        let crashing = Election::new(session.clone(), "/election/it", "crashing");
        if request == "watch" {
            session.arm();
            assert_eq!(crashing.lead().await.err(), Some(Error::Expired));
        } else {
            let leadership = crashing.lead().await.unwrap();
            session.arm();
            leadership.resign().await.unwrap();
        }
        let next = Election::new(Arc::new(tree.session()), "/election/it", "next");
        let leadership = timeout(LIMIT, next.lead()).await.expect("nobody leads any more").unwrap();
        assert!(session.was_injected() && leadership.holds(), "{request}");
        over(&*session).await;
    }
}
