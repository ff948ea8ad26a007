//! What becomes of a job that the server refuses for what it is: the plainest edit that is taken ends it.
//!
//! A refusal is no outage: the same request is refused again, for ever. So what a final report holds beside the job's
//! state is left out, and a job that cannot even be begun is FAILED with the reason after [`MOST_REFUSALS`]. A server that
//! refuses that too, as for a lease that it does not want, does not mean the job: that one waits, is told by name, and is
//! tried more and more seldom.

use slipstream_action::{Failure, Report, with_causes};
use slipstream_cimi::{Document, Error};
use tracing::warn;

use super::attempt::{Attempt, Ending};
use super::avoidance::MOST_REFUSALS;
use super::changes;
use super::verdict::{Happening, Verdict, verdict};

impl Ending {
    /// Whether it is the job that is refused, for what it is or for what is written into it, or that an attempt breaks with.
    pub(super) fn is_about_the_job(&self) -> bool {
        match self.happening {
            Happening::NotUnderstood | Happening::BrokenOff => true,
            Happening::Refused => self.cause.as_deref().is_some_and(is_about_content),
            _ => false,
        }
    }
}

impl Attempt<'_> {
    /// Writes what ends the attempt, without what the server refuses of it.
    pub(super) async fn deliver_as_taken(&self, changes: &Document) -> Result<(), Ending> {
        let refused = match self.deliver(changes).await {
            Err(Ending { happening: Happening::Refused, cause: Some(cause) }) if is_about_content(&cause) => cause,
            delivered => return delivered,
        };
        warn!(job = self.id, cause = with_causes(&refused), "the final report is refused, and written shortened");
        match self.deliver(&changes::state_and_message(changes.clone(), &with_causes(&refused))).await {
            Err(ending) if ending.is_about_the_job() => self.deliver(&changes::state_alone(changes)).await,
            delivered => delivered,
        }
    }

    /// The job is to be released: answers another ending if it has been refused so often that it is FAILED instead.
    pub(super) async fn give_up(&self, ending: &Ending) -> Option<Ending> {
        let refusals = self.shift.executor.avoidance().refusals(self.claim.entry());
        if !ending.is_about_the_job() || refusals + 1 < MOST_REFUSALS {
            return None;
        }
        let outcome = Err(Failure::new(ending.reason()));
        match self.deliver_as_taken(&changes::of_outcome(&outcome, &Report::default(), &[])).await {
            Ok(()) => Some(Ending { happening: Happening::GivenUp, cause: None }),
            Err(other) => (verdict(other.happening) != Verdict::Release).then_some(other),
        }
    }
}

/// Whether it is what a request holds that is refused: malformed, too large, or not to be processed.
fn is_about_content(error: &Error) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.status, 400 | 413 | 422))
}
