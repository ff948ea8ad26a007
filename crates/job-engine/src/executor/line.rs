//! The line: which of several executors look for jobs.
//!
//! Each executor that looks for jobs follows every change of the queue, and costs the coordinator for each job of
//! anybody. So only the first few that have nothing else to do look, and the others rest: each has a node in the line, in
//! the order in which they came, and who rests follows the line alone. An executor that has more to do than it can leaves
//! the line, so that the next one looks too; when it has caught up it goes to the end.
//!
//! A place counts while its executor is registered: a node in the line that a backup tool has restored belongs to nobody,
//! and so does a registration without a session.
//!
//! [`decide`] is pure; [`keep`] tells it what is so and does what it says. Nothing depends on the line but how soon a job
//! is begun: who rests looks by itself every few seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slipstream_coordination::queue::EntryName;
use slipstream_coordination::session::{Change, Error, Mode, Operation, Session, Watch, existing, make_path};
use slipstream_coordination::{LockingQueue, session};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::process::backoff;
use crate::process::backoff::{Complaint, Pauses};
use crate::process::paths;
use crate::process::registry;

#[cfg(test)]
mod tests;

/// So many of the line look for jobs.
const LOOKING: usize = 3;
/// Who could have done more for so long leaves the line.
const PRESSED: Duration = Duration::from_millis(50);
/// Who has caught up for so long goes to its end.
const CALM: Duration = Duration::from_secs(1);
/// Who has had nothing to do for so long may rest.
const IDLE: Duration = Duration::from_secs(5);
/// How often an executor that rests looks whether jobs wait all the same.
const LOOK: Duration = Duration::from_secs(5);

/// What slots say of themselves, and are told.
pub(super) struct Slots {
    all: usize,
    waiting: AtomicUsize,
    /// A slot got something to do.
    busier: Notify,
    resting: watch::Sender<bool>,
}

impl Slots {
    pub(super) fn new(all: usize) -> Self {
        Self { all, waiting: AtomicUsize::new(0), busier: Notify::new(), resting: watch::Sender::new(false) }
    }

    /// Ends when this executor looks for jobs.
    pub(super) async fn looking(&self) {
        self.reaches(false).await;
    }

    /// Ends when this executor rests.
    pub(super) async fn resting(&self) {
        self.reaches(true).await;
    }

