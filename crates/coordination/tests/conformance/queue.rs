//! Cases of [`LockingQueue`] and [`Claim`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use slipstream_coordination::queue::{Moved, Settled};
use slipstream_coordination::session::{Cause, Mode, Operation};
use slipstream_coordination::{Claim, Error, LockingQueue};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::{Client, Fault, Harness, Plan, eventually, settle, step, within};

/// The same folders without faults, to prepare and to look.
pub struct Operator {
    pub client: Client,
    pub queue: LockingQueue,
}

impl Operator {
    pub async fn new(harness: &dyn Harness) -> Self {
        let client = harness.operator().await;
        Self { queue: open(&client).await, client }
    }

    pub async fn put(&self, value: &str, priority: u16) -> String {
        self.queue.put(value.as_bytes(), priority).await.unwrap()
    }

    pub async fn claims(&self) -> Vec<String> {
        self.client.session.sync("/job/taken").await.unwrap();
        self.client.session.children("/job/taken").await.unwrap()
    }

    pub async fn commit(&self, operations: Vec<Operation>) {
        self.client.session.commit(operations).await.unwrap();
    }

    pub async fn expect_no_claims(&self) {
        eventually("no claim is left", || async { self.claims().await.is_empty() }).await;
    }

    pub async fn expect_nothing(&self) {
        self.expect_no_claims().await;
        assert_eq!(self.queue.entries().await.unwrap(), Vec::<String>::new());
    }
}

pub async fn open(client: &Client) -> LockingQueue {
    let claimant = Uuid::new_v4().simple().to_string();
    loop {
        match LockingQueue::open(client.session.clone(), "/job", &claimant).await {
            Err(Error::ConnectionLoss) => {}
            queue => return queue.unwrap(),
        }
    }
}

pub async fn take(queue: &LockingQueue) -> Claim {
    within(queue.take()).await.unwrap()
}

pub fn value(claim: &Claim) -> &str {
    std::str::from_utf8(claim.value()).unwrap()
}

pub fn claim_node(claim: &Claim) -> String {
    claim.entry().replace("/entries/", "/taken/")
}

/// Polls a future at most so often, letting everything else run in between; `None` if it is not done then.
pub async fn poll_at_most<T>(harness: &dyn Harness, times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    for _ in 0..times {
        tokio::select! {
            biased;
            output = &mut future => return Some(output),
            () = std::future::ready(()) => step(harness.pace()).await,
        }
    }
    None
}

pub async fn entries_come_by_priority_then_sequence(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    for (value, priority) in [("d", 500), ("b", 100), ("e", 999), ("c", 100), ("a", 0)] {
        operator.put(value, priority).await;
    }
    let client = harness.connect().await;
    let queue = open(&client).await;
    for expected in ["a", "b", "c", "d", "e"] {
        let claim = take(&queue).await;
        assert_eq!(value(&claim), expected);
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    operator.expect_nothing().await;
}

pub async fn layout_is_kazoos(harness: &dyn Harness) {
    let client = harness.connect().await;
    let claimant = Uuid::new_v4().simple().to_string();
    let queue = LockingQueue::open(client.session.clone(), "/job", &claimant).await.unwrap();
    assert_eq!(queue.put(b"job/1", 999).await.unwrap(), "/job/entries/entry-999-0000000000");
    assert_eq!(queue.put(b"job/2", 7).await.unwrap(), "/job/entries/entry-007-0000000001");
    let claim = take(&queue).await;
    assert_eq!((claim.entry(), claim.value()), ("/job/entries/entry-007-0000000001", b"job/2".as_slice()));
    let node = client.session.data("/job/taken/entry-007-0000000001").await.unwrap();
    assert_eq!((node.data, node.created), (claimant.into_bytes(), claim.zxid()));
    assert_eq!(client.session.data(claim.entry()).await.unwrap().data, b"job/2");
    assert_eq!(queue.entries().await.unwrap().len(), 2);
}

pub async fn priorities_are_checked(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    assert!(operator.queue.put(b"x", 1000).await.unwrap_err().is(Cause::BadPath));
    assert_eq!(operator.queue.entries().await.unwrap(), Vec::<String>::new());
}

pub async fn values_put_together_come_in_their_order(harness: &dyn Harness) {
    let client = harness.connect().await;
    let queue = open(&client).await;
    assert_eq!(queue.put_all::<&str>(&[]).await, Ok(Vec::new()));
    // the folder is missing: it is made, and all are put then
    client.session.commit(vec![Operation::delete("/job/entries")]).await.unwrap();
    let values: Vec<_> = (0..100_u16).map(|index| (index.to_string(), 10 - index % 3)).collect();
    let paths = queue.put_all(&values).await.unwrap();
    let expected: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(index, (_, priority))| format!("/job/entries/entry-{priority:03}-{index:010}"))
        .collect();
    assert_eq!(paths, expected);
    for (path, (value, _)) in paths.iter().zip(&values) {
        assert_eq!(client.session.data(path).await.unwrap().data, value.as_bytes());
    }
    let after = queue.put(b"after", 10).await.unwrap();
    assert_eq!(after, "/job/entries/entry-010-0000000100");
}

