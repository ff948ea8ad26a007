//! Users beside the administrator: who may manage them, when their sessions end, whom a proxy may vouch for, and how
//! logins are slowed down.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap};
use serde_json::{Value, json};
use slipstream_cimi::Transport;
use slipstream_cimi::http::HttpTransport;
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::Stop;
use slipstream_job_engine::internals::process::parse_network;
use slipstream_job_engine::internals::server::Origin;
use slipstream_job_engine::internals::server::Sessions;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Store, StoreExt};
use tokio::net::TcpListener;

use crate::commands::assert_lines;
use crate::support::{Answered, InProcess, PASSWORD, Raw, Up, cookie, credentials, document, eventually, program};

const SECRET: &str = "a secret of jane";

fn login_body(name: &str, password: &str) -> Value {
    json!({"sessionTemplate": {"href": "session-template/internal", "username": name, "password": password}})
}

async fn login(transport: &dyn Transport, name: &str, password: &str) -> Answered {
    Raw::new("POST", "/api/session").json(&login_body(name, password)).send(transport).await
}

/// Logs in and answers the `Cookie` header.
async fn cookie_of(transport: &dyn Transport, name: &str, password: &str) -> String {
    let answered = login(transport, name, password).await;
    assert_eq!(answered.status, 201, "{}", answered.text);
    let cookie = answered.headers["set-cookie"].to_str().expect("text");
    cookie.split(';').next().expect("a value").to_owned()
}

/// The caller's own session, as clients ask for it.
async fn own_session(transport: &dyn Transport, cookie: &str) -> Value {
    let found = Raw::new("GET", "/api/session").header("cookie", cookie).send(transport).await;
    assert_eq!(found.status, 200, "{}", found.text);
    found.body["sessions"][0].clone()
}

async fn add_user(engine: &InProcess, name: &str) -> String {
    let user = document(json!({"username": name, "password": SECRET}));
    engine.client.add("user", &user, None).await.expect("added")
}

#[tokio::test]
async fn users_are_added_read_found_changed_and_deleted_and_never_show_a_password() {
    let engine = InProcess::new().await;
    let administrator = cookie(&*engine.transport).await;
    let send = async |method: &str, path: &str, body: Option<Value>| {
        let request = Raw::new(method, &format!("/api/{path}")).header("cookie", &administrator);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answered = request.send(&*engine.transport).await;
        assert!(!answered.text.contains(SECRET) && !answered.text.contains("argon2"), "{}", answered.text);
        answered
    };
    let added = send("POST", "user", Some(json!({"username": "jane", "password": SECRET, "name": "Jane"}))).await;
    assert_eq!((added.status, &added.body["resource-id"]), (201, &json!("user/jane")));
    assert_eq!(added.headers["location"], "user/jane");
    let again = send("POST", "user", Some(json!({"username": "jane", "password": SECRET}))).await;
    assert_eq!((again.status, &again.body["resource-id"]), (409, &json!("user/jane")));
    assert_eq!(send("POST", "user", Some(json!({"username": "super", "password": SECRET}))).await.status, 409);
    let read = send("GET", "user/jane", None).await.body;
    let expected = json!(["jane", "ACTIVE", false, "Jane", "http://sixsq.com/slipstream/1/User"]);
    assert_eq!(
        json!([read["username"], read["state"], read["isSuperUser"], read["name"], read["resourceURI"]]),
        expected
    );
    assert_eq!(
        read["operations"],
        json!([{"rel": "edit", "href": "user/jane"}, {"rel": "delete", "href": "user/jane"}])
    );
    let found = send("GET", "user?$filter=state='ACTIVE'&$orderby=username:desc", None).await.body;
    let names: Vec<&Value> = found["users"].as_array().expect("a list").iter().map(|user| &user["username"]).collect();
    assert_eq!((&found["count"], names), (&json!(2), vec![&json!("super"), &json!("jane")]));
    assert_eq!(send("GET", "user?$filter=password^='$'", None).await.body["count"], 0, "the hash is not searched");
    let mut whole = read.clone();
    whole["description"] = json!("may be sent back whole");
    whole.as_object_mut().expect("an object").shift_remove("name");
    let edited = send("PUT", "user/jane?$select=name", Some(whole)).await;
    assert_eq!(edited.status, 200, "{}", edited.text);
    assert_eq!((&edited.body["description"], edited.body.get("name")), (&json!("may be sent back whole"), None));
    assert_eq!(send("DELETE", "user/jane", None).await.status, 200);
    assert_eq!(send("GET", "user/jane", None).await.status, 404);
    let entry_point = send("GET", "cloud-entry-point", None).await.body;
    assert_eq!(entry_point["users"], json!({"href": "user"}));
}

