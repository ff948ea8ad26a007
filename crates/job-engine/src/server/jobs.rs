//! Jobs behind the API: add, read, edit, stop, delete.

pub mod bulk_add;
pub mod cache;
pub mod document;
pub mod ledger;
mod losses;
mod priority;
pub mod record;
pub mod released;
pub mod reports;
pub mod schema;
pub mod waiting;

use std::sync::Arc;

use serde_json::{Value, json};
use slipstream_action::with_causes;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::{AttemptIdentity, Code, Document, Lease, State};
use slipstream_store::{Revision, StoreError};
use uuid::Uuid;

use self::cache::Durability;
use self::document::{Patch, priority_of, state_of};
use self::ledger::{Edit, Facts, Judgement, Ledger, Outcome, judge};
use self::record::{JobRecord, UnreadableLedger};
use self::schema::{edit_violations, job_violations};
use super::Shared;
use super::auth::caller::Caller;
use super::error::ApiError;
use super::queue::EntriesError;
use crate::api::ledger::{CLAIM, WAITS};

/// How often a write is tried again because somebody else was faster.
const WRITE_TRIES: usize = 50;
/// Ids of repeatable adds are UUIDs of version 5 in this name space (itself drawn once, at random).
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x5f2b_7a0c_3e64_4d0e_9c1b_84f6_a1d2_77e3);

const INVALID_LEASE: &str = "a lease has a zxid and a generation above zero";
const UNKNOWN_GENERATION: &str = "this server has not had the generation of that lease: read it again";

/// Stores a job as QUEUED, then puts its entry, then records the entry's path if none is recorded (decision 1). The
/// job is added once it is stored; an entry that cannot be put now is put by the reconciler.
pub async fn add(shared: &Shared, caller: &Caller, sent: Document, key: Option<&str>) -> Result<String, ApiError> {
    let new = prepare(shared, caller, sent, key)?;
    let stored = store(shared, new).await?;
    let id = stored.id().to_owned();
    if let [Some(entry)] = &*put_entries(shared, std::slice::from_ref(&stored)).await {
        record_entry(shared, stored, entry).await;
    }
    Ok(id)
}

/// A job that is stored and waits for its entry. As long as this is held, the job need not be read to record that.
#[derive(Debug)]
pub struct Stored(Arc<JobRecord>);

impl Stored {
    /// Id of the job.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }
}

/// The first step of [`add`]: the record of a new job, checked. Ids rise in the order in which they are drawn here.
pub fn prepare(shared: &Shared, caller: &Caller, sent: Document, key: Option<&str>) -> Result<JobRecord, ApiError> {
    caller.require_administrator()?;
    let id = match key {
        Some(key) => id_of_key(caller.name().unwrap_or(""), key),
        None => format!("{}/{}", JOB.name, Uuid::now_v7()),
    };
    let document = document::new_document(&id, sent, shared.clock.now());
    refuse(&job_violations(&document))?;
    Ok(JobRecord::new(&id, document))
}

/// The id of the job that this user adds with this `Idempotency-Key`, however often (decision 11).
#[must_use]
pub fn id_of_key(user: &str, key: &str) -> String {
    format!("{}/{}", JOB.name, Uuid::new_v5(&KEY_NAMESPACE, format!("{user}\n{key}").as_bytes()))
}

/// The second step of [`add`]: what it answers is on disk.
pub async fn store(shared: &Shared, new: JobRecord) -> Result<Stored, ApiError> {
    shared.jobs.insert(new).await.map(Stored).map_err(ApiError::from)
}

/// The third step of [`add`], for several at once and in their order: puts the entries and answers their paths, which
/// are still to be recorded. What cannot be put now, or may not have been, is left to the reconciler.
pub async fn put_entries(shared: &Shared, stored: &[Stored]) -> Vec<Option<String>> {
    let jobs = stored.iter().map(|stored| (stored.id().to_owned(), priority_of(&stored.0.document))).collect();
    let mut failed = Vec::new();
    let put = |(stored, put): (&Stored, Result<String, EntriesError>)| match put {
        Ok(entry) => Some(entry),
        Err(error) => {
            failed.push((stored.id().to_owned(), error));
            None
        }
    };
    let entries = stored.iter().zip(shared.entries.put_all(jobs).await).map(put).collect();
    if let Some((job, error)) = failed.first() {
        let (count, error) = (failed.len(), with_causes(error));
        if shared.entries.is_first_failure() {
            tracing::warn!(
                job,
                error,
                count,
                "entries not put yet, the reconciler will, as all until some are put again"
            );
        } else {
            tracing::debug!(job, error, count, "entries not put yet");
        }
        shared.nudge.notify_one();
    } else {
        shared.entries.note_success();
    }
    entries
}

