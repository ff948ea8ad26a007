//! Who works for the engine, as they say themselves in the registry.

use serde::de::DeserializeOwned;

use super::{QueueClient, QueueError};
use crate::process::registry;

/// Most registrations of one kind that are read.
const MOST_REGISTERED: usize = 10_000;

impl QueueClient {
    /// The registrations below `folder`, each with the name of its node. What a newer version has written otherwise is left
    /// out.
    pub async fn registered<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<(String, T)>, QueueError> {
        let mut names = self.names_in(folder).await?;
        names.truncate(MOST_REGISTERED);
        let nodes = self.nodes_in(folder, &names).await?;
        let understood = |(name, node)| match registry::understood(node) {
            Ok(registered) => Some((name, registered)),
            Err(error) => {
                tracing::debug!(folder, name, %error, "a registration that does not count");
                None
            }
        };
        Ok(nodes.into_iter().filter_map(understood).collect())
    }
}
