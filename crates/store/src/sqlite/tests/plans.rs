//! Searches that people make cost as much as their answer, not as the store.

use super::*;

struct Question {
    filter: Option<&'static str>,
    order: Option<(&'static str, bool)>,
    after: bool,
    index: &'static str,
    sorts: bool,
}

const fn question(filter: &'static str, order: Option<(&'static str, bool)>, index: &'static str) -> Question {
    Question { filter: Some(filter), order, after: false, index, sorts: false }
}

const NEWEST: Option<(&str, bool)> = Some(("created", true));
const LAST_UPDATED: Option<(&str, bool)> = Some(("updated", true));
const OLDEST: Option<(&str, bool)> = Some(("created", false));

const QUESTIONS: &[Question] = &[
    question("state='QUEUED'", NEWEST, "resource_by_state "),
    question("state='QUEUED' or state='RUNNING'", NEWEST, "resource_by_state "),
    question("state='SUCCESS' and created>'2026-01-01T00:00:00.000Z'", NEWEST, "resource_by_state "),
    question("action='noop'", NEWEST, "resource_by_action_and_created "),
    question("action='noop' and state='SUCCESS'", NEWEST, "resource_by_action "),
    question("action='noop' and (state='SUCCESS' or state='FAILED')", NEWEST, "resource_by_action "),
    question("targetResource/href='credential/1'", NEWEST, "resource_by_target "),
    question("created>'2026-01-01T00:00:00.000Z'", NEWEST, "resource_by_created "),
    question("parentJob='job/1'", NEWEST, "resource_by_parent "),
    question("id='job/7'", None, "sqlite_autoindex_resource_1 "),
    question("id^='job/7'", None, "sqlite_autoindex_resource_1 "),
    question("priority=5", NEWEST, "resource_by_priority "),
    question("acl/owner/principal='jane'", NEWEST, "resource_by_owner "),
    question("updated>'2026-01-01T00:00:00.000Z'", LAST_UPDATED, "resource_by_updated "),
    Question { filter: None, order: LAST_UPDATED, after: false, index: "resource_by_updated ", sorts: false },
    // lists
    question("state=['QUEUED','RUNNING']", NEWEST, "resource_by_state "),
    question("state=['QUEUED','QUEUED']", NEWEST, "resource_by_state "),
    question("action=['noop','dummy_test_action']", NEWEST, "resource_by_action_and_created "),
    question("parentJob=['job/1','job/2']", NEWEST, "resource_by_parent "),
    question("acl/owner/principal='jane' or acl/owner/principal='joe'", NEWEST, "resource_by_owner "),
    question("targetResource/href=['credential/1','credential/2']", NEWEST, "resource_by_target "),
    question("action='noop' and state=['SUCCESS','FAILED']", NEWEST, "resource_by_action "),
    // dates
    question("created='2026-01-01'", NEWEST, "resource_by_created "),
    question("state='SUCCESS' and created<='2026-01-01||-1d/M'", NEWEST, "resource_by_state "),
    question("state='QUEUED'", None, "resource_by_state_and_id "),
    Question { filter: None, order: NEWEST, after: false, index: "resource_by_created ", sorts: false },
    Question { filter: None, order: None, after: true, index: "sqlite_autoindex_resource_1 ", sorts: false },
    Question {
        filter: Some("state='QUEUED' or state='RUNNING'"),
        order: None,
        after: true,
        index: "resource_by_state_and_id ",
        sorts: false,
    },
    Question {
        filter: Some("action=['noop']"),
        order: None,
        after: true,
        index: "sqlite_autoindex_resource_1 ",
        sorts: false,
    },
    // equal times only: they are in the index the other way round
    Question { filter: Some("state='QUEUED'"), order: OLDEST, after: false, index: "resource_by_state ", sorts: true },
];

/// What starts with a text is a range of an index, and a list some places in one; both have to be sorted.
const PREFIXES_AND_LISTS: &[(&str, &str)] = &[
    ("state^='QUE'", "state>? AND state<?"),
    ("action^='no'", "action>? AND action<?"),
    ("targetResource/href^='credential/'", "target>? AND target<?"),
    ("parentJob^='job/'", "parent>? AND parent<?"),
    ("action='noop' and state^='RUN'", "state>? AND state<?"),
    ("action=['noop','collect_vms']", "action=?"),
    ("action=['noop'] and state=['QUEUED','RUNNING','SUCCESS','FAILED','STOPPED','1','2','3','4']", "state=?"),
    ("targetResource/href=['1','2','3','4','5','6','7','8','9']", "target=?"),
    ("state^='QUE' and statusMessage^='A'", "state>? AND state<?"),
    ("acl/owner/principal^='A'", "owner>? AND owner<?"),
    ("acl/owner/principal=['A','B']", "owner=?"),
    ("priority=[1,2]", "priority=?"),
    ("parentJob=['1','2']", "parent=?"),
];

