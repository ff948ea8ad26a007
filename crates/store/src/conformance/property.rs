//! Random documents and searches: both stores answer as the evaluator does.

use proptest::prelude::*;
use slipstream_cimi::acl::{Principal, default_acl, viewers, with_administrator_rule};
use slipstream_cimi::filter::{Attribute, Comparison, Literal};
use slipstream_cimi::query::{Aggregation, Algorithm};

use super::{
    Arc, Document, Filter, Found, MemoryStore, Order, Query, Record, Revision, SqliteStore, Store, StoreError,
    StoreExt, Value, aggregate, json, with_declared,
};

const PATHS: &[&str] = &[
    "state",
    "action",
    "created",
    "updated",
    "priority",
    "targetResource/href",
    "acl/owner/principal",
    "parentJob",
    "progress",
    "nested/list",
    "id",
    "name",
    "fulltext",
];

/// Few different values, so that comparisons meet; among them those that are nearly equal.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[AaB]{0,2}",
        1 => Just("é\u{0}".to_owned()),
        1 => prop::sample::select(vec!["1", "2", "-1", "0.5", "true", "false", "9007199254740993"]).prop_map(str::to_owned),
        3 => prop::sample::select(vec![
            "2026-01-01T00:00:00.000Z",
            "2026-01-01T00:00:00.001Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00.000+01:00",
            "2026-01-01T00:00:00.0005Z",
            "2026-01-01",
            "9999-01-01T00:00:00.000Z",
            "-000001-01-01T00:00:00.000Z",
        ]).prop_map(str::to_owned),
        1 => "job/[0-9]",
        1 => "job/0000000[0-9]-0000-7000-8000-000000000000",
    ]
}

/// Ids of jobs as tests have them, or as a server makes them: a store may keep these otherwise.
#[derive(Clone, Copy, Debug)]
enum Ids {
    Short,
    OfServer,
    /// One after the other.
    Both,
}

impl Ids {
    fn of(self, number: usize) -> String {
        match self {
            Self::Short => format!("job/{number:02}"),
            Self::OfServer => format!("job/{number:08}-0000-7000-8000-000000000000"),
            Self::Both if number.is_multiple_of(2) => Self::Short.of(number),
            Self::Both => Self::OfServer.of(number),
        }
    }
}

/// What looks like a date, words or a prefix; some of it is none.
fn wanted_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => text(),
        2 => prop::sample::select(vec![
            "now", "now-1d/d", "2026", "2026-01-01||+1d/M", "2026-01-01T00:00:00.0005Z||-1s", "2026-01-02||-1d",
            "2026-01-01T00:00:00.000Z||/y", "9999", "0000", "now-99999999y", "now+99999999y", "2026-13",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["a b", "-a", "b + a", "a*", "(a | b) + -ab", "\"a b\""]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["", "Q", "\u{D7FF}", "\u{10FFFF}", "é\u{10FFFF}", "2026"]).prop_map(str::to_owned),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => text().prop_map(Value::from),
        3 => (-3_i64..4).prop_map(Value::from),
        1 => prop::sample::select(vec![
            json!(0.5), json!(-0.0), json!(1.0), json!(u64::MAX), json!(i64::MIN), json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_992_u64), json!(1e300),
        ]),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => scalar(),
        1 => prop::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => scalar().prop_map(|value| json!({"href": value})),
        1 => scalar().prop_map(|value| json!([[value], []])),
    ]
}

/// Callers and viewers: some that are nearly the same, among them administrators.
fn principal() -> impl Strategy<Value = Principal> {
    prop_oneof![
        3 => prop::sample::select(vec!["jane", "joe", "USER", "ADMIN"]).prop_map(|name| Principal::User(name.to_owned())),
        3 => prop::sample::select(vec!["ADMIN", "USER", "jane", "session/1"])
            .prop_map(|name| Principal::Role(name.to_owned())),
    ]
}

fn shown_principal(principal: &Principal) -> Value {
    match principal {
        Principal::User(name) => json!({"type": "USER", "principal": name}),
        Principal::Role(name) => json!({"type": "ROLE", "principal": name}),
    }
}