#[tokio::test]
async fn bad_users_are_refused_with_what_is_wrong_and_without_the_password() {
    let engine = InProcess::new().await;
    let administrator = cookie(&*engine.transport).await;
    add_user(&engine, "jane").await;
    for (method, path, body, expected) in [
        ("POST", "user", json!({"password": SECRET}), "username: missing"),
        ("POST", "user", json!({"username": "joe"}), "password: missing"),
        ("POST", "user", json!({"username": "a/b", "password": SECRET}), "without `/`"),
        ("POST", "user", json!({"username": "joe", "password": "a sec"}), "password: expected a text of 8 to 1024"),
        ("POST", "user", json!({"username": "joe", "password": [SECRET]}), "password: expected"),
        ("POST", "user", json!({"username": "joe", "password": SECRET, "isSuperUser": "no"}), "isSuperUser: "),
        ("POST", "user", json!({"username": "joe", "password": SECRET, "email": "x"}), "email: unknown attribute"),
        ("PUT", "user/jane", json!({"username": "joan"}), "username: cannot be changed"),
        ("PUT", "user/jane", json!({"acl": {"owner": {"type": "USER", "principal": "jane"}}}), "acl: cannot be set"),
        ("PUT", "user/jane", json!({"state": "DELETED"}), "state: expected ACTIVE or SUSPENDED"),
        ("PUT", "user/jane?$select=state", json!({}), "state: cannot be taken away"),
    ] {
        let request = Raw::new(method, &format!("/api/{path}")).header("cookie", &administrator).json(&body);
        let refused = request.send(&*engine.transport).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text);
        assert!(refused.text.contains(expected), "{body}: {}", refused.text);
        assert!(!refused.text.contains("a sec"), "{}", refused.text);
    }
    assert!(engine.store.get("user/joe").await.expect("answers").is_none());
}

#[tokio::test]
async fn nobody_but_administrators_learns_whether_a_user_exists() {
    let engine = InProcess::new().await;
    add_user(&engine, "jane").await;
    let before = engine.store.get("user/jane").await.expect("answers");
    let jane = cookie_of(&*engine.transport, "jane", SECRET).await;
    let alike = json!({"status": 403, "message": "credentials required", "request-id": null});
    let mut answers = Vec::new();
    for path in ["user", "user/jane", "user/super", "user/nobody", "user/a%2Fb", "user/jane/stop", "user/nobody/stop"] {
        for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"] {
            for cookie in [None, Some(&jane)] {
                let request = Raw::new(method, &format!("/api/{path}"));
                let request = if let Some(cookie) = cookie { request.header("cookie", cookie) } else { request };
                let request = match method {
                    "POST" => request.json(&json!({"username": "jane", "password": SECRET})),
                    "PUT" => request.json(&json!({"isSuperUser": true})),
                    _ => request,
                };
                let mut answered = request.send(&*engine.transport).await;
                if method == "HEAD" {
                    answered.body = alike.clone();
                }
                answered.body["request-id"] = Value::Null;
                answers.push((answered.status, answered.body));
            }
        }
    }
    assert_eq!(answers.len(), 7 * 6 * 2);
    assert!(answers.iter().all(|answer| *answer == (403, alike.clone())), "{answers:?}");
    assert_eq!(engine.store.get("user/jane").await.expect("answers"), before);
}

