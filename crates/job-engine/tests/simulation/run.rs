//! [`simulate`]: one seed, from the first process to the last promise.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::board::{Promise, Violation};
use crate::broken::Broken;
use crate::panics;
use crate::plan::Fault;
use crate::process::{CIMI_GRACE, DISTRIBUTOR, EVERY, TARGETS, keep};
use crate::users;
use crate::world::World;

/// How long the engine may take to settle once the storm is over.
const SETTLING: Duration = Duration::from_hours(3);
/// How long the world is watched after the storm at least.
const CALM: Duration = Duration::from_mins(2);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// A round may take so long to be added, once the storm is over, in seconds.
const ROUND_TIME: i64 = 60;

/// What a seed showed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// One line per event.
    pub trace: String,
    /// How often each fault was injected.
    pub faults: BTreeMap<Fault, u32>,
    /// How many requests had so many reports.
    pub reported: BTreeMap<usize, u64>,
    /// How many jobs ended well.
    pub done: usize,
}

/// Simulates one seed on this thread.
pub fn simulate(seed: u64, broken: Broken) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without drivers can be built");
    panics::watch(broken);
    runtime.block_on(live(seed, broken))
}

async fn live(seed: u64, broken: Broken) -> Outcome {
    let world = World::new(seed, broken).await;
    world.trace.note("world", &format!("seed {seed}, {:?}, {:?}", broken, world.plan));
    let processes = if broken == Broken::NoWork { Vec::new() } else { world.plan.processes() };
    let processes: Vec<_> = processes.into_iter().map(|process| tokio::spawn(keep(world.clone(), process))).collect();
    let users = tokio::spawn(users::add_jobs(world.clone()));
    world.storm().await;
    let over = Instant::now();
    let rounds_missed = || {
        let due = world.clocks.right().now() - jiff::SignedDuration::from_secs(ROUND_TIME);
        world.board().missed(DISTRIBUTOR, EVERY.cast_signed(), &TARGETS, due)
    };
    while over.elapsed() < SETTLING {
        tokio::time::sleep(LOOK).await;
        // answers may have been waited for until then
        if over.elapsed() > CIMI_GRACE && world.board().look(over + CIMI_GRACE) {
            break;
        }
        let settled = users.is_finished() && world.board().unfinished(&world.documents).is_empty();
        let goes_on = world.board().last_round().is_some_and(|last| last > over);
        if over.elapsed() >= CALM && settled && goes_on && rounds_missed().is_empty() {
            break;
        }
    }
    let missed = rounds_missed();
    let mut board = world.board();
    for key in missed {
        board.violate(Promise::NoRoundMissed, format!("`{key}` was never added"));
    }
    if !users.is_finished() {
        board.violate(Promise::EndsFinal, "a user still waits for an answer".to_owned());
    }
    if let Some(panic) = panics::first() {
        board.violate(Promise::NobodyPanics, panic);
    }
    if processes.iter().any(tokio::task::JoinHandle::is_finished) {
        board.violate(Promise::NobodyPanics, "a process has ended".to_owned());
    }
    let done = board.audit(&world.documents);
    let floor = usize::try_from(world.plan.jobs / 3).unwrap_or(0).max(3);
    if done < floor {
        board.violate(Promise::WorkDone, format!("{done} jobs ended well, at least {floor} have to"));
    }
    for (promise, how) in &board.violations {
        world.trace.note("PROMISE BROKEN", &format!("{promise:?}: {how}"));
    }
    let (violations, faults) = (std::mem::take(&mut board.violations), std::mem::take(&mut board.faults));
    let reported = std::mem::take(&mut board.reported);
    drop(board);
    world.end();
    Outcome { violations, trace: world.trace.take(), faults, reported, done }
}
