//! Who may do what with a job, as a table (specification 3.3 and 5.5): callers with the access control that they meet,
//! times operations, times whether the job exists. What is expected is written down here and not computed by the code.

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_coordination::Coordinator;
use slipstream_job_engine::internals::process::paths;
use slipstream_store::memory::MemoryStore;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Query, Record, Revision, Store, StoreExt};

use crate::access::session_of;
use crate::support::{Answered, InProcess, Raw, cookie};

/// In every text of the secret job that its author chose.
const MARK: &str = "zebra";
const STOP_REL: &str = "http://schemas.dmtf.org/cimi/2/action/stop";

/// A caller: name and roles; nobody without them. `SESSION` in access control stands for the id of its session.
pub type Who = Option<(&'static str, &'static str)>;
/// Type and principal.
pub type Named = (&'static str, &'static str);

const NOBODY: Who = None;
pub const JANE: Who = Some(("jane", "USER ANON developers"));
const NO_USER: Who = Some(("jane", "ANON developers"));
const ROOT: Who = Some(("root", "ADMIN USER ANON"));
pub const SOMEBODY: Named = ("USER", "somebody");

/// What a caller may do with the secret job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    Nothing,
    View,
    Modify,
    Everything,
}
use May::{Everything, Modify, Nothing, View};

/// Every right there is, and what it grants.
pub const RIGHTS: [(&str, May); 11] = [
    ("VIEW", View),
    ("MODIFY", Modify),
    ("ALL", Modify),
    ("VIEW_ACL", Nothing),
    ("VIEW_DATA", Nothing),
    ("VIEW_META", Nothing),
    ("EDIT_ACL", Nothing),
    ("EDIT_DATA", Nothing),
    ("EDIT_META", Nothing),
    ("DELETE", Nothing),
    ("MANAGE", Nothing),
];

