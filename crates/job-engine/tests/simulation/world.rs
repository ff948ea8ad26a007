//! [`World`]: what all processes of one simulation share, and what happens to them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipstream_cimi::Transport;
use slipstream_coordination::Embedded;
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_job_engine::clock::Clock;
use slipstream_job_engine::server::peer::Origin;
use slipstream_job_engine::server::sessions::Sessions;
use slipstream_job_engine::server::store::memory::MemoryStore;
use slipstream_job_engine::server::store::{Record, Store};

use crate::board::Board;
use crate::broken::Broken;
use crate::life::Life;
use crate::plan::{Event, Fault, Plan};
use crate::trace::Trace;

/// Password of the administrator.
pub const PASSWORD: &str = "secret";
const START: &str = "2026-11-24T00:00:00Z";
/// How long the coordinator waits for a session of which it hears nothing, in hundredths of a second.
const SESSION_TIMEOUT: std::ops::Range<u64> = 400..1_500;

/// A server that can be reached.
#[derive(Clone)]
pub struct Door {
    /// Whose.
    pub life: Arc<Life>,
    /// Its routes.
    pub routes: Arc<dyn Transport>,
}

struct Known {
    life: Arc<Life>,
    session: Arc<EmbeddedSession>,
    name: String,
}

/// What all processes of one simulation share.
pub struct World {
    /// What the seed decided beforehand.
    pub plan: Plan,
    /// What is wrong on purpose.
    pub broken: Broken,
    /// Whether the servers announce that they take reports: in every other seed. Leases can be stripped off headers only.
    pub takes_reports: bool,
    /// What happened.
    pub trace: Trace,
    /// The documents.
    pub documents: Arc<MemoryStore>,
    /// The time of day.
    pub clock: Clock,
    /// Opens the administrator's session.
    pub cookie: HeaderValue,
    board: Mutex<Board>,
    seed: u64,
    /// How often each thing was drawn for.
    drawn: Mutex<BTreeMap<u64, u64>>,
    shift: Arc<AtomicI64>,
    stormy: AtomicBool,
    coordinator: Mutex<Embedded>,
    /// The tree has to be rebuilt by whichever server starts first.
    wiped: AtomicBool,
    doors: Mutex<BTreeMap<String, Door>>,
    lives: Mutex<BTreeMap<String, Arc<Life>>>,
    sessions: Mutex<Vec<Known>>,
    slow: AtomicBool,
    outage: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}

impl World {
    /// A world in which nobody works yet.
    pub async fn new(seed: u64, broken: Broken) -> Arc<Self> {
        let documents = Arc::new(MemoryStore::default());
        let shift = Arc::new(AtomicI64::new(0));
        let steady = Clock::starting_at(START.parse().expect("a time"));
        let shifted = shift.clone();
        let clock = Clock::showing(move || steady.now() + SignedDuration::from_secs(shifted.load(Ordering::Relaxed)));
        let cookie = log_in(&documents, clock.now()).await;
        Arc::new(Self {
            plan: Plan::new(seed, broken),
            broken,
            takes_reports: seed.is_multiple_of(2) && broken != Broken::StripsLease,
            trace: Trace::new(),
            documents,
            clock,
            cookie,
            board: Mutex::default(),
            seed,
            drawn: Mutex::default(),
            shift,
            stormy: AtomicBool::new(true),
            coordinator: Mutex::default(),
            wiped: AtomicBool::new(true),
            doors: Mutex::default(),
            lives: Mutex::default(),
            sessions: Mutex::default(),
            slow: AtomicBool::new(false),
            outage: AtomicBool::new(false),
        })
    }

    /// What was seen so far.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }

