//! Bulk add: many jobs in one request, each added as a single add would be (decisions 1, 9 and 11).

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::client::lists::takes_bulk_adds;
use slipstream_coordination::Coordinator;
use slipstream_job_engine::internals::process::paths;
use slipstream_store::StoreExt;

use crate::access::session_of;
use crate::failing_store::{Failing, Fault};
use crate::support::{Answered, InProcess, Raw, cookie, document, job};

async fn send(engine: &InProcess, list: &Value, key: Option<&str>) -> Answered {
    let request = Raw::new("POST", "/api/job").json(list).header("cookie", &cookie(&*engine.transport).await);
    let request = if let Some(key) = key { request.header("idempotency-key", key) } else { request };
    request.send(&*engine.transport).await
}

fn items(answered: &Answered) -> Vec<Value> {
    assert_eq!(answered.status, 200, "{}", answered.text);
    answered.body["jobs"].as_array().expect("a list").clone()
}

fn id(item: &Value) -> String {
    assert_eq!(item["status"], 201, "{item}");
    item["resource-id"].as_str().expect("an id").to_owned()
}

/// Ids of the queued jobs, in the order in which they are taken.
async fn queued(engine: &InProcess) -> Vec<String> {
    let session = engine.coordinator.connect().await.expect("connected");
    let mut entries = session.children(paths::ENTRIES).await.unwrap_or_default();
    entries.sort();
    let mut ids = Vec::new();
    for entry in entries {
        let node = session.data(&format!("{}/{entry}", paths::ENTRIES)).await.expect("there");
        ids.push(String::from_utf8(node.data).expect("an id"));
    }
    ids
}

#[tokio::test]
async fn a_list_is_stored_recorded_and_queued_in_its_order() {
    let engine = InProcess::new().await;
    let jobs: Vec<Value> = (0..1_000).map(|number| json!({"action": "noop", "name": format!("{number}")})).collect();
    let ids: Vec<String> = items(&send(&engine, &json!(jobs), None).await).iter().map(id).collect();
    assert_eq!(ids.len(), 1_000);
    assert!(ids.is_sorted(), "ids rise in the order of the list");
    assert_eq!(queued(&engine).await, ids);
    engine.server.settled().await;
    for (number, id) in ids.iter().enumerate() {
        let stored = engine.store.get(id).await.expect("answers").expect("stored");
        assert_eq!(
            (&stored.document["name"], &stored.document["state"]),
            (&json!(number.to_string()), &json!("QUEUED"))
        );
        assert!(stored.ledger["entry"].is_string(), "its entry is recorded");
    }
}

#[tokio::test]
async fn a_bad_item_harms_no_other_and_says_what_is_wrong() {
    let engine = InProcess::new().await;
    let list = json!([
        {"action": "noop", "priority": 5}, {}, 1, {"action": "noop", "priority": 1}, {"action": "noop", "colour": "red"},
    ]);
    let answered = send(&engine, &list, None).await;
    let answers = items(&answered);
    assert_eq!(queued(&engine).await, [id(&answers[3]), id(&answers[0])]);
    for (index, wrong) in [(1, "action: missing"), (2, "expected a JSON object"), (4, "colour: unknown attribute")] {
        assert_eq!(answers[index]["status"], 400);
        assert!(answers[index]["message"].as_str().is_some_and(|text| text.contains(wrong)), "{}", answers[index]);
        assert_eq!(answers[index]["request-id"], answered.headers["x-request-id"].to_str().expect("text"));
    }
    assert_eq!(items(&send(&engine, &json!([]), None).await), Vec::<Value>::new());
}

