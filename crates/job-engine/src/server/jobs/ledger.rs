//! The ledger, what the server keeps of a job and never shows as an attribute, and [`judge`], what it answers to an
//! edit. `judge` is the table of `docs/decisions.md#judge`: the first row that fits holds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub(crate) use slipstream_cimi::overview::ledger::{Attempt, Outcome, Printed, RefusedWrite};
use slipstream_cimi::{AttemptIdentity, Code, Lease, State};

/// How many attempts and how many refused writes are kept word by word.
const KEPT: usize = 20;

/// What the server keeps of a job, as it is stored; [`shown`](slipstream_cimi::overview::ledger::Ledger) with who holds the
/// job besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ledger {
    /// Path of the queue entry that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The highest lease ever seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// How many attempts were begun and lost; a clean release does not count (decision 6).
    #[serde(default)]
    pub lost: u32,
    /// How many of these were lost at once with others of their process: most likely it was not this job that ended it,
    /// so that each counts half.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_together: u32,
    /// The last attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The last writes that were refused because their lease was late, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedWrite>,
    /// How many writes were refused in all.
    #[serde(default)]
    pub refused_total: u64,
}

/// What the server answers to an edit of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The edit is merged.
    Accept,
    /// The edit is merged and begins a new attempt under its lease and entry.
    BeginAttempt,
    /// The edit is merged and begins an attempt of an executor that knows no leases.
    BeginLeaselessAttempt,
    /// 200, and nothing is changed.
    Unchanged,
    /// 400: the lease is a bug of the sender.
    InvalidLease,
    /// 409, noted in the ledger if the lease is late.
    Refuse(Code),
    /// The job becomes FAILED because its attempts are used up; 409 `final`.
    GiveUp,
}

/// What an edit says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// Lease and entry, for executors that know leases.
    pub attempt: Option<&'a AttemptIdentity>,
    /// The state that it asks for.
    pub state: Option<State>,
}

/// What [`judge`] may have to know besides, as far as it has been found out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// The recorded entry still exists.
    pub recorded_entry_exists: Option<bool>,
    /// The claim on the recorded entry lives.
    pub claim_lives: Option<bool>,
    /// The open attempt, which is lost, was lost at once with others of its process.
    pub lost_together: Option<bool>,
}

/// One of [`Facts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// [`Facts::recorded_entry_exists`].
    RecordedEntryExists,
    /// [`Facts::claim_lives`].
    ClaimLives,
    /// [`Facts::lost_together`].
    LostTogether,
}

/// Judges an edit of a job in state `stored`. An error is the fact that the judgement depends on: once that is found out,
/// the caller asks again.
pub fn judge(
    stored: State,
    ledger: &Ledger,
    edit: Edit<'_>,
    facts: Facts,
    max_attempts: u32,
) -> Result<Judgement, Fact> {
    let lease = edit.attempt.map(|attempt| attempt.lease);
    match lease {
        Some(lease) if !lease.is_valid() => return Ok(Judgement::InvalidLease),
        Some(lease) if ledger.lease.is_some_and(|highest| lease < highest) => {
            return Ok(Judgement::Refuse(Code::LateLease));
        }
        _ => {}
    }
    if stored.is_final() {
        return Ok(match (edit.state, lease) {
            (Some(state), _) if state == stored => Judgement::Unchanged,
            (Some(State::Success | State::Failed), None) if stored == State::Stopped => Judgement::Accept,
            _ => Judgement::Refuse(Code::Final),
        });
    }
    let recorded_entry_exists = || facts.recorded_entry_exists.ok_or(Fact::RecordedEntryExists);
    let Some(attempt) = edit.attempt else {
        let changes_state = edit.state.is_some_and(|state| state != stored);
        return Ok(if edit.state == Some(State::Running) {
            Judgement::BeginLeaselessAttempt
        } else if changes_state && ledger.current_attempt_has_lease() && facts.claim_lives.ok_or(Fact::ClaimLives)? {
            Judgement::Refuse(Code::Conflict)
        } else {
            Judgement::Accept
        });
    };
    if ledger.is_beside(attempt) {
        // claims of one transaction have one lease: what tells their attempts apart is the entry
        return Ok(Judgement::Refuse(if recorded_entry_exists()? { Code::Superseded } else { Code::LateLease }));
    }
    if ledger.lease == Some(attempt.lease) {
        // a claim is given back once: what asks to run under it came later than it was sent
        let is_late = ledger.is_over() && edit.state == Some(State::Running);
        return Ok(if is_late { Judgement::Refuse(Code::LateLease) } else { Judgement::Accept });
    }
    if ledger.records_another_entry(&attempt.entry) && recorded_entry_exists()? {
        return Ok(Judgement::Refuse(Code::Superseded));
    }
    let loses_one = ledger.open_attempt().is_some();
    let together = loses_one && facts.lost_together.ok_or(Fact::LostTogether)?;
    let is_used_up = ledger.halves_if_begun_again(together) >= 2 * u64::from(max_attempts);
    Ok(if is_used_up { Judgement::GiveUp } else { Judgement::BeginAttempt })
}

impl Ledger {
    /// The same with this entry recorded.
    #[must_use]
    pub fn with_entry(&self, entry: &str) -> Self {
        Self { entry: Some(entry.to_owned()), ..self.clone() }
    }

    fn records_another_entry(&self, entry: &str) -> bool {
        self.entry.as_deref().is_some_and(|recorded| recorded != entry)
    }

