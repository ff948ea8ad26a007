//! [`Election`] and [`Leadership`], byte-compatible with kazoo's `Election` (`ZooKeeper` specification 5).
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
//! * **Whoever came first leads.** Sequences say who did until their counter is near its end: then it gives a number twice,
//!   and numbers that come before all others, and the transactions that made the nodes say it.
//! * **A node without a session is nobody's.** It never goes by itself: a backup tool has restored an ephemeral node as a
//!   persistent one. kazoo waits behind it for ever, so whoever shares a folder with kazoo has to wait too, and says for
//!   what; where only we stand it is passed over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::retry::{Pauses, connected};
use crate::session::{Cause, Change, Error, Found, Mode, Operation, Session, State, Watch, existing, make_path};
use crate::tasks;

#[cfg(test)]
mod tests;

const INFIX: &str = "__lock__";
/// Candidates numbered from here say that the counter, which ends at 2147483647, is near its end.
const WORN_FROM: i64 = 2_000_000_000;
/// How often to look again at what tells of no change: a node that may not be read, or that only a person takes away.
const LOOK: Duration = Duration::from_secs(5);
/// Most candidates before the own one that are looked at.
const MOST_LOOKED_AT: usize = 250;

/// One of several candidates leads.
#[derive(Clone)]
pub struct Election {
    session: Arc<dyn Session>,
    path: String,
    identifier: String,
    passes_over_strays: bool,
    strays: watch::Sender<Vec<String>>,
}

/// A candidate as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Path of its node.
    pub node: String,
    /// What it calls itself; none if this login may not read its node.
    pub identifier: Option<String>,
    /// Whether its node has no session: it is nobody's, and stays until a person deletes it.
    pub is_stray: bool,
}

impl Election {
    /// A candidate in the election at `path`, e.g. `/election/cleanup_jobs`; `identifier` is what others see.
    #[must_use]
    pub fn new(session: Arc<dyn Session>, path: &str, identifier: &str) -> Self {
        let (path, identifier) = (path.to_owned(), identifier.to_owned());
        Self { session, path, identifier, passes_over_strays: false, strays: watch::Sender::default() }
    }

    /// Nodes without a session do not count. Only where no kazoo stands, which would wait for them.
    #[must_use]
    pub fn passing_over_strays(self) -> Self {
        Self { passes_over_strays: true, ..self }
    }

    /// Paths of the nodes without a session before this candidate, now and from now on: nobody leads, unless they are
    /// passed over, until a person has deleted them.
    #[must_use]
    pub fn strays(&self) -> watch::Receiver<Vec<String>> {
        self.strays.subscribe()
    }

    /// Waits until this candidate leads. Dropping the future withdraws the candidate. Waits on while the session is
    /// suspended; fails when it has expired, or if the coordinator refuses the path.
    pub async fn lead(&self) -> Result<Leadership, Error> {
        let (elected, leadership) = oneshot::channel();
        let candidate = Candidate { election: self.clone(), prefix: format!("{}{INFIX}", Uuid::new_v4().simple()) };
        let session = self.session.clone();
        tasks::spawn("election", candidate.run(elected), || async move { session.close().await });
        leadership.await.map_err(|_| Error::Expired)?
    }

    /// The candidates in their order, of which the first one leads; 250 at most. Whose node vanishes meanwhile is left
    /// out; an election that never was has none.
    pub async fn contenders(&self) -> Result<Vec<Contender>, Error> {
        let children = existing(self.session.children(&self.path).await)?.unwrap_or_default();
        let names = in_order(&children).into_iter().take(MOST_LOOKED_AT);
        let nodes: Vec<_> = names.map(|name| format!("{}/{name}", self.path)).collect();
        let found = self.session.nodes(nodes.clone()).await?;
        let contender = |(node, found): (String, Found)| match found.transpose()? {
            Err(_) => Some(Contender { node, identifier: None, is_stray: false }),
            Ok(read) => {
                let identifier = Some(String::from_utf8_lossy(&read.data).into_owned());
                Some(Contender { node, identifier, is_stray: !read.is_ephemeral })
            }
        };
        Ok(as_they_came(nodes, found).into_iter().filter_map(contender).collect())
    }
}

/// The right to lead; ends as soon as the session is suspended, before anybody else can be elected.
/// Dropped leadership is resigned in the background.
#[must_use = "dropped leadership is resigned"]
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
    election: Election,
    prefix: String,
}

/// Proof of leadership: own node, the state since before it was proved, and the changes of the node.
struct Proof {
    node: String,
    state: watch::Receiver<State>,
    changes: Watch,
}

