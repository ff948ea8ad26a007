//! Where a user has logged in, and how all of that ends.

use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_cimi::dialect;
use slipstream_cimi::overview::sessions::{Session, Sessions as Listed};
use slipstream_cimi::overview::user;
use slipstream_cimi::query::Order;
use slipstream_cimi::resource::format_time;
use slipstream_store::{Query, Record, Store, StoreError, StoreExt};
use tokio::time::timeout;

use super::{LIFETIME, NOTED, NOTING, Sessions, lives, of_user};
use crate::process::clock::Age;
use crate::server::auth::accounts;

/// Most sessions that are told of.
const MOST: u64 = 1_000;

impl Sessions {
    /// The sessions of a user that are not over; `current` is the one with which that is asked.
    pub async fn of_user(
        &self,
        store: &dyn Store,
        username: &str,
        current: Option<&str>,
        now: Timestamp,
    ) -> Result<Listed, StoreError> {
        let user = store.get(&user::id(username)).await?;
        let stamp = user.as_ref().and_then(accounts::security_stamp);
        let order = vec![Order { attribute: "created".to_owned(), descending: true }];
        let query = Query { filter: Some(of_user(username)), order, limit: MOST, ..Query::default() };
        let stored = store.search(dialect::SESSION.name, &query).await?.records;
        let is_good = |session: &&Record| session.ledger.get("stamp").and_then(Value::as_str) == stamp;
        let mut sessions: Vec<Session> = stored.iter().filter(is_good).filter_map(read).collect();
        sessions.retain(|session| lives(session.expiry, now));
        for (caller, expiry, used, is_stored) in self.remembered_of(username) {
            match sessions.iter_mut().find(|session| session.id == caller) {
                Some(session) => session.used = session.used.max(used),
                // the store had no space for it
                None if !is_stored => {
                    let created = expiry - LIFETIME;
                    let (address, program) = (None, None);
                    let id = caller;
                    sessions.insert(0, Session { id, address, program, created, used, expiry, current: false });
                }
                None => {}
            }
        }
        for session in &mut sessions {
            session.current = current == Some(&*session.id);
        }
        Ok(Listed { user: username.to_owned(), count: sessions.len(), sessions })
    }

    /// Ends all sessions of a user, and answers how many there were. Other servers of the store believe what they remember
    /// for some seconds more.
    pub async fn end_all(&self, store: &dyn Store, username: &str, now: Timestamp) -> Result<usize, StoreError> {
        let ended = self.of_user(store, username, None, now).await?.count;
        store.remove_matching(dialect::SESSION.name, &of_user(username)).await?;
        let mut memory = self.lock();
        memory.forgotten += 1;
        memory.sessions.retain(|_, remembered| remembered.caller.name() != Some(username));
        Ok(ended)
    }

    /// Id, end and last use of each that is remembered, and whether the store has it.
    fn remembered_of(&self, username: &str) -> Vec<(String, Timestamp, Timestamp, bool)> {
        let memory = self.lock();
        let theirs = memory.sessions.values().filter(|remembered| remembered.caller.name() == Some(username));
        let told =
            theirs.filter_map(|it| Some((it.caller.session()?.to_owned(), it.expiry, it.used, it.asked.is_some())));
        told.collect()
    }
}

fn read(session: &Record) -> Option<Session> {
    let text = |attribute: &str| session.document.get(attribute).and_then(Value::as_str);
    let time = |attribute: &str| text(attribute)?.parse().ok();
    Some(Session {
        id: session.id.clone(),
        address: text("clientIP").map(str::to_owned),
        program: text("userAgent").map(str::to_owned),
        created: time("created")?,
        used: time("updated")?,
        expiry: time("expiry")?,
        current: false,
    })
}

/// Has the store know that a session is used, unless it was told not long ago. Whether that is done is no matter for
/// whoever asks something.
pub(super) async fn note_use(store: &dyn Store, mut session: Record, now: Timestamp) {
    let noted: Option<Timestamp> =
        session.document.get("updated").and_then(Value::as_str).and_then(|it| it.parse().ok());
    // by the clock of another server it may be used later than now
    let is_known = |noted| Age::of(noted, now).is_within(NOTED) || matches!(Age::of(noted, now), Age::Ahead(_));
    if noted.is_some_and(is_known) {
        return;
    }
    let id = session.id.clone();
    session.document.make_mut().insert("updated".to_owned(), json!(format_time(now)));
    match timeout(NOTING, store.replace(session)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, session = id, "use of a session not noted"),
        Err(_) => tracing::debug!(session = id, "use of a session not noted in time"),
    }
}
