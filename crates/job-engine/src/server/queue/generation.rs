//! The generation: a number that rises whenever zxids may start again (decision 3). Kept in the store, shown to
//! executors by a node outside `/job`.
//!
//! With a coordinator that forgets everything with its process it rises at each start. Any other one is watched: one
//! that does not show a generation has forgotten it, and one whose newest transaction is older than the highest lease in
//! the store has gone back. Leases alone decide who may write; the generation only sees to it that leases go on rising,
//! so that nobody is refused for ever. Executors need not be told: whoever claims under an old one is refused as late at
//! the first job that knows a newer one, and reads the node again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use serde_json::{Value, json};
use slipstream_action::with_causes;
use slipstream_cimi::{Document, Lease};
use slipstream_coordination::Error;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::session::{Mode, Operation, Session, State, existing, write_over};
use slipstream_store::each_unfinished;
use slipstream_store::{Record, Revision, Store, StoreError, StoreExt, StoredDocument};
use tokio::sync::Mutex;

use super::QueueClient;
use crate::process::paths;

#[cfg(test)]
mod tests;

const ID: &str = "generation/current";
const TRIES: usize = 50;
/// How far the generation that a coordinator shows may be ahead of the store's to be taken over. It rises by one when a
/// coordinator has forgotten or was put back and at each `queue restore`: a store that was put back is behind by as many
/// of these as there were since. A million is one each minute for two years; more was written by nobody who counts.
const MOST_AHEAD: i64 = 1_000_000;

