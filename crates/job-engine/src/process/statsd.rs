//! [`send`]: sends what is counted to a `StatsD` server, every ten seconds, in datagrams that nobody waits for.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{MissedTickBehavior, interval};

use crate::process::metrics::Metrics;

const PERIOD: Duration = Duration::from_secs(10);
/// For so many periods an address is used before the host is looked up again, five minutes: a server may move.
const PERIODS_OF_AN_ADDRESS: u32 = 30;
const DEFAULT_PORT: u16 = 8125;
/// Most bytes of a datagram: what one takes through any network in one piece.
const DATAGRAM: usize = 1_432;
/// The first part of each name.
const PREFIX: &str = "slipstream_";

/// Where a `StatsD` server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatsdHost {
    host: String,
    port: u16,
}

impl FromStr for StatsdHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected HOST or HOST:PORT, such as stats.example.org:8125";
        if text.contains('@') {
            return Err(expected.to_owned());
        }
        // an IPv6 address has several colons
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("invalid port `{port}`: {expected}"))?)
            }
            _ => (text, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || port == 0 {
            return Err(expected.to_owned());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for StatsdHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// Never ends. A server that cannot be found is looked for again the next time, and said once.
pub(crate) async fn send(host: &StatsdHost, metrics: &Metrics) {
    let look_up = || async {
        let address = lookup_host((&*host.host, host.port)).await?.next();
        address.ok_or_else(|| io::Error::other("the host has no address"))
    };
    send_to(host, metrics, look_up).await;
}

async fn send_to<F: Future<Output = io::Result<SocketAddr>>>(
    host: &StatsdHost,
    metrics: &Metrics,
    look_up: impl Fn() -> F,
) {
    let mut periods = interval(PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut is_told) = (Counts::default(), false);
    let (mut socket, mut left) = (None, 0_u32);
    loop {
        periods.tick().await;
        if left == 0 {
            match look_up().await.and_then(connect) {
                Ok(connected) => {
                    left = PERIODS_OF_AN_ADDRESS;
                    socket = Some(connected);
                }
                // the address of before may still be right
                Err(error) if is_told || socket.is_some() => tracing::debug!(%error, "cannot look for {host}"),
                Err(error) => {
                    tracing::warn!(%error, "cannot send metrics to {host}, trying again");
                    is_told = true;
                }
            }
        }
        left = left.saturating_sub(1);
        let lines = before.lines(&metrics.text().await);
        let Some(socket) = &socket else { continue };
        for datagram in datagrams(&lines) {
            // nobody listens, or nothing more can be taken now: what is lost are ten seconds
            if let Err(error) = socket.send(datagram.as_bytes()) {
                tracing::debug!(%error, "metrics not sent to {host}");
                // it may be elsewhere by now
                left = 0;
            }
        }
    }
}

/// A socket that waits for nobody.
fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

/// Counters as they were sent last: `StatsD` wants what has been added since.
#[derive(Debug, Default)]
struct Counts(HashMap<String, f64>);

impl Counts {
    /// What to send of a text in the form of `OpenMetrics`, which is our own.
    fn lines(&mut self, text: &str) -> Vec<String> {
        let (mut kind, mut lines) = ("", Vec::new());
        for line in text.lines() {
            if let Some(described) = line.strip_prefix("# TYPE ") {
                kind = described.rsplit_once(' ').map_or("", |(_, kind)| kind);
            }
            let Some((name, value)) = sample(line) else { continue };
            let is_gauge = kind == "gauge";
            if is_gauge {
                lines.push(format!("{name}:{value}|g"));
                continue;
            }
            let before = self.0.insert(name.clone(), value).unwrap_or_default();
            if value > before {
                lines.push(format!("{name}:{}|c", value - before));
            }
        }
        lines
    }
}

/// The name of a sample with the values of its labels, and its value; none of the buckets of a histogram.
fn sample(line: &str) -> Option<(String, f64)> {
    let line = line.strip_prefix(PREFIX)?;
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    if name.ends_with("_bucket") {
        return None;
    }
    let mut dotted = format!("slipstream.{name}");
    for value in label_values(labels) {
        write!(dotted, ".{value}").expect("a text takes everything");
    }
    Some((dotted, value.parse().ok()?))
}

/// The values in `a="b",c="d"}`, of which what has a meaning for `StatsD` is replaced.
fn label_values(labels: &str) -> Vec<String> {
    let (mut values, mut value, mut is_quoted, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for character in labels.chars() {
        match character {
            '"' if !is_escaped => {
                is_quoted = !is_quoted;
                if !is_quoted {
                    values.push(std::mem::take(&mut value));
                }
            }
            '\\' if is_quoted && !is_escaped => {
                is_escaped = true;
                continue;
            }
            _ if !is_quoted => {}
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' if !is_escaped => value.push(character),
            _ => value.push('_'),
        }
        is_escaped = false;
    }
    values
}

/// Lines, as many as fit, in each.
fn datagrams(lines: &[String]) -> Vec<String> {
    let mut datagrams: Vec<String> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= DATAGRAM => {
                last.push('\n');
                last.push_str(line);
            }
            _ => datagrams.push(line.clone()),
        }
    }
    datagrams
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::UdpSocket as TokioSocket;
    use tokio::time::timeout;

    use super::*;

    /// The line of a metric in the datagrams that come.
    async fn received(socket: &TokioSocket, name: &str) -> String {
        let mut bytes = [0; DATAGRAM];
        for _ in 0..1_000 {
            let length = timeout(10 * PERIOD, socket.recv(&mut bytes)).await.expect("a datagram comes").unwrap();
            let text = std::str::from_utf8(&bytes[..length]).unwrap();
            if let Some(line) = text.lines().find(|line| line.starts_with(name)) {
                return line.to_owned();
            }
        }
        panic!("nothing is sent of {name}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_added_arrives_every_ten_seconds() {
        let server = TokioSocket::bind("127.0.0.1:0").await.unwrap();
        let host = server.local_addr().unwrap().to_string().parse().unwrap();
        let metrics = Metrics::default();
        metrics.server().added("noop");
        let sender = metrics.clone();
        let sending = tokio::spawn(async move { send(&host, &sender).await });
        let name = "slipstream.jobs_added_total.noop";
        assert_eq!(received(&server, name).await, format!("{name}:1|c"));
        metrics.server().added("noop");
        metrics.server().added("noop");
        assert_eq!(received(&server, name).await, format!("{name}:2|c"));
        sending.abort();
    }

    /// A name that leads to these, one after the other, and to the last one from then on.
    fn leads_to(addresses: Vec<SocketAddr>) -> impl Fn() -> Ready<io::Result<SocketAddr>> {
        let asked = AtomicUsize::new(0);
        move || ready(Ok(addresses[asked.fetch_add(1, Ordering::Relaxed).min(addresses.len() - 1)]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_moves_is_found_again_whether_or_not_its_place_refuses() {
        for is_refused in [false, true] {
            let servers =
                [TokioSocket::bind("127.0.0.1:0").await.unwrap(), TokioSocket::bind("127.0.0.1:0").await.unwrap()];
            let look_up = leads_to(servers.iter().map(|server| server.local_addr().unwrap()).collect());
            let metrics = Metrics::default();
            let sender = metrics.clone();
            let sending = tokio::spawn(async move { send_to(&"stats".parse().unwrap(), &sender, look_up).await });
            let [before, now] = servers;
            metrics.server().added("noop");
            let name = "slipstream.jobs_added_total.noop";
            assert_eq!(received(&before, name).await, format!("{name}:1|c"));
            // one that is kept takes what is sent to it, and nobody reads that
            let _kept = (!is_refused).then_some(before);
            let limit = if is_refused { 10 * PERIOD } else { 2 * PERIODS_OF_AN_ADDRESS * PERIOD };
            let moved = timeout(limit, now.recv(&mut [0; DATAGRAM])).await;
            moved.expect("it is found in its new place").unwrap();
            sending.abort();
        }
    }

    #[test]
    fn a_host_may_have_a_port() {
        for (text, shown) in
            [("stats", "stats:8125"), ("stats:81", "stats:81"), ("::1", "::1:8125"), ("[::1]:81", "::1:81")]
        {
            assert_eq!(text.parse::<StatsdHost>().unwrap().to_string(), shown, "{text}");
        }
        for wrong in ["", ":8125", "stats:x", "stats:0", "stats:70000"] {
            assert!(wrong.parse::<StatsdHost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn counters_are_sent_as_what_was_added() {
        let text = |added: u32| {
            format!(
                "# TYPE slipstream_jobs_added counter\nslipstream_jobs_added_total{{action=\"a.b c\\\"d\\\\\"}} {added}\n\
                 # TYPE slipstream_slots gauge\nslipstream_slots 4\n\
                 # TYPE slipstream_wait_seconds histogram\nslipstream_wait_seconds_sum{{action=\"é\"}} 2.5\n\
                 slipstream_wait_seconds_count{{action=\"é\"}} 1\n\
                 slipstream_wait_seconds_bucket{{le=\"+Inf\",action=\"é\"}} 1\n# EOF\n"
            )
        };
        let mut counts = Counts::default();
        let first = [
            "slipstream.jobs_added_total.a_b_c_d_:3|c",
            "slipstream.slots:4|g",
            "slipstream.wait_seconds_sum._:2.5|c",
            "slipstream.wait_seconds_count._:1|c",
        ];
        assert_eq!(counts.lines(&text(3)), first);
        assert_eq!(counts.lines(&text(5)), ["slipstream.jobs_added_total.a_b_c_d_:2|c", "slipstream.slots:4|g"]);
    }

    #[test]
    fn a_datagram_is_as_full_as_it_may_be() {
        let lines: Vec<String> = (0..100).map(|number| format!("slipstream.{number:0>80}:1|c")).collect();
        let datagrams = datagrams(&lines);
        assert!(datagrams.iter().all(|datagram| datagram.len() <= DATAGRAM));
        assert_eq!(datagrams.join("\n").lines().count(), lines.len());
        assert!(datagrams.len() <= lines.len() / 10);
    }
}
