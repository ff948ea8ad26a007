//! [`World`]: what all processes of one simulation share, and what happens to them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use slipstream_cimi::Transport;
use slipstream_coordination::Embedded;
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_job_engine::internals::server::Origin;
use slipstream_job_engine::internals::server::Sessions;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Record, Revision, StoreExt};
use tokio::time::Instant;

use crate::board::{self, Board};
use crate::broken::Broken;
use crate::clocks::Clocks;
use crate::life::Life;
use crate::plan::{Event, Fault, Plan, Site, YEARS_AHEAD};
use crate::reach::Reach;
use crate::trace::Trace;

/// Password of the administrator.
pub const PASSWORD: &str = "secret";
/// How long a session lives that says nothing.
const A_SESSION: Duration = Duration::from_secs(30);
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
    /// The time of day, on each machine.
    pub clocks: Clocks,
    /// The administrator's sessions after so many jumps of the clock, as a session whose clock was ahead is over: one of
    /// then, and one for servers whose clocks are years ahead.
    logins: Vec<[Login; 2]>,
    jumps: AtomicUsize,
    board: Mutex<Board>,
    seed: u64,
    /// How often each thing was drawn for.
    drawn: Mutex<BTreeMap<u64, u64>>,
    stormy: AtomicBool,
    /// When the storm is over.
    over: Instant,
    coordinator: Mutex<Embedded>,
    /// The tree has to be rebuilt by whichever server starts first.
    wiped: AtomicBool,
    doors: Mutex<BTreeMap<String, Door>>,
    lives: Mutex<BTreeMap<String, Arc<Life>>>,
    sessions: Mutex<Vec<Known>>,
    slow: AtomicBool,
    outage: AtomicBool,
    reach: Mutex<Reach>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this")
}

impl World {
    /// A world in which nobody works yet.
    pub async fn new(seed: u64, broken: Broken) -> Arc<Self> {
        let documents = Arc::new(MemoryStore::default());
        let clocks = Clocks::starting_at(START.parse().expect("a time"));
        let plan = Plan::new(seed, broken);
        let mut time = clocks.right().now();
        let jump = |event: &(Duration, Event)| match event.1 {
            Event::JumpClock(seconds) => Some(SignedDuration::from_secs(seconds)),
            _ => None,
        };
        let after_jumps = plan.events.iter().filter_map(jump).map(|seconds| {
            time += seconds;
            time
        });
        let times: Vec<_> = std::iter::once(clocks.right().now()).chain(after_jumps).collect();
        let logins = log_in(&documents, &times).await;
        open(&documents, &logins[0]);
        Arc::new(Self {
            over: Instant::now() + plan.storm,
            plan,
            broken,
            takes_reports: seed.is_multiple_of(2) && broken != Broken::StripsLease,
            trace: Trace::new(),
            documents,
            clocks,
            logins,
            jumps: AtomicUsize::new(0),
            board: Mutex::default(),
            seed,
            drawn: Mutex::default(),
            stormy: AtomicBool::new(true),
            coordinator: Mutex::default(),
            wiped: AtomicBool::new(true),
            doors: Mutex::default(),
            lives: Mutex::default(),
            sessions: Mutex::default(),
            slow: AtomicBool::new(false),
            outage: AtomicBool::new(false),
            reach: Mutex::default(),
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

    /// What can be reached, and read.
    pub fn reach(&self) -> MutexGuard<'_, Reach> {
        lock(&self.reach)
    }

    /// So long, or until the storm is over.
    pub fn of_the_storm(&self, length: Duration) -> Duration {
        length.min(self.over.saturating_duration_since(Instant::now()))
    }

    /// What opens the administrator's session at a server, by its clock.
    pub fn cookie(&self, life: &Life) -> HeaderValue {
        let ahead = self.clocks.of(life.process()).now().duration_since(self.clocks.right().now());
        let login = &self.logins[self.jumps.load(Ordering::Relaxed)][usize::from(ahead > YEARS_AHEAD / 2)];
        // whoever finds that it is over logs in again: a server whose clock was right a moment ago may remove it as ahead
        if board::read(&self.documents, &login.session.id).is_none() {
            open(&self.documents, std::slice::from_ref(login));
        }
        login.cookie.clone()
    }

    /// The coordinator of now.
    pub fn coordinator(&self) -> Embedded {
        lock(&self.coordinator).clone()
    }

    /// Whether two servers share the store.
    pub fn has_two_servers(&self) -> bool {
        self.plan.site == (Site::Spread { servers: 2 })
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
        self.reach().wiped();
        let names: Vec<String> = lock(&self.sessions).iter().map(|known| known.name.clone()).collect();
        self.board().tree_wiped();
        for name in &names {
            self.end_session(name);
        }
    }

    /// Lets the storm of the plan pass, and then calms everything.
    pub async fn storm(self: &Arc<Self>) {
        let begun = Instant::now();
        for (time, event) in self.plan.events.clone() {
            tokio::time::sleep_until(begun + time).await;
            self.happen(event);
        }
        tokio::time::sleep_until(self.over).await;
        self.stormy.store(false, Ordering::Relaxed);
        self.trace.note("world", "the storm is over");
    }

    /// Forgets everybody: servers know the world, too, and would keep it for ever.
    pub fn end(&self) {
        lock(&self.doors).clear();
        lock(&self.sessions).clear();
        self.board().end();
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
                self.clocks.jump(SignedDuration::from_secs(seconds));
                self.board().clock_jumped(self.clocks.right().now());
                let before = self.jumps.fetch_add(1, Ordering::Relaxed);
                open(&self.documents, &self.logins[before + 1]);
            }
            Event::SlowStore(length) => self.store_suffers(Fault::SlowStore, length, |world| &world.slow),
            Event::StoreOutage(length) => self.store_suffers(Fault::StoreError, length, |world| &world.outage),
            Event::Away(length) => self.away(self.of_the_storm(length)),
            Event::Ahead { process, by, length } => self.set_ahead(process, by, self.of_the_storm(length)),
            Event::Hide { process, length } => {
                self.inject(Fault::Hidden, &process, &format!("for {length:?}"));
                self.reach().hide(&process, true);
                self.later(length, move |world| world.reach().hide(&process, false));
            }
            Event::Meddle(meddling) => self.meddle(meddling),
        }
    }

