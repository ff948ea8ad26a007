//! [`Plan`]: everything that a seed decides beforehand: who works, how rough the weather is, and what happens when.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::broken::Broken;

/// How far a clock is ahead that is years ahead.
pub const YEARS_AHEAD: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// A fault, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A request never reached the server.
    LostRequest,
    /// The server did it, and nobody heard.
    LostAnswer,
    /// The server got the request after its sender had given up.
    LateRequest,
    /// The answer came late, or after its receiver had given up.
    LateAnswer,
    /// The coordinator did not get a request.
    LostCommand,
    /// The coordinator did it, and nobody heard.
    LostCommandAnswer,
    /// A session ended without a warning.
    ExpiredSession,
    /// A session was out of reach for a while.
    SuspendedSession,
    /// A session was out of reach until it expired.
    SuspendedToExpiry,
    /// A process was killed, at an arbitrary await.
    Killed,
    /// A process was asked to stop and started again.
    Stopped,
    /// Two servers worked on one store.
    TwoServers,
    /// The coordinator forgot everything.
    WipedCoordinator,
    /// An empty coordinator took its place, and the servers went on.
    ReplacedCoordinator,
    /// The time of day was set forward or back.
    ClockJump,
    /// The store refused.
    StoreError,
    /// The store took its time.
    SlowStore,
    /// Coordinator and servers were out of reach together, for less than a session.
    AwayBriefly,
    /// They were for longer than a session, and every session lived on.
    AwayForLong,
    /// The clock of one machine was minutes ahead for a while.
    MinutesAhead,
    /// It was years ahead.
    YearsAhead,
    /// A process might not read entries, claims and marks of others for a while.
    Hidden,
    /// An entry that nobody may read lies in the queue, for ever.
    UnreadableEntry,
    /// A foreign hand queued a job several times more, in one transaction.
    QueuedAgain,
    /// The servers refused a final report for what it said.
    RefusedReport,
    /// A lock node without a session was first in the election of the distributors, until somebody deleted it.
    StrayCandidate,
    /// A claim without a session was on an entry, until somebody deleted it.
    StrayClaim,
    /// Nodes without a session are among the executors and first in the reconciler's election, for ever.
    StrayPlaces,
    /// An action went on after it was asked to end, until it was aborted.
    Unstoppable,
}

impl Fault {
    /// Every fault that the seeds together have to inject.
    pub const ALL: [Self; 29] = [
        Self::LostRequest,
        Self::LostAnswer,
        Self::LateRequest,
        Self::LateAnswer,
        Self::LostCommand,
        Self::LostCommandAnswer,
        Self::ExpiredSession,
        Self::SuspendedSession,
        Self::SuspendedToExpiry,
        Self::Killed,
        Self::Stopped,
        Self::TwoServers,
        Self::WipedCoordinator,
        Self::ReplacedCoordinator,
        Self::ClockJump,
        Self::StoreError,
        Self::SlowStore,
        Self::AwayBriefly,
        Self::AwayForLong,
        Self::MinutesAhead,
        Self::YearsAhead,
        Self::Hidden,
        Self::UnreadableEntry,
        Self::QueuedAgain,
        Self::RefusedReport,
        Self::StrayCandidate,
        Self::StrayClaim,
        Self::StrayPlaces,
        Self::Unstoppable,
    ];
}

/// Something that happens to the whole world or to one process.
#[derive(Clone, Debug)]
pub enum Event {
    /// After so many more turns of this process, on whichever side of a request.
    Kill { process: String, after: u32 },
    /// An orderly stop.
    Stop { process: String },
    /// Its sessions end.
    Expire { process: String },
    /// Its sessions are out of reach for so long; then they are back, or over.
    Suspend { process: String, length: Duration, expires: bool },
    /// The coordinator forgets everything, and the servers start again.
    Wipe,
    /// The coordinator forgets everything, and the servers go on.
    Replace,
    /// Seconds, forward or back.
    JumpClock(i64),
    /// Each request to the store takes up to 3 s for so long.
    SlowStore(Duration),
    /// The store refuses everything for so long.
    StoreOutage(Duration),
    /// Coordinator and servers are out of reach for so long; no session ends by that.
    Away(Duration),
    /// The clock of the machine of this process is ahead for so long.
    Ahead { process: String, by: SignedDuration, length: Duration },
    /// This process may not read about half of what others put, claimed or marked, for so long.
    Hide { process: String, length: Duration },
    /// What a foreign hand does to the node tree.
    Meddle(Meddling),
}

/// What a foreign hand does to the node tree.
#[derive(Clone, Copy, Debug)]
pub enum Meddling {
    /// Puts an entry that nobody may read, before all others.
    UnreadableEntry,
    /// Queues one of the jobs so many times more.
    QueuesAgain(usize),
    /// Stands for election without a session, before all others, until it is deleted after so long.
    StrayCandidate(Duration),
    /// Claims an entry without a session, until that is deleted after so long.
    StrayClaim(Duration),
    /// Registers as an executor and stands for reconciler without a session, before all others.
    StrayPlaces,
}

