//! The unmodified `slipstream-api` 3.71.1 from `PyPI` as a peer. `cargo xtask test` installs it and names its Python.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::filter::Filter;
use slipstream_job_engine::internals::process::Stop;
use slipstream_store::sqlite::SqliteStore;
use slipstream_store::{Record, Revision, StoreExt};
use tokio::net::TcpListener;

use crate::support::{InProcess, PASSWORD, document};

/// Without an executor: the states of its jobs are the client's alone to change.
#[tokio::test(flavor = "multi_thread")]
async fn the_original_python_client_works_unchanged() {
    let said = run("slipstream_api_client.py", &InProcess::new().await, None).await;
    assert!(said.lines().count() > 20, "the script does its steps: {said}");
}

/// Each vector of the filter grammar, and each row of how a search is asked; what is found is what the evaluator says.
#[tokio::test(flavor = "multi_thread")]
async fn the_original_python_client_finds_what_the_evaluator_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("jobs.db")).expect("opened");
    let engine = InProcess::over(Arc::new(store)).await;
    let stored = stored();
    for record in &stored {
        engine.store.insert(record.clone()).await.expect("stored");
    }
    let cases: Vec<Value> = [vector_cases(&stored), page_cases(&stored), select_and_order_cases()].concat();
    let file = folder.path().join("cases");
    let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
    std::fs::write(&file, lines.join("\n")).expect("written");
    let said = run("slipstream_api_searches.py", &engine, Some(file)).await;
    for kind in ["accepted", "refused", "page", "too large", "select", "order"] {
        let held = cases.iter().filter(|case| case["kind"] == kind).count();
        let line = format!("{kind}: {held}");
        assert!(held > 0 && said.lines().any(|said| said == line), "no line `{line}`: {said}");
    }
}

/// Runs a script against the engine's routes over a socket.
async fn run(script: &str, engine: &InProcess, cases: Option<PathBuf>) -> String {
    let python = std::env::var("SLIPSTREAM_TEST_PYTHON")
        .expect("SLIPSTREAM_TEST_PYTHON names the Python with slipstream-api: run the tests by `cargo xtask test`");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let stop = Stop::new();
    let serving = tokio::spawn({
        let (server, stop) = (engine.server.clone(), stop.clone());
        async move { server.serve(listener, Vec::new(), stop).await }
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script);
    let client = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(python);
        command.arg(script).args([&endpoint, "super", PASSWORD]).args(cases);
        // a script that another one imports would leave its compiled form beside it
        command.env("HOME", folder.path()).env("PYTHONDONTWRITEBYTECODE", "1").output().expect("Python starts")
    });
    let output = client.await.expect("no panic");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert_eq!(said.lines().last(), Some("ok"), "{said}\n{complained}");
    stop.ask();
    serving.await.expect("no panic");
    said.into_owned()
}

/// Documents that the vectors speak of.
fn stored() -> Vec<Record> {
    let documents = [
        json!({"a": 1, "b": 2}),
        json!({"a": "x"}),
        json!({"a": ["z", "x"], "b": "y"}),
        json!({"a": null, "b": 1}),
        json!({"a": 7}),
        json!({"a": 99_999_999_999_u64}),
        json!({"a": {"b": "x"}}),
        json!({"a_b": "x"}),
        json!({"a-b": "x"}),
        json!({"ns:a": {"ns2:b": "x"}}),
        json!({"a": "it's"}),
        json!({"a": "it\"s"}),
        json!({"a": ""}),
        json!({"a": "x\ny"}),
        json!({"a": "x\r\n\n\ty"}),
        json!({"created": "2019-06-01T00:00:00.000Z", "state": "A"}),
        json!({"created": "2020-01-15T00:00:00.000Z", "state": "B"}),
        json!({"created": "2020-02-01T00:00:00.000Z", "state": "C"}),
        json!({"state": "RUNNING", "tags": ["monitor", "other"]}),
        json!({"b": 2, "c": 3}),
        json!({"and": 1}),
        json!({"null": 1}),
        json!({"properties": {"x": "y"}}),
        json!({"state": 2}),
        json!({"state": "2012-01-02"}),
        json!({"state": true}),
        json!({"state": "a"}),
        json!({"@timestamp": "y"}),
    ];
    let record = |(number, stored): (usize, &Value)| {
        let id = format!("job/{number:02}");
        let mut document = document(stored.clone());
        document.insert("id".to_owned(), json!(id));
        document.insert("priority".to_owned(), json!(number));
        document.insert("acl".to_owned(), json!({"owner": {"principal": "ADMIN", "type": "ROLE"}}));
        Record { id, revision: Revision::default(), document: document.into(), ledger: Value::Null }
    };
    documents.iter().enumerate().map(record).collect()
}

