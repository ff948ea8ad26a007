//! How an attempt ends: [`AttemptEnd`] says how and why, [`verdict`] what becomes of the entry.
//!
//! An error passes through here once: [`ErrorClass::of`] classifies it, and [`EndKind::of`] is the one table that says
//! which end of the attempt an error of this class leads to.

use std::borrow::Cow;

use jiff::Timestamp;
use slipstream_action::with_causes;
use slipstream_cimi::{Code, Error};

/// Most characters of a reason that is shown to others.
const LONGEST_REASON: usize = 200;

/// How an attempt ended, with the error that led there.
#[derive(Debug)]
pub(super) struct AttemptEnd {
    pub(super) kind: EndKind,
    pub(super) cause: Option<Box<Error>>,
    /// Why, as the action or its program has it.
    pub(super) said: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndKind {
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
    /// No executor has the action, and at one something failed to load, which may be it.
    ActionNotLoaded,
    /// The action ended, and SUCCESS or FAILED is in the document.
    Ended,
    /// The action, or the host that it is in, gives the job back: perhaps it could not even begin.
    GivenBack,
    /// The action has left the job to somebody else, who will end it.
    LeftByAction,
    /// The action, or what comes before it, was interrupted by our own stop, and has ended.
    Interrupted,
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
    Crashed,
    /// A write was refused as late while our claim node still exists.
    Late,
    /// The claim is known to be gone: its node was deleted or its session has expired.
    ClaimLost,
    /// Neither the coordinator nor the server could be reached for so long that the claim was most likely gone: it is given
    /// back once the coordinator is reached again, if it is not.
    Unproven,
    /// The action was cancelled and aborted and runs on all the same, while the executor itself has to end.
    DoesNotEnd,
}

/// What an executor does with its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Deletes entry and claim: there is nothing left to do.
    Consume,
    /// Gives the entry back: some executor, perhaps this one, will do it later.
    Release,
    /// Touches nothing.
    Abandon,
}

/// The table of `docs/decisions.md#verdict`.
pub(super) fn verdict(end: EndKind) -> Verdict {
    match end {
        EndKind::NotAJob
        | EndKind::Missing
        | EndKind::Deleted
        | EndKind::AlreadyFinal
        | EndKind::StoppedElsewhere
        | EndKind::Superseded
        | EndKind::NoSuchAction
        | EndKind::GivenUp
        | EndKind::LeftByAction
        | EndKind::Ended => Verdict::Consume,
        EndKind::ActionElsewhere
        | EndKind::ActionNowhere(_)
        | EndKind::GivenBack
        | EndKind::ActionNotLoaded
        | EndKind::Interrupted
        | EndKind::OutOfReach
        | EndKind::Unanswered
        | EndKind::Unproven
        | EndKind::NotUnderstood
        | EndKind::Undelivered
        | EndKind::Refused
        | EndKind::Crashed
        | EndKind::Late => Verdict::Release,
        EndKind::ClaimLost | EndKind::DoesNotEnd => Verdict::Abandon,
    }
}

/// What a failed request means for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// No answer, or one that says nothing about the document: whether every other request fails too, another read
    /// shows.
    OutOfReach,
    /// The server answers others, and this request may succeed later.
    TryLater,
    /// The server itself says that the document does not exist.
    Gone,
    /// 409 `late-lease`.
    Late,
    /// 409 `superseded`.
    Superseded,
    /// 409 `final`.
    Final,
    /// Anything else: the same request will be refused again.
    Refused,
}

/// A failed request, classified once it is known whether CIMI answers others.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) class: ErrorClass,
    pub(super) error: Error,
}

/// How far an attempt was when a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its action has not run.
    BeforeRun,
    /// Its action runs or has run.
    Begun,
}

