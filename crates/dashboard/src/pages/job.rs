//! One job: what became of it, who may see it, and what may be done with it.

mod facts;
mod history;
mod why;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use serde_json::Value;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::retries::{RETRY, Wish};
use slipstream_cimi::{Document, State, acl};

use super::failure::Failure;
use super::{Asked, Done};
use crate::api::{ApiError, Who, encoded};
use crate::page::{Page, Regions, Tab};
use crate::parts::{badge, progress, shown, text};
use crate::request::Fields;

/// What can be done with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Retry,
    Stop,
    Delete,
}

impl Deed {
    const ALL: [Self; 3] = [Self::Retry, Self::Stop, Self::Delete];

    /// As a path has it.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|deed| deed.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Stop => "stop",
            Self::Delete => "delete",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Retry => "Run again",
            Self::Stop => "Stop",
            Self::Delete => "Delete",
        }
    }

    fn button(self) -> &'static str {
        match self {
            Self::Retry => "Run it again",
            Self::Stop => "Stop it",
            Self::Delete => "Delete it",
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Self::Retry => {
                "A new job with the same action, target, priority, properties and access is added. This one stays as it is."
            }
            Self::Stop => "Its state becomes STOPPED, which is final. An action that is running is told to end.",
            Self::Delete => "It and all that is known of it are gone. An action that is running is told to end.",
        }
    }

    /// Whether the API says that the caller may do it, and it makes sense. Jobs are added by administrators.
    fn is_open(self, job: &Document, who: &Who) -> bool {
        let operations = job.get("operations").and_then(Value::as_array).into_iter().flatten();
        let may_modify = operations.into_iter().any(|operation| operation["rel"] == "edit");
        let is_final = State::from_text(text(job, "state")).is_some_and(State::is_final);
        match self {
            Self::Retry => who.is_administrator && is_final,
            Self::Stop => may_modify && !is_final,
            Self::Delete => may_modify,
        }
    }
}

/// The job of this name.
pub async fn page(asked: &Asked<'_>, name: &str) -> Result<Page, Failure> {
    let id = format!("{}/{name}", JOB.name);
    let job: Document = asked.api.get(&id).await?;
    let ledger = if asked.who.is_administrator { Some(asked.api.get(&format!("{id}/ledger")).await?) } else { None };
    let why = why::Why::of(asked, &id).await?;
    Ok(shown_with(asked, name, &job, ledger.as_ref(), &why))
}

fn shown_with(asked: &Asked<'_>, name: &str, job: &Document, ledger: Option<&Document>, why: &why::Why) -> Page {
    let mut regions = Regions::default();
    let up = asked.up;
    let kept = history::ledger(ledger);
    let head = html! {
        h1 { (badge(text(job, "state"))) " " span { (shown(job, "action")) } }
        div.deeds {
            @for deed in Deed::ALL {
                @if deed.is_open(job, asked.who) {
                    a.button href=(format!("{up}jobs/{}/{}", encoded(name), deed.as_str())) { (deed.name()) "…" }
                }
            }
        }
        p.id { code { (text(job, "id")) } }
    };
    let state = html! {
        div.progressing { (progress(job)) }
        @let message = shown(job, "statusMessage");
        @if !message.is_empty() { pre.message { (message) } }
    };
    let body = html! {
        nav aria-label="Where" { a href=(format!("{up}jobs")) { "← Jobs" } }
        div.card { (regions.whole("head", head)) (regions.whole("state", state)) (regions.whole("again", why.retries(up, job))) }
        section.card { h2 { "Why" } (regions.whole("why", why.reasons(up))) }
        section.card {
            h2 { "Timeline" }
            (regions.whole("timeline", history::timeline(job, &kept, why.listed())))
        }
        section.card { h2 { "About it" } (regions.whole("facts", facts::facts(up, job))) }
        details.card { summary { h2 { "Document" } } (regions.whole("document", json(job))) }
        details.card { summary { h2 { "Access" } } (regions.whole("access", access(job))) }
        @if let Some(ledger) = ledger {
            details.card { summary { h2 { "Ledger" } } (regions.whole("ledger", json(ledger))) }
        }
    };
    let title = format!("{} {}", shown(job, "action"), text(job, "state"));
    regions.page(title, Tab::Jobs, body)
}

