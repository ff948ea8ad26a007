//! What failed is tried again: [`Pauses`] says when, and [`Complaint`] whether that is worth a line in the log.

use std::time::Duration;

use crate::session::{Error, Session, State};

/// Pauses of which each is twice as long as the one before. There is no last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Default for Pauses {
    /// From a second to half a minute.
    fn default() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(30))
    }
}

impl Pauses {
    /// The first pause, and the one beyond which they do not grow.
    #[must_use]
    pub const fn new(shortest: Duration, longest: Duration) -> Self {
        Self { shortest, longest, next: shortest }
    }

    /// Between repeats of a request whose answer was lost: from 20 ms to 2 s.
    pub(crate) const fn short() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_secs(2))
    }

    /// From now on no pause is longer than this.
    pub fn limit(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// How long to pause now.
    pub fn take(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// It went well: the next pause is the shortest again.
    pub fn reset(&mut self) {
        self.next = self.shortest;
    }

    /// It went well for this long: if that is longer than any pause, the next one is the shortest again. Answers that.
    pub fn reset_after(&mut self, worked: Duration) -> bool {
        let is_long = worked > self.longest;
        if is_long {
            self.reset();
        }
        is_long
    }

    /// Waits for as long as the session is suspended, and then a little. Fails when it has expired.
    pub(crate) async fn wait(&mut self, session: &dyn Session) -> Result<(), Error> {
        if *session.state().borrow() == State::Suspended {
            connected(session).await?;
            self.reset();
        }
        tokio::time::sleep(self.take()).await;
        connected(session).await
    }
}

/// Waits until the session is connected. Fails when it has expired.
pub(crate) async fn connected(session: &dyn Session) -> Result<(), Error> {
    let mut state = session.state();
    match state.wait_for(|state| *state != State::Suspended).await.as_deref() {
        Ok(State::Connected) => Ok(()),
        _ => Err(Error::Expired),
    }
}

/// What was complained of last: what fails in the same way again and again is said once.
#[derive(Debug, Default)]
pub struct Complaint(Option<String>);

impl Complaint {
    /// Whether this is another failure than the last one.
    pub fn is_new(&mut self, failure: String) -> bool {
        let is_new = self.0.as_ref() != Some(&failure);
        self.0 = Some(failure);
        is_new
    }

    /// Whether this is the first failure since it went well, whatever it is.
    pub fn is_first(&mut self) -> bool {
        self.0.replace(String::new()).is_none()
    }

    /// It went well, and whatever fails next is new. Answers whether it failed before.
    pub fn settle(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_begin_anew_when_it_went_well() {
        let mut pauses = Pauses::default();
        let seconds = |pauses: &mut Pauses| (0..6).map(|_| pauses.take().as_secs()).collect::<Vec<_>>();
        assert_eq!(seconds(&mut pauses), [1, 2, 4, 8, 16, 30]);
        pauses.limit(Duration::from_mins(2));
        assert_eq!(seconds(&mut pauses), [30, 60, 120, 120, 120, 120]);
        assert!(!pauses.reset_after(Duration::from_mins(2)));
        assert_eq!(pauses.take().as_secs(), 120);
        assert!(pauses.reset_after(Duration::from_secs(121)));
        assert_eq!(seconds(&mut pauses), [1, 2, 4, 8, 16, 32]);
    }

    #[test]
    fn what_fails_in_the_same_way_again_is_said_once() {
        let mut complaint = Complaint::default();
        let mut is_new = |failure: &str| complaint.is_new(failure.to_owned());
        assert_eq!(["a", "a", "b", "b", "a"].map(&mut is_new), [true, false, true, false, true]);
        complaint.settle();
        assert!(complaint.is_new("a".to_owned()));
        assert!(!complaint.is_first(), "it has failed already");
        assert_eq!([complaint.settle(), complaint.settle()], [true, false]);
        assert_eq!([complaint.is_first(), complaint.is_first()], [true, false]);
    }
}
