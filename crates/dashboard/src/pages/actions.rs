//! Actions: who has them, how many of their jobs wait, run and have failed, and how they did lately.

use std::collections::BTreeMap;

use maud::{Markup, html};
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::overview::executors::{Executors, PLACE};
use slipstream_cimi::overview::work::{self, ActionWork, Overview, Percentiles};
use slipstream_cimi::query::{Aggregation, Algorithm, Search};

use super::Asked;
use super::failure::Failure;
use crate::api::encoded;
use crate::filters;
use crate::page::{Page, Regions, Tab};
use crate::parts::{duration, number, percent};

/// The states whose jobs are counted.
const STATES: [State; 3] = [State::Queued, State::Running, State::Failed];
/// Most actions of which each is asked for by itself.
const MOST_ASKED: usize = 50;

/// What is known of an action.
#[derive(Default)]
struct Action {
    executors: usize,
    slots: usize,
    /// By [`STATES`]; none where there are too many actions to ask for each.
    counts: [Option<u64>; 3],
    /// What was done lately.
    lately: Option<ActionWork>,
}

/// All actions that an executor has or of which jobs wait, run or have failed.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let executors: Executors = asked.api.get(PLACE).await?;
    let mut actions: BTreeMap<String, Action> = BTreeMap::new();
    for executor in &executors.executors {
        for name in &executor.registered.actions {
            let action = actions.entry(name.clone()).or_default();
            action.executors += 1;
            action.slots += executor.registered.slots;
        }
    }
    for (place, state) in STATES.into_iter().enumerate() {
        count(asked, &mut actions, place, state).await?;
    }
    let overview: Overview = asked.api.get(work::PLACE).await?;
    for lately in overview.work.into_iter().flat_map(|work| work.actions) {
        if let Some(action) = actions.get_mut(&lately.name) {
            action.lately = Some(lately);
        }
    }
    let mut regions = Regions::default();
    let rows = actions.iter().map(|(name, action)| row(asked.up, name, action)).collect();
    let none = html! { @if actions.is_empty() { p.empty { "No executor has registered, and no job waits." } } };
    let body = html! {
        h1 { "Actions" }
        div.scroll.card.flush tabindex="0" role="region" aria-label="Actions" {
            table {
                thead { tr { th scope="col" { "Action" } th.number scope="col" { "Executors" } th.number scope="col" { "Slots" }
                    th.number scope="col" { "Waiting" } th.number scope="col" { "Running" } th.number scope="col" { "Failed" }
                    th.number scope="col" { "Failed, 15 min" } th.number scope="col" { "Ran, median" } th.number scope="col" { "Ran, 99 % at most" } } }
                (regions.rows("rows", rows))
            }
        }
        (regions.whole("none", none))
    };
    Ok(regions.page("Actions", Tab::Actions, body))
}

/// Counts the jobs of a state by action. The answer names the ten most frequent; others are asked for.
async fn count(
    asked: &Asked<'_>,
    actions: &mut BTreeMap<String, Action>,
    place: usize,
    state: State,
) -> Result<(), Failure> {
    let of_state = filters::equals("state", state.as_str());
    let by_action = Aggregation { algorithm: Algorithm::Terms, attribute: "action".to_owned() };
    let search = Search {
        filter: Some(of_state.to_string()),
        last: Some(0),
        aggregations: vec![by_action],
        ..Search::default()
    };
    let answer = asked.api.search(JOB.name, &search).await?.aggregations;
    let terms = answer.values().next();
    for bucket in terms.and_then(|terms| terms["buckets"].as_array()).into_iter().flatten() {
        if let Some(name) = bucket["key"].as_str() {
            actions.entry(name.to_owned()).or_default().counts[place] = bucket["doc_count"].as_u64();
        }
    }
    let are_others = terms.is_some_and(|terms| terms["sum_other_doc_count"].as_u64().unwrap_or_default() > 0);
    let unknown = actions.iter_mut().filter(|(_, action)| action.counts[place].is_none());
    for (name, action) in unknown.take(MOST_ASKED) {
        action.counts[place] = Some(if are_others { count_one(asked, &of_state, name).await? } else { 0 });
    }
    Ok(())
}

async fn count_one(asked: &Asked<'_>, of_state: &Filter, name: &str) -> Result<u64, Failure> {
    let filter = Filter::All(vec![of_state.clone(), filters::equals("action", name)]);
    let search = Search { filter: Some(filter.to_string()), last: Some(0), ..Search::default() };
    Ok(asked.api.search(JOB.name, &search).await?.count)
}

fn row(up: &str, name: &str, action: &Action) -> (String, Markup) {
    let id = format!("row-{name}");
    let waits_in_vain = action.executors == 0 && action.counts[0].is_some_and(|count| count > 0);
    let html = html! {
        tr id=(id) {
            th scope="row" { (name) @if waits_in_vain { " " span.badge.attention { "no executor has it" } } }
            td.number { (action.executors) }
            td.number { (action.slots) }
            @for (state, count) in STATES.into_iter().zip(action.counts) {
                td.number {
                    (jobs_link(up, name, state, count))
                    @if state == State::Failed && count != Some(0) { ", " (failed_today(up, name)) }
                }
            }
            @let (failed, p50, p99) = lately(action.lately.as_ref());
            td.number { (failed) }
            td.number { (p50) }
            td.number { (p99) }
        }
    };
    (id, html)
}

/// The share that failed in the last quarter of an hour, and how long the attempts ran; nothing where nothing was done.
fn lately(work: Option<&ActionWork>) -> (String, String, String) {
    let Some(ActionWork { ended, failed, run, .. }) = work else { return Default::default() };
    let time = |which: fn(Percentiles) -> f64| run.map(|run| duration(which(run))).unwrap_or_default();
    (percent(*failed, *ended), time(|run| run.p50), time(|run| run.p99))
}

/// How many, as a link to them.
fn jobs_link(up: &str, name: &str, state: State, count: Option<u64>) -> Markup {
    let filter = filters::with_state(state.as_str(), &[filters::equals("action", name)]);
    let address = format!("{up}jobs?filter={}", encoded(&filter.to_string()));
    html! {
        @match count {
            Some(0) => "0",
            Some(count) => a href=(address) { (number(count)) },
            None => a href=(address) { "show them" },
        }
    }
}

/// Those that failed today, to be looked at or run again together; they are not counted.
fn failed_today(up: &str, name: &str) -> Markup {
    let filter = filters::failed_since(filters::TODAY, Some(name)).to_string();
    html! { a href=(format!("{up}jobs?filter={}", encoded(&filter))) title="Since 00:00 UTC" { "of today" } }
}