/// None, that of most jobs, one as it should be, or anything.
fn acl() -> impl Strategy<Value = Option<Value>> {
    let right = prop::sample::select(vec!["VIEW", "MODIFY", "ALL", "DELETE", "view"]);
    let rule = (principal(), right).prop_map(|(principal, right)| {
        let mut rule = shown_principal(&principal);
        rule["right"] = json!(right);
        rule
    });
    let good =
        (principal(), prop::collection::vec(rule, 0..4), any::<bool>()).prop_map(|(owner, rules, administered)| {
            let acl = json!({"owner": shown_principal(&owner), "rules": rules});
            Some(if administered { with_administrator_rule(acl) } else { acl })
        });
    prop_oneof![
        1 => Just(None),
        2 => Just(Some(default_acl())),
        6 => good,
        1 => value().prop_map(Some),
        1 => value().prop_map(|value| Some(json!({"owner": value, "rules": [{"type": "USER", "principal": value}]}))),
    ]
}

/// With access control beside what the document has.
fn guarded(document: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (document, acl()).prop_map(|(mut document, acl)| {
        if let Some(acl) = acl {
            document["acl"] = acl;
        }
        document
    })
}

/// Documents in which a job's attributes are what they should be; nothing irregular hides the columns.
fn regular_document() -> impl Strategy<Value = Value> {
    let state = prop::option::of(prop::sample::select(vec!["QUEUED", "RUNNING", "SUCCESS", ""]));
    let date = prop::option::of(0_u8..3).prop_map(|millis| millis.map(|m| format!("2026-01-01T00:00:00.00{m}Z")));
    let action = prop::option::of("[ab]");
    let priority = prop::option::of(-1_i64..3);
    (state, action, date.clone(), date, priority, prop::option::of("[ab]"), value()).prop_map(
        |(state, action, created, updated, priority, href, progress)| {
            json!({
                "state": state, "action": action, "created": created, "updated": updated, "priority": priority,
                "targetResource": {"href": href}, "progress": progress, "name": action,
            })
        },
    )
}

/// Documents in which what is declared is a text, so that the index answers by itself; or, now and then, anything.
fn declared_document() -> impl Strategy<Value = Value> {
    let value = prop_oneof![9 => text().prop_map(Value::from), 1 => value()];
    let texts = prop::collection::vec(prop::option::of(prop_oneof![text().prop_map(Value::from)]), 3);
    (regular_document(), texts, prop::option::weighted(0.05, value)).prop_map(|(mut document, texts, any)| {
        let [name, progress, list] = &texts[..] else { unreachable!("there are three") };
        for (path, value) in [("name", name), ("progress", progress)] {
            document[path] = value.clone().unwrap_or_default();
        }
        document["nested"] = json!({"list": any.or_else(|| list.clone())});
        document
    })
}

fn wild_document() -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(PATHS), value()), 0..6).prop_map(|members| {
        let mut document = Document::new();
        for (path, value) in members {
            let mut levels: Vec<&str> = path.split('/').collect();
            let first = levels.remove(0);
            document.insert(first.into(), levels.iter().rev().fold(value, |inner, level| json!({*level: inner})));
        }
        Value::Object(document)
    })
}

fn comparison() -> impl Strategy<Value = Comparison> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual, StartsWith, Words};
    prop_oneof![
        3 => Just(Equal),
        1 => Just(NotEqual),
        6 => prop::sample::select(vec![NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual, StartsWith, Words]),
    ]
}

fn single_literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        5 => wanted_text().prop_map(Literal::Text),
        2 => prop::sample::select(vec!["QUEUED", "RUNNING", "a", "b"]).prop_map(|text| Literal::Text(text.to_owned())),
        3 => prop_oneof![0_u64..4, Just(u64::MAX), Just(9_007_199_254_740_993)].prop_map(Literal::Integer),
        1 => any::<bool>().prop_map(Literal::Boolean),
        1 => Just(Literal::Null),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![4 => single_literal(), 1 => prop::collection::vec(single_literal(), 0..3).prop_map(Literal::List)]
}

/// With or without a clock.
fn filter() -> impl Strategy<Value = Filter> {
    let now = prop::sample::select(vec!["2026-01-01T00:00:00.001Z", "2026-01-02T00:00:00.000Z"]);
    (unresolved_filter(), prop::option::of(now)).prop_map(|(filter, now)| match now {
        Some(now) => filter.resolve(now.parse().unwrap()),
        None => filter,
    })
}

fn unresolved_filter() -> impl Strategy<Value = Filter> {
    let leaf = (prop::sample::select(PATHS), comparison(), literal())
        .prop_map(|(path, comparison, literal)| Filter::Compare(Attribute(path.to_owned()), comparison, literal));
    let states = prop::collection::vec(prop::sample::select(vec!["QUEUED", "RUNNING", "SUCCESS", "A"]), 2..4).prop_map(
        |states| {
            let equal = |state: &str| {
                Filter::Compare(Attribute("state".into()), Comparison::Equal, Literal::Text(state.to_owned()))
            };
            Filter::Any(states.into_iter().map(equal).collect())
        },
    );
    prop_oneof![4 => leaf, 1 => states].prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Filter::All),
            prop::collection::vec(inner, 1..4).prop_map(Filter::Any),
        ]
    })
}

