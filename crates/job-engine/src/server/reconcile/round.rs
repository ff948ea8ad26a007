//! [`round`]: one comparison of what is stored with what is queued.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};
use slipstream_cimi::job::is_job_id;
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::overview::queue::{LeftAlone, Sample};
use slipstream_coordination::queue::EntryName;
use slipstream_store::StoreExt;

use super::ReconcileError;
use super::listing::{Listing, walk};
use super::measure::measure;
use super::mend::{JOBS_AT_ONCE, Missing, held_by, mend, without_entry};
use super::refusals::{Refusals, note_generation, only_its_own};
use super::unheld::{Unheld, running_among};
use crate::process::paths;
use crate::server::Shared;
use crate::server::jobs::document::state_of;
use crate::server::queue::QueueError;

/// Most jobs and most entries of nobody that are looked at in a round.
const MOST_MENDED: usize = 10_000;
/// Most claims that are remembered until the next round.
const MOST_REMEMBERED: usize = 10_000;
/// Entries judged at the same time.
const AT_ONCE: usize = 256;
/// Entries read before it is looked whether that is enough.
const READ_AT_ONCE: usize = 10_000;

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// Jobs whose entry was put or, where it was there already, recorded.
    pub put: usize,
    /// Entries of final jobs that were consumed.
    pub consumed: usize,
    /// Entries that hold no id of a job that this store ever knew.
    pub unknown: usize,
    /// Nodes among the claims that had no entry in the round before either.
    pub leftovers: usize,
    /// What could not be read or changed, while the rest was.
    pub refused: usize,
    /// There may be more of what was mended than is mended in one round.
    pub is_cut: bool,
}

/// What the last round found.
#[derive(Debug, Default)]
pub struct LastRound {
    /// What it left alone.
    pub left_alone: LeftAlone,
    /// Names of all nodes among the claims that had no entry.
    claims: BTreeSet<String>,
    /// What could not be read or changed.
    pub refusals: Refusals,
    /// RUNNING jobs that nobody held.
    pub unheld: Unheld,
    /// When it was; none before the first one.
    pub checked: Option<Timestamp>,
}

/// What an entry that no job records turned out to be.
enum Judged {
    Consumed,
    Unknown(EntryName),
    /// Somebody holds it, or it is the second one of its job.
    Left,
}

