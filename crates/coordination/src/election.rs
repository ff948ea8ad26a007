//! [`Election`] and [`Leadership`], byte-compatible with kazoo's `Election`.
//!
//! A candidate is an ephemeral sequential node; the one with the lowest sequence leads, and each other watches only the
//! one before it, so that a leader who goes wakes its successor alone. The rules, and why:
//!
//! * **One task owns a candidate's node** from its creation to its deletion. What the caller holds, the future of
//!   [`Election::lead`] or a [`Leadership`], is a string on that task: let go, and the task withdraws.
//! * **Leadership is proved after the last change of state.** The state is noted first, then the candidates are read;
//!   any change since the note, however short, ends the leadership for ever. The node may live on, but nobody else can
//!   be elected before it is gone, and the candidate itself deletes it as soon as it can be reached.
//! * **Every candidacy draws its own prefix.** A node that bears it is ours, also when the answer to its creation was
//!   lost, and never one that an earlier candidacy is about to delete.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::retry::{Pause, connected};
use crate::session::{Cause, Change, Error, Mode, Operation, Session, State, Watch, make_path};

#[cfg(test)]
mod tests;

const INFIX: &str = "__lock__";

/// One of several candidates leads.
pub struct Election {
    session: Arc<dyn Session>,
    path: String,
    identifier: String,
}

impl Election {
    /// A candidate in the election at `path`, e.g. `/election/cleanup_jobs`; `identifier` is what others see.
    #[must_use]
    pub fn new(session: Arc<dyn Session>, path: &str, identifier: &str) -> Self {
        Self { session, path: path.to_owned(), identifier: identifier.to_owned() }
    }

    /// Waits until this candidate leads. Dropping the future withdraws the candidate. Waits on while the session is
    /// suspended; fails when it has expired, or if the coordinator refuses the path.
    pub async fn lead(&self) -> Result<Leadership, Error> {
        let (elected, leadership) = oneshot::channel();
        let candidate = Candidate {
            session: self.session.clone(),
            path: self.path.clone(),
            identifier: self.identifier.clone(),
            prefix: format!("{}{INFIX}", Uuid::new_v4().simple()),
        };
        tokio::spawn(candidate.run(elected));
        leadership.await.map_err(|_| Error::Expired)?
    }

    /// Identifiers of all candidates, the leader first. Whose node vanishes meanwhile is left out; an election that
    /// never was has none.
    pub async fn contenders(&self) -> Result<Vec<String>, Error> {
        let names = match self.session.children(&self.path).await {
            Err(error) if error.is(Cause::NoNode) => Vec::new(),
            names => names?,
        };
        let mut names: Vec<_> = names.iter().filter_map(|name| Some((sequence(name)?, name))).collect();
        names.sort_unstable();
        let mut identifiers = Vec::with_capacity(names.len());
        for (_, name) in names {
            match self.session.data(&format!("{}/{name}", self.path)).await {
                Err(error) if error.is(Cause::NoNode) => {}
                node => identifiers.push(String::from_utf8_lossy(&node?.data).into_owned()),
            }
        }
        Ok(identifiers)
    }
}

/// The right to lead; ends as soon as the session is suspended, before anybody else can be elected.
/// Dropped leadership is resigned in the background.
#[must_use = "leadership that is dropped is resigned"]
pub struct Leadership {
    /// Unchanged since before the leadership was proved.
    state: watch::Receiver<State>,
    lost: watch::Receiver<bool>,
    /// Let go to resign.
    hold: oneshot::Sender<()>,
    withdrawn: oneshot::Receiver<Result<(), Error>>,
}

impl Leadership {
    /// Whether it still holds, to be asked before each act of a leader.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.state.has_changed(), Ok(false)) && !*self.lost.borrow() && !self.hold.is_closed()
    }

    /// Ends when it is lost.
    pub async fn lost(&self) {
        let (mut state, mut lost) = (self.state.clone(), self.lost.clone());
        // errors say that the session or the task is gone, and with it the leadership
        tokio::select! {
            biased;
            _ = state.changed() => {}
            _ = lost.wait_for(|lost| *lost) => {}
        }
    }

    /// Hands over at once. Repeated until it is answered; leadership that was lost is resigned too.
    pub async fn resign(self) -> Result<(), Error> {
        drop(self.hold);
        self.withdrawn.await.unwrap_or(Ok(()))
    }
}

struct Candidate {
    session: Arc<dyn Session>,
    path: String,
    identifier: String,
    prefix: String,
}

/// Proof of leadership: own node, the state since before it was proved, and the changes of the node.
struct Proof {
    node: String,
    state: watch::Receiver<State>,
    changes: Watch,
}

/// Where a candidate stands among the children of an election.
#[derive(Debug, PartialEq, Eq)]
enum Place<'names> {
    First,
    Behind(&'names str),
    Absent,
}

impl Candidate {
    async fn run(self, mut elected: oneshot::Sender<Result<Leadership, Error>>) {
        let outcome = tokio::select! {
            biased;
            () = elected.closed() => None,
            outcome = self.stand() => Some(outcome),
        };
        let withdrawn = match outcome {
            Some(Ok(proof)) => {
                let (lost, lost_seen) = watch::channel(false);
                let (hold, let_go) = oneshot::channel();
                let (withdrawn, withdrawn_seen) = oneshot::channel();
                let state = proof.state.clone();
                let leadership = Leadership { state, lost: lost_seen, hold, withdrawn: withdrawn_seen };
                // a leadership that nobody takes is let go by its drop
                drop(elected.send(Ok(leadership)));
                self.reign(proof, let_go).await;
                lost.send_replace(true);
                Some(withdrawn)
            }
            Some(Err(error)) => {
                drop(elected.send(Err(error)));
                None
            }
            None => None,
        };
        let outcome = self.withdraw().await;
        if let Err(error) = &outcome {
            tracing::debug!(election = self.path, %error, "a candidate is left to the end of its session");
        }
        if let Some(withdrawn) = withdrawn {
            // nobody waits for a leadership that was dropped
            drop(withdrawn.send(outcome.or_else(|error| if error == Error::Expired { Ok(()) } else { Err(error) })));
        }
    }

