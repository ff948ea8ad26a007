//! Overview: how many jobs there are, what was done lately, what needs attention, what takes longest. Administrators see
//! all of it, others how many jobs of theirs there are.

use maud::{Markup, html};
use slipstream_cimi::State;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::overview::work::{
    ActionWork, Attention, Failures, OTHER, Overview, PLACE, Percentiles, SPAN, Series, Span, Totals, Work,
};

use super::failure::Failure;
use super::{Asked, longest};
use crate::api::encoded;
use crate::page::{Page, Regions, Tab};
use crate::parts::{ago, badge, duration, job_link, number, percent, time};
use crate::{chart, filters};

/// Most actions and most kinds of failures that are shown.
const MOST_ACTIONS: usize = 20;
const MOST_FAILURES: usize = 10;
/// The states that are always shown, in the order of a job's life.
const STATES: [State; 5] = [State::Queued, State::Running, State::Success, State::Failed, State::Stopped];

/// The first page.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let query: Vec<(&str, &str)> = asked.query.get(SPAN).map(|span| (SPAN, span)).into_iter().collect();
    let overview: Overview = asked.api.get_with(PLACE, &query).await?;
    let (up, span) = (asked.up, overview.span);
    let mut regions = Regions::default();
    let counts = regions.whole("counts", counts(up, &overview));
    let body = html! {
        h1 { "Overview" }
        @if let Some(work) = &overview.work {
            (spans(up, span))
            (regions.whole("figures", figures(span, &work.total, &work.series)))
            (counts)
            section.card { h2 { "Needs attention" } (regions.whole("attention", attention(up, &work.attention))) }
            section.card { h2 { "Running and waiting longest" } (regions.whole("longest", longest::shown(up, work))) }
            section.card { h2 { "Actions" } (regions.whole("actions", actions(up, span, &work.actions))) }
            section.card { h2 { "Failures" } (regions.whole("failures", failures(up, span, work))) }
        } @else {
            (counts)
            p { a.button href=(format!("{up}jobs")) { "Your jobs" } }
        }
    };
    Ok(regions.page("Overview", Tab::Overview, body))
}

fn words(span: Span) -> &'static str {
    match span {
        Span::Quarter => "15 minutes",
        Span::Day => "24 hours",
        Span::Season => "90 days",
    }
}

/// The switch.
fn spans(up: &str, shown: Span) -> Markup {
    html! {
        nav.chips aria-label="How far back" {
            @for span in Span::ALL {
                a href=(format!("{up}?{SPAN}={}", span.as_str())) aria-current=[(span == shown).then_some("true")] { (words(span)) }
            }
        }
    }
}

fn figures(span: Span, total: &Totals, series: &Series) -> Markup {
    let rate = |rate: f64| format!("{rate:.1}");
    let (failed, ended) = (total.failed, total.ended());
    let mean = "mean of the last minute";
    html! {
        div.figures {
            (figure("Added per second", &rate(total.added_per_second), mean, &chart::spark(&series.added, "queued")))
            (figure("Ended per second", &rate(total.ended_per_second), mean, &chart::ended(&series.ended, &series.failed, &said(span, ended, failed))))
            (figure("Failed", &percent(failed, ended), "of those that ended", &chart::spark(&series.failed, "failed")))
            (times("Waited until begun", total.wait))
            (times("Ran", total.run))
        }
        p.muted {
            @if total.added + ended == 0 { "No job was added or has ended in the last " (words(span)) "." }
            @else {
                (number(total.added)) " added and " (number(ended)) " ended in the last " (words(span))
                ". How long they waited and ran is at most 19 % off."
            }
        }
    }
}

fn figure(name: &str, value: &str, meaning: &str, chart: &Markup) -> Markup {
    html! { div.card { div.muted { (name) } strong.figure { (value) } div.muted { (meaning) } (chart) } }
}

fn times(name: &str, times: Option<Percentiles>) -> Markup {
    html! {
        div.card {
            div.muted { (name) }
            @match times {
                None => span.muted { "nothing measured" },
                Some(Percentiles { p50, p99, .. }) => {
                    strong.figure { (duration(p50)) }
                    div.muted { "median; 99 % took at most " (duration(p99)) }
                }
            }
        }
    }
}

/// What a chart of what ended shows, in words.
fn said(span: Span, ended: u64, failed: u64) -> String {
    format!("{} ended in the last {}, {} of them FAILED", number(ended), words(span), number(failed))
}

fn counts(up: &str, overview: &Overview) -> Markup {
    let known = STATES.map(|state| (state.as_str(), overview.jobs.get(state.as_str()).copied().unwrap_or_default()));
    let others = overview.jobs.iter().map(|(state, count)| (state.as_str(), *count));
    let others = others.filter(|(state, _)| STATES.iter().all(|known| known.as_str() != *state));
    html! {
        ul.chips aria-label="Jobs by state" {
            @for (state, count) in known.into_iter().chain(others) {
                li { a href=(to_jobs(up, &filters::with_state(state, &[]))) { (badge(state)) " " (number(count)) } }
            }
        }
    }
}

