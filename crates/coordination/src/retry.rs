//! Growing pauses between repeats of a request whose answer was lost.

use std::time::Duration;

use crate::session::{Error, Session, State};

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);
/// Longest pause where somebody has to mend something.
const LONGEST_REFUSED: Duration = Duration::from_secs(30);

/// Doubles from 20 ms to 2 s. There is no last one: it ends with the session, which whoever waits may close.
pub(crate) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    pub(crate) fn new() -> Self {
        Self { next: FIRST, longest: LONGEST }
    }

    /// The request was refused, and a person has to mend that: pauses grow up to 30 s.
    pub(crate) fn lengthen(&mut self) {
        self.longest = LONGEST_REFUSED;
    }

    /// Waits for as long as the session is suspended, and then a little. Fails when it has expired.
    pub(crate) async fn wait(&mut self, session: &dyn Session) -> Result<(), Error> {
        if *session.state().borrow() == State::Suspended {
            connected(session).await?;
            self.next = FIRST;
        }
        tokio::time::sleep(self.next).await;
        self.next = self.longest.min(self.next * 2);
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
