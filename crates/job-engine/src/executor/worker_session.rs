//! [`WorkerSession`]: what an executor has for the time of one session with the coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use slipstream_cimi::Lease;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::session::{Error, Session, State, existing};
use slipstream_coordination::{Claim, LockingQueue};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::process::paths;

/// One session, the queue in it, and the generation under which its claims are leases.
pub(super) struct WorkerSession {
    pub(super) session: Arc<dyn Session>,
    /// For how long it may be suspended before its claims are most likely gone.
    pub(super) timeout: Duration,
    pub(super) queue: LockingQueue,
    /// What the claims of this session show.
    pub(super) claimant: String,
    generation: AtomicI64,
}

impl WorkerSession {
    /// Opens the queue as soon as there is a generation.
    pub(super) async fn open(session: Arc<dyn Session>, timeout: Duration) -> Result<Self, Error> {
        let claimant = Uuid::new_v4().simple().to_string();
        debug!(claimant, "session begins");
        let generation = wait_for_generation(session.as_ref()).await?;
        let queue = LockingQueue::open(session.clone(), paths::JOB, &claimant).await?;
        Ok(Self { session, timeout, queue, claimant, generation: generation.into() })
    }

    /// The state of the session, as it changes.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.session.state()
    }

    /// The lease that this claim gives.
    pub(super) fn lease(&self, claim: &Claim) -> Lease {
        Lease { generation: self.generation.load(Ordering::Relaxed), zxid: claim.zxid() }
    }

    /// Reads the generation again: a held claim whose lease is refused as late may mean that it rose.
    pub(super) async fn refresh_generation(&self) {
        match read_generation(self.session.as_ref()).await {
            Ok(Some(generation)) => self.generation.store(generation, Ordering::Relaxed),
            Ok(None) => warn!(node = paths::GENERATION, "the generation is gone, the server writes it again"),
            Err(error) => debug!(%error, "cannot read the generation again"),
        }
    }
}

/// The server writes it when it starts, which may be later than now.
async fn wait_for_generation(session: &dyn Session) -> Result<i64, Error> {
    let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
    loop {
        match read_generation(session).await {
            Ok(Some(generation)) => return Ok(generation),
            Ok(None) if complaint.is_first() => {
                info!(node = paths::GENERATION, "waiting for a server of this engine to write the generation");
            }
            Ok(None) => debug!(node = paths::GENERATION, "still waiting for the generation"),
            Err(error @ (Error::Expired | Error::Refused { .. })) => return Err(error),
            Err(error) => debug!(%error, "cannot read the generation"),
        }
        sleep(pauses.take()).await;
    }
}

/// The generation, if there is one above zero.
async fn read_generation(session: &dyn Session) -> Result<Option<i64>, Error> {
    let node = existing(session.data(paths::GENERATION).await)?;
    Ok(node.and_then(|node| paths::shown_generation(&node.data)))
}