fn to_jobs(up: &str, filter: &Filter) -> String {
    format!("{up}jobs?filter={}", encoded(&filter.to_string()))
}

/// Jobs of an action that have failed within the span.
fn to_failed(up: &str, span: Span, action: &str) -> String {
    to_jobs(up, &filters::failed_since(&format!("now-{}", span.as_str()), Some(action)))
}

fn attention(up: &str, rows: &[Attention]) -> Markup {
    let row = |row: &Attention| {
        html! {
            li { span.badge.attention { "!" } " " (row.text)
                @match (row.latest, row.since) {
                    (Some(latest), _) => { ", last " (ago(&latest.to_string())) },
                    (None, Some(since)) => { ", since " (time(&since.to_string())) },
                    (None, None) => {},
                }
                ": " a href=(format!("{up}{}", row.href)) { (shown_there(row)) } }
        }
    };
    html! {
        @if rows.is_empty() { p { "Nothing needs attention." } }
        @else { ul.plain { @for one in rows { (row(one)) } } }
    }
}

/// What is shown where a row leads to.
fn shown_there(row: &Attention) -> &'static str {
    match (row.code.as_str(), row.count) {
        ("coordinator-away", _) => "what is wrong",
        ("lost", 1) => "the job",
        ("lost", _) => "running jobs",
        ("no-executor", _) => "the jobs that wait",
        ("failing", _) => "the jobs that failed",
        ("rounds-given-up", _) => "the distributor",
        ("late-writes", _) => "the job of the latest one",
        _ => "more about it",
    }
}

fn actions(up: &str, span: Span, actions: &[ActionWork]) -> Markup {
    if actions.is_empty() {
        return html! { p.muted { "No job has ended in the last " (words(span)) "." } };
    }
    let shown = actions.len().min(MOST_ACTIONS);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Actions" {
            table.plain {
                thead { tr { th scope="col" { "Action" } th.number scope="col" { "Added" } th.number scope="col" { "Ended" }
                    th.number scope="col" { "Failed" } th.number scope="col" { "Ran, median" }
                    th.number scope="col" { "Ran, 99 % at most" } th scope="col" { "Ended over time" } } }
                tbody { @for action in &actions[..shown] { (action_row(up, span, action)) } }
            }
        }
        (chart::legend())
        @if actions.len() > shown { p.muted { "The " (shown) " with most jobs of " (actions.len()) " are shown." } }
    }
}

fn action_row(up: &str, span: Span, action: &ActionWork) -> Markup {
    let ActionWork { name, added, ended, failed, run, series, failed_series, .. } = action;
    let time = |which: fn(Percentiles) -> f64| run.map(|run| duration(which(run))).unwrap_or_default();
    html! {
        tr {
            th scope="row" { (name) }
            td.number { (number(*added)) }
            td.number { (number(*ended)) }
            td.number {
                // those that share one name have none to be found by
                @if *failed == 0 || name == OTHER { (percent(*failed, *ended)) }
                @else { a href=(to_failed(up, span, name)) { (percent(*failed, *ended)) } }
            }
            td.number { (time(|run| run.p50)) }
            td.number { (time(|run| run.p99)) }
            td.wide { (chart::ended(series, failed_series, &said(span, *ended, *failed))) }
        }
    }
}

fn failures(up: &str, span: Span, work: &Work) -> Markup {
    let row = |alike: &Failures| {
        html! {
            tr {
                th scope="row" { (alike.action) }
                td { (alike.message) }
                td.number { (number(alike.count)) }
                td { (time(&alike.latest.to_string())) }
                td { (job_link(up, &alike.job)) }
                td {
                    a href=(to_failed(up, span, &alike.action)) { (words(span)) } ", "
                    a href=(to_jobs(up, &filters::failed_since(filters::TODAY, Some(&alike.action)))) { "today" }
                }
            }
        }
    };
    html! {
        @if work.failures.is_empty() { p.muted { "No failure of the last " (words(span)) " is known." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Failures" {
                table.plain {
                    thead { tr { th scope="col" { "Action" } th scope="col" { "Message" } th.number scope="col" { "Times" }
                        th scope="col" { "Latest" } th scope="col" { "Latest job" } th scope="col" { "All that failed of the action" } } }
                    tbody { @for alike in work.failures.iter().take(MOST_FAILURES) { (row(alike)) } }
                }
            }
        }
        p { a href=(to_jobs(up, &filters::failed_since(filters::TODAY, None))) { "All jobs that failed today" } " (today begins at 00:00 UTC)" }
        p.muted { "This server started at " (time(&work.since.to_string())) "; earlier failures are not in this list." }
    }
}
