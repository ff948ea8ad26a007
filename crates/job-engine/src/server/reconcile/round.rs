//! [`round`]: one comparison of what is stored with what is queued.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures_util::stream::{self, StreamExt};
use jiff::SignedDuration;
use slipstream_action::with_causes;
use slipstream_cimi::job::is_job_id;
use slipstream_coordination::Error;
use slipstream_coordination::queue::EntryName;
use slipstream_store::{IndexRow, StoreError, StoreExt};

use super::listing::{Listing, walk};
use super::{LeftAlone, NAMES_TOLD, ReconcileError, Refused, Told};
use crate::process::paths;
use crate::process::registry::RegisteredExecutor;
use crate::server::jobs::document::is_written_within;
use crate::server::jobs::document::{priority_of, state_of};
use crate::server::queue::EntriesError;
use crate::server::queue::generation::GenerationError;
use crate::server::{Shared, jobs};

/// Most jobs and most entries of nobody that are looked at in a round.
const MOST_MENDED: usize = 10_000;
/// Most claims, and most nodes and jobs of which something was refused, that are remembered until the next round.
const MOST_REMEMBERED: usize = 10_000;
/// Jobs given their entry, and entries judged, at the same time.
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

/// What could not be read or changed, by reason: as many reasons as are told, and all others in one.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<String, Refusal>);

#[derive(Debug, Default)]
struct Refusal {
    count: usize,
    /// The first [`MOST_REMEMBERED`].
    names: Vec<String>,
}

impl Refusals {
    /// One more, a node's path or a job's id.
    pub fn add(&mut self, what: impl Into<String>, reason: impl Into<String>) {
        let reason = reason.into();
        let has_room = self.0.len() < NAMES_TOLD || self.0.contains_key(&reason);
        let refusal = self.0.entry(if has_room { reason } else { "for other reasons".to_owned() }).or_default();
        refusal.count += 1;
        if refusal.names.len() < MOST_REMEMBERED {
            refusal.names.push(what.into());
        }
    }

    /// Why this was refused, if it was.
    pub fn reason(&self, what: &str) -> Option<&str> {
        let refused = self.0.iter().find(|(_, refusal)| refusal.names.iter().any(|one| one == what));
        refused.map(|(reason, _)| reason.as_str())
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.0.values().map(|refusal| refusal.count).sum()
    }

    /// All of them, as they are told.
    pub fn told(&self) -> Vec<Refused> {
        let told = |(reason, Refusal { count, names }): (&String, &Refusal)| Refused {
            told: Told { count: *count, names: names.iter().take(NAMES_TOLD).cloned().collect() },
            reason: reason.clone(),
        };
        self.0.iter().map(told).collect()
    }
}

/// What the last round found.
#[derive(Debug, Default)]
pub struct Found {
    /// What it left alone.
    pub left_alone: LeftAlone,
    /// Names of all nodes among the claims that had no entry.
    claims: BTreeSet<String>,
    /// What could not be read or changed.
    pub refusals: Refusals,
}

/// What an entry that no job records turned out to be.
enum Judged {
    Consumed,
    Unknown(EntryName),
    /// Somebody holds it, or it is the second one of its job.
    Left,
}

