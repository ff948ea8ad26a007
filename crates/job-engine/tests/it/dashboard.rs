//! The dashboard over a real server: login by form, who may do what, and that its streams end.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use slipstream_cimi::Transport;
use slipstream_cimi::http::HttpTransport;
use slipstream_job_engine::internals::process::Stop;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Answered, InProcess, LIMIT, PASSWORD, Raw, Up};

const FORM: &str = "application/x-www-form-urlencoded";
/// Of users.
const SECRET: &str = "a good password";

/// A server with a socket, behind proxies on this machine whose word counts if it is to.
struct World {
    engine: InProcess,
    transport: HttpTransport,
    address: std::net::SocketAddr,
    stop: Stop,
    serving: JoinHandle<()>,
}

impl World {
    async fn new(proxies: &[&str]) -> Self {
        let proxies = proxies.iter().map(|network| network.parse().expect("a network")).collect();
        let engine = InProcess::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, stop) = (listener.local_addr().expect("bound"), Stop::new());
        let (server, asked) = (engine.server.clone(), stop.clone());
        let serving = tokio::spawn(async move { server.serve(listener, proxies, asked).await });
        let transport = HttpTransport::new(&format!("http://{address}"), false, Duration::from_secs(30));
        Self { engine, transport: transport.expect("a good address"), address, stop, serving }
    }

    async fn ask(&self, method: &str, path: &str, cookie: &str) -> Answered {
        Raw::new(method, path).header("cookie", cookie).send(&self.transport).await
    }

    /// Sends a login form, and answers the cookie if it is good.
    async fn log_in(&self, user: &str, password: &str, headers: &[(&str, &str)]) -> Result<String, Answered> {
        let form = format!("username={user}&password={}&next=jobs", password.replace(' ', "+"));
        let request = Raw::new("POST", "/ui/login").text(FORM, form);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = request.send(&self.transport).await;
        if answer.status != 303 {
            return Err(answer);
        }
        assert_eq!(answer.headers["location"], "jobs");
        let cookie = answer.headers["set-cookie"].to_str().expect("text");
        Ok(cookie.split(';').next().expect("a value").to_owned())
    }

    async fn add_user(&self, name: &str) {
        let user = json!({"username": name, "password": SECRET});
        let document = user.as_object().expect("an object");
        self.engine.client.add("user", document, None).await.expect("added");
    }

    /// A job of this owner, waiting.
    async fn add_job(&self, owner: &str) -> String {
        let acl = json!({"owner": {"principal": owner, "type": "USER"}});
        let job = json!({"action": "noop", "targetResource": {"href": "dummy"}, "acl": acl});
        let id = self.engine.client.add("job", job.as_object().expect("an object"), None).await.expect("added");
        id.trim_start_matches("job/").to_owned()
    }

    async fn state(&self, name: &str) -> Value {
        self.engine.client.get(&format!("job/{name}")).await.expect("there")["state"].clone()
    }

    async fn end(self) {
        self.stop.ask();
        timeout(LIMIT, self.serving).await.expect("in time").expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_logs_in_by_form_looks_at_jobs_and_stops_one() {
    let world = World::new(&[]).await;
    let name = world.add_job("jane").await;
    let nobody = world.ask("GET", "/ui/jobs", "").await;
    assert_eq!((nobody.status, nobody.headers["location"].to_str().expect("text")), (303, "./login?next=jobs"));
    let cookie = world.log_in("super", PASSWORD, &[]).await.expect("logged in");
    let jobs = world.ask("GET", "/ui/jobs", &cookie).await;
    assert!(jobs.status == 200 && jobs.text.contains(&name), "{}", jobs.text);
    assert!(jobs.headers.contains_key("x-request-id"));
    let job = world.ask("GET", &format!("/ui/jobs/{name}"), &cookie).await;
    assert!(job.status == 200 && job.text.contains("QUEUED"), "{}", job.text);
    let stop = format!("/ui/jobs/{name}/stop");
    assert_eq!(world.ask("GET", &stop, &cookie).await.status, 200);
    assert_eq!(world.state(&name).await, "QUEUED", "looking does nothing");
    let stopped = world.ask("POST", &stop, &cookie).await;
    assert_eq!(
        (stopped.status, stopped.headers["location"].to_str().expect("text")),
        (303, &*format!("../../jobs/{name}"))
    );
    assert_eq!(world.state(&name).await, "STOPPED");
    let wrong = world.ask("GET", "/ui/jobs?filter=state%3D", &cookie).await;
    assert!(wrong.status == 400 && wrong.text.contains("state=\n      ^"), "{}", wrong.text);
    let head = world.ask("HEAD", "/ui/jobs", &cookie).await;
    assert!(head.status == 200 && head.text.is_empty() && head.headers.contains_key("content-length"));
    let out = world.ask("POST", "/ui/logout", &cookie).await;
    assert_eq!(out.status, 303);
    assert_eq!(world.ask("GET", "/ui/jobs", &cookie).await.status, 303, "the session is over");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_by_form_are_throttled_by_the_address_that_a_proxy_names() {
    let world = World::new(&["127.0.0.0/8"]).await;
    world.add_user("jane").await;
    let elsewhere = [("x-real-ip", "192.0.2.7")];
    let mut statuses = Vec::new();
    for _ in 0..10 {
        let refused = world.log_in("jane", "wrong", &elsewhere).await.expect_err("the password is wrong");
        statuses.push(refused.status);
    }
    let refused = world.log_in("jane", SECRET, &elsewhere).await.expect_err("it is too soon");
    assert_eq!(refused.status, 429, "after {statuses:?}");
    assert!(refused.headers.contains_key("retry-after") && refused.text.contains("role=\"alert\""), "{}", refused.text);
    assert_eq!(statuses[0], 403);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_changes_nothing() {
    let world = World::new(&[]).await;
    let name = world.add_job("super").await;
    let cookie = world.log_in("super", PASSWORD, &[]).await.expect("logged in");
    let host = world.address.to_string();
    let own = format!("http://{host}");
    for (path, form) in [
        (format!("/ui/jobs/{name}/stop"), ""),
        (format!("/ui/jobs/{name}/delete"), ""),
        ("/ui/logout".to_owned(), ""),
        ("/ui/login".to_owned(), "username=super&password=for-tests"),
    ] {
        for headers in [&[("sec-fetch-site", "cross-site")][..], &[("origin", "http://evil.example")]] {
            let request = Raw::new("POST", &path).header("cookie", &cookie).text(FORM, form);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            let answer = request.send(&world.transport).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}: {}", answer.text);
        }
    }
    assert_eq!(world.state(&name).await, "QUEUED");
    let request = Raw::new("POST", &format!("/ui/jobs/{name}/stop")).header("cookie", &cookie).header("origin", &own);
    assert_eq!(request.header("sec-fetch-site", "same-origin").send(&world.transport).await.status, 303);
    let linked = Raw::new("GET", "/ui/jobs").header("cookie", &cookie).header("sec-fetch-site", "cross-site");
    assert_eq!(linked.send(&world.transport).await.status, 200, "a link from elsewhere is no attack");
    world.end().await;
}

/// Method, path, and the statuses for nobody, another user, the owner of the job and the administrator.
const ROLES: &[(&str, &str, [u16; 4])] = &[
    ("GET", "/ui/jobs", [303, 200, 200, 200]),
    ("POST", "/ui/jobs", [303, 405, 405, 405]),
    ("GET", "/ui/jobs/complete?filter=", [303, 200, 200, 200]),
    ("GET", "/ui/jobs/bulk/stop?filter=state='QUEUED'", [303, 200, 200, 200]),
    ("GET", "/ui/jobs/bulk/retry?filter=state='QUEUED'", [303, 200, 200, 200]),
    ("POST", "/ui/jobs/bulk/delete", [303, 400, 400, 400]),
    ("GET", "/ui/operations", [303, 200, 200, 200]),
    ("GET", "/ui/operations/none", [303, 403, 403, 404]),
    ("GET", "/ui/operations/none/stop", [303, 405, 405, 405]),
    ("POST", "/ui/operations/none/stop", [303, 403, 403, 404]),
    ("GET", "/ui/jobs/{}", [303, 403, 200, 200]),
    ("POST", "/ui/jobs/{}", [303, 405, 405, 405]),
    ("GET", "/ui/jobs/{}/stop", [303, 403, 200, 200]),
    ("GET", "/ui/jobs/{}/delete", [303, 403, 200, 200]),
    ("POST", "/ui/jobs/{}/stop", [303, 403, 303, 303]),
    ("GET", "/ui/jobs/{}/retry", [303, 403, 200, 200]),
    ("POST", "/ui/jobs/{}/retry", [303, 403, 403, 409]),
    ("POST", "/ui/jobs/{}/delete", [303, 403, 303, 303]),
    ("GET", "/ui/regions?page=jobs", [303, 200, 200, 200]),
    ("GET", "/ui/regions?page=jobs/{}", [303, 403, 200, 200]),
    ("GET", "/ui/live?page=jobs/{}", [303, 403, 0, 0]),
    ("GET", "/ui/login", [200, 200, 200, 200]),
    ("GET", "/ui/sessions", [303, 200, 200, 200]),
    ("GET", "/ui/sessions/end", [303, 200, 200, 200]),
    ("GET", "/ui/sessions/none/end", [303, 405, 405, 405]),
    ("POST", "/ui/sessions/none/end", [303, 403, 403, 404]),
    ("GET", "/ui/users/jane/end-sessions", [303, 403, 403, 200]),
    ("GET", "/ui/queue", [303, 403, 403, 200]),
    ("GET", "/ui/queue/restore", [303, 403, 403, 200]),
    ("POST", "/ui/queue/restore", [303, 403, 403, 200]),
    ("GET", "/ui/regions?page=queue", [303, 403, 403, 200]),
    ("GET", "/ui/actions", [303, 403, 403, 200]),
    ("GET", "/ui/executors", [303, 403, 403, 200]),
    ("GET", "/ui/executors/none", [303, 403, 403, 404]),
    ("GET", "/ui/distributors", [303, 403, 403, 200]),
    ("GET", "/ui/distributors/none/reset", [303, 403, 403, 200]),
    ("POST", "/ui/distributors/none/reset", [303, 403, 403, 404]),
    ("GET", "/ui/users", [303, 403, 403, 200]),
    ("POST", "/ui/users", [303, 403, 403, 400]),
    ("GET", "/ui/users/jane", [303, 403, 403, 200]),
    ("GET", "/ui/users/jane/delete", [303, 403, 403, 200]),
    ("POST", "/ui/users/nobody/delete", [303, 403, 403, 404]),
    ("POST", "/ui/users/super/delete", [303, 403, 403, 409]),
    ("POST", "/ui/users/jane/password", [303, 403, 403, 400]),
    ("GET", "/ui/about", [303, 403, 403, 200]),
    ("GET", "/ui/", [303, 200, 200, 200]),
    ("GET", "/ui/?span=24h", [303, 200, 200, 200]),
    ("GET", "/ui/?span=1h", [303, 400, 400, 400]),
    ("POST", "/ui/", [303, 405, 405, 405]),
    ("GET", "/ui/regions?page=%3Fspan%3D90d", [303, 200, 200, 200]),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_may_see_and_do_on_pages_what_the_api_grants() {
    let world = World::new(&[]).await;
    for name in ["jane", "joe"] {
        world.add_user(name).await;
    }
    let logins = [
        ("nobody", String::new()),
        ("joe", world.log_in("joe", SECRET, &[]).await.expect("logged in")),
        ("jane", world.log_in("jane", SECRET, &[]).await.expect("logged in")),
        ("super", world.log_in("super", PASSWORD, &[]).await.expect("logged in")),
    ];
    for (method, path, expected) in ROLES {
        for ((who, cookie), expected) in logins.iter().zip(*expected).filter(|(_, expected)| *expected != 0) {
            let name = world.add_job("jane").await;
            let answer = world.ask(method, &path.replace("{}", &name), cookie).await;
            assert_eq!(answer.status, expected, "{who} {method} {path}: {}", answer.text);
            let is_sent_to_login = answer
                .headers
                .get("location")
                .is_some_and(|place| place.to_str().is_ok_and(|place| place.contains("login")));
            assert_eq!(is_sent_to_login, *who == "nobody" && expected == 303, "{who} {method} {path}");
            if expected != 303 || *who == "nobody" {
                assert_eq!(world.state(&name).await, "QUEUED", "{who} {method} {path}");
            }
        }
    }
    let list = world.ask("GET", "/ui/jobs", &logins[1].1).await.text;
    assert!(!list.contains("row-") && list.contains("No job matches"), "joe has none: {list}");
    let unbelieved = Raw::new("GET", "/ui/jobs").header("slipstream-authn-info", "super ADMIN");
    assert_eq!(unbelieved.send(&world.transport).await.status, 303, "whoever is no trusted proxy vouches for nobody");
    world.end().await;
}

/// The fault: a stop while browsers follow pages, whose streams would not end by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_followed_until_the_server_stops() {
    let world = World::new(&[]).await;
    let name = world.add_job("super").await;
    let cookie = world.log_in("super", PASSWORD, &[]).await.expect("logged in");
    let mut connection = BufReader::new(TcpStream::connect(world.address).await.expect("connected"));
    let head = format!("GET /ui/live?page=jobs HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", world.address);
    connection.write_all(head.as_bytes()).await.expect("sent");
    let mut line_with = async |text: &str| {
        timeout(LIMIT, async {
            loop {
                let mut line = String::new();
                assert!(connection.read_line(&mut line).await.expect("read") > 0, "the stream goes on");
                if line.contains(text) {
                    return line;
                }
            }
        })
        .await
        .expect("in time")
    };
    line_with("200 OK").await;
    let first = line_with(&name).await;
    assert!(first.contains("QUEUED"), "{first}");
    world.ask("POST", &format!("/ui/jobs/{name}/stop"), &cookie).await;
    let changed = line_with("data: ").await;
    assert!(changed.contains("STOPPED"), "{changed}");
    let added = world.add_job("super").await;
    line_with(&added).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_pages_are_bounded() {
    let world = World::new(&[]).await;
    let large = "x".repeat(64 * 1024 + 1);
    let answer = Raw::new("POST", "/ui/login").text(FORM, large).send(&world.transport).await;
    assert_eq!(answer.status, 413);
    world.end().await;
}

/// Every page and what one does on them, in Chromium; the script says what it looks at. Pictures go to `target/screenshots`.
#[tokio::test(flavor = "multi_thread")]
async fn pages_work_in_a_browser() {
    let python = std::env::var("SLIPSTREAM_TEST_PYTHON")
        .expect("SLIPSTREAM_TEST_PYTHON names the Python with Playwright: run the tests by `cargo xtask test`");
    let world = World::new(&[]).await;
    let (server, asked) = (world.engine.server.clone(), world.stop.clone());
    let reconciling = tokio::spawn(async move { server.reconcile("browser", asked).await });
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.arg(here.join("tests/python/dashboard.py")).args([&format!("http://{}", world.address), PASSWORD]);
    command.arg(here.join("../../target/screenshots"));
    let ran =
        tokio::task::spawn_blocking(move || command.output().expect("the script starts")).await.expect("no panic");
    let [said, complained] = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(ran.status.success(), "{said}\n{complained}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 13, "{said}");
    world.end().await;
    timeout(LIMIT, reconciling).await.expect("in time").expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_says_where_its_dashboard_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &[]);
    let line = up.line_with("/ui/");
    assert_eq!(line.trim(), format!("dashboard     {}/ui/", up.endpoint));
    let mut asked = http::Request::new(Bytes::new());
    *asked.uri_mut() = "/".parse().expect("a path");
    let answer = up.transport().send(asked).await.expect("answered");
    assert!(matches!(answer.status().as_u16(), 303 | 200), "{}", answer.status());
}

/// A connection on which a page is to be followed, and the first line that comes back.
async fn followed(world: &World, headers: &str) -> (BufReader<TcpStream>, String) {
    let mut connection = BufReader::new(TcpStream::connect(world.address).await.expect("connected"));
    let head = format!("GET /ui/live?page=jobs HTTP/1.1\r\nHost: {}\r\n{headers}\r\n\r\n", world.address);
    connection.get_mut().write_all(head.as_bytes()).await.expect("sent");
    let mut line = String::new();
    timeout(LIMIT, connection.read_line(&mut line)).await.expect("in time").expect("read");
    (connection, line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_opened_for_whoever_is_logged_in_and_ends_with_the_session() {
    let world = World::new(&[]).await;
    for headers in ["X: y", "slipstream-authn-info: super ADMIN"] {
        let (_, line) = followed(&world, headers).await;
        assert!(line.contains("303"), "whoever is no trusted proxy vouches for nobody: {line}");
    }
    let cookie = world.log_in("super", PASSWORD, &[]).await.expect("logged in");
    let (mut stream, line) = followed(&world, &format!("Cookie: {cookie}")).await;
    assert!(line.contains("200"), "{line}");
    assert_eq!(world.ask("DELETE", "/api/session/all", &cookie).await.status, 200);
    world.add_job("super").await;
    let told = async {
        let mut line = String::new();
        while !line.contains("event: login") {
            line.clear();
            assert!(stream.read_line(&mut line).await.expect("read") > 0, "it says why it ends");
        }
    };
    timeout(LIMIT, told).await.expect("in time");
    drop(stream);
    world.end().await;
}

/// The fault: somebody opens streams without end. Few are given, and the connections of others stay free.
#[tokio::test(flavor = "multi_thread")]
async fn many_opened_streams_leave_the_api_answering() {
    const MANY: usize = 10_000;
    const OPEN: usize = 400;
    let world = World::new(&[]).await;
    let cookie = world.log_in("super", PASSWORD, &[]).await.expect("logged in");
    let (mut followed_pages, mut refused) = (Vec::new(), std::collections::VecDeque::new());
    for number in 0..MANY {
        let (connection, line) = followed(&world, &format!("Cookie: {cookie}")).await;
        if line.contains("200") {
            followed_pages.push(connection);
        } else {
            assert!(line.contains("503"), "{line}");
            refused.push_back(connection);
        }
        if refused.len() > OPEN {
            refused.pop_front();
        }
        if number % 1_000 == 0 {
            let answer = timeout(LIMIT, world.ask("GET", "/api/job?$last=0", &cookie)).await.expect("in time");
            assert_eq!(answer.status, 200, "after {number}: {}", answer.text);
        }
    }
    assert_eq!(followed_pages.len(), 8, "of one session");
    let asked = world.ask("GET", "/ui/regions?page=jobs", &cookie).await;
    assert_eq!(asked.status, 200, "whoever has no stream asks");
    drop((followed_pages, refused));
    world.end().await;
}
