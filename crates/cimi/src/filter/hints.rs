//! What is allowed in a filter and finds nothing.

use super::{Comparison, Filter, Literal};
use crate::job::State;

/// One for each state that there is not.
pub(super) fn on_jobs(filter: &Filter) -> Vec<String> {
    let mut unknown = Vec::new();
    collect(filter, &mut unknown);
    let states = State::ALL.map(State::as_str).join(", ");
    unknown.into_iter().map(|state| format!("there is no state {state}; the states are {states}")).collect()
}

fn collect(filter: &Filter, unknown: &mut Vec<String>) {
    match filter {
        Filter::All(parts) | Filter::Any(parts) => parts.iter().for_each(|part| collect(part, unknown)),
        Filter::Compare(attribute, Comparison::Equal | Comparison::NotEqual, literal) if attribute.0 == "state" => {
            let named = match literal {
                Literal::List(elements) => elements.as_slice(),
                literal => std::slice::from_ref(literal),
            };
            for literal in named.iter().filter(|literal| **literal != Literal::Null) {
                let state = literal.text();
                if State::from_text(&state).is_none() && !unknown.iter().any(|known| *known == state) {
                    unknown.push(state.into_owned());
                }
            }
        }
        Filter::Compare(..) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_there_are_not_are_named_with_those_that_there_are() {
        let all = "QUEUED, RUNNING, STOPPING, SUCCESS, FAILED, STOPPED";
        let hint = |state: &str| format!("there is no state {state}; the states are {all}");
        for (filter, states) in [
            ("state='WAITING'", vec!["WAITING"]),
            ("state!='failed' and action='x'", vec!["failed"]),
            ("action='x' and (state='DONE' or state='QUEUED' or state='DONE')", vec!["DONE"]),
            ("state=['FAILED', 'LOST']", vec!["LOST"]),
            ("state='FAILED' or state=null or state^='STOP'", vec![]),
            ("action='WAITING'", vec![]),
        ] {
            let found = Filter::parse(filter).unwrap().hints_on_jobs();
            assert_eq!(found, states.into_iter().map(hint).collect::<Vec<_>>(), "{filter}");
        }
    }
}
