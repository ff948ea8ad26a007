//! [`SeenCoordinator`] and its sessions: what is asked of the coordinator may get lost, and so may its answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use slipstream_coordination::embedded::EmbeddedSession;
use slipstream_coordination::session::{Cause, Change, Error, Found, Node, Operation, SESSION_TIMEOUT, State, Watch};
use slipstream_coordination::{Coordinator, Session};
use slipstream_job_engine::internals::process::paths::{DISTRIBUTORS, ENTRIES, EXECUTORS, MARKS, RECONCILED, TAKEN};
use tokio::sync::{mpsc, watch};

use crate::broken::Broken;
use crate::life::Life;
use crate::plan::Fault;
use crate::world::World;

/// The coordinator as one process reaches it.
pub struct SeenCoordinator {
    world: Arc<World>,
    life: Arc<Life>,
    hides_suspension: bool,
}

impl SeenCoordinator {
    /// For this process.
    pub fn new(world: Arc<World>, life: Arc<Life>) -> Self {
        Self { world, life, hides_suspension: false }
    }

    /// For elections of distributors.
    pub fn for_elections(world: Arc<World>, life: Arc<Life>) -> Self {
        let hides_suspension = world.broken == Broken::HidesSuspension;
        Self { world, life, hides_suspension }
    }
}

#[async_trait]
impl Coordinator for SeenCoordinator {
    async fn connect(&self) -> Result<Arc<dyn Session>, Error> {
        self.life.step().await;
        if self.world.reach().is_away() || self.world.meets(Fault::LostCommand, &self.life, "connect") {
            return Err(Error::ConnectionLoss);
        }
        let (session, name) = self.world.connect(&self.life);
        self.world.trace.note(&self.life.name, &format!("session {name} begins"));
        let hidden = self.hides_suspension.then(|| watch::Sender::new(State::Connected));
        Ok(Arc::new(SeenSession { world: self.world.clone(), life: self.life.clone(), session, name, hidden }))
    }

    fn session_timeout(&self) -> Duration {
        SESSION_TIMEOUT
    }
}

struct SeenSession {
    world: Arc<World>,
    life: Arc<Life>,
    session: Arc<EmbeddedSession>,
    name: String,
    /// For a broken engine: the state that never changes.
    hidden: Option<watch::Sender<State>>,
}

impl SeenSession {
    /// Carried out at the first poll, so that dropping the future takes nothing back; the answer takes its time.
    async fn ask<T>(&self, what: &str, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.life.step().await;
        if self.world.meets(Fault::LostCommand, &self.life, what) {
            return Err(Error::ConnectionLoss);
        }
        let answer = request.await;
        let lost = self.world.meets(Fault::LostCommandAnswer, &self.life, what);
        let wait = if self.life.is_starting() { 0 } else { self.world.below(3, &self.life.name, what) };
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        self.life.step().await;
        if lost { Err(Error::ConnectionLoss) } else { answer }
    }

    async fn carry_out(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        if let Some(paths) = self.only_pretends(&operations) {
            return Ok(paths);
        }
        let sets = operations
            .iter()
            .position(|operation| matches!(operation, Operation::Set { path, .. } if self.is_hidden(path)));
        if let Some(index) = sets {
            return Err(Error::Refused { path: MARKS.to_owned(), index, cause: Cause::NotAllowed });
        }
        let paths = self.session.commit(operations.clone()).await?;
        let gone: Vec<&str> = operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Delete { path, .. } => Some(path.as_str()),
                _ => None,
            })
            .collect();
        for (operation, path) in operations.iter().zip(&paths) {
            let (entry, claim) = (child(path, ENTRIES), child(path, TAKEN));
            if matches!(operation, Operation::Create { .. }) {
                self.world.reach().created(path, self.life.process());
            }
            let mut board = self.world.board();
            match operation {
                Operation::Create { data, .. } if entry.is_some() => {
                    board.entry_put(entry.unwrap_or_default(), &String::from_utf8_lossy(data));
                }
                Operation::Create { .. } if claim.is_some() && !gone.contains(&path.as_str()) => {
                    let name = claim.unwrap_or_default();
                    board.claimed(name, &self.name, &self.life.name, &self.world.documents);
                }
                Operation::Delete { .. } if entry.is_some() => board.entry_deleted(entry.unwrap_or_default()),
                Operation::Delete { .. } if claim.is_some() => {
                    let name = claim.unwrap_or_default();
                    let is_consumed = gone.iter().any(|path| child(path, ENTRIES) == Some(name));
                    board.claim_ended(name, is_consumed);
                }
                _ => continue,
            }
            drop(board);
            let what = match operation {
                Operation::Create { data, .. } => format!("creates {path} {}", String::from_utf8_lossy(data)),
                _ => format!("deletes {path}"),
            };
            // claimants are drawn at random, and would make two traces of one seed differ
            let what = if claim.is_some() { what.split(' ').take(2).collect::<Vec<_>>().join(" ") } else { what };
            self.world.trace.note(&self.life.name, &what);
        }
        Ok(paths)
    }

    /// What is answered to a claim's holder who gives it back, if the engine is broken so that nothing is done then.
    fn only_pretends(&self, operations: &[Operation]) -> Option<Vec<String>> {
        let gives_back = |operation: &Operation| match operation {
            Operation::Delete { path, .. } if child(path, TAKEN).is_some() => Some(path.clone()),
            _ => None,
        };
        let paths = operations.iter().map(gives_back).collect::<Option<Vec<_>>>();
        paths.filter(|paths| self.world.broken == Broken::KeepsClaims && !paths.is_empty())
    }

    fn is_hidden(&self, path: &str) -> bool {
        self.world.reach().is_hidden(path, self.life.process())
    }

    /// Puts everything under one priority, if the engine is broken so.
    fn levelled(&self, mut operations: Vec<Operation>) -> Vec<Operation> {
        if self.world.broken == Broken::IgnoresPriority {
            for operation in &mut operations {
                if let Operation::Create { path, .. } = operation
                    && child(path, ENTRIES).is_some()
                {
                    *path = format!("{ENTRIES}/entry-500-");
                }
            }
        }
        operations
    }
}

