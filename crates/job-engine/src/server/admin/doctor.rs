//! `/api/doctor`: whether the engine is well, and what to do. [`diagnose`] is a table over what was found out: each point
//! says how it is, and one that is not well says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use slipstream_cimi::filter::Literal;
use slipstream_cimi::overview::distributors::Distributor;
use slipstream_cimi::overview::doctor::{Diagnosis, Finding, Health};
use slipstream_cimi::overview::executors::Executor;
use slipstream_cimi::overview::queue::LeftAlone;
use slipstream_cimi::overview::work::{ActionWork, Span};
use slipstream_coordination::queue::EntryName;
use slipstream_store::Space;
use tokio::time::Instant;

use super::{distributors, queue, waiting};
use crate::process::clock::{Age, CLOCKS_MAY_DIFFER};
use crate::process::metrics::counters::OTHER;
use crate::process::paths;
use crate::process::registry::RegisteredDistributor;
use crate::server::Shared;
use crate::server::error::ApiError;
use crate::server::http::answer::Answer;
use crate::server::http::request::ApiRequest;
use crate::server::reconcile::{RegisteredReconciler, unheld};

#[cfg(test)]
mod tests;

/// Most names in a text.
const MOST_NAMED: usize = 5;
/// Most findings of one kind.
const MOST_ALIKE: usize = 10;
/// The longest time between rounds of the reconciler, with a round over a million jobs in between.
const ROUNDS: SignedDuration = SignedDuration::from_mins(5);
/// So far apart two clocks are without being kept right.
const CLOCKS_DRIFT: SignedDuration = SignedDuration::from_secs(30);
/// With less free space than this a person should do something, or it soon is too late.
const LITTLE: u64 = 1 << 30;
const TOO_LITTLE: u64 = 64 << 20;

/// What was found out.
struct Facts {
    version: &'static str,
    /// Why the store does not take a write, if it does not.
    store: Result<(), String>,
    /// How much space it takes and has, if it knows.
    space: Option<Space>,
    now: Timestamp,
    /// How many jobs of each action wait.
    waiting: BTreeMap<String, u64>,
    /// What was done in the last 24 hours.
    today: Vec<ActionWork>,
    /// What the coordinator says, or why it says nothing.
    coordinator: Result<Coordinated, String>,
}

struct Coordinated {
    /// How long an answer took.
    round_trip: Duration,
    /// What the coordinator calls its version, if it says it.
    version: Option<String>,
    /// How far the coordinator's clock is ahead of this server's; none where it has none.
    ahead: Option<SignedDuration>,
    /// The elected reconciler, if there is one.
    reconciler: Option<RegisteredReconciler>,
    /// RUNNING jobs that nobody holds, of those that were not written to just now.
    unheld: Vec<String>,
    executors: Vec<Executor>,
    has_foreign: bool,
    distributors: Vec<Distributor>,
    /// Name and version of each process that stands for a distributor.
    candidates: Vec<(String, String)>,
}

/// Shows administrators whether the engine is well.
pub async fn read(shared: &Shared, request: &ApiRequest) -> Result<Answer, ApiError> {
    request.caller.require_administrator()?;
    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        store: match shared.health.ready().await {
            (StatusCode::OK, _) => Ok(()),
            (_, reasons) => Err(reasons.trim_end().replace('\n', "; ")),
        },
        space: shared.store.space().await,
        now: shared.clock.now(),
        waiting: waiting::by_action(shared).await.unwrap_or_default(),
        today: shared.history.within(Span::Day).await.map(|day| day.actions()).unwrap_or_default(),
        coordinator: coordinated(shared).await.map_err(|error| error.cause().to_owned()),
    };
    let (time, version) = (facts.now, facts.version.to_owned());
    let findings = diagnose(&facts);
    Ok(super::View::answer(
        slipstream_cimi::overview::doctor::PLACE,
        "http://sixsq.com/slipstream/1/Diagnosis",
        Diagnosis { time, version, findings },
    ))
}

