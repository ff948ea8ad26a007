use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use slipstream_cimi::{Code, State};
use tokio::sync::watch;

use super::definitions::{ALL, Kind};
use super::*;

/// Metrics of which each has counted something.
fn all() -> Metrics {
    let metrics = Metrics::of("up");
    let server = metrics.server();
    server.added("noop");
    server.begun("noop", Duration::from_secs(1));
    server.ended("noop", State::Success);
    server.attempt_ended("noop", AttemptOutcome::Finished);
    server.refused("noop", Code::LateLease);
    server.has_jobs(State::Queued, 3);
    server.waits(&[QueueOfPriority { priority: "999", jobs: 3, oldest: Some(Duration::from_secs(7)) }]);
    server.mended(1, 0);
    server.answered("/api/job", 200, Duration::from_millis(1));
    let executor = metrics.executor();
    executor.has_slots(4);
    executor.ran("noop", Duration::from_secs(2));
    executor.settled(0);
    drop(executor.claimed());
    let distributor = metrics.distributor();
    distributor.leads("each", true);
    distributor.distributed("each");
    drop(metrics.timed(Peer::Store, "read"));
    metrics.sessions().unwrap().note(watch::channel(slipstream_coordination::session::State::Connected).1);
    metrics
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

/// The labels of the first sample of a metric.
fn labels(text: &str, name: &str, kind: Kind) -> Vec<String> {
    let name = if kind == Kind::Histogram { format!("{name}_count") } else { name.to_owned() };
    let is_sample = |line: &&str| line.strip_prefix(&*name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let line = text.lines().find(is_sample).unwrap_or_else(|| panic!("{name} has no sample in {text}"));
    let Some((_, labels)) = line.split_once('{') else { return Vec::new() };
    labels.split("\",").map(|label| label.split_once('=').unwrap().0.to_owned()).collect()
}

#[tokio::test]
async fn what_is_counted_is_what_the_table_says() {
    let text = all().text().await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect::<BTreeSet<_>>();
    let table = ALL.iter().map(|one| format!("{} {}", one.registered(), kind(one.kind))).collect::<Vec<_>>();
    assert_eq!(types, table.iter().map(String::as_str).collect());
    for one in &ALL {
        assert_eq!(labels(&text, one.name, one.kind), one.labels, "{}", one.name);
        assert!(text.contains(&format!("# HELP {} {}.\n", one.registered(), one.help)), "{}", one.name);
    }
}

#[test]
fn the_page_has_the_table() {
    let page = fs::read_to_string(project("docs/metrics.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `slipstream_")).collect();
    assert_eq!(rows.len(), ALL.len(), "{rows:#?}");
    for (one, row) in ALL.iter().zip(rows) {
        let labels: Vec<String> = one.labels.iter().map(|label| format!("`{label}`")).collect();
        let expected = format!("| `{}` | {} | {} | {} |", one.name, kind(one.kind), labels.join(", "), one.help);
        assert!(row.starts_with(&expected.replace("|  |", "| – |")), "{row}\n{expected}");
    }
}

#[tokio::test]
async fn ten_thousand_actions_are_counted_as_two_hundred_and_others() {
    let metrics = Metrics::default();
    let (server, executor) = (metrics.server(), metrics.executor());
    for number in 0..10_000 {
        let action = format!("action-{number}");
        server.added(&action);
        server.ended(&action, State::Failed);
        server.begun(&action, Duration::ZERO);
        executor.ran(&action, Duration::ZERO);
    }
    // also those that have a name of their own go on
    server.added("action-0");
    let text = metrics.text().await;
    let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(series("slipstream_jobs_added_total{"), 201);
    assert_eq!(series("slipstream_jobs_ended_total{"), 3 * 201);
    assert_eq!(series("slipstream_job_wait_seconds_count{"), 201);
    assert_eq!(series("slipstream_action_duration_seconds_count{"), 201);
    for (action, added) in [("action-0", 2), ("action-199", 1), ("other", 9_800)] {
        let line = format!("slipstream_jobs_added_total{{action=\"{action}\"}} {added}\n");
        assert!(text.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn whatever_an_action_is_called_the_text_stays_sound() {
    let metrics = Metrics::default();
    metrics.server().added("a\"b\\c\nd}");
    let text = metrics.text().await;
    assert!(text.contains("slipstream_jobs_added_total{action=\"a\\\"b\\\\c\\nd}\"} 1\n"), "{text}");
}

#[tokio::test]
async fn what_is_turned_off_counts_nothing() {
    let metrics = Metrics::off();
    metrics.server().added("noop");
    drop(metrics.executor().claimed());
    assert_eq!(metrics.timed(Peer::Store, "read").time(async { 7 }, |_| true).await, 7);
    assert_eq!(metrics.text().await, "# EOF\n");
}

#[tokio::test]
async fn the_state_is_that_of_the_best_session() {
    use slipstream_coordination::session::State as Session;

    let metrics = Metrics::default();
    let shown = async || {
        let text = metrics.text().await;
        let state =
            text.lines().find_map(|line| line.strip_prefix("slipstream_session_state{state=\"")?.strip_suffix("\"} 1"));
        state.map(str::to_owned)
    };
    let sessions = metrics.sessions().unwrap();
    assert_eq!(shown().await.as_deref(), Some("none"));
    let (first, second) = (watch::Sender::new(Session::Connected), watch::Sender::new(Session::Suspended));
    sessions.note(first.subscribe());
    sessions.note(second.subscribe());
    assert_eq!(shown().await.as_deref(), Some("connected"));
    first.send_replace(Session::Expired);
    assert_eq!(shown().await.as_deref(), Some("suspended"));
    drop(second);
    assert_eq!((shown().await.as_deref(), metrics.session_state()), (Some("none"), None));
}

/// All names of metrics in a text, without what a histogram's samples end with.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    let names = words.filter(|word| word.starts_with("slipstream_"));
    let is_known = |name: &str| ALL.iter().any(|one| one.name == name);
    let family = |name: &str| {
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        stem.filter(|stem| is_known(stem)).unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

fn project(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn packaged(name: &str) -> String {
    fs::read_to_string(project("packaging/root/usr/share/doc/slipstream-job-engine").join(name)).unwrap()
}

fn unknown(text: &str) -> Vec<String> {
    names(text).into_iter().filter(|name| ALL.iter().all(|one| one.name != name)).collect()
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&packaged("grafana.json")).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    assert!(asked.len() > 10, "{asked:?}");
    for expression in asked {
        assert!(!names(&expression).is_empty(), "{expression}");
        assert_eq!(unknown(&expression), Vec::<String>::new(), "{expression}");
    }
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| expressions(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_alerts_ask_for_what_there_is() {
    assert_eq!(unknown(&packaged("alerts.yml")), Vec::<String>::new());
    assert!(names(&packaged("alerts.yml")).len() > 3);
}
