//! [`run`]: one seed on a site, from the first job to the last.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipstream_job_engine::internals::process::Clock;

use crate::audit::{self, Figures, Promise, Worked};
use crate::inject::{Injected, inject};
use crate::leaders;
use crate::load::{Load, step};
use crate::plan::{DISTRIBUTORS, EXECUTORS, Kind, Plan, SESSION, THREADS};
use crate::rounds;
use crate::site::{Options, Site};
use crate::support::{LIMIT, lasts, within};

/// How long jobs are added after the fault.
const AFTER: Duration = Duration::from_millis(1500);
/// Least jobs that end until a fault is over, during one that lets work go on, and after it.
const LEAST: Worked = Worked { until: 5, during: 5, after: 10 };
/// Rounds that are so young may still be under way.
const YOUNG: SignedDuration = SignedDuration::from_secs(3);

/// How a seed went.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub plan: Plan,
    pub figures: Figures,
    pub violations: Vec<(Promise, String)>,
}

/// A site for seeds of this kind.
pub async fn site_for(members: usize) -> Site {
    Site::start(Options {
        members: Some(members),
        executors: EXECUTORS,
        threads: THREADS,
        distributors: DISTRIBUTORS,
        session_timeout: SESSION,
        ..Options::default()
    })
    .await
}

/// Runs a seed.
pub async fn run(site: &mut Site, seed: u64) -> Outcome {
    let plan = Plan::new(seed);
    let load = Load::begin(&site.client, seed, plan.period());
    lasts(plan.before).await;
    let mut anchors = Vec::new();
    let (count, kinds) = plan.anchored();
    for number in 0..plan.anchors().map_or(0, |_| count) {
        let mut job = step(kinds[number % 2], plan.anchors().unwrap_or_default());
        // before what is added meanwhile
        job.insert("priority".to_owned(), 1.into());
        anchors.push(site.client.add("job", &job, None).await.expect("nothing is amiss yet"));
    }
    let injected = inject(site, &plan, &anchors).await;
    lasts(AFTER).await;
    let mut ids = load.end().await;
    ids.extend(anchors);
    ids.extend(injected.jobs.iter().cloned());
    site.until_all_work().await;
    let jobs = audit::settled(site, &ids).await;
    let mut violations = audit::jobs(site, &plan, &injected, &jobs);
    if injected.times == 0 {
        violations.push((Promise::FaultInjected, format!("{:?} did nothing", plan.kind)));
    }
    let worked = audit::worked(&injected, &jobs);
    let is_idle = plan.kind.lets_work_go_on() && worked.during < LEAST.during;
    if worked.until < LEAST.until || worked.after < LEAST.after || is_idle {
        violations.push((Promise::WorkDone, format!("jobs ended {worked:?}, at least {LEAST:?} have to")));
    }
    violations.extend(audit::queue(site).await);
    violations.extend(schedule(site, &plan, &injected).await);
    let figures = audit::figures(&injected, &jobs);
    Outcome { plan, figures, violations }
}

/// What is wrong with the rounds of the distributors, since the site was started.
async fn schedule(site: &mut Site, plan: &Plan, injected: &Injected) -> Vec<(Promise, String)> {
    let mut violations = Vec::new();
    if plan.kind == Kind::LeaderPaused {
        site.stopped.push(injected.from);
    }
    let intruders = leaders::intruders(&leaders::said(&site.distributors), &site.stopped);
    violations.extend(intruders.into_iter().map(|how| (Promise::OneLeader, how)));
    let last = until_now();
    let mut seen = rounds::Distributed::default();
    let whole = within(LIMIT, async || {
        seen = rounds::read(&site.client, site.begun, Clock::system().now()).await?;
        seen.missing(last).is_empty().then_some(())
    })
    .await;
    if whole.is_none() {
        violations.push((Promise::NoRoundMissed, format!("missing {:?}", seen.missing(last))));
    }
    violations.extend(seen.strangers.iter().map(|id| (Promise::NothingDoubled, format!("{id} is of no round"))));
    violations
}

fn until_now() -> Timestamp {
    Clock::system().now() - YOUNG
}

impl Outcome {
    /// Of a seed that did not come to its end.
    pub fn broken(plan: Plan, panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let violation = (Promise::EndsFinal, format!("broke off: {}", text.unwrap_or("no message")));
        Self { plan, figures: Figures::default(), violations: vec![violation] }
    }

    /// For people.
    pub fn line(&self) -> String {
        let Self { plan, figures, violations } = self;
        let told = if violations.is_empty() { "holds" } else { "BROKEN" };
        format!("seed {} {:?} for {:?}: {told}, {figures:?}", plan.seed, plan.kind, plan.length)
    }
}
