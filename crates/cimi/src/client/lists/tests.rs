use serde_json::json;

use super::super::tests::{Script, answer, document};
use super::*;
use crate::error::Code;
use crate::lease::Lease;

fn client(body: &Value) -> (Client, std::sync::Arc<Script>) {
    let script = Script::new([answer(200, body)]);
    (Client::new(script.clone(), None), script)
}

fn list(reports: impl IntoIterator<Item = Report>) -> ReportList {
    ReportList { reports: reports.into_iter().collect(), actions: ["noop".to_owned()].into() }
}

fn edit(changes: Value) -> Report {
    let lease = Lease { generation: 1, zxid: 7 };
    let entry = "/job/entries/entry-999-0000000001".to_owned();
    let attempt = AttemptIdentity { job: "job/1".to_owned(), lease, entry, executor: "é".to_owned() };
    Report::Edit { attempt: attempt.into(), changes: document(changes), shows_job: true }
}

#[test]
fn only_the_place_itself_announces_lists() {
    let entry_point = |name: &str, href: &str| document(json!({ name: { "href": href } }));
    assert!(takes_reports(&entry_point("reports", "job/reports")));
    assert!(takes_bulk_adds(&entry_point("bulkAdd", "job")));
    for other in [entry_point("reports", "report"), entry_point("jobs", "job/reports"), document(json!({"reports": 1}))]
    {
        assert!(!takes_reports(&other) && !takes_bulk_adds(&other), "{other:?}");
    }
}

#[tokio::test]
async fn reports_are_sent_as_the_protocol_says_and_answered_one_by_one() {
    let refused =
        json!({"status": 409, "message": "no", "code": "late-lease", "resource-id": "job/1", "request-id": "r"});
    let newer = json!({"status": 409, "message": "no", "code": "a-later-versions", "resource-id": "job/1"});
    let (client, script) = client(&json!({"reports": [{"status": 200, "document": {"id": "job/2"}}, refused, newer]}));
    let reports =
        [Report::Read { id: "job/2".to_owned(), shows_job: true }, edit(json!({"progress": 1})), edit(json!({}))];
    let answers = client.report(list(reports)).await.unwrap();
    assert_eq!(script.asked(), ["POST /api/job/reports"]);
    let sent: Value = serde_json::from_str(&script.body(0)).unwrap();
    let attempt = |changes: Value| {
        json!({"id": "job/1", "lease": "1.7", "entry": "/job/entries/entry-999-0000000001", "executor": "é",
               "changes": changes, "document": true})
    };
    let read = json!({"id": "job/2", "document": true});
    let items = [read, attempt(json!({"progress": 1})), attempt(json!({}))];
    assert_eq!(sent, json!({"reports": items}), "without the actions, as none begins");
    let [read, late, unknown] = <[_; 3]>::try_from(answers).unwrap();
    assert!(matches!(read, Ok(Reported::Job(job)) if job == document(json!({"id": "job/2"}))));
    let late = late.unwrap_err();
    assert_eq!(late.to_string(), "PUT /api/job/1 was refused");
    let refusal = late.refusal().unwrap();
    assert_eq!((refusal.code, refusal.request_id.as_deref()), (Some(Code::LateLease), Some("r")));
    assert_eq!(unknown.unwrap_err().refusal().unwrap().code, None);
}

#[tokio::test]
async fn a_begin_is_an_edit_that_says_so_and_hears_whether_it_was_made() {
    let times = json!({"created": "2026-11-28T05:59:59.000Z", "updated": "2026-11-28T05:59:59.000Z"});
    let mut job = document(times);
    job.extend(document(json!({"id": "job/1", "state": "QUEUED", "action": "noop"})));
    let good = json!({"status": 200, "begun": true, "rerun": true, "document": job});
    let no_job = json!({"status": 200, "begun": true, "document": {"id": "job/1", "state": "LOST"}});
    let (client, script) = client(&json!({"reports": [good, no_job]}));
    let lease = Lease { generation: 1, zxid: 7 };
    let entry = "/job/entries/entry-999-0000000001".to_owned();
    let attempt = AttemptIdentity { job: "job/1".to_owned(), lease, entry, executor: "Kenny".to_owned() };
    let begin = Report::Begin { attempt: attempt.into(), changes: Document::new() };
    let answers = client.report(list([begin.clone(), begin])).await.unwrap();
    let sent: Value = serde_json::from_str(&script.body(0)).unwrap();
    let item = json!({"id": "job/1", "lease": "1.7", "entry": "/job/entries/entry-999-0000000001",
                      "executor": "Kenny", "changes": {"state": "RUNNING"}, "document": true, "begin": true});
    assert_eq!(sent, json!({"actions": ["noop"], "reports": [item, item]}));
    let [good, no_job] = <[_; 2]>::try_from(answers).unwrap();
    let Ok(Reported::Begin { job: Ok(job), begun: true, rerun: Some(true) }) = good else { panic!("{good:?}") };
    assert_eq!((&*job.id, job.state), ("job/1", State::Queued));
    let Ok(Reported::Begin { job: Err(reason), begun: true, rerun: None }) = no_job else { panic!("{no_job:?}") };
    assert!(reason.contains("LOST"), "{reason}");
}

#[tokio::test]
async fn an_answer_that_does_not_fit_its_list_is_none() {
    let good = json!({"status": 200, "document": {}});
    for body in [
        json!({"reports": [good]}),
        json!({"reports": [good, good, good]}),
        json!({"reports": [{}, {}]}),
        json!({"status": 200}),
    ] {
        let (client, _) = client(&body);
        let error = client
            .report(list(["job/1", "job/2"].map(|id| Report::Read { id: id.to_owned(), shows_job: true })))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unintelligible { .. }), "{error}");
    }
    let (client, _) = client(&json!({"jobs": []}));
    let error = client.add_all("job", &[Document::new()], None).await.unwrap_err();
    assert!(error.to_string().ends_with("it answers 0 of 1 items"), "{error}");
}

#[tokio::test]
async fn what_was_added_before_is_added_with_a_key_only() {
    let conflict = |code: Option<&str>| json!({"status": 409, "message": "no", "resource-id": "job/1", "code": code});
    let body = json!({"jobs": [
        {"status": 201, "resource-id": "job/0"}, conflict(Some("conflict")), conflict(Some("late-lease")), {"status": 201},
    ]});
    let documents = vec![Document::new(); 4];
    for key in [None, Some("k")] {
        let (client, script) = client(&body);
        let added = client.add_all("job", &documents, key).await.unwrap();
        assert_eq!(script.header(0, "idempotency-key").as_deref(), key);
        assert_eq!(script.body(0), "[{},{},{},{}]");
        let ids: Vec<Option<&str>> = added.iter().map(|added| added.as_deref().ok()).collect();
        assert_eq!(ids, [Some("job/0"), key.map(|_| "job/1"), None, None]);
    }
}
