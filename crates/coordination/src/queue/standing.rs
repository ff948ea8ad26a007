//! [`Standing`]: what is known to have become of a claim. Each job has a claim, so this is an atomic and a list of who
//! waits.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// What the holder of a claim can learn about it.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum News {
    /// Its node was deleted.
    Lost = 1,
    /// The entry was deleted.
    EntryGone = 2,
    /// Its queue has ended, and with it the session.
    QueueEnded = 4,
}

/// What a holder has learnt.
#[derive(Default)]
pub(super) struct Standing {
    known: AtomicU8,
    changed: Notify,
}

impl Standing {
    /// From now on that is known.
    pub(super) fn note(&self, news: News) {
        if self.known.fetch_or(news as u8, Ordering::AcqRel) & news as u8 == 0 {
            self.changed.notify_waiters();
        }
    }

    /// Whether that is known.
    pub(super) fn is(&self, news: News) -> bool {
        self.known.load(Ordering::Acquire) & news as u8 != 0
    }

    /// Ends when one of these is known.
    pub(super) async fn becomes(&self, news: &[News]) {
        loop {
            // hears of what is noted from here on
            let changed = self.changed.notified();
            if news.iter().any(|news| self.is(*news)) {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_hears_of_what_is_noted_and_of_nothing_else() {
        let standing = Standing::default();
        let mut lost = pin!(standing.becomes(&[News::Lost, News::QueueEnded]));
        let mut entry_gone = pin!(standing.becomes(&[News::EntryGone]));
        assert!(poll!(&mut lost).is_pending() && poll!(&mut entry_gone).is_pending());
        standing.note(News::QueueEnded);
        assert!(poll!(&mut lost).is_ready() && poll!(&mut entry_gone).is_pending());
        standing.note(News::EntryGone);
        assert!(poll!(&mut entry_gone).is_ready());
        assert!(!standing.is(News::Lost));
        standing.becomes(&[News::EntryGone]).await;
    }
}