    /// Waits until this candidate leads.
    async fn stand(&self) -> Result<Proof, Error> {
        let mut pause = Pause::new();
        let mut asked = false;
        loop {
            match self.try_to_stand(&mut asked).await {
                Ok(Some(proof)) => return Ok(proof),
                Ok(None) => {
                    connected(&*self.session).await?;
                    pause = Pause::new();
                }
                Err(Error::ConnectionLoss) => pause.wait(&*self.session).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// One look at the candidates, and the wait for what may change it: for the one before to go, or for the state.
    async fn try_to_stand(&self, asked: &mut bool) -> Result<Option<Proof>, Error> {
        let mut state = self.session.state();
        if *state.borrow_and_update() != State::Connected {
            return Ok(None);
        }
        let name = self.enter(asked).await?;
        let node = format!("{}/{name}", self.path);
        let changes = self.session.watch(&node).await?;
        let children = self.session.children(&self.path).await?;
        match place(&children, &name) {
            // the node was deleted by somebody: enter again
            Place::Absent => Ok(None),
            Place::First => Ok(matches!(state.has_changed(), Ok(false)).then_some(Proof { node, state, changes })),
            Place::Behind(before) => {
                let before = format!("{}/{before}", self.path);
                let mut changes = self.session.watch(&before).await?;
                tokio::select! {
                    biased;
                    _ = state.changed() => {}
                    () = self.vanished(&before, &mut changes) => {}
                }
                Ok(None)
            }
        }
    }

    /// The name of this candidate's node: the one that is there, or a new one.
    async fn enter(&self, asked: &mut bool) -> Result<String, Error> {
        if *asked && let Some(name) = self.own_nodes().await?.pop() {
            return Ok(name);
        }
        *asked = true;
        let path = format!("{}/{}", self.path, self.prefix);
        let create = || {
            self.session.commit(vec![Operation::create(&path, self.identifier.as_bytes(), Mode::EphemeralSequential)])
        };
        let paths = match create().await {
            Err(error) if error.is(Cause::NoNode) => {
                make_path(&*self.session, &self.path).await?;
                create().await?
            }
            answer => answer?,
        };
        Ok(paths.concat()[self.path.len() + 1..].to_owned())
    }

    async fn own_nodes(&self) -> Result<Vec<String>, Error> {
        match self.session.children(&self.path).await {
            Err(error) if error.is(Cause::NoNode) => Ok(Vec::new()),
            names => Ok(names?.into_iter().filter(|name| name.starts_with(&self.prefix)).collect()),
        }
    }

    /// Ends when the leadership is let go, the state changes, or the node vanishes.
    async fn reign(&self, Proof { node, mut state, mut changes }: Proof, let_go: oneshot::Receiver<()>) {
        tokio::select! {
            biased;
            _ = let_go => {}
            _ = state.changed() => {}
            () = self.vanished(&node, &mut changes) => {}
        }
    }

    /// Ends when the node is gone, or the session.
    async fn vanished(&self, node: &str, changes: &mut Watch) {
        while let Some(change) = changes.recv().await {
            let gone = match change {
                Change::Deleted(path) => path == node,
                Change::Reset => self.is_gone(node).await,
                Change::Created(_) | Change::Set(_) => false,
            };
            if gone {
                return;
            }
        }
    }

    async fn is_gone(&self, node: &str) -> bool {
        let mut pause = Pause::new();
        loop {
            match self.session.data(node).await {
                Ok(_) => return false,
                Err(Error::ConnectionLoss) if pause.wait(&*self.session).await.is_ok() => {}
                Err(_) => return true,
            }
        }
    }

    /// Deletes this candidate's node, whatever is known of it: a creation under way is carried out before this listing.
    async fn withdraw(&self) -> Result<(), Error> {
        let mut pause = Pause::new();
        loop {
            match self.try_to_withdraw().await {
                Err(Error::ConnectionLoss) => pause.wait(&*self.session).await?,
                outcome => return outcome,
            }
        }
    }

    async fn try_to_withdraw(&self) -> Result<(), Error> {
        for name in self.own_nodes().await? {
            match self.session.commit(vec![Operation::delete(format!("{}/{name}", self.path))]).await {
                Err(error) if !error.is(Cause::NoNode) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Behind the one with the greatest sequence below one's own, compared as text; other children do not count.
fn place<'names>(children: &'names [String], own: &str) -> Place<'names> {
    let Some(own_sequence) = children.iter().find(|name| *name == own).and_then(|name| sequence(name)) else {
        return Place::Absent;
    };
    let before = children.iter().filter_map(|name| Some((sequence(name)?, name)));
    match before.filter(|(sequence, _)| *sequence < own_sequence).max() {
        Some((_, name)) => Place::Behind(name),
        None => Place::First,
    }
}

/// What `__lock__(-?[0-9]{10})$` finds in a name.
fn sequence(name: &str) -> Option<&str> {
    let (_, sequence) = name.rsplit_once(INFIX)?;
    let digits = sequence.strip_prefix('-').unwrap_or(sequence);
    (digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(sequence)
}
