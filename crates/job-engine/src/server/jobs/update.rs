//! [`update`]: how a job is changed. It is read, decided on, and written if it is still the one that was read; otherwise
//! all of that is done again.

use std::sync::Arc;

use slipstream_store::StoreError;

use super::cache::Durability;
use super::counts::{Before, noted};
use super::document::Patch;
use super::ledger::Ledger;
use super::record::JobRecord;
use crate::server::Shared;
use crate::server::auth::caller::Caller;
use crate::server::error::ApiError;

/// How often a write is tried again because somebody else was faster.
const TRIES: usize = 50;

/// What is to become of a job that was read.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, and a box would be an allocation per write")]
pub(super) enum Decision {
    /// It is what it is to be.
    Keep,
    Change(Change),
    Remove,
}

/// What is written into a job.
pub(super) struct Change {
    /// None leaves the document as it is.
    pub(super) patch: Option<Patch>,
    pub(super) ledger: Ledger,
    pub(super) durability: Durability,
    /// What is answered once it is written, if that is not the job.
    pub(super) refusal: Option<ApiError>,
}

impl Decision {
    /// Writes what there is to note, and refuses.
    pub(super) fn refuse(patch: Option<Patch>, ledger: Ledger, refusal: ApiError) -> Self {
        Self::Change(Change { patch, ledger, durability: Durability::OnDisk, refusal: Some(refusal) })
    }
}

/// What became of a job.
pub(super) struct Updated {
    /// As it is then; one that was removed as it was.
    pub(super) job: Arc<JobRecord>,
    pub(super) is_written: bool,
}

/// Who says what is to become of a job.
pub(super) trait Decide {
    /// Asked again if somebody else was faster, of the job as it is then.
    fn decide(&mut self, job: &JobRecord) -> impl Future<Output = Result<Decision, ApiError>> + Send;
}

impl<F: FnMut(&JobRecord) -> Result<Decision, ApiError> + Send> Decide for F {
    async fn decide(&mut self, job: &JobRecord) -> Result<Decision, ApiError> {
        self(job)
    }
}

/// Carries out what is decided of the job as it is. The caller has to be allowed to modify it each time it is read.
pub(super) async fn update(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    decide: impl Decide,
) -> Result<Updated, ApiError> {
    let updated = update_from(shared, Some(caller), id, None, decide).await?;
    // whether it is missing is not for everybody
    caller.permit(id, updated, |updated| &updated.job.document, |_, _| true)
}

/// As [`update`], beginning with the job as it is known, and without a caller for the server itself. None if there is no
/// such job.
pub(super) async fn update_from(
    shared: &Shared,
    caller: Option<&Caller>,
    id: &str,
    mut known: Option<Arc<JobRecord>>,
    mut decide: impl Decide,
) -> Result<Option<Updated>, ApiError> {
    for _ in 0..TRIES {
        let job = match known.take() {
            Some(job) => job,
            None => match shared.jobs.get(id).await? {
                Some(job) => job,
                None => return Ok(None),
            },
        };
        if let Some(caller) = caller {
            caller.permit(id, Some(&*job), |job| &job.document, Caller::may_modify)?;
        }
        let decision = decide.decide(&job).await.map_err(|error| noted(shared, &job, error))?;
        let written = match decision {
            Decision::Keep => return Ok(Some(Updated { job, is_written: false })),
            Decision::Remove => shared.jobs.remove(job.clone()).await.map(|()| job),
            Decision::Change(Change { patch, ledger, durability, refusal }) => {
                let given_back = ledger.given_back_since(job.ledger()?).cloned();
                let before = Before::of(&job);
                let change = |job: &mut JobRecord| match patch {
                    Some(patch) => job.set(patch, ledger),
                    None => job.set_ledger(ledger),
                };
                let written = shared.jobs.change(job, durability, change).await;
                if let Ok(job) = &written {
                    before.count(shared, job, given_back.as_ref());
                }
                if let Some(attempt) = given_back.filter(|_| written.is_ok()) {
                    shared.released().note_attempt(id, attempt, shared.clock.now());
                }
                if let (Some(refusal), Ok(job)) = (refusal, &written) {
                    return Err(noted(shared, job, refusal));
                }
                written
            }
        };
        match written {
            Ok(job) => return Ok(Some(Updated { job, is_written: true })),
            Err(StoreError::Changed(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Changed(id.to_owned()).into())
}
