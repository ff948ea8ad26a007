//! [`Reconnector`]: the client of the library under a session, and the next one when the library has given up.
//!
//! The library takes a session that it cannot reach for 7/5 of its time-out for expired. It may live all the same: an
//! ensemble without a quorum expires nothing, and counts from the beginning when it is back. So only a server's word ends
//! a session, or that it refuses the login. Until there is one the session stays suspended, and is asked for again and again by its id.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zookeeper_client as library;
use zookeeper_client::{Client, SessionInfo, SessionState};

use super::{ANSWER_LIMIT, state_of};
use crate::session::State;

/// Longest pause between two tries to be let in again; a tenth of the session's time-out if that is shorter, so that
/// there are several while an ensemble that is back waits for its sessions.
const PAUSE: Duration = Duration::from_millis(500);

/// How the library finds an ensemble.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) library: library::Connector,
    pub(super) hosts: String,
    pub(super) is_secure: bool,
}

impl Connector {
    /// A client of a new session, or of this one.
    pub(super) async fn connect(&self, session: Option<SessionInfo>) -> Result<Client, library::Error> {
        let connector = match session {
            Some(session) => self.library.clone().with_session(session),
            None => self.library.clone(),
        };
        if self.is_secure { connector.secure_connect(&self.hosts).await } else { connector.connect(&self.hosts).await }
    }
}

/// The client at present: none once the session is over, or closed.
pub(super) type Current = watch::Receiver<Option<Arc<Client>>>;

/// What keeps a client under a session.
pub(super) struct Reconnector {
    connector: Connector,
    identity: SessionInfo,
    limit: Duration,
    client: Arc<watch::Sender<Option<Arc<Client>>>>,
    state: watch::Sender<State>,
}

impl Reconnector {
    /// Over this client, which is the first one.
    pub(super) fn new(connector: Connector, client: Client) -> Self {
        let (identity, limit) = (client.session().clone(), client.session_timeout());
        let state = watch::Sender::new(state_of(client.state()));
        Self { connector, identity, limit, client: Arc::new(watch::Sender::new(Some(Arc::new(client)))), state }
    }

    /// Takes the client away: so the session is closed.
    pub(super) fn client(&self) -> Arc<watch::Sender<Option<Arc<Client>>>> {
        self.client.clone()
    }

    /// The session's state from now on.
    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Keeps a client under the session until a server says that it has expired, or it is closed.
    pub(super) async fn keep(self) {
        loop {
            let ended = self.follow().await;
            if ended == SessionState::AuthFailed || self.client.borrow().is_none() {
                break;
            }
            self.set_state(State::Suspended);
            let Some(client) = self.reconnect().await else { break };
            tracing::debug!("session continues with a new connection");
            let next = Some(Arc::new(client));
            // unless it was closed meanwhile
            self.client.send_if_modified(|client| client.is_some() && std::mem::replace(client, next).is_some());
            self.catch_up().await;
        }
    }

    /// Tells the state of the present client until it has none any more, and answers how it ended.
    async fn follow(&self) -> SessionState {
        let states = |client: &Option<Arc<Client>>| client.as_ref().map(|it| (it.state_watcher(), it.state()));
        let Some((mut seen, mut state)) = states(&self.client.borrow()) else { return SessionState::Closed };
        while !state.is_terminated() {
            self.set_state(state_of(state));
            state = seen.changed().await;
        }
        state
    }

    /// A client of the same session; none if a server says that there is no such session, or if it is closed.
    async fn reconnect(&self) -> Option<Client> {
        let mut current = self.client.subscribe();
        loop {
            let attempt = async {
                let tried =
                    timeout(self.limit.max(ANSWER_LIMIT), self.connector.connect(Some(self.identity.clone()))).await;
                if !matches!(tried, Ok(Ok(_))) {
                    sleep(PAUSE.min(self.limit / 10)).await;
                }
                tried
            };
            let tried = tokio::select! {
                biased;
                _ = current.wait_for(Option::is_none) => return None,
                tried = attempt => tried,
            };
            match tried {
                Ok(Ok(client)) => return Some(client),
                Ok(Err(library::Error::SessionExpired | library::Error::AuthFailed)) => return None,
                Ok(Err(error)) => tracing::debug!(%error, "session not reconnected yet"),
                Err(_) => tracing::debug!("no answer to a reconnecting session"),
            }
        }
    }

    /// A client that was let in has seen nothing yet, and its server may be behind what the one before has seen.
    async fn catch_up(&self) {
        loop {
            let Some(client) = self.client.borrow().clone() else { return };
            if matches!(timeout(self.limit, client.sync("/")).await, Ok(Ok(()))) || client.state().is_terminated() {
                return;
            }
            drop(client);
            sleep(PAUSE.min(self.limit / 10)).await;
        }
    }

    fn set_state(&self, state: State) {
        self.state.send_if_modified(|now| std::mem::replace(now, state) != state);
    }
}

impl Drop for Reconnector {
    /// Nobody keeps a client under the session any more.
    fn drop(&mut self) {
        self.client.send_replace(None);
        self.set_state(State::Expired);
    }
}
