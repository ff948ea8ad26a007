//! Distributors: what creates the jobs of one kind on a schedule.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use slipstream_cimi::Client;
use slipstream_coordination::Coordinator;

use crate::clock::Clock;
use crate::stop::Stop;

/// The schedule time up to which a distributor has distributed (decision 12).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWaterMark {
    /// The round that was begun and may be half done.
    pub pending: Option<Timestamp>,
    /// The last round that was wholly done.
    pub done: Option<Timestamp>,
}

/// Why a mark was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// Another leader wrote it since it was read.
    #[error("the high-water mark of {0} was changed meanwhile")]
    Changed(String),
    /// It is out of reach.
    #[error("cannot reach the high-water mark of {name}")]
    Unreachable {
        /// Name of the distributor.
        name: String,
        /// What the keeper says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keeps high-water marks: for `up` its store.
#[async_trait]
pub trait Marks: Send + Sync {
    /// The mark, with a revision for [`Marks::save`]; a mark that was never saved is empty and has revision 0.
    async fn load(&self, distributor: &str) -> Result<(HighWaterMark, u64), MarkError>;
    /// Replaces the mark if it still has this revision, and answers the new one. Durable when answered.
    async fn save(&self, distributor: &str, mark: &HighWaterMark, revision: u64) -> Result<u64, MarkError>;
}

/// What leaders of one kind share.
#[derive(Clone)]
pub struct Surroundings {
    /// Where leadership is won.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where jobs are added.
    pub client: Client,
    /// Where high-water marks are kept.
    pub marks: Arc<dyn Marks>,
    /// The time of day.
    pub clock: Clock,
    /// What this process is called in elections.
    pub name: String,
}
// lead_and_distribute(distributor: Arc<dyn Distributor>, surroundings: Surroundings, stop: Stop) comes here.
#[expect(dead_code, reason = "skeleton")]
fn unused(_: Stop) {}
