//! [`SeenStore`]: the documents as one server reaches them: slow at times, refusing at times, and always watched.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use slipstream_cimi::filter::Filter;
use slipstream_job_engine::internals::server::ledger_of;
use slipstream_store::{Found, IndexRow, Query, Record, Revision, Store, StoreError, StoreExt, Write};

use crate::board;
use crate::broken::Broken;
use crate::life::Life;
use crate::plan::Fault;
use crate::world::World;

/// The documents as one process reaches them.
pub struct SeenStore {
    world: Arc<World>,
    life: Arc<Life>,
}

impl SeenStore {
    /// For this process.
    pub fn new(world: Arc<World>, life: Arc<Life>) -> Self {
        Self { world, life }
    }

    async fn before(&self, what: &str, id: &str) -> Result<(), StoreError> {
        // the documents of a process end in what it drew at random, which no fault may hang on
        let id = id.split('_').next().unwrap_or(id);
        if id.starts_with("generation/") {
            self.life.starting.store(false, Ordering::Relaxed);
        }
        if self.life.is_starting() {
            return Ok(());
        }
        self.life.step().await;
        let (slow, outage) = self.world.store_is();
        let most = if slow { 3000 } else { 2 };
        // sessions have ids that are drawn at random
        let id = if id.starts_with("session/") { "session" } else { id };
        let wait = self.world.below(most, &self.life.name, &format!("{what} {id}"));
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            self.life.step().await;
        }
        if outage || self.world.meets(Fault::StoreError, &self.life, &format!("{what} {id}")) {
            return Err(StoreError::failed(format!("{what} {id}"), "the disk is on fire"));
        }
        Ok(())
    }

    /// Done, but the process may have died before it heard of it.
    async fn after<T>(&self, done: T) -> T {
        if !self.life.is_starting() {
            self.life.step().await;
        }
        done
    }

    fn seen(&self, before: Option<&Record>, after: &Record) {
        let Some(before) = before.filter(|_| after.id.starts_with("job/")) else { return };
        let state = |record: &Record| record.document.get("state").and_then(Value::as_str).unwrap_or("?").to_owned();
        let under = board::writer(after).map_or(String::new(), |lease| format!(" by {lease}"));
        let kept = ledger_of(after)
            .expect("a readable ledger")
            .lease
            .map_or(String::new(), |lease| format!(", lease {lease}"));
        self.world
            .trace
            .note(&self.life.name, &format!("{} {} -> {}{under}{kept}", after.id, state(before), state(after)));
        self.world.board().replaced(before, after);
    }
}

impl SeenStore {
    async fn read_one(&self, id: &str) -> Result<Option<Record>, StoreError> {
        self.before("get", id).await?;
        let done = self.world.documents.get(id).await;
        self.after(done).await
    }

    async fn write_one(&self, mut write: Write) -> Result<Revision, StoreError> {
        let what = match write {
            Write::Create(_) => "insert",
            Write::Replace(_) => "replace",
            Write::Remove(..) => "remove",
        };
        let id = write.id().to_owned();
        self.before(what, &id).await?;
        let stored = board::read(&self.world.documents, &id);
        if let (Write::Replace(record), Some(stored)) = (&mut write, &stored)
            && self.world.broken == Broken::IgnoresRevision
        {
            record.revision = stored.revision;
        }
        let done = self.world.documents.write(vec![write.clone()]).await.remove(0);
        match write {
            Write::Replace(record) if done.is_ok() => self.seen(stored.as_ref(), &record),
            Write::Remove(..) if done.is_ok() && id.starts_with("job/") => {
                self.world.board().deleted(&id);
                self.world.trace.note(&self.life.name, &format!("{id} removed"));
            }
            _ => {}
        }
        self.after(done).await
    }
}

#[async_trait]
impl Store for SeenStore {
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        let mut found = Vec::new();
        for id in ids {
            found.push(self.read_one(id).await);
        }
        found
    }

    async fn write(&self, writes: Vec<Write>) -> Vec<Result<Revision, StoreError>> {
        let mut answers = Vec::new();
        for write in writes {
            answers.push(self.write_one(write).await);
        }
        answers
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        self.before("query", kind).await?;
        let done = self.world.documents.search(kind, query).await;
        self.after(done).await
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        self.before("query", "job").await?;
        let done = self.world.documents.index_rows(after, limit).await;
        self.after(done).await
    }

    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        self.before("remove_matching", kind).await?;
        let done = self.world.documents.remove_matching(kind, filter).await;
        self.after(done).await
    }
}
