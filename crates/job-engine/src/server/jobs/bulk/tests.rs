use slipstream_cimi::overview::{retries, user};

use super::*;
use crate::server::auth::accounts;
use crate::server::jobs::tests::shared;
use crate::server::jobs::{self, add};

fn caller(name: &str, role: &str) -> Caller {
    Caller::User { name: name.to_owned(), roles: vec![role.to_owned()], session: Some("session/1".to_owned()) }
}

/// A user, and a job that it owns, so many times.
async fn world(jobs: usize) -> Shared {
    let shared = shared().await;
    for (name, is_super) in [("jane", false), ("super", true)] {
        let Value::Object(document) = json!({"isSuperUser": is_super}) else { unreachable!("an object") };
        let user = accounts::record(name, document, accounts::ledger("hash"), shared.clock.now());
        shared.store.insert(user).await.expect("stored");
    }
    for _ in 0..jobs {
        job(&shared, "jane").await;
    }
    shared
}

async fn job(shared: &Shared, owner: &str) -> String {
    let Value::Object(sent) = json!({"action": "noop", "acl": {"owner": {"principal": owner, "type": "USER"}}}) else {
        unreachable!("an object")
    };
    add(shared, &caller("super", "ADMIN"), sent, None).await.expect("added")
}

fn wish(deed: Deed, filter: &str, expect: u64) -> Wish {
    Wish { deed, filter: filter.to_owned(), expect, before: None }
}

/// One step of the only operation that runs; what has become of it.
async fn step_once(shared: &Shared, id: &str) -> Operation {
    let record = shared.store.get(id).await.expect("read").expect("there");
    step::step(shared, record).await.expect("done");
    let record = shared.store.get(id).await.expect("read").expect("there");
    read_operation(&record).expect("an operation")
}

async fn states(shared: &Shared, state: &str) -> u64 {
    shared.jobs.settled().await;
    let filter = Filter::parse(&format!("state='{state}'")).expect("a filter");
    let query = Query { filter: Some(filter), ..Query::default() };
    shared.store.search(JOB.name, &query).await.expect("found").count
}

#[tokio::test]
async fn jobs_that_match_and_may_be_changed_are_seen_step_by_step_and_no_others() {
    let shared = world(600).await;
    let hidden = job(&shared, "joe").await;
    let jane = caller("jane", "USER");
    let begun = begin(&shared, &jane, wish(Deed::Stop, "state='QUEUED'", 600)).await.expect("begun");
    assert_eq!((begun.matched, begun.done, begun.state), (600, 0, State::Running));
    let first = step_once(&shared, &begun.id).await;
    assert_eq!((first.state, first.done, states(&shared, "STOPPED").await), (State::Running, 500, 500));
    let second = step_once(&shared, &begun.id).await;
    assert_eq!((second.state, second.done), (State::Running, 600));
    let last = step_once(&shared, &begun.id).await;
    assert_eq!((last.state, last.done, last.refused), (State::Success, 600, BTreeMap::new()));
    let hidden = shared.jobs.get(&hidden).await.expect("read").expect("there");
    assert_eq!(jobs::document::state_of(&hidden.document), State::Queued, "jane may not even see it");
}

#[tokio::test]
async fn whoever_may_no_longer_log_in_changes_nothing_more() {
    let shared = world(600).await;
    let begun = begin(&shared, &caller("jane", "USER"), wish(Deed::Delete, "state='QUEUED'", 600)).await;
    let begun = begun.expect("begun");
    assert_eq!(step_once(&shared, &begun.id).await.done, 500);
    let mut jane = shared.store.get(&user::id("jane")).await.expect("read").expect("there");
    jane.document.make_mut().insert("state".to_owned(), json!("SUSPENDED"));
    shared.store.replace(jane).await.expect("written");
    let ended = step_once(&shared, &begun.id).await;
    assert_eq!((ended.state, ended.done, states(&shared, "QUEUED").await), (State::Failed, 500, 100));
    assert_eq!(ended.message.as_deref(), Some("the user who asked may no longer log in"));
}

#[tokio::test]
async fn an_administrator_who_is_none_any_more_is_refused_job_by_job() {
    let shared = world(2).await;
    let begun = begin(&shared, &caller("super", "ADMIN"), wish(Deed::Stop, "action='noop'", 2)).await.expect("begun");
    let mut root = shared.store.get(&user::id("super")).await.expect("read").expect("there");
    root.document.make_mut().insert("isSuperUser".to_owned(), json!(false));
    shared.store.replace(root).await.expect("written");
    let ended = step_once(&shared, &begun.id).await;
    assert_eq!((ended.state, ended.done, states(&shared, "QUEUED").await), (State::Success, 0, 2));
}

