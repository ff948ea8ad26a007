//! Jobs by a filter: the newest, page by page, with how many there are.

mod cursor;

use http::StatusCode;
use maud::{Markup, html};
use serde_json::Value;
use slipstream_cimi::acl::ADMINISTRATORS;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::query::{Aggregation, Algorithm, Collection, Order, Search};
use slipstream_cimi::{Document, Refusal, State};

use self::cursor::Cursor;
use super::failure::Failure;
use super::{Asked, offers};
use crate::api::{ApiError, Who, encoded};
use crate::filters;
use crate::page::{Page, Regions, Tab};
use crate::parts::{badge, duration, first_line, number, progress, short, shown, since, text, time};

/// Rows of a page.
const ROWS: usize = 50;
/// What the rows show.
pub const COLUMNS: [&str; 9] =
    ["state", "action", "priority", "progress", "created", "started", "duration", "statusMessage", "targetResource"];
/// Sorted the other way round than usual.
const OLDEST_FIRST: &str = "created:asc";

/// Jobs, as the page's address asks for them.
pub async fn page(asked: &Asked<'_>) -> Result<Page, Failure> {
    let view = View::of(asked);
    match asked.api.search(JOB.name, &view.search()).await {
        Ok(found) => {
            let counts = counts(asked, &view).await?;
            let offers = offers(asked, &view, &found, counts.as_ref()).await?;
            Ok(listed(asked, &view, &found, counts.as_ref(), &offers))
        }
        Err(ApiError::Refused { refusal, .. }) if refusal.status == 400 => Ok(misunderstood(asked, &view, &refusal)),
        Err(error) => Err(error.into()),
    }
}

/// What is looked at.
struct View<'a> {
    filter: Option<&'a str>,
    is_oldest_first: bool,
    cursor: Option<Cursor>,
}

impl<'a> View<'a> {
    fn of(asked: &Asked<'a>) -> Self {
        Self {
            filter: asked.query.get("filter").filter(|filter| !filter.trim().is_empty()),
            is_oldest_first: asked.query.get("order") == Some(OLDEST_FIRST),
            cursor: asked.query.get("after").and_then(Cursor::from_text),
        }
    }

    /// Further pages begin at the time at which the one before ended, so that none is counted through.
    fn search(&self) -> Search {
        let order = Order { attribute: "created".to_owned(), descending: !self.is_oldest_first };
        let skip = self.cursor.as_ref().map_or(0, |cursor| cursor.skip);
        let filter = match &self.cursor {
            None => self.filter.map(str::to_owned),
            Some(cursor) => Some(cursor.filter(self.filter, self.is_oldest_first)),
        };
        Search {
            filter,
            order: vec![order],
            first: i64::try_from(skip + 1).ok(),
            last: i64::try_from(skip + ROWS).ok(),
            select: COLUMNS.map(str::to_owned).to_vec(),
            ..Search::default()
        }
    }

    /// What the filter may have meant otherwise.
    fn hints(&self) -> Vec<String> {
        self.filter.and_then(|filter| Filter::parse(filter).ok()).map_or_else(Vec::new, |filter| filter.hints_on_jobs())
    }

    /// The address of jobs by this filter.
    fn address(up: &str, filter: Option<&str>, is_oldest_first: bool, after: Option<&Cursor>) -> String {
        let mut fields = Vec::new();
        fields.extend(filter.map(|filter| format!("filter={}", encoded(filter))));
        fields.extend(is_oldest_first.then(|| format!("order={}", encoded(OLDEST_FIRST))));
        fields.extend(after.map(|cursor| format!("after={}", encoded(&cursor.to_string()))));
        if fields.is_empty() { format!("{up}jobs") } else { format!("{up}jobs?{}", fields.join("&")) }
    }
}

/// How many jobs there are of each state among those that the other parts of a filter ask for.
struct Counts {
    rest: Vec<Filter>,
    answers: Document,
}

/// How many jobs there are of each state; nothing where the server would have to look at
/// each of them.
async fn counts(asked: &Asked<'_>, view: &View<'_>) -> Result<Option<Counts>, Failure> {
    let parsed = view.filter.map(Filter::parse).transpose().ok().flatten();
    if parsed.is_none() && view.filter.is_some() {
        return Ok(None);
    }
    let Some(rest) = filters::counted(parsed) else { return Ok(None) };
    let by_state = Aggregation { algorithm: Algorithm::Terms, attribute: "state".to_owned() };
    let search = Search {
        filter: filters::all(rest.clone()).map(|filter| filter.to_string()),
        last: Some(0),
        aggregations: vec![by_state],
        ..Search::default()
    };
    Ok(Some(Counts { rest, answers: asked.api.search(JOB.name, &search).await?.aggregations }))
}

