//! [`round`]: one comparison of what is stored with what is queued.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::stream::{self, StreamExt};
use jiff::SignedDuration;
use slipstream_cimi::job::is_job_id;
use slipstream_coordination::queue::EntryName;

use super::listing::{Listing, walk};
use super::{LeftAlone, ReconcileError, Told, is_written_within};
use crate::nodes;
use crate::server::entries::EntriesError;
use crate::server::job_document::{priority_of, state_of};
use crate::server::store::Unfinished;
use crate::server::{Shared, jobs};

/// Most jobs and most entries of nobody that are looked at in a round.
const MOST_MENDED: usize = 10_000;
/// Most claims without an entry that are remembered until the next round.
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
}

/// What the last round found.
#[derive(Debug, Default)]
pub struct Found {
    /// What it left alone.
    pub left_alone: LeftAlone,
    /// Names of all nodes among the claims that had no entry.
    claims: BTreeSet<String>,
}

/// What an entry that no job records turned out to be.
enum Judged {
    Consumed,
    Unknown(EntryName),
    /// Somebody holds it, or it is the second one of its job.
    Left,
}

/// One round over jobs that nobody has written to for `untouched`.
pub async fn round(shared: &Shared, untouched: SignedDuration) -> Result<Mended, ReconcileError> {
    let _turn = shared.mending.lock().await;
    let session = shared.entries.session().await?;
    shared.generation.agree(&*session).await?;
    // before the entries: what is consumed in between has neither
    let claims = shared.entries.names_in(nodes::TAKEN).await?;
    let mut listing = Listing::new(shared.entries.list().await?);
    shared.jobs.settled().await;
    let walked = walk(&*shared.store, &mut listing, MOST_MENDED).await?;
    shared.generation.compare(&*session, walked.highest).await?;
    let missing = without_entry(shared, walked.missing).await?;
    let Unrecorded { mut of_missing, others } = look_at(shared, &listing, &missing).await?;
    let mut mended = Mended::default();
    let puts = missing.into_iter().map(|job| {
        let there = of_missing.remove(&job.id);
        put_missing(shared, job, there, untouched)
    });
    // Side by side, so that store and coordinator can do many at once.
    let mut puts = stream::iter(puts.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    while let Some(put) = puts.next().await {
        mended.put += usize::from(put?);
    }
    drop(puts);
    let mut unknown = Vec::new();
    let judgements = others.into_iter().map(|(name, id)| judge(shared, name, id));
    let mut judgements = stream::iter(judgements.collect::<Vec<_>>()).buffered(AT_ONCE);
    while let Some(judged) = judgements.next().await {
        match judged? {
            Judged::Consumed => mended.consumed += 1,
            Judged::Unknown(name) => unknown.push(name.to_string()),
            Judged::Left => {}
        }
    }
    mended.unknown = unknown.len();
    mended.leftovers = shared.found().note(unknown, claims, &listing);
    Ok(mended)
}

/// Those of the jobs whose recorded entry is not there or is another job's. An entry put since the listing is there, as
/// are those of all jobs that come meanwhile: none of these jobs is read.
async fn without_entry(shared: &Shared, jobs: Vec<Unfinished>) -> Result<Vec<Unfinished>, EntriesError> {
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
async fn look_at(shared: &Shared, listing: &Listing, missing: &[Unfinished]) -> Result<Unrecorded, EntriesError> {
    let wanted: HashSet<&str> = missing.iter().map(|job| job.id.as_str()).collect();
    let mut found = Unrecorded { of_missing: HashMap::new(), others: Vec::new() };
    let mut names = listing.unrecorded();
    loop {
        let page: Vec<EntryName> = names.by_ref().take(READ_AT_ONCE).collect();
        if page.is_empty() || (wanted.is_empty() && found.others.len() >= MOST_MENDED) {
            return Ok(found);
        }
        let texts = shared.entries.texts_at(page.iter().copied().map(nodes::entry_path).collect()).await?;
        for (name, text) in page.into_iter().zip(texts) {
            let Ok(Some(id)) = text else { continue };
            if wanted.contains(id.as_str()) {
                found.of_missing.entry(id).or_insert_with(|| nodes::entry_path(name));
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
            let is_gone = shared.entries.consume_unclaimed(&nodes::entry_path(name)).await?;
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
    job: Unfinished,
    there: Option<String>,
    untouched: SignedDuration,
) -> Result<bool, ReconcileError> {
    let Some(record) = shared.jobs.fresh(&job.id).await? else { return Ok(false) };
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
    Ok(jobs::record_other_entry(shared, record, &entry).await?)
}

impl Found {
    /// Notes what a round found, and answers how many claims had no entry in the round before either. Those of a round
    /// ago alone may be of jobs that were just stopped: whoever holds them has still to let go.
    fn note(&mut self, unknown: Vec<String>, claims: Vec<String>, listing: &Listing) -> usize {
        let has_entry = |name: &String| EntryName::parse(name).is_some_and(|name| listing.contains(name));
        let without: BTreeSet<String> =
            claims.into_iter().filter(|name| !has_entry(name)).take(MOST_REMEMBERED).collect();
        let leftovers: Vec<String> = without.intersection(&self.claims).cloned().collect();
        let count = leftovers.len();
        self.claims = without;
        self.left_alone = LeftAlone { entries: Told::of(unknown), claims: Told::of(leftovers) };
        count
    }
}
