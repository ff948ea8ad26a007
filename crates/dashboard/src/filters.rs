//! What a filter names, and how one is put together.

use std::slice;

use serde_json::json;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::{Document, State};

/// What the server counts without looking at any job.
const COUNTED: [&str; 2] = ["action", "acl/owner/principal"];
const STATE: &str = "state";

/// The parts of a filter without what it says about the state, if the server has counted the jobs of each state that match
/// all of these: nothing else is named than action and owner.
pub fn counted(filter: Option<Filter>) -> Option<Vec<Filter>> {
    let parts = match filter {
        None => Vec::new(),
        Some(Filter::All(parts)) => parts,
        Some(one) => vec![one],
    };
    let rest: Vec<Filter> = parts.into_iter().filter(|part| !names_only(part, &[STATE])).collect();
    rest.iter().all(|part| names_only(part, &COUNTED)).then_some(rest)
}

/// The states of jobs that may match a filter, by those of its parts that name nothing but the state.
pub fn states(filter: Option<&Filter>) -> Vec<State> {
    let parts = match filter {
        None => &[],
        Some(Filter::All(parts)) => &parts[..],
        Some(one) => slice::from_ref(one),
    };
    let of_state = |state: &State| Document::from_iter([(STATE.to_owned(), json!(state.as_str()))]);
    let may_match = |state: &State| {
        let job = of_state(state);
        parts.iter().filter(|part| names_only(part, &[STATE])).all(|part| part.matches(&job))
    };
    State::ALL.into_iter().filter(may_match).collect()
}

/// A filter of these parts; none of no part.
pub fn all(mut parts: Vec<Filter>) -> Option<Filter> {
    if parts.len() > 1 { Some(Filter::All(parts)) } else { parts.pop() }
}

/// A filter for one state beside other parts.
pub fn with_state(state: &str, rest: &[Filter]) -> Filter {
    beside(equals(STATE, state), rest)
}

/// A filter for some states beside other parts.
pub fn with_states(states: &[State], rest: &[Filter]) -> Filter {
    let texts = states.iter().map(|state| Literal::Text(state.as_str().to_owned())).collect();
    match states {
        [state] => with_state(state.as_str(), rest),
        _ => beside(Filter::Compare(Attribute(STATE.to_owned()), Comparison::Equal, Literal::List(texts)), rest),
    }
}

fn beside(is_state: Filter, rest: &[Filter]) -> Filter {
    if rest.is_empty() { is_state } else { Filter::All([&[is_state], rest].concat()) }
}

/// The midnight before now, in UTC.
pub const TODAY: &str = "now/d";

/// A filter for jobs, of an action if one is named, that have become FAILED since then, which is a date or date math.
pub fn failed_since(since: &str, action: Option<&str>) -> Filter {
    let since = Literal::Text(since.to_owned());
    let ended = Filter::Compare(Attribute("updated".to_owned()), Comparison::GreaterOrEqual, since);
    let of_it = action.map(|action| equals("action", action));
    with_state(State::Failed.as_str(), &of_it.into_iter().chain([ended]).collect::<Vec<_>>())
}

/// A comparison of an attribute with a text.
pub fn equals(attribute: &str, text: &str) -> Filter {
    Filter::Compare(Attribute(attribute.to_owned()), Comparison::Equal, Literal::Text(text.to_owned()))
}

fn names_only(filter: &Filter, known: &[&str]) -> bool {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().all(|part| names_only(part, known)),
        Filter::Compare(attribute, comparison, _) => {
            known.contains(&attribute.0.as_str()) && *comparison == Comparison::Equal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted_text(text: &str) -> Option<String> {
        let filter = Filter::parse(text).expect("a filter");
        counted(Some(filter)).map(|rest| all(rest).map(|rest| rest.to_string()).unwrap_or_default())
    }

    #[test]
    fn jobs_are_counted_where_no_more_than_state_action_and_owner_is_named() {
        let rows = [
            ("state='FAILED'", Some("")),
            ("state='FAILED' or state='STOPPED'", Some("")),
            ("state=['FAILED', 'STOPPED'] and action='noop'", Some("action='noop'")),
            ("action='noop' and acl/owner/principal='jane'", Some("action='noop' and acl/owner/principal='jane'")),
            ("state='FAILED' or action='noop'", None),
            ("state='FAILED' and created>'now-1d'", None),
            ("action^='no'", None),
        ];
        for (text, expected) in rows {
            assert_eq!(counted_text(text).as_deref(), expected, "{text}");
        }
        assert_eq!(counted(None), Some(Vec::new()));
    }

    #[test]
    fn states_that_may_match_are_told_by_what_is_said_of_the_state_alone() {
        use State::{Failed, Running, Stopped};
        let parse = |text| Filter::parse(text).expect("a filter");
        let rows = [
            ("state='FAILED'", vec![Failed]),
            ("state=['FAILED', 'RUNNING'] and action='noop'", vec![Running, Failed]),
            ("(state='FAILED' or state='STOPPED') and state!='FAILED'", vec![Failed, Stopped]),
            ("action='noop'", State::ALL.to_vec()),
            ("state='FAILED' or action='noop'", State::ALL.to_vec()),
        ];
        for (text, expected) in rows {
            let mut found = states(Some(&parse(text)));
            found.sort_by_key(|state| State::ALL.iter().position(|it| it == state));
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            assert!(expected.iter().all(|state| found.contains(state)), "{text}: {found:?}");
        }
        assert_eq!(states(None), State::ALL);
        assert_eq!(
            with_states(&[Failed, Stopped], &[equals("action", "x")]),
            parse("state=['FAILED','STOPPED'] and action='x'")
        );
        assert_eq!(with_states(&[Failed], &[]), parse("state='FAILED'"));
    }

    #[test]
    fn what_failed_is_found_by_when_it_did() {
        let parse = |text| Filter::parse(text).expect("a filter");
        let today = failed_since(TODAY, Some("it's"));
        let expected = r"state='FAILED' and action='it\'s' and updated>='now/d'";
        assert_eq!(parse(&today.to_string()), parse(expected));
        assert_eq!(failed_since("now-15m", None).to_string(), "state='FAILED' and updated>='now-15m'");
    }

    #[test]
    fn a_state_is_put_before_the_rest() {
        let parse = |text| Filter::parse(text).expect("a filter");
        let rows = [
            (vec![], "state='FAILED'"),
            (vec![equals("action", "it's")], r"state='FAILED' and action='it\'s'"),
            (vec![parse("action='noop' or action='x'")], "state='FAILED' and (action='noop' or action='x')"),
        ];
        for (rest, expected) in rows {
            let filter = with_state("FAILED", &rest).to_string();
            assert_eq!(Filter::parse(&filter), Filter::parse(expected), "{filter}");
        }
    }
}
