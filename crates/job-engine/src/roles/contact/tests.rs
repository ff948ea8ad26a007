use std::time::Duration;

use slipstream_coordination::Embedded;
use tokio::time::timeout;

use super::*;

#[test]
fn what_changes_is_told_and_what_stays_is_not() {
    use Standing::{Delayed, Good, OutOfReach, Refused};
    let contact = Contact::with("a peer".to_owned());
    for (standing, is_told) in [
        (Good, false),
        (OutOfReach, true),
        (OutOfReach, false),
        (Refused, true),
        (Refused, false),
        (Delayed, false),
        (Refused, false),
        (OutOfReach, true),
        (Good, true),
        (Good, false),
        (Refused, true),
        (Good, true),
        (Delayed, true),
        (Delayed, false),
        (Good, true),
    ] {
        assert_eq!(contact.is_news(standing), is_told, "{standing:?}");
    }
    let never_made = Contact::with("a peer".to_owned());
    assert_eq!([OutOfReach, Refused, OutOfReach].map(|standing| never_made.is_news(standing)), [true, false, true]);
}

#[test]
fn answers_say_how_one_stands_with_a_server() {
    let of = |is_login, status| standing(is_login, StatusCode::from_u16(status).unwrap());
    for (is_login, status, expected) in [
        (true, 201, Some(Standing::Good)),
        (true, 401, Some(Standing::Refused)),
        (true, 403, Some(Standing::Refused)),
        (true, 429, Some(Standing::Delayed)),
        (true, 200, Some(Standing::OutOfReach)),
        (true, 404, Some(Standing::OutOfReach)),
        (true, 503, Some(Standing::OutOfReach)),
        (false, 200, Some(Standing::Good)),
        (false, 201, Some(Standing::Good)),
        (false, 403, None),
        (false, 404, None),
        (false, 500, None),
        (false, 502, Some(Standing::OutOfReach)),
        (false, 504, Some(Standing::OutOfReach)),
    ] {
        assert_eq!(of(is_login, status), expected, "{is_login} {status}");
    }
}

/// How a contact stands, once it stands so.
async fn stands(contact: &Contact, standing: Standing) {
    let changed = async {
        while contact.known.lock().unwrap().standing != standing {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_mins(1), changed).await.unwrap();
}

#[tokio::test]
async fn a_session_that_is_suspended_and_goes_on_is_told() {
    let contact = Contact::with("the coordinator".to_owned());
    let (session, states) = watch::channel(State::Connected);
    let following = tokio::spawn(follow(states, contact.clone()));
    for (state, standing) in [
        (State::Suspended, Standing::OutOfReach),
        (State::Connected, Standing::Good),
        (State::Suspended, Standing::OutOfReach),
    ] {
        session.send_replace(state);
        stands(&contact, standing).await;
    }
    session.send_replace(State::Expired);
    following.await.unwrap();
    stands(&contact, Standing::OutOfReach).await;
}

/// Answers by what it is given.
struct Scripted(Mutex<Vec<Error>>, Embedded);

#[async_trait]
impl Coordinator for Scripted {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let failure = self.0.lock().unwrap().pop();
        match failure {
            Some(error) => Err(error),
            None => self.1.connect().await,
        }
    }

    fn session_timeout(&self) -> Duration {
        self.1.session_timeout()
    }
}

#[tokio::test]
async fn a_coordinator_that_does_not_take_us_is_told_by_what_it_says() {
    let (hosts, reason) = (String::new(), String::new());
    let unusable = Error::Unusable { hosts: hosts.clone(), reason: reason.clone() };
    let script = vec![unusable, Error::Unreachable { hosts, reason }];
    let contact = Contact::with("the coordinator".to_owned());
    let inner = Scripted(Mutex::new(script), Embedded::new());
    let coordinator = WatchedCoordinator { inner, contact: contact.clone() };
    for standing in [Standing::OutOfReach, Standing::Refused, Standing::Good] {
        let connected = coordinator.connect().await;
        assert_eq!(connected.is_ok(), standing == Standing::Good);
        stands(&contact, standing).await;
    }
}
