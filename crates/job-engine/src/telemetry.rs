//! What the program writes into its log: standard error, as much as `SLIPSTREAM_LOG` asks for. And what it says to
//! whoever started it, on standard output.

use std::env::VarError;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

/// Environment variable with the log's filter, e.g. `debug` or `warn,slipstream_job_engine=debug`.
pub const LOG_VARIABLE: &str = "SLIPSTREAM_LOG";

/// What is not logged unless somebody asks for it by name: a library that says of each try what we say once.
const QUIET: &str = "zookeeper_client=error";

/// Starts the log; `default` is its filter unless the environment has one.
pub fn start(default: &str) -> anyhow::Result<()> {
    let asked_for = match std::env::var(LOG_VARIABLE) {
        Err(VarError::NotPresent) => String::new(),
        found => found.with_context(|| format!("{LOG_VARIABLE} is no text"))?,
    };
    let wanted = if asked_for.is_empty() { default } else { &asked_for };
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}")).with_context(|| {
        format!("{LOG_VARIABLE} is no filter: write a level such as debug, or warn,slipstream_job_engine=debug")
    })?;
    let colours = console::Term::stderr().features().colors_supported();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
    Ok(())
}

/// Says something to whoever started the program. Nobody has to listen: a closed pipe ends no engine.
pub(crate) fn say(line: &str) {
    // in one piece, so that no line of the log gets in between
    if let Err(error) = std::io::stdout().write_all(format!("{line}\n").as_bytes()) {
        tracing::debug!(%error, line, "nobody listens");
    }
}

/// Says that it stops, and what may go on for how long.
pub(crate) fn say_stopping(what: &str, grace: Duration) {
    match grace.as_secs() {
        0 => say("stopping"),
        seconds => say(&format!("stopping: {what} may take up to {seconds} seconds; again to stop at once")),
    }
}
