//! One server behind a proxy that breaks connections.

use std::sync::Arc;
use std::time::Duration;

use slipstream_coordination::Error;
use slipstream_coordination::session::{Change, Mode, Session, State};
use slipstream_coordination::zookeeper::{Settings, ZooKeeperSession};
use slipstream_test_ensemble::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    connect, create, eventually, exists, folder, hosts, next, open, reaches, server, settings, within,
};

const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
/// Where its end is waited for.
const SHORT: Duration = Duration::from_millis(1500);

/// A session over a proxy, and one without.
struct Behind {
    proxy: Proxy,
    session: Arc<ZooKeeperSession>,
    other: Arc<ZooKeeperSession>,
}

impl Behind {
    async fn proxy(session_timeout: Duration) -> Self {
        let (server, folder) = (server().await, folder().await);
        let proxy = Proxy::before(server).await;
        let session = connect(settings(&format!("{}{folder}", proxy.address()), session_timeout)).await;
        let other = connect(settings(&format!("{server}{folder}"), SESSION_TIMEOUT)).await;
        Self { proxy, session, other }
    }

    async fn cut(&self) {
        self.proxy.set(Fault::Cut);
        reaches(&*self.session, State::Suspended).await;
    }

    async fn mend(&self) {
        self.proxy.set(Fault::None);
        reaches(&*self.session, State::Connected).await;
    }
}

/// The fault: connections are cut, again and again. The library forgets recursive watches then.
#[tokio::test]
async fn a_watch_survives_reconnects() {
    let behind = Behind::proxy(SESSION_TIMEOUT).await;
    create(&*behind.other, "/watched", Mode::Persistent).await.unwrap();
    let mut watch = behind.session.watch("/watched").await.unwrap();
    for round in 0..3 {
        // once for the start or the gap, after which every change is told
        assert_eq!(next(&mut watch).await, Change::Reset);
        for _ in 0..50 {
            let path = create(&*behind.other, "/watched/", Mode::PersistentSequential).await.unwrap();
            assert_eq!(next(&mut watch).await, Change::Created(path), "round {round}");
        }
        behind.cut().await;
        for _ in 0..10 {
            create(&*behind.other, "/watched/", Mode::PersistentSequential).await.unwrap();
        }
        behind.mend().await;
    }
    assert_eq!(next(&mut watch).await, Change::Reset);
    assert_eq!(behind.session.children("/watched").await.unwrap().len(), 180);
    assert!(behind.proxy.injected() >= 3);
}

/// The fault: the answer is swallowed, then the connection is cut.
#[tokio::test]
async fn a_request_under_way_ends_when_the_connection_is_cut() {
    let behind = Behind::proxy(SESSION_TIMEOUT).await;
    behind.proxy.set(Fault::LoseAnswers);
    let asked = create(&*behind.session, "/asked", Mode::Persistent);
    let cut = async {
        eventually("it is carried out", || exists(&*behind.other, "/asked")).await;
        eventually("its answer is lost", || async { behind.proxy.injected() >= 1 }).await;
        behind.proxy.set(Fault::Cut);
    };
    let (outcome, ()) = tokio::join!(within(asked), cut);
    assert_eq!(outcome, Err(Error::ConnectionLoss));
    assert_eq!(create(&*behind.session, "/later", Mode::Persistent).await, Err(Error::ConnectionLoss));
    behind.mend().await;
    assert!(exists(&*behind.session, "/asked").await);
    assert!(!exists(&*behind.session, "/later").await);
    assert!(behind.proxy.injected() >= 2);
}

/// The fault: the connection stays open and nothing comes any more.
#[tokio::test]
async fn a_deaf_connection_is_given_up() {
    let behind = Behind::proxy(SESSION_TIMEOUT).await;
    create(&*behind.session, "/mine", Mode::Ephemeral).await.unwrap();
    behind.proxy.set(Fault::HalfOpen);
    assert_eq!(within(create(&*behind.session, "/asked", Mode::Persistent)).await, Err(Error::ConnectionLoss));
    reaches(&*behind.session, State::Suspended).await;
    behind.mend().await;
    assert!(exists(&*behind.session, "/mine").await);
    assert!(!exists(&*behind.session, "/asked").await);
    assert!(behind.proxy.injected() >= 1);
}

/// The fault: the connection is cut for longer than the session lives.
#[tokio::test]
async fn a_session_out_of_reach_for_too_long_has_expired() {
    let behind = Behind::proxy(SHORT).await;
    create(&*behind.session, "/mine", Mode::Ephemeral).await.unwrap();
    let mut watch = behind.session.watch("/").await.unwrap();
    behind.cut().await;
    eventually("the server gives it up", || async { !exists(&*behind.other, "/mine").await }).await;
    behind.proxy.set(Fault::None);
    reaches(&*behind.session, State::Expired).await;
    assert_eq!(next(&mut watch).await, Change::Reset);
    assert_eq!(within(watch.recv()).await, None);
    assert!(behind.proxy.injected() >= 1);
}

/// The fault: a latency of 50 ms, each way.
#[tokio::test]
async fn requests_do_not_wait_for_each_other() {
    let behind = Behind::proxy(SESSION_TIMEOUT).await;
    behind.proxy.set(Fault::Delay(Duration::from_millis(50)));
    let requests = (0..300).map(|_| create(&*behind.session, "/x-", Mode::PersistentSequential));
    let outcomes = within(futures_util::future::join_all(requests)).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // one after the other they would be 600 pieces
    assert!((2..100).contains(&behind.proxy.injected()), "{}", behind.proxy.injected());
}

