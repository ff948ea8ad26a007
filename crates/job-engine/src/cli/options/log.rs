//! Options of a service's log.

use std::path::PathBuf;

use clap::Args;

use super::parse_path;
use crate::process::telemetry::{self, Form, LOG_VARIABLE, Wanted};

/// Where a service logs, and what.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogOptions {
    /// What is logged: error, warn, info, debug, or a filter such as warn,hyper=debug [default: info]
    #[arg(long = "log-level", value_name = "LEVEL", env = LOG_VARIABLE)]
    level: Option<String>,
    #[arg(
        id = "log-file",
        long = "log-file",
        value_name = "FILE",
        value_parser = parse_path(),
        env = "SLIPSTREAM_LOG_FILE",
        help = "Log to this file, and only warnings and errors to standard error; SIGHUP opens it again [default: in a unit \
                SERVICE.log in LOGS_DIRECTORY, else none]"
    )]
    file: Option<PathBuf>,
    /// How lines look; in the journal their level comes first, as it expects
    #[arg(long = "log-format", value_name = "FORMAT", default_value = "text", env = "SLIPSTREAM_LOG_FORMAT")]
    format: Form,
}

impl LogOptions {
    /// Where and what, or what is wrong with the filter. An empty name is none, as elsewhere.
    pub fn wanted(&self) -> anyhow::Result<Wanted> {
        let file = self.file.clone().filter(|file| !file.as_os_str().is_empty());
        let wanted = Wanted { filter: self.level.clone(), file, form: self.format };
        telemetry::check(&wanted)?;
        Ok(wanted)
    }
}