fn query() -> impl Strategy<Value = Query> {
    let order = (prop::sample::select(PATHS), any::<bool>())
        .prop_map(|(path, descending)| Order { attribute: path.to_owned(), descending });
    let after = prop::option::weighted(0.2, "job/[0-9]{2}");
    let filter = prop::option::weighted(0.8, filter());
    let visible_to = prop::option::weighted(0.6, prop::collection::vec(principal(), 0..4));
    (filter, visible_to, prop::collection::vec(order, 0..3), after, 0_u64..4, 0_u64..30).prop_map(
        |(filter, visible_to, order, after, offset, limit)| {
            let order = if after.is_some() { Vec::new() } else { order };
            Query { filter, visible_to, order, after, offset, limit, ..Query::default() }
        },
    )
}

/// Those that compute often meet a text, so the others are asked for by themselves.
fn aggregations() -> impl Strategy<Value = Vec<Aggregation>> {
    let one = |algorithms: &'static [Algorithm]| {
        (prop::sample::select(algorithms), prop::sample::select(PATHS))
            .prop_map(|(algorithm, path)| Aggregation { algorithm, attribute: path.to_owned() })
    };
    let any = one(&[Algorithm::Count, Algorithm::Cardinality, Algorithm::Missing, Algorithm::Terms]);
    prop_oneof![prop::collection::vec(any, 1..5), prop::collection::vec(one(&Algorithm::ALL), 1..3)]
}

fn shown(page: &Found) -> (u64, Vec<&str>) {
    (page.count, page.records.iter().map(|record| record.id.as_str()).collect())
}

/// Stores the documents under ids of one form or the other, replaces the first ones by `changed`, removes every fifth of all, and asks.
fn same_answers(
    documents: &[Value],
    changed: &[Value],
    queries: &[Query],
    aggregations: &[Vec<Aggregation>],
    removed: &Filter,
) -> Result<(), TestCaseError> {
    same_answers_of(Ids::Short, documents, changed, queries, aggregations, removed)?;
    let after = |query: &Query| {
        let number = query.after.as_ref()?.strip_prefix("job/")?.parse().ok()?;
        Some(Query { after: Some(Ids::OfServer.of(number)), ..query.clone() })
    };
    // a walk begins at an id of the other form, or at one of this
    let queries: Vec<Query> = queries.iter().cloned().chain(queries.iter().filter_map(after)).collect();
    same_answers_of(Ids::Both, documents, changed, &queries, aggregations, removed)?;
    same_answers_of(Ids::OfServer, documents, changed, &queries, aggregations, removed)
}

fn same_answers_of(
    ids: Ids,
    documents: &[Value],
    changed: &[Value],
    queries: &[Query],
    aggregations: &[Vec<Aggregation>],
    removed: &Filter,
) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    for is_declared in [false, true] {
        let path = folder.path().join(format!("{is_declared}.db"));
        let sqlite = if is_declared { with_declared(&path) } else { SqliteStore::open(&path).unwrap() };
        same_answers_as_memory(Arc::new(sqlite), ids, (documents, changed), (queries, aggregations), removed)?;
    }
    Ok(())
}

fn same_answers_as_memory(
    sqlite: Arc<dyn Store>,
    ids: Ids,
    (documents, changed): (&[Value], &[Value]),
    (queries, aggregations): (&[Query], &[Vec<Aggregation>]),
    removed: &Filter,
) -> Result<(), TestCaseError> {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::default());
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        for store in [&memory, &sqlite] {
            fill(store.as_ref(), ids, documents, changed).await;
        }
        for query in queries {
            let (expected, found) =
                (memory.search("job", query).await.unwrap(), sqlite.search("job", query).await.unwrap());
            prop_assert_eq!(shown(&expected), shown(&found), "{:?}", query);
            if query.after.is_none() {
                prop_assert_eq!(matching(memory.as_ref(), query).await, found.count, "{:?}", query);
            }
            prop_assert_eq!(expected, found);
        }
        for (query, asked) in queries.iter().zip(aggregations) {
            same_aggregations((&*memory, &*sqlite), query, asked).await?;
        }
        for after in queries.iter().map(|query| query.after.as_deref()).chain([None]) {
            let unfinished = memory.index_rows(after, 100).await.unwrap();
            prop_assert_eq!(unfinished, sqlite.index_rows(after, 100).await.unwrap(), "{:?}", after);
        }
        let expected = memory.remove_matching("job", removed).await.unwrap();
        prop_assert_eq!(expected, sqlite.remove_matching("job", removed).await.unwrap());
        let everything = Query { limit: 100, ..Query::default() };
        prop_assert_eq!(
            memory.search("job", &everything).await.unwrap(),
            sqlite.search("job", &everything).await.unwrap()
        );
        for query in queries {
            let count = Query { limit: 0, ..query.clone() };
            let (expected, found) =
                (memory.search("job", &count).await.unwrap(), sqlite.search("job", &count).await.unwrap());
            prop_assert_eq!(expected.count, found.count, "{:?}", count);
        }
        Ok(())
    })
}

