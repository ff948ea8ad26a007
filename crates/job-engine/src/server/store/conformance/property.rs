//! Random documents and searches: both stores answer as the evaluator does.

use proptest::prelude::*;
use slipstream_cimi::filter::{Attribute, Comparison, Literal};
use slipstream_cimi::query::{Aggregation, Algorithm};

use super::{
    Arc, Document, Filter, MemoryStore, Order, Page, Query, Record, SqliteStore, Store, StoreError, Value, json,
};

const PATHS: &[&str] = &[
    "state",
    "action",
    "created",
    "updated",
    "priority",
    "targetResource/href",
    "acl/owner/principal",
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
    ]
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
    (prop::option::weighted(0.8, filter()), prop::collection::vec(order, 0..3), after, 0_u64..4, 0_u64..30).prop_map(
        |(filter, order, after, offset, limit)| {
            let order = if after.is_some() { Vec::new() } else { order };
            Query { filter, order, after, offset, limit, ..Query::default() }
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

fn shown(page: &Page) -> (u64, Vec<&str>) {
    (page.count, page.records.iter().map(|record| record.id.as_str()).collect())
}

fn same_answers(
    documents: &[Value],
    queries: &[Query],
    aggregations: &[Vec<Aggregation>],
    removed: &Filter,
) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let sqlite: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        for (number, document) in documents.iter().enumerate() {
            let document = document.as_object().unwrap().clone();
            let record = Record { id: format!("job/{number:02}"), revision: 0, document, ledger: Value::Null };
            memory.insert(record.clone()).await.unwrap();
            sqlite.insert(record).await.unwrap();
        }
        for query in queries {
            let (expected, found) =
                (memory.query("job", query).await.unwrap(), sqlite.query("job", query).await.unwrap());
            prop_assert_eq!(shown(&expected), shown(&found), "{:?}", query);
            if let Some(filter) = query.filter.as_ref().filter(|_| query.after.is_none()) {
                let matches = documents.iter().filter(|document| filter.matches(document.as_object().unwrap()));
                prop_assert_eq!(matches.count() as u64, found.count, "{:?}", filter);
            }
            prop_assert_eq!(expected, found);
        }
        for (query, asked) in queries.iter().zip(aggregations) {
            same_aggregations((&*memory, &*sqlite), query, asked).await?;
        }
        let expected = memory.remove_matching("job", removed).await.unwrap();
        prop_assert_eq!(expected, sqlite.remove_matching("job", removed).await.unwrap());
        let everything = Query { limit: 100, ..Query::default() };
        prop_assert_eq!(
            memory.query("job", &everything).await.unwrap(),
            sqlite.query("job", &everything).await.unwrap()
        );
        Ok(())
    })
}

async fn same_aggregations(
    (memory, sqlite): (&dyn Store, &dyn Store),
    query: &Query,
    asked: &[Aggregation],
) -> Result<(), TestCaseError> {
    let expected = memory.aggregate("job", query, asked).await;
    let found = sqlite.aggregate("job", query, asked).await;
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
        documents in prop::collection::vec(regular_document(), 0..20),
        queries in prop::collection::vec(query(), 12),
        asked in prop::collection::vec(aggregations(), 12),
        removed in filter(),
    ) {
        same_answers(&documents, &queries, &asked, &removed)?;
    }

    #[test]
    fn sqlite_answers_as_memory_does_on_wild_documents(
        documents in prop::collection::vec(wild_document(), 0..12),
        queries in prop::collection::vec(query(), 12),
        asked in prop::collection::vec(aggregations(), 12),
        removed in filter(),
    ) {
        same_answers(&documents, &queries, &asked, &removed)?;
    }
}
