//! [`verdict`]: what an executor does with the entry, from what happened to the job.

use std::borrow::Cow;

use jiff::Timestamp;

/// What an executor does with its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Deletes entry and claim: there is nothing left to do.
    Consume,
    /// Gives the entry back: somebody, perhaps we, will do it later.
    Release,
    /// Touches nothing.
    Abandon,
}

/// What happened to a job after its entry was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The entry does not hold the id of a job.
    NotAJob,
    /// The server itself says that the job does not exist (decision 16).
    Missing,
    /// The job was deleted while its action ran.
    Deleted,
    /// The job was final before its action ran.
    AlreadyFinal,
    /// The job was stopped, or became final by other hands, while its action ran.
    StoppedElsewhere,
    /// The server knows another entry for this job, which still exists.
    Superseded,
    /// No executor has the action; the job was set FAILED.
    NoSuchAction,
    /// The job was refused for what it is, again and again; it was set FAILED.
    GivenUp,
    /// Another executor has the action, or may have it, and this one has not.
    ActionElsewhere,
    /// No executor has the action now, and one may come that has it: until then, if the job becomes FAILED at all.
    ActionNowhere(Option<Timestamp>),
    /// The action ended, and SUCCESS or FAILED is in the document.
    Ended,
    /// The action, or what comes before it, was interrupted by our own stop, and has ended.
    Interrupted,
    /// The action exists but could not be loaded here.
    FailedToLoad,
    /// CIMI was out of reach for too long before the action ran.
    OutOfReach,
    /// CIMI answers, and not about this job.
    Unanswered,
    /// The job's document is not one that this version understands.
    NotUnderstood,
    /// CIMI was out of reach for too long for the final report.
    Undelivered,
    /// The server refuses for a reason that is none of the others.
    Refused,
    /// The attempt itself crashed, not its action.
    BrokenOff,
    /// A write was refused as late while our claim node still exists.
    Late,
    /// The claim is known to be gone: its node was deleted or its session has expired.
    ClaimLost,
    /// Neither the coordinator nor the server could be reached for so long that the claim was most likely gone: it is given
    /// back once the coordinator is reached again, if it is not.
    Unproven,
    /// The action was told to end, and aborted, and runs on all the same, while the executor itself has to end.
    DoesNotEnd,
}

/// The table of `docs/decisions.md#verdict`.
#[must_use]
pub fn verdict(happening: Happening) -> Verdict {
    match happening {
        Happening::NotAJob
        | Happening::Missing
        | Happening::Deleted
        | Happening::AlreadyFinal
        | Happening::StoppedElsewhere
        | Happening::Superseded
        | Happening::NoSuchAction
        | Happening::GivenUp
        | Happening::Ended => Verdict::Consume,
        Happening::ActionElsewhere
        | Happening::ActionNowhere(_)
        | Happening::Interrupted
        | Happening::FailedToLoad
        | Happening::OutOfReach
        | Happening::Unanswered
        | Happening::Unproven
        | Happening::NotUnderstood
        | Happening::Undelivered
        | Happening::Refused
        | Happening::BrokenOff
        | Happening::Late => Verdict::Release,
        Happening::ClaimLost | Happening::DoesNotEnd => Verdict::Abandon,
    }
}

impl Happening {
    /// Why an entry that is released is left alone for a while, for people.
    pub(super) fn reason(self) -> Cow<'static, str> {
        let reason = match self {
            Self::ActionNowhere(Some(until)) => {
                let failed = "no executor has its action, and the job becomes FAILED unless one has it by";
                return format!("{failed} {until:.0}").into();
            }
            Self::ActionNowhere(None) => "no executor has its action, it waits for one that has it",
            Self::ActionElsewhere => "another executor has its action",
            Self::Interrupted => "it was interrupted by a stop",
            Self::FailedToLoad => "its action could not be loaded",
            Self::OutOfReach => "the server was out of reach",
            Self::Unanswered => "the server does not answer about this job",
            Self::NotUnderstood => "the job is not understood by this version",
            Self::Undelivered => "its end could not be reported",
            Self::Refused => "the server refuses what is reported of it",
            Self::BrokenOff => "its attempt broke off by a fault of the executor, whose log has it",
            Self::Late => "its lease was late",
            Self::Unproven => "coordinator and server were out of reach",
            _ => "it was given back",
        };
        reason.into()
    }
}

#[cfg(test)]
mod tests {
    use super::{Happening, Verdict, verdict};

    #[test]
    fn every_row_of_the_table_holds() {
        let rows = [
            (Happening::NotAJob, Verdict::Consume),
            (Happening::Missing, Verdict::Consume),
            (Happening::Deleted, Verdict::Consume),
            (Happening::AlreadyFinal, Verdict::Consume),
            (Happening::StoppedElsewhere, Verdict::Consume),
            (Happening::Superseded, Verdict::Consume),
            (Happening::NoSuchAction, Verdict::Consume),
            (Happening::GivenUp, Verdict::Consume),
            (Happening::Ended, Verdict::Consume),
            (Happening::ActionElsewhere, Verdict::Release),
            (Happening::ActionNowhere(None), Verdict::Release),
            (Happening::Interrupted, Verdict::Release),
            (Happening::FailedToLoad, Verdict::Release),
            (Happening::OutOfReach, Verdict::Release),
            (Happening::Unanswered, Verdict::Release),
            (Happening::NotUnderstood, Verdict::Release),
            (Happening::Undelivered, Verdict::Release),
            (Happening::Refused, Verdict::Release),
            (Happening::BrokenOff, Verdict::Release),
            (Happening::Late, Verdict::Release),
            (Happening::ClaimLost, Verdict::Abandon),
            (Happening::Unproven, Verdict::Release),
            (Happening::DoesNotEnd, Verdict::Abandon),
        ];
        for (happening, expected) in rows {
            assert_eq!(verdict(happening), expected, "{happening:?}");
        }
    }
}
