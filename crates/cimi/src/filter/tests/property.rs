//! Random filters and texts.

use proptest::prelude::*;

use super::*;

fn any_comparison() -> impl Strategy<Value = Filter> {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual, StartsWith, Words};
    let attribute = prop_oneof![
        4 => "([a-z]:)?[@a-zA-Z](-*[a-z0-9_]){1,3}(/(@n_s:)?(a|and|null)){0,2}",
        1 => any::<String>().prop_map(|key| format!("properties/{key}")),
        1 => Just("created".to_owned()),
    ];
    let quoted = || prop_oneof![any::<String>(), r#"['"\\n]{0,5}"#];
    let ordinal = || prop_oneof![any::<u64>().prop_map(Literal::Integer), quoted().prop_map(Literal::Text)];
    let elements = prop_oneof![ordinal(), any::<bool>().prop_map(Literal::Boolean)];
    let list = proptest::collection::vec(elements, 0..4).prop_map(Literal::List);
    let word = prop_oneof![any::<bool>().prop_map(Literal::Boolean), Just(Literal::Null), list];
    let equality = proptest::sample::select(vec![Equal, NotEqual]);
    let order = proptest::sample::select(vec![Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual]);
    let textual = proptest::sample::select(vec![StartsWith, Words]);
    let compared = prop_oneof![(order, ordinal()), (equality, word), (textual, quoted().prop_map(Literal::Text))];
    let date =
        proptest::sample::select(vec!["now", "now-7d/w", "2020", "2020-01-31||/M+1d", "2020-01-01T10:00:00.5+02:00"]);
    (attribute, compared, date).prop_map(|(attribute, (comparison, literal), date)| {
        let is_date = attribute == "created" && literal != Literal::Null;
        let literal = match literal {
            Literal::List(_) if is_date => Literal::List(vec![text(date)]),
            _ if is_date => text(date),
            other => other,
        };
        compare(&attribute, comparison, literal)
    })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    any_comparison().prop_recursive(6, 40, 4, |part| {
        let parts = proptest::collection::vec(part, 2..4);
        prop_oneof![parts.clone().prop_map(Filter::All), parts.prop_map(Filter::Any)]
    })
}

proptest! {
    #[test]
    fn printing_and_parsing_is_identity(filter in any_filter()) {
        prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
    }

    #[test]
    fn a_printed_filter_means_the_same_after_resolving(filter in any_filter()) {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let resolved = filter.clone().resolve(now);
        prop_assert_eq!(Filter::parse(&resolved.to_string()), Ok(resolved.clone()));
        prop_assert_eq!(resolved.clone().resolve(now), resolved, "there is nothing left to resolve");
    }

    /// Near misses of dates; what is accepted in a filter stands for something, once resolved.
    #[test]
    fn dates_never_panic(date in "(now|20[0-9]{0,3}(-[01][0-9]){0,3}(T[0-9:.]{0,12})?(Z|[+-][0-9:]{0,5})?(\\|\\|)?)([+/-][0-9]{0,3}[yMwdhHms]?){0,4}|.{0,8}") {
        if let Ok(filter) = Filter::parse(&format!("created>{}", text(&date))) {
            let Filter::Compare(_, _, literal) = filter.resolve(jiff::Timestamp::UNIX_EPOCH) else { panic!("a comparison") };
            let span = Span::of(&literal);
            prop_assert!(span.is_some_and(|span| span.first <= span.last), "{:?}", span);
        }
    }

    /// Also with parentheses and quotes that do not match.
    #[test]
    fn a_negated_query_finds_the_rest(query in r#"[ab][ab+|*()" -]{0,30}"#, name in "[ab -]{0,10}") {
        let document = json!({"name": name}).as_object().expect("an object").clone();
        let found = |query: String| compare("name", Comparison::Words, text(&query)).matches(&document);
        let negated = found(format!("-({query}"));
        // a closing one too many ends the negation
        prop_assume!(query.matches(')').count() == 0);
        prop_assert_ne!(found(query), negated);
    }

    #[test]
    fn parsing_never_panics(input in any::<String>()) {
        if let Err(error) = Filter::parse(&input) {
            prop_assert!(error.to_string().starts_with("Invalid CIMI filter. Parse error at line "));
        }
    }

    /// Near misses of the grammar, which reach deeper than arbitrary texts; what parses also prints.
    #[test]
    fn parsing_words_of_the_grammar_never_panics(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "a", "b-c", "ns:", "/", "=", "!=", "<", ">=", "^=", "==", "1", "2020-01-01", "T10:00:00Z", "'x'", "\"", "\\",
            "and", "or", "(", ")", "[", "]", ",", "@", "property[", "created", "'now-1d'", "within", "true", "null", " ",
            "\n", "ü",
        ]), 0..24)
    ) {
        if let Ok(filter) = Filter::parse(&words.concat()) {
            prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
    }
}
