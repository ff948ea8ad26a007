//! [`Plan`]: what a seed decides beforehand: which fault hits whom, when, and for how long.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slipstream_test_ensemble::Fault;

use crate::number;
use crate::roles::BLOCK;

/// How long `ZooKeeper` waits for a process of a site that seeds run on.
pub const SESSION: Duration = Duration::from_secs(2);
/// Executors and distributors of a site that seeds run on.
pub const EXECUTORS: usize = 3;
pub const DISTRIBUTORS: usize = 2;
/// Jobs at once of each executor, and of all.
pub const THREADS: usize = 6;
pub const SLOTS: usize = EXECUTORS * THREADS;
/// Jobs that are under way when a fault comes that takes claims: enough for each executor to have some.
const ANCHORS: usize = 9;

/// A kind of fault; as many seeds one after the other inject each of them once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ExecutorKilled,
    ExecutorPaused,
    ExecutorWithoutZooKeeper,
    ExecutorWithoutApi,
    LeaderKilled,
    LeaderPaused,
    LeaderWithoutZooKeeper,
    ServerKilled,
    ServerPaused,
    ServerWithoutZooKeeper,
    MemberKilled,
    MemberPaused,
    QuorumLost,
    ZooKeeperWiped,
    EverythingSlow,
    EverythingAway,
    SlotsBlocked,
    LogUnread,
    ServerClockAhead,
    UnreadableEntry,
    QueuedByKazoo,
    TwoStores,
}

impl Kind {
    pub const ALL: [Self; 22] = [
        Self::ExecutorKilled,
        Self::ExecutorPaused,
        Self::ExecutorWithoutZooKeeper,
        Self::ExecutorWithoutApi,
        Self::LeaderKilled,
        Self::LeaderPaused,
        Self::LeaderWithoutZooKeeper,
        Self::ServerKilled,
        Self::ServerPaused,
        Self::ServerWithoutZooKeeper,
        Self::MemberKilled,
        Self::MemberPaused,
        Self::QuorumLost,
        Self::ZooKeeperWiped,
        Self::EverythingSlow,
        Self::EverythingAway,
        Self::SlotsBlocked,
        Self::LogUnread,
        Self::ServerClockAhead,
        Self::UnreadableEntry,
        Self::QueuedByKazoo,
        Self::TwoStores,
    ];

    /// The kind that a seed injects.
    pub fn of(seed: u64) -> Self {
        let kinds = Self::ALL.len() as u64;
        Self::ALL[usize::try_from(seed % kinds).expect("few")]
    }

    /// As the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExecutorKilled => "executor killed (`kill -9`) and started again",
            Self::ExecutorPaused => "executor paused (`SIGSTOP`) past its session",
            Self::ExecutorWithoutZooKeeper => "executor cut off from ZooKeeper",
            Self::ExecutorWithoutApi => "executor cut off from the API",
            Self::LeaderKilled => "leading distributor killed (`kill -9`) and started again",
            Self::LeaderPaused => "leading distributor paused (`SIGSTOP`) past its session",
            Self::LeaderWithoutZooKeeper => "leading distributor cut off from ZooKeeper",
            Self::ServerKilled => "server killed (`kill -9`) and started again",
            Self::ServerPaused => "server paused (`SIGSTOP`)",
            Self::ServerWithoutZooKeeper => "server cut off from ZooKeeper",
            Self::MemberKilled => "one of three ensemble members killed (`kill -9`) and started again",
            Self::MemberPaused => "one of three ensemble members paused (`SIGSTOP`)",
            Self::QuorumLost => "two of three ensemble members killed or paused: no quorum",
            Self::ZooKeeperWiped => "ZooKeeper wiped",
            Self::EverythingSlow => "everything delayed",
            Self::EverythingAway => "server and ZooKeeper killed together, and started again after a while",
            Self::SlotsBlocked => "every slot blocked by an action that does not yield",
            Self::LogUnread => "standard error of the server, or of an executor, not read",
            Self::ServerClockAhead => "server's clock an hour ahead, then right, and entries of that time lost",
            Self::UnreadableEntry => {
                "entries that only another login may read, more than there are slots, before all others when executors start"
            }
            Self::QueuedByKazoo => "all entries put again by kazoo, four times, before executors start",
            Self::TwoStores => "a server with another store started on the same folder of ZooKeeper",
        }
    }

    /// How many members the ensemble has.
    pub fn members(self) -> usize {
        match self {
            Self::MemberKilled | Self::MemberPaused | Self::QuorumLost => 3,
            _ => 1,
        }
    }

    /// Whether the site is to be left afterwards.
    pub fn ends_the_site(self) -> bool {
        self == Self::ZooKeeperWiped
    }

    /// Whether work goes on all the while.
    pub fn lets_work_go_on(self) -> bool {
        matches!(self, Self::LogUnread | Self::UnreadableEntry)
    }

    /// Whether attempts may give their jobs back because of it: executors are asked to stop, or cannot ask anybody.
    pub fn lets_give_back(self) -> bool {
        matches!(self, Self::EverythingAway | Self::LogUnread | Self::UnreadableEntry | Self::QueuedByKazoo)
    }

    /// Whether it lasts for many sessions.
    pub fn is_long(self) -> bool {
        matches!(self, Self::EverythingAway | Self::SlotsBlocked)
    }

    /// Whether it may take claims from the executor that it hits.
    pub fn takes_claims(self) -> bool {
        matches!(
            self,
            Self::ExecutorKilled
                | Self::ExecutorPaused
                | Self::ExecutorWithoutZooKeeper
                | Self::ZooKeeperWiped
                | Self::EverythingAway
        )
    }
}