fn check_prefixes_and_lists(reader: &Reader, when: &str) {
    for (text, range) in PREFIXES_AND_LISTS {
        for order in [NEWEST, None] {
            let order = order.map(|(path, descending)| Order { attribute: path.into(), descending });
            let query = Query {
                filter: Some(Filter::parse(text).unwrap()),
                order: order.into_iter().collect(),
                limit: 20,
                ..Query::default()
            };
            for count in [false, true] {
                let plan = reader.plan("job", &query, count, true).unwrap();
                let told = format!("{when}, {query:?}: {plan:#?}");
                if plan.iter().any(|line| line.starts_with("SEARCH tally")) {
                    continue;
                }
                let mut reads = plan.iter().filter(|line| line.contains("resource")).peekable();
                assert!(reads.peek().is_some(), "{told}");
                assert!(reads.all(|line| line.starts_with("SEARCH") && line.contains(range)), "{told}");
            }
        }
    }
}

/// Each search is of an index that has all of it, and none has to be sorted.
async fn check_walk(store: &SqliteStore, when: &str) {
    let plan = inspect(store, |connection| {
        let sql = format!("EXPLAIN QUERY PLAN {}", reader::unfinished());
        let mut statement = connection.prepare(&sql).unwrap();
        let lines = statement.query_map(["job", "", "10"], |row| row.get("detail")).unwrap();
        lines.collect::<rusqlite::Result<Vec<String>>>().unwrap()
    });
    let plan = plan.await;
    let reads: Vec<&String> = plan.iter().filter(|line| line.contains("resource")).collect();
    let search = "SEARCH resource USING COVERING INDEX resource_by_state_and_id (type=? AND state=? AND id>?)";
    assert_eq!(reads, [search; 3], "{when}: {plan:#?}");
    assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{when}: {plan:#?}");
}

fn check(reader: &Reader, when: &str) {
    for question in QUESTIONS {
        let query = Query {
            filter: question.filter.map(|text| Filter::parse(text).unwrap()),
            order: question
                .order
                .iter()
                .map(|(path, descending)| Order { attribute: (*path).into(), descending: *descending })
                .collect(),
            after: question.after.then(|| "job/0100".to_owned()),
            limit: 20,
            ..Query::default()
        };
        let page = reader.plan("job", &query, false, false).unwrap();
        let told = format!("{when}, {query:?}: {page:#?}");
        let reads: Vec<&String> = page.iter().filter(|line| line.contains("resource")).collect();
        assert!(!reads.is_empty(), "{told}");
        for line in reads {
            assert!(line.starts_with("SEARCH"), "{told}");
            assert!(format!("{line} ").contains(question.index), "{told}");
            assert!(!question.after || line.contains("id>?"), "a walk goes on where it was: {told}");
        }
        let sorts: Vec<&String> = page.iter().filter(|line| line.contains("TEMP B-TREE")).collect();
        let only_last = sorts.iter().all(|line| line.contains("LAST TERM"));
        assert!(if question.sorts { only_last } else { sorts.is_empty() }, "{told}");
        let count = reader.plan("job", &query, true, false).unwrap();
        assert!(count.iter().all(|line| !line.contains("SCAN resource")), "{when}, {query:?}: {count:#?}");
    }
}

#[tokio::test]
async fn the_searches_of_every_day_use_an_index_in_its_order() {
    let (_folder, path, store) = new_store();
    let store = Arc::new(store);
    check(&Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap(), "empty");
    check_prefixes_and_lists(&Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap(), "empty");
    check_walk(&store, "empty").await;
    for batch in 0..10 {
        let changes = (0..200).map(|number| {
            let number = batch * 200 + number;
            let state = if number % 50 == 0 {
                "RUNNING"
            } else if number % 10 == 0 {
                "QUEUED"
            } else {
                "SUCCESS"
            };
            let id = format!("job/{number:04}");
            let document = json!({
                "id": id, "state": state, "action": if number % 3 == 0 { "noop" } else { "dummy_test_action" },
                "created": format!("2026-01-01T00:{:02}:{:02}.000Z", number / 60, number % 60),
                "targetResource": {"href": format!("credential/{}", number % 40)},
                "parentJob": (number % 100 == 0).then_some("job/1"),
            });
            insert(&id, &document)
        });
        assert!(in_one_group(&store, changes.collect()).await.iter().all(Result::is_ok));
    }
    check(&Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap(), "filled");
    check_prefixes_and_lists(&Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap(), "filled");
    inspect(&store, |connection| connection.execute_batch("ANALYZE").unwrap()).await;
    check(&Reader::open(&path, Arc::default(), SEARCH_LIMIT).unwrap(), "analysed");
    check_walk(&store, "analysed").await;
}
