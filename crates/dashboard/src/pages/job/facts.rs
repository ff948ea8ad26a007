//! What a job's document says, for people.

use maud::{Markup, html};
use serde_json::Value;
use slipstream_cimi::Document;

use crate::parts::{duration, job_link, shown, text, time};

/// Most jobs that are listed: a job may have made thousands.
const MOST_LISTED: usize = 20;

/// Name, target, times, relatives.
pub fn facts(up: &str, job: &Document) -> Markup {
    let target = job.get("targetResource").and_then(|target| target["href"].as_str());
    let seconds = job.get("duration").and_then(Value::as_f64);
    let affected = job.get("affectedResources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let affected: Vec<&str> = affected.iter().filter_map(|link| link["href"].as_str()).collect();
    let nested = job.get("nestedJobs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let owner = job.get("acl").and_then(|acl| acl["owner"]["principal"].as_str());
    html! {
        dl.facts {
            (fact("Name", &shown(job, "name")))
            (fact("Description", &shown(job, "description")))
            (fact("Target", target.unwrap_or_default()))
            (fact("Priority", &shown(job, "priority")))
            (fact("Owner", owner.unwrap_or_default()))
            (fact("Return code", &shown(job, "returnCode")))
            dt { "Added" } dd { (time(text(job, "created"))) }
            @if job.contains_key("started") { dt { "Started" } dd { (time(text(job, "started"))) } }
            dt { "Last change" } dd { (time(text(job, "updated"))) }
            @if let Some(seconds) = seconds { dt { "Ran" } dd { (duration(seconds)) } }
            @if affected.iter().any(|href| Some(*href) != target) {
                dt { "Affected" }
                dd { ul.plain {
                    @for href in affected.iter().take(MOST_LISTED) { li { (href) } }
                    (more(affected.len()))
                } }
            }
            @if let Some(parent) = job.get("parentJob").and_then(Value::as_str) { dt { "Parent" } dd { (job_link(up, parent)) } }
            @if !nested.is_empty() {
                dt { "Nested" }
                dd { ul.plain {
                    @for id in nested.iter().take(MOST_LISTED).filter_map(Value::as_str) { li { (job_link(up, id)) } }
                    (more(nested.len()))
                } }
            }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { dt { (name) } dd { (value) } } }
}

fn more(count: usize) -> Markup {
    html! { @if count > MOST_LISTED { li.muted { "and " (count - MOST_LISTED) " more" } } }
}
