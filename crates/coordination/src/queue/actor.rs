//! [`Actor`]: the one task of a queue. It keeps the mirror, claims for those who wait, and gives back what was dropped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::entry_name::EntryName;
use super::mirror::Mirror;
use super::requests::{Attempt, End, Requests};
use super::{Claim, LockingQueue, Settled, Shared};
use crate::session::{Change, Error, State, Watch};

/// What queues and claims tell their actor.
pub(super) enum Command {
    /// Somebody waits.
    Take(oneshot::Sender<Claim>),
    /// Pass over this entry until then.
    Avoid { name: EntryName, until: Instant },
    /// The holder of a claim is about to end it: nobody listens any more for what becomes of it.
    Settling { name: EntryName },
    /// It has ended it.
    Settled { name: EntryName, consumed: bool },
    /// A claim was dropped.
    Release { name: EntryName, zxid: i64 },
    /// A claim is left to whoever deletes its node.
    Abandon { name: EntryName },
}

/// What is known to have become of a claim.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) lost: bool,
    pub(super) entry_gone: bool,
}

struct Held {
    zxid: i64,
    standing: watch::Sender<Standing>,
}

/// A request that was answered.
enum Done {
    Listed { entries: Vec<EntryName>, claims: Vec<EntryName> },
    Claimed { name: EntryName, attempt: Attempt },
    Released { name: EntryName, settled: Result<Settled, Error> },
    Verified { name: EntryName, zxid: i64, holds: bool },
}

/// Most commands or changes that are dealt with before anything else is looked at.
const AT_ONCE: usize = 256;

/// Lives from the first take until the session expires, or the last queue and claim are gone.
pub(super) struct Actor {
    requests: Arc<Requests>,
    /// Weak, so that the queue ends with its users.
    shared: Weak<Shared>,
    mirror: Mirror,
    waiting: VecDeque<oneshot::Sender<Claim>>,
    /// Those who have gone are looked for when more than so many wait, so that they do not pile up.
    pruned_at: usize,
    held: BTreeMap<EntryName, Held>,
    /// Fails only when the session has expired.
    work: FuturesUnordered<BoxFuture<'static, Result<Done, Error>>>,
    claiming: usize,
    releasing: usize,
    /// Meanwhile no change is read, so that each is applied to a listing that is not newer.
    listing: bool,
}

impl Actor {
    pub(super) fn new(requests: Arc<Requests>, shared: Weak<Shared>) -> Self {
        Self {
            requests,
            shared,
            mirror: Mirror::default(),
            waiting: VecDeque::new(),
            pruned_at: AT_ONCE,
            held: BTreeMap::new(),
            work: FuturesUnordered::new(),
            claiming: 0,
            releasing: 0,
            listing: false,
        }
    }

