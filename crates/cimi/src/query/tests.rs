use serde_json::json;

use super::*;

fn order(attribute: &str, descending: bool) -> Order {
    Order { attribute: attribute.to_owned(), descending }
}

fn aggregation(algorithm: Algorithm, attribute: &str) -> Aggregation {
    Aggregation { algorithm, attribute: attribute.to_owned() }
}

fn parse(query: &str) -> Parameters {
    Parameters::parse(query, b"").unwrap_or_else(|error| panic!("{query}: {error}"))
}

#[test]
fn a_search_becomes_a_form() {
    assert_eq!(Search::default().to_form(), "");
    let search = Search {
        filter: Some("action=\"x\" and state=\"ÜBER\"".to_owned()),
        order: vec![order("created", true), order("targetResource/href", false)],
        first: Some(1),
        last: Some(0),
        select: vec!["id".to_owned(), "state".to_owned()],
        aggregations: vec![aggregation(Algorithm::Terms, "state"), aggregation(Algorithm::ExtendedStats, "a/b")],
        after: Some("job/1".to_owned()),
    };
    assert_eq!(
        search.to_form(),
        "%24filter=action%3D%22x%22+and+state%3D%22%C3%9CBER%22&%24orderby=created%3Adesc%2CtargetResource.href\
         &%24first=1&%24last=0&%24select=id%2Cstate&%24aggregation=terms%3Astate%2Cextendedstats%3Aa%2Fb&%24after=job%2F1"
    );
    let parameters = Parameters::parse("", search.to_form().as_bytes()).expect("what is written can be read");
    assert_eq!(parameters.filter.map(|filter| filter.to_string()).as_deref(), Some("action='x' and state='ÜBER'"));
    assert_eq!((parameters.order, parameters.select), (search.order, search.select));
    assert_eq!((parameters.first, parameters.last), (Some(1), Some(0)));
    assert_eq!((parameters.aggregations, parameters.after), (search.aggregations, search.after));
}

#[test]
fn parameters_have_two_spellings_and_two_places() {
    let expected = parse("$filter=a=1&$first=2&$last=3&$select=id&$orderby=a:desc");
    assert_eq!(expected.first, Some(2));
    assert_eq!(parse("filter=a=1&first=2&last=3&select=id&orderby=a:desc"), expected);
    assert_eq!(Parameters::parse("first=2&last=3", b"%24filter=a%3D1&select=id&orderby=a:desc"), Ok(expected));
    assert_eq!(parse("unknown=1&$expand=x&$format=json"), Parameters::default());
}

#[test]
fn filters_are_joined_each_in_parentheses() {
    let joined = Parameters::parse("$filter=a=1 or b=2", b"filter=c=3").expect("both are filters").filter;
    assert_eq!(joined, Some(Filter::parse("(a=1 or b=2) and (c=3)").expect("a filter")));
    assert_eq!(parse("").filter, None);
    for bad in ["$filter=", "filter=+", "filter=a=1&$filter=", "filter=a=1)or(b=2&filter=c=3"] {
        let error = Parameters::parse(bad, b"").expect_err(bad);
        assert!(error.to_string().starts_with("Invalid CIMI filter. Parse error at line 1, column "), "{error}");
    }
}

#[test]
fn lists_are_separated_by_commas_or_repeated() {
    assert_eq!(parse("$select=id, type ,key&select=a,,&select=").select, ["id", "type", "key", "a"]);
    assert_eq!(parse("$select=id&$select=*").select, Vec::<String>::new());
    assert_eq!(
        parse("$orderby=a, b:asc ,c:desc&orderby=d.e:desc&orderby=f/g&orderby=ns:h").order,
        [
            order("a", false),
            order("b", false),
            order("c", true),
            order("d/e", true),
            order("f/g", false),
            order("ns:h", false)
        ]
    );
}

#[test]
fn aggregations_are_read_as_the_table_says() {
    for algorithm in Algorithm::ALL {
        let asked = format!("$aggregation={}:priority", algorithm.as_str().to_uppercase());
        assert_eq!(parse(&asked).aggregations, [aggregation(algorithm, "priority")], "{asked}");
    }
    let read = parse(
        "$aggregation=max:progress, TERMS:targetResource/href ,,max:progress&aggregation=min : ns:a,max:progress",
    );
    let tags: Vec<String> = read.aggregations.iter().map(Aggregation::to_string).collect();
    assert_eq!(tags, ["max:progress", "terms:targetResource/href", "min:ns:a"]);
    for ignored in ["value_count:a", "extended_stats:a", "max", "max:", ":a", "", "max a:b", "geo_bounds:a"] {
        assert_eq!(parse(&format!("aggregation={ignored}")).aggregations, [], "{ignored}");
    }
}

