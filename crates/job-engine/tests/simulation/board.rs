//! [`Board`]: what the wrappers saw, and the promises held against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipstream_cimi::{Lease, State};
use slipstream_job_engine::internals::distributor::HighWaterMark;
use slipstream_job_engine::internals::server::ledger_of;
use slipstream_job_engine::internals::server::priority_of;
use slipstream_store::memory::MemoryStore;
use slipstream_store::{Record, StoreExt};
use tokio::time::Instant;

use crate::attempts::Attempts;
use crate::life::Life;
use crate::plan::Fault;
use crate::process::EVERY;
use crate::transport::WRITER;

/// An entry that waited for so long is known to every executor that was connected all the time.
const KNOWN_TO_ALL: Duration = Duration::from_secs(10);

/// How long a distributor may be silent: its interval, how far clocks may differ, and what a leader needs to be elected
/// and to look again.
pub const SILENT_AT_MOST: Duration = Duration::from_secs(EVERY + 300 + 120);

/// What the engine promises, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Every add answered 201 ends final.
    EndsFinal,
    /// A final state is followed by nothing.
    FinalIsFinal,
    /// Nothing is accepted under a lower lease.
    LeasesRise,
    /// Never two leaders adding.
    OneLeader,
    /// No round missed.
    NoRoundMissed,
    /// No round, and no add, doubled.
    NothingDoubled,
    /// Every extra attempt has a lost claim.
    AttemptsAccounted,
    /// The job of lower number is begun first.
    PrioritiesHold,
    /// SUCCESS was earned by an action that ran to its end.
    SuccessIsEarned,
    /// A floor of work done.
    WorkDone,
    /// No part of the engine panics.
    NobodyPanics,
    /// No job is held by nobody who works on it for longer than a session and a round.
    NotHeldByNobody,
    /// No job has two living attempts under the newest lease.
    OneLivingAttempt,
    /// No distributor is silent for longer than its interval and a bound, once clocks are right.
    NotSilent,
}

/// A promise that was broken, and how.
pub type Violation = (Promise, String);

struct Waiting {
    since: Instant,
    job: String,
    was_claimed: bool,
}

/// What the wrappers saw.
#[derive(Default)]
pub struct Board {
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// How often each fault was injected.
    pub faults: BTreeMap<Fault, u32>,
    entries: BTreeMap<String, Waiting>,
    attempts: Attempts,
    connected: BTreeMap<String, Instant>,
    /// Ids of keyed adds that were answered 201.
    added: BTreeMap<String, String>,
    deleted: Vec<String>,
    lost_claims: BTreeMap<String, u32>,
    /// Jobs whose holder heard that they are QUEUED again.
    set_back: BTreeSet<String>,
    /// How often a job was given back without that.
    given_back: BTreeMap<String, u32>,
    ran: BTreeMap<String, u32>,
    /// How many requests had so many reports.
    pub reported: BTreeMap<usize, u64>,
    /// Jobs of lower number that were not taken when others were, when, and how.
    passed_over: Vec<(String, Instant, String)>,
    rounds_since: Option<Timestamp>,
    /// What the latest mark keeps aside.
    aside: Option<Timestamp>,
    last_round: Option<Instant>,
    /// Until when distributors may be silent, as a clock was years ahead.
    silent_until: Option<Instant>,
    /// Attempts that began when nobody held their job any more, by job and lease.
    begun_late: BTreeSet<(String, Lease)>,
}

impl Board {
    /// A promise was broken.
    pub fn violate(&mut self, promise: Promise, how: String) {
        self.violations.push((promise, how));
    }

    /// A fault was injected.
    pub fn inject(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// A session can reach the coordinator from now on.
    pub fn connected(&mut self, session: &str) {
        self.connected.insert(session.to_owned(), Instant::now());
    }

    /// A session is over: what it held is lost.
    pub fn session_over(&mut self, session: &str) {
        self.connected.remove(session);
        for job in self.attempts.session_over(session) {
            *self.lost_claims.entry(job).or_default() += 1;
        }
    }

    /// The tree is empty again.
    pub fn tree_wiped(&mut self) {
        for session in self.attempts.sessions() {
            self.session_over(&session);
        }
        self.entries.clear();
    }

    /// An entry was put.
    pub fn entry_put(&mut self, name: &str, job: &str) {
        let waiting = Waiting { since: Instant::now(), job: job.to_owned(), was_claimed: false };
        self.entries.insert(name.to_owned(), waiting);
    }

    /// An entry was deleted.
    pub fn entry_deleted(&mut self, name: &str) {
        self.entries.remove(name);
    }

    /// An entry was claimed. The job of lower number comes first, as far as everybody knew of it.
    pub fn claimed(&mut self, name: &str, session: &str, who: &str, store: &MemoryStore) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.was_claimed = true;
        let job = entry.job.clone();
        // what is taken at the same moment was not passed over
        self.passed_over.retain(|(other, time, _)| *other != job || *time != Instant::now());
        self.set_back.remove(&job);
        let long_ago = |time: Instant| time.elapsed() >= KNOWN_TO_ALL;
        self.attempts.claimed(name, &job, session);
        let Some(priority) = priority(store, &job) else { return };
        if self.connected.get(session).copied().is_some_and(long_ago) {
            let passed_over = self.entries.values().find(|other| {
                !other.was_claimed
                    && long_ago(other.since)
                    && self::priority(store, &other.job).is_some_and(|number| number < priority)
            });
            if let Some(other) = passed_over {
                let how = format!("{who} took {job} ({priority}) while {} waited", other.job);
                self.passed_over.push((other.job.clone(), Instant::now(), how));
            }
        }
    }

