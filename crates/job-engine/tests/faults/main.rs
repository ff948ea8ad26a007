//! The engine as real processes, and real faults: a site of an ensemble, a server, executors and distributors, of which
//! something is killed, paused, cut off, delayed or wiped, as a seed decides.
//!
//! `FAULTS_SEED=n cargo test --release --test faults every_promise` runs one seed; `cargo xtask faults --seeds N` runs many
//! and writes `docs/faults.md`.

#![expect(clippy::print_stdout, reason = "it is no part of the product, and may end where nothing can be written")]

mod audit;
mod impair;
mod inject;
mod late;
mod leaders;
mod load;
mod meddle;
mod outages;
mod part;
mod plan;
mod process;
mod quorum;
mod records;
mod roles;
mod rounds;
mod run;
mod schedule;
mod sessions;
mod site;
mod support;
mod table;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use futures_util::{FutureExt, StreamExt, stream};

use plan::{Kind, Plan};
use run::{Outcome, run, site_for};
use site::Site;
use table::Table;

/// Seeds unless `FAULTS_SEEDS` says otherwise: each kind of fault once.
const SEEDS: u64 = Kind::ALL.len() as u64;
/// Seeds that one site serves, one after the other.
const SEEDS_OF_A_SITE: usize = 4;
/// Sites at the same time: each waits most of the time.
const SITES: usize = 4;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, and has to be a number")))
}

/// Seeds that can be run on one site, in this order: it is left after the last one.
fn groups(first: u64, count: u64) -> Vec<Vec<u64>> {
    let mut groups = Vec::new();
    for members in [3, 1] {
        let mut seeds: Vec<u64> = (first..first + count).filter(|seed| Kind::of(*seed).members() == members).collect();
        let mut last: Vec<u64> = seeds.extract_if(.., |seed| Kind::of(*seed).ends_the_site()).collect();
        while !seeds.is_empty() || !last.is_empty() {
            let ending = last.pop();
            let others = SEEDS_OF_A_SITE - usize::from(ending.is_some());
            groups.push(seeds.drain(..others.min(seeds.len())).chain(ending).collect());
        }
    }
    groups
}

/// Runs the seeds of a group; a site on which something was amiss is left.
async fn run_group(seeds: Vec<u64>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut site: Option<Site> = None;
    for seed in seeds {
        let mut here = match site.take() {
            Some(site) => site,
            None => site_for(Kind::of(seed).members()).await,
        };
        let outcome = AssertUnwindSafe(run(&mut here, seed)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|panic| Outcome::broken(Plan::new(seed), &*panic));
        println!("{}", outcome.line());
        if outcome.violations.is_empty() {
            site = Some(here);
        } else {
            println!("{}", complaint(&outcome, &here));
        }
        outcomes.push(outcome);
    }
    outcomes
}

/// What is wrong with a seed, with all that was said in a file where a person finds it.
fn complaint(outcome: &Outcome, site: &Site) -> String {
    let seed = outcome.plan.seed;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{seed}.txt"));
    std::fs::write(&path, site.logs()).expect("the folder for temporary files can be written to");
    let broken: Vec<String> = outcome.violations.iter().map(|(promise, how)| format!("  {promise:?}: {how}")).collect();
    format!("FAULTS_SEED={seed}, {:?}, logs in {}\n{}", outcome.plan, path.display(), broken.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_holds_whatever_fails() {
    let single = number("FAULTS_SEED");
    let first = single.or(number("FAULTS_FIRST")).unwrap_or(0);
    let count = if single.is_some() { 1 } else { number("FAULTS_SEEDS").unwrap_or(SEEDS) };
    let runs = stream::iter(groups(first, count)).map(run_group).buffer_unordered(SITES);
    let outcomes: Vec<Outcome> = runs.collect::<Vec<_>>().await.concat();
    let table = Table::of(&outcomes);
    println!("{table}");
    support::write_for_the_page("seeds.md", &table.to_string());
    let failed: Vec<u64> = outcomes.iter().filter(|it| !it.violations.is_empty()).map(|it| it.plan.seed).collect();
    assert_eq!(failed, Vec::<u64>::new(), "seeds that broke a promise, see above");
    assert_eq!(outcomes.len() as u64, count);
    if count >= SEEDS {
        assert!(table.refused() > 0, "no seed had a late write: paused executors have to have some");
    }
}
