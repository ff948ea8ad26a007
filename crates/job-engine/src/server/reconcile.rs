//! The reconciler: compares what is stored with what is queued and mends the difference (decision 2).
//!
//! One idempotent round, started by a timer and by a nudge. A round lists the entries afresh, walks the jobs that are
//! not final without reading their documents, and puts an entry for each that has none; entries of final jobs are
//! consumed unless somebody holds them. What nobody here has made is left alone and reported: entries of ids that this
//! store never knew, and claims without an entry. There are no retries inside a round: the next round is the retry.
//!
//! Several servers elect the one that does it. Nothing depends on that: two rounds at the same time can put two entries
//! for one job, of which the recorded one counts and whoever takes the other is told so and consumes it.

mod listing;
mod measure;
mod mend;
mod refusals;
pub(crate) mod restore;
mod round;
mod unheld;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
pub(super) use round::LastRound;
pub use round::{Mended, round};
use serde::{Deserialize, Serialize};
use slipstream_action::with_causes;
use slipstream_cimi::overview::executors::Process;
use slipstream_cimi::overview::queue::{LeftAlone, Refused};
use slipstream_coordination::retry::Complaint;
use slipstream_coordination::{Election, Embedded};
use slipstream_store::{IndexRow, Store, StoreError};
use tracing::Instrument;
#[cfg(test)]
pub(super) use unheld::OldestUnheld;
pub(super) use unheld::{Unheld, unheld};

use super::Shared;
use super::error::ApiError;
use super::jobs::bulk;
use super::jobs::document::UNTOUCHED;
use super::queue::QueueError;
use super::queue::generation::GenerationError;
use crate::process::clock::Age;
use crate::process::paths;
use crate::process::registry::{Registration, this_process};
use crate::process::stop::Stop;

/// Time between rounds that nobody asked for.
const PERIOD: Duration = Duration::from_secs(30);
/// Shortest time between rounds, however often somebody asks.
const REST: Duration = Duration::from_secs(1);
/// Time between removals of expired sessions and of old bulk operations.
const PURGE_PERIOD: Duration = Duration::from_mins(10);
/// How often a reconciler tells that it ends rounds.
const TOLD: SignedDuration = SignedDuration::from_mins(1);