#[tokio::test]
async fn a_list_that_is_sent_again_with_its_key_adds_nothing_twice() {
    let engine = InProcess::new().await;
    let list = json!([{"action": "noop"}, {}, {"action": "noop"}]);
    let first = items(&send(&engine, &list, Some("k")).await);
    let again = items(&send(&engine, &list, Some("k")).await);
    for index in [0, 2] {
        assert_eq!(again[index]["status"], 409);
        assert_eq!(
            (&again[index]["code"], &again[index]["resource-id"]),
            (&json!("conflict"), &json!(id(&first[index])))
        );
    }
    assert_eq!(queued(&engine).await, [id(&first[0]), id(&first[2])]);
    // the rest of a list that was cut short, and one of them alone
    let alone = engine.client.add("job", &job("noop"), Some("k/2")).await.expect("added before");
    assert_eq!(alone, id(&first[2]));
    let other = items(&send(&engine, &list, Some("l")).await);
    assert!(other[0]["status"] == 201 && other[0]["resource-id"] != first[0]["resource-id"], "another key");
}

#[tokio::test]
async fn a_list_is_bounded_and_for_administrators_and_for_jobs() {
    let engine = InProcess::new().await;
    let too_long = send(&engine, &Value::Array(vec![json!({"action": "noop"}); 1_001]), None).await;
    assert_eq!(too_long.status, 400);
    assert_eq!(too_long.body["message"], "a list has at most 1000 items, not 1001");
    let (_, jane) = session_of(&*engine.store, "jane", "USER ANON").await;
    for cookie in [None, Some(&jane)] {
        let request = Raw::new("POST", "/api/job").json(&json!([{"action": "noop"}]));
        let request = if let Some(cookie) = cookie { request.header("cookie", cookie) } else { request };
        let answered = request.send(&*engine.transport).await;
        assert_eq!((answered.status, &answered.body["message"]), (403, &json!("credentials required")));
    }
    let cookie = cookie(&*engine.transport).await;
    for (method, path) in [("PUT", "/api/job"), ("POST", "/api/user"), ("POST", "/api/session"), ("PUT", "/api/job/0a")]
    {
        let request = Raw::new(method, path).json(&json!([{"action": "noop"}])).header("cookie", &cookie);
        let answered = request.send(&*engine.transport).await;
        assert_eq!(answered.body["message"], "expected a JSON object as request body", "{method} {path}");
    }
    assert_eq!(queued(&engine).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_the_store_does_not_take_is_not_answered_201_and_not_queued() {
    let store = Arc::new(Failing::default());
    let engine = InProcess::over(store.clone()).await;
    let cookie = cookie(&*engine.transport).await;
    store.set(Fault::Full);
    let request = Raw::new("POST", "/api/job").json(&json!([{"action": "noop"}, {}])).header("cookie", &cookie);
    let answered = request.send(&*engine.transport).await;
    let statuses: Vec<Value> = items(&answered).iter().map(|item| item["status"].clone()).collect();
    assert_eq!(statuses, [507, 400]);
    assert_eq!(store.injected(), 1);
    assert_eq!(queued(&engine).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_client_hears_of_each_item_its_id_or_why_not() {
    let engine = InProcess::new().await;
    assert!(takes_bulk_adds(&engine.client.get("cloud-entry-point").await.expect("answered")));
    let list = [job("noop"), Document::new(), job("noop")];
    let first = engine.client.add_all("job", &list, Some("k")).await.expect("answered");
    let again = engine.client.add_all("job", &list, Some("k")).await.expect("answered");
    for index in [0, 2] {
        let added = first[index].as_ref().expect("added");
        assert_eq!(again[index].as_ref().expect("added before"), added);
        assert_eq!(engine.client.get(added).await.expect("there")["action"], "noop");
    }
    for answers in [&first, &again] {
        let refusal = answers[1].as_ref().expect_err("no action").refusal().expect("answered");
        assert_eq!(refusal.status, 400);
    }
    let too_long = engine.client.add_all("job", &vec![document(json!({})); 1_001], None).await.expect_err("too long");
    assert_eq!(too_long.refusal().map(|refusal| refusal.status), Some(400));
}
