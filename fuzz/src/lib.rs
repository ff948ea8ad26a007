//! Where the steps of the targets `job_document` and `routes` come from: bytes that the fuzzer bends.

#[path = "../../crates/dashboard/tests/it/html.rs"]
pub mod html;
#[path = "../../crates/job-engine/tests/it/requests.rs"]
pub mod requests;
#[path = "../../crates/dashboard/tests/it/scripted.rs"]
pub mod scripted;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use requests::{ATTEMPT, BODIES, CALLERS, Caller, HEADERS, JOBS, LEASE, METHODS, QUERIES, Request, Step, TARGETS};
use serde_json::{Map, Value, json};
use slipstream_cimi::lease;

/// Most steps of one run.
const MOST_STEPS: usize = 40;
/// Deepest list or object in an attribute.
const DEEPEST: u8 = 3;

/// Any requests, and what else happens to an engine.
pub fn any_steps(input: &mut Unstructured) -> Result<Vec<Step>> {
    steps(input, any_request)
}

/// Adds and edits of jobs whose documents are nearly right.
pub fn documents(input: &mut Unstructured) -> Result<Vec<Step>> {
    steps(input, document_request)
}

/// A job as a server may answer it, with what it may never have stored.
pub fn shown_job(input: &mut Unstructured) -> Result<Value> {
    let mut document = Map::new();
    for attribute in ["id", "state", "created"] {
        let value = attribute_value(input, attribute)?;
        document.insert(attribute.to_owned(), value);
    }
    for _ in 0..input.int_in_range(0..=12)? {
        let attribute = known_or_any(input, ATTRIBUTES)?;
        let value = attribute_value(input, &attribute)?;
        document.insert(attribute, value);
    }
    Ok(Value::Object(document))
}

/// Any JSON.
pub fn any_json(input: &mut Unstructured) -> Result<Value> {
    any_value(input, DEEPEST)
}

fn steps(input: &mut Unstructured, request: fn(&mut Unstructured) -> Result<Request>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < MOST_STEPS {
        steps.push(match input.int_in_range(0..=15)? {
            0 => Step::Claim,
            1 => Step::Release,
            2 => Step::Reconcile,
            3 => Step::Wait(input.int_in_range(0..=100_000)?),
            _ => Step::Request(request(input)?),
        });
    }
    Ok(steps)
}

/// Counts come first: of input that has run out every question is answered with yes.
fn any_request(input: &mut Unstructured) -> Result<Request> {
    let caller = *input.choose(&CALLERS)?;
    let method = known_or_any(input, METHODS)?;
    let mut target = known_or_any(input, TARGETS)?;
    let mut separator = '?';
    for _ in 0..input.int_in_range(0..=2)? {
        target.push(separator);
        target.push_str(&known_or_any(input, QUERIES)?);
        separator = '&';
    }
    let mut headers = Vec::new();
    for _ in 0..input.int_in_range(0..=4)? {
        let (name, value) = input.choose(HEADERS)?;
        let value = if input.ratio(1, 6)? { input.arbitrary::<Vec<u8>>()?.into() } else { Bytes::from(*value) };
        headers.push(((*name).to_owned(), value));
    }
    let body =
        if input.ratio(1, 8)? { input.arbitrary::<Vec<u8>>()?.into() } else { Bytes::from(*input.choose(BODIES)?) };
    Ok(Request { caller, method, target, headers, body })
}

fn known_or_any(input: &mut Unstructured, known: &[&str]) -> Result<String> {
    if input.ratio(1, 10)? { input.arbitrary() } else { input.choose(known).map(|text| (*text).to_owned()) }
}

fn document_request(input: &mut Unstructured) -> Result<Request> {
    let mut document = Map::new();
    let mut headers = vec![("content-type".to_owned(), Bytes::from("application/json"))];
    let (method, mut target) = match input.int_in_range(0..=9)? {
        0..=2 => {
            document.insert("action".to_owned(), json!("noop"));
            ("POST", "/api/job".to_owned())
        }
        3..=7 => ("PUT", format!("/api/{}", known_job(input)?)),
        8 => ("DELETE", format!("/api/{}", known_job(input)?)),
        _ => ("POST", format!("/api/{}/stop", known_job(input)?)),
    };
    if input.ratio(1, 3)? {
        let number = *input.choose(&[LEASE, LEASE, "1.1", "1.9000", "2.1"])?;
        for (name, value) in [(lease::LEASE_HEADER, number), ATTEMPT[1], ATTEMPT[2]] {
            headers.push((name.to_owned(), Bytes::from(value)));
        }
    }
    if method == "PUT" && input.ratio(1, 4)? {
        target.push_str("?select=");
        target.push_str(input.choose(ATTRIBUTES)?);
    }
    if input.ratio(1, 2)? {
        document.insert("state".to_owned(), json!(input.choose(&TEXTS[..6])?));
    }
    for _ in 0..input.int_in_range(0..=4)? {
        let attribute = known_or_any(input, ATTRIBUTES)?;
        let value = attribute_value(input, &attribute)?;
        document.insert(attribute, value);
    }
    let body = Value::Object(document).to_string().into();
    Ok(Request { caller: Caller::Administrator, method: method.to_owned(), target, headers, body })
}

