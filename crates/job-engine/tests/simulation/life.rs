//! [`Life`]: one incarnation of a process. What has died never acts again, whatever is left of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

use slipstream_job_engine::stop::Stop;

/// One incarnation of a process.
pub struct Life {
    /// Process and number of the incarnation, e.g. `executor-1.3`.
    pub name: String,
    /// For an orderly end.
    pub stop: Stop,
    /// The process starts: it meets neither faults nor delays yet.
    pub starting: AtomicBool,
    over: CancellationToken,
    /// Steps left to live, once somebody has decided to kill it.
    fuse: Mutex<Option<u32>>,
}

impl Life {
    /// A new incarnation.
    pub fn new(name: String) -> Self {
        let (stop, over) = (Stop::new(), CancellationToken::new());
        Self { name, stop, starting: AtomicBool::new(false), over, fuse: Mutex::default() }
    }

    /// One side of a request: the place where a process may die. Never ends in a process that is dead.
    pub async fn step(&self) {
        {
            let mut fuse = self.fuse.lock().expect("nothing panics while it counts");
            if let Some(left) = fuse.as_mut() {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.over.cancel();
                }
            }
        }
        if self.over.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it starts.
    pub fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed)
    }

    /// Kills it after so many steps.
    pub fn kill_after(&self, steps: u32) {
        *self.fuse.lock().expect("nothing panics while it counts") = Some(steps);
    }

    /// Kills it now.
    pub fn kill(&self) {
        self.over.cancel();
    }

    /// Whether it is dead.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Ends when it has died.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }
}
