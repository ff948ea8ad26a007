//! Standby: which of several executors watch the queue.
//!
//! Each executor that watches the queue follows every change of it, and costs the coordinator for each job of anybody. So
//! of those that have nothing else to do only the first few are active, and the others stand by: each has a node in the
//! standby list, in the order in which they came, and one that stands by follows this list alone. A saturated executor
//! leaves the list, so that the next one becomes active; when it has caught up it goes to the end.
//!
//! A place counts while its executor is registered: a node that a backup tool has restored does not, and neither does
//! a registration without a session.
//!
//! [`decide`] is pure; [`keep`] measures, asks it and does what it says. Nothing depends on the list but how soon a job is
//! begun: an executor that stands by looks at the queue by itself every few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slipstream_coordination::queue::EntryName;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::session::{Change, Error, Mode, Operation, Session, Watch, existing, make_path};
use slipstream_coordination::{LockingQueue, session};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::process::paths;
use crate::process::registry::{Registered, RegisteredExecutor, registered};

#[cfg(test)]
mod tests;

/// How many of the list are active.
const ACTIVE: usize = 3;
/// An executor saturated for this long leaves the list.
const SATURATED: Duration = Duration::from_millis(50);
/// One that has caught up for this long goes to its end.
const CALM: Duration = Duration::from_secs(1);
/// One that has had nothing to do for this long may stand by.
const IDLE: Duration = Duration::from_secs(5);
/// How often an executor that stands by looks whether jobs wait all the same.
const LOOK: Duration = Duration::from_secs(5);

/// How many slots of an executor are free, and whether they watch the queue.
pub(super) struct Slots {
    all: usize,
    waiting: AtomicUsize,
    /// A slot got something to do.
    busier: Notify,
    on_standby: watch::Sender<bool>,
}

impl Slots {
    pub(super) fn new(all: usize) -> Self {
        Self { all, waiting: AtomicUsize::new(0), busier: Notify::new(), on_standby: watch::Sender::new(false) }
    }

    /// Ends when this executor is active.
    pub(super) async fn active(&self) {
        self.until(false).await;
    }

    /// Ends when this executor stands by.
    pub(super) async fn on_standby(&self) {
        self.until(true).await;
    }

    async fn until(&self, on_standby: bool) {
        self.on_standby.subscribe().wait_for(|now| *now == on_standby).await.expect("the sender is kept by self");
    }

    /// Counts a slot as free while it waits for this.
    pub(super) async fn free_while<T>(&self, work: impl Future<Output = T>) -> T {
        let _counted = Counted::new(self);
        work.await
    }
}

struct Counted<'slots>(&'slots Slots);

