//! Reports: many edits of attempts in one request, each as a request of its own would be (decisions 3 to 6 and 10).

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::client::lists::{Report, ReportList, Reported, takes_reports};
use slipstream_cimi::{AttemptIdentity, Code, Lease};
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Record, StoreExt};

use crate::access::session_of;
use crate::support::{Answered, InProcess, Raw, cookie, document, job};

const PATH: &str = "/api/job/reports";
const OTHER_ENTRY: &str = "/job/entries/entry-999-0000000000";

/// An engine whose first job waits under [`OTHER_ENTRY`], and its administrator.
struct Api {
    engine: InProcess,
    cookie: String,
}

impl Api {
    async fn new() -> Self {
        Self::over(InProcess::new().await).await
    }

    async fn over(engine: InProcess) -> Self {
        let cookie = cookie(&*engine.transport).await;
        let api = Self { engine, cookie };
        assert_eq!(api.add().await.1, OTHER_ENTRY);
        api
    }

    /// A job and its entry.
    async fn add(&self) -> (String, String) {
        let id = self.engine.client.add("job", &job("noop"), None).await.expect("added");
        let job = self.engine.client.get(&id).await.expect("there");
        let entry = job["properties"]["zookeeper-path"].as_str().expect("recorded").to_owned();
        (id, entry)
    }

    async fn send(&self, request: Raw) -> Answered {
        request.header("cookie", &self.cookie).send(&*self.engine.transport).await
    }

    async fn report(&self, items: Value) -> Answered {
        self.send(Raw::new("POST", PATH).json(&json!({"reports": items}))).await
    }

    /// The edit as a request of its own.
    async fn put(&self, id: &str, lease: &str, entry: &str, changes: &Value) -> Value {
        let request = Raw::new("PUT", &format!("/api/{id}")).json(changes);
        let request = request.header("job-id", id).header("job-lease", lease);
        let answered = self.send(request.header("job-entry", entry).header("job-executor", "tester")).await;
        if answered.status == 200 { json!({"status": 200, "document": answered.body}) } else { answered.body }
    }

    /// The edit as the one item of a list.
    async fn report_one(&self, id: &str, lease: &str, entry: &str, changes: &Value) -> Value {
        let item = json!({
            "id": id, "lease": lease, "entry": entry, "executor": "tester", "changes": changes, "document": true
        });
        let answered = self.report(json!([item])).await;
        assert_eq!(answered.status, 200, "{}", answered.text);
        answered.body["reports"][0].clone()
    }

    async fn stored(&self, id: &str) -> Option<Record> {
        self.engine.server.settled().await;
        self.engine.store.get(id).await.expect("answers")
    }
}

fn statuses(answered: &Answered) -> Vec<u64> {
    assert_eq!(answered.status, 200, "{}", answered.text);
    let items = answered.body["reports"].as_array().expect("a list");
    items.iter().map(|item| item["status"].as_u64().expect("a status")).collect()
}

/// What was written before, as (zxid, changes), and then the lease, whether it is under another entry, the changes, and
/// the status and code that must be answered.
type Row = (&'static [(i64, &'static str)], &'static str, bool, &'static str, u64, Option<&'static str>);

const RUNNING: &str = r#"{"state": "RUNNING"}"#;
const SUCCESS: &str = r#"{"state": "SUCCESS"}"#;
const FAILED: &str = r#"{"state": "FAILED"}"#;
const QUEUED: &str = r#"{"state": "QUEUED"}"#;
const STOPPING: &str = r#"{"state": "STOPPING"}"#;
const PROGRESS: &str = r#"{"progress": 70, "statusMessage": "on"}"#;
const INVALID: &str = r#"{"progress": 700}"#;
const LOST_FIVE_TIMES: &[(i64, &str)] = &[(1, RUNNING), (2, RUNNING), (3, RUNNING), (4, RUNNING), (5, RUNNING)];