    /// A number below `end`, drawn for the next time that `who` does `what`. It does not matter what others drew
    /// meanwhile: the order in which two tasks wake within one millisecond changes nobody's fate.
    pub fn below(&self, end: u64, who: &str, what: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, who, what).hash(&mut hasher);
        let times = {
            let mut drawn = lock(&self.drawn);
            let times = drawn.entry(hasher.finish()).or_insert(0_u64);
            *times += 1;
            *times
        };
        times.hash(&mut hasher);
        hasher.finish() % end.max(1)
    }

    /// Whether this request meets the fault; counted and noted if so.
    pub fn meets(&self, fault: Fault, life: &Life, what: &str) -> bool {
        let rate = self.plan.weather.of(fault);
        if life.is_starting() || !self.is_stormy() || rate == 0 {
            return false;
        }
        let meets = self.below(1000, &life.name, &format!("{fault:?} {what}")) < rate;
        if meets {
            self.inject(fault, &life.name, what);
        }
        meets
    }

    /// Counts and notes a fault.
    pub fn inject(&self, fault: Fault, who: &str, what: &str) {
        self.board().inject(fault);
        self.trace.note(who, &format!("!! {fault:?} {what}"));
    }

    /// Whether faults are injected.
    pub fn is_stormy(&self) -> bool {
        self.stormy.load(Ordering::Relaxed)
    }

    /// Whether the store is slow, and whether it refuses everything.
    pub fn store_is(&self) -> (bool, bool) {
        (self.slow.load(Ordering::Relaxed), self.outage.load(Ordering::Relaxed))
    }

    /// The coordinator of now.
    pub fn coordinator(&self) -> Embedded {
        lock(&self.coordinator).clone()
    }

    /// Whether whoever asks has to rebuild the tree.
    pub fn has_to_rebuild(&self) -> bool {
        self.wiped.load(Ordering::Relaxed)
    }

    /// The tree was rebuilt.
    pub fn rebuilt(&self) {
        self.wiped.store(false, Ordering::Relaxed);
    }

    /// A process begins.
    pub fn begin(&self, process: &str, life: &Arc<Life>) {
        lock(&self.lives).insert(process.to_owned(), life.clone());
    }

    /// A server can be reached from now on.
    pub fn open_door(&self, life: &Arc<Life>, routes: Arc<dyn Transport>) {
        lock(&self.doors).insert(life.name.clone(), Door { life: life.clone(), routes });
    }

    /// It cannot any more.
    pub fn shut_door(&self, life: &Life) {
        lock(&self.doors).remove(&life.name);
    }

    /// One of the servers, if there is one.
    pub fn door(&self, who: &str, what: &str) -> Option<Door> {
        let doors = lock(&self.doors);
        let count = doors.len() as u64;
        if count == 0 {
            return None;
        }
        let choice = usize::try_from(self.below(count, who, what)).unwrap_or(0);
        doors.values().nth(choice).cloned()
    }

    /// A new session of a process, and its name.
    pub fn connect(&self, life: &Arc<Life>) -> (Arc<EmbeddedSession>, String) {
        let session = Arc::new(self.coordinator().session());
        let name = life.next_session();
        lock(&self.sessions).push(Known { life: life.clone(), session: session.clone(), name: name.clone() });
        self.board().connected(&name);
        (session, name)
    }

    /// Ends a session.
    pub fn end_session(&self, name: &str) {
        let mut sessions = lock(&self.sessions);
        if let Some(index) = sessions.iter().position(|known| known.name == name) {
            let known = sessions.remove(index);
            known.session.expire();
            drop(sessions);
            self.board().session_over(name);
        }
    }

    fn sessions_of(&self, life: &Life) -> Vec<(Arc<EmbeddedSession>, String)> {
        let sessions = lock(&self.sessions);
        let own = sessions.iter().filter(|known| known.life.name == life.name);
        own.map(|known| (known.session.clone(), known.name.clone())).collect()
    }

    /// A process has died: the coordinator hears nothing of its sessions, and ends them after a while.
    pub fn bury(self: &Arc<Self>, life: &Arc<Life>) {
        self.shut_door(life);
        for (session, name) in self.sessions_of(life) {
            session.suspend();
            let world = self.clone();
            let timeout = SESSION_TIMEOUT.start
                + self.below(SESSION_TIMEOUT.end - SESSION_TIMEOUT.start, &life.name, "is missed");
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(10 * timeout)).await;
                world.end_session(&name);
            });
        }
    }

    /// An empty tree without sessions, which whoever starts next has to rebuild.
    pub fn wipe(&self) {
        self.replace();
        self.wiped.store(true, Ordering::Relaxed);
    }

    /// An empty tree without sessions.
    fn replace(&self) {
        *lock(&self.coordinator) = Embedded::new();
        let names: Vec<String> = lock(&self.sessions).iter().map(|known| known.name.clone()).collect();
        self.board().tree_wiped();
        for name in &names {
            self.end_session(name);
        }
    }

    /// Lets the storm of the plan pass, and then calms everything.
    pub async fn storm(self: &Arc<Self>) {
        let begun = tokio::time::Instant::now();
        for (time, event) in self.plan.events.clone() {
            tokio::time::sleep_until(begun + time).await;
            self.happen(event);
        }
        tokio::time::sleep_until(begun + self.plan.storm).await;
        self.stormy.store(false, Ordering::Relaxed);
        self.trace.note("world", "the storm is over");
    }

    /// Forgets everybody: servers know the world, too, and would keep it for ever.
    pub fn end(&self) {
        lock(&self.doors).clear();
        lock(&self.sessions).clear();
    }

    fn happen(self: &Arc<Self>, event: Event) {
        let life = |process: &str| lock(&self.lives).get(process).cloned();
        match event {
            Event::Kill { process, after } => {
                if let Some(life) = life(&process) {
                    life.kill_after(after);
                }
            }
            Event::Stop { process } => {
                if let Some(life) = life(&process).filter(|life| !life.is_over()) {
                    self.inject(Fault::Stopped, &life.name, "");
                    life.stop.ask();
                }
            }
            Event::Expire { process } => {
                for (_, name) in life(&process).iter().flat_map(|life| self.sessions_of(life)) {
                    self.inject(Fault::ExpiredSession, &process, &format!("session {name}"));
                    self.end_session(&name);
                }
            }
            Event::Suspend { process, length, expires } => {
                for (session, name) in life(&process).iter().flat_map(|life| self.sessions_of(life)) {
                    self.suspend(&process, &session, name, length, expires);
                }
            }
            Event::Wipe => {
                self.inject(Fault::WipedCoordinator, "world", "the servers start again");
                self.wipe();
                let servers: Vec<_> = lock(&self.doors).values().cloned().collect();
                for server in &servers {
                    server.life.kill();
                }
            }
            Event::Replace => {
                self.inject(Fault::ReplacedCoordinator, "world", "the servers go on");
                self.replace();
            }
            Event::JumpClock(seconds) => {
                self.inject(Fault::ClockJump, "world", &format!("by {seconds} s"));
                self.shift.fetch_add(seconds, Ordering::Relaxed);
            }
            Event::SlowStore(length) => self.store_suffers(Fault::SlowStore, length, |world| &world.slow),
            Event::StoreOutage(length) => self.store_suffers(Fault::StoreError, length, |world| &world.outage),
        }
    }

    fn store_suffers(self: &Arc<Self>, fault: Fault, length: Duration, of: fn(&Self) -> &AtomicBool) {
        self.inject(fault, "world", &format!("for {length:?}"));
        of(self).store(true, Ordering::Relaxed);
        let world = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            of(&world).store(false, Ordering::Relaxed);
        });
    }

    fn suspend(
        self: &Arc<Self>,
        process: &str,
        session: &Arc<EmbeddedSession>,
        name: String,
        length: Duration,
        expires: bool,
    ) {
        let fault = if expires { Fault::SuspendedToExpiry } else { Fault::SuspendedSession };
        self.inject(fault, process, &format!("session {name} for {length:?}"));
        session.suspend();
        let (world, session) = (self.clone(), session.clone());
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            if expires {
                world.end_session(&name);
            } else if lock(&world.sessions).iter().any(|known| known.name == name && !known.life.is_over()) {
                session.resume();
                world.board().connected(&name);
            }
        });
    }
}

