//! What a service writes into its log: standard error or a file, as much as is asked for. And what it says to whoever started
//! it, on standard output.

mod json;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env::VarError;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tracing::span::Record;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{self, DefaultFields, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};
use tracing_subscriber::fmt::{self, FmtContext, FormattedFields};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::output;
pub(crate) use crate::process::output::announce;
use crate::process::service_manager;
use crate::process::supervise::panic_message;

/// Environment variable with the log's filter, e.g. `debug` or `warn,slipstream_job_engine=debug`.
pub const LOG_VARIABLE: &str = "SLIPSTREAM_LOG";

/// What is not logged unless somebody asks for it by name: a library that says of each try what we say once.
const QUIET: &str = "zookeeper_client=error";

/// The target of what is logged whatever the filter holds, because somebody has asked for just that.
pub(crate) const ALWAYS: &str = "slipstream_job_engine::always";

/// Where the log goes and how it looks.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What is logged: a level, or a filter; else the variable says it.
    pub filter: Option<String>,
    /// All of it goes there, and to standard error what is a warning or worse.
    pub file: Option<PathBuf>,
    pub form: Form,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people
    #[default]
    Text,
    /// An object in JSON for each line
    Json,
}

/// Starts the log on standard error; `default` is its filter unless the environment has one. Panics are logged too.
pub fn start(default: &str) -> anyhow::Result<()> {
    start_as(&Wanted::default(), default)
}

/// Starts the log as it is wanted. A file that cannot be written is no reason not to start: then all goes to standard error.
pub(crate) fn start_as(wanted: &Wanted, default: &str) -> anyhow::Result<()> {
    if wanted.form == Form::Json {
        output::log_as_json();
    }
    let unwritable = wanted.file.as_ref().and_then(|file| output::log_to(file).err());
    let has_file = wanted.file.is_some() && unwritable.is_none();
    let mut layers = vec![lines(wanted.form, Target::StandardError { beside_file: has_file })];
    layers.extend(has_file.then(|| lines(wanted.form, Target::File)));
    let (filter, handle) = reload::Layer::new(filter(wanted, default)?);
    tracing_subscriber::registry().with(layers).with(filter).init();
    // a process has one log
    FILTER.get_or_init(|| handle);
    std::panic::set_hook(Box::new(log_panic));
    if let (Some(error), Some(file)) = (unwritable, &wanted.file) {
        tracing::warn!(file = %file.display(), %error, "cannot write the log file: all goes to standard error");
    }
    Ok(())
}

/// Whether there can be such a log.
pub(crate) fn check(wanted: &Wanted) -> anyhow::Result<()> {
    filter(wanted, "info").map(drop)
}

fn filter(wanted: &Wanted, default: &str) -> anyhow::Result<EnvFilter> {
    let asked_for = match (&wanted.filter, std::env::var(LOG_VARIABLE)) {
        (Some(filter), _) => filter.clone(),
        (None, Err(VarError::NotPresent)) => String::new(),
        (None, found) => found.with_context(|| format!("{LOG_VARIABLE} is not UTF-8"))?,
    };
    parsed(if asked_for.is_empty() { default } else { &asked_for })
}

/// The filter of this process's log.
static FILTER: OnceLock<reload::Handle<EnvFilter, Filtered>> = OnceLock::new();

/// What the filter is put upon.
type Filtered = Layered<Vec<Box<dyn Layer<Registry> + Send + Sync>>, Registry>;

/// The log holds this from now on: a level, or a filter.
pub(crate) fn log_from_now_on(wanted: &str) -> anyhow::Result<()> {
    let filter = parsed(wanted)?;
    let handle = FILTER.get().context("this process has no log")?;
    handle.reload(filter).map_err(|error| anyhow!(error).context("cannot change what is logged"))
}

fn parsed(asked_for: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(format!("{QUIET},{asked_for},{ALWAYS}=info")).map_err(|error| {
        // its text holds that of its source
        anyhow!(error.to_string()).context(format!(
            "{asked_for:?} is no filter of the log: give a level such as debug, or warn,slipstream_job_engine=debug"
        ))
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    File,
    /// Beside a file what matters is enough.
    StandardError {
        beside_file: bool,
    },
}

/// Writes lines of a form to a target.
fn lines(form: Form, target: Target) -> Box<dyn Layer<Registry> + Send + Sync> {
    let writer = match target {
        Target::File => BoxMakeWriter::new(|| output::Log::File),
        Target::StandardError { beside_file: false } => BoxMakeWriter::new(|| output::Log::StandardError),
        Target::StandardError { beside_file: true } => {
            BoxMakeWriter::new((|| output::Log::StandardError).with_max_level(Level::WARN))
        }
    };
    // spans are formatted once for all targets: colours would be in the file, too
    let colours =
        target == Target::StandardError { beside_file: false } && console::Term::stderr().features().colors_supported();
    // an error would be told on standard error itself, and panic where that takes nothing
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false).fmt_fields(Fields);
    if form == Form::Json {
        layer.with_ansi(false).fmt_fields(json::Fields).event_format(json::Lines(Clock::system())).boxed()
    } else if target != Target::File && is_journal() {
        layer.with_ansi(false).event_format(ForJournal).boxed()
    } else {
        layer.with_ansi(colours).with_target(false).boxed()
    }
}

/// Whether standard error is the journal: `JOURNAL_STREAM` names its device and inode (`systemd.exec(5)`).
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let opened = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    opened.and_then(|file| file.metadata()).is_ok_and(|file| named == format!("{}:{}", file.dev(), file.ino()))
}

/// The fields of a span, as text that all targets share.
struct Fields;

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        DefaultFields::new().format_fields(writer, fields)
    }

    /// What a span learns later is added for each target, and is to be there once.
    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> std::fmt::Result {
        let mut added = String::new();
        self.format_fields(Writer::new(&mut added), fields)?;
        if !current.fields.ends_with(&added) {
            current.fields.push(' ');
            current.fields.push_str(&added);
        }
        Ok(())
    }
}

/// Lines as the journal takes them: it has the time itself, and reads the level from their beginning (`sd-daemon(3)`).
struct ForJournal;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, Fields> for ForJournal {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Fields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        format::format().without_time().with_level(false).with_target(false).format_event(context, writer, event)
    }
}

/// The standard hook writes to standard error itself, and waits for its reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current().name().unwrap_or_default().to_owned();
    tracing::error!(thread, place, "panicked: {}", panic_message(panic.payload()));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        output::append(&backtrace.to_string());
    }
}

/// Says that it is at work.
pub(crate) fn announce_up(activity: &Activity, text: &str) {
    announce(text);
    service_manager::ready(activity);
}

/// Says that it stops, and what may go on for how long.
pub(crate) fn announce_stopping(activity: &Activity, what: &'static str, grace: Duration) {
    match grace.as_secs() {
        0 => announce("stopping"),
        seconds => announce(&format!("stopping: {what} may take up to {seconds} seconds; again to stop at once")),
    }
    service_manager::stopping(activity, what, grace);
}
