//! What every page says to administrators above all else, if there is something to say.

use maud::{Markup, html};
use slipstream_cimi::overview::notices::{Notices, PLACE};

use super::Asked;
use crate::parts::since;

/// The part of a page where it stands.
pub const ID: &str = "notices";

/// What there is to say. Where that cannot be found out the page says why by itself.
pub async fn of(asked: &Asked<'_>) -> Markup {
    let notices: Notices = asked.api.get(PLACE).await.unwrap_or_default();
    html! {
        @if let Some(away) = &notices.coordinator_away {
            p {
                strong { "The coordinator is away" } " for " (since(&away.to_string()))
                ". Jobs are stored, and queued once it is back. "
                a href=(format!("{}about", asked.up)) { "What is wrong?" }
            }
        }
    }
}