/// Makes the administrator, whose password costs next to nothing to check, and logs in once for everybody.
async fn log_in(documents: &MemoryStore, now: Timestamp) -> HeaderValue {
    use argon2::{Argon2, Params, PasswordHasher};
    let cheap = Argon2::from(Params::new(8, 1, 1, None).expect("parameters within the limits"));
    let hash = cheap.hash_password(PASSWORD.as_bytes()).expect("a password can be hashed").to_string();
    let document = json!({"id": "user/super", "username": "super", "state": "ACTIVE", "isSuperUser": true});
    let record = Record {
        id: "user/super".to_owned(),
        revision: 0,
        document: document.as_object().cloned().unwrap_or_default().into(),
        ledger: json!({ "password": hash }),
    };
    documents.insert(record).await.expect("the store is empty");
    let body = json!({"sessionTemplate": {
        "href": "session-template/internal", "username": "super", "password": PASSWORD
    }});
    let body = body.as_object().cloned().unwrap_or_default();
    let login = Sessions::default().login(documents, &body, &Origin::HERE, now).await.expect("the password is right");
    HeaderValue::from_str(login.cookie.split(';').next().unwrap_or_default()).expect("a cookie is a header's value")
}

/// Drives a future without letting anybody else run, for as long as its process is starting: it checks a password on
/// another thread, and the order in which that thread and this one go on must not matter.
pub async fn alone_while_starting<T>(life: &Life, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let ended = poll_fn(|_| {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(ended) => return Poll::Ready(Some(ended)),
                Poll::Pending if life.is_starting() => std::thread::yield_now(),
                Poll::Pending => return Poll::Ready(None),
            }
        }
    });
    match ended.await {
        Some(ended) => ended,
        None => future.await,
    }
}
