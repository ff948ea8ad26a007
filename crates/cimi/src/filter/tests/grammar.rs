//! Which texts are filters (specification 4.3).

use super::*;

#[test]
fn accepts_what_both_originals_accept() {
    use Comparison::{Equal, Greater, Less, LessOrEqual, NotEqual};
    let a_and_b = Filter::All(vec![is("a", 1), is("b", 2)]);
    let rows = [
        ("a=1and b=2", a_and_b.clone()),
        ("a=1andb=2", a_and_b.clone()),
        ("(a=1)and(b=2)", a_and_b),
        ("a='x'or b='y'", Filter::Any(vec![compare("a", Equal, text("x")), compare("b", Equal, text("y"))])),
        ("a=nulland b=1", Filter::All(vec![compare("a", Equal, Literal::Null), is("b", 1)])),
        (" a = 1 ", is("a", 1)),
        ("\t\r\n\x0b\x0ca=1", is("a", 1)),
        ("( a=1 )", is("a", 1)),
        (" ( ( a=1 ) ) ", is("a", 1)),
        ("((a=1))", is("a", 1)),
        ("3<a", compare("a", Greater, Literal::Integer(3))),
        ("3>=a", compare("a", LessOrEqual, Literal::Integer(3))),
        ("'x'=a", compare("a", Equal, text("x"))),
        ("null!=a", compare("a", NotEqual, Literal::Null)),
        ("a/b='x'", compare("a/b", Equal, text("x"))),
        ("a_b=1", is("a_b", 1)),
        ("a-b=1", is("a-b", 1)),
        ("a--b9=1", is("a--b9", 1)),
        ("ns:a/ns2:b='x'", compare("ns:a/ns2:b", Equal, text("x"))),
        (r"a='it\'s'", compare("a", Equal, text("it's"))),
        (r#"a="it's""#, compare("a", Equal, text("it's"))),
        (r#"a='it"s'"#, compare("a", Equal, text("it\"s"))),
        (r#"a="\"\\\d""#, compare("a", Equal, text(r#""\\d"#))),
        ("a=''", compare("a", Equal, text(""))),
        ("a='x\ny'", compare("a", Equal, text("x\ny"))),
        ("a<'now-7d'", compare("a", Less, text("now-7d"))),
        ("created>2020-01-01", compare("created", Greater, text("2020-01-01"))),
        ("created>2020-01", compare("created", Greater, text("2020-01"))),
        (
            "created>2020-01-01T10:00:00.5+02:00and b=1",
            Filter::All(vec![compare("created", Greater, text("2020-01-01T10:00:00.5+02:00")), is("b", 1)]),
        ),
        ("a=007", is("a", 7)),
        ("a=99999999999", is("a", 99_999_999_999)),
        ("a=trueorb=false", parse("a=true or b=false")),
        ("a!=true", compare("a", NotEqual, Literal::Boolean(true))),
        ("and=1and or=2or null=3", Filter::Any(vec![Filter::All(vec![is("and", 1), is("or", 2)]), is("null", 3)])),
        ("true=a", compare("a", Equal, Literal::Boolean(true))),
        ("nullx=1", is("nullx", 1)),
        ("3<true", compare("true", Greater, Literal::Integer(3))),
        ("a=1 or b=2 and c=3", Filter::Any(vec![is("a", 1), Filter::All(vec![is("b", 2), is("c", 3)])])),
        ("(a=1 or b=2) and c=3", Filter::All(vec![Filter::Any(vec![is("a", 1), is("b", 2)]), is("c", 3)])),
    ];
    for (input, expected) in rows {
        assert_eq!(parse(input), expected, "{input:?}");
    }
}

#[test]
fn accepts_prefixes_words_and_properties() {
    use Comparison::{Equal, NotEqual, StartsWith, Words};
    let rows = [
        ("a^='x'", compare("a", StartsWith, text("x"))),
        ("'x' ^= a", compare("a", StartsWith, text("x"))),
        ("a=='x'", compare("a", Words, text("x"))),
        ("'x'==a", compare("a", Words, text("x"))),
        ("fulltext == \"x y\"and b=1", Filter::All(vec![compare("fulltext", Words, text("x y")), is("b", 1)])),
        ("property['x']='y'", compare("properties/x", Equal, text("y"))),
        ("property[\"x\"]!=null", compare("properties/x", NotEqual, Literal::Null)),
        (" property[ 'x' ] = 'y' ", compare("properties/x", Equal, text("y"))),
        (r"property['it\'s']='y'", compare("properties/it's", Equal, text("y"))),
        ("property='y'", compare("property", Equal, text("y"))),
        ("propertyx='y'", compare("propertyx", Equal, text("y"))),
        ("property/x='y'", compare("property/x", Equal, text("y"))),
        // beyond the originals
        ("'y'=property['x']", compare("properties/x", Equal, text("y"))),
        ("property['x y']^='y'", compare("properties/x y", StartsWith, text("y"))),
    ];
    for (input, expected) in rows {
        assert_eq!(parse(input), expected, "{input:?}");
    }
}

/// First what only Nuvla accepts, then what neither does.
#[test]
fn accepts_lists_and_terms_with_an_at_sign() {
    use Comparison::{Equal, Greater, NotEqual};
    let list = |elements: &[Literal]| Literal::List(elements.to_vec());
    let a_and_b = list(&[text("A"), text("B")]);
    let rows = [
        ("state=['A','B']", compare("state", Equal, a_and_b.clone())),
        ("['A']=state", compare("state", Equal, list(&[text("A")]))),
        ("state=['A' 'B']", compare("state", Equal, a_and_b.clone())),
        ("state=[]", compare("state", Equal, list(&[]))),
        ("state=[1,2]", compare("state", Equal, list(&[Literal::Integer(1), Literal::Integer(2)]))),
        ("state=[1 2]", compare("state", Equal, list(&[Literal::Integer(1), Literal::Integer(2)]))),
        ("state=[2012-01-02]", compare("state", Equal, list(&[text("2012-01-02")]))),
        ("state!=['A' , 'B'] ", compare("state", NotEqual, a_and_b.clone())),
        ("['A','B'] != state", compare("state", NotEqual, a_and_b)),
        ("state=['A']and b=1", Filter::All(vec![compare("state", Equal, list(&[text("A")])), is("b", 1)])),
        ("@timestamp>'x'", compare("@timestamp", Greater, text("x"))),
        ("a/@b:@c=1", is("a/@b:@c", 1)),
        ("@1=1", is("@1", 1)),
        ("@-x=1", is("@-x", 1)),
        ("state= ['A']", compare("state", Equal, list(&[text("A")]))),
        (" ['A'] =state", compare("state", Equal, list(&[text("A")]))),
        ("state=[ ]", compare("state", Equal, list(&[]))),
        ("state=['a',]", compare("state", Equal, list(&[text("a")]))),
        ("state=[true]", compare("state", Equal, list(&[Literal::Boolean(true)]))),
        ("state=[ false true ]", compare("state", Equal, list(&[Literal::Boolean(false), Literal::Boolean(true)]))),
    ];
    for (input, expected) in rows {
        assert_eq!(parse(input), expected, "{input:?}");
    }
}

#[test]
fn geographic_operators_are_refused_by_name() {
    for operator in ["intersects", "disjoint", "within", "contains"] {
        let error = Filter::parse(&format!("g {operator} 'POINT(1 2)'")).expect_err(operator);
        assert_eq!(error.column, 3);
        assert_eq!(error.expected, format!("expected a comparison other than `{operator}`, which is not supported"));
        assert_eq!(parse(&format!("{operator}=1")), is(operator, 1), "a legal name");
    }
}

#[test]
fn what_is_looked_for_has_a_bounded_number_of_words() {
    parse(&format!("a=='{}'", vec!["x"; MAXIMUM_WORDS].join(" ")));
    for (too_many, column) in
        [(format!("a== '{}'", "x ".repeat(MAXIMUM_WORDS + 1)), 5), (format!("'{}'==a", "(".repeat(2_000)), 1)]
    {
        let error = Filter::parse(&too_many).expect_err("too many");
        assert_eq!((error.column, error.expected.as_str()), (column, "expected at most 1024 words"));
    }
}

/// Each with the column of its error; `vectors` has those of specification 4.3.
#[test]
fn rejects_what_is_no_filter() {
    let rows = [
        ("a / b=1", 3),
        ("true<a", 6),
        ("a='x", 5),
        ("a='x\\\n'", 5),
        ("(a=1", 5),
        ("a=1)", 4),
        ("a=18446744073709551616", 3),
        ("3^=a", 2),
        ("3==a", 3),
        ("a== ='x'", 5),
        ("a^ ='x'", 2),
        ("@='x'", 1),
        ("a@b='x'", 2),
        ("a<['x']", 3),
        ("['x']<a", 6),
        ("a=[null]", 4),
        ("a=[['x']]", 4),
        ("a=[,]", 4),
        ("a=['x',,'y']", 8),
        ("a=['x'", 7),
        ("a='x']", 6),
        ("property['x'='y'", 13),
        ("property[x]='y'", 10),
        ("property ['x']='y'", 10),
        ("property['x']", 14),
    ];
    for (input, column) in rows {
        let error = Filter::parse(input).expect_err(input);
        assert_eq!(
            (error.line, error.column),
            (1, column),
            "{input:?}
{error}"
        );
        assert!(error.expected.starts_with("expected ") && error.expected.len() > 10, "{input:?}\n{error}");
    }
}

#[test]
fn an_error_shows_the_place() {
    let shown = |input: &str| Filter::parse(input).expect_err(input).to_string();
    assert_eq!(
        shown("state='A' or state=QUEUED"),
        "Invalid CIMI filter. Parse error at line 1, column 20:\nstate='A' or state=QUEUED\n                   ^\n\
         expected a number, a text in quotes, a date, `true`, `false`, `null` or a list"
    );
    assert_eq!(
        shown("ä='ü'"),
        "Invalid CIMI filter. Parse error at line 1, column 1:\nä='ü'\n^\nexpected a comparison or `(`"
    );
    assert_eq!(
        shown("a='ü' and\n\tb ! 2\nor c=1"),
        "Invalid CIMI filter. Parse error at line 2, column 4:\n b ! 2\n   ^\n\
         expected a comparison: one of `=` `!=` `<` `<=` `>` `>=` `^=` `==`"
    );
}

#[test]
fn an_error_in_a_long_filter_shows_a_part_of_it() {
    let good = vec!["a=1"; 100].join(" and ");
    let error = Filter::parse(&format!("{good} AND {good}")).expect_err("upper case");
    assert_eq!(error.column, good.len() + 2);
    assert_eq!(error.excerpt.chars().count(), EXCERPT_WITH_DOTS);
    let caret = error.caret.chars().count() - 1;
    assert!(error.excerpt.chars().skip(caret).collect::<String>().starts_with("AND a=1"), "{error}");
    let error = Filter::parse(&format!("{good} AND")).expect_err("upper case");
    assert!(error.excerpt.starts_with('…') && error.excerpt.ends_with("AND"), "{error}");
}

const EXCERPT_WITH_DOTS: usize = 62;

#[test]
fn parentheses_are_bounded_and_chains_are_not() {
    let nested = |depth| format!("{}a=1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(parse(&nested(MAXIMUM_DEPTH)), is("a", 1));
    let error = Filter::parse(&nested(MAXIMUM_DEPTH + 1)).expect_err("too deep");
    assert_eq!((error.column, error.expected.as_str()), (65, "expected at most 64 levels of parentheses"));
}

/// On a thread whose stack is too small to go down a level for each term.
#[test]
fn thousands_of_terms_take_no_stack() {
    const TERMS: usize = 100_000;
    let document = json!({"b": 1}).as_object().expect("an object").clone();
    let long = move || {
        for (word, holds) in [("and", false), ("or", true)] {
            let input = format!("{}{word} b=1", vec!["a=1"; TERMS - 1].join(word));
            let filter = parse(&input);
            let (Filter::All(parts) | Filter::Any(parts)) = &filter else { panic!("not a chain") };
            assert_eq!(parts.len(), TERMS);
            assert_eq!(filter.matches(&document), holds);
            assert_eq!(parse(&filter.to_string()), filter);
            assert_eq!(filter.clone().resolve(jiff::Timestamp::UNIX_EPOCH), filter);
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(long).expect("a thread");
    thread.join().expect("nothing panics");
}

#[test]
fn length_is_bounded() {
    let longest = format!("a='{}'", "ü".repeat((MAXIMUM_LENGTH - 4) / 2));
    assert_eq!(longest.len(), MAXIMUM_LENGTH);
    parse(&longest);
    let error = Filter::parse(&format!("{longest} ")).expect_err("too long");
    assert!(error.expected.contains("1048576 bytes"), "{error}");
    assert_eq!(error.column, longest.chars().count() + 1);
}
