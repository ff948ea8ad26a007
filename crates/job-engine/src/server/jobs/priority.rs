//! An edited priority of a job that waits: its entry moves, so that the new one counts.

use serde_json::Value;
use slipstream_cimi::{Code, Document};
use slipstream_coordination::queue::Moved;

use super::document::PRIORITY;
use super::document::{UNTOUCHED, is_written_within};
use super::record::JobRecord;
use crate::server::Shared;
use crate::server::error::ApiError;

/// Moves the entry of the job if these changes give it another priority, and notes the new path in `moved`: the job is
/// written to after that, and if it never is, the reconciler finds and records the entry. Refused where the edit would do
/// nothing: an entry that somebody holds stays where it is.
pub async fn move_entry(
    shared: &Shared,
    record: &JobRecord,
    changes: &Document,
    moved: &mut Option<String>,
) -> Result<(), ApiError> {
    let another = changes.get(PRIORITY).filter(|priority| record.document.get(PRIORITY) != Some(priority));
    // what is none has been refused before
    let another = another.and_then(Value::as_u64).and_then(|priority| u16::try_from(priority).ok());
    let Some(priority) = another.filter(|_| moved.is_none()) else { return Ok(()) };
    let refused =
        |message: &str| Err(ApiError::contradiction(&record.id, Code::Conflict, format!("{} {message}", record.id)));
    let Some(entry) = record.entry() else {
        return if is_written_within(&record.document, UNTOUCHED, shared.clock.now()) {
            refused("is being queued with its old priority, try again")
        } else {
            Ok(())
        };
    };
    match shared.queue.move_unclaimed(entry, &record.id, priority).await {
        Ok(Moved::To(path)) => {
            *moved = Some(path);
            Ok(())
        }
        Ok(Moved::Held) => refused("is claimed by an executor, so its priority no longer counts"),
        // it gets one with the priority that it has then
        Ok(Moved::Gone) => {
            shared.nudge.notify_one();
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