impl<'slots> Counted<'slots> {
    fn new(slots: &'slots Slots) -> Self {
        slots.waiting.fetch_add(1, Ordering::Relaxed);
        Self(slots)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.busier.notify_one();
    }
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// More than this executor can do.
    Saturated,
    /// Not everything is done, but what is left is in hand.
    Calm,
    /// Nothing.
    Idle,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decision {
    /// Whether this executor is to be in the list.
    list: bool,
    stand_by: bool,
    /// Position among the active executors, and their number.
    share: (usize, usize),
}

/// The executors in the order of their registration, and those of the list in its order.
#[derive(Default)]
struct Known {
    executors: Vec<String>,
    list: BTreeMap<String, String>,
}

/// What an executor does that has had this load for this long.
fn decide(known: &Known, own: &str, load: Load, since: Duration) -> Decision {
    let place_of = |claimant: &str| {
        let owned = known.list.values().filter(|other| *other == own || known.executors.contains(other));
        owned.into_iter().position(|other| other == claimant)
    };
    let place = place_of(own);
    let list = match (load, place) {
        (Load::Saturated, _) => since < SATURATED && place.is_some(),
        (_, None) => since >= CALM,
        (_, Some(_)) => true,
    };
    let behind = place.is_some_and(|place| place >= ACTIVE);
    let is_active = |claimant: &&String| *claimant == own || place_of(claimant).is_none_or(|place| place < ACTIVE);
    let all = known.executors.iter().filter(is_active).count();
    let before = known.executors.iter().filter(is_active).position(|claimant| claimant == own);
    Decision {
        list,
        stand_by: behind && load == Load::Idle && since >= IDLE,
        // one that is not registered yet takes no turns
        share: before.map_or((0, 1), |before| (before, all)),
    }
}

/// Keeps this executor's place until the session is over.
pub(super) async fn keep(session: Arc<dyn Session>, queue: LockingQueue, own: String, slots: Arc<Slots>) {
    let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
    let load = (Load::Idle, Instant::now());
    // without knowledge it is active: what was decided before may have ended with a crash
    slots.on_standby.send_replace(false);
    let mut keeper =
        Keeper { session, queue, own, slots, known: Known::default(), strays: Vec::new(), load, share: (0, 1) };
    loop {
        let begun = Instant::now();
        let Err(error) = keeper.keep().await;
        // without knowledge it is active, and then the queue says whether the session is over
        keeper.slots.on_standby.send_replace(false);
        if error == Error::Expired {
            return;
        }
        if error.refusal().is_some() && complaint.is_new(error.to_string()) {
            warn!(%error, "cannot follow the standby list: this executor is active as if it were alone");
        } else {
            debug!(%error, "cannot follow the standby list, retrying");
        }
        if pauses.reset_after(begun.elapsed()) {
            complaint.settle();
        }
        sleep(pauses.take()).await;
    }
}

struct Keeper {
    session: Arc<dyn Session>,
    queue: LockingQueue,
    own: String,
    slots: Arc<Slots>,
    known: Known,
    /// Registrations without a session, each of which is logged once.
    strays: Vec<String>,
    load: (Load, Instant),
    share: (usize, usize),
}

impl Keeper {
    async fn keep(&mut self) -> Result<Infallible, Error> {
        make_path(&*self.session, paths::STANDBY).await?;
        let mut executors = self.session.watch(paths::EXECUTORS).await?;
        let mut list = self.session.watch(paths::STANDBY).await?;
        // before anything is decided: this executor may be in the list without knowing
        let (first, first_in_list) = (executors.recv().await, list.recv().await);
        self.see_executors(first, &mut executors).await?;
        self.see_list(first_in_list, &mut list).await?;
        loop {
            self.measure();
            let decision = decide(&self.known, &self.own, self.load.0, self.load.1.elapsed());
            self.act(decision).await?;
            let next = self.next_look(decision);
            tokio::select! {
                biased;
                change = executors.recv() => self.see_executors(change, &mut executors).await?,
                change = list.recv() => self.see_list(change, &mut list).await?,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    if decision.stand_by && self.is_needed().await? {
                        self.load = (Load::Calm, Instant::now());
                        self.slots.on_standby.send_replace(false);
                    }
                }
                () = self.slots.busier.notified(), if next.is_none() && !self.is_alone() => {}
            }
        }
    }

    /// When to look again though nothing happens; not at all if that would change nothing.
    fn next_look(&self, decision: Decision) -> Option<Instant> {
        let (load, since) = self.load;
        let now = Instant::now();
        if self.is_alone() {
            // there is no other to leave anything to
            return None;
        }
        if decision.stand_by {
            // slots that still wait are about to hear of it
            let is_waiting = self.slots.waiting.load(Ordering::Relaxed) > 0;
            return Some(now + if is_waiting { SATURATED } else { LOOK });
        }
        match load {
            Load::Idle if decision.list && since.elapsed() >= IDLE => None,
            Load::Idle if decision.list => Some(since + IDLE),
            Load::Idle | Load::Calm => Some(now + CALM / 4),
            Load::Saturated => Some(now + SATURATED),
        }
    }

    fn measure(&mut self) {
        let waiting = self.slots.waiting.load(Ordering::Relaxed);
        let load = if *self.slots.on_standby.borrow() {
            Load::Idle
        } else if waiting == 0 || self.queue.free() > 0 {
            Load::Saturated
        } else if waiting == self.slots.all {
            Load::Idle
        } else {
            Load::Calm
        };
        // calm and idle are one for an executor that waits to be in the list again
        let same = load == self.load.0 || (load == Load::Idle && self.load.0 == Load::Calm && !self.is_listed());
        self.load = (load, if same { self.load.1 } else { Instant::now() });
    }

