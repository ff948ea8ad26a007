//! `/api/notices`: what every administrator should know at once, whatever it looks at.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Below `/api/`.
pub const PLACE: &str = "notices";

/// What there is to say; nothing, most of the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notices {
    /// Since when the coordinator cannot be used, if it cannot.
    #[serde(default, rename = "coordinatorAway", skip_serializing_if = "Option::is_none")]
    pub coordinator_away: Option<Timestamp>,
}
