//! `slipstream-job`: the whole engine in one program.

use std::process::ExitCode;

/// Blocks of at least this many bytes go back to the operating system as soon as they are free.
#[cfg(target_env = "gnu")]
const LARGE_BLOCK: libc::c_int = 256 * 1024;

fn main() -> ExitCode {
    return_large_blocks();
    slipstream_job_engine::cli::run()
}

/// Checking a password takes 19 MiB for some milliseconds, and a request may take a megabyte. The GNU allocator learns
/// from the first such block to keep the next ones, in an arena for each thread; a fixed threshold keeps it from that.
#[cfg(target_env = "gnu")]
fn return_large_blocks() {
    // SAFETY: mallopt sets a parameter of the allocator, and no other thread runs yet.
    let is_set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK) };
    debug_assert_eq!(is_set, 1, "the threshold is within the allocator's limits");
}

#[cfg(not(target_env = "gnu"))]
fn return_large_blocks() {}
