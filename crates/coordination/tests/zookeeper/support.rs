//! What all tests here need.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_coordination::session::{Change, Mode, Operation, Session, State, Watch};
use slipstream_coordination::zookeeper::{Settings, ZooKeeperSession};
use slipstream_coordination::{Error, ZooKeeper};
use slipstream_test_ensemble::Ensemble;
use tokio::sync::OnceCell;

/// One server for all tests that leave it as it was; ends with the process.
static SERVER: OnceCell<Ensemble> = OnceCell::const_new();

/// Where the server for all is.
pub async fn server() -> SocketAddr {
    SERVER.get_or_init(|| Ensemble::start(1)).await.addresses()[0]
}

/// A folder of the caller's own on the server for all, as what stands behind hosts.
pub async fn folder() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = format!("/test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let session = connect(Settings::new(&server().await.to_string())).await;
    create(&*session, &folder, Mode::Persistent).await.unwrap();
    session.close().await;
    folder
}

/// The server for all, and there a folder of the caller's own.
pub async fn hosts() -> String {
    let folder = folder().await;
    format!("{}{folder}", server().await)
}

/// Ends, or the test fails.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), work).await.expect("this should have ended long ago")
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let mut pause = tokio::time::interval(Duration::from_millis(10));
    let wait = async {
        while !condition().await {
            pause.tick().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_mins(1), wait).await.is_ok(), "waited in vain: {what}");
}

/// Anybody's session that lives so long without being heard of.
pub fn settings(hosts: &str, session_timeout: Duration) -> Settings {
    Settings { session_timeout, ..Settings::new(hosts) }
}

pub async fn open(settings: Settings) -> Result<ZooKeeperSession, Error> {
    within(ZooKeeper::new(settings).unwrap().open()).await
}

pub async fn connect(settings: Settings) -> Arc<ZooKeeperSession> {
    Arc::new(open(settings).await.unwrap())
}

pub async fn create(session: &dyn Session, path: &str, mode: Mode) -> Result<String, Error> {
    session.commit(vec![Operation::create(path, "", mode)]).await.map(|paths| paths.concat())
}

pub async fn exists(session: &dyn Session, path: &str) -> bool {
    session.data(path).await.is_ok()
}

/// The next change of a watch.
pub async fn next(watch: &mut Watch) -> Change {
    within(watch.recv()).await.expect("the session lives")
}

pub async fn reaches(session: &dyn Session, wanted: State) {
    within(session.state().wait_for(|state| *state == wanted)).await.unwrap();
}

/// Each state that a session has from now on.
pub fn states(session: &dyn Session) -> Arc<Mutex<Vec<State>>> {
    let mut state = session.state();
    let states = Arc::new(Mutex::new(vec![*state.borrow_and_update()]));
    tokio::spawn({
        let states = states.clone();
        async move {
            while state.changed().await.is_ok() {
                let state = *state.borrow_and_update();
                states.lock().unwrap().push(state);
            }
        }
    });
    states
}
