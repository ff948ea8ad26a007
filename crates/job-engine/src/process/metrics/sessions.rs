//! [`Sessions`]: how this process stands with a coordinator that is elsewhere.

use std::sync::Mutex;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use slipstream_coordination::session::State;
use tokio::sync::watch;

use super::{lock, register};

const STATES: [&str; 3] = ["connected", "suspended", "none"];

/// The sessions of a process.
pub(super) struct Sessions {
    /// A process may have several for a moment, such as one to look and one to work.
    open: Mutex<Vec<watch::Receiver<State>>>,
    states: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl Sessions {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let states = Family::default();
        register(registry, "slipstream_session_state", states.clone());
        Self { open: Mutex::default(), states }
    }

    /// Another one is open.
    pub(super) fn note(&self, session: watch::Receiver<State>) {
        let mut open = lock(&self.open);
        open.retain(is_open);
        open.push(session);
    }

    /// The best of them: `None` without any.
    pub(super) fn state(&self) -> Option<State> {
        let open = lock(&self.open);
        let states = open.iter().filter(|session| is_open(session)).map(|session| *session.borrow());
        states.min_by_key(|state| *state != State::Connected)
    }

    pub(super) fn refresh(&self) {
        let state = match self.state() {
            Some(State::Connected) => "connected",
            Some(State::Suspended) => "suspended",
            Some(State::Expired) | None => "none",
        };
        for shown in STATES {
            self.states.get_or_create(&[("state", shown)]).set(i64::from(shown == state));
        }
    }
}

fn is_open(session: &watch::Receiver<State>) -> bool {
    *session.borrow() != State::Expired && session.has_changed().is_ok()
}
