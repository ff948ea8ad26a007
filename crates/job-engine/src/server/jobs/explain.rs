//! Why a job runs, waits or has ended. [`explain`] is a table beside `judge` and `verdict`: each row that fits says one
//! thing, and what keeps the job from going on comes first.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use slipstream_cimi::overview::executors::Executor;
use slipstream_cimi::overview::explain::{Code, Explanation, Reason};
use slipstream_cimi::overview::{doctor, executors, queue};
use slipstream_cimi::{Lease, State};

use super::document::{action_of, state_of, time_of};
use super::ledger::{Ledger, Outcome};
use super::record::JobRecord;
use super::retry::retries;
use crate::process::clock::Age;
use crate::process::paths;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::queue::snapshot::Snapshot;
use crate::server::queue::{QueueError, text};

#[cfg(test)]
mod tests;

/// Characters of a message that are shown.
const LONGEST_LINE: usize = 300;
/// Most executors that one reason names.
const MOST_NAMED: usize = 20;

/// Who has a claim on a job's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// Nobody.
    Nobody,
    /// Somebody: the claim's lease, and what it shows, as far as it may be read.
    Somebody(Option<(Lease, String)>),
    /// Nobody who is there: a backup tool has restored the node, which stays.
    WithoutSession,
}

/// What is known of a job.
struct Facts<'a> {
    id: &'a str,
    action: &'a str,
    state: State,
    /// When its document was last written to.
    updated: Timestamp,
    ledger: &'a Ledger,
    max_attempts: u32,
    /// What the reconciler was refused about it.
    refused: Option<&'a str>,
    /// Its message and return code.
    said: Said<'a>,
    /// The latest job that repeats it, of those that the asker may see.
    retry: Option<&'a str>,
    /// What the coordinator says; none while it cannot be reached.
    queue: Option<Seen<'a>>,
    /// Since when it cannot be reached, if that is known.
    away: Option<Timestamp>,
    /// Whether the asker is told of executors and nodes.
    sees_all: bool,
    now: Timestamp,
}

/// What became of a job, in the words of its action.
#[derive(Clone, Copy, Debug, Default)]
struct Said<'a> {
    message: Option<&'a str>,
    code: Option<i64>,
}

/// What the coordinator says.
#[derive(Clone)]
struct Seen<'a> {
    claim: Claim,
    executors: &'a [Executor],
    /// Whether somebody works who does not register.
    has_foreign: bool,
    /// How many entries that nobody holds are before the job's.
    before: usize,
}

/// Answers why this job runs, waits or has ended to whoever may see it.
pub async fn of(shared: &Shared, caller: &Caller, id: &str) -> Result<Explanation, ApiError> {
    let record = super::read(shared, caller, id).await?;
    let state = state_of(&record.document);
    let ledger = record.ledger()?;
    let seen = if state.is_final() { None } else { see(shared, &record).await.ok() };
    let refused = {
        let found = shared.last_round();
        let refusal = |what: Option<&str>| found.refusals.reason(what?).map(str::to_owned);
        refusal(Some(id)).or_else(|| refusal(record.entry()))
    };
    let retry = if state.is_final() { retries(shared, caller, id).await?.retries.pop() } else { None };
    let queue = seen.as_ref().map(|(claim, snapshot)| Seen {
        claim: claim.clone(),
        executors: &snapshot.executors,
        has_foreign: !snapshot.foreign.is_empty(),
        before: record.entry().and_then(paths::entry_name).map_or(0, |entry| snapshot.before(entry)),
    });
    let reasons = explain(&Facts {
        id,
        action: &action_of(&record.document),
        state,
        updated: time_of(&record.document, "updated"),
        ledger,
        max_attempts: shared.max_attempts,
        refused: refused.as_deref(),
        said: Said {
            message: record.document.get("statusMessage").and_then(Value::as_str),
            code: record.document.get("returnCode").and_then(Value::as_i64),
        },
        retry: retry.as_deref(),
        queue,
        away: shared.queue.away_since(shared.clock.now()),
        sees_all: caller.is_administrator(),
        now: shared.clock.now(),
    });
    Ok(Explanation { job: id.to_owned(), reasons, listed: seen.map(|(_, snapshot)| snapshot.time) })
}

