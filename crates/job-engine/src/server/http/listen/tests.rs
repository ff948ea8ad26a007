use std::net::Ipv4Addr;

use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::server::http::body;
use crate::server::http::connection::HEAD_TIME;

/// Shorter than any wait that would end a request without its rule.
const LIMIT: Duration = Duration::from_secs(15);
/// All of 127.0.0.0/8 is this machine; this address is a proxy's, whose connections are anybody's.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

struct World {
    address: SocketAddr,
    stop: Stop,
    serving: JoinHandle<()>,
    /// Each stream that never ends has one more of it.
    followed: Arc<()>,
}

impl World {
    async fn new(places: Places) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Stop::new());
        let followed = Arc::new(());
        let following = followed.clone();
        let service: Service = Arc::new(move |request| {
            let path = request.uri().path();
            let kind = if path == "/" { "text/plain" } else { "text/event-stream" };
            let answer = http::Response::builder().header(header::CONTENT_TYPE, kind);
            let answer = answer.body(match path {
                "/endless" => endless(following.clone()),
                _ => body::full("here"),
            });
            Box::pin(async move { answer.unwrap() })
        });
        let proxies = vec![IpNet::from(std::net::IpAddr::from(PROXY))];
        let serving = tokio::spawn(serve_in(places, listener, service, proxies, stop.clone()));
        Self { address, stop, serving, followed }
    }

    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(self.address).await.unwrap()
    }
}

/// A stream to which nothing is written after its beginning.
fn endless(follower: Arc<()>) -> body::Body {
    let begin = stream::once(async { Ok("here".into()) });
    body::stream(begin.chain(stream::pending()).inspect(move |_| _ = Arc::strong_count(&follower)))
}

/// One request; what is answered, empty if the connection was closed instead.
async fn ask(connection: &mut TcpStream) -> String {
    ask_for(connection, "/").await
}

