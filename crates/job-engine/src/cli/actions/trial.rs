//! `slipstream-job actions test`: one job in an engine of its own, for the author of an action.

use std::fmt::{Debug, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::{Document, State};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::executors::failure;
use crate::cli::help::ends_with_the_job;
use crate::cli::options;
use crate::cli::options::loading::{PythonOption, folder_of_up, folders_of_a_site};
use crate::cli::terminal::{self, Screen, one_line};
use crate::cli::watch::{self, Ending};
use crate::config::Config;
use crate::engine::Engine;
use crate::executor::load::settings::Loading;
use crate::executor::offers::{Offer, Offers};
use crate::process::clock::Clock;
use crate::process::output;
use crate::process::stop::Stop;
use crate::programs::keepers::Keepers;

/// What `test` is asked for.
#[derive(Debug, Args)]
#[command(after_help = ends_with_the_job!(
    "Needs no server: documents that the action asks for are not there, unless it adds them.",
    "slipstream-job actions test ./backup --target volume/1"
))]
pub struct TestArguments {
    /// Name of an action, or a file: executable, manifest or class file
    #[arg(value_name = "NAME|FILE")]
    action: String,
    /// Which action, if the file has several
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What the job works on
    #[arg(long, value_name = "ID", default_value = "dummy")]
    target: String,
    /// The job as a JSON file; action and target come from the other arguments where it has none
    #[arg(long, value_name = "FILE")]
    job: Option<PathBuf>,
    /// Folder of actions in which NAME is looked for; may be repeated [default: those of `up` and `executor`]
    #[arg(long, value_name = "DIR", value_delimiter = ':')]
    actions_dir: Vec<PathBuf>,
    #[command(flatten)]
    python: PythonOption,
}

/// Does one job, and shows what happens.
pub async fn run(arguments: TestArguments, config: &Config) -> anyhow::Result<ExitCode> {
    let file = if arguments.actions_dir.is_empty() { file_of(&arguments.action)? } else { None };
    let loading = Loading {
        folders: folders(&arguments, file.as_deref(), config)?,
        only: file.clone(),
        python: arguments.python.wanted()?,
        work_dir: None,
    };
    // before anything is there that a signal would leave behind
    let stop = watch::stop_on_signals()?;
    let is_loaded = show_log();
    let begun = Instant::now();
    let keepers =
        Keepers::of_executor().context("cannot prepare this process for programs, allow it the system call prctl")?;
    let engine = Engine::builder()
        .programs(loading, keepers)
        .catalogue(crate::actions::built_in(Clock::system()))
        .slots(1)
        .grace(Duration::ZERO)
        .begins_at_once()
        .start()
        .await?;
    let tried = try_once(&engine, &arguments, file.as_deref(), &is_loaded, &stop, begun).await;
    engine.stop().await?;
    tried
}

async fn try_once(
    engine: &Engine,
    arguments: &TestArguments,
    file: Option<&Path>,
    is_loaded: &AtomicBool,
    stop: &Stop,
    begun: Instant,
) -> anyhow::Result<ExitCode> {
    // whoever is asked for by name need not wait for hosts that have not said what they have
    let is_enough = |offers: &Offers| file.is_none() && offers.actions.contains_key(&arguments.action);
    let offers = tokio::select! {
        biased;
        () = stop.asked() => bail!("stopped before it began"),
        offers = engine.offers(is_enough) => offers,
    };
    is_loaded.store(true, Ordering::Relaxed);
    let name = chosen(&offers, arguments, file)?;
    let job = document(&name, arguments)?;
    let id = engine.client().add(JOB.name, &job, None).await?;
    let ending = watch::until_stopped(engine.client(), &id, None, stop).await?;
    if let Ending::Interrupted(_) = ending {
        // with its program; nobody can look at the job later
        engine.client().operation(&id, "stop").await?;
        output::report(&format!("{id} was stopped"));
        return Ok(ExitCode::from(ending.exit_code()));
    }
    let job = ending.document().map(summary).unwrap_or_default();
    terminal::print(&format!("{job}{:.1} seconds", begun.elapsed().as_secs_f64()))?;
    if let Some(remark) = ending.remark(&id) {
        output::report(&remark);
    }
    Ok(ExitCode::from(ending.exit_code()))
}

/// What the action left in the job, beside state and message.
fn summary(job: &Document) -> String {
    let mut lines = String::new();
    let affected = job.get("affectedResources").and_then(Value::as_array).into_iter().flatten();
    let affected: Vec<&str> = affected.filter_map(|link| link.get("href")?.as_str()).collect();
    let code = job.get("returnCode").map(Value::to_string);
    for (what, value) in [("return code", code), ("affected", (!affected.is_empty()).then(|| affected.join(", ")))] {
        if let Some(value) = value {
            writeln!(lines, "{what} {}", one_line(&value)).expect("writing to a string cannot fail");
        }
    }
    lines
}

/// The job to be done.
fn document(name: &str, arguments: &TestArguments) -> anyhow::Result<Document> {
    let mut job = match &arguments.job {
        None => Document::new(),
        Some(file) => {
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is no JSON object", file.display()))?
        }
    };
    job.insert("action".to_owned(), json!(name));
    job.entry("targetResource").or_insert_with(|| json!({"href": arguments.target}));
    job.insert("state".to_owned(), json!(State::Queued.as_str()));
    Ok(job)
}

