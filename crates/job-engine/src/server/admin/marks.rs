//! `POST /api/distributor/NAME/reset`: makes a distributor's high-water mark anew, whatever it says. For one that cannot
//! be understood or was written by a clock that was wrong.

use serde_json::json;
use slipstream_cimi::Code;
use slipstream_coordination::session::{Cause, is_path};
use slipstream_store::{StoreError, StoreExt};

use crate::marks::{HighWaterMark, id, path, record};
use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::queue::QueueError;
use crate::server::resources::fence;

/// How often a mark in the store is read again because its leader wrote it meanwhile.
const TRIES: usize = 5;

/// Lets rounds count from now on, in the store and in the node tree, wherever the mark is; a leader that is at work
/// finds it changed and goes on from there. 404 if there is no such mark.
pub async fn reset(shared: &Shared, request: &ApiRequest, distributor: &str) -> Result<Answer, ApiError> {
    fence(shared, request).await?;
    request.caller.require_administrator()?;
    let now = shared.clock.now();
    let mark = HighWaterMark::from_now_on(now);
    let was_stored = reset_stored(shared, distributor, &mark).await?;
    if !reset_node(shared, distributor, &mark).await? && !was_stored {
        return Err(ApiError::not_found(&format!("the high-water mark of a distributor {distributor}")));
    }
    tracing::warn!(distributor, user = request.caller.name(), "high-water mark reset, rounds count from now on");
    Ok(Answer::ok(&json!({"distributor": distributor, "last": now})))
}

/// That of `up`. Answers whether there was one.
async fn reset_stored(shared: &Shared, distributor: &str, mark: &HighWaterMark) -> Result<bool, StoreError> {
    let mut outcome = Ok(false);
    for _ in 0..TRIES {
        let revision = match shared.store.get(&id(distributor)).await {
            Ok(Some(record)) => record.revision,
            Ok(None) => return Ok(false),
            Err(StoreError::Damaged { revision, .. }) => revision,
            Err(error) => return Err(error),
        };
        outcome = shared.store.replace(record(distributor, mark, revision)).await.map(|_| true);
        if !matches!(outcome, Err(StoreError::Changed(_))) {
            return outcome;
        }
    }
    outcome
}

/// That of a site. Answers whether there was one.
async fn reset_node(shared: &Shared, distributor: &str, mark: &HighWaterMark) -> Result<bool, ApiError> {
    let path = path(distributor);
    if !is_path(&path) {
        return Ok(false);
    }
    let data = serde_json::to_vec(mark).expect("a mark is texts and times");
    shared.queue.replace(&path, data).await.map_err(|error| match error {
        QueueError::Refused { cause: Cause::NotAllowed, path } => {
            let message =
                format!("the server's ZooKeeper login may not change {path}: check its access list, or delete it");
            ApiError::contradiction(&path, Code::Conflict, message)
        }
        error => error.into(),
    })
}
