//! What filters select, the same in every store.

use super::{Arc, Query, Revision, Store, StoreExt, Value, fill, filter, ids, json, order, search};

pub(super) async fn filters_select(store: Arc<dyn Store>) {
    let target = json!({"href": "credential/1"});
    let documents = [
        ("job/1", json!({"id": "job/1", "state": "QUEUED", "action": "noop", "priority": 5, "targetResource": target})),
        ("job/2", json!({"id": "job/2", "state": "RUNNING", "action": "noop", "priority": 50, "progress": 10})),
        ("job/3", json!({"id": "job/3", "state": null, "priority": null, "flag": true})),
        ("job/4", json!({"id": "job/4", "state": "FAILED", "acl": {"owner": {"principal": "ADMIN"}}})),
    ];
    fill(&*store, &documents).await;
    let rows: &[(&str, &[&str])] = &[
        ("state='QUEUED'", &["job/1"]),
        ("state!='QUEUED'", &["job/2", "job/3", "job/4"]),
        ("state=null", &["job/3"]),
        ("state!=null", &["job/1", "job/2", "job/4"]),
        ("state='QUEUED' or state='RUNNING'", &["job/1", "job/2"]),
        ("state='QUEUED' or state='RUNNING' or state='QUEUED'", &["job/1", "job/2"]),
        ("state='QUEUED' and action='noop'", &["job/1"]),
        ("(state='QUEUED' or state='FAILED') and action='noop'", &["job/1"]),
        ("(state='QUEUED' or state='RUNNING') and progress=10", &["job/2"]),
        ("state='QUEUED' or progress=10", &["job/1", "job/2"]),
        ("state>'FAILED'", &["job/1", "job/2"]),
        ("state<=1", &[]),
        ("priority>5", &["job/2"]),
        ("priority>='5'", &["job/1", "job/2"]),
        ("priority='5.0'", &["job/1"]),
        ("priority!=5", &["job/2", "job/3", "job/4"]),
        ("priority='high'", &[]),
        ("priority!='high'", &["job/1", "job/2", "job/3", "job/4"]),
        ("priority<9223372036854775808", &["job/1", "job/2"]),
        ("targetResource/href='credential/1'", &["job/1"]),
        ("acl/owner/principal='ADMIN'", &["job/4"]),
        ("flag=true", &["job/3"]),
        ("id='job/2'", &["job/2"]),
        ("id>'job/2'", &["job/3", "job/4"]),
        ("nowhere='x'", &[]),
        ("nowhere!='x'", &["job/1", "job/2", "job/3", "job/4"]),
    ];
    for (text, expected) in rows {
        assert_eq!(search(&*store, text).await, *expected, "{text}");
    }
}