    /// Whoever waits when it ends learns that the session has expired, by the closed channels.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut state = self.requests.state();
        let Ok(mut changes) = self.requests.watch().await else { return };
        let mut closed = false;
        while !closed || self.claiming + self.releasing > 0 {
            if *state.borrow_and_update() == State::Connected {
                self.begin_claims();
            }
            self.publish_length();
            let next_return = self.mirror.next_return();
            let ended = tokio::select! {
                biased;
                _ = state.changed() => state.has_changed().is_err() || *state.borrow() == State::Expired,
                Some(done) = self.work.next(), if !self.work.is_empty() => self.finish(done).is_err(),
                command = commands.recv(), if !closed => {
                    closed = command.is_none();
                    let waiting = std::iter::from_fn(|| commands.try_recv().ok()).take(AT_ONCE);
                    command.into_iter().chain(waiting).for_each(|command| self.obey(command));
                    false
                }
                change = changes.recv(), if !self.listing => self.see_all(change, &mut changes).is_err(),
                () = sleep_until(next_return.unwrap_or_else(Instant::now)), if next_return.is_some() => {
                    self.mirror.return_avoided(Instant::now());
                    false
                }
            };
            if ended {
                return;
            }
        }
    }

    /// One claim under way for each who waits, as far as entries are free: never more than can be handed out.
    fn begin_claims(&mut self) {
        while let Some(taker) = self.waiting.get(self.claiming) {
            if taker.is_closed() {
                self.waiting.remove(self.claiming);
                continue;
            }
            let Some(name) = self.mirror.take_in_hand() else { return };
            self.claiming += 1;
            let requests = self.requests.clone();
            self.work.push(Box::pin(async move {
                let attempt = requests.claim(name).await?;
                Ok(Done::Claimed { name, attempt })
            }));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Take(taker) => {
                self.waiting.push_back(taker);
                if self.waiting.len() > self.pruned_at {
                    self.waiting.retain(|taker| !taker.is_closed());
                    self.pruned_at = 2 * self.waiting.len() + AT_ONCE;
                }
            }
            Command::Avoid { name, until } => self.mirror.avoid(name, until),
            Command::Release { name, zxid } => {
                self.held.remove(&name);
                self.release(name, zxid);
            }
            Command::Settling { name } => drop(self.held.remove(&name)),
            Command::Settled { name, consumed } => {
                if consumed {
                    self.mirror.entry_deleted(name);
                }
                self.mirror.put_down(name);
            }
            Command::Abandon { name } => {
                self.mirror.put_down_as_taken(name);
                self.held.remove(&name);
            }
        }
    }

    fn release(&mut self, name: EntryName, zxid: i64) {
        self.releasing += 1;
        let requests = self.requests.clone();
        self.work.push(Box::pin(async move {
            let settled = requests.settle(name, zxid, End::Release).await;
            Ok(Done::Released { name, settled })
        }));
    }

    /// What has happened, and what else has happened meanwhile.
    fn see_all(&mut self, first: Option<Change>, changes: &mut Watch) -> Result<(), Error> {
        self.see(first)?;
        for _ in 0..AT_ONCE {
            if self.listing {
                break;
            }
            let Ok(change) = changes.try_recv() else { break };
            self.see(Some(change))?;
        }
        Ok(())
    }

    fn see(&mut self, change: Option<Change>) -> Result<(), Error> {
        let requests = self.requests.clone();
        match change.ok_or(Error::Expired)? {
            Change::Reset => {
                self.listing = true;
                self.work.push(Box::pin(async move {
                    let (entries, claims) = requests.list().await?;
                    Ok(Done::Listed { entries, claims })
                }));
            }
            Change::Created(path) => {
                if let Some(name) = requests.entry_name(&path) {
                    self.mirror.entry_created(name);
                } else if let Some(name) = requests.claim_name(&path) {
                    self.mirror.claim_created(name);
                }
            }
            Change::Deleted(path) => {
                if let Some(name) = requests.entry_name(&path) {
                    self.mirror.entry_deleted(name);
                    self.tell_if_entry_gone(name);
                } else if let Some(name) = requests.claim_name(&path) {
                    self.mirror.claim_deleted(name);
                    self.verify(name);
                }
            }
            Change::Set(_) => {}
        }
        Ok(())
    }

    fn finish(&mut self, done: Result<Done, Error>) -> Result<(), Error> {
        match done? {
            Done::Listed { entries, claims } => {
                self.listing = false;
                self.mirror.relist(entries, claims);
                for name in self.held.keys().copied().collect::<Vec<_>>() {
                    self.tell_if_entry_gone(name);
                    self.verify(name);
                }
            }
            Done::Claimed { name, attempt } => {
                self.claiming -= 1;
                match attempt {
                    Attempt::Held { value, zxid } => self.hand_out(name, value, zxid),
                    Attempt::Taken => self.mirror.put_down_as_taken(name),
                    Attempt::EntryGone => {
                        self.mirror.entry_deleted(name);
                        self.mirror.put_down(name);
                    }
                }
            }
            Done::Released { name, settled } => {
                self.releasing -= 1;
                match settled {
                    Ok(_) => self.mirror.put_down(name),
                    Err(Error::Expired) => return Err(Error::Expired),
                    Err(error) => {
                        tracing::warn!(entry = %name, %error, "a claim cannot be released and stays");
                        self.mirror.put_down_as_taken(name);
                    }
                }
            }
            Done::Verified { name, zxid, holds } => {
                if let Some(held) = self.held.get(&name).filter(|held| held.zxid == zxid && !holds) {
                    held.standing.send_modify(|standing| standing.lost = true);
                }
            }
        }
        Ok(())
    }

    /// To the first who still waits; dropped, and so given back, if nobody does.
    fn hand_out(&mut self, name: EntryName, value: Vec<u8>, zxid: i64) {
        let Some(shared) = self.shared.upgrade() else { return self.release(name, zxid) };
        let (sender, standing) = watch::channel(Standing::default());
        self.held.insert(name, Held { zxid, standing: sender });
        self.tell_if_entry_gone(name);
        if self.mirror.is_unsure(name) {
            self.verify(name);
        }
        let mut claim = Claim::new(LockingQueue { shared }, name, value, zxid, standing);
        while let Some(taker) = self.waiting.pop_front() {
            match taker.send(claim) {
                Ok(()) => return,
                Err(returned) => claim = returned,
            }
        }
    }

    fn tell_if_entry_gone(&self, name: EntryName) {
        if let Some(held) = self.held.get(&name).filter(|_| !self.mirror.has_entry(name)) {
            held.standing.send_modify(|standing| standing.entry_gone = true);
        }
    }

    /// A deletion may be of the claim before ours: only a look tells whether ours is gone.
    fn verify(&self, name: EntryName) {
        let Some(&Held { zxid, .. }) = self.held.get(&name) else { return };
        let requests = self.requests.clone();
        self.work.push(Box::pin(async move {
            let holds = requests.holds(name, zxid).await?;
            Ok(Done::Verified { name, zxid, holds })
        }));
    }

    fn publish_length(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.set_length(self.mirror.len());
        }
    }
}