const ATTRIBUTES: &[&str] = &[
    "state",
    "progress",
    "statusMessage",
    "returnCode",
    "action",
    "priority",
    "name",
    "description",
    "properties",
    "acl",
    "targetResource",
    "affectedResources",
    "parentJob",
    "nestedJobs",
    "started",
    "duration",
    "id",
    "created",
    "updated",
    "timeOfStatusChange",
    "resourceURI",
    "operations",
    "parent",
    "resourceMetadata",
];
const TEXTS: &[&str] = &[
    "QUEUED",
    "RUNNING",
    "SUCCESS",
    "FAILED",
    "STOPPED",
    "STOPPING",
    "noop",
    "",
    " ",
    "job/NEWEST",
    "credential/a",
    "2026-01-01T00:00:00.000Z",
    "-009999-01-02T01:59:59Z",
    "9999-12-30T22:00:00.999999999Z",
    "ADMIN",
    "USER",
    "jane",
    "ROLE",
    "ALL",
    "VIEW",
    "MODIFY",
];
const MEMBERS: &[&str] = &["href", "owner", "rules", "principal", "type", "right", "zookeeper-path", "a"];

/// Mostly the newest.
fn known_job(input: &mut Unstructured) -> Result<&'static str> {
    input.choose(&[JOBS[0], JOBS[0], JOBS[0], JOBS[1], JOBS[2]]).copied()
}

/// Mostly of the right kind.
fn attribute_value(input: &mut Unstructured, attribute: &str) -> Result<Value> {
    if input.ratio(1, 4)? {
        return any_value(input, DEEPEST);
    }
    let right = *input.choose(&["ALL", "VIEW", "MODIFY"])?;
    Ok(match attribute {
        "state" => json!(input.choose(&TEXTS[..6])?),
        "progress" => json!(input.int_in_range(-1..=101)?),
        "priority" => json!(input.int_in_range(-1..=1000)?),
        "returnCode" | "duration" => json!(input.arbitrary::<i64>()?),
        "properties" => json!({*input.choose(MEMBERS)?: input.choose(TEXTS)?}),
        "acl" => json!({
            "owner": {"principal": input.choose(TEXTS)?, "type": "ROLE"},
            "rules": [{"principal": input.choose(TEXTS)?, "type": input.choose(&["ROLE", "USER"])?, "right": right}],
        }),
        "targetResource" => json!({"href": input.choose(TEXTS)?}),
        "affectedResources" => json!([{"href": input.choose(TEXTS)?}]),
        "nestedJobs" => json!([input.choose(TEXTS)?]),
        "parentJob" => json!(JOBS[1]),
        _ => json!(known_or_any(input, TEXTS)?),
    })
}

fn any_value(input: &mut Unstructured, depth: u8) -> Result<Value> {
    let choices = if depth == 0 { 5 } else { 7 };
    Ok(match input.int_in_range(0..=choices)? {
        0 => Value::Null,
        1 => json!(input.arbitrary::<bool>()?),
        2 => json!(input.arbitrary::<i64>()?),
        3 => json!(input.arbitrary::<f64>()?),
        4 => json!(input.choose(TEXTS)?),
        5 => json!(input.arbitrary::<String>()?),
        6 => {
            let mut list = Vec::new();
            for _ in 0..input.int_in_range(0..=3)? {
                list.push(any_value(input, depth - 1)?);
            }
            Value::Array(list)
        }
        _ => {
            let mut members = Map::new();
            for _ in 0..input.int_in_range(0..=3)? {
                members.insert(known_or_any(input, MEMBERS)?, any_value(input, depth - 1)?);
            }
            Value::Object(members)
        }
    })
}
