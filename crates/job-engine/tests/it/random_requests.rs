//! Random requests of anybody: never a 5xx, never a panic, and nothing that a refused request has changed.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::requests::{
    ATTEMPT, BODIES, CALLERS, Caller, HEADERS, JOBS, METHODS, QUERIES, Request, Step, TARGETS, take, tally,
};

fn target() -> impl Strategy<Value = String> {
    let path = prop_oneof![12 => select(TARGETS).prop_map(str::to_owned), 1 => "/api/(job/)?[ -~é]{0,12}"];
    let query = prop_oneof![
        6 => vec(select(QUERIES), 0..3).prop_map(|parts| parts.join("&")),
        1 => "[$a-z=%&+0-9]{0,16}",
    ];
    (path, query).prop_map(|(path, query)| if query.is_empty() { path } else { format!("{path}?{query}") })
}

fn headers() -> impl Strategy<Value = Vec<(String, Bytes)>> {
    let known = select(HEADERS).prop_map(|(name, value)| (name.to_owned(), value.into()));
    let half_known =
        (select(HEADERS), vec(any::<u8>(), 0..12)).prop_map(|((name, _), value)| (name.to_owned(), value.into()));
    let attempt = ATTEMPT.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
    prop_oneof![
        4 => vec(prop_oneof![8 => known, 1 => half_known], 0..5),
        1 => Just(attempt),
    ]
}

fn body() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        12 => select(BODIES).prop_map(Bytes::from),
        1 => vec(any::<u8>(), 0..24).prop_map(Bytes::from),
        1 => "\\{\"(action|state|name|progress|acl)\": [\"a-z0-9{}\\[\\]]{0,8}\\}".prop_map(Bytes::from),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let request = (select(&CALLERS[..]), select(METHODS), target(), headers(), body());
    let request = request.prop_map(|(caller, method, target, headers, body)| {
        Step::Request(Request { caller, method: method.to_owned(), target, headers, body })
    });
    let add = (select(&CALLERS[..]), select(&BODIES[1..5])).prop_map(|(caller, body)| {
        let (method, target) = ("POST".to_owned(), "/api/job".to_owned());
        Step::Request(Request { caller, method, target, headers: Vec::new(), body: body.into() })
    });
    let attempt = ATTEMPT.map(|(name, value)| (name.to_owned(), value.into())).to_vec();
    let edits = (select(&JOBS[..]), select(&BODIES[5..12]), select(vec![Vec::new(), attempt]));
    let edits = edits.prop_map(|(job, body, headers)| {
        let (caller, method, target) = (Caller::Administrator, "PUT".to_owned(), format!("/api/{job}"));
        Step::Request(Request { caller, method, target, headers, body: body.into() })
    });
    prop_oneof![
        16 => request,
        3 => add,
        6 => edits,
        1 => Just(Step::Claim),
        1 => Just(Step::Release),
        1 => Just(Step::Reconcile),
        1 => (0_u32..100_000).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_sequence_of_requests_breaks_a_rule(steps in vec(step(), 1..40)) {
        take(&steps);
    }
}

/// Random requests that all end at the same refusal would prove nothing.
#[test]
fn random_requests_get_answers_of_every_kind() {
    let mut runner = TestRunner::deterministic();
    let mut statuses = Vec::new();
    for _ in 0..100 {
        let steps = vec(step(), 40).new_tree(&mut runner).expect("nothing is filtered out").current();
        statuses.extend(take(&steps));
    }
    let seen = tally(&statuses);
    for (status, floor) in [(200, 100), (201, 100), (400, 200), (403, 100), (404, 200), (405, 100), (409, 40)] {
        assert!(seen.get(&status).is_some_and(|times| *times >= floor), "{status} fewer than {floor} times: {seen:?}");
    }
}
