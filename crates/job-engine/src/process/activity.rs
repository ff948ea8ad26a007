//! [`Activity`]: what a process is doing, noted by those who do it for those who ask: the service manager, and whoever uses
//! the admin socket. No lock is held for longer than a note takes, so that also a process that is stuck says where.

pub mod slot;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{self, interval};

use self::slot::{AttemptNotes, Slot};

/// What a process is doing. Clones share it; an engine in another program has one of its own, at which nobody looks.
#[derive(Clone)]
pub struct Activity(Arc<Inner>);

struct Inner {
    begun: Instant,
    /// What the process runs as, and its name.
    role: OnceLock<(&'static str, String)>,
    phase: watch::Sender<Phase>,
    draining: watch::Sender<bool>,
    slots: Mutex<Vec<Arc<Slot>>>,
    peers: Mutex<Vec<Arc<Peer>>>,
    loops: Mutex<Vec<Arc<Loop>>>,
    /// How often loops turn; not at all where nobody wants to know.
    turns: OnceLock<Duration>,
}

/// Where a service is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not begun to work.
    Starting,
    /// It changes its database before it begins.
    Changing {
        /// What it is at, such as `copying the database`.
        doing: &'static str,
        /// How much of that is done, of hundred.
        percent: Option<u8>,
    },
    /// It works.
    Up,
    /// It was asked to stop.
    Stopping {
        /// What is waited for beside jobs.
        what: &'static str,
        /// Until when.
        end: Instant,
    },
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Inner {
            begun: Instant::now(),
            role: OnceLock::new(),
            phase: watch::Sender::new(Phase::Starting),
            draining: watch::Sender::new(false),
            slots: Mutex::default(),
            peers: Mutex::default(),
            loops: Mutex::default(),
            turns: OnceLock::new(),
        }))
    }
}

impl Activity {
    /// Nothing is known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what the process runs as, e.g. `executor`, and what it is called.
    pub fn has_role(&self, role: &'static str, name: &str) {
        // a process has one role
        self.0.role.get_or_init(|| (role, name.to_owned()));
    }

    /// What the process runs as, and its name.
    #[must_use]
    pub fn role(&self) -> (&'static str, &str) {
        self.0.role.get().map_or(("process", ""), |(role, name)| (role, name))
    }

    /// For how long there has been something to know.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.0.begun.elapsed()
    }

    /// The service is at this place of its life now.
    pub fn enter(&self, phase: Phase) {
        self.0.phase.send_replace(phase);
    }

    /// Where the service is in its life, also later.
    #[must_use]
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// Asks the executor to take no more jobs, or to take them again.
    pub fn drain(&self, is_wanted: bool) {
        self.0.draining.send_if_modified(|draining| std::mem::replace(draining, is_wanted) != is_wanted);
    }

    /// Whether the executor is to take no more jobs.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// The same, also later.
    #[must_use]
    pub fn draining(&self) -> watch::Receiver<bool> {
        self.0.draining.subscribe()
    }

    /// The slot of this number, from 0, which is made if need be.
    #[must_use]
    pub fn slot(&self, number: usize) -> Arc<Slot> {
        let mut slots = lock(&self.0.slots);
        while slots.len() <= number {
            slots.push(Arc::new(Slot::default()));
        }
        slots[number].clone()
    }

    /// All slots.
    #[must_use]
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        lock(&self.0.slots).clone()
    }

    /// The attempts that are under way, with the numbers of their slots.
    #[must_use]
    pub fn attempts(&self) -> Vec<(usize, Arc<AttemptNotes>)> {
        let slots = self.slots();
        slots.iter().enumerate().filter_map(|(number, slot)| Some((number, slot.attempt()?))).collect()
    }

    /// How many slots are busy.
    #[must_use]
    pub fn busy(&self) -> usize {
        lock(&self.0.slots).iter().filter(|slot| slot.is_busy()).count()
    }

    /// Whether the executor takes nothing and does nothing any more, as it was asked to.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.is_draining() && !lock(&self.0.slots).iter().any(|slot| slot.is_busy() || slot.is_taking())
    }

    /// Says whom the service cannot work without.
    pub fn needs(&self, peers: impl IntoIterator<Item = Arc<Peer>>) {
        lock(&self.0.peers).extend(peers);
    }

    /// Whom the service cannot work without.
    #[must_use]
    pub fn peers(&self) -> Vec<Arc<Peer>> {
        lock(&self.0.peers).clone()
    }

    /// A loop that matters and has not turned for longer than this, if there is one.
    #[must_use]
    pub fn stuck(&self, now: time::Instant, limit: Duration) -> Option<&'static str> {
        lock(&self.0.loops).iter().find(|it| now.duration_since(*lock(&it.turned)) > limit).map(|it| it.name)
    }

    /// Loops turn as often as this from now on.
    pub fn watch_loops(&self, turns: Duration) {
        self.0.turns.get_or_init(|| turns);
    }

    /// Goes on with `work`, a loop that matters: while it is stuck it does not turn.
    pub async fn turning<T>(&self, name: &'static str, work: impl Future<Output = T>) -> T {
        let Some(turns) = self.0.turns.get() else { return work.await };
        let turning = Turning::begin(self.clone(), name);
        let turn = async {
            let mut turns = interval(*turns);
            loop {
                turns.tick().await;
                *lock(&turning.it.turned) = time::Instant::now();
            }
        };
        tokio::select! {
            biased;
            never = turn => never,
            ended = work => ended,
        }
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Activity").field("role", &self.0.role).finish_non_exhaustive()
    }
}

