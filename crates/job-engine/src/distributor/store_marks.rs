//! High-water marks in the store of `up`, whose coordinator forgets everything at each start (decision 12).

use std::sync::Arc;

use async_trait::async_trait;
use slipstream_store::{Store, StoreError};

use crate::distributor::{MarkError, Marks};
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
    async fn load(&self, distributor: &str) -> Result<(HighWaterMark, u64), MarkError> {
        let unreadable = |source| MarkError::Unreadable { name: distributor.to_owned(), source };
        let record = self.store.get(&id(distributor)).await.map_err(|error| match error {
            StoreError::Damaged { source, .. } => unreadable(Box::new(source)),
            error => MarkError::Unreachable { name: distributor.to_owned(), source: Box::new(error) },
        })?;
        let Some(record) = record else { return Ok((HighWaterMark::default(), 0)) };
        let mark = serde_json::from_value(record.ledger).map_err(|error| unreadable(error.into()))?;
        Ok((mark, record.revision))
    }

    async fn save(&self, distributor: &str, mark: &HighWaterMark, revision: u64) -> Result<u64, MarkError> {
        let record = record(distributor, mark, revision);
        let saved = match revision {
            0 => self.store.insert(record).await.map(|()| 1),
            _ => self.store.replace(record).await,
        };
        saved.map_err(|error| match error {
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
        assert_eq!(marks.load("x").await.unwrap(), (HighWaterMark::default(), 0));
        let mark = HighWaterMark { pending: Some(Timestamp::UNIX_EPOCH), ..HighWaterMark::default() };
        assert_eq!(marks.save("x", &mark, 0).await.unwrap(), 1);
        assert!(matches!(marks.save("x", &mark, 0).await, Err(MarkError::Changed(name)) if name == "x"));
        assert_eq!(marks.load("x").await.unwrap(), (mark.clone(), 1));
        assert_eq!(marks.save("x", &mark, 1).await.unwrap(), 2);
        assert!(matches!(marks.save("x", &mark, 1).await, Err(MarkError::Changed(_))));
    }
}
