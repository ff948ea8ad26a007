//! `slipstream-job distributors`: who adds jobs, and when.

use clap::Args;
use jiff::Timestamp;

use super::connection::Connection;
use super::example;
use super::terminal::{self, Screen, age, one_line};
use crate::clock::Clock;
use crate::server::overview::{Distributor, Distributors, Overview};

/// What `distributors` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!("slipstream-job distributors"))]
pub struct DistributorsArguments {
    /// Print the distributors as a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Lists distributors.
pub async fn run(arguments: DistributorsArguments) -> anyhow::Result<()> {
    let Distributors { distributors, .. } = arguments.connection.overview(Overview::Distributors).await?;
    if arguments.json {
        return terminal::print(&serde_json::to_string_pretty(&distributors)?);
    }
    terminal::print(&render(&distributors, Clock::system().now(), Screen::standard_output()))
}

fn render(distributors: &[Distributor], now: Timestamp, screen: Screen) -> String {
    if distributors.is_empty() {
        return "no distributors".to_owned();
    }
    let row = |distributor: &Distributor| {
        let text = |text: &Option<String>| text.as_deref().map(one_line).unwrap_or_default();
        vec![
            one_line(&distributor.name),
            text(&distributor.schedule),
            text(&distributor.leader),
            distributor.last.map(|last| format!("{} ago", age(last, now))).unwrap_or_default(),
            distributor.next.map(|next| format!("in {}", age(now, next))).unwrap_or_default(),
        ]
    };
    let titles = ["DISTRIBUTOR", "SCHEDULE", "LEADER", "LAST", "NEXT"];
    screen.listing(&titles, &[0, 1, 2], distributors.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seen_from_now_and_what_is_not_known_is_empty() {
        let distributor = |name: &str, schedule: Option<&str>, times: Option<(&str, &str)>| Distributor {
            name: name.to_owned(),
            election: name.to_owned(),
            schedule: schedule.map(str::to_owned),
            leader: Some("a-machine-with-quite-a-long-name.example.org".to_owned()),
            candidates: Vec::new(),
            last: times.map(|(last, _)| last.parse().unwrap()),
            next: times.map(|(_, next)| next.parse().unwrap()),
        };
        let all = [
            distributor("jobs_cleanup", Some("every 24h"), Some(("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"))),
            distributor("foreign", None, None),
        ];
        let screen = Screen { width: Some(80), colours: false };
        let expected = "\
DISTRIBUTOR   SCHEDULE   LEADER                                  LAST     NEXT
jobs_cleanup  every 24h  a-machine-with-quite-a-long-name.exam…  12h ago  in 12h
foreign                  a-machine-with-quite-a-long-name.exam…";
        let shown = render(&all, "2026-11-24T12:00:00Z".parse().unwrap(), screen);
        assert_eq!(shown, expected);
        assert_eq!(render(&[], Timestamp::UNIX_EPOCH, screen), "no distributors");
    }
}
