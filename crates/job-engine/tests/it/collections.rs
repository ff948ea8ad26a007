//! Declared collections through the API: their documents are added, read, edited, deleted and searched as jobs are.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::query::Search;
use slipstream_job_engine::internals::collections::{Collections, default_collections};
use slipstream_job_engine::internals::{Config, Files};
use slipstream_store::memory::MemoryStore;
use slipstream_store::sqlite::{Opening, SqliteStore};
use slipstream_store::{Record, Revision, Store, StoreExt};

use crate::access::session_of;
use crate::support::{Answered, InProcess, Raw, Up, cookie, document, program, up_command};

struct Api {
    engine: InProcess,
    administrator: String,
}

impl Api {
    async fn with(store: Arc<dyn Store>, collections: Collections) -> Self {
        let engine = InProcess::with(store, collections).await;
        let administrator = cookie(&*engine.transport).await;
        Self { engine, administrator }
    }

    async fn new() -> Self {
        Self::with(Arc::new(MemoryStore::default()), default_collections()).await
    }

    async fn send(&self, request: Raw) -> Answered {
        request.header("cookie", &self.administrator).send(&*self.engine.transport).await
    }

    async fn post(&self, kind: &str, body: &Value) -> Answered {
        self.send(Raw::new("POST", &format!("/api/{kind}")).json(body)).await
    }

    async fn add(&self, kind: &str, body: &Value) -> String {
        let added = self.post(kind, body).await;
        assert_eq!(added.status, 201, "{}", added.text);
        added.body["resource-id"].as_str().expect("an id").to_owned()
    }

    async fn get(&self, id: &str) -> Answered {
        self.send(Raw::new("GET", &format!("/api/{id}"))).await
    }

    async fn put(&self, id: &str, query: &str, body: &Value) -> Answered {
        self.send(Raw::new("PUT", &format!("/api/{id}{query}")).json(body)).await
    }

    async fn search(&self, kind: &str, form: &[(&str, &str)]) -> Answered {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Raw::new("PUT", &format!("/api/{kind}")).text("application/x-www-form-urlencoded", form)).await
    }
}

/// The collections of a configuration file with this text, and of the files beside it.
fn configured(text: &str, others: &[(&str, &str)]) -> Collections {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("job-engine.toml");
    for (name, text) in others.iter().chain(&[("job-engine.toml", text)]) {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let (config, faults) = Config::read(&Files::named(&file));
    assert_eq!(faults, []);
    config.collections
}

fn open(path: &Path) -> Arc<dyn Store> {
    let declared = default_collections().declared();
    Arc::new(SqliteStore::open_as(path, declared, &Opening::default()).expect("opened"))
}

#[tokio::test]
async fn a_document_is_added_read_edited_and_deleted() {
    let api = Api::new().await;
    let sent =
        json!({"id": "x", "instanceID": "i-1", "state": "Running", "connector": {"href": "connector/a"}, "cpu": 2});
    let added = api.post("virtual-machine", &sent).await;
    let id = added.body["resource-id"].as_str().expect("an id").to_owned();
    assert_eq!((added.status, added.headers["location"].to_str().expect("text")), (201, &*id));
    assert!(id.strip_prefix("virtual-machine/").is_some_and(|uuid| uuid.len() == 36), "{id}");
    assert_eq!(added.body["message"], format!("{id} created"));

    let read = api.get(&id).await.body;
    assert_eq!(read["resourceURI"], "http://sixsq.com/slipstream/1/VirtualMachine");
    assert_eq!((&read["id"], &read["instanceID"], &read["cpu"]), (&json!(id), &json!("i-1"), &json!(2)));
    assert_eq!(read["operations"], json!([{"rel": "edit", "href": id}, {"rel": "delete", "href": id}]));
    let selected = api.get(&format!("{id}?$select=cpu")).await.body;
    let names: Vec<&String> = selected.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["id", "resourceURI", "cpu", "acl", "operations"]);

    let edited = api.put(&id, "?$select=cpu,created", &json!({"connector": {"href": "connector/b"}, "id": "y"})).await;
    assert_eq!((edited.status, edited.body.get("cpu"), edited.body.get("operations")), (200, None, None));
    let after = api.get(&id).await.body;
    assert_eq!((&after["connector"]["href"], &after["state"]), (&json!("connector/b"), &json!("Running")));
    assert_eq!((&after["created"], &after["id"]), (&read["created"], &json!(id)));

    let deleted = api.send(Raw::new("DELETE", &format!("/api/{id}"))).await;
    assert_eq!((deleted.status, &deleted.body["message"]), (200, &json!(format!("{id} deleted"))));
    for request in [Raw::new("GET", &format!("/api/{id}")), Raw::new("DELETE", &format!("/api/{id}"))] {
        let missing = api.send(request).await;
        assert_eq!((missing.status, &missing.body["resource-id"]), (404, &json!(id)));
    }
}

