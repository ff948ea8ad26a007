use std::net::SocketAddr;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use ipnet::IpNet;
use serde_json::{Value, json};
use slipstream_cimi::dialect::JOB;
use slipstream_store::Revision;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::process::stop::Stop;
use crate::server::auth::proxy::Peer;
use crate::server::http::listen;
use crate::server::{Shared, jobs, routes};

const MIB: usize = 1024 * 1024;
const STORED: usize = 300;
/// The connections of tests are a proxy's, which says whose they are.
const PROXY: &str = "127.0.0.0/8";

/// A server with 300 jobs of 900,000 bytes that every user may see.
async fn world() -> Arc<Shared> {
    let shared = Arc::new(jobs::tests::shared().await);
    let document = json!({
        "description": "x".repeat(900_000), "state": "QUEUED",
        "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"},
                "rules": [{"principal": "USER", "type": "ROLE", "right": "VIEW"}]},
    });
    let Value::Object(document) = document else { unreachable!("written as an object above") };
    for number in 0..STORED {
        let mut document = document.clone();
        let id = format!("job/{number:03}");
        document.insert("id".to_owned(), json!(id));
        let record = Record { id, revision: Revision::default(), document: document.into(), ledger: Value::Null };
        shared.store.insert(record).await.expect("stored");
    }
    shared
}

/// Asks as a user; the answer is not read.
async fn ask(shared: &Arc<Shared>, target: &str) -> http::Response<Body> {
    let peer = Peer::new("127.0.0.1".parse().expect("an address"), &[PROXY.parse().expect("a network")]);
    let request = Request::get(target).header("host", "localhost").header("slipstream-authn-info", "jane USER");
    let request = request.extension(peer).body(body::full("")).expect("a good request");
    routes::service(shared.clone())(request).await
}

async fn read(answer: http::Response<Body>) -> (usize, Value) {
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.into_body().collect().await.expect("whole").to_bytes();
    (text.len(), serde_json::from_slice(&text).expect("JSON"))
}

