//! [`Contact`]: says in the log when a peer comes or goes, once each, however many ask it and however often.

use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use slipstream_action::with_causes;
use slipstream_cimi::Transport;
use slipstream_cimi::client::TransportError;
use slipstream_coordination::session::{Error, State};
use slipstream_coordination::{Coordinator, Session};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::process::activity::Peer;

/// How one stands with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nobody knows yet.
    Unknown,
    /// It answers.
    Good,
    /// It does not answer.
    OutOfReach,
    /// It answers that one has to wait.
    Delayed,
    /// It answers that it will have nothing to do with us.
    Refused,
}

/// What is known of a peer.
pub(super) struct Contact {
    peer: Arc<Peer>,
    known: Mutex<Known>,
}

struct Known {
    standing: Standing,
    /// Whether it ever was good.
    is_made: bool,
}

impl Contact {
    /// Nobody has asked it yet. It is called e.g. `ZooKeeper at 127.0.0.1:2181`.
    pub(super) fn with(peer: String) -> Arc<Self> {
        Arc::new(Self {
            peer: Peer::new(peer),
            known: Mutex::new(Known { standing: Standing::Unknown, is_made: false }),
        })
    }

    /// For whoever asks whether it is there.
    pub(super) fn peer(&self) -> Arc<Peer> {
        self.peer.clone()
    }

    /// One stands so with it, because of this.
    fn note(&self, standing: Standing, cause: impl Display) {
        self.peer.note(standing == Standing::Good);
        if !self.is_news(standing) {
            return;
        }
        let cause = cause.to_string();
        match standing {
            Standing::Unknown => {}
            Standing::Good => info!("connected to {}", self.peer.name()),
            Standing::OutOfReach => warn!(cause, "cannot reach {}, retrying", self.peer.name()),
            Standing::Delayed => warn!("{} delays logins, retrying", self.peer.name()),
            Standing::Refused => warn!(cause, "refused by {}, retrying", self.peer.name()),
        }
    }

    /// Notes it, and answers whether it is worth a line: not that all is well from the first, and no refusal before any
    /// contact, which ends the program with an error of its own.
    fn is_news(&self, standing: Standing) -> bool {
        let mut known = self.known.lock().expect("no holder of this lock panics");
        let before = known.standing;
        let is_well = matches!(before, Standing::Unknown | Standing::Good);
        // to wait is what follows refusals
        if standing == Standing::Delayed && !is_well {
            return false;
        }
        known.standing = standing;
        let is_made = known.is_made;
        known.is_made |= standing == Standing::Good;
        match standing {
            Standing::Unknown => false,
            Standing::Good => !is_well,
            Standing::Delayed => true,
            Standing::OutOfReach => before != standing,
            Standing::Refused => before != standing && is_made,
        }
    }
}

/// A coordinator whose contact is logged.
pub(super) struct WatchedCoordinator<C> {
    pub(super) inner: C,
    pub(super) contact: Arc<Contact>,
}

#[async_trait]
impl<C: Coordinator> Coordinator for WatchedCoordinator<C> {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        let connected = self.inner.connect().await;
        match &connected {
            Ok(session) => {
                self.contact.note(Standing::Good, "");
                tokio::spawn(follow(session.state(), self.contact.clone()));
            }
            Err(Error::Unreachable { reason, .. }) => self.contact.note(Standing::OutOfReach, reason),
            Err(Error::Unusable { reason, .. }) => self.contact.note(Standing::Refused, reason),
            Err(error @ Error::Refused { .. }) => self.contact.note(Standing::Refused, with_causes(error)),
            Err(error) => self.contact.note(Standing::OutOfReach, with_causes(error)),
        }
        connected
    }

    fn session_timeout(&self) -> Duration {
        self.inner.session_timeout()
    }
}

/// Ends with the session.
async fn follow(mut states: watch::Receiver<State>, contact: Arc<Contact>) {
    loop {
        let state = *states.borrow_and_update();
        match state {
            State::Connected => contact.note(Standing::Good, ""),
            State::Suspended => contact.note(Standing::OutOfReach, "the connection is lost"),
            State::Expired => return,
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

/// A transport whose contact is logged.
pub(super) struct WatchedTransport<T> {
    pub(super) inner: T,
    pub(super) contact: Arc<Contact>,
}

#[async_trait]
impl<T: Transport> Transport for WatchedTransport<T> {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let is_login = request.method() == Method::POST && request.uri().path() == "/api/session";
        let answer = self.inner.send(request).await;
        match &answer {
            Ok(answer) => {
                if let Some(standing) = standing(is_login, answer.status()) {
                    self.contact.note(standing, answer.status());
                }
            }
            Err(error) => self.contact.note(Standing::OutOfReach, first_cause(&**error)),
        }
        answer
    }

    fn takes_values(&self) -> bool {
        self.inner.takes_values()
    }
}

/// What is at the bottom of an error: what is above names the server, which the contact does too.
fn first_cause(error: &(dyn std::error::Error + 'static)) -> String {
    anyhow::Chain::new(error).last().map(ToString::to_string).unwrap_or_default()
}

/// What an answer says of how one stands with the server, if anything: a session that has ended says nothing, as the
/// login that follows will.
fn standing(is_login: bool, status: StatusCode) -> Option<Standing> {
    match (is_login, status) {
        (_, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
            Some(Standing::OutOfReach)
        }
        (true, StatusCode::CREATED) => Some(Standing::Good),
        (true, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Some(Standing::Refused),
        (true, StatusCode::TOO_MANY_REQUESTS) => Some(Standing::Delayed),
        (true, _) => Some(Standing::OutOfReach),
        (false, status) => status.is_success().then_some(Standing::Good),
    }
}

#[cfg(test)]
mod tests;
