//! [`Shares`]: how much memory the answers under way may take, or the bodies of requests, and how it is shared among
//! those who ask.
//!
//! No user gets more than a part of it, and administrators have memory of their own. Whoever asks for more than is free
//! waits for a bounded time, a bounded number of times at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;

/// Longest answer, and longest body, in bytes that is not counted: more of them than there are connections there never are.
pub const SMALL: usize = 64 * 1024;
/// What is counted, in bytes.
const UNIT: usize = 1024;
/// For all users who are no administrators, in bytes.
const OF_USERS: usize = 128 * 1024 * 1024;
/// For one of them.
const OF_ONE_USER: usize = 16 * 1024 * 1024;
/// For all administrators.
const OF_ADMINISTRATORS: usize = 64 * 1024 * 1024;
/// How many requests of one user may wait.
const MOST_WAITING: usize = 64;
/// How long they wait.
const WAIT: Duration = Duration::from_secs(30);

/// Memory for answers, or for bodies.
pub struct Shares {
    users: Arc<Semaphore>,
    administrators: Arc<Semaphore>,
    /// Those who have or want some, by name and whether they are administrators.
    members: Mutex<HashMap<(String, bool), Arc<Member>>>,
}

struct Member {
    memory: Arc<Semaphore>,
    waiting: Semaphore,
}

/// Memory that an answer or a body has until this is dropped.
#[derive(Debug)]
pub struct Share {
    of_member: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
}

/// Text that is on its way, with the memory that it has until it is sent.
pub struct Held {
    text: Vec<u8>,
    _share: Arc<Share>,
}

impl Held {
    /// The text as part of a body.
    #[must_use]
    pub fn bytes(text: Vec<u8>, share: Arc<Share>) -> Bytes {
        Bytes::from_owner(Self { text, _share: share })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            users: Arc::new(Semaphore::new(OF_USERS / UNIT)),
            administrators: Arc::new(Semaphore::new(OF_ADMINISTRATORS / UNIT)),
            members: Mutex::default(),
        }
    }
}

impl Shares {
    /// So many bytes once they are free; refused with 503 if that takes too long, or if too many of the same user wait.
    pub async fn take(&self, caller: &Caller, bytes: usize) -> Result<Share, ApiError> {
        let member = self.member(caller);
        let _waiting = member.waiting.try_acquire().map_err(|_| ApiError::too_much_at_once())?;
        let units = units(bytes);
        let taken = async {
            // first one's own, so that nobody holds what is everybody's while it waits for what is its own
            let of_member = member.memory.clone().acquire_many_owned(units).await.ok()?;
            Some(Share { of_member, of_all: self.all(caller).acquire_many_owned(units).await.ok()? })
        };
        tokio::time::timeout(WAIT, taken).await.ok().flatten().ok_or_else(ApiError::too_much_at_once)
    }

    /// So many bytes if they are free.
    pub fn try_take(&self, caller: &Caller, bytes: usize) -> Option<Share> {
        let of_member = self.member(caller).memory.clone().try_acquire_many_owned(units(bytes)).ok()?;
        let of_all = self.all(caller).try_acquire_many_owned(units(bytes)).ok()?;
        Some(Share { of_member, of_all })
    }

    fn all(&self, caller: &Caller) -> Arc<Semaphore> {
        if caller.is_administrator() { self.administrators.clone() } else { self.users.clone() }
    }

    fn member(&self, caller: &Caller) -> Arc<Member> {
        let is_administrator = caller.is_administrator();
        let name = caller.name().unwrap_or_default().to_owned();
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|_, member| Arc::strong_count(member) > 1 || Arc::strong_count(&member.memory) > 1);
        let bytes = if is_administrator { OF_ADMINISTRATORS } else { OF_ONE_USER };
        let new = || Member { memory: Arc::new(Semaphore::new(bytes / UNIT)), waiting: Semaphore::new(MOST_WAITING) };
        members.entry((name, is_administrator)).or_insert_with(|| Arc::new(new())).clone()
    }
}