fn ids(page: &Value) -> Vec<String> {
    let jobs = page["jobs"].as_array().expect("a list");
    jobs.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_page_of_large_documents_ends_by_its_bytes_and_next_goes_on() {
    let shared = world().await;
    let (mut seen, mut pages, mut next) = (Vec::new(), 0, None::<String>);
    loop {
        let after = next.map(|next| format!("?$after={next}")).unwrap_or_default();
        let answer = ask(&shared, &format!("/api/job{after}")).await;
        assert!(shared.shares.held() <= 4 * MIB, "before anything is read: {}", shared.shares.held());
        let (length, page) = read(answer).await;
        assert!(length < LONGEST_PAGE + MIB, "{length}");
        assert_eq!(page["count"], STORED);
        seen.extend(ids(&page));
        pages += 1;
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() {
            break;
        }
    }
    let all: Vec<String> = (0..STORED).map(|number| format!("job/{number:03}")).collect();
    assert_eq!(seen, all, "each once, in order");
    assert!(pages > 3, "{pages}");
    assert_eq!(shared.shares.held(), 0);
}

#[tokio::test]
async fn what_counts_is_what_is_answered_and_an_ordered_page_ends_too() {
    let shared = world().await;
    let (length, page) = read(ask(&shared, "/api/job?$select=state&$orderby=id:desc").await).await;
    assert_eq!((page["count"].as_u64(), ids(&page).len()), (Some(300), STORED), "{length} bytes");
    assert_eq!(page["next"], Value::Null);
    let (length, page) = read(ask(&shared, "/api/job?$orderby=id:desc&$aggregation=count:id").await).await;
    let shown = ids(&page).len();
    assert!(length < LONGEST_PAGE + MIB && shown < STORED, "{length}");
    assert_eq!((&page["next"], &page["aggregations"]["count:id"]["value"]), (&Value::Null, &json!(300.0)));
    let (_, page) =
        read(ask(&shared, &format!("/api/job?$orderby=id:desc&$first={}&$last={}", shown + 1, shown + 2)).await).await;
    assert_eq!(ids(&page)[0], format!("job/{:03}", STORED - shown - 1), "$first goes on");
    let (_, page) = read(ask(&shared, "/api/job?$last=70").await).await;
    assert_eq!((ids(&page).len(), &page["next"]), (70, &json!("job/069")));
}

#[tokio::test]
async fn what_changes_while_a_page_is_read_is_shown_as_it_is_or_not_at_all() {
    let shared = world().await;
    let answer = ask(&shared, "/api/job?$filter=state='QUEUED'&$last=20").await;
    shared.store.remove("job/010", Revision::number(1)).await.expect("removed");
    for (id, attribute, value) in [
        ("job/011", "state", json!("FAILED")),
        ("job/012", "acl", json!({"owner": {"principal": "ADMIN", "type": "ROLE"}})),
        ("job/013", "name", json!("new")),
    ] {
        let mut record = shared.store.get(id).await.expect("read").expect("there");
        record.document.make_mut().insert(attribute.to_owned(), value);
        shared.store.replace(record).await.expect("changed");
    }
    let (_, page) = read(answer).await;
    let shown = ids(&page);
    assert_eq!(shown.len(), 17, "{shown:?}");
    for gone in ["job/010", "job/011", "job/012"] {
        assert!(!shown.iter().any(|id| id == gone), "{gone}");
    }
    assert!(page["jobs"].as_array().expect("a list").iter().any(|job| job["name"] == "new"));
    assert_eq!(page["next"], "job/019");
}

async fn connect(address: SocketAddr, user: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET /api/job HTTP/1.1\r\nHost: x\r\nslipstream-authn-info: {user}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("written");
    connection
}

/// In simulated time: nobody here is slow, they only never read.
#[tokio::test(start_paused = true)]
async fn a_user_who_reads_nothing_has_a_bounded_part_of_the_memory_and_loses_its_connections() {
    let shared = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (address, stop) = (listener.local_addr().expect("bound"), Stop::new());
    let proxies: Vec<IpNet> = vec![PROXY.parse().expect("a network")];
    let serving = tokio::spawn(listen::serve(listener, routes::service(shared.clone()), proxies, stop.clone()));
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(connect(address, "jane USER").await);
    }
    while shared.shares.held() < 16 * MIB {
        tokio::task::yield_now().await;
    }
    let mut most = 0;
    let mut other = connect(address, "joe USER").await;
    let mut begin = [0; 15];
    other.read_exact(&mut begin).await.expect("joe is answered");
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    drop(other);
    let given_up = tokio::time::Instant::now() + std::time::Duration::from_hours(1);
    while shared.shares.held() > 0 {
        assert!(tokio::time::Instant::now() < given_up, "whoever takes nothing keeps its memory");
        most = most.max(shared.shares.held());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert!((16 * MIB..=20 * MIB).contains(&most), "of jane, and of joe at first: {most}");
    for mut connection in idle {
        let mut rest = Vec::new();
        // reset or ended: what was on its way is there, and not the whole page
        drop(connection.read_to_end(&mut rest).await);
        assert!(rest.len() < LONGEST_PAGE / 2, "{}", rest.len());
    }
    let found = shared.store.search(JOB.name, &Query::default()).await.expect("found");
    assert_eq!(found.count, STORED as u64);
    stop.ask();
    serving.await.expect("no panic");
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_memory_back() {
    let shared = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (address, stop) = (listener.local_addr().expect("bound"), Stop::new());
    let proxies: Vec<IpNet> = vec![PROXY.parse().expect("a network")];
    let serving = tokio::spawn(listen::serve(listener, routes::service(shared.clone()), proxies, stop.clone()));
    let mut connection = connect(address, "jane USER").await;
    let mut begin = [0; 15];
    connection.read_exact(&mut begin).await.expect("answered");
    assert!(shared.shares.held() > 0);
    drop(connection);
    let gone = async {
        while shared.shares.held() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), gone).await.expect("its memory is free");
    stop.ask();
    serving.await.expect("no panic");
}
