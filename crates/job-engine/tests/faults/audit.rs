//! What has to be true of a site's jobs once a fault is over.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use slipstream_cimi::Document;
use slipstream_job_engine::nodes;
use slipstream_job_engine::server::ledger::{Attempt, Ledger, Outcome};

use crate::inject::Injected;
use crate::plan::{Kind, Plan};
use crate::records::{How, Record};
use crate::site::Site;
use crate::support::{LIMIT, text, within};

/// What a seed asserts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// Every job whose add was acknowledged becomes SUCCESS.
    EndsFinal,
    /// One attempt ends a job, the last one, which ran to its end and whose word is in the document.
    OneWinner,
    /// Every attempt but the last was lost with its session, which the fault may have ended.
    AttemptsExplained,
    /// What was refused came under a lower lease than the winner's, and something was refused where that must be.
    LateWritesRefused,
    /// Nobody adds after somebody else was elected.
    OneLeader,
    /// No round is missed.
    NoRoundMissed,
    /// No round is doubled.
    NothingDoubled,
    /// Nothing is left in the queue.
    QueueEmpty,
    /// The fault happened.
    FaultInjected,
    /// Work was done in spite of it.
    WorkDone,
}

/// How soon a session that has ended is seen to have.
const SEEN_AFTER: SignedDuration = SignedDuration::from_secs(3);

/// A job at its end.
pub struct Ended {
    pub id: String,
    pub document: Document,
    pub ledger: Ledger,
}

impl Ended {
    fn state(&self) -> &str {
        text(&self.document, "state")
    }

    /// Attempts that the server keeps, oldest first.
    fn extra(&self) -> &[Attempt] {
        self.ledger.attempts.split_last().map_or(&[], |(_, extra)| extra)
    }
}

/// The jobs once all are final, or when the patience is at its end.
pub async fn settled(site: &Site, ids: &[String]) -> Vec<Ended> {
    let is_final = |document: &Document| ["SUCCESS", "FAILED", "STOPPED"].contains(&text(document, "state"));
    let all = || async { join_all(ids.iter().map(|id| site.client.get(id))).await };
    // whether they are is looked at below
    let waited = within(LIMIT, async || {
        let read = all().await;
        read.iter().all(|job| job.as_ref().is_ok_and(is_final)).then_some(())
    })
    .await;
    if waited.is_none() {
        println!("not all jobs became final within {LIMIT:?}");
    }
    join_all(ids.iter().map(async |id| {
        let document = site.client.get(id).await.unwrap_or_default();
        let ledger = site.client.operation(id, "ledger").await.unwrap_or_default();
        let ledger = serde_json::from_value(Value::Object(ledger)).unwrap_or_default();
        Ended { id: id.clone(), document, ledger }
    }))
    .await
}

/// What is wrong with these jobs.
pub fn jobs(site: &Site, plan: &Plan, injected: &Injected, jobs: &[Ended]) -> Vec<(Promise, String)> {
    let mut violations = Vec::new();
    let mut ran: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in site.records() {
        ran.entry(record.job.clone()).or_default().push(record);
    }
    for job in jobs {
        let id = &job.id;
        if job.state() != "SUCCESS" {
            let how = format!("{id} is `{}`: {}", job.state(), text(&job.document, "statusMessage"));
            violations.push((Promise::EndsFinal, how));
            continue;
        }
        let records = ran.get(id).map_or(&[][..], Vec::as_slice);
        violations.extend(winner(job, records).map(|how| (Promise::OneWinner, format!("{id}: {how}"))));
        let extra = unexplained(site, plan, injected, job);
        violations.extend(extra.into_iter().map(|how| (Promise::AttemptsExplained, format!("{id}: {how}"))));
        let late = |write: &&slipstream_job_engine::server::ledger::RefusedWrite| Some(write.lease) >= job.ledger.lease;
        if let Some(write) = job.ledger.refused.iter().find(late) {
            violations.push((Promise::LateWritesRefused, format!("{id}: refused though not late: {write:?}")));
        }
    }
    violations
}