/// One that cannot be put, and then the answer that is lost.
pub async fn values_are_put_together_or_not_at_all(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    let refused = queue.put_all(&[("a", 1), ("b", 1000), ("c", 2)]).await;
    assert!(matches!(refused, Err(Error::Refused { index: 1, cause: Cause::BadPath, .. })), "{refused:?}");
    let too_long = vec![b'x'; 600 * 1024];
    let refused = queue.put_all(&[(b"a".as_slice(), 1), (&too_long, 1)]).await;
    assert!(matches!(refused, Err(Error::Refused { index: 1, cause: Cause::TooLarge, .. })), "{refused:?}");
    assert_eq!(operator.queue.entries().await.unwrap(), Vec::<String>::new());
    for (fault, entries) in [(Fault::Request, 0), (Fault::Answer, 2)] {
        faults.plan(Plan::Once("create entry", fault));
        assert_eq!(queue.put_all(&[("a", 1), ("b", 1)]).await, Err(Error::ConnectionLoss));
        assert_eq!(operator.queue.entries().await.unwrap().len(), entries, "{fault:?}");
    }
    assert_eq!(faults.lost(), 2);
}

pub async fn two_takers_get_two_entries(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let clients = [harness.connect().await, harness.connect().await];
    let queues = [open(&clients[0]).await, open(&clients[1]).await];
    let takers = async { tokio::join!(take(&queues[0]), take(&queues[1])) };
    let puts = async {
        settle().await;
        operator.put("a", 1).await;
        operator.put("b", 1).await;
    };
    let ((first, second), ()) = tokio::join!(takers, puts);
    assert_ne!(first.entry(), second.entry());
    assert_eq!(operator.claims().await.len(), 2);
}

pub async fn each_entry_is_taken_once(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let clients = [harness.connect().await, harness.connect().await, harness.connect().await];
    let mut takers = tokio::task::JoinSet::new();
    let (end, ended) = watch::channel(false);
    for client in &clients {
        let queue = open(client).await;
        for _ in 0..3 {
            let (queue, mut ended) = (queue.clone(), ended.clone());
            takers.spawn(async move {
                let mut values = Vec::new();
                loop {
                    let claim = tokio::select! {
                        claim = queue.take() => claim.unwrap(),
                        _ = ended.wait_for(|ended| *ended) => return values,
                    };
                    values.push(value(&claim).to_owned());
                    tokio::task::yield_now().await;
                    assert_eq!(claim.consume().await, Ok(Settled::Done));
                }
            });
        }
    }
    for index in 0..60 {
        operator.put(&index.to_string(), index % 4).await;
        tokio::task::yield_now().await;
    }
    eventually("all are consumed", || async { operator.queue.entries().await.unwrap().is_empty() }).await;
    operator.expect_no_claims().await;
    end.send_replace(true);
    let mut taken = BTreeMap::new();
    for value in takers.join_all().await.into_iter().flatten() {
        *taken.entry(value).or_insert(0) += 1;
    }
    assert_eq!(taken.len(), 60);
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
}

