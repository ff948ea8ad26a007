//! What the engine is doing, for administrators: who executes, who distributes, what waits and who holds what. An
//! extension; nothing of it is stored. It is joined of the queue, the registry (decision 17), the elections and the
//! ledgers, each read once, so it may show a job that has just ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::query::Order;
use slipstream_cimi::{Document, State};
use slipstream_coordination::Contender;
use slipstream_coordination::queue::EntryName;
use slipstream_coordination::session::{Cause, Node};
use slipstream_store::{Query, Record, StoreError};

use crate::process::paths;
use crate::process::registry::{RegisteredDistributor, RegisteredExecutor};
use crate::server::Shared;
use crate::server::auth::access::Caller;
use crate::server::error::ApiError;
use crate::server::jobs::record::ledger_of;
use crate::server::jobs::released::Released;
use crate::server::queue::{EntriesError, text};
use crate::server::reconcile::{LeftAlone, RegisteredReconciler};

/// How many claims are told one by one, the oldest ones.
pub const MOST_TOLD: usize = 1_000;
/// How many claims are looked at. Who holds them is not counted where there are more.
const MOST_CLAIMS: usize = 20_000;
/// How many elections are looked at.
const MOST_ELECTIONS: usize = 1_000;
/// How many documents are read at once.
const READS_AT_ONCE: usize = 16;

/// A view of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overview {
    /// `/api/executor`: [`Executors`].
    Executors,
    /// `/api/distributor`: [`Distributors`].
    Distributors,
    /// `/api/queue`: [`Queue`].
    Queue,
}

/// The executors that have a session, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Executors {
    /// How many there are.
    pub count: usize,
    /// Each of them.
    pub executors: Vec<Executor>,
    /// Whoever holds entries and does not register, the busiest first and [`MOST_TOLD`] at most; nobody where more are
    /// held in all than are looked at.
    #[serde(default)]
    pub foreign: Vec<Foreign>,
}

/// A claimant that does not register: an executor of another engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// What its claims show.
    pub claimant: String,
    /// How many entries it holds.
    pub busy: usize,
}

/// An executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Executor {
    /// What its claims show: a name for its session.
    pub claimant: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub registered: RegisteredExecutor,
    /// How many entries it holds; none where more are held in all than are looked at.
    pub busy: Option<usize>,
}

/// The distributors in whose elections somebody stands, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distributors {
    /// How many there are.
    pub count: usize,
    /// Each of them.
    pub distributors: Vec<Distributor>,
}

/// A distributor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distributor {
    /// Its name; the election's where only foreign processes stand, which do not register.
    pub name: String,
    /// The election in which it stands.
    pub election: String,
    /// When its rounds are due, for people; none of a foreign one.
    pub schedule: Option<String>,
    /// Identifier of who leads, if anybody does.
    pub leader: Option<String>,
    /// Identifiers of all who stand, the leader first.
    pub candidates: Vec<String>,
    /// The schedule time up to which has been distributed, as the leader says.
    pub last: Option<Timestamp>,
    /// When the next round is due, as the leader says.
    pub next: Option<Timestamp>,
    /// What keeps it from its work, or should be looked at: what the leader says, or else who stands.
    #[serde(default)]
    pub problem: Option<String>,
}

/// What waits, and who holds what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Entries that nobody holds.
    pub waiting: Waiting,
    /// Entries that somebody holds.
    pub claimed: Claimed,
    /// What the reconciler found and leaves alone; none if no reconciler is at work, or a foreign one.
    #[serde(default)]
    pub left_alone: Option<LeftAlone>,
    /// What became free again without having ended; none of a server of an earlier version.
    #[serde(default)]
    pub released: Option<Released>,
}

/// Entries that nobody holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// How many there are.
    pub count: u64,
    /// How many there are of each priority that has any, the first priority first.
    pub priorities: Vec<Priority>,
    /// The job that has been QUEUED for longest, if any is.
    pub oldest: Option<WaitingJob>,
}

/// Entries of one priority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    /// 0 (first) to 999 (last).
    pub priority: u16,
    /// How many entries.
    pub count: u64,
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingJob {
    /// Its id.
    pub job: String,
    /// Its action.
    pub action: Option<String>,
    /// When it was added.
    pub created: Option<String>,
}

/// Entries that somebody holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// How many there are.
    pub count: usize,
    /// The oldest [`MOST_TOLD`] of them, the oldest first.
    pub claims: Vec<ClaimTold>,
}

