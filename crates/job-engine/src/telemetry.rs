//! What the program writes into its log: standard error, as much as `SLIPSTREAM_LOG` asks for.

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