pub async fn takers_are_served_in_turn(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    let mut takers = Vec::new();
    for _ in 0..3 {
        let queue = queue.clone();
        takers.push(tokio::spawn(async move { take(&queue).await }));
        settle().await;
    }
    for (index, taker) in takers.into_iter().enumerate() {
        // the later ones come first in the order of the queue, so that only the turn of the takers counts
        operator.put(&index.to_string(), 9 - u16::try_from(index).unwrap()).await;
        let claim = within(taker).await.unwrap();
        assert_eq!(value(&claim), index.to_string());
        claim.consume().await.unwrap();
    }
}

pub async fn a_taker_that_has_gone_claims_nothing(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    for _ in 0..3 {
        assert!(poll_at_most(harness, 100, queue.take()).await.is_none());
    }
    operator.put("a", 1).await;
    settle().await;
    assert_eq!((queue.len(), faults.asked("create claim")), (1, 0));
}

/// A claim ends while a new queue lists, so that its end is told after the listing that shows the entry free.
pub async fn expiry_hands_entries_over(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (old, new) = (harness.connect().await, harness.connect().await);
    let (old_queue, new_queue) = (open(&old).await, open(&new).await);
    operator.put("a", 1).await;
    operator.put("b", 1).await;
    let old_claims = [take(&old_queue).await, take(&old_queue).await];
    let waiting = tokio::spawn({
        let new_queue = new_queue.clone();
        async move { [take(&new_queue).await, take(&new_queue).await] }
    });
    settle().await;
    assert!(!waiting.is_finished());
    old.expire().await;
    let mut new_claims = within(waiting).await.unwrap();
    // the two claims of the ended session go in an order of the server's own, and each entry is taken as it becomes free
    new_claims.sort_by(|one, other| one.entry().cmp(other.entry()));
    assert_eq!(new_claims.each_ref().map(Claim::entry), old_claims.each_ref().map(Claim::entry));
    let [first, second] = old_claims;
    within(first.lost()).await;
    assert!(new_claims[0].zxid() > first.zxid());
    assert_eq!(first.consume().await, Err(Error::Expired));
    assert_eq!(second.release().await, Err(Error::Expired));
    assert_eq!(old_queue.take().await.map(drop), Err(Error::Expired));
    for claim in new_claims {
        assert_eq!(operator.client.session.data(&claim_node(&claim)).await.unwrap().created, claim.zxid());
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    operator.expect_nothing().await;
}

pub async fn a_dropped_claim_is_released(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (client, other) = (harness.connect().await, harness.connect().await);
    let (queue, other_queue) = (open(&client).await, open(&other).await);
    operator.put("a", 1).await;
    drop(take(&queue).await);
    let claim = take(&other_queue).await;
    assert_eq!(claim.release().await, Ok(Settled::Done));
    let claim = take(&queue).await;
    let panicking = tokio::spawn(async move { assert!(claim.value().is_empty(), "a panic that the case asks for") });
    assert!(panicking.await.unwrap_err().is_panic());
    drop(queue);
    assert_eq!(take(&other_queue).await.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}

/// The fault is the drop; what must be hit is the time between the creation of a claim and its hand-out.
pub async fn a_take_dropped_at_any_await_leaves_nothing(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let mut dropped_in_between = 0;
    for times in 0..80 {
        let path = operator.put("a", 1).await;
        let (client, _) = harness.connect().await.with(Plan::None);
        let queue = open(&client).await;
        let took = poll_at_most(harness, times, queue.take()).await.is_some();
        dropped_in_between += usize::from(!took && !operator.claims().await.is_empty());
        if times % 2 == 0 {
            drop(queue);
        }
        operator.expect_no_claims().await;
        let other = harness.connect().await;
        let claim = take(&open(&other).await).await;
        assert_eq!(claim.entry(), path);
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    assert!(dropped_in_between >= 3, "only {dropped_in_between}");
    operator.expect_nothing().await;
}

/// A consume that was begun is carried out; one that was not leaves a claim that is given back.
pub async fn a_consume_dropped_at_any_await_leaves_no_claim(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (mut given_back, mut consumed) = (0, 0);
    for times in 0..30 {
        let path = operator.put("a", 1).await;
        let (client, _) = harness.connect().await.with(Plan::None);
        let queue = open(&client).await;
        let claim = take(&queue).await;
        poll_at_most(harness, times, claim.consume()).await;
        drop(queue);
        operator.expect_no_claims().await;
        if operator.queue.remove(&path, b"a").await.unwrap() {
            given_back += 1;
        } else {
            consumed += 1;
        }
    }
    assert_eq!((given_back, consumed), (1, 29));
}

/// Nothing tells the holder before it consumes: what it finds is not its own.
pub async fn a_claim_without_entry_is_consumed(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    operator.commit(vec![Operation::delete(claim.entry())]).await;
    assert_eq!(claim.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
}

pub async fn avoided_entries_wait(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    operator.put("b", 2).await;
    let claim = take(&queue).await;
    let until = Instant::now() + Duration::from_secs(3);
    queue.avoid(claim.entry(), Duration::from_secs(3));
    claim.release().await.unwrap();
    for (expected, avoided) in [("b", true), ("a", false)] {
        let claim = take(&queue).await;
        assert_eq!(value(&claim), expected);
        assert!(avoided || Instant::now() >= until);
        claim.consume().await.unwrap();
    }
    operator.expect_nothing().await;
}

pub async fn foreign_children_are_passed_over(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    let foreign = |name: &str| Operation::create(format!("/job/entries/{name}"), "x", Mode::Persistent);
    operator.commit(vec![foreign("aaa"), foreign("entry--01-0000000000"), foreign("entry-1000-0000000000")]).await;
    operator.put("a", 1).await;
    assert_eq!(value(&take(&queue).await), "a");
    operator.commit(vec![foreign("aab"), foreign("entry--01-0000000001")]).await;
    operator.commit(vec![Operation::create("/job/taken/aaa", "x", Mode::Persistent)]).await;
    operator.put("b", 0).await;
    eventually("both are known", || async { queue.len() == 2 }).await;
    let claim = take(&queue).await;
    assert_eq!(value(&claim), "b");
    claim.consume().await.unwrap();
    eventually("only entries count", || async { queue.len() == 1 }).await;
    assert_eq!(operator.queue.entries().await.unwrap().len(), 1);
}

pub async fn removal_compares_the_value(harness: &dyn Harness) {
    let Operator { queue, client } = Operator::new(harness).await;
    let path = queue.put(b"a", 1).await.unwrap();
    let claim = take(&queue).await;
    assert_eq!(queue.remove(&path, b"b").await, Ok(false));
    assert_eq!(client.session.data(&path).await.unwrap().data, b"a");
    assert_eq!(queue.remove(&path, b"a").await, Ok(true));
    assert!(client.session.data(&path).await.unwrap_err().is(Cause::NoNode));
    assert_eq!(queue.remove(&path, b"a").await, Ok(false));
    claim.consume().await.unwrap();
    for path in ["/job/entries", "/job/entries/", "/job/entries/x", "/other/entry-001-0000000000"] {
        assert!(queue.remove(path, b"").await.unwrap_err().is(Cause::BadPath), "{path}");
        assert!(queue.consume_unclaimed(path).await.unwrap_err().is(Cause::BadPath), "{path}");
    }
}

pub async fn consuming_needs_no_holder(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    let path = operator.put("a", 1).await;
    let claim = take(&queue).await;
    assert_eq!(operator.queue.consume_unclaimed(&path).await, Ok(false));
    assert!(poll_at_most(harness, 50, claim.lost()).await.is_none());
    assert!(poll_at_most(harness, 50, claim.entry_gone()).await.is_none());
    assert_eq!(claim.release().await, Ok(Settled::Done));
    assert_eq!(operator.queue.consume_unclaimed(&path).await, Ok(true));
    operator.expect_nothing().await;
    assert_eq!(operator.queue.consume_unclaimed(&path).await, Ok(true));
    operator.expect_nothing().await;
    let path = operator.put("b", 1).await;
    operator.commit(vec![Operation::delete("/job/taken")]).await;
    assert_eq!(operator.queue.consume_unclaimed(&path).await, Ok(true));
    operator.expect_nothing().await;
}

pub async fn an_entry_moves_to_another_priority_unless_somebody_holds_it(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    let (first, second) = (operator.put("a", 5).await, operator.put("b", 5).await);
    let Ok(Moved::To(moved)) = operator.queue.move_unclaimed(&second, b"b", 1).await else { panic!("it is free") };
    assert!(moved.starts_with("/job/entries/entry-001-"), "{moved}");
    assert!(operator.client.session.data(&second).await.unwrap_err().is(Cause::NoNode));
    assert_eq!(operator.queue.move_unclaimed(&second, b"b", 1).await, Ok(Moved::Gone));
    let claim = take(&queue).await;
    assert_eq!((claim.value(), claim.entry()), (&b"b"[..], &*moved));
    assert_eq!(operator.queue.move_unclaimed(&moved, b"b", 9).await, Ok(Moved::Held));
    assert!(operator.queue.move_unclaimed(&first, b"a", 1000).await.unwrap_err().is(Cause::BadPath));
    assert_eq!(claim.consume().await, Ok(Settled::Done));
    let claim = take(&queue).await;
    assert_eq!(claim.entry(), first);
    claim.consume().await.unwrap();
    operator.expect_nothing().await;
}

pub async fn missing_folders_are_made_again(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    let folders =
        || vec![Operation::delete("/job/entries"), Operation::delete("/job/taken"), Operation::delete("/job")];
    operator.commit(folders()).await;
    assert_eq!(queue.entries().await, Ok(Vec::new()));
    operator.put("a", 1).await;
    operator.commit(vec![Operation::delete("/job/taken")]).await;
    take(&queue).await.consume().await.unwrap();
    // and while the mirror runs
    operator.commit(folders()).await;
    operator.put("b", 1).await;
    operator.commit(vec![Operation::delete("/job/taken")]).await;
    let claim = take(&queue).await;
    assert_eq!(value(&claim), "b");
    assert_eq!(claim.consume().await, Ok(Settled::Done));
}

pub async fn an_abandoned_claim_stays(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    let node = claim_node(&claim);
    claim.abandon();
    assert!(poll_at_most(harness, 100, queue.take()).await.is_none());
    settle().await;
    assert_eq!(operator.claims().await.len(), 1);
    operator.commit(vec![Operation::delete(node)]).await;
    assert_eq!(value(&take(&queue).await), "a");
}

pub async fn the_queue_ends_with_its_users(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let before = Arc::strong_count(&client.session);
    let queue = open(&client).await;
    operator.put("a", 1).await;
    let claim = take(&queue).await;
    drop(queue);
    settle().await;
    assert!(Arc::strong_count(&client.session) > before);
    drop(claim);
    eventually("the session has no user", || async { Arc::strong_count(&client.session) == before }).await;
    operator.expect_no_claims().await;
}

pub async fn a_queue_that_only_puts_reads_nothing(harness: &dyn Harness) {
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    let path = queue.put(b"a", 1).await.unwrap();
    settle().await;
    assert!(queue.consume_unclaimed(&path).await.unwrap());
    for kind in ["watch", "children", "data", "nodes"] {
        assert_eq!(faults.asked(kind), 0, "{kind}");
    }
}

pub async fn the_length_counts_all_entries(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    for _ in 0..3 {
        operator.put("a", 1).await;
    }
    let claim = take(&queue).await;
    eventually("three wait", || async { queue.len() == 3 }).await;
    claim.consume().await.unwrap();
    eventually("two wait", || async { queue.len() == 2 && !queue.is_empty() }).await;
}

pub async fn a_take_costs_the_same_whatever_waits(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let (client, faults) = harness.connect().await.with(Plan::None);
    let queue = open(&client).await;
    for backlog in [10, 500] {
        join_all((0..backlog).map(|_| operator.put("a", 1))).await;
        eventually("all are known or nothing is yet", || async { queue.is_empty() || queue.len() > backlog / 2 }).await;
        take(&queue).await.consume().await.unwrap();
        let before = ["create claim", "delete entry", "nodes"].map(|kind| faults.asked(kind));
        for _ in 0..5 {
            take(&queue).await.consume().await.unwrap();
        }
        let after = ["create claim", "delete entry", "nodes"].map(|kind| faults.asked(kind));
        assert_eq!([after[0] - before[0], after[1] - before[1], after[2] - before[2]], [5, 5, 10], "{backlog}");
        // one listing of both folders, at the start
        assert_eq!(faults.asked("children"), 2);
    }
}