#[tokio::test]
async fn the_entry_point_names_each_collection_and_what_is_not_there_is_refused() {
    let api = Api::new().await;
    let entry_point = api.get("cloud-entry-point").await.body;
    for (plural, name) in [
        ("credentials", "credential"),
        ("virtualMachines", "virtual-machine"),
        ("nuvlaboxStateSnapshots", "nuvlabox-state-snapshot"),
        ("deploymentParameters", "deployment-parameter"),
        ("jobs", "job"),
    ] {
        assert_eq!(entry_point[plural], json!({"href": name}), "{plural}");
    }
    for (method, path, status) in [
        ("GET", "undeclared", 404),
        ("GET", "credential/a", 404),
        ("DELETE", "credential", 405),
        ("PATCH", "credential/a", 405),
        ("POST", "credential/a", 405),
        ("POST", "credential/a/stop", 404),
    ] {
        let refused = api.send(Raw::new(method, &format!("/api/{path}"))).await;
        assert_eq!(refused.status, status, "{method} {path}: {}", refused.text);
    }
    let list = api.send(Raw::new("PUT", "/api/credential").json(&json!([{}]))).await;
    assert_eq!(list.status, 400, "a list is added and nothing else");
}

/// Through the client, too, which knows nothing of the collection.
#[tokio::test]
async fn documents_are_searched_as_jobs_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = [Arc::new(MemoryStore::default()) as Arc<dyn Store>, open(&folder.path().join("store.db"))];
    for store in stores {
        let api = Api::with(store, default_collections()).await;
        for number in 0..25 {
            let kind = if number % 5 == 0 { "cloud-cred-exoscale" } else { "ssh-key" };
            let credential = json!({"type": kind, "key": format!("k{}", number % 3), "number": number,
                                    "disabledMonitoring": number == 10});
            api.add("credential", &credential).await;
        }
        let numbers = |found: &Answered| -> Vec<u64> {
            let credentials = found.body["credentials"].as_array().expect("a list");
            credentials.iter().filter_map(|credential| credential["number"].as_u64()).collect()
        };
        let filter = ("$filter", "(type ^= \"cloud-cred-\") and (disabledMonitoring != true)");
        let found = api.search("credential", &[filter, ("$orderby", "number:desc")]).await;
        assert_eq!((&found.body["count"], numbers(&found)), (&json!(4), vec![20, 15, 5, 0]));
        assert_eq!(found.body["resourceURI"], "http://sixsq.com/slipstream/1/CredentialCollection");
        let page = api.search("credential", &[filter, ("$orderby", "number"), ("$first", "2"), ("$last", "3")]).await;
        assert_eq!((&page.body["count"], numbers(&page)), (&json!(4), vec![5, 15]));
        let selected =
            [("$filter", "key='k1'"), ("$select", "number"), ("$aggregation", "terms:type,max:number"), ("$last", "1")];
        let selected = api.search("credential", &selected).await.body;
        let names: BTreeSet<&String> = selected["credentials"][0].as_object().expect("an object").keys().collect();
        let expected: Vec<String> = ["acl", "id", "number", "operations", "resourceURI"].map(str::to_owned).into();
        assert_eq!(names, expected.iter().collect());
        assert_eq!((&selected["count"], &selected["aggregations"]["max:number"]["value"]), (&json!(8), &json!(22.0)));

        let (mut after, mut seen) = ("credential/".to_owned(), Vec::new());
        loop {
            let page =
                api.search("credential", &[("$after", &after), ("$last", "10"), ("$filter", "type='ssh-key'")]).await;
            seen.extend(numbers(&page));
            let Some(next) = page.body["next"].as_str() else { break };
            after = next.to_owned();
        }
        assert_eq!(seen.len(), 20);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 20, "each exactly once");
        let wrong = api.search("credential", &[("$filter", "type=")]).await;
        assert_eq!(wrong.status, 400, "{}", wrong.text);
        let found = api.engine.client.search("credential", &Search { last: Some(3), ..Search::default() }).await;
        assert_eq!(found.expect("found").count, 25);
    }
}

