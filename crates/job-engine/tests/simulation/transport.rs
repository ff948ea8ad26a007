//! [`Network`]: requests may get lost, come late, and so may their answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::COOKIE;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use slipstream_cimi::client::TransportError;
use slipstream_cimi::dialect::REPORTS;
use slipstream_cimi::lease::{ENTRY_HEADER, EXECUTOR_HEADER, IDEMPOTENCY_HEADER, JOB_HEADER, LEASE_HEADER};
use slipstream_cimi::{Document, Lease, Transport};
use slipstream_coordination::Session as _;
use slipstream_job_engine::internals::process::paths::ELECTION;
use slipstream_job_engine::internals::server::ledger_of;
use tokio::sync::oneshot;

use crate::board::{self, Promise};
use crate::broken::Broken;
use crate::foreign;
use crate::life::Life;
use crate::plan::Fault;
use crate::process::DISTRIBUTOR;
use crate::refusals;
use crate::world::{Door, World};

/// The longest that a client waits for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Attribute in which every write of an attempt says its lease once more, so that the stored document tells who wrote
/// last, whatever the engine makes of the headers.
pub const WRITER: &str = "description";

/// Where lists of reports go, and what asks whether they may.
const REPORTS_PATH: &str = "/api/job/reports";
const ASKS_WHAT_THERE_IS: &str = "GET /api/cloud-entry-point";

/// The way from one process to the servers.
pub struct Network {
    world: Arc<World>,
    life: Arc<Life>,
}

impl Network {
    /// For this process.
    pub fn new(world: Arc<World>, life: Arc<Life>) -> Self {
        Self { world, life }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let what = describe(&request);
        let below = |end, why: &str| self.world.below(end, &self.life.name, &format!("{why} {what}"));
        let late_answer = self.world.meets(Fault::LateAnswer, &self.life, &what);
        let late_request = self.world.meets(Fault::LateRequest, &self.life, &what);
        let lost_answer = self.world.meets(Fault::LostAnswer, &self.life, &what);
        if self.world.meets(Fault::LostRequest, &self.life, &what) {
            tokio::time::sleep(Duration::from_millis(below(12_000, "lost"))).await;
            return Err("connection reset".into());
        }
        let door = self.world.door(&self.life.name, &what).filter(|_| !self.world.reach().is_away());
        let Some(door) = door else { return Err("connection refused".into()) };
        let (there, back) = (below(if late_request { 30_000 } else { 4 }, "there"), below(3, "back"));
        let (sender, answer) = oneshot::channel();
        let (world, server) = (self.world.clone(), door.life.clone());
        // whatever becomes of the client, a request that was sent is carried out
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(there)).await;
            let answered = tokio::select! {
                biased;
                () = server.over() => None,
                answer = serve(&world, &door, request) => Some(answer),
            };
            // the client may have gone
            drop(sender.send(answered));
        });
        let answer = answer.await?;
        assert!(answer.is_some() || self.world.broken != Broken::PanicsOnReset, "on purpose");
        let answer = answer.ok_or("connection reset")?;
        let back = if late_answer { below(20_000, "late") } else { back };
        tokio::time::sleep(Duration::from_millis(back)).await;
        if lost_answer { Err("connection reset".into()) } else { answer }
    }

    /// Whoever adds the jobs of a round leads at that moment.
    fn check_leadership(&self, request: &Request<Bytes>) {
        let Some(key) = header(request, IDEMPOTENCY_HEADER).filter(|key| key.starts_with(DISTRIBUTOR)) else { return };
        let leader = leader(&self.world);
        if leader.as_deref() != Some(self.life.name.as_str()) {
            let how = format!("{} adds `{key}` while {leader:?} leads", self.life.name);
            self.world.board().violate(Promise::OneLeader, how);
        }
    }
}

#[async_trait]
impl Transport for Network {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        self.life.step().await;
        self.check_leadership(&request);
        sign(&mut request);
        let (asked, begins) = (asked(&request), begins(&request));
        let answer = tokio::time::timeout(LIMIT, self.exchange(request)).await.unwrap_or(Err("time-out".into()));
        let statuses = answer.as_ref().map(|answer| statuses(answer, asked.len())).unwrap_or_default();
        for (begin, status) in begins.iter().zip(&statuses) {
            if let Some((job, lease)) = begin.as_ref().filter(|_| *status == 200) {
                self.world.board().begun(job, &self.life, *lease);
            }
        }
        for ((job, sets_back), status) in asked.iter().zip(statuses) {
            if *sets_back && status < 300 {
                self.world.board().set_back(job);
            }
        }
        self.life.step().await;
        answer
    }
}

