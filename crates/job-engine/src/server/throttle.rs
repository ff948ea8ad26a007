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

/// What failures are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The user who is named, whether it exists or not.
    User(String),
    /// Where logins come from.
    Address(IpAddr),
}

impl Subject {
    /// The subject for this address; the addresses of one IPv6 network are one.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() & (u128::MAX << (u128::BITS - CUSTOMER_BITS));
                Self::Address(IpAddr::V6(Ipv6Addr::from_bits(network)))
            }
            address @ IpAddr::V4(_) => Self::Address(address),
        }
    }

    /// How many failures have no consequence. People share addresses, not names.
    fn forgiven(&self) -> u32 {
        match self {
            Self::User(_) => 4,
            Self::Address(_) => 19,
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

/// Remembers failed logins, within a bound.
#[derive(Debug, Default)]
pub struct Throttle {
    subjects: HashMap<Subject, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Throttle {
    /// How long nobody may try for these subjects; none if somebody may try now.
    #[must_use]
    pub fn pause(&mut self, subjects: &[Subject], now: Timestamp) -> Option<SignedDuration> {
        let left = subjects.iter().filter_map(|subject| {
            let failures = self.subjects.get_mut(subject)?;
            // The clock may have been set back.
            failures.last = failures.last.min(now);
            Some(subject.pause(failures.count) - now.duration_since(failures.last))
        });
        left.max().filter(SignedDuration::is_positive)
    }

    /// A login for these subjects has failed.
    pub fn failed(&mut self, subjects: &[Subject], now: Timestamp) {
        for subject in subjects {
            let before = self.subjects.get(subject).filter(|failures| !is_forgotten(failures, now));
            let count = before.map_or(0, |failures| failures.count).saturating_add(1);
            if before.is_none() {
                self.make_place(now);
            }
            self.subjects.insert(subject.clone(), Failures { count, last: now });
        }
    }

    /// A login for this subject was good.
    pub fn succeeded(&mut self, subject: &Subject) {
        self.subjects.remove(subject);
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
#[path = "throttle_tests.rs"]
mod tests;
