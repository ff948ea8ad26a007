use serde_json::Value;

use super::*;

fn document(value: Value) -> Document {
    let Value::Object(document) = value else { panic!("not an object") };
    document
}

#[test]
fn a_retry_has_what_was_asked_for_and_nothing_of_what_came_of_it() {
    let asked = json!({
        "name": "n", "description": "d", "action": "noop", "targetResource": {"href": "credential/a"},
        "affectedResources": [{"href": "credential/a"}], "parentJob": "job/0b", "priority": 7,
        "properties": {"colour": "red"}, "acl": {"owner": {"principal": "jane", "type": "USER"}},
    });
    let mut job = document(asked.clone());
    job.extend(document(json!({
        "id": "job/0a", "state": "FAILED", "progress": 100, "statusMessage": "no", "returnCode": 3, "started": "x",
        "duration": 4, "nestedJobs": ["job/0c"], "retryOf": {"href": "job/0d"}, "timeOfStatusChange": "x",
        "operations": [], "created": "x", "updated": "x",
    })));
    assert_eq!(Value::Object(copied(&job)), asked);
}

#[test]
fn retries_of_one_job_have_ids_of_their_own_and_always_the_same() {
    let ids: Vec<String> = (0..3).map(|before| id_of_retry("job/0a", before)).collect();
    assert_eq!(ids, (0..3).map(|before| id_of_retry("job/0a", before)).collect::<Vec<_>>());
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != id_of_retry("job/0b", 0));
    assert!(ids.iter().all(|id| slipstream_cimi::job::is_job_id(id)));
}
