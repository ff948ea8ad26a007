//! [`Requests`]: what a queue asks of its session, each repeated until it is answered or the session has expired.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::sync::watch;

use super::Settled;
use super::entry_name::EntryName;
use crate::retry::{Complaint, Pauses, connected};
use crate::session::{Cause, Error, Found, Mode, Node, Operation, Session, State, Watch, found, make_path};

/// Longest pause between repeats of a request that a person has to mend something for.
const LONGEST_REFUSED: Duration = Duration::from_secs(30);

/// The folders of one queue, and who asks.
pub(super) struct Requests {
    pub(super) session: Arc<dyn Session>,
    pub(super) root: String,
    pub(super) entries: String,
    pub(super) taken: String,
    pub(super) claimant: String,
    /// What was refused last and concerns the whole queue: it is said once, until something of its kind goes well.
    complaint: Mutex<Complaint>,
}

/// How an attempt to claim an entry ended.
pub(super) enum Attempt {
    Held {
        value: Vec<u8>,
        zxid: i64,
    },
    Taken,
    EntryGone,
    /// It is there and may not be read: its claim was given back.
    Refused(Cause),
    /// Its claim is of no use, and may not be given back.
    Stuck {
        zxid: i64,
        cause: Cause,
    },
    /// Nobody of this login may claim anything. What decides over a creation is the folder, never the entry.
    NoClaims(Cause),
}

/// How a claim is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Consume,
    Release,
}

/// A claim that is to end: the one of this name that this transaction created.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) name: EntryName,
    pub(super) zxid: i64,
    pub(super) end: End,
}

/// What may not be read was not made by us.
fn is_ours(ending: &Ending, found: &Found) -> bool {
    matches!(found, Ok(Some(claim)) if claim.created == ending.zxid)
}

/// Whether a creation of a claim was refused for something else than that one is there, or that the folder is not.
fn forbids_claims(created: &Result<(), Error>) -> Option<Cause> {
    let cause = created.as_ref().err()?.refusal()?;
    (!matches!(cause, Cause::NodeExists | Cause::NoNode)).then_some(cause)
}

impl Requests {
    pub(super) fn new(session: Arc<dyn Session>, root: &str, claimant: &str) -> Self {
        let (root, claimant) = (root.to_owned(), claimant.to_owned());
        let (entries, taken) = (format!("{root}/entries"), format!("{root}/taken"));
        Self { entries, taken, session, root, claimant, complaint: Mutex::default() }
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.session.state()
    }

    pub(super) fn entry_path(&self, name: EntryName) -> String {
        name.below(&self.entries)
    }

    pub(super) fn claim_path(&self, name: EntryName) -> String {
        name.below(&self.taken)
    }

    /// The name in the path of an entry of this queue.
    pub(super) fn entry_name(&self, path: &str) -> Option<EntryName> {
        EntryName::parse(path.strip_prefix(&self.entries)?.strip_prefix('/')?)
    }

    /// The name in the path of a claim node of this queue.
    pub(super) fn claim_name(&self, path: &str) -> Option<EntryName> {
        EntryName::parse(path.strip_prefix(&self.taken)?.strip_prefix('/')?)
    }

    pub(super) async fn make_folders(&self) -> Result<(), Error> {
        make_path(&*self.session, &self.taken).await?;
        make_path(&*self.session, &self.entries).await
    }

    /// Commits what begins with a creation in a folder of the queue; folders that are missing are made.
    pub(super) async fn commit(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        match self.session.commit(operations.clone()).await {
            Err(Error::Refused { index: 0, cause: Cause::NoNode, .. }) => {
                self.make_folders().await?;
                self.session.commit(operations).await
            }
            answer => answer,
        }
    }

    pub(super) fn creation_of_claim(&self, name: EntryName) -> Operation {
        Operation::create(self.claim_path(name), self.claimant.as_bytes(), Mode::Ephemeral)
    }

