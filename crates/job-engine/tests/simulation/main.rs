//! The whole engine in simulated time: server, reconciler, executors and distributors as they are, on one thread with
//! a paused clock, and faults at the seams `Session`, `Transport` and `Store`. All that happens follows from a seed.
//!
//! `SIMULATION_SEED=n cargo test --release --test simulation` replays one seed and writes its trace;
//! `cargo xtask simulate --seeds N` runs many.

#![expect(clippy::print_stdout, reason = "it is no part of the product, and may end where nothing can be written")]

mod attempts;
mod board;
mod broken;
mod clocks;
mod foreign;
mod life;
mod panics;
mod plan;
mod process;
mod reach;
mod refusals;
mod run;
mod session;
mod store;
mod trace;
mod transport;
mod users;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use board::Promise;
use broken::Broken;
use plan::Fault;
use run::{Outcome, simulate};

/// Seeds unless `SIMULATION_SEEDS` says otherwise.
const SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 2000 };
/// Seeds that a broken engine may take to be noticed.
const SEEDS_TO_NOTICE: u64 = 1000;
/// Seeds whose trace is compared with itself.
const SEEDS_RUN_TWICE: u64 = 40;
/// Threads, each with a runtime of its own.
const THREADS: usize = 2;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, and has to be a number")))
}

/// Writes a trace where a person finds it.
fn keep_trace(seed: u64, outcome: &Outcome) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("simulation-{seed}.txt"));
    std::fs::write(&path, &outcome.trace).expect("the folder for temporary files can be written to");
    path
}

/// What is wrong with a seed, if anything is.
fn complaint(seed: u64, outcome: &Outcome) -> Option<String> {
    if outcome.violations.is_empty() {
        return None;
    }
    let path = keep_trace(seed, outcome);
    let broken: Vec<String> =
        outcome.violations.iter().take(10).map(|(promise, how)| format!("  {promise:?}: {how}")).collect();
    Some(format!("SIMULATION_SEED={seed}, trace in {}\n{}", path.display(), broken.join("\n")))
}

/// Runs seeds on all threads and tells `judge` of each; ends early when it answers false.
fn run_seeds(first: u64, count: u64, broken: Broken, judge: impl Fn(u64, Outcome) -> bool + Sync) {
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if !judge(seed, simulate(seed, broken)) {
                        next.store(first + count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}

#[test]
fn every_promise_holds_whatever_happens() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let outcome = simulate(seed, Broken::Nothing);
        println!("trace of seed {seed} in {}", keep_trace(seed, &outcome).display());
        assert_eq!(complaint(seed, &outcome), None);
        return;
    }
    let first = number("SIMULATION_FIRST").unwrap_or(0);
    let count = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (complaints, faults, done) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()), AtomicU64::new(0));
    let reported = Mutex::new(BTreeMap::new());
    run_seeds(first, count, Broken::Nothing, |seed, outcome| {
        for (fault, times) in &outcome.faults {
            *faults.lock().expect("no thread panics").entry(*fault).or_insert(0_u64) += u64::from(*times);
        }
        assert_eq!(
            outcome.reported.is_empty(),
            !seed.is_multiple_of(2),
            "seed {seed}: reports where they are announced"
        );
        for (items, times) in &outcome.reported {
            *reported.lock().expect("no thread panics").entry(*items).or_insert(0_u64) += times;
        }
        done.fetch_add(outcome.done as u64, Ordering::Relaxed);
        let mut complaints = complaints.lock().expect("no thread panics");
        if let Some(complaint) = complaint(seed, &outcome) {
            println!("{complaint}");
            complaints.push(complaint);
        }
        complaints.len() < 10
    });
    let (complaints, faults) = (complaints.into_inner().expect("joined"), faults.into_inner().expect("joined"));
    let reported = reported.into_inner().expect("joined");
    println!("{count} seeds, {} jobs ended well, faults {faults:?}, reports {reported:?}", done.into_inner());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert_eq!(never_injected(&faults), [], "faults that no seed injected");
    assert!(reported.keys().any(|items| *items > 1), "no request had several reports: {reported:?}");
}