/// Caller, owner of the secret job, its one rule with the right, and what the caller may do.
pub type Case = (Who, Named, Option<(Named, &'static str)>, May);

pub const CASES: [Case; 37] = [
    (NOBODY, SOMEBODY, None, Nothing),
    (NOBODY, ("ROLE", "ANON"), None, Modify),
    (NOBODY, ("USER", "ANON"), None, Nothing),
    (NOBODY, SOMEBODY, Some((("ROLE", "ANON"), "VIEW")), View),
    (NOBODY, SOMEBODY, Some((("ROLE", "ANON"), "MODIFY")), Modify),
    (NOBODY, SOMEBODY, Some((("ROLE", "ANON"), "ALL")), Modify),
    (NOBODY, SOMEBODY, Some((("ROLE", "ANON"), "DELETE")), Nothing),
    (NOBODY, SOMEBODY, Some((("USER", "ANON"), "ALL")), Nothing),
    (NOBODY, SOMEBODY, Some((("ROLE", "USER"), "ALL")), Nothing),
    (JANE, SOMEBODY, None, Nothing),
    (JANE, ("ROLE", "ADMIN"), None, Nothing),
    (JANE, ("USER", "jane"), None, Modify),
    (JANE, ("ROLE", "developers"), None, Modify),
    (JANE, ("ROLE", "jane"), None, Nothing),
    (JANE, ("USER", "jane"), Some((("USER", "john"), "VIEW")), Modify),
    (JANE, SOMEBODY, Some((("ROLE", "ANON"), "VIEW")), View),
    (JANE, SOMEBODY, Some((("ROLE", "USER"), "VIEW")), View),
    (JANE, SOMEBODY, Some((("ROLE", "USER"), "MODIFY")), Modify),
    (JANE, SOMEBODY, Some((("ROLE", "SESSION"), "VIEW")), View),
    (JANE, SOMEBODY, Some((("USER", "SESSION"), "ALL")), Nothing),
    (JANE, SOMEBODY, Some((("USER", "developers"), "ALL")), Nothing),
    (JANE, SOMEBODY, Some((("ROLE", "jane"), "ALL")), Nothing),
    (JANE, SOMEBODY, Some((("USER", "Jane"), "ALL")), Nothing),
    (JANE, SOMEBODY, Some((("USER", "jan"), "ALL")), Nothing),
    (JANE, SOMEBODY, Some((("USER", "jane "), "ALL")), Nothing),
    (NO_USER, SOMEBODY, Some((("ROLE", "USER"), "ALL")), Nothing),
    (NO_USER, SOMEBODY, Some((("ROLE", "ANON"), "VIEW")), View),
    (NO_USER, ("USER", "jane"), None, Modify),
    (Some(("john", "USER ANON")), SOMEBODY, Some((("USER", "jane"), "ALL")), Nothing),
    (Some(("developers", "USER ANON")), SOMEBODY, Some((("ROLE", "developers"), "ALL")), Nothing),
    (Some(("ADMIN", "USER ANON")), ("ROLE", "ADMIN"), None, Nothing),
    (Some(("USER", "ANON")), SOMEBODY, Some((("ROLE", "USER"), "ALL")), Nothing),
    (Some(("john", "USER ANON jane")), ("USER", "jane"), None, Nothing),
    (Some(("john", "USER ANON ADMINS admin")), ("ROLE", "ADMIN"), None, Nothing),
    (ROOT, SOMEBODY, None, Everything),
    (ROOT, SOMEBODY, Some((("USER", "root"), "VIEW")), Everything),
    (Some(("root", "ADMIN")), ("ROLE", "ADMIN"), None, Everything),
];

/// What is asked about the secret job, in the order in which it is told.
const OPERATIONS: [Operation; 24] = [
    Operation::Get,
    Operation::Head,
    Operation::Put,
    Operation::PutUnknown,
    Operation::PutLeased,
    Operation::Delete,
    Operation::Stop,
    Operation::Ledger,
    Operation::Explain,
    Operation::Retry,
    Operation::Retries,
    Operation::Fenced,
    Operation::Add,
    Operation::BulkAdd,
    Operation::ReportRead,
    Operation::ReportEdit,
    Operation::UnknownAction,
    Operation::Search("$filter=name='zebra'"),
    Operation::Search("$last=0"),
    Operation::Search("$orderby=name:desc,statusMessage"),
    Operation::Search("$select=name,statusMessage"),
    Operation::Search("$filter=id='ID'"),
    Operation::Search("$aggregation=cardinality:id,terms:name"),
    Operation::Search("$after=job/0"),
];

#[derive(Clone, Copy, Debug)]
enum Operation {
    Get,
    Head,
    Put,
    /// Of an attribute that no job has.
    PutUnknown,
    /// By an attempt at the job under the entry of another one.
    PutLeased,
    Delete,
    Stop,
    Ledger,
    Explain,
    /// Of a job that has not ended.
    Retry,
    Retries,
    /// An edit of a job that is open to everybody, by an attempt at the secret job.
    Fenced,
    Add,
    BulkAdd,
    ReportRead,
    /// By an attempt at the job under the entry of another one.
    ReportEdit,
    UnknownAction,
    Search(&'static str),
}

/// What is expected, beside what must never be told.
enum Expected {
    /// 200 with the job.
    Job,
    /// 200 with the open job.
    OpenJob,
    /// 200 with the ledger.
    Ledger,
    /// 200 with why the job waits.
    Explanation,
    Deleted,
    Created,
    /// 200 with one item of this status.
    OneItem(u16),
    /// 400 with what is wrong.
    Violation,
    /// 409 with a code.
    Superseded,
    /// 409, since the job has not ended.
    NotFinal,
    /// 200 with no retries.
    NoRetries,
    /// 200 with as many jobs.
    Found(usize),
    CredentialsRequired,
    /// Refused for this document.
    Refused,
    NotFound,
    UnknownAction,
}

/// The table that everything is held against.
fn expected(operation: Operation, who: Who, may: May, exists: bool) -> Expected {
    let root = may == Everything;
    let refused = match (root, who) {
        (true, _) => Expected::NotFound,
        (false, None) => Expected::CredentialsRequired,
        (false, Some(_)) => Expected::Refused,
    };
    let views = exists && may != Nothing;
    let modifies = exists && matches!(may, Modify | Everything);
    match operation {
        Operation::Get | Operation::Head if views => Expected::Job,
        Operation::Put | Operation::Stop if modifies => Expected::Job,
        Operation::PutUnknown if modifies => Expected::Violation,
        Operation::PutLeased if root && exists => Expected::Superseded,
        Operation::Delete if modifies => Expected::Deleted,
        Operation::Explain if views => Expected::Explanation,
        Operation::Retry if root && exists => Expected::NotFinal,
        Operation::Retries if views => Expected::NoRetries,
        Operation::Ledger if root && exists => Expected::Ledger,
        Operation::Fenced if root && exists => Expected::OpenJob,
        Operation::Add if root => Expected::Created,
        Operation::BulkAdd if root => Expected::OneItem(201),
        Operation::ReportRead if root => Expected::OneItem(if exists { 200 } else { 404 }),
        Operation::ReportEdit if root => Expected::OneItem(if exists { 409 } else { 404 }),
        Operation::Add | Operation::BulkAdd | Operation::ReportRead | Operation::ReportEdit => {
            Expected::CredentialsRequired
        }
        Operation::UnknownAction => Expected::UnknownAction,
        Operation::Search(_) if !root && !roles(who).contains(&"USER") => Expected::CredentialsRequired,
        Operation::Search(question) => {
            // the open job has no name and another id
            let open = usize::from(!question.contains("$filter"));
            Expected::Found(open + usize::from(views))
        }
        _ => refused,
    }
}

pub fn roles(who: Who) -> Vec<&'static str> {
    who.map(|(_, roles)| roles.split(' ').collect()).unwrap_or_default()
}

struct World {
    engine: InProcess,
    administrator: String,
    /// A job that everybody may modify.
    open: String,
}

impl World {
    async fn new(store: Arc<dyn Store>) -> Self {
        let engine = InProcess::over(store).await;
        let administrator = cookie(&*engine.transport).await;
        let mut world = Self { engine, administrator, open: String::new() };
        let acl = acl(("ROLE", "ANON"), None, "");
        world.open = world.add(&json!({"action": "noop", "acl": acl})).await;
        world
    }

    async fn send(&self, request: Raw) -> Answered {
        request.send(&*self.engine.transport).await
    }

    async fn add(&self, job: &Value) -> String {
        let added = self.send(Raw::new("POST", "/api/job").json(job).header("cookie", &self.administrator)).await;
        assert_eq!(added.status, 201, "{}", added.text);
        added.body["resource-id"].as_str().expect("an id").to_owned()
    }

    /// Everything that is stored and queued.
    async fn everything(&self) -> (Vec<Record>, Vec<Record>, Vec<String>) {
        let all = Query { limit: 10_000, ..Query::default() };
        self.engine.server.settled().await;
        let stored = async |kind| self.engine.store.search(kind, &all).await.expect("answers").records;
        // that it was used is noted now and then, whatever it was used for
        let without_use = |mut session: Record| {
            session.document.make_mut().shift_remove("updated");
            Record { revision: Revision::default(), ..session }
        };
        let session = self.engine.coordinator.connect().await.expect("connected");
        let mut entries = session.children(paths::ENTRIES).await.expect("listed");
        entries.sort();
        let sessions = stored("session").await.into_iter().map(without_use).collect();
        (stored("job").await, sessions, entries)
    }

    /// Removes all jobs but the open one.
    async fn clear(&self) {
        for record in self.everything().await.0.into_iter().filter(|record| record.id != self.open) {
            let request = Raw::new("DELETE", &format!("/api/{}", record.id)).header("cookie", &self.administrator);
            assert_eq!(self.send(request).await.status, 200);
        }
    }

    fn request(&self, operation: Operation, id: &str) -> Raw {
        let path = format!("/api/{id}");
        let leased = |request: Raw| {
            let entry = "/job/entries/entry-999-0000000000";
            request.header("job-id", id).header("job-lease", "1.1").header("job-entry", entry)
        };
        match operation {
            Operation::Get => Raw::new("GET", &path),
            Operation::Head => Raw::new("HEAD", &path),
            Operation::Put => Raw::new("PUT", &path).json(&json!({"progress": 7})),
            Operation::PutUnknown => Raw::new("PUT", &path).json(&json!({"colour": "red"})),
            Operation::PutLeased => leased(Raw::new("PUT", &path).json(&json!({"progress": 7}))),
            Operation::Delete => Raw::new("DELETE", &path),
            Operation::Stop => Raw::new("POST", &format!("{path}/stop")),
            Operation::Ledger => Raw::new("POST", &format!("{path}/ledger")),
            Operation::Explain => Raw::new("GET", &format!("{path}/explain")),
            Operation::Retry => Raw::new("POST", &format!("{path}/retry")).json(&json!({"retries": 0})),
            Operation::Retries => Raw::new("GET", &format!("{path}/retries")),
            Operation::Fenced => leased(Raw::new("PUT", &format!("/api/{}", self.open)).json(&json!({}))),
            Operation::Add => Raw::new("POST", "/api/job").json(&json!({"action": "noop", "parentJob": id})),
            Operation::BulkAdd => Raw::new("POST", "/api/job").json(&json!([{"action": "noop", "parentJob": id}])),
            Operation::ReportRead => {
                Raw::new("POST", "/api/job/reports").json(&json!({"reports": [{"id": id, "document": true}]}))
            }
            Operation::ReportEdit => {
                let entry = "/job/entries/entry-999-0000000000";
                let item = json!({"id": id, "lease": "1.1", "entry": entry, "changes": {"progress": 7}});
                Raw::new("POST", "/api/job/reports").json(&json!({"reports": [item]}))
            }
            Operation::UnknownAction => Raw::new("POST", &format!("{path}/explode")),
            Operation::Search(question) => {
                let question = question.replace("ID", id);
                let (name, value) = question.split_once('=').expect("a name and a value");
                let form = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
                Raw::new("PUT", "/api/job").text("application/x-www-form-urlencoded", form)
            }
        }
    }

    /// One row of [`CASES`] with each operation.
    async fn hold(&self, (who, owner, rule, may): Case) {
        let (session, cookie) = match who {
            None => (String::new(), None),
            Some((name, roles)) => {
                let (session, cookie) = session_of(&*self.engine.store, name, roles).await;
                (session, Some(cookie))
            }
        };
        for operation in OPERATIONS {
            let place = format!("{operation:?} by {who:?} of the job of {owner:?} with {rule:?}");
            let secret = self.add(&secret(&acl(owner, rule, &session))).await;
            let send = async || {
                let request = self.request(operation, &secret);
                self.send(if let Some(cookie) = &cookie { request.header("cookie", cookie) } else { request }).await
            };
            let before = self.everything().await;
            let existing = send().await;
            let wish = expected(operation, who, may, true);
            self.check(&place, operation, &secret, &existing, &wish, may);
            if existing.status >= 400 {
                assert_eq!(self.everything().await, before, "{place} was refused and changed something");
            }
            self.clear().await;

            let place = format!("{place}, which is not there");
            let before = self.everything().await;
            let missing = send().await;
            let wish = expected(operation, who, may, false);
            self.check(&place, operation, &secret, &missing, &wish, may);
            if missing.status >= 400 {
                assert_eq!(self.everything().await, before, "{place} was refused and changed something");
            }
            if may == Nothing {
                assert_eq!(without_request_id(&existing), without_request_id(&missing), "{place}: told apart");
            }
            self.clear().await;
        }
        if !session.is_empty() {
            let stored = self.engine.store.get(&session).await.expect("answers").expect("there");
            self.engine.store.remove(&session, stored.revision).await.expect("removed");
        }
    }

    fn check(&self, place: &str, operation: Operation, id: &str, answer: &Answered, wish: &Expected, may: May) {
        if may == Nothing {
            assert_nothing_of_the_secret(place, operation, id, answer);
        }
        if matches!(operation, Operation::Head) {
            let status = match wish {
                Expected::Job => 200,
                Expected::NotFound => 404,
                _ => 403,
            };
            return assert_eq!((answer.status, answer.text.as_str()), (status, ""), "{place}");
        }
        let mut body = answer.body.clone();
        if let Some(body) = body.as_object_mut() {
            body.shift_remove("request-id");
        }
        let is = |status: u16, wished: Value| {
            assert_eq!((answer.status, &body), (status, &wished), "{place}");
        };
        let is_job = |wished: &str| {
            assert_eq!((answer.status, &body["id"]), (200, &json!(wished)), "{place}: {}", answer.text);
        };
        match wish {
            Expected::Job => is_job(id),
            Expected::OpenJob => is_job(&self.open),
            Expected::Ledger => assert_eq!((answer.status, body["lost"].as_u64()), (200, Some(0)), "{place}"),
            Expected::Explanation => {
                assert_eq!((answer.status, &body["job"]), (200, &json!(id)), "{place}");
                assert_eq!(body["reasons"][0]["code"], "no-executor", "{place}");
            }
            Expected::NotFinal => {
                assert_eq!((answer.status, &body["code"]), (409, &json!("conflict")), "{place}: {}", answer.text);
            }
            Expected::NoRetries => is(200, json!({"job": id, "count": 0, "retries": []})),
            Expected::Deleted => {
                is(200, json!({"status": 200, "message": format!("{id} deleted"), "resource-id": id}));
            }
            Expected::Created => assert_eq!(answer.status, 201, "{place}: {}", answer.text),
            Expected::OneItem(status) => {
                let items = body.get("jobs").or(body.get("reports")).and_then(Value::as_array).expect("a list");
                assert_eq!((answer.status, items.len()), (200, 1), "{place}: {}", answer.text);
                assert_eq!(items[0]["status"], *status, "{place}: {}", answer.text);
                let shows = items[0].get("document").map(|job| &job["id"]);
                let is_read = matches!(operation, Operation::ReportRead) && *status == 200;
                assert_eq!(shows, is_read.then_some(&json!(id)), "{place}: {}", answer.text);
            }
            Expected::Violation => assert_eq!(answer.status, 400, "{place}: {}", answer.text),
            Expected::Superseded => {
                assert_eq!((answer.status, &body["code"]), (409, &json!("superseded")), "{place}: {}", answer.text);
            }
            Expected::Found(count) => assert_found(place, operation, answer, *count, may),
            Expected::CredentialsRequired => is(403, json!({"status": 403, "message": "credentials required"})),
            Expected::Refused => {
                let message = format!("invalid credentials for '{id}'");
                is(403, json!({"status": 403, "message": message, "resource-id": id}));
            }
            Expected::NotFound => {
                is(404, json!({"status": 404, "message": format!("{id} not found"), "resource-id": id}));
            }
            Expected::UnknownAction => assert_eq!(answer.status, 404, "{place}: {}", answer.text),
        }
        let jobs = body["jobs"].as_array().into_iter().flatten();
        let shown = jobs.chain([&body]).find(|job| job["id"] == id && job.get("operations").is_some());
        if let Some(job) = shown {
            assert_eq!(rels(job), rels_for(may), "{place}");
        }
    }
}

/// So many jobs, and answers to aggregations about no others.
fn assert_found(place: &str, operation: Operation, answer: &Answered, count: usize, may: May) {
    let body = &answer.body;
    let told = if matches!(operation, Operation::Search("$last=0")) { 0 } else { count };
    assert_eq!((answer.status, &body["count"]), (200, &json!(count)), "{place}: {}", answer.text);
    assert_eq!(body["jobs"].as_array().map(Vec::len), Some(told), "{place}: {}", answer.text);
    if let Some(aggregations) = body.get("aggregations") {
        assert_eq!(aggregations["cardinality:id"]["value"].to_string(), format!("{count}.0"), "{place}");
        let names = usize::from(answer.text.contains(MARK));
        assert_eq!(aggregations["terms:name"]["buckets"].as_array().map(Vec::len), Some(names), "{place}");
    }
    let add = json!([{"rel": "add", "href": "job"}]);
    assert_eq!(body.get("operations"), (may == Everything).then_some(&add), "{place}");
}

/// The open job's entry is the first one; all later ones are of secret jobs.
fn assert_nothing_of_the_secret(place: &str, operation: Operation, id: &str, answer: &Answered) {
    let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}"));
    let told = headers.chain([answer.text.clone()]).collect::<Vec<_>>().join("\n");
    assert!(!told.contains(MARK), "{place}: {told}");
    let entries = told.matches("/job/entries/").count();
    let open = told.matches("/job/entries/entry-999-0000000000").count();
    assert_eq!(entries, open, "{place}: {told}");
    if matches!(
        operation,
        Operation::Search(_) | Operation::Add | Operation::BulkAdd | Operation::ReportRead | Operation::ReportEdit
    ) {
        assert!(!told.contains(id), "{place}: {told}");
    }
}

pub fn rels(job: &Value) -> Vec<&str> {
    let operations = job["operations"].as_array().into_iter().flatten();
    operations.filter_map(|operation| operation["rel"].as_str()).collect()
}

fn rels_for(may: May) -> Vec<&'static str> {
    match may {
        Nothing => vec![],
        View => vec![STOP_REL, "stop"],
        Modify | Everything => vec!["edit", "delete", STOP_REL, "stop"],
    }
}

