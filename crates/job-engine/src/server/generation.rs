//! The generation: a number that rises whenever zxids may start again (decision 3). Kept in the store, shown to
//! executors by a node outside `/job`.

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_coordination::session::{Operation, make_path};

use super::entries::{Entries, EntriesError};
use super::store::{Record, Store, StoreError};
use crate::nodes;

const ID: &str = "generation/current";
const TRIES: usize = 50;

/// Raises the stored generation by one and answers it. Durable when answered.
pub async fn raise(store: &dyn Store) -> Result<i64, StoreError> {
    for _ in 0..TRIES {
        let stored = store.get(ID).await?;
        let generation =
            stored.as_ref().map_or(0, |record| record.document.get("generation").and_then(Value::as_i64).unwrap_or(0))
                + 1;
        let mut document = Document::new();
        document.insert("id".to_owned(), json!(ID));
        document.insert("generation".to_owned(), json!(generation));
        let written = match stored {
            Some(record) => store.replace(Record { document, ..record }).await.map(|_| ()),
            None => store.insert(Record { id: ID.to_owned(), revision: 0, document, ledger: Value::Null }).await,
        };
        match written {
            Ok(()) => return Ok(generation),
            Err(StoreError::Changed(_) | StoreError::Exists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Changed(ID.to_owned()))
}

/// Writes the generation into its node, which is empty until then, as executors know.
pub async fn publish(entries: &Entries, generation: i64) -> Result<(), EntriesError> {
    let session = entries.session().await?;
    make_path(&*session, nodes::GENERATION).await?;
    let data = generation.to_string().into_bytes();
    let set = Operation::Set { path: nodes::GENERATION.to_owned(), data, version: None };
    session.commit(vec![set]).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slipstream_coordination::{Coordinator, Embedded};

    use super::*;
    use crate::server::store::memory::MemoryStore;

    #[tokio::test]
    async fn every_start_raises_it() {
        let store = MemoryStore::default();
        for expected in 1..=3 {
            assert_eq!(raise(&store).await.expect("the memory store answers"), expected);
        }
    }

    #[tokio::test]
    async fn executors_see_the_latest_one() {
        let coordinator = Embedded::new();
        let entries = Entries::new(Arc::new(coordinator.clone()));
        let session = coordinator.connect().await.expect("connected");
        for generation in [1, 2, 17] {
            publish(&entries, generation).await.expect("published");
            let node = session.data(nodes::GENERATION).await.expect("there");
            assert_eq!(node.data, generation.to_string().into_bytes());
        }
    }
}