    /// Does something after so long, or when the storm is over.
    pub fn later(self: &Arc<Self>, length: Duration, act: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let (world, length) = (self.clone(), self.of_the_storm(length));
        tokio::spawn(async move {
            tokio::time::sleep(length).await;
            act(&world);
        });
    }

    /// Nobody reaches coordinator or servers. No session ends by that: when they can be reached again, it goes on.
    fn away(self: &Arc<Self>, length: Duration) {
        let fault = if length > A_SESSION { Fault::AwayForLong } else { Fault::AwayBriefly };
        self.inject(fault, "world", &format!("for {length:?}"));
        self.reach().set_away(true);
        lock(&self.sessions).iter().for_each(|known| known.session.suspend());
        self.later(length, |world| {
            if !world.reach().set_away(false) {
                return;
            }
            for known in lock(&world.sessions).iter().filter(|known| !known.life.is_over()) {
                known.session.resume();
                world.board().connected(&known.name);
            }
        });
    }

    fn set_ahead(self: &Arc<Self>, process: String, by: SignedDuration, length: Duration) {
        let is_years = by == YEARS_AHEAD;
        let fault = if is_years { Fault::YearsAhead } else { Fault::MinutesAhead };
        self.inject(fault, &process, &format!("by {by:?} for {length:?}"));
        self.clocks.set_ahead(&process, by);
        self.later(length, move |world| {
            world.trace.note(&process, "its clock is right again");
            world.clocks.set_ahead(&process, SignedDuration::ZERO);
            if is_years {
                // what is due meanwhile is years old by that clock
                world.board().distributors_may_be_silent(world.clocks.right().now());
            }
        });
    }

    fn store_suffers(self: &Arc<Self>, fault: Fault, length: Duration, of: fn(&Self) -> &AtomicBool) {
        self.inject(fault, "world", &format!("for {length:?}"));
        of(self).store(true, Ordering::Relaxed);
        self.later(length, move |world| of(world).store(false, Ordering::Relaxed));
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
                return world.end_session(&name);
            }
            // in an outage of everything it goes on when all the others do
            if !world.reach().is_away()
                && lock(&world.sessions).iter().any(|known| known.name == name && !known.life.is_over())
            {
                session.resume();
                world.board().connected(&name);
            }
        });
    }
}

/// Makes the administrator, whose password costs next to nothing to check, and logs in for everybody: at each of these times, and years ahead.
async fn log_in(documents: &MemoryStore, times: &[Timestamp]) -> Vec<[Login; 2]> {
    use argon2::{Argon2, Params, PasswordHasher};
    let cheap = Argon2::from(Params::new(8, 1, 1, None).expect("parameters within the limits"));
    let hash = cheap.hash_password(PASSWORD.as_bytes()).expect("a password can be hashed").to_string();
    let document = json!({"id": "user/super", "username": "super", "state": "ACTIVE", "isSuperUser": true});
    let record = Record {
        id: "user/super".to_owned(),
        revision: Revision::default(),
        document: document.as_object().cloned().unwrap_or_default().into(),
        ledger: json!({ "password": hash }),
    };
    documents.insert(record).await.expect("the store is empty");
    let body = json!({"sessionTemplate": {
        "href": "session-template/internal", "username": "super", "password": PASSWORD
    }});
    let body = body.as_object().cloned().unwrap_or_default();
    let sessions = Sessions::default();
    let log_in = async |now| {
        let login = sessions.login(documents, &body, &Origin::HERE, now).await.expect("the password is right");
        let session = documents.get(&login.id).await.expect("it answers").expect("it was stored");
        documents.remove(&login.id, session.revision).await.expect("it is there");
        let cookie = login.cookie.split(';').next().unwrap_or_default();
        Login { cookie: HeaderValue::from_str(cookie).expect("a cookie is a header's value"), session }
    };
    let mut logins = Vec::new();
    for time in times {
        logins.push([log_in(*time).await, log_in(*time + YEARS_AHEAD).await]);
    }
    logins
}

/// A session that is not in the store yet, and what opens it.
struct Login {
    cookie: HeaderValue,
    session: Record,
}

/// Stores sessions.
fn open(documents: &MemoryStore, logins: &[Login]) {
    for Login { session, .. } in logins {
        let session = Record { revision: Revision::default(), ..session.clone() };
        documents.insert(session).now_or_never().expect("it answers at once").expect("it is not there yet");
    }
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
