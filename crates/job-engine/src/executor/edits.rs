//! What an attempt writes into its job: pure, from reports and outcomes to the changes of an edit.

use serde::Deserialize as _;
use serde_json::{Value, json};
use slipstream_action::{Failure, LONGEST_MESSAGE, Report, Success, left_out_note, shortened};
use slipstream_cimi::resource::Link;
use slipstream_cimi::{Document, State};

const AFFECTED_RESOURCES: &str = "affectedResources";
/// Longest of an action's message, in bytes, and of the server's, beside which something is left out.
const LONGEST_LEFT: usize = 1000;

/// A change of state alone.
pub(super) fn state(state: State) -> Document {
    Document::from_iter([("state".to_owned(), json!(state.as_str()))])
}

/// What of a job an edit may have to repeat, because it replaces the whole list.
pub(super) fn affected(job: &Document) -> Vec<Link> {
    let links = job.get(AFFECTED_RESOURCES).and_then(Value::as_array).into_iter().flatten();
    // what is no link was not written by a server that checks, and cannot be repeated
    links.filter_map(|link| Link::deserialize(link).ok()).collect()
}

/// What is still to be written of a report, given the links of the job as last answered by the server.
pub(super) fn of_report(report: &Report, known: &[Link]) -> Document {
    let mut changes = Document::new();
    if let Some(progress) = report.progress {
        changes.insert("progress".to_owned(), json!(progress));
    }
    if let Some(message) = &report.status_message {
        changes.insert("statusMessage".to_owned(), json!(shortened(message, LONGEST_MESSAGE)));
    }
    if let Some(links) = with_links_added(known, &report.affected_resources) {
        changes.insert(AFFECTED_RESOURCES.to_owned(), links);
    }
    changes
}

/// The final report: how the action ended, and what it said before and was not yet written.
pub(super) fn of_outcome(outcome: &Result<Success, Failure>, unsent: &Report, known: &[Link]) -> Document {
    let (end, return_code, message) = match outcome {
        Ok(success) => (State::Success, success.return_code, success.message.as_deref()),
        Err(failure) => (State::Failed, failure.return_code, Some(failure.message.as_str())),
    };
    let mut changes = state(end);
    // The server itself sets 100 in a final state.
    changes.extend(of_report(&Report { progress: None, ..unsent.clone() }, known));
    if let Some(code) = return_code {
        changes.insert("returnCode".to_owned(), json!(code));
    }
    if let Some(message) = message {
        changes.insert("statusMessage".to_owned(), json!(shortened(message, LONGEST_MESSAGE)));
    }
    changes
}

/// A final report that says how many documents were left out of it.
pub(super) fn with_left_out(mut changes: Document, left_out: usize) -> Document {
    if left_out > 0 {
        append(&mut changes, &left_out_note(left_out));
    }
    changes
}

/// What is left of a final report that the server refused for what it holds: state and message, which says what is left out.
pub(super) fn state_and_message(mut refused: Document, cause: &str) -> Document {
    let mut changes = Document::new();
    changes.extend(refused.shift_remove("state").map(|state| ("state".to_owned(), state)));
    let message = refused.shift_remove("statusMessage");
    if let Some(message) = message.as_ref().and_then(Value::as_str) {
        changes.insert("statusMessage".to_owned(), json!(shortened(message, LONGEST_LEFT)));
    }
    let names: Vec<String> = refused.into_iter().map(|(name, _)| name).collect();
    let names = if names.is_empty() { "the rest".to_owned() } else { names.join(", ") };
    append(&mut changes, &format!("(left out, as the server refused it: {names}; {})", shortened(cause, LONGEST_LEFT)));
    changes
}

/// What is left of a final report of which the server refuses the message too.
pub(super) fn state_alone(refused: &Document) -> Document {
    refused.iter().filter(|(name, _)| *name == "state").map(|(name, state)| (name.clone(), state.clone())).collect()
}

/// Adds a line to the message.
fn append(changes: &mut Document, line: &str) {
    let message = changes.get("statusMessage").and_then(Value::as_str);
    let message = message.map_or_else(|| line.to_owned(), |message| format!("{message}\n{line}"));
    changes.insert("statusMessage".to_owned(), json!(shortened(&message, LONGEST_MESSAGE)));
}

/// An edit replaces the whole list; `None` if every id is in it.
fn with_links_added(known: &[Link], ids: &[String]) -> Option<Value> {
    let is_known = |id: &String| known.iter().any(|link| link.href == *id);
    let new: Vec<Link> = ids.iter().filter(|id| !is_known(id)).map(Link::to).collect();
    (!new.is_empty()).then(|| json!([known, &new].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(value: Value) -> Document {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn links_are_added_once_to_those_that_the_server_has() {
        let known = affected(&document(json!({ "affectedResources": [{ "href": "a/1", "more": true }] })));
        let report = |ids: &[&str]| Report {
            affected_resources: ids.iter().map(|&id| id.to_owned()).collect(),
            ..Report::default()
        };
        assert_eq!(of_report(&report(&["a/1"]), &known), Document::new());
        assert_eq!(
            of_report(&report(&["a/2", "a/1"]), &known),
            document(json!({ "affectedResources": [{ "href": "a/1", "more": true }, { "href": "a/2" }] }))
        );
    }

    #[test]
    fn the_final_report_says_how_it_ended_and_what_was_not_said_yet() {
        let unsent = Report {
            progress: Some(70),
            status_message: Some("nearly".to_owned()),
            affected_resources: vec!["a/1".to_owned()],
        };
        let known = Vec::new();
        assert_eq!(
            of_outcome(&Ok(Success { return_code: Some(7), message: None }), &unsent, &known),
            document(json!({
                "state": "SUCCESS", "statusMessage": "nearly", "affectedResources": [{ "href": "a/1" }], "returnCode": 7
            }))
        );
        assert_eq!(
            of_outcome(&Err(Failure::new("broken")), &unsent, &known),
            document(json!({
                "state": "FAILED", "statusMessage": "broken", "affectedResources": [{ "href": "a/1" }]
            }))
        );
        assert_eq!(of_outcome(&Ok(Success::default()), &Report::default(), &known), state(State::Success));
    }

    #[test]
    fn what_is_left_out_is_said_in_the_message() {
        let report = document(json!({ "state": "SUCCESS", "returnCode": 7, "affectedResources": [] }));
        let left_out = "(left out, as they are no ids or too many: 3 affected resources)";
        assert_eq!(with_left_out(report.clone(), 0), report);
        assert_eq!(with_left_out(report.clone(), 3)["statusMessage"], left_out);
        let edit = with_left_out(document(json!({ "statusMessage": "done" })), 3);
        assert_eq!(edit["statusMessage"], format!("done\n{left_out}"));
        let left = state_and_message(report, "too large");
        let message = "(left out, as the server refused it: returnCode, affectedResources; too large)";
        assert_eq!(left, document(json!({ "state": "SUCCESS", "statusMessage": message })));
        let long = document(json!({ "state": "FAILED", "statusMessage": "x".repeat(30_000) }));
        let left = state_and_message(long, &"y".repeat(30_000));
        assert!(left["statusMessage"].as_str().unwrap().len() < 2 * LONGEST_LEFT + 100);
    }
}