#[tokio::test]
async fn a_session_that_is_closed_while_out_of_reach_does_not_wait_for_ever() {
    let behind = Behind::proxy(SHORT).await;
    create(&*behind.session, "/mine", Mode::Ephemeral).await.unwrap();
    behind.cut().await;
    within(behind.session.close()).await;
    assert_eq!(behind.session.data("/").await, Err(Error::Expired));
    behind.proxy.set(Fault::None);
    eventually("the close arrives, or the session expires", || async { !exists(&*behind.other, "/mine").await }).await;
}

#[tokio::test]
async fn a_session_that_is_dropped_ends() {
    let hosts = hosts().await;
    let (session, other) = (connect(Settings::new(&hosts)).await, connect(Settings::new(&hosts)).await);
    create(&*session, "/mine", Mode::Ephemeral).await.unwrap();
    let mut watch = session.watch("/mine").await.unwrap();
    drop(session);
    eventually("its nodes go", || async { !exists(&*other, "/mine").await }).await;
    assert_eq!(within(watch.recv()).await, Some(Change::Reset));
    assert!(matches!(within(watch.recv()).await, None | Some(Change::Deleted(_))));
}

fn is_unreachable(outcome: &Result<ZooKeeperSession, Error>) -> bool {
    matches!(outcome, Err(Error::Unreachable { .. }))
}

#[tokio::test]
async fn wrong_hosts_are_unreachable() {
    // long sessions, so that it is not their end that is waited for
    let settings = |hosts: &str| settings(hosts, Duration::from_hours(1));
    let server = server().await;
    let refusing = Proxy::before(server).await;
    refusing.set(Fault::Cut);
    eventually("it refuses", || async { TcpStream::connect(refusing.address()).await.is_err() }).await;
    for hosts in [refusing.address().to_string(), "nowhere.invalid:2181".to_owned()] {
        assert!(is_unreachable(&open(settings(&hosts)).await), "{hosts}");
    }
    // one that answers is enough
    let hosts = format!("{},{server}", refusing.address());
    assert!(open(settings(&hosts)).await.is_ok());
}

#[tokio::test]
async fn a_host_that_says_nothing_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts = silent.local_addr().unwrap().to_string();
    assert!(is_unreachable(&open(settings(&hosts, Duration::from_secs(1))).await));
    let stranger = tokio::spawn(async move {
        loop {
            let (stream, _) = silent.accept().await.unwrap();
            stream.writable().await.unwrap();
            stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    assert!(is_unreachable(&open(settings(&hosts, Duration::from_secs(1))).await));
    stranger.abort();
}

async fn frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut frame = vec![0; stream.read_u32().await.unwrap().try_into().unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    frame
}

/// What `ZooKeeper` 3.5.10 does: it opens a session and answers pings; to a read of several nodes it answers
/// `Unimplemented`, and closes the connection.
async fn serve_as_before_3_6(listener: TcpListener) {
    const PING: [u8; 4] = 11_u32.to_be_bytes();
    const READ_OF_SEVERAL_NODES: [u8; 4] = 22_u32.to_be_bytes();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        frame(&mut stream).await;
        // protocol, time-out, session, password, read-only
        let opened = [&[0; 4][..], &4000_u32.to_be_bytes(), &[1; 8], &16_u32.to_be_bytes(), &[7; 16], &[0]].concat();
        stream.write_all(&[&37_u32.to_be_bytes()[..], &opened].concat()).await.unwrap();
        let mut kind = PING;
        while kind == PING {
            let request = frame(&mut stream).await;
            kind = request[4..8].try_into().unwrap();
            let error: i32 = if kind == PING { 0 } else { -6 };
            // number of the request, transaction, error
            let answer = [&request[..4], &[0; 8], &error.to_be_bytes()].concat();
            stream.write_all(&[&16_u32.to_be_bytes()[..], &answer].concat()).await.unwrap();
        }
        assert_eq!(kind, READ_OF_SEVERAL_NODES);
    }
}

#[tokio::test]
async fn a_server_before_3_6_is_of_no_use_and_the_reason_says_what_to_do() {
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts = old.local_addr().unwrap().to_string();
    let server = tokio::spawn(serve_as_before_3_6(old));
    let reason = "its ZooKeeper is older than 3.6, upgrade it to a version from 3.6 to 3.9".to_owned();
    assert_eq!(open(Settings::new(&hosts)).await.err(), Some(Error::Unusable { hosts, reason }));
    server.abort();
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_of_no_use() {
    let around = hosts().await;
    let hosts = format!("{around}/nowhere");
    let outcome = open(Settings::new(&hosts)).await;
    assert!(matches!(outcome, Err(Error::Unusable { .. })));
    let session = connect(Settings::new(&around)).await;
    create(&*session, "/nowhere", Mode::Persistent).await.unwrap();
    let inside = connect(Settings::new(&hosts)).await;
    create(&*inside, "/inside", Mode::Persistent).await.unwrap();
    assert!(exists(&*session, "/nowhere/inside").await);
}