/// How much longer than the fault jobs run that are to feel it.
const LONGER: Duration = Duration::from_millis(1200);

/// Whether what lasts for long does so at its full length: for the page, not for each run of the tests.
fn is_at_length() -> bool {
    number("FAULTS_AT_LENGTH").is_some_and(|answer| answer > 0)
}

/// What a seed decides beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    /// Which one is hit, of those that can be.
    pub victim: usize,
    /// Which manner, of those that there are.
    pub manner: usize,
    /// How long jobs are added before.
    pub before: Duration,
    /// How long it lasts.
    pub length: Duration,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let kind = Kind::of(seed);
        let turn = usize::try_from(seed / Kind::ALL.len() as u64).expect("few");
        let mut chance = StdRng::seed_from_u64(seed);
        let mut between = |least: u64, most: u64| Duration::from_millis(chance.random_range(least..most));
        let before = if kind.is_long() { between(4000, 5000) } else { between(700, 1500) };
        let session = u64::try_from(SESSION.as_millis()).expect("a short time");
        let length = match kind {
            Kind::ExecutorKilled | Kind::LeaderKilled | Kind::ServerKilled => between(0, 1000),
            // every third one is over before the session is
            Kind::ExecutorWithoutZooKeeper | Kind::LeaderWithoutZooKeeper if turn % 3 == 2 => between(300, session / 2),
            Kind::ExecutorPaused
            | Kind::LeaderPaused
            | Kind::ExecutorWithoutZooKeeper
            | Kind::LeaderWithoutZooKeeper => between(session + 700, session + 1700),
            Kind::ExecutorWithoutApi | Kind::ServerPaused | Kind::ServerWithoutZooKeeper => between(500, 3000),
            Kind::MemberKilled | Kind::MemberPaused => between(500, 2500),
            Kind::QuorumLost => between(2 * session, 3 * session),
            Kind::EverythingSlow => between(1000, 3000),
            Kind::EverythingAway if is_at_length() => between(45_000, 46_000),
            Kind::SlotsBlocked if is_at_length() => between(25_000, 26_000),
            // several sessions all the same
            Kind::EverythingAway | Kind::SlotsBlocked => between(4 * session, 5 * session),
            Kind::LogUnread | Kind::ServerClockAhead => between(2000, 4000),
            Kind::UnreadableEntry => between(4000, 6000),
            Kind::ZooKeeperWiped | Kind::QueuedByKazoo | Kind::TwoStores => Duration::ZERO,
        };
        Self { seed, kind, victim: chance.random_range(0..EXECUTORS), manner: turn, before, length }
    }

    /// How long jobs run that are under way when the fault comes, so that the executor that is hit loses some if it loses
    /// its session. None are needed where no claim can be lost.
    pub fn anchors(&self) -> Option<Duration> {
        if self.kind == Kind::SlotsBlocked {
            return Some(self.length);
        }
        let at_least = if self.kind == Kind::ZooKeeperWiped { 2 * SESSION } else { Duration::ZERO };
        self.kind.takes_claims().then_some(self.length.max(at_least) + LONGER)
    }

    /// Whether it may end sessions and with them attempts. A member that leads and is paused for about a session ends,
    /// as it wakes, each session of which it has heard nothing meanwhile, whatever member the client was connected to.
    pub fn may_end_sessions(&self) -> bool {
        self.kind.takes_claims() || self.kind == Kind::MemberPaused && 3 * self.length >= 2 * SESSION
    }

    /// What jobs are under way when the fault comes: how many, and of which kinds in turns.
    pub fn anchored(&self) -> (usize, [&'static str; 2]) {
        match self.kind {
            Kind::SlotsBlocked => (SLOTS, [BLOCK; 2]),
            _ => (ANCHORS, ["loud", "quiet"]),
        }
    }

    /// Between two jobs that are added.
    pub fn period(&self) -> Duration {
        Duration::from_millis(match self.kind {
            Kind::EverythingAway => 500,
            Kind::SlotsBlocked => 150,
            _ => 70,
        })
    }

    /// How a connection fares that is cut.
    pub fn cut(&self) -> Fault {
        [Fault::HalfOpen, Fault::Cut, Fault::LoseAnswers][self.manner % 3]
    }

    /// How late everything comes that is delayed, each way.
    pub fn delay(&self) -> Fault {
        Fault::Delay(Duration::from_millis([30, 100, 10][self.manner % 3]))
    }
}
