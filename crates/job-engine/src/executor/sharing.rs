//! Which entries an executor reaches for first: the registered executors split the queue, in the order in which their
//! sessions began. A registration without a session, as a backup tool restores it, has no part.

use std::convert::Infallible;

use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_coordination::LockingQueue;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::session::{Error, Session};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::process::paths;
use crate::process::registry::{Registered, registered};

/// Keeps this executor's share up to date, as executors come and go, until the session is over.
pub(super) async fn keep(session: &dyn Session, queue: &LockingQueue, own: &str) {
    let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
    loop {
        let begun = Instant::now();
        let Err(error) = follow(session, queue, own).await;
        if error == Error::Expired {
            return;
        }
        if error.refusal().is_some() && complaint.is_new(error.to_string()) {
            warn!(%error, "cannot see the other executors: this one may reach for the same entries");
        } else {
            debug!(%error, "cannot see the other executors, retrying");
        }
        if pauses.reset_after(begun.elapsed()) {
            complaint.settle();
        }
        sleep(pauses.take()).await;
    }
}

/// Executors come and go so rarely that all are read again.
async fn follow(session: &dyn Session, queue: &LockingQueue, own: &str) -> Result<Infallible, Error> {
    let mut changes = session.watch(paths::EXECUTORS).await?;
    let mut logged = Vec::new();
    loop {
        changes.recv().await.ok_or(Error::Expired)?;
        while changes.try_recv().is_ok() {}
        let Registered { all, strays } = registered::<RegisteredExecutor>(session, paths::EXECUTORS).await?;
        for node in strays.iter().filter(|node| !logged.contains(*node)) {
            warn!(node, "ignoring a registration without a session, delete its node");
        }
        logged = strays;
        // one that is not registered yet reaches for all
        match all.iter().position(|(claimant, _)| claimant == own) {
            Some(position) => queue.share(position, all.len()),
            None => queue.share(0, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use slipstream_cimi::overview::executors::loaded::Loaded;
    use slipstream_coordination::session::make_path;
    use slipstream_coordination::{Coordinator as _, Embedded};

    use super::*;
    use crate::process::clock::Clock;
    use crate::process::registry::{Registration, this_process};

    fn register(session: &Arc<dyn Session>, claimant: &str) -> Registration<RegisteredExecutor> {
        let executor = RegisteredExecutor {
            name: claimant.to_owned(),
            process: this_process(),
            slots: 1,
            actions: Vec::new(),
            loaded: Loaded::default(),
            begun: Clock::system().now(),
            passed_over: Vec::new(),
            draining: false,
        };
        Registration::begin(session.clone(), paths::EXECUTORS, claimant, executor)
    }

    /// The last digit of the entry that a queue takes first, once everybody has heard of what happened before.
    async fn first(queue: &LockingQueue) -> char {
        sleep(Duration::from_secs(1)).await;
        let claim = queue.take().await.expect("a session");
        let taken = claim.entry().chars().last().expect("a name");
        claim.release().await.expect("answered");
        taken
    }

    /// With the fault: a registration without a session, which a backup tool has restored, before everybody else.
    #[tokio::test(start_paused = true)]
    async fn executors_share_the_queue_as_they_come_and_go() {
        let embedded = Embedded::new();
        let tree = embedded.connect().await.expect("never refused");
        make_path(&*tree, &format!("{}/stray", paths::EXECUTORS)).await.expect("made");
        let (mut sessions, mut queues) = (Vec::new(), Vec::new());
        for claimant in ["0a", "0b", "0c"] {
            let session = embedded.connect().await.expect("never refused");
            let queue = LockingQueue::open(session.clone(), paths::JOB, claimant).await.expect("opened");
            let registration = register(&session, claimant);
            sessions.push((session.clone(), registration));
            queues.push(queue.clone());
            tokio::spawn(async move { keep(&*session, &queue, claimant).await });
            sleep(Duration::from_secs(1)).await;
        }
        // at each stage before what was overtaken already
        let put = async |priority| {
            for _ in 0..4 {
                queues[1].put(b"job/1", priority).await.expect("put");
            }
        };
        put(3).await;
        assert_eq!([first(&queues[0]).await, first(&queues[1]).await, first(&queues[2]).await], ['0', '1', '2']);
        sessions[0].0.close().await;
        put(2).await;
        assert_eq!([first(&queues[1]).await, first(&queues[2]).await], ['4', '5']);
        sessions[2].0.close().await;
        put(1).await;
        assert_eq!(first(&queues[1]).await, '8');
    }
}
