//! Cases of the queue in which one request or answer of a certain kind is lost.

use slipstream_coordination::LockingQueue;
use slipstream_coordination::queue::Settled;

use crate::harness::{Client, Fault, Harness, Plan, settle};
use crate::queue::{Operator, open, take};

async fn take_with(harness: &dyn Harness, kind: &'static str, fault: Fault) -> usize {
    let operator = Operator::new(harness).await;
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    operator.put("a", 1).await;
    operator.put("b", 2).await;
    faults.plan(Plan::Once(kind, fault));
    let claim = take(&queue).await;
    assert_eq!((claim.value(), faults.lost()), (b"a".as_slice(), 1));
    assert_eq!(operator.claims().await.len(), 1);
    assert_eq!(claim.consume().await, Ok(Settled::Done));
    assert_eq!(take(&queue).await.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
    faults.asked("create claim")
}

pub async fn a_lost_answer_to_a_claim_is_found(harness: &dyn Harness) {
    assert_eq!(take_with(harness, "create claim", Fault::Answer).await, 3);
}

pub async fn a_lost_claim_request_is_repeated(harness: &dyn Harness) {
    assert_eq!(take_with(harness, "create claim", Fault::Request).await, 3);
}

pub async fn a_lost_read_after_a_claim_is_repeated(harness: &dyn Harness) {
    assert_eq!(take_with(harness, "nodes", Fault::Answer).await, 3);
}

pub async fn a_lost_answer_to_a_consume_is_done(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for (fault, requests) in [(Fault::Answer, 1), (Fault::Request, 2)] {
        let (client, faults) = harness.connect().await.with(Plan::None);
        let queue = open(&client).await;
        operator.put("a", 1).await;
        let claim = take(&queue).await;
        faults.plan(Plan::Once("delete entry", fault));
        assert_eq!(claim.consume().await, Ok(Settled::Done));
        assert_eq!((faults.lost(), faults.asked("delete entry")), (1, requests));
        operator.expect_nothing().await;
    }
}

pub async fn a_lost_answer_to_a_release_touches_no_successor(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (client, faults) = harness.connect().await.with(Plan::None);
    let other: Client = harness.connect().await;
    let (queue, other_queue): (LockingQueue, LockingQueue) = (open(&client).await, open(&other).await);
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    let waiting = tokio::spawn(async move { take(&other_queue).await });
    settle().await;
    faults.plan(Plan::Once("delete claim", Fault::Answer));
    assert_eq!(claim.release().await, Ok(Settled::Done));
    assert_eq!((faults.lost(), faults.asked("delete claim")), (1, 1));
    let next = waiting.await.unwrap();
    assert_eq!(next.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}
