//! High-water marks in the store of `up`, whose coordinator forgets everything at each start (decision 12).

use std::sync::Arc;

use async_trait::async_trait;
use slipstream_store::{Revision, Store, StoreError, StoreExt};

use crate::distributor::{MarkError, MarkRevision, Marks};
use crate::marks::{HighWaterMark, id, record};

/// Keeps each mark as a document of its own; the document's revision is the mark's.
pub struct StoreMarks {
    store: Arc<dyn Store>,
}

impl StoreMarks {
    /// Marks in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Marks for StoreMarks {
    async fn load(&self, distributor: &str) -> Result<(HighWaterMark, MarkRevision), MarkError> {
        let unreadable = |source| MarkError::Unreadable { name: distributor.to_owned(), source };
        let record = self.store.get(&id(distributor)).await.map_err(|error| match error {
            StoreError::Damaged { source, .. } => unreadable(Box::new(source)),
            error => MarkError::Unreachable { name: distributor.to_owned(), source: Box::new(error) },
        })?;
        let Some(record) = record else { return Ok((HighWaterMark::default(), MarkRevision::None)) };
        let mark = serde_json::from_value(record.ledger).map_err(|error| unreadable(error.into()))?;
        Ok((mark, MarkRevision::Document(record.revision)))
    }

    async fn save(
        &self,
        distributor: &str,
        mark: &HighWaterMark,
        revision: MarkRevision,
    ) -> Result<MarkRevision, MarkError> {
        let saved = match revision {
            MarkRevision::Document(revision) => self.store.replace(record(distributor, mark, revision)).await,
            MarkRevision::None | MarkRevision::Node(_) => {
                self.store.insert(record(distributor, mark, Revision::default())).await
            }
        };
        saved.map(MarkRevision::Document).map_err(|error| match error {
            StoreError::Exists(_) | StoreError::Changed(_) => MarkError::Changed(distributor.to_owned()),
            error => MarkError::Unreachable { name: distributor.to_owned(), source: Box::new(error) },
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use slipstream_store::memory::MemoryStore;

    #[tokio::test]
    async fn a_mark_is_saved_only_over_the_revision_that_was_read() {
        let marks = StoreMarks::new(Arc::new(MemoryStore::default()));
        let none = MarkRevision::None;
        assert_eq!(marks.load("x").await.unwrap(), (HighWaterMark::default(), none));
        let mark = HighWaterMark { pending: Some(Timestamp::UNIX_EPOCH), ..HighWaterMark::default() };
        let first = marks.save("x", &mark, none).await.unwrap();
        assert!(matches!(marks.save("x", &mark, none).await, Err(MarkError::Changed(name)) if name == "x"));
        assert_eq!(marks.load("x").await.unwrap(), (mark.clone(), first));
        let second = marks.save("x", &mark, first).await.unwrap();
        assert!(matches!(marks.save("x", &mark, first).await, Err(MarkError::Changed(_))));
        assert_eq!(marks.load("x").await.unwrap(), (mark, second));
    }
}
