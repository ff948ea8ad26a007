//! `/api/executor`: who executes.

use slipstream_cimi::overview::executors::{Executor, Executors, PLACE};
use slipstream_cimi::overview::queue::MOST_LISTED;

use super::View;
use crate::process::paths;
use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::queue::claims::Claims;
use crate::server::queue::snapshot::at_work;

/// Shows the executors to administrators.
pub async fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let uri = "http://sixsq.com/slipstream/1/ExecutorCollection";
    Ok(View::answer(PLACE, uri, executors(shared).await?))
}

async fn executors(shared: &Shared) -> Result<Executors, ApiError> {
    let registered = shared.queue.registered(paths::EXECUTORS).await?;
    let (mut executors, mut foreign) = at_work(registered, &Claims::read(&shared.queue).await?);
    foreign.sort_by(|one, other| (other.busy, &one.claimant).cmp(&(one.busy, &other.claimant)));
    foreign.truncate(MOST_LISTED);
    executors.sort_by(|one, other| {
        let key = |executor: &Executor| (executor.registered.name.clone(), executor.claimant.clone());
        key(one).cmp(&key(other))
    });
    Ok(Executors { count: executors.len(), executors, foreign })
}
