//! What dates mean (specification 4.4, end).

use jiff::Timestamp;

use super::*;

const NOW: &str = "2026-11-24T22:06:07.123Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn span_at(now: &str, literal: &str) -> Option<Span> {
    let filter = compare("created", Comparison::Equal, text(literal)).resolve(time(now));
    let Filter::Compare(_, _, literal) = filter else { panic!("a comparison") };
    Span::of(&literal)
}

fn between(first: &str, last: &str) -> Span {
    Span { first: time(first), last: time(last) }
}

#[test]
fn dates_stand_for_spans() {
    let rows = [
        // incomplete dates
        ("2020", "2020-01-01T00:00:00Z", "2020-12-31T23:59:59.999999999Z"),
        ("2020-02", "2020-02-01T00:00:00Z", "2020-02-29T23:59:59.999999999Z"),
        ("2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T23:59:59.999999999Z"),
        ("2020-01-01T10", "2020-01-01T10:00:00Z", "2020-01-01T10:59:59.999999999Z"),
        ("2020-01-01T10:11", "2020-01-01T10:11:00Z", "2020-01-01T10:11:59.999999999Z"),
        ("2020-01-01T10:11:12", "2020-01-01T10:11:12Z", "2020-01-01T10:11:12.999999999Z"),
        ("2020-01-01T10:11:12Z", "2020-01-01T10:11:12Z", "2020-01-01T10:11:12.999999999Z"),
        ("2020-01-01T10+02:00", "2020-01-01T08:00:00Z", "2020-01-01T08:59:59.999999999Z"),
        ("9999", "9999-01-01T00:00:00Z", "9999-12-30T22:00:00.999999999Z"),
        // instants
        ("2019-03-29T10:00:00.123456Z", "2019-03-29T10:00:00.123456Z", "2019-03-29T10:00:00.123456Z"),
        ("2019-03-29T10:00:00.5-01:30", "2019-03-29T11:30:00.5Z", "2019-03-29T11:30:00.5Z"),
        ("2019-03-29T10:00:00.123", "2019-03-29T10:00:00.123Z", "2019-03-29T10:00:00.123Z"),
        // steps, each unit
        ("now", NOW, NOW),
        ("now-7d", "2026-11-17T22:06:07.123Z", "2026-11-17T22:06:07.123Z"),
        ("now-1h", "2026-11-24T21:06:07.123Z", "2026-11-24T21:06:07.123Z"),
        ("now-1H", "2026-11-24T21:06:07.123Z", "2026-11-24T21:06:07.123Z"),
        ("now-60m", "2026-11-24T21:06:07.123Z", "2026-11-24T21:06:07.123Z"),
        ("now-1M", "2026-10-24T22:06:07.123Z", "2026-10-24T22:06:07.123Z"),
        ("now+2w", "2026-12-08T22:06:07.123Z", "2026-12-08T22:06:07.123Z"),
        ("now+10s", "2026-11-24T22:06:17.123Z", "2026-11-24T22:06:17.123Z"),
        ("now-1y", "2025-11-24T22:06:07.123Z", "2025-11-24T22:06:07.123Z"),
        ("now+d", "2026-11-25T22:06:07.123Z", "2026-11-25T22:06:07.123Z"),
        ("now+1d-2h+3m", "2026-11-25T20:09:07.123Z", "2026-11-25T20:09:07.123Z"),
        // rounding, each unit
        ("now/y", "2026-01-01T00:00:00Z", "2026-12-31T23:59:59.999999999Z"),
        ("now/M", "2026-11-01T00:00:00Z", "2026-11-30T23:59:59.999999999Z"),
        ("now/w", "2026-11-23T00:00:00Z", "2026-11-29T23:59:59.999999999Z"),
        ("now/d", "2026-11-24T00:00:00Z", "2026-11-24T23:59:59.999999999Z"),
        ("now/h", "2026-11-24T22:00:00Z", "2026-11-24T22:59:59.999999999Z"),
        ("now/H", "2026-11-24T22:00:00Z", "2026-11-24T22:59:59.999999999Z"),
        ("now/m", "2026-11-24T22:06:00Z", "2026-11-24T22:06:59.999999999Z"),
        ("now/s", "2026-11-24T22:06:07Z", "2026-11-24T22:06:07.999999999Z"),
        ("now-1d/d", "2026-11-23T00:00:00Z", "2026-11-23T23:59:59.999999999Z"),
        ("now/d+1h", "2026-11-24T01:00:00Z", "2026-11-25T00:59:59.999999999Z"),
        ("now/M/w", "2026-10-26T00:00:00Z", "2026-12-06T23:59:59.999999999Z"),
        // other anchors
        ("2020-01-31||+1M", "2020-02-29T00:00:00Z", "2020-02-29T00:00:00Z"),
        ("2020-02-29||-1y", "2019-02-28T00:00:00Z", "2019-02-28T00:00:00Z"),
        ("2020-01-01||", "2020-01-01T00:00:00Z", "2020-01-01T23:59:59.999999999Z"),
        ("2020-06-15||/M", "2020-06-01T00:00:00Z", "2020-06-30T23:59:59.999999999Z"),
        ("2020-06-15T12:00:00.000+02:00||/d+1d", "2020-06-16T00:00:00Z", "2020-06-16T23:59:59.999999999Z"),
        // beyond the calendar
        ("now+99999999999999999999y", "9999-12-30T22:00:00.999999999Z", "9999-12-30T22:00:00.999999999Z"),
        ("now+99999d+9999999y", "9999-12-30T22:00:00.999999999Z", "9999-12-30T22:00:00.999999999Z"),
        ("now-99999999999999999999s", "-009999-01-02T01:59:59Z", "-009999-01-02T01:59:59Z"),
    ];
    for (literal, first, last) in rows {
        assert_eq!(span_at(NOW, literal), Some(between(first, last)), "{literal}");
    }
}

