//! The jobs that take longest at present, as a part of the overview.

use maud::{Markup, html};
use slipstream_cimi::State;
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::overview::queue::WaitingJob;
use slipstream_cimi::overview::work::{Longest, RunningJob, Work};

use crate::api::encoded;
use crate::parts::{badge, job_link, since, time};

/// A table of them, and since when it is known that somebody holds what runs.
pub fn shown(up: &str, work: &Work) -> Markup {
    let Longest { running, waiting } = &work.longest;
    html! {
        @if running.is_empty() && waiting.is_none() { p { "No job runs or waits." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Running and waiting longest" {
                table.plain {
                    thead { tr { th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Action" }
                        th scope="col" { "Executor" } th scope="col" { "For" } } }
                    tbody {
                        @for job in running { (running_row(up, job)) }
                        @if let Some(job) = waiting { (waiting_row(up, job)) }
                    }
                }
            }
        }
        p.muted {
            @match &work.checked {
                Some(checked) => { "That somebody holds each running job was last checked at " (time(&checked.to_string())) "." },
                None => "Whether somebody holds each running job is not known: no reconciler is at work.",
            }
        }
    }
}

fn running_row(up: &str, job: &RunningJob) -> Markup {
    html! {
        tr {
            th scope="row" { (job_link(up, &job.job)) }
            td { (badge(State::Running.as_str())) }
            td { (job.action) }
            td { (job.executor.as_deref().unwrap_or("not known")) }
            td { (since(&job.since.to_string())) }
        }
    }
}

fn waiting_row(up: &str, job: &WaitingJob) -> Markup {
    let name = job.job.strip_prefix("job/").filter(|_| is_job_id(&job.job));
    html! {
        tr {
            th scope="row" { (job_link(up, &job.job)) }
            td { (badge(State::Queued.as_str())) }
            td { (job.action.as_deref().unwrap_or_default()) }
            td {}
            td {
                @if let Some(created) = &job.created { (since(created)) ": " }
                @if let Some(name) = name { a href=(format!("{up}jobs/{}#why", encoded(name))) { "why it waits" } }
            }
        }
    }
}
