//! Leases: who may write into a job (decisions 3 and 4).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Header that carries a [`Lease`] with every write of an attempt; foreign servers ignore it.
pub const LEASE_HEADER: &str = "job-lease";
/// Header that carries the id of the attempt's job, since an attempt writes to other documents too.
pub const JOB_HEADER: &str = "job-id";
/// Header that carries the path of the queue entry with every write of an attempt.
pub const ENTRY_HEADER: &str = "job-entry";
/// Header that carries the executor's name with every write of an attempt.
pub const EXECUTOR_HEADER: &str = "job-executor";
/// Header that makes an add repeatable (decision 11).
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// The number that orders claims on one job: first the generation, then the zxid that created the claim node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Rises whenever zxids may start again.
    pub generation: i64,
    /// Transaction id that created the claim node.
    pub zxid: i64,
}

impl Lease {
    /// Both parts of a true lease are above zero; anything else is a bug of the sender.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.generation > 0 && self.zxid > 0
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.generation, self.zxid)
    }
}

/// The text is not `<generation>.<zxid>`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a lease, expected <generation>.<zxid>")]
pub struct NotALease(pub String);

impl FromStr for Lease {
    type Err = NotALease;

    fn from_str(text: &str) -> Result<Self, NotALease> {
        let parse = || {
            let (generation, zxid) = text.split_once('.')?;
            Some(Self { generation: generation.parse().ok()?, zxid: zxid.parse().ok()? })
        };
        parse().ok_or_else(|| NotALease(text.to_owned()))
    }
}

/// What an attempt says of itself with each of its writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptIdentity {
    /// Id of the job that is attempted, e.g. `job/6a33d0ac-2d34-4582-8cbc-766431234d8e`.
    pub job: String,
    /// The claim's place in the order of claims.
    pub lease: Lease,
    /// Path of the queue entry, e.g. `/job/entries/entry-999-0000000042`.
    pub entry: String,
    /// Name of the executor, for people.
    pub executor: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_ordered_by_generation_then_zxid() {
        let lease = |generation, zxid| Lease { generation, zxid };
        assert!(lease(1, 900) < lease(2, 1));
        assert!(lease(2, 1) < lease(2, 2));
    }

    #[test]
    fn leases_survive_printing() {
        let lease = Lease { generation: 7, zxid: 42 };
        assert_eq!(lease.to_string().parse(), Ok(lease));
        for bad in ["", "7", "7.", ".42", "a.b", "7.42.1", "99999999999999999999.1"] {
            assert_eq!(bad.parse::<Lease>(), Err(NotALease(bad.to_owned())));
        }
    }
}
