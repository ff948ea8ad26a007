//! The attempts of a job along the time, with the late writes that were refused.

use jiff::Timestamp;
use maud::{Markup, html};
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipstream_cimi::overview::ledger::{Attempt, Ledger, Outcome, RefusedWrite};
use slipstream_cimi::{Document, State};

use crate::chart::{self, Bar, Timeline};
use crate::parts::{badge, duration, number, text, time};

/// A ledger as pages know it; what cannot be read is left out.
pub fn ledger(document: Option<&Document>) -> Ledger {
    let Some(document) = document else { return Ledger::default() };
    Ledger {
        attempts: list(document, "attempts"),
        refused: list(document, "refused"),
        refused_total: document.get("refused-total").and_then(Value::as_u64).unwrap_or_default(),
        ..Ledger::default()
    }
}

fn list<T: DeserializeOwned>(document: &Document, name: &str) -> Vec<T> {
    let items = document.get(name).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| T::deserialize(item).ok()).collect()
}

/// The job from when it was added: as a picture, and as a table with the same. What goes on is drawn up to `now`, where that
/// is known.
pub fn timeline(job: &Document, ledger: &Ledger, now: Option<Timestamp>) -> Markup {
    let now = now.filter(|_| !is_final(job));
    let Some(timeline) = bars(job, ledger, now) else {
        return html! { p.muted { "The document has no time of its own." } };
    };
    let end_is_open = !is_final(job);
    let seconds = |from: Timestamp, to: Timestamp| duration(to.duration_since(from).as_secs_f64());
    let waited = timeline.bars.first().map_or(timeline.end, |bar| bar.end);
    html! {
        (chart::timeline(&timeline))
        div.scroll tabindex="0" role="region" aria-label="Attempts" {
            table.plain {
                thead { tr {
                    th scope="col" { "What" } th scope="col" { "From" } th.number scope="col" { "For" }
                    th scope="col" { "Executor" } th scope="col" { "Lease" } th scope="col" { "Outcome" }
                } }
                tbody {
                    tr { th scope="row" { "waited" } td { (time(text(job, "created"))) }
                        td.number { (seconds(timeline.begin, waited)) } td {} td {} td {} }
                    @for (place, attempt) in ledger.attempts.iter().enumerate() {
                        (attempt_row(place + 1, attempt))
                    }
                    @if ledger.attempts.is_empty() && job.contains_key("started") {
                        tr { th scope="row" { "ran" } td { (time(text(job, "started"))) }
                            td.number { (seconds(waited, timeline.end)) } td {} td {}
                            td { @if end_is_open { "runs" } @else { (badge(text(job, "state"))) } } }
                    }
                    @for refused in &ledger.refused {
                        tr.refused { th scope="row" { "▲ late write refused" } td { (time(&refused.time.to_string())) } td {}
                            td { (refused.executor) } td { code { (refused.lease) } }
                            td { @if let Some(state) = refused.state { (badge(state.as_str())) } } }
                    }
                }
            }
        }
        @if ledger.refused_total > ledger.refused.len() as u64 {
            p.muted { (number(ledger.refused_total)) " late writes were refused in all; these are the last." }
        }
        @for attempt in ledger.attempts.iter().filter(|attempt| !attempt.output.is_empty()) {
            details { summary { "Last output on " (attempt.executor) } pre.message { (attempt.output.join("\n")) } }
        }
    }
}

fn attempt_row(place: usize, attempt: &Attempt) -> Markup {
    let ran = attempt.ended.map(|ended| duration(ended.duration_since(attempt.begun).as_secs_f64()));
    html! {
        tr {
            th scope="row" { "attempt " (place) }
            td { (time(&attempt.begun.to_string())) }
            td.number { (ran.unwrap_or_default()) }
            td { (attempt.executor) }
            td { @if let Some(lease) = &attempt.lease { code { (lease) } } }
            td { (attempt.outcome.map_or("runs", outcome)) }
        }
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Finished => "finished",
        Outcome::Released => "given back",
        Outcome::Lost => "lost",
    }
}

/// The picture; none of a document without a time at which it was added.
fn bars(job: &Document, ledger: &Ledger, now: Option<Timestamp>) -> Option<Timeline> {
    let at = |name: &str| text(job, name).parse::<Timestamp>().ok();
    let begin = at("created")?;
    let last = ledger.attempts.iter().flat_map(|attempt| [Some(attempt.begun), attempt.ended]).flatten().max();
    let refused = ledger.refused.iter().map(|refused| refused.time).max();
    let end = [at("updated"), last, refused, now, Some(begin)].into_iter().flatten().max()?;
    let started = ledger.attempts.first().map(|attempt| attempt.begun).or_else(|| at("started"));
    let title = "waited".to_owned();
    let mut bars = vec![Bar { begin, end: started.unwrap_or(end).max(begin), class: "queued", title }];
    if let (true, Some(started)) = (ledger.attempts.is_empty(), started) {
        bars.push(Bar { begin: started, end, class: class_of(text(job, "state")), title: "ran".to_owned() });
    }
    for (place, attempt) in ledger.attempts.iter().enumerate() {
        let class = match attempt.outcome {
            None => "running",
            Some(Outcome::Finished) => class_of(text(job, "state")),
            Some(Outcome::Lost) => "lost",
            Some(Outcome::Released) => "queued",
        };
        let title = format!("attempt {} on {}", place + 1, attempt.executor);
        bars.push(Bar { begin: attempt.begun, end: attempt.ended.unwrap_or(end), class, title });
    }
    let mark = |refused: &RefusedWrite| (refused.time, format!("late write of {} refused", refused.executor));
    Some(Timeline { begin, end, bars, marks: ledger.refused.iter().map(mark).collect() })
}

fn is_final(job: &Document) -> bool {
    State::from_text(text(job, "state")).is_some_and(State::is_final)
}

fn class_of(state: &str) -> &'static str {
    match State::from_text(state) {
        Some(State::Success) => "success",
        Some(State::Failed) => "failed",
        Some(State::Stopped | State::Stopping) => "stopped",
        _ => "running",
    }
}
