//! What filters mean, row by row of specification 4.4, for the evaluator and for every store.

use slipstream_cimi::filter::Filter;

use super::{Arc, Query, Record, Revision, Store, StoreExt, Value, json, record};

/// A filter and the numbers of the documents that it selects.
type Row = (&'static str, &'static [usize]);

/// Asks each row of the evaluator and of the store: over each document alone, so that no irregular value of another one
/// keeps a store from what it does with regular ones, and over all of them.
async fn holds(store: Arc<dyn Store>, documents: &[Value], rows: &[Row]) {
    let documents: Vec<Record> = documents.iter().enumerate().map(numbered).collect();
    for document in &documents {
        store.insert(document.clone()).await.unwrap();
        for (text, expected) in rows {
            let found = found(&*store, text).await;
            let expected = expected.iter().any(|number| documents[*number].id == document.id);
            assert_eq!(found.contains(&document.id), expected, "store: {text}: {:?}", document.document);
            let evaluated = resolved(text).matches(&document.document);
            assert_eq!(evaluated, expected, "evaluator: {text}: {:?}", document.document);
        }
        store.remove(&document.id, Revision(1)).await.unwrap();
    }
    for document in &documents {
        store.insert(document.clone()).await.unwrap();
    }
    for (text, expected) in rows {
        let expected: Vec<&String> = expected.iter().map(|number| &documents[*number].id).collect();
        // alone, and beside a condition that an index may answer
        for text in [(*text).to_owned(), format!("({text}) and action='noop'"), format!("id='job/x' or {text}")] {
            assert_eq!(found(&*store, &text).await.iter().collect::<Vec<_>>(), expected, "store: {text}");
        }
    }
}

fn numbered((number, document): (usize, &Value)) -> Record {
    let id = format!("job/{number:02}");
    let mut document = document.clone();
    document["id"] = json!(id);
    document["action"] = json!("noop");
    record(&id, &document)
}

fn resolved(text: &str) -> Filter {
    let now = "2026-11-24T22:06:07.123Z".parse().unwrap();
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).resolve(now)
}

async fn found(store: &dyn Store, text: &str) -> Vec<String> {
    let query = Query { filter: Some(resolved(text)), limit: 100, ..Query::default() };
    let page = store.search("job", &query).await.unwrap();
    assert_eq!(page.count, page.records.len() as u64, "{text}");
    page.records.into_iter().map(|record| record.id).collect()
}

/// Attribute missing, null or an empty list; unknown attribute. Once for an attribute that a store may know, and once
/// for one that it does not.
pub(super) async fn row_missing(store: Arc<dyn Store>) {
    let documents = [
        json!({}),
        json!({"state": null, "tags": null}),
        json!({"state": [], "tags": []}),
        json!({"state": "A", "tags": "A"}),
        json!({"state": "B", "tags": ["B"]}),
    ];
    let rows: &[Row] = &[
        ("state='A'", &[3]),
        ("state^='A'", &[3]),
        ("state^=''", &[3, 4]),
        ("state<'B'", &[3]),
        ("state<='B'", &[3, 4]),
        ("state>'A'", &[4]),
        ("state>='A'", &[3, 4]),
        ("state=='a'", &[3]),
        ("state=['A','B']", &[3, 4]),
        ("state!='A'", &[0, 1, 2, 4]),
        ("state!=['A','B']", &[0, 1, 2]),
        ("state=null", &[0, 1, 2]),
        ("state!=null", &[3, 4]),
        ("tags='A'", &[3]),
        ("tags^='A'", &[3]),
        ("tags^=''", &[3, 4]),
        ("tags<'B'", &[3]),
        ("tags<='B'", &[3, 4]),
        ("tags>'A'", &[4]),
        ("tags>='A'", &[3, 4]),
        ("tags=='a'", &[3]),
        ("tags=['A','B']", &[3, 4]),
        ("tags!='A'", &[0, 1, 2, 4]),
        ("tags!=['A','B']", &[0, 1, 2]),
        ("tags=null", &[0, 1, 2]),
        ("tags!=null", &[3, 4]),
        ("nowhere='A'", &[]),
        ("nowhere/at/all>'A'", &[]),
        ("nowhere!='A'", &[0, 1, 2, 3, 4]),
        ("nowhere=null", &[0, 1, 2, 3, 4]),
        ("nowhere!=null", &[]),
    ];
    holds(store, &documents, rows).await;
}

