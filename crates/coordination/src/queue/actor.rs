//! [`Actor`]: the one task of a queue. It keeps the mirror, claims for those who wait, and gives back what was dropped.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Weak};

use futures_util::StreamExt;
use futures_util::future::{BoxFuture, try_join};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::Span;

use super::entry_name::EntryName;
use super::mirror::{Chosen, Mirror, Share};
use super::refusals::Refusals;
use super::requests::{Attempt, End, Ending, Requests};
use super::standing::{News, Standing};
use super::{Claim, LockingQueue, Settled, Shared};
use crate::retry::Pauses;
use crate::session::{Cause, Change, Error, State, Watch};

/// What queues and claims tell their actor.
pub(super) enum Command {
    /// Somebody waits.
    Take(Asked),
    /// Pass over this entry until then.
    Avoid { name: EntryName, until: Instant },
    /// So many queues reach for entries at the same time, and this is one of them.
    Share(Share),
    /// A claim is to end. Whoever asked may have gone.
    End(Waiting),
    /// A claim is left to whoever deletes its node.
    Abandon { name: EntryName },
    /// A claim that was lost is not needed any more.
    Forget { name: EntryName },
    /// Somebody waits until no claim waits for its end, and hears of that by the drop of this.
    Settle(oneshot::Sender<Infallible>),
}

/// Who waits for claims, and for how many.
pub(super) struct Asked {
    pub(super) number: usize,
    pub(super) door: mpsc::UnboundedSender<Claim>,
}

struct Held {
    zxid: i64,
    standing: Arc<Standing>,
}

/// A request that was answered.
enum Done {
    Listed { entries: Vec<EntryName>, claims: Vec<EntryName> },
    Claimed(Vec<(EntryName, Attempt)>),
    Ended(Vec<(Waiting, Result<Settled, Error>)>),
    Verified { name: EntryName, zxid: i64, holds: bool },
}

/// A claim that is to end, and who hears how.
pub(super) type Waiting = (Ending, Hearer);

/// Who hears how a claim ended.
pub(super) enum Hearer {
    /// Who asked, and may have gone.
    Holder(oneshot::Sender<Result<Settled, Error>>),
    /// The log, in the span of who asked.
    Log(Span),
    /// It was dropped.
    Nobody,
}

impl Hearer {
    pub(super) fn hear(self, settled: Result<Settled, Error>, entry: impl FnOnce() -> String) {
        match (self, settled) {
            (Self::Holder(holder), settled) => drop(holder.send(settled)),
            (Self::Log(span), Ok(Settled::Lost)) => {
                span.in_scope(|| tracing::warn!(entry = entry(), "claim lost before it was settled"));
            }
            (Self::Log(span), Err(error)) => {
                span.in_scope(|| tracing::warn!(entry = entry(), cause = %error, "cannot settle the claim"));
            }
            // of an entry that is refused the queue has said so
            (Self::Log(_), Ok(_)) | (Self::Nobody, _) => {}
        }
    }
}

/// Most commands or changes that are dealt with before anything else is looked at.
const AT_ONCE: usize = 256;
/// Most claims that are made or ended in one transaction, far below what a server takes.
const MOST_IN_ONE: usize = 128;
/// While more claims than this wait for their end, none are made.
const MOST_ENDS: usize = 1024;

/// The next change; never any if nobody watches.
async fn next(changes: &mut Option<Watch>) -> Option<Change> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}

/// Lives from the first take until the session expires, or the last queue and claim are gone.
pub(super) struct Actor {
    requests: Arc<Requests>,
    /// Weak, so that the queue ends with its users.
    shared: Weak<Shared>,
    mirror: Mirror,
    share: Share,
    waiting: VecDeque<Asked>,
    held: BTreeMap<EntryName, Held>,
    /// Fails only when the session has expired.
    work: FuturesUnordered<BoxFuture<'static, Result<Done, Error>>>,
    /// How many claims are under way, in one request: those who come meanwhile share the next one.
    claiming: usize,
    /// Claims that wait for their end.
    ends: VecDeque<Waiting>,
    /// How many are ended, in one request.
    ending: usize,
    /// Who waits until none are.
    settling: Vec<oneshot::Sender<Infallible>>,
    /// Meanwhile no change is read, so that each is applied to a listing that is not newer.
    listing: bool,
    refusals: Refusals,
    /// Claims that the coordinator refused to end, until when nobody tries again.
    stuck: BTreeMap<EntryName, (i64, Instant)>,
    /// No claim may be made: when that is tried again, and the pauses after that.
    forbidden: Option<(Instant, Pauses)>,
}

