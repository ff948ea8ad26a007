//! About this engine.

use maud::{Markup, html};
use slipstream_cimi::Document;
use slipstream_cimi::dialect::{ENTRY_POINT, STORE};
use slipstream_cimi::overview::doctor::{self, Diagnosis, Health};

use super::Asked;
use super::failure::Failure;
use crate::api::ApiError;
use crate::page::{Page, Regions, Tab};
use crate::parts::{sentence, shown, text, time};

/// What answers here.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let entry_point: Document = asked.api.get(ENTRY_POINT).await?;
    let store = entry_point.get(STORE).and_then(|store| store["id"].as_str());
    let diagnosis: Result<Diagnosis, ApiError> = asked.api.get(doctor::PLACE).await;
    let (name, description) = (shown(&entry_point, "name"), shown(&entry_point, "description"));
    let body = html! {
        h1 { "About" }
        div.card {
            dl.facts {
                dt { "Program" } dd { "slipstream-job " (env!("CARGO_PKG_VERSION")) }
                @if !name.is_empty() { dt { "Name" } dd { (name) } }
                @if !description.is_empty() { dt { "Description" } dd { (description) } }
                @if let Some(store) = store { dt { "Store" } dd { code { (store) } } }
                dt { "API" } dd { code { (text(&entry_point, "baseURI")) } }
                dt { "In use since" } dd { (time(text(&entry_point, "created"))) }
            }
        }
        section.card {
            h2 { "Is it well?" }
            @match &diagnosis {
                Ok(diagnosis) => (findings(diagnosis)),
                Err(error) => p { "Not known: " (error) },
            }
            p { a.button href=(format!("{}about", asked.up)) { "Look again" } }
        }
    };
    Ok(Regions::default().page("About", Tab::About, body))
}

/// Each point that was looked at: how it is, and what to do.
fn findings(diagnosis: &Diagnosis) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Findings" {
            table.plain {
                thead { tr { th scope="col" { "State" } th scope="col" { "What" } th scope="col" { "Found" } } }
                tbody {
                    @for finding in &diagnosis.findings {
                        tr {
                            td { (sign(finding.health)) }
                            th scope="row" { (finding.about) }
                            td { (finding.text) @if let Some(hint) = &finding.hint { br; span.muted { (sentence(hint)) } } }
                        }
                    }
                }
            }
        }
        p.muted { "Looked at " (time(&diagnosis.time.to_string())) "." }
    }
}

fn sign(health: Health) -> Markup {
    let (class, sign, word) = match health {
        Health::Well => ("success", "✓", "well"),
        Health::Doubtful => ("attention", "!", "look"),
        Health::Ill => ("failed", "✕", "ill"),
    };
    html! { span class=(format!("badge {class}")) { span.sign aria-hidden="true" { (sign) } " " (word) } }
}
