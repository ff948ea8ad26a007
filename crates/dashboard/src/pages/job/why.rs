//! Why a job waits, runs or has ended, and as what it was run again.

use jiff::Timestamp;
use maud::{Markup, html};
use slipstream_cimi::Document;
use slipstream_cimi::overview::explain::{EXPLAIN, Explanation};
use slipstream_cimi::overview::retries::{RETRIES, RETRY_OF, Retries};
use slipstream_cimi::overview::{doctor, executors, queue};

use crate::api::ApiError;
use crate::pages::Asked;
use crate::pages::failure::Failure;
use crate::parts::{job_link, since, time};

/// Most retries that are named: a job may have a thousand.
const MOST_NAMED: usize = 10;

/// What the API says about it; where it cannot, what keeps it from that.
pub struct Why {
    explanation: Result<Explanation, String>,
    retries: Retries,
}

impl Why {
    /// Of the job of this id.
    pub async fn of(asked: &Asked<'_>, id: &str) -> Result<Self, Failure> {
        let explanation = match asked.api.get(&format!("{id}/{EXPLAIN}")).await {
            Ok(explanation) => Ok(explanation),
            Err(ApiError::Refused { refusal, .. }) => Err(refusal.message),
            Err(error) => Err(error.to_string()),
        };
        Ok(Self { explanation, retries: retries(asked, id).await? })
    }

    /// When the queue was looked at for it, which was just now.
    pub fn listed(&self) -> Option<Timestamp> {
        self.explanation.as_ref().ok()?.listed
    }

    /// The reasons, those that keep the job from going on first.
    pub fn reasons(&self, up: &str) -> Markup {
        let explanation = match &self.explanation {
            Ok(explanation) => explanation,
            Err(message) => return html! { p.muted { "Not known: " (message) } },
        };
        html! {
            ul.reasons {
                @for reason in &explanation.reasons {
                    li.blocks[reason.blocks] {
                        @if reason.blocks && reason.code.is_obstacle() { span.badge.attention { "!" } " " }
                        @match reason.href.as_deref().and_then(page_of) {
                            Some(page) => a href=(format!("{up}{page}")) { (reason.text) },
                            None => (reason.text),
                        }
                        @if let Some(executor) = &reason.executor { " " span.muted { "(" (executor) ")" } }
                        @if let Some(begun) = &reason.since { " " span.muted { "for " (since(&begun.to_string())) } }
                        @if let Some(end) = &reason.until { " " span.muted { "until " (time(&end.to_string())) } }
                    }
                }
            }
            @if let Some(listed) = &explanation.listed { p.muted { "The queue was looked at " (time(&listed.to_string())) "." } }
        }
    }

    /// Which job it repeats, and by which it was repeated.
    pub fn retries(&self, up: &str, job: &Document) -> Markup {
        let of = job.get(RETRY_OF).and_then(|link| link["href"].as_str());
        let named = &self.retries.retries;
        html! {
            @if let Some(of) = of { p { "Runs " (job_link(up, of)) " again." } }
            @if !named.is_empty() {
                p {
                    "Run again as "
                    @for (place, id) in named.iter().rev().take(MOST_NAMED).enumerate() {
                        @if place > 0 { ", " }
                        (job_link(up, id))
                    }
                    @if named.len() > MOST_NAMED { " and " (named.len() - MOST_NAMED) " before" } "."
                }
            }
        }
    }
}

/// The page about what the API has at a place; what is on the job's own page has none.
fn page_of(href: &str) -> Option<&'static str> {
    match href {
        executors::PLACE => Some("executors"),
        queue::PLACE => Some("queue"),
        doctor::PLACE => Some("about"),
        _ => None,
    }
}

/// As what the job of this id was run again.
pub async fn retries(asked: &Asked<'_>, id: &str) -> Result<Retries, Failure> {
    Ok(asked.api.get(&format!("{id}/{RETRIES}")).await?)
}