#[tokio::test]
async fn sessions_end_with_what_they_rest_on() {
    let engine = InProcess::new().await;
    for (what, change, revokes) in [
        ("a new password", json!({"password": "another secret"}), true),
        ("suspended", json!({"state": "SUSPENDED"}), true),
        ("no administrator any more", json!({"isSuperUser": false}), true),
        ("deleted", Value::Null, true),
        ("described", json!({"description": "x"}), false),
        ("active already", json!({"state": "ACTIVE", "isSuperUser": true}), false),
    ] {
        let user = document(json!({"username": "jane", "password": SECRET, "isSuperUser": true}));
        engine.client.add("user", &user, None).await.expect("added");
        let cookies =
            [cookie_of(&*engine.transport, "jane", SECRET).await, cookie_of(&*engine.transport, "jane", SECRET).await];
        for cookie in &cookies {
            assert_eq!(own_session(&*engine.transport, cookie).await["username"], "jane", "and it is remembered");
        }
        if change.is_null() {
            engine.client.delete("user/jane").await.expect("deleted");
        } else {
            engine.client.edit("user/jane", &document(change.clone()), &[]).await.expect("changed");
        }
        for cookie in &cookies {
            let session = own_session(&*engine.transport, cookie).await;
            assert_eq!(session.is_null(), revokes, "{what}: {session}");
            let jobs = Raw::new("GET", "/api/job").header("cookie", cookie).send(&*engine.transport).await;
            assert_eq!(jobs.status == 403, revokes, "{what}");
        }
        if !change.is_null() {
            engine.client.delete("user/jane").await.expect("deleted");
        }
    }
    assert_eq!(engine.client.search("user", &slipstream_cimi::query::Search::default()).await.expect("found").count, 1);
}

/// The process may end between the write that ends a user's sessions and the removal of their documents.
#[tokio::test]
async fn a_session_whose_document_outlived_its_user_opens_nothing() {
    for change in [
        json!({"password": "another secret"}),
        json!({"state": "SUSPENDED"}),
        json!({"isSuperUser": false}),
        Value::Null,
    ] {
        let engine = InProcess::new().await;
        let user = document(json!({"username": "jane", "password": SECRET, "isSuperUser": true}));
        engine.client.add("user", &user, None).await.expect("added");
        let jane = cookie_of(&*engine.transport, "jane", SECRET).await;
        let session = own_session(&*engine.transport, &jane).await["id"].as_str().expect("an id").to_owned();
        let kept = engine.store.get(&session).await.expect("answers").expect("there");
        if change.is_null() {
            engine.client.delete("user/jane").await.expect("deleted");
        } else {
            engine.client.edit("user/jane", &document(change.clone()), &[]).await.expect("changed");
        }
        assert_eq!(engine.store.get(&session).await.expect("answers"), None, "{change}");
        engine.store.insert(kept).await.expect("as if it had not been removed");
        assert!(own_session(&*engine.transport, &jane).await.is_null(), "{change}");
        let again = InProcess::over(engine.store.clone()).await;
        assert!(own_session(&*again.transport, &jane).await.is_null(), "{change}, at the next start");
        if change.is_null() {
            add_user(&engine, "jane").await;
            assert!(own_session(&*engine.transport, &jane).await.is_null(), "nor after somebody got the name");
        }
    }
}

#[tokio::test]
async fn a_user_logs_in_while_it_is_active_and_with_its_latest_password() {
    let engine = InProcess::new().await;
    add_user(&engine, "jane").await;
    let status = async |password: &str| login(&*engine.transport, "jane", password).await.status;
    let edit = async |change: Value| {
        engine.client.edit("user/jane", &document(change), &[]).await.expect("changed");
    };
    assert_eq!((status(SECRET).await, status("another secret").await), (201, 403));
    edit(json!({"password": "another secret"})).await;
    assert_eq!((status(SECRET).await, status("another secret").await), (403, 201));
    edit(json!({"state": "SUSPENDED"})).await;
    assert_eq!(status("another secret").await, 403);
    edit(json!({"state": "ACTIVE"})).await;
    let cookie = cookie_of(&*engine.transport, "jane", "another secret").await;
    let session = own_session(&*engine.transport, &cookie).await;
    assert_eq!(session["roles"], format!("USER ANON {}", session["id"].as_str().expect("an id")));
    edit(json!({"isSuperUser": true})).await;
    let cookie = cookie_of(&*engine.transport, "jane", "another secret").await;
    let session = own_session(&*engine.transport, &cookie).await;
    assert_eq!(session["roles"], format!("ADMIN USER ANON {}", session["id"].as_str().expect("an id")));
}

