//! [`SessionKeeper`]: the server's session with its coordinator. One task makes it, and another one whenever it has expired; no
//! request's limit cuts that short.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use slipstream_action::with_causes;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::session::State;
use slipstream_coordination::{Coordinator, Error, LockingQueue, Session};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::LIMIT;
use crate::process::paths;
use crate::process::supervise::Part;

/// Between two tries.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A session and the queue in it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) session: Arc<dyn Session>,
    pub(super) queue: LockingQueue,
    pub(super) claimant: String,
}

/// How the server stands with its coordinator.
#[derive(Clone)]
enum Standing {
    /// A session is being made.
    Connecting,
    /// None could be made, and another try follows: nobody waits for that.
    Away(Error),
    Connected(Connection),
}

/// Keeps a session for as long as it lives itself.
pub(super) struct SessionKeeper {
    standing: watch::Receiver<Standing>,
    /// Since when the coordinator cannot be used, if it cannot.
    away: watch::Receiver<Option<Instant>>,
    _keeper: Part,
}

impl SessionKeeper {
    /// Connects if that is done within the limit of a request, and goes on trying in any case.
    pub(super) async fn begin(coordinator: Arc<dyn Coordinator>) -> Self {
        let mut first = timeout(LIMIT, Connection::begin(&*coordinator)).await.ok();
        let (sender, standing) = watch::channel(first.as_ref().map_or(Standing::Connecting, Standing::after));
        let (noted, away) = watch::channel(None);
        let keep = move || keep(coordinator.clone(), sender.clone(), noted.clone(), first.take());
        Self { standing, away, _keeper: Part::begin("session with the coordinator", keep) }
    }

    /// Since when the coordinator cannot be used, now and from now on.
    pub(super) fn away(&self) -> watch::Receiver<Option<Instant>> {
        self.away.clone()
    }

    /// The session that there is, suspended or not. One that is being made is waited for, unless the try before failed:
    /// then the answer is why.
    pub(super) async fn connection(&self) -> Result<Connection, Error> {
        let mut standing = self.standing.clone();
        loop {
            let now = standing.borrow_and_update().clone();
            match now {
                Standing::Connected(connection) if connection.lives() => return Ok(connection),
                Standing::Away(error) => return Err(error),
                Standing::Connecting | Standing::Connected(_) => {}
            }
            standing.changed().await.map_err(|_| Error::Expired)?;
        }
    }

    /// The session once there is one.
    pub(super) async fn connected(&self) -> Connection {
        let mut standing = self.standing.clone();
        let is_connected = |standing: &Standing| matches!(standing, Standing::Connected(it) if it.lives());
        let connected = standing.wait_for(is_connected).await.map(|standing| standing.clone());
        match connected {
            Ok(Standing::Connected(connection)) => connection,
            // nobody keeps a session any more, which ends with the process
            _ => std::future::pending().await,
        }
    }
}

impl Connection {
    async fn begin(coordinator: &dyn Coordinator) -> Result<Self, Error> {
        let session = coordinator.connect().await?;
        let claimant = uuid::Uuid::new_v4().simple().to_string();
        let queue = LockingQueue::open(session.clone(), paths::JOB, &claimant).await?;
        Ok(Self { session, queue, claimant })
    }

    fn lives(&self) -> bool {
        *self.session.state().borrow() != State::Expired
    }
}

impl Standing {
    fn after(tried: &Result<Connection, Error>) -> Self {
        match tried {
            Ok(connection) => Self::Connected(connection.clone()),
            Err(error) => Self::Away(error.clone()),
        }
    }
}

/// Notes when the coordinator went away, or that it is there.
fn note(away: &watch::Sender<Option<Instant>>, is_there: bool) {
    away.send_if_modified(|since| {
        let is_news = since.is_none() != is_there;
        if is_news {
            *since = (!is_there).then(Instant::now);
        }
        is_news
    });
}

/// Says so once when the coordinator is reached and of no use, and once when it is of use again.
async fn keep(
    coordinator: Arc<dyn Coordinator>,
    standing: watch::Sender<Standing>,
    away: watch::Sender<Option<Instant>>,
    mut tried: Option<Result<Connection, Error>>,
) -> Infallible {
    let mut pauses = Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE);
    let mut complaint = Complaint::default();
    loop {
        let begun = Instant::now();
        let connected = match tried.take() {
            Some(tried) => tried,
            None => Connection::begin(&*coordinator).await,
        };
        standing.send_replace(Standing::after(&connected));
        note(&away, connected.is_ok());
        match connected {
            Ok(Connection { session, .. }) => {
                if complaint.settle() {
                    tracing::info!("queueing works again");
                }
                let mut state = session.state();
                drop(session);
                loop {
                    let now = *state.borrow_and_update();
                    note(&away, now == State::Connected);
                    // an error says the same: nobody changes the state any more
                    if now == State::Expired || state.changed().await.is_err() {
                        break;
                    }
                }
                standing.send_replace(Standing::Connecting);
                tracing::debug!("session with the coordinator lost, reconnecting");
                if begun.elapsed() >= SHORTEST_PAUSE {
                    pauses.reset();
                    continue;
                }
            }
            // said by whoever made the coordinator, for all who use it at once
            Err(error @ (Error::Unreachable { .. } | Error::Unusable { .. })) => {
                tracing::debug!(error = with_causes(&error), "no session with the coordinator");
            }
            Err(error) => {
                if complaint.is_first() {
                    tracing::warn!(
                        error = with_causes(&error),
                        "cannot queue jobs; they are stored, and queued once the coordinator allows it"
                    );
                }
            }
        }
        sleep(pauses.take()).await;
    }
}