/// How often a request fares so, in thousandths.
#[derive(Clone, Debug, Default)]
pub struct Weather(BTreeMap<Fault, u64>);

impl Weather {
    /// The probability of a fault for one request.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }
}

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// One process with everything in it, its coordinator too.
    Up,
    /// A process for each part, and a coordinator that outlives them.
    Spread {
        /// One or two.
        servers: usize,
    },
}

/// What a seed decides beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Who works.
    pub site: Site,
    /// Whether high-water marks lie in the node tree instead of the store.
    pub marks_in_nodes: bool,
    /// How often requests go wrong while the storm lasts.
    pub weather: Weather,
    /// What happens when, in order.
    pub events: Vec<(Duration, Event)>,
    /// How long it blows.
    pub storm: Duration,
    /// How many jobs users add.
    pub jobs: u32,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, broken: Broken) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let site = match chance.random_range(0..4) {
            0 => Site::Up,
            1 => Site::Spread { servers: 1 },
            _ => Site::Spread { servers: 2 },
        };
        let storm = Duration::from_secs(chance.random_range(180..420));
        let weather = weather(&mut chance);
        let mut events: Vec<_> = (0..chance.random_range(3..14))
            .map(|_| {
                let time = Duration::from_millis(10 * chance.random_range(0..storm.as_secs() * 100));
                (time, event(&mut chance, site))
            })
            .collect();
        events.sort_by_key(|(time, _)| *time);
        let marks_in_nodes =
            site != Site::Up && !events.iter().any(|(_, event)| matches!(event, Event::Wipe | Event::Replace));
        let jobs = if broken == Broken::NoWork { 0 } else { chance.random_range(12..30) };
        let mut plan = Self { site, marks_in_nodes, weather, events, storm, jobs };
        if broken == Broken::FairWeather {
            plan.events.clear();
            plan.weather = Weather::default();
        }
        plan
    }

    /// Names of the processes, as [`crate::process`] knows them.
    pub fn processes(&self) -> Vec<String> {
        processes(self.site)
    }
}

fn processes(site: Site) -> Vec<String> {
    let names: &[&str] = match site {
        Site::Up => &["up-1"],
        Site::Spread { servers: 1 } => &["server-1", "executor-1", "executor-2", "distributor-1", "distributor-2"],
        Site::Spread { .. } => &["server-1", "server-2", "executor-1", "executor-2", "distributor-1", "distributor-2"],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn weather(chance: &mut StdRng) -> Weather {
    let kinds = [
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::LateRequest,
        Fault::LateAnswer,
        Fault::LostCommand,
        Fault::LostCommandAnswer,
        Fault::StoreError,
    ];
    let rates = [0, 0, 10, 30, 80];
    Weather(kinds.into_iter().map(|kind| (kind, rates[chance.random_range(0..rates.len())])).collect())
}

fn event(chance: &mut StdRng, site: Site) -> Event {
    let names = processes(site);
    let process = names[chance.random_range(0..names.len())].clone();
    let seconds = |chance: &mut StdRng, most: u64| Duration::from_millis(10 * chance.random_range(10..most * 100));
    let kinds = if site == Site::Up { 6 } else { 24 };
    match chance.random_range(0..kinds) {
        0 => Event::JumpClock(chance.random_range(-200..600)),
        1 => Event::SlowStore(seconds(chance, 40)),
        2 => Event::StoreOutage(seconds(chance, 20)),
        3 => Event::Stop { process },
        // a server would end the sessions of users who do not log in again, as those here
        4 if chance.random_range(0..2) == 0 && !process.starts_with("server") && process != "up-1" => {
            Event::Ahead { process, by: YEARS_AHEAD, length: seconds(chance, 90) }
        }
        4 => {
            let by = SignedDuration::from_secs(chance.random_range(60..1800));
            Event::Ahead { process, by, length: seconds(chance, 90) }
        }
        5 | 12 => Event::Kill { process, after: chance.random_range(1..40) },
        6 => Event::Expire { process },
        7 | 8 => Event::Suspend { process, length: seconds(chance, 20), expires: false },
        9 => Event::Suspend { process, length: seconds(chance, 20), expires: true },
        10 => Event::Replace,
        11 => Event::Wipe,
        13 | 14 => Event::Away(Duration::from_secs(chance.random_range(5..29))),
        15 | 16 => Event::Away(Duration::from_secs(chance.random_range(35..75))),
        17 | 18 => Event::Hide { process, length: seconds(chance, 90) },
        19 => Event::Meddle(Meddling::UnreadableEntry),
        20 | 21 => Event::Meddle(Meddling::QueuesAgain(chance.random_range(1..4))),
        22 => Event::Meddle(Meddling::StrayCandidate(seconds(chance, 90))),
        _ if chance.random_range(0..2) == 0 => Event::Meddle(Meddling::StrayClaim(seconds(chance, 90))),
        _ => Event::Meddle(Meddling::StrayPlaces),
    }
}
