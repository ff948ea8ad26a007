//! A server, a keeper of marks and a coordinator in memory, in paused time that starts seven seconds past noon.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_cimi::client::TransportError;
use slipstream_cimi::job::NewJob;
use slipstream_cimi::lease::IDEMPOTENCY_HEADER;
use slipstream_cimi::{Client, Transport};
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::{self, Session};
use slipstream_coordination::{Coordinator, Embedded};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::super::configured::Configured;
use super::super::fan_out::{JobTemplate, Plan};
use super::super::template::TextTemplate;
use super::super::{Deps, Distributor, MarkError, MarkRevision, Marks, Missed, Schedule, lead_and_distribute};
use crate::marks::HighWaterMark;
use crate::process::clock::Clock;
use crate::process::stop::Stop;

pub fn time(text: &str) -> Timestamp {
    format!("2026-11-24T{text}Z").parse().unwrap()
}

/// How the server treats one add, other than well.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Carried out, but the answer is lost.
    AnswerLost,
    /// Not carried out, and no answer.
    Unreachable,
    /// Refused with this status.
    Status(u16),
}

/// Keeps `Idempotency-Key`: the second add with a key answers 409 and names the first (decision 11).
pub struct Server {
    clock: Clock,
    pub created: Mutex<Vec<(String, Value)>>,
    /// Of each add, well or not.
    pub asked: Mutex<Vec<Timestamp>>,
    pub faults: Mutex<VecDeque<Fault>>,
    /// An add takes a permit and waits for one; by default there are enough.
    pub gate: Semaphore,
    /// Happens as the next answer is given.
    pub with_answer: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Server {
    pub fn keys(&self) -> Vec<String> {
        self.created.lock().unwrap().iter().map(|(key, _)| key.clone()).collect()
    }

    fn answer(&self, key: &str, document: Value) -> Response<Bytes> {
        let mut created = self.created.lock().unwrap();
        let known = created.iter().position(|(known, _)| known == key);
        let id = format!("job/{:032}", known.unwrap_or(created.len()));
        if known.is_some() {
            let message = format!("conflict with {id}");
            return respond(409, &json!({"status": 409, "message": message, "resource-id": id, "code": "conflict"}));
        }
        created.push((key.to_owned(), document));
        respond(201, &json!({"status": 201, "message": format!("{id} created"), "resource-id": id}))
    }
}

fn respond(status: u16, body: &Value) -> Response<Bytes> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Bytes::from(body.to_string())).unwrap()
}

#[async_trait]
impl Transport for Server {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        if request.method() == "GET" {
            assert_eq!(request.uri().path(), "/api/cloud-entry-point");
            return Ok(respond(404, &json!({"status": 404, "message": "an original takes no lists"})));
        }
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/api/job"));
        let key = request.headers()[IDEMPOTENCY_HEADER].to_str().unwrap().to_owned();
        let document = serde_json::from_slice(request.body()).unwrap();
        self.asked.lock().unwrap().push(self.clock.now());
        self.gate.acquire().await.unwrap().forget();
        tokio::task::yield_now().await;
        let fault = self.faults.lock().unwrap().pop_front();
        let answer = match fault {
            None => self.answer(&key, document),
            Some(Fault::AnswerLost) => {
                self.answer(&key, document);
                return Err("connection reset".into());
            }
            Some(Fault::Unreachable) => return Err("connection refused".into()),
            Some(Fault::Status(status)) => respond(status, &json!({"status": status, "message": "no"})),
        };
        tokio::task::yield_now().await;
        if let Some(event) = self.with_answer.lock().unwrap().take() {
            event();
        }
        Ok(answer)
    }
}

/// Marks in memory; a save can be cut short before and after it happens.
pub struct MemoryMarks {
    marks: Mutex<HashMap<String, (HighWaterMark, i32)>>,
    /// The mark last saved, of whatever distributor.
    pub saved: watch::Sender<HighWaterMark>,
    /// So many loads and saves fail.
    pub unreachable: Mutex<usize>,
    /// The next save finds that another leader was there.
    pub intruder: Mutex<Option<HighWaterMark>>,
}

impl MemoryMarks {
    async fn reach(&self, name: &str) -> Result<(), MarkError> {
        tokio::task::yield_now().await;
        let mut left = self.unreachable.lock().unwrap();
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(MarkError::Unreachable { name: name.to_owned(), source: "disk on fire".into() })
    }
}

#[async_trait]
impl Marks for MemoryMarks {
    async fn load(&self, distributor: &str) -> Result<(HighWaterMark, MarkRevision), MarkError> {
        self.reach(distributor).await?;
        let (mark, version) = self.marks.lock().unwrap().get(distributor).cloned().unwrap_or_default();
        Ok((mark, if version == 0 { MarkRevision::None } else { MarkRevision::Node(version) }))
    }