/// What a server does with a request, seen from outside.
async fn serve(
    world: &Arc<World>,
    door: &Door,
    mut request: Request<Bytes>,
) -> Result<Response<Bytes>, TransportError> {
    let key = header(&request, IDEMPOTENCY_HEADER);
    let lease = header(&request, LEASE_HEADER);
    let (what, begins) = (describe(&request), begins(&request));
    let is_add = request.method() == Method::POST && request.uri().path() == "/api/job";
    spoil(world.broken, &mut request);
    if world.broken == Broken::ForgesEntry {
        forge_entries(world, &mut request);
    }
    request.headers_mut().insert(COOKIE, world.cookie(&door.life));
    let mut answer = refusals::send(world, door, request).await?;
    if what == ASKS_WHAT_THERE_IS && !world.takes_reports {
        announce_nothing(&mut answer);
    }
    for (begin, status) in begins.iter().zip(statuses(&answer, begins.len())) {
        if let Some((job, lease)) = begin.as_ref().filter(|_| status == 200) {
            world.board().let_begin(job, *lease);
        }
    }
    let status = answer.status();
    let named = serde_json::from_slice::<serde_json::Value>(answer.body()).ok();
    let id = named.as_ref().and_then(|body| body.get("resource-id")?.as_str()).unwrap_or_default();
    if let Some(key) = key.filter(|_| is_add) {
        world.trace.note(&door.life.name, &format!("{what}: {} {id}", status.as_u16()));
        // 409 with an id says that an earlier add with this key was carried out
        if matches!(status, StatusCode::CREATED | StatusCode::CONFLICT) && !id.is_empty() {
            let mut board = world.board();
            board.added(&key, id);
            if key.starts_with(DISTRIBUTOR) {
                board.round_added();
            }
        }
    } else if what.contains(REPORTS_PATH) && status.is_success() {
        let statuses = statuses(&answer, 0);
        world.board().reported(statuses.len());
        if statuses.iter().any(|status| *status != 200) {
            world.trace.note(&door.life.name, &format!("{what}: {statuses:?}"));
        }
    } else if !status.is_success() {
        let code = named.as_ref().and_then(|body| body.get("code")?.as_str()).unwrap_or_default();
        let lease = lease.map_or(String::new(), |lease| format!(" under {lease}"));
        world.trace.note(&door.life.name, &format!("{what}{lease}: {} {code}", status.as_u16()));
    }
    Ok(answer)
}

/// The jobs that a request is about, and of each whether it is to be QUEUED again.
fn asked(request: &Request<Bytes>) -> Vec<(String, bool)> {
    let Some(items) = reports(request) else {
        let job = request.uri().path().strip_prefix("/api/").map(str::to_owned).unwrap_or_default();
        return vec![(job, asks_for(request, "QUEUED"))];
    };
    items.iter().map(|item| (text(&item["id"]), item["changes"]["state"] == "QUEUED")).collect()
}

/// For each job that a request is about the lease under which it is to be RUNNING, if it is.
fn begins(request: &Request<Bytes>) -> Vec<Option<(String, Lease)>> {
    let begin =
        |job: String, lease: &str, state: &Value| Some((job, lease.parse().ok().filter(|_| state == "RUNNING")?));
    let Some(items) = reports(request) else {
        let job = request.uri().path().trim_start_matches("/api/").to_owned();
        let state = if asks_for(request, "RUNNING") { json!("RUNNING") } else { Value::Null };
        return vec![begin(job, &header(request, LEASE_HEADER).unwrap_or_default(), &state)];
    };
    items.iter().map(|item| begin(text(&item["id"]), &text(&item["lease"]), &item["changes"]["state"])).collect()
}

/// The items of a list of reports, if it is one.
pub fn reports(request: &Request<Bytes>) -> Option<Vec<Value>> {
    let is_list = request.method() == Method::POST && request.uri().path() == REPORTS_PATH;
    let mut body: Document = serde_json::from_slice(request.body()).ok().filter(|_| is_list)?;
    serde_json::from_value(body.shift_remove(REPORTS)?).ok()
}

/// Does something to the items of a list of reports.
pub fn with_reports(request: &mut Request<Bytes>, change: impl FnOnce(&mut Vec<Value>)) {
    if let Some(mut items) = reports(request) {
        change(&mut items);
        let mut body: Document = serde_json::from_slice(request.body()).expect("it is a list");
        body.insert(REPORTS.to_owned(), Value::Array(items));
        *request.body_mut() = serde_json::to_vec(&body).expect("a document's keys are texts").into();
    }
}

fn with_each_report(request: &mut Request<Bytes>, change: impl FnMut(&mut Value)) {
    with_reports(request, |items| items.iter_mut().for_each(change));
}

