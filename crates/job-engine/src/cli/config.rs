//! `slipstream-job config`: what holds for the services of this machine, and whether it can.

mod access;
pub mod reference;
mod service;
mod units;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use self::service::{Service, Shown};
use super::settings::keys;
use super::{COMMAND_FAILED, example, terminal};

/// What `config` is asked for.
#[derive(Debug, Args)]
#[command(after_help = example!(
    "Both read what the services of the packages read: configuration files (or the\n\
     one of --config), /etc/default/slipstream-job-* and the units.",
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
        mut_arg("json", |json| json.help("Print the values and faults of each service as a JSON array")),
        after_help = concat!(
            "Passwords are not shown. Exit codes: 0 no fault, 2 a fault, or the command failed.\n\n",
            "Example: slipstream-job config show executor"
        )
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
    /// Service: server, executor, distributor, distributor@NAME or up [default: the first three]
    #[arg(value_name = "SERVICE", value_parser = parse_part)]
    part: Option<Part>,
    /// For tests: read the files of the machine whose file system is in this folder
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
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
    /// All in one process, as somebody starts it by hand.
    Up,
}

impl Part {
    /// The command of the service, which its table in a file is mostly called after.
    fn command(&self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Executor => "executor",
            Self::Distributor(_) => "distributor",
            Self::Up => "up",
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
        None if text == "up" => Ok(Part::Up),
        None if text == "distributor" => Ok(Part::Distributor(ANY_DISTRIBUTOR.to_owned())),
        _ => Err("expected server, executor, distributor, distributor@NAME or up".to_owned()),
    }
}

impl Asked {
    async fn services(&self, named: Option<&Path>) -> Vec<Service> {
        let all = || vec![Part::Server, Part::Executor, Part::Distributor(ANY_DISTRIBUTOR.to_owned())];
        let parts = self.part.clone().map_or_else(all, |part| vec![part]);
        let mut services = Vec::new();
        for part in parts {
            services.push(Service::look(part, &self.root, named).await);
        }
        services
    }
}

/// Shows or checks; the file that is `named` takes the place of the usual ones.
pub async fn run(arguments: ConfigArguments, named: Option<&Path>) -> anyhow::Result<ExitCode> {
    let named = named.filter(|path| !path.as_os_str().is_empty());
    let (ConfigCommand::Show(asked) | ConfigCommand::Check(asked)) = &arguments.command;
    let services = asked.services(named).await;
    let text = match (&arguments.command, asked.json) {
        (ConfigCommand::Show(_), true) => {
            serde_json::to_string_pretty(&services.iter().map(Listing::of).collect::<Vec<_>>())?
        }
        (ConfigCommand::Show(_), false) => rendered(&services),
        (ConfigCommand::Check(_), true) => {
            serde_json::to_string_pretty(&services.iter().map(Report::of).collect::<Vec<_>>())?
        }
        (ConfigCommand::Check(_), false) => render(&services),
    };
    terminal::print(&text)?;
    let is_sound = services.iter().all(|service| service.faults.is_empty());
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(COMMAND_FAILED) })
}

/// What `show` tells programs of a service.
#[derive(Serialize)]
struct Listing<'a> {
    service: &'a str,
    faults: &'a [String],
    /// Those that can be told in spite of the faults.
    values: Vec<Shown>,
}

impl<'a> Listing<'a> {
    fn of(service: &'a Service) -> Self {
        Self { service: &service.unit.name, faults: &service.faults, values: service.shown() }
    }
}

fn rendered(services: &[Service]) -> String {
    let mut blocks = Vec::new();
    for service in services {
        let mut lines = vec![format!("# {}", service.unit.name)];
        lines.extend(service.faults.iter().map(|fault| format!("# fault: {fault}")));
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

impl<'a> Report<'a> {
    fn of(Service { unit, faults, warnings, .. }: &'a Service) -> Self {
        Self { service: &unit.name, faults, warnings }
    }
}

fn render(services: &[Service]) -> String {
    let lines = services.iter().flat_map(|Service { unit, faults, warnings, .. }| {
        let count = match faults.len() {
            0 => "no fault".to_owned(),
            1 => "1 fault".to_owned(),
            count => format!("{count} faults"),
        };
        let first = std::iter::once(format!("{}: {count}", unit.name));
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
