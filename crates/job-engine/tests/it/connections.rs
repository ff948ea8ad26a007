//! What is sent over a connection, byte by byte: half closed ones, bodies that are too large or say what no document can
//! keep, odd hosts, and requests that browsers send for other sites.

use serde_json::{Value, json};
use slipstream_job_engine::internals::process::Stop;
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
        Self::behind(&[]).await
    }

    /// Believes proxies in these networks.
    async fn behind(proxies: &[&str]) -> Self {
        let proxies = proxies.iter().map(|network| network.parse().expect("a network")).collect();
        let engine = InProcess::new().await;
        let cookie = cookie(&*engine.transport).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, stop) = (listener.local_addr().expect("bound"), Stop::new());
        let (server, asked) = (engine.server.clone(), stop.clone());
        let serving = tokio::spawn(async move { server.serve(listener, proxies, asked).await });
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

    /// Sends a head of these lines and a body, and answers status and answer.
    async fn send(&self, lines: &[&str], body: &str) -> (u16, String) {
        let mut connection = self.connect().await;
        let length = format!("Content-Length: {}", body.len());
        let head = [lines, &[&length, "Connection: close"]].concat().join("\r\n");
        connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.expect("sent");
        let answer = rest(&mut connection).await;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or_else(|| panic!("no status: {answer}")), answer)
    }

    /// The same as administrator, to this server.
    async fn ask(&self, request: &str, headers: &[&str], body: &str) -> (u16, String) {
        let (line, host) = (format!("{request} HTTP/1.1"), format!("Host: {}", self.address));
        let cookie = format!("Cookie: {}", self.cookie);
        self.send(&[&[&*line, &host, &cookie], headers].concat(), body).await
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

#[tokio::test]
async fn a_request_names_one_host() {
    let world = World::new().await;
    let target = "GET /api/cloud-entry-point HTTP/1.1";
    let rows: &[(&[&str], u16)] = &[
        (&[target, "Host: a"], 200),
        (&[target, "Host: a:8201"], 200),
        (&[target, "Host: [::1]:8201"], 200),
        (&[target, "Host:"], 200),
        (&["GET /api/cloud-entry-point HTTP/1.0"], 200),
        (&[target], 400),
        (&[target, "Host: a", "Host: a"], 400),
        (&[target, "Host: a", "Host: b"], 400),
        (&[target, "Host: a b"], 400),
        (&[target, "Host: a/b"], 400),
        (&[target, "Host: user@a"], 400),
        (&[target, "Host: a:b"], 400),
        (&[target, "Host: a:99999"], 400),
        (&[target, "Host: [::1"], 400),
    ];
    for (lines, expected) in rows {
        let (status, answer) = world.send(lines, "").await;
        assert_eq!(status, *expected, "{lines:?}: {answer}");
    }
    let base_uri = async |headers: &[&str]| {
        let (_, answer) = world.send(&[&[target, "Host: here:8201"], headers].concat(), "").await;
        body(&answer)["baseURI"].as_str().expect("a text").to_owned()
    };
    for (headers, expected) in [
        (&["X-Forwarded-Proto: https", "X-Forwarded-Host: front"] as &[&str], "https://front/api/"),
        (&["X-Forwarded-Host: front", "X-Forwarded-Port: 444"], "http://front:444/api/"),
        (&["X-Forwarded-Proto: javascript"], "http://here:8201/api/"),
        (&["X-Forwarded-Host: a/b?"], "http://here:8201/api/"),
        (&["X-Forwarded-Host: front", "X-Forwarded-Port: x"], "http://front/api/"),
    ] {
        assert_eq!(base_uri(headers).await, expected, "{headers:?}");
    }
    world.end().await;
}

/// As a browser sends them, with the cookie of somebody who is logged in.
#[tokio::test]
async fn what_a_page_of_another_site_asks_for_is_refused() {
    const JOB: &str = r#"{"action": "noop"}"#;
    let world = World::behind(&["127.0.0.0/8"]).await;
    let (_, added) = world.ask("POST /api/job", &[], JOB).await;
    let id = body(&added)["resource-id"].as_str().expect("an id").to_owned();
    let own = format!("Origin: http://{}", world.address);
    let rows: &[(&[&str], u16)] = &[
        (&[], 201),
        (&["Sec-Fetch-Site: same-origin"], 201),
        (&["Sec-Fetch-Site: none"], 201),
        (&[&own], 201),
        (&["Origin: https://front", "X-Forwarded-Host: front"], 201),
        (&["Content-Type: text/plain", "Sec-Fetch-Site: cross-site", "Origin: http://evil.example"], 403),
        (&["Sec-Fetch-Site: same-site"], 403),
        (&["Content-Type: text/plain", "Origin: http://evil.example"], 403),
        (&["Origin: null"], 403),
    ];
    for (headers, expected) in rows {
        let (status, answer) = world.ask("POST /api/job", headers, JOB).await;
        assert_eq!(status, *expected, "{headers:?}: {answer}");
        assert!(status == 201 || answer.contains("request from a page of another site"), "{answer}");
    }
    let foreign = "Sec-Fetch-Site: cross-site";
    for (request, expected) in [
        (format!("POST /api/{id}/stop"), 403),
        (format!("PUT /api/{id}"), 403),
        (format!("DELETE /api/{id}"), 403),
        ("POST /api/session".to_owned(), 403),
        ("POST /api/queue/restore".to_owned(), 403),
        // an image on any page could
        (format!("GET /api/{id}/stop"), 405),
        (format!("HEAD /api/{id}/stop"), 405),
        // what only reads its answer shows to nobody else
        (format!("GET /api/{id}"), 200),
    ] {
        let (status, answer) = world.ask(&request, &[foreign], "").await;
        assert_eq!(status, expected, "{request}: {answer}");
    }
    let job = world.engine.client.get(&id).await.expect("it is there");
    assert_eq!(job["state"], "QUEUED", "nobody stopped it");
    world.end().await;

    let direct = World::new().await;
    let (status, _) = direct.ask("POST /api/job", &["Origin: https://front", "X-Forwarded-Host: front"], JOB).await;
    assert_eq!(status, 403, "anybody can say that it is a proxy");
    direct.end().await;
}

#[tokio::test]
async fn a_cookie_goes_to_no_other_site_and_by_https_alone_where_that_is_spoken() {
    let login =
        r#"{"sessionTemplate": {"href": "session-template/internal", "username": "super", "password": "for-tests"}}"#;
    for (proxies, is_secure) in [(&["127.0.0.1/32"] as &[&str], true), (&[], false)] {
        let world = World::behind(proxies).await;
        let (_, answer) = world.ask("POST /api/session", &["X-Forwarded-Proto: https"], login).await;
        let cookie = answer.lines().find(|line| line.to_lowercase().starts_with("set-cookie:")).expect("a cookie");
        assert!(cookie.contains(";SameSite=Lax;"), "{cookie}");
        assert_eq!(cookie.contains(";Secure;"), is_secure, "{cookie}");
        world.end().await;
    }
}

#[tokio::test]
async fn what_no_document_can_keep_is_refused_with_its_place() {
    let world = World::new().await;
    for (sent, place) in [
        (
            r#"{"action": "a", "targetResource": {"href": "a/b", "size": 123456789012345678901234567890}}"#,
            "targetResource/size: 1234",
        ),
        (r#"{"action": "a", "targetResource": {"href": "a/b", "size": 1e400}}"#, "targetResource/size: 1e400"),
        (r#"{"action": "a", "properties": {"file": "\udc80"}}"#, "properties/file: \\\\udc80"),
        (r#"[{"action": "a"}, {"action": "a", "priority": 18446744073709551616}]"#, "1/priority: 1844"),
    ] {
        let (status, answer) = world.ask("POST /api/job", &[], sent).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains(place), "{place}: {answer}");
    }
    let (status, answer) = world.ask("POST /api/job", &[], r#"{"action": "a", "statusMessage": "caf\udce9"}"#).await;
    assert_eq!(status, 201, "{answer}");
    let id = body(&answer)["resource-id"].as_str().expect("an id").to_owned();
    assert_eq!(world.engine.client.get(&id).await.expect("there")["statusMessage"], "caf\u{fffd}");
    let number = r#"{"targetResource": {"href": "a/b", "size": 18446744073709551615}}"#;
    assert_eq!(world.ask(&format!("PUT /api/{id}"), &[], number).await.0, 200);
    assert_eq!(world.engine.client.get(&id).await.expect("there")["targetResource"]["size"], json!(u64::MAX));
    world.end().await;
}

#[tokio::test]
async fn ids_encodings_and_the_base_uri_are_understood_or_refused_by_name() {
    let world = World::new().await;
    let (_, added) = world.ask("POST /api/job", &["Content-Encoding: identity"], r#"{"action": "a"}"#).await;
    let id = body(&added)["resource-id"].as_str().expect("an id").to_owned();
    let uuid = id.trim_start_matches("job/");
    for written in [uuid.to_uppercase(), uuid.replace('-', "")] {
        let (status, answer) = world.ask(&format!("GET /api/job/{written}"), &[], "").await;
        assert_eq!((status, &body(&answer)["id"]), (200, &json!(id)));
    }
    for path in ["/api", "/api/", "//api//"] {
        let (status, answer) = world.ask(&format!("GET {path}"), &[], "").await;
        assert_eq!((status, &body(&answer)["id"]), (200, &json!("cloud-entry-point")), "{path}");
    }
    for encoding in ["gzip", "br", "identity, gzip"] {
        let header = format!("Content-Encoding: {encoding}");
        let (status, answer) = world.ask("POST /api/job", &[&header], r#"{"action": "a"}"#).await;
        assert_eq!(status, 415, "{answer}");
        assert!(answer.contains("without Content-Encoding"), "{answer}");
    }
    world.end().await;
}
