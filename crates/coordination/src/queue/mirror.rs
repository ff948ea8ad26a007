//! [`Mirror`]: which entries are free, kept by increments. Pure: it decides, the actor asks.
//!
//! An entry is free if its node exists, no claim node of its name does, nobody in this process has it in hand, and it
//! is not avoided. Almost all entries of a long queue are free, so a free one costs its name alone, eight bytes; the
//! few others have their facts beside. Each change moves one name: O(log n).
//!
//! Several queues would all reach for the first entry, and all but one in vain. So each takes those of its turn out of
//! the first ones, as many as all of them have slots, and where these are too few the last ones of another one's turn. It
//! counts how often it has overtaken what it passes over: no oftener than it has slots, and only by entries of the same
//! priority. So an entry is overtaken by no more than all of them have slots.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};

use tokio::time::Instant;

use super::entry_name::EntryName;

#[cfg(test)]
mod tests;

/// What is known of one name.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Facts {
    entry: bool,
    taken: bool,
    hand: Hand,
    avoided: Option<Instant>,
}

/// Whether this process has an entry in hand: it is being claimed, held or given back.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Hand {
    #[default]
    Empty,
    Full,
    /// In hand, and meanwhile a claim node of this name was deleted, or everything was listed: what was asked before
    /// may be out of date.
    Unsure,
}

/// Which entries a queue reaches for first where several reach at the same time: those of its own turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Share {
    /// Below `of`.
    pub(super) position: usize,
    /// How many reach; at least 1.
    pub(super) of: usize,
}

/// Entries that are to be claimed.
pub(super) struct Chosen {
    /// Others may reach for these too.
    pub(super) again: Vec<EntryName>,
    /// Those of our turn first.
    pub(super) new: Vec<EntryName>,
}

impl Share {
    /// Whether it is our turn.
    fn has(self, name: EntryName) -> bool {
        name.turn(self.of) == self.position
    }
}

const FREE: Facts = Facts { entry: true, taken: false, hand: Hand::Empty, avoided: None };

/// The queue as this process knows it.
#[derive(Default)]
pub(super) struct Mirror {
    free: BTreeSet<EntryName>,
    others: BTreeMap<EntryName, Facts>,
    avoided: BTreeSet<(Instant, EntryName)>,
    entries: usize,
    /// How many entries were ever chosen.
    chosen: u64,
    /// Up to where entries were chosen or passed over, and how many had been chosen before.
    passed: VecDeque<(EntryName, u64)>,
    /// What waits up to here, by priority, was overtaken as often as may be.
    overdue: BTreeMap<u16, EntryName>,
}

impl Mirror {
    /// Number of entries, free or not.
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// Number of entries that can be taken.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Whether the entry exists.
    pub(super) fn has_entry(&self, name: EntryName) -> bool {
        self.free.contains(&name) || self.others.get(&name).is_some_and(|facts| facts.entry)
    }

    /// So many of the first free entries, from now on in hand, for a queue with so many slots, free or not: those that
    /// it has overtaken as often as it may, in their order, and then others in turns.
    pub(super) fn take_in_hand(&mut self, wanted: usize, slots: usize, share: Share) -> Chosen {
        let most = u64::try_from(slots.max(wanted)).unwrap_or(u64::MAX);
        self.note_overdue(self.chosen + u64::try_from(wanted).unwrap_or(u64::MAX), most);
        let (mut again, mut new) = (Vec::new(), Vec::new());
        let mut after = None;
        while again.len() + new.len() < wanted {
            let mut missing = wanted - again.len() - new.len();
            let mut next = self.free.range((after.map_or(Unbounded, Excluded), Unbounded)).copied().peekable();
            let Some(priority) = next.peek().map(|name| name.priority()) else { break };
            let overdue = self.overdue.get(&priority).copied();
            let (mut own, mut others) = (Vec::new(), Vec::new());
            for name in next.take_while(|name| name.priority() == priority).take(slots.max(wanted) * share.of) {
                after = Some(name);
                if Some(name) <= overdue {
                    again.push(name);
                    missing -= 1;
                } else if share.has(name) {
                    own.push(name);
                } else {
                    others.push(name);
                }
                if own.len() == missing {
                    break;
                }
            }
            // what is another one's turn is begun by that one at the other end
            new.extend(own.into_iter().chain(others.into_iter().rev()).take(missing));
        }
        if let Some(last) = new.iter().max() {
            self.passed.push_back((*last, self.chosen));
        }
        self.chosen += u64::try_from(again.len() + new.len()).unwrap_or(u64::MAX);
        for name in again.iter().chain(&new) {
            self.free.remove(name);
            self.others.insert(*name, Facts { hand: Hand::Full, ..FREE });
        }
        Chosen { again, new }
    }

