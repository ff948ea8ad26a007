//! `/api/distributor`: who distributes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Below `/api/`.
pub const PLACE: &str = "distributor";

/// The distributors in whose elections somebody stands, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distributors {
    /// How many there are.
    pub count: usize,
    /// Each of them.
    pub distributors: Vec<Distributor>,
}

/// A distributor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distributor {
    /// Its name; the election's where only foreign processes stand, which do not register.
    pub name: String,
    /// The election in which it stands; empty as long as its script has not started and said so.
    pub election: String,
    /// When its rounds are due, for people; none of a foreign one.
    pub schedule: Option<String>,
    /// Identifier of who leads, if anybody does.
    pub leader: Option<String>,
    /// Identifiers of all who stand, the leader first.
    pub candidates: Vec<String>,
    /// The schedule time up to which has been distributed, as the leader says.
    pub last: Option<Timestamp>,
    /// When the next round is due, as the leader says.
    pub next: Option<Timestamp>,
    /// What keeps it from its work, or should be looked at: what the leader says, or else who stands.
    #[serde(default)]
    pub problem: Option<String>,
    /// Rounds that the leader gave up since it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// The latest rounds of the leader, the latest first; at most [`MOST_ROUNDS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Round>,
}

/// Rounds that a leader tells of.
pub const MOST_ROUNDS: usize = 10;

/// What came of one round, as its leader says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// The schedule time for which it stands, or when somebody asked for it.
    pub time: Timestamp,
    /// Who asked for it, as `run` answers it; none of one that was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// When its last job was added; none while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Jobs that are to be added.
    pub jobs: u64,
    /// Those that were added, by this leader or by one before.
    pub added: u64,
    /// Those that the server calls malformed; they are passed over.
    #[serde(default)]
    pub refused: u64,
    /// Documents that get no job.
    #[serde(default)]
    pub left_out: LeftOut,
    /// Why the first job was refused, or else the first document left out, or that it took longer than until the next round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// Documents that get no job in a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// As one for their target waits or runs.
    pub under_way: u64,
    /// As another document has the same target, or the same value of what is to be there once.
    pub repeated: u64,
    /// As they lack an attribute that the job needs.
    pub incomplete: u64,
    /// What the first of those lacks, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
}

/// Missed rounds that a leader gave up, as the distributor's policy for them wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// How often; rounds that follow each other are given up together.
    pub times: u64,
    /// The first time, …
    pub first: Timestamp,
    /// … and the latest.
    pub latest: Timestamp,
}