/// One round over jobs that nobody has written to for `untouched`. What the coordinator or the store refuses of one node
/// or one job is left alone and told; only what concerns them all ends the round.
pub async fn round(shared: &Shared, untouched: SignedDuration) -> Result<Mended, ReconcileError> {
    let _turn = shared.mending.lock().await;
    let session = shared.entries.session().await?;
    let mut refusals = Refusals::default();
    note_generation(shared.generation.agree(&*session).await, &mut refusals)?;
    // before the entries: what is consumed in between has neither
    let claims = claims(shared, &mut refusals).await?;
    let unread = unread(shared, &mut refusals).await?;
    let mut listing = Listing::new(shared.entries.list().await?, unread);
    shared.jobs.settled().await;
    let walked = walk(&*shared.store, &mut listing, MOST_MENDED).await?;
    note_generation(shared.generation.compare(&*session, walked.highest).await, &mut refusals)?;
    let mut mended = Mended { is_cut: walked.missing.len() >= MOST_MENDED, ..Mended::default() };
    let missing = without_entry(shared, walked.missing).await?;
    let Unrecorded { mut of_missing, others } = look_at(shared, &listing, &missing, &mut refusals).await?;
    mended.is_cut |= others.len() >= MOST_MENDED;
    let puts = missing.into_iter().map(|job| {
        let there = of_missing.remove(&job.id);
        async { (job.id.clone(), put_missing(shared, job, there, untouched).await) }
    });
    // Side by side, so that store and coordinator can do many at once.
    let mut puts = stream::iter(puts.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some((id, put)) = puts.next().await {
        mended.put += usize::from(only_its_own(put, id, &mut refusals)?.unwrap_or(false));
    }
    drop(puts);
    let mut unknown = Vec::new();
    let judgements =
        others.into_iter().map(|(name, id)| async move { (paths::entry_path(name), judge(shared, name, id).await) });
    let mut judgements = stream::iter(judgements.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some((path, judged)) = judgements.next().await {
        match only_its_own(judged, path, &mut refusals)? {
            Some(Judged::Consumed) => mended.consumed += 1,
            Some(Judged::Unknown(name)) => unknown.push(name.to_string()),
            Some(Judged::Left) | None => {}
        }
    }
    mended.unknown = unknown.len();
    mended.refused = refusals.count();
    mended.leftovers = shared.found().note(unknown, claims, refusals, &listing);
    Ok(mended)
}

/// A generation whose node may not be read or changed keeps no job from being queued: leases alone decide who may write.
pub(super) fn note_generation<T>(
    agreed: Result<T, GenerationError>,
    refusals: &mut Refusals,
) -> Result<(), GenerationError> {
    match agreed {
        Ok(_) => Ok(()),
        Err(GenerationError::Coordinator(Error::Refused { path, cause, .. })) => {
            refusals.add(path, cause.to_string());
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// What was done for one job or entry; none, which is noted, where that was refused. Whatever concerns all others too is
/// an error.
fn only_its_own<T>(
    done: Result<T, ReconcileError>,
    what: String,
    refusals: &mut Refusals,
) -> Result<Option<T>, ReconcileError> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(ReconcileError::Entries(error @ EntriesError::Refused { .. })) => {
            refusals.add(what, error.to_string());
            Ok(None)
        }
        Err(ReconcileError::Store(error @ (StoreError::Failed { .. } | StoreError::Damaged { .. }))) => {
            refusals.add(what, with_causes(&error));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Nodes among the claims.
struct Claims {
    names: Vec<String>,
    /// Paths of those that no session holds.
    without_session: Vec<String>,
}

async fn claims(shared: &Shared, refusals: &mut Refusals) -> Result<Claims, EntriesError> {
    let names = match shared.entries.names_in(paths::TAKEN).await {
        Err(EntriesError::Refused { path, cause }) => {
            refusals.add(path, cause.to_string());
            Vec::new()
        }
        names => names?,
    };
    let looked_at: Vec<String> =
        names.iter().filter(|name| EntryName::parse(name).is_some()).take(MOST_REMEMBERED).cloned().collect();
    let mut without_session = Vec::new();
    for (name, node) in shared.entries.nodes_in(paths::TAKEN, &looked_at).await? {
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
async fn unread(shared: &Shared, refusals: &mut Refusals) -> Result<HashSet<EntryName>, EntriesError> {
    let executors: Vec<(String, RegisteredExecutor)> = match shared.entries.registered(paths::EXECUTORS).await {
        Err(EntriesError::Refused { path, cause }) => {
            refusals.add(path, cause.to_string());
            Vec::new()
        }
        executors => executors?,
    };
    let passed_over = executors.iter().flat_map(|(_, executor)| &executor.passed_over);
    let unread = passed_over.filter(|passed_over| passed_over.job.is_none());
    Ok(unread.filter_map(|unread| paths::entry_name(&unread.entry)).collect())
}

/// Those of the jobs whose recorded entry is not there or is another job's. An entry put since the listing is there, as
/// are those of all jobs that come meanwhile: none of these jobs is read.
async fn without_entry(shared: &Shared, jobs: Vec<IndexRow>) -> Result<Vec<IndexRow>, EntriesError> {
    let recorded: Vec<_> = jobs.iter().map(|job| (job.id.as_str(), job.entry.as_deref())).collect();
    let queued = shared.entries.are_queued(&recorded).await?;
    Ok(jobs.into_iter().zip(queued).filter(|(_, is_queued)| !is_queued).map(|(job, _)| job).collect())
}

/// Entries that no job records.
struct Unrecorded {
    /// Paths of those of the jobs that have none recorded, by the id of the job.
    of_missing: HashMap<String, String>,
    /// The others, or the first of them, each with what it holds.
    others: Vec<(EntryName, String)>,
}

/// Looks at [`MOST_MENDED`] of the entries that no job records; at all of them if a job without an entry may have one
/// among them, whose put was never answered: it gets no second one.
async fn look_at(
    shared: &Shared,
    listing: &Listing,
    missing: &[IndexRow],
    refusals: &mut Refusals,
) -> Result<Unrecorded, EntriesError> {
    let wanted: HashSet<&str> = missing.iter().map(|job| job.id.as_str()).collect();
    let mut found = Unrecorded { of_missing: HashMap::new(), others: Vec::new() };
    let mut names = listing.unrecorded();
    loop {
        let page: Vec<EntryName> = names.by_ref().take(READ_AT_ONCE).collect();
        if page.is_empty() || (wanted.is_empty() && found.others.len() >= MOST_MENDED) {
            return Ok(found);
        }
        let texts = shared.entries.texts_at(page.iter().copied().map(paths::entry_path).collect()).await?;
        for (name, text) in page.into_iter().zip(texts) {
            let id = match text {
                Ok(Some(id)) => id,
                Ok(None) => continue,
                Err(cause) => {
                    refusals.add(paths::entry_path(name), cause.to_string());
                    continue;
                }
            };
            if wanted.contains(id.as_str()) {
                found.of_missing.entry(id).or_insert_with(|| paths::entry_path(name));
            } else if found.others.len() < MOST_MENDED {
                found.others.push((name, id));
            }
        }
    }
}

async fn judge(shared: &Shared, name: EntryName, id: String) -> Result<Judged, ReconcileError> {
    let stored = if is_job_id(&id) { shared.store.get(&id).await? } else { None };
    match stored {
        None => Ok(Judged::Unknown(name)),
        Some(record) if state_of(&record.document).is_final() => {
            let is_gone = shared.entries.consume_unclaimed(&paths::entry_path(name)).await?;
            Ok(if is_gone { Judged::Consumed } else { Judged::Left })
        }
        Some(_) => Ok(Judged::Left),
    }
}

/// Gives a job its entry: the one that is there already, or a new one. That is done, and recorded, only if the job is
/// still as the walk saw it and nobody has written to it for `untouched`; an entry that is not recorded then is found by
/// the next round.
async fn put_missing(
    shared: &Shared,
    job: IndexRow,
    there: Option<String>,
    untouched: SignedDuration,
) -> Result<bool, ReconcileError> {
    let Some(record) = shared.jobs.get(&job.id).await? else { return Ok(false) };
    let is_as_seen = record.entry() == job.entry.as_deref() && !state_of(&record.document).is_final();
    if !is_as_seen {
        return Ok(false);
    }
    if is_written_within(&record.document, untouched, shared.clock.now()) {
        // once it has been left alone for long enough
        shared.nudge.notify_one();
        return Ok(false);
    }
    let entry = match there {
        Some(entry) => entry,
        None => shared.entries.put(&record.id, priority_of(&record.document)).await?,
    };
    let had_lost_it = job.entry.is_some();
    let is_recorded = jobs::record_other_entry(shared, record, &entry).await?;
    if is_recorded && had_lost_it {
        shared.released().note_entry(&job.id, shared.clock.now());
    }
    Ok(is_recorded)
}

impl Found {
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
            entries: Told::of(unknown),
            claims: Told::of(leftovers),
            without_session: Told::of(claims.without_session),
            refused: refusals.told(),
        };
        self.refusals = refusals;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_by_reason_and_bounded() {
        let mut refusals = Refusals::default();
        for number in 0..12 {
            refusals.add(format!("job/{number:02}"), "not allowed");
        }
        for number in 0..20 {
            refusals.add(format!("/node/{number:02}"), format!("reason {number:02}"));
        }
        let told = refusals.told();
        assert_eq!((refusals.count(), told.len()), (32, NAMES_TOLD + 1));
        let first = &told.iter().find(|it| it.reason == "not allowed").unwrap().told;
        assert_eq!((first.count, first.names.len(), &*first.names[0]), (12, NAMES_TOLD, "job/00"));
        let others = &told.iter().find(|it| it.reason == "for other reasons").unwrap().told;
        assert_eq!(others.count, 11);
        assert_eq!(refusals.reason("job/11"), Some("not allowed"), "those that are not told are known");
        assert_eq!(refusals.reason("job/12"), None);
    }
}
