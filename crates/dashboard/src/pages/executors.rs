//! Executors: who runs jobs, how busy they are, and what they leave alone.

use maud::{Markup, html};
use slipstream_cimi::overview::executors::{Executor, Executors, PLACE};
use slipstream_cimi::overview::queue::{self, Claim, Queue};

use super::Asked;
use super::failure::Failure;
use crate::api::encoded;
use crate::page::{Page, Regions, Tab};
use crate::parts::{badge, job_link, number, since};

/// More slots than these are told as numbers alone.
const MOST_DRAWN: usize = 16;

/// All executors.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let executors: Executors = asked.api.get(PLACE).await?;
    let mut regions = Regions::default();
    let body = html! {
        h1 { "Executors" }
        div.scroll.card.flush tabindex="0" role="region" aria-label="Executors" {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Slots" } th scope="col" { "State" }
                    th scope="col" { "Machine" } th.number scope="col" { "Process" } th scope="col" { "Version" }
                    th.number scope="col" { "Actions" } th scope="col" { "Up" } } }
                (regions.rows("rows", executors.executors.iter().map(|executor| row(asked.up, executor)).collect()))
            }
        }
        (regions.whole("foreign", foreign(&executors)))
    };
    Ok(regions.page("Executors", Tab::Executors, body))
}

fn foreign(executors: &Executors) -> Markup {
    html! {
        @if executors.executors.is_empty() { p.empty { "No executor has registered." } }
        @if !executors.foreign.is_empty() {
            h2 { "Others that hold entries" }
            p.muted { "They do not register: executors of another engine. What they can do is not known here." }
            ul.plain {
                @for foreign in &executors.foreign {
                    li { code { (foreign.claimant) } " holds " (number(foreign.busy as u64)) }
                }
            }
        }
    }
}

fn row(up: &str, executor: &Executor) -> (String, Markup) {
    let registered = &executor.registered;
    let id = format!("row-{}", executor.claimant);
    let html = html! {
        tr id=(id) {
            th scope="row" { a href=(format!("{up}executors/{}", encoded(&executor.claimant))) { (registered.name) } }
            td { (slots(executor)) }
            td { (state(executor)) }
            td { (registered.process.host) }
            td.number { (registered.process.id) }
            td { (registered.process.version) }
            td.number { (registered.actions.len()) }
            td { (since(&registered.begun.to_string())) }
        }
    };
    (id, html)
}

fn slots(executor: &Executor) -> Markup {
    let (slots, busy) = (executor.registered.slots, executor.busy);
    html! {
        @if let Some(busy) = busy {
            @if slots <= MOST_DRAWN {
                span.slots aria-hidden="true" { ("▮".repeat(busy.min(slots))) ("▯".repeat(slots.saturating_sub(busy))) } " "
            }
            span.number { (busy) "/" (slots) }
        } @else { (slots) }
    }
}

fn state(executor: &Executor) -> Markup {
    html! {
        @if executor.registered.draining { span.badge.attention { "draining" } } @else { "working" }
        @if !executor.registered.loaded.failed.is_empty() { " " span.badge.attention { "failed to load some" } }
    }
}

/// The executor that shows this in its claims.
pub async fn one(asked: &Asked<'_>, claimant: &str) -> Result<Page, Failure> {
    let executors: Executors = asked.api.get(PLACE).await?;
    let executor = executors.executors.into_iter().find(|executor| executor.claimant == claimant);
    let executor = executor.ok_or(Failure::NoPage)?;
    let queue: Queue = asked.api.get(queue::RECENT).await?;
    let claims: Vec<&Claim> = queue.claimed.claims.iter().filter(|claim| claim.claimant == claimant).collect();
    let (up, registered) = (asked.up, &executor.registered);
    let mut regions = Regions::default();
    let facts = html! {
        dl.facts {
            dt { "Slots" } dd { (slots(&executor)) }
            dt { "State" } dd { (state(&executor)) }
            dt { "Machine" } dd { (registered.process.host) }
            dt { "Process" } dd { (registered.process.id) }
            dt { "Version" } dd { (registered.process.version) }
            dt { "Up" } dd { (since(&registered.begun.to_string())) }
            dt { "Claimant" } dd { code { (executor.claimant) } }
        }
    };
    let body = html! {
        nav aria-label="Where" { a href=(format!("{up}executors")) { "← Executors" } }
        div.card { h1 { (registered.name) } (regions.whole("facts", facts)) }
        section.card { h2 { "Jobs" } (regions.whole("jobs", jobs(up, &claims))) }
        section.card { h2 { "Left alone for a while" } (regions.whole("passed", passed_over(up, &executor))) }
        section.card { h2 { "Actions" } (regions.whole("actions", actions(&executor))) }
    };
    Ok(regions.page(format!("Executor {}", registered.name), Tab::Executors, body))
}

fn jobs(up: &str, claims: &[&Claim]) -> Markup {
    html! {
        @if claims.is_empty() { p.muted { "None." } }
        ul.plain {
            @for claim in claims {
                li {
                    @if let Some(job) = &claim.job { (job_link(up, job)) } " "
                    (claim.action.as_deref().unwrap_or_default()) " "
                    @if let Some(state) = &claim.state { (badge(state)) } " "
                    @if let Some(begun) = &claim.since { (since(&begun.to_string())) }
                }
            }
        }
    }
}

fn passed_over(up: &str, executor: &Executor) -> Markup {
    let passed_over = &executor.registered.passed_over;
    html! {
        @if passed_over.is_empty() { p.muted { "Nothing." } }
        ul.plain {
            @for entry in passed_over {
                li {
                    @if let Some(job) = &entry.job { (job_link(up, job)) } @else { code { (entry.entry) } }
                    ": " (entry.reason)
                }
            }
        }
    }
}

fn actions(executor: &Executor) -> Markup {
    let loaded = &executor.registered.loaded;
    html! {
        ul.plain {
            @for action in &executor.registered.actions {
                li { (action) " " span.muted { (loaded.kind(action)) } }
            }
        }
        @if !loaded.failed.is_empty() {
            h2 { "Failed to load" }
            ul.plain { @for failed in &loaded.failed { li { code { (failed.place()) } ": " (failed.reason) } } }
            @if loaded.failed_besides > 0 { p.muted { "and " (loaded.failed_besides) " more" } }
        }
    }
}