/// List-valued attribute; list of objects.
pub(super) async fn row_lists_in_documents(store: Arc<dyn Store>) {
    let link = |href: &str, kind: &str| json!({"href": href, "kind": kind});
    let documents = [
        json!({"tags": ["a", "b"], "affectedResources": [link("vm/1", "p"), link("vm/2", "q")]}),
        json!({"tags": ["b", "c"], "affectedResources": [link("vm/1", "q")]}),
        json!({"tags": "c", "affectedResources": [[link("vm/2", "p")], {"href": null}, {}]}),
        json!({"affectedResources": []}),
    ];
    let rows: &[Row] = &[
        ("tags='b'", &[0, 1]),
        ("tags^='a'", &[0]),
        ("tags<'b'", &[0]),
        ("tags>='c'", &[1, 2]),
        ("tags!='b'", &[2, 3]),
        ("tags!='x'", &[0, 1, 2, 3]),
        ("tags=['a','x']", &[0]),
        ("tags!=['a','x']", &[1, 2, 3]),
        ("tags='a' and tags='b'", &[0]),
        ("affectedResources/href='vm/1'", &[0, 1]),
        ("affectedResources/href='vm/2'", &[0, 2]),
        ("affectedResources/href^='vm/'", &[0, 1, 2]),
        ("affectedResources/href!='vm/1'", &[2, 3]),
        ("affectedResources/href=null", &[3]),
        // met by different elements
        ("affectedResources/href='vm/1' and affectedResources/kind='q'", &[0, 1]),
        ("affectedResources/href='vm/2' and affectedResources/kind='p'", &[0, 2]),
    ];
    holds(store, &documents, rows).await;
}

/// Strings: exact, case-sensitive, no trimming; order and prefix by code point. Escapes: the original keeps the
/// backslash before a quote, which is different here on purpose.
pub(super) async fn row_strings(store: Arc<dyn Store>) {
    let documents = [
        json!({"state": "Ready", "note": "Ready"}),
        json!({"state": "READY", "note": "READY"}),
        json!({"state": " Ready", "note": " Ready"}),
        json!({"state": "Re", "note": "Re"}),
        json!({"state": "Ü", "note": "Ü"}),
        json!({"state": "\u{1F680}", "note": "\u{1F680}"}),
        json!({"state": "\u{FFFD}", "note": "\u{FFFD}"}),
        json!({"state": "it's", "note": "it's"}),
        json!({"state": "it\\s", "note": "it\\s"}),
        json!({"state": "", "note": ""}),
        json!({"state": "100%_", "note": "100%_"}),
        json!({"state": "100x", "note": "100x"}),
    ];
    let rows: &[Row] = &[
        ("state='Ready'", &[0]),
        ("state='ready'", &[]),
        ("state=' Ready'", &[2]),
        ("state='Ready '", &[]),
        ("state=''", &[9]),
        ("state^='Re'", &[0, 3]),
        ("state^='re'", &[]),
        ("state^='100%'", &[10]),
        ("state^='100_'", &[]),
        ("state>'it\\\\s'", &[4, 5, 6]),
        ("state>'Ü'", &[5, 6]),
        // in UTF-16 it would be the other way round
        ("state>'\u{FFFD}'", &[5]),
        ("state<'Re'", &[1, 2, 9, 10, 11]),
        ("state='it\\'s'", &[7]),
        ("state=\"it's\"", &[7]),
        ("state='it\\s'", &[8]),
        ("state='it\\\\s'", &[8]),
        ("note='Ready'", &[0]),
        ("note='ready'", &[]),
        ("note=' Ready'", &[2]),
        ("note=''", &[9]),
        ("note^='Re'", &[0, 3]),
        ("note^='100%'", &[10]),
        ("note>'\u{FFFD}'", &[5]),
        ("note<'Re'", &[1, 2, 9, 10, 11]),
        ("note='it\\'s'", &[7]),
    ];
    holds(store, &documents, rows).await;
}