    /// The part of this index of a transaction.
    pub(super) fn creation_of_entry(&self, index: usize, value: &[u8], priority: u16) -> Result<Operation, Error> {
        let path = format!("{}/entry-{priority:03}-", self.entries);
        if priority > 999 {
            return Err(Error::Refused { path, index, cause: Cause::BadPath });
        }
        Ok(Operation::create(path, value, Mode::PersistentSequential))
    }

    /// Claims entries: all in one transaction, and where others were faster at some of them, the rest in another one.
    /// Fails only when the session has expired.
    pub(super) async fn claim_all(&self, names: Vec<EntryName>) -> Result<Vec<(EntryName, Attempt)>, Error> {
        let (mut attempts, mut open) = (Vec::with_capacity(names.len()), names);
        while !open.is_empty() {
            let (created, found) = self.try_to_claim(&open).await;
            if let Some(cause) = forbids_claims(&created) {
                attempts.extend(open.into_iter().map(|name| (name, Attempt::NoClaims(cause))));
                return Ok(attempts);
            }
            let asked = match (created, found) {
                (Ok(()), Ok(found)) => {
                    let made = self.attempts(&open, found).await?;
                    attempts.extend(open.into_iter().zip(made));
                    return Ok(attempts);
                }
                (Err(Error::Refused { index, cause: Cause::NodeExists, .. }), Ok(found)) => {
                    // the transaction has changed nothing, so what is claimed is claimed by others
                    let mut claims = found.into_iter().step_by(2);
                    let mut is_taken = |at: usize| claims.next().is_some_and(|claim| claim != Ok(None)) || at == index;
                    let (taken, rest): (Vec<_>, Vec<_>) =
                        open.into_iter().enumerate().partition(|(at, _)| is_taken(*at));
                    attempts.extend(taken.into_iter().map(|(_, name)| (name, Attempt::Taken)));
                    open = rest.into_iter().map(|(_, name)| name).collect();
                    continue;
                }
                (Err(Error::Refused { .. }), _) => false,
                (Ok(()) | Err(Error::ConnectionLoss), _) => true,
                (Err(over), _) => return Err(over),
            };
            let claims = open.drain(..).map(async |name| Ok((name, self.claim(name, asked).await?)));
            attempts.extend(join_all(claims).await.into_iter().collect::<Result<Vec<_>, Error>>()?);
        }
        Ok(attempts)
    }

    /// Claims an entry. `asked`: once a create of ours may have been carried out, a node that exists may be our own.
    async fn claim(&self, name: EntryName, mut asked: bool) -> Result<Attempt, Error> {
        let mut pauses = Pauses::short();
        loop {
            let (created, found) = self.try_to_claim(&[name]).await;
            let forbidden = forbids_claims(&created);
            let error = match (created, found) {
                (Err(error), _) if error.is(Cause::NodeExists) && !asked => return Ok(Attempt::Taken),
                (Err(error), _) if !error.is(Cause::NodeExists) && forbidden.is_none() => error,
                (_, found) => match (found, forbidden) {
                    (Ok(found), Some(cause)) if !asked || found.first() == Some(&Ok(None)) => {
                        return Ok(Attempt::NoClaims(cause));
                    }
                    (Ok(found), _) => return self.attempts(&[name], found).await.map(|mut made| made.remove(0)),
                    (Err(error), _) => error,
                },
            };
            asked |= error == Error::ConnectionLoss;
            self.mend(error, &mut pauses).await?;
        }
    }

    /// Creates claims and, without waiting for the answer, reads them and their entries.
    async fn try_to_claim(&self, names: &[EntryName]) -> (Result<(), Error>, Result<Vec<Found>, Error>) {
        let creations = names.iter().map(|name| self.creation_of_claim(*name)).collect();
        let paths = names.iter().flat_map(|name| [self.claim_path(*name), self.entry_path(*name)]).collect();
        let (created, found) = join(self.session.commit(creations), self.session.nodes(paths)).await;
        (created.map(drop), found)
    }