impl ErrorClass {
    /// The class of `error`, in answer to a request about the document `id`.
    pub(super) fn of(error: &Error, id: &str) -> Self {
        let Some(refusal) = error.refusal() else { return Self::OutOfReach };
        match (refusal.status, refusal.code) {
            (404, _) if error.is_not_found(id) => Self::Gone,
            // A 404 that does not name the document is a proxy's (decision 16).
            (403 | 404 | 429 | 500.., _) => Self::OutOfReach,
            (409, Some(Code::LateLease)) => Self::Late,
            (409, Some(Code::Superseded)) => Self::Superseded,
            (409, Some(Code::Final)) => Self::Final,
            (409, _) => Self::TryLater,
            _ => Self::Refused,
        }
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_transient(self) -> bool {
        matches!(self, Self::OutOfReach | Self::TryLater)
    }

    /// Whether the job is not this attempt's any more.
    pub(super) fn ends_the_attempt(self) -> bool {
        matches!(self, Self::Gone | Self::Late | Self::Superseded | Self::Final)
    }
}

impl EndKind {
    /// The end that a request leads to which failed for good.
    pub(super) fn of(class: ErrorClass, phase: Phase) -> Self {
        match (class, phase) {
            (ErrorClass::OutOfReach, Phase::BeforeRun) => Self::OutOfReach,
            (ErrorClass::TryLater, Phase::BeforeRun) => Self::Unanswered,
            (ErrorClass::OutOfReach | ErrorClass::TryLater, Phase::Begun) => Self::Undelivered,
            (ErrorClass::Gone, Phase::BeforeRun) => Self::Missing,
            (ErrorClass::Gone, Phase::Begun) => Self::Deleted,
            (ErrorClass::Final, Phase::BeforeRun) => Self::AlreadyFinal,
            (ErrorClass::Final, Phase::Begun) => Self::StoppedElsewhere,
            (ErrorClass::Late, _) => Self::Late,
            (ErrorClass::Superseded, _) => Self::Superseded,
            (ErrorClass::Refused, _) => Self::Refused,
        }
    }

    /// An end to which this error led.
    pub(super) fn because(self, cause: Error) -> AttemptEnd {
        AttemptEnd { cause: Some(Box::new(cause)), ..self.into() }
    }

    /// An end for which the action has its own words.
    pub(super) fn saying(self, said: String) -> AttemptEnd {
        AttemptEnd { said: Some(said), ..self.into() }
    }

    /// Why an entry that is released is left alone for a while, for people.
    fn reason(self) -> Cow<'static, str> {
        let reason = match self {
            Self::ActionNowhere(Some(until)) => {
                let failed = "no executor has its action, the job fails unless one has it by";
                return format!("{failed} {until:.0}").into();
            }
            Self::ActionNowhere(None) => "no executor has its action, waiting for one",
            Self::ActionNotLoaded => {
                "no executor has its action, and something failed to load: see slipstream-job actions"
            }
            Self::ActionElsewhere => "another executor has its action",
            Self::GivenBack => "its action gives it back",
            Self::Interrupted => "interrupted by a stop",
            Self::OutOfReach => "the server was unreachable",
            Self::Unanswered => "the server does not answer for this job",
            Self::NotUnderstood => "this version does not understand the job",
            Self::Undelivered => "its end could not be reported",
            Self::Refused => "the server refuses its reports",
            Self::Crashed => "its attempt crashed, see the executor's log",
            Self::Late => "its lease was late",
            Self::Unproven => "coordinator and server were unreachable",
            _ => "it was released",
        };
        reason.into()
    }
}

impl AttemptEnd {
    /// Why the entry is left alone for a while, for people.
    pub(super) fn reason(&self) -> String {
        let reason = self.kind.reason();
        let reason = self.cause().map_or_else(|| reason.to_string(), |cause| format!("{reason}: {cause}"));
        reason.chars().take(LONGEST_REASON).collect()
    }

    /// What led to it, for people.
    pub(super) fn cause(&self) -> Option<String> {
        self.said.clone().or_else(|| self.cause.as_deref().map(|cause| with_causes(cause)))
    }

    /// Whether it is the job that is refused, for what it is or for what is written into it, or that an attempt breaks with.
    pub(super) fn is_about_the_job(&self) -> bool {
        match self.kind {
            EndKind::NotUnderstood | EndKind::Crashed => true,
            EndKind::Refused => self.cause.as_deref().is_some_and(is_about_content),
            _ => false,
        }
    }
}

impl From<EndKind> for AttemptEnd {
    fn from(kind: EndKind) -> Self {
        Self { kind, cause: None, said: None }
    }
}