/// String literal against a number or boolean; int literal against a string; int literal above 2147483647, where the
/// original fails; `^=` on a number or date.
pub(super) async fn row_conversions(store: Arc<dyn Store>) {
    let documents = [
        json!({"progress": 50, "flag": true, "note": "50"}),
        json!({"progress": 5, "flag": false, "note": "9"}),
        json!({"progress": 0, "flag": "true", "note": "text"}),
        json!({"progress": 3_000_000_000_u64, "note": "007", "created": "2026-01-01T00:00:00.000Z"}),
        json!({"returnCode": -1}),
    ];
    let rows: &[Row] = &[
        ("progress='50'", &[0]),
        ("progress!='50'", &[1, 2, 3, 4]),
        ("progress<'9'", &[1, 2]),
        ("progress>='5'", &[0, 1, 3]),
        ("progress=['5','50']", &[0, 1]),
        ("returnCode='-1'", &[4]),
        ("returnCode<0", &[4]),
        ("flag='true'", &[0, 2]),
        ("flag='false'", &[1]),
        ("flag=true", &[0, 2]),
        ("flag!='true'", &[1, 3, 4]),
        // impossible
        ("progress='half'", &[]),
        ("progress<'half'", &[]),
        ("progress>'half'", &[]),
        ("progress=true", &[]),
        ("flag='yes'", &[]),
        ("flag=1", &[]),
        // as text
        ("note=50", &[0]),
        ("note<6", &[0, 3]),
        ("note>6", &[1, 2]),
        ("note=7", &[]),
        // large
        ("progress=3000000000", &[3]),
        ("progress>2147483647", &[3]),
        ("progress<99999999999", &[0, 1, 2, 3]),
        // no beginning
        ("progress^='5'", &[]),
        ("created^='2026'", &[]),
        ("note^='5'", &[0]),
    ];
    holds(store, &documents, rows).await;
}

/// Reversed operands: the operator is mirrored, also where the original fails.
pub(super) async fn row_reversed_operands(store: Arc<dyn Store>) {
    let documents = [
        json!({"priority": 1, "n": 1, "state": "A"}),
        json!({"priority": 3, "n": 3, "state": "B"}),
        json!({"priority": 5, "n": 5}),
    ];
    let rows: &[Row] = &[
        ("3<priority", &[2]),
        ("3<=priority", &[1, 2]),
        ("3>priority", &[0]),
        ("3>=priority", &[0, 1]),
        ("3=priority", &[1]),
        ("3!=priority", &[0, 2]),
        ("3<n", &[2]),
        ("3<=n", &[1, 2]),
        ("3>n", &[0]),
        ("3>=n", &[0, 1]),
        ("'A'=state", &[0]),
        ("'A'!=state", &[1, 2]),
        ("'A'^=state", &[0]),
        ("'a'==state", &[0]),
        ("null=state", &[2]),
        ("null!=state", &[0, 1]),
        ("['A','B']=state", &[0, 1]),
        ("['A']!=state", &[1, 2]),
    ];
    holds(store, &documents, rows).await;
}

/// Lists in filters; `==`; `property[…]`, which is `properties/<key>`.
pub(super) async fn row_lists_words_and_properties(store: Arc<dyn Store>) {
    let documents = [
        json!({"state": "A", "name": "nightly clean-up", "properties": {"x": "y", "zookeeper-path": "/job"}}),
        json!({"state": "B", "name": "Nightly report", "properties": {"x": "z", "two words": "y"}}),
        json!({"state": "C", "description": "of clean machines", "properties": {}}),
        json!({"statusMessage": "clean"}),
    ];
    let rows: &[Row] = &[
        ("state=['A','C']", &[0, 2]),
        ("state!=['A','C']", &[1, 3]),
        ("state=[]", &[]),
        ("state!=[]", &[0, 1, 2, 3]),
        ("name=='nightly'", &[0, 1]),
        ("name=='clean report'", &[0, 1]),
        ("name=='nightly + report'", &[1]),
        ("name=='nightly | clean'", &[0, 1]),
        ("name=='nightly + -report'", &[0]),
        ("name=='repo*'", &[1]),
        ("name=='\"clean up\"'", &[0]),
        ("name=='(clean report) + nightly'", &[0, 1]),
        ("fulltext=='clean'", &[0, 2, 3]),
        ("fulltext=='report machines'", &[1, 2]),
        ("property['x']='y'", &[0]),
        ("property['x']!='y'", &[1, 2, 3]),
        ("property[\"x\"]!=null", &[0, 1]),
        ("property['x']=null", &[2, 3]),
        ("property['zookeeper-path']='/job'", &[0]),
        ("property['two words']='y'", &[1]),
    ];
    holds(store, &documents, rows).await;
}

