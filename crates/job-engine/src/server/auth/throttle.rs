//! [`Throttle`]: logins that fail make the next ones wait. Pure: the time comes in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use jiff::{SignedDuration, Timestamp};

/// The first pause, and the longest one: each is twice as long as the one before.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
const LONGEST: SignedDuration = SignedDuration::from_mins(1);
/// Without a further failure, this long after the last one everything is forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(15);
/// Most subjects remembered at once.
const REMEMBERED: usize = 4096;
/// Bits of an IPv6 address that one customer has: the others are chosen freely.
const CUSTOMER_BITS: u32 = 64;

/// Most users whose addresses are known, and most addresses of one of them.
const KNOWN_USERS: usize = 1024;
const KNOWN_ADDRESSES: usize = 512;

/// A login as far as its failure counts.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The user who is named, whether it exists or not; none if no user can have the name.
    pub user: Option<String>,
    /// Where it comes from; none in this process.
    pub address: Option<IpAddr>,
}

/// What failures are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// The user who is named, at this address.
    UserAt(String, Option<IpAddr>),
    /// Where logins come from.
    Address(IpAddr),
    /// The user who is named, at all addresses from which it never logged in.
    User(String),
}

impl Attempt {
    /// The addresses of one IPv6 network are one.
    #[must_use]
    pub fn new(user: Option<String>, address: Option<IpAddr>) -> Self {
        let network = |address: IpAddr| match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << (u128::BITS - CUSTOMER_BITS));
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        };
        Self { user, address: address.map(network) }
    }

    fn at(&self) -> Option<Subject> {
        self.user.clone().map(|user| Subject::UserAt(user, self.address))
    }
}

impl Subject {
    /// How many failures have no consequence. People share addresses, not names.
    fn forgiven(&self) -> u32 {
        match self {
            Self::UserAt(..) => 4,
            Self::Address(_) | Self::User(_) => 19,
        }
    }

    /// How long nobody may try after so many failures.
    fn pause(&self, failures: u32) -> SignedDuration {
        match failures.checked_sub(self.forgiven() + 1) {
            None => SignedDuration::ZERO,
            Some(doublings) => (SHORTEST * (1_i32 << doublings.min(16))).min(LONGEST),
        }
    }
}

/// Remembers failed logins, and where users log in well, within a bound.
#[derive(Debug, Default)]
pub struct Throttle {
    subjects: HashMap<Subject, Failures>,
    /// Where each user has logged in, the latest last: whoever guesses elsewhere keeps nobody out there.
    known: HashMap<String, Vec<Option<IpAddr>>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Throttle {
    /// How long nobody may make this attempt; none if somebody may now.
    #[must_use]
    pub fn pause(&mut self, attempt: &Attempt, now: Timestamp) -> Option<SignedDuration> {
        let subjects = [attempt.at(), attempt.address.map(Subject::Address), self.by_name(attempt)];
        let left = subjects.into_iter().flatten().filter_map(|subject| {
            let failures = self.subjects.get_mut(&subject)?;
            // The clock may have been set back.
            failures.last = failures.last.min(now);
            Some(subject.pause(failures.count) - now.duration_since(failures.last))
        });
        left.max().filter(SignedDuration::is_positive)
    }

    /// This attempt has failed. One address alone makes nobody wait anywhere else: by name its failures count as long as
    /// they have no consequence there, and afterwards only if others have failed as well.
    pub fn failed(&mut self, attempt: &Attempt, now: Timestamp) {
        let is_new = |subject: &Subject, count: u32| count <= subject.forgiven() + 1;
        let counts_by_name = attempt.at().is_none_or(|at| is_new(&at, self.count(at.clone(), now)));
        if let Some(address) = attempt.address {
            self.count(Subject::Address(address), now);
        }
        if let Some(name) = self.by_name(attempt)
            && (counts_by_name || self.subjects.get(&name).is_some_and(|failures| failures.count > name.forgiven()))
        {
            self.count(name, now);
        }
    }

    /// This attempt was good.
    pub fn succeeded(&mut self, attempt: &Attempt) {
        if let Some(at) = attempt.at() {
            self.subjects.remove(&at);
        }
        let Some(user) = &attempt.user else { return };
        if self.known.len() >= KNOWN_USERS && !self.known.contains_key(user) {
            self.known.clear();
        }
        let addresses = self.known.entry(user.clone()).or_default();
        addresses.retain(|known| *known != attempt.address);
        if addresses.len() >= KNOWN_ADDRESSES {
            addresses.remove(0);
        }
        addresses.push(attempt.address);
    }

    /// The name, unless its user has logged in from there.
    fn by_name(&self, attempt: &Attempt) -> Option<Subject> {
        let user = attempt.user.as_ref()?;
        let is_known = self.known.get(user).is_some_and(|addresses| addresses.contains(&attempt.address));
        (!is_known).then(|| Subject::User(user.clone()))
    }

    /// One failure more, and how many there are then.
    fn count(&mut self, subject: Subject, now: Timestamp) -> u32 {
        let before = self.subjects.get(&subject).filter(|failures| !is_forgotten(failures, now));
        let count = before.map_or(0, |failures| failures.count).saturating_add(1);
        if before.is_none() {
            self.make_place(now);
        }
        self.subjects.insert(subject, Failures { count, last: now });
        count
    }

    /// What is forgotten goes first, then what has failed least: nobody gets rid of many failures by many others.
    fn make_place(&mut self, now: Timestamp) {
        if self.subjects.len() < REMEMBERED {
            return;
        }
        self.subjects.retain(|_, failures| !is_forgotten(failures, now));
        while self.subjects.len() >= REMEMBERED {
            let least = self.subjects.iter().min_by_key(|(_, failures)| (failures.count, failures.last));
            let Some(least) = least.map(|(subject, _)| subject.clone()) else { return };
            self.subjects.remove(&least);
        }
    }
}

fn is_forgotten(failures: &Failures, now: Timestamp) -> bool {
    now.duration_since(failures.last) >= FORGOTTEN
}

#[cfg(test)]
mod tests;
