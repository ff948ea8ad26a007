//! The coordinator of one process: a node tree in memory.

use std::sync::Arc;

use async_trait::async_trait;

use crate::session::{Coordinator, Error, Session};

/// A coordinator that lives in this process. Cheap to clone: clones share the tree.
#[derive(Clone, Default)]
pub struct Embedded {}

impl Embedded {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        todo!()
    }

    /// Creates persistent nodes with these names and data below `parent` (made if missing), and lifts the parent's
    /// sequence above the highest sequence among the names, so that later sequential names come after them. For the
    /// start of a process whose tree is rebuilt from a store.
    pub fn restore(&self, parent: &str, children: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<(), Error> {
        todo!("{parent} {}", children.into_iter().count())
    }
}

#[async_trait]
impl Coordinator for Embedded {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        todo!()
    }
}