/// Why the generation cannot be told or shown.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The store.
    #[error("cannot read or raise the generation")]
    Store(#[from] StoreError),
    /// The coordinator.
    #[error("cannot publish the generation")]
    Coordinator(#[from] Error),
}

/// The generation of one store, as one server keeps it.
pub struct Generation {
    store: Arc<dyn Store>,
    coordinator_forgets: bool,
    /// The highest one that this server knows of; the store may be ahead of it.
    known: AtomicI64,
    /// This server has raised it and nobody has been shown it: a coordinator without it has forgotten nothing.
    is_new: AtomicBool,
    /// Of two who agree at the same time the second would take what the first has not shown yet for forgotten.
    agreeing: Mutex<()>,
}

impl Generation {
    /// Raises it if the coordinator forgets everything at each start, or if the store has none.
    pub async fn begin(store: Arc<dyn Store>, coordinator_forgets: bool) -> Result<Self, StoreError> {
        let (known, is_new) = (AtomicI64::default(), AtomicBool::default());
        let generation = Self { store, coordinator_forgets, known, is_new, agreeing: Mutex::default() };
        if coordinator_forgets || generation.latest().await? == 0 {
            generation.raise().await?;
            generation.is_new.store(true, Ordering::Relaxed);
        }
        Ok(generation)
    }

    /// The highest one that this server knows of.
    #[must_use]
    pub fn known(&self) -> i64 {
        self.known.load(Ordering::Relaxed)
    }

    /// The stored one: another server that shares the store may have raised it since.
    pub async fn latest(&self) -> Result<i64, StoreError> {
        let latest = self.store.get(ID).await?.as_ref().map_or(0, number);
        self.known.fetch_max(latest, Ordering::Relaxed);
        Ok(latest)
    }

    /// Raises the stored one by one and answers it. Durable when answered.
    pub async fn raise(&self) -> Result<i64, StoreError> {
        self.write(|stored| Some(stored + 1)).await
    }

    /// Writes another one, if there is to be another one, and answers the stored one.
    async fn write(&self, next: impl Fn(i64) -> Option<i64>) -> Result<i64, StoreError> {
        for _ in 0..TRIES {
            let stored = self.store.get(ID).await?;
            let before = stored.as_ref().map_or(0, number);
            let generation = next(before).unwrap_or(before);
            let mut document = Document::new();
            document.insert("id".to_owned(), json!(ID));
            document.insert("generation".to_owned(), json!(generation));
            let document = StoredDocument::from(document);
            let written = match stored {
                Some(_) if generation == before => Ok(()),
                Some(record) => self.store.replace(Record { document, ..record }).await.map(drop),
                None => self
                    .store
                    .insert(Record { id: ID.to_owned(), revision: Revision::default(), document, ledger: Value::Null })
                    .await
                    .map(drop),
            };
            match written {
                Ok(()) => {
                    self.known.fetch_max(generation, Ordering::Relaxed);
                    return Ok(generation);
                }
                Err(StoreError::Changed(_) | StoreError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Changed(ID.to_owned()))
    }

    /// Makes store and coordinator agree, and answers on what. A coordinator that shows none, or no number, has
    /// forgotten everything, so that the generation rises; of two that differ the higher one holds: the store may have
    /// been put back, too. One that is ahead by more than a million is nobody's: the store's rises and replaces it.
    pub async fn agree(&self, session: &dyn Session) -> Result<i64, GenerationError> {
        let _one_at_a_time = self.agreeing.lock().await;
        for _ in 0..TRIES {
            let node = existing(session.data(paths::GENERATION).await)?;
            // the store is not asked in each round: whoever raises it in the store shows it too
            if node.as_ref().is_some_and(|node| paths::shown_generation(&node.data) == Some(self.known())) {
                self.is_new.store(false, Ordering::Relaxed);
                return Ok(self.known());
            }
            let stored = self.latest().await?;
            let next = match node.as_ref().and_then(|node| paths::shown_generation(&node.data)) {
                Some(shown) if shown == stored => continue,
                // what it should show lies above all that was stored, so that nobody is refused for ever
                Some(shown) if shown > stored.saturating_add(MOST_AHEAD) => {
                    let raised = self.raise().await?;
                    tracing::error!(
                        shown,
                        stored,
                        generation = raised,
                        "ignoring the coordinator's generation, which is too far ahead of the store's"
                    );
                    raised
                }
                Some(shown) if shown > stored => {
                    let lifted = self.write(|stored| (stored < shown).then_some(shown)).await?;
                    tracing::warn!(generation = lifted, "the coordinator has a later generation than the store");
                    continue;
                }
                Some(_) => stored,
                None if self.is_new.load(Ordering::Relaxed) => stored,
                None => {
                    let raised = self.raise().await?;
                    tracing::warn!(generation = raised, "the coordinator lost the generation, raising it");
                    raised
                }
            };
            let data = next.to_string().into_bytes();
            match write_over(session, paths::GENERATION, data, node.map(|node| node.version)).await {
                Ok(()) => {
                    self.is_new.store(false, Ordering::Relaxed);
                    return Ok(next);
                }
                // another server was faster
                Err(error) if error.is_of_a_change() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Changed(ID.to_owned()).into())
    }

    /// Raises it if the newest transaction of the coordinator is older than the highest lease of a job that is not
    /// final, which the caller has read before.
    pub async fn compare(&self, session: &dyn Session, highest: Option<Lease>) -> Result<(), GenerationError> {
        let Some(highest) = highest.filter(|highest| !self.coordinator_forgets && highest.generation >= self.known())
        else {
            return Ok(());
        };
        let newest = newest_transaction(session).await?;
        if newest >= highest.zxid {
            return Ok(());
        }
        if self.latest().await? > highest.generation {
            // another server has noticed it, too
            return self.agree(session).await.map(drop);
        }
        let generation = self.raise().await?;
        tracing::warn!(
            generation,
            %highest,
            newest,
            "the newest transaction of the coordinator is older than the highest lease, raising the generation"
        );
        self.agree(session).await.map(drop)
    }

    /// [`agree`](Self::agree) and [`compare`](Self::compare) at the beginning of a session.
    async fn check(&self, session: &dyn Session) -> Result<(), GenerationError> {
        self.agree(session).await?;
        if self.coordinator_forgets {
            return Ok(());
        }
        let mut highest = None;
        each_unfinished(&*self.store, |job| highest = highest.max(job.lease)).await?;
        self.compare(session, highest).await
    }
}

/// Checks it at the beginning of each session, as long as there is a server. Says so once when that fails, and once when
/// it is done after all.
pub async fn watch(generation: Arc<Generation>, queue: Arc<QueueClient>) -> Infallible {
    let mut pauses = Pauses::default();
    let mut complaint = Complaint::default();
    loop {
        let (session, _) = queue.connected().await;
        match generation.check(&*session).await {
            Ok(()) => {
                if complaint.settle() {
                    tracing::info!("generation published");
                }
                pauses.reset();
                let mut state = session.state();
                // an error says the same: nobody changes the state any more
                drop(state.wait_for(|state| *state == State::Expired).await);
            }
            Err(error) => {
                if complaint.is_first() {
                    tracing::warn!(error = with_causes(&error), "cannot check the generation yet, retrying");
                }
                tokio::time::sleep(pauses.take()).await;
            }
        }
    }
}

fn number(record: &Record) -> i64 {
    record.document.get("generation").and_then(Value::as_i64).unwrap_or(0)
}

/// The transaction that made a node, which goes at once, or with the session.
async fn newest_transaction(session: &dyn Session) -> Result<i64, Error> {
    let probe = Operation::create(format!("{}/probe-", paths::OWN), "", Mode::EphemeralSequential);
    let path = session.commit(vec![probe]).await?.concat();
    let node = session.data(&path).await;
    let deleted = session.commit(vec![Operation::delete(path)]).await;
    let created = node?.created;
    deleted.map(|_| created)
}
