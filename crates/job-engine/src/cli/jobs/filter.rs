//! Which jobs are meant: what help says of filters, and what is said of one that finds nothing.

use slipstream_cimi::filter::Filter;

use super::super::terminal::one_line;
use crate::process::output;

/// What help says of filters; they are given in this language wherever jobs are meant.
macro_rules! filter_help {
    () => {
        concat!(
            "A filter compares attributes by = != < <= > >= and ^= (begins with), joined by and, or and parentheses. ",
            "Quick among however many jobs: id, state, action, targetResource/href, parentJob, created, updated, ",
            "priority and acl/owner/principal. The states are QUEUED, RUNNING, STOPPING, SUCCESS, FAILED and STOPPED. ",
            "Times are UTC; now/d is the beginning of today, now-2h two hours ago.\n\n",
            "  --filter \"state='FAILED' and created>='now/d'\"\n",
            "  --filter \"action='noop' and created>'2026-12-01T00:00:00Z'\""
        )
    };
}

pub(super) use filter_help;

/// Says on standard error what somebody may have meant otherwise.
pub fn hint(filter: &str) {
    // one that is none is refused by the server, with the place
    let hints = Filter::parse(filter).map(|filter| filter.hints_on_jobs()).unwrap_or_default();
    for hint in hints {
        output::report(&format!("hint: {}", one_line(&hint)));
    }
}
