//! Names and texts of the `slipstream` dialect (columns "S" of `docs/spec/cimi.md`).

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::resource::{Document, is_id};

/// Name of the session cookie.
pub const COOKIE_NAME: &str = "com.sixsq.slipstream.cookie";
/// Id of the cloud entry point.
pub const ENTRY_POINT: &str = "cloud-entry-point";
/// The `resourceURI` of the cloud entry point.
pub const ENTRY_POINT_URI: &str = "http://schemas.dmtf.org/cimi/2/CloudEntryPoint";
/// The rel by which Python programs stop a job.
pub const STOP_REL: &str = "http://schemas.dmtf.org/cimi/2/action/stop";
/// The login template that is always there.
pub const INTERNAL_TEMPLATE: &str = "session-template/internal";
/// Attributes that only the server sets; they are dropped from what clients send.
pub const SERVICE_ATTRIBUTES: &[&str] = &["id", "resourceURI", "created", "updated", "operations"];
/// Attributes that an edit's `select` cannot delete (specification 3.5).
pub const UNDELETABLE_ATTRIBUTES: &[&str] = &["id", "created", "updated", "resourceURI", "acl"];

/// Member of the entry point of a server that takes lists of reports (extension).
pub const REPORTS: &str = "reports";
/// Member of a list of reports: the actions that whoever sends it can run.
pub const ACTIONS: &str = "actions";
/// Where it takes them, below `/api/`.
pub const REPORTS_PLACE: &str = "job/reports";
/// Member of the entry point of a server that takes lists of jobs to add (extension).
pub const BULK_ADD: &str = "bulkAdd";
/// Member of the entry point of a server that tells which store it has: `{"id": …}` (extension).
pub const STORE: &str = "store";
/// Most items of such a list.
pub const MOST_ITEMS: usize = 1_000;

/// A kind of resource: its type as in ids and URLs, and the names derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// As in `/api/<type>`, e.g. `session-template`.
    pub name: &'static str,
    /// The `resourceURI` of one document; a collection's ends in `Collection`.
    pub resource_uri: &'static str,
    /// Key in the entry point and of the list in a collection, e.g. `sessionTemplates`.
    pub plural: &'static str,
}

impl Kind {
    /// The kind of a declared collection of this name, such as `virtual-machine`, with the names that the original would derive
    /// from it; the plural may be another one.
    #[must_use]
    pub fn declared(name: &str, plural: Option<&str>) -> Self {
        let words: String = name.split('-').map(capitalized).collect();
        let plural = plural.map_or_else(|| plural_of(name), str::to_owned);
        Self {
            name: interned(name.to_owned()),
            resource_uri: interned(format!("http://sixsq.com/slipstream/1/{words}")),
            plural: interned(plural),
        }
    }
}

/// Whether a collection may be declared by this name: lower-case words with hyphens between them, so that ids can begin
/// with it, which is none of what the server has itself.
pub fn check_declared(name: &str) -> Result<(), String> {
    let is_name = name.len() <= LONGEST_KIND && is_id(name) && !name.contains('/') && !name.contains("--");
    if !is_name {
        return Err(format!(
            "`{name}` is not the name of a collection, use up to {LONGEST_KIND} lower-case letters and hyphens, such as \
             `virtual-machine`"
        ));
    }
    if OWN.contains(&name) {
        return Err(format!("`{name}` is a name of the server itself, choose another"));
    }
    Ok(())
}

/// Whether the documents of a collection may be called so, in it and in the entry point.
pub fn check_plural(plural: &str) -> Result<(), String> {
    let is_name = (1..=LONGEST_KIND).contains(&plural.len()) && plural.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !is_name {
        return Err(format!("`{plural}` is not a plural, use up to {LONGEST_KIND} letters, such as `virtualMachines`"));
    }
    if OWN_MEMBERS.contains(&plural) {
        return Err(format!("the server itself calls something `{plural}`, choose another `plural`"));
    }
    Ok(())
}

/// Longest name of a declared kind, and longest plural, in bytes.
const LONGEST_KIND: usize = 64;
/// Kinds and places that every server has, and the types of what it keeps for itself.
const OWN: [&str; 17] = [
    "cloud-entry-point",
    "distributor",
    "doctor",
    "executor",
    "generation",
    "high-water-mark",
    "history-hour",
    "history-minute",
    "job",
    "notices",
    "operation",
    "overview",
    "queue",
    "session",
    "session-template",
    "store",
    "user",
];
/// Members of the entry point and of collections.
const OWN_MEMBERS: [&str; 22] = [
    "acl",
    "aggregations",
    "baseURI",
    "bulkAdd",
    "bulkOperations",
    "count",
    "created",
    "description",
    "id",
    "jobs",
    "name",
    "next",
    "operations",
    "parent",
    "properties",
    "reports",
    "resourceURI",
    "sessionTemplates",
    "sessions",
    "store",
    "updated",
    "users",
];

