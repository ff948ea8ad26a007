//! Edits of a job, by clients and by attempts, and what else an attempt is refused.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::{AttemptIdentity, Code, Document, Lease, State};
use slipstream_store::Query;

use super::cache::Durability;
use super::document::{Patch, state_of};
use super::ledger::{Edit, Fact, Facts, Judgement, Ledger, Outcome, Printed, judge};
use super::record::JobRecord;
use super::schema::edit_violations;
use super::update::{Change, Decide, Decision, update};
use super::{priority, refuse, state_alone};
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;
use crate::server::queue::QueueError;

const INVALID_LEASE: &str = "a lease has a zxid and a generation above zero";
const UNKNOWN_GENERATION: &str = "this server does not know the generation of that lease: read it again";

/// What a client asks of a job by PUT.
#[derive(Debug)]
pub struct EditRequest<'a> {
    /// Replaces whole values at top level.
    pub changes: Cow<'a, Document>,
    /// Attributes to take out first.
    pub remove: Vec<String>,
    /// Set if an attempt writes.
    pub attempt: Option<Arc<AttemptIdentity>>,
}

/// Judges an edit, merges it, and writes it if the job is still the one that was judged; otherwise judges again, the
/// caller's right too.
pub async fn edit(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    request: &EditRequest<'_>,
) -> Result<Arc<JobRecord>, ApiError> {
    let editor = Editor::new(shared, caller, id, request)?;
    Ok(update(shared, caller, id, editor).await?.job)
}

/// Refuses an attempt that is not the latest of its job any more, or whose job has ended: before a write to another
/// document. Only administrators write as attempts.
pub async fn fence(shared: &Shared, caller: &Caller, attempt: &AttemptIdentity) -> Result<(), ApiError> {
    caller.require_administrator_for(&attempt.job)?;
    update(shared, caller, &attempt.job, Fence { shared, attempt }).await.map(drop)
}

/// Notes what the program of the latest attempt printed last, also once the job has ended.
pub async fn note_output(
    shared: &Shared,
    caller: &Caller,
    attempt: &AttemptIdentity,
    printed: &Printed,
) -> Result<(), ApiError> {
    caller.require_administrator_for(&attempt.job)?;
    let note = |job: &JobRecord| {
        let mut ledger = job.ledger()?.clone();
        if ledger.lease != Some(attempt.lease) || ledger.is_beside(attempt) {
            return Err(refusal(Code::LateLease, state_of(&job.document), &job.id));
        }
        ledger.note_output(Printed::last(printed.lines.clone()));
        Ok(Decision::Change(Change { patch: None, ledger, durability: Durability::Soon, refusal: None }))
    };
    update(shared, caller, &attempt.job, note).await.map(drop)
}

struct Fence<'a> {
    shared: &'a Shared,
    attempt: &'a AttemptIdentity,
}

impl Decide for Fence<'_> {
    async fn decide(&mut self, job: &JobRecord) -> Result<Decision, ApiError> {
        let Self { shared, attempt } = *self;
        check_generation(shared, Some(attempt)).await?;
        let (stored, ledger) = (state_of(&job.document), job.ledger()?);
        if !attempt.lease.is_valid() {
            return Err(ApiError::bad_request(INVALID_LEASE));
        }
        if ledger.is_beside(attempt) {
            return Err(refusal(Code::Superseded, stored, &job.id));
        }
        if ledger.lease.is_none_or(|highest| attempt.lease >= highest) {
            return if stored.is_final() { Err(refusal(Code::Final, stored, &job.id)) } else { Ok(Decision::Keep) };
        }
        let mut ledger = ledger.clone();
        ledger.refuse(attempt, None, shared.clock.now());
        Ok(Decision::refuse(None, ledger, refusal(Code::LateLease, stored, &job.id)))
    }
}

/// One edit of one job, on its way into the job.
pub(super) struct Editor<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    request: &'a EditRequest<'a>,
    /// The job's new entry, once that has moved to another priority.
    moved: Option<String>,
}

impl<'a> Editor<'a> {
    /// An attempt writes into the ledger, which names entries of the queue that every job is in: that is for
    /// administrators, whoever may modify the job.
    pub(super) fn new(
        shared: &'a Shared,
        caller: &'a Caller,
        id: &str,
        request: &'a EditRequest<'a>,
    ) -> Result<Self, ApiError> {
        if request.attempt.is_some() {
            caller.require_administrator_for(id)?;
        }
        Ok(Self { shared, caller, request, moved: None })
    }
}

