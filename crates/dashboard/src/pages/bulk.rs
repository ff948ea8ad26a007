//! One thing done with all jobs that a filter matches: what is offered, and the page that asks for it. What becomes of it
//! is on the [page of the operation](super::operations).

use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::overview::bulk::{Deed, PLACE, Wish};
use slipstream_cimi::query::{Collection, Order, Search};
use slipstream_cimi::{Document, Refusal};

use super::deeds::{name_of, operation_place, path_of};
use super::failure::Failure;
use super::{Asked, Done, jobs};
use crate::api::{ApiError, encoded};
use crate::page::{Page, Regions, Tab};
use crate::parts::{number, of_jobs, sentence, shown, time};
use crate::request::Fields;

/// Of so many jobs the first and the last are shown.
const SHOWN: u64 = 10;
/// What concerns more jobs than this is not done by a click alone: their number is typed.
const MOST_BY_CLICK: u64 = 1_000;

fn consequence(deed: Deed) -> &'static str {
    match deed {
        Deed::Retry => "Each is added once more, as a new job. The jobs themselves stay as they are.",
        Deed::Stop => "The state of each becomes STOPPED, which is final. Actions that are running are told to end.",
        Deed::Delete => {
            "They and all that is known of them are gone, and do not come back. Actions that are running are told to end."
        }
    }
}

/// What was asked for: in the address, and again in the form.
#[derive(Default)]
struct Wanted<'a> {
    filter: &'a str,
    /// The number that somebody has typed.
    typed: Option<&'a str>,
}

/// The jobs that are meant, as they were counted.
struct Counted {
    count: u64,
    before: Timestamp,
    /// In order of their creation, the first ones and, if there are more, the last.
    first: Vec<Document>,
    last: Vec<Document>,
}

/// Asks whether that is really to be done with the jobs of the address' filter.
pub async fn confirmation(asked: &Asked<'_>, deed: Deed) -> Result<Page, Failure> {
    let wanted = Wanted { filter: asked.query.get("filter").unwrap_or_default(), typed: None };
    question(asked, deed, &wanted, None).await
}

/// Has it begun. What the API refuses is said on the page, which has counted anew and lost nothing.
pub async fn begin(asked: &Asked<'_>, deed: Deed, form: &Fields) -> Result<Done, Failure> {
    let wanted = Wanted { filter: form.get("filter").unwrap_or_default(), typed: form.get("typed") };
    let counted = form
        .get("expect")
        .and_then(|text| text.parse().ok())
        .zip(form.get("before").and_then(|text| text.parse().ok()));
    let Some((expect, before)) = counted else {
        return Ok(Done::Not(question(asked, deed, &wanted, None).await?));
    };
    if !is_confirmed(expect, wanted.typed) {
        let refusal = refusal(StatusCode::BAD_REQUEST, &format!("type {expect} to say that so many are meant"));
        return Ok(Done::Not(question(asked, deed, &wanted, Some(&refusal)).await?));
    }
    let wish = Wish { deed, filter: wanted.filter.to_owned(), expect, before: Some(before) };
    match asked.api.post(PLACE, Some(&wish)).await {
        Ok(answer) => {
            let begun: Document = serde_json::from_slice(answer.body()).unwrap_or_default();
            let id = shown(&begun, "resource-id");
            Ok(Done::To(format!("{}{}", asked.up, operation_place(&id))))
        }
        Err(ApiError::Refused { refusal, .. }) if matches!(refusal.status, 400 | 403 | 409) => {
            Ok(Done::Not(question(asked, deed, &wanted, Some(&refusal)).await?))
        }
        Err(error) => Err(error.into()),
    }
}

fn refusal(status: StatusCode, message: &str) -> Refusal {
    let message = message.to_owned();
    Refusal { status: status.as_u16(), message, resource_id: None, code: None, request_id: None }
}

/// Whether so many are to be concerned: with many, only if that number was typed, with or without commas.
fn is_confirmed(expect: u64, typed: Option<&str>) -> bool {
    let digits: String = typed.unwrap_or_default().chars().filter(|it| !matches!(it, ',' | ' ' | '.' | '\'')).collect();
    expect <= MOST_BY_CLICK || digits.parse() == Ok(expect)
}

/// The page that asks; `refusal` says why it was not done.
async fn question(
    asked: &Asked<'_>,
    deed: Deed,
    wanted: &Wanted<'_>,
    refusal: Option<&Refusal>,
) -> Result<Page, Failure> {
    if wanted.filter.trim().is_empty() {
        let refusal = self::refusal(StatusCode::BAD_REQUEST, "a filter has to say which jobs are meant");
        return Ok(uncounted(asked, deed, wanted, &refusal));
    }
    match counted(asked, wanted.filter).await {
        Ok(counted) => Ok(asking(asked, deed, wanted, &counted, refusal)),
        Err(ApiError::Refused { refusal, .. }) if refusal.status == 400 => Ok(uncounted(asked, deed, wanted, &refusal)),
        Err(error) => Err(error.into()),
    }
}