impl Actor {
    pub(super) fn new(requests: Arc<Requests>, shared: Weak<Shared>) -> Self {
        Self {
            requests,
            shared,
            mirror: Mirror::default(),
            share: Share { position: 0, of: 1 },
            waiting: VecDeque::new(),
            held: BTreeMap::new(),
            work: FuturesUnordered::new(),
            claiming: 0,
            ends: VecDeque::new(),
            ending: 0,
            settling: Vec::new(),
            listing: false,
            refusals: Refusals::default(),
            stuck: BTreeMap::new(),
            forbidden: None,
        }
    }

    /// Whoever waits when it ends learns that the session has expired, by the closed channels.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut state = self.requests.state();
        let mut changes: Option<Watch> = None;
        let mut closed = false;
        while !closed || self.is_busy() {
            if changes.is_none() && !self.waiting.is_empty() {
                let Ok(watch) = self.requests.watch().await else { return };
                changes = Some(watch);
            }
            if *state.borrow_and_update() == State::Connected {
                self.begin_claims();
            }
            self.begin_ends();
            self.publish_length();
            let next_return = self.next_return();
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
                change = next(&mut changes), if !self.listing => self.see_all(change, &mut changes).is_err(),
                () = sleep_until(next_return.unwrap_or_else(Instant::now)), if next_return.is_some() => {
                    self.mirror.return_avoided(Instant::now());
                    self.release_stuck(Instant::now());
                    false
                }
            };
            if ended {
                return;
            }
        }
    }

    /// Whether claims are made or ended.
    fn is_busy(&self) -> bool {
        self.claiming + self.ending + self.ends.len() > 0
    }

    /// When an entry that is left alone, or all of them, may be tried again.
    fn next_return(&self) -> Option<Instant> {
        let forbidden = self.forbidden.map(|(until, _)| until).filter(|until| *until > Instant::now());
        self.mirror.next_return().into_iter().chain(forbidden).min()
    }

    /// A claim for each who waits, as far as entries are free: never more than can be handed out.
    fn begin_claims(&mut self) {
        if self.claiming > 0 || self.ends.len() > MOST_ENDS {
            return;
        }
        if self.forbidden.is_some_and(|(until, _)| until > Instant::now()) {
            return;
        }
        self.waiting.retain(|asked| !asked.door.is_closed());
        let wanted: usize = self.waiting.iter().map(|asked| asked.number).sum();
        let slots = wanted + self.held.len();
        let Chosen { again, new } = self.mirror.take_in_hand(wanted.min(MOST_IN_ONE), slots, self.share);
        self.claiming = again.len() + new.len();
        if self.claiming == 0 {
            return;
        }
        let requests = self.requests.clone();
        self.work.push(Box::pin(async move {
            // apart, as others may reach for the overdue ones too
            let (mut attempts, new) = try_join(requests.claim_all(again), requests.claim_all(new)).await?;
            attempts.extend(new);
            Ok(Done::Claimed(attempts))
        }));
    }

    fn begin_ends(&mut self) {
        if self.ending > 0 {
            return;
        }
        if self.ends.is_empty() {
            self.settling.clear();
            return;
        }
        let waiting: Vec<_> = self.ends.drain(..self.ends.len().min(MOST_IN_ONE)).collect();
        self.ending = waiting.len();
        let requests = self.requests.clone();
        self.work.push(Box::pin(async move {
            let endings: Vec<_> = waiting.iter().map(|(ending, _)| *ending).collect();
            let settled = requests.settle_all(&endings).await;
            Ok(Done::Ended(waiting.into_iter().zip(settled).collect()))
        }));
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Take(asked) => self.waiting.push_back(asked),
            Command::Avoid { name, until } => self.mirror.avoid(name, until),
            Command::Share(share) => self.share = share,
            Command::End(waiting) => {
                // nobody listens any more for what becomes of it
                self.held.remove(&waiting.0.name);
                self.ends.push_back(waiting);
            }
            Command::Abandon { name } => {
                self.mirror.put_down_as_taken(name);
                self.held.remove(&name);
            }
            Command::Forget { name } => {
                self.held.remove(&name);
                self.mirror.put_down(name);
            }
            Command::Settle(settled) => self.settling.push(settled),
        }
    }

    fn release(&mut self, name: EntryName, zxid: i64) {
        self.ends.push_back((Ending { name, zxid, end: End::Release }, Hearer::Nobody));
    }

    /// What has happened, and what else has happened meanwhile.
    fn see_all(&mut self, first: Option<Change>, changes: &mut Option<Watch>) -> Result<(), Error> {
        self.see(first.ok_or(Error::Expired)?);
        for _ in 0..AT_ONCE {
            if self.listing {
                break;
            }
            let Some(change) = changes.as_mut().and_then(|changes| changes.try_recv().ok()) else { break };
            self.see(change);
        }
        Ok(())
    }

    fn see(&mut self, change: Change) {
        let requests = &self.requests;
        match change {
            Change::Reset => {
                let requests = requests.clone();
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
                    self.no_longer_refused(name);
                    self.note_if_entry_gone(name);
                } else if let Some(name) = requests.claim_name(&path) {
                    self.mirror.claim_deleted(name);
                    self.verify(name);
                }
            }
            Change::Set(_) => {}
        }
    }

    fn finish(&mut self, done: Result<Done, Error>) -> Result<(), Error> {
        match done? {
            Done::Listed { entries, claims } => {
                self.listing = false;
                self.mirror.relist(entries, claims);
                self.refusals.retain(|name| self.mirror.has_entry(name));
                self.publish_refusals();
                for name in self.held.keys().copied().collect::<Vec<_>>() {
                    self.note_if_entry_gone(name);
                    self.verify(name);
                }
            }
            Done::Claimed(attempts) => {
                self.claiming = 0;
                for (name, attempt) in attempts {
                    self.claimed(name, attempt);
                }
            }
            Done::Ended(ended) => {
                self.ending = 0;
                return ended.into_iter().try_for_each(|(waiting, settled)| self.ended(waiting, settled));
            }
            Done::Verified { name, zxid, holds } => {
                if let Some(held) = self.held.get(&name).filter(|held| held.zxid == zxid && !holds) {
                    held.standing.note(News::Lost);
                }
            }
        }
        Ok(())
    }

    fn claimed(&mut self, name: EntryName, attempt: Attempt) {
        match attempt {
            Attempt::Held { value, zxid } => {
                if self.forbidden.take().is_some() {
                    self.requests.complaint().settle();
                }
                self.hand_out(name, value, zxid);
            }
            Attempt::Taken => self.mirror.put_down_as_taken(name),
            Attempt::Refused(cause) => {
                self.mirror.put_down(name);
                let _until = self.refused(name, cause);
            }
            Attempt::Stuck { zxid, cause } => self.stuck(name, zxid, cause),
            Attempt::NoClaims(cause) => {
                self.mirror.put_down(name);
                self.forbid(cause);
            }
            Attempt::EntryGone => {
                self.mirror.entry_deleted(name);
                self.mirror.put_down(name);
                // of nodes that this login may not read servers tell no changes
                self.no_longer_refused(name);
            }
        }
    }

    fn ended(&mut self, (ending, hearer): Waiting, settled: Result<Settled, Error>) -> Result<(), Error> {
        let Ending { name, end, .. } = ending;
        match &settled {
            Ok(Settled::Done) if end == End::Consume => {
                self.mirror.entry_deleted(name);
                self.mirror.put_down(name);
                self.no_longer_refused(name);
            }
            Ok(Settled::Refused(cause)) => {
                self.mirror.put_down(name);
                let _until = self.refused(name, *cause);
            }
            Ok(_) => self.mirror.put_down(name),
            // the queue ends
            Err(Error::Expired) => {}
            Err(error) => match error.refusal() {
                Some(cause) => self.stuck(name, ending.zxid, cause),
                None => self.mirror.put_down_as_taken(name),
            },
        }
        let is_over = settled == Err(Error::Expired);
        hearer.hear(settled, || self.requests.entry_path(name));
        if is_over { Err(Error::Expired) } else { Ok(()) }
    }

    /// The entry is left alone until the time answered, which concerns no other.
    fn refused(&mut self, name: EntryName, cause: Cause) -> Instant {
        let (until, is_new) = self.refusals.note(name, cause, Instant::now());
        self.mirror.avoid(name, until);
        if is_new {
            let entry = self.requests.entry_path(name);
            tracing::error!(entry, %cause, "ignoring an unusable entry, delete or repair it");
        }
        self.publish_refusals();
        until
    }

    /// Our claim stays, so that nobody has the entry: it is tried again to give it back.
    fn stuck(&mut self, name: EntryName, zxid: i64, cause: Cause) {
        self.mirror.put_down_as_taken(name);
        let until = self.refused(name, cause);
        self.stuck.insert(name, (zxid, until));
    }

    fn release_stuck(&mut self, now: Instant) {
        let due: Vec<_> = self.stuck.iter().filter(|(_, (_, until))| *until <= now).map(|(name, _)| *name).collect();
        for name in due {
            if let Some((zxid, _)) = self.stuck.remove(&name) {
                self.release(name, zxid);
            }
        }
    }

    /// The entry is gone.
    fn no_longer_refused(&mut self, name: EntryName) {
        if self.refusals.forget(name) {
            self.publish_refusals();
        }
    }

    /// Nothing can be claimed for a while: one answer for all entries.
    fn forbid(&mut self, cause: Cause) {
        let now = Instant::now();
        let (until, mut pauses) = self.forbidden.unwrap_or((now, Pauses::default()));
        // several claims were under way
        if until > now {
            return;
        }
        self.forbidden = Some((now + pauses.take(), pauses));
        self.requests.complain(&self.requests.taken, cause);
    }

    /// To the first who still waits; dropped, and so given back, if nobody does.
    fn hand_out(&mut self, name: EntryName, value: Vec<u8>, zxid: i64) {
        let Some(shared) = self.shared.upgrade() else { return self.release(name, zxid) };
        let standing = Arc::new(Standing::default());
        self.held.insert(name, Held { zxid, standing: standing.clone() });
        self.note_if_entry_gone(name);
        if self.mirror.is_unsure(name) {
            self.verify(name);
        }
        let mut claim = Claim::new(LockingQueue { shared }, name, value, zxid, standing);
        while let Some(first) = self.waiting.front_mut() {
            let sent = first.door.send(claim);
            first.number -= usize::from(sent.is_ok());
            if sent.is_err() || first.number == 0 {
                self.waiting.pop_front();
            }
            match sent {
                Ok(()) => return,
                Err(mpsc::error::SendError(returned)) => claim = returned,
            }
        }
    }

    fn note_if_entry_gone(&self, name: EntryName) {
        if let Some(held) = self.held.get(&name).filter(|_| !self.mirror.has_entry(name)) {
            held.standing.note(News::EntryGone);
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

    fn publish_refusals(&self) {
        if let Some(shared) = self.shared.upgrade() {
            let listed = self.refusals.list(|name| self.requests.entry_path(name));
            shared.refused.send_if_modified(|before| std::mem::replace(before, listed.clone()) != listed);
        }
    }

    fn publish_length(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.set_length(self.mirror.len(), self.mirror.free());
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.held.values().for_each(|held| held.standing.note(News::QueueEnded));
    }
}
