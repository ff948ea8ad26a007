use slipstream_coordination::Embedded;
use slipstream_coordination::session::{Operation, State, make_path};
use slipstream_store::memory::MemoryStore;

use super::*;

const OWN: &str = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
const OTHER: &str = "0b7bbb1c-3d3c-4c5e-9a34-0f7b5a6f3a11";

fn of(tree: &Embedded, identity: &str) -> Own<Embedded> {
    Own::new(tree.clone(), "zk:2181".to_owned(), Whose::Server(identity.to_owned()))
}

async fn carried(tree: &Embedded) -> Option<String> {
    let node = tree.session().data(paths::STORE).await.ok()?;
    Some(String::from_utf8(node.data).expect("text"))
}

async fn set(tree: &Embedded, data: &str) {
    let path = paths::STORE.to_owned();
    tree.session().commit(vec![Operation::Set { path, data: data.into(), version: None }]).await.expect("set");
}

#[tokio::test]
async fn the_identity_of_a_store_is_made_once_and_copied_along_with_it() {
    let (store, copy) = (MemoryStore::default(), MemoryStore::default());
    assert_eq!(known_identity(&store).await.expect("answers"), None);
    let made = identity_of(&store).await.expect("made");
    assert_eq!(identity_of(&store).await.expect("known"), made);
    let record = store.get(ID).await.expect("answers").expect("there");
    copy.insert(record).await.expect("copied");
    assert_eq!(identity_of(&copy).await.expect("known"), made);
    assert_ne!(identity_of(&MemoryStore::default()).await.expect("made"), made);
}

#[tokio::test]
async fn the_first_server_takes_over_a_folder_of_nobody_and_one_of_another_store_is_refused() {
    let tree = Embedded::new();
    let own = of(&tree, OWN);
    own.connect().await.expect("nobody's");
    assert_eq!(carried(&tree).await.as_deref(), Some(OWN));
    own.connect().await.expect("its own");
    let refused = of(&tree, OTHER).connect().await.err().expect("another store's").to_string();
    for named in [OWN, OTHER, "zk:2181", "--zk-hosts", "queue adopt"] {
        assert!(refused.contains(named), "{refused}");
    }
    assert_eq!(carried(&tree).await.as_deref(), Some(OWN), "nothing was written");
}

#[tokio::test]
async fn what_is_no_identity_is_nobodys() {
    for garbage in ["", "yes", "6f9619ff"] {
        let tree = Embedded::new();
        make_path(&tree.session(), paths::STORE).await.expect("made");
        set(&tree, garbage).await;
        of(&tree, OWN).connect().await.expect("nobody's");
        assert_eq!(carried(&tree).await.as_deref(), Some(OWN));
    }
}

#[tokio::test]
async fn a_session_ends_once_the_folder_is_another_stores() {
    let tree = Embedded::new();
    let own = of(&tree, OWN);
    let session = own.connect().await.expect("nobody's");
    let mut state = session.state();
    set(&tree, OWN).await;
    assert_eq!(*state.borrow(), State::Connected);
    set(&tree, OTHER).await;
    state.wait_for(|state| *state == State::Expired).await.expect("it ends");
    assert!(own.connect().await.is_err());
    set(&tree, OWN).await;
    assert!(own.connect().await.is_ok());
}

/// Whoever drops a session without closing it ends it as before.
#[tokio::test]
async fn a_session_that_nobody_has_is_over() {
    let tree = Embedded::new();
    let session = of(&tree, OWN).connect().await.expect("nobody's");
    let mut state = session.state();
    drop(session);
    state.wait_for(|state| *state == State::Expired).await.expect("it ends");
}

#[tokio::test]
async fn of_two_servers_that_find_a_folder_at_the_same_time_one_has_it() {
    let tree = Embedded::new();
    let (one, other) = (of(&tree, OWN), of(&tree, OTHER));
    let (one, other) = tokio::join!(one.connect(), other.connect());
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|is_ok| **is_ok).count(), 1);
}

/// Whose sessions end after that time.
struct Hasty(Embedded);

#[async_trait]
impl Coordinator for Hasty {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        self.0.connect().await
    }

    fn session_timeout(&self) -> Duration {
        Duration::from_secs(4)
    }
}

#[test]
fn the_time_out_of_sessions_is_that_of_the_coordinator_itself() {
    let own = Own::new(Hasty(Embedded::new()), String::new(), Whose::Server(OWN.to_owned()));
    assert_eq!(own.session_timeout(), Duration::from_secs(4));
}
