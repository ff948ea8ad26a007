//! `slipstream-job config`: what holds for the services of this machine, and whether it can.

pub mod reference;
mod service;
mod units;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use self::service::{Service, Shown};
use super::settings::keys;
use super::{COMMAND_FAILED, example, terminal};

/// What `config` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "Both read what the services of the packages read: configuration files,\n\
     /etc/default/slipstream-job-* and the units.",
    "slipstream-job config check"
))]
pub struct ConfigArguments {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show each value that holds for a service, and where it comes from
    #[command(
        mut_arg("json", |json| json.help("Print the values as a JSON array")),
        after_help = example!("Passwords are not shown.", "slipstream-job config show executor")
    )]
    Show(Asked),
    /// Check whether the services would start with their configuration
    #[command(
        mut_arg("json", |json| json.help("Print faults and warnings as a JSON array")),
        after_help = concat!(
            "Exit codes: 0 no fault, 2 a fault, or the command failed.\n\n",
            "Example: slipstream-job config check executor"
        )
    )]
    Check(Asked),
}

#[derive(Debug, Args)]
struct Asked {
    /// Service: server, executor, distributor or distributor@NAME [default: all three]
    #[arg(value_name = "SERVICE", value_parser = parse_part)]
    part: Option<Part>,
    /// Read the files of the machine whose file system is in this folder
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[arg(long)]
    json: bool,
}

/// A service of the packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Server,
    Executor,
    /// The one of this name.
    Distributor(String),
}

impl Part {
    /// The command of the service, which its table in a file is mostly called after.
    fn command(&self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Executor => "executor",
            Self::Distributor(_) => "distributor",
        }
    }
}

/// The instance that is looked at if none is named; each is started with the same options.
const ANY_DISTRIBUTOR: &str = "jobs_cleanup";

fn parse_part(text: &str) -> Result<Part, String> {
    match text.split_once('@') {
        Some(("distributor", name)) if !name.is_empty() => Ok(Part::Distributor(name.to_owned())),
        None if text == "server" => Ok(Part::Server),
        None if text == "executor" => Ok(Part::Executor),
        None if text == "distributor" => Ok(Part::Distributor(ANY_DISTRIBUTOR.to_owned())),
        _ => Err("expected server, executor, distributor or distributor@NAME".to_owned()),
    }
}

impl Asked {
    async fn services(&self) -> Vec<Service> {
        let all = || vec![Part::Server, Part::Executor, Part::Distributor(ANY_DISTRIBUTOR.to_owned())];
        let parts = self.part.clone().map_or_else(all, |part| vec![part]);
        let mut services = Vec::new();
        for part in parts {
            services.push(Service::look(part, &self.root).await);
        }
        services
    }
}

/// Shows or checks.
pub async fn run(arguments: ConfigArguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        ConfigCommand::Show(asked) => show(&asked).await,
        ConfigCommand::Check(asked) => check(&asked).await,
    }
}

async fn show(asked: &Asked) -> anyhow::Result<ExitCode> {
    let services = asked.services().await;
    let shown: Vec<Shown> = services.iter().flat_map(Service::shown).collect();
    let text = if asked.json { serde_json::to_string_pretty(&shown)? } else { rendered(&services) };
    terminal::print(&text)?;
    Ok(if services.iter().any(|service| service.parsed.is_none()) {
        ExitCode::from(COMMAND_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

fn rendered(services: &[Service]) -> String {
    let mut blocks = Vec::new();
    for service in services {
        let mut lines = vec![format!("# {}", service.unit.name)];
        if service.parsed.is_none() {
            lines.extend(service.faults.iter().map(|fault| format!("# cannot be read: {fault}")));
        }
        let shown = service.shown();
        let assignments: Vec<String> = shown.iter().map(Shown::assignment).collect();
        let width = assignments.iter().map(|text| text.chars().count()).filter(|width| *width < MOST_ALIGNED).max();
        let mut table = "";
        for (one, text) in shown.iter().zip(&assignments) {
            if one.table != table {
                table = one.table;
                lines.push(format!("[{table}]"));
            }
            lines.push(format!("{text:width$}   # {}", one.from, width = width.unwrap_or_default()));
        }
        blocks.push(lines.join("\n"));
    }
    blocks.join("\n\n")
}

/// Longer assignments push their remark aside.
const MOST_ALIGNED: usize = 60;

/// What `check` found of a service.
#[derive(Serialize)]
struct Report<'a> {
    service: &'a str,
    faults: &'a [String],
    warnings: &'a [String],
}

async fn check(asked: &Asked) -> anyhow::Result<ExitCode> {
    let services = asked.services().await;
    let reports: Vec<Report> = services
        .iter()
        .map(|Service { unit, faults, warnings, .. }| Report { service: &unit.name, faults, warnings })
        .collect();
    let text = if asked.json { serde_json::to_string_pretty(&reports)? } else { render(&reports) };
    terminal::print(&text)?;
    let is_sound = reports.iter().all(|report| report.faults.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(COMMAND_FAILED) })
}

fn render(reports: &[Report]) -> String {
    let lines = reports.iter().flat_map(|Report { service, faults, warnings }| {
        let count = match faults.len() {
            0 => "no fault".to_owned(),
            1 => "1 fault".to_owned(),
            count => format!("{count} faults"),
        };
        let first = std::iter::once(format!("{service}: {count}"));
        let faults = faults.iter().map(|fault| format!("  {fault}"));
        first.chain(faults).chain(warnings.iter().map(|warning| format!("  warning: {warning}")))
    });
    lines.collect::<Vec<_>>().join("\n")
}

impl Shown {
    /// As it could stand in a file.
    fn assignment(&self) -> String {
        let Self { key, value, is_list, is_switch, .. } = self;
        match value.as_deref() {
            None => format!("#{key}"),
            Some(_) if self.is_secret => format!("{key} = (set)"),
            Some([word]) if *is_switch && keys::SWITCHES.contains(&&**word) => format!("{key} = {word}"),
            Some([word]) if !is_list => format!("{key} = {}", written(word)),
            Some(words) => {
                format!("{key} = [{}]", words.iter().map(|word| written(word)).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A number as it is, all else as a string.
pub fn written(word: &str) -> String {
    let is_number = word.parse::<i64>().is_ok_and(|number| number.to_string() == word);
    if is_number { word.to_owned() } else { toml::Value::from(word).to_string() }
}
