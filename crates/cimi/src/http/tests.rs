use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

/// A server that answers one request with `answer` and then hands out what it was asked; its address comes first.
async fn serve(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = String::new();
        let mut buffer = [0; 4096];
        while !is_whole(&asked) {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the request is cut off: {asked}");
            asked.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked
    };
    (address, tokio::spawn(serving))
}

fn is_whole(asked: &str) -> bool {
    let Some((head, body)) = asked.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

fn request(method: Method, uri: &str, body: &'static str) -> Request<Bytes> {
    Request::builder().method(method).uri(uri).header("cookie", "a=1").body(Bytes::from(body)).unwrap()
}

fn chain(error: &TransportError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The fault: connections are closed once a request has arrived, as a server may that closes those it kept.
#[tokio::test]
async fn a_read_whose_connection_breaks_off_is_asked_once_more_and_nothing_else_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = HttpTransport::new(&format!("http://{}", listener.local_addr().unwrap()), false, LIMIT).unwrap();
    let closing = tokio::spawn(async move {
        let mut asked = Vec::new();
        for closes in [true, false, true, true, true] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).await.unwrap();
            asked.push(String::from_utf8_lossy(&buffer[..length]).split(' ').next().unwrap().to_owned());
            if !closes {
                let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
        asked
    });
    let answer = transport.send(request(Method::GET, "/api/job/1", "")).await.unwrap();
    assert_eq!(answer.body().as_ref(), b"{}");
    transport.send(request(Method::PUT, "/api/job/1", "{}")).await.unwrap_err();
    transport.send(request(Method::GET, "/api/job/1", "")).await.unwrap_err();
    assert_eq!(closing.await.unwrap(), ["GET", "GET", "PUT", "GET", "GET"]);
}

#[tokio::test]
async fn sends_and_receives_all_of_it() {
    let (address, asked) =
        serve("HTTP/1.1 201 Created\r\nset-cookie: a=2\r\nset-cookie: b=3\r\ncontent-length: 2\r\n\r\n{}").await;
    let transport = HttpTransport::new(&format!("{address}/"), false, LIMIT).unwrap();
    let answer = transport.send(request(Method::PUT, "/api/job/1?%24select=a%2Cb", "{\"b\":1}")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (201, b"{}".as_slice()));
    assert_eq!(answer.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=2", "b=3"]);
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("PUT /api/job/1?%24select=a%2Cb HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\ncookie: a=1\r\n") && asked.ends_with("\r\n\r\n{\"b\":1}"), "{asked}");
}

#[tokio::test]
async fn an_empty_body_has_its_length() {
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let (address, asked) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let transport = HttpTransport::new(&address, false, LIMIT).unwrap();
        transport.send(request(method, "/api/job/1/stop", "")).await.unwrap();
        let asked = asked.await.unwrap();
        assert_eq!(asked.matches("\r\ncontent-length: 0\r\n").count(), 1, "{asked}");
    }
}

#[tokio::test]
async fn redirects_are_answers() {
    let (address, asked) =
        serve("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let transport = HttpTransport::new(&address, true, LIMIT).unwrap();
    assert_eq!(transport.send(request(Method::GET, "/api/job", "")).await.unwrap().status().as_u16(), 302);
    asked.await.unwrap();
}

#[tokio::test]
async fn answers_are_bounded() {
    for (limit, is_read) in [(4, false), (5, true)] {
        let (address, asked) = serve("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345").await;
        let transport = HttpTransport { largest_answer: limit, ..HttpTransport::new(&address, false, LIMIT).unwrap() };
        let answer = transport.send(request(Method::GET, "/api/job", "")).await;
        assert_eq!(answer.is_ok(), is_read);
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let transport = HttpTransport::new(&address, false, LIMIT).unwrap();
    let error = transport.send(request(Method::GET, "/api/job", "")).await.unwrap_err();
    assert!(chain(&error).contains("Connection refused"), "{}", chain(&error));
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_within_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let transport = HttpTransport::new(&address, false, Duration::from_millis(50)).unwrap();
    let error = transport.send(request(Method::GET, "/api/job", "")).await.unwrap_err();
    assert!(error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout), "{}", chain(&error));
    drop(listener);
}

#[tokio::test]
async fn endpoints_are_checked() {
    for endpoint in ["", "example.org", "127.0.0.1:8201", "ftp://example.org", "/api", "https//example.org"] {
        let error = HttpTransport::new(endpoint, false, LIMIT).unwrap_err();
        assert_eq!(error.to_string(), format!("`{endpoint}` does not begin with http:// or https://"));
    }
    for endpoint in ["http://", "https://exa mple.org", "http://a:b:c", "http://a/?x=1", "http://a/#x"] {
        let error = HttpTransport::new(endpoint, false, LIMIT).unwrap_err();
        assert!(matches!(error, EndpointError::Address { .. }), "{endpoint}: {error}");
    }
    let prefixed = HttpTransport::new("http://127.0.0.1:1/prefix//", false, LIMIT).unwrap();
    assert_eq!(prefixed.endpoint, "http://127.0.0.1:1/prefix");
    HttpTransport::new("https://example.org", true, LIMIT).unwrap();
}