    /// Whether this attempt has the lease of the latest one, and is another one: its claim, on another entry of the job,
    /// was made in the same transaction.
    #[must_use]
    pub fn is_beside(&self, attempt: &AttemptIdentity) -> bool {
        self.lease == Some(attempt.lease) && self.records_another_entry(&attempt.entry)
    }

    /// The attempt that runs, or was lost.
    #[must_use]
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.last().filter(|attempt| attempt.outcome.is_none())
    }

    /// The attempt that was open in the ledger `before` this one, if it has been given back since or is lost.
    #[must_use]
    pub fn given_back_since(&self, before: &Self) -> Option<&Attempt> {
        let open = before.open_attempt()?;
        // it is the last one, or the one before that which has begun
        let is_it = |it: &&Attempt| (it.lease, it.begun) == (open.lease, open.begun);
        let it = self.attempts.iter().rev().take(2).find(is_it)?;
        matches!(it.outcome, Some(Outcome::Released | Outcome::Lost)).then_some(it)
    }

    /// Whether the last attempt has ended.
    fn is_over(&self) -> bool {
        self.attempts.last().is_some_and(|attempt| attempt.outcome.is_some())
    }

    /// Whether an attempt other than the one of this lease was begun and not given back.
    #[must_use]
    pub fn is_rerun(&self, lease: Lease) -> bool {
        let was_lost = |it: &Attempt| it.lease != Some(lease) && it.outcome != Some(Outcome::Released);
        self.attempts.iter().any(was_lost)
    }

    fn current_attempt_has_lease(&self) -> bool {
        self.open_attempt().is_some_and(|attempt| attempt.lease.is_some())
    }

    /// Whether an executor without leases that holds the claim of this lease has begun already: `None` if nobody holds
    /// the entry, so that nothing tells this executor from the one before.
    #[must_use]
    pub fn goes_on_without_leases(&self, claim: Option<Lease>) -> bool {
        let open = self.open_attempt().is_some_and(|attempt| attempt.lease.is_none());
        open && (claim.is_none() || claim == self.lease)
    }

    /// Whether the claim of this lease is that of the attempt that runs.
    #[must_use]
    pub fn runs_under(&self, claim: Option<Lease>) -> bool {
        claim.is_some() && self.open_attempt().is_some_and(|attempt| attempt.lease == claim)
    }

    /// How many attempts will have been lost once another one begins, in halves.
    fn halves_if_begun_again(&self, together: bool) -> u64 {
        let open = self.open_attempt().map_or(0, |_| if together { 1 } else { 2 });
        2 * u64::from(self.lost) - u64::from(self.lost_together.min(self.lost)) + open
    }

    /// Whether the job, begun anew under this lease, may be what ends processes: it was lost twice.
    #[must_use]
    pub fn is_suspect(&self, lease: Lease) -> bool {
        let is_new = self.lease.is_some_and(|highest| lease > highest);
        is_new && self.lost + u32::from(self.open_attempt().is_some()) >= 2
    }

    /// Whether an attempt of the same process was open when that one was, and is lost or may be.
    #[must_use]
    pub fn was_open_with(&self, lost: &Attempt) -> bool {
        self.attempts.iter().any(|attempt| {
            let may_be_lost = matches!(attempt.outcome, None | Some(Outcome::Lost));
            let is_later = attempt.ended.is_none_or(|ended| ended >= lost.begun);
            attempt.executor == lost.executor && may_be_lost && is_later
        })
    }

    /// Notes that the open attempt, if there is one, is lost.
    fn lose(&mut self, together: bool, now: Timestamp) {
        if self.open_attempt().is_some() {
            self.lost += 1;
            self.lost_together += u32::from(together);
            self.end(Outcome::Lost, now);
        }
    }

    /// Notes that an attempt begins; one that was open is lost, alone or together with others of its process.
    pub fn begin(&mut self, attempt: Option<&AttemptIdentity>, together: bool, now: Timestamp) {
        self.lose(together, now);
        if let Some(attempt) = attempt {
            self.entry = Some(attempt.entry.clone());
            self.lease = Some(attempt.lease);
        }
        let executor = attempt.map_or("an executor without leases", |attempt| &attempt.executor).to_owned();
        let lease = attempt.map(|attempt| attempt.lease);
        push_bounded(
            &mut self.attempts,
            Attempt { lease, executor, begun: now, ended: None, outcome: None, output: Vec::new() },
        );
    }

    /// Notes how the open attempt, if there is one, ended.
    pub fn end(&mut self, outcome: Outcome, now: Timestamp) {
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.outcome.is_none()) {
            attempt.ended = Some(now);
            attempt.outcome = Some(outcome);
        }
    }

    /// Notes what the last attempt's program printed.
    pub fn note_output(&mut self, printed: Printed) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.output = printed.lines;
        }
    }

    /// Notes a write that came too late.
    pub fn refuse(&mut self, attempt: &AttemptIdentity, state: Option<State>, now: Timestamp) {
        self.refused_total += 1;
        let write = RefusedWrite { lease: attempt.lease, executor: attempt.executor.clone(), time: now, state };
        push_bounded(&mut self.refused, write);
    }

    /// Ends the last attempt as lost and says why the job is given up (decision 6).
    pub fn give_up(&mut self, together: bool, now: Timestamp) -> String {
        self.lose(together, now);
        let last = self.attempts.last().map_or("an unknown executor", |attempt| &attempt.executor);
        format!("given up after {} attempts, last on {last}", self.lost)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= KEPT {
        list.remove(0);
    }
    list.push(item);
}

#[cfg(test)]
mod tests;