/// Counts the jobs that a filter matches, and reads those at both ends.
async fn counted(asked: &Asked<'_>, filter: &str) -> Result<Counted, ApiError> {
    let before = asked.api.now();
    let first = asked.api.search(JOB.name, &searched(filter, before, false, 2 * SHOWN)).await?;
    let Collection { count, documents: mut first, .. } = first;
    let last = if count > 2 * SHOWN {
        first.truncate(SHOWN.try_into().unwrap_or(usize::MAX));
        let mut last = asked.api.search(JOB.name, &searched(filter, before, true, SHOWN)).await?.documents;
        // one that was deleted meanwhile has moved others
        last.retain(|job| first.iter().all(|shown| shown.get("id") != job.get("id")));
        last.reverse();
        last
    } else {
        Vec::new()
    };
    Ok(Counted { count, before, first, last })
}

/// The jobs that are there by then. A filter that cannot be read is sent as it is, so that the API says what is wrong.
fn searched(filter: &str, before: Timestamp, descending: bool, most: u64) -> Search {
    let is_filter = slipstream_cimi::filter::Filter::parse(filter).is_ok();
    let filter = if is_filter { format!("({filter}) and created<='{before:.3}'") } else { filter.to_owned() };
    Search {
        filter: Some(filter),
        order: vec![Order { attribute: "created".to_owned(), descending }],
        last: i64::try_from(most).ok(),
        select: jobs::COLUMNS.map(str::to_owned).to_vec(),
        ..Search::default()
    }
}

fn asking(asked: &Asked<'_>, deed: Deed, wanted: &Wanted<'_>, counted: &Counted, refusal: Option<&Refusal>) -> Page {
    let up = asked.up;
    let Counted { count, before, first, last } = counted;
    let sentence = format!("{} {}", name_of(deed), of_jobs(*count));
    let back = format!("{up}jobs?filter={}", encoded(wanted.filter));
    let body = html! {
        nav aria-label="Where" { a href=(back) { "← Jobs" } }
        form.card.login method="post" action=(format!("{up}jobs/bulk/{}", path_of(deed))) {
            h1 { @if *count == 0 { "No job matches" } @else { (sentence) "?" } }
            (refused(up, refusal))
            dl.facts {
                dt { "Filter" } dd { code { (wanted.filter) } }
                dt { "Counted" } dd { (time(&before.to_string())) ", jobs that are added later are left alone" }
            }
            input type="hidden" name="filter" value=(wanted.filter);
            @if *count > 0 {
                p { (consequence(deed)) }
                input type="hidden" name="expect" value=(count);
                input type="hidden" name="before" value=(format!("{before:.3}"));
                @if *count > MOST_BY_CLICK { (typing(*count, wanted.typed)) }
            }
            div.deeds {
                @if *count > 0 { button.primary.danger[deed != Deed::Retry] type="submit" { (sentence) } }
                a.button href=(back) { "Back" }
            }
        }
        (listed(up, if last.is_empty() { "All of them" } else { "The first ones" }, first))
        (listed(up, "The last ones", last))
    };
    Page { status: status(refusal), ..Regions::default().page(sentence, Tab::Jobs, body) }
}

fn typing(count: u64, typed: Option<&str>) -> Markup {
    html! {
        label for="typed" { "Type " (number(count)) " if so many are meant" }
        input #typed name="typed" value=[typed] inputmode="numeric" autocomplete="off" required;
    }
}

/// The filter with what keeps it from being counted.
fn uncounted(asked: &Asked<'_>, deed: Deed, wanted: &Wanted<'_>, refusal: &Refusal) -> Page {
    let back = format!("{}jobs?filter={}", asked.up, encoded(wanted.filter));
    let title = format!("{} jobs", name_of(deed));
    let body = html! {
        div.card {
            h1 { (title) }
            (refused(asked.up, Some(refusal)))
            dl.facts { dt { "Filter" } dd { code { (wanted.filter) } } }
            p { a.button href=(back) { "Back" } }
        }
    };
    Page { status: status(Some(refusal)), ..Regions::default().page(title, Tab::Jobs, body) }
}

fn refused(up: &str, refusal: Option<&Refusal>) -> Markup {
    html! {
        @if let Some(refusal) = refusal {
            pre.refusal role="alert" tabindex="0" { (sentence(&refusal.message)) }
            @if refusal.status == 409 { p { a href=(format!("{up}operations")) { "Bulk operations" } } }
        }
    }
}

fn status(refusal: Option<&Refusal>) -> StatusCode {
    refusal.map_or(StatusCode::OK, |refusal| StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST))
}

fn listed(up: &str, title: &str, jobs: &[Document]) -> Markup {
    html! {
        @if !jobs.is_empty() {
            section.card {
                h2 { (title) }
                div.scroll tabindex="0" role="region" aria-label=(title) {
                    table.jobs {
                        (jobs::head(None))
                        tbody { @for job in jobs { (jobs::row(up, job).1) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_many_is_confirmed_by_their_number() {
        let rows = [
            (0, None, true),
            (1_000, None, true),
            (1_001, None, false),
            (1_001, Some("1001"), true),
            (1_001, Some("1,001 "), true),
            (1_001, Some("1000"), false),
            (1_001, Some("yes"), false),
        ];
        for (expect, typed, expected) in rows {
            assert_eq!(is_confirmed(expect, typed), expected, "{expect} {typed:?}");
        }
    }
}