const ROWS: [Row; 18] = [
    // the first one: beside other jobs that run, what is lost counts half
    (LOST_FIVE_TIMES, "1.6", false, RUNNING, 409, Some("final")),
    (&[], "1.10", false, RUNNING, 200, None),
    (&[], "0.10", false, RUNNING, 400, None),
    (&[], "1.-1", false, RUNNING, 400, None),
    (&[], "9.10", false, RUNNING, 409, Some("late-lease")),
    (&[], "ten", false, RUNNING, 400, None),
    (&[], "1.10", false, INVALID, 400, None),
    (&[], "1.10", true, RUNNING, 409, Some("superseded")),
    (&[], "1.10", false, QUEUED, 200, None),
    (&[(20, RUNNING)], "1.10", false, RUNNING, 409, Some("late-lease")),
    (&[(20, RUNNING)], "1.10", false, PROGRESS, 409, Some("late-lease")),
    (&[(20, RUNNING)], "1.20", false, PROGRESS, 200, None),
    (&[(20, RUNNING)], "1.30", false, RUNNING, 200, None),
    (&[(20, RUNNING)], "1.20", false, SUCCESS, 200, None),
    (&[(20, RUNNING)], "1.20", false, QUEUED, 200, None),
    (&[(20, RUNNING), (20, SUCCESS)], "1.20", false, SUCCESS, 200, None),
    (&[(20, RUNNING), (20, SUCCESS)], "1.20", false, FAILED, 409, Some("final")),
    (&[(20, RUNNING), (20, STOPPING)], "1.20", false, QUEUED, 409, Some("conflict")),
];

/// The same whichever job it is about, and whenever.
fn comparable(value: &Value, id: &str, entry: &str) -> Value {
    let text = value.to_string().replace(id, "ID").replace(entry, "ENTRY");
    let mut value: Value = serde_json::from_str(&text).expect("still JSON");
    forget_times(&mut value);
    value
}

fn forget_times(value: &mut Value) {
    const TIMES: [&str; 9] =
        ["created", "updated", "started", "timeOfStatusChange", "begun", "ended", "time", "request-id", "duration"];
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !TIMES.contains(&name.as_str()));
            members.values_mut().for_each(forget_times);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

#[tokio::test]
async fn each_row_is_answered_and_written_in_a_report_as_in_a_request_of_its_own() {
    let api = Api::new().await;
    for row @ (before, lease, elsewhere, changes, status, code) in ROWS {
        let changes: Value = serde_json::from_str(changes).expect("JSON");
        let mut seen = Vec::new();
        for by_report in [false, true] {
            let (id, entry) = api.add().await;
            for (zxid, changes) in before {
                let changes = serde_json::from_str(changes).expect("JSON");
                let answer = api.put(&id, &format!("1.{zxid}"), &entry, &changes).await;
                assert_eq!(answer["status"], 200, "{row:?}: {answer}");
            }
            let under = if elsewhere { OTHER_ENTRY } else { &entry };
            let answer = if by_report {
                api.report_one(&id, lease, under, &changes).await
            } else {
                api.put(&id, lease, under, &changes).await
            };
            assert_eq!((answer["status"].as_u64(), answer["code"].as_str()), (Some(status), code), "{row:?}: {answer}");
            let stored = api.stored(&id).await.expect("there");
            let stored = json!([*stored.document, stored.ledger]);
            seen.push((comparable(&answer, &id, &entry), comparable(&stored, &id, &entry)));
        }
        assert_eq!(seen[0], seen[1], "{row:?}");
    }
    let missing = "job/11111111-2222-3333-4444-555555555555";
    let changes = json!({"state": "RUNNING"});
    let (single, report) = (
        api.put(missing, "1.10", OTHER_ENTRY, &changes).await,
        api.report_one(missing, "1.10", OTHER_ENTRY, &changes).await,
    );
    assert_eq!(
        (&single["status"], comparable(&single, missing, OTHER_ENTRY)),
        (&json!(404), comparable(&report, missing, OTHER_ENTRY))
    );
}