/// How many match, by the evaluator alone.
async fn matching(store: &dyn Store, query: &Query) -> u64 {
    let everything = store.search("job", &Query { limit: 100, ..Query::default() }).await.unwrap().records;
    let is_visible = |record: &&Record| {
        let viewers = viewers(&record.document);
        query.visible_to.as_ref().is_none_or(|callers| callers.iter().any(|caller| viewers.contains(caller)))
    };
    let matches = |record: &&Record| query.filter.as_ref().is_none_or(|filter| filter.matches(&record.document));
    everything.iter().filter(is_visible).filter(matches).count() as u64
}

async fn fill(store: &dyn Store, ids: Ids, documents: &[Value], changed: &[Value]) {
    let record = |number: usize, revision: Revision, document: &Value| {
        let document = document.as_object().unwrap().clone();
        Record {
            id: ids.of(number),
            revision,
            document: document.into(),
            ledger: json!({"entry": format!("{number}")}),
        }
    };
    for (number, document) in documents.iter().enumerate() {
        store.insert(record(number, Revision(0), document)).await.unwrap();
    }
    for (number, document) in changed.iter().enumerate().take(documents.len()) {
        assert!(store.insert(record(number, Revision(0), document)).await.is_err(), "it exists");
        assert!(store.replace(record(number, Revision(2), document)).await.is_err(), "it is older");
        store.replace(record(number, Revision(1), document)).await.unwrap();
    }
    for number in (0..documents.len()).step_by(5) {
        let revision = store.get(&ids.of(number)).await.unwrap().unwrap().revision;
        store.remove(&ids.of(number), revision).await.unwrap();
    }
}

async fn same_aggregations(
    (memory, sqlite): (&dyn Store, &dyn Store),
    query: &Query,
    asked: &[Aggregation],
) -> Result<(), TestCaseError> {
    let expected = aggregate(memory, "job", query, asked).await;
    let found = aggregate(sqlite, "job", query, asked).await;
    match (expected, found) {
        // which of several was met first is a matter of the order
        (Err(StoreError::Aggregation(_)), Err(StoreError::Aggregation(_))) => {}
        (expected, found) => prop_assert_eq!(expected.unwrap(), found.unwrap(), "{:?} {:?}", asked, query),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_as_memory_does_on_regular_documents(
        documents in prop::collection::vec(guarded(regular_document()), 0..20),
        changed in prop::collection::vec(guarded(regular_document()), 0..6),
        queries in prop::collection::vec(query(), 12),
        asked in prop::collection::vec(aggregations(), 12),
        removed in filter(),
    ) {
        same_answers(&documents, &changed, &queries, &asked, &removed)?;
    }

    #[test]
    fn sqlite_answers_as_memory_does_on_wild_documents(
        documents in prop::collection::vec(guarded(wild_document()), 0..12),
        changed in prop::collection::vec(guarded(wild_document()), 0..6),
        queries in prop::collection::vec(query(), 12),
        asked in prop::collection::vec(aggregations(), 12),
        removed in filter(),
    ) {
        same_answers(&documents, &changed, &queries, &asked, &removed)?;
    }

    #[test]
    fn an_index_of_declared_attributes_changes_no_answer(
        documents in prop::collection::vec(guarded(declared_document()), 0..20),
        changed in prop::collection::vec(guarded(declared_document()), 0..6),
        queries in prop::collection::vec(query(), 12),
        asked in prop::collection::vec(aggregations(), 12),
        removed in filter(),
    ) {
        same_answers(&documents, &changed, &queries, &asked, &removed)?;
    }
}
