//! Cases of the queue in which several takers and holders share requests.

use futures_util::future::join_all;
use slipstream_coordination::queue::Settled;
use slipstream_coordination::session::{Mode, Operation};
use slipstream_coordination::{Claim, Error};

use crate::harness::{Harness, Plan, within};
use crate::queue::{Operator, claim_node, open, take, value};

/// Ten takers wait, and ten entries are there before the first request is answered.
/// The fault: a counter near the end of 32 bits. Nobody misses the folder, and nothing that waits is lost.
pub async fn the_folder_is_made_anew_before_its_counter_ends(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    queue.renew_from(3);
    let other = harness.connect().await;
    let other_queue = open(&other).await;
    let waiting = tokio::spawn(async move { take(&other_queue).await });
    let first = within(async {
        operator.put("0", 5).await;
        waiting.await.unwrap()
    })
    .await;
    for at in 1..5 {
        assert_eq!(queue.put(at.to_string().as_bytes(), 5).await.unwrap(), format!("/job/entries/entry-005-{at:010}"));
    }
    let mut values = vec![value(&first).to_owned()];
    first.consume().await.unwrap();
    for _ in 1..5 {
        let claim = take(&queue).await;
        values.push(value(&claim).to_owned());
        claim.consume().await.unwrap();
    }
    assert_eq!(values, ["0", "1", "2", "3", "4"], "nothing was lost while it was to be made anew");
    assert_eq!(queue.put(b"5", 5).await.unwrap(), "/job/entries/entry-005-0000000000", "it begins again");
    assert_eq!(queue.put(b"6", 5).await.unwrap(), "/job/entries/entry-005-0000000001");
    for expected in ["5", "6"] {
        let claim = take(&queue).await;
        assert_eq!(value(&claim), expected);
        claim.consume().await.unwrap();
    }
    operator.expect_nothing().await;
}

pub async fn what_waits_shares_requests(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for _ in 0..10 {
        operator.put("a", 1).await;
    }
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    let claims = within(join_all((0..10).map(|_| take(&queue)))).await;
    let kinds = ["create claim", "nodes", "delete entry"];
    assert_eq!(kinds.map(|kind| faults.asked(kind)), [1, 1, 0]);
    let settled = within(join_all(claims.into_iter().map(Claim::consume))).await;
    assert!(settled.iter().all(|settled| *settled == Ok(Settled::Done)), "{settled:?}");
    let [claims, reads, consumes] = kinds.map(|kind| faults.asked(kind));
    assert!(claims == 1 && reads <= 3 && consumes <= 2, "{claims} {reads} {consumes}");
    operator.expect_nothing().await;
}

/// One of three entries that are claimed at once has a claim that the mirror does not know of, and one of three that are
/// consumed at once has lost its entry and one its claim: each is settled for itself.
pub async fn a_failed_transaction_is_settled_item_by_item(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for value in ["a", "b", "c", "d"] {
        operator.put(value, 1).await;
    }
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    take(&queue).await.consume().await.unwrap();
    let before = faults.asked("create claim");
    // all in one go, before any change is told
    let stranger = Operation::create("/job/taken/entry-001-0000000002", "stranger", Mode::Ephemeral);
    operator.commit(vec![stranger]).await;
    let claims = within(join_all((0..2).map(|_| take(&queue)))).await;
    let values: Vec<_> = claims.iter().map(value).collect();
    assert_eq!(values, ["b", "d"]);
    assert!(faults.asked("create claim") > before);
    operator.put("e", 1).await;
    let third = take(&queue).await;
    operator.commit(vec![Operation::delete(third.entry())]).await;
    let node = claim_node(&claims[1]);
    operator.commit(vec![Operation::delete(&node), Operation::create(&node, "other", Mode::Ephemeral)]).await;
    let settled = within(join_all(claims.into_iter().chain([third]).map(Claim::consume))).await;
    assert_eq!(settled, [Ok(Settled::Done), Ok(Settled::Lost), Ok(Settled::Done)]);
    assert_eq!(operator.client.session.data(&node).await.unwrap().data, b"other");
    assert_eq!(operator.queue.entries().await.unwrap().len(), 2);
}

/// Of five entries that are claimed at once others hold two, which the mirror does not know: the other three are claimed
/// by one more transaction, and two that come later by a third.
pub async fn what_others_do_not_have_is_claimed_by_one_more_transaction(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for value in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        operator.put(value, 1).await;
    }
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    take(&queue).await.consume().await.unwrap();
    let before = faults.asked("create claim");
    // all in one go, before any change is told
    let stranger = |sequence| Operation::create(format!("/job/taken/entry-001-{sequence:010}"), "x", Mode::Ephemeral);
    operator.commit([1, 4].map(stranger).into()).await;
    let claims = within(join_all((0..5).map(|_| take(&queue)))).await;
    let values: Vec<_> = claims.iter().map(value).collect();
    assert_eq!(values, ["c", "d", "f", "g", "h"]);
    let asked = faults.asked("create claim") - before;
    assert!((1..=3).contains(&asked), "{asked}");
}

/// A taker asks for more than there is, and then for more than it is handed: what it has not been handed when it goes,
/// others take.
pub async fn a_taker_is_handed_no_more_than_it_asked_for(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for value in ["a", "b", "c"] {
        operator.put(value, 1).await;
    }
    let client = harness.connect().await;
    let queue = open(&client).await;
    let mut taker = queue.taker();
    taker.ask(0);
    taker.ask(1);
    taker.ask(1);
    let first = within(taker.next()).await.unwrap();
    let second = within(taker.next()).await.unwrap();
    assert_eq!([value(&first), value(&second)], ["a", "b"]);
    let third = take(&queue).await;
    assert_eq!(value(&third), "c", "it was not asked for by the taker");
    assert!(taker.try_next().is_none());
    taker.ask(5);
    for value in ["d", "e"] {
        operator.put(value, 1).await;
    }
    let fourth = within(taker.next()).await.unwrap();
    assert_eq!(value(&fourth), "d");
    drop(taker);
    let fifth = take(&queue).await;
    assert_eq!(value(&fifth), "e");
    for claim in [first, second, third, fourth, fifth] {
        claim.consume().await.unwrap();
    }
    operator.expect_nothing().await;
    let mut taker = queue.taker();
    taker.ask(1);
    client.session.close().await;
    assert!(matches!(within(taker.next()).await, Err(Error::Expired)));
}

/// Whoever does not wait for the end of claims can wait for all of them later.
pub async fn what_ends_later_has_ended_when_all_is_settled(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    within(queue.settled()).await;
    for value in ["a", "b", "c"] {
        operator.put(value, 1).await;
    }
    let [first, second, third] = [take(&queue).await, take(&queue).await, take(&queue).await];
    first.consume_later();
    second.release_later();
    third.consume_later();
    within(queue.settled()).await;
    assert_eq!(operator.queue.entries().await.unwrap(), ["/job/entries/entry-001-0000000001"]);
    let again = take(&queue).await;
    assert_eq!(value(&again), "b");
    again.consume_later();
    within(queue.settled()).await;
    operator.expect_nothing().await;
}