/// Somebody a service cannot work without.
#[derive(Debug)]
pub struct Peer {
    name: String,
    is_there: AtomicBool,
}

impl Peer {
    /// Nobody has heard of it yet. The name is for people, e.g. `ZooKeeper at 127.0.0.1:2181`.
    #[must_use]
    pub fn new(name: String) -> Arc<Self> {
        Arc::new(Self { name, is_there: AtomicBool::new(false) })
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It answers, or does not.
    pub fn note(&self, is_there: bool) {
        self.is_there.store(is_there, Ordering::Relaxed);
    }

    /// Whether it has answered last.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Relaxed)
    }
}

/// A loop that matters.
struct Loop {
    name: &'static str,
    /// When it has turned last, or begun.
    turned: Mutex<time::Instant>,
}

/// A loop that goes on. Dropped, it does not matter any more.
struct Turning {
    activity: Activity,
    it: Arc<Loop>,
}

impl Turning {
    fn begin(activity: Activity, name: &'static str) -> Self {
        let it = Arc::new(Loop { name, turned: Mutex::new(time::Instant::now()) });
        lock(&activity.0.loops).push(it.clone());
        Self { activity, it }
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        lock(&self.activity.0.loops).retain(|it| !Arc::ptr_eq(it, &self.it));
    }
}

/// Nothing panics while one of these is held, and nobody holds one for long.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_stuck_does_not_turn_and_one_that_has_ended_does_not_matter() {
        let activity = Activity::new();
        activity.watch_loops(Duration::from_secs(1));
        let stuck = || activity.stuck(time::Instant::now(), Duration::from_secs(2));
        assert_eq!(stuck(), None, "nothing matters yet");
        let mut other = pin!(activity.turning("other", std::future::pending::<()>()));
        let mut both = async |seconds| {
            tokio::select! {
                () = &mut other => {}
                () = sleep(Duration::from_secs(seconds)) => {}
            }
        };
        both(3).await;
        assert_eq!(stuck(), None);
        {
            // polled once, and then stuck
            let mut work = pin!(activity.turning("work", std::future::pending::<()>()));
            assert!(futures_util::poll!(&mut work).is_pending());
            both(2).await;
            assert_eq!(stuck(), None, "it has just begun");
            both(1).await;
            assert_eq!(stuck(), Some("work"));
            assert_eq!(stuck(), Some("work"), "for whoever asks");
            assert!(futures_util::poll!(&mut work).is_pending());
            assert_eq!(stuck(), None, "it goes on");
            both(3).await;
        }
        assert_eq!(stuck(), None, "it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_watches_no_loop_turns() {
        let activity = Activity::new();
        let mut work = pin!(activity.turning("work", std::future::pending::<()>()));
        assert!(futures_util::poll!(&mut work).is_pending());
        assert!(lock(&activity.0.loops).is_empty());
    }

    #[test]
    fn an_executor_is_drained_once_it_neither_takes_nor_does_anything() {
        let activity = Activity::new();
        let slot = activity.slot(0);
        assert!(!activity.is_drained(), "nobody asked");
        let taking = slot.take();
        activity.drain(true);
        assert!(!activity.is_drained(), "it may be about to get one");
        let attempt = slot.begin("job/1".to_owned());
        drop(taking);
        assert!(!activity.is_drained());
        assert_eq!(activity.busy(), 1);
        drop(attempt);
        assert!(activity.is_drained());
        activity.drain(false);
        assert!(!activity.is_drained());
    }
}