#[test]
fn months_and_years_follow_the_calendar() {
    let rows = [
        ("2024-03-31T00:00:00.000Z", "now-1M", "2024-02-29T00:00:00Z"),
        ("2023-03-31T00:00:00.000Z", "now-1M", "2023-02-28T00:00:00Z"),
        ("2024-02-29T00:00:00.000Z", "now+1y", "2025-02-28T00:00:00Z"),
        ("2026-11-23T00:00:00.000Z", "now/w", "2026-11-23T00:00:00Z"),
        ("2026-11-22T23:59:59.999Z", "now/w", "2026-11-16T00:00:00Z"),
        ("2026-01-01T00:00:00.000Z", "now/w", "2025-12-29T00:00:00Z"),
    ];
    for (now, literal, first) in rows {
        assert_eq!(span_at(now, literal).map(|span| span.first), Some(time(first)), "{now} {literal}");
    }
}

#[test]
fn the_operator_decides_how_a_date_is_rounded() {
    let rows = [
        ("2020-01-01T23:59:59.999Z", "created<='2020-01-01'", true),
        ("2020-01-02T00:00:00.000Z", "created<='2020-01-01'", false),
        ("2020-01-01T00:00:00.000Z", "created<'2020-01-01'", false),
        ("2019-12-31T23:59:59.999Z", "created<'2020-01-01'", true),
        ("2020-01-01T23:59:59.999Z", "created>'2020-01-01'", false),
        ("2020-01-02T00:00:00.000Z", "created>'2020-01-01'", true),
        ("2020-01-01T00:00:00.000Z", "created>='2020-01-01'", true),
        ("2019-12-31T23:59:59.999Z", "created>='2020-01-01'", false),
        ("2020-01-01T12:00:00.000Z", "created='2020-01-01'", true),
        ("2020-01-02T00:00:00.000Z", "created='2020-01-01'", false),
        ("2020-01-01T12:00:00.000Z", "created!='2020-01-01'", false),
        ("2020-01-02T00:00:00.000Z", "created!='2020-01-01'", true),
        ("2020-01-01T12:00:00.000Z", "'2020-01-01'>=created", true),
        // unquoted, and a year is a number
        ("2020-01-01T12:00:00.000Z", "created=2020-01-01", true),
        ("2020-01-01T12:00:00.000Z", "created>2020-01", false),
        ("2020-02-01T00:00:00.000Z", "created>2020-01", true),
        ("2020-01-01T12:00:00.000Z", "created=2020", true),
        ("2020-01-01T12:00:00.000Z", "created<2020", false),
        ("2020-01-01T12:00:00.000Z", "created=2020-01-01T13:00:00.000+01:00", true),
        // date math
        ("2026-11-24T00:00:00.000Z", "created>='now/d'", true),
        ("2026-11-24T00:00:00.000Z", "created<'now/d'", false),
        ("2026-11-24T23:59:59.999Z", "created<='now/d'", true),
        ("2026-11-24T23:59:59.999Z", "created>'now/d'", false),
        ("2026-11-25T00:00:00.000Z", "created>'now/d'", true),
        ("2026-11-24T22:06:07.122Z", "created<'now'", true),
        ("2026-11-24T22:06:07.123Z", "created<'now'", false),
        ("2026-11-24T22:06:07.123Z", "created='now'", true),
        ("2026-11-17T22:06:07.122Z", "created<'now-7d'", true),
        ("2026-11-17T22:06:07.123Z", "created<'now-7d'", false),
        ("2026-11-24T01:00:00.000Z", "created=['2020-01-01','now/d']", true),
        ("2026-11-23T01:00:00.000Z", "created=['2020-01-01','now/d']", false),
        ("2026-11-23T01:00:00.000Z", "created!=['2020-01-01','now/d']", true),
        // in the document: finer than milliseconds, another zone, no time at all
        ("2026-11-24T23:59:59.9995Z", "created='now/d'", true),
        ("2026-11-25T00:30:00+01:00", "created='now/d'", true),
        ("soon", "created='now/d'", false),
        ("soon", "created>'2020-01-01'", false),
        ("soon", "created<'2020-01-01'", false),
        ("soon", "created!='2020-01-01'", true),
        ("soon", "created=null", false),
    ];
    for (created, filter, expected) in rows {
        let document = json!({"created": created}).as_object().expect("an object").clone();
        assert_eq!(parse(filter).resolve(time(NOW)).matches(&document), expected, "{created} {filter}");
    }
    let none =
        json!({"created": null, "updated": ["2019-01-01T00:00:00.000Z", "2020-06-01T00:00:00.000Z"], "started": 2020});
    check(
        &none,
        &[
            ("created<'now'", false),
            ("created!='2020-01-01'", true),
            ("created=null", true),
            ("updated='2020'", true),
            ("updated!='2020'", false),
            ("updated<'2020'", true),
            ("started=2020", false),
        ],
    );
}