/// Who claims the job's entry now, and the queue as it was a moment ago.
async fn see(shared: &Shared, record: &JobRecord) -> Result<(Claim, Arc<Snapshot>), QueueError> {
    let claim = match record.entry() {
        None => Claim::Nobody,
        Some(entry) => match shared.queue.claim_on(entry).await {
            // it is there, and whose it is we may not know
            Err(QueueError::Refused { .. }) => Claim::Somebody(None),
            claim => match claim? {
                None => Claim::Nobody,
                Some(claim) if !claim.is_ephemeral => Claim::WithoutSession,
                Some(claim) => {
                    let generation = shared.generation.latest().await.ok();
                    let lease = generation.map(|generation| Lease { generation, zxid: claim.created });
                    Claim::Somebody(lease.map(|lease| (lease, text(&claim))))
                }
            },
        },
    };
    Ok((claim, shared.snapshots.get(&shared.queue, &shared.clock).await?))
}

/// The table: all rows that fit, those that block first, otherwise in its order.
fn explain(facts: &Facts<'_>) -> Vec<Reason> {
    if facts.state.is_final() {
        return vec![facts.ended()];
    }
    let Some(seen) = &facts.queue else { return vec![facts.without_coordinator()] };
    let mut reasons = Vec::new();
    match (&seen.claim, facts.is_begun()) {
        (Claim::Somebody(claim), true) => reasons.push(facts.claimed_and_begun(seen, claim.as_ref())),
        (Claim::Somebody(claim), false) => {
            let who = claim.as_ref().map(|(_, claimant)| seen.name_of(claimant));
            let text = "it is claimed and about to begin".to_owned();
            reasons.push(facts.reason(Code::Claimed, text).by(who).into());
        }
        (Claim::WithoutSession, _) => {
            let text = "its claim has no session, so that nobody ends it: delete the node";
            let claim = facts.ledger.entry.as_deref().unwrap_or_default().replacen(paths::ENTRIES, paths::TAKEN, 1);
            let text = if facts.sees_all { format!("{text} {claim}") } else { text.to_owned() };
            reasons.push(facts.reason(Code::ClaimWithoutSession, text).blocking());
        }
        (Claim::Nobody, is_begun) => {
            if is_begun {
                reasons.push(facts.lost());
            }
            if facts.ledger.entry.is_none() {
                let text = "it has no entry in the queue yet, the reconciler will put one within a minute".to_owned();
                reasons.push(facts.reason(Code::EntryMissing, text).blocking());
            } else {
                reasons.extend(facts.waiting(seen));
            }
        }
    }
    if let Some(refused) = facts.refused {
        let text = if facts.sees_all { refused } else { "the reconciler was refused what it has to do for it" };
        reasons.push(facts.reason(Code::Refused, text.to_owned()).blocking());
    }
    reasons.sort_by_key(|reason| !reason.blocks);
    reasons
}