/// Types of a job's attributes: its dates are compared as instants, its integers as numbers, everything else as text.
pub(super) async fn row_types(store: Arc<dyn Store>) {
    let documents = [
        json!({
            "created": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:00.000Z", "started": "2026-01-01T00:00:00.000Z",
            "timeOfStatusChange": "2026-01-01T00:00:00.000Z", "expiry": "2026-01-01T00:00:00.000Z",
            "progress": 9, "returnCode": 9, "priority": 9, "duration": 9, "version": 9, "name": "9",
        }),
        json!({
            "created": "2026-01-01T00:30:00.000Z", "updated": "2026-01-01T00:30:00.000Z", "started": "2026-01-01T00:30:00.000Z",
            "timeOfStatusChange": "2026-01-01T00:30:00.000Z", "expiry": "2026-01-01T00:30:00.000Z",
            "progress": 10, "returnCode": 10, "priority": 10, "duration": 10, "version": 10, "name": "10",
        }),
    ];
    // as texts the first would be the greater one of each pair
    let rows: &[Row] = &[
        ("created<'2026-01-01T01:15:00.000+01:00'", &[0]),
        ("updated<'2026-01-01T01:15:00.000+01:00'", &[0]),
        ("started<'2026-01-01T01:15:00.000+01:00'", &[0]),
        ("timeOfStatusChange<'2026-01-01T01:15:00.000+01:00'", &[0]),
        ("expiry<'2026-01-01T01:15:00.000+01:00'", &[0]),
        ("progress<'10'", &[0]),
        ("returnCode<'10'", &[0]),
        ("priority<'10'", &[0]),
        ("duration<'10'", &[0]),
        ("version<'10'", &[0]),
        ("name<'9'", &[1]),
    ];
    holds(store, &documents, rows).await;
}

/// Dates: timestamps, dates, date math, rounding by operator, incomplete dates, six decimals, unquoted ones.
pub(super) async fn row_dates(store: Arc<dyn Store>) {
    let documents = [
        json!({"created": "2019-03-29T10:00:00.123Z"}),
        json!({"created": "2020-01-01T00:00:00.000Z"}),
        json!({"created": "2020-01-01T23:59:59.999Z"}),
        json!({"created": "2020-01-02T00:00:00.000Z"}),
        json!({"created": "2026-11-17T22:06:07.122Z"}),
        json!({"created": "2026-11-24T00:00:00.000Z"}),
        json!({"created": "2026-11-24T22:06:07.123Z"}),
        json!({"created": "2026-11-24T23:59:59.999Z"}),
        json!({}),
    ];
    let rows: &[Row] = &[
        // what engines send
        ("created<'now-7d'", &[0, 1, 2, 3, 4]),
        ("created>\"now-1h\"", &[6, 7]),
        ("created < \"now-60m\"", &[0, 1, 2, 3, 4, 5]),
        ("created<\"2019-03-29T10:00:00.123456Z\"", &[0]),
        ("created<\"2019-03-29T10:00:00.122999Z\"", &[]),
        ("created='now'", &[6]),
        ("created!='now'", &[0, 1, 2, 3, 4, 5, 7, 8]),
        // with /unit: `>` and `<=` to its last millisecond, `>=` and `<` to its first
        ("created>'now/d'", &[]),
        ("created<='now/d'", &[0, 1, 2, 3, 4, 5, 6, 7]),
        ("created>='now/d'", &[5, 6, 7]),
        ("created<'now/d'", &[0, 1, 2, 3, 4]),
        ("created>'now-7d/d'", &[5, 6, 7]),
        ("created>='now/M'", &[4, 5, 6, 7]),
        ("created>='now/w'", &[5, 6, 7]),
        ("created>='now/m'", &[6, 7]),
        ("created>='now/y'", &[4, 5, 6, 7]),
        ("created>='now/H-1h'", &[6, 7]),
        // another anchor
        ("created<'2020-01-01||+1d'", &[0, 1, 2]),
        ("created>='2020-01-01||+1d/d'", &[3, 4, 5, 6, 7]),
        ("created<'2020-01-01T12:00:00.000Z||/d'", &[0]),
        // incomplete dates
        ("created<='2020-01-01'", &[0, 1, 2]),
        ("created<'2020-01-01'", &[0]),
        ("created>'2020-01-01'", &[3, 4, 5, 6, 7]),
        ("created>='2020-01-01'", &[1, 2, 3, 4, 5, 6, 7]),
        ("created='2020-01-01'", &[1, 2]),
        ("created!='2020-01-01'", &[0, 3, 4, 5, 6, 7, 8]),
        ("created='2020-01'", &[1, 2, 3]),
        ("created='2020'", &[1, 2, 3]),
        // unquoted
        ("created>=2020-01-02", &[3, 4, 5, 6, 7]),
        ("created<=2020-01", &[0, 1, 2, 3]),
        ("created=2026-11-24T22:06:07.123Z", &[6]),
        ("created=2026-11-24T23:06:07.123+01:00", &[6]),
        ("created=null", &[8]),
    ];
    holds(store, &documents, rows).await;
}
