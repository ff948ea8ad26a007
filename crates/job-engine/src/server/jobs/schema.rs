//! What a stored job may hold (specification 3.1 and 5.1): closed, so that an attribute not listed is a violation.

use serde_json::Value;
use slipstream_cimi::acl::acl_violations;
use slipstream_cimi::resource::{is_id, is_link};
use slipstream_cimi::{Document, State, job};
use slipstream_store::StoredDocument;

use super::document::Patch;

/// Attributes that a later version will know; refused with a message of their own so that nobody believes that they
/// have an effect.
const RESERVED: [&str; 2] = ["notBefore", "maxAttempts"];

/// Longest value of an attribute that is in an index, in bytes: a longer one makes searches of everybody slow.
pub const LONGEST_INDEXED: usize = 512;

/// What every job has.
const REQUIRED: [&str; 8] = ["id", "resourceURI", "created", "updated", "acl", "state", "action", "progress"];

/// Everything that is wrong with a job, one sentence each.
#[must_use]
pub fn job_violations(document: &Document) -> Vec<String> {
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|required| !document.contains_key(*required)).collect();
    violations(&missing, document.iter())
}

/// Everything that would be wrong with a job that is valid now, once it is edited.
#[must_use]
pub fn edit_violations(stored: &StoredDocument, patch: &Patch) -> Vec<String> {
    violations(&patch.lacks(stored, &REQUIRED), patch.asked())
}

/// What is wrong with these attributes, and those that a job needs and that are missing.
fn violations<'a>(missing: &[&str], attributes: impl Iterator<Item = (&'a String, &'a Value)> + Clone) -> Vec<String> {
    let mut violations: Vec<String> = missing.iter().map(|required| format!("{required}: missing")).collect();
    violations.extend(attribute_violations(attributes.clone()));
    violations.extend(attributes.filter(|(name, _)| *name == "acl").flat_map(|(_, acl)| acl_violations(acl)));
    violations
}

/// Everything that is wrong with these attributes by themselves, whichever resource has them.
pub fn attribute_violations<'a>(
    attributes: impl Iterator<Item = (&'a String, &'a Value)>,
) -> impl Iterator<Item = String> {
    attributes
        .filter_map(|(name, value)| attribute_violation(name, value).err().map(|reason| format!("{name}: {reason}")))
}

/// What is wrong with one attribute. `acl` has violations of its own.
fn attribute_violation(attribute: &str, value: &Value) -> Result<(), String> {
    match attribute {
        "id" | "parent" | "resourceMetadata" => id(value),
        "resourceURI" | "description" | "statusMessage" => text(value),
        "created" | "updated" | "started" | "timeOfStatusChange" => timestamp(value),
        "name" => non_blank(value),
        "action" => non_blank(value).and_then(|()| short(value)),
        "properties" => properties(value),
        "acl" => Ok(()),
        "state" => state(value),
        "progress" => integer_between(value, 0, 100),
        "priority" => integer_between(value, job::HIGHEST_PRIORITY.into(), job::LOWEST_PRIORITY.into()),
        "returnCode" => value.as_i64().map(|_| ()).ok_or_else(|| expected("a whole number", value)),
        "duration" => integer_between(value, 0, i64::MAX),
        "targetResource" => link(value),
        "affectedResources" => list_of(value, "links", link),
        "retryOf" => link(value).and_then(|()| job_id(&value["href"])),
        "parentJob" => job_id(value),
        "nestedJobs" => list_of(value, "job ids", job_id),
        reserved if RESERVED.contains(&reserved) => Err("not yet supported".to_owned()),
        _ => Err("unknown attribute".to_owned()),
    }
}

fn expected(what: &str, value: &Value) -> String {
    let got: String = value.to_string().chars().take(60).collect();
    format!("expected {what}, got {got}")
}

fn text(value: &Value) -> Result<(), String> {
    value.as_str().map(|_| ()).ok_or_else(|| expected("a text", value))
}

fn non_blank(value: &Value) -> Result<(), String> {
    let good = value.as_str().is_some_and(|text| !text.trim().is_empty());
    good.then_some(()).ok_or_else(|| expected("a text that is not blank", value))
}

fn id(value: &Value) -> Result<(), String> {
    let good = value.as_str().is_some_and(is_id);
    good.then_some(()).ok_or_else(|| expected("an id such as credential/abc", value))?;
    short(value)
}

fn short(value: &Value) -> Result<(), String> {
    let good = value.as_str().is_some_and(|text| text.len() <= LONGEST_INDEXED);
    good.then_some(()).ok_or_else(|| expected(&format!("a text of at most {LONGEST_INDEXED} bytes"), value))
}

fn job_id(value: &Value) -> Result<(), String> {
    let good = value.as_str().is_some_and(job::is_job_id);
    good.then_some(()).ok_or_else(|| expected("the id of a job", value))?;
    short(value)
}

fn link(value: &Value) -> Result<(), String> {
    is_link(value).then_some(()).ok_or_else(|| expected("a link such as {\"href\": \"credential/abc\"}", value))?;
    short(&value["href"])
}

fn list_of(value: &Value, what: &str, item: fn(&Value) -> Result<(), String>) -> Result<(), String> {
    match value.as_array() {
        Some(items) if !items.is_empty() => items.iter().try_for_each(item),
        _ => Err(expected(&format!("a list of at least one of the {what}"), value)),
    }
}

