//! Which bulk operations are offered beside a list of jobs: those that its viewer may ask for, and of whose jobs there are
//! some.

use maud::{Markup, html};
use slipstream_cimi::State;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::overview::bulk::Deed;
use slipstream_cimi::query::Search;

use super::Asked;
use super::deeds::{name_of, path_of};
use super::failure::Failure;
use crate::api::{ApiError, Who, encoded};
use crate::filters;
use crate::parts::number;

/// What a retry is for, and what else can be run again.
const RETRIED: [State; 2] = [State::Failed, State::Stopped];
const DONE: [State; 1] = [State::Success];
const STOPPED: [State; 3] = [State::Queued, State::Running, State::Stopping];

/// What a list knows of the jobs that its filter matches.
pub enum Known<'a> {
    /// How many there are of each state beside the filter's other parts.
    ByState(&'a [Filter], &'a (dyn Fn(State) -> u64 + Sync)),
    /// How many there are.
    InAll(u64),
}

/// Something that can be asked for.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    deed: Deed,
    filter: Filter,
    /// With how many jobs; none if that was not counted yet.
    count: Option<u64>,
}

/// The buttons.
pub async fn buttons(asked: &Asked<'_>, filter: Option<&Filter>, known: &Known<'_>) -> Result<Markup, Failure> {
    let mut shown = Vec::new();
    for offer in offers(filter, known).into_iter().filter(|offer| may(asked.who, offer.deed)) {
        let count = match offer.count {
            Some(count) => Some(count),
            None => count(asked, &offer.filter).await?,
        };
        if count != Some(0) {
            shown.push((offer, count));
        }
    }
    Ok(html! {
            @if !shown.is_empty() {
                span.offers {
                    @for (Offer { deed, filter, .. }, count) in &shown {
                        a.button href=(format!("{}jobs/bulk/{}?filter={}", asked.up, path_of(*deed), encoded(&filter.to_string()))) {
    (button(*deed, *count))
                        }
                    }
                }
            }
        })
}

/// One text: its parts would be laid out apart.
fn button(deed: Deed, count: Option<u64>) -> String {
    let count = count.map(|count| format!(" {}", number(count))).unwrap_or_default();
    format!("{}{count}…", name_of(deed))
}

/// The API wants a login for it, and administrators for what adds jobs.
fn may(who: &Who, deed: Deed) -> bool {
    who.session.is_some() && (who.is_administrator || deed != Deed::Retry)
}

/// How many jobs match; none where the API does not count them, which says so if it is asked for.
async fn count(asked: &Asked<'_>, filter: &Filter) -> Result<Option<u64>, Failure> {
    let search = Search { filter: Some(filter.to_string()), last: Some(0), ..Search::default() };
    match asked.api.search(JOB.name, &search).await {
        Ok(found) => Ok(Some(found.count)),
        Err(ApiError::Refused { refusal, .. }) if refusal.status == 400 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What makes sense with the jobs of a filter, each with the filter that says which of them are meant.
fn offers(filter: Option<&Filter>, known: &Known<'_>) -> Vec<Offer> {
    let allowed = filters::states(filter);
    let meant =
        |states: &[State]| -> Vec<State> { states.iter().copied().filter(|state| allowed.contains(state)).collect() };
    let (retried, done, stopped) = (meant(&RETRIED), meant(&DONE), meant(&STOPPED));
    // what has succeeded is run again only by whoever asks for it by name
    let retried = if retried.is_empty() { done } else { retried };
    let of_states = |deed, states: Vec<State>| {
        let is_all = allowed.iter().all(|state| states.contains(state));
        let (narrowed, count) = match known {
            Known::ByState(rest, of) => {
                (filters::with_states(&states, rest), Some(states.iter().map(|state| of(*state)).sum()))
            }
            Known::InAll(count) => {
                (filters::with_states(&states, filter.map_or(&[], std::slice::from_ref)), is_all.then_some(*count))
            }
        };
        let filter = filter.filter(|_| is_all).cloned().unwrap_or(narrowed);
        (!states.is_empty()).then_some(Offer { deed, filter, count })
    };
    let all = match known {
        Known::ByState(_, of) => allowed.iter().map(|state| of(*state)).sum(),
        Known::InAll(count) => *count,
    };
    // without a filter nobody has said which jobs
    let deleted = filter.map(|filter| Offer { deed: Deed::Delete, filter: filter.clone(), count: Some(all) });
    let offers = [of_states(Deed::Retry, retried), of_states(Deed::Stop, stopped), deleted].into_iter().flatten();
    offers.filter(|offer| offer.count != Some(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(filter: &str, known: &Known<'_>) -> Vec<String> {
        let filter = Some(filter).filter(|text| !text.is_empty()).map(|text| Filter::parse(text).expect("a filter"));
        let offer = |offer: Offer| {
            let count = offer.count.map_or_else(|| "?".to_owned(), |count| count.to_string());
            format!("{} {count} of {}", path_of(offer.deed), offer.filter)
        };
        offers(filter.as_ref(), known).into_iter().map(offer).collect()
    }

    /// 4 wait, 1 runs, 9,820 have succeeded, 31 failed, and none was stopped.
    fn of(state: State) -> u64 {
        match state {
            State::Queued => 4,
            State::Running => 1,
            State::Success => 9_820,
            State::Failed => 31,
            _ => 0,
        }
    }

    #[test]
    fn what_nothing_matches_is_not_offered_and_what_was_counted_is_not_counted_again() {
        let noop = [filters::equals("action", "noop")];
        let (all, of_noop) = (Known::ByState(&[], &of), Known::ByState(&noop, &of));
        let none = Known::ByState(&[], &|_| 0);
        let rows: [(&str, &Known<'_>, &[&str]); 7] = [
            (
                "",
                &all,
                &["retry 31 of state=['FAILED', 'STOPPED']", "stop 5 of state=['QUEUED', 'RUNNING', 'STOPPING']"],
            ),
            ("state='FAILED'", &all, &["retry 31 of state='FAILED'", "delete 31 of state='FAILED'"]),
            ("state='SUCCESS'", &all, &["retry 9820 of state='SUCCESS'", "delete 9820 of state='SUCCESS'"]),
            ("state='STOPPED'", &all, &[]),
            (
                "action='noop'",
                &of_noop,
                &[
                    "retry 31 of state=['FAILED', 'STOPPED'] and action='noop'",
                    "stop 5 of state=['QUEUED', 'RUNNING', 'STOPPING'] and action='noop'",
                    "delete 9856 of action='noop'",
                ],
            ),
            ("", &none, &[]),
            (
                "created>'now-1d'",
                &Known::InAll(7),
                &[
                    "retry ? of state=['FAILED', 'STOPPED'] and created>'now-1d'",
                    "stop ? of state=['QUEUED', 'RUNNING', 'STOPPING'] and created>'now-1d'",
                    "delete 7 of created>'now-1d'",
                ],
            ),
        ];
        for (filter, known, expected) in rows {
            let told: Vec<String> = told(filter, known);
            let same = |(told, expected): (&String, &&str)| {
                let ((what, told), (wanted, expected)) =
                    (told.split_once(" of ").expect("one"), expected.split_once(" of ").expect("one"));
                what == wanted && Filter::parse(told) == Filter::parse(expected)
            };
            assert!(told.len() == expected.len() && told.iter().zip(expected).all(same), "{filter}: {told:?}");
        }
        let failed = told("state='FAILED' and created>'now-1d'", &Known::InAll(3));
        assert!(failed.len() == 2 && failed[0].starts_with("retry 3 of state='FAILED'"), "{failed:?}");
    }
}
