//! `slipstream-job doctor`: whether the engine is well, for people and for monitoring.

use std::process::ExitCode;

use slipstream_cimi::overview::doctor::{Diagnosis, Health, PLACE};

use super::JOB_NOT_DONE;
use super::options::connection::ShowOptions;
use super::terminal::{Screen, one_line};

/// Shows what is well and what is not; exits with 1 if work does not get done.
pub async fn run(options: ShowOptions) -> anyhow::Result<ExitCode> {
    let diagnosis: Diagnosis = options.connection.view(PLACE).await?;
    options.print(&diagnosis, |screen| render(&diagnosis, screen))?;
    Ok(if diagnosis.worst() == Health::Ill { ExitCode::from(JOB_NOT_DONE) } else { ExitCode::SUCCESS })
}

fn render(diagnosis: &Diagnosis, screen: Screen) -> String {
    let row = |finding: &slipstream_cimi::overview::doctor::Finding| {
        let sign = match finding.health {
            Health::Well => "✓",
            Health::Doubtful => "!",
            Health::Ill => "✕",
        };
        let hint = finding.hint.as_deref().map(|hint| format!("\n{}", one_line(hint))).unwrap_or_default();
        (format!("{sign} {}", one_line(&finding.about)), format!("{}{hint}", one_line(&finding.text)))
    };
    let rows: Vec<(String, String)> = diagnosis.findings.iter().map(row).collect();
    screen.pairs(&rows).join("\n")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use slipstream_cimi::overview::doctor::Finding;

    use super::*;

    #[test]
    fn each_point_has_its_sign_and_what_to_do() {
        let finding = |about: &str, health, text: &str, hint: Option<&str>| Finding {
            about: about.to_owned(),
            health,
            text: text.to_owned(),
            hint: hint.map(str::to_owned),
        };
        let findings = vec![
            finding("store", Health::Well, "it takes writes", None),
            finding("executors", Health::Doubtful, "none is registered", Some("start one")),
            finding("actions", Health::Ill, "3 jobs\u{1b} wait", Some("start an executor")),
        ];
        let diagnosis = Diagnosis { time: Timestamp::UNIX_EPOCH, version: "1".to_owned(), findings };
        let expected = "  ✓ store      it takes writes
  ! executors  none is registered
               start one
  ✕ actions    3 jobs\\u001b wait
               start an executor";
        assert_eq!(render(&diagnosis, Screen { width: None, colours: false }), expected);
        assert_eq!(diagnosis.worst(), Health::Ill);
    }
}