/// What is wrong with how a job was ended.
fn winner(job: &Ended, records: &[Record]) -> Option<String> {
    let finished = |attempt: &Attempt| attempt.outcome == Some(Outcome::Finished);
    let Some(last) = job.ledger.attempts.last().filter(|last| finished(last)) else {
        return Some(format!("the last attempt did not end it: {:?}", job.ledger.attempts));
    };
    if job.extra().iter().any(finished) {
        return Some(format!("several attempts ended it: {:?}", job.ledger.attempts));
    }
    let done = records.iter().any(|record| record.executor == last.executor && record.how == How::Done);
    if !done {
        return Some(format!("{} did not run it to its end: {records:?}", last.executor));
    }
    let word = format!("done on {}", last.executor);
    let said = text(&job.document, "statusMessage");
    (said != word).then(|| format!("it says `{said}` and not `{word}`"))
}

/// Attempts that nothing explains.
fn unexplained(site: &Site, plan: &Plan, injected: &Injected, job: &Ended) -> Vec<String> {
    let attempts = &job.ledger.attempts;
    let pairs = attempts.iter().zip(attempts.iter().skip(1));
    let is_explained = |(attempt, next): &(&Attempt, &Attempt)| {
        let hit = plan.kind.takes_claims() && injected.victim.as_ref().is_none_or(|victim| *victim == attempt.executor);
        let lost = attempt.outcome == Some(Outcome::Lost);
        let seen = next.begun + SEEN_AFTER;
        let ended = plan.kind == Kind::ZooKeeperWiped || site.sessions.ended(&attempt.executor, attempt.begun, seen);
        hit && lost && ended && attempt.begun <= injected.until
    };
    pairs.filter(|pair| !is_explained(pair)).map(|(attempt, next)| format!("{attempt:?}, then {next:?}")).collect()
}

/// Whether the queue becomes empty, between two rounds of the distributors.
pub async fn queue(site: &Site) -> Option<(Promise, String)> {
    let mut left = (Vec::new(), Vec::new());
    let emptied = within(LIMIT, async || {
        left = (site.names(nodes::ENTRIES).await?, site.names(nodes::TAKEN).await?);
        (left.0.is_empty() && left.1.is_empty()).then_some(())
    })
    .await;
    emptied.is_none().then(|| (Promise::QueueEmpty, format!("entries {:?}, claims {:?}", left.0, left.1)))
}

/// Figures of a seed.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub injected: u64,
    pub done: u64,
    pub lost: u64,
    pub extra: u64,
    pub refused: u64,
    /// See `docs/faults.md`.
    pub recovery: Duration,
}

pub fn figures(injected: &Injected, jobs: &[Ended]) -> Figures {
    let done = jobs.iter().filter(|job| job.state() == "SUCCESS").count() as u64;
    Figures {
        injected: injected.times,
        done,
        lost: jobs.len() as u64 - done,
        extra: jobs.iter().map(|job| job.extra().len() as u64).sum(),
        refused: jobs.iter().map(|job| job.ledger.refused_total).sum(),
        recovery: recovery(injected, jobs),
    }
}

/// The longest of two: how long after the end of the fault it took until a job ended, and how long after its beginning
/// it took until a job that had lost its attempt was begun again; what the fault was still on for does not count.
fn recovery(injected: &Injected, jobs: &[Ended]) -> Duration {
    let ends = jobs.iter().filter_map(|job| job.ledger.attempts.last()?.ended);
    let next_end = ends.filter(|end| *end >= injected.until).min();
    let begun_again = jobs.iter().flat_map(|job| {
        let attempts = &job.ledger.attempts;
        let lost = attempts.iter().zip(attempts.iter().skip(1));
        lost.filter(|(before, _)| before.begun <= injected.until).map(|(_, next)| next.begun)
    });
    let since = |time: Timestamp, from| Duration::try_from(time.duration_since(from)).unwrap_or_default();
    let again = begun_again.map(|begun| since(begun, injected.from));
    next_end.map(|end| since(end, injected.until)).into_iter().chain(again).max().unwrap_or_default()
}

/// How many jobs ended before and after the fault's end.
pub fn worked(injected: &Injected, jobs: &[Ended]) -> (usize, usize) {
    let ends: Vec<Timestamp> = jobs.iter().filter_map(|job| job.ledger.attempts.last()?.ended).collect();
    let after = ends.iter().filter(|end| **end >= injected.until).count();
    (ends.len() - after, after)
}