    async fn reaches(&self, resting: bool) {
        self.resting.subscribe().wait_for(|now| *now == resting).await.expect("the sender is kept by self");
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
    /// More than this executor can.
    Pressed,
    /// Not everything is done, but what is left is in hand.
    Calm,
    /// Nothing.
    Idle,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Decision {
    /// Whether this executor is to stand in the line.
    stand: bool,
    rest: bool,
    /// Position among those who look for jobs, and their number.
    share: (usize, usize),
}

/// Who executes, in the order of their registration, and who of them stands in the line, by the order of the line.
#[derive(Default)]
struct Known {
    executors: Vec<String>,
    line: BTreeMap<String, String>,
}

/// What an executor does that has had this load for this long.
fn decide(known: &Known, own: &str, load: Load, since: Duration) -> Decision {
    let place_of = |claimant: &str| {
        let owned = known.line.values().filter(|other| *other == own || known.executors.contains(other));
        owned.into_iter().position(|other| other == claimant)
    };
    let place = place_of(own);
    let stand = match (load, place) {
        (Load::Pressed, _) => since < PRESSED && place.is_some(),
        (_, None) => since >= CALM,
        (_, Some(_)) => true,
    };
    let behind = place.is_some_and(|place| place >= LOOKING);
    let looking = |claimant: &&String| *claimant == own || place_of(claimant).is_none_or(|place| place < LOOKING);
    let all = known.executors.iter().filter(looking).count();
    let before = known.executors.iter().filter(looking).position(|claimant| claimant == own);
    Decision {
        stand,
        rest: behind && load == Load::Idle && since >= IDLE,
        // one that is not registered yet shares with nobody
        share: before.map_or((0, 1), |before| (before, all)),
    }
}

/// Keeps this executor's place until the session is over.
pub(super) async fn keep(session: Arc<dyn Session>, queue: LockingQueue, own: String, slots: Arc<Slots>) {
    let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
    let load = (Load::Idle, Instant::now());
    // who knows nothing looks: what it was told before may have ended with a crash
    slots.resting.send_replace(false);
    let mut keeper =
        Keeper { session, queue, own, slots, known: Known::default(), strays: Vec::new(), load, share: (0, 1) };
    loop {
        let begun = Instant::now();
        let Err(error) = keeper.keep().await;
        // who knows nothing looks, and then the queue says whether the session is over
        keeper.slots.resting.send_replace(false);
        if error == Error::Expired {
            return;
        }
        if error.refusal().is_some() && complaint.is_new(error.to_string()) {
            warn!(%error, "the line of executors cannot be followed: this one looks for jobs as if it were alone");
        } else {
            debug!(%error, "the line cannot be followed, which is tried again");
        }
        if begun.elapsed() > backoff::LONGEST {
            pauses.reset();
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
    /// Registrations of nobody, which are told.
    strays: Vec<String>,
    load: (Load, Instant),
    share: (usize, usize),
}

impl Keeper {
    async fn keep(&mut self) -> Result<Infallible, Error> {
        make_path(&*self.session, paths::LINE).await?;
        let mut executors = self.session.watch(paths::EXECUTORS).await?;
        let mut line = self.session.watch(paths::LINE).await?;
        // before anything is decided: this executor may stand in the line without having heard of it
        let (first, first_in_line) = (executors.recv().await, line.recv().await);
        self.see_executors(first, &mut executors).await?;
        self.see_line(first_in_line, &mut line).await?;
        loop {
            self.measure();
            let decision = decide(&self.known, &self.own, self.load.0, self.load.1.elapsed());
            self.act(decision).await?;
            let next = self.next_look(decision);
            tokio::select! {
                biased;
                change = executors.recv() => self.see_executors(change, &mut executors).await?,
                change = line.recv() => self.see_line(change, &mut line).await?,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    if decision.rest && self.somebody_is_needed().await? {
                        self.load = (Load::Calm, Instant::now());
                        self.slots.resting.send_replace(false);
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
        match load {
            // whoever is alone has nobody to leave anything to
            _ if self.is_alone() => None,
            // slots are about to hear of it
            _ if decision.rest && self.slots.waiting.load(Ordering::Relaxed) > 0 => Some(now + PRESSED),
            _ if decision.rest => Some(now + LOOK),
            Load::Idle if decision.stand && since.elapsed() >= IDLE => None,
            Load::Idle if decision.stand => Some(since + IDLE),
            Load::Idle | Load::Calm => Some(now + CALM / 4),
            Load::Pressed => Some(now + PRESSED),
        }
    }

    fn measure(&mut self) {
        let waiting = self.slots.waiting.load(Ordering::Relaxed);
        let load = match () {
            () if *self.slots.resting.borrow() => Load::Idle,
            () if waiting == 0 || self.queue.free() > 0 => Load::Pressed,
            () if waiting == self.slots.all => Load::Idle,
            () => Load::Calm,
        };
        // calm and idle are one for who waits to stand again
        let same = load == self.load.0 || (load == Load::Idle && self.load.0 == Load::Calm && !self.stands());
        self.load = (load, if same { self.load.1 } else { Instant::now() });
    }

    fn is_alone(&self) -> bool {
        self.known.executors.len() <= 1
    }

    fn stands(&self) -> bool {
        self.known.line.values().any(|claimant| *claimant == self.own)
    }

    async fn act(&mut self, Decision { stand, rest, share }: Decision) -> Result<(), Error> {
        if std::mem::replace(&mut self.share, share) != share {
            self.queue.share(share.0, share.1);
        }
        if stand && !self.stands() {
            let path = format!("{}/{}-", paths::LINE, self.own);
            let made = self.session.commit(vec![Operation::create(path, "", Mode::EphemeralSequential)]).await?;
            self.known.add_to_line(name_of(&made.concat()));
        } else if !stand && self.stands() {
            for name in self.known.leave_line(&self.own) {
                existing(self.session.commit(vec![Operation::delete(format!("{}/{name}", paths::LINE))]).await)?;
            }
        }
        self.slots.resting.send_if_modified(|now| std::mem::replace(now, rest) != rest);
        if rest {
            self.queue.rest();
        }
        Ok(())
    }

    /// Executors come and go so rarely that all are read again.
    async fn see_executors(&mut self, first: Option<Change>, watch: &mut Watch) -> Result<(), Error> {
        first.ok_or(Error::Expired)?;
        while watch.try_recv().is_ok() {}
        let looked = registry::look(&*self.session).await?;
        for node in looked.strays.iter().filter(|node| !self.strays.contains(*node)) {
            warn!(node, "a registration without a session is nobody's and is passed over, delete its node");
        }
        self.strays = looked.strays;
        self.known.executors = looked.executors.into_iter().map(|(claimant, _)| claimant).collect();
        Ok(())
    }

    async fn see_line(&mut self, first: Option<Change>, watch: &mut Watch) -> Result<(), Error> {
        let mut change = Some(first.ok_or(Error::Expired)?);
        while let Some(seen) = change {
            match seen {
                Change::Reset => {
                    let names = existing(self.session.children(paths::LINE).await)?.unwrap_or_default();
                    self.known.line.clear();
                    for name in &names {
                        self.known.add_to_line(name);
                    }
                }
                Change::Created(path) => self.known.add_to_line(name_of(&path)),
                Change::Deleted(path) => {
                    if let Some((_, sequence)) = place(name_of(&path)) {
                        self.known.line.remove(sequence);
                    }
                }
                Change::Set(_) => {}
            }
            change = watch.try_recv().ok();
        }
        Ok(())
    }

    /// Whether an entry waits that nobody holds: those who are to look may have died.
    async fn somebody_is_needed(&self) -> Result<bool, Error> {
        let names = async |folder| {
            let names = existing(self.session.children(folder).await)?.unwrap_or_default();
            Ok::<BTreeSet<EntryName>, session::Error>(names.iter().filter_map(|name| EntryName::parse(name)).collect())
        };
        let (entries, taken) = (names(paths::ENTRIES).await?, names(paths::TAKEN).await?);
        Ok(entries.difference(&taken).next().is_some())
    }
}

impl Known {
    fn add_to_line(&mut self, name: &str) {
        if let Some((claimant, sequence)) = place(name) {
            self.line.insert(sequence.to_owned(), claimant.to_owned());
        }
    }

    /// Takes all nodes of a claimant out of the line, and answers their names.
    fn leave_line(&mut self, own: &str) -> Vec<String> {
        let (left, line) = std::mem::take(&mut self.line).into_iter().partition(|(_, claimant)| claimant == own);
        let left: BTreeMap<String, String> = left;
        self.line = line;
        left.into_iter().map(|(sequence, claimant)| format!("{claimant}-{sequence}")).collect()
    }
}

/// Claimant and sequence of a node in the line, `<claimant>-<sequence>`; other names do not count.
fn place(name: &str) -> Option<(&str, &str)> {
    let are_digits = |text: &str, length, radix| text.len() == length && text.chars().all(|it| it.is_digit(radix));
    name.split_once('-').filter(|(claimant, sequence)| are_digits(claimant, 32, 16) && are_digits(sequence, 10, 10))
}

/// The last part of a path.
fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}