async fn coordinated(shared: &Shared) -> Result<Coordinated, ApiError> {
    let asked = Instant::now();
    let taken = shared.queue.names_in(paths::TAKEN).await?;
    let round_trip = asked.elapsed();
    let before = shared.clock.now();
    // who may not write a node there is not told the time
    let time = shared.queue.time().await.ok().flatten().and_then(|time| Timestamp::from_millisecond(time).ok());
    // it was written between the two
    let here = before + (shared.clock.now().duration_since(before) / 2);
    let taken: BTreeSet<EntryName> = taken.iter().filter_map(|name| EntryName::parse(name)).collect();
    let snapshot = shared.snapshots.get(&shared.queue, &shared.clock).await?;
    Ok(Coordinated {
        round_trip,
        version: shared.queue.version().await,
        ahead: time.map(|time| time.duration_since(here)),
        reconciler: queue::reconciler(shared).await?,
        unheld: unheld(shared, &taken).await?.into_iter().map(|job| job.job).collect(),
        executors: snapshot.executors.clone(),
        has_foreign: !snapshot.foreign.is_empty(),
        distributors: distributors::distributors(shared).await?.distributors,
        candidates: candidates(shared).await?,
    })
}

async fn candidates(shared: &Shared) -> Result<Vec<(String, String)>, ApiError> {
    let registered: Vec<(String, RegisteredDistributor)> = shared.queue.registered(paths::DISTRIBUTORS).await?;
    Ok(registered.into_iter().map(|(_, it)| (it.candidate, it.process.version)).collect())
}

/// The table.
fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![match &facts.store {
        Ok(()) => well("store", "it takes writes"),
        Err(reason) => ill("store", reason.clone(), "look into the server's log: it names the file and the reason"),
    }];
    findings.extend(facts.space.as_ref().map(space));
    findings.extend(failing(&facts.today));
    let seen = match &facts.coordinator {
        Ok(seen) => seen,
        Err(reason) => {
            let hint = "jobs are stored, and queued once it is back: see to the ensemble";
            findings.push(ill("coordinator", format!("it cannot be asked: {reason}"), hint));
            return findings;
        }
    };
    findings.push(coordinator(seen));
    findings.extend(seen.ahead.map(clock));
    findings.extend(reconciler(seen.reconciler.as_ref(), facts));
    findings.push(running(&seen.unheld));
    findings.extend(executors(seen, facts.version));
    findings.extend(actions(seen, &facts.waiting));
    findings.extend(seen.distributors.iter().map(distributor));
    findings.extend(other_distributors(&seen.candidates, facts.version));
    findings
}

fn coordinator(seen: &Coordinated) -> Finding {
    let version = match (&seen.version, seen.ahead) {
        (Some(version), _) => format!(", ZooKeeper {version}"),
        // it runs in this process
        (None, None) => String::new(),
        (None, Some(_)) => ", its version is not known".to_owned(),
    };
    well("coordinator", format!("it answers in {} ms{version}", seen.round_trip.as_millis()))
}

fn clock(ahead: SignedDuration) -> Finding {
    const ABOUT: &str = "clock";
    let apart = ahead.abs();
    let seconds = apart.as_secs();
    let which = if ahead.is_negative() { "behind" } else { "ahead of" };
    let text = format!("that of the coordinator is {seconds} s {which} this server's");
    let hint = "have both keep their clocks right, for instance by NTP: schedules and logins go by them";
    match apart {
        apart if apart > CLOCKS_MAY_DIFFER => ill(ABOUT, text, hint),
        apart if apart > CLOCKS_DRIFT => doubtful(ABOUT, text, hint),
        _ => well(ABOUT, "it agrees with the coordinator's"),
    }
}

