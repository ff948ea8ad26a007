//! [`Meaning`]: what a failed request means for an attempt.

use slipstream_cimi::{Code, Error};

/// What a failed request means for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// No answer, or one that says nothing about the document: whether every other request would fare alike, another read
    /// tells.
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

/// A failed request, and what it means once it is known whether CIMI answers others.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) meaning: Meaning,
    pub(super) error: Error,
}

impl Meaning {
    /// What `error`, in answer to a request about the document `id`, means.
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
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Self::OutOfReach | Self::TryLater)
    }
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::Refusal;

    use super::*;

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
    fn every_kind_of_failure_has_its_meaning() {
        let rows = [
            (Error::Unreachable { request: String::new(), source: "down".into() }, Meaning::OutOfReach),
            (Error::Unintelligible { request: String::new(), reason: String::new() }, Meaning::OutOfReach),
            (refused(404, None, Some("job/1")), Meaning::Gone),
            (refused(404, None, Some("job/2")), Meaning::OutOfReach),
            (refused(404, None, None), Meaning::OutOfReach),
            (refused(403, None, None), Meaning::OutOfReach),
            (refused(429, None, None), Meaning::OutOfReach),
            (refused(502, None, None), Meaning::OutOfReach),
            (refused(503, None, None), Meaning::OutOfReach),
            (refused(504, None, None), Meaning::OutOfReach),
            (refused(500, None, None), Meaning::OutOfReach),
            (refused(507, None, None), Meaning::OutOfReach),
            (refused(409, None, None), Meaning::TryLater),
            (refused(409, Some(Code::Conflict), None), Meaning::TryLater),
            (refused(409, Some(Code::LateLease), None), Meaning::Late),
            (refused(409, Some(Code::Superseded), None), Meaning::Superseded),
            (refused(409, Some(Code::Final), None), Meaning::Final),
            (refused(400, None, None), Meaning::Refused),
            (refused(413, None, None), Meaning::Refused),
        ];
        for (error, meaning) in rows {
            assert_eq!(Meaning::of(&error, "job/1"), meaning, "{error:?}");
        }
    }
}