#[tokio::test]
async fn an_add_with_a_key_is_done_once_in_each_collection() {
    let api = Api::new().await;
    let add = async |kind: &str, body: &Value| {
        api.send(Raw::new("POST", &format!("/api/{kind}")).json(body).header("idempotency-key", "once")).await
    };
    let (first, second) = (add("credential", &json!({})).await, add("credential", &json!({})).await);
    assert_eq!((first.status, second.status), (201, 409));
    assert_eq!(second.body["resource-id"], first.body["resource-id"], "what a client reads that is late");
    assert_eq!(add("connector", &json!({})).await.status, 201);
    let list = json!([{"key": "a"}, {"name": 3}, 1, {"key": "b"}]);
    for expected in [[201, 400, 400, 201], [409, 400, 400, 409]] {
        let answers = add("credential", &list).await.body;
        let statuses = answers["credentials"].as_array().expect("a list").iter().map(|item| item["status"].clone());
        assert_eq!(statuses.collect::<Vec<_>>(), expected);
    }
    assert_eq!(api.search("credential", &[]).await.body["count"], 3);
    let long: Vec<Value> = vec![json!({}); 1_001];
    assert_eq!(api.post("credential", &json!(long)).await.status, 400);
}

const STRICT: &str = "[[collection]]\nname = \"credential\"\nschema = \"credential.json\"\nclosed = true\n";
const SCHEMA: &str = r#"{"properties": {"type": {"type": "string", "pattern": "^cloud-"}, "keys": {"items": {"type": "string"}}},
                         "required": ["type"]}"#;

/// Declared after there are documents: those stay readable, and an edit has to make them right.
#[tokio::test]
async fn a_schema_is_checked_on_add_and_on_the_result_of_an_edit() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let api = Api::with(store.clone(), default_collections()).await;
    let old = api.add("credential", &json!({"type": "ssh", "extra": 1})).await;
    let api = Api::with(store, configured(STRICT, &[("credential.json", SCHEMA)])).await;
    let refused =
        api.post("credential", &json!({"type": "ssh-5123", "keys": ["a", 5123], "extra": 1, "name": "n"})).await;
    assert_eq!(refused.status, 400);
    let message = refused.body["message"].as_str().expect("text");
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[..2], ["resource does not satisfy defined schema:", "extra: unknown attribute"]);
    assert!(lines[2].starts_with("/keys/1: ") && lines[3].starts_with("/type: "), "{message}");
    assert!(lines.len() == 4 && !message.contains("5123"), "{message}");
    let good = api.add("credential", &json!({"type": "cloud-a", "name": "n", "description": "d"})).await;
    assert_eq!(api.put(&good, "?$select=type", &json!({})).await.status, 400, "it is required");
    assert_eq!(api.get(&good).await.body["type"], "cloud-a");

    assert_eq!(api.get(&old).await.body["extra"], 1);
    assert_eq!(api.search("credential", &[("$filter", "type='ssh'")]).await.body["count"], 1);
    assert_eq!(api.put(&old, "", &json!({"name": "n"})).await.status, 400);
    assert_eq!(api.put(&old, "?$select=extra", &json!({"type": "cloud-b"})).await.status, 200);
}

