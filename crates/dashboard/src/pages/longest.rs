//! The jobs that take longest at present, as a part of the overview.

use maud::{Markup, html};
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::overview::queue::WaitingJob;
use slipstream_cimi::overview::work::{Longest, RunningJob, Work};

use crate::api::encoded;
use crate::parts::{ago, job_link, since, time};

/// Those that run, the one that waits, and since when it is known that somebody holds what runs.
pub fn shown(up: &str, work: &Work) -> Markup {
    let Longest { running, waiting } = &work.longest;
    html! {
        @if running.is_empty() { p { "No job runs." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Running longest" {
                table.plain {
                    // on a phone the first columns are seen
                    thead { tr { th scope="col" { "Job" } th scope="col" { "Runs for" } th scope="col" { "Executor" }
                        th scope="col" { "Action" } } }
                    tbody { @for job in running { (running_row(up, job)) } }
                }
            }
        }
        @match waiting {
            Some(job) => (longest_wait(up, job)),
            None => p { "No job waits." },
        }
        p.muted {
            @match &work.checked {
                Some(checked) => { "Whether somebody holds each running job was last checked at " (time(&checked.to_string())) "." },
                None => "Whether somebody holds each running job is not known: no reconciler is at work.",
            }
        }
    }
}

fn running_row(up: &str, job: &RunningJob) -> Markup {
    html! {
        tr {
            th scope="row" { (job_link(up, &job.job)) }
            td { (since(&job.since.to_string())) }
            td { (job.executor.as_deref().unwrap_or("not known")) }
            td { (job.action) }
        }
    }
}

fn longest_wait(up: &str, job: &WaitingJob) -> Markup {
    let name = job.job.strip_prefix("job/").filter(|_| is_job_id(&job.job));
    html! {
        p {
            "Waiting longest: " (job_link(up, &job.job)) " " (job.action.as_deref().unwrap_or_default())
            @if let Some(created) = &job.created { ", added " (ago(created)) }
            @if let Some(name) = name { ": " a href=(format!("{up}jobs/{}#why", encoded(name))) { "why it waits" } }
        }
    }
}
