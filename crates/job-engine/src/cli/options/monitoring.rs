//! Options of what an operator watches of a service.

use std::net::SocketAddr;

use clap::Args;

use crate::process::activity::Activity;
use crate::process::address::parse_address;
use crate::process::admin_listener::{AdminListener, Wanted};
use crate::process::metrics::Metrics;
use crate::process::statsd::StatsdHost;
use crate::process::stop::Stop;

/// What turns the listener off.
const NONE: &str = "none";

/// Where metrics and health are answered, and where metrics are sent. Each command has its own default of
/// `--admin-listen`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MonitoringOptions {
    /// Where /metrics, /livez and /readyz are answered, or none
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = NONE,
        value_parser = parse_listen,
        env = "SLIPSTREAM_ADMIN_LISTEN"
    )]
    admin_listen: Listen,
    #[arg(
        help = "Send metrics to this StatsD server every 10 seconds",
        long,
        value_name = "HOST[:8125]",
        env = "SLIPSTREAM_STATSD",
        value_parser = parse_statsd
    )]
    statsd: Option<Statsd>,
}

#[derive(Clone, Copy, Debug)]
struct Listen(Option<SocketAddr>);

/// None of an empty name, as elsewhere.
#[derive(Clone, Debug)]
struct Statsd(Option<StatsdHost>);

impl MonitoringOptions {
    /// Answers and sends these, and what is known of the process, until the answer is dropped.
    pub fn begin(self, metrics: &Metrics, activity: &Activity, stop: &Stop) -> Monitoring {
        let asked = stop.clone();
        metrics.health().needs("process", move || {
            let is_asked = asked.is_asked();
            Box::pin(async move { if is_asked { Err("stopping".to_owned()) } else { Ok(()) } })
        });
        let beats = metrics.health().follow(activity);
        let wanted = Wanted { listen: self.admin_listen.0, statsd: self.statsd.and_then(|statsd| statsd.0) };
        Monitoring { _listener: AdminListener::begin(wanted, metrics), _beats: beats }
    }
}

/// Ends when it is dropped.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct Monitoring {
    _listener: AdminListener,
    _beats: tokio_util::task::AbortOnDropHandle<()>,
}

fn parse_listen(text: &str) -> Result<Listen, String> {
    if text.is_empty() || text == NONE { Ok(Listen(None)) } else { parse_address(text).map(Some).map(Listen) }
}

fn parse_statsd(text: &str) -> Result<Statsd, String> {
    if text.is_empty() { Ok(Statsd(None)) } else { text.parse().map(Some).map(Statsd) }
}
