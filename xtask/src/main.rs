//! The project's own commands: `cargo xtask test`, `check`, `simulate`, `faults`, `fuzz`, `package` and
//! `bench`.
//!
//! This program has next to no dependencies on purpose: it is compiled before anything else, and a dependency shared
//! with the product in other features would be compiled twice.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is no part of the product, and may end where nothing can be written"
)]

use std::process::ExitCode;

mod bench;
mod browser;
mod check;
mod commands;
mod debian;
mod debian_root;
mod faults;
mod fuzz;
mod node;
mod package;
mod peers;
mod previous;
mod prometheus;
mod python;
mod pythons;
mod simulate;
mod suite;
mod totals;
mod zookeeper;

const USAGE: &str = "\
cargo xtask <command>

  test [arguments of cargo test]   sets up what the tests need, builds everything, runs every test
  test --everything                the same, then 20,000 seeds of the simulation and `faults`: for two hours
  check                            format, lints, modules, lengths, layers, banned texts, messages, documentation,
                                   links, licences, and ten seconds of each fuzz target
  simulate --seeds N [--first N]   the whole engine in simulated time, with faults, for so many seeds
  faults [--seeds N] [--first N]   real processes and real faults, for so many seeds (160); writes docs/faults.md
  fuzz NAME --minutes N            random input for a target, bent towards code that was not reached yet
       [--corpus FOLDER]           NAME: filter, job_document, routes; keeps what it learns in the folder
  fuzz NAME --input FILE           gives a target one input once more
  package [--release N]            RPM and DEB, of a program that is built for glibc 2.28 and newer
          [--program FILE]         packs this program instead
  generate                         docs/configuration.md and the packages' configuration file, out of the
                                   program's options
  bench idle [--seconds N]         what an unused `up` costs, and how soon it answers
  bench query [--jobs N]           how long searches take in a store with so many jobs (1,000,000)
  bench filter                     how long a filter takes to be parsed and to be held against a document
  bench embedded [--help]          what an engine in one process does in a second, and what that costs
  bench zookeeper [--help]         what a site over a real ZooKeeper does in a second, and what that costs
  bench dashboard [--help]         what the dashboard costs, and how soon its pages are there
  bench peers [--help]             other job engines beside this one: Graphile Worker, River, asynq
  bench compare A.json B.json      two reports of any of these side by side";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let outcome = match command.as_deref() {
        Some("test") => suite::run(&rest),
        Some("simulate") => simulate::run(&rest),
        Some("faults") => faults::run(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("package") => package::run(&rest),
        Some("generate") if rest.is_empty() => package::generate(),
        Some("check") if rest.is_empty() => check::run(),
        Some("help" | "--help" | "-h") => {
            println!("{USAGE}");
            Ok(true)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