/// Where a candidate stands.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Whom it waits for; none if it leads.
    behind: Option<String>,
    /// Those before it whose nodes have no session.
    strays: Vec<String>,
    /// Whether something before it may go without a change in the watch.
    is_unwatched: bool,
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
            tracing::debug!(election = self.election.path, %error, "candidate node not deleted, it goes with its session");
        }
        if let Some(withdrawn) = withdrawn {
            // nobody waits for a leadership that was dropped
            drop(withdrawn.send(outcome.or_else(|error| if error == Error::Expired { Ok(()) } else { Err(error) })));
        }
    }

    /// Waits until this candidate leads.
    async fn stand(&self) -> Result<Proof, Error> {
        let mut pauses = Pauses::short();
        let mut asked = false;
        loop {
            match self.try_to_stand(&mut asked).await {
                Ok(Some(proof)) => return Ok(proof),
                Ok(None) => {
                    connected(&*self.election.session).await?;
                    pauses.reset();
                }
                Err(Error::ConnectionLoss) => pauses.wait(&*self.election.session).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// One look at the candidates, and the wait for what may change it: for the one before to go, or for the state.
    async fn try_to_stand(&self, asked: &mut bool) -> Result<Option<Proof>, Error> {
        let mut state = self.election.session.state();
        if *state.borrow_and_update() != State::Connected {
            return Ok(None);
        }
        let name = self.enter(asked).await?;
        let node = format!("{}/{name}", self.election.path);
        let changes = self.election.session.watch(&node).await?;
        let children = self.election.session.children(&self.election.path).await?;
        // if it was deleted by somebody: enter again
        let Some(before) = self.before(&children, &name).await? else { return Ok(None) };
        let behind = match &before[..] {
            [] => {
                self.log_strays(&[]);
                None
            }
            before if self.election.passes_over_strays => self.look_at(before).await?.behind,
            [.., last] => Some(last.clone()),
        };
        let Some(behind) = behind else {
            return Ok(matches!(state.has_changed(), Ok(false)).then_some(Proof { node, state, changes }));
        };
        let mut changes = self.election.session.watch(&behind).await?;
        tokio::select! {
            biased;
            _ = state.changed() => {}
            () = self.vanished(&behind, &mut changes) => {}
            () = self.look_again(&before) => {}
        }
        Ok(None)
    }

    /// Paths of those that came before this candidate, in their order; none if it is not among them.
    async fn before(&self, children: &[String], own: &str) -> Result<Option<Vec<String>>, Error> {
        let Some(names) = in_question(children, own) else { return Ok(None) };
        let nodes: Vec<_> = names.iter().map(|name| format!("{}/{name}", self.election.path)).collect();
        if !names.contains(&own) {
            return Ok(Some(nodes));
        }
        let found = self.election.session.nodes(nodes.clone()).await?;
        let own = format!("{}/{own}", self.election.path);
        let came = as_they_came(nodes, found).into_iter().map(|(node, _)| node);
        Ok(Some(came.take_while(|node| *node != own).collect()))
    }

    async fn look_at(&self, before: &[String]) -> Result<Place, Error> {
        let found = self.election.session.nodes(before.to_vec()).await?;
        let place = place(before, &found, self.election.passes_over_strays);
        self.log_strays(&place.strays);
        Ok(place)
    }

    /// Ends when it is time to look again at those before; never if a watch tells whatever becomes of them.
    async fn look_again(&self, before: &[String]) {
        if self.look_at(before).await.is_ok_and(|place| !place.is_unwatched) {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(LOOK).await;
    }

    /// Logs each once.
    fn log_strays(&self, strays: &[String]) {
        let before = self.election.strays.send_replace(strays.to_owned());
        for node in strays.iter().filter(|node| !before.contains(node)) {
            if self.election.passes_over_strays {
                tracing::warn!(node, "ignoring a candidate without a session, delete its node");
            } else {
                tracing::error!(
                    node,
                    election = self.election.path,
                    "this candidate has no session, so it never goes away and blocks the election; delete its node, \
                     e.g. by zkCli.sh: delete {node}"
                );
            }
        }
    }

    /// The name of this candidate's node: the one that is there, or a new one.
    async fn enter(&self, asked: &mut bool) -> Result<String, Error> {
        if *asked && let Some(name) = self.own_nodes().await?.pop() {
            return Ok(name);
        }
        *asked = true;
        let path = format!("{}/{}", self.election.path, self.prefix);
        let create = || {
            self.election.session.commit(vec![Operation::create(
                &path,
                self.election.identifier.as_bytes(),
                Mode::EphemeralSequential,
            )])
        };
        let paths = match create().await {
            Err(error) if error.is(Cause::NoNode) => {
                make_path(&*self.election.session, &self.election.path).await?;
                create().await?
            }
            answer => answer?,
        };
        let node = paths.concat();
        let node = if is_worn(&node) { self.renew(node).await? } else { node };
        Ok(node[self.election.path.len() + 1..].to_owned())
    }

    /// The counter of this election is near its end, where it gives a number twice. A candidate that is alone makes the
    /// folder anew, with itself in it, in one transaction.
    async fn renew(&self, node: String) -> Result<String, Error> {
        let folder = self.election.session.data(&self.election.path).await?;
        let operations = vec![
            Operation::delete(&node),
            Operation::Delete { path: self.election.path.clone(), version: Some(folder.version) },
            Operation::create(&self.election.path, folder.data, Mode::PersistentAnew),
            Operation::create(
                format!("{}/{}", self.election.path, self.prefix),
                self.election.identifier.as_bytes(),
                Mode::EphemeralSequential,
            ),
        ];
        match self.election.session.commit(operations).await {
            Ok(mut paths) => {
                tracing::info!(election = self.election.path, "candidate counter was near its limit and is reset");
                Ok(paths.pop().unwrap_or(node))
            }
            Err(Error::Refused { cause, .. }) => {
                tracing::warn!(
                    election = self.election.path,
                    %cause,
                    "candidate counter is near its limit of 2147483647: it is reset once a single candidate is left"
                );
                Ok(node)
            }
            Err(error) => Err(error),
        }
    }

    async fn own_nodes(&self) -> Result<Vec<String>, Error> {
        let names = existing(self.election.session.children(&self.election.path).await)?.unwrap_or_default();
        Ok(names.into_iter().filter(|name| name.starts_with(&self.prefix)).collect())
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
        let mut pauses = Pauses::short();
        loop {
            match self.election.session.nodes(vec![node.to_owned()]).await {
                // what may not be read is there
                Ok(found) => return found.first() == Some(&Ok(None)),
                Err(Error::ConnectionLoss) if pauses.wait(&*self.election.session).await.is_ok() => {}
                Err(_) => return true,
            }
        }
    }

    /// Deletes this candidate's node, whatever is known of it: a creation under way is carried out before this listing.
    async fn withdraw(&self) -> Result<(), Error> {
        let mut pauses = Pauses::short();
        loop {
            match self.try_to_withdraw().await {
                Err(Error::ConnectionLoss) => pauses.wait(&*self.election.session).await?,
                outcome => return outcome,
            }
        }
    }

    async fn try_to_withdraw(&self) -> Result<(), Error> {
        for name in self.own_nodes().await? {
            existing(
                self.election.session.commit(vec![Operation::delete(format!("{}/{name}", self.election.path))]).await,
            )?;
        }
        Ok(())
    }
}

/// Behind the last one before it, or the last one that somebody owns.
fn place(before: &[String], found: &[Found], passes_over_strays: bool) -> Place {
    let is_stray = |found: &Found| matches!(found, Ok(Some(node)) if !node.is_ephemeral);
    let counts = |(_, found): &(&String, &Found)| !(passes_over_strays && is_stray(found));
    let both = || before.iter().zip(found);
    let strays: Vec<_> = both().filter(|(_, found)| is_stray(found)).map(|(node, _)| node.clone()).collect();
    let behind = both().rfind(counts).map(|(node, _)| node.clone());
    let is_unwatched = !strays.is_empty() || found.iter().any(Result::is_err);
    Place { behind, strays, is_unwatched }
}

/// These candidates, which are in order of their sequences, in the order in which they came. One that may not be read
/// stays behind the one before it.
fn as_they_came(nodes: Vec<String>, found: Vec<Found>) -> Vec<(String, Found)> {
    let mut created = i64::MIN;
    let dated = nodes.into_iter().zip(found).map(|(node, found)| {
        if let Ok(Some(read)) = &found {
            created = read.created;
        }
        (created, (node, found))
    });
    let mut dated: Vec<_> = dated.collect();
    dated.sort_by_key(|(created, _)| *created);
    dated.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The candidates that may have come before this one, in order of their sequences: those with a lower one; near the end
/// of the counter all of them, with this one. None if it is not among them.
fn in_question<'names>(children: &'names [String], own: &str) -> Option<Vec<&'names str>> {
    let names = in_order(children);
    let place = names.iter().position(|name| *name == own)?;
    let from = place.saturating_sub(MOST_LOOKED_AT * 4 / 5);
    let count = if names.iter().any(|name| is_worn(name)) { MOST_LOOKED_AT } else { place - from };
    Some(names.into_iter().skip(from).take(count).collect())
}

/// The candidates among these in order of their sequences, compared as text as kazoo does. Other children do not count.
fn in_order(children: &[String]) -> Vec<&str> {
    let mut names: Vec<_> = children.iter().filter_map(|name| Some((sequence(name)?, name.as_str()))).collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

/// Whether the counter that has given this name is near its end, or past it.
fn is_worn(node: &str) -> bool {
    let number = sequence(node).and_then(|sequence| sequence.parse::<i64>().ok());
    number.is_some_and(|number| !(0..WORN_FROM).contains(&number))
}

/// What `__lock__(-?[0-9]{10})$` finds in a name.
fn sequence(name: &str) -> Option<&str> {
    let (_, sequence) = name.rsplit_once(INFIX)?;
    let digits = sequence.strip_prefix('-').unwrap_or(sequence);
    (digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(sequence)
}