    async fn save(
        &self,
        distributor: &str,
        mark: &HighWaterMark,
        revision: MarkRevision,
    ) -> Result<MarkRevision, MarkError> {
        let version = if let MarkRevision::Node(version) = revision { version } else { 0 };
        self.reach(distributor).await?;
        {
            let mut marks = self.marks.lock().unwrap();
            let stored = marks.entry(distributor.to_owned()).or_default();
            if let Some(other) = self.intruder.lock().unwrap().take() {
                *stored = (other, stored.1 + 1);
            }
            if stored.1 != version {
                return Err(MarkError::Changed(distributor.to_owned()));
            }
            *stored = (mark.clone(), version + 1);
        }
        self.saved.send_replace(mark.clone());
        tokio::task::yield_now().await;
        Ok(MarkRevision::Node(version + 1))
    }
}

/// Keeps a hand on the sessions that it makes.
#[derive(Default)]
pub struct Coordination {
    pub tree: Embedded,
    pub sessions: Mutex<Vec<Arc<EmbeddedSession>>>,
    /// So many connects fail.
    pub refused: Mutex<usize>,
}

impl Coordination {
    pub fn last(&self) -> Arc<EmbeddedSession> {
        self.sessions.lock().unwrap().last().unwrap().clone()
    }
}

#[async_trait]
impl Coordinator for Coordination {
    async fn connect(&self) -> Result<Arc<dyn Session>, session::Error> {
        {
            let mut refused = self.refused.lock().unwrap();
            if *refused > 0 {
                *refused -= 1;
                return Err(session::Error::ConnectionLoss);
            }
        }
        let session = Arc::new(self.tree.session());
        self.sessions.lock().unwrap().push(session.clone());
        Ok(session)
    }

    fn session_timeout(&self) -> Duration {
        self.tree.session_timeout()
    }
}

pub struct World {
    pub server: Arc<Server>,
    pub marks: Arc<MemoryMarks>,
    pub coordination: Arc<Coordination>,
    pub clock: Clock,
}

pub struct Running {
    pub stop: Stop,
    pub task: JoinHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        self.stop.ask();
        self.task.await.unwrap();
    }
}

impl World {
    pub fn new() -> Self {
        let clock = Clock::starting_at(time("12:00:07"));
        let server = Server {
            clock: clock.clone(),
            created: Mutex::default(),
            asked: Mutex::default(),
            faults: Mutex::default(),
            gate: Semaphore::new(10_000),
            with_answer: Mutex::default(),
        };
        let marks = MemoryMarks {
            marks: Mutex::default(),
            saved: watch::channel(HighWaterMark::default()).0,
            unreachable: Mutex::default(),
            intruder: Mutex::default(),
        };
        Self { server: Arc::new(server), marks: Arc::new(marks), coordination: Arc::default(), clock }
    }

    pub fn deps(&self, name: &str) -> Deps {
        Deps {
            coordinator: self.coordination.clone(),
            client: Client::new(self.server.clone(), None),
            marks: self.marks.clone(),
            clock: self.clock.clone(),
            name: name.to_owned(),
            metrics: crate::process::metrics::Metrics::default(),
        }
    }

    pub fn start(&self, name: &str, distributor: impl Distributor + 'static) -> Running {
        let stop = Stop::new();
        let task = tokio::spawn(lead_and_distribute(Arc::new(distributor), self.deps(name), stop.clone()));
        Running { stop, task }
    }

    /// Waits until that time of day; what is due at it is done.
    pub async fn pass(&self, until: &str) {
        let left = time(until).duration_since(self.clock.now());
        tokio::time::sleep(Duration::try_from(left).unwrap() + Duration::from_millis(100)).await;
    }

    /// Waits for a mark like that.
    pub async fn marked(&self, like: impl FnMut(&HighWaterMark) -> bool) {
        let mut saved = self.marks.saved.subscribe();
        tokio::time::timeout(Duration::from_hours(1), saved.wait_for(like)).await.unwrap().unwrap();
    }
}

pub fn configured(name: &str, seconds: u64, missed: Missed) -> Configured {
    Configured {
        name: name.to_owned(),
        election: "count".to_owned(),
        job: JobTemplate {
            action: "count".to_owned(),
            target: Some(TextTemplate::parse("dummy").unwrap()),
            ..JobTemplate::default()
        },
        for_each: None,
        schedule: Schedule::Every(Duration::from_secs(seconds)),
        missed,
    }
}

/// A job for each of several targets.
pub struct Several(pub Configured, pub &'static [&'static str]);

#[async_trait]
impl Distributor for Several {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn election(&self) -> &str {
        self.0.election()
    }

    fn schedule(&self) -> &Schedule {
        self.0.schedule()
    }

    fn missed(&self) -> Missed {
        self.0.missed()
    }

    async fn plan(&self, client: &Client) -> Result<Plan, slipstream_cimi::Error> {
        let job = self.0.plan(client).await?.jobs.remove(0);
        let jobs = self.1.iter().map(|target| NewJob { target: Some((*target).to_owned()), ..job.clone() });
        Ok(Plan { jobs: jobs.collect(), ..Plan::default() })
    }
}
