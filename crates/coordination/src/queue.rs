//! [`LockingQueue`] and [`Claim`], byte-compatible with kazoo's `LockingQueue` (`/job/entries`, `/job/taken`;
//! `ZooKeeper` specification 4).
//!
//! An entry is a node under `entries`, named by priority and sequence so that the order of text is the order of the
//! queue. Who creates the ephemeral node of the same name under `taken` holds the entry. The rules, and why:
//!
//! * **No listing per take.** One task per queue mirrors both folders by watch events and lists them again only after
//!   a `Reset`, so a take costs the same whatever the backlog. It starts with the first take: a process that only puts
//!   keeps no mirror.
//! * **The mirror proposes, the create decides.** A mirror is always a little late. If somebody was faster the next
//!   entry follows at once; a claim on an entry that is gone is deleted.
//! * **A claim always has an owner.** Takes wait in line and the task claims for them; a taker that goes at any moment
//!   leaves its claim to the next in line, or to the task, which gives it back.
//! * **A lost answer is asked for again.** What exists after a lost answer and bears our claimant is ours; what is gone
//!   after a lost answer was deleted by us.
//! * **A claim is the node that one transaction created.** It is recognised by that zxid before anything is deleted,
//!   so a claim that was lost never touches the one that followed. The look and the deletion are two requests; between
//!   them the node could change only by a stranger's hand, as no session but ours ends it.
//! * **A refusal concerns what was refused.** An entry that may not be read or deleted is left alone with growing pauses,
//!   and told once; all others go on. Only what no entry could be taken without holds up the queue: that its folders may
//!   be listed and claims be made.
//! * **Out of reach is not lost.** While the session is suspended nothing new is taken and claims stand unproven;
//!   when it is over they are lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::session::{Cause, Error, Operation, Session, State, existing};
use crate::tasks;
use actor::{Actor, Command, Hearer};
use mirror::Share;
use renewal::Renewal;
use requests::{End, Ending, Requests};
use standing::{News, Standing};

mod actor;
mod entry_name;
mod mirror;
mod refusals;
mod renewal;
mod requests;
mod standing;
mod taker;

pub use entry_name::EntryName;
pub use refusals::{MOST_REFUSED_LISTED, RefusedEntry};
pub use taker::Taker;

/// Longer than any process lives, and short enough to be added to a time.
const LONGEST_AVOIDED: Duration = Duration::from_hours(30 * 365 * 24);

/// A queue of small values in order of priority, of which each is held by at most one taker.
/// Cheap to clone: clones share one mirror of the queue. Ends when the last clone and the last claim are dropped.
#[derive(Clone)]
pub struct LockingQueue {
    shared: Arc<Shared>,
}

struct Shared {
    requests: Arc<Requests>,
    /// Unbounded so that a drop can send, yet never longer than there are takes, claims and avoided entries.
    commands: mpsc::UnboundedSender<Command>,
    unstarted: Mutex<Option<mpsc::UnboundedReceiver<Command>>>,
    length: AtomicUsize,
    free: AtomicUsize,
    refused: watch::Sender<Vec<RefusedEntry>>,
    renewal: Renewal,
}

/// How consuming or releasing a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Done, by us.
    Done,
    /// The claim was no longer ours; nothing of anybody else was touched.
    Lost,
    /// The entry may not be deleted, or has a child: its claim alone has ended, and the queue leaves it alone for a while.
    Refused(Cause),
}

/// What became of an entry that was to have another priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It is at this path now.
    To(String),
    /// Somebody holds it: it stays.
    Held,
    /// It is not there.
    Gone,
}

