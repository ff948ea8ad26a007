//! `/api/overview`: how many jobs there are, what was done, what needs attention. What is not counted for everybody is for
//! administrators.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::distributors::GivenUp;
use slipstream_cimi::overview::work::{Overview, PLACE, SPAN, Span, Totals, Work};
use slipstream_cimi::query::{Aggregation, Algorithm, Parameters};

use super::attention::{Facts, attention, late_since};
use super::longest::longest;
use super::{View, queue, waiting};
use crate::process::clock::Age;
use crate::process::paths;
use crate::process::registry::RegisteredDistributor;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::history::Timeline;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::reconcile::RegisteredReconciler;
use crate::server::resources::search;

/// Shows what is to be seen, to each as much as is theirs.
pub async fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_user()?;
    let span = span(request)?;
    let jobs = counts(shared, &request.caller).await?;
    let work = if request.caller.is_administrator() { Some(work(shared, span).await?) } else { None };
    let overview = Overview { time: shared.clock.now(), span, jobs, work };
    Ok(View::answer(PLACE, "http://sixsq.com/slipstream/1/Overview", overview))
}

fn span(request: &ApiRequest) -> Result<Span, ApiError> {
    let Some(asked) = request.parameter(SPAN) else { return Ok(Span::default()) };
    let unknown = || {
        let known = Span::ALL.map(Span::as_str).join(", ");
        ApiError::bad_request(format!("span is one of {known}, not '{asked}'"))
    };
    Span::from_text(&asked).ok_or_else(unknown)
}

/// From the tally, what the caller may see of it.
async fn counts(shared: &Shared, caller: &Caller) -> Result<BTreeMap<String, u64>, ApiError> {
    let by_state = Aggregation { algorithm: Algorithm::Terms, attribute: "state".to_owned() };
    let parameters = Parameters { last: Some(0), aggregations: vec![by_state], ..Parameters::default() };
    let found = search::search(shared, JOB, caller, &parameters).await?.stored;
    Ok(found.aggregations.first().map(waiting::terms).unwrap_or_default())
}

async fn work(shared: &Shared, span: Span) -> Result<Work, ApiError> {
    let (history, now) = (&shared.history, shared.clock.now());
    let timeline = history.within(span).await?;
    let recently = if span == Span::Quarter { timeline.clone() } else { history.within(Span::Quarter).await? };
    let (since, recently_since) = (time_of(&timeline), time_of(&recently));
    let late = history.with_recent(|recent| recent.late_since(late_since(now)));
    let (found, reconciler) = facts(shared).await;
    let facts = Facts {
        recently: recently.actions(),
        failures: history.with_recent(|recent| recent.failures_since(recently_since)),
        late: late.clone(),
        ..found
    };
    let (added_per_second, ended_per_second) = history.per_second();
    Ok(Work {
        since: history.since(),
        total: Totals { added_per_second, ended_per_second, ..timeline.total() },
        series: timeline.series(),
        actions: timeline.actions(),
        failures: history.with_recent(|recent| recent.failures_since(since)),
        late,
        attention: attention(&facts),
        longest: (*shared.recent_longest.get(async || longest(&*shared.store).await).await?).clone(),
        // another server's reconciler tells it once a minute
        checked: shared.last_round().checked.or(reconciler.and_then(|reconciler| reconciler.round)),
    })
}

fn time_of(timeline: &Timeline) -> Timestamp {
    Timestamp::from_second(timeline.begin()).unwrap_or(Timestamp::MIN)
}

/// What the coordinator says, and the reconciler that is at work. What it does not say while it is away is not told.
async fn facts(shared: &Shared) -> (Facts, Option<RegisteredReconciler>) {
    match coordinated(shared).await {
        Ok(found) => found,
        // the reason is for the log
        Err(error) => (Facts { away: Some(error.refusal.message), ..Facts::default() }, None),
    }
}

async fn coordinated(shared: &Shared) -> Result<(Facts, Option<RegisteredReconciler>), ApiError> {
    let snapshot = shared.snapshots.get(&shared.queue, &shared.clock).await?;
    let willing = snapshot.executors.iter().filter(|executor| !executor.registered.draining);
    let had: BTreeSet<&str> = willing.flat_map(|executor| &executor.registered.actions).map(String::as_str).collect();
    let waiting = waiting::by_action(shared).await?;
    let unserved = waiting.into_iter().filter(|(action, _)| !had.contains(action.as_str())).collect();
    let reconciler = queue::reconciler(shared).await?;
    let unheld = reconciler.as_ref().map(|reconciler| reconciler.unheld.clone()).unwrap_or_default();
    let (has_foreign, given_up) = (!snapshot.foreign.is_empty(), given_up(shared).await?);
    Ok((Facts { unheld, given_up, unserved, has_foreign, ..Facts::default() }, reconciler))
}

/// Of each distributor, what those say who lead it, if the latest was not more than a day ago.
async fn given_up(shared: &Shared) -> Result<Vec<(String, GivenUp)>, ApiError> {
    let registered: Vec<(String, RegisteredDistributor)> = shared.queue.registered(paths::DISTRIBUTORS).await?;
    let (now, day) = (shared.clock.now(), SignedDuration::from_hours(24));
    let given_up = registered.into_iter().filter_map(|(_, it)| Some((it.name, it.term?.given_up?)));
    Ok(given_up.filter(|(_, it)| !matches!(Age::of(it.latest, now), Age::Past(age) if age > day)).collect())
}