/// Records an entry unless one is recorded. Never deletes the entry because somebody else was faster: an attempt that
/// has begun meanwhile recorded it itself. Only the entry of a job that was stopped or deleted meanwhile goes: whoever
/// did that did not know of it.
pub async fn record_entry(shared: &Shared, stored: Stored, entry: &str) {
    let id = &*stored.0.id.clone();
    let mut as_stored = Some(stored.0);
    for _ in 0..WRITE_TRIES {
        let job = match as_stored.take() {
            Some(job) => Ok(Some(job)),
            None => shared.jobs.get(id).await,
        };
        let written = match job {
            Ok(Some(record)) if state_of(&record.document).is_final() && record.entry().is_none() => {
                return take_away(shared, id, entry).await;
            }
            Ok(Some(record)) if record.entry().is_some() => return,
            Ok(Some(record)) => match with_entry(&record, entry) {
                Ok(ledger) => shared.jobs.change(record, Durability::Soon, |record| record.set_ledger(ledger)).await,
                Err(error) => return tracing::error!(error = with_causes(&error), "entry not recorded"),
            },
            Ok(None) => return take_away(shared, id, entry).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(_) => return,
            Err(StoreError::Changed(_)) => {}
            Err(error) => {
                tracing::warn!(job = id, error = with_causes(&error), "entry not recorded, the reconciler will");
                return shared.nudge.notify_one();
            }
        }
    }
}

