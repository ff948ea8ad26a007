//! [`Taker`]: who takes many claims asks for them together and is handed one after the other.

use tokio::sync::mpsc;

use super::actor::{Asked, Command};
use super::{Claim, LockingQueue};
use crate::session::Error;

/// Takes claims from a queue, never more than it has asked for. What it has not handed out when it is dropped goes to
/// others.
pub struct Taker {
    queue: LockingQueue,
    /// Where claims come in. Unbounded, and never longer than was asked for.
    door: mpsc::UnboundedSender<Claim>,
    claims: mpsc::UnboundedReceiver<Claim>,
}

impl Taker {
    pub(super) fn new(queue: LockingQueue) -> Self {
        let (door, claims) = mpsc::unbounded_channel();
        Self { queue, door, claims }
    }

    /// So many more claims are wanted. They come when they can be had, which may be one by one.
    pub fn ask(&mut self, number: usize) {
        if number == 0 {
            return;
        }
        self.queue.start();
        self.queue.shared.send(Command::Take(Asked { number, door: self.door.clone() }));
    }

    /// Waits for the next claim of those that were asked for. Dropping the future at any point loses none. Fails only
    /// when the session has expired.
    pub async fn next(&mut self) -> Result<Claim, Error> {
        let claim = tokio::select! {
            biased;
            claim = self.claims.recv() => claim,
            // the queue ends under a taker only with the session
            () = self.queue.shared.commands.closed() => None,
        };
        claim.ok_or(Error::Expired)
    }

    /// The next claim, if there is one already.
    pub fn try_next(&mut self) -> Option<Claim> {
        self.claims.try_recv().ok()
    }
}
