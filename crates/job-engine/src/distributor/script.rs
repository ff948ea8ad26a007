//! [`Script`]: a distributor that is a program, as the original's were: it says in which election it stands, waits to lead, and
//! then says which jobs to add. Its own sleeps are its schedule, so there are no rounds and no high-water mark.

pub mod found;
mod messages;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slipstream_action::protocol::{self, Setup};
use slipstream_action::with_causes;
use slipstream_cimi::{Client, Document, Error};
use slipstream_coordination::Leadership;
use slipstream_coordination::retry::{Complaint, Pauses};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, warn};
use uuid::Uuid;

use self::found::ScriptFile;
use self::messages::{Added, FromScript, Refused, ScriptSetup, ToScript};
use super::complain;
use crate::process::registry::{RegisteredDistributor, Registration};
use crate::process::stop::Stop;
use crate::programs::api_socket::Admission;
use crate::programs::context::Context;
use crate::programs::directories::Directory;
use crate::programs::environment::environment;
use crate::programs::lines;
use crate::programs::log::Log;
use crate::programs::process::{Event, Exit, Process, Start};
use crate::programs::program::{Limits, Program};

/// How long a script may take to say hello.
const HELLO: Duration = Duration::from_secs(10);
/// After a script that failed another is started so soon, and after one that failed at once later and later.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How Python is started.
#[derive(Clone, Debug)]
pub struct Python {
    /// The interpreter: a path, or a name that is looked up in `PATH`.
    pub interpreter: PathBuf,
    /// The folder in which the Python package `slipstream_host` lies.
    pub package: PathBuf,
    /// What the script itself is told on its command line.
    pub arguments: Vec<OsString>,
}

/// A distributor that is a program.
pub struct Script {
    /// Name of the distributor.
    name: String,
    program: Program,
    context: Arc<Context>,
    /// What the script is told first.
    setup: Setup,
    /// Adds its jobs, and asks the server for it.
    client: Client,
    /// A process that has said hello, and has no term yet.
    ready: Mutex<Option<Ready>>,
    pauses: Mutex<Pauses>,
}

struct Ready {
    process: Process,
    /// In which it stands.
    election: String,
    begun: Instant,
    _admission: Option<Admission>,
    _directory: Directory,
}

/// Why a script does not go on.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot make a directory for it")]
    NoDirectory(#[source] std::io::Error),
    #[error(transparent)]
    NoStart(#[from] crate::programs::process::StartError),
    #[error("it did not say hello within {HELLO:?}")]
    Silent,
    #[error("it broke the protocol: {0}")]
    Breach(String),
    #[error("it ended: {0}")]
    Ended(String),
}

impl Script {
    /// A script that has not been started.
    #[must_use]
    pub fn new(script: &ScriptFile, python: &Python, context: Arc<Context>, setup: Setup, client: Client) -> Self {
        let pauses = Mutex::new(Pauses::new(SHORTEST_PAUSE, LONGEST_PAUSE));
        let words = ["-u", "-m", "slipstream_host", "distributor"].map(OsString::from);
        let file = script.file.clone();
        let command = std::iter::once(python.interpreter.clone().into())
            .chain(words)
            .chain([file.clone().into()])
            .chain(python.arguments.iter().cloned())
            .collect();
        let search = python.package.to_string_lossy().into_owned();
        let env = BTreeMap::from([("PYTHONPATH".to_owned(), search)]);
        let program = Program { command, file, env, pass_env: Vec::new(), limits: Limits::default() };
        Self { name: script.name.clone(), program, context, setup, client, ready: Mutex::default(), pauses }
    }

    /// Name of the distributor.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the script, unless one waits already, until it says in which election it stands; `told` hears each time why it
    /// does not. `None` if somebody asks to stop.
    pub(super) async fn election(&self, told: impl Fn(String), stop: &Stop) -> Option<String> {
        if let Some(ready) = &*self.ready.lock().await {
            return Some(ready.election.clone());
        }
        let mut complaint = Complaint::default();
        loop {
            let started = tokio::select! {
                biased;
                () = stop.asked() => return None,
                started = self.start() => started,
            };
            match started {
                Ok(ready) => {
                    let election = ready.election.clone();
                    *self.ready.lock().await = Some(ready);
                    return Some(election);
                }
                Err(failed) => {
                    let cause = with_causes(&failed);
                    told(format!("its script does not start: {cause}"));
                    if complaint.is_new(cause.clone()) {
                        error!(script = %self.program.file.display(), cause, "the script does not start, trying again");
                    }
                    self.pause(stop).await;
                }
            }
        }
    }

    /// Ends when the script that waits for its term has ended.
    pub(super) async fn broken(&self) {
        let mut ready = self.ready.lock().await;
        let Some(waiting) = ready.as_mut() else { return };
        let why = match waiting.process.event(true).await {
            Event::Line(_) => "it said something before it was told to lead".to_owned(),
            Event::Breach(error) => with_causes(&error),
            Event::Silent => "it closed file descriptor 3".to_owned(),
            Event::Ended(exit) => with_last_line(exit, &waiting.process),
        };
        warn!(why, "the script does not wait until it leads, starting it again");
        *ready = None;
    }

    /// One leadership: adds what the script wants to have added, until it ends. Dropped, the script is killed.
    pub(super) async fn serve(
        &self,
        leadership: &Leadership,
        registration: &Registration<RegisteredDistributor>,
        stop: &Stop,
    ) {
        let Some(ready) = self.ready.lock().await.take() else { return };
        let begun = ready.begun;
        let term = Term { script: self, leadership, id: Uuid::new_v4() };
        let ended = tokio::select! {
            biased;
            () = stop.asked() => return,
            ended = term.serve(ready) => ended,
        };
        let cause = match ended {
            Ok(never) => match never {},
            Err(failed) => with_causes(&failed),
        };
        error!(cause, "the script has ended, starting it again");
        registration.update(|distributor| distributor.problem = Some(format!("its script has ended: {cause}")));
        self.pauses.lock().await.reset_after(begun.elapsed());
        self.pause(stop).await;
    }

    async fn pause(&self, stop: &Stop) {
        let pause = self.pauses.lock().await.take();
        stop.pause(pause).await;
    }

    async fn start(&self) -> Result<Ready, Failed> {
        let directory = self.context.work_dir.make().map_err(Failed::NoDirectory)?;
        let variables = [("TMPDIR", directory.path().into())];
        let start = Start {
            keepers: &self.context.keepers,
            program: &self.program,
            directory: directory.path(),
            errors: self.context.work_dir.beside("errors"),
            stacks: None,
            environment: environment(&self.program, std::env::vars_os(), variables),
            log: Log::new(self.name.clone()),
        };
        let begun = Instant::now();
        let mut process = Process::start(start).await?;
        let admission = self.context.api_socket.as_ref().map(|socket| socket.admit(self.client.clone(), None));
        let setup = ScriptSetup {
            setup: Setup { socket: self.context.socket(), ..self.setup.clone() },
            api: admission.as_ref().map(Admission::api).unwrap_or_default(),
            directory: directory.path().to_string_lossy().into_owned(),
        };
        say(&mut process, &ToScript::Setup(setup)).await?;
        let hello = timeout(HELLO, next(&mut process)).await.map_err(|_| Failed::Silent)??;
        let FromScript::Hello(hello) = hello else {
            return Err(Failed::Breach("its first line is not hello".to_owned()));
        };
        if hello.protocol != protocol::VERSION {
            return Err(Failed::Breach(format!("it speaks version {} of the protocol", hello.protocol)));
        }
        Ok(Ready { process, election: hello.election, begun, _admission: admission, _directory: directory })
    }
}

/// One leadership of a script.
struct Term<'a> {
    script: &'a Script,
    leadership: &'a Leadership,
    /// Tells its adds from those of other terms.
    id: Uuid,
}

