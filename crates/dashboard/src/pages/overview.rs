//! Overview: how many jobs there are, what was done lately, what needs attention. Administrators see all of it, others how
//! many jobs of theirs there are.

use maud::{Markup, html};
use slipstream_cimi::State;
use slipstream_cimi::overview::work::{
    ActionWork, Attention, Failures, Overview, PLACE, Percentiles, SPAN, Series, Span, Totals, Work,
};

use super::Asked;
use super::failure::Failure;
use crate::api::encoded;
use crate::page::{Page, Regions, Tab};
use crate::parts::{badge, duration, job_link, number, percent, since, time};
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
    let up = asked.up;
    let mut regions = Regions::default();
    let counts = regions.whole("counts", counts(up, &overview));
    let body = html! {
        h1 { "Overview" }
        @if let Some(work) = &overview.work {
            (spans(up, overview.span))
            (regions.whole("figures", figures(overview.span, &work.total, &work.series)))
            (counts)
            section.card { h2 { "Needs attention" } (regions.whole("attention", attention(up, work))) }
            section.card { h2 { "Actions" } (regions.whole("actions", actions(up, overview.span, &work.actions))) }
            section.card { h2 { "Failures" } (regions.whole("failures", failures(up, work))) }
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
    let failed = total.failed;
    html! {
        div.figures {
            (figure("Added a second", &rate(total.added_per_second), &series.added, "queued"))
            (figure("Ended a second", &rate(total.ended_per_second), &series.ended, "success"))
            (figure("Failed", &percent(failed, total.ended()), &series.failed, "failed"))
            (times("Waited", total.wait))
            (times("Ran", total.run))
        }
        p.muted {
            @if total.added + total.ended() == 0 { "No job was added or has ended in the last " (words(span)) "." }
            @else {
                (number(total.added)) " added and " (number(total.ended())) " ended in the last " (words(span))
                ". A second is that of the last minute; times are at most 19 % off."
            }
        }
    }
}

fn figure(name: &str, value: &str, points: &[u64], class: &str) -> Markup {
    html! { div.card { div.muted { (name) } strong.figure { (value) } (chart::spark(points, class)) } }
}

fn times(name: &str, times: Option<Percentiles>) -> Markup {
    html! {
        div.card {
            div.muted { (name) }
            @match times {
                None => span.muted { "nothing measured" },
                Some(Percentiles { p50, p99, .. }) => {
                    strong.figure { (duration(p50)) }
                    div.muted { "99 of 100 up to " (duration(p99)) }
                }
            }
        }
    }
}

fn counts(up: &str, overview: &Overview) -> Markup {
    let known = STATES.map(|state| (state.as_str(), overview.jobs.get(state.as_str()).copied().unwrap_or_default()));
    let others = overview.jobs.iter().map(|(state, count)| (state.as_str(), *count));
    let others = others.filter(|(state, _)| STATES.iter().all(|known| known.as_str() != *state));
    html! {
        ul.chips aria-label="Jobs by state" {
            @for (state, count) in known.into_iter().chain(others) {
                li { a href=(to_jobs(up, state, None)) { (badge(state)) " " (number(count)) } }
            }
        }
    }
}

fn to_jobs(up: &str, state: &str, action: Option<&str>) -> String {
    let rest: Vec<_> = action.map(|action| filters::equals("action", action)).into_iter().collect();
    format!("{up}jobs?filter={}", encoded(&filters::with_state(state, &rest).to_string()))
}

fn attention(up: &str, work: &Work) -> Markup {
    let row = |row: &Attention| {
        html! {
            li { span.badge.attention { "!" } " " (row.text) " " @if let Some(at) = &row.since { (since(&at.to_string())) " " }
                a href=(format!("{up}{}", row.href)) { "show" } }
        }
    };
    html! {
        @if work.attention.is_empty() { p { "Nothing needs attention." } }
        @else { ul.plain { @for one in &work.attention { (row(one)) } } }
        p.muted {
            @match &work.checked {
                Some(checked) => { "Running jobs were last checked at " (time(&checked.to_string())) "." },
                None => "Not known: no reconciler is at work.",
            }
        }
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
                    th.number scope="col" { "Failed" } th.number scope="col" { "Ran p50" } th.number scope="col" { "p99" }
                    th scope="col" { "Ended over time" } } }
                tbody { @for action in &actions[..shown] { (action_row(up, action)) } }
            }
        }
        @if actions.len() > shown { p.muted { "The " (shown) " with most jobs of " (actions.len()) " are shown." } }
    }
}

fn action_row(up: &str, action: &ActionWork) -> Markup {
    let time = |which: fn(Percentiles) -> f64| action.run.map(|run| duration(which(run))).unwrap_or_default();
    html! {
        tr {
            th scope="row" { (action.name) }
            td.number { (number(action.added)) }
            td.number { (number(action.ended)) }
            td.number {
                @if action.failed == 0 { (percent(0, action.ended)) }
                @else { a href=(to_jobs(up, State::Failed.as_str(), Some(&action.name))) { (percent(action.failed, action.ended)) } }
            }
            td.number { (time(|run| run.p50)) }
            td.number { (time(|run| run.p99)) }
            td.wide { (chart::spark(&action.series, "success")) }
        }
    }
}

fn failures(up: &str, work: &Work) -> Markup {
    let row = |alike: &Failures| {
        html! {
            tr {
                th scope="row" { (alike.action) }
                td { (alike.message) }
                td.number { (number(alike.count)) }
                td { (time(&alike.latest.to_string())) }
                td { (job_link(up, &alike.job)) }
            }
        }
    };
    html! {
        @if work.failures.is_empty() { p.muted { "No job has failed." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Failures" {
                table.plain {
                    thead { tr { th scope="col" { "Action" } th scope="col" { "Message" } th.number scope="col" { "Times" }
                        th scope="col" { "Latest" } th scope="col" { "Job" } } }
                    tbody { @for alike in work.failures.iter().take(MOST_FAILURES) { (row(alike)) } }
                }
            }
        }
        p.muted { "As far as this server knows, which began at " (time(&work.since.to_string())) "." }
    }
}
