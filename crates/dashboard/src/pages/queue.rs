//! The queue: what waits, who holds what, and what is left alone.

use maud::{Markup, html};
use slipstream_cimi::overview::queue::{Claim, LeftAlone, PLACE, Queue, RECENT, Released, Restored, Sample};

use super::failure::Failure;
use super::{Asked, Done};
use crate::chart;
use crate::page::{Page, Regions, Tab};
use crate::parts::{ago, badge, job_link, number, since, time};

/// Most claims that a page lists; the API answers more.
const MOST_CLAIMS: usize = 200;

/// The queue as it is.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let queue: Queue = asked.api.get(RECENT).await?;
    let up = asked.up;
    let mut regions = Regions::default();
    let body = html! {
        h1 { "Queue" }
        section.card { h2 { "Waiting" } (regions.whole("waiting", waiting(up, &queue))) }
        section.card { h2 { "Held" } (regions.whole("held", held(up, &queue))) }
        section.card { h2 { "Left alone" } (regions.whole("left", left_alone(queue.left_alone.as_ref()))) }
        section.card { h2 { "Free again" } (regions.whole("released", released(up, queue.released.as_ref()))) }
        (regions.whole("listed", html! { @if let Some(listed) = &queue.listed { p.muted { "As it was " (ago(&listed.to_string())) "." } } }))
        p { a.button href=(format!("{up}queue/restore")) { "Restore…" } }
    };
    Ok(regions.page("Queue", Tab::Queue, body))
}

fn waiting(up: &str, queue: &Queue) -> Markup {
    let waiting = &queue.waiting;
    let bars: Vec<(String, u64)> =
        waiting.priorities.iter().map(|of| (format!("priority {}", of.priority), of.count)).collect();
    html! {
        p { strong.figure { (number(waiting.count)) } " entries that nobody holds" }
        @if let Some(oldest) = &waiting.oldest {
            p {
                "The oldest is " (job_link(up, &oldest.job)) " "
                @if let Some(action) = &oldest.action { (action) }
                @if let Some(created) = &oldest.created { ", added " (ago(created)) }
            }
        }
        (chart::bars(&bars))
    }
}

fn held(up: &str, queue: &Queue) -> Markup {
    let claims = &queue.claimed.claims;
    html! {
        p { strong.figure { (number(queue.claimed.count as u64)) } " entries that somebody holds" }
        @if !claims.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Claims" {
                table.plain {
                    thead { tr { th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Action" }
                        th scope="col" { "Executor" } th scope="col" { "For" } } }
                    tbody { @for claim in claims.iter().take(MOST_CLAIMS) { (claim_row(up, claim)) } }
                }
            }
        }
        @if queue.claimed.count > claims.len().min(MOST_CLAIMS) {
            p.muted { "The oldest " (claims.len().min(MOST_CLAIMS)) " are shown." }
        }
    }
}

fn claim_row(up: &str, claim: &Claim) -> Markup {
    let holder = claim.executor.as_deref().unwrap_or(&claim.claimant);
    html! {
        tr {
            th scope="row" { @if let Some(job) = &claim.job { (job_link(up, job)) } @else { "gone" } }
            td { @if let Some(state) = &claim.state { (badge(state)) } }
            td { (claim.action.as_deref().unwrap_or_default()) }
            td { (holder) @if claim.executor.is_none() { " " span.muted { "(does not register)" } } }
            td { @if let Some(begun) = &claim.since { (since(&begun.to_string())) } @else { "not begun" } }
        }
    }
}

fn left_alone(left: Option<&LeftAlone>) -> Markup {
    let Some(left) = left else { return html! { p.muted { "No reconciler of this kind is at work." } } };
    let samples: [(&str, &Sample); 3] = [
        ("entries that hold no job's id", &left.entries),
        ("claims without an entry", &left.claims),
        ("claims that no session holds", &left.without_session),
    ];
    let is_empty = samples.iter().all(|(_, sample)| sample.count == 0) && left.refused.is_empty();
    html! {
        @if is_empty { p.muted { "Nothing." } }
        @for (what, sample) in samples.iter().filter(|(_, sample)| sample.count > 0) { (sampled(what, sample)) }
        @for refused in &left.refused { (sampled(&refused.reason, &refused.sample)) }
    }
}

fn sampled(what: &str, sample: &Sample) -> Markup {
    html! {
        p { (number(sample.count as u64)) " " (what) }
        ul.plain { @for name in &sample.names { li { code { (name) } } } }
    }
}

fn released(up: &str, released: Option<&Released>) -> Markup {
    let Some(released) = released else { return html! { p.muted { "Not known." } } };
    html! {
        p { (number(released.count)) " times a job became free again without having ended, since " (time(&released.since.to_string())) "." }
        @if !released.latest.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Jobs that became free again" {
                table.plain {
                    thead { tr { th scope="col" { "Job" } th scope="col" { "When" } th scope="col" { "Executor" } th scope="col" { "Why" } } }
                    tbody {
                        @for job in &released.latest {
                            tr {
                                th scope="row" { (job_link(up, &job.job)) }
                                td { (time(&job.time.to_string())) }
                                td { (job.executor.as_deref().unwrap_or_default()) }
                                td { (job.reason) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Asks whether the queue is really to be restored.
pub fn confirmation(asked: &Asked<'_>) -> Page {
    let up = asked.up;
    let body = html! {
        form.card.narrow.login method="post" action=(format!("{up}queue/restore")) {
            h1 { "Restore the queue?" }
            p { "Each job that has not ended and has no entry gets one. For a coordinator that was wiped or put back to an earlier state. Jobs that run go on." }
            div.deeds {
                button.primary type="submit" { "Restore" }
                a.button href=(format!("{up}queue")) { "Back" }
            }
        }
    };
    Regions::default().page("Restore the queue?", Tab::Queue, body)
}

/// Restores it, and says what came of it.
pub async fn restore(asked: &Asked<'_>) -> Result<Done, Failure> {
    let restored: Restored = asked.api.ask_for(&format!("{PLACE}/restore")).await?;
    let body = html! {
        div.card.narrow {
            h1 { "The queue is restored" }
            p { (number(restored.queued as u64)) " jobs were queued. Leases go on under generation " (restored.generation) "." }
            @for refused in &restored.left_out { (sampled(&refused.reason, &refused.sample)) }
            p { a.button href=(format!("{}queue", asked.up)) { "Queue" } }
        }
    };
    Ok(Done::Not(Regions::default().page("The queue is restored", Tab::Queue, body)))
}
