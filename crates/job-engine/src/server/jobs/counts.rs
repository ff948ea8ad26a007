//! [`Before`]: what a change of a job counts as, seen from the job as it was before.

use std::time::Duration;

use jiff::Timestamp;
use slipstream_cimi::State;

use super::document::{action_of, state_of, time_of};
use super::ledger::{Attempt, Outcome};
use super::record::JobRecord;
use crate::process::metrics::AttemptOutcome;
use crate::server::Shared;
use crate::server::error::ApiError;

/// What counts of a job as it was.
pub(super) struct Before {
    state: State,
    attempt_runs: bool,
    had_attempts: bool,
}

impl Before {
    pub(super) fn of(job: &JobRecord) -> Self {
        let ledger = job.ledger().ok();
        Self {
            state: state_of(&job.document),
            attempt_runs: ledger.is_some_and(|ledger| ledger.open_attempt().is_some()),
            had_attempts: ledger.is_some_and(|ledger| !ledger.attempts.is_empty()),
        }
    }

    /// Counts what has become of the job, an attempt of which may have been given back or lost.
    pub(super) fn count(&self, shared: &Shared, job: &JobRecord, given_back: Option<&Attempt>) {
        let (metrics, action, state) = (&shared.metrics, action_of(&job.document), state_of(&job.document));
        if !self.state.is_final() && state.is_final() {
            metrics.ended(&action, state);
        }
        let runs = job.ledger().is_ok_and(|ledger| ledger.open_attempt().is_some());
        if let Some(outcome) = self.attempt_outcome(state, runs, given_back.and_then(|attempt| attempt.outcome)) {
            metrics.attempt_ended(&action, outcome);
        }
        if self.state == State::Queued && state == State::Running && !self.had_attempts {
            metrics.begun(&action, wait(shared.clock.now(), time_of(&job.document, "created")));
        }
    }

    fn attempt_outcome(&self, state: State, runs: bool, given_back: Option<Outcome>) -> Option<AttemptOutcome> {
        match given_back {
            Some(Outcome::Released) => Some(AttemptOutcome::Released),
            Some(Outcome::Lost) => Some(AttemptOutcome::Lost),
            _ if self.attempt_runs && !runs && state == State::Failed => Some(AttemptOutcome::Failed),
            _ if self.attempt_runs && !runs => Some(AttemptOutcome::Finished),
            _ => None,
        }
    }
}

/// How long a job has waited; not at all if it comes from a clock that is ahead.
fn wait(now: Timestamp, created: Timestamp) -> Duration {
    now.duration_since(created).try_into().unwrap_or_default()
}

/// Counts an error if it refuses a write for what the job is.
pub(super) fn noted(shared: &Shared, error: ApiError) -> ApiError {
    if let Some(code) = error.refusal.code {
        shared.metrics.refused(code);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_ends_once_and_in_one_way() {
        let open = Before { state: State::Running, attempt_runs: true, had_attempts: true };
        let none = Before { attempt_runs: false, ..open };
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