fn space(space: &Space) -> Finding {
    const ABOUT: &str = "space";
    let text = format!("the store takes {}, {} are free", size(space.taken), size(space.free));
    match space.free {
        ..TOO_LITTLE => ill(ABOUT, text, "free some: when none is left no job is added"),
        free if free < LITTLE => doubtful(ABOUT, text, "free some, or delete old jobs, before none is left"),
        free if free < space.taken => {
            doubtful(ABOUT, text, "free some before the next update: it may have to copy the store")
        }
        _ => well(ABOUT, text),
    }
}

/// So many bytes, for people.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.into_iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, name)| format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    )
}

fn reconciler(reconciler: Option<&RegisteredReconciler>, facts: &Facts) -> Vec<Finding> {
    const ABOUT: &str = "reconciler";
    let Some(RegisteredReconciler { left_alone, process, begun, round, .. }) = reconciler else {
        let hint = "start a server: without a reconciler, lost entries are not put again";
        return vec![ill(ABOUT, "none is at work".to_owned(), hint)];
    };
    let LeftAlone { entries, claims, without_session, refused } = left_alone;
    let mut findings = Vec::new();
    // it runs by the clock of its own process
    if let Age::Past(age) = Age::of(round.unwrap_or(*begun), facts.now)
        && age > ROUNDS
    {
        let text = format!("its last round ended {} min ago", age.as_mins());
        let hint = format!("look into the log of the server {} on {}", process.id, process.host);
        findings.push(doubtful(ABOUT, text, &hint));
    }
    if process.version != facts.version {
        let text = format!("its server is of version {}, this one of {}", process.version, facts.version);
        findings.push(doubtful(ABOUT, text, "update both to the same version"));
    }
    if without_session.count > 0 {
        let text = format!("claims without a session: {}", named(without_session.count, &without_session.names));
        findings.push(ill(ABOUT, text, "their jobs wait for ever: delete these nodes"));
    }
    for refused in refused {
        let names = named(refused.sample.count, &refused.sample.names);
        let text = format!("refused, {}: {names}", refused.reason);
        findings.push(doubtful(ABOUT, text, "correct the access to these nodes, or the documents"));
    }
    if entries.count + claims.count > 0 {
        let text = format!("{} entries and {} claims belong to no job of this store", entries.count, claims.count);
        let hint = "`slipstream-job queue` names them: another store may use the same folder";
        findings.push(doubtful(ABOUT, text, hint));
    }
    if findings.is_empty() {
        findings.push(well(ABOUT, "it is at work, and has put right all that it found"));
    }
    findings
}

fn running(unheld: &[String]) -> Finding {
    const ABOUT: &str = "running jobs";
    if unheld.is_empty() {
        return well(ABOUT, "somebody holds each of them");
    }
    let text = format!("RUNNING, and nobody holds them: {}", named(unheld.len(), unheld));
    doubtful(ABOUT, text, "the next free slot takes them: `slipstream-job jobs explain ID` says whether there is one")
}

fn executors(seen: &Coordinated, version: &str) -> Vec<Finding> {
    const ABOUT: &str = "executors";
    let of = |is_it: &dyn Fn(&Executor) -> bool| -> Vec<String> {
        seen.executors.iter().filter(|it| is_it(it)).map(|it| it.registered.name.clone()).collect()
    };
    let mut findings = Vec::new();
    if seen.executors.is_empty() && !seen.has_foreign {
        findings.push(doubtful(ABOUT, "none is registered".to_owned(), "start one: nothing runs meanwhile"));
    }
    let others = of(&|it| it.registered.process.version != version);
    if !others.is_empty() {
        let text = format!("of another version than this server ({version}): {}", named(others.len(), &others));
        findings.push(doubtful(ABOUT, text, "update them, or the server"));
    }
    let broken = of(&|it| !it.registered.loaded.failed.is_empty());
    if !broken.is_empty() {
        let text = format!("actions failed to load: {}", named(broken.len(), &broken));
        findings.push(doubtful(ABOUT, text, "`slipstream-job actions` says which and why"));
    }
    if findings.is_empty() {
        let slots: usize = seen.executors.iter().map(|it| it.registered.slots).sum();
        findings.push(well(ABOUT, format!("{} with {slots} slots", seen.executors.len())));
    }
    findings
}