impl Decide for Editor<'_> {
    async fn decide(&mut self, job: &JobRecord) -> Result<Decision, ApiError> {
        let Self { shared, request, .. } = *self;
        // only administrators say what is run, by adding a job: another action in it would be as good as an add
        let action = request.changes.get("action");
        if action.is_some_and(|action| job.document.get("action") != Some(action)) {
            self.caller.require_administrator_for(&job.id)?;
        }
        check_generation(shared, request.attempt.as_deref()).await?;
        let (edit, ledger) = (request.edit(), job.ledger()?);
        let mut facts = Facts::default();
        let judgement = loop {
            match judge(state_of(&job.document), ledger, edit, facts, shared.max_attempts) {
                Ok(judgement) => break judgement,
                Err(fact) => find_out(shared, job, ledger, fact, &mut facts).await?,
            }
        };
        let claim = match judgement {
            Judgement::BeginLeaselessAttempt => lease_of_claim(shared, ledger).await?,
            _ => None,
        };
        let judged = Judged { judgement, lost_together: facts.lost_together.unwrap_or_default(), claim };
        let mut decision = merge(job, ledger, request, judged, shared.clock.now())?;
        if let Decision::Change(change) = &mut decision
            && change.refusal.is_none()
        {
            priority::move_entry(shared, job, &request.changes, &mut self.moved).await?;
            if let Some(entry) = &self.moved {
                change.ledger.entry = Some(entry.clone());
            }
        }
        Ok(decision)
    }
}

/// Asks the node tree or the store what [`judge`] has to know.
async fn find_out(
    shared: &Shared,
    job: &JobRecord,
    ledger: &Ledger,
    fact: Fact,
    facts: &mut Facts,
) -> Result<(), ApiError> {
    let entry = ledger.entry.as_deref();
    match (fact, entry) {
        (Fact::LostTogether, _) => facts.lost_together = Some(is_lost_together(shared, job, ledger).await?),
        (Fact::RecordedEntryExists, Some(entry)) => {
            let holds = match shared.queue.text_at(entry).await {
                // whoever may read it is none of ours
                Err(QueueError::Refused { .. }) => None,
                holds => holds?,
            };
            facts.recorded_entry_exists = Some(holds.as_deref() == Some(&*job.id));
        }
        (Fact::ClaimLives, Some(entry)) => {
            facts.claim_lives = Some(match shared.queue.claim_on(entry).await {
                // it is there, and whose it is we may not know
                Err(QueueError::Refused { .. }) => true,
                claim => claim?.is_some(),
            });
        }
        (Fact::RecordedEntryExists, None) => facts.recorded_entry_exists = Some(false),
        (Fact::ClaimLives, None) => facts.claim_lives = Some(false),
    }
    Ok(())
}

/// Most running jobs that are looked at in the store for [`is_lost_together`], and the bytes of them that are read.
const MOST_LOOKED_AT: u64 = 200;
const AT_ONCE: u64 = 1024 * 1024;

/// Whether the open attempt of this job, which is lost, was open together with one of another job that is lost too or may be:
/// then none of them need have been what ended their process. Those that have ended since are not seen, so that the last of
/// many may count as alone. What is being worked on is looked at first; the store knows of others after a start of the server.
async fn is_lost_together(shared: &Shared, job: &JobRecord, ledger: &Ledger) -> Result<bool, ApiError> {
    let Some(lost) = ledger.open_attempt() else { return Ok(false) };
    let is_with = |other: &JobRecord| {
        let is_running = other.id != job.id && state_of(&other.document) == State::Running;
        is_running && other.ledger().is_ok_and(|ledger| ledger.was_open_with(lost))
    };
    if shared.jobs.any(is_with) {
        return Ok(true);
    }
    let filter = Filter::parse("state='RUNNING'").expect("it is a filter");
    let query = Query { filter: Some(filter), limit: MOST_LOOKED_AT, at_once: Some(AT_ONCE), ..Query::default() };
    let running = shared.store.search(JOB.name, &query).await?;
    Ok(running.records.into_iter().map(JobRecord::from).any(|other| is_with(&other)))
}

/// For an attempt without leases: the lease of the claim that it holds, as far as that can be known.
async fn lease_of_claim(shared: &Shared, ledger: &Ledger) -> Result<Option<Lease>, ApiError> {
    let Some(entry) = &ledger.entry else { return Ok(None) };
    let claim = match shared.queue.claim_on(entry).await {
        Err(QueueError::Refused { .. }) => None,
        claim => claim?,
    };
    let Some(claim) = claim else { return Ok(None) };
    Ok(Some(Lease { generation: shared.generation.latest().await?, zxid: claim.created }))
}