#[tokio::test]
async fn a_mixed_list_is_answered_item_by_item_in_order() {
    let api = Api::new().await;
    let (first, first_entry) = api.add().await;
    let (second, second_entry) = api.add().await;
    let answered = api
        .report(json!([
            {"id": second, "lease": "1.10", "entry": second_entry, "executor": "tester", "changes": {"state": "RUNNING"}},
            {"id": "job/0a", "lease": "1.10", "entry": first_entry, "changes": {"state": "RUNNING"}},
            {"id": first},
            {"id": first, "document": true},
            {"id": first, "lease": "0.0", "entry": first_entry, "changes": {"state": "RUNNING"}},
            {"id": first, "lease": "1.10", "entry": first_entry, "changes": {"state": "RUNNING"}, "document": true},
        ]))
        .await;
    assert_eq!(statuses(&answered), [200, 404, 200, 200, 400, 200]);
    let items = &answered.body["reports"];
    assert_eq!((&items[0], &items[2]), (&json!({"status": 200}), &json!({"status": 200})), "nobody asked");
    assert_eq!(items[1]["resource-id"], "job/0a");
    assert_eq!((&items[3]["document"]["id"], &items[3]["document"]["state"]), (&json!(first), &json!("QUEUED")));
    assert_eq!((&items[5]["document"]["id"], &items[5]["document"]["state"]), (&json!(first), &json!("RUNNING")));
    let request_id = answered.headers["x-request-id"].to_str().expect("text");
    assert_eq!(items[1]["request-id"], request_id, "joins the item to the log");
    let ledger = api.stored(&second).await.expect("there").ledger;
    assert_eq!(ledger["attempts"][0]["executor"], "tester");
}

/// Begun, reported, ended and read in one list: only in this order all are answered so. Writes to `SQLite` take a while, in
/// which the next item could overtake.
#[tokio::test]
async fn items_of_one_job_are_carried_out_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("jobs.db")).expect("opened");
    let api = Api::over(InProcess::over(Arc::new(store)).await).await;
    let (id, entry) = api.add().await;
    let item = |changes: Value| json!({"id": id, "lease": "1.10", "entry": entry, "changes": changes});
    let answered = api
        .report(json!([
            item(json!({"state": "RUNNING"})),
            item(json!({"progress": 50})),
            item(json!({"state": "SUCCESS"})),
            item(json!({"progress": 70})),
            {"id": id, "document": true},
        ]))
        .await;
    assert_eq!(statuses(&answered), [200, 200, 200, 409, 200]);
    assert_eq!(answered.body["reports"][4]["document"]["state"], "SUCCESS");
}

#[tokio::test]
async fn a_malformed_item_is_refused_by_itself() {
    let api = Api::new().await;
    let (id, entry) = api.add().await;
    let before = api.stored(&id).await;
    let good = json!({"id": id, "lease": "1.10", "entry": entry, "changes": {"state": "RUNNING"}});
    let with = |name: &str, value: Value| {
        let mut item = good.clone();
        item[name] = value;
        item
    };
    let begins_with = |changes: Value| {
        let mut item = with("changes", changes);
        item["begin"] = json!(true);
        item
    };
    let without = |name: &str| {
        let mut item = good.clone();
        item.as_object_mut().expect("an object").shift_remove(name);
        item
    };
    let rows = [
        (json!(1), "expected a JSON object"),
        (without("id"), "needs the `id` of a job"),
        (with("id", json!("user/super")), "needs the `id` of a job"),
        (with("id", json!("job/../user/super")), "needs the `id` of a job"),
        (without("lease"), "needs a text `lease`"),
        (with("lease", json!(10)), "needs a text `lease`"),
        (with("lease", json!("10")), "is not a lease"),
        (without("entry"), "needs a text `entry`"),
        (with("entry", json!("/job/taken/entry-999-0000000000")), "is not the path of an entry"),
        (with("executor", json!("x".repeat(1025))), "is longer than 1024 bytes"),
        (with("changes", json!([])), "are a JSON object"),
        (with("begin", json!("true")), "is true or false"),
        (with("document", json!(1)), "is true or false"),
        (begins_with(json!({"progress": 1})), "sets the state RUNNING"),
        (begins_with(json!({"state": "SUCCESS"})), "sets the state RUNNING"),
    ];
    let answered = api.report(Value::Array(rows.iter().map(|(item, _)| item.clone()).collect())).await;
    assert_eq!(statuses(&answered), [400; 15], "{}", answered.text);
    for ((item, wrong), answer) in rows.iter().zip(answered.body["reports"].as_array().expect("a list")) {
        assert!(answer["message"].as_str().is_some_and(|message| message.contains(wrong)), "{item}: {answer}");
    }
    assert_eq!(api.stored(&id).await, before);
    assert_eq!(statuses(&api.report(json!([good])).await), [200], "the item that the others were made of");
}

