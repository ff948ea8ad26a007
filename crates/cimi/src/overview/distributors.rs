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
