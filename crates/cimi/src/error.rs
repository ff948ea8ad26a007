//! What can go wrong between a client and a server.

use serde::{Deserialize, Serialize};

/// Why a server answered 409, for programs (decision 5); the member `code` of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// A write under a lease lower than one already seen.
    LateLease,
    /// Another queue entry of this job is the recorded one and still exists.
    Superseded,
    /// The job is in a final state.
    Final,
    /// Anything else that contradicts the stored document.
    Conflict,
    /// More jobs match than were counted.
    Changed,
}

impl Code {
    /// As it is on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LateLease => "late-lease",
            Self::Superseded => "superseded",
            Self::Final => "final",
            Self::Conflict => "conflict",
            Self::Changed => "changed",
        }
    }
}

/// An answer with a status of 400 or above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[error("{message} (status {status})")]
pub struct Refusal {
    /// The HTTP status, repeated in the body.
    pub status: u16,
    /// For the caller.
    pub message: String,
    /// The document that the refusal is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Set on 409.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// Joins this answer to the server's log (decision 19).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer came: whether the request was carried out is not known.
    #[error("no answer to {request}")]
    Unreachable {
        /// Method and path.
        request: String,
        /// What the transport says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered with a status of 400 or above.
    #[error("{request} was refused")]
    Refused {
        /// Method and path.
        request: String,
        /// The answer.
        #[source]
        refusal: Refusal,
    },
    /// The server answered with something that is not CIMI.
    #[error("cannot understand the answer to {request}: {reason}")]
    Unintelligible {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Method and path of the request that has no good answer.
    #[must_use]
    pub fn request(&self) -> &str {
        match self {
            Self::Unreachable { request, .. }
            | Self::Refused { request, .. }
            | Self::Unintelligible { request, .. } => request,
        }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            Self::Unreachable { .. } | Self::Unintelligible { .. } => None,
        }
    }

    /// Whether the server itself says that the document `id` does not exist: only a CIMI body that names it counts
    /// (decision 16), a proxy's 404 does not.
    #[must_use]
    pub fn is_not_found(&self, id: &str) -> bool {
        self.refusal().is_some_and(|refusal| refusal.status == 404 && refusal.resource_id.as_deref() == Some(id))
    }

    /// Whether the same request may succeed later: no answer, not CIMI, 404 that is not the server's own, 429 or 5xx.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Unintelligible { .. } => true,
            Self::Refused { refusal, .. } => {
                let is_foreign = refusal.status == 404 && refusal.resource_id.is_none();
                is_foreign || refusal.status >= 500 || refusal.status == 429
            }
        }
    }
}