impl LockingQueue {
    /// A queue below `root` (e.g. `/job`), whose nodes are made if missing. `claimant` is written into claim nodes:
    /// 32 lower-case hex characters, drawn anew for each queue that is opened, since it tells after a lost answer
    /// whose a claim is. The queue ends with its session.
    pub async fn open(session: Arc<dyn Session>, root: &str, claimant: &str) -> Result<Self, Error> {
        let requests = Arc::new(Requests::new(session, root, claimant));
        requests.make_folders().await?;
        let (commands, unstarted) = mpsc::unbounded_channel();
        let unstarted = Mutex::new(Some(unstarted));
        let (length, free) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let refused = watch::Sender::default();
        let renewal = Renewal::new();
        Ok(Self { shared: Arc::new(Shared { requests, commands, unstarted, length, free, refused, renewal }) })
    }

    /// Adds a value with a priority (0 to 999, lower first) and answers the path of its entry. Another priority is
    /// refused as [`Cause::BadPath`]. After [`Error::ConnectionLoss`] the entry may or may not exist.
    pub async fn put(&self, value: &[u8], priority: u16) -> Result<String, Error> {
        // one value has one path
        self.put_all(&[(value, priority)]).await.map(|paths| paths.concat())
    }

    /// Adds values, each as [`put`](Self::put) would, in their order and in one transaction: all of them or none. A
    /// hundred short ones are a good measure, and `ZooKeeper` closes the connection at 1 MiB.
    pub async fn put_all<V: AsRef<[u8]> + Sync>(&self, values: &[(V, u16)]) -> Result<Vec<String>, Error> {
        let requests = &self.shared.requests;
        let creation = |(index, (value, priority)): (usize, &(V, u16))| {
            requests.creation_of_entry(index, value.as_ref(), *priority)
        };
        let creations = values.iter().enumerate().map(creation).collect::<Result<Vec<_>, _>>()?;
        self.shared.renewal.renew_if_worn(requests).await;
        let put = requests.commit(creations).await;
        self.shared.renewal.note(&requests.root, &put);
        put
    }

    /// The folder of entries is made anew from this number on: so tests need not put two billion.
    #[doc(hidden)]
    pub fn renew_from(&self, sequence: i64) {
        self.shared.renewal.set_worn_from(sequence);
    }

    /// Waits for the first free entry that can be held. Dropping the future at any point leaves no claim behind.
    /// Fails only when the session has expired.
    pub async fn take(&self) -> Result<Claim, Error> {
        let mut taker = self.taker();
        taker.ask(1);
        taker.next().await
    }

    /// Takes many claims, one after the other.
    #[must_use]
    pub fn taker(&self) -> Taker {
        Taker::new(self.clone())
    }

    /// Leaves an entry alone for a while: `take` of this process passes over it until then. To keep a released entry
    /// from coming straight back, avoid it before its claim is released.
    pub fn avoid(&self, entry: &str, duration: Duration) {
        if let Some(name) = self.shared.requests.entry_name(entry) {
            self.shared.send(Command::Avoid { name, until: Instant::now() + duration.min(LONGEST_AVOIDED) });
        }
    }

    /// Says that so many queues reach for entries at the same time, of which this is the one at `position` (from 0): each
    /// then takes others, as long as there are enough. Nothing depends on it but how many reach in vain.
    pub fn share(&self, position: usize, of: usize) {
        let of = of.max(1);
        self.shared.send(Command::Share(Share { position: position % of, of }));
    }

