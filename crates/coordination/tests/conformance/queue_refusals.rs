//! Cases of the queue in which the coordinator refuses what concerns one entry.

use futures_util::future::join_all;
use slipstream_coordination::Claim;
use slipstream_coordination::queue::Settled;
use slipstream_coordination::session::{Cause, Mode, Operation};

use crate::harness::Harness;
use crate::queue::{Operator, open, take, value};

/// The fault: a node below an entry, which so cannot be deleted. The entry is held by nobody, and in the way of nobody.
pub async fn an_entry_that_cannot_be_deleted_is_left_alone(harness: &dyn Harness) {
    let operator = Operator::new(harness).await;
    let client = harness.connect().await;
    let queue = open(&client).await;
    let entry = operator.put("a", 1).await;
    operator.commit(vec![Operation::create(format!("{entry}/child"), "", Mode::Persistent)]).await;
    operator.put("b", 2).await;
    let claims = [take(&queue).await, take(&queue).await];
    let [first, second] = join_all(claims.map(Claim::consume)).await.try_into().unwrap();
    assert_eq!((first, second), (Ok(Settled::Refused(Cause::NotEmpty)), Ok(Settled::Done)));
    operator.expect_no_claims().await;
    let refused: Vec<_> = queue.refused().borrow().iter().map(|it| (it.entry.clone(), it.cause)).collect();
    assert_eq!(refused, [(entry.clone(), Cause::NotEmpty)]);
    operator.put("c", 3).await;
    let next = take(&queue).await;
    assert_eq!(value(&next), "c", "the first one is left alone");
    assert_eq!(next.consume().await, Ok(Settled::Done));
    operator.commit(vec![Operation::delete(format!("{entry}/child"))]).await;
    let again = take(&queue).await;
    assert_eq!(value(&again), "a");
    assert_eq!(again.consume().await, Ok(Settled::Done));
    operator.expect_nothing().await;
    assert!(queue.refused().borrow().is_empty());
}
