//! Each row of specification 4.6, and what makes the answers reliable.

use proptest::prelude::*;

use super::*;

fn asked(algorithm: Algorithm, attribute: &str) -> Aggregation {
    Aggregation { algorithm, attribute: attribute.to_owned() }
}

fn over_values(algorithm: Algorithm, attribute: &str, values: &[Value]) -> Result<Value, AggregationError> {
    let documents: Vec<Document> =
        values.iter().map(|value| Document::from_iter([(attribute.to_owned(), value.clone())])).collect();
    over(&documents, &[asked(algorithm, attribute)]).map(|mut answers| answers.remove(0))
}

fn computed(algorithm: Algorithm, values: &[Value]) -> Value {
    over_values(algorithm, "n", values).unwrap()
}

#[test]
fn single_values_are_floating_point_numbers() {
    let values = [json!(1), json!(2.5), json!([4, 4]), json!(null), json!([])];
    for (algorithm, expected) in [
        (Algorithm::Min, 1.0),
        (Algorithm::Max, 4.0),
        (Algorithm::Sum, 11.5),
        (Algorithm::Avg, 2.875),
        (Algorithm::Count, 4.0),
        (Algorithm::Cardinality, 3.0),
    ] {
        let answer = computed(algorithm, &values);
        assert_eq!(answer.to_string(), format!("{{\"value\":{expected:?}}}"), "{algorithm:?}");
    }
    assert_eq!(computed(Algorithm::Missing, &values), json!({"doc_count": 2}));
}

#[test]
fn statistics_have_their_members() {
    let values = [json!(50), json!(100)];
    assert_eq!(
        computed(Algorithm::Stats, &values),
        json!({"count": 2, "min": 50.0, "max": 100.0, "avg": 75.0, "sum": 150.0})
    );
    let extended = json!({
        "count": 2, "min": 50.0, "max": 100.0, "avg": 75.0, "sum": 150.0, "sum_of_squares": 12500.0, "variance": 625.0,
        "std_deviation": 25.0, "std_deviation_bounds": {"upper": 125.0, "lower": 25.0},
    });
    let found = computed(Algorithm::ExtendedStats, &values);
    assert_eq!(found, extended);
    assert_eq!(found.to_string(), extended.to_string(), "in this order");
}

