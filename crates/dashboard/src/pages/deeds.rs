//! What may be done with all jobs of a filter, as paths and buttons have it.

use slipstream_cimi::overview::bulk::Deed;

use crate::api::encoded;

/// As a path has it.
pub fn deed_from_text(text: &str) -> Option<Deed> {
    [Deed::Retry, Deed::Stop, Deed::Delete].into_iter().find(|deed| path_of(*deed) == text)
}

/// As a path has it.
pub fn path_of(deed: Deed) -> &'static str {
    match deed {
        Deed::Retry => "retry",
        Deed::Stop => "stop",
        Deed::Delete => "delete",
    }
}

/// As a button has it.
pub fn name_of(deed: Deed) -> &'static str {
    match deed {
        Deed::Retry => "Retry",
        Deed::Stop => "Stop",
        Deed::Delete => "Delete",
    }
}

/// The path of an operation's page, from where all pages are.
pub fn operation_place(id: &str) -> String {
    let name = id.strip_prefix("operation/").unwrap_or(id);
    format!("operations/{}", encoded(name))
}
