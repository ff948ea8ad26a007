//! The generation: a number that rises whenever zxids may start again (decision 3). Kept in the store, shown to
//! executors by a node outside `/job`.

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_cimi::Document;
use slipstream_coordination::session::{Cause, Operation, make_path};

use super::entries::{Entries, EntriesError};
use super::store::{Record, Store, StoreError};
use crate::nodes;

const ID: &str = "generation/current";
const TRIES: usize = 50;

/// Raises the stored generation by one and answers it. Durable when answered.
pub async fn raise(store: &dyn Store) -> Result<i64, StoreError> {
    for _ in 0..TRIES {
        let stored = store.get(ID).await?;
        let generation = stored.as_ref().map_or(0, number) + 1;
        let mut document = Document::new();
        document.insert("id".to_owned(), json!(ID));
        document.insert("generation".to_owned(), json!(generation));
        let document = Arc::new(document);
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

/// The stored generation: another server that shares the store may have raised it since this one started.
pub async fn latest(store: &dyn Store) -> Result<i64, StoreError> {
    Ok(store.get(ID).await?.as_ref().map_or(0, number))
}

fn number(record: &Record) -> i64 {
    record.document.get("generation").and_then(Value::as_i64).unwrap_or(0)
}

/// Writes the generation into its node, which is empty until then, as executors know; unless a server that started at
/// the same time has written a higher one.
pub async fn publish(entries: &Entries, generation: i64) -> Result<(), EntriesError> {
    let session = entries.session().await?;
    make_path(&*session, nodes::GENERATION).await?;
    let data = generation.to_string().into_bytes();
    let mut tries = 0;
    loop {
        tries += 1;
        let shown = session.data(nodes::GENERATION).await?;
        if std::str::from_utf8(&shown.data).is_ok_and(|text| text.parse().is_ok_and(|shown: i64| shown >= generation)) {
            return Ok(());
        }
        let (data, version) = (data.clone(), Some(shown.version));
        match session.commit(vec![Operation::Set { path: nodes::GENERATION.to_owned(), data, version }]).await {
            Err(error) if error.is(Cause::BadVersion) && tries < TRIES => {}
            written => return Ok(written.map(drop)?),
        }
    }
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

    /// Two servers start at the same time: the one that was slower to publish put its lower generation over the other's,
    /// and whoever claimed under it was refused as late for ever.
    #[tokio::test]
    async fn a_lower_generation_is_not_put_over_a_higher_one() {
        let coordinator = Embedded::new();
        let entries = Entries::new(Arc::new(coordinator.clone()));
        let session = coordinator.connect().await.expect("connected");
        for (published, shown) in [(2, "2"), (1, "2"), (3, "3")] {
            publish(&entries, published).await.expect("the coordinator answers");
            let node = session.data(nodes::GENERATION).await.expect("it is there");
            assert_eq!(String::from_utf8_lossy(&node.data), shown);
        }
    }
}