    fn is_alone(&self) -> bool {
        self.known.executors.len() <= 1
    }

    fn is_listed(&self) -> bool {
        self.known.list.values().any(|claimant| *claimant == self.own)
    }

    async fn act(&mut self, Decision { list, stand_by, share }: Decision) -> Result<(), Error> {
        if std::mem::replace(&mut self.share, share) != share {
            self.queue.share(share.0, share.1);
        }
        if list && !self.is_listed() {
            let path = format!("{}/{}-", paths::STANDBY, self.own);
            let made = self.session.commit(vec![Operation::create(path, "", Mode::EphemeralSequential)]).await?;
            self.known.add(name_of(&made.concat()));
        } else if !list && self.is_listed() {
            for name in self.known.remove(&self.own) {
                existing(self.session.commit(vec![Operation::delete(format!("{}/{name}", paths::STANDBY))]).await)?;
            }
        }
        self.slots.on_standby.send_if_modified(|now| std::mem::replace(now, stand_by) != stand_by);
        if stand_by {
            self.queue.rest();
        }
        Ok(())
    }

    /// Executors come and go so rarely that all are read again.
    async fn see_executors(&mut self, first: Option<Change>, watch: &mut Watch) -> Result<(), Error> {
        first.ok_or(Error::Expired)?;
        while watch.try_recv().is_ok() {}
        let Registered { all, strays } = registered::<RegisteredExecutor>(&*self.session, paths::EXECUTORS).await?;
        for node in strays.iter().filter(|node| !self.strays.contains(*node)) {
            warn!(node, "ignoring a registration without a session, delete its node");
        }
        self.strays = strays;
        self.known.executors = all.into_iter().map(|(claimant, _)| claimant).collect();
        Ok(())
    }

    async fn see_list(&mut self, first: Option<Change>, watch: &mut Watch) -> Result<(), Error> {
        let mut change = Some(first.ok_or(Error::Expired)?);
        while let Some(seen) = change {
            match seen {
                Change::Reset => {
                    let names = existing(self.session.children(paths::STANDBY).await)?.unwrap_or_default();
                    self.known.list.clear();
                    for name in &names {
                        self.known.add(name);
                    }
                }
                Change::Created(path) => self.known.add(name_of(&path)),
                Change::Deleted(path) => {
                    if let Some((_, sequence)) = place(name_of(&path)) {
                        self.known.list.remove(sequence);
                    }
                }
                Change::Set(_) => {}
            }
            change = watch.try_recv().ok();
        }
        Ok(())
    }

    /// Whether an entry waits without a claim: the active executors may have died.
    async fn is_needed(&self) -> Result<bool, Error> {
        let names = async |folder| {
            let names = existing(self.session.children(folder).await)?.unwrap_or_default();
            Ok::<BTreeSet<EntryName>, session::Error>(names.iter().filter_map(|name| EntryName::parse(name)).collect())
        };
        let (entries, taken) = (names(paths::ENTRIES).await?, names(paths::TAKEN).await?);
        Ok(entries.difference(&taken).next().is_some())
    }
}

impl Known {
    fn add(&mut self, name: &str) {
        if let Some((claimant, sequence)) = place(name) {
            self.list.insert(sequence.to_owned(), claimant.to_owned());
        }
    }

    /// Takes all nodes of a claimant out of the list, and answers their names.
    fn remove(&mut self, own: &str) -> Vec<String> {
        let (left, list) = std::mem::take(&mut self.list).into_iter().partition(|(_, claimant)| claimant == own);
        let left: BTreeMap<String, String> = left;
        self.list = list;
        left.into_iter().map(|(sequence, claimant)| format!("{claimant}-{sequence}")).collect()
    }
}

/// Claimant and sequence of a node in the list, `<claimant>-<sequence>`; other names do not count.
fn place(name: &str) -> Option<(&str, &str)> {
    let are_digits = |text: &str, length, radix| text.len() == length && text.chars().all(|it| it.is_digit(radix));
    name.split_once('-').filter(|(claimant, sequence)| are_digits(claimant, 32, 16) && are_digits(sequence, 10, 10))
}

/// The last part of a path.
fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
