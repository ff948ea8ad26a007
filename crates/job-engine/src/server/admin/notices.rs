//! `/api/notices`: what every page says to administrators.

use slipstream_cimi::overview::notices::{Notices, PLACE};

use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;

/// Shows administrators what there is to say. Nothing is asked for it: every page does.
pub fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let since = shared.queue.away_since(shared.clock.now());
    Ok(super::View::answer(PLACE, "http://sixsq.com/slipstream/1/Notices", Notices { coordinator_away: since }))
}
