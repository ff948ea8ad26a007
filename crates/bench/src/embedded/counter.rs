//! [`Counter`]: counts, and notes the moment at which a number is reached.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::oneshot;

use super::process::Moment;

/// Longest wait for a number: something is broken then.
const LIMIT: Duration = Duration::from_hours(1);

/// Costs an addition, unless a number is reached that somebody waits for.
pub struct Counter {
    number: AtomicU64,
    /// The lowest number that somebody waits for.
    next: AtomicU64,
    waiting: Mutex<Vec<(u64, oneshot::Sender<Moment>)>>,
}

impl Default for Counter {
    fn default() -> Self {
        Self { number: AtomicU64::new(0), next: AtomicU64::new(u64::MAX), waiting: Mutex::default() }
    }
}

/// The moment at which a number is reached.
pub struct Mark {
    number: u64,
    moment: oneshot::Receiver<Moment>,
}

impl Counter {
    pub fn add(&self, more: u64) {
        let number = self.number.fetch_add(more, Ordering::SeqCst) + more;
        if number >= self.next.load(Ordering::SeqCst) {
            self.notify(&mut self.waiting());
        }
    }

    pub fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// The moment at which so many are counted: now, if they are.
    pub fn mark(&self, number: u64) -> Mark {
        let (sender, moment) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.push((number, sender));
        self.next.fetch_min(number, Ordering::SeqCst);
        // who counted just before saw nobody waiting
        self.notify(&mut waiting);
        Mark { number, moment }
    }

    fn notify(&self, waiting: &mut Vec<(u64, oneshot::Sender<Moment>)>) {
        let number = self.number();
        for (wanted, sender) in waiting.extract_if(.., |(wanted, _)| *wanted <= number) {
            if sender.send(Moment::now()).is_err() {
                eprintln!("nobody waits for {wanted} any more");
            }
        }
        self.next.store(waiting.iter().map(|(wanted, _)| *wanted).min().unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(u64, oneshot::Sender<Moment>)>> {
        self.waiting.lock().expect("nothing panics while it holds the marks")
    }
}

impl Mark {
    pub async fn reached(self) -> anyhow::Result<Moment> {
        let reached = tokio::time::timeout(LIMIT, self.moment).await;
        let number = self.number;
        reached.with_context(|| format!("{number} are not reached"))?.context("the counter is gone")
    }
}
