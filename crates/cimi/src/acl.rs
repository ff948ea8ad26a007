//! Access control of a document: who may view and who may modify it (specification 3.3).

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

use crate::Document;

/// The role of administrators, who may do everything everywhere.
pub const ADMINISTRATORS: &str = "ADMIN";
/// The role of everybody who has logged in.
pub const USERS: &str = "USER";
/// The role of everybody, logged in or not.
pub const ANYBODY: &str = "ANON";

/// The rights that let somebody see a document.
const VIEW: &[&str] = &["VIEW", "MODIFY", "ALL"];

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
    viewers_by(document.get("acl"))
}

/// As [`viewers`], by the document's access control alone.
#[must_use]
pub fn viewers_by(acl: Option<&Value>) -> BTreeSet<Principal> {
    named(acl, VIEW).map(Principal::from).collect()
}

/// Whether [`viewers_by`] are administrators and nobody else, as of most documents.
#[must_use]
pub fn administrators_alone_view(acl: Option<&Value>) -> bool {
    let mut named = named(acl, VIEW).peekable();
    named.peek().is_some() && named.all(|named| named == ("ROLE", ADMINISTRATORS))
}

/// Whom a document's access control lets edit, stop and delete it: its owner, and whoever has MODIFY or ALL by a rule.
#[must_use]
pub fn modifiers(document: &Document) -> BTreeSet<Principal> {
    named(document.get("acl"), &["MODIFY", "ALL"]).map(Principal::from).collect()
}

/// The owner, and everybody with one of these rights by a rule, each as its type and its name.
fn named<'a>(acl: Option<&'a Value>, rights: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let acl = acl.and_then(Value::as_object);
    let rules = acl.and_then(|acl| acl.get("rules")).and_then(Value::as_array).into_iter().flatten();
    let granted = rules.filter(|rule| text(rule, "right").is_some_and(|right| rights.contains(&right)));
    let owner = acl.and_then(|acl| acl.get("owner"));
    let named = |of| Some((text(of, "type")?, text(of, "principal")?));
    owner.into_iter().chain(granted).filter_map(named).filter(|(kind, _)| matches!(*kind, "USER" | "ROLE"))
}

fn text<'a>(of: &'a Value, name: &str) -> Option<&'a str> {
    of.get(name)?.as_str()
}

/// A type and a name.
impl From<(&str, &str)> for Principal {
    fn from((kind, name): (&str, &str)) -> Self {
        match kind {
            "USER" => Self::User(name.to_owned()),
            _ => Self::Role(name.to_owned()),
        }
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

/// What a rule may grant.
pub const RIGHTS: [&str; 11] = [
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
mod tests {
    use super::*;

    #[test]
    fn the_administrator_rule_is_there_once() {
        let once = default_acl();
        assert_eq!(once["rules"].as_array().map(Vec::len), Some(1));
        assert_eq!(with_administrator_rule(once.clone()), once);
    }

    #[test]
    fn broken_access_control_is_named() {
        let owner = json!({"type": "ROLE", "principal": "ADMIN"});
        let good = json!({"owner": owner, "rules": [{"type": "USER", "principal": "jane", "right": "VIEW"}]});
        assert_eq!(acl_violations(&good), Vec::<String>::new());
        for (bad, place) in [
            (json!("x"), "acl:"),
            (json!({}), "acl/owner:"),
            (json!({"owner": {"type": "GROUP", "principal": "x"}}), "acl/owner/type:"),
            (json!({"owner": {"type": "ROLE", "principal": " "}}), "acl/owner/principal:"),
            (json!({"owner": owner, "rules": []}), "acl/rules:"),
            (
                json!({"owner": owner, "rules": [{"type": "USER", "principal": "j", "right": "READ"}]}),
                "acl/rules/0/right:",
            ),
            (json!({"owner": owner, "rule": []}), "acl/rule:"),
        ] {
            let violations = acl_violations(&bad);
            assert!(violations.iter().any(|violation| violation.starts_with(place)), "{bad}: {violations:?}");
        }
    }
}