    /// A claim was deleted by its holder.
    pub fn claim_ended(&mut self, name: &str, consumed: bool) {
        if let Some(job) = self.attempts.claim_gone(name)
            && !consumed
            && !self.set_back.remove(&job)
        {
            *self.given_back.entry(job).or_default() += 1;
        }
    }

    /// The holder of a job heard that it is QUEUED again.
    pub fn set_back(&mut self, job: &str) {
        self.set_back.insert(job.to_owned());
    }

    /// A list of so many reports was answered.
    pub fn reported(&mut self, count: usize) {
        *self.reported.entry(count).or_default() += 1;
    }

    /// Somebody has this entry in hand, though the coordinator does not know yet.
    pub fn tried(&mut self, name: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.was_claimed = true;
        }
    }

    /// A job was added under a key.
    pub fn added(&mut self, key: &str, id: &str) {
        if let Some(first) = self.added.insert(key.to_owned(), id.to_owned())
            && first != id
        {
            self.violate(Promise::NothingDoubled, format!("`{key}` was added as {first} and as {id}"));
        }
    }

    /// A job was deleted by a user.
    pub fn deleted(&mut self, id: &str) {
        self.deleted.push(id.to_owned());
    }

    /// Rounds count from then on.
    pub fn rounds_begin(&mut self, time: Timestamp) {
        self.rounds_since.get_or_insert(time);
    }

    /// What a mark kept aside counts once it has come: rounds up to then are not distributed any more.
    pub fn mark_saved(&mut self, mark: &HighWaterMark) {
        if let Some(aside) = std::mem::replace(&mut self.aside, mark.ahead)
            && mark.ahead.is_none()
            && mark.done >= Some(aside)
        {
            self.rounds_begin_again(aside);
        }
    }

    /// Rounds up to then may have been given up, whoever gave them up.
    pub fn rounds_begin_again(&mut self, time: Timestamp) {
        self.rounds_since = self.rounds_since.max(Some(time));
    }

    /// A clock that was years ahead is right again: for a while distributors may be silent, and give up what is due.
    pub fn distributors_may_be_silent(&mut self, now: Timestamp) {
        self.silent_until = Some(Instant::now() + SILENT_AT_MOST);
        self.clock_jumped(now);
    }

    /// The clocks show another time. What a distributor may give up meanwhile ends by this one.
    pub fn clock_jumped(&mut self, now: Timestamp) {
        let left = self.silent_until.map(|end| end.saturating_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            self.rounds_begin_again(now + SignedDuration::try_from(left).unwrap_or_default());
        }
    }

    /// A job of a round was added, or had been.
    pub fn round_added(&mut self) {
        self.last_round = Some(Instant::now());
    }

    /// When a distributor last did anything.
    pub fn last_round(&self) -> Option<Instant> {
        self.last_round
    }

    /// Entries that nobody holds, with their jobs.
    pub fn waiting(&self) -> Vec<(String, String)> {
        let free = self.entries.iter().filter(|(name, _)| !self.attempts.is_claimed(name));
        free.map(|(name, entry)| (name.clone(), entry.job.clone())).collect()
    }

    /// A server let an attempt begin. A request that comes late enough finds that its sender has let the claim go.
    pub fn let_begin(&mut self, job: &str, lease: Lease) {
        if !self.attempts.is_held(job) {
            self.begun_late.insert((job.to_owned(), lease));
        }
    }

    /// A process heard that a job is RUNNING under its lease.
    pub fn begun(&mut self, job: &str, life: &Life, lease: Lease) {
        self.attempts.begun(job, life, lease);
    }

    /// An action begins. Answers the number of its run.
    pub fn run_begins(&mut self, job: &str, life: &Arc<Life>, store: &MemoryStore) -> u64 {
        let (number, lease, others) = self.attempts.run_begins(job, life);
        let newest = read(store, job).and_then(|record| ledger_of(&record).expect("a readable ledger").lease);
        if others > 0 && lease.is_some() && lease == newest {
            let how = format!("{} runs {job} under {lease:?}, which {others} others do, too", life.name);
            self.violate(Promise::OneLivingAttempt, how);
        }
        number
    }

    /// A run has ended, however.
    pub fn run_ends(&mut self, number: u64) {
        self.attempts.run_ends(number);
    }

    /// Looks for what is stuck, since everything is in order. Answers whether anything is.
    pub fn look(&mut self, in_order: Instant) -> bool {
        let held = self.attempts.held_by_nobody(in_order);
        let silent = self.last_round.unwrap_or(in_order).max(in_order).elapsed();
        let is_stuck = !held.is_empty() || silent > SILENT_AT_MOST;
        self.violations.extend(held.into_iter().map(|how| (Promise::NotHeldByNobody, how)));
        if silent > SILENT_AT_MOST {
            self.violate(Promise::NotSilent, format!("no round for {silent:?}"));
        }
        is_stuck
    }

    /// Forgets the processes.
    pub fn end(&mut self) {
        self.attempts.clear();
    }

    /// An action ran to its end.
    pub fn ran(&mut self, job: &str) {
        *self.ran.entry(job.to_owned()).or_default() += 1;
    }

    /// A job was replaced in the store.
    pub fn replaced(&mut self, before: &Record, after: &Record) {
        let (was, is) = (state(before), state(after));
        let id = &after.id;
        // an executor without leases may still finish what was stopped; there is none here
        if was != is && was.is_some_and(State::is_final) {
            self.violate(Promise::FinalIsFinal, format!("{id} went from {was:?} to {is:?}"));
        }
        let (old, new) =
            (ledger_of(before).expect("a readable ledger").lease, ledger_of(after).expect("a readable ledger").lease);
        if new < old {
            self.violate(Promise::LeasesRise, format!("the lease of {id} went from {old:?} to {new:?}"));
        }
        let (earlier, later) = (writer(before), writer(after));
        if later < earlier {
            let how = format!("a write under {later:?} into {id} was accepted after one under {earlier:?}");
            self.violate(Promise::LeasesRise, how);
        }
    }

    /// Jobs that were added and are not final.
    pub fn unfinished(&self, store: &MemoryStore) -> Vec<String> {
        let open = |id: &&String| match read(store, id) {
            Some(record) => !state(&record).is_some_and(State::is_final),
            None => !self.deleted.contains(*id),
        };
        self.added.values().filter(open).cloned().collect()
    }

    /// Rounds of `distributor` that were due by now and were not added.
    pub fn missed(&self, distributor: &str, every: i64, targets: &[&str], now: Timestamp) -> Vec<String> {
        let Some(since) = self.rounds_since else { return vec!["no round was ever due".to_owned()] };
        let first = since.as_second().div_euclid(every) + 1;
        let last = now.as_second().div_euclid(every);
        let times = (first..=last).filter_map(|number| Timestamp::from_second(number * every).ok());
        let keys = times.flat_map(|time| targets.iter().map(move |target| format!("{distributor} {time} {target}")));
        keys.filter(|key| !self.added.contains_key(key)).collect()
    }

    /// Looks at each job once everything has settled.
    pub fn audit(&mut self, store: &MemoryStore) -> usize {
        let mut done = 0;
        for (_, _, how) in std::mem::take(&mut self.passed_over) {
            self.violate(Promise::PrioritiesHold, how);
        }
        for id in self.unfinished(store) {
            let what = read(store, &id).map_or("is gone".to_owned(), |it| format!("is {:?}", state(&it)));
            self.violate(Promise::EndsFinal, format!("{id} {what}"));
        }
        for id in self.added.values().cloned().collect::<Vec<_>>() {
            let Some(record) = read(store, &id) else { continue };
            let count = |counts: &BTreeMap<String, u32>| counts.get(&id).copied().unwrap_or(0);
            let lost = ledger_of(&record).expect("a readable ledger").lost;
            // whoever gives a job back without hearing that it is QUEUED again may have run it, which counts
            let excused = count(&self.given_back);
            let late = self.begun_late.iter().filter(|(job, _)| *job == id).count();
            if lost as usize > count(&self.lost_claims) as usize + excused as usize + late {
                let how = format!(
                    "{id} counts {lost} lost attempts, of {} lost claims, {excused} given back unheard and {late} begun \
                     late",
                    count(&self.lost_claims)
                );
                self.violate(Promise::AttemptsAccounted, how);
            }
            if state(&record) == Some(State::Success) {
                done += 1;
                if count(&self.ran) == 0 {
                    self.violate(Promise::SuccessIsEarned, format!("{id} is SUCCESS and its action never ended"));
                }
            }
        }
        done
    }
}

/// The lease under which a job was last written to.
pub fn writer(record: &Record) -> Option<Lease> {
    record.document.get(WRITER)?.as_str()?.parse().ok()
}

fn state(record: &Record) -> Option<State> {
    record.document.get("state").and_then(Value::as_str).and_then(State::from_text)
}

/// The memory store answers at once.
pub fn read(store: &MemoryStore, id: &str) -> Option<Record> {
    store.get(id).now_or_never().and_then(Result::ok).flatten()
}

/// The number of a job that waits.
fn priority(store: &MemoryStore, job: &str) -> Option<u16> {
    let record = read(store, job).filter(|record| state(record) == Some(State::Queued))?;
    Some(priority_of(&record.document))
}
