//! What an attempt writes into its job: pure, from reports and outcomes to the changes of an edit.

use serde::Deserialize as _;
use serde_json::{Value, json};
use slipstream_action::{Failure, Report, Success};
use slipstream_cimi::resource::Link;
use slipstream_cimi::{Document, State};

const AFFECTED_RESOURCES: &str = "affectedResources";
/// Old servers fail above about 32 KB (specification 5.1).
const LONGEST_MESSAGE: usize = 32_000;

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
        changes.insert("statusMessage".to_owned(), json!(shortened(message)));
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
        changes.insert("statusMessage".to_owned(), json!(shortened(message)));
    }
    changes
}

/// An edit replaces the whole list; `None` if every id is in it.
fn with_links_added(known: &[Link], ids: &[String]) -> Option<Value> {
    let is_known = |id: &String| known.iter().any(|link| link.href == *id);
    let new: Vec<Link> = ids.iter().filter(|id| !is_known(id)).map(Link::to).collect();
    (!new.is_empty()).then(|| json!([known, &new].concat()))
}

/// Beginning and end of a message that is too long.
fn shortened(message: &str) -> String {
    if message.len() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    let half = LONGEST_MESSAGE / 2 - 8;
    let head = &message[..message.floor_char_boundary(half)];
    let tail = &message[message.ceil_char_boundary(message.len() - half)..];
    format!("{head}\n...\n{tail}")
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
    fn a_message_too_long_keeps_its_beginning_and_end() {
        let long = format!("begin{}end", "ä".repeat(LONGEST_MESSAGE));
        let short = shortened(&long);
        assert!(short.len() <= LONGEST_MESSAGE, "{}", short.len());
        assert!(short.starts_with("beginä") && short.ends_with("äend") && short.contains("\n...\n"));
        assert_eq!(shortened("fine"), "fine");
    }
}