#[tokio::test]
async fn a_step_that_is_done_again_after_a_crash_runs_no_job_twice() {
    let shared = world(0).await;
    let root = caller("super", "ADMIN");
    for _ in 0..3 {
        let id = job(&shared, "jane").await;
        jobs::stop(&shared, &root, &id).await.expect("stopped");
    }
    let begun = begin(&shared, &root, wish(Deed::Retry, "state='STOPPED'", 3)).await.expect("begun");
    let before = shared.store.get(&begun.id).await.expect("read").expect("there");
    assert_eq!(step_once(&shared, &begun.id).await.done, 3);
    let after = shared.store.get(&begun.id).await.expect("read").expect("there");
    let crashed = Record { revision: after.revision, ..before };
    shared.store.replace(crashed).await.expect("as if the cursor had not been written");
    assert_eq!(step_once(&shared, &begun.id).await.done, 3);
    assert_eq!(states(&shared, "QUEUED").await, 3, "each has one retry");
}

#[tokio::test]
async fn a_retry_that_is_asked_for_again_leaves_out_what_was_retried() {
    let shared = world(0).await;
    let root = caller("super", "ADMIN");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = job(&shared, "jane").await;
        jobs::stop(&shared, &root, &id).await.expect("stopped");
        ids.push(id);
    }
    let filter = || "state='STOPPED'".to_owned();
    let counted = async || {
        let count = count(&shared, &root, Deed::Retry, filter(), None).await.expect("counted");
        (count.matched, count.retried, count.left())
    };
    jobs::retry::retry(&shared, &root, &ids[0], retries::Wish::default()).await.expect("retried by hand");
    assert_eq!(counted().await, (3, Some(1), 2));
    let mut begun = begin(&shared, &root, wish(Deed::Retry, &filter(), 3)).await.expect("begun");
    // what was retried in the same millisecond would be taken for its own
    begun.created += jiff::SignedDuration::from_millis(1);
    let record = shared.store.get(&begun.id).await.expect("read").expect("there");
    shared.store.replace(Record { document: document_of(&begun).into(), ..record }).await.expect("written");
    let done = step_once(&shared, &begun.id).await;
    assert_eq!((done.done, done.retried, done.refused), (2, 1, BTreeMap::new()));
    assert_eq!((counted().await, states(&shared, "QUEUED").await), ((3, Some(3), 0), 3));
    let stop = count(&shared, &root, Deed::Stop, filter(), None).await.expect("counted");
    assert_eq!((stop.matched, stop.retried), (3, None));
    let jane = caller("jane", "USER");
    assert_eq!(count(&shared, &jane, Deed::Retry, filter(), None).await.expect_err("refused").refusal.status, 403);
    let counted = count(&shared, &root, Deed::Retry, filter(), Some(Timestamp::UNIX_EPOCH)).await.expect("counted");
    assert_eq!((counted.matched, counted.retried), (0, Some(0)), "all were added later");
}

#[tokio::test]
async fn what_may_not_begin_is_refused_and_leaves_nothing() {
    let shared = world(2).await;
    let (jane, root) = (caller("jane", "USER"), caller("super", "ADMIN"));
    let refused = async |caller: &Caller, wish: Wish| {
        let refusal = begin(&shared, caller, wish).await.expect_err("refused").refusal;
        (refusal.status, refusal.code)
    };
    let all = || wish(Deed::Stop, "state='QUEUED'", 2);
    assert_eq!(refused(&root, wish(Deed::Stop, "state='QUEUED'", 1)).await, (409, Some(Code::Changed)));
    assert_eq!(refused(&root, wish(Deed::Stop, "state=", 2)).await, (400, None));
    assert_eq!(refused(&root, wish(Deed::Stop, "state='QUEUED') or (state='x'", 2)).await, (400, None));
    assert_eq!(refused(&jane, wish(Deed::Retry, "state='FAILED'", 0)).await, (403, None), "she may not add");
    assert_eq!(refused(&Caller::Anonymous, all()).await, (403, None));
    let vouched = Caller::User { name: "super".to_owned(), roles: vec!["ADMIN".to_owned()], session: None };
    assert_eq!(refused(&vouched, all()).await, (400, None), "nobody could read its rights again");
    let before = Wish { before: Some(Timestamp::UNIX_EPOCH), ..all() };
    assert_eq!(begin(&shared, &jane, before).await.expect("begun").matched, 0, "all were added later");
    assert_eq!(refused(&jane, all()).await, (409, Some(Code::Conflict)), "one at a time");
    begin(&shared, &root, all()).await.expect("another user's may run beside it");
}

#[tokio::test]
async fn an_operation_is_stopped_by_its_owner_and_by_administrators_alone() {
    let shared = world(600).await;
    let jane = caller("jane", "USER");
    let begun = begin(&shared, &jane, wish(Deed::Stop, "state='QUEUED'", 600)).await.expect("begun");
    step_once(&shared, &begun.id).await;
    let refused = stop(&shared, &caller("joe", "USER"), &begun.id).await.expect_err("refused");
    assert_eq!(refused.refusal.status, 403);
    for asker in [&jane, &caller("super", "ADMIN")] {
        assert_eq!(stop(&shared, asker, &begun.id).await.expect("stopped")["state"], "STOPPED");
    }
    assert!(running(&shared).await.expect("read").is_empty());
    assert_eq!(states(&shared, "QUEUED").await, 100);
}
