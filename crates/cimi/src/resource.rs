//! What all documents have in common (specification section 3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A document as it travels and as it is stored: attribute → value, in the order written.
pub type Document = Map<String, Value>;

/// A reference to another document; a link may carry further members, which are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Id of the document referred to, e.g. `credential/abc`.
    pub href: String,
    /// Further members of the link object.
    #[serde(flatten)]
    pub members: Document,
}

impl Link {
    /// A link with nothing but its `href`.
    pub fn to(href: impl Into<String>) -> Self {
        Self { href: href.into(), members: Document::new() }
    }
}

/// One thing that may be done with a document or a collection (specification 3.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What it does: `add`, `edit`, `delete` or an action URI.
    pub rel: String,
    /// Where, relative to `/api/`.
    pub href: String,
}