/// A document as JSON with numbered lines.
fn json(document: &Document) -> Markup {
    let text = serde_json::to_string_pretty(document).expect("a document's keys are texts");
    html! {
        div.scroll tabindex="0" role="region" aria-label="JSON" {
            ol.json { @for line in text.lines() { li { (line) } } }
        }
    }
}

/// Who may see the job, and who may change it.
fn access(job: &Document) -> Markup {
    let (viewers, modifiers) = (acl::viewers(job), acl::modifiers(job));
    html! {
        table.plain {
            thead { tr { th scope="col" { "Who" } th scope="col" { "May see it" } th scope="col" { "May change it" } } }
            tbody {
                @for principal in &viewers {
                    tr {
                        th scope="row" { (principal) }
                        td { "yes" }
                        td { (if modifiers.contains(principal) { "yes" } else { "no" }) }
                    }
                }
            }
        }
    }
}

/// Asks whether that is really to be done.
pub async fn confirmation(asked: &Asked<'_>, name: &str, deed: Deed) -> Result<Page, Failure> {
    let id = format!("{}/{name}", JOB.name);
    let job: Document = asked.api.get(&id).await?;
    let retries = if deed == Deed::Retry { Some(why::retries(asked, &id).await?.count) } else { None };
    let up = asked.up;
    let back = format!("{up}jobs/{}", encoded(name));
    let question = format!("{} this job?", deed.name());
    let body = html! {
        div.card.narrow {
            h1 { (question) }
            p { (badge(text(&job, "state"))) " " (shown(&job, "action")) br; code { (text(&job, "id")) } }
            @if deed.is_open(&job, asked.who) {
                p { (deed.consequence()) }
                form.deeds method="post" action=(format!("{back}/{}", deed.as_str())) {
                    @if let Some(retries) = retries { input type="hidden" name="retries" value=(retries); }
                    button.primary.danger[deed != Deed::Retry] type="submit" { (deed.button()) }
                    a.button href=(back) { "Back" }
                }
            } @else {
                p { (not_open(deed, &job)) }
                p { a.button href=(back) { "Back" } }
            }
        }
    };
    Ok(Regions::default().page(question, Tab::Jobs, body))
}

fn not_open(deed: Deed, job: &Document) -> &'static str {
    let is_final = State::from_text(text(job, "state")).is_some_and(State::is_final);
    if deed == Deed::Stop && is_final { "It has ended already." } else { "You may not do that with this job." }
}

/// Does it, and goes on to the job, to the new one, or to all where there is none any more. Whoever asks twice has what it
/// wanted.
pub async fn carry_out(asked: &Asked<'_>, name: &str, deed: Deed, form: &Fields) -> Result<Done, Failure> {
    let (id, up) = (format!("{}/{name}", JOB.name), asked.up);
    let next = match deed {
        Deed::Retry => {
            let wish = Wish { retries: form.get("retries").and_then(|number| number.parse().ok()).unwrap_or_default() };
            new_job(asked.api.post(&format!("{id}/{RETRY}"), Some(&wish)).await, &id)?
        }
        Deed::Stop => {
            has_ended(asked.api.post(&format!("{id}/stop"), None::<&()>).await)?;
            Some(name.to_owned())
        }
        Deed::Delete => {
            asked.api.delete(&id).await?;
            None
        }
    };
    Ok(Done::To(next.map_or_else(|| format!("{up}jobs"), |name| format!("{up}jobs/{}", encoded(&name)))))
}

/// The name of the job that was added when `id` was to be run again, now or when that was asked for before: then the
/// refusal names it, and else the one that cannot be run again.
fn new_job(answer: Result<Response<Bytes>, ApiError>, id: &str) -> Result<Option<String>, ApiError> {
    let added = match answer {
        Ok(answer) => serde_json::from_slice(answer.body()).ok().map(|body: Document| shown(&body, "resource-id")),
        Err(ApiError::Refused { refusal, .. })
            if refusal.status == 409 && refusal.resource_id.as_deref() != Some(id) =>
        {
            refusal.resource_id
        }
        Err(error) => return Err(error),
    };
    Ok(added.and_then(|added| added.strip_prefix("job/").map(str::to_owned)))
}

/// The job's page says how it has ended.
fn has_ended(answer: Result<Response<Bytes>, ApiError>) -> Result<(), ApiError> {
    match answer {
        Err(ApiError::Refused { refusal, .. }) if refusal.status == 409 => Ok(()),
        answer => answer.map(drop),
    }
}