impl Share {
    /// Gives back what is more than so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        for permit in [&mut self.of_member, &mut self.of_all] {
            let spare = permit.num_permits().saturating_sub(units(bytes) as usize);
            drop(permit.split(spare));
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    impl Shares {
        /// How many bytes are held now.
        pub fn held(&self) -> usize {
            let free = self.users.available_permits() + self.administrators.available_permits();
            OF_USERS + OF_ADMINISTRATORS - free * UNIT
        }
    }

    fn user(name: &str, role: &str) -> Caller {
        Caller::User { name: name.to_owned(), roles: vec![role.to_owned()], session: None }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_all_it_may_keeps_nobody_else_out() {
        let shares = Shares::default();
        let (jane, joe, root) = (user("jane", "USER"), user("joe", "USER"), user("super", "ADMIN"));
        let all = shares.take(&jane, OF_ONE_USER).await.expect("free");
        let refused = shares.take(&jane, 1).await.expect_err("jane has all that is hers");
        assert_eq!((refused.refusal.status, refused.retry_after.is_some()), (503, true));
        assert!(shares.try_take(&jane, 1).is_none());
        drop(shares.take(&joe, MIB).await.expect("joe has his own"));
        drop(shares.take(&root, MIB).await.expect("and so have administrators"));
        assert_eq!(shares.held(), OF_ONE_USER);
        drop(all);
        assert_eq!(shares.held(), 0);
        shares.take(&jane, OF_ONE_USER).await.expect("free again");
    }

    #[tokio::test(start_paused = true)]
    async fn all_users_together_have_a_bound_and_wait_for_each_other() {
        let shares = Arc::new(Shares::default());
        let mut taken = Vec::new();
        for number in 0..OF_USERS / OF_ONE_USER {
            taken.push(shares.take(&user(&format!("user-{number}"), "USER"), OF_ONE_USER).await.expect("free"));
        }
        let late = tokio::spawn({
            let shares = shares.clone();
            async move { shares.take(&user("late", "USER"), MIB).await.map(drop) }
        });
        tokio::time::sleep(WAIT / 2).await;
        assert!(!late.is_finished(), "it waits");
        taken.pop();
        late.await.expect("no panic").expect("its turn has come");
        shares.try_take(&user("super", "ADMIN"), OF_ADMINISTRATORS).expect("administrators have their own");
    }

    #[tokio::test(start_paused = true)]
    async fn few_of_one_user_wait_at_once() {
        let shares = Arc::new(Shares::default());
        let jane = user("jane", "USER");
        let _all = shares.take(&jane, OF_ONE_USER).await.expect("free");
        let wait = || {
            let (shares, jane) = (shares.clone(), jane.clone());
            tokio::spawn(async move { shares.take(&jane, 1).await.map(drop) })
        };
        let waiting: Vec<_> = (0..MOST_WAITING).map(|_| wait()).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begin = tokio::time::Instant::now();
        shares.take(&jane, 1).await.expect_err("too many wait");
        assert_eq!(begin.elapsed(), Duration::ZERO, "it is refused at once");
        for waiter in waiting {
            waiter.await.expect("no panic").expect_err("nothing became free");
        }
    }

    #[tokio::test]
    async fn what_is_given_back_is_free() {
        let shares = Shares::default();
        let mut share = shares.take(&user("jane", "USER"), 4 * MIB).await.expect("free");
        share.shrink(10 * UNIT);
        assert_eq!(shares.held(), 10 * UNIT);
        share.shrink(MIB);
        assert_eq!(shares.held(), 10 * UNIT, "it never grows");
        drop(share);
        assert_eq!(shares.held(), 0);
        assert!(shares.members.lock().unwrap().len() <= 1, "who has nothing is forgotten");
    }
}
