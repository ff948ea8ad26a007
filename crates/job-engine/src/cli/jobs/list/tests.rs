use serde_json::json;

use super::*;

const NOW: &str = "2026-11-24T12:00:00Z";

fn row(job: &Value) -> Row {
    Row::of(job.as_object().expect("an object"), NOW.parse().expect("a time"))
}

fn sample() -> Vec<Row> {
    let job = |last: &str, state: &str, progress: u8, created: &str, message: Option<&str>| {
        json!({
            "id": format!("job/01991d3c-7c1e-7a3b-8f3c-{last}"), "state": state, "progress": progress,
            "created": created, "action": "dummy_test_action", "targetResource": {"href": "credential/abc"},
            "statusMessage": message,
        })
    };
    let long = "it failed for a reason that takes many words to tell and does not fit into a line of a terminal";
    vec![
        row(&job("000000000003", "RUNNING", 7, "2026-11-24T11:59:57Z", Some("slept 2 of 30 seconds"))),
        row(&job("000000000002", "FAILED", 100, "2026-11-24T11:00:00Z", Some(long))),
        row(&job("000000000001", "SUCCESS", 100, "2026-11-14T11:00:00Z", Some("slept 12 seconds"))),
    ]
}

#[test]
fn a_row_tells_what_a_document_says() {
    let full = &sample()[0];
    let expected = Row {
        name: "01991d3c-7c1e-7a3b-8f3c-000000000003".to_owned(),
        state: "RUNNING".to_owned(),
        progress: "7%".to_owned(),
        age: "3s".to_owned(),
        action: "dummy_test_action".to_owned(),
        executor: String::new(),
        target: "credential/abc".to_owned(),
        message: "slept 2 of 30 seconds".to_owned(),
    };
    assert_eq!(*full, expected);
}

#[test]
fn a_document_that_lacks_everything_or_is_hostile_still_has_a_row() {
    let empty = row(&json!({}));
    assert!([empty.name, empty.state, empty.progress, empty.age, empty.action].iter().all(String::is_empty));
    let hostile = row(&json!({"id": "job/a\u{1b}[2J", "created": 5, "progress": "x", "statusMessage": "a\n\u{7}b"}));
    assert_eq!((hostile.name.as_str(), hostile.message.as_str()), (r"a\u001b[2J", r"a \u0007b"));
}

#[test]
fn at_80_columns_ids_stay_whole_and_no_line_is_longer() {
    let shown = render(&sample(), 133, Screen { width: Some(80), colours: false });
    let expected = "\
JOB                                   STATE    DONE  AGE  ACTION
01991d3c-7c1e-7a3b-8f3c-000000000003  RUNNING  7%    3s   dummy_test_action
  slept 2 of 30 seconds
01991d3c-7c1e-7a3b-8f3c-000000000002  FAILED   100%  1h   dummy_test_action
  it failed for a reason that takes many words to tell and does not fit into a …
01991d3c-7c1e-7a3b-8f3c-000000000001  SUCCESS  100%  10d  dummy_test_action
3 of 133 jobs";
    assert_eq!(shown, expected);
}

#[test]
fn the_executor_has_a_column_or_is_told_below() {
    let job = |state: &str, message: Option<&str>| {
        row(&json!({"id": "job/0a", "state": state, "action": "noop", "executor": "node-1", "statusMessage": message}))
    };
    let rows = [job("RUNNING", None), job("FAILED", Some("no")), job("SUCCESS", Some("well"))];
    let wide = render(&rows, 3, Screen { width: Some(140), colours: false });
    assert!(wide.lines().skip(1).take(3).all(|line| line.contains("  noop    node-1")), "{wide}");
    let narrow = render(&rows, 3, Screen { width: Some(80), colours: false });
    let lines: Vec<&str> = narrow.lines().collect();
    assert_eq!((lines.len(), lines[2], lines[4]), (7, "  on node-1", "  on node-1: no"), "{narrow}");
}

#[test]
fn a_wide_terminal_has_a_line_for_each_job_and_cuts_messages() {
    let shown = render(&sample(), 3, Screen { width: Some(140), colours: false });
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 5, "{shown}");
    assert!(lines[0].contains("TARGET") && lines[0].ends_with("MESSAGE"), "{shown}");
    assert!(lines[2].contains("credential/abc") && lines[2].ends_with('…'), "{shown}");
    for line in lines {
        assert!(console::measure_text_width(line) <= 140, "{line}");
    }
}

#[test]
fn a_terminal_that_is_too_narrow_cuts_what_is_last() {
    let shown = render(&sample(), 3, Screen { width: Some(62), colours: false });
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!((lines.len(), lines[0].ends_with('…'), lines[1].ends_with('…')), (7, true, true), "{shown}");
    assert!(lines[3].starts_with("01991d3c-7c1e-7a3b-8f3c-000000000002  FAILED "), "{shown}");
}

#[test]
fn without_a_terminal_nothing_is_cut_or_coloured() {
    let shown = render(&sample(), 3, Screen { width: None, colours: false });
    assert!(shown.contains("does not fit into a line of a terminal"), "{shown}");
    assert_eq!(shown.lines().count(), 5, "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn states_are_coloured_in_place() {
    let plain = render(&sample(), 3, Screen { width: Some(80), colours: false });
    let coloured = render(&sample(), 3, Screen { width: Some(80), colours: true });
    assert!(coloured.contains("  \u{1b}[31mFAILED\u{1b}[0m   100%"), "{coloured}");
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

#[test]
fn no_jobs_is_said_in_words() {
    let screen = Screen { width: Some(80), colours: false };
    assert_eq!(render(&[], 0, screen), "no jobs");
    assert_eq!(render(&[], 7, screen), "0 of 7 jobs");
}

#[test]
fn orders_are_read() {
    let order = |attribute: &str, descending| Ok(Order { attribute: attribute.to_owned(), descending });
    assert_eq!(parse_order("created"), order("created", false));
    assert_eq!(parse_order("created:asc"), order("created", false));
    assert_eq!(parse_order("targetResource/href:desc"), order("targetResource/href", true));
    for wrong in ["", ":desc", "created:down", "created:desc:asc"] {
        assert!(parse_order(wrong).is_err(), "{wrong}");
    }
}
