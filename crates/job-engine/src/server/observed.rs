//! [`observe`]: what is read of a server when somebody asks for its metrics, or whether it is ready.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::{Document, State};
use slipstream_store::{Query, Record, Revision, Store, StoreError, Write};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Shared;
use crate::process::metrics::Metrics;

/// How long an answer of the store counts: whoever asks more often is not to keep it busy.
const FRESH: Duration = Duration::from_secs(1);
/// Id of a job that there is not.
const NO_JOB: &str = "job/that-is-never-stored";

/// Has the numbers of jobs read before each answer, and the store asked to write before this server is called ready. Ends
/// with the server.
pub(super) fn observe(shared: &Arc<Shared>, metrics: &Metrics) {
    let server = Arc::downgrade(shared);
    metrics.refresh_by(move || Box::pin(count_jobs(server.clone())));
    let (server, last) = (Arc::downgrade(shared), Arc::new(Mutex::new(None)));
    metrics.health().needs("store", move || {
        let (server, last) = (server.clone(), last.clone());
        Box::pin(async move { look(&server, &last).await })
    });
}

/// How many jobs there are, which the store knows without looking at any.
async fn count_jobs(server: Weak<Shared>) {
    let Some(shared) = server.upgrade() else { return };
    for state in State::ALL {
        let state_is = Literal::Text(state.as_str().to_owned());
        let filter = Filter::Compare(Attribute("state".to_owned()), Comparison::Equal, state_is);
        let query = Query { filter: Some(filter), ..Query::default() };
        match shared.store.search(JOB.name, &query).await {
            Ok(found) => shared.metrics.has_jobs(state, found.count),
            Err(error) => return tracing::debug!(%error, "cannot count the jobs"),
        }
    }
}

/// Why the store does not write, asked once for all who want to know at the same time.
async fn look(server: &Weak<Shared>, last: &Mutex<Option<(Instant, Result<(), String>)>>) -> Result<(), String> {
    let mut last = last.lock().await;
    if let Some((when, found)) = &*last
        && when.elapsed() < FRESH
    {
        return found.clone();
    }
    let Some(shared) = server.upgrade() else { return Err("closed".to_owned()) };
    let found = writes(&*shared.store).await.map_err(|error| {
        tracing::debug!(%error, "not ready");
        // whoever asks need not be logged in: the log says which file
        "it does not write, see the log".to_owned()
    });
    *last = Some((Instant::now(), found.clone()));
    found
}

/// Asks for a write that changes nothing, of the kind that is refused first when space is short: another state of a job
/// that there is not.
async fn writes(store: &dyn Store) -> Result<(), StoreError> {
    let state: Value = json!(State::Running.as_str());
    let document = Document::from_iter([("id".to_owned(), json!(NO_JOB)), ("state".to_owned(), state)]).into();
    let record = Record { id: NO_JOB.to_owned(), revision: Revision::default(), document, ledger: Value::Null };
    match store.write(vec![Write::Replace(record)]).await.pop() {
        Some(Err(StoreError::Changed(_)) | Ok(_)) | None => Ok(()),
        Some(Err(error)) => Err(error),
    }
}
