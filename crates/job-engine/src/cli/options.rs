//! Options that several commands have, each defined once.

pub mod account;
pub mod connection;
pub mod loading;
pub mod log;
pub mod login;
pub mod monitoring;
pub mod zookeeper;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use ipnet::IpNet;
use slipstream_cimi::overview::ledger::DEFAULT_MAX_ATTEMPTS;

use crate::executor::{Then, UnknownAction};
use crate::instance::data_dir;
use crate::process::address::{parse_address, parse_network};

/// How an API is served. `display_order` puts each option in its place among those of the command.
#[derive(Debug, Args)]
pub struct ServingOptions {
    /// Where the API listens: HOST:PORT, or :PORT for all addresses
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8201", env = "SLIPSTREAM_LISTEN", value_parser = parse_address)]
    pub listen: SocketAddr,
    /// Believe the header slipstream-authn-info (and X-Real-IP) of peers in this network; may be repeated. The proxies
    /// there must blank it in what they are sent
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = parse_network)]
    pub trust_authn_header_from: Vec<IpNet>,
    /// How many attempts of a job may be lost before it fails
    #[arg(
        long,
        value_name = "N",
        default_value_t = DEFAULT_MAX_ATTEMPTS,
        value_parser = clap::value_parser!(u32).range(1..),
        display_order = 5
    )]
    pub max_attempts: u32,
}

/// How jobs are run. Each command has its own default of `--threads`.
#[derive(Debug, Args)]
pub struct RunningOptions {
    /// How many jobs run at once
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_threads, env = "SLIPSTREAM_THREADS")]
    pub threads: usize,
    /// How long running jobs may go on after a stop
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration, env = "SLIPSTREAM_GRACE")]
    pub grace: Duration,
}

/// What becomes of jobs whose action nobody has.
#[derive(Debug, Args)]
pub struct UnknownActionOptions {
    /// How long a job waits for an executor that has its action [default: 15m; of `up`, whose executor is the only one:
    /// 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "SLIPSTREAM_UNKNOWN_ACTION_AFTER")]
    unknown_action_after: Option<Duration>,
    /// What happens then: the job fails, or keeps waiting
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Then::Fail, env = "SLIPSTREAM_UNKNOWN_ACTION")]
    unknown_action: Then,
}

impl UnknownActionOptions {
    /// `after` is how long a job waits unless somebody says otherwise.
    pub fn wanted(&self, after: Duration) -> UnknownAction {
        UnknownAction { after: self.unknown_action_after.unwrap_or(after), then: self.unknown_action }
    }
}

/// The data directory that is given, or the default one.
pub fn data_dir(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    given.or_else(data_dir::default_path).context("no home directory: name a data directory with --data-dir")
}

pub fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=10_000) => Ok(threads),
        _ => Err("expected a number from 1 to 10000".to_owned()),
    }
}

/// Longer than anybody waits for a process, and short enough for every sum of times.
const LONGEST_DURATION: Duration = Duration::from_hours(365 * 24);

pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration: Option<jiff::SignedDuration> = text.parse().ok();
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    let duration = duration.filter(|duration| *duration <= LONGEST_DURATION);
    duration.ok_or_else(|| "expected a duration such as 90s or 2m, of 8760h (a year) at most".to_owned())
}

/// A path, or none of no characters, as a variable may be that is set to nothing.
pub fn parse_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

pub fn parse_store(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("sqlite:").map(PathBuf::from).filter(|path| path.file_name().is_some());
    path.filter(|_| !text.ends_with('/')).ok_or_else(|| "expected sqlite:PATH, such as sqlite:jobs.db".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_friendly() {
        assert_eq!(parse_duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("8760h"), Ok(LONGEST_DURATION));
        for wrong in ["", "2", "-1s", "soon", "8760h 1ns", "9999999999999h", "18446744073709551615s", "1e30s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_store_is_the_name_of_a_file() {
        assert_eq!(parse_store("sqlite:jobs.db"), Ok(PathBuf::from("jobs.db")));
        assert_eq!(parse_store("sqlite:/var/lib/jobs.db"), Ok(PathBuf::from("/var/lib/jobs.db")));
        for wrong in ["", "jobs.db", "sqlite:", "sqlite:/", "sqlite:folder/", "sqlite:..", "elasticsearch:http://es"] {
            assert!(parse_store(wrong).is_err(), "{wrong}");
        }
    }
}