/// Whether it is what a request holds that is refused: malformed, too large, or not to be processed.
fn is_about_content(error: &Error) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.status, 400 | 413 | 422))
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::Refusal;

    use super::*;

    #[test]
    fn every_row_of_the_table_holds() {
        let rows = [
            (EndKind::NotAJob, Verdict::Consume),
            (EndKind::Missing, Verdict::Consume),
            (EndKind::Deleted, Verdict::Consume),
            (EndKind::AlreadyFinal, Verdict::Consume),
            (EndKind::StoppedElsewhere, Verdict::Consume),
            (EndKind::Superseded, Verdict::Consume),
            (EndKind::NoSuchAction, Verdict::Consume),
            (EndKind::GivenUp, Verdict::Consume),
            (EndKind::Ended, Verdict::Consume),
            (EndKind::ActionElsewhere, Verdict::Release),
            (EndKind::ActionNowhere(None), Verdict::Release),
            (EndKind::GivenBack, Verdict::Release),
            (EndKind::LeftByAction, Verdict::Consume),
            (EndKind::ActionNotLoaded, Verdict::Release),
            (EndKind::Interrupted, Verdict::Release),
            (EndKind::OutOfReach, Verdict::Release),
            (EndKind::Unanswered, Verdict::Release),
            (EndKind::NotUnderstood, Verdict::Release),
            (EndKind::Undelivered, Verdict::Release),
            (EndKind::Refused, Verdict::Release),
            (EndKind::Crashed, Verdict::Release),
            (EndKind::Late, Verdict::Release),
            (EndKind::ClaimLost, Verdict::Abandon),
            (EndKind::Unproven, Verdict::Release),
            (EndKind::DoesNotEnd, Verdict::Abandon),
        ];
        for (end, expected) in rows {
            assert_eq!(verdict(end), expected, "{end:?}");
        }
    }

    fn refused(status: u16, code: Option<Code>, resource: Option<&str>) -> Error {
        let refusal = Refusal {
            status,
            message: "no".to_owned(),
            resource_id: resource.map(str::to_owned),
            code,
            request_id: None,
        };
        Error::Refused { request: "PUT /api/job/1".to_owned(), refusal }
    }

    #[test]
    fn every_kind_of_failure_has_its_class() {
        let rows = [
            (Error::Unreachable { request: String::new(), source: "down".into() }, ErrorClass::OutOfReach),
            (Error::Unintelligible { request: String::new(), reason: String::new() }, ErrorClass::OutOfReach),
            (refused(404, None, Some("job/1")), ErrorClass::Gone),
            (refused(404, None, Some("job/2")), ErrorClass::OutOfReach),
            (refused(404, None, None), ErrorClass::OutOfReach),
            (refused(403, None, None), ErrorClass::OutOfReach),
            (refused(429, None, None), ErrorClass::OutOfReach),
            (refused(502, None, None), ErrorClass::OutOfReach),
            (refused(503, None, None), ErrorClass::OutOfReach),
            (refused(504, None, None), ErrorClass::OutOfReach),
            (refused(500, None, None), ErrorClass::OutOfReach),
            (refused(507, None, None), ErrorClass::OutOfReach),
            (refused(409, None, None), ErrorClass::TryLater),
            (refused(409, Some(Code::Conflict), None), ErrorClass::TryLater),
            (refused(409, Some(Code::LateLease), None), ErrorClass::Late),
            (refused(409, Some(Code::Superseded), None), ErrorClass::Superseded),
            (refused(409, Some(Code::Final), None), ErrorClass::Final),
            (refused(400, None, None), ErrorClass::Refused),
            (refused(413, None, None), ErrorClass::Refused),
        ];
        for (error, class) in rows {
            assert_eq!(ErrorClass::of(&error, "job/1"), class, "{error:?}");
        }
    }

    #[test]
    fn every_class_of_errors_has_its_end_before_the_run_and_after_it_began() {
        let rows = [
            (ErrorClass::OutOfReach, EndKind::OutOfReach, EndKind::Undelivered),
            (ErrorClass::TryLater, EndKind::Unanswered, EndKind::Undelivered),
            (ErrorClass::Gone, EndKind::Missing, EndKind::Deleted),
            (ErrorClass::Final, EndKind::AlreadyFinal, EndKind::StoppedElsewhere),
            (ErrorClass::Late, EndKind::Late, EndKind::Late),
            (ErrorClass::Superseded, EndKind::Superseded, EndKind::Superseded),
            (ErrorClass::Refused, EndKind::Refused, EndKind::Refused),
        ];
        for (class, before, begun) in rows {
            assert_eq!((EndKind::of(class, Phase::BeforeRun), EndKind::of(class, Phase::Begun)), (before, begun));
        }
    }
}
