//! [`Election`] and [`Leadership`], byte-compatible with kazoo's `Election`.

use std::sync::Arc;

use crate::session::{Error, Session};

/// One of several candidates leads.
pub struct Election {}

impl Election {
    /// A candidate in the election at `path`, e.g. `/election/cleanup_jobs`; `identifier` is what others see.
    #[must_use]
    pub fn new(session: Arc<dyn Session>, path: &str, identifier: &str) -> Self {
        todo!("{path} {identifier} {}", Arc::strong_count(&session))
    }

    /// Waits until this candidate leads. Dropping the future withdraws the candidate.
    pub async fn lead(&self) -> Result<Leadership, Error> {
        todo!()
    }

    /// Identifiers of all candidates, the leader first.
    pub async fn contenders(&self) -> Result<Vec<String>, Error> {
        todo!()
    }
}

/// The right to lead; ends as soon as the session is suspended, before anybody else can be elected.
/// Dropped leadership is resigned in the background.
#[must_use = "leadership that is dropped is resigned"]
pub struct Leadership {}

impl Leadership {
    /// Whether it still holds, to be asked before each act of a leader.
    #[must_use]
    pub fn holds(&self) -> bool {
        todo!()
    }

    /// Ends when it is lost.
    pub async fn lost(&self) {
        todo!()
    }

    /// Hands over at once.
    pub async fn resign(self) -> Result<(), Error> {
        todo!()
    }
}
