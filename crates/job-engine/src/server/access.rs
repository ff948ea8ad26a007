//! Who calls, and what they may do (specification 3.3): a document's access control decides who may view and who may
//! modify it, and whoever may not view it learns nothing of it, not even whether it exists.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};
use slipstream_cimi::Document;

use super::error::ApiError;

/// Administrators have this role. They may do everything everywhere.
const ADMINISTRATORS: &str = "ADMIN";
/// Whoever has logged in has this role.
const USERS: &str = "USER";
/// Everybody has this role, logged in or not.
const ANYBODY: &str = "ANON";

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
    pub fn may_view(&self, document: &Document) -> bool {
        self.is_administrator() || !viewers(document).is_disjoint(&self.principals())
    }

    /// Whether the caller may edit, stop and delete a document.
    #[must_use]
    pub fn may_modify(&self, document: &Document) -> bool {
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
        document: impl FnOnce(&Stored) -> &Document,
        may: impl FnOnce(&Self, &Document) -> bool,
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

/// Somebody whom access control can name (specification 3.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Principal {
    /// The caller of this name.
    User(String),
    /// Every caller who has this role.
    Role(String),
}

/// `USER jane` or `ROLE ANON`.
impl Display for Principal {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(formatter, "USER {name}"),
            Self::Role(name) => write!(formatter, "ROLE {name}"),
        }
    }
}

/// Whom a document's access control lets see it: its owner, and whoever has VIEW, MODIFY or ALL by a rule. A rule with
/// any other right shows nothing.
#[must_use]
pub fn viewers(document: &Document) -> BTreeSet<Principal> {
    with_rights(document, &["VIEW", "MODIFY", "ALL"])
}

/// Whom a document's access control lets edit, stop and delete it: its owner, and whoever has MODIFY or ALL by a rule.
#[must_use]
pub fn modifiers(document: &Document) -> BTreeSet<Principal> {
    with_rights(document, &["MODIFY", "ALL"])
}

/// The owner, and everybody with one of these rights by a rule.
fn with_rights(document: &Document, rights: &[&str]) -> BTreeSet<Principal> {
    let Some(acl) = document.get("acl") else { return BTreeSet::new() };
    let rules = acl.get("rules").and_then(Value::as_array).into_iter().flatten();
    let granted = rules.filter(|rule| rule["right"].as_str().is_some_and(|right| rights.contains(&right)));
    acl.get("owner").into_iter().chain(granted).filter_map(principal).collect()
}

fn principal(of: &Value) -> Option<Principal> {
    let name = of["principal"].as_str()?.to_owned();
    match of["type"].as_str()? {
        "USER" => Some(Principal::User(name)),
        "ROLE" => Some(Principal::Role(name)),
        _ => None,
    }
}

/// The access control of a document whose author gave none. Only administrators add documents that have one.
#[must_use]
pub fn default_acl() -> Value {
    with_administrator_rule(json!({"owner": {"principal": ADMINISTRATORS, "type": "ROLE"}}))
}

/// Adds the rule that every stored document has: administrators may do everything.
#[must_use]
pub fn with_administrator_rule(mut acl: Value) -> Value {
    let rule = json!({"type": "ROLE", "principal": ADMINISTRATORS, "right": "ALL"});
    if let Some(acl) = acl.as_object_mut() {
        let rules = acl.entry("rules").or_insert_with(|| json!([]));
        if let Some(rules) = rules.as_array_mut()
            && !rules.contains(&rule)
        {
            rules.push(rule);
        }
    }
    acl
}

/// What is wrong with an access control value, one sentence each.
#[must_use]
pub fn acl_violations(acl: &Value) -> Vec<String> {
    let Some(acl) = acl.as_object() else { return vec!["acl: expected an object with owner and rules".to_owned()] };
    let mut violations = Vec::new();
    for member in acl.keys().filter(|member| !matches!(member.as_str(), "owner" | "rules")) {
        violations.push(format!("acl/{member}: unknown attribute"));
    }
    match acl.get("owner") {
        Some(owner) => violations.extend(principal_violations("acl/owner", owner, false)),
        None => violations.push("acl/owner: missing".to_owned()),
    }
    match acl.get("rules") {
        None => {}
        Some(Value::Array(rules)) if rules.len() > MOST_RULES => {
            violations.push(format!("acl/rules: expected at most {MOST_RULES} rules, got {}", rules.len()));
        }
        Some(Value::Array(rules)) if !rules.is_empty() => {
            for (index, rule) in rules.iter().enumerate() {
                violations.extend(principal_violations(&format!("acl/rules/{index}"), rule, true));
            }
        }
        Some(_) => violations.push("acl/rules: expected a list of at least one rule".to_owned()),
    }
    violations
}

/// Whoever a document names is kept for all its readers' searches; many make everybody's writes slow.
pub const MOST_RULES: usize = 256;
/// Longest name of a principal, in bytes.
const LONGEST_NAME: usize = 512;

const RIGHTS: [&str; 11] = [
    "VIEW",
    "MODIFY",
    "ALL",
    "VIEW_ACL",
    "VIEW_DATA",
    "VIEW_META",
    "EDIT_ACL",
    "EDIT_DATA",
    "EDIT_META",
    "DELETE",
    "MANAGE",
];

fn principal_violations(place: &str, principal: &Value, with_right: bool) -> Vec<String> {
    let Some(principal) = principal.as_object() else { return vec![format!("{place}: expected an object")] };
    let text = |document: &Document, member: &str| document.get(member).and_then(Value::as_str).map(str::to_owned);
    let mut violations = Vec::new();
    if !matches!(text(principal, "type").as_deref(), Some("USER" | "ROLE")) {
        violations.push(format!("{place}/type: expected USER or ROLE"));
    }
    if text(principal, "principal").is_none_or(|name| name.trim().is_empty() || name.len() > LONGEST_NAME) {
        violations.push(format!("{place}/principal: expected a name of at most {LONGEST_NAME} bytes"));
    }
    if with_right && text(principal, "right").is_none_or(|right| !RIGHTS.contains(&right.as_str())) {
        violations.push(format!("{place}/right: expected one of {}", RIGHTS.join(", ")));
    }
    let known = |member: &str| matches!(member, "type" | "principal") || (with_right && member == "right");
    for member in principal.keys().filter(|member| !known(member)) {
        violations.push(format!("{place}/{member}: unknown attribute"));
    }
    violations
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
