//! [`Attempts`]: who holds what, who works on it, and under which lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use slipstream_cimi::Lease;
use tokio::time::Instant;

use crate::life::Life;

/// How long a job may be held once nobody works on it: a session and a round of the reconciler,
/// half a minute each.
const HELD_AT_MOST: Duration = Duration::from_mins(1);

struct Held {
    job: String,
    session: String,
    since: Instant,
}

/// A run of an action.
struct Run {
    number: u64,
    job: String,
    life: Arc<Life>,
    lease: Option<Lease>,
}

/// Claims, attempts and runs, as the wrappers saw them.
#[derive(Default)]
pub struct Attempts {
    /// By the names of their entries.
    claims: BTreeMap<String, Held>,
    /// The lease under which a process was last told that a job is RUNNING, by job and process.
    begun: BTreeMap<(String, String), Lease>,
    runs: Vec<Run>,
    runs_so_far: u64,
    /// When a run of a job last ended.
    ended: BTreeMap<String, Instant>,
}

impl Attempts {
    /// An entry was claimed.
    pub fn claimed(&mut self, name: &str, job: &str, session: &str) {
        let held = Held { job: job.to_owned(), session: session.to_owned(), since: Instant::now() };
        self.claims.insert(name.to_owned(), held);
    }

    /// A claim is gone. Answers whose it was.
    pub fn claim_gone(&mut self, name: &str) -> Option<String> {
        self.claims.remove(name).map(|held| held.job)
    }

    /// A session is over, and its claims with it. Answers whose they were.
    pub fn session_over(&mut self, session: &str) -> Vec<String> {
        self.claims.extract_if(.., |_, held| held.session == session).map(|(_, held)| held.job).collect()
    }

    /// Sessions that hold something.
    pub fn sessions(&self) -> Vec<String> {
        self.claims.values().map(|held| held.session.clone()).collect()
    }

    /// Whether somebody holds this entry.
    pub fn is_claimed(&self, name: &str) -> bool {
        self.claims.contains_key(name)
    }

    /// Whether somebody holds an entry of this job.
    pub fn is_held(&self, job: &str) -> bool {
        self.claims.values().any(|held| held.job == job)
    }

    /// A process heard that a job is RUNNING under its lease.
    pub fn begun(&mut self, job: &str, life: &Life, lease: Lease) {
        self.begun.insert((job.to_owned(), life.name.clone()), lease);
    }

    /// An action begins. Answers the number of the run and how many others live under the same lease.
    pub fn run_begins(&mut self, job: &str, life: &Arc<Life>) -> (u64, Option<Lease>, usize) {
        let lease = self.begun.get(&(job.to_owned(), life.name.clone())).copied();
        let is_like = |run: &&Run| run.job == job && run.lease == lease && !run.life.is_over();
        let others = self.runs.iter().filter(is_like).count();
        self.runs_so_far += 1;
        self.runs.push(Run { number: self.runs_so_far, job: job.to_owned(), life: life.clone(), lease });
        (self.runs_so_far, lease, others)
    }

    /// A run has ended, however.
    pub fn run_ends(&mut self, number: u64) {
        if let Some(index) = self.runs.iter().position(|run| run.number == number) {
            let run = self.runs.swap_remove(index);
            self.ended.insert(run.job, Instant::now());
        }
    }

    /// What has been held for too long, with nobody at work on it, since everything was in order.
    pub fn held_by_nobody(&self, in_order: Instant) -> Vec<String> {
        let is_worked_on = |job: &String| self.runs.iter().any(|run| run.job == *job && !run.life.is_over());
        let idle_since = |held: &Held| {
            let ended = self.ended.get(&held.job).copied();
            held.since.max(in_order).max(ended.unwrap_or(held.since))
        };
        let is_idle = |held: &&Held| idle_since(held).elapsed() > HELD_AT_MOST && !is_worked_on(&held.job);
        self.claims
            .values()
            .filter(is_idle)
            .map(|held| format!("{} is held by session {} and nobody works on it", held.job, held.session))
            .collect()
    }

    /// Forgets who ran what: processes are known here, and know who keeps this.
    pub fn clear(&mut self) {
        self.runs.clear();
    }
}
