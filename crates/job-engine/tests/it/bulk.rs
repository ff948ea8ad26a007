//! Bulk operations over a real engine: by its command, and over `kill -9`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Document};

use crate::support::{InProcess, Raw, Up, cookie, document, eventually};

const JOBS: usize = 1_500;

async fn add(client: &Client, count: usize) {
    let jobs: Vec<Document> = (0..count).map(|_| document(json!({"action": "nobody has it"}))).collect();
    for jobs in jobs.chunks(500) {
        for added in client.add_all("job", jobs, None).await.expect("answered") {
            added.expect("added");
        }
    }
}

async fn count(client: &Client, filter: &str) -> u64 {
    let search = Search { filter: Some(filter.to_owned()), last: Some(0), ..Search::default() };
    client.search("job", &search).await.expect("found").count
}

/// How often each job was run again.
async fn retries(client: &Client) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let search = Search { last: Some(10_000), after, select: vec!["retryOf".to_owned()], ..Search::default() };
        let page = client.search("job", &search).await.expect("found");
        for job in page.documents {
            if let Some(old) = job.get("retryOf").and_then(|of| of["href"].as_str()) {
                *found.entry(old.to_owned()).or_default() += 1;
            }
        }
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_goes_on_after_a_kill_and_runs_no_job_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", "jobs_cleanup"]);
    let client = up.client();
    add(&client, JOBS).await;
    let failed = "state='FAILED'";
    eventually("all have failed", async || (count(&client, failed).await == JOBS as u64).then_some(())).await;
    let wish = json!({"do": "retry", "filter": failed, "expect": JOBS});
    let begun = client.operation_with("job", "bulk", &wish).await.expect("begun");
    let id = begun["resource-id"].as_str().expect("an id").to_owned();
    let half = eventually("it has begun", async || {
        let operation = client.get(&id).await.expect("there");
        (operation["done"].as_u64() > Some(0)).then_some(operation)
    })
    .await;
    up.kill();
    assert_eq!(half["state"], "RUNNING", "it was killed in the middle");
    let up = Up::start(folder.path(), &["--distributors", "jobs_cleanup"]);
    let client = up.client();
    let ended = eventually("it has ended", async || {
        let operation = client.get(&id).await.expect("there");
        (operation["state"] != "RUNNING").then_some(operation)
    })
    .await;
    assert_eq!((&ended["state"], &ended["refused"]), (&json!("SUCCESS"), &json!({})), "{ended:?}");
    let retries = retries(&client).await;
    assert_eq!(retries.len(), JOBS);
    assert!(retries.values().all(|count| *count == 1), "none was run again twice");
}

#[tokio::test]
async fn operations_are_documents_that_their_owner_finds_and_nobody_else() {
    let engine = InProcess::new().await;
    let cookie = cookie(&*engine.transport).await;
    let send = async |request: Raw| request.header("cookie", &cookie).send(&*engine.transport).await;
    engine.client.add("job", &document(json!({"action": "noop"})), None).await.expect("added");
    let wish = |expect: u64| json!({"do": "stop", "filter": "state='QUEUED'", "expect": expect});
    let changed = send(Raw::new("POST", "/api/job/bulk").json(&wish(0))).await;
    assert_eq!((changed.status, &changed.body["code"]), (409, &json!("changed")), "{}", changed.text);
    let counting = |parameters: &str| Raw::new("GET", &format!("/api/job/bulk?{parameters}"));
    let counted = send(counting("do=retry&filter=state='QUEUED'&before=2000-01-01T00:00:00Z")).await;
    let before = "2000-01-01T00:00:00Z";
    let expected = json!({"do": "retry", "filter": "state='QUEUED'", "before": before, "matched": 0, "retried": 0});
    assert_eq!((counted.status, counted.body), (200, expected), "{}", counted.text);
    assert_eq!(send(counting("do=stop&filter=state='QUEUED'")).await.body["matched"], 1);
    for wrong in
        ["do=stop", "filter=state='QUEUED'", "do=explode&filter=a=1", "do=stop&filter=a", "do=stop&filter=a=1&before=x"]
    {
        assert_eq!(send(counting(wrong)).await.status, 400, "{wrong}");
    }
    let begun = send(Raw::new("POST", "/api/job/bulk").json(&wish(1))).await;
    assert_eq!(begun.status, 202, "{}", begun.text);
    let id = begun.body["resource-id"].as_str().expect("an id").to_owned();
    assert_eq!(begun.headers["location"], id);
    let seen = send(Raw::new("GET", &format!("/api/{id}"))).await.body;
    assert_eq!((&seen["state"], &seen["matched"], &seen["by"]), (&json!("RUNNING"), &json!(1), &json!("super")));
    assert_eq!(seen["operations"], json!([{"rel": "stop", "href": format!("{id}/stop")}]));
    let found = send(Raw::new("GET", "/api/operation")).await.body;
    assert_eq!((&found["count"], &found["bulkOperations"][0]["id"]), (&json!(1), &json!(id)));
    for path in [format!("/api/{id}"), "/api/operation".to_owned(), "/api/operation/0a".to_owned()] {
        let refused = Raw::new("GET", &path).send(&*engine.transport).await;
        assert_eq!((refused.status, &refused.body["message"]), (403, &json!("credentials required")), "{path}");
    }
    assert_eq!(send(Raw::new("GET", "/api/operation/0a")).await.status, 404);
    assert_eq!(send(Raw::new("PUT", &format!("/api/{id}"))).await.status, 405);
    let stopped = send(Raw::new("POST", &format!("/api/{id}/stop"))).await;
    assert_eq!((stopped.status, &stopped.body["state"]), (200, &json!("STOPPED")));
    for body in [json!({}), json!({"do": "explode", "filter": "", "expect": 0}), Value::Null] {
        let refused = send(Raw::new("POST", "/api/job/bulk").json(&body)).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text);
    }
}