async fn ask_for(connection: &mut TcpStream, path: &str) -> String {
    let asked = async {
        connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
        let mut answer = vec![0; 1024];
        let length = connection.read(&mut answer).await?;
        answer.truncate(length);
        Ok::<_, std::io::Error>(answer)
    };
    // A connection that is closed may be reset: then nothing was answered either.
    let answer = timeout(LIMIT, asked).await.expect("answered or closed in time").unwrap_or_default();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn whoever_takes_all_places_keeps_nobody_out_on_this_machine() {
    let world = World::new(Places::new(2, 1, 1, 1)).await;
    let idle = [world.connect(PROXY).await, world.connect(PROXY).await];
    let mut waiting = world.connect(PROXY).await;
    let mut one_too_many = world.connect(PROXY).await;
    assert_eq!(ask(&mut one_too_many).await, "", "two have a place and one waits");
    let mut own = world.connect(Ipv4Addr::LOCALHOST).await;
    for _ in 0..2 {
        let answer = ask(&mut own).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
    }
    drop(idle);
    let answer = ask(&mut waiting).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "its turn has come: {answer}");
    world.stop.ask();
    timeout(LIMIT, world.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn places_that_are_kept_are_taken_last_and_waited_for_too() {
    let world = World::new(Places::new(1, 1, 2, 1)).await;
    let own = [world.connect(Ipv4Addr::LOCALHOST).await, world.connect(Ipv4Addr::LOCALHOST).await];
    let mut of_a_proxy = world.connect(PROXY).await;
    let mut waiting = world.connect(Ipv4Addr::LOCALHOST).await;
    let mut one_too_many = world.connect(Ipv4Addr::LOCALHOST).await;
    assert_eq!(ask(&mut one_too_many).await, "", "two have a place and two wait");
    let [first, second] = own;
    drop(second);
    assert!(ask(&mut waiting).await.starts_with("HTTP/1.1 200"), "the kept one is free again");
    drop(first);
    assert!(ask(&mut of_a_proxy).await.starts_with("HTTP/1.1 200"), "and so is the one for everybody");
}

#[tokio::test]
async fn those_who_wait_for_a_place_hold_up_no_stop() {
    let world = World::new(Places::new(0, 0, 1, 1)).await;
    let mut waiting = world.connect(PROXY).await;
    let mut one_too_many = world.connect(PROXY).await;
    assert_eq!(ask(&mut one_too_many).await, "", "one waits");
    world.stop.ask();
    timeout(LIMIT, world.serving).await.unwrap().unwrap();
    assert_eq!(ask(&mut waiting).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_place_is_waited_for_within_the_limit() {
    let places = Places::new(1, 0, 1, 1);
    let taken = places.offer(false).unwrap().taken().await;
    assert!(taken.is_some());
    let begin = tokio::time::Instant::now();
    assert!(places.offer(false).unwrap().taken().await.is_none());
    assert_eq!(begin.elapsed(), PLACE_TIME);
    drop(taken);
    assert!(places.offer(true).unwrap().taken().await.is_some());
}

#[tokio::test]
async fn whoever_follows_a_page_leaves_its_place_to_others() {
    let world = World::new(Places::new(1, 0, 0, 1)).await;
    let mut follower = world.connect(PROXY).await;
    assert!(ask_for(&mut follower, "/live").await.ends_with("here"));
    let mut second = world.connect(PROXY).await;
    assert!(ask_for(&mut second, "/live").await.ends_with("here"), "it has the place that the first one left");
    let mut third = world.connect(PROXY).await;
    assert_eq!(ask(&mut third).await, "", "the second one has kept its own: there is one place among streams");
    drop(follower);
    let mut next = world.connect(PROXY).await;
    assert_eq!(ask(&mut next).await, "", "what a stream had goes to streams alone");
    drop(second);
    eventually(async || ask(&mut world.connect(PROXY).await).await.ends_with("here")).await;
    world.stop.ask();
    timeout(LIMIT, world.serving).await.unwrap().unwrap();
}

/// Fault: the client goes, of which nothing that is written tells: there is nothing to write.
#[tokio::test]
async fn a_stream_ends_as_soon_as_its_client_has_gone() {
    let world = World::new(Places::new(1, 0, 0, 2)).await;
    let mut followers = Vec::new();
    for _ in 0..2 {
        let mut follower = world.connect(PROXY).await;
        assert!(ask_for(&mut follower, "/endless").await.starts_with("HTTP/1.1 200"));
        followers.push(follower);
    }
    let streams = Arc::strong_count(&world.followed);
    drop(followers.pop());
    eventually(async || Arc::strong_count(&world.followed) == streams - 1).await;
    let mut next = world.connect(PROXY).await;
    assert!(ask_for(&mut next, "/endless").await.starts_with("HTTP/1.1 200"), "the place is free");
    world.stop.ask_at_once();
    timeout(LIMIT, world.serving).await.unwrap().unwrap();
}

/// Waits until something is so.
async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, waiting).await.expect("in time");
}

#[test]
fn connections_fit_into_the_files_that_may_be_open() {
    for files in [1_024, 4_096, 1_000_000, u64::MAX] {
        assert_eq!(numbers(files), [512, 32, 128, 128], "{files}");
    }
    for files in [16, 64, 200, 256, 300, 500, 799, 900] {
        let [everybody, kept, waiting, streams] = numbers(files);
        assert!(everybody >= 1 && kept >= 1 && waiting >= 1 && streams >= 1, "{files}");
        let all = u64::try_from(everybody + kept + waiting + streams).unwrap();
        assert!(all <= files / 2 || all + 128 <= files, "{files}: {all}");
    }
    assert!(open_files() > 0);
}

#[tokio::test(start_paused = true)]
async fn what_happens_again_and_again_is_told_once_a_minute() {
    let mut rarely = Rarely::default();
    let mut logged = Vec::new();
    for _ in 0..1_201 {
        logged.extend(rarely.count());
        tokio::time::advance(ACCEPT_PAUSE).await;
    }
    assert_eq!(logged, [1, 600, 600]);
}

/// How long it takes until the server ends this connection, in simulated time.
async fn ended(connection: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    let mut rest = Vec::new();
    // reset or ended
    drop(timeout(IDLE_TIME * 2, connection.read_to_end(&mut rest)).await.expect("it is ended"));
    begin.elapsed()
}

/// A client keeps an idle connection for less than 75 seconds; a request that has begun has 30.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_longer_than_a_head_may_take() {
    let second = Duration::from_secs(1);
    let world = World::new(Places::new(4, 0, 0, 1)).await;
    let mut silent = world.connect(PROXY).await;
    assert!((HEAD_TIME..HEAD_TIME + second).contains(&ended(&mut silent).await), "nothing was asked");
    let mut idle = world.connect(PROXY).await;
    for _ in 0..2 {
        assert!(ask(&mut idle).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_secs(70)).await;
    }
    assert!(ended(&mut idle).await <= 6 * second, "75 seconds after the last answer");
    let mut slow = world.connect(PROXY).await;
    assert!(ask(&mut slow).await.starts_with("HTTP/1.1 200"));
    tokio::time::sleep(20 * second).await;
    slow.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!((HEAD_TIME..HEAD_TIME + second).contains(&ended(&mut slow).await), "a head that has begun");
    world.stop.ask();
    timeout(LIMIT, world.serving).await.unwrap().unwrap();
}