fn actions(seen: &Coordinated, waiting: &BTreeMap<String, u64>) -> Vec<Finding> {
    let has_it = |action: &str| {
        let mut willing = seen.executors.iter().filter(|it| !it.registered.draining);
        willing.any(|it| it.registered.actions.iter().any(|it| it == action))
    };
    let without = waiting.iter().filter(|(action, _)| !has_it(action));
    let finding = |(action, count): (&String, &u64)| {
        let text = format!("{count} jobs of the action {action} wait, and no registered executor takes them");
        let hint = "start an executor that has it, or correct what failed to load";
        if seen.has_foreign { doubtful("actions", text, hint) } else { ill("actions", text, hint) }
    };
    let (shown, more): (Vec<_>, Vec<_>) = without.enumerate().partition(|(place, _)| *place < MOST_ALIKE);
    let mut findings: Vec<Finding> = shown.into_iter().map(|(_, it)| finding(it)).collect();
    if !more.is_empty() {
        let names: Vec<String> = more.iter().map(|(_, (action, _))| (*action).clone()).collect();
        let text =
            format!("no registered executor takes those of these actions either: {}", named(names.len(), &names));
        findings.push(doubtful("actions", text, "`slipstream-job queue` says how many jobs wait of each"));
    }
    findings
}

/// Actions of which nothing succeeded lately.
fn failing(today: &[ActionWork]) -> Vec<Finding> {
    let all_failed = today.iter().filter(|it| it.failed > 0 && it.failed == it.ended && it.name != OTHER);
    let finding = |it: &ActionWork| {
        let name = &it.name;
        let text = match it.failed {
            1 => format!("the only job of the action {name} that ended in the last 24 hours failed"),
            count => format!("all {count} jobs of the action {name} that ended in the last 24 hours failed"),
        };
        let filter = format!("state='FAILED' and action={}", Literal::Text(name.clone()));
        doubtful("actions", text, &format!("`slipstream-job jobs --filter \"{filter}\"` shows them and why"))
    };
    all_failed.take(MOST_ALIKE).map(finding).collect()
}

fn other_distributors(candidates: &[(String, String)], version: &str) -> Option<Finding> {
    let others = candidates.iter().filter(|(_, other)| other != version);
    let others: Vec<String> = others.map(|(name, other)| format!("{name} ({other})")).collect();
    let text = format!("of another version than this server ({version}): {}", named(others.len(), &others));
    (!others.is_empty()).then(|| doubtful("distributors", text, "update them, or the server"))
}

fn distributor(distributor: &Distributor) -> Finding {
    let about = format!("distributor {}", distributor.name);
    let hint = "look into the distributor's log";
    match (&distributor.problem, &distributor.leader) {
        (Some(problem), None) => ill(&about, problem.clone(), hint),
        (Some(problem), Some(_)) => doubtful(&about, problem.clone(), hint),
        (None, None) => ill(&about, "nobody leads: it adds no jobs".to_owned(), hint),
        (None, Some(leader)) => well(&about, format!("{leader} leads")),
    }
}

/// How many, and the first of them.
fn named(count: usize, names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match count.saturating_sub(names.len().min(MOST_NAMED)) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn well(about: &str, text: impl Into<String>) -> Finding {
    Finding { about: about.to_owned(), health: Health::Well, text: text.into(), hint: None }
}

fn doubtful(about: &str, text: String, hint: &str) -> Finding {
    Finding { about: about.to_owned(), health: Health::Doubtful, text, hint: Some(hint.to_owned()) }
}

fn ill(about: &str, text: String, hint: &str) -> Finding {
    Finding { health: Health::Ill, ..doubtful(about, text, hint) }
}
