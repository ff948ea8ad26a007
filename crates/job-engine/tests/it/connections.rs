//! What is sent over a connection, byte by byte: half closed ones, bodies that are too large.

use serde_json::{Value, json};
use slipstream_job_engine::stop::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{InProcess, LIMIT, cookie};

/// A server with a socket, and its administrator.
struct World {
    engine: InProcess,
    cookie: String,
    address: std::net::SocketAddr,
    stop: Stop,
    serving: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        let engine = InProcess::new().await;
        let cookie = cookie(&*engine.transport).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, stop) = (listener.local_addr().expect("bound"), Stop::new());
        let (server, asked) = (engine.server.clone(), stop.clone());
        let serving = tokio::spawn(async move { server.serve(listener, asked).await });
        Self { engine, cookie, address, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    fn request(&self, method: &str, path: &str, body: &str) -> String {
        let length = body.len();
        let cookie = &self.cookie;
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        )
    }

    async fn end(self) {
        self.stop.ask();
        timeout(LIMIT, self.serving).await.expect("in time").expect("no panic");
    }
}

/// All that comes until the server ends the connection.
async fn rest(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(LIMIT, connection.read_to_end(&mut answer)).await.expect("in time").expect("not reset");
    String::from_utf8(answer).expect("text")
}

fn body(answer: &str) -> Value {
    let text = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// A client may end its side once its request is whole: nothing else says that it does not wait.
#[tokio::test]
async fn the_end_of_input_after_a_whole_request_drops_no_answer() {
    let world = World::new().await;
    let half_closed = async |method: &str, path: &str, body: &str| {
        let mut connection = world.connect().await;
        connection.write_all(world.request(method, path, body).as_bytes()).await.expect("sent");
        connection.shutdown().await.expect("half closed");
        rest(&mut connection).await
    };
    let added = half_closed("POST", "/api/job", r#"{"action": "noop"}"#).await;
    assert!(added.starts_with("HTTP/1.1 201"), "{added}");
    let id = body(&added)["resource-id"].as_str().expect("an id").to_owned();
    let report = json!({"reports": [{"id": id, "document": true}]}).to_string();
    for (method, path, sent) in [
        ("GET", "/api/cloud-entry-point".to_owned(), ""),
        ("GET", format!("/api/{id}"), ""),
        ("GET", "/api/job".to_owned(), ""),
        ("PUT", "/api/job".to_owned(), ""),
        ("GET", "/api/queue".to_owned(), ""),
        ("POST", "/api/job/reports".to_owned(), &*report),
        ("PUT", format!("/api/{id}"), r#"{"name": "renamed"}"#),
        ("POST", format!("/api/{id}/stop"), ""),
        ("DELETE", format!("/api/{id}"), ""),
    ] {
        let answer = half_closed(method, &path, sent).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        assert!(body(&answer).is_object(), "{method} {path}: {answer}");
    }
    world.end().await;
}

/// Its length is in the head: nobody has to send it, and whoever does reads why it was refused.
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    const LENGTH: usize = 5 * 1024 * 1024;
    let world = World::new().await;
    let head = |more: &str| {
        format!("POST /api/job HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{more}\r\n", world.address, world.cookie)
    };
    let mut asks_first = world.connect().await;
    let expects = head(&format!("Content-Length: {LENGTH}\r\nExpect: 100-continue\r\n"));
    asks_first.write_all(expects.as_bytes()).await.expect("sent");
    let answer = rest(&mut asks_first).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "no 100 Continue: {answer}");
    assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(body(&answer)["status"], 413);

    let mut says_it = world.connect().await;
    says_it.write_all(head(&format!("Content-Length: {LENGTH}\r\n")).as_bytes()).await.expect("sent");
    says_it.write_all(&vec![b' '; LENGTH]).await.expect("taken, though nobody wants it");
    says_it.shutdown().await.expect("half closed");
    assert!(rest(&mut says_it).await.starts_with("HTTP/1.1 413"));

    let mut hides_it = world.connect().await;
    hides_it.write_all(head("Transfer-Encoding: chunked\r\n").as_bytes()).await.expect("sent");
    let chunk = [format!("{:x}\r\n", 64 * 1024).as_bytes(), &vec![b' '; 64 * 1024], b"\r\n"].concat();
    for _ in 0..LENGTH / chunk.len() {
        hides_it.write_all(&chunk).await.expect("taken, though nobody wants it");
    }
    hides_it.shutdown().await.expect("half closed");
    assert!(rest(&mut hides_it).await.starts_with("HTTP/1.1 413"));
    assert_eq!(
        world.engine.client.search("job", &slipstream_cimi::query::Search::default()).await.expect("found").count,
        0
    );
    world.end().await;
}