fn integer_between(value: &Value, low: i64, high: i64) -> Result<(), String> {
    let good = value.as_i64().is_some_and(|number| (low..=high).contains(&number));
    good.then_some(()).ok_or_else(|| match high {
        i64::MAX => expected(&format!("a whole number from {low}"), value),
        _ => expected(&format!("a whole number from {low} to {high}"), value),
    })
}

fn state(value: &Value) -> Result<(), String> {
    let good = value.as_str().is_some_and(|text| State::from_text(text).is_some());
    good.then_some(()).ok_or_else(|| expected(&format!("one of {}", State::ALL.map(State::as_str).join(", ")), value))
}

fn timestamp(value: &Value) -> Result<(), String> {
    let good = value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok());
    good.then_some(()).ok_or_else(|| expected("a timestamp such as 2026-11-24T10:00:00.000Z", value))
}

fn properties(value: &Value) -> Result<(), String> {
    let good = value.as_object().is_some_and(|members| !members.is_empty() && members.values().all(Value::is_string));
    good.then_some(()).ok_or_else(|| expected("an object of texts with at least one member", value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use slipstream_cimi::acl::default_acl;

    fn good() -> Document {
        let job = json!({
            "id": "job/11111111-2222-3333-4444-555555555555",
            "resourceURI": "http://sixsq.com/slipstream/1/Job",
            "created": "2019-03-29T10:00:00.000Z", "updated": "2019-03-29T10:00:00.000Z",
            "acl": default_acl(), "state": "QUEUED", "action": "noop", "progress": 0, "priority": 999,
            "targetResource": {"href": "dummy", "more": 1}, "affectedResources": [{"href": "credential/A_b-1"}],
            "parentJob": "job/0a", "nestedJobs": ["job/0b"], "returnCode": -3, "duration": 0,
            "statusMessage": "", "name": "n", "description": "d", "parent": "job/x", "properties": {"a": "b"},
            "started": "2019-03-29T10:00:00.000Z", "timeOfStatusChange": "2019-03-29T10:00:00.000Z",
        });
        job.as_object().cloned().expect("an object")
    }

    #[test]
    fn a_job_with_every_attribute_is_good() {
        assert_eq!(job_violations(&good()), Vec::<String>::new());
    }

    #[test]
    fn every_attribute_is_checked() {
        for (attribute, bad) in [
            ("id", json!("Job/1")),
            ("created", json!("yesterday")),
            ("state", json!("queued")),
            ("action", json!(" ")),
            ("progress", json!(101)),
            ("progress", json!(1.5)),
            ("progress", json!("50")),
            ("priority", json!(1000)),
            ("priority", json!(-1)),
            ("priority", json!("10")),
            ("returnCode", json!(0.5)),
            ("duration", json!(-1)),
            ("duration", Value::Null),
            ("targetResource", json!("dummy")),
            ("targetResource", json!({"href": "a/b/c"})),
            ("affectedResources", json!([])),
            ("affectedResources", json!([{"href": "UPPER"}])),
            ("parentJob", json!("credential/x")),
            ("nestedJobs", json!(["x"])),
            ("statusMessage", json!(3)),
            ("name", json!("")),
            ("properties", json!({})),
            ("properties", json!({"a": 1})),
            ("notBefore", json!("2030-01-01T00:00:00.000Z")),
            ("maxAttempts", json!(3)),
            ("colour", json!("red")),
            ("action", json!("a".repeat(513))),
            ("parent", json!(format!("job/{}", "a".repeat(509)))),
            ("parentJob", json!(format!("job/{}", "a".repeat(509)))),
            ("targetResource", json!({"href": format!("job/{}", "a".repeat(509))})),
            ("acl", with_rules(257)),
            ("acl", json!({"owner": {"principal": "a".repeat(513), "type": "USER"}})),
        ] {
            let mut document = good();
            document.insert(attribute.to_owned(), bad.clone());
            let violations = job_violations(&document);
            assert_eq!(violations.len(), 1, "{attribute} = {bad}: {violations:?}");
            assert!(violations[0].starts_with(attribute), "{violations:?}");
        }
    }

    fn with_rules(count: usize) -> Value {
        let rule = |number| json!({"principal": format!("user-{number}"), "type": "USER", "right": "VIEW"});
        json!({"owner": {"principal": "ADMIN", "type": "ROLE"}, "rules": (0..count).map(rule).collect::<Vec<_>>()})
    }

    #[test]
    fn what_costs_others_is_bounded() {
        let mut document = good();
        let longest = format!("job/{}", "a".repeat(508));
        let targeted = ["action", "parent", "parentJob"].map(|name| (name, json!(longest)));
        for (attribute, value) in targeted.into_iter().chain([("acl", with_rules(256))]) {
            document.insert(attribute.to_owned(), value);
        }
        assert_eq!(job_violations(&document), Vec::<String>::new());
        document.insert("acl".to_owned(), with_rules(15_000));
        assert_eq!(job_violations(&document), ["acl/rules: expected at most 256 rules, got 15000"]);
    }

    #[test]
    fn reserved_attributes_say_so() {
        let mut document = good();
        document.insert("notBefore".to_owned(), json!("x"));
        assert_eq!(job_violations(&document), ["notBefore: not yet supported"]);
    }

    #[test]
    fn required_attributes_are_required() {
        for required in ["id", "resourceURI", "created", "updated", "acl", "state", "action", "progress"] {
            let mut document = good();
            document.shift_remove(required);
            assert_eq!(job_violations(&document), [format!("{required}: missing")]);
        }
    }
}