pub(super) async fn dates_compare_as_instants(store: Arc<dyn Store>) {
    let documents = [
        ("job/1", json!({"created": "2026-01-01T00:00:00.123Z"})),
        ("job/2", json!({"created": "2026-01-01T00:00:00.124Z"})),
        ("job/3", json!({"created": "2026-01-01T00:00:00.125Z"})),
    ];
    fill(&*store, &documents).await;
    let rows: &[(&str, &[&str])] = &[
        ("created='2026-01-01T01:00:00.124+01:00'", &["job/2"]),
        ("created!='2026-01-01T01:00:00.124+01:00'", &["job/1", "job/3"]),
        ("created<'2026-01-01T00:00:00.124Z'", &["job/1"]),
        ("created<='2026-01-01T00:00:00.124Z'", &["job/1", "job/2"]),
        ("created<'2026-01-01T00:00:00.124001Z'", &["job/1", "job/2"]),
        ("created<='2026-01-01T00:00:00.124001Z'", &["job/1", "job/2"]),
        ("created>'2026-01-01T00:00:00.124001Z'", &["job/3"]),
        ("created>='2026-01-01T00:00:00.124001Z'", &["job/3"]),
        ("created='2026-01-01T00:00:00.124001Z'", &[]),
        ("created!='2026-01-01T00:00:00.124001Z'", &["job/1", "job/2", "job/3"]),
        ("created>'2026-01-01'", &[]),
        ("created<='2026-01-01'", &["job/1", "job/2", "job/3"]),
        ("created='2026-01-01'", &["job/1", "job/2", "job/3"]),
        ("created!='2026-01-01'", &[]),
        ("created>='2026-01-01T00:00:00.125Z||/s'", &["job/1", "job/2", "job/3"]),
        ("created<'2026-01-01T00:00:00.125Z||/s'", &[]),
        ("created>'2026-01-01T01:00:00.125+01:00||-1d'", &["job/1", "job/2", "job/3"]),
        ("created<'2026-01-01T00:00:01.124Z||-1s'", &["job/1"]),
        ("created<'now'", &[]),
        ("created!='now'", &["job/1", "job/2", "job/3"]),
        ("created=['2026-01-01T00:00:00.124Z','2025']", &["job/2"]),
        ("created!=['2026-01-01T00:00:00.124Z','2025']", &["job/1", "job/3"]),
        ("created^='2026'", &[]),
    ];
    for (text, expected) in rows {
        assert_eq!(search(&*store, text).await, *expected, "{text}");
    }
    let now = "2026-01-01T00:01:00.124Z".parse().unwrap();
    for (text, expected) in
        [("created<'now-1m'", "job/1"), ("created='now-60s'", "job/2"), ("created>'now-1m'", "job/3")]
    {
        let query = Query { filter: Some(filter(text).resolve(now)), limit: 10, ..Query::default() };
        assert_eq!(ids(&store.search("job", &query).await.unwrap()), [expected], "{text}");
    }
}