/// One round over jobs that nobody has written to for `untouched`. What the coordinator or the store refuses of one node
/// or one job is left alone and shown; only what concerns them all ends the round.
pub async fn round(shared: &Shared, untouched: SignedDuration) -> Result<Mended, ReconcileError> {
    let _turn = shared.reconcile_lock.lock().await;
    let checked = shared.clock.now();
    let session = shared.queue.session().await?;
    let mut refusals = Refusals::default();
    note_generation(shared.generation.agree(&*session).await, &mut refusals)?;
    // before the entries: what is consumed in between has neither
    let claims = claims(shared, &mut refusals).await?;
    let unread = unread(shared, &mut refusals).await?;
    let taken = claims.names.iter().filter_map(|name| EntryName::parse(name)).collect();
    let mut listing = Listing::new(shared.queue.list().await?, unread).with_taken(taken);
    if shared.metrics.is_on() {
        let waiting = listing.names().iter().copied();
        measure(shared, waiting, &claims.names).await;
    }
    shared.jobs.settled().await;
    let walked = walk(&*shared.store, &mut listing, MOST_MENDED).await?;
    note_generation(shared.generation.compare(&*session, walked.highest).await, &mut refusals)?;
    let unheld = running_among(&*shared.store, &walked.begun_and_free, checked).await?;
    let mut mended = Mended { is_cut: walked.missing.len() >= MOST_MENDED, ..Mended::default() };
    let missing = without_entry(shared, walked.missing.into_iter().map(Missing::from)).await?;
    let (missing, others) = look_at(shared, &listing, missing, &mut refusals).await?;
    mended.is_cut |= others.len() >= MOST_MENDED;
    for jobs in missing.chunks(JOBS_AT_ONCE) {
        let given = mend(shared, jobs, shared.clock.now() - untouched, &mut refusals).await?;
        mended.put += given.count;
        if !given.just_written.is_empty() {
            // once they have been left alone for long enough
            shared.nudge.notify_one();
        }
    }
    let mut unknown = Vec::new();
    let judgements =
        others.into_iter().map(|(name, id)| async move { (paths::entry_path(name), judge(shared, name, id).await) });
    let mut judgements = stream::iter(judgements.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some((path, judged)) = judgements.next().await {
        match only_its_own(judged, &path, &mut refusals)? {
            Some(Judged::Consumed) => mended.consumed += 1,
            Some(Judged::Unknown(name)) => unknown.push(name.to_string()),
            Some(Judged::Left) | None => {}
        }
    }
    mended.unknown = unknown.len();
    mended.refused = refusals.count();
    let mut last = shared.last_round();
    (last.unheld, last.checked) = (unheld, Some(checked));
    mended.leftovers = last.note(unknown, claims, refusals, &listing);
    Ok(mended)
}

/// Nodes among the claims.
struct Claims {
    names: Vec<String>,
    /// Paths of those that no session holds.
    without_session: Vec<String>,
}

async fn claims(shared: &Shared, refusals: &mut Refusals) -> Result<Claims, QueueError> {
    let names = match shared.queue.names_in(paths::TAKEN).await {
        Err(QueueError::Refused { path, cause }) => {
            refusals.add(path, cause.to_string());
            Vec::new()
        }
        names => names?,
    };
    let looked_at: Vec<String> =
        names.iter().filter(|name| EntryName::parse(name).is_some()).take(MOST_REMEMBERED).cloned().collect();
    let mut without_session = Vec::new();
    for (name, node) in shared.queue.nodes_in(paths::TAKEN, &looked_at).await? {
        let path = format!("{}/{name}", paths::TAKEN);
        match node {
            Ok(node) if !node.is_ephemeral => without_session.push(path),
            Ok(_) => {}
            Err(cause) => refusals.add(path, cause.to_string()),
        }
    }
    Ok(Claims { names, without_session })
}

/// Entries that some executor could not read and passed over.
async fn unread(shared: &Shared, refusals: &mut Refusals) -> Result<HashSet<EntryName>, QueueError> {
    let executors: Vec<(String, RegisteredExecutor)> = match shared.queue.registered(paths::EXECUTORS).await {
        Err(QueueError::Refused { path, cause }) => {
            refusals.add(path, cause.to_string());
            Vec::new()
        }
        executors => executors?,
    };
    let passed_over = executors.iter().flat_map(|(_, executor)| &executor.passed_over);
    let unread = passed_over.filter(|passed_over| passed_over.job.is_none());
    Ok(unread.filter_map(|unread| paths::entry_name(&unread.entry)).collect())
}

/// Looks at [`MOST_MENDED`] of the entries that no job records; at all of them if a job without an entry may have one
/// among them, whose put was never answered: it gets no second one. Answers the jobs, with what was found of theirs, and
/// the other entries, or the first of them, each with what it holds.
async fn look_at(
    shared: &Shared,
    listing: &Listing,
    mut missing: Vec<Missing>,
    refusals: &mut Refusals,
) -> Result<(Vec<Missing>, Vec<(EntryName, String)>), QueueError> {
    let mut wanted: HashMap<String, &mut Missing> = missing.iter_mut().map(|job| (job.id.clone(), job)).collect();
    let mut others = Vec::new();
    let mut names = listing.unrecorded();
    loop {
        let page: Vec<EntryName> = names.by_ref().take(READ_AT_ONCE).collect();
        if page.is_empty() || (wanted.is_empty() && others.len() >= MOST_MENDED) {
            drop(wanted);
            return Ok((missing, others));
        }
        for (name, id) in held_by(shared, &page, refusals).await? {
            if let Some(job) = wanted.get_mut(&id) {
                job.there.get_or_insert_with(|| paths::entry_path(name));
            } else if others.len() < MOST_MENDED {
                others.push((name, id));
            }
        }
    }
}

async fn judge(shared: &Shared, name: EntryName, id: String) -> Result<Judged, ReconcileError> {
    let stored = if is_job_id(&id) { shared.store.get(&id).await? } else { None };
    match stored {
        None => Ok(Judged::Unknown(name)),
        Some(record) if state_of(&record.document).is_final() => {
            let is_gone = shared.queue.consume_unclaimed(&paths::entry_path(name)).await?;
            Ok(if is_gone { Judged::Consumed } else { Judged::Left })
        }
        Some(_) => Ok(Judged::Left),
    }
}

impl LastRound {
    /// Notes what a round found, and answers how many claims had no entry in the round before either. Those of a round
    /// ago alone may be of jobs that were just stopped: whoever holds them has still to let go.
    fn note(&mut self, unknown: Vec<String>, claims: Claims, refusals: Refusals, listing: &Listing) -> usize {
        let has_entry = |name: &String| EntryName::parse(name).is_some_and(|name| listing.contains(name));
        let without: BTreeSet<String> =
            claims.names.into_iter().filter(|name| !has_entry(name)).take(MOST_REMEMBERED).collect();
        let leftovers: Vec<String> = without.intersection(&self.claims).cloned().collect();
        let count = leftovers.len();
        self.claims = without;
        self.left_alone = LeftAlone {
            entries: Sample::of(unknown),
            claims: Sample::of(leftovers),
            without_session: Sample::of(claims.without_session),
            refused: refusals.list(),
        };
        self.refusals = refusals;
        count
    }
}
