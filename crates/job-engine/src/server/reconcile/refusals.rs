//! [`Refusals`]: what the coordinator or the store refuses of one node or one job, which is left alone and shown.

use std::collections::BTreeMap;

use slipstream_action::with_causes;
use slipstream_cimi::overview::queue::{MOST_NAMES, Refused, Sample};
use slipstream_coordination::Error;
use slipstream_store::StoreError;

use super::ReconcileError;
use crate::server::queue::QueueError;
use crate::server::queue::generation::GenerationError;

/// Most nodes and jobs of which something was refused that are remembered until the next round.
const MOST_REMEMBERED: usize = 10_000;

/// What could not be read or changed, by reason: as many reasons as are shown, and all others in one.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<String, Refusal>);

#[derive(Debug, Default)]
struct Refusal {
    count: usize,
    /// The first [`MOST_REMEMBERED`].
    names: Vec<String>,
}

impl Refusals {
    /// One more, a node's path or a job's id.
    pub fn add(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        let reason = reason.into();
        let has_room = self.0.len() < MOST_NAMES || self.0.contains_key(&reason);
        let refusal = self.0.entry(if has_room { reason } else { "for other reasons".to_owned() }).or_default();
        refusal.count += 1;
        if refusal.names.len() < MOST_REMEMBERED {
            refusal.names.push(what.into());
        }
    }

    /// Why this was refused, if it was.
    pub fn reason(&self, what: &str) -> Option<&str> {
        let refused = self.0.iter().find(|(_, refusal)| refusal.names.iter().any(|one| one == what));
        refused.map(|(reason, _)| reason.as_str())
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.0.values().map(|refusal| refusal.count).sum()
    }

    /// All of them, with some names of each.
    pub fn list(&self) -> Vec<Refused> {
        let refused = |(reason, Refusal { count, names }): (&String, &Refusal)| Refused {
            sample: Sample { count: *count, names: names.iter().take(MOST_NAMES).cloned().collect() },
            reason: reason.clone(),
        };
        self.0.iter().map(refused).collect()
    }
}

/// A generation whose node may not be read or changed keeps no job from being queued: leases alone decide who may write.
pub(super) fn note_generation<T>(
    agreed: Result<T, GenerationError>,
    refusals: &mut Refusals,
) -> Result<(), GenerationError> {
    match agreed {
        Ok(_) => Ok(()),
        Err(GenerationError::Coordinator(Error::Refused { path, cause, .. })) => {
            refusals.add(path, cause.to_string());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What was done for one job or entry; none, which is noted, where that was refused. Whatever concerns all others too is
/// an error.
pub(super) fn only_its_own<T>(
    done: Result<T, ReconcileError>,
    what: &str,
    refusals: &mut Refusals,
) -> Result<Option<T>, ReconcileError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(ReconcileError::Queue(error @ QueueError::Refused { .. })) => {
            refusals.add(what, error.to_string());
            Ok(None)
        }
        Err(ReconcileError::Store(error @ (StoreError::Failed { .. } | StoreError::Damaged { .. }))) => {
            refusals.add(what, with_causes(&error));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_by_reason_and_bounded() {
        let mut refusals = Refusals::default();
        for number in 0..12 {
            refusals.add(format!("job/{number:02}"), "not allowed");
        }
        for number in 0..20 {
            refusals.add(format!("/node/{number:02}"), format!("reason {number:02}"));
        }
        let listed = refusals.list();
        assert_eq!((refusals.count(), listed.len()), (32, MOST_NAMES + 1));
        let first = &listed.iter().find(|it| it.reason == "not allowed").unwrap().sample;
        assert_eq!((first.count, first.names.len(), &*first.names[0]), (12, MOST_NAMES, "job/00"));
        let others = &listed.iter().find(|it| it.reason == "for other reasons").unwrap().sample;
        assert_eq!(others.count, 11);
        assert_eq!(refusals.reason("job/11"), Some("not allowed"), "those that are not listed are known");
        assert_eq!(refusals.reason("job/12"), None);
    }
}
