//! `/api/queue`: what waits, and who holds what; and how all of it is queued again.

use std::collections::{BTreeMap, HashMap};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::overview::queue::{
    Claim, Claimed, LeftAlone, MOST_ACTIONS, MOST_LISTED, PLACE, Priority, Queue, Waiting, WaitingAction, WaitingJob,
};
use slipstream_cimi::query::Order;
use slipstream_cimi::{Document, State};
use slipstream_coordination::queue::EntryName;
use slipstream_store::{Query, Record, Store, StoreError, StoreExt};

use super::{View, identifiers};
use crate::process::paths;
use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::jobs::record::ledger_of;
use crate::server::queue::claims::{Claim as Held, Claims};
use crate::server::queue::text;
use crate::server::reconcile::{RegisteredReconciler, restore as restoring};
use crate::server::resources::fence;

/// How many documents are read at once.
const READS_AT_ONCE: usize = 16;

/// Shows the queue to administrators.
pub async fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    Ok(View::answer(PLACE, "http://sixsq.com/slipstream/1/Queue", queue(shared).await?))
}

/// Shows them the queue as it was a moment ago: pages are looked at by many.
pub async fn recent(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let recent = shared.recent_queue.get(async || queue(shared).await).await?;
    Ok(View::answer(PLACE, "http://sixsq.com/slipstream/1/Queue", &*recent))
}

/// Queues all jobs without an entry.
pub async fn restore(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    fence(shared, request).await?;
    Ok(Answer::ok(&restoring::all(shared, &request.caller).await?))
}

async fn queue(shared: &Shared) -> Result<Queue, ApiError> {
    let listed = Some(shared.clock.now());
    let claims = Claims::read(&shared.queue).await?;
    let waiting = waiting(shared, &claims.names).await?;
    let executors: HashMap<String, RegisteredExecutor> =
        shared.queue.registered(paths::EXECUTORS).await?.into_iter().collect();
    let count = claims.names.len();
    let mut oldest = claims.seen;
    oldest.sort_unstable_by_key(|claim| claim.zxid);
    oldest.truncate(MOST_LISTED);
    let names: Vec<String> = oldest.iter().map(|claim| claim.name.to_string()).collect();
    let entries = shared.queue.nodes_in(paths::ENTRIES, &names).await?;
    let ids: HashMap<String, String> =
        entries.into_iter().filter_map(|(name, node)| Some((name, text(&node.ok()?)))).collect();
    let show = async |claim: Held| {
        let id = ids.get(&claim.name.to_string()).cloned();
        let record = match &id {
            Some(id) => shared.store.get(id).await?,
            None => None,
        };
        let executor = executors.get(&claim.claimant);
        Ok::<_, StoreError>(shown(claim, id, record.as_ref(), executor))
    };
    let claims = stream::iter(oldest.into_iter().map(show)).buffered(READS_AT_ONCE).try_collect();
    let claims = claims.await?;
    let (left_alone, released) = (left_alone(shared).await?, Some(shared.released().shown()));
    Ok(Queue { waiting, claimed: Claimed { count, claims }, left_alone, released, listed })
}

fn shown(claim: Held, job: Option<String>, record: Option<&Record>, executor: Option<&RegisteredExecutor>) -> Claim {
    let attribute = |name: &str| record.and_then(|record| member(&record.document, name));
    // A ledger that cannot be read says nothing here; `jobs show` says what is wrong with it.
    let ledger = record.and_then(|record| ledger_of(record).ok());
    let open = ledger.as_ref().and_then(|ledger| ledger.attempts.last()).filter(|attempt| attempt.outcome.is_none());
    Claim {
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

/// What the reconciler leaves alone, if one is at work.
pub(super) async fn left_alone(shared: &Shared) -> Result<Option<LeftAlone>, ApiError> {
    Ok(reconciler(shared).await?.map(|reconciler| reconciler.left_alone))
}

/// The reconciler that is at work: what one says counts while the election knows it as the leader.
pub(super) async fn reconciler(shared: &Shared) -> Result<Option<RegisteredReconciler>, ApiError> {
    let reconcilers: Vec<(String, RegisteredReconciler)> = shared.queue.registered(paths::RECONCILED).await?;
    if reconcilers.is_empty() {
        return Ok(None);
    }
    let leader = identifiers(&shared.queue.candidates(paths::RECONCILER).await?).next();
    let leading = reconcilers.into_iter().filter(|(_, reconciler)| Some(&reconciler.candidate) == leader.as_ref());
    Ok(leading.map(|(_, reconciler)| reconciler).max_by_key(|reconciler| reconciler.begun))
}

/// Counts by the names of entries: none of them is read.
async fn waiting(shared: &Shared, claimed: &[EntryName]) -> Result<Waiting, ApiError> {
    let entries = shared.queue.list().await?;
    let mut priorities: BTreeMap<u16, u64> = BTreeMap::new();
    for name in entries.iter().filter(|name| claimed.binary_search(name).is_err()) {
        *priorities.entry(name.priority()).or_default() += 1;
    }
    let count = priorities.values().sum();
    let priorities = priorities.into_iter().map(|(priority, count)| Priority { priority, count }).collect();
    let (actions, oldest) = (waiting_actions(shared).await?, oldest_waiting(&*shared.store).await?);
    Ok(Waiting { count, priorities, actions, oldest })
}

async fn waiting_actions(shared: &Shared) -> Result<Vec<WaitingAction>, ApiError> {
    let found = super::waiting::by_action(shared).await?;
    let mut actions: Vec<WaitingAction> =
        found.into_iter().map(|(action, count)| WaitingAction { action, count }).collect();
    // those of one count by name
    actions.sort_by_key(|it| std::cmp::Reverse(it.count));
    actions.truncate(MOST_ACTIONS);
    Ok(actions)
}

/// So many jobs of a state, those first that were added first; an index finds them.
pub(super) fn added_first(state: State, limit: u64) -> Query {
    let state = Literal::Text(state.as_str().to_owned());
    Query {
        filter: Some(Filter::Compare(Attribute("state".to_owned()), Comparison::Equal, state)),
        order: vec![Order { attribute: "created".to_owned(), descending: false }],
        limit,
        ..Query::default()
    }
}

/// The job that has been QUEUED for longest.
pub(super) async fn oldest_waiting(store: &dyn Store) -> Result<Option<WaitingJob>, StoreError> {
    let found = store.search(JOB.name, &added_first(State::Queued, 1)).await?;
    Ok(found.records.into_iter().next().map(|record| WaitingJob {
        action: member(&record.document, "action"),
        created: member(&record.document, "created"),
        job: record.id,
    }))
}

fn member(document: &Document, name: &str) -> Option<String> {
    document.get(name).and_then(Value::as_str).map(str::to_owned)
}