impl Facts<'_> {
    fn is_begun(&self) -> bool {
        self.state != State::Queued
    }

    fn reason(&self, code: Code, text: String) -> Row {
        let href = if self.sees_all { place_of(code, self.id) } else { None };
        let reason = Reason { code, text, since: None, until: None, executor: None, href, blocks: false };
        Row { reason, sees_all: self.sees_all }
    }

    /// Which attempt the last one is.
    fn attempt(&self) -> String {
        let ledger = self.ledger;
        let is_open = ledger.open_attempt().is_some();
        format!("attempt {} of at most {}", ledger.lost + u32::from(is_open), self.max_attempts)
    }

    fn ended(&self) -> Reason {
        let last = self.ledger.attempts.last();
        let mut text = match last {
            Some(last) if last.outcome == Some(Outcome::Finished) => format!("it is {}", self.state),
            Some(_) => format!("it is {} after its attempt was over", self.state),
            None => format!("it is {}, and no attempt was begun", self.state),
        };
        if let Some(code) = self.said.code.filter(|code| *code != 0) {
            text = format!("{text}, return code {code}");
        }
        if let Some(line) = self.said.message.and_then(first_line) {
            text = format!("{text}: {line}");
        }
        if let Some(retry) = self.retry {
            text = format!("{text}; it was run again as {retry}");
        } else if self.sees_all && self.state != State::Success {
            text = format!("{text}; `slipstream-job jobs retry {}` runs it again", self.id);
        }
        let since = last.and_then(|last| last.ended).unwrap_or(self.updated);
        self.reason(Code::Final, text).by(last.map(|last| last.executor.clone())).since(since).into()
    }

    fn without_coordinator(&self) -> Reason {
        let what = if self.is_begun() { "whether it still runs is not known" } else { "nobody takes it meanwhile" };
        let text = format!("the coordinator cannot be reached, {what}");
        let row = self.away.into_iter().fold(self.reason(Code::CoordinatorAway, text), Row::since);
        if self.is_begun() { row.into() } else { row.blocking() }
    }

    fn claimed_and_begun(&self, seen: &Seen<'_>, claim: Option<&(Lease, String)>) -> Reason {
        let lease = claim.map(|(lease, _)| *lease);
        let open = self.ledger.open_attempt();
        let is_later = lease.is_some_and(|lease| self.ledger.lease.is_some_and(|highest| lease > highest));
        let who = claim.map(|(_, claimant)| seen.name_of(claimant));
        if is_later && !self.ledger.goes_on_without_leases(lease) {
            let text = "its attempt was lost, and another one is about to begin".to_owned();
            return self.reason(Code::TakenAgain, text).by(who).into();
        }
        let text = format!("it runs, {}, and was last written to at {:.0}", self.attempt(), self.updated);
        let row = self.reason(Code::Running, text).by(open.map(|open| open.executor.clone()).or(who));
        open.map(|open| open.begun).into_iter().fold(row, Row::since).into()
    }

    fn lost(&self) -> Reason {
        let open = self.ledger.open_attempt();
        let text =
            format!("it was begun, {}, and nobody holds it any more: the next free slot takes it", self.attempt());
        self.reason(Code::Lost, text).by(open.map(|open| open.executor.clone())).into()
    }

    /// Of a job whose entry nobody holds.
    fn waiting(&self, seen: &Seen<'_>) -> Vec<Reason> {
        let action = self.action;
        let has_it = |executor: &&Executor| executor.registered.actions.iter().any(|it| it == action);
        let able: Vec<&Executor> = seen.executors.iter().filter(has_it).collect();
        let willing: Vec<&Executor> = able.iter().copied().filter(|executor| !executor.registered.draining).collect();
        let passing: Vec<Reason> = seen.executors.iter().flat_map(|executor| self.passed_over_by(executor)).collect();
        if able.is_empty() {
            let foreign = if seen.has_foreign { "; one that does not register may have it" } else { "" };
            let without = if self.sees_all { seen.without() } else { String::new() };
            let what = "start one that has it, `slipstream-job actions` lists what there is";
            let text = format!("no registered executor has the action {action}{foreign}: {what}{without}");
            return std::iter::once(self.reason(Code::NoExecutor, text).blocking()).chain(passing).collect();
        }
        if willing.is_empty() {
            let text = format!("each executor that has the action {action} is draining");
            return std::iter::once(self.reason(Code::ExecutorsDraining, text).blocking()).chain(passing).collect();
        }
        let looks = |executor: &&Executor| self.passed_over_by(executor).next().is_none();
        let left: Vec<&Executor> = willing.into_iter().filter(looks).collect();
        if left.is_empty() {
            return passing.into_iter().map(|reason| Reason { blocks: true, ..reason }).collect();
        }
        let released = if passing.is_empty() { self.given_back() } else { None };
        passing.into_iter().chain(released).chain([self.next_or_busy(&left, seen.before)]).collect()
    }

    fn next_or_busy(&self, executors: &[&Executor], before: usize) -> Reason {
        let slots: usize = executors.iter().map(|executor| executor.registered.slots).sum();
        let busy: Option<usize> = executors.iter().map(|executor| executor.busy).sum();
        let before = match before {
            0 => "no entry is before it".to_owned(),
            1 => "1 entry is before it".to_owned(),
            count => format!("{count} entries are before it"),
        };
        if busy.is_some_and(|busy| busy >= slots) {
            let text = format!("all slots for it are busy, {slots} of {slots}; {before}");
            return self.reason(Code::Busy, text).blocking();
        }
        self.reason(Code::Next, format!("it is taken by one of the next free slots; {before}")).into()
    }

    /// What the ledger says of a job that was given back, where no executor says more.
    fn given_back(&self) -> Option<Reason> {
        let attempts = &self.ledger.attempts;
        let last = attempts.last().filter(|last| last.outcome == Some(Outcome::Released))?;
        let count = attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::Released)).count();
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let row = self.reason(Code::Released, format!("it was given back {times}")).by(Some(last.executor.clone()));
        Some(last.ended.into_iter().fold(row, Row::since).into())
    }

    fn passed_over_by(&self, executor: &Executor) -> impl Iterator<Item = Reason> {
        let entry = self.ledger.entry.as_deref();
        let is_of_this = move |job: Option<&str>, path: &str| job == Some(self.id) || Some(path) == entry;
        // what it says stays until it says something else: it looks again once the time has come
        let is_over = |until: Timestamp| matches!(Age::of(until, self.now), Age::Past(_));
        let passed_over = executor.registered.passed_over.iter();
        let passed_over = passed_over.filter(move |it| is_of_this(it.job.as_deref(), &it.entry) && !is_over(it.until));
        passed_over.map(|it| {
            let text =
                if self.sees_all { &it.reason } else { "an executor waits for a while before it tries it again" };
            let row = self.reason(Code::Released, text.to_owned()).by(Some(executor.registered.name.clone()));
            Reason { until: Some(it.until), ..row.into() }
        })
    }
}

