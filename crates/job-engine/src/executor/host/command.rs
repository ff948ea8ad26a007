//! [`Command`]: an action that is a program, started once for each job.

use std::ffi::OsString;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use slipstream_action::protocol::FromHost;
use slipstream_action::{Failure, JobHandle, Success, with_causes};
use slipstream_cimi::Job;
use tokio::time::Instant;
use tracing::debug;

use super::{Outcome, Run, at, conversation};
use crate::executor::load::provider::{CommandProvider, Limits};
use crate::programs::context::Context;
use crate::programs::directories::Directory;
use crate::programs::environment::environment;
use crate::programs::log::{Log, Stream};
use crate::programs::process::{Event, Exit, Input, Process, Start, StartError};
use crate::programs::throttle::Throttle;
use crate::programs::{limits, lines};

/// A program that does a job and ends.
#[derive(Debug)]
pub struct Command {
    provider: CommandProvider,
    context: Arc<Context>,
}

impl Command {
    pub(crate) fn provider(&self) -> &CommandProvider {
        &self.provider
    }

    pub(crate) fn new(provider: CommandProvider, context: Arc<Context>) -> Self {
        Self { provider, context }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Does a job. Ends when nothing of the program is left; dropped before, it is killed.
    pub(crate) async fn run(&self, run: &Run) -> Outcome {
        let directory = match self.context.work_dir.make() {
            Ok(directory) => directory,
            Err(error) => return Outcome::Released(format!("cannot make a directory for the job: {error}")),
        };
        let mut process = match self.start(run, &directory).await {
            Ok(process) => process,
            Err(error) => return Outcome::Released(with_causes(&error)),
        };
        let done_by = run.notes.done_by(process.shown(&self.provider.program));
        let ended = follow(&mut process, run, &self.provider.program.limits).await;
        let outcome = outcome(ended, process.log());
        run.output.set(process.log().last_lines());
        drop((process, done_by));
        self.context.clear(directory).await;
        Outcome::Ended(outcome)
    }

    async fn start(&self, run: &Run, directory: &Directory) -> Result<Process, StartError> {
        let program = &self.provider.program;
        let log = Log::new(self.provider.name.clone());
        log.begin(run.about.clone());
        let start = Start {
            keepers: &self.context.keepers,
            program,
            directory: directory.path(),
            errors: self.context.work_dir.beside("errors"),
            stacks: None,
            environment: environment(program, std::env::vars_os(), self.variables(run, directory)),
            log,
        };
        Process::start(start).await
    }

    /// What the program is told of its job.
    fn variables(&self, run: &Run, directory: &Directory) -> Vec<(&'static str, OsString)> {
        let job = run.job.job();
        let target = job.target_resource.as_ref().map_or("", |target| &*target.href);
        let deadline = run.deadline.map(|deadline| deadline.to_string()).unwrap_or_default();
        vec![
            ("TMPDIR", directory.path().into()),
            ("SLIPSTREAM_JOB", (&*job.id).into()),
            ("SLIPSTREAM_ACTION", (&*job.action).into()),
            ("SLIPSTREAM_TARGET", target.into()),
            ("SLIPSTREAM_RERUN", run.job.is_rerun().to_string().into()),
            ("SLIPSTREAM_DEADLINE", deadline.into()),
            ("SLIPSTREAM_EXECUTOR", (&*self.context.executor).into()),
            ("SLIPSTREAM_SOCKET", self.context.socket().unwrap_or_default().into()),
            ("SLIPSTREAM_API", (&*run.api).into()),
        ]
    }
}

/// How a run ended.
#[derive(Debug)]
enum Ended {
    /// The program did.
    Exit(Exit),
    /// It was killed for this.
    Killed(String),
}

/// Brings the job in, takes reports out, passes a stop on, and waits until nothing of the program is left.
async fn follow(process: &mut Process, run: &Run, limits: &Limits) -> Ended {
    let (keeper, input) = (process.keeper(), process.take_input());
    let mut give = pin!(give(input, run.job.job()));
    let mut exceeded = pin!(limits::exceeded(keeper, limits, Duration::ZERO));
    let mut throttle = Throttle::default();
    let (mut given, mut kill_at, mut killed_for) = (false, None, None);
    loop {
        let pause = throttle.pause();
        tokio::select! {
            biased;
            event = process.event(pause.is_none()) => match event {
                Event::Line(line) => {
                    throttle.count();
                    if let (Err(breach), None) = (report(&run.job, &line), &killed_for) {
                        killed_for = Some(breach);
                        process.signal(Signal::KILL);
                    }
                }
                Event::Breach(error) => {
                    killed_for.get_or_insert(format!("broke the protocol: {}", with_causes(&error)));
                    process.signal(Signal::KILL);
                }
                Event::Silent => {}
                Event::Ended(exit) => return killed_for.map_or(Ended::Exit(exit), Ended::Killed),
            },
            () = &mut give, if !given => given = true,
            () = at(pause) => {}
            () = run.job.cancelled(), if kill_at.is_none() => {
                process.ask_to_stop();
                kill_at = Some(Instant::now() + run.stop_grace);
            }
            () = at(kill_at) => {
                process.signal(Signal::KILL);
                // what is not gone then is killed once more
                kill_at = Some(Instant::now() + run.stop_grace.max(Duration::from_secs(1)));
            }
            why = &mut exceeded, if killed_for.is_none() => {
                killed_for = Some(why);
                process.signal(Signal::KILL);
            }
        }
    }
}

/// The job on its standard input, and the end of it. A program need not read it.
async fn give(input: Option<Input>, job: &Job) {
    let Some(input) = input else { return };
    let mut document = serde_json::to_vec(job).expect("a job's keys are texts");
    document.push(b'\n');
    if let Err(error) = input.write(&document).await {
        debug!(%error, "the program does not read its job");
    }
}

/// Takes over what a line reports, or says how it breaks the protocol.
fn report(job: &JobHandle, line: &[u8]) -> Result<(), String> {
    let breach = |why: &dyn std::fmt::Display| format!("broke the protocol: {why}");
    let said: FromHost = lines::message(line).map_err(|error| breach(&error))?;
    let FromHost::Report(reported) = said else { return Err(breach(&"a command may only report")) };
    conversation::report(job, reported);
    Ok(())
}

/// What the end of a program says of its job. The last word of one that succeeded is what it printed; of one that failed, what
/// it complained of.
fn outcome(ended: Ended, log: &Log) -> Result<Success, Failure> {
    let (output, error) = (log.last_line(Stream::Output), log.last_line(Stream::Error));
    let exit = match ended {
        Ended::Exit(Exit::Code(0)) => return Ok(Success { return_code: Some(0), message: output.or(error) }),
        Ended::Killed(why) => return Err(Failure::new(why)),
        Ended::Exit(exit) => exit,
    };
    let last = error.or(output);
    Err(match exit {
        Exit::Code(code) => {
            Failure { message: last.unwrap_or_else(|| exit.in_words()), return_code: Some(i64::from(code)) }
        }
        Exit::Signal(_) => {
            Failure::new(last.map_or_else(|| exit.in_words(), |last| format!("{}: {last}", exit.in_words())))
        }
    })
}
