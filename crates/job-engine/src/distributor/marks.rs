//! [`NodeMarks`]: high-water marks in the node tree.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use slipstream_coordination::Coordinator;
use slipstream_coordination::session::{Cause, Error, Mode, Operation, Session, State, make_path};
use tokio::sync::Mutex;

use super::{MarkError, MarkRevision, Marks};
use crate::marks::{HighWaterMark, path};
use crate::process::paths::MARKS;

/// Marks as JSON in nodes below [`MARKS`]: what a site with `ZooKeeper` uses. A node's version is the mark's
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
        match session.data(path).await {
            Ok(node) => Ok((node.data, MarkRevision::Node(node.version))),
            Err(error) if error.is(Cause::NoNode) => Ok((Vec::new(), MarkRevision::None)),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, path: &str, data: Vec<u8>, revision: MarkRevision) -> Result<MarkRevision, Error> {
        let session = self.session().await?;
        if let MarkRevision::Node(version) = revision {
            session.commit(vec![Operation::Set { path: path.to_owned(), data, version: Some(version) }]).await?;
            // versions are 32 bits and start again after 2^31 writes: more than a mark ever sees
            return Ok(MarkRevision::Node(version.wrapping_add(1)));
        }
        make_path(&*session, MARKS).await?;
        session.commit(vec![Operation::create(path, data, Mode::Persistent)]).await?;
        Ok(MarkRevision::Node(0))
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
            let changed = [Cause::BadVersion, Cause::NodeExists, Cause::NoNode].iter().any(|cause| error.is(*cause));
            if changed { MarkError::Changed(distributor.to_owned()) } else { failed(distributor, error) }
        })?;
        self.known.lock().await.insert(distributor.to_owned(), mark.clone());
        Ok(revision)
    }
}