/// The reconciler that is at work, as it says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredReconciler {
    /// Its identifier in the election.
    pub candidate: String,
    /// Where it runs.
    pub process: Process,
    /// Since when.
    pub begun: Timestamp,
    /// When its last round ended, unless it has ended none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<Timestamp>,
    /// What it found in its last round and leaves alone.
    pub left_alone: LeftAlone,
    /// RUNNING jobs that nobody held then.
    #[serde(default)]
    pub unheld: Unheld,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The store.
    #[error("cannot read the jobs")]
    Store(#[from] StoreError),
    /// The coordinator.
    #[error("cannot read the queue")]
    Queue(#[from] QueueError),
    /// The generation.
    #[error(transparent)]
    Generation(#[from] GenerationError),
}

impl From<ReconcileError> for ApiError {
    fn from(error: ReconcileError) -> Self {
        match error {
            ReconcileError::Store(error) => error.into(),
            ReconcileError::Queue(error) => error.into(),
            ReconcileError::Generation(error) => error.into(),
        }
    }
}

/// Why the queue could not be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The jobs that are to be queued again cannot be read.
    #[error("cannot read the waiting jobs")]
    Store(#[from] StoreError),
    /// They cannot be queued.
    #[error("cannot rebuild the queue")]
    Queue(#[from] slipstream_coordination::Error),
}

/// Runs rounds while elected, until `stop`.
pub async fn run(shared: &Shared, name: &str, stop: Stop) {
    let mut complaint = Complaint::default();
    while !stop.is_asked() {
        let ended = tokio::select! {
            biased;
            () = stop.asked() => return,
            ended = term(shared, name) => ended,
        };
        match ended {
            Err(error) if complaint.is_new(with_causes(&error)) => {
                tracing::warn!(error = with_causes(&error), "reconciler cannot join the election");
            }
            Err(_) => {}
            Ok(()) => {
                complaint.settle();
            }
        }
        stop.pause(REST).await;
    }
}

/// Waits to be elected, and runs rounds until that is over.
async fn term(shared: &Shared, name: &str) -> Result<(), slipstream_coordination::Error> {
    let (session, node) = shared.queue.connected().await;
    let leadership = Election::new(session.clone(), paths::RECONCILER, name).passing_over_strays().lead().await?;
    let (candidate, process, begun) = (name.to_owned(), this_process(), shared.clock.now());
    let registered = RegisteredReconciler {
        candidate,
        process,
        begun,
        round: None,
        left_alone: LeftAlone::default(),
        unheld: Unheld::default(),
    };
    let registration = Registration::begin(session, paths::RECONCILED, &node, registered);
    let rounds = async {
        let mut before = LeftAlone::default();
        loop {
            let mended = one_round(shared).instrument(tracing::info_span!("round")).await;
            // what is more than a round mends does not wait for the next one
            let goes_on = mended.is_some_and(|mended| mended.is_cut && mended.put + mended.consumed > 0);
            if mended.is_some() {
                let (left_alone, unheld) = {
                    let last = shared.last_round();
                    (last.left_alone.clone(), last.unheld.clone())
                };
                log_changes(&left_alone, &before);
                before = left_alone.clone();
                let ended = shared.clock.now();
                registration.update(|registered| {
                    (registered.left_alone, registered.unheld) = (left_alone, unheld);
                    // told once a minute: nobody else needs it to the second
                    let is_told = |round| Age::of(round, ended).is_within(TOLD);
                    registered.round = registered.round.filter(|round| is_told(*round)).or(Some(ended));
                });
            }
            tokio::time::sleep(REST).await;
            if goes_on {
                continue;
            }
            tokio::select! {
                biased;
                // What is left to this reconciler was written just now: a round at once would leave it alone.
                () = shared.nudge.notified() => tokio::time::sleep(UNTOUCHED.unsigned_abs()).await,
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = leadership.lost() => {}
        () = rounds => {}
        () = purge(shared) => {}
        () = bulk::run(shared) => {}
    }
    // another server's reconciler will know
    shared.metrics.waits(&[]);
    Ok(())
}

/// None if it was cut short, which is said once for each reason.
async fn one_round(shared: &Shared) -> Option<Mended> {
    match round(shared, UNTOUCHED).await {
        Ok(mended) => {
            if mended.put + mended.consumed > 0 {
                tracing::info!(mended.put, mended.consumed, "queue reconciled with the jobs");
            }
            shared.metrics.mended(mended.put, mended.consumed);
            Some(mended)
        }
        Err(error) => {
            tracing::warn!(error = with_causes(&error), "round of the reconciler cut short");
            None
        }
    }
}

/// Logs what is left alone where that is not what the round before did.
fn log_changes(left_alone: &LeftAlone, before: &LeftAlone) {
    let LeftAlone { entries, claims, without_session, refused } = left_alone;
    if *entries != before.entries {
        let names = entries.names.join(" ");
        tracing::warn!(entries.count, names, "ignoring entries of jobs unknown to this store");
    }
    if *claims != before.claims {
        let names = claims.names.join(" ");
        tracing::warn!(claims.count, names, "ignoring claims without an entry");
    }
    if *without_session != before.without_session {
        let (count, names) = (without_session.count, without_session.names.join(" "));
        tracing::error!(count, names, "claims without a session: their jobs wait until these nodes are deleted");
    }
    for Refused { sample, reason } in refused.iter().filter(|refused| !before.refused.contains(refused)) {
        tracing::warn!(
            count = sample.count,
            names = sample.names.join(" "),
            reason,
            "ignoring what cannot be read or changed"
        );
    }
}

async fn purge(shared: &Shared) {
    loop {
        if let Err(error) = shared.sessions.purge(&*shared.store, shared.clock.now()).await {
            tracing::warn!(error = with_causes(&error), "expired sessions not removed");
        }
        bulk::purge(shared).await;
        tokio::time::sleep(PURGE_PERIOD).await;
    }
}

/// Tells a coordinator that forgets everything, at its start, which entries are recorded for jobs that are not final.
/// Answers how many of these have none recorded, or one that cannot be theirs: a round gives them one.
pub async fn restore(store: &dyn Store, coordinator: &Embedded) -> Result<usize, RestoreError> {
    let mut without = 0;
    let mut after: Option<String> = None;
    loop {
        let page = store.index_rows(after.as_deref(), slipstream_store::PAGE).await?;
        let Some(last) = page.last() else { return Ok(without) };
        after = Some(last.id.clone());
        let jobs = page.len();
        let entry = |job: IndexRow| {
            let path = job.entry.filter(|path| paths::is_entry(path))?;
            let (_, name) = path.rsplit_once('/')?;
            Some((name.to_owned(), job.id.into_bytes()))
        };
        let entries: Vec<_> = page.into_iter().filter_map(entry).collect();
        without += jobs - entries.len();
        without += coordinator.restore(paths::ENTRIES, entries)?;
    }
}