pub(super) async fn prefixes_and_lists_select(store: Arc<dyn Store>) {
    let documents = [
        ("job/1", json!({"id": "job/1", "action": "collect_vms", "state": "QUEUED", "priority": 1, "note": "ab"})),
        ("job/2", json!({"id": "job/2", "action": "collect_quotas", "state": "RUNNING", "priority": 10})),
        ("job/3", json!({"id": "job/3", "action": "collect\u{10FFFF}", "state": "FAILED", "note": ["ab", "c"]})),
        ("job/4", json!({"id": "job/4", "action": "collecté", "note": "\u{D7FF}"})),
        ("job/5", json!({"id": "job/5", "action": "\u{E000}", "note": 10})),
        ("job/60", json!({"id": "job/60", "note": "c"})),
    ];
    fill(&*store, &documents).await;
    let rows: &[(&str, &[&str])] = &[
        ("action^='collect'", &["job/1", "job/2", "job/3", "job/4"]),
        ("action^='collect_'", &["job/1", "job/2"]),
        ("action^='collect_v' or action^='\u{E000}'", &["job/1", "job/5"]),
        ("action^='collect\u{10FFFF}'", &["job/3"]),
        ("action^='\u{D7FF}'", &[]),
        ("action^='\u{10FFFF}'", &[]),
        ("action^=''", &["job/1", "job/2", "job/3", "job/4", "job/5"]),
        ("note^='\u{D7FF}'", &["job/4"]),
        ("note^='a'", &["job/1", "job/3"]),
        ("priority^='1'", &[]),
        ("id^='job/6'", &["job/60"]),
        ("id^='job'", &["job/1", "job/2", "job/3", "job/4", "job/5", "job/60"]),
        ("state=['QUEUED','RUNNING']", &["job/1", "job/2"]),
        ("state=['QUEUED','QUEUED','nowhere']", &["job/1"]),
        ("state!=['QUEUED','RUNNING']", &["job/3", "job/4", "job/5", "job/60"]),
        ("state=[]", &[]),
        ("state!=[]", &["job/1", "job/2", "job/3", "job/4", "job/5", "job/60"]),
        ("state=['QUEUED','FAILED'] and action^='collect_'", &["job/1"]),
        ("priority=[1,'10']", &["job/1", "job/2"]),
        ("priority=[1,'1e1']", &["job/1", "job/2"]),
        ("priority!=[1,'many']", &["job/2", "job/3", "job/4", "job/5", "job/60"]),
        ("note=['c',10]", &["job/3", "job/5", "job/60"]),
        ("note=='C'", &["job/3", "job/60"]),
        ("action=='collect*'", &["job/1", "job/2", "job/3", "job/4"]),
        ("state=='queued running'", &["job/1", "job/2"]),
    ];
    for (text, expected) in rows {
        assert_eq!(search(&*store, text).await, *expected, "{text}");
    }
    let ids = ["job/01a22896-57ff-7010-b0be-14f3f033efd6", "job/01a22896-6000-7010-b0be-14f3f033efd6", "job/01a22"];
    let documents = ids.map(|id| (id, json!({"id": id})));
    fill(&*store, &documents).await;
    let [one, two, short] = ids;
    let rows: &[(&str, &[&str])] = &[
        ("id^='job/01a2'", &[short, one, two]),
        ("id^='job/01a22896'", &[one, two]),
        ("id^='job/01a22896-'", &[one, two]),
        ("id^='job/01a22896-5'", &[one]),
        ("id^='job/01a22896-57ff-7010-b0be-14f3f033efd6'", &[one]),
        ("id^='job/01a22896-57ff-7010-b0be-14f3f033efd6a'", &[]),
        ("id^='job/01A2'", &[]),
        ("id^='job/01a228965'", &[]),
        ("id^='job/6' or id^='job/01a22896-6'", &["job/60", two]),
    ];
    for (text, expected) in rows {
        let (mut found, mut expected) = (search(&*store, text).await, expected.to_vec());
        // the order of ids of two forms is not that of their texts
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
}

pub(super) async fn irregular_values_are_found(store: Arc<dyn Store>) {
    let documents = [
        ("job/1", json!({"state": ["QUEUED", "RUNNING"]})),
        ("job/2", json!({"state": "QUEUED", "created": "2026-01-01T00:00:00Z"})),
        ("job/3", json!({"state": 7, "created": "soon", "priority": "high"})),
        ("job/4", json!({"state": {"is": "QUEUED"}, "priority": 1.5, "created": "2026-01-01T00:00:00.001Z"})),
    ];
    fill(&*store, &documents).await;
    let rows: &[(&str, &[&str])] = &[
        ("state='QUEUED'", &["job/1", "job/2"]),
        ("state='RUNNING'", &["job/1"]),
        ("state='QUEUED' or state='RUNNING'", &["job/1", "job/2"]),
        ("state!='QUEUED'", &["job/3", "job/4"]),
        ("state='7'", &["job/3"]),
        ("state=null", &[]),
        ("created='2026-01-01T00:00:00.000Z'", &["job/2"]),
        ("created<'2026-01-01T00:00:00.001Z'", &["job/2"]),
        ("created>'2025'", &["job/2", "job/4"]),
        ("created!='2026'", &["job/1", "job/3"]),
        ("state^='QUE'", &["job/1", "job/2"]),
        ("state=['RUNNING',7]", &["job/1", "job/3"]),
        ("state!=['RUNNING',7]", &["job/2", "job/4"]),
        ("priority='high'", &["job/3"]),
        ("priority<2", &["job/4"]),
    ];
    for (text, expected) in rows {
        assert_eq!(search(&*store, text).await, *expected, "{text}");
    }
    store.remove("job/1", Revision(1)).await.unwrap();
    assert_eq!(search(&*store, "state='QUEUED'").await, ["job/2"]);
}

pub(super) async fn one_irregular_value_is_enough(store: Arc<dyn Store>) {
    let regular = json!({"created": "2026-01-01T00:00:00.000Z", "priority": 9_007_199_254_740_992_i64, "state": "A"});
    let rows: &[(Value, &str, &[&str])] = &[
        (json!({"created": "2026-01-01T00:00:00Z"}), "created<='2026-01-01T00:00:00.000Z'", &["job/0", "job/1"]),
        (
            json!({"created": "2026-01-01T01:00:00.000+01:00"}),
            "created='2026-01-01T00:00:00.000Z'",
            &["job/0", "job/1"],
        ),
        (json!({"created": "soon"}), "created!='2026-01-01T00:00:00.000Z'", &["job/0"]),
        (json!({"priority": 9_007_199_254_740_993_i64}), "priority>9007199254740992", &["job/0"]),
        (json!({"priority": "9007199254740992"}), "priority>1", &["job/0", "job/1"]),
        (json!({"priority": 2.5}), "priority<3", &["job/0"]),
        (json!({"state": ["A"]}), "state='A'", &["job/0", "job/1"]),
        (json!({"state": ["B", "C"]}), "state='C'", &["job/0"]),
        (json!({"state": true}), "state='true'", &["job/0"]),
    ];
    fill(&*store, &[("job/1", regular)]).await;
    for (irregular, text, expected) in rows {
        fill(&*store, &[("job/0", irregular.clone())]).await;
        assert_eq!(search(&*store, text).await, *expected, "{irregular} {text}");
        let by_priority = Query { order: vec![order("priority", false)], limit: 10, ..Query::default() };
        // as floating-point numbers the large priorities are equal
        let first = if irregular.get("priority").is_some_and(Value::is_number) { "job/0" } else { "job/1" };
        assert_eq!(ids(&store.search("job", &by_priority).await.unwrap())[0], first, "{irregular}");
        store.remove("job/0", Revision(1)).await.unwrap();
    }
}

pub(super) async fn a_filter_of_thousands_of_terms(store: Arc<dyn Store>) {
    let found = json!({"id": "job/1", "n": 3999, "state": "3999"});
    fill(&*store, &[("job/1", found), ("job/2", json!({"id": "job/2", "n": -1}))]).await;
    // states are counted by another search than ids
    for name in ["id='job/", "n='", "state='"] {
        let terms: Vec<String> = (0..4000).map(|number| format!("{name}{number}'")).collect();
        let expected: &[&str] = if name == "id='job/" { &["job/1", "job/2"] } else { &["job/1"] };
        assert_eq!(search(&*store, &terms.join(" or ")).await, expected);
        let terms: Vec<String> = (0..4000).map(|number| format!("{name}{number}x'")).collect();
        assert!(search(&*store, &terms.join(" and ")).await.is_empty());
        assert_eq!(search(&*store, &terms.join(" and ").replace('=', "!=")).await, ["job/1", "job/2"]);
        let terms: Vec<String> = (0..40_000).map(|number| format!("{name}{number}'")).collect();
        assert_eq!(search(&*store, &terms.join(" or ")).await, expected);
    }
}

/// Together with an `or` of states, which is answered by one search for each.
pub(super) async fn lists_of_thousands(store: Arc<dyn Store>) {
    let document = |number: u8| json!({"state": "A", "targetResource": {"href": format!("vm/{number}")}, "n": number});
    for number in 0..4 {
        fill(&*store, &[(&format!("job/{number}"), document(number))]).await;
    }
    for length in [10_000, 40_000] {
        let vms: Vec<String> = (2..length).map(|number| format!("'vm/{number}'")).collect();
        let vms = vms.join(",");
        for states in ["state='A' or state='B'", "state=['A','B','C','D','E']"] {
            let text = format!("({states}) and targetResource/href=[{vms}]");
            assert_eq!(search(&*store, &text).await, ["job/2", "job/3"], "{length} {states}");
            let text = format!("({states}) and targetResource/href!=[{vms}]");
            assert_eq!(search(&*store, &text).await, ["job/0", "job/1"], "{length} {states}");
        }
        let numbers: Vec<String> = (1..length).map(|number| number.to_string()).collect();
        assert_eq!(search(&*store, &format!("n=[{}]", numbers.join(" "))).await, ["job/1", "job/2", "job/3"]);
    }
}
