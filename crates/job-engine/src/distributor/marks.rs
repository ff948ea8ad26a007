//! [`NodeMarks`]: high-water marks in the node tree.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use slipstream_coordination::Coordinator;
use slipstream_coordination::session::{Error, Session, State, existing, write_over};
use tokio::sync::Mutex;

use super::{MarkError, MarkRevision, Marks};
use crate::marks::{HighWaterMark, path};

/// Marks as JSON in nodes below [`paths::MARKS`](crate::process::paths::MARKS): what a site with `ZooKeeper` uses. A node's version is the mark's
/// revision.
pub struct NodeMarks {
    coordinator: Arc<dyn Coordinator>,
    session: Mutex<Option<Arc<dyn Session>>>,
    /// The last marks that were read or written here: what a coordinator that was wiped has forgotten.
    known: Mutex<HashMap<String, HighWaterMark>>,
}

impl NodeMarks {
    /// Marks at this coordinator, over a session of their own.
    pub fn new(coordinator: Arc<dyn Coordinator>) -> Self {
        Self { coordinator, session: Mutex::new(None), known: Mutex::default() }
    }

    /// The session, or a new one if it has expired.
    async fn session(&self) -> Result<Arc<dyn Session>, Error> {
        let mut kept = self.session.lock().await;
        if let Some(session) = kept.as_ref().filter(|session| *session.state().borrow() != State::Expired) {
            return Ok(Arc::clone(session));
        }
        let session = self.coordinator.connect().await?;
        *kept = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn read(&self, path: &str) -> Result<(Vec<u8>, MarkRevision), Error> {
        let session = self.session().await?;
        session.sync(path).await?;
        let node = existing(session.data(path).await)?;
        Ok(node.map_or((Vec::new(), MarkRevision::None), |node| (node.data, MarkRevision::Node(node.version))))
    }

    async fn write(&self, path: &str, data: Vec<u8>, revision: MarkRevision) -> Result<MarkRevision, Error> {
        let session = self.session().await?;
        let version = if let MarkRevision::Node(version) = revision { Some(version) } else { None };
        write_over(&*session, path, data, version).await?;
        // versions are 32 bits and start again after 2^31 writes: more than a mark ever sees
        Ok(MarkRevision::Node(version.map_or(0, |version| version.wrapping_add(1))))
    }
}

/// A refusal is not an outage.
fn failed(name: &str, source: Error) -> MarkError {
    let name = name.to_owned();
    match source {
        Error::Refused { .. } => MarkError::Refused { name, source },
        source => MarkError::Unreachable { name, source: source.into() },
    }
}

#[async_trait]
impl Marks for NodeMarks {
    async fn load(&self, distributor: &str) -> Result<(HighWaterMark, MarkRevision), MarkError> {
        let (data, revision) = self.read(&path(distributor)).await.map_err(|error| failed(distributor, error))?;
        let mut known = self.known.lock().await;
        if revision == MarkRevision::None {
            return Ok((known.get(distributor).cloned().unwrap_or_default(), revision));
        }
        let mark: HighWaterMark = serde_json::from_slice(&data)
            .map_err(|error| MarkError::Unreadable { name: distributor.to_owned(), source: error.into() })?;
        known.insert(distributor.to_owned(), mark.clone());
        Ok((mark, revision))
    }

    async fn save(
        &self,
        distributor: &str,
        mark: &HighWaterMark,
        revision: MarkRevision,
    ) -> Result<MarkRevision, MarkError> {
        let data = serde_json::to_vec(mark).expect("a mark is texts and times");
        let revision = self.write(&path(distributor), data, revision).await.map_err(|error| {
            if error.is_of_a_change() { MarkError::Changed(distributor.to_owned()) } else { failed(distributor, error) }
        })?;
        self.known.lock().await.insert(distributor.to_owned(), mark.clone());
        Ok(revision)
    }
}
