//! [`Claims`]: which entries somebody holds.

use slipstream_coordination::queue::EntryName;
use slipstream_coordination::session::{Cause, Node};

use super::{QueueClient, QueueError, text};
use crate::process::paths;

/// How many claims are looked at. Who holds them is not counted where there are more.
const MOST_CLAIMS: usize = 20_000;

/// Which entries somebody holds.
pub struct Claims {
    /// Names of all of them, in order.
    pub names: Vec<EntryName>,
    /// What was looked at, [`MOST_CLAIMS`] at most.
    pub seen: Vec<Claim>,
}

/// A claim as its node shows it.
pub struct Claim {
    /// Of the entry.
    pub name: EntryName,
    /// Who holds it.
    pub claimant: String,
    /// The transaction that made the claim.
    pub zxid: i64,
}

impl Claims {
    /// Lists and reads the claims.
    pub async fn read(queue: &QueueClient) -> Result<Self, QueueError> {
        let names = queue.names_in(paths::TAKEN).await?;
        let mut names: Vec<EntryName> = names.iter().filter_map(|name| EntryName::parse(name)).collect();
        names.sort_unstable();
        let first: Vec<String> = names.iter().take(MOST_CLAIMS).map(ToString::to_string).collect();
        let seen = queue.nodes_in(paths::TAKEN, &first).await?;
        let claim = |(name, node): (String, Result<Node, Cause>)| {
            let node = node.ok()?;
            Some(Claim { name: EntryName::parse(&name)?, claimant: text(&node), zxid: node.created })
        };
        Ok(Self { names, seen: seen.into_iter().filter_map(claim).collect() })
    }

    /// Whether all were looked at.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.names.len() <= MOST_CLAIMS
    }
}
