//! [`Refusals`]: which entries the coordinator refuses to this queue, and how long each is left alone. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::entry_name::EntryName;
use crate::retry::Pauses;
use crate::session::Cause;

/// An entry that is there and of no use to this queue: it may not be read, or not be deleted once it was done. It is
/// left alone with growing pauses; nothing else waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEntry {
    /// Path of the entry.
    pub entry: String,
    /// What is wrong with it.
    pub cause: Cause,
    /// When it is tried again.
    pub until: Instant,
}

/// Most entries that are listed: the first ones in the order of the queue.
pub const MOST_REFUSED_LISTED: usize = 20;

const PAUSES: Pauses = Pauses::new(Duration::from_secs(1), Duration::from_mins(5));
/// What is forgotten beyond this is only tried again sooner.
const MOST_REMEMBERED: usize = 10_000;

struct Refused {
    cause: Cause,
    pauses: Pauses,
    until: Instant,
}

/// What is refused now.
#[derive(Default)]
pub(super) struct Refusals {
    entries: BTreeMap<EntryName, Refused>,
}

impl Refusals {
    /// It was refused at this time: until when to leave it alone, and whether that is worth a line in the log.
    pub(super) fn note(&mut self, name: EntryName, cause: Cause, now: Instant) -> (Instant, bool) {
        let before = self.entries.get(&name);
        let is_new = before.is_none_or(|before| before.cause != cause) && self.entries.len() < MOST_REFUSED_LISTED;
        let mut pauses = before.map_or(PAUSES, |before| before.pauses);
        let until = now + pauses.take();
        if before.is_none() && self.entries.len() >= MOST_REMEMBERED {
            self.entries.pop_last();
        }
        self.entries.insert(name, Refused { cause, pauses, until });
        (until, is_new)
    }

    /// It is gone, or of use after all. Answers whether it was refused.
    pub(super) fn forget(&mut self, name: EntryName) -> bool {
        self.entries.remove(&name).is_some()
    }

    /// Forgets those that are not there any more.
    pub(super) fn retain(&mut self, is_there: impl Fn(EntryName) -> bool) {
        self.entries.retain(|name, _| is_there(*name));
    }

    /// The first of them.
    pub(super) fn list(&self, path: impl Fn(EntryName) -> String) -> Vec<RefusedEntry> {
        let listed = |(name, refused): (&EntryName, &Refused)| RefusedEntry {
            entry: path(*name),
            cause: refused.cause,
            until: refused.until,
        };
        self.entries.iter().take(MOST_REFUSED_LISTED).map(listed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(sequence: usize) -> EntryName {
        EntryName::parse(&format!("entry-000-{sequence:010}")).expect("a name")
    }

    #[test]
    fn pauses_grow_for_each_entry_and_each_cause_is_new_once() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let pauses: Vec<_> = (0..11).map(|_| refusals.note(name(1), Cause::NotAllowed, now)).collect();
        let seconds: Vec<u64> = pauses.iter().map(|(until, _)| (*until - now).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pauses.iter().filter(|(_, is_new)| *is_new).count(), 1);
        assert_eq!(refusals.note(name(2), Cause::NotEmpty, now), (now + Duration::from_secs(1), true));
        assert!(refusals.note(name(1), Cause::NotEmpty, now).1, "another cause");
        assert!(refusals.forget(name(1)) && !refusals.forget(name(1)));
        assert_eq!(refusals.note(name(1), Cause::NotAllowed, now), (now + Duration::from_secs(1), true));
    }

    #[test]
    fn what_is_listed_and_remembered_is_bounded() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let new = (0..MOST_REMEMBERED + 10).filter(|at| refusals.note(name(*at), Cause::NotAllowed, now).1);
        assert_eq!(new.count(), MOST_REFUSED_LISTED);
        assert_eq!(refusals.entries.len(), MOST_REMEMBERED);
        let listed = refusals.list(|name| name.to_string());
        assert_eq!(listed.len(), MOST_REFUSED_LISTED);
        assert_eq!(listed[0].entry, "entry-000-0000000000");
        refusals.retain(|it| it == name(3));
        assert_eq!(refusals.list(|name| name.to_string()).len(), 1);
    }
}