/// An entry that somebody holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimTold {
    /// Path of the entry.
    pub entry: String,
    /// Id of the job; none if the entry has just gone.
    pub job: Option<String>,
    /// The job's action.
    pub action: Option<String>,
    /// The job's state.
    pub state: Option<String>,
    /// What the claim shows: who holds it.
    pub claimant: String,
    /// The executor's name; none of a foreign one, which does not register.
    pub executor: Option<String>,
    /// The executor's machine.
    pub host: Option<String>,
    /// When the attempt was begun; none if it has not been.
    pub since: Option<Timestamp>,
}

/// Who holds an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What the claim shows.
    pub claimant: String,
    /// The transaction that made the claim.
    pub zxid: i64,
    /// The executor's name; none of a foreign one, which does not register.
    pub executor: Option<String>,
    /// The executor's machine.
    pub host: Option<String>,
}

/// Who holds the entry of this path, if anybody does.
pub async fn holder(shared: &Shared, entry: &str) -> Result<Option<Holder>, EntriesError> {
    let Some(claim) = shared.entries.claim_on(entry).await? else { return Ok(None) };
    let claimant = text(&claim);
    let is_name = !claimant.is_empty() && !claimant.contains('/');
    let names: Vec<String> = is_name.then(|| claimant.clone()).into_iter().collect();
    let nodes = shared.entries.nodes_in(paths::EXECUTORS, &names).await.unwrap_or_default();
    let registered: Option<RegisteredExecutor> =
        nodes.first().and_then(|(_, node)| serde_json::from_slice(&node.as_ref().ok()?.data).ok());
    let (executor, host) = registered.map(|registered| (registered.name, registered.process.host)).unzip();
    Ok(Some(Holder { claimant, zxid: claim.created, executor, host }))
}

impl Overview {
    /// The view of this name, as in `/api/<name>`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::Executors, Self::Distributors, Self::Queue].into_iter().find(|overview| overview.name() == name)
    }

    /// As in `/api/<name>`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Executors => "executor",
            Self::Distributors => "distributor",
            Self::Queue => "queue",
        }
    }

    fn resource_uri(self) -> &'static str {
        match self {
            Self::Executors => "http://sixsq.com/slipstream/1/ExecutorCollection",
            Self::Distributors => "http://sixsq.com/slipstream/1/DistributorCollection",
            Self::Queue => "http://sixsq.com/slipstream/1/Queue",
        }
    }

    /// What there is to see; refuses everybody but administrators.
    pub async fn read(self, shared: &Shared, caller: &Caller) -> Result<Document, ApiError> {
        caller.require_administrator()?;
        let seen = match self {
            Self::Executors => serde_json::to_value(executors(shared).await?),
            Self::Distributors => serde_json::to_value(distributors(shared).await?),
            Self::Queue => serde_json::to_value(queue(shared).await?),
        };
        let Ok(Value::Object(seen)) = seen else { unreachable!("an overview is an object with texts as keys") };
        let mut document = Document::new();
        document.insert("id".to_owned(), self.name().into());
        document.insert("resourceURI".to_owned(), self.resource_uri().into());
        document.extend(seen);
        Ok(document)
    }
}

async fn executors(shared: &Shared) -> Result<Executors, ApiError> {
    let registered = shared.entries.registered(paths::EXECUTORS).await?;
    let claims = claims(shared).await?;
    let mut busy: HashMap<&str, usize> = HashMap::new();
    for claim in &claims.seen {
        *busy.entry(&claim.claimant).or_default() += 1;
    }
    let mut executors: Vec<Executor> = registered
        .into_iter()
        .map(|(claimant, registered)| {
            let busy = busy.remove(claimant.as_str()).unwrap_or(0);
            Executor { claimant, registered, busy: claims.is_whole().then_some(busy) }
        })
        .collect();
    let foreign = busy.into_iter().filter(|_| claims.is_whole());
    let mut foreign: Vec<Foreign> =
        foreign.map(|(claimant, busy)| Foreign { claimant: claimant.to_owned(), busy }).collect();
    foreign.sort_by(|one, other| (other.busy, &one.claimant).cmp(&(one.busy, &other.claimant)));
    foreign.truncate(MOST_TOLD);
    executors.sort_by(|one, other| {
        let key = |executor: &Executor| (executor.registered.name.clone(), executor.claimant.clone());
        key(one).cmp(&key(other))
    });
    Ok(Executors { count: executors.len(), executors, foreign })
}