    /// What became of attempts to claim, from claim and entry of each. Claims of no use are given back.
    async fn attempts(&self, names: &[EntryName], found: Vec<Found>) -> Result<Vec<Attempt>, Error> {
        let mut found = found.into_iter();
        let mut next = || found.next().unwrap_or(Ok(None));
        let mut of_no_use = Vec::new();
        let mut attempts = Vec::with_capacity(names.len());
        for name in names {
            attempts.push(match (next(), next()) {
                (Ok(Some(claim)), entry) if claim.data == self.claimant.as_bytes() => match entry {
                    Ok(Some(entry)) => Attempt::Held { value: entry.data, zxid: claim.created },
                    entry => {
                        let attempt = entry.map_or_else(Attempt::Refused, |_| Attempt::EntryGone);
                        of_no_use.push((attempts.len(), self.give_up(*name, claim, attempt)));
                        Attempt::Taken
                    }
                },
                // what we have made we may read
                _ => Attempt::Taken,
            });
        }
        let given_up = of_no_use.into_iter().map(async |(at, given_up)| Ok((at, given_up.await?)));
        for (at, attempt) in join_all(given_up).await.into_iter().collect::<Result<Vec<_>, Error>>()? {
            attempts[at] = attempt;
        }
        Ok(attempts)
    }

    /// Gives back a claim of no use.
    async fn give_up(&self, name: EntryName, claim: Node, attempt: Attempt) -> Result<Attempt, Error> {
        match self.settle(Ending { name, zxid: claim.created, end: End::Release }, false).await {
            Err(Error::Refused { cause, .. }) => Ok(Attempt::Stuck { zxid: claim.created, cause }),
            Err(error) => Err(error),
            Ok(_) => Ok(attempt),
        }
    }

    /// Ends claims, all in one transaction if that can be, else one by one; answers for each what became of it.
    pub(super) async fn settle_all(&self, endings: &[Ending]) -> Vec<Result<Settled, Error>> {
        let paths = endings.iter().map(|ending| self.claim_path(ending.name)).collect();
        let (asked, lost) = match self.session.nodes(paths).await {
            Err(_) => (false, Vec::new()),
            Ok(claims) => {
                let ours: Vec<bool> =
                    endings.iter().zip(&claims).map(|(ending, claim)| is_ours(ending, claim)).collect();
                let mut deletions = Vec::with_capacity(endings.len() * 2);
                for (ending, _) in endings.iter().zip(&ours).filter(|(_, ours)| **ours) {
                    deletions.extend(self.deletions(*ending));
                }
                match self.session.commit(deletions).await {
                    Ok(_) => {
                        let settled = |ours: bool| Ok(if ours { Settled::Done } else { Settled::Lost });
                        return ours.into_iter().map(settled).collect();
                    }
                    Err(error) => (error == Error::ConnectionLoss, ours),
                }
            }
        };
        let settled = endings.iter().enumerate().map(async |(index, ending)| {
            // what was not ours before the transaction was not ended by it
            self.settle(*ending, asked && lost.get(index) == Some(&true)).await
        });
        join_all(settled).await
    }

    /// Ends the claim that this transaction created, and no other: an earlier request of ours may have ended it
    /// without our hearing of it, and somebody else may hold the entry by now. `asked`: once a deletion of ours may have
    /// been carried out, what is missing was deleted by us. Where the entry may not be deleted the claim alone is, so that
    /// an error that is a refusal says that the claim itself stays.
    async fn settle(&self, ending: Ending, mut asked: bool) -> Result<Settled, Error> {
        let mut pauses = Pauses::short();
        loop {
            match self.try_to_settle(ending, &mut asked).await {
                Err(Error::ConnectionLoss) => pauses.wait(&*self.session).await?,
                outcome => return outcome,
            }
        }
    }