impl Seen<'_> {
    /// The name of whoever shows this.
    fn name_of(&self, claimant: &str) -> String {
        let executor = self.executors.iter().find(|executor| executor.claimant == claimant);
        executor.map_or_else(|| format!("foreign {claimant}"), |executor| executor.registered.name.clone())
    }

    /// All executors, of none of which there is anything better to say: those whose slots are taken have not even looked.
    fn without(&self) -> String {
        let name = |executor: &Executor| {
            let is_full = executor.busy.is_some_and(|busy| busy >= executor.registered.slots);
            format!("{}{}", executor.registered.name, if is_full { " (all slots busy)" } else { "" })
        };
        let mut names: Vec<String> = self.executors.iter().take(MOST_NAMED).map(name).collect();
        let more = self.executors.len().saturating_sub(MOST_NAMED);
        names.extend((more > 0).then(|| format!("{more} more")));
        if names.is_empty() { String::new() } else { format!("; without it: {}", names.join(", ")) }
    }
}

/// The first line of a message, as far as it has room in a reason.
fn first_line(message: &str) -> Option<String> {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty())?;
    let shown: String = line.chars().take(LONGEST_LINE).collect();
    Some(if shown.len() < line.len() { format!("{shown}…") } else { shown })
}

/// Where more is said of a reason.
fn place_of(code: Code, id: &str) -> Option<String> {
    match code {
        Code::Final | Code::Released => Some(format!("{id}/ledger")),
        Code::Running
        | Code::Lost
        | Code::TakenAgain
        | Code::Claimed
        | Code::NoExecutor
        | Code::ExecutorsDraining
        | Code::Busy => Some(executors::PLACE.to_owned()),
        Code::EntryMissing | Code::Refused | Code::ClaimWithoutSession | Code::Next => Some(queue::PLACE.to_owned()),
        Code::CoordinatorAway => Some(doctor::PLACE.to_owned()),
        Code::Other => None,
    }
}

/// A reason that is being made.
struct Row {
    reason: Reason,
    sees_all: bool,
}

impl Row {
    fn by(mut self, executor: Option<String>) -> Self {
        self.reason.executor = executor.filter(|_| self.sees_all);
        self
    }

    fn since(mut self, since: Timestamp) -> Self {
        self.reason.since = Some(since);
        self
    }

    fn blocking(self) -> Reason {
        Reason { blocks: true, ..self.reason }
    }
}

impl From<Row> for Reason {
    fn from(row: Row) -> Self {
        row.reason
    }
}
