//! What has to be true of a site's jobs once a fault is over.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipstream_cimi::Document;
use slipstream_cimi::overview::ledger::{Attempt, Ledger, Outcome, RefusedWrite};
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::paths;
use tokio::time::Instant;

use crate::impair::AHEAD;
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
    /// No action is run more often than there are attempts.
    EachRunIsAnAttempt,
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

    fn created(&self) -> Option<Timestamp> {
        text(&self.document, "created").parse().ok().map(true_time)
    }

    /// Attempts before the last one, oldest first.
    fn extra(&self) -> &[Attempt] {
        self.ledger.attempts.split_last().map_or(&[], |(_, extra)| extra)
    }
}

/// The jobs once all are final, or when the patience is at its end.
pub async fn settled(site: &Site, ids: &[String]) -> Vec<Ended> {
    let deadline = Instant::now() + LIMIT;
    let mut jobs = Vec::new();
    for id in ids {
        let document = within(deadline.saturating_duration_since(Instant::now()), async || {
            let document = site.client.get(id).await.ok()?;
            ["SUCCESS", "FAILED", "STOPPED"].contains(&text(&document, "state")).then_some(document)
        })
        .await;
        // of one that is not final by now it is told what it is
        let document = match document {
            Some(document) => document,
            None => site.client.get(id).await.unwrap_or_default(),
        };
        jobs.push(Ended { id: id.clone(), document, ledger: site.ledger(id).await.unwrap_or_default() });
    }
    jobs
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
        let begun = records.iter().filter(|record| matches!(record.how, How::Begun { .. })).count();
        if begun > job.ledger.attempts.len() {
            let how = format!("{id} was run {begun} times in {} attempts", job.ledger.attempts.len());
            violations.push((Promise::EachRunIsAnAttempt, how));
        }
        let extra = unexplained(site, plan, injected, job);
        violations.extend(extra.into_iter().map(|how| (Promise::AttemptsExplained, format!("{id}: {how}"))));
        let late = |write: &&RefusedWrite| Some(write.lease) >= job.ledger.lease;
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
        let hit = plan.may_end_sessions() && injected.victim.as_ref().is_none_or(|victim| *victim == attempt.executor);
        let given_back = plan.kind.lets_give_back() && attempt.outcome == Some(Outcome::Released);
        let lost = attempt.outcome == Some(Outcome::Lost);
        let seen = next.begun + SEEN_AFTER;
        let ended = plan.kind == Kind::ZooKeeperWiped || site.sessions.ended(&attempt.executor, attempt.begun, seen);
        // of one whose begin was never answered the server hears as it is given back
        let begun_before = attempt.begun <= injected.until || given_back && attempt.ended == Some(attempt.begun);
        (given_back || hit && lost && ended) && begun_before
    };
    pairs.filter(|pair| !is_explained(pair)).map(|(attempt, next)| format!("{attempt:?}, then {next:?}")).collect()
}

/// Whether the queue becomes empty, between two rounds of the distributors.
pub async fn queue(site: &Site) -> Option<(Promise, String)> {
    let mut left = (Vec::new(), Vec::new());
    let emptied = within(LIMIT, async || {
        left = (site.names(paths::ENTRIES).await?, site.names(paths::TAKEN).await?);
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

/// The longest of three: how long it took from the end of the fault until a job ended; from the end of the fault until a
/// job was begun that waited then; from the beginning of the fault until a job was begun again that had lost its attempt.
fn recovery(injected: &Injected, jobs: &[Ended]) -> Duration {
    let ends = jobs.iter().filter_map(|job| Some(true_time(job.ledger.attempts.last()?.ended?)));
    let next_end = ends.filter(|end| *end >= injected.until).min().map(|end| (injected.until, end));
    let waited = jobs.iter().filter(|job| job.created().is_some_and(|created| created <= injected.until));
    let begun = waited.filter_map(|job| Some((injected.until, true_time(job.ledger.attempts.first()?.begun))));
    let again = jobs.iter().flat_map(|job| {
        let attempts = &job.ledger.attempts;
        let lost = attempts.iter().zip(attempts.iter().skip(1));
        lost.filter(|(before, _)| before.begun <= injected.until)
            .map(|(_, next)| (injected.from, true_time(next.begun)))
    });
    let length =
        |(from, until): (Timestamp, Timestamp)| Duration::try_from(until.duration_since(from)).unwrap_or_default();
    next_end.into_iter().chain(begun).chain(again).map(length).max().unwrap_or_default()
}

/// When it was, if the server that wrote this may have had a clock that was ahead.
fn true_time(told: Timestamp) -> Timestamp {
    if told > Clock::system().now() { told - AHEAD } else { told }
}

/// How many jobs ended when.
#[derive(Debug)]
pub struct Worked {
    /// Before the fault's end.
    pub until: usize,
    /// Of these, those that were begun after its beginning.
    pub during: usize,
    /// After its end.
    pub after: usize,
}

pub fn worked(injected: &Injected, jobs: &[Ended]) -> Worked {
    let last =
        |job: &Ended| job.ledger.attempts.last().and_then(|it| Some((true_time(it.begun), true_time(it.ended?))));
    let worked: Vec<_> = jobs.iter().filter_map(last).collect();
    let after = worked.iter().filter(|(_, ended)| *ended >= injected.until).count();
    let during = worked.iter().filter(|(begun, ended)| *begun >= injected.from && *ended < injected.until).count();
    Worked { until: worked.len() - after, during, after }
}
