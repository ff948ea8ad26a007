//! Three members, of which some fail: killed, paused, too many gone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slipstream_coordination::Error;
use slipstream_coordination::session::{Change, Mode, Session, State};
use slipstream_coordination::zookeeper::ZooKeeperSession;
use slipstream_test_ensemble::{Ensemble, Proxy};
use tokio::task::JoinSet;

use crate::support::{connect, create, eventually, exists, next, reaches, settings, states, within};

/// Longer than anything here takes.
const SESSION_TIMEOUT: Duration = Duration::from_secs(20);

/// Shorter than the time without a quorum.
const SHORT: Duration = Duration::from_secs(2);

/// Creations without a pause, and what became of them.
#[derive(Default)]
struct Load {
    created: Mutex<BTreeSet<String>>,
    lost: Mutex<usize>,
}

impl Load {
    fn created(&self) -> usize {
        self.created.lock().unwrap().len()
    }

    async fn create(&self, session: &ZooKeeperSession) {
        loop {
            match create(session, "/load/", Mode::PersistentSequential).await {
                Ok(path) => drop(self.created.lock().unwrap().insert(path)),
                Err(Error::ConnectionLoss) => {
                    *self.lost.lock().unwrap() += 1;
                    reaches(session, State::Connected).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// What a watch told, the listings that a Reset asks for included.
#[derive(Default)]
struct Told {
    paths: BTreeSet<String>,
    since_reset: usize,
    resets: usize,
}

async fn listen(session: Arc<ZooKeeperSession>, told: Arc<Mutex<Told>>) {
    let mut watch = session.watch("/load").await.unwrap();
    while let Some(change) = watch.recv().await {
        match change {
            Change::Reset => {
                let names = loop {
                    match session.children("/load").await {
                        Ok(names) => break names,
                        Err(_) => reaches(&*session, State::Connected).await,
                    }
                };
                let mut told = told.lock().unwrap();
                told.paths.extend(names.into_iter().map(|name| format!("/load/{name}")));
                told.resets += 1;
                told.since_reset = 0;
            }
            Change::Created(path) => {
                let mut told = told.lock().unwrap();
                told.since_reset += 1;
                told.paths.insert(path);
            }
            Change::Deleted(_) | Change::Set(_) => {}
        }
    }
}

/// The states of a session, but for a short connection with a member that had not noticed yet.
fn interrupted(states: &Mutex<Vec<State>>) -> Vec<State> {
    let mut states = states.lock().unwrap().clone();
    while states.ends_with(&[State::Suspended, State::Connected, State::Suspended, State::Connected]) {
        states.truncate(states.len() - 2);
    }
    states
}

/// The fault: the leader is killed while nodes are created and watched.
#[tokio::test]
async fn the_leader_is_killed_and_nothing_is_lost() {
    let mut ensemble = Ensemble::start(3).await;
    let session = connect(settings(&ensemble.hosts(), SESSION_TIMEOUT)).await;
    create(&*session, "/load", Mode::Persistent).await.unwrap();
    create(&*session, "/mine", Mode::Ephemeral).await.unwrap();
    let mine = session.data("/mine").await.unwrap().created;
    let (states, load, told) = (states(&*session), Arc::new(Load::default()), Arc::new(Mutex::new(Told::default())));
    let listener = tokio::spawn(listen(session.clone(), told.clone()));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (session, load) = (session.clone(), load.clone());
        tasks.spawn(async move { load.create(&session).await });
    }
    eventually("there is load", || async { load.created() >= 200 }).await;
    let leader = ensemble.leader().await.unwrap();
    ensemble.kill(leader);
    let before = load.created();
    eventually("there is load again", || async { load.created() >= before + 500 }).await;
    tasks.shutdown().await;
    assert_eq!(interrupted(&states), [State::Connected, State::Suspended, State::Connected]);
    assert!(*load.lost.lock().unwrap() >= 1);
    assert_eq!(session.data("/mine").await.unwrap().created, mine, "the same session");
    session.sync("/load").await.unwrap();
    let there: BTreeSet<String> =
        session.children("/load").await.unwrap().into_iter().map(|name| format!("/load/{name}")).collect();
    assert!(load.created.lock().unwrap().is_subset(&there));
    eventually("all is told", || async { told.lock().unwrap().paths == there }).await;
    let told = told.lock().unwrap();
    assert!(told.resets >= 2 && told.since_reset >= 100, "{} {}", told.resets, told.since_reset);
    listener.abort();
}

/// A session over a proxy before each member, so that it can be told whose client it is.
async fn with_proxies(ensemble: &Ensemble) -> (Arc<ZooKeeperSession>, Vec<Proxy>) {
    let mut proxies = Vec::new();
    for address in ensemble.addresses() {
        proxies.push(Proxy::before(address).await);
    }
    let hosts: Vec<_> = proxies.iter().map(|proxy| proxy.address().to_string()).collect();
    (connect(settings(&hosts.join(","), Duration::from_secs(6))).await, proxies)
}

/// The fault: the member that a client is connected to stops answering, with its connections open.
#[tokio::test]
async fn a_paused_member_is_left_for_another() {
    let ensemble = Ensemble::start(3).await;
    let (session, proxies) = with_proxies(&ensemble).await;
    create(&*session, "/mine", Mode::Ephemeral).await.unwrap();
    let states = states(&*session);
    let connected = || proxies.iter().position(|proxy| proxy.connections() > 0);
    let paused = connected().unwrap();
    ensemble.pause(paused);
    reaches(&*session, State::Suspended).await;
    reaches(&*session, State::Connected).await;
    assert_ne!(connected(), Some(paused));
    assert!(exists(&*session, "/mine").await);
    create(&*session, "/more", Mode::Persistent).await.unwrap();
    ensemble.resume(paused);
    within(ensemble.wait_until_serving()).await;
    assert!(exists(&*session, "/mine").await);
    assert!(!states.lock().unwrap().contains(&State::Expired));
}

/// The fault: for five seconds there is one member of three. That is more than twice as long as the session lives without
/// being heard of, and the library gives it up; but nobody is there to end it.
#[tokio::test]
async fn without_quorum_a_session_is_suspended_and_lives_on() {
    let mut ensemble = Ensemble::start(3).await;
    let session = connect(settings(&ensemble.hosts(), SHORT)).await;
    create(&*session, "/mine", Mode::Ephemeral).await.unwrap();
    let mine = session.data("/mine").await.unwrap().created;
    let mut watch = session.watch("/").await.unwrap();
    assert_eq!(next(&mut watch).await, Change::Reset);
    let states = states(&*session);
    ensemble.kill(0);
    ensemble.kill(1);
    eventually("the last one serves nobody", || async { ensemble.leader().await.is_none() }).await;
    reaches(&*session, State::Suspended).await;
    let mut state = session.state();
    let connected = state.wait_for(|state| *state != State::Suspended);
    assert!(tokio::time::timeout(Duration::from_secs(5), connected).await.is_err());
    assert_eq!(create(&*session, "/more", Mode::Persistent).await, Err(Error::ConnectionLoss));
    ensemble.restart(0).await;
    ensemble.restart(1).await;
    reaches(&*session, State::Connected).await;
    assert_eq!(session.data("/mine").await.unwrap().created, mine, "the same session");
    assert_eq!(next(&mut watch).await, Change::Reset);
    create(&*session, "/more", Mode::Persistent).await.unwrap();
    // there may be a second gap, while the members find each other
    let created = async { while next(&mut watch).await != Change::Created("/more".to_owned()) {} };
    within(created).await;
    assert_eq!(interrupted(&states), [State::Connected, State::Suspended, State::Connected]);
    session.close().await;
    let other = connect(settings(&ensemble.hosts(), SESSION_TIMEOUT)).await;
    assert!(!exists(&*other, "/mine").await, "what was let in again is closed as any session");
}

/// The fault: the ensemble loses all it kept, sessions too. It lets nobody in who has seen more than it knows of: that the
/// session has ended is heard by asking for it by its id alone.
#[tokio::test]
async fn a_wiped_ensemble_knows_no_session() {
    let mut ensemble = Ensemble::start(1).await;
    let hosts = ensemble.hosts();
    let session = connect(settings(&hosts, Duration::from_secs(2))).await;
    create(&*session, "/mine", Mode::Ephemeral).await.unwrap();
    ensemble.wipe().await;
    reaches(&*session, State::Expired).await;
    assert_eq!(session.data("/mine").await, Err(Error::Expired));
    let next = connect(settings(&hosts, SESSION_TIMEOUT)).await;
    assert!(!exists(&*next, "/mine").await);
}
