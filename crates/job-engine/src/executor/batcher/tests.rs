use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use slipstream_action::{Catalogue, Success};
use slipstream_cimi::client::TransportError;
use slipstream_cimi::lease::LEASE_HEADER;
use slipstream_cimi::{Code, Lease, Transport};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::*;
use crate::executor::edits;
use crate::executor::end::ErrorClass;
use crate::executor::offers::Offered;
use crate::executor::tests::harness::until;

const RUNNING: slipstream_cimi::State = slipstream_cimi::State::Running;
const SUCCESS: slipstream_cimi::State = slipstream_cimi::State::Success;

/// What becomes of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Unreachable,
    Panics,
    Status(u16),
    /// Every item is refused with this status, its code, and its id.
    Items(u16, Code),
}

/// A server whose lists wait at one of two gates, of final states and of everything else.
struct Server {
    announces: AtomicBool,
    asked: AtomicUsize,
    fate: Mutex<Fate>,
    /// Each list that arrived, as ids; each other request alone, as method and id.
    requests: Mutex<Vec<Vec<String>>>,
    open: Semaphore,
    open_for_ends: Semaphore,
}

impl Server {
    /// With both gates open.
    fn new(announces: bool) -> Arc<Self> {
        Arc::new(Self {
            announces: announces.into(),
            asked: AtomicUsize::new(0),
            fate: Mutex::new(Fate::Answered),
            requests: Mutex::default(),
            open: Semaphore::new(Semaphore::MAX_PERMITS),
            open_for_ends: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    fn requests(&self) -> Vec<Vec<String>> {
        self.requests.lock().unwrap().clone()
    }

    async fn until_requests(&self, count: usize) {
        until(&format!("{count} requests"), || self.requests().len() >= count).await;
    }

    fn set(&self, fate: Fate) {
        *self.fate.lock().unwrap() = fate;
    }

    async fn answer_list(&self, body: &Value) -> Result<(u16, Value), TransportError> {
        let items = body["reports"].as_array().unwrap();
        let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
        self.requests.lock().unwrap().push(items.iter().map(id).collect());
        let ends = items.iter().any(|item| item["changes"]["state"] == "SUCCESS");
        let gate = if ends { &self.open_for_ends } else { &self.open };
        gate.acquire().await.unwrap().forget();
        let fate = *self.fate.lock().unwrap();
        match fate {
            Fate::Unreachable => Err("connection refused".into()),
            Fate::Panics => panic!("injected"),
            Fate::Status(status) => {
                Ok((status, json!({"status": status, "message": "no", "resource-id": "job/reports"})))
            }
            Fate::Answered => {
                let answer = |item: &Value| {
                    let document = json!({"id": id(item), "wrote": item["changes"]});
                    if item["document"] == true {
                        json!({"status": 200, "document": document})
                    } else {
                        json!({"status": 200})
                    }
                };
                Ok((200, json!({"reports": items.iter().map(answer).collect::<Vec<_>>()})))
            }
            Fate::Items(status, code) => {
                let answer =
                    |item: &Value| json!({"status": status, "message": "no", "code": code, "resource-id": id(item)});
                Ok((200, json!({"reports": items.iter().map(answer).collect::<Vec<_>>()})))
            }
        }
    }
}

struct Connection(Arc<Server>);

#[async_trait]
impl Transport for Connection {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let id = request.uri().path().trim_start_matches("/api/").to_owned();
        let (status, body) = match (request.method(), id.as_str()) {
            (&Method::GET, ENTRY_POINT) => {
                self.0.asked.fetch_add(1, Ordering::Relaxed);
                match (self.0.announces.load(Ordering::Relaxed), *self.0.fate.lock().unwrap()) {
                    (_, Fate::Unreachable) => return Err("connection refused".into()),
                    (true, _) => (200, json!({"id": id, "reports": {"href": "job/reports"}})),
                    (false, _) => (200, json!({"id": id, "reports": {"href": "report"}})),
                }
            }
            (&Method::POST, "job/reports") => {
                self.0.answer_list(&serde_json::from_slice(request.body()).unwrap()).await?
            }
            (method, _) => {
                let marked = request.headers().contains_key(LEASE_HEADER);
                let request = format!("{method} {id}{}", if marked { " marked" } else { "" });
                self.0.requests.lock().unwrap().push(vec![request]);
                (200, json!({"id": id}))
            }
        };
        Ok(Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap())
    }
}

/// A batcher that knows what its server announces.
struct Fixture {
    server: Arc<Server>,
    batcher: Arc<Batcher>,
    client: Client,
    _asking: AbortOnDropHandle<std::convert::Infallible>,
}

impl Fixture {
    async fn new(announces: bool) -> Self {
        let server = Server::new(announces);
        let client = Client::new(Arc::new(Connection(server.clone())), None);
        let batcher = Arc::new(Batcher::new(client.clone(), Offered::from(noop())));
        let asking = AbortOnDropHandle::new(tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.find_out().await }
        }));
        until("the server is asked", || server.asked.load(Ordering::Relaxed) > 0).await;
        tokio::task::yield_now().await;
        Self { server, batcher, client, _asking: asking }
    }

    fn attempt(&self, number: usize) -> (Client, Arc<AttemptIdentity>) {
        let (job, entry) = (format!("job/{number}"), format!("/job/entries/entry-999-{number:010}"));
        let lease = Lease { generation: 1, zxid: 7 };
        let attempt = Arc::new(AttemptIdentity { job, lease, entry, executor: "e".to_owned() });
        (self.client.for_attempt(attempt.clone()), attempt)
    }

    fn begin(&self, number: usize) -> JoinHandle<Result<Document, Error>> {
        self.edit(number, edits::state(RUNNING))
    }

    fn edit(&self, number: usize, changes: Document) -> JoinHandle<Result<Document, Error>> {
        let (batcher, (client, attempt)) = (self.batcher.clone(), self.attempt(number));
        tokio::spawn(async move { batcher.edit(&client, &attempt, &changes).await })
    }

    fn end(&self, number: usize) -> JoinHandle<Result<(), Error>> {
        let (batcher, (client, attempt)) = (self.batcher.clone(), self.attempt(number));
        tokio::spawn(async move { batcher.end(&client, &attempt, &edits::state(SUCCESS)).await })
    }

    /// Shuts the gate of everything that ends no attempt.
    fn shut(&self) {
        self.server.open.forget_permits(Semaphore::MAX_PERMITS);
    }
}