impl Term<'_> {
    async fn serve(&self, mut ready: Ready) -> Result<std::convert::Infallible, Failed> {
        let process = &mut ready.process;
        say(process, &ToScript::Lead {}).await?;
        loop {
            match next(process).await? {
                FromScript::Add(add) => {
                    let answer = self.add(add.number, &add.job).await;
                    say(process, &answer).await?;
                }
                FromScript::Hello(_) => return Err(Failed::Breach("it says hello twice".to_owned())),
            }
        }
    }

    /// Adds a job, however long that takes: a repeated request with the same key adds nothing twice. What the server refuses is
    /// passed over, so that it does not hold up those to come.
    async fn add(&self, number: u64, job: &Document) -> ToScript {
        let key = format!("{} {} {number}", self.script.name, self.id);
        let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
        loop {
            let error = match self.script.client.add("job", job, Some(&key)).await {
                Ok(id) => return ToScript::Added(Added { number, id }),
                Err(error) => error,
            };
            if is_about_the_job(&error) {
                let reason = with_causes(&error);
                error!(key, reason, "skipping a job that the server refuses");
                return ToScript::Refused(Refused { number, reason });
            }
            if complaint.is_new(with_causes(&error)) {
                complain("cannot add a job", &error);
            } else {
                debug!(%error, "cannot add a job");
            }
            tokio::select! {
                biased;
                () = self.leadership.lost() => std::future::pending().await,
                () = tokio::time::sleep(pauses.take()) => {}
            }
        }
    }
}

/// Whether the same job will be refused again.
fn is_about_the_job(error: &Error) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.status, 400 | 413 | 422))
}

/// How a program ended, and what it said last: most likely why.
fn with_last_line(exit: Exit, process: &Process) -> String {
    process.log().last_words().map_or_else(|| exit.in_words(), |last| format!("{}: {last}", exit.in_words()))
}

async fn say(process: &mut Process, message: &ToScript) -> Result<(), Failed> {
    let mut line = serde_json::to_vec(message).expect("its keys are texts");
    line.push(b'\n');
    process.write(&line).await.map_err(|error| Failed::Breach(format!("it reads nothing: {error}")))
}

async fn next(process: &mut Process) -> Result<FromScript, Failed> {
    loop {
        return match process.event(true).await {
            Event::Line(line) => lines::message(&line).map_err(|error| Failed::Breach(error.to_string())),
            Event::Breach(error) => Err(Failed::Breach(with_causes(&error))),
            // most likely it ends
            Event::Silent => continue,
            Event::Ended(exit) => Err(Failed::Ended(with_last_line(exit, process))),
        };
    }
}
