//! [`Requests`]: what a queue asks of its session, each repeated until it is answered or the session has expired.

use std::sync::Arc;

use futures_util::future::join;
use tokio::sync::watch;

use super::Settled;
use super::entry_name::EntryName;
use crate::retry::{Pause, connected};
use crate::session::{Cause, Error, Mode, Operation, Session, State, Watch, existing, make_path};

/// The folders of one queue, and who asks.
pub(super) struct Requests {
    pub(super) session: Arc<dyn Session>,
    pub(super) root: String,
    pub(super) entries: String,
    pub(super) taken: String,
    pub(super) claimant: String,
}

/// How an attempt to claim an entry ended.
pub(super) enum Attempt {
    Held { value: Vec<u8>, zxid: i64 },
    Taken,
    EntryGone,
}

/// How a claim is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Consume,
    Release,
}

impl Requests {
    pub(super) fn new(session: Arc<dyn Session>, root: &str, claimant: &str) -> Self {
        let (root, claimant) = (root.to_owned(), claimant.to_owned());
        Self { entries: format!("{root}/entries"), taken: format!("{root}/taken"), session, root, claimant }
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.session.state()
    }

    pub(super) fn entry_path(&self, name: EntryName) -> String {
        format!("{}/{name}", self.entries)
    }

    pub(super) fn claim_path(&self, name: EntryName) -> String {
        format!("{}/{name}", self.taken)
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

    pub(super) fn creation_of_claim(&self, name: EntryName) -> Operation {
        Operation::create(self.claim_path(name), self.claimant.as_bytes(), Mode::Ephemeral)
    }

    /// Claims an entry. Fails only when the session has expired.
    pub(super) async fn claim(&self, name: EntryName) -> Result<Attempt, Error> {
        let mut pause = Pause::new();
        // once a create of ours may have been carried out, a node that exists may be our own
        let mut asked = false;
        loop {
            match self.try_to_claim(name, &mut asked).await {
                Err(error) => self.mend(error, &mut pause).await?,
                Ok(attempt) => return Ok(attempt),
            }
        }
    }

    async fn try_to_claim(&self, name: EntryName, asked: &mut bool) -> Result<Attempt, Error> {
        match self.session.commit(vec![self.creation_of_claim(name)]).await {
            Err(error) if error.is(Cause::NodeExists) && !*asked => return Ok(Attempt::Taken),
            Err(error) if error.is(Cause::NodeExists) => {}
            Err(error) => {
                *asked |= error == Error::ConnectionLoss;
                return Err(error);
            }
            Ok(_) => *asked = true,
        }
        let (claim, entry) = (self.claim_path(name), self.entry_path(name));
        let (claim, entry) = join(self.session.data(&claim), self.session.data(&entry)).await;
        let Some(claim) = existing(claim)? else { return Ok(Attempt::Taken) };
        if claim.data != self.claimant.as_bytes() {
            return Ok(Attempt::Taken);
        }
        let Some(entry) = existing(entry)? else {
            self.settle(name, claim.created, End::Release).await?;
            return Ok(Attempt::EntryGone);
        };
        Ok(Attempt::Held { value: entry.data, zxid: claim.created })
    }

    /// Ends the claim that this transaction created, and no other: an earlier request of ours may have ended it
    /// without our hearing of it, and somebody else may hold the entry by now.
    pub(super) async fn settle(&self, name: EntryName, zxid: i64, end: End) -> Result<Settled, Error> {
        let mut pause = Pause::new();
        // once a deletion of ours may have been carried out, what is missing was deleted by us
        let mut asked = false;
        loop {
            match self.try_to_settle(name, zxid, end, &mut asked).await {
                Err(Error::ConnectionLoss) => pause.wait(&*self.session).await?,
                outcome => return outcome,
            }
        }
    }

    async fn try_to_settle(&self, name: EntryName, zxid: i64, end: End, asked: &mut bool) -> Result<Settled, Error> {
        let (entry, claim) = (self.entry_path(name), self.claim_path(name));
        let found = existing(self.session.data(&claim).await)?;
        if found.is_none_or(|found| found.created != zxid) {
            // after a consume others may still try to claim what is gone, so that the claim alone proves nothing
            let by_us = *asked && (end == End::Release || existing(self.session.data(&entry).await)?.is_none());
            return Ok(if by_us { Settled::Done } else { Settled::Lost });
        }
        let (entry, claim) = (Operation::delete(entry), Operation::delete(claim));
        let outcome = match end {
            End::Consume => match self.session.commit(vec![entry, claim.clone()]).await {
                Err(Error::Refused { index: 0, cause: Cause::NoNode, .. }) => self.session.commit(vec![claim]).await,
                outcome => outcome,
            },
            End::Release => self.session.commit(vec![claim]).await,
        };
        match outcome {
            Ok(_) => Ok(Settled::Done),
            Err(error) if error.is(Cause::NoNode) => Ok(Settled::Lost),
            Err(error) => {
                *asked |= error == Error::ConnectionLoss;
                Err(error)
            }
        }
    }

    /// Whether the claim that this transaction created still exists. Fails only when the session has expired.
    pub(super) async fn holds(&self, name: EntryName, zxid: i64) -> Result<bool, Error> {
        let mut pause = Pause::new();
        loop {
            match existing(self.session.data(&self.claim_path(name)).await) {
                Ok(found) => return Ok(found.is_some_and(|claim| claim.created == zxid)),
                Err(error) => self.mend(error, &mut pause).await?,
            }
        }
    }

    /// Names in both folders, entries first. Fails only when the session has expired.
    pub(super) async fn list(&self) -> Result<(Vec<EntryName>, Vec<EntryName>), Error> {
        let mut pause = Pause::new();
        loop {
            match join(self.session.children(&self.entries), self.session.children(&self.taken)).await {
                (Ok(entries), Ok(claims)) => return Ok((parsed(entries), parsed(claims))),
                (Err(error), _) | (_, Err(error)) => self.mend(error, &mut pause).await?,
            }
        }
    }

    /// Changes below the root. Fails only when the session has expired.
    pub(super) async fn watch(&self) -> Result<Watch, Error> {
        let mut pause = Pause::new();
        connected(&*self.session).await?;
        loop {
            match self.session.watch(&self.root).await {
                Ok(watch) => return Ok(watch),
                Err(error) => self.mend(error, &mut pause).await?,
            }
        }
    }

    /// What can be done before a request is repeated: makes folders that are missing, waits for the connection.
    async fn mend(&self, error: Error, pause: &mut Pause) -> Result<(), Error> {
        match error {
            Error::ConnectionLoss => {}
            refused @ Error::Refused { .. } => {
                tracing::warn!(queue = self.root, %refused, "making the folders of the queue again");
                if let Err(error) = self.make_folders().await {
                    tracing::warn!(queue = self.root, %error, "cannot make the folders of the queue");
                }
            }
            over => return Err(over),
        }
        pause.wait(&*self.session).await
    }
}

/// The names of entries among these.
fn parsed(names: Vec<String>) -> Vec<EntryName> {
    names.into_iter().filter_map(|name| EntryName::parse(&name)).collect()
}
