//! Who calls, and what they may do (specification 3.3): a document's access control decides who may view and who may
//! modify it, and whoever may not view it learns nothing of it, not even whether it exists.

use std::collections::BTreeSet;

use slipstream_cimi::acl::{ADMINISTRATORS, ANYBODY, Principal, USERS, modifiers, viewers};
use slipstream_store::StoredDocument;

use crate::server::error::ApiError;

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody that the server knows.
    Anonymous,
    /// The owner of a live session.
    User {
        /// User name.
        name: String,
        /// Roles, e.g. `ADMIN`; the session's id is one of them.
        roles: Vec<String>,
        /// The session's id; none for somebody whom a trusted proxy vouches for.
        session: Option<String>,
    },
}

impl Caller {
    /// Whether this is an administrator, who may do everything everywhere.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::User { roles, .. } => roles.iter().any(|role| role == ADMINISTRATORS),
        }
    }

    /// The user's name, if there is a user.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::User { name, .. } => Some(name),
        }
    }

    /// The session's id, if there is a session.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::User { session, .. } => session.as_deref(),
        }
    }

    /// Everybody whom access control means when it means this caller.
    #[must_use]
    pub fn principals(&self) -> BTreeSet<Principal> {
        let mut principals = BTreeSet::from([Principal::Role(ANYBODY.to_owned())]);
        if let Self::User { name, roles, session } = self {
            principals.insert(Principal::User(name.clone()));
            principals.extend(roles.iter().chain(session).cloned().map(Principal::Role));
        }
        principals
    }

    /// Whether the caller may read a document and find it.
    #[must_use]
    pub fn may_view(&self, document: &StoredDocument) -> bool {
        self.is_administrator() || !viewers(document).is_disjoint(&self.principals())
    }

    /// Whether the caller may edit, stop and delete a document.
    #[must_use]
    pub fn may_modify(&self, document: &StoredDocument) -> bool {
        self.is_administrator() || !modifiers(document).is_disjoint(&self.principals())
    }

    /// Whom searches show documents to; none if everything may be shown.
    #[must_use]
    pub fn searches_as(&self) -> Option<Vec<Principal>> {
        if self.is_administrator() { None } else { Some(self.principals().into_iter().collect()) }
    }

    /// What was read under an id, if the caller may do this with it. Only administrators are told that there is nothing;
    /// everybody else is told the same as of a document that is there and not theirs.
    pub fn permit<Stored>(
        &self,
        id: &str,
        stored: Option<Stored>,
        document: impl FnOnce(&Stored) -> &StoredDocument,
        may: impl FnOnce(&Self, &StoredDocument) -> bool,
    ) -> Result<Stored, ApiError> {
        match stored {
            Some(record) if may(self, document(&record)) => Ok(record),
            None if self.is_administrator() => Err(ApiError::not_found(id)),
            _ => Err(self.refusal(id)),
        }
    }

    /// Refuses everybody but administrators something about one document, whether it exists or not.
    pub fn require_administrator_for(&self, id: &str) -> Result<(), ApiError> {
        if self.is_administrator() { Ok(()) } else { Err(self.refusal(id)) }
    }

    /// Refuses everybody but administrators.
    pub fn require_administrator(&self) -> Result<(), ApiError> {
        if self.is_administrator() { Ok(()) } else { Err(ApiError::credentials_required()) }
    }

    /// Refuses everybody who may not search jobs (specification 5.5).
    pub fn require_user(&self) -> Result<(), ApiError> {
        if self.is_administrator() || self.principals().contains(&Principal::Role(USERS.to_owned())) {
            Ok(())
        } else {
            Err(ApiError::credentials_required())
        }
    }

    /// Names the document only to somebody whose credentials are known (specification 0.3 and quirk 28): everybody
    /// else may be somebody whose session has expired, and logs in.
    fn refusal(&self, id: &str) -> ApiError {
        match self {
            Self::Anonymous => ApiError::credentials_required(),
            Self::User { .. } => ApiError::invalid_credentials(id),
        }
    }
}

#[cfg(test)]
mod tests;
