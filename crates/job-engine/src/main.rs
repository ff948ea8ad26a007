//! `slipstream-job`: the whole engine in one program.

use std::process::ExitCode;

use slipstream_job_engine::{internals, keeper};

/// Jobs are documents of many small parts, made by one thread and given back by another. Draining jobs takes a third
/// less processor time than with the GNU allocator, and memory goes back to the operating system by itself; see
/// `docs/performance.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keeper::serve_if_asked().unwrap_or_else(internals::run)
}