#[tokio::test]
async fn edits_at_once_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = Api::with(open(&folder.path().join("store.db")), default_collections()).await;
    let id = api.add("nuvlabox-state", &json!({"nuvlabox": {"href": "nuvlabox-record/a"}})).await;
    let edits = (0..20).map(|number| {
        let (api, id) = (&api, &id);
        async move { api.put(id, "", &json!({format!("n{number}"): number})).await.status }
    });
    assert!(join_all(edits).await.iter().all(|status| *status == 200));
    let after = api.get(&id).await.body;
    assert!((0..20).all(|number| after[format!("n{number}")] == number), "{after}");
}

#[tokio::test]
async fn what_users_add_is_theirs() {
    let api = Api::new().await;
    let (_, jane) = session_of(&*api.engine.store, "jane", "USER ANON").await;
    let (_, joe) = session_of(&*api.engine.store, "joe", "USER ANON").await;
    let by = async |cookie: &str, request: Raw| request.header("cookie", cookie).send(&*api.engine.transport).await;
    let added = by(&jane, Raw::new("POST", "/api/credential").json(&json!({"type": "ssh-key"}))).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let path = format!("/api/{}", added.body["resource-id"].as_str().expect("an id"));
    let read = by(&jane, Raw::new("GET", &path)).await.body;
    assert_eq!(read["acl"]["owner"], json!({"principal": "jane", "type": "USER"}));
    assert_eq!(by(&joe, Raw::new("GET", &path)).await.status, 403);
    assert_eq!(by(&joe, Raw::new("DELETE", &path)).await.status, 403);
    assert_eq!(by(&jane, Raw::new("POST", "/api/connector").json(&json!({}))).await.status, 403);
    assert_eq!(by(&jane, Raw::new("DELETE", &path)).await.status, 200);
}

/// The fault: a document that is stored cannot be what a client is answered, as somebody changed it by hand.
#[tokio::test]
async fn a_document_without_what_every_document_has_is_mended_by_an_edit_or_refused() {
    let api = Api::new().await;
    let id = "credential/by-hand";
    let record = Record {
        id: id.to_owned(),
        revision: Revision::default(),
        document: document(json!({"type": 3})).into(),
        ledger: Value::Null,
    };
    api.engine.store.insert(record).await.expect("stored");
    assert_eq!(api.get(id).await.body["type"], 3);
    let edited = api.put(id, "", &json!({"type": "a"})).await;
    assert_eq!(edited.status, 200, "{}", edited.text);
}

/// What is declared in a file beside `up`'s data is there at the next start, with its index.
#[tokio::test]
async fn up_reads_declarations_at_its_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &[]);
    let region = json!({"name": "r", "zone": {"code": "ch"}});
    let region: Document = document(region);
    assert!(up.client().add("cloud-region", &region, None).await.is_err(), "it is not declared");
    drop(up);
    let declaration = "[[collection]]\nname = \"cloud-region\"\nindexed = [\"zone/code\"]\n";
    std::fs::write(folder.path().join("config.toml"), declaration).expect("written");
    let up = Up::start(folder.path(), &[]);
    let id = up.client().add("cloud-region", &region, None).await.expect("added");
    drop(up);
    std::fs::write(folder.path().join("config.toml"), declaration.replace("zone/code", "zone")).expect("written");
    let up = Up::start(folder.path(), &[]);
    assert_eq!(up.client().get(&id).await.expect("it is there")["zone"]["code"], "ch");
    drop(up);
    std::fs::write(folder.path().join("config.toml"), declaration.replace("cloud-region", "job")).expect("written");
    let refused = up_command(folder.path()).output().expect("it ends");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("`job` is a name of the server itself"), "{said}");
    let checked = program().args(["config", "check", "--config"]).arg(folder.path().join("config.toml")).output();
    let checked = checked.expect("it ends");
    let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(!checked.status.success() && said.contains("config.toml:2"), "{said}");
}