#[tokio::test]
async fn the_administrator_cannot_be_deleted_disabled_or_stripped_also_not_by_another_one() {
    let engine = InProcess::new().await;
    let user = document(json!({"username": "jane", "password": SECRET, "isSuperUser": true}));
    engine.client.add("user", &user, None).await.expect("added");
    let jane = cookie_of(&*engine.transport, "jane", SECRET).await;
    let before = engine.store.get("user/super").await.expect("answers");
    for (method, body) in [
        ("DELETE", None),
        ("PUT", Some(json!({"state": "SUSPENDED"}))),
        ("PUT", Some(json!({"isSuperUser": false}))),
        ("PUT", Some(json!({"password": "another secret"}))),
    ] {
        let request = Raw::new(method, "/api/user/super").header("cookie", &jane);
        let request = if let Some(body) = &body { request.json(body) } else { request };
        let refused = request.send(&*engine.transport).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{body:?}: {}", refused.text);
    }
    assert_eq!(engine.store.get("user/super").await.expect("answers"), before);
    let described = document(json!({"description": "of this site"}));
    engine.client.edit("user/super", &described, &[]).await.expect("nothing against that");
    assert_eq!(login(&*engine.transport, "super", PASSWORD).await.status, 201);
}

/// A server behind a socket; believes what `trusted` says.
struct Listening {
    engine: InProcess,
    transport: HttpTransport,
    stop: Stop,
    serving: tokio::task::JoinHandle<()>,
}

impl Listening {
    async fn trusting(networks: &[&str]) -> Self {
        let engine = InProcess::new().await;
        let networks = networks.iter().map(|network| parse_network(network).expect("a network")).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let (stop, server) = (Stop::new(), engine.server.clone());
        let stopping = stop.clone();
        let serving = tokio::spawn(async move { server.serve(listener, networks, stopping).await });
        let transport = HttpTransport::new(&endpoint, false, Duration::from_secs(30)).expect("a good address");
        Self { engine, transport, stop, serving }
    }

    /// The status of a search of jobs, and the caller's session.
    async fn asked_with(&self, headers: &[(&str, &str)]) -> (u16, Value) {
        let with = |request: Raw| headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let jobs = with(Raw::new("GET", "/api/user")).send(&self.transport).await;
        let session = with(Raw::new("GET", "/api/session")).send(&self.transport).await;
        (jobs.status, session.body["sessions"][0]["username"].clone())
    }

    async fn end(self) {
        self.stop.ask();
        self.serving.await.expect("no panic");
    }
}

