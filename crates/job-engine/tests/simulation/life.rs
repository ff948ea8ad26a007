//! [`Life`]: one incarnation of a process. What has died never acts again, whatever is left of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use slipstream_job_engine::internals::process::Stop;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Who acts in which millisecond of ten; what the plan decides happens in the first.
const TURNS: [&str; 10] = [
    "world",
    "server-1",
    "server-2",
    "executor-1",
    "executor-2",
    "distributor-1",
    "distributor-2",
    "up-1",
    "user",
    "meddler",
];

/// One incarnation of a process.
pub struct Life {
    /// Process and number of the incarnation, e.g. `executor-1.3`.
    pub name: String,
    /// For an orderly end.
    pub stop: Stop,
    /// The process starts: it meets neither faults nor delays yet.
    pub starting: AtomicBool,
    /// When everything began.
    begun: Instant,
    over: CancellationToken,
    sessions: AtomicU32,
    /// Turns left to live, once somebody has decided to kill it, and when the last one was.
    fuse: Mutex<Option<(u32, Instant)>>,
}

impl Life {
    /// A new incarnation.
    pub fn new(name: String, begun: Instant) -> Self {
        let (stop, over) = (Stop::new(), CancellationToken::new());
        Self {
            name,
            begun,
            stop,
            starting: AtomicBool::new(false),
            over,
            sessions: AtomicU32::new(0),
            fuse: Mutex::default(),
        }
    }

    /// One side of a request: the place where a process may die. Never ends in a process that is dead.
    pub async fn step(&self) {
        self.turn().await;
        self.burn(Instant::now());
        if self.over.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// What it does in one turn is done or not done together: its tasks may wake in any order.
    fn burn(&self, now: Instant) {
        let mut fuse = self.fuse.lock().expect("nothing panics while it counts");
        if let Some((left, last)) = fuse.as_mut().filter(|(_, last)| *last != now) {
            (*left, *last) = (left.saturating_sub(1), now);
            if *left == 0 {
                self.over.cancel();
            }
        }
    }

    /// Waits for a millisecond in which no other process acts, so that it does not matter in which order the runtime
    /// wakes two of them.
    async fn turn(&self) {
        let own = TURNS.iter().position(|turn| *turn == self.process()).expect("every process has its turn");
        let now = usize::try_from(self.begun.elapsed().as_millis()).unwrap_or(0) % TURNS.len();
        let wait = (own + TURNS.len() - now) % TURNS.len();
        if wait > 0 && !self.is_starting() {
            tokio::time::sleep(Duration::from_millis(wait as u64)).await;
        }
    }

    /// The process that it is an incarnation of.
    pub fn process(&self) -> &str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// Whether it starts.
    pub fn is_starting(&self) -> bool {
        self.starting.load(Ordering::Relaxed)
    }

    /// What its next session with the coordinator is called.
    pub fn next_session(&self) -> String {
        format!("{}/{}", self.name, self.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Kills it after so many turns.
    pub fn kill_after(&self, turns: u32) {
        *self.fuse.lock().expect("nothing panics while it counts") = Some((turns, self.begun));
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