impl Counts {
    /// How many are of this state, by the answer to `terms:state`.
    fn of(&self, state: State) -> u64 {
        let buckets = self.answers.values().next().and_then(|terms| terms["buckets"].as_array());
        let bucket = buckets.into_iter().flatten().find(|bucket| bucket["key"] == state.as_str());
        bucket.and_then(|bucket| bucket["doc_count"].as_u64()).unwrap_or_default()
    }
}

/// What may be done with all jobs of the filter: beside its first page, which says how many they are, and if some of the
/// jobs that are seen may be changed.
async fn offers(
    asked: &Asked<'_>,
    view: &View<'_>,
    found: &Collection,
    counts: Option<&Counts>,
) -> Result<Markup, Failure> {
    let filter = view.filter.map(Filter::parse).transpose().ok().flatten();
    if view.cursor.is_some() || !found.documents.iter().any(may_change) {
        return Ok(html! {});
    }
    let of = |state| counts.map_or(0, |counts| counts.of(state));
    let known = match counts {
        Some(counts) => offers::Known::ByState(&counts.rest, &of),
        None => offers::Known::InAll(found.count),
    };
    offers::buttons(asked, filter.as_ref(), &known).await
}

fn may_change(job: &Document) -> bool {
    let operations = job.get("operations").and_then(Value::as_array).into_iter().flatten();
    operations.into_iter().any(|operation| operation["rel"] == "edit")
}