impl<'a> EditRequest<'a> {
    /// What an attempt asks.
    pub(super) fn of_attempt(attempt: &Arc<AttemptIdentity>, changes: Cow<'a, Document>) -> Self {
        Self { changes, remove: Vec::new(), attempt: Some(attempt.clone()) }
    }

    fn edit(&self) -> Edit<'_> {
        let state = self.changes.get("state").and_then(|state| state.as_str()).and_then(State::from_text);
        Edit { attempt: self.attempt.as_deref(), state }
    }
}

/// A judgement, and what is needed to carry it out.
#[derive(Clone, Copy)]
struct Judged {
    judgement: Judgement,
    /// The open attempt, if there is one, is lost together with others.
    lost_together: bool,
    /// For an attempt without leases: the lease of the claim that it holds.
    claim: Option<Lease>,
}

/// What a judged edit makes of a job.
fn merge(
    job: &JobRecord,
    ledger: &Ledger,
    request: &EditRequest<'_>,
    judged: Judged,
    now: Timestamp,
) -> Result<Decision, ApiError> {
    let (stored, edit) = (state_of(&job.document), request.edit());
    let Judged { judgement, lost_together, claim } = judged;
    let durability = durability(stored, ledger, edit);
    let mut ledger = ledger.clone();
    match judgement {
        Judgement::InvalidLease => return Err(ApiError::bad_request(INVALID_LEASE)),
        Judgement::Unchanged => return Ok(Decision::Keep),
        Judgement::Refuse(code) => {
            let error = refusal(code, stored, &job.id);
            let Some(attempt) = edit.attempt.filter(|_| code == Code::LateLease) else { return Err(error) };
            ledger.refuse(attempt, edit.state, now);
            return Ok(Decision::refuse(None, ledger, error));
        }
        Judgement::GiveUp => {
            let message = ledger.give_up(lost_together, now);
            let error = ApiError::contradiction(&job.id, Code::Final, format!("{}: {message}", job.id));
            let mut changes = state_alone(State::Failed);
            changes.insert("statusMessage".to_owned(), message.into());
            if let Some(attempt) = edit.attempt {
                ledger.lease = Some(attempt.lease);
            }
            return Ok(Decision::refuse(Some(Patch::new(&job.document, changes, &[], now)), ledger, error));
        }
        Judgement::BeginAttempt => ledger.begin(edit.attempt, lost_together, now),
        Judgement::BeginLeaselessAttempt => {
            // RUNNING again under the claim of the attempt that runs is that attempt.
            if !ledger.goes_on_without_leases(claim) && !ledger.runs_under(claim) {
                ledger.begin(None, false, now);
                ledger.lease = ledger.lease.max(claim);
            }
        }
        Judgement::Accept => {}
    }
    let patch = Patch::new(&job.document, Document::clone(&request.changes), &request.remove, now);
    refuse(&edit_violations(&job.document, &patch))?;
    let next = patch.state(&job.document);
    // An attempt gives the job back even where its RUNNING never arrived and the job is QUEUED all the while.
    let gives_back = edit.attempt.is_some() && edit.state == Some(State::Queued);
    if !stored.may_become(next) && stored != State::Stopped {
        let message = format!("{} cannot go from {stored} to {next}", job.id);
        return Err(ApiError::contradiction(&job.id, Code::Conflict, message));
    }
    if next.is_final() {
        ledger.end(Outcome::Finished, now);
    } else if next == State::Queued && (stored != State::Queued || gives_back) {
        ledger.end(Outcome::Released, now);
    }
    Ok(Decision::Change(Change { patch: Some(patch), ledger, durability, refusal: None }))
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
    if attempt.lease.generation <= shared.generation.latest().await? {
        return Ok(());
    }
    Err(ApiError::contradiction(&attempt.job, Code::LateLease, UNKNOWN_GENERATION))
}

fn refusal(code: Code, stored: State, id: &str) -> ApiError {
    let message = match code {
        Code::LateLease => format!("{id} was released, or taken over by a later claim"),
        Code::Superseded => format!("{id} is queued under another entry"),
        Code::Final => "edit is not allowed in final state".to_owned(),
        Code::Conflict | Code::Changed => format!("{id} is {stored} under a live claim"),
    };
    ApiError::contradiction(id, code, message)
}
