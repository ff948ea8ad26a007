//! Who may do what with a document of a declared collection: the table of [`super::acl_matrix`], whose callers meet the same
//! access control here. Users may add credentials, and administrators alone connectors.

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_store::memory::MemoryStore;
use slipstream_store::sqlite::{Opening, SqliteStore};
use slipstream_store::{Query, Record, Store, StoreExt};

use crate::access::session_of;
use crate::acl_matrix::May::{Everything, Modify, Nothing};
use crate::acl_matrix::{CASES, Case, JANE, May, RIGHTS, SOMEBODY, Who, acl, rels, roles, without_request_id};
use crate::support::{Answered, InProcess, Raw, cookie};

/// In every text of the secret document that its author chose.
const MARK: &str = "zebra";

#[derive(Clone, Copy, Debug)]
enum Operation {
    Get,
    Head,
    Put,
    /// Of a value that no document may have.
    PutWrong,
    /// By an attempt at a job that is not there.
    PutLeased,
    Delete,
    Add,
    AddConnector,
    AddList,
    UnknownAction,
    Search(&'static str),
}

const OPERATIONS: [Operation; 16] = [
    Operation::Get,
    Operation::Head,
    Operation::Put,
    Operation::PutWrong,
    Operation::PutLeased,
    Operation::Delete,
    Operation::Add,
    Operation::AddConnector,
    Operation::AddList,
    Operation::UnknownAction,
    Operation::Search("$filter=type='zebra'"),
    Operation::Search("$filter=type^='zeb' and key!='a'"),
    Operation::Search("$last=0"),
    Operation::Search("$orderby=type:desc"),
    Operation::Search("$aggregation=cardinality:id,terms:type"),
    Operation::Search("$after=credential/0"),
];

/// The status, and how many documents a search tells of beside the open one.
fn expected(operation: Operation, who: Who, may: May, exists: bool) -> (u16, usize) {
    let root = may == Everything;
    let is_user = root || roles(who).contains(&"USER");
    let hidden = if root { 404 } else { 403 };
    let (views, modifies) = (exists && may != Nothing, exists && matches!(may, Modify | Everything));
    let status = match operation {
        Operation::Get | Operation::Head => {
            if views {
                200
            } else {
                hidden
            }
        }
        Operation::Put | Operation::Delete => {
            if modifies {
                200
            } else {
                hidden
            }
        }
        Operation::PutWrong => {
            if modifies {
                400
            } else {
                hidden
            }
        }
        // the attempt's job is looked for first
        Operation::PutLeased => hidden,
        Operation::Add => {
            if is_user {
                201
            } else {
                403
            }
        }
        Operation::AddList | Operation::Search(_) => {
            if is_user {
                200
            } else {
                403
            }
        }
        Operation::AddConnector => {
            if root {
                201
            } else {
                403
            }
        }
        Operation::UnknownAction => 404,
    };
    (status, usize::from(views))
}

struct World {
    engine: InProcess,
    administrator: String,
    /// A credential that everybody may modify.
    open: String,
}

impl World {
    async fn new(store: Arc<dyn Store>) -> Self {
        let engine = InProcess::over(store).await;
        let administrator = cookie(&*engine.transport).await;
        let mut world = Self { engine, administrator, open: String::new() };
        world.open = world.add(&json!({"acl": acl(("ROLE", "ANON"), None, "")})).await;
        world
    }

    async fn add(&self, document: &Value) -> String {
        let request = Raw::new("POST", "/api/credential").json(document).header("cookie", &self.administrator);
        let added = request.send(&*self.engine.transport).await;
        assert_eq!(added.status, 201, "{}", added.text);
        added.body["resource-id"].as_str().expect("an id").to_owned()
    }

    async fn everything(&self) -> Vec<Record> {
        let all = Query { limit: 10_000, ..Query::default() };
        let [credentials, connectors] =
            ["credential", "connector"].map(async |kind| self.engine.store.search(kind, &all).await.expect("answers"));
        let (credentials, connectors) = (credentials.await, connectors.await);
        credentials.records.into_iter().chain(connectors.records).collect()
    }

    /// Removes everything but the open one.
    async fn clear(&self) {
        for record in self.everything().await.into_iter().filter(|record| record.id != self.open) {
            self.engine.store.remove(&record.id, record.revision).await.expect("removed");
        }
    }

    fn request(operation: Operation, id: &str) -> Raw {
        let path = format!("/api/{id}");
        match operation {
            Operation::Get => Raw::new("GET", &path),
            Operation::Head => Raw::new("HEAD", &path),
            Operation::Put => Raw::new("PUT", &path).json(&json!({"key": "b"})),
            Operation::PutWrong => Raw::new("PUT", &path).json(&json!({"name": ""})),
            Operation::PutLeased => {
                let entry = "/job/entries/entry-999-0000000000";
                let leased = Raw::new("PUT", &path).json(&json!({"key": "b"})).header("job-id", "job/0a");
                leased.header("job-lease", "1.1").header("job-entry", entry)
            }
            Operation::Delete => Raw::new("DELETE", &path),
            Operation::Add => Raw::new("POST", "/api/credential").json(&json!({"key": "a"})),
            Operation::AddConnector => Raw::new("POST", "/api/connector").json(&json!({"key": "a"})),
            Operation::AddList => Raw::new("POST", "/api/credential").json(&json!([{"key": "a"}, {"name": ""}, 1])),
            Operation::UnknownAction => Raw::new("POST", &format!("{path}/explode")),
            Operation::Search(question) => {
                let (name, value) = question.split_once('=').expect("a name and a value");
                let form = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
                Raw::new("PUT", "/api/credential").text("application/x-www-form-urlencoded", form)
            }
        }
    }

