//! `components`: where the processor time of a drain goes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Bench;
use super::engine::{Engine, SLOTS};
use super::load::remove;
use super::meters::{Part, used};
use super::process::{Moment, Spent, count, threads};
use crate::figures::{Figure, Report};

/// What is told apart, in milliseconds for each job.
type Parts = BTreeMap<&'static str, f64>;

const PARTS: [(&str, Part); 3] =
    [("store, calls", Part::Store), ("routes and JSON", Part::Routes), ("queue: node tree", Part::Tree)];
const THREADS: [(&str, &str); 3] =
    [("store, writer", "store write"), ("store, documents", "store get"), ("store, searches", "store search")];
const REST: &str = "executor, queue's clients, runtime";

pub async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let jobs = bench.jobs;
    Report::about(&format!(
        "components: processor time of draining {jobs} jobs by part, ms for each job. Measuring at every poll costs time \
         itself: only the shares are to be compared with drain-{jobs}"
    ));
    let mut runs = Vec::new();
    for _ in 0..bench.runs {
        runs.push(once(bench, jobs).await?);
    }
    let whole = Figure::new("", "", runs.iter().map(|parts| parts.values().sum()).collect()).median;
    let names: Vec<&str> =
        THREADS.map(|(name, _)| name).into_iter().chain(PARTS.map(|(name, _)| name)).chain([REST]).collect();
    for name in names {
        let runs = runs.iter().map(|parts| parts[name]).collect();
        bench.report.add(Figure::new(format!("cpu: {name}"), "ms/job", runs).of("the whole", whole));
    }
    Ok(())
}

async fn once(bench: &mut Bench, jobs: u64) -> anyhow::Result<Parts> {
    let path = bench.stores.copy(jobs).await?;
    let engine = Engine::open(&path, true).await?;
    let before = (Moment::now(), PARTS.map(|(_, part)| used(part)), threads()?);
    let all_gone = engine.gone.mark(jobs);
    let working = engine.work(SLOTS, &engine.client);
    all_gone.reached().await?;
    let after = (Moment::now(), PARTS.map(|(_, part)| used(part)), threads()?);
    engine.ensure_done(jobs).await?;
    working.end().await?;
    engine.close().await?;
    remove(&path)?;
    let each = |cpu: Duration| cpu.as_secs_f64() * 1_000.0 / count(jobs);
    let mut parts = Parts::new();
    for (index, (name, _)) in PARTS.into_iter().enumerate() {
        parts.insert(name, each(after.1[index].saturating_sub(before.1[index])));
    }
    for (name, thread) in THREADS {
        let of = |threads: &BTreeMap<String, Duration>| threads.get(thread).copied().unwrap_or_default();
        parts.insert(name, each(of(&after.2).saturating_sub(of(&before.2))));
    }
    let Spent { cpu, .. } = before.0.until(after.0);
    let known: f64 = parts.values().sum();
    parts.insert(REST, each(cpu) - known);
    Ok(parts)
}
