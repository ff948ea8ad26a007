//! `slipstream-job distributors`: who adds jobs, and when; and what lets one begin anew.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use slipstream_cimi::overview::distributors::{Distributor, Distributors, PLACE};

use super::example;
use super::options::connection::ShowOptions;
use super::spinner::Spinner;
use super::terminal::{Screen, ago, one_line};
use crate::process::clock::Clock;

/// What `distributors` is asked for.
#[derive(Debug, Args)]
#[command(
    mut_arg("json", |json| json.help("Print the distributors as a JSON array")),
    args_conflicts_with_subcommands = true,
    after_help = example!("slipstream-job distributors")
)]
pub struct DistributorsArguments {
    #[command(subcommand)]
    command: Option<DistributorsCommand>,
    #[command(flatten)]
    show: ShowOptions,
}

#[derive(Debug, Subcommand)]
enum DistributorsCommand {
    /// Reset a distributor's high-water mark: its rounds count from now on
    Reset(ResetArguments),
}

#[derive(Debug, Args)]
#[command(mut_arg("json", |json| json.help("Print the distributor and the time from which rounds count as JSON")))]
#[command(after_help = example!(
    "For a mark that is damaged or in the future. Rounds missed until now are skipped, and none is repeated.",
    "slipstream-job distributors reset jobs_cleanup"
))]
struct ResetArguments {
    /// The distributor's name
    name: String,
    #[command(flatten)]
    options: ShowOptions,
}

/// Lists distributors, or resets one.
pub async fn run(arguments: DistributorsArguments) -> anyhow::Result<()> {
    match arguments.command {
        None => show(arguments.show).await,
        Some(DistributorsCommand::Reset(arguments)) => reset(arguments).await,
    }
}

async fn reset(arguments: ResetArguments) -> anyhow::Result<()> {
    let id = format!("{}/{}", PLACE, arguments.name);
    let client = arguments.options.connection.client()?;
    let answer = Spinner::on("asking").during(client.operation(&id, "reset")).await?;
    arguments.options.print(&answer, |_| format!("{}: rounds count from now on", one_line(&arguments.name)))
}

async fn show(options: ShowOptions) -> anyhow::Result<()> {
    let Distributors { distributors, .. } = options.connection.view(PLACE).await?;
    options.print(&distributors, |screen| render(&distributors, Clock::system().now(), screen))
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
            distributor.last.map(|last| ago(last, now)).unwrap_or_default(),
            distributor.next.map(|next| ago(next, now)).unwrap_or_default(),
        ]
    };
    let titles = ["DISTRIBUTOR", "SCHEDULE", "LEADER", "LAST", "NEXT"];
    let listing = screen.listing(&titles, &[0, 1, 2], distributors.iter().map(row).collect());
    let problem = |distributor: &Distributor| {
        let problem = one_line(distributor.problem.as_deref()?);
        Some(screen.wrapped(&format!("{}: {problem}", one_line(&distributor.name)), 0))
    };
    std::iter::once(listing).chain(distributors.iter().filter_map(problem)).collect::<Vec<_>>().join("\n\n")
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
            problem: schedule.is_none().then(|| "a node without\na session stands first".to_owned()),
            given_up: None,
        };
        let all = [
            distributor("jobs_cleanup", Some("every 24h"), Some(("2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"))),
            distributor("foreign", None, None),
        ];
        let screen = Screen { width: Some(80), colours: false };
        let expected = "\
DISTRIBUTOR   SCHEDULE   LEADER                                  LAST     NEXT
jobs_cleanup  every 24h  a-machine-with-quite-a-long-name.exam…  12h ago  in 12h
foreign                  a-machine-with-quite-a-long-name.exam…

foreign: a node without a session stands first";
        let shown = render(&all, "2026-11-24T12:00:00Z".parse().unwrap(), screen);
        assert_eq!(shown, expected);
        let ahead = distributor("x", None, Some(("2036-11-24T00:00:00Z", "2026-11-24T11:59:58Z")));
        let shown = render(&[ahead], "2026-11-24T12:00:00Z".parse().unwrap(), screen);
        assert!(shown.contains("in 3652d  2s ago"), "a time in the future is no age: {shown}");
        assert_eq!(render(&[], Timestamp::UNIX_EPOCH, screen), "no distributors");
    }
}