#[test]
fn of_too_many_aggregations_one_too_many_is_kept() {
    let many: Vec<String> = (0..1_000).map(|number| format!("max:a{number}")).collect();
    assert_eq!(parse(&format!("aggregation={}", many.join(","))).aggregations.len(), MOST_AGGREGATIONS + 1);
    assert_eq!(
        parse(&format!("aggregation={}", many[..MOST_AGGREGATIONS].join(","))).aggregations.len(),
        MOST_AGGREGATIONS
    );
}

#[test]
fn a_page_after_another_is_asked_for_in_two_spellings() {
    assert_eq!(parse("$after=job/1").after.as_deref(), Some("job/1"));
    assert_eq!(Parameters::parse("", b"after=job%2F1").expect("no filter").after.as_deref(), Some("job/1"));
}

#[test]
fn what_is_not_an_integer_is_ignored() {
    let parameters = parse("$first=x&$last=1.5&first=99999999999999999999");
    assert_eq!((parameters.first, parameters.last), (None, None));
    assert_eq!(parse("last=-1&last=x").last, Some(-1));
}

#[test]
fn windows_are_as_the_table_says() {
    let rows = [
        (None, None, Ok((0, 10_000))),
        (Some(2), None, Ok((1, 10_000))),
        (None, Some(0), Ok((0, 0))),
        (Some(5), Some(4), Ok((4, 0))),
        (Some(5), Some(1), Ok((4, 0))),
        (None, Some(-3), Ok((0, 0))),
        (Some(i64::MAX), Some(i64::MIN), Ok((i64::MAX as u64 - 1, 0))),
        (Some(0), Some(2), Ok((0, 2))),
        (Some(-7), Some(2), Ok((0, 2))),
        (Some(5), Some(5), Ok((4, 1))),
        (Some(1), Some(10_000), Ok((0, 10_000))),
        (Some(1), Some(10_001), Err(TooLarge(10_001))),
        (None, Some(10_001), Err(TooLarge(10_001))),
        (Some(2), Some(10_001), Ok((1, 10_000))),
        (Some(1), Some(i64::MAX), Err(TooLarge(i64::MAX as u64))),
    ];
    for (first, last, expected) in rows {
        assert_eq!(window(first, last), expected, "{first:?} {last:?}");
    }
    assert_eq!(
        TooLarge(10_001).to_string(),
        "size 10001 too large; limit is 10000; for more go on from page to page by $after and the answer's next"
    );
}

#[test]
fn collections_are_read_in_both_dialects() {
    let read = |value: Value| Collection::from_document(value.as_object().expect("an object").clone());
    let operations = json!([{"rel": "add", "href": "job"}]);
    for list in ["jobs", "resources"] {
        let collection = read(json!({"count": 3, "acl": {}, "operations": operations, list: [{"id": "job/1"}]}));
        let collection = collection.unwrap_or_else(|reason| panic!("{list}: {reason}"));
        assert_eq!((collection.count, collection.documents.len()), (3, 1));
        assert_eq!(collection.documents[0]["id"], "job/1");
    }
    let more = json!({"count": 3, "aggregations": {"max:n": {"value": 4.0}}, "next": "job/1", "jobs": []});
    let more = read(more).unwrap_or_else(|reason| panic!("{reason}"));
    assert_eq!(more.aggregations["max:n"]["value"], 4.0);
    assert_eq!(more.next.as_deref(), Some("job/1"));
    assert_eq!(read(json!({"count": 1, "jobs": [], "aggregations": []})), Err("its aggregations are no object"));
    assert_eq!(read(json!({"count": null, "jobs": []})), Err("it has no count"));
    assert_eq!(read(json!({"count": 1, "operations": operations})), Err("it has no list of documents"));
    assert_eq!(read(json!({"count": 1, "jobs": [1]})), Err("its list holds something else than documents"));
}
