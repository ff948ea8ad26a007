//! [`Before`]: what a change of a job counts as, seen from the job as it was before.

use std::time::Duration;

use jiff::Timestamp;
use slipstream_cimi::overview::work::LateWrite;
use slipstream_cimi::{Code, State};

use super::document::{UNTOUCHED, action_of, state_of, time_of};
use super::ledger::{Attempt, Outcome};
use super::record::JobRecord;
use crate::process::clock::Age;
use crate::process::metrics::AttemptOutcome;
use crate::server::Shared;
use crate::server::error::ApiError;

/// What counts of a job as it was.
pub(super) struct Before {
    state: State,
    /// When the attempt began that runs.
    running_since: Option<Timestamp>,
    had_attempts: bool,
}

impl Before {
    pub(super) fn of(job: &JobRecord) -> Self {
        let ledger = job.ledger().ok();
        Self {
            state: state_of(&job.document),
            running_since: ledger.and_then(|ledger| Some(ledger.open_attempt()?.begun)),
            had_attempts: ledger.is_some_and(|ledger| !ledger.attempts.is_empty()),
        }
    }

    /// Counts what has become of the job, an attempt of which may have been given back or lost.
    pub(super) fn count(&self, shared: &Shared, job: &JobRecord, given_back: Option<&Attempt>) {
        let (metrics, action, state) = (&shared.metrics, action_of(&job.document), state_of(&job.document));
        if !self.state.is_final() && state.is_final() {
            metrics.ended(&action, state);
            if state == State::Failed {
                let message = job.document.text("statusMessage").unwrap_or_default();
                shared.history.note_failure(&job.id, &action, &message);
            }
        }
        let runs = job.ledger().is_ok_and(|ledger| ledger.open_attempt().is_some());
        if let Some(outcome) = self.attempt_outcome(state, runs, given_back.and_then(|attempt| attempt.outcome)) {
            metrics.attempt_ended(&action, outcome);
            let has_ended_its_job = matches!(outcome, AttemptOutcome::Finished | AttemptOutcome::Failed);
            if let Some(begun) = self.running_since.filter(|_| has_ended_its_job && state != State::Stopped) {
                metrics.ran(&action, from(begun, shared.clock.now()));
            }
        }
        if self.state == State::Queued && state == State::Running && !self.had_attempts {
            metrics.begun(&action, from(time_of(&job.document, "created"), shared.clock.now()));
        }
    }

    fn attempt_outcome(&self, state: State, runs: bool, given_back: Option<Outcome>) -> Option<AttemptOutcome> {
        match given_back {
            Some(Outcome::Released) => Some(AttemptOutcome::Released),
            Some(Outcome::Lost) => Some(AttemptOutcome::Lost),
            _ if self.running_since.is_some() && !runs && state == State::Failed => Some(AttemptOutcome::Failed),
            _ if self.running_since.is_some() && !runs => Some(AttemptOutcome::Finished),
            _ => None,
        }
    }
}

/// How long something took; no time at all if it began by a clock that is ahead.
fn from(begun: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(begun).try_into().unwrap_or_default()
}

/// Counts an error if it refuses a write for what the job is.
pub(super) fn noted(shared: &Shared, job: &JobRecord, error: ApiError) -> ApiError {
    if let Some(code) = error.refusal.code {
        shared.metrics.refused(&action_of(&job.document), code);
        if matches!(code, Code::LateLease | Code::Superseded) {
            shared.history.note_late(late_write(shared.clock.now(), job, code));
        }
    }
    error
}

/// A late write, with what the ledger noted of it just now: nothing of one under another entry, and of what a program
/// printed.
fn late_write(now: Timestamp, job: &JobRecord, code: Code) -> LateWrite {
    let noted = job.ledger().ok().filter(|_| code == Code::LateLease).and_then(|ledger| ledger.refused.last());
    let noted = noted.filter(|write| Age::of(write.time, now).is_within(UNTOUCHED));
    let (executor, lease) = (noted.map(|write| write.executor.clone()), noted.map(|write| write.lease));
    LateWrite { time: now, job: job.id.to_string(), executor, lease, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_ends_once_and_in_one_way() {
        let since = Some(Timestamp::UNIX_EPOCH);
        let open = Before { state: State::Running, running_since: since, had_attempts: true };
        let none = Before { running_since: None, ..open };
        let rows = [
            (open.attempt_outcome(State::Success, false, None), Some(AttemptOutcome::Finished)),
            (open.attempt_outcome(State::Stopped, false, None), Some(AttemptOutcome::Finished)),
            (open.attempt_outcome(State::Failed, false, None), Some(AttemptOutcome::Failed)),
            (open.attempt_outcome(State::Queued, false, Some(Outcome::Released)), Some(AttemptOutcome::Released)),
            // the next one has begun, or the job is given up
            (open.attempt_outcome(State::Running, true, Some(Outcome::Lost)), Some(AttemptOutcome::Lost)),
            (open.attempt_outcome(State::Failed, false, Some(Outcome::Lost)), Some(AttemptOutcome::Lost)),
            (open.attempt_outcome(State::Running, true, None), None),
            (none.attempt_outcome(State::Failed, false, None), None),
        ];
        for (row, (found, expected)) in rows.into_iter().enumerate() {
            assert_eq!(found, expected, "row {row}");
        }
    }
}