fn listed(asked: &Asked<'_>, view: &View<'_>, found: &Collection, counts: Option<&Counts>, offers: &Markup) -> Page {
    let mut regions = Regions::default();
    let up = asked.up;
    let summary = html! {
        @if let Some(counts) = counts { (chips(up, counts, view)) }
        span.total { (number(found.count)) @if view.cursor.is_some() { " from here on" } @else { " found" } }
        (offers)
    };
    let none = html! { @if found.documents.is_empty() { p.empty { "No job matches." } } };
    let rows = found.documents.iter().map(|job| row(up, job)).collect();
    let next = Cursor::after(&found.documents, view.cursor.as_ref()).filter(|_| found.count > end(view));
    let other_way = View::address(up, view.filter, !view.is_oldest_first, None);
    let body = html! {
        h1.hidden { "Jobs" }
        (search_form(asked, view, None))
        div.summary { (regions.whole("summary", summary)) button #newer type="button" hidden {} }
        div.scroll tabindex="0" role="region" aria-label="Jobs" {
            table.jobs {
                (head(Some((view.is_oldest_first, &other_way))))
                (regions.rows("rows", rows))
            }
        }
        (regions.whole("none", none))
        div.pager {
            @if view.cursor.is_some() {
                a href=(View::address(up, view.filter, view.is_oldest_first, None)) { "← First page" }
            }
            @if let Some(next) = next {
                a href=(View::address(up, view.filter, view.is_oldest_first, Some(&next))) {
                    (if view.is_oldest_first { "Later →" } else { "Earlier →" })
                }
            }
        }
    };
    regions.page("Jobs", Tab::Jobs, body)
}

/// The columns of [`row`]s; with whether the oldest job is the first, and the address of the other order.
pub fn head(order: Option<(bool, &str)>) -> Markup {
    html! {
        thead { tr {
            th scope="col" { "Job" } th scope="col" { "State" } th scope="col" { "Action" }
            th.number scope="col" title="Priority" { "Pr" } th scope="col" { "Progress" }
            @match order {
                Some((is_oldest_first, other_way)) => th scope="col" aria-sort=(if is_oldest_first { "ascending" } else { "descending" }) {
                    a href=(other_way) { "Created " span aria-hidden="true" { (if is_oldest_first { "▴" } else { "▾" }) } }
                }
                None => th scope="col" { "Created" }
            }
            th.number scope="col" { "Ran" } th scope="col" { "Message" }
        } }
    }
}

/// The place of the last row among all that are found.
fn end(view: &View<'_>) -> u64 {
    (view.cursor.as_ref().map_or(0, |cursor| cursor.skip) + ROWS) as u64
}

/// The field with what is wrong with it.
fn misunderstood(asked: &Asked<'_>, view: &View<'_>, refusal: &Refusal) -> Page {
    let body = html! {
        h1.hidden { "Jobs" }
        (search_form(asked, view, Some(&refusal.message)))
    };
    Page { status: StatusCode::BAD_REQUEST, ..Regions::default().page("Jobs", Tab::Jobs, body) }
}

fn search_form(asked: &Asked<'_>, view: &View<'_>, refusal: Option<&str>) -> Markup {
    let up = asked.up;
    html! {
        form.search method="get" action=(format!("{up}jobs")) role="search" {
            label for="filter" { "Filter" }
            div.field {
                input #filter name="filter" value=(view.filter.unwrap_or_default()) autocomplete="off" spellcheck="false"
                    autocapitalize="none" enterkeyhint="search" placeholder="all jobs; for example state='FAILED' and created>'now-1d'"
                    data-complete=(format!("{up}jobs/complete"))
                    aria-invalid=[refusal.map(|_| "true")] aria-describedby=[refusal.map(|_| "refusal")];
                @if let Some(refusal) = refusal { pre.refusal #refusal role="alert" tabindex="0" { (refusal) } }
                @for hint in view.hints() { p.muted role="status" { (hint) } }
            }
            @if view.is_oldest_first { input type="hidden" name="order" value=(OLDEST_FIRST); }
            button.primary type="submit" { "Search" }
            details.views {
                summary { "Views" }
                div.menu {
                    a href=(format!("{up}jobs")) { "All jobs" }
                    @for (name, filter, is_oldest_first) in views(asked.who) {
                        a href=(View::address(up, Some(&filter), is_oldest_first, None)) { (name) }
                    }
                    a href=(format!("{up}operations")) { "Bulk operations" }
                }
            }
        }
    }
}

/// Filters that people ask for again and again.
fn views(who: &Who) -> [(&'static str, String, bool); 5] {
    let mut principals = vec![who.name.clone()];
    // what an administrator adds belongs to all of them unless it says otherwise
    principals.extend(who.is_administrator.then(|| ADMINISTRATORS.to_owned()));
    let owned = principals.iter().map(|name| filters::equals("acl/owner/principal", name)).collect();
    [
        ("Failed today (since 00:00 UTC)", filters::failed_since(filters::TODAY, None).to_string(), false),
        ("Running for over an hour", "state='RUNNING' and started<'now-1h'".to_owned(), true),
        ("Waiting longest", "state='QUEUED'".to_owned(), true),
        ("Mine", Filter::Any(owned).to_string(), false),
        ("Stopped", "state='STOPPED'".to_owned(), false),
    ]
}

/// How many jobs of each state, each a link to them.
fn chips(up: &str, counts: &Counts, view: &View<'_>) -> Markup {
    let asked = view.filter.and_then(|filter| Filter::parse(filter).ok());
    let states = State::ALL.into_iter().filter(|state| *state != State::Stopping || counts.of(*state) > 0);
    html! {
        ul.chips {
            @for state in states {
                @let filter = filters::with_state(state.as_str(), &counts.rest);
                @let is_current = asked.as_ref() == Some(&filter);
                @let target = if is_current { filters::all(counts.rest.clone()) } else { Some(filter) };
                @let address = View::address(up, target.map(|filter| filter.to_string()).as_deref(), false, None);
                li {
                    a href=(address) aria-current=[is_current.then_some("true")] {
                        (badge(state.as_str())) " " span.number { (number(counts.of(state))) }
                    }
                }
            }
        }
    }
}

/// A job as a row, and the id of that.
pub fn row(up: &str, job: &Document) -> (String, Markup) {
    let id = text(job, "id");
    let name = id.strip_prefix("job/").unwrap_or(id);
    let row = format!("row-{name}");
    let state = text(job, "state");
    let target = job.get("targetResource").and_then(|target| target["href"].as_str());
    let html = html! {
        tr id=(row) {
            td.id { a href=(format!("{up}jobs/{}", encoded(name))) title=(name) { (short(name)) } }
            td.state { (badge(state)) }
            td.action title=[target] { (shown(job, "action")) }
            td.number.priority { (shown(job, "priority")) }
            td.progress { (progress(job)) }
            td.created { (time(text(job, "created"))) }
            td.number.ran { (ran(job, state)) }
            td.message { (first_line(text(job, "statusMessage"))) }
        }
    };
    (row, html)
}

/// How long it has run, or since when it does.
fn ran(job: &Document, state: &str) -> Markup {
    let seconds = job.get("duration").and_then(Value::as_f64);
    html! {
        @if let Some(seconds) = seconds { (duration(seconds)) }
        @else if state == State::Running.as_str() { (since(text(job, "started"))) }
    }
}
