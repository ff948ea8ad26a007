//! [`WatchSender`]: the sending side of a watch. A watch is a bounded channel whose last place is kept for
//! [`Change::Reset`]. A change that finds only that place free becomes the `Reset`, and what follows is dropped until the
//! reader has read it: whoever reads again after a `Reset` sees what was dropped before.

use tokio::sync::mpsc;

use crate::session::{Change, WATCH_CAPACITY, Watch};

/// Sends the reader of one watch what changed.
pub(crate) struct WatchSender {
    changes: mpsc::Sender<Change>,
    /// The last one in the channel is a `Reset` that stands for all that was dropped since.
    overflowed: bool,
}

impl WatchSender {
    /// A watch that begins with a `Reset`.
    pub(crate) fn new() -> (Self, Watch) {
        // one more than asked for: the last place is the Reset's
        let (changes, reader) = mpsc::channel(WATCH_CAPACITY + 1);
        let mut sender = Self { changes, overflowed: false };
        sender.send(Change::Reset);
        (sender, reader)
    }

    /// Never waits.
    pub(crate) fn send(&mut self, change: Change) {
        let free = self.changes.capacity();
        if self.overflowed && free < self.changes.max_capacity() {
            return;
        }
        let change = if free == 1 { Change::Reset } else { change };
        self.overflowed = free == 1;
        if self.changes.try_send(change).is_err() {
            tracing::trace!("the reader of a watch has gone");
        }
    }

    /// Whether the reader has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.changes.is_closed()
    }

    /// Ends when the reader has gone.
    pub(crate) async fn closed(&self) {
        self.changes.closed().await;
    }
}
