//! Who sees what, the same in every store.

use slipstream_cimi::acl::{Principal, default_acl, with_administrator_rule};

use super::{Arc, Query, Revision, Store, StoreExt, Value, fill, filter, ids, json, order, record};

fn user(name: &str) -> Principal {
    Principal::User(name.to_owned())
}

fn role(name: &str) -> Principal {
    Principal::Role(name.to_owned())
}

/// Owned by a user, and shown to others by rules.
fn owned(owner: &str, viewers: &[(&str, &str, &str)]) -> Value {
    let rules = viewers.iter().map(|(kind, name, right)| json!({"type": kind, "principal": name, "right": right}));
    let rules: Vec<Value> = rules.collect();
    with_administrator_rule(json!({"owner": {"type": "USER", "principal": owner}, "rules": rules}))
}

async fn seen(store: &dyn Store, callers: &[Principal], query: Query) -> Vec<String> {
    let query = Query { visible_to: Some(callers.to_vec()), limit: 100, ..query };
    let page = store.search("job", &query).await.unwrap();
    if query.after.is_none() {
        assert_eq!(page.count, page.records.len() as u64, "{query:?}");
        let count = store.search("job", &Query { limit: 0, ..query.clone() }).await.unwrap().count;
        assert_eq!(count, page.count, "{query:?}");
    }
    page.records.into_iter().map(|record| record.id).collect()
}

pub(super) async fn callers_see_what_names_them(store: Arc<dyn Store>) {
    let created = |day: u8| format!("2026-01-0{day}T00:00:00.000Z");
    let documents = [
        ("job/1", json!({"state": "QUEUED", "created": created(1), "acl": default_acl()})),
        ("job/2", json!({"state": "QUEUED", "created": created(2), "acl": owned("jane", &[])})),
        ("job/3", json!({"state": "FAILED", "created": created(3), "acl": owned("jane", &[("ROLE", "USER", "VIEW")])})),
        ("job/4", json!({"state": "QUEUED", "created": created(4), "acl": owned("joe", &[("USER", "jane", "ALL")])})),
        (
            "job/5",
            json!({"state": "QUEUED", "created": created(5), "acl": owned("joe", &[("USER", "jane", "DELETE")])}),
        ),
        ("job/6", json!({"state": "QUEUED", "created": created(6), "acl": owned("joe", &[("ROLE", "jane", "VIEW")])})),
        ("job/7", json!({"state": "QUEUED", "acl": {"owner": {"type": "ROLE", "principal": "ANON"}}})),
        ("job/8", json!({"state": "QUEUED", "acl": [{"owner": {"type": "USER", "principal": "jane"}}]})),
        ("job/9", json!({"state": "QUEUED"})),
        ("user/1", json!({"acl": owned("jane", &[])})),
    ];
    fill(&*store, &documents).await;
    let rows: &[(&[Principal], &[&str])] = &[
        (&[user("jane")], &["job/2", "job/3", "job/4"]),
        (&[user("jane"), role("USER"), role("ANON"), role("session/1")], &["job/2", "job/3", "job/4", "job/7"]),
        (&[user("jane"), user("jane"), user("joe")], &["job/2", "job/3", "job/4", "job/5", "job/6"]),
        (&[role("jane")], &["job/6"]),
        (&[role("USER")], &["job/3"]),
        (&[user("ADMIN")], &[]),
        (&[user("nobody")], &[]),
        (&[], &[]),
        (&[role("ADMIN")], &["job/1", "job/2", "job/3", "job/4", "job/5", "job/6"]),
        (&[role("ANON"), role("ADMIN")], &["job/1", "job/2", "job/3", "job/4", "job/5", "job/6", "job/7"]),
    ];
    for (callers, expected) in rows {
        assert_eq!(seen(&*store, callers, Query::default()).await, *expected, "{callers:?}");
        let newest = Query { order: vec![order("created", true)], ..Query::default() };
        let mut newest_first: Vec<&str> = expected.iter().copied().filter(|id| *id != "job/7").collect();
        newest_first.reverse();
        newest_first.extend(expected.iter().filter(|id| **id == "job/7"));
        assert_eq!(seen(&*store, callers, newest).await, newest_first, "{callers:?}");
        let after = Query { after: Some("job/3".to_owned()), ..Query::default() };
        let later: Vec<&str> = expected.iter().copied().filter(|id| *id > "job/3").collect();
        assert_eq!(seen(&*store, callers, after).await, later, "{callers:?}");
        let waiting = Query { filter: Some(filter("state='QUEUED' or state='RUNNING'")), ..Query::default() };
        let waiting_ones: Vec<&str> = expected.iter().copied().filter(|id| *id != "job/3").collect();
        assert_eq!(seen(&*store, callers, waiting).await, waiting_ones, "{callers:?}");
    }
}

