//! Why a job waits, for people: joined of its entry's claim, of what executors say that they pass over, and of what the
//! last round of the reconciler could not do.

use jiff::Timestamp;
use slipstream_cimi::State;
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::overview::ledger::Reason;

use super::document::state_of;
use super::record::JobRecord;
use crate::process::clock::Age;
use crate::process::paths;
use crate::server::Shared;
use crate::server::queue::QueueError;

#[cfg(test)]
mod tests;

/// Who has a claim on a job's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Nobody, so that it waits.
    Nobody,
    /// Somebody who works on it, or is about to.
    Somebody,
    /// Nobody who is there: a backup tool has restored the node, which stays.
    WithoutSession,
}

/// What is known of a job that is not final.
struct Facts<'a> {
    id: &'a str,
    action: &'a str,
    state: State,
    entry: Option<&'a str>,
    claim: Claim,
    /// What the reconciler was refused about it.
    refused: Option<String>,
    executors: &'a [RegisteredExecutor],
    now: Timestamp,
}

/// Why this job waits, as far as anybody says; nothing of a job that is final, nor of one that somebody works on.
pub async fn reasons(shared: &Shared, record: &JobRecord) -> Result<Vec<Reason>, QueueError> {
    let state = state_of(&record.document);
    if state.is_final() {
        return Ok(Vec::new());
    }
    let entry = record.entry();
    let claim =
        match entry {
            Some(entry) => match shared.queue.claim_on(entry).await {
                // it is there, and whose it is we may not know
                Err(QueueError::Refused { .. }) => Claim::Somebody,
                claim => claim?.map_or(Claim::Nobody, |claim| {
                    if claim.is_ephemeral { Claim::Somebody } else { Claim::WithoutSession }
                }),
            },
            None => Claim::Nobody,
        };
    let executors = shared.queue.registered(paths::EXECUTORS).await?;
    let executors: Vec<RegisteredExecutor> = executors.into_iter().map(|(_, executor)| executor).collect();
    let refused = {
        let found = shared.last_round();
        let refused = found.refusals.reason(&record.id).or_else(|| found.refusals.reason(entry?));
        refused.map(str::to_owned)
    };
    let action = record.document.get("action").and_then(|action| action.as_str()).unwrap_or_default();
    let (id, executors, now) = (&*record.id, &executors, shared.clock.now());
    Ok(Facts { id, action, state, entry, claim, refused, executors, now }.reasons())
}

impl Facts<'_> {
    fn reasons(&self) -> Vec<Reason> {
        let plain = |reason: String| Reason { reason, executor: None, until: None };
        let mut reasons = Vec::new();
        // whoever has passed over it has nothing to say of a job that another one has
        if self.claim != Claim::Somebody {
            reasons.extend(self.executors.iter().flat_map(|executor| self.passed_over_by(executor)));
        }
        reasons.extend(self.refused.iter().map(|refused| plain(refused.clone())));
        match (self.entry, self.claim) {
            (None, _) => {
                reasons.push(plain("it has no entry in the queue yet, the reconciler will put one".to_owned()));
            }
            (Some(entry), Claim::WithoutSession) => {
                let claim = entry.replacen(paths::ENTRIES, paths::TAKEN, 1);
                reasons.push(plain(format!("its claim has no session: delete the node {claim}")));
            }
            (Some(_), Claim::Nobody) if self.state == State::Queued => {
                let action = self.action;
                let mut able = self.executors.iter().filter(|it| it.actions.iter().any(|it| it == action)).peekable();
                if able.peek().is_none() {
                    reasons.push(plain(format!("no registered executor has the action {action}")));
                } else if able.all(|it| it.draining) {
                    reasons.push(plain(format!("each executor that has the action {action} is draining")));
                }
            }
            (Some(_), _) => {}
        }
        reasons
    }

    fn passed_over_by(&self, executor: &RegisteredExecutor) -> impl Iterator<Item = Reason> {
        let is_of_this = |job: Option<&str>, entry: &str| job == Some(self.id) || Some(entry) == self.entry;
        // what it says stays until it says something else: it looks again once the time has come
        let is_over = |until: Timestamp| matches!(Age::of(until, self.now), Age::Past(_));
        let passed_over = executor.passed_over.iter();
        let passed_over = passed_over.filter(move |it| is_of_this(it.job.as_deref(), &it.entry) && !is_over(it.until));
        passed_over.map(|it| Reason {
            reason: it.reason.clone(),
            executor: Some(executor.name.clone()),
            until: Some(it.until),
        })
    }
}
