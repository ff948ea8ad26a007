//! `/api/notices`: what every page says to administrators.

use jiff::{SignedDuration, Timestamp};
use slipstream_cimi::overview::notices::{Notices, PLACE};

use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;

/// Shows administrators what there is to say. Nothing is asked for it: every page does.
pub fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let away = *shared.queue.away().borrow();
    let since = away.and_then(|away| SignedDuration::try_from(away.elapsed()).ok()).map(|for_so_long| {
        let since = shared.clock.now() - for_so_long;
        // the same each time that it is asked
        Timestamp::from_second(since.as_second()).unwrap_or(since)
    });
    Ok(super::View::answer(PLACE, "http://sixsq.com/slipstream/1/Notices", Notices { coordinator_away: since }))
}