    /// How many entries wait, free or taken, as the mirror knows: 0 before the first take.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.length.load(Ordering::Relaxed)
    }

    /// How many entries could be taken now, as the mirror knows.
    #[must_use]
    pub fn free(&self) -> usize {
        self.shared.free.load(Ordering::Relaxed)
    }

    /// The entries that this queue leaves alone because the coordinator refuses them, now and from now on: the first
    /// [`MOST_REFUSED_LISTED`] of them.
    #[must_use]
    pub fn refused(&self) -> watch::Receiver<Vec<RefusedEntry>> {
        self.shared.refused.subscribe()
    }

    /// Whether no entry waits, as the mirror knows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Paths of all entries in the order of the queue, listed afresh.
    pub async fn entries(&self) -> Result<Vec<String>, Error> {
        let requests = &self.shared.requests;
        let names = existing(requests.session.children(&requests.entries).await)?.unwrap_or_default();
        let mut entries: Vec<_> = names.iter().filter_map(|name| EntryName::parse(name)).collect();
        entries.sort_unstable();
        Ok(entries.into_iter().map(|name| requests.entry_path(name)).collect())
    }

    /// Deletes an entry, claimed or not, if it holds `value`: for a job that was stopped or deleted. Whoever holds it
    /// sees it vanish. Answers whether it was deleted now; one that is gone or holds another value is left alone. May
    /// be repeated after [`Error::ConnectionLoss`].
    pub async fn remove(&self, entry: &str, value: &[u8]) -> Result<bool, Error> {
        let requests = &self.shared.requests;
        self.own_entry(entry)?;
        let version = match existing(requests.session.data(entry).await)? {
            Some(node) if node.data == value => Some(node.version),
            _ => return Ok(false),
        };
        let deletion = Operation::Delete { path: entry.to_owned(), version };
        Ok(existing(requests.session.commit(vec![deletion]).await)?.is_some())
    }

    /// Consumes an entry if nobody holds it, in one transaction: for a job that is final. Answers whether the entry is
    /// gone now; if not, somebody holds it. May be repeated after [`Error::ConnectionLoss`].
    pub async fn consume_unclaimed(&self, entry: &str) -> Result<bool, Error> {
        Ok(self.delete_unclaimed(entry, None).await? != Moved::Held)
    }

    /// Puts the value of an entry anew, with another priority and behind all that have it, and deletes the entry, in one
    /// transaction, unless somebody holds it. After [`Error::ConnectionLoss`] that was done or not.
    pub async fn move_unclaimed(&self, entry: &str, value: &[u8], priority: u16) -> Result<Moved, Error> {
        let creation = self.shared.requests.creation_of_entry(3, value, priority)?;
        self.delete_unclaimed(entry, Some(creation)).await
    }

    /// Deletes an entry that nobody holds, and creates the one that takes its place, if any.
    async fn delete_unclaimed(&self, entry: &str, creation: Option<Operation>) -> Result<Moved, Error> {
        let requests = &self.shared.requests;
        let name = self.own_entry(entry)?;
        let (claim, release) = (requests.creation_of_claim(name), Operation::delete(requests.claim_path(name)));
        let operations = [claim, Operation::delete(entry), release].into_iter().chain(creation).collect();
        match requests.commit(operations).await {
            Err(error) if error.is(Cause::NodeExists) => Ok(Moved::Held),
            Err(Error::Refused { index: 1, cause: Cause::NoNode, .. }) => Ok(Moved::Gone),
            // the last of the paths is that of the new entry
            answer => answer.map(|mut paths| paths.pop().map_or(Moved::Gone, Moved::To)),
        }
    }

    /// Ends when no claim waits for its end any more, or the session has expired.
    pub async fn settled(&self) {
        let is_started = self.shared.unstarted.lock().expect("nothing panics while it holds this").is_none();
        if is_started {
            let (settled, all_settled) = oneshot::channel();
            self.shared.send(Command::Settle(settled));
            // dropped unanswered when the session has expired
            drop(all_settled.await);
        }
    }

    fn own_entry(&self, path: &str) -> Result<EntryName, Error> {
        let refused = || Error::Refused { path: path.to_owned(), index: 0, cause: Cause::BadPath };
        self.shared.requests.entry_name(path).ok_or_else(refused)
    }

    fn start(&self) {
        let unstarted = self.shared.unstarted.lock().expect("nothing panics while it holds this").take();
        if let Some(commands) = unstarted {
            let requests = self.shared.requests.clone();
            let actor = Actor::new(requests.clone(), Arc::downgrade(&self.shared));
            tasks::spawn("queue", actor.run(commands), || async move { requests.session.close().await });
        }
    }
}

impl Shared {
    /// Without effect once the actor has ended: then the session is over, and with it all that could be sent.
    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!(queue = self.requests.root, "the queue closed with its session");
        }
    }

    fn set_length(&self, length: usize, free: usize) {
        self.length.store(length, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
    }
}