/// The file that is meant, if a file is.
fn file_of(action: &str) -> anyhow::Result<Option<PathBuf>> {
    let path = Path::new(action);
    if path.is_file() {
        return Ok(Some(std::path::absolute(path)?));
    }
    let is_named_like_one = path.extension().is_some_and(|extension| extension == "py" || extension == "toml");
    if path.components().count() > 1 || is_named_like_one {
        bail!("there is no file {action}");
    }
    Ok(None)
}

fn folders(arguments: &TestArguments, file: Option<&Path>, config: &Config) -> anyhow::Result<Vec<PathBuf>> {
    if let Some(folder) = file.and_then(Path::parent) {
        return Ok(vec![folder.to_owned()]);
    }
    if !arguments.actions_dir.is_empty() {
        return Ok(arguments.actions_dir.iter().map(std::path::absolute).collect::<Result<_, _>>()?);
    }
    let mut folders = folders_of_a_site(config)?;
    folders.push(folder_of_up(&options::data_dir(None)?));
    Ok(folders)
}

/// The name of the action that is meant; else what is wrong, with all that failed to load of its file.
fn chosen(offers: &Offers, arguments: &TestArguments, file: Option<&Path>) -> anyhow::Result<String> {
    let is_of_file = |offer: &Offer| file.is_none_or(|file| offer.file.as_deref() == Some(file));
    let mut names: Vec<&String> =
        offers.actions.iter().filter(|(_, offer)| is_of_file(offer)).map(|(name, _)| name).collect();
    let wanted = arguments.name.as_ref().or_else(|| file.is_none().then_some(&arguments.action));
    if let Some(wanted) = wanted {
        names.retain(|name| *name == wanted);
    }
    // a program that a manifest beside it starts, under its own name
    let stem = file.and_then(Path::file_stem).and_then(|stem| offers.actions.get_key_value(stem.to_str()?));
    names.extend(stem.map(|(name, _)| name).filter(|_| names.is_empty() && wanted.is_none()));
    if let [name] = names[..] {
        return Ok(name.clone());
    }
    let failed = offers.failed.iter().filter(|failed| file.is_none_or(|file| failed.file == file));
    let failed: Vec<String> = failed.map(|failed| failure(None, failed, Screen::standard_output())).collect();
    if !failed.is_empty() {
        return Err(anyhow!("it does not load\n{}", failed.join("\n")));
    }
    let screen = Screen::standard_output();
    match wanted {
        Some(wanted) => {
            bail!("there is no action {}, only\n{}", one_line(wanted), listed(offers.actions.keys(), screen))
        }
        None if names.is_empty() => bail!("no action is in {}", arguments.action),
        None => bail!(
            "several actions are in {}, choose one with --name\n{}",
            arguments.action,
            listed(names.into_iter(), screen)
        ),
    }
}

/// Names on lines that fit the screen.
fn listed<'n>(names: impl Iterator<Item = &'n String>, screen: Screen) -> String {
    screen.wrapped(&names.map(|name| one_line(name)).collect::<Vec<_>>().join(", "), 2)
}

/// Shows what programs print and ask, and what is worth a warning, in short. To be told when all is loaded.
fn show_log() -> Arc<AtomicBool> {
    let is_loaded = Arc::default();
    tracing_subscriber::registry().with(Shown { is_loaded: Arc::clone(&is_loaded) }).init();
    is_loaded
}

struct Shown {
    is_loaded: Arc<AtomicBool>,
}

impl Shown {
    /// What fails to load is told once, in the end, if it is of what is tried.
    fn is_worth_a_warning(&self, module: &str) -> bool {
        !module.ends_with("::providers") && (self.is_loaded.load(Ordering::Relaxed) || !module.ends_with("::pool"))
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "program" | "job" => Ok(()),
            name => write!(self.others, " {name}={value:?}"),
        };
        written.expect("writing to a string cannot fail");
    }
}

impl<S: Subscriber> Layer<S> for Shown {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let kind = match metadata.target() {
            target if target.ends_with("programs::log") => "log",
            target if target.ends_with("programs::api_socket") => "request",
            target if *metadata.level() <= Level::WARN && self.is_worth_a_warning(target) => "warning",
            _ => return,
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let others = if kind == "warning" { &*fields.others } else { "" };
        output::append(&format!("{kind}: {}{others}", fields.message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_from_a_name() {
        assert!(file_of("backup").unwrap().is_none());
        assert!(file_of("./missing").is_err() && file_of("missing.py").is_err());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backup");
        std::fs::write(&file, "").unwrap();
        assert_eq!(file_of(file.to_str().unwrap()).unwrap(), Some(file));
    }

    #[test]
    fn names_fit_80_columns() {
        let names: Vec<String> = (0..30).map(|number| format!("cleanup_number_{number}")).collect();
        let shown = listed(names.iter(), Screen { width: Some(80), colours: false });
        assert!(
            shown.lines().count() > 5 && shown.lines().all(|line| line.starts_with("  ") && line.len() <= 80),
            "{shown}"
        );
        assert_eq!(shown.split_whitespace().collect::<String>(), names.join(","));
    }

    #[test]
    fn what_the_action_left_is_shown() {
        let job = json!({"returnCode": 3, "affectedResources": [{"href": "a/1"}, {"href": "b/2"}]});
        let Value::Object(job) = job else { panic!("an object") };
        assert_eq!(summary(&job), "return code 3\naffected a/1, b/2\n");
        assert_eq!(summary(&Document::new()), "");
    }
}
