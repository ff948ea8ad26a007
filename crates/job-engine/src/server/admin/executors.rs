//! `/api/executor`: who executes.

use std::collections::HashMap;

use slipstream_cimi::overview::executors::{Executor, Executors, Foreign, PLACE};
use slipstream_cimi::overview::queue::MOST_LISTED;

use super::View;
use super::claims::Claims;
use crate::process::paths;
use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;

/// Shows the executors to administrators.
pub async fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let uri = "http://sixsq.com/slipstream/1/ExecutorCollection";
    Ok(View::answer(PLACE, uri, executors(shared).await?))
}

async fn executors(shared: &Shared) -> Result<Executors, ApiError> {
    let registered = shared.queue.registered(paths::EXECUTORS).await?;
    let claims = Claims::read(shared).await?;
    let mut busy: HashMap<&str, usize> = HashMap::new();
    for claim in &claims.seen {
        *busy.entry(&claim.claimant).or_default() += 1;
    }
    let mut executors: Vec<Executor> = registered
        .into_iter()
        .map(|(claimant, registered)| {
            let busy = busy.remove(claimant.as_str()).unwrap_or(0);
            Executor { claimant, registered, busy: claims.is_whole().then_some(busy) }
        })
        .collect();
    let foreign = busy.into_iter().filter(|_| claims.is_whole());
    let mut foreign: Vec<Foreign> =
        foreign.map(|(claimant, busy)| Foreign { claimant: claimant.to_owned(), busy }).collect();
    foreign.sort_by(|one, other| (other.busy, &one.claimant).cmp(&(one.busy, &other.claimant)));
    foreign.truncate(MOST_LISTED);
    executors.sort_by(|one, other| {
        let key = |executor: &Executor| (executor.registered.name.clone(), executor.claimant.clone());
        key(one).cmp(&key(other))
    });
    Ok(Executors { count: executors.len(), executors, foreign })
}
