//! The registry (decision 17): whoever works for the engine says so in an ephemeral node outside `/job`, which goes with
//! its session. People are shown it, and executors share by it (`executor/sharing.rs`); no job depends on it, so
//! an entry that cannot be written holds up no work.

use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slipstream_cimi::overview::distributors::{GivenUp, Round};
use slipstream_cimi::overview::executors::Process;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::session::{Cause, Error, Mode, Operation, Session, existing, make_path};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use crate::process::supervise::persist;

/// Most registrations of one folder that are read, and how many in one request.
const MOST_REGISTERED: usize = 10_000;
const READ_TOGETHER: usize = 250;

/// What the registry shows of one folder.
#[derive(Debug)]
pub struct Registered<T> {
    /// Who is registered, by the name of the node, in the order in which they registered.
    pub all: Vec<(String, T)>,
    /// Paths of the nodes without a session, as a backup tool restores them: whoever registered so is gone, and they stay
    /// until somebody deletes them.
    pub strays: Vec<String>,
}

/// Who is registered below `folder`. What may not be read, or was written otherwise by a newer version, does not count.
pub async fn registered<T: DeserializeOwned>(session: &dyn Session, folder: &str) -> Result<Registered<T>, Error> {
    let mut names = existing(session.children(folder).await)?.unwrap_or_default();
    names.truncate(MOST_REGISTERED);
    let (mut all, mut strays) = (Vec::new(), Vec::new());
    for names in names.chunks(READ_TOGETHER) {
        let paths: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
        let found = session.nodes(paths.clone()).await?;
        for ((name, path), found) in names.iter().zip(paths).zip(found) {
            match found {
                Ok(Some(node)) if !node.is_ephemeral => strays.push(path),
                Ok(Some(node)) => match serde_json::from_slice(&node.data) {
                    Ok(registered) => all.push((node.created, name.clone(), registered)),
                    Err(error) => tracing::debug!(path, %error, "ignoring a registration"),
                },
                Ok(None) => {}
                Err(error) => tracing::debug!(path, %error, "ignoring a registration"),
            }
        }
    }
    all.sort_unstable_by_key(|(created, ..)| *created);
    Ok(Registered { all: all.into_iter().map(|(_, name, registered)| (name, registered)).collect(), strays })
}

/// What a candidate for the leadership of a distributor says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredDistributor {
    /// The distributor's name.
    pub name: String,
    /// The election in which it stands; none until its script has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub election: Option<String>,
    /// Its identifier there.
    pub candidate: String,
    /// Where it runs.
    pub process: Process,
    /// When its rounds are due, for people.
    pub schedule: String,
    /// What the leader knows; none while another one leads.
    pub term: Option<RegisteredTerm>,
    /// What keeps it from its work, or should be looked at, in words for people: lower case, no full stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What the leader of a distributor knows of its rounds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredTerm {
    /// The schedule time up to which it has distributed, if there is one.
    pub last: Option<Timestamp>,
    /// When its next round is due; none at the end of the schedule.
    pub next: Option<Timestamp>,
    /// Missed rounds that it gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// Its latest rounds, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<Round>,
}

/// This process.
#[must_use]
pub fn this_process() -> Process {
    Process { host: host_name(), id: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// Name of this machine; `localhost` if it has none.
#[must_use]
pub fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    if name.is_empty() { "localhost".to_owned() } else { name.into_owned() }
}

/// Keeps a node that says this, as long as it lives itself; the node goes with the session. What cannot be written now
/// is logged and written later, and nobody waits for it.
pub struct Registration<T> {
    wanted: watch::Sender<T>,
    _keeper: AbortOnDropHandle<()>,
}

impl<T: PartialEq + Serialize + Send + Sync + 'static> Registration<T> {
    /// Begins to say `what` in the node `name` below `folder`, which is made if missing.
    #[must_use]
    pub fn begin(session: Arc<dyn Session>, folder: &'static str, name: &str, what: T) -> Self {
        let (wanted, seen) = watch::channel(what);
        let path = format!("{folder}/{name}");
        let keeper = async move {
            persist("registration", || keep(session.clone(), folder, path.clone(), seen.clone())).await;
        };
        Self { wanted, _keeper: AbortOnDropHandle::new(tokio::spawn(keeper)) }
    }

    /// Says something else from now on.
    pub fn update(&self, change: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.wanted.send_if_modified(|what| {
            let before = what.clone();
            change(what);
            *what != before
        });
    }
}

async fn keep<T: Serialize>(
    session: Arc<dyn Session>,
    folder: &'static str,
    path: String,
    mut wanted: watch::Receiver<T>,
) {
    let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
    loop {
        let data = serde_json::to_vec(&*wanted.borrow_and_update()).expect("a registration is texts and numbers");
        match write(&*session, folder, &path, data).await {
            Ok(()) => {
                pauses.reset();
                complaint.settle();
                if wanted.changed().await.is_err() {
                    return;
                }
            }
            Err(Error::Expired) => return,
            // that the connection is lost is said by others
            Err(Error::ConnectionLoss) => sleep(pauses.take()).await,
            Err(error) => {
                if complaint.is_new(error.to_string()) {
                    tracing::warn!(node = path, %error, "cannot register, retrying");
                }
                sleep(pauses.take()).await;
            }
        }
    }
}

/// May be repeated: a node that is there already is replaced.
async fn write(session: &dyn Session, folder: &str, path: &str, data: Vec<u8>) -> Result<(), Error> {
    let set = Operation::Set { path: path.to_owned(), data: data.clone(), version: None };
    match session.commit(vec![set]).await {
        Err(error) if error.is(Cause::NoNode) => {
            make_path(session, folder).await?;
            session.commit(vec![Operation::create(path, data, Mode::Ephemeral)]).await.map(drop)
        }
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
mod tests;