pub(super) async fn changed_access_control_holds_at_once(store: Arc<dyn Store>) {
    let jane = [user("jane"), role("USER")];
    let mut revision = Revision::default();
    let changes: &[(Value, bool)] = &[
        (default_acl(), false),
        (owned("jane", &[]), true),
        (owned("jane", &[("ROLE", "USER", "VIEW")]), true),
        (owned("joe", &[]), false),
        (owned("joe", &[("ROLE", "USER", "MODIFY")]), true),
        (default_acl(), false),
        (owned("jane", &[]), true),
    ];
    for (acl, is_seen) in changes {
        let next = super::Record { revision, ..record("job/1", &json!({"state": "QUEUED", "acl": acl})) };
        if revision == Revision::default() {
            store.insert(next).await.unwrap();
            revision = Revision(1);
        } else {
            revision = store.replace(next).await.unwrap();
        }
        assert_eq!(seen(&*store, &jane, Query::default()).await.len(), usize::from(*is_seen), "{acl}");
    }
    store.remove("job/1", revision).await.unwrap();
    assert!(seen(&*store, &jane, Query::default()).await.is_empty());
}

/// More sets of viewers than are searched one by one.
pub(super) async fn shared_with_ever_others(store: Arc<dyn Store>) {
    let jane = [user("jane"), role("USER")];
    for number in 0..100_u32 {
        let other = format!("user-{}", number / 2);
        let mut viewers = vec![("USER", other.as_str(), "VIEW")];
        if number % 4 == 0 {
            viewers.push(("ROLE", "USER", "VIEW"));
        }
        let acl = if number % 10 == 9 { default_acl() } else { owned("jane", &viewers) };
        let state = if number % 3 == 0 { "QUEUED" } else { "RUNNING" };
        let created = format!("2026-01-01T00:00:{:02}.000Z", (number * 7) % 60);
        let document = json!({"state": state, "created": created, "acl": acl});
        store.insert(record(&format!("job/{number:03}"), &document)).await.unwrap();
    }
    let query = Query { visible_to: Some(jane.to_vec()), limit: 20, ..Query::default() };
    let page = store.search("job", &query).await.unwrap();
    assert_eq!((page.count, ids(&page)[0], ids(&page)[19]), (90, "job/000", "job/021"));
    let newest = Query { order: vec![order("created", true)], offset: 2, limit: 3, ..query.clone() };
    let page = store.search("job", &newest).await.unwrap();
    assert_eq!((page.count, ids(&page)), (90, vec!["job/034", "job/094", "job/051"]));
    let waiting = Query { filter: Some(filter("state=['QUEUED','FAILED']")), ..query.clone() };
    let page = store.search("job", &waiting).await.unwrap();
    assert_eq!((page.count, ids(&page).len(), ids(&page)[1]), (30, 20, "job/003"));
    let mut walk = Query { after: Some(String::new()), limit: 7, ..query };
    let mut seen = Vec::new();
    for _ in 0..20 {
        let page = store.search("job", &walk).await.unwrap();
        let Some(last) = page.records.last() else { break };
        walk.after = Some(last.id.clone());
        seen.extend(page.records.into_iter().map(|record| record.id));
    }
    let expected: Vec<String> =
        (0..100).filter(|number| number % 10 != 9).map(|number| format!("job/{number:03}")).collect();
    assert_eq!(seen, expected);
}

/// A store that numbers whom it knows takes no name for a number.
pub(super) async fn names_that_are_numbers(store: Arc<dyn Store>) {
    for number in 1..=40_u32 {
        let name = number.to_string();
        let theirs = json!({"state": "QUEUED", "acl": owned("jane", &[("USER", &name, "VIEW")])});
        let own = json!({"state": "QUEUED", "acl": owned(&name, &[])});
        store.insert(record(&format!("job/{number}"), &theirs)).await.unwrap();
        store.insert(record(&format!("job/own-{number}"), &own)).await.unwrap();
    }
    assert_eq!(seen(&*store, &[user("jane")], Query::default()).await.len(), 40);
    for number in 1..=40_u32 {
        store.remove(&format!("job/own-{number}"), Revision(1)).await.unwrap();
        assert_eq!(seen(&*store, &[user("jane")], Query::default()).await.len(), 40, "without {number}");
    }
}
