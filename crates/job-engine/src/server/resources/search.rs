//! What is asked of all documents of a kind (specification 4).

use std::time::Duration;

use jiff::Timestamp;
use slipstream_cimi::dialect::{JOB, Kind};
use slipstream_cimi::query::{Parameters, window};
use slipstream_store::Query;
use tokio::sync::SemaphorePermit;

use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::http::shares::Share;

/// Longest wait for a turn, after which the caller is told to come back.
const TURN_LIMIT: Duration = Duration::from_secs(30);

/// Stored bytes of a page that are read at once, and what one search may take of the memory for answers meanwhile:
/// documents take several times as much as their text.
const AT_ONCE: u64 = 1024 * 1024;
const MEMORY: usize = 4 * 1024 * 1024;

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// What the store found.
    pub stored: slipstream_store::Found,
    /// What it was found by.
    pub query: Query,
    /// Memory for the answer.
    pub share: Share,
}

/// Searches the documents of a kind that the caller may view. A document that is there all the while is on exactly one
/// of the pages that follow each other by `next`, whatever is added or deleted meanwhile.
pub async fn search(shared: &Shared, kind: Kind, caller: &Caller, parameters: &Parameters) -> Result<Found, ApiError> {
    let query = Query { visible_to: caller.searches_as(), ..query(parameters, shared.clock.now())? };
    // also so that nobody has many searches under way who does not wait for their answers
    let share = shared.shares.take(caller, MEMORY).await?;
    let _turn = if query.visible_to.is_some() { Some(turn(shared).await?) } else { None };
    if kind == JOB {
        shared.jobs.settled().await;
    }
    let stored = shared.store.search(kind.name, &query).await?;
    Ok(Found { stored, query, share })
}

/// Waits until no other search of somebody who is no administrator is under way.
async fn turn(shared: &Shared) -> Result<SemaphorePermit<'_>, ApiError> {
    let turn = tokio::time::timeout(TURN_LIMIT, shared.user_search_permit.acquire()).await;
    turn.ok().and_then(Result::ok).ok_or_else(ApiError::too_many_searches)
}

/// The page that is asked for.
fn query(parameters: &Parameters, now: Timestamp) -> Result<Query, ApiError> {
    let after = parameters.after.clone();
    if after.is_some() && (parameters.first.is_some() || !parameters.order.is_empty()) {
        let message = "$after goes on in order of id, from where a page ended: it takes neither $orderby nor $first";
        return Err(ApiError::bad_request(message));
    }
    let (offset, limit) =
        window(parameters.first, parameters.last).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let filter = parameters.filter.clone().map(|filter| filter.resolve(now));
    Ok(Query {
        filter,
        order: parameters.order.clone(),
        after,
        offset,
        limit,
        visible_to: None,
        at_once: Some(AT_ONCE),
        aggregations: parameters.aggregations.clone(),
    })
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::dialect::JOB;

    use super::*;
    use crate::server::jobs::tests::shared;

    #[tokio::test(start_paused = true)]
    async fn searches_of_others_wait_for_each_other_within_a_limit_and_hold_up_no_administrator() {
        let shared = shared().await;
        let user = |role: &str| Caller::User { name: "jane".to_owned(), roles: vec![role.to_owned()], session: None };
        let (jane, administrator) = (user("USER"), user("ADMIN"));
        let asked = Parameters::default();
        let under_way = shared.user_search_permit.acquire().await.expect("not closed");
        let refused = search(&shared, JOB, &jane, &asked).await.expect_err("it is not its turn");
        assert_eq!(refused.refusal.status, 503);
        let whole = tokio::time::timeout(TURN_LIMIT / 2, search(&shared, JOB, &administrator, &asked)).await;
        assert_eq!(whole.expect("administrators do not wait").expect("found").stored.count, 0);
        drop(under_way);
        assert_eq!(search(&shared, JOB, &jane, &asked).await.expect("it is its turn").stored.count, 0);
    }

    /// A client that leaves is not seen to do so: what it asked goes on.
    #[tokio::test(start_paused = true)]
    async fn searches_that_nobody_waits_for_pile_up_within_a_bound() {
        let shared = std::sync::Arc::new(shared().await);
        let jane = Caller::User { name: "jane".to_owned(), roles: vec!["USER".to_owned()], session: None };
        let slow = shared.user_search_permit.acquire().await.expect("not closed");
        let ask = || {
            let (shared, jane) = (shared.clone(), jane.clone());
            tokio::spawn(async move { search(&shared, JOB, &jane, &Parameters::default()).await.map(drop) })
        };
        let asked: Vec<_> = (0..1_000).map(|_| ask()).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let left = asked.iter().filter(|search| !search.is_finished()).count();
        assert!((4..100).contains(&left), "{left} are under way or wait, and the others are refused at once");
        assert_eq!(shared.shares.held(), 4 * MEMORY, "four wait for their turn");
        drop(slow);
        for search in asked {
            if let Err(refused) = search.await.expect("no panic") {
                assert_eq!(refused.refusal.status, 503);
            }
        }
        assert_eq!(shared.shares.held(), 0);
    }
}