/// What was answered to each of so many items.
fn statuses(answer: &Response<Bytes>, count: usize) -> Vec<u16> {
    let body: Option<Document> = serde_json::from_slice(answer.body()).ok();
    let status = |item: &Value| item["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let items = body.as_ref().and_then(|body| body.get(REPORTS)?.as_array());
    match items.map(|items| items.iter().filter_map(status).collect::<Vec<_>>()) {
        Some(statuses) => statuses,
        None => vec![answer.status().as_u16(); count],
    }
}

fn announce_nothing(entry_point: &mut Response<Bytes>) {
    if let Ok(mut body) = serde_json::from_slice::<Document>(entry_point.body()) {
        body.shift_remove(REPORTS);
        *entry_point.body_mut() = serde_json::to_vec(&body).expect("a document's keys are texts").into();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Writes the lease of an attempt's edit into the document, too.
fn sign(request: &mut Request<Bytes>) {
    with_each_report(request, |item| {
        let lease = item["lease"].clone();
        if let Some(changes) = item.get_mut("changes").and_then(Value::as_object_mut) {
            changes.insert(WRITER.to_owned(), lease);
        }
    });
    let Some(lease) = header(request, LEASE_HEADER).filter(|_| request.method() == Method::PUT) else { return };
    let body = serde_json::from_slice::<Document>(request.body());
    if let Ok(mut body) = body {
        body.insert(WRITER.to_owned(), lease.into());
        *request.body_mut() = serde_json::to_vec(&body).expect("a document's keys are texts").into();
    }
}

/// What a broken engine's proxy does to a request.
fn spoil(broken: Broken, request: &mut Request<Bytes>) {
    match broken {
        Broken::StripsLease => {
            for name in [LEASE_HEADER, JOB_HEADER, ENTRY_HEADER, EXECUTOR_HEADER] {
                request.headers_mut().remove(name);
            }
        }
        Broken::StripsKey => drop(request.headers_mut().remove(IDEMPOTENCY_HEADER)),
        Broken::PretendsRelease if reports(request).is_some() => with_each_report(request, |item| {
            if item["changes"]["state"] == "QUEUED"
                && let Some(item) = item.as_object_mut()
            {
                item.shift_remove("changes");
            }
        }),
        Broken::EndsAtOnce if reports(request).is_some() => with_each_report(request, |item| {
            if item["changes"]["state"] == "RUNNING" {
                item["changes"]["state"] = json!("SUCCESS");
                item["begin"] = json!(false);
            }
        }),
        Broken::PretendsRelease if asks_for(request, "QUEUED") => {
            *request.method_mut() = Method::GET;
            *request.body_mut() = Bytes::new();
        }
        Broken::EndsAtOnce if asks_for(request, "RUNNING") => {
            *request.body_mut() = String::from_utf8_lossy(request.body()).replace("RUNNING", "SUCCESS").into();
        }
        _ => {}
    }
}

/// Writes the recorded entries of their jobs into what attempts say.
fn forge_entries(world: &World, request: &mut Request<Bytes>) {
    let recorded = |job: &str| ledger_of(&board::read(&world.documents, job)?).ok()?.entry.clone();
    with_each_report(request, |item| {
        if let Some(entry) = recorded(&text(&item["id"])) {
            item["entry"] = entry.into();
        }
    });
    if let Some(entry) = header(request, JOB_HEADER).and_then(|job| recorded(&job)) {
        request.headers_mut().insert(ENTRY_HEADER, entry.parse().expect("a path is a header's value"));
    }
}

fn asks_for(request: &Request<Bytes>, state: &str) -> bool {
    serde_json::from_slice::<Document>(request.body())
        .is_ok_and(|body| body.get("state").and_then(|wanted| wanted.as_str()) == Some(state))
}

/// The same text for the same request, whenever it is sent.
fn describe(request: &Request<Bytes>) -> String {
    let key = header(request, IDEMPOTENCY_HEADER).map_or(String::new(), |key| format!(" `{key}`"));
    let item = |item: &Value| format!(" {} {} {}", text(&item["id"]), text(&item["lease"]), item["changes"]["state"]);
    // the order in which two attempts come together is the runtime's affair
    let mut items: Vec<String> = reports(request).iter().flatten().map(item).collect();
    items.sort();
    format!("{} {}{key}{}", request.method(), request.uri(), items.concat())
}

fn header(request: &Request<Bytes>, name: &str) -> Option<String> {
    request.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// Who leads in the election of the distributors, read from the tree itself.
fn leader(world: &World) -> Option<String> {
    let session = world.coordinator().session();
    let path = format!("{ELECTION}/{DISTRIBUTOR}");
    let names = session.children(&path).now_or_never()?.ok()?;
    // a node without a session leads nobody
    let candidates = names.into_iter().filter(|name| !foreign::is_stray(name));
    let first = candidates.min_by_key(|name| name.rsplit("__lock__").next().map(str::to_owned))?;
    let node = session.data(&format!("{path}/{first}")).now_or_never()?.ok()?;
    Some(String::from_utf8_lossy(&node.data).into_owned())
}