/// The vectors of specification 4.3 that the crate of the filter language holds, judged by the evaluator.
fn vector_cases(stored: &[Record]) -> Vec<Value> {
    /// What these find is not some of the documents, but none of them.
    const EMPTY: [&str; 2] = ["state=[]", "state=[ ]"];
    let file = include_str!("../../../cimi/tests/filter_vectors.json");
    let cells: serde_json::Map<String, Value> = serde_json::from_str(file).expect("an object");
    let vectors = cells.values().flat_map(|cell| cell.as_array().expect("a list"));
    let case = |vector: &Value| {
        let text = vector[0].as_str().expect("a filter");
        let search = json!({"filter": text, "orderby": "id"});
        let filter = match Filter::parse(text) {
            Ok(filter) => filter,
            Err(error) => {
                return json!({"kind": "refused", "search": search, "status": 400, "message": error.to_string()});
            }
        };
        let found = stored.iter().filter(|record| filter.matches(&record.document));
        let ids: Vec<&String> = found.map(|record| &record.id).collect();
        let finds_some = !ids.is_empty() && ids.len() < stored.len();
        assert_eq!(
            finds_some,
            !EMPTY.contains(&text),
            "{text:?} finds {ids:?}: a server that ignores it must be noticed"
        );
        json!({"kind": "accepted", "search": search, "count": ids.len(), "ids": ids})
    };
    let cases: Vec<Value> = vectors.map(case).collect();
    let accepted = cases.iter().filter(|case| case["kind"] == "accepted").count();
    assert_eq!((accepted, cases.len() - accepted), (45, 29), "no vector is forgotten");
    cases
}

/// Specification 4.5, but for the rows that need more than a page; `it::protocol` has those too.
fn page_cases(stored: &[Record]) -> Vec<Value> {
    let ids: Vec<&String> = stored.iter().map(|record| &record.id).collect();
    let count = ids.len();
    let page = |window: Value, from: usize, to: usize| {
        let mut search = window;
        search["orderby"] = json!("id");
        json!({"kind": "page", "search": search, "count": count, "ids": ids[from..to]})
    };
    let too_large = |window: Value| {
        let message = slipstream_cimi::query::TooLarge(10_001).to_string();
        json!({"kind": "too large", "search": window, "status": 400, "message": message})
    };
    vec![
        page(json!({}), 0, count),
        page(json!({"first": 2}), 1, count),
        page(json!({"last": 0}), 0, 0),
        page(json!({"first": 3, "last": 2}), 0, 0),
        page(json!({"last": -1}), 0, 0),
        page(json!({"first": 0, "last": 2}), 0, 2),
        page(json!({"first": -7, "last": 2}), 0, 2),
        page(json!({"first": 1, "last": 10_000}), 0, count),
        page(json!({"first": 2, "last": 10_001}), 1, count),
        page(json!({"first": 5, "last": 7}), 4, 7),
        page(json!({"first": "two", "last": "3.5"}), 0, count),
        too_large(json!({"first": 1, "last": 10_001})),
        too_large(json!({"last": 10_001})),
    ]
}

/// Specification 4.1 and 4.5: what is selected, and in what order.
fn select_and_order_cases() -> Vec<Value> {
    let selected = |select: Value, attributes: &[&str]| {
        let search = json!({"filter": "id='job/15'", "select": select});
        json!({"kind": "select", "search": search, "count": 1, "ids": ["job/15"], "selected": attributes})
    };
    let ordered = |order: Value, ids: &[&str]| {
        let search = json!({"filter": "created!=null or tags!=null", "orderby": order});
        json!({"kind": "order", "search": search, "count": 4, "ids": ids})
    };
    vec![
        selected(json!("state"), &["id", "state", "acl", "operations"]),
        selected(json!("id, state ,created"), &["id", "state", "created", "acl", "operations"]),
        selected(json!(["state", "created"]), &["id", "state", "created", "acl", "operations"]),
        selected(json!("*"), &["id", "state", "created", "priority", "acl", "operations"]),
        ordered(json!("created"), &["job/15", "job/16", "job/17", "job/18"]),
        ordered(json!("created:asc"), &["job/15", "job/16", "job/17", "job/18"]),
        ordered(json!("created:desc"), &["job/17", "job/16", "job/15", "job/18"]),
        ordered(json!("state"), &["job/15", "job/16", "job/17", "job/18"]),
        ordered(json!(["tags", "created:desc"]), &["job/18", "job/17", "job/16", "job/15"]),
        ordered(json!("tags , created:desc"), &["job/18", "job/17", "job/16", "job/15"]),
        ordered(json!("nowhere,priority:desc"), &["job/18", "job/17", "job/16", "job/15"]),
    ]
}