/// The right to one entry. Consume or release it; a claim that is dropped is released in the background.
#[must_use = "a dropped claim is released"]
pub struct Claim {
    queue: LockingQueue,
    name: EntryName,
    path: String,
    value: Vec<u8>,
    zxid: i64,
    standing: Arc<Standing>,
    settled: bool,
}

impl Claim {
    fn new(queue: LockingQueue, name: EntryName, value: Vec<u8>, zxid: i64, standing: Arc<Standing>) -> Self {
        let path = queue.shared.requests.entry_path(name);
        Self { queue, name, path, value, zxid, standing, settled: false }
    }

    /// What was put.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Path of the entry, e.g. `/job/entries/entry-999-0000000042`.
    #[must_use]
    pub fn entry(&self) -> &str {
        &self.path
    }

    /// Transaction that created the claim node.
    #[must_use]
    pub fn zxid(&self) -> i64 {
        self.zxid
    }

    /// Deletes entry and claim in one transaction, which claims that end at the same time share; a claim whose entry is
    /// gone is deleted alone, and so is one whose entry may not be. Repeated until it is answered. Fails when the session
    /// has expired; if an answer was lost before that, it may have been done.
    pub async fn consume(self) -> Result<Settled, Error> {
        self.settle(End::Consume).await
    }

    /// Gives the entry back. Repeated until it is answered, and fails, as [`Claim::consume`].
    pub async fn release(self) -> Result<Settled, Error> {
        self.settle(End::Release).await
    }

    /// As [`Claim::consume`], and nobody waits for it: what goes wrong is logged, in the span of this call. See also
    /// [`LockingQueue::settled`].
    pub fn consume_later(self) {
        self.settle_later(End::Consume);
    }

    /// As [`Claim::release`], in the same way.
    pub fn release_later(self) {
        self.settle_later(End::Release);
    }

    /// Touches nothing: for a claim known to be lost, or left to the session's close.
    pub fn abandon(mut self) {
        self.settled = true;
        self.queue.shared.send(Command::Abandon { name: self.name });
    }

    /// Ends when the claim is known to be gone: its node was deleted or its session has expired.
    pub async fn lost(&self) {
        // the queue ends under a claim only with the session, or ends that
        self.standing.becomes(&[News::Lost, News::QueueEnded]).await;
    }

    /// Ends when the entry was deleted by somebody else: the job was stopped or deleted.
    pub async fn entry_gone(&self) {
        self.standing.becomes(&[News::EntryGone]).await;
    }

    fn end(&self, end: End, hearer: Hearer) -> Command {
        Command::End((Ending { name: self.name, zxid: self.zxid, end }, hearer))
    }

    /// Once it was first polled it is carried out, also if it is dropped then.
    async fn settle(mut self, end: End) -> Result<Settled, Error> {
        let shared = self.queue.shared.clone();
        if *shared.requests.state().borrow() == State::Expired {
            return Err(Error::Expired);
        }
        self.settled = true;
        if self.standing.is(News::Lost) {
            shared.send(Command::Forget { name: self.name });
            return Ok(Settled::Lost);
        }
        let (settled, outcome) = oneshot::channel();
        shared.send(self.end(end, Hearer::Holder(settled)));
        outcome.await.unwrap_or(Err(Error::Expired))
    }

    fn settle_later(mut self, end: End) {
        let hearer = Hearer::Log(tracing::Span::current());
        let shared = self.queue.shared.clone();
        if *shared.requests.state().borrow() == State::Expired {
            return hearer.hear(Err(Error::Expired), || self.path.clone());
        }
        self.settled = true;
        if self.standing.is(News::Lost) {
            hearer.hear(Ok(Settled::Lost), || self.path.clone());
            shared.send(Command::Forget { name: self.name });
        } else {
            shared.send(self.end(end, hearer));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.queue.shared.send(self.end(End::Release, Hearer::Nobody));
        }
    }
}