/// `virtualMachines` of `virtual-machine`.
fn plural_of(name: &str) -> String {
    let mut words = name.split('-');
    let mut plural = words.next().unwrap_or_default().to_owned();
    plural.extend(words.map(capitalized));
    let is_hissed = ["s", "x", "z", "ch", "sh"].iter().any(|end| plural.ends_with(end));
    match plural.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'i', 'o', 'u'])) {
        Some(stem) => format!("{stem}ies"),
        None if is_hissed => format!("{plural}es"),
        None => format!("{plural}s"),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The text for as long as the process lives: kinds are passed around everywhere, and there are few of them. However often
/// a configuration is read, each name is kept once.
fn interned(text: String) -> &'static str {
    static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kept) = kept.get(text.as_str()) {
        return kept;
    }
    let text: &'static str = text.leak();
    kept.insert(text);
    text
}

/// Jobs.
pub const JOB: Kind = Kind { name: "job", resource_uri: "http://sixsq.com/slipstream/1/Job", plural: "jobs" };
/// Sessions.
pub const SESSION: Kind =
    Kind { name: "session", resource_uri: "http://sixsq.com/slipstream/1/Session", plural: "sessions" };
/// Login templates.
pub const SESSION_TEMPLATE: Kind = Kind {
    name: "session-template",
    resource_uri: "http://sixsq.com/slipstream/1/SessionTemplate",
    plural: "sessionTemplates",
};

/// Users.
pub const USER: Kind = Kind { name: "user", resource_uri: "http://sixsq.com/slipstream/1/User", plural: "users" };

/// Bulk operations (extension). Their list in a collection is not called `operations`, which are what may be done.
pub const OPERATION: Kind =
    Kind { name: "operation", resource_uri: "http://sixsq.com/slipstream/1/Operation", plural: "bulkOperations" };

/// The list of documents in a collection: its one member that is an array and not `operations`.
#[must_use]
pub fn collection_members(collection: Document) -> Option<Vec<Value>> {
    collection.into_iter().filter(|(name, _)| name != "operations").find_map(|(_, value)| match value {
        Value::Array(members) => Some(members),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_kinds_are_named_as_the_original_names_them() {
        for (name, plural, uri) in [
            ("credential", "credentials", "Credential"),
            ("virtual-machine", "virtualMachines", "VirtualMachine"),
            ("virtual-machine-mapping", "virtualMachineMappings", "VirtualMachineMapping"),
            ("service-offer", "serviceOffers", "ServiceOffer"),
            ("storage-bucket", "storageBuckets", "StorageBucket"),
            ("quota", "quotas", "Quota"),
            ("deployment-parameter", "deploymentParameters", "DeploymentParameter"),
            ("nuvlabox-state-snapshot", "nuvlaboxStateSnapshots", "NuvlaboxStateSnapshot"),
            ("resource-metadata", "resourceMetadatas", "ResourceMetadata"),
            ("session-template", "sessionTemplates", "SessionTemplate"),
            ("external-identity", "externalIdentities", "ExternalIdentity"),
            ("key", "keys", "Key"),
            ("class", "classes", "Class"),
            ("box", "boxes", "Box"),
            ("batch", "batches", "Batch"),
        ] {
            let kind = Kind::declared(name, None);
            let uri = format!("http://sixsq.com/slipstream/1/{uri}");
            assert_eq!((kind.name, kind.plural, kind.resource_uri), (name, plural, &*uri));
        }
        assert_eq!(Kind::declared("user-param", Some("userParam")).plural, "userParam");
    }

    #[test]
    fn a_name_is_kept_once() {
        let [one, other] = [(); 2].map(|()| Kind::declared("kept-once", None));
        assert!(std::ptr::eq(one.name, other.name) && std::ptr::eq(one.resource_uri, other.resource_uri));
    }

    #[test]
    fn names_of_the_server_itself_cannot_be_declared() {
        for kind in [JOB, SESSION, SESSION_TEMPLATE, USER, OPERATION] {
            assert!(check_declared(kind.name).is_err() && check_plural(kind.plural).is_err(), "{}", kind.name);
        }
        let long = "a".repeat(65);
        for bad in
            ["", "Job", "a/b", "-a", "a-", "a--b", "a1", "a_b", ENTRY_POINT, "queue", "high-water-mark", "store", &long]
        {
            assert!(check_declared(bad).is_err(), "{bad}");
        }
        for bad in ["", "a-b", "a b", "a1", REPORTS, BULK_ADD, STORE, "count", "aggregations", &long] {
            assert!(check_plural(bad).is_err(), "{bad}");
        }
        assert_eq!((check_declared("virtual-machine"), check_plural("userParam")), (Ok(()), Ok(())));
    }
}