/// Records this entry for a job that is still this one, whatever is recorded. Answers whether that was so.
pub async fn record_other_entry(shared: &Shared, record: Arc<JobRecord>, entry: &str) -> Result<bool, StoreError> {
    let ledger = match with_entry(&record, entry) {
        Ok(ledger) => ledger,
        Err(error) => {
            tracing::error!(entry, error = with_causes(&error), "entry not recorded");
            return Ok(false);
        }
    };
    match shared.jobs.change(record, Durability::OnDisk, |record| record.set_ledger(ledger)).await {
        Ok(_) => Ok(true),
        Err(StoreError::Changed(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The job's ledger with this entry recorded.
fn with_entry(record: &JobRecord, entry: &str) -> Result<Ledger, UnreadableLedger> {
    Ok(Ledger { entry: Some(entry.to_owned()), ..record.ledger()?.clone() })
}

/// Reads a job.
pub async fn read(shared: &Shared, caller: &Caller, id: &str) -> Result<Arc<JobRecord>, ApiError> {
    permitted(shared, caller, id, Caller::may_view).await
}

/// Reads what the server keeps of a job and never shows as an attribute, and who holds its entry; only administrators
/// may.
pub async fn read_ledger(shared: &Shared, caller: &Caller, id: &str) -> Result<Document, ApiError> {
    caller.require_administrator_for(id)?;
    let record = permitted(shared, caller, id, Caller::may_view).await?;
    let mut ledger = match record.stored(Revision::default()).ledger {
        Value::Object(ledger) => ledger,
        _ => Document::new(),
    };
    let holder = async { shared.entries.holder(record.entry()?).await.ok() };
    // nothing is said while the coordinator cannot be asked
    if let Some(holder) = holder.await {
        ledger.insert(CLAIM.to_owned(), json!(holder));
    }
    if let Ok(reasons) = waiting::reasons(shared, &record).await {
        ledger.insert(WAITS.to_owned(), json!(reasons));
    }
    Ok(ledger)
}

/// What a client asks of a job by PUT.
#[derive(Debug)]
pub struct EditRequest {
    /// Replaces whole values at top level.
    pub changes: Document,
    /// Attributes to take out first.
    pub remove: Vec<String>,
    /// Set if an attempt writes.
    pub attempt: Option<AttemptIdentity>,
}

/// Judges an edit, merges it, and writes it if the job is still the one that was judged; otherwise judges again, the
/// caller's right too. An attempt writes into the ledger, which names entries of the queue that every job is in: that
/// is for administrators, whoever may modify the job.
pub async fn edit(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    request: &EditRequest,
) -> Result<Arc<JobRecord>, ApiError> {
    edit_if(shared, caller, id, request, &mut |_| true).await
}

/// As [`edit`], if `see` says so of the very job that would be changed; otherwise answers that.
pub async fn edit_if(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    request: &EditRequest,
    see: &mut (dyn FnMut(&JobRecord) -> bool + Send),
) -> Result<Arc<JobRecord>, ApiError> {
    if request.attempt.is_some() {
        caller.require_administrator_for(id)?;
    }
    let mut moved = None;
    for _ in 0..WRITE_TRIES {
        let record = permitted(shared, caller, id, Caller::may_modify).await?;
        if !see(&record) {
            return Ok(record);
        }
        // only administrators say what is run, by adding a job: another action in it would be as good as an add
        let action = request.changes.get("action");
        if action.is_some_and(|action| record.document.get("action") != Some(action)) {
            caller.require_administrator_for(id)?;
        }
        check_generation(shared, request.attempt.as_ref()).await?;
        let facts = facts(shared, &record, request).await?;
        let Write { patch, mut ledger, durability, refusal } = match decide(shared, &record, request, &facts)? {
            Decision::Unchanged => return Ok(record),
            Decision::Write(write) => *write,
        };
        if refusal.is_none() {
            priority::move_entry(shared, &record, &request.changes, &mut moved).await?;
            ledger.entry = moved.clone().or(ledger.entry);
        }
        let given_back = ledger.given_back_since(record.ledger()?).cloned();
        let change = |record: &mut JobRecord| match patch {
            Some(patch) => record.set(patch, ledger),
            None => record.set_ledger(ledger),
        };
        match shared.jobs.change(record, durability, change).await {
            Ok(written) => {
                if let Some(attempt) = given_back {
                    shared.released().note_attempt(id, attempt, shared.clock.now());
                }
                return refusal.map_or(Ok(written), Err);
            }
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Changed(id.to_owned()).into())
}

enum Decision {
    /// The job is what it is to be.
    Unchanged,
    Write(Box<Write>),
}

/// What an edit makes of a job.
struct Write {
    /// None leaves the document as it is.
    patch: Option<Patch>,
    ledger: Ledger,
    durability: Durability,
    /// What is answered once it is written, if that is not the job.
    refusal: Option<ApiError>,
}

impl Write {
    fn refused(patch: Option<Patch>, ledger: Ledger, refusal: ApiError) -> Decision {
        let (durability, refusal) = (Durability::OnDisk, Some(refusal));
        Decision::Write(Box::new(Self { patch, ledger, durability, refusal }))
    }
}

struct Known {
    facts: Facts,
    /// For an attempt without leases: the lease of the claim that it holds.
    claim: Option<Lease>,
}

async fn facts(shared: &Shared, record: &JobRecord, request: &EditRequest) -> Result<Known, ApiError> {
    let (stored, ledger) = (state_of(&record.document), record.ledger()?);
    let edit = wish(request);
    let (entry_wanted, claim_wanted) = Facts::wanted(stored, ledger, edit);
    let claim_wanted = claim_wanted || (edit.attempt.is_none() && edit.state == Some(State::Running));
    let mut known = Known { facts: Facts::default(), claim: None };
    if Facts::want_lost_together(stored, ledger, edit) {
        known.facts.lost_together = losses::is_lost_together(shared, record, ledger).await?;
    }
    if let Some(entry) = &ledger.entry {
        if entry_wanted {
            let id = match shared.entries.text_at(entry).await {
                // whoever may read it is none of ours
                Err(EntriesError::Refused { .. }) => None,
                id => id?,
            };
            known.facts.recorded_entry_exists = id.as_deref() == Some(&*record.id);
        }
        if claim_wanted {
            let (lives, claim) = match shared.entries.claim_on(entry).await {
                // it is there, and whose it is we may not know
                Err(EntriesError::Refused { .. }) => (true, None),
                claim => {
                    let claim = claim?;
                    (claim.is_some(), claim)
                }
            };
            known.facts.claim_lives = lives;
            if let Some(claim) = claim {
                let generation = shared.generation.latest().await?;
                known.claim = Some(Lease { generation, zxid: claim.created });
            }
        }
    }
    Ok(known)
}

fn wish(request: &EditRequest) -> Edit<'_> {
    let state = request.changes.get("state").and_then(|state| state.as_str()).and_then(State::from_text);
    Edit { attempt: request.attempt.as_ref(), state }
}

fn decide(shared: &Shared, record: &JobRecord, request: &EditRequest, known: &Known) -> Result<Decision, ApiError> {
    let now = shared.clock.now();
    let stored = state_of(&record.document);
    let edit = wish(request);
    let refusal = |code, message: String| ApiError::contradiction(&record.id, code, message);
    let judgement = judge(stored, record.ledger()?, edit, known.facts, shared.max_attempts);
    let durability = durability(stored, record.ledger()?, edit);
    let mut ledger = record.ledger()?.clone();
    match judgement {
        Judgement::InvalidLease => return Err(ApiError::bad_request(INVALID_LEASE)),
        Judgement::Unchanged => return Ok(Decision::Unchanged),
        Judgement::Refuse(code) => {
            let error = refusal(code, refusal_message(code, stored, &record.id));
            let Some(attempt) = edit.attempt.filter(|_| code == Code::LateLease) else { return Err(error) };
            ledger.refuse(attempt, edit.state, now);
            return Ok(Write::refused(None, ledger, error));
        }
        Judgement::GiveUp => {
            let message = ledger.give_up(known.facts.lost_together, now);
            let error = refusal(Code::Final, format!("{}: {message}", record.id));
            let mut changes = state_alone(State::Failed);
            changes.insert("statusMessage".to_owned(), message.into());
            if let Some(attempt) = edit.attempt {
                ledger.lease = Some(attempt.lease);
            }
            return Ok(Write::refused(Some(Patch::new(&record.document, changes, &[], now)), ledger, error));
        }
        Judgement::BeginAttempt => ledger.begin(edit.attempt, known.facts.lost_together, now),
        Judgement::BeginLeaselessAttempt => {
            let claim = known.claim;
            // RUNNING again under the claim of the attempt that runs is that attempt.
            if !ledger.goes_on_without_leases(claim) && !ledger.runs_under(claim) {
                ledger.begin(None, false, now);
                ledger.lease = ledger.lease.max(claim);
            }
        }
        Judgement::Accept => {}
    }
    let patch = Patch::new(&record.document, request.changes.clone(), &request.remove, now);
    refuse(&edit_violations(&record.document, &patch))?;
    let next = patch.state(&record.document);
    // An attempt gives the job back even where its RUNNING never arrived and the job is QUEUED all the while.
    let gives_back = edit.attempt.is_some() && edit.state == Some(State::Queued);
    if !stored.may_become(next) && stored != State::Stopped {
        return Err(refusal(Code::Conflict, format!("{} cannot go from {stored} to {next}", record.id)));
    }
    if next.is_final() {
        ledger.end(Outcome::Finished, now);
    } else if next == State::Queued && (stored != State::Queued || gives_back) {
        ledger.end(Outcome::Released, now);
    }
    Ok(Decision::Write(Box::new(Write { patch: Some(patch), ledger, durability, refusal: None })))
}

fn state_alone(state: State) -> Document {
    Document::from_iter([("state".to_owned(), state.as_str().into())])
}

/// A first RUNNING and what an attempt reports while it runs may be lost in a crash: the job is run again either way.
/// Everything else is on the disk before it is answered, so that a higher lease than one that was stored is never
/// forgotten (decision 4).
fn durability(stored: State, ledger: &Ledger, edit: Edit<'_>) -> Durability {
    let Some(attempt) = edit.attempt else { return Durability::OnDisk };
    let goes_on = edit.state.unwrap_or(stored) == State::Running;
    let raises_no_lease = ledger.lease.is_none_or(|lease| lease == attempt.lease);
    if goes_on && raises_no_lease { Durability::Soon } else { Durability::OnDisk }
}

/// A generation that this server has not reached was shown by nobody; were it stored, no true attempt could follow. The
/// executor is told what makes it read the node again, which may have been wrong for a while.
async fn check_generation(shared: &Shared, attempt: Option<&AttemptIdentity>) -> Result<(), ApiError> {
    let Some(attempt) = attempt.filter(|attempt| attempt.lease.generation > shared.generation.known()) else {
        return Ok(());
    };
    let latest = shared.generation.latest().await?;
    if attempt.lease.generation <= latest {
        return Ok(());
    }
    Err(ApiError::contradiction(&attempt.job, Code::LateLease, UNKNOWN_GENERATION))
}

fn refusal_message(code: Code, stored: State, id: &str) -> String {
    match code {
        Code::LateLease => format!("{id} was given back, or has been taken over by a later claim"),
        Code::Superseded => format!("{id} is queued under another entry"),
        Code::Final => "edit is not allowed in final state".to_owned(),
        Code::Conflict => format!("{id} is {stored} under a live claim"),
    }
}

/// Refuses an attempt that is not the latest of its job any more, or whose job has ended: before a write to another
/// document. Only administrators write as attempts.
pub async fn fence(shared: &Shared, caller: &Caller, attempt: &AttemptIdentity) -> Result<(), ApiError> {
    caller.require_administrator_for(&attempt.job)?;
    for _ in 0..WRITE_TRIES {
        let record = permitted(shared, caller, &attempt.job, Caller::may_modify).await?;
        let ledger = record.ledger()?;
        let stored = state_of(&record.document);
        let refusal = |code, id: &str| Err(ApiError::contradiction(id, code, refusal_message(code, stored, id)));
        check_generation(shared, Some(attempt)).await?;
        if !attempt.lease.is_valid() {
            return Err(ApiError::bad_request(INVALID_LEASE));
        }
        if ledger.is_beside(attempt) {
            return refusal(Code::Superseded, &attempt.job);
        }
        if ledger.lease.is_none_or(|highest| attempt.lease >= highest) {
            return if stored.is_final() { refusal(Code::Final, &attempt.job) } else { Ok(()) };
        }
        let mut ledger = ledger.clone();
        ledger.refuse(attempt, None, shared.clock.now());
        match shared.jobs.change(record, Durability::OnDisk, |record| record.set_ledger(ledger)).await {
            Ok(_) => return refusal(Code::LateLease, &attempt.job),
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Changed(attempt.job.clone()).into())
}

/// Stops a job that is not final: first the document, then the entry, so that whoever holds it sees it vanish
/// (decision 14). A final job stays as it is.
pub async fn stop(shared: &Shared, caller: &Caller, id: &str) -> Result<Arc<JobRecord>, ApiError> {
    for _ in 0..WRITE_TRIES {
        let record = permitted(shared, caller, id, Caller::may_modify).await?;
        if state_of(&record.document).is_final() {
            return Ok(record);
        }
        let now = shared.clock.now();
        let mut ledger = record.ledger()?.clone();
        let patch = Patch::new(&record.document, state_alone(State::Stopped), &[], now);
        ledger.end(Outcome::Finished, now);
        match shared.jobs.change(record, Durability::OnDisk, |record| record.set(patch, ledger)).await {
            Ok(stopped) => {
                remove_entry(shared, &stopped).await;
                return Ok(stopped);
            }
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Changed(id.to_owned()).into())
}

/// Deletes a job: first the document, then the entry.
pub async fn delete(shared: &Shared, caller: &Caller, id: &str) -> Result<(), ApiError> {
    for _ in 0..WRITE_TRIES {
        let record = permitted(shared, caller, id, Caller::may_modify).await?;
        match shared.jobs.remove(record.clone()).await {
            Ok(()) => {
                if !state_of(&record.document).is_final() {
                    remove_entry(shared, &record).await;
                }
                return Ok(());
            }
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Changed(id.to_owned()).into())
}

async fn remove_entry(shared: &Shared, record: &JobRecord) {
    if let Some(entry) = record.entry() {
        take_away(shared, &record.id, entry).await;
    }
}

async fn take_away(shared: &Shared, id: &str, entry: &str) {
    if let Err(error) = shared.entries.remove(entry, id).await {
        tracing::warn!(job = id, entry, error = with_causes(&error), "entry not removed yet, the reconciler will");
        shared.nudge.notify_one();
    }
}

/// The job, if the caller may do this with it.
async fn permitted(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    may: fn(&Caller, &Document) -> bool,
) -> Result<Arc<JobRecord>, ApiError> {
    let stored = shared.jobs.get(id).await?;
    caller.permit(id, stored, |record| &record.document, may)
}

fn refuse(violations: &[String]) -> Result<(), ApiError> {
    if violations.is_empty() { Ok(()) } else { Err(ApiError::schema(violations)) }
}

#[cfg(test)]
pub(super) mod tests;
