//! [`HighWaterMark`]: how far a distributor is. Leaders read and write it; the server makes it anew when it is asked to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use slipstream_cimi::Document;
use slipstream_store::{Record, Revision};

use crate::process::paths;

/// The schedule time up to which a distributor has distributed (decision 12).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWaterMark {
    /// The round that was begun and may be half done.
    pub pending: Option<Timestamp>,
    /// The last round that was wholly done, or the time from which on rounds count.
    pub done: Option<Timestamp>,
    /// The schedule whose times these are, as it is shown; none in a mark that does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What the mark said before, which was further ahead than clocks may differ by: it counts again once it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Timestamp>,
}

impl HighWaterMark {
    /// One of which rounds count from `now` on.
    #[must_use]
    pub fn from_now_on(now: Timestamp) -> Self {
        Self { done: Some(now), ..Self::default() }
    }
}

/// Path of the node that holds a distributor's mark as JSON, at a site with `ZooKeeper`.
#[must_use]
pub fn path(distributor: &str) -> String {
    format!("{}/{distributor}", paths::MARKS)
}

/// Id of the document whose ledger is a distributor's mark, in the store of `up`.
#[must_use]
pub fn id(distributor: &str) -> String {
    format!("high-water-mark/{distributor}")
}

/// What the store of `up` keeps of a distributor's mark: a document of its own, whose revision is the mark's.
#[must_use]
pub fn record(distributor: &str, mark: &HighWaterMark, revision: Revision) -> Record {
    let id = id(distributor);
    let document = Document::from_iter([("id".to_owned(), json!(id))]).into();
    Record { id, revision, document, ledger: json!(mark) }
}