fn never_injected(faults: &BTreeMap<Fault, u64>) -> Vec<Fault> {
    Fault::ALL.into_iter().filter(|fault| !faults.contains_key(fault)).collect()
}

/// The order of what happens within one millisecond is left to the runtime, whose watch channels wake their readers in
/// random order.
fn canonical(trace: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = trace.lines().collect();
    // the time is the first word, and the order of text sorts what shares it
    lines.sort_by_key(|line| (line.split(' ').next().map(str::len), *line));
    lines
}

#[test]
fn a_seed_has_one_trace() {
    for seed in 0..SEEDS_RUN_TWICE {
        let (first, second) = (simulate(seed, Broken::Nothing).trace, simulate(seed, Broken::Nothing).trace);
        let (first, second) = (canonical(&first), canonical(&second));
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// Some seed has to notice that this engine breaks this promise.
fn assert_noticed(broken: Broken, promise: Promise) {
    let noticed = Mutex::new(None);
    run_seeds(0, SEEDS_TO_NOTICE, broken, |seed, outcome| {
        let broken = outcome.violations.into_iter().find(|(found, _)| *found == promise);
        let mut noticed = noticed.lock().expect("no thread panics");
        if let Some((_, how)) = broken {
            noticed.get_or_insert((seed, how));
        }
        noticed.is_none()
    });
    let noticed = noticed.into_inner().expect("joined");
    let (seed, how) = noticed.unwrap_or_else(|| panic!("no seed noticed that {broken:?} breaks {promise:?}"));
    println!("{broken:?}: seed {seed} noticed {promise:?}: {how}");
}

#[test]
fn an_engine_without_a_reconciler_is_noticed() {
    assert_noticed(Broken::NoReconciler, Promise::EndsFinal);
}

#[test]
fn an_engine_that_strips_leases_is_noticed() {
    assert_noticed(Broken::StripsLease, Promise::LeasesRise);
}

#[test]
fn a_store_that_ignores_revisions_is_noticed() {
    assert_noticed(Broken::IgnoresRevision, Promise::LeasesRise);
    assert_noticed(Broken::IgnoresRevision, Promise::FinalIsFinal);
}

#[test]
fn a_leader_that_hears_of_no_suspension_is_noticed() {
    assert_noticed(Broken::HidesSuspension, Promise::OneLeader);
}

#[test]
fn marks_that_are_forgotten_are_noticed() {
    assert_noticed(Broken::ForgetsMarks, Promise::NoRoundMissed);
}

#[test]
fn adds_without_keys_are_noticed() {
    assert_noticed(Broken::StripsKey, Promise::NothingDoubled);
}

#[test]
fn releases_that_are_only_pretended_are_noticed() {
    assert_noticed(Broken::PretendsRelease, Promise::AttemptsAccounted);
}

#[test]
fn a_queue_that_ignores_priorities_is_noticed() {
    assert_noticed(Broken::IgnoresPriority, Promise::PrioritiesHold);
}

#[test]
fn a_success_that_nobody_earned_is_noticed() {
    assert_noticed(Broken::EndsAtOnce, Promise::SuccessIsEarned);
}

#[test]
fn a_client_that_panics_is_noticed() {
    assert_noticed(Broken::PanicsOnReset, Promise::NobodyPanics);
}

#[test]
fn claims_that_are_kept_are_noticed() {
    assert_noticed(Broken::KeepsClaims, Promise::NotHeldByNobody);
}

#[test]
fn a_second_attempt_under_one_lease_is_noticed() {
    assert_noticed(Broken::ForgesEntry, Promise::OneLivingAttempt);
}

#[test]
fn a_leader_that_waits_for_its_mark_is_noticed() {
    assert_noticed(Broken::WaitsForMarks, Promise::NotSilent);
}

#[test]
fn an_engine_that_does_nothing_is_noticed() {
    assert_noticed(Broken::NoWork, Promise::WorkDone);
}

#[test]
fn a_storm_without_faults_is_noticed() {
    let outcome = simulate(0, Broken::FairWeather);
    let faults = outcome.faults.into_iter().map(|(fault, times)| (fault, u64::from(times))).collect();
    assert!(!never_injected(&faults).is_empty());
    assert_eq!(outcome.violations, []);
}
