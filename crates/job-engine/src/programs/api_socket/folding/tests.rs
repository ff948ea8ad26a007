use serde_json::json;

use super::*;
use crate::programs::api_socket::tests::document;

fn progress(percent: u8) -> Document {
    document(json!({ "progress": percent }))
}

fn job(percent: u8) -> Document {
    document(json!({ "id": "job/1", "progress": percent }))
}

#[test]
fn the_first_goes_out_and_those_within_the_period_go_together() {
    let (mut folding, begun) = (Folding::default(), Instant::now());
    assert_eq!(folding.report(progress(1), begun), Taken::Send(progress(1)));
    assert_eq!(folding.report(progress(2), begun), Taken::Later(progress(2)), "the job is not known");
    folding.settled(Some(job(1)));
    let Taken::Answered(answer) = folding.report(progress(2), begun) else { panic!("it is known now") };
    assert_eq!(answer, document(json!({"id": "job/1", "progress": 2})));
    let message = document(json!({"statusMessage": "three"}));
    assert!(matches!(folding.report(message, begun + PERIOD / 2), Taken::Answered(_)));
    assert_eq!(folding.unsettled(), document(json!({"progress": 2, "statusMessage": "three"})));
    assert_eq!(folding.due(), Some(begun + PERIOD));
    assert_eq!(folding.take(begun + PERIOD), Some(document(json!({"progress": 2, "statusMessage": "three"}))));
    assert!(!folding.is_pending());
    assert_eq!(folding.due(), None, "one at a time");
}

#[test]
fn what_comes_while_one_is_under_way_is_answered_with_it() {
    let (mut folding, begun) = (Folding::default(), Instant::now());
    folding.report(progress(1), begun);
    folding.settled(Some(job(1)));
    folding.report(document(json!({"statusMessage": "a"})), begun);
    folding.take(begun + PERIOD).unwrap();
    let Taken::Answered(answer) = folding.report(progress(2), begun + PERIOD * 3) else { panic!("it is known") };
    assert_eq!(answer, document(json!({"id": "job/1", "progress": 2, "statusMessage": "a"})));
    assert_eq!(folding.take(begun + PERIOD * 3), None);
    folding.settled(Some(job(1)));
    assert_eq!(folding.take(begun + PERIOD * 3), Some(progress(2)));
}

#[test]
fn after_the_period_the_next_goes_out_with_what_is_pending() {
    let (mut folding, begun) = (Folding::default(), Instant::now());
    folding.report(progress(1), begun);
    folding.settled(Some(job(1)));
    folding.report(document(json!({"statusMessage": "a"})), begun);
    let all = document(json!({"statusMessage": "a", "progress": 2}));
    assert_eq!(folding.report(progress(2), begun + PERIOD), Taken::Send(all));
}

#[test]
fn what_is_undelivered_comes_below_what_is_later() {
    let (mut folding, begun) = (Folding::default(), Instant::now());
    folding.report(progress(1), begun);
    folding.settled(Some(job(1)));
    folding.report(document(json!({"progress": 2, "statusMessage": "a"})), begun);
    folding.take(begun + PERIOD).unwrap();
    folding.report(progress(3), begun + PERIOD);
    folding.undelivered(begun + PERIOD * 2);
    assert_eq!(folding.unsettled(), document(json!({"progress": 3, "statusMessage": "a"})));
    let next = folding.report(progress(4), begun + PERIOD * 3);
    assert_eq!(next, Taken::Later(progress(4)), "nobody is told that it will be written");
    let all = document(json!({"progress": 4, "statusMessage": "a"}));
    assert_eq!(folding.report(progress(4), folding.due().unwrap()), Taken::Send(all));
}

#[test]
fn what_is_refused_is_gone_and_the_next_is_answered_by_the_server() {
    let (mut folding, begun) = (Folding::default(), Instant::now());
    folding.report(progress(1), begun);
    folding.settled(None);
    assert_eq!(folding.unsettled(), Document::new());
    assert!(matches!(folding.report(progress(2), begun), Taken::Later(_)));
    assert_eq!(folding.report(progress(2), begun + PERIOD), Taken::Send(progress(2)));
}

#[test]
fn only_what_a_server_takes_is_a_report() {
    for good in [
        json!({"progress": 0}),
        json!({"progress": 100, "statusMessage": "", "affectedResources": [{"href": "credential/1", "more": 1}]}),
        json!({"status-message": "N", "affected-resources": [{"href": "credential/1"}]}),
    ] {
        assert_eq!(report_of(good.to_string().as_bytes()), Some(document(good)));
    }
    for other in [
        json!({}),
        json!([]),
        json!({"progress": 1, "state": "FAILED"}),
        json!({"returnCode": 1}),
        json!({"progress": 101}),
        json!({"progress": 1.5}),
        json!({"progress": "1"}),
        json!({"statusMessage": null}),
        json!({"statusMessage": "x".repeat(LONGEST_MESSAGE + 1)}),
        json!({"affectedResources": []}),
        json!({"affectedResources": [{"href": "NO ID"}]}),
        json!({"affectedResources": ["credential/1"]}),
    ] {
        assert_eq!(report_of(other.to_string().as_bytes()), None, "{other}");
    }
    assert_eq!(report_of(b"progress=1"), None);
}