#[tokio::test]
async fn a_list_is_bounded_and_a_body_without_one_is_refused() {
    let api = Api::new().await;
    let (id, _) = api.add().await;
    let list = |length: usize| Value::Array(vec![json!({"id": id}); length]);
    assert_eq!(statuses(&api.report(list(1_000)).await), vec![200; 1_000]);
    assert_eq!(statuses(&api.report(list(0)).await), Vec::<u64>::new());
    let too_long = api.report(list(1_001)).await;
    assert_eq!(too_long.status, 400);
    assert_eq!(too_long.body["message"], "a list has at most 1000 items, not 1001");
    for body in [json!({}), json!({"reports": 1}), json!([]), json!([{"id": id}])] {
        let answered = api.send(Raw::new("POST", PATH).json(&body)).await;
        assert_eq!(answered.status, 400, "{body}: {}", answered.text);
    }
    assert_eq!(api.send(Raw::new("POST", PATH)).await.status, 400);
}

#[tokio::test]
async fn nobody_but_administrators_reports() {
    let api = Api::new().await;
    let acl = json!({"owner": {"principal": "jane", "type": "USER"},
                     "rules": [{"principal": "ANON", "type": "ROLE", "right": "ALL"}]});
    let open = document(json!({"action": "noop", "acl": acl}));
    let id = api.engine.client.add("job", &open, None).await.expect("added");
    let before = api.stored(&id).await;
    let (_, jane) = session_of(&*api.engine.store, "jane", "USER ANON").await;
    for cookie in [None, Some(&jane)] {
        let item = json!({"id": id, "lease": "1.10", "entry": OTHER_ENTRY, "changes": {"progress": 5}});
        let request = Raw::new("POST", PATH).json(&json!({"reports": [item, {"id": id, "document": true}]}));
        let request = if let Some(cookie) = cookie { request.header("cookie", cookie) } else { request };
        let answered = request.send(&*api.engine.transport).await;
        assert_eq!((answered.status, &answered.body["message"]), (403, &json!("credentials required")));
    }
    assert_eq!(api.stored(&id).await, before);
}

/// A list that an attempt sends is a write to other documents than its job.
#[tokio::test]
async fn an_attempt_that_is_not_the_latest_sends_no_list() {
    let api = Api::new().await;
    let (id, entry) = api.add().await;
    let (other, other_entry) = api.add().await;
    let running = json!({"state": "RUNNING"});
    assert_eq!(api.put(&id, "1.20", &entry, &running).await["status"], 200);
    let item = json!({"id": other, "lease": "1.10", "entry": other_entry, "changes": running});
    let request = Raw::new("POST", PATH).json(&json!({"reports": [item]}));
    let late = request.header("job-id", &id).header("job-lease", "1.10").header("job-entry", &entry);
    assert_eq!(api.send(late).await.body["code"], "late-lease");
    assert_eq!(api.stored(&other).await.expect("there").document["state"], "QUEUED");
}