    async fn try_to_settle(&self, ending: Ending, asked: &mut bool) -> Result<Settled, Error> {
        let Ending { name, end, .. } = ending;
        let claim = found(self.session.data(&self.claim_path(name)).await)?;
        if !is_ours(&ending, &claim) {
            // after a consume others may still try to claim what is gone, so that the claim alone proves nothing
            let entry_is_gone = async || Ok(found(self.session.data(&self.entry_path(name)).await)? == Ok(None));
            let by_us = *asked && (end == End::Release || entry_is_gone().await?);
            return Ok(if by_us { Settled::Done } else { Settled::Lost });
        }
        let mut kept = None;
        let outcome = match self.session.commit(self.deletions(ending).collect()).await {
            Err(Error::Refused { index: 0, cause, .. }) if end == End::Consume => {
                kept = Some(cause).filter(|cause| *cause != Cause::NoNode);
                self.session.commit(self.deletions(Ending { end: End::Release, ..ending }).collect()).await
            }
            outcome => outcome,
        };
        match outcome {
            Ok(_) => Ok(kept.map_or(Settled::Done, Settled::Refused)),
            Err(error) if error.is(Cause::NoNode) => Ok(Settled::Lost),
            Err(error) => {
                *asked |= error == Error::ConnectionLoss;
                Err(error)
            }
        }
    }

    fn deletions(&self, Ending { name, end, .. }: Ending) -> impl Iterator<Item = Operation> {
        let entry = (end == End::Consume).then(|| Operation::delete(self.entry_path(name)));
        entry.into_iter().chain([Operation::delete(self.claim_path(name))])
    }

    /// Whether the claim that this transaction created still exists. Fails only when the session has expired.
    pub(super) async fn holds(&self, name: EntryName, zxid: i64) -> Result<bool, Error> {
        let mut pauses = Pauses::short();
        loop {
            match found(self.session.data(&self.claim_path(name)).await) {
                Ok(claim) => return Ok(is_ours(&Ending { name, zxid, end: End::Release }, &claim)),
                Err(error) => self.mend(error, &mut pauses).await?,
            }
        }
    }

    /// Names in both folders, entries first. Fails only when the session has expired.
    pub(super) async fn list(&self) -> Result<(Vec<EntryName>, Vec<EntryName>), Error> {
        let mut pauses = Pauses::short();
        loop {
            match join(self.session.children(&self.entries), self.session.children(&self.taken)).await {
                (Ok(entries), Ok(claims)) => {
                    self.complaint().settle();
                    return Ok((parsed(entries), parsed(claims)));
                }
                (Err(error), _) | (_, Err(error)) => self.mend(error, &mut pauses).await?,
            }
        }
    }

    /// Changes below the root. Fails only when the session has expired.
    pub(super) async fn watch(&self) -> Result<Watch, Error> {
        let mut pauses = Pauses::short();
        connected(&*self.session).await?;
        loop {
            match self.session.watch(&self.root).await {
                Ok(watch) => return Ok(watch),
                Err(error) => self.mend(error, &mut pauses).await?,
            }
        }
    }

    /// What can be done before a request is repeated: makes folders that are missing, waits for the connection, or for
    /// somebody to mend what the whole queue is refused.
    async fn mend(&self, error: Error, pauses: &mut Pauses) -> Result<(), Error> {
        let error = if error.is(Cause::NoNode) {
            tracing::warn!(queue = self.root, "recreating the folders of the queue");
            self.make_folders().await.err()
        } else {
            Some(error)
        };
        match error {
            None | Some(Error::ConnectionLoss) => {}
            Some(Error::Refused { path, cause, .. }) => {
                self.complain(&path, cause);
                pauses.limit(LONGEST_REFUSED);
            }
            Some(over) => return Err(over),
        }
        pauses.wait(&*self.session).await
    }

    /// The coordinator refuses something without which the whole queue stands still.
    pub(super) fn complain(&self, node: &str, cause: Cause) {
        if self.complaint().is_new(format!("{node}: {cause}")) {
            tracing::error!(queue = self.root, node, %cause, "cannot take jobs from the queue until this is fixed");
        }
    }

    pub(super) fn complaint(&self) -> MutexGuard<'_, Complaint> {
        self.complaint.lock().expect("nothing panics while it holds this")
    }
}

/// The names of entries among these.
fn parsed(names: Vec<String>) -> Vec<EntryName> {
    names.into_iter().filter_map(|name| EntryName::parse(&name)).collect()
}
