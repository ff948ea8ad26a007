//! [`Plan`]: what a seed decides beforehand: which fault hits whom, when, and for how long.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slipstream_test_ensemble::Fault;

/// How long `ZooKeeper` waits for a process of a site that seeds run on.
pub const SESSION: Duration = Duration::from_secs(2);
/// Executors and distributors of a site that seeds run on.
pub const EXECUTORS: usize = 3;
pub const DISTRIBUTORS: usize = 2;

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
}

impl Kind {
    pub const ALL: [Self; 15] = [
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

    /// Whether it may take claims from the executor that it hits.
    pub fn takes_claims(self) -> bool {
        matches!(
            self,
            Self::ExecutorKilled | Self::ExecutorPaused | Self::ExecutorWithoutZooKeeper | Self::ZooKeeperWiped
        )
    }
}

/// How much longer than the fault jobs run that are to feel it.
const LONGER: Duration = Duration::from_millis(1200);

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
        let before = between(700, 1500);
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
            Kind::ZooKeeperWiped => Duration::ZERO,
            Kind::EverythingSlow => between(1000, 3000),
        };
        Self { seed, kind, victim: chance.random_range(0..EXECUTORS), manner: turn, before, length }
    }

    /// How long jobs run that are under way when the fault comes, so that the executor that is hit loses some if it loses
    /// its session. None are needed where no claim can be lost.
    pub fn anchors(&self) -> Option<Duration> {
        let at_least = if self.kind == Kind::ZooKeeperWiped { 2 * SESSION } else { Duration::ZERO };
        self.kind.takes_claims().then_some(self.length.max(at_least) + LONGER)
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
