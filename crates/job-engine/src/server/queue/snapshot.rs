//! [`Snapshot`]: who waits and who executes, as it was a moment ago. One listing serves everybody who asks within a while,
//! since a listing of a million entries takes half a second.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use slipstream_cimi::overview::executors::{Executor, Foreign, RegisteredExecutor};
use slipstream_coordination::queue::EntryName;

use super::claims::Claims;
use super::recent::Recent;
use super::{QueueClient, QueueError};
use crate::process::clock::Clock;
use crate::process::paths;

/// Who waits and who executes, at one moment.
pub struct Snapshot {
    /// When.
    pub time: Timestamp,
    /// Entries that nobody holds, in order.
    waiting: Vec<EntryName>,
    /// Who executes.
    pub executors: Vec<Executor>,
    /// Who holds entries and does not register.
    pub foreign: Vec<Foreign>,
}

impl Snapshot {
    /// How many entries that nobody holds are before this one.
    #[must_use]
    pub fn before(&self, entry: EntryName) -> usize {
        self.waiting.partition_point(|name| *name < entry)
    }
}

/// The latest snapshot, until it is too old.
#[derive(Default)]
pub struct Snapshots(Recent<Snapshot>);

impl Snapshots {
    /// The latest one, or a new one if that is too old. Who asks while one is taken waits for that.
    pub async fn get(&self, queue: &QueueClient, clock: &Clock) -> Result<Arc<Snapshot>, QueueError> {
        self.0.get(async || take(queue, clock.now()).await).await
    }
}

async fn take(queue: &QueueClient, time: Timestamp) -> Result<Snapshot, QueueError> {
    let registered = queue.registered(paths::EXECUTORS).await?;
    let claims = Claims::read(queue).await?;
    let mut waiting = queue.list().await?;
    waiting.retain(|name| claims.names.binary_search(name).is_err());
    let (executors, foreign) = at_work(registered, &claims);
    Ok(Snapshot { time, waiting, executors, foreign })
}

/// Who executes, each with how many entries it holds, and who holds entries and does not register.
#[must_use]
pub fn at_work(registered: Vec<(String, RegisteredExecutor)>, claims: &Claims) -> (Vec<Executor>, Vec<Foreign>) {
    let mut busy: HashMap<&str, usize> = HashMap::new();
    for claim in &claims.seen {
        *busy.entry(&claim.claimant).or_default() += 1;
    }
    let executor = |(claimant, registered): (String, RegisteredExecutor)| {
        let busy = busy.remove(claimant.as_str()).unwrap_or(0);
        Executor { claimant, registered, busy: claims.is_whole().then_some(busy) }
    };
    let executors = registered.into_iter().map(executor).collect();
    let foreign = busy.into_iter().filter(|_| claims.is_whole());
    let foreign = foreign.map(|(claimant, busy)| Foreign { claimant: claimant.to_owned(), busy }).collect();
    (executors, foreign)
}

#[cfg(test)]
mod tests {
    use slipstream_coordination::Embedded;

    use super::*;
    use crate::server::queue::recent::SHORTEST_AGE;

    #[tokio::test(start_paused = true)]
    async fn one_listing_serves_everybody_for_a_while() {
        let queue = QueueClient::begin(Arc::new(Embedded::new())).await;
        let (snapshots, clock) = (Snapshots::default(), Clock::system());
        let put = async |job: &str| {
            let path = queue.put_all(vec![(job.to_owned(), 999)]).await.remove(0).expect("put");
            paths::entry_name(&path).expect("an entry")
        };
        let entries = [put("job/1").await, put("job/2").await];
        let first = snapshots.get(&queue, &clock).await.expect("listed");
        assert_eq!(entries.map(|entry| first.before(entry)), [0, 1]);
        let third = put("job/3").await;
        let same = snapshots.get(&queue, &clock).await.expect("listed");
        assert!(Arc::ptr_eq(&first, &same), "the listing is shared");
        assert_eq!(same.before(third), 2, "an entry is told its place also in an older listing");
        tokio::time::advance(SHORTEST_AGE).await;
        let later = snapshots.get(&queue, &clock).await.expect("listed");
        assert!(!Arc::ptr_eq(&first, &later) && later.waiting.len() == 3, "until it is too old");
    }
}
