//! What a service writes into its log: standard error, as much as `SLIPSTREAM_LOG` asks for. And what it says to whoever
//! started it, on standard output.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env::VarError;
use std::panic::PanicHookInfo;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::process::output;
pub(crate) use crate::process::output::announce;
use crate::process::supervise::panic_message;

/// Environment variable with the log's filter, e.g. `debug` or `warn,slipstream_job_engine=debug`.
pub const LOG_VARIABLE: &str = "SLIPSTREAM_LOG";

/// What is not logged unless somebody asks for it by name: a library that says of each try what we say once.
const QUIET: &str = "zookeeper_client=error";

/// Starts the log; `default` is its filter unless the environment has one. Panics are logged too.
pub fn start(default: &str) -> anyhow::Result<()> {
    let asked_for = match std::env::var(LOG_VARIABLE) {
        Err(VarError::NotPresent) => String::new(),
        found => found.with_context(|| format!("{LOG_VARIABLE} is not UTF-8"))?,
    };
    let wanted = if asked_for.is_empty() { default } else { &asked_for };
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}")).with_context(|| {
        format!("{LOG_VARIABLE} is not a filter: give a level such as debug, or warn,slipstream_job_engine=debug")
    })?;
    let colours = console::Term::stderr().features().colors_supported();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| output::Log)
        .with_ansi(colours)
        .with_target(false)
        // it would tell of them on standard error itself, and panic where that takes nothing
        .log_internal_errors(false)
        .init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// The standard hook writes to standard error itself, and waits for its reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current().name().unwrap_or_default().to_owned();
    tracing::error!(thread, place, "panicked: {}", panic_message(panic.payload()));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        output::append(&backtrace.to_string());
    }
}

/// Says that it stops, and what may go on for how long.
pub(crate) fn announce_stopping(what: &str, grace: Duration) {
    match grace.as_secs() {
        0 => announce("stopping"),
        seconds => announce(&format!("stopping: {what} may take up to {seconds} seconds; again to stop at once")),
    }
}