pub fn acl(owner: Named, rule: Option<(Named, &str)>, session: &str) -> Value {
    let name = |name: &str| name.replace("SESSION", session);
    let mut acl = json!({"owner": {"type": owner.0, "principal": name(owner.1)}});
    if let Some((to, right)) = rule {
        acl["rules"] = json!([{"type": to.0, "principal": name(to.1), "right": right}]);
    }
    acl
}

/// A job that says its mark wherever an author can put it.
fn secret(acl: &Value) -> Value {
    json!({
        "action": format!("{MARK}_action"), "name": MARK, "description": MARK, "statusMessage": MARK,
        "properties": {MARK: MARK}, "targetResource": {"href": MARK}, "affectedResources": [{"href": MARK}],
        "parentJob": "job/zebra", "nestedJobs": ["job/zebra"], "priority": 998, "acl": acl,
    })
}

/// All that an answer tells, but for the request's id, which differs each time.
pub fn without_request_id(answer: &Answered) -> (u16, Vec<String>, String) {
    let request = answer.headers["x-request-id"].to_str().expect("text");
    let headers = answer.headers.iter().filter(|(name, _)| *name != "x-request-id");
    let mut headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    (answer.status, headers, answer.text.replace(request, ""))
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
async fn who_may_do_what_is_as_the_table_says_in_memory() {
    hold_the_matrix(Arc::new(MemoryStore::default())).await;
}

#[tokio::test]
async fn who_may_do_what_is_as_the_table_says_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    hold_the_matrix(Arc::new(SqliteStore::open(&folder.path().join("jobs.db")).expect("opened"))).await;
}