const AUTHN: &str = "slipstream-authn-info";

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_vouches_and_its_word_beats_a_cookie() {
    let server = Listening::trusting(&["192.0.2.0/24", "127.0.0.0/8"]).await;
    add_user(&server.engine, "jane").await;
    let administrator = cookie(&server.transport).await;
    let jane = cookie_of(&server.transport, "jane", SECRET).await;
    let id = own_session(&server.transport, &jane).await["id"].as_str().expect("an id").to_owned();
    let of_session = format!("jane USER {id}");
    for (headers, expected) in [
        (vec![], (403, Value::Null)),
        (vec![(AUTHN, "super ADMIN USER ANON")], (200, Value::Null)),
        (vec![(AUTHN, "somebody USER")], (403, Value::Null)),
        (vec![(AUTHN, "ADMIN")], (403, Value::Null)),
        (vec![(AUTHN, "somebody USER"), ("cookie", &administrator)], (403, Value::Null)),
        (vec![(AUTHN, "somebody ADMIN"), ("cookie", &jane)], (200, Value::Null)),
        (vec![(AUTHN, &of_session)], (403, json!("jane"))),
        (vec![(AUTHN, ""), ("cookie", &administrator)], (200, json!("super"))),
        (vec![(AUTHN, "  "), ("cookie", &jane)], (403, json!("jane"))),
        (vec![(AUTHN, "x USER"), (AUTHN, "super ADMIN")], (403, Value::Null)),
        (vec![(AUTHN, "super ADMIN"), (AUTHN, "x USER")], (403, Value::Null)),
    ] {
        assert_eq!(server.asked_with(&headers).await, expected, "{headers:?}");
    }
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_vouches() {
    for networks in [vec![], vec!["192.0.2.0/24", "::1"]] {
        let server = Listening::trusting(&networks).await;
        let administrator = cookie(&server.transport).await;
        for (headers, expected) in [
            (vec![(AUTHN, "super ADMIN USER ANON")], (403, Value::Null)),
            (vec![(AUTHN, "somebody USER"), ("cookie", &administrator)], (200, json!("super"))),
        ] {
            assert_eq!(server.asked_with(&headers).await, expected, "{networks:?} {headers:?}");
        }
        let inside = Raw::new("GET", "/api/user").header(AUTHN, "super ADMIN").send(&*server.engine.transport).await;
        assert_eq!(inside.status, 403, "not in this process either");
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_proxys_client_is_believed_like_its_word() {
    for (networks, expected) in [(vec![], "127.0.0.1"), (vec!["127.0.0.1"], "198.51.100.7")] {
        let server = Listening::trusting(&networks).await;
        let body = login_body("super", PASSWORD);
        let request = Raw::new("POST", "/api/session").json(&body).header("x-real-ip", "198.51.100.7");
        let answered = request.send(&server.transport).await;
        let id = answered.body["resource-id"].as_str().expect("an id");
        assert_eq!(server.engine.client.get(id).await.expect("there")["clientIP"], expected);
        server.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_logins_are_told_to_come_back_later_and_the_administrator_here_is_not() {
    let server = Listening::trusting(&["127.0.0.1"]).await;
    add_user(&server.engine, "jane").await;
    let attempt = async |name: &str, password: &str, client: Option<&str>| {
        let request = Raw::new("POST", "/api/session").json(&login_body(name, password));
        let request = if let Some(client) = client { request.header("x-real-ip", client) } else { request };
        request.send(&server.transport).await
    };
    let stranger = Some("198.51.100.7");
    for name in ["jane", "nobody", "super"] {
        // Within a minute, the longest pause; whether the last pause is over depends on the machine's speed.
        let mut refused = None;
        for _ in 0..20 {
            let answered = attempt(name, "wrong password", stranger).await;
            assert!([403, 429].contains(&answered.status), "{}", answered.text);
            if answered.status == 429 {
                refused = Some(answered);
                break;
            }
        }
        let refused = refused.expect("throttled");
        let seconds: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
        assert!(refused.text.contains("try again in"), "{}", refused.text);
    }
    for _ in 0..8 {
        assert_eq!(attempt("super", "wrong password", None).await.status, 403);
    }
    assert_eq!(attempt("super", PASSWORD, None).await.status, 201, "never on this machine");
    server.end().await;
}

#[tokio::test]
async fn users_and_the_end_of_their_sessions_are_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).expect("opened"));
    let engine = InProcess::over(store).await;
    add_user(&engine, "jane").await;
    let jane = cookie_of(&*engine.transport, "jane", SECRET).await;
    engine.client.edit("user/jane", &document(json!({"state": "SUSPENDED"})), &[]).await.expect("disabled");
    drop(engine);
    // what the engine has begun holds it for a moment
    let store = eventually("opened again", async || SqliteStore::open(&path).ok()).await;
    let now = Clock::system().now();
    let caller = Sessions::default().caller(&store, &[&jane], now).await.expect("answers");
    assert_eq!(caller.name(), None);
    let body = document(login_body("jane", SECRET));
    let origin = Origin::of(&Extensions::new(), &HeaderMap::new());
    let refused = Sessions::default().login(&store, &body, &origin, now).await.expect_err("disabled");
    assert_eq!(refused.refusal.status, 403);
    store.close().expect("closed");
}

/// Runs a command beside `up` with this on its standard input.
fn beside(up: &Up, user: (&str, &str), arguments: &[&str], input: &str) -> Output {
    let mut command: Command = program();
    command.args(arguments).args(["--ss-url", &up.endpoint, "--ss-user", user.0]).env("SLIPSTREAM_PASS", user.1);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    if let Err(error) = child.stdin.take().expect("a pipe").write_all(input.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "it may end without having listened");
    }
    child.wait_with_output().expect("it ends")
}

#[tokio::test]
async fn the_command_manages_users_who_then_log_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let file = folder.path().join("jane.password");
    std::fs::write(&file, "from a file\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let administrator = ("super", PASSWORD);
    let run = |user: (&str, &str), arguments: &[&str], input: &str| {
        let output = beside(&up, user, arguments, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        for secret in ["from standard input", "from a file", PASSWORD] {
            assert!(!said.contains(secret) && !complained.contains(secret), "{said}{complained}");
        }
        (output.status.code(), said, complained)
    };
    let good = |user: (&str, &str), arguments: &[&str], input: &str, expected: &str| {
        let (code, said, complained) = run(user, arguments, input);
        assert_eq!((code, said.contains(expected)), (Some(0), true), "{arguments:?}: {said}{complained}");
        said
    };
    let bad = |user: (&str, &str), arguments: &[&str], input: &str, expected: &str| {
        let (code, said, complained) = run(user, arguments, input);
        assert_eq!((code, complained.contains(expected)), (Some(2), true), "{arguments:?}: {said}{complained}");
    };
    good(administrator, &["users", "add", "jane"], "from standard input\n", "user/jane added");
    bad(administrator, &["users", "add", "jane"], "from standard input\n", "hint: `slipstream-job users passwd`");
    bad(administrator, &["users", "add", "joe"], "\n", "no password on standard input");
    bad(administrator, &["users", "add", "joe"], "short\n", "password: expected a text of 8");
    bad(administrator, &["users", "add", "a/b"], "from standard input\n", "letters, digits");
    let jane = ("jane", "from standard input");
    bad(jane, &["users"], "", "only administrators");
    bad(jane, &["users", "passwd", "super"], "from standard input\n", "only administrators");
    good(administrator, &["users", "passwd", "jane", "--password-file", file], "", "sessions ended");
    bad(jane, &["users"], "", "invalid credentials for 'jane'");
    // two passwords from two files
    let own = folder.path().join("super.password");
    std::fs::write(&own, PASSWORD).expect("written");
    let both = ["users", "passwd", "jane", "--password-file", file, "--ss-pass-file", own.to_str().expect("UTF-8")];
    good(("super", ""), &both, "", "sessions ended");
    let jane = ("jane", "from a file");
    bad(jane, &["users"], "", "only administrators");
    good(administrator, &["users", "disable", "jane"], "", "user/jane disabled");
    bad(jane, &["users"], "", "invalid credentials for 'jane'");
    let listed = good(administrator, &["users"], "", "");
    assert_lines(&listed, &["USER STATE ADMINISTRATOR AGE", "jane SUSPENDED no *", "super ACTIVE yes *"]);
    good(administrator, &["users", "enable", "jane"], "", "user/jane enabled");
    good(administrator, &["users", "add", "root", "--administrator"], "from standard input\n", "user/root added");
    let root = ("root", "from standard input");
    let listed = good(root, &["users", "list", "--json"], "", "root");
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    let flags: Vec<Value> = listed.iter().map(|user| json!([user["username"], user["isSuperUser"]])).collect();
    assert_eq!(flags, [json!(["jane", false]), json!(["root", true]), json!(["super", true])]);
    let id = good(root, &["submit", "noop", "--wait"], "", "job/");
    good(root, &["jobs", "show", id.trim()], "", "SUCCESS");
    bad(root, &["users", "disable", "super"], "", "always exists");
    good(administrator, &["users", "delete", "jane"], "", "user/jane deleted");
    for (arguments, input, done) in [
        (&["users", "add", "jane", "--json"], "from standard input\n", "added"),
        (&["users", "passwd", "jane", "--json"], "from standard input\n", "password changed"),
        (&["users", "disable", "jane", "--json"], "", "disabled"),
        (&["users", "enable", "jane", "--json"], "", "enabled"),
        (&["users", "delete", "jane", "--json"], "", "deleted"),
    ] {
        let told: Value = serde_json::from_str(&good(administrator, arguments, input, "")).expect("JSON");
        assert_eq!(told, json!({"id": "user/jane", "done": done}));
    }
    bad(administrator, &["users", "enable", "jane"], "", "there is no user/jane\nhint: ");
    assert!(slipstream_cimi::Client::new(Arc::new(up.transport()), Some(credentials())).login().await.is_ok());
}

#[tokio::test]
async fn up_trusts_a_header_only_when_it_is_told_to() {
    for (arguments, status) in [
        (vec![], 403),
        (vec!["--trust-authn-header-from", "192.0.2.0/24"], 403),
        (vec!["--trust-authn-header-from", "192.0.2.0/24,::1", "--trust-authn-header-from", "127.0.0.0/8"], 200),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let up = Up::start(folder.path(), &[&["--distributors", ""], &arguments[..]].concat());
        let request = Raw::new("GET", "/api/job").header(AUTHN, "super ADMIN USER ANON");
        assert_eq!(request.send(&up.transport()).await.status, status, "{arguments:?}");
        if !arguments.is_empty() {
            assert!(up.line_with("are trusted").contains("192.0.2.0/24"));
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = crate::support::up_command(folder.path());
    let refused = command.args(["--trust-authn-header-from", "everywhere"]).output().expect("the binary starts");
    assert_eq!(refused.status.code(), Some(2));
    let complained = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complained.contains("expected a network such as 10.1.0.0/16"), "{complained}");
}
