//! What adding and editing do to a document of a declared collection. Pure: no store, no clock (specification 3.5).

use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_cimi::acl::{self, acl_violations};
use slipstream_cimi::dialect::{Kind, SERVICE_ATTRIBUTES, UNDELETABLE_ATTRIBUTES};
use slipstream_cimi::resource::format_time;

use crate::collections::{COMMON, Collection};
use crate::server::auth::caller::Caller;
use crate::server::jobs::schema;

/// Paths whose texts every collection has in an index, where a long one makes searches of everybody slow.
const IN_EVERY_INDEX: [&str; 4] = ["/state", "/action", "/parentJob", "/targetResource/href"];

/// The document that is added. Whether it is valid is not decided here.
pub(super) fn new_document(kind: Kind, id: &str, sent: Document, caller: &Caller, now: Timestamp) -> Document {
    let now = format_time(now);
    let mut document = Document::new();
    for (name, value) in [("id", id), ("resourceURI", kind.resource_uri), ("created", &*now), ("updated", &*now)] {
        document.insert(name.to_owned(), json!(value));
    }
    document.extend(sent.into_iter().filter(|(name, _)| !SERVICE_ATTRIBUTES.contains(&name.as_str())));
    let acl = document.shift_remove("acl").unwrap_or_else(|| owned_by(caller));
    document.insert("acl".to_owned(), acl::with_administrator_rule(acl));
    document
}

/// The access control of a document whose author gave none: it is the author's (specification 3.3).
fn owned_by(caller: &Caller) -> Value {
    match caller.name().filter(|_| !caller.is_administrator()) {
        Some(name) => json!({"owner": {"principal": name, "type": "USER"}}),
        None => acl::default_acl(),
    }
}

/// The stored document without what is to be removed, with the changes instead of what it had at top level.
pub(super) fn edited(mut document: Document, changes: &Document, remove: &[String], now: Timestamp) -> Document {
    document.retain(|name, _| UNDELETABLE_ATTRIBUTES.contains(&name.as_str()) || !remove.contains(name));
    for (name, value) in changes.iter().filter(|(name, _)| !SERVICE_ATTRIBUTES.contains(&name.as_str())) {
        let value = value.clone();
        let value = if name == "acl" { acl::with_administrator_rule(value) } else { value };
        document.insert(name.clone(), value);
    }
    document.insert("updated".to_owned(), json!(format_time(now)));
    document
}

/// Everything that is wrong with a document, one sentence each.
pub(super) fn violations(collection: &Collection, document: &Document) -> Vec<String> {
    let common = document.iter().filter(|(name, _)| COMMON.contains(&name.as_str()));
    let mut violations: Vec<String> = schema::attribute_violations(common).collect();
    violations.extend(document.get("acl").map(acl_violations).unwrap_or_default());
    let whole = |path: &str| {
        let (top, rest) = path[1..].split_once('/').map_or((&path[1..], None), |(top, rest)| (top, Some(rest)));
        let value = document.get(top);
        rest.map_or(value, |rest| value.and_then(|value| value.get(rest)))
    };
    for path in IN_EVERY_INDEX {
        let is_long = |text: &str| text.len() > schema::LONGEST_INDEXED;
        if whole(path).and_then(Value::as_str).is_some_and(is_long) {
            violations.push(format!("{path}: expected a text of at most {} bytes", schema::LONGEST_INDEXED));
        }
    }
    violations.extend(collection.violations(document));
    violations
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::acl::default_acl;

    use super::*;
    use crate::collections::schema::Schema;

    fn collection(schema: Option<Value>) -> Collection {
        Collection {
            kind: Kind::declared("virtual-machine", None),
            indexed: Vec::new(),
            schema: schema.map(|schema| Schema::new(schema).unwrap()),
            is_closed: false,
            users_may_add: true,
        }
    }

    fn document(value: Value) -> Document {
        let Value::Object(document) = value else { panic!("not an object") };
        document
    }

    fn user(name: &str, role: &str) -> Caller {
        Caller::User { name: name.to_owned(), roles: vec![role.to_owned()], session: None }
    }

    fn added(sent: Value, caller: &Caller) -> Document {
        let kind = Kind::declared("virtual-machine", None);
        new_document(kind, "virtual-machine/1", document(sent), caller, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_only_the_server_sets_is_dropped_and_the_author_owns_what_it_adds() {
        let sent = json!({"id": "x", "created": "x", "updated": "x", "resourceURI": "x", "operations": [], "state": "Running"});
        let new = added(sent, &user("jane", "USER"));
        let epoch = "1970-01-01T00:00:00.000Z";
        let expected = json!({
            "id": "virtual-machine/1", "resourceURI": "http://sixsq.com/slipstream/1/VirtualMachine",
            "created": epoch, "updated": epoch, "state": "Running",
            "acl": {"owner": {"principal": "jane", "type": "USER"},
                    "rules": [{"type": "ROLE", "principal": "ADMIN", "right": "ALL"}]},
        });
        assert_eq!(Value::Object(new), expected);
        assert_eq!(added(json!({}), &user("root", "ADMIN"))["acl"], default_acl());
    }

    #[test]
    fn an_edit_replaces_whole_values_after_it_took_some_out() {
        let before = added(json!({"a": {"b": 1}, "c": 2, "d": 3}), &user("jane", "USER"));
        let changes = document(
            json!({"a": {"e": 1}, "id": "x", "operations": [], "acl": {"owner": {"type": "USER", "principal": "joe"}}}),
        );
        let remove = ["c", "acl", "id", "created"].map(str::to_owned);
        let after = edited(before.clone(), &changes, &remove, Timestamp::from_second(1).unwrap());
        assert_eq!((&after["a"], after.get("c"), &after["d"]), (&json!({"e": 1}), None, &json!(3)));
        assert_eq!((&after["id"], &after["created"]), (&before["id"], &before["created"]));
        assert_eq!(after["updated"], "1970-01-01T00:00:01.000Z");
        assert_eq!(after["acl"]["rules"].as_array().unwrap().len(), 1, "administrators may do everything");
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let schema = json!({"properties": {"ip": {"type": "string"}}});
        let strict = collection(Some(schema));
        let check = |sent| violations(&strict, &added(sent, &user("jane", "USER")));
        assert_eq!(
            check(json!({"ip": "10.0.0.1", "free": [1], "state": "Running", "properties": {"a": "b"}})),
            [""; 0]
        );
        for (sent, start) in [
            (json!({"name": ""}), "name: "),
            (json!({"properties": {"a": 1}}), "properties: "),
            (json!({"parent": "No Id"}), "parent: "),
            (json!({"acl": {}}), "acl/owner: missing"),
            (json!({"acl": 3}), "acl: "),
            (json!({"state": "x".repeat(513)}), "/state: expected a text of at most 512 bytes"),
            (json!({"targetResource": {"href": "x".repeat(513)}}), "/targetResource/href: "),
            (json!({"ip": 3}), "/ip: "),
        ] {
            let found = check(sent.clone());
            assert!(found.len() == 1 && found[0].starts_with(start), "{sent}: {found:?}");
        }
        assert_eq!(check(json!({"name": "", "ip": 3, "acl": {}})).len(), 3);
        assert_eq!(violations(&collection(None), &added(json!({"ip": 3}), &user("jane", "USER"))), [""; 0]);
    }
}
