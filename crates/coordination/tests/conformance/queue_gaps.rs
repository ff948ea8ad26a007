//! Cases of the queue in which its mirror falls behind: gaps, suspensions, and what strangers do to claims and entries.

use futures_util::future::join_all;
use slipstream_coordination::queue::Settled;
use slipstream_coordination::session::WATCH_CAPACITY;
use slipstream_coordination::session::{Mode, Operation};

use crate::harness::{Harness, Plan, eventually, settle, within};
use crate::queue::{Operator, claim_node, open, poll_at_most, take, value};

pub async fn a_late_word_of_an_earlier_claim_takes_nothing_away(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for times in 0..25 {
        operator.put("a", 1).await;
        let earlier = take(&operator.queue).await;
        let (client, _) = harness.connect().await.with(Plan::None);
        let queue = open(&client).await;
        let mut taking = Box::pin(queue.take());
        assert!(poll_at_most(harness, times, &mut taking).await.is_none());
        operator.commit(vec![Operation::delete(claim_node(&earlier))]).await;
        earlier.abandon();
        let claim = within(taking).await.unwrap();
        assert!(poll_at_most(harness, 50, claim.lost()).await.is_none());
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    operator.expect_nothing().await;
}

pub async fn a_gap_is_caught_up(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 0).await;
    let gone = operator.put("b", 10).await;
    operator.put("d", 90).await;
    let held = take(&queue).await;
    client.suspend().await;
    assert!(operator.queue.remove(&gone, b"b").await.unwrap());
    operator.put("c", 50).await;
    client.resume().await;
    settle().await;
    for expected in ["c", "d"] {
        let claim = take(&queue).await;
        assert_eq!(value(&claim), expected);
        claim.consume().await.unwrap();
    }
    // what is held is neither lost nor offered again
    assert!(poll_at_most(harness, 50, held.lost()).await.is_none());
    assert!(poll_at_most(harness, 50, queue.take()).await.is_none());
    assert_eq!(held.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}

pub async fn an_overflow_is_caught_up(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("first", 999).await;
    let held = take(&queue).await;
    let count = 2 * WATCH_CAPACITY;
    let values: Vec<String> = (0..count).map(|index| index.to_string()).collect();
    let last = &values[count - 1];
    join_all(values.iter().map(|value| operator.put(value, if value == last { 0 } else { 5 }))).await;
    eventually("all are known", || async { queue.len() == count + 1 }).await;
    for expected in [last.as_str(), "0", "1"] {
        let claim = take(&queue).await;
        assert_eq!(value(&claim), expected);
        claim.consume().await.unwrap();
    }
    assert_eq!(held.consume().await, Ok(Settled::Done));
}

pub async fn a_taker_waits_out_a_suspension(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    take(&queue).await.consume().await.unwrap();
    client.suspend().await;
    operator.put("b", 1).await;
    let taker = tokio::spawn(async move { take(&queue).await });
    settle().await;
    assert!(!taker.is_finished() && operator.claims().await.is_empty());
    client.resume().await;
    assert_eq!(value(&within(taker).await.unwrap()), "b");
}

pub async fn an_unproven_claim_is_consumed_later(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    client.suspend().await;
    settle().await;
    assert!(poll_at_most(harness, 50, claim.lost()).await.is_none());
    let consuming = tokio::spawn(claim.consume());
    settle().await;
    assert!(!consuming.is_finished());
    client.resume().await;
    assert_eq!(within(consuming).await.unwrap(), Ok(Settled::Done));
    operator.expect_nothing().await;
}

pub async fn a_claim_deleted_by_a_stranger_is_lost(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    operator.commit(vec![Operation::delete(claim_node(&claim))]).await;
    within(claim.lost()).await;
    assert_eq!(claim.consume().await, Ok(Settled::Lost));
    assert_eq!(take(&queue).await.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}

pub async fn a_claim_deleted_in_a_gap_is_lost(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (client, other) = (harness.connect().await, harness.connect().await);
    let (queue, other_queue) = (open(&client).await, open(&other).await);
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    client.suspend().await;
    operator.commit(vec![Operation::delete(claim_node(&claim))]).await;
    let next = take(&other_queue).await;
    client.resume().await;
    within(claim.lost()).await;
    assert_eq!(claim.release().await, Ok(Settled::Lost));
    assert!(poll_at_most(harness, 50, next.lost()).await.is_none());
    assert_eq!(next.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}

pub async fn a_claim_replaced_unseen_is_not_touched(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    for release in [false, true] {
        operator.put("a", 1).await;
        let claim = take(&queue).await;
        let node = claim_node(&claim);
        operator.commit(vec![Operation::delete(&node), Operation::create(&node, "other", Mode::Ephemeral)]).await;
        let entry = claim.entry().to_owned();
        let settled = if release { claim.release().await } else { claim.consume().await };
        assert_eq!(settled, Ok(Settled::Lost));
        assert_eq!(operator.client.session.data(&node).await.unwrap().data, b"other");
        operator.commit(vec![Operation::delete(&entry), Operation::delete(&node)]).await;
    }
}

pub async fn the_holder_sees_its_entry_vanish(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    assert!(poll_at_most(harness, 50, claim.entry_gone()).await.is_none());
    assert!(operator.queue.remove(claim.entry(), b"a").await.unwrap());
    within(claim.entry_gone()).await;
    assert!(poll_at_most(harness, 50, claim.lost()).await.is_none());
    assert_eq!(claim.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}

pub async fn the_holder_sees_its_entry_vanish_in_a_gap(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    client.suspend().await;
    assert!(operator.queue.remove(claim.entry(), b"a").await.unwrap());
    client.resume().await;
    within(claim.entry_gone()).await;
    assert_eq!(claim.release().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}

/// An entry comes while a new queue lists: after the listing was made, and before its answer is there.
pub async fn what_comes_while_listing_is_not_missed(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for times in 0..25 {
        let (client, _) = harness.connect().await.with(Plan::None);
        let queue = open(&client).await;
        let mut taking = Box::pin(queue.take());
        assert!(poll_at_most(harness, times, &mut taking).await.is_none());
        operator.put("a", 1).await;
        assert_eq!(within(taking).await.unwrap().consume().await, Ok(Settled::Done));
    }
    operator.expect_nothing().await;
}