/// What a task has come to, within a limit.
async fn joined<T>(task: JoinHandle<T>) -> T {
    timeout(Duration::from_hours(1), task).await.expect("it is answered").unwrap()
}

/// Lets every task do what it can without time passing.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("job/{number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_one_request_is_under_way_shares_the_next_and_time_changes_nothing() {
    let fixture = Fixture::new(true).await;
    fixture.shut();
    let first = fixture.begin(0);
    fixture.server.until_requests(1).await;
    let mut others = Vec::new();
    for number in 1..6 {
        others.push(fixture.begin(number));
        tokio::time::advance(Duration::from_mins(1)).await;
    }
    settle().await;
    assert_eq!(fixture.server.requests(), [ids([0])], "nothing leaves before the first has returned");
    fixture.server.open.add_permits(2);
    assert_eq!(joined(first).await.unwrap()["id"], "job/0");
    for (number, other) in others.into_iter().enumerate() {
        let job = joined(other).await.unwrap();
        assert_eq!((&job["id"], &job["wrote"]["state"]), (&json!(format!("job/{}", number + 1)), &json!("RUNNING")));
    }
    assert_eq!(fixture.server.requests(), [ids([0]), ids(1..6)]);
}

#[tokio::test(start_paused = true)]
async fn what_finds_nobody_before_it_leaves_at_once() {
    let fixture = Fixture::new(true).await;
    let begun = Instant::now();
    for number in 0..3 {
        joined(fixture.begin(number)).await.unwrap();
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "no timer");
    assert_eq!(fixture.server.requests(), [ids([0]), ids([1]), ids([2])]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_hangs_holds_up_no_begin_and_a_begin_that_hangs_no_end() {
    let fixture = Fixture::new(true).await;
    fixture.server.open_for_ends.forget_permits(Semaphore::MAX_PERMITS);
    let end = fixture.end(0);
    fixture.server.until_requests(1).await;
    joined(fixture.begin(1)).await.unwrap();
    let (batcher, client) = (fixture.batcher.clone(), fixture.client.clone());
    assert_eq!(batcher.read(&client, "job/2").await.unwrap()["id"], "job/2");
    assert!(!end.is_finished());
    fixture.shut();
    let begin = fixture.begin(3);
    fixture.server.until_requests(4).await;
    fixture.server.open_for_ends.add_permits(2);
    joined(end).await.unwrap();
    joined(fixture.end(4)).await.unwrap();
    assert!(!begin.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_fails_each_of_its_reports_with_its_own_error() {
    let fixture = Fixture::new(true).await;
    for (fate, class, said) in [
        (
            Fate::Unreachable,
            ErrorClass::OutOfReach,
            "no answer to PUT /api/job/1: no answer to POST /api/job/reports: connection refused",
        ),
        (Fate::Status(503), ErrorClass::OutOfReach, "PUT /api/job/1 was refused: no (status 503)"),
        (Fate::Status(500), ErrorClass::OutOfReach, "PUT /api/job/1 was refused: no (status 500)"),
        (Fate::Items(409, Code::LateLease), ErrorClass::Late, "PUT /api/job/1 was refused: no (status 409)"),
        (Fate::Items(409, Code::Superseded), ErrorClass::Superseded, "PUT /api/job/1 was refused: no (status 409)"),
        (Fate::Items(409, Code::Final), ErrorClass::Final, "PUT /api/job/1 was refused: no (status 409)"),
    ] {
        fixture.server.set(fate);
        let before = fixture.server.requests().len();
        let both = (fixture.begin(1), fixture.begin(2));
        let errors = (joined(both.0).await.unwrap_err(), joined(both.1).await.unwrap_err());
        assert_eq!(fixture.server.requests().len(), before + 1, "{fate:?}: one request for both");
        assert_eq!(with_causes(&errors.0), said);
        assert_eq!(ErrorClass::of(&errors.0, "job/1"), class, "{fate:?}");
        assert_eq!(ErrorClass::of(&errors.1, "job/2"), class, "{fate:?}");
    }
    fixture.server.set(Fate::Items(404, Code::Conflict));
    assert_eq!(ErrorClass::of(&joined(fixture.begin(1)).await.unwrap_err(), "job/1"), ErrorClass::Gone);
    fixture.server.set(Fate::Answered);
    joined(fixture.begin(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_takes_its_report_back_and_disturbs_nobody() {
    let fixture = Fixture::new(true).await;
    fixture.shut();
    let under_way = fixture.begin(0);
    let with_it = fixture.begin(1);
    fixture.server.until_requests(1).await;
    let (waits, goes) = (fixture.begin(2), fixture.begin(3));
    settle().await;
    for gone in [under_way, goes] {
        gone.abort();
        assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    }
    fixture.server.open.add_permits(2);
    assert_eq!(joined(with_it).await.unwrap()["id"], "job/1");
    assert_eq!(joined(waits).await.unwrap()["id"], "job/2");
    assert_eq!(fixture.server.requests(), [ids([0, 1]), ids([2])]);
}

#[tokio::test(start_paused = true)]
async fn servers_that_announce_nothing_get_one_request_for_each() {
    let fixture = Fixture::new(false).await;
    let (client, attempt) = fixture.attempt(1);
    fixture.batcher.read(&client, "job/1").await.unwrap();
    fixture.batcher.edit(&client, &attempt, &edits::state(RUNNING)).await.unwrap();
    fixture.batcher.end(&client, &attempt, &edits::state(SUCCESS)).await.unwrap();
    let marked = |method: &str| vec![format!("{method} job/1 marked")];
    assert_eq!(fixture.server.requests(), [marked("GET"), marked("PUT"), marked("PUT")]);
    tokio::time::advance(Duration::from_hours(1)).await;
    settle().await;
    assert_eq!(fixture.server.asked.load(Ordering::Relaxed), 1, "it has answered");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_say_yet_is_asked_again() {
    let server = Server::new(true);
    server.set(Fate::Unreachable);
    let client = Client::new(Arc::new(Connection(server.clone())), None);
    let batcher = Arc::new(Batcher::new(client.clone(), Offered::from(noop())));
    let asking = batcher.clone();
    let _asking = AbortOnDropHandle::new(tokio::spawn(async move { asking.find_out().await }));
    until("it is asked twice", || server.asked.load(Ordering::Relaxed) >= 2).await;
    batcher.read(&client, "job/1").await.unwrap();
    assert_eq!(server.requests(), [["GET job/1"]], "meanwhile by a request of its own");
    server.set(Fate::Answered);
    let asked = server.asked.load(Ordering::Relaxed);
    until("it is asked again", || server.asked.load(Ordering::Relaxed) > asked).await;
    settle().await;
    batcher.read(&client, "job/2").await.unwrap();
    assert_eq!(server.requests()[1], ids([2]));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_refused_as_a_list_is_sent_one_by_one_and_the_server_asked_again() {
    for status in [400, 404, 405, 413] {
        let fixture = Fixture::new(true).await;
        fixture.server.set(Fate::Status(status));
        let both = (fixture.begin(1), fixture.begin(2));
        joined(both.0).await.unwrap();
        joined(both.1).await.unwrap();
        let mut requests = fixture.server.requests();
        requests.sort();
        assert_eq!(requests, [vec!["PUT job/1 marked".to_owned()], vec!["PUT job/2 marked".to_owned()], ids([1, 2])]);
        fixture.server.set(Fate::Answered);
        until("it is asked again", || fixture.server.asked.load(Ordering::Relaxed) > 1).await;
        settle().await;
        joined(fixture.begin(3)).await.unwrap();
        assert_eq!(fixture.server.requests().last(), Some(&ids([3])));
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_bounded_in_number_and_size() {
    let fixture = Fixture::new(true).await;
    fixture.shut();
    let first = fixture.begin(0);
    fixture.server.until_requests(1).await;
    let mut others = JoinSet::new();
    for number in 1..=MOST_REPORTS + 1 {
        let begun = fixture.begin(number);
        others.spawn(async move { joined(begun).await.unwrap() });
    }
    settle().await;
    fixture.server.open.add_permits(3);
    joined(first).await.unwrap();
    assert_eq!(others.join_all().await.len(), MOST_REPORTS + 1);
    let lengths: Vec<usize> = fixture.server.requests().iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, MOST_REPORTS, 1]);

    let first = fixture.begin(0);
    fixture.server.until_requests(4).await;
    let said = |kib: usize| Document::from_iter([("statusMessage".to_owned(), json!("x".repeat(kib * 1024)))]);
    let sizes = BTreeMap::from([(1, 200), (2, 200), (3, 200), (4, 600), (5, 1)]);
    let large: Vec<_> = sizes.into_iter().map(|(number, kib)| fixture.edit(number, said(kib))).collect();
    settle().await;
    fixture.server.open.add_permits(5);
    joined(first).await.unwrap();
    for large in large {
        joined(large).await.unwrap();
    }
    assert_eq!(fixture.server.requests()[4..], [ids([1, 2]), ids([3]), ids([4]), ids([5])]);
}

/// Fault: a lane panics with a request. Whoever waits for that sends it alone, and the lane is begun again.
#[tokio::test(start_paused = true)]
async fn a_lane_that_crashes_is_begun_again_and_loses_no_report() {
    let fixture = Fixture::new(true).await;
    fixture.server.set(Fate::Panics);
    joined(fixture.begin(1)).await.unwrap();
    let alone = vec!["PUT job/1 marked".to_owned()];
    assert_eq!(fixture.server.requests(), [ids([1]), alone.clone()]);
    fixture.server.set(Fate::Answered);
    timeout(Duration::from_mins(1), joined(fixture.begin(2))).await.expect("the lane goes on").unwrap();
    assert_eq!(fixture.server.requests(), [ids([1]), alone, ids([2])]);
}

fn noop() -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.register("noop", |_| async { Ok(Success::default()) }, None);
    catalogue
}