    /// What was passed over before so many were chosen may be overtaken no more, if that would be by more than `most`.
    fn note_overdue(&mut self, chosen: u64, most: u64) {
        while self.passed.front().is_some_and(|(_, before)| chosen - before > most) {
            if let Some((name, _)) = self.passed.pop_front() {
                let overdue = self.overdue.entry(name.priority()).or_insert(name);
                *overdue = name.max(*overdue);
            }
        }
    }

    /// No longer in hand.
    pub(super) fn put_down(&mut self, name: EntryName) {
        self.change(name, |facts| facts.hand = Hand::Empty);
    }

    /// Whether a claim that this process has in hand may have been deleted before it was known to be ours.
    pub(super) fn is_unsure(&self, name: EntryName) -> bool {
        self.others.get(&name).is_some_and(|facts| facts.hand == Hand::Unsure)
    }

    /// No longer in hand, for somebody has a claim node there. Answers and events come by different ways: if a claim
    /// node was deleted or everything was listed since the question was asked, then that is as new and holds.
    pub(super) fn put_down_as_taken(&mut self, name: EntryName) {
        self.change(name, |facts| {
            facts.taken |= facts.hand == Hand::Full;
            facts.hand = Hand::Empty;
        });
    }

    pub(super) fn entry_created(&mut self, name: EntryName) {
        self.change(name, |facts| facts.entry = true);
    }

    pub(super) fn entry_deleted(&mut self, name: EntryName) {
        self.change(name, |facts| facts.entry = false);
    }

    pub(super) fn claim_created(&mut self, name: EntryName) {
        self.change(name, |facts| facts.taken = true);
    }

    pub(super) fn claim_deleted(&mut self, name: EntryName) {
        self.change(name, |facts| {
            facts.taken = false;
            if facts.hand == Hand::Full {
                facts.hand = Hand::Unsure;
            }
        });
    }

    /// Not free until then.
    pub(super) fn avoid(&mut self, name: EntryName, until: Instant) {
        let mut before = None;
        self.change(name, |facts| before = facts.avoided.replace(until));
        if let Some(before) = before {
            self.avoided.remove(&(before, name));
        }
        self.avoided.insert((until, name));
    }

    /// When the next avoided entry may be free again.
    pub(super) fn next_return(&self) -> Option<Instant> {
        self.avoided.first().map(|(until, _)| *until)
    }

    /// Ends what was avoided until now.
    pub(super) fn return_avoided(&mut self, now: Instant) {
        while self.next_return().is_some_and(|until| until <= now) {
            if let Some((_, name)) = self.avoided.pop_first() {
                self.change(name, |facts| facts.avoided = None);
            }
        }
    }

    /// Takes over a whole listing; what this process has in hand or avoids stays so.
    pub(super) fn relist(&mut self, entries: Vec<EntryName>, claims: Vec<EntryName>) {
        let mut facts = std::mem::take(&mut self.others);
        facts.retain(|_, facts| {
            (facts.entry, facts.taken) = (false, false);
            if facts.hand == Hand::Full {
                facts.hand = Hand::Unsure;
            }
            *facts != Facts::default()
        });
        self.others = facts;
        self.free = entries.into_iter().collect();
        self.entries = self.free.len();
        for name in self.others.keys().copied().collect::<Vec<_>>() {
            if self.free.remove(&name) {
                self.others.entry(name).and_modify(|facts| facts.entry = true);
            }
        }
        for name in claims {
            self.claim_created(name);
        }
    }

    fn change(&mut self, name: EntryName, change: impl FnOnce(&mut Facts)) {
        // those that change oftenest are not free, and few
        let known = match self.others.get(&name) {
            Some(facts) => *facts,
            None if self.free.remove(&name) => FREE,
            None => Facts::default(),
        };
        let mut facts = known;
        change(&mut facts);
        self.entries = self.entries + usize::from(facts.entry) - usize::from(known.entry);
        if facts == FREE {
            self.others.remove(&name);
            self.free.insert(name);
        } else if facts == Facts::default() {
            self.others.remove(&name);
        } else if facts != known || known == FREE {
            self.others.insert(name, facts);
        }
    }
}
