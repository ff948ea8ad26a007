//! Bulk operations: how far each is, and what was refused.

use maud::{Markup, html};
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_cimi::dialect::OPERATION;
use slipstream_cimi::overview::bulk::{Deed, Operation, STOP};
use slipstream_cimi::query::{Order, Search};

use super::deeds::{name_of, operation_place};
use super::failure::Failure;
use super::{Asked, Done};
use crate::api::{ApiError, encoded};
use crate::page::{Page, Regions, Tab};
use crate::parts::{badge, number, of_jobs, since, time};

/// Most that are listed.
const MOST: i64 = 100;

/// Those of the last seven days that one may see, the latest first.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let order = vec![Order { attribute: "created".to_owned(), descending: true }];
    let found = asked.api.search(OPERATION.name, &Search { order, last: Some(MOST), ..Search::default() }).await?;
    let operations: Vec<Operation> = found.documents.into_iter().map(read).collect::<Result<_, _>>()?;
    let mut regions = Regions::default();
    let rows = operations.iter().map(|operation| row(asked.up, operation)).collect();
    let none = html! { @if operations.is_empty() { p.empty { "There has been none in the last seven days." } } };
    let body = html! {
        nav aria-label="Where" { a href=(format!("{}jobs", asked.up)) { "← Jobs" } }
        h1 { "Bulk operations" }
        div.scroll.card.flush tabindex="0" role="region" aria-label="Bulk operations" {
            table {
                thead { tr {
                    th scope="col" { "What" } th scope="col" { "State" } th.number scope="col" { "Done" }
                    th.number scope="col" { "Refused" } th scope="col" { "By" } th scope="col" { "Begun" } th scope="col" { "Filter" }
                } }
                (regions.rows("rows", rows))
            }
        }
        (regions.whole("none", none))
    };
    Ok(regions.page("Bulk operations", Tab::Jobs, body))
}

fn read(document: Document) -> Result<Operation, ApiError> {
    serde_json::from_value(Value::Object(document)).map_err(|error| ApiError::Unintelligible(error.to_string()))
}

fn row(up: &str, operation: &Operation) -> (String, Markup) {
    let id = format!("row-{}", operation.id.strip_prefix("operation/").unwrap_or(&operation.id));
    let html = html! {
        tr id=(id) {
            th scope="row" { a href=(format!("{up}{}", operation_place(&operation.id))) { (sentence(operation)) } }
            td { (badge(operation.state.as_str())) }
            td.number { (number(operation.done)) }
            td.number { (number(operation.refused.values().sum())) }
            td { (operation.by) }
            td { (time(&operation.created.to_string())) }
            td { code { (operation.filter) } }
        }
    };
    (id, html)
}

fn sentence(operation: &Operation) -> String {
    format!("{} {}", name_of(operation.deed), of_jobs(operation.matched))
}

/// The operation of this name.
pub async fn one(asked: &Asked<'_>, name: &str) -> Result<Page, Failure> {
    let document: Document = asked.api.get(&format!("{}/{name}", OPERATION.name)).await?;
    let may_end =
        document.get("operations").and_then(Value::as_array).is_some_and(|all| all.iter().any(|it| it["rel"] == STOP));
    let operation = read(document)?;
    let up = asked.up;
    let mut regions = Regions::default();
    let head = html! {
        h1 { (badge(operation.state.as_str())) " " span { (sentence(&operation)) } }
        @if may_end {
            form.deeds method="post" action=(format!("{up}operations/{}/stop", encoded(name))) {
                button type="submit" { "End it" }
            }
        }
    };
    let body = html! {
        nav aria-label="Where" { a href=(format!("{up}operations")) { "← Bulk operations" } }
        div.card {
            (regions.whole("head", head))
            (regions.whole("progress", progress(&operation)))
            (regions.whole("facts", facts(up, &operation)))
        }
    };
    Ok(regions.page(format!("{}: {}", sentence(&operation), operation.state), Tab::Jobs, body))
}

fn progress(operation: &Operation) -> Markup {
    let refused: u64 = operation.refused.values().sum();
    let seen = operation.done + operation.retried + refused;
    html! {
        div.progressing {
            progress aria-label="Progress" max=(operation.matched.max(seen).max(1)) value=(seen) {}
            " " span.number { (number(operation.done)) " of " (number(operation.matched)) " " (past(operation.deed)) }
        }
        @if operation.retried > 0 { p { (number(operation.retried)) " left out: retried already" } }
        @if let Some(message) = &operation.message { pre.message { (message) } }
        @if refused > 0 {
            p { (of_jobs(refused)) " left as they are:" }
            ul { @for (code, count) in &operation.refused { li { (number(*count)) " " (reason(code)) } } }
        }
    }
}

fn past(deed: Deed) -> &'static str {
    match deed {
        Deed::Stop => "stopped",
        Deed::Delete => "deleted",
        Deed::Retry => "added again",
    }
}

/// Why the API refuses it with one job.
fn reason(code: &str) -> Markup {
    let words = match code {
        "final" => "had ended meanwhile",
        "conflict" => "had not ended, or were added again meanwhile",
        "403" => "may be changed by others only",
        "404" => "were gone meanwhile",
        _ => return html! { "refused: " code { (code) } },
    };
    html! { (words) " " span.muted { "(" (code) ")" } }
}

fn facts(up: &str, operation: &Operation) -> Markup {
    html! {
        dl.facts {
            dt { "Filter" }
            dd { a href=(format!("{up}jobs?filter={}", encoded(&operation.filter))) { code { (operation.filter) } } }
            dt { "Added by" } dd { (time(&operation.before.to_string())) }
            dt { "Asked for by" } dd { (operation.by) }
            dt { "Begun" } dd { (time(&operation.created.to_string())) }
            @if operation.state.is_final() {
                dt { "Over since" } dd { (time(&operation.updated.to_string())) }
            } @else {
                dt { "Last step" } dd { (since(&operation.updated.to_string())) " ago" }
            }
        }
    }
}

/// Ends it, and goes on to its page. One that has ended stays as it is.
pub async fn stop(asked: &Asked<'_>, name: &str) -> Result<Done, Failure> {
    asked.api.post(&format!("{}/{name}/{STOP}", OPERATION.name), None::<&()>).await?;
    Ok(Done::To(format!("{}operations/{}", asked.up, encoded(name))))
}
