//! Names and texts of the `slipstream` dialect (columns "S" of `docs/spec/cimi.md`).

use serde_json::Value;

use crate::resource::Document;

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
/// Member of that: whether items may have keys of their own.
pub const ITEM_KEYS: &str = "itemKeys";
/// Member of an item of such a list: its own key, which makes its add repeatable in whatever list it is sent.
pub const ITEM_KEY: &str = "idempotencyKey";
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