#[test]
fn over_nothing_the_answers_are_those_of_elasticsearch() {
    let no_percentiles: Document = PERCENTS.iter().map(|percent| (format!("{percent}.0"), Value::Null)).collect();
    for (algorithm, expected) in [
        (Algorithm::Min, json!({"value": null})),
        (Algorithm::Max, json!({"value": null})),
        (Algorithm::Avg, json!({"value": null})),
        (Algorithm::Sum, json!({"value": 0.0})),
        (Algorithm::Count, json!({"value": 0.0})),
        (Algorithm::Cardinality, json!({"value": 0.0})),
        (Algorithm::Missing, json!({"doc_count": 0})),
        (Algorithm::Stats, json!({"count": 0, "min": null, "max": null, "avg": null, "sum": 0.0})),
        (
            Algorithm::ExtendedStats,
            json!({
                "count": 0, "min": null, "max": null, "avg": null, "sum": 0.0, "sum_of_squares": null,
                "variance": null, "std_deviation": null, "std_deviation_bounds": {"upper": null, "lower": null},
            }),
        ),
        (Algorithm::Percentiles, json!({"values": no_percentiles})),
        (Algorithm::Terms, json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": []})),
    ] {
        assert_eq!(computed(algorithm, &[]), expected, "{algorithm:?}");
    }
}

#[test]
fn percentiles_lie_between_two_values_by_their_distance() {
    let percentiles = |values: &[f64]| {
        let values: Vec<Value> = values.iter().map(|value| json!(value)).collect();
        computed(Algorithm::Percentiles, &values)["values"].clone()
    };
    let hundred_and_one: Vec<f64> = (0..=100).rev().map(f64::from).collect();
    assert_eq!(
        percentiles(&hundred_and_one),
        json!({"1.0": 1.0, "5.0": 5.0, "25.0": 25.0, "50.0": 50.0, "75.0": 75.0, "95.0": 95.0, "99.0": 99.0})
    );
    assert_eq!(
        percentiles(&[300.0, 0.0, 200.0, 100.0]),
        json!({"1.0": 3.0, "5.0": 15.0, "25.0": 75.0, "50.0": 150.0, "75.0": 225.0, "95.0": 285.0, "99.0": 297.0})
    );
    let alone = percentiles(&[0.1]);
    assert!(PERCENTS.iter().all(|percent| alone[format!("{percent}.0")] == 0.1), "{alone}");
    assert_eq!(percentiles(&[1.0, 1.0, 1.0, 9.0])["75.0"], 3.0);
}

#[test]
fn dates_are_milliseconds_with_their_text() {
    let (early, late) = (json!("2026-01-01T00:00:00.000Z"), json!("2026-01-01T02:00:00.002+01:00"));
    let created = |algorithm| over_values(algorithm, "created", &[early.clone(), late.clone()]).unwrap();
    let (first, last) = ("2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.002Z");
    assert_eq!(created(Algorithm::Min), json!({"value": 1_767_225_600_000.0, "value_as_string": first}));
    assert_eq!(created(Algorithm::Max), json!({"value": 1_767_229_200_002.0, "value_as_string": last}));
    let middle = "2026-01-01T00:30:00.001Z";
    assert_eq!(created(Algorithm::Avg), json!({"value": 1_767_227_400_001.0, "value_as_string": middle}));
    let stats = created(Algorithm::Stats);
    assert_eq!((&stats["min_as_string"], &stats["avg_as_string"]), (&json!(first), &json!(middle)));
    assert_eq!(created(Algorithm::Percentiles)["values"]["50.0_as_string"], middle);
    assert_eq!(created(Algorithm::Cardinality), json!({"value": 2.0}));
    let terms = json!([
        {"key": 1_767_225_600_000_i64, "key_as_string": first, "doc_count": 1},
        {"key": 1_767_229_200_002_i64, "key_as_string": last, "doc_count": 1},
    ]);
    assert_eq!(created(Algorithm::Terms)["buckets"], terms);
    let ages = vec![early; 200];
    let sum = over_values(Algorithm::Sum, "created", &ages).unwrap();
    assert_eq!(sum, json!({"value": 353_445_120_000_000.0}), "beyond the calendar there is no text");
}

#[test]
fn terms_are_the_ten_most_frequent_then_the_least() {
    let mut values: Vec<Value> = (0..15).map(|number| json!(format!("k{number:02}"))).collect();
    values.extend(["k14", "k14", "k07"].map(Value::from));
    // a value counts once for each document
    values.push(json!(["k00", "k00", ["k00"]]));
    let terms = computed(Algorithm::Terms, &values);
    let buckets: Vec<(&str, u64)> = terms["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| (bucket["key"].as_str().unwrap(), bucket["doc_count"].as_u64().unwrap()))
        .collect();
    let expected = [
        ("k14", 3),
        ("k00", 2),
        ("k07", 2),
        ("k01", 1),
        ("k02", 1),
        ("k03", 1),
        ("k04", 1),
        ("k05", 1),
        ("k06", 1),
        ("k08", 1),
    ];
    assert_eq!(buckets, expected);
    assert_eq!((&terms["sum_other_doc_count"], &terms["doc_count_error_upper_bound"]), (&json!(5), &json!(0)));
}

#[test]
fn terms_keep_the_kind_of_their_values() {
    let values = [
        json!("1"),
        json!(1),
        json!(1.0),
        json!(true),
        json!([true, false]),
        json!(2.5),
        json!({"object": 1}),
        json!(u64::MAX),
        json!(u64::MAX - 1),
        json!(i64::MIN),
        json!(-7),
        json!(1e300),
    ];
    let terms = computed(Algorithm::Terms, &values);
    let keys: Vec<Value> = terms["buckets"].as_array().unwrap().iter().map(|bucket| bucket["key"].clone()).collect();
    let expected = [
        json!(1),
        json!(1),
        json!(i64::MIN),
        json!(-7),
        json!(2.5),
        json!(u64::MAX - 1),
        json!(u64::MAX),
        json!(1e300),
        json!(0),
        json!("1"),
    ];
    assert_eq!(keys, expected);
    assert_eq!(terms["buckets"][1], json!({"key": 1, "key_as_string": "true", "doc_count": 2}));
    assert_eq!(terms["buckets"][8], json!({"key": 0, "key_as_string": "false", "doc_count": 1}));
    assert_eq!(computed(Algorithm::Cardinality, &values), json!({"value": 10.0}));
    assert_eq!(computed(Algorithm::Missing, &values), json!({"doc_count": 0}), "an object is a value");
    assert_eq!(computed(Algorithm::Count, &values), json!({"value": 13.0}));
}

#[test]
fn levels_lead_through_lists_of_objects() {
    let Value::Object(document) = json!({"jobs": [{"size": 1}, {"size": [2, 3]}, {"other": 1}]}) else {
        unreachable!()
    };
    for path in ["jobs/size", "jobs.size"] {
        let answers = over([&document], &[asked(Algorithm::Sum, path), asked(Algorithm::Missing, path)]).unwrap();
        assert_eq!(answers, [json!({"value": 6.0}), json!({"doc_count": 0})], "{path}");
    }
}

#[test]
fn what_cannot_be_computed_is_an_error_that_names_it() {
    use Algorithm::{Avg, ExtendedStats, Max, Min, Percentiles, Stats, Sum};
    for algorithm in [Min, Max, Sum, Avg, Stats, ExtendedStats, Percentiles] {
        for bad in [json!("7"), json!({"object": 1}), json!([1, "x"])] {
            let error = over_values(algorithm, "n", &[json!(1), bad]).unwrap_err().to_string();
            let name = algorithm.as_str();
            assert_eq!(error, format!("cannot compute {name}:n: not all values of n are numbers"));
        }
        for bad in [json!("yesterday"), json!(7)] {
            let error = over_values(algorithm, "created", &[bad]).unwrap_err().to_string();
            assert!(error.ends_with("not all values of created are dates"), "{error}");
        }
    }
    assert_eq!(computed(Sum, &[json!(true), json!(2)]), json!({"value": 3.0}), "booleans are 0 and 1");
}

#[test]
fn nothing_is_lost_where_great_numbers_cancel() {
    let sum = computed(Algorithm::Sum, &[json!(1e100), json!(1), json!(-1e100), json!(1e-7)]);
    assert_eq!(sum, json!({"value": 1.000_000_1}));
    // far from 0 and close together, as dates are
    let far = [1e12 + 4.0, 1e12 + 7.0, 1e12 + 13.0, 1e12 + 16.0].map(Value::from);
    assert_eq!(computed(Algorithm::ExtendedStats, &far)["variance"], 22.5);
}

#[test]
fn what_no_number_can_say_is_null() {
    let greatest = [json!(f64::MAX), json!(f64::MAX), json!(-1), json!(-f64::MAX)];
    let found = computed(Algorithm::ExtendedStats, &greatest);
    assert_eq!((&found["min"], &found["max"]), (&json!(-f64::MAX), &json!(f64::MAX)));
    for name in ["sum", "avg", "sum_of_squares", "variance", "std_deviation"] {
        assert_eq!(found[name], Value::Null, "{name}");
    }
    assert_eq!(found["std_deviation_bounds"], json!({"upper": null, "lower": null}));
    let percentiles = computed(Algorithm::Percentiles, &[json!(-f64::MAX), json!(f64::MAX)]);
    assert_eq!(percentiles["values"]["50.0"], 0.0);
}

#[test]
fn memory_is_bounded() {
    let long = "x".repeat(1024);
    let attribute = Attribute("n".to_owned());
    for (algorithm, value, size) in [
        (Algorithm::Terms, long.as_str(), MEMORY_OF_A_VALUE + 1026),
        (Algorithm::Cardinality, "", MEMORY_OF_A_VALUE + 2),
        (Algorithm::Percentiles, "", MEMORY_OF_A_VALUE),
    ] {
        let asked = [asked(Algorithm::Count, "n"), asked(algorithm, "n"), asked(algorithm, "n")];
        let aggregators = Aggregators::new(&asked);
        assert_eq!(aggregators.memory, 128 * 1024 * 1024);
        let mut aggregators = Aggregators { memory: 2 * size * 50, ..aggregators };
        let mut add = |number: usize| {
            let number = 10 + number % 60;
            let text =
                if algorithm == Algorithm::Percentiles { json!(number) } else { json!(format!("{number}{value}")) };
            aggregators.add(&attribute, &[&text], 1)
        };
        for again in 0..20 {
            assert_eq!(add(again % 10).and(add(again % 5)), Ok(()), "a value that was there takes nothing");
        }
        assert_eq!((0..50).map(&mut add).find(Result::is_err), None);
        let error = add(50).unwrap_err().to_string();
        assert!(error.contains("there are too many different values, narrow the search"), "{error}");
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-50_i32..50).prop_map(f64::from),
        -1e6..1e6_f64,
        -1e150..1e150_f64,
        -1e-9..1e-9_f64,
        Just(1_767_225_600_000.25),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn neither_order_nor_weights_change_an_answer(
        values in prop::collection::vec((number(), 1_u64..4), 1..40).prop_shuffle(),
    ) {
        let asked: Vec<Aggregation> = Algorithm::ALL.into_iter().map(|algorithm| asked(algorithm, "n")).collect();
        let attribute = Attribute("n".to_owned());
        let (mut weighted, mut single) = (Aggregators::new(&asked), Aggregators::new(&asked));
        for (value, weight) in &values {
            weighted.add(&attribute, &[&json!(value)], *weight).unwrap();
        }
        for (value, weight) in values.iter().rev() {
            for _ in 0..*weight {
                single.add(&attribute, &[&json!(value)], 1).unwrap();
            }
        }
        prop_assert_eq!(weighted.finish(), single.finish());
    }

    #[test]
    fn small_whole_numbers_have_the_answers_of_a_school_book(values in prop::collection::vec(-1000_i64..1000, 1..60)) {
        let values_as_json: Vec<Value> = values.iter().map(|value| json!(value)).collect();
        let found = computed(Algorithm::ExtendedStats, &values_as_json);
        let count = i64::try_from(values.len()).unwrap();
        let sum: i64 = values.iter().sum();
        let squares: i64 = values.iter().map(|value| value * value).sum();
        prop_assert_eq!(found["sum"].as_f64(), json!(sum).as_f64());
        prop_assert_eq!(found["sum_of_squares"].as_f64(), json!(squares).as_f64());
        let spread = json!(count * squares - sum * sum).as_f64().unwrap();
        let count = json!(count).as_f64().unwrap();
        prop_assert_eq!(found["variance"].as_f64(), Some(spread / count / count));
    }
}