    /// One row of the table with each operation.
    async fn hold(&self, (who, owner, rule, may): Case) {
        let (session, cookie) = match who {
            None => (String::new(), None),
            Some((name, roles)) => {
                let (session, cookie) = session_of(&*self.engine.store, name, roles).await;
                (session, Some(cookie))
            }
        };
        for operation in OPERATIONS {
            let place = format!("{operation:?} by {who:?} of the document of {owner:?} with {rule:?}");
            let secret = json!({"type": MARK, "key": MARK, "name": MARK, "targetResource": {"href": MARK},
                                "acl": acl(owner, rule, &session)});
            let id = self.add(&secret).await;
            let mut answers = Vec::new();
            for exists in [true, false] {
                if !exists {
                    self.clear().await;
                }
                let before = self.everything().await;
                let request = Self::request(operation, &id);
                let request = if let Some(cookie) = &cookie { request.header("cookie", cookie) } else { request };
                let answer = request.send(&*self.engine.transport).await;
                self.check(&format!("{place}, there: {exists}"), operation, (who, may, exists), &id, &answer);
                if answer.status >= 400 {
                    assert_eq!(self.everything().await, before, "{place} was refused and changed something");
                }
                answers.push(answer);
            }
            let is_told_apart = without_request_id(&answers[0]) != without_request_id(&answers[1]);
            let draws_ids = matches!(operation, Operation::Add | Operation::AddList | Operation::AddConnector);
            assert!(may != Nothing || draws_ids || !is_told_apart, "{place}: told apart");
            self.clear().await;
        }
        if !session.is_empty() {
            let stored = self.engine.store.get(&session).await.expect("answers").expect("there");
            self.engine.store.remove(&session, stored.revision).await.expect("removed");
        }
    }

    fn check(
        &self,
        place: &str,
        operation: Operation,
        (who, may, exists): (Who, May, bool),
        id: &str,
        answer: &Answered,
    ) {
        let (status, more) = expected(operation, who, may, exists);
        assert_eq!(answer.status, status, "{place}: {}", answer.text);
        let told = format!("{:?}{}", answer.headers, answer.text);
        assert!(may != Nothing || !told.contains(MARK), "{place}: {told}");
        let rels_of = |document: &Value| {
            let expected: &[&str] = if matches!(may, Modify | Everything) { &["edit", "delete"] } else { &[] };
            assert_eq!(rels(document), expected, "{place}");
        };
        match operation {
            Operation::Get if status == 200 => {
                assert_eq!(answer.body["id"], id, "{place}");
                rels_of(&answer.body);
            }
            Operation::Put if status == 200 => {
                assert_eq!((&answer.body["id"], &answer.body["key"]), (&json!(id), &json!("b")))
            }
            Operation::AddList if status == 200 => {
                let items = answer.body["credentials"].as_array().expect("a list");
                let statuses: Vec<u64> = items.iter().filter_map(|item| item["status"].as_u64()).collect();
                assert_eq!(statuses, [201, 400, 400], "{place}: {}", answer.text);
            }
            Operation::Search(question) if status == 200 => {
                let open = usize::from(!question.contains("$filter"));
                assert_eq!(answer.body["count"], json!(open + more), "{place}: {}", answer.text);
                let documents = answer.body["credentials"].as_array().expect("a list");
                let is_page = usize::from(question != "$last=0");
                assert_eq!(documents.len(), (open + more) * is_page, "{place}: {}", answer.text);
                documents.iter().filter(|document| document["id"] == id).for_each(rels_of);
                let add = json!([{"rel": "add", "href": "credential"}]);
                assert_eq!(answer.body.get("operations"), Some(&add), "{place}: who may search may add");
            }
            _ => {}
        }
    }
}

async fn hold_the_matrix(store: Arc<dyn Store>) {
    let world = World::new(store).await;
    for (right, may) in RIGHTS {
        world.hold((JANE, SOMEBODY, Some((("USER", "jane"), right)), may)).await;
        world.hold((JANE, SOMEBODY, Some((("ROLE", "developers"), right)), may)).await;
    }
    for case in CASES {
        world.hold(case).await;
    }
}

#[tokio::test]
async fn who_may_do_what_in_a_declared_collection_is_as_the_table_says_in_memory() {
    hold_the_matrix(Arc::new(MemoryStore::default())).await;
}

#[tokio::test]
async fn who_may_do_what_in_a_declared_collection_is_as_the_table_says_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, declared) = (folder.path().join("jobs.db"), default_collections().declared());
    hold_the_matrix(Arc::new(SqliteStore::open_as(&path, declared, &Opening::default()).expect("opened"))).await;
}
