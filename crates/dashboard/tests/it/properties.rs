//! Whatever a document holds, a page is well-formed and has no tag that it did not write itself.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::html;
use super::scripted::{ADMINISTRATOR, World, jobs};

const NAMES: [&str; 22] = [
    "id",
    "state",
    "action",
    "progress",
    "priority",
    "created",
    "updated",
    "started",
    "duration",
    "targetResource",
    "href",
    "affectedResources",
    "statusMessage",
    "parentJob",
    "nestedJobs",
    "name",
    "description",
    "returnCode",
    "acl",
    "owner",
    "operations",
    "properties",
];

/// What breaks pages that are put together from texts.
const NASTY: [&str; 14] = [
    "<script>alert(1)</script>",
    "</script>",
    "<x-tag>",
    "\" onload=\"x",
    "' x='",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "&#0;",
    "\u{0}",
    "\u{202e}\u{feff}",
    "javascript:alert(1)",
    "</title></pre></td></table>",
    "job/..//<a>",
];

fn texts() -> impl Strategy<Value = String> {
    let times = Just("2026-11-30T12:04:46.000Z".to_owned());
    let nasty = prop::sample::select(&NASTY[..]).prop_map(str::to_owned);
    let any = prop::collection::vec(any::<char>(), 0..40).prop_map(|characters| characters.into_iter().collect());
    let states = prop::sample::select(&["QUEUED", "RUNNING", "FAILED"][..]).prop_map(str::to_owned);
    prop_oneof![times, nasty, any, states]
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            documents_of(inner).prop_map(Value::from),
        ]
    })
}

fn documents_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let names = prop_oneof![4 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => texts()];
    prop::collection::vec((names, values), 0..20).prop_map(|members| members.into_iter().collect())
}

/// Documents that pages take some parts of seriously.
fn documents() -> impl Strategy<Value = Value> {
    (documents_of(values()), any::<bool>()).prop_map(|(mut document, is_likely)| {
        if is_likely {
            document.insert("id".to_owned(), json!("job/0a"));
            document.insert("created".to_owned(), json!("2026-11-30T12:04:46.000Z"));
            document.insert("operations".to_owned(), json!([{"rel": "edit"}]));
        }
        Value::Object(document)
    })
}

fn pages(runtime: &tokio::runtime::Runtime, document: Value, ledger: Value) {
    let world = World::of(ADMINISTRATOR, move |_, path| match path {
        "/api/job" => Some((200, jobs(std::slice::from_ref(&document)))),
        "/api/job/0a/ledger" => Some((200, ledger.clone())),
        _ => Some((200, document.clone())),
    });
    for path in ["/ui/jobs", "/ui/jobs/0a", "/ui/jobs/0a/stop", "/ui/jobs/0a/delete"] {
        let page = runtime.block_on(world.get(path));
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        html::check(&page.text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_document_gives_a_well_formed_page(document in documents(), attempts in values(), refused in values()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        pages(&runtime, document, json!({"attempts": attempts, "refused": refused}));
    }

    #[test]
    fn any_text_in_an_address_gives_a_well_formed_page(filter in texts(), name in texts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let refusal = json!({"status": 400, "message": format!("Invalid CIMI filter: {filter}")});
        let world = World::of(ADMINISTRATOR, move |_, _| Some((400, refusal.clone())));
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        for path in [
            format!("/ui/jobs?filter={}", encoded(&filter)),
            format!("/ui/jobs/{}", encoded(&name)),
            format!("/ui/login?next={}", encoded(&filter)),
        ] {
            html::check(&runtime.block_on(world.get(&path)).text);
        }
    }
}
