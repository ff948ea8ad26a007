use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::*;

/// What a connection does with each request: these bytes, or it closes.
type Answers = Vec<Vec<Option<String>>>;

struct Server {
    folder: TempDir,
    asked: JoinHandle<Vec<String>>,
}

impl Server {
    /// A connection for each list of answers.
    fn start(connections: Answers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("api")).unwrap();
        let asked = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answers in connections {
                let (mut stream, _) = listener.accept().await.unwrap();
                for answer in answers {
                    asked.push(head(&mut stream).await);
                    let Some(answer) = answer else { break };
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            asked
        });
        Self { folder, asked }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("api")
    }

    fn transport(&self) -> UnixTransport {
        UnixTransport::new(self.path(), "0a1b".to_owned())
    }
}

async fn head(stream: &mut tokio::net::UnixStream) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        let length = stream.read_buf(&mut text).await.unwrap();
        assert_ne!(length, 0, "the head is whole");
    }
    String::from_utf8(text).unwrap()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn request(method: Method, path: &str, body: &'static str) -> Request<Bytes> {
    Request::builder().method(method).uri(path).header("host", "other").body(Bytes::from(body)).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_for_many_requests() {
    let created = "HTTP/1.1 201 Created\r\nset-cookie: a=1\r\ncontent-length: 2\r\n\r\n{}";
    let server = Server::start(vec![vec![Some(created.to_owned()), Some(ok("second")), Some(ok(""))]]);
    let transport = server.transport();
    let answer = transport.send(request(Method::PUT, "/api/job/1?a=b", "{}")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (201, b"{}".as_slice()));
    assert_eq!(answer.headers()["set-cookie"], "a=1");
    let answer = transport.send(request(Method::GET, "/api/job/1", "")).await.unwrap();
    assert_eq!(answer.body().as_ref(), b"second");
    transport.send(request(Method::POST, "/api/job/1/stop", "")).await.unwrap();
    let asked = server.asked.await.unwrap();
    assert!(asked[0].starts_with("PUT /api/job/1?a=b HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].contains("\r\nhost: 0a1b\r\n") && !asked[0].contains("other"), "{}", asked[0]);
}

/// The fault: the server closes a kept connection, with the request or before it.
#[tokio::test]
async fn a_read_whose_connection_breaks_off_is_asked_once_more_and_nothing_else_is() {
    let server = Server::start(vec![vec![Some(ok("1")), None], vec![Some(ok("2")), None], vec![None], vec![None]]);
    let transport = server.transport();
    for body in [b"1".as_slice(), b"2"] {
        let answer = transport.send(request(Method::GET, "/api/job/1", "")).await.unwrap();
        assert_eq!(answer.body().as_ref(), body);
    }
    let error = transport.send(request(Method::PUT, "/api/job/1", "{}")).await.unwrap_err();
    assert_eq!(error.to_string(), "the connection broke off");
    transport.send(request(Method::GET, "/api/job/1", "")).await.unwrap_err();
    let methods: Vec<String> = server.asked.await.unwrap().iter().map(|head| head[..3].to_owned()).collect();
    assert_eq!(methods, ["GET", "GET", "GET", "PUT", "GET", "GET"]);
}

#[tokio::test]
async fn what_a_closed_connection_did_not_take_goes_over_a_new_one() {
    let closing = Some("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_owned());
    let server = Server::start(vec![vec![closing], vec![Some(ok(""))]]);
    let transport = server.transport();
    for _ in 0..2 {
        transport.send(request(Method::PUT, "/api/job/1", "{}")).await.unwrap();
    }
    assert_eq!(server.asked.await.unwrap().len(), 2);
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time() {
    for (largest_answer, is_read) in [(4, false), (5, true)] {
        let server = Server::start(vec![vec![Some(ok("12345"))]]);
        let transport = UnixTransport { largest_answer, ..server.transport() };
        let answer = transport.send(request(Method::GET, "/api/job", "")).await;
        assert_eq!(answer.is_ok(), is_read);
    }
    let server =
        Server::start(vec![vec![Some("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12".to_owned()), Some(ok(""))]]);
    let transport = server.transport().within(Duration::from_millis(50));
    let error = transport.send(request(Method::GET, "/api/job", "")).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 50ms");
    server.asked.abort();
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let transport = UnixTransport::new("/nowhere/api".into(), "0a1b".to_owned());
    let error = transport.send(request(Method::GET, "/api/job", "")).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to the socket /nowhere/api");
}

#[test]
fn the_api_is_named_as_actions_are_told_it() {
    let host = |api| UnixTransport::to_api(Path::new("/run/api").to_owned(), api).map(|transport| transport.host);
    for api in ["http://0a1b/api", "http://0a1b/api/"] {
        assert_eq!(host(api).as_deref(), Some("0a1b"));
    }
    for wrong in ["", "0a1b", "http:///api", "http://0a1b", "https://0a1b/api", "http://0a1b/other"] {
        assert_eq!(host(wrong), None, "{wrong}");
    }
}
