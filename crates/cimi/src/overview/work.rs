//! `/api/overview`: how many jobs there are, what was done lately, and what needs attention.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::queue::WaitingJob;
use crate::{Code, Lease};

/// Below `/api/`.
pub const PLACE: &str = "overview";
/// The parameter that says how far back: [`Span::as_str`].
pub const SPAN: &str = "span";
/// Points of a [`Series`].
pub const POINTS: usize = 90;
/// The name of the [`ActionWork`] of all actions that have none of their own.
pub const OTHER: &str = "other";

/// How far back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Span {
    /// A quarter of an hour, 10 seconds a point.
    #[default]
    #[serde(rename = "15m")]
    Quarter,
    /// A day, 16 minutes a point.
    #[serde(rename = "24h")]
    Day,
    /// 90 days, a day a point.
    #[serde(rename = "90d")]
    Season,
}

/// What is to be seen at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// When.
    pub time: Timestamp,
    /// How far [`Work`] goes back.
    pub span: Span,
    /// Jobs by state, those that the caller may see.
    pub jobs: BTreeMap<String, u64>,
    /// What was done; for administrators only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
}

/// What was done within the span, by all servers of the store. Another server's last minute comes with its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// When the server that answers began: its [`failures`](Self::failures) and [`late`](Self::late) are of this process.
    pub since: Timestamp,
    /// All actions together.
    pub total: Totals,
    /// The same over time.
    pub series: Series,
    /// Each action of which something was done, those with most jobs first; 64 by name, the rest as `other`.
    pub actions: Vec<ActionWork>,
    /// Among the latest 200 failures that this server knows of those within the span, by action and first line of the
    /// message, the most frequent first.
    pub failures: Vec<Failures>,
    /// Writes of the last hour to jobs that were refused since somebody else holds the job by now, newest first: the latest
    /// 200 that this server knows of.
    pub late: Vec<LateWrite>,
    /// What a person should look at, the worst first; empty if there is nothing.
    pub attention: Vec<Attention>,
    /// The jobs that take longest at present; empty of a server of an earlier version.
    #[serde(default)]
    pub longest: Longest,
    /// When the reconciler last looked whether somebody holds each RUNNING job; none if no reconciler says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Timestamp>,
}

/// Numbers of some jobs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Jobs added.
    pub added: u64,
    /// Jobs that became SUCCESS.
    pub success: u64,
    /// Jobs that became FAILED.
    pub failed: u64,
    /// Jobs that became STOPPED.
    pub stopped: u64,
    /// Attempts that were lost.
    pub lost: u64,
    /// Attempts that gave their job back.
    pub released: u64,
    /// Writes to jobs that were refused for what the job is.
    pub refused: u64,
    /// Jobs added in a second, over the last minute, by the server that answers.
    pub added_per_second: f64,
    /// The same of jobs that ended.
    pub ended_per_second: f64,
    /// From the add of a job to the begin of its first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Percentiles>,
    /// How long the attempts ran that ended their jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Percentiles>,
}

/// How long something took, in seconds. Each is at most 19 % off; what took less than a millisecond counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Of how many.
    pub count: u64,
    /// Half of them took longer.
    pub p50: f64,
    /// One in a hundred took longer.
    pub p99: f64,
}

/// Numbers over time, [`POINTS`] of each. Where they are 0 nothing happened, or no server ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Where the first point begins.
    pub begin: Timestamp,
    /// Seconds of a point.
    pub step: u32,
    /// Jobs added.
    pub added: Vec<u64>,
    /// Jobs that ended, however.
    pub ended: Vec<u64>,
    /// Jobs that became FAILED.
    pub failed: Vec<u64>,
}

/// What was done of one action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionWork {
    /// Its name, or [`OTHER`].
    pub name: String,
    /// Jobs added.
    pub added: u64,
    /// Jobs that ended, however.
    pub ended: u64,
    /// Jobs that became FAILED.
    pub failed: u64,
    /// From the add of a job to the begin of its first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Percentiles>,
    /// How long the attempts ran that ended their jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Percentiles>,
    /// Jobs that ended, over the time of the [`Series`]: 30 points, each of three of its.
    pub series: Vec<u64>,
    /// Those of them that became FAILED; empty of a server of an earlier version.
    #[serde(default)]
    pub failed_series: Vec<u64>,
}

/// The jobs that take longest at present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Longest {
    /// Those that have been running for longest, that one first: a few of the 1,000 RUNNING jobs that were added first.
    pub running: Vec<RunningJob>,
    /// The job that has been QUEUED for longest, if any is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingJob>,
}

/// A job that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningJob {
    /// Its id.
    pub job: String,
    /// Its action.
    pub action: String,
    /// Who runs it, if the ledger says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// When this attempt began.
    pub since: Timestamp,
}

/// Failures that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// The action.
    pub action: String,
    /// The first line of the message.
    pub message: String,
    /// How many.
    pub count: u64,
    /// When the latest failed.
    pub latest: Timestamp,
    /// Its id.
    pub job: String,
}

/// A write that came too late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateWrite {
    /// When.
    pub time: Timestamp,
    /// Id of the job.
    pub job: String,
    /// The executor, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// Its lease, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// Why.
    pub code: Code,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Which kind of thing, a word for programs.
    pub code: String,
    /// For people: lower case, no full stop.
    pub text: String,
    /// Since when, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When it happened last, if it is something that happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Timestamp>,
    /// How many jobs, rounds or writes.
    pub count: u64,
    /// Where they are shown, below `/ui/`.
    pub href: String,
}

impl Span {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::Quarter, Self::Day, Self::Season];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quarter => "15m",
            Self::Day => "24h",
            Self::Season => "90d",
        }
    }

    /// The one that is written so.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|span| span.as_str() == text)
    }

    /// Seconds of a point.
    #[must_use]
    pub fn step(self) -> u32 {
        match self {
            Self::Quarter => 10,
            Self::Day => 16 * 60,
            Self::Season => 24 * 60 * 60,
        }
    }
}

impl Totals {
    /// Jobs that ended, however.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.success + self.failed + self.stopped
    }
}