async fn distributors(shared: &Shared) -> Result<Distributors, ApiError> {
    let registered: Vec<(String, RegisteredDistributor)> = shared.entries.registered(paths::DISTRIBUTORS).await?;
    let elections = shared.entries.names_in(paths::ELECTION).await?;
    let known = registered.iter().map(|(_, distributor)| distributor.election.clone());
    let mut distributors = Vec::new();
    for election in elections.into_iter().chain(known).collect::<BTreeSet<_>>().into_iter().take(MOST_ELECTIONS) {
        let path = format!("{}/{election}", paths::ELECTION);
        let contenders = shared.entries.candidates(&path).await?;
        let ours: Vec<&RegisteredDistributor> =
            registered.iter().map(|(_, distributor)| distributor).filter(|ours| ours.election == election).collect();
        distributors.extend(in_election(&election, &contenders, &ours));
    }
    distributors.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Distributors { count: distributors.len(), distributors })
}

/// What those candidates call themselves that somebody owns.
fn identifiers(contenders: &[Contender]) -> impl Iterator<Item = String> {
    let owned = contenders.iter().filter(|contender| !contender.is_stray);
    owned.map(|contender| contender.identifier.clone().unwrap_or_else(|| "(may not be read)".to_owned()))
}

/// The distributors of one election. What a leader says of its rounds counts as long as the election knows it as such.
fn in_election(election: &str, contenders: &[Contender], ours: &[&RegisteredDistributor]) -> Vec<Distributor> {
    let mut names: BTreeSet<&str> = ours.iter().map(|ours| ours.name.as_str()).collect();
    if names.is_empty() && !contenders.is_empty() {
        names.insert(election);
    }
    let candidates: Vec<String> = identifiers(contenders).collect();
    let blocking = contenders.iter().find(|contender| contender.is_stray).map(|contender| &contender.node);
    let blocked = blocking.map(|node| {
        format!("{node} has no session and never goes by itself: nobody who stands behind it ever leads, delete it")
    });
    // one without a session leads nothing, and nobody else does while it is first
    let leader = candidates.first().cloned().filter(|_| !contenders[0].is_stray);
    let told = |name: &str| {
        let own = || ours.iter().copied().filter(|ours| ours.name == name);
        let leading = own().find(|ours| ours.term.is_some() && Some(&ours.candidate) == leader.as_ref());
        let term = leading.and_then(|leading| leading.term);
        Distributor {
            name: name.to_owned(),
            election: election.to_owned(),
            schedule: leading.or_else(|| own().next()).map(|ours| ours.schedule.clone()),
            leader: leader.clone(),
            candidates: candidates.clone(),
            last: term.and_then(|term| term.last),
            next: term.and_then(|term| term.next),
            problem: blocked.clone().or_else(|| match leading {
                Some(leading) => leading.problem.clone(),
                None => own().find_map(|ours| ours.problem.clone()),
            }),
        }
    };
    names.into_iter().map(told).collect()
}

async fn queue(shared: &Shared) -> Result<Queue, ApiError> {
    let claims = claims(shared).await?;
    let waiting = waiting(shared, &claims.names).await?;
    let executors: HashMap<String, RegisteredExecutor> =
        shared.entries.registered(paths::EXECUTORS).await?.into_iter().collect();
    let count = claims.names.len();
    let mut oldest = claims.seen;
    oldest.sort_unstable_by_key(|claim| claim.zxid);
    oldest.truncate(MOST_TOLD);
    let names: Vec<String> = oldest.iter().map(|claim| claim.name.to_string()).collect();
    let entries = shared.entries.nodes_in(paths::ENTRIES, &names).await?;
    let ids: HashMap<String, String> =
        entries.into_iter().filter_map(|(name, node)| Some((name, text(&node.ok()?)))).collect();
    let tell = async |claim: Claim| {
        let id = ids.get(&claim.name.to_string()).cloned();
        let record = match &id {
            Some(id) => shared.store.get(id).await?,
            None => None,
        };
        let executor = executors.get(&claim.claimant);
        Ok::<_, StoreError>(told(claim, id, record.as_ref(), executor))
    };
    let claims = stream::iter(oldest.into_iter().map(tell)).buffered(READS_AT_ONCE).try_collect();
    let claims = claims.await?;
    let (left_alone, released) = (left_alone(shared).await?, Some(shared.released().clone()));
    Ok(Queue { waiting, claimed: Claimed { count, claims }, left_alone, released })
}