#[test]
fn only_dates_are_resolved() {
    let unchanged =
        ["name='now'", "created^='now'", "created=='now'", "state='now-1d' and note=['now']", "created=null"];
    for filter in unchanged {
        assert_eq!(parse(filter).resolve(time(NOW)), parse(filter), "{filter}");
    }
    let resolved = parse("created<'now-7d' or (a=1 and expiry=['now','2020'])").resolve(time(NOW));
    let expected = "created<'2026-11-24T22:06:07.123Z||-7d' or a=1 and expiry=['2026-11-24T22:06:07.123Z||','2020']";
    assert_eq!(resolved.to_string(), expected);
    let document = json!({"created": NOW}).as_object().expect("an object").clone();
    assert!(!parse("created='now'").matches(&document), "without a clock it is no time");
}

/// Each with the column of its error (quirk 23).
#[test]
fn malformed_dates_are_refused_with_their_place() {
    let malformed = [
        "soon",
        "",
        "now-",
        "now-7",
        "now-7x",
        "now-7D",
        "now/2d",
        "now/",
        "now7d",
        "now -7d",
        "Now",
        "now||-7d",
        "||",
        "||-1d",
        "2020-1-01",
        "2020-13",
        "2020-02-30",
        "2020-01-01T",
        "2020-01-01T25",
        "2020-01-01 10:00",
        "2020-01-01T10:00:00.",
        "2020-01-01T10:00:00,5",
        "2020-01-01T10:00:00.1234567890Z",
        "2020-01-01Z",
        "2020-01-01T10:00:00z",
        "2020-01-01T10:00:00Z[UTC]",
        "2020-01-01T10:00:00+1",
        "2020-01-01T10:00:00Zulu",
        "20200101",
        "2020-01-01||1d",
        "2020-01-01|+1d",
        "-2020",
        "2020-01-01T10:00:0é",
    ];
    for literal in malformed {
        for (filter, column) in [
            (format!("state='A' and created > '{literal}'"), 25),
            (format!("'{literal}'<=updated"), 1),
            (format!("expiry=['2020',\"{literal}\"]"), 8),
        ] {
            let error = Filter::parse(&filter).expect_err(&filter);
            assert_eq!(error.column, column, "{filter}\n{error}");
            assert!(
                error.expected.starts_with("expected a date, a timestamp or date math, such as"),
                "{filter}\n{error}"
            );
        }
        parse(&format!("name='{literal}' and created^='{literal}' and property['created']='{literal}'"));
    }
    for filter in ["created=true", "created>20", "created!=12345", "created<2020-13-01", "created=[false]"] {
        let error = Filter::parse(filter).expect_err(filter);
        assert!(error.expected.starts_with("expected a date"), "{filter}\n{error}");
    }
}