#[tokio::test]
async fn the_client_hears_of_each_item_what_a_request_of_its_own_would_say() {
    let api = Api::new().await;
    let client = &api.engine.client;
    assert!(takes_reports(&client.get("cloud-entry-point").await.expect("answered")));
    let (id, entry) = api.add().await;
    let lease = Lease { generation: 1, zxid: 10 };
    let attempt = Arc::new(AttemptIdentity { job: id.clone(), lease, entry, executor: "ä".into() });
    let edit = |changes: Value, shows_job| Report::Edit {
        attempt: attempt.clone(),
        changes: crate::support::document(changes),
        shows_job,
    };
    let missing = "job/11111111-2222-3333-4444-555555555555";
    let reports = [
        edit(json!({"state": "RUNNING"}), true),
        edit(json!({"state": "SUCCESS"}), false),
        edit(json!({"progress": 1}), true),
        Report::Read { id: id.clone(), shows_job: true },
        Report::Read { id: missing.to_owned(), shows_job: true },
    ];
    let list = ReportList { reports: reports.into(), actions: [].into() };
    let answers = client.report(list).await.expect("answered");
    let [begun, ended, late, read, gone] = <[_; 5]>::try_from(answers).expect("one for each");
    let state = |answer| match answer {
        Ok(Reported::Job(job)) => job["state"].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(state(begun), "RUNNING");
    assert!(matches!(ended, Ok(Reported::Done)), "nothing was asked for");
    let late = late.expect_err("final");
    assert_eq!(late.refusal().and_then(|refusal| refusal.code), Some(Code::Final));
    assert_eq!(late.to_string(), format!("PUT /api/{id} was refused"));
    assert_eq!(state(read), "SUCCESS");
    assert!(gone.expect_err("missing").is_not_found(missing));
    assert_eq!(api.stored(&id).await.expect("there").ledger["attempts"][0]["executor"], "ä");
}

#[tokio::test]
async fn a_begin_may_change_more_than_the_state() {
    let api = Api::new().await;
    let (id, entry) = api.add().await;
    let item = json!({"id": id, "lease": "1.10", "entry": entry, "begin": true,
                      "changes": {"state": "RUNNING", "description": "begun", "progress": 5}});
    let answered = api.send(Raw::new("POST", PATH).json(&json!({"actions": ["noop"], "reports": [item]}))).await;
    assert_eq!(answered.body["reports"][0]["begun"], true, "{}", answered.text);
    let job = api.engine.client.get(&id).await.expect("there");
    assert_eq!((&job["state"], &job["description"], &job["progress"]), (&json!("RUNNING"), &json!("begun"), &json!(5)));
}

#[tokio::test]
async fn a_begin_edits_what_waits_or_runs_and_can_be_run_there_and_shows_it_as_it_was() {
    let api = Api::new().await;
    let begin = async |id: &str, zxid: i64, entry: &str, actions: Value| {
        let item = json!({"id": id, "lease": format!("1.{zxid}"), "entry": entry, "executor": "tester",
                          "changes": {"state": "RUNNING"}, "begin": true});
        let answered = api.send(Raw::new("POST", PATH).json(&json!({"actions": actions, "reports": [item]}))).await;
        assert_eq!(answered.status, 200, "{}", answered.text);
        answered.body["reports"][0].clone()
    };
    let told =
        |answer: &Value| (answer["status"].clone(), answer["begun"].clone(), answer["document"]["state"].clone());
    let (id, entry) = api.add().await;
    let (lost, lost_entry) = api.add().await;
    for (zxid, begun) in [(10, true), (20, true), (30, false), (20, true)] {
        let answer = begin(&lost, zxid, &lost_entry, json!(["noop"])).await;
        assert_eq!(answer["begun"], begun, "lost twice, it is begun apart, by an edit: {zxid}");
    }
    let state = async || api.engine.client.get(&id).await.expect("there")["state"].clone();
    let answer = begin(&id, 10, &entry, json!(["other"])).await;
    assert_eq!((told(&answer), state().await), ((json!(200), json!(false), json!("QUEUED")), json!("QUEUED")));
    let answer = begin(&id, 10, &entry, json!(["other", "noop"])).await;
    assert_eq!((told(&answer), state().await), ((json!(200), json!(true), json!("QUEUED")), json!("RUNNING")));
    assert_eq!(answer["document"]["properties"]["zookeeper-path"], entry);
    let answer = begin(&id, 20, &entry, json!(["noop"])).await;
    assert_eq!(told(&answer), (json!(200), json!(true), json!("RUNNING")), "an attempt before it was lost");
    let late = begin(&id, 15, &entry, json!(["noop"])).await;
    assert_eq!((&late["status"], &late["code"]), (&json!(409), &json!("late-lease")));
    assert_eq!(api.put(&id, "1.20", &entry, &json!({"state": "SUCCESS"})).await["status"], 200);
    let answer = begin(&id, 30, &entry, json!(["noop"])).await;
    assert_eq!(told(&answer), (json!(200), json!(false), json!("SUCCESS")));
    let malformed = api.send(Raw::new("POST", PATH).json(&json!({"actions": [1], "reports": []}))).await;
    assert_eq!(malformed.status, 400, "{}", malformed.text);
}