fn told(
    claim: Claim,
    job: Option<String>,
    record: Option<&Record>,
    executor: Option<&RegisteredExecutor>,
) -> ClaimTold {
    let attribute = |name: &str| record.and_then(|record| member(&record.document, name));
    // A ledger that cannot be read says nothing here; `jobs show` says what is wrong with it.
    let ledger = record.and_then(|record| ledger_of(record).ok());
    let open = ledger.as_ref().and_then(|ledger| ledger.attempts.last()).filter(|attempt| attempt.outcome.is_none());
    ClaimTold {
        entry: format!("{}/{}", paths::ENTRIES, claim.name),
        job,
        action: attribute("action"),
        state: attribute("state"),
        claimant: claim.claimant,
        executor: executor.map(|executor| executor.name.clone()),
        host: executor.map(|executor| executor.process.host.clone()),
        since: open.map(|attempt| attempt.begun),
    }
}

/// What a reconciler says counts while the election knows it as the leader.
async fn left_alone(shared: &Shared) -> Result<Option<LeftAlone>, ApiError> {
    let reconcilers: Vec<(String, RegisteredReconciler)> = shared.entries.registered(paths::RECONCILED).await?;
    if reconcilers.is_empty() {
        return Ok(None);
    }
    let leader = identifiers(&shared.entries.candidates(paths::RECONCILER).await?).next();
    let leading = reconcilers.into_iter().filter(|(_, reconciler)| Some(&reconciler.candidate) == leader.as_ref());
    let latest = leading.max_by_key(|(_, reconciler)| reconciler.begun);
    Ok(latest.map(|(_, reconciler)| reconciler.left_alone))
}

/// Counts by the names of entries: none of them is read.
async fn waiting(shared: &Shared, claimed: &[EntryName]) -> Result<Waiting, ApiError> {
    let entries = shared.entries.list().await?;
    let mut priorities: BTreeMap<u16, u64> = BTreeMap::new();
    for name in entries.iter().filter(|name| claimed.binary_search(name).is_err()) {
        *priorities.entry(name.priority()).or_default() += 1;
    }
    let count = priorities.values().sum();
    let priorities = priorities.into_iter().map(|(priority, count)| Priority { priority, count }).collect();
    Ok(Waiting { count, priorities, oldest: oldest_waiting(shared).await? })
}

async fn oldest_waiting(shared: &Shared) -> Result<Option<WaitingJob>, ApiError> {
    let queued = Literal::Text(State::Queued.as_str().to_owned());
    let query = Query {
        filter: Some(Filter::Compare(Attribute("state".to_owned()), Comparison::Equal, queued)),
        order: vec![Order { attribute: "created".to_owned(), descending: false }],
        limit: 1,
        ..Query::default()
    };
    let found = shared.store.query(JOB.name, &query).await?;
    Ok(found.records.into_iter().next().map(|record| WaitingJob {
        action: member(&record.document, "action"),
        created: member(&record.document, "created"),
        job: record.id,
    }))
}

/// A claim as its node shows it.
struct Claim {
    name: EntryName,
    claimant: String,
    zxid: i64,
}

struct Claims {
    /// Names of all entries that somebody holds, in order.
    names: Vec<EntryName>,
    /// What was looked at, [`MOST_CLAIMS`] at most.
    seen: Vec<Claim>,
}

impl Claims {
    /// Whether all were looked at.
    fn is_whole(&self) -> bool {
        self.names.len() <= MOST_CLAIMS
    }
}

async fn claims(shared: &Shared) -> Result<Claims, ApiError> {
    let names = shared.entries.names_in(paths::TAKEN).await?;
    let mut names: Vec<EntryName> = names.iter().filter_map(|name| EntryName::parse(name)).collect();
    names.sort_unstable();
    let first: Vec<String> = names.iter().take(MOST_CLAIMS).map(ToString::to_string).collect();
    let seen = shared.entries.nodes_in(paths::TAKEN, &first).await?;
    let claim = |(name, node): (String, Result<Node, Cause>)| {
        let node = node.ok()?;
        Some(Claim { name: EntryName::parse(&name)?, claimant: text(&node), zxid: node.created })
    };
    Ok(Claims { names, seen: seen.into_iter().filter_map(claim).collect() })
}

fn member(document: &Document, name: &str) -> Option<String> {
    document.get(name).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests;