fn not_allowed(path: &str) -> Error {
    Error::Refused { path: path.to_owned(), index: 0, cause: Cause::NotAllowed }
}

fn describe(operation: &Operation) -> String {
    match operation {
        Operation::Create { path, .. } => tidy("create", path),
        Operation::Delete { path, .. } => tidy("delete", path),
        Operation::Set { path, .. } => tidy("set", path),
    }
}

/// The same text for the same request in every run: the names of candidates begin at random, those of registrations are
/// drawn.
fn tidy(verb: &str, path: &str) -> String {
    let registrations = [EXECUTORS, DISTRIBUTORS, RECONCILED];
    if let Some(parent) = registrations.into_iter().find(|parent| child(path, parent).is_some()) {
        return format!("{verb} {parent}/registration");
    }
    match path.rsplit_once('/').zip(path.rsplit_once("__lock__")) {
        Some(((parent, _), (_, sequence))) => format!("{verb} {parent}/candidate-{sequence}"),
        None => format!("{verb} {path}"),
    }
}

fn child<'path>(path: &'path str, parent: &str) -> Option<&'path str> {
    path.strip_prefix(parent)?.strip_prefix('/')
}

#[async_trait]
impl Session for SeenSession {
    async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        let what: Vec<String> = operations.iter().map(describe).collect();
        let what = what.join(", ");
        let operations = self.levelled(operations);
        if *self.session.state().borrow() != State::Expired {
            let claims = operations.iter().filter_map(|operation| match operation {
                Operation::Create { path, .. } => child(path, TAKEN),
                _ => None,
            });
            claims.for_each(|name| self.world.board().tried(name));
        }
        self.ask(&what, self.carry_out(operations)).await
    }

    async fn data(&self, path: &str) -> Result<Node, Error> {
        let read = async {
            let node = self.session.data(path).await?;
            if self.is_hidden(path) { Err(not_allowed(path)) } else { Ok(node) }
        };
        self.ask(&tidy("data", path), read).await
    }

    async fn nodes(&self, paths: Vec<String>) -> Result<Vec<Found>, Error> {
        let read = async {
            let found = self.session.nodes(paths.clone()).await?.into_iter();
            let may_read = |(path, found): (&String, Found)| match found {
                Ok(Some(_)) if self.is_hidden(path) => Err(Cause::NotAllowed),
                found => found,
            };
            Ok(paths.iter().zip(found).map(may_read).collect())
        };
        // in whatever order they were listed, by names that begin at random
        let mut what: Vec<String> = paths.iter().map(|path| tidy("node", path)).collect();
        what.sort_unstable();
        self.ask(&what.join(", "), read).await
    }

    async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.ask(&tidy("children", path), self.session.children(path)).await
    }

    async fn watch(&self, path: &str) -> Result<Watch, Error> {
        let mut changes = self.ask(&tidy("watch", path), self.session.watch(path)).await?;
        if self.hidden.is_none() {
            return Ok(changes);
        }
        let (sender, kept) = mpsc::channel::<Change>(1024);
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                if sender.send(change).await.is_err() {
                    return;
                }
            }
            // the end of the session stays hidden, too
            std::future::pending::<()>().await;
        });
        Ok(kept)
    }

    async fn sync(&self, path: &str) -> Result<(), Error> {
        self.ask(&tidy("sync", path), self.session.sync(path)).await
    }

    fn state(&self) -> watch::Receiver<State> {
        self.hidden.as_ref().map_or_else(|| self.session.state(), watch::Sender::subscribe)
    }

    async fn close(&self) {
        self.life.step().await;
        self.world.trace.note(&self.life.name, &format!("session {} is closed", self.name));
        self.world.end_session(&self.name);
    }
}
