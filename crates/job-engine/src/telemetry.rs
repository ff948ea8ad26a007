//! What the program writes into its log: standard error, as much as `SLIPSTREAM_LOG` asks for. And what it says to
//! whoever started it, on standard output.

use std::io::Write;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// Environment variable with the log's filter, e.g. `debug` or `warn,slipstream_job_engine=debug`.
pub const LOG_VARIABLE: &str = "SLIPSTREAM_LOG";

/// Starts the log; `default` is its filter unless the environment has one.
pub fn start(default: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().with_default_directive(default.parse()?).with_env_var(LOG_VARIABLE);
    let colours = console::Term::stderr().features().colors_supported();
    tracing_subscriber::fmt()
        .with_env_filter(filter.from_env()?)
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
