//! `slipstream-job jobs explain`: why a job runs, waits or has ended.

use clap::Args;
use jiff::Timestamp;
use slipstream_cimi::overview::explain::Explanation;

use super::super::terminal::{self, Screen, one_line};
use super::id::{JobId, found};
use crate::cli::options::connection::Connection;
use crate::cli::spinner::asking;
use crate::cli::{example, why};
use crate::process::clock::Clock;

/// What `jobs explain` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "Who executes it is said to administrators only.",
    "slipstream-job jobs explain 01991d3c-7c1e-7a3b-8f3c-0123456789ab"
))]
pub struct ExplainArguments {
    /// Id, with or without job/, or its beginning
    #[arg(value_name = "ID")]
    id: JobId,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Explains a job.
pub async fn run(arguments: ExplainArguments) -> anyhow::Result<()> {
    let client = arguments.connection.client()?;
    let id = asking(found(&client, &arguments.id)).await?;
    let explanation = asking(why::read(&client, &id)).await?;
    if arguments.json {
        return terminal::print(&serde_json::to_string_pretty(&explanation)?);
    }
    terminal::print(&render(&explanation, Clock::system().now(), Screen::standard_output()))
}

fn render(explanation: &Explanation, now: Timestamp, screen: Screen) -> String {
    let title = screen.bold(&one_line(&explanation.job));
    std::iter::once(title).chain(screen.pairs(&why::rows(&explanation.reasons, now))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use slipstream_cimi::overview::explain::{Code, Reason};

    use super::*;

    #[test]
    fn each_reason_is_a_line_with_who_and_since_when() {
        let at = |time: &str| Some(time.parse().unwrap());
        let reason = |code, text: &str| Reason {
            code,
            text: text.to_owned(),
            since: None,
            until: None,
            executor: None,
            href: None,
            blocks: false,
        };
        let explanation = Explanation {
            job: "job/0a".to_owned(),
            reasons: vec![
                Reason {
                    executor: Some("Kenny".to_owned()),
                    until: at("2026-11-24T12:00:10Z"),
                    ..reason(Code::Released, "the host does not\u{1b} start")
                },
                Reason { since: at("2026-11-24T11:58:00Z"), ..reason(Code::Other, "something newer") },
            ],
            listed: None,
        };
        let expected = "\
job/0a
  Kenny       the host does not\\u001b start (looks again at 2026-11-24T12:00:10Z)
  the server  something newer, for 2m";
        let screen = Screen { width: None, colours: false };
        assert_eq!(render(&explanation, "2026-11-24T12:00:00Z".parse().unwrap(), screen), expected);
    }
}
