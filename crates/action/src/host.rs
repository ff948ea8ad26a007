//! [`run`]: makes a program a host, which does jobs for an executor (`docs/action-host-protocol.md`).

mod outlet;
mod pipes;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::{env, thread};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use slipstream_cimi::client::TransportError;
use slipstream_cimi::{Client, Job, Transport, UnixTransport};
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use self::outlet::Outlet;
use self::pipes::Pipes;
use crate::protocol::{End, EndState, FromHost, Hello, Lines, Offered, Run, Setup, ToHost, TooLong, VERSION};
use crate::{Catalogue, Failure, JobHandle, Success, left_out_note, shortened, with_causes};

/// Does jobs for the executor that has started this program, one at a time, until there are no more of them; call it
/// first in `main`, and nothing else there.
///
/// Standard output and error are the log. Actions run on one thread, and what blocks it delays neither reports nor
/// [`JobHandle::cancelled`], which is what SIGTERM becomes; a job that does not end then is killed with the program. Started
/// by hand it says how to try it, and the exit code is 2.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use slipstream_action::{Catalogue, Failure, JobHandle, Success, host};
///
/// async fn greet(job: JobHandle) -> Result<Success, Failure> {
///     job.set_progress(50);
///     Ok(Success::with_message("hello"))
/// }
///
/// fn main() -> ExitCode {
///     host::run(Catalogue::new().with("greet", greet))
/// }
/// ```
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "it is written as one expression, and nothing comes after it")]
pub fn run(catalogue: Catalogue) -> ExitCode {
    let Some(pipes) = Pipes::take() else {
        tell(&how_to_try(&catalogue));
        return ExitCode::from(2);
    };
    match serve(&catalogue, pipes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Why a host ends before its executor wants it to.
#[derive(Debug, thiserror::Error)]
enum HostError {
    #[error("cannot read what the executor says")]
    Read(#[source] io::Error),
    #[error("cannot speak to the executor")]
    Write(#[source] io::Error),
    #[error("cannot start")]
    Start(#[source] io::Error),
    #[error("the executor sends a line that is too long")]
    TooLong(#[from] TooLong),
    #[error("the executor says what this version does not understand")]
    NotUnderstood(#[source] serde_json::Error),
    #[error("the executor sends no setup first, or a second one")]
    Setup,
    #[error("the executor speaks versions {0:?} of the protocol, and this program {VERSION}: build it anew")]
    Versions(Vec<u32>),
}

fn serve(catalogue: &Catalogue, pipes: Pipes) -> Result<(), HostError> {
    let jobs = one_thread()?;
    let outlet = Arc::new(Outlet::new(pipes.reports));
    watch(outlet.clone())?;
    let served = jobs.block_on(async {
        let mut orders = Orders::new(pipes.orders).map_err(HostError::Read)?;
        let Some(first) = orders.next().await? else { return Ok(()) };
        let ToHost::Setup(setup) = first else { return Err(HostError::Setup) };
        if !setup.protocols.contains(&VERSION) {
            return Err(HostError::Versions(setup.protocols));
        }
        outlet.say(&FromHost::Hello(hello(catalogue))).map_err(HostError::Write)?;
        while let Some(order) = orders.next().await? {
            let ToHost::Run(run) = order else { return Err(HostError::Setup) };
            let end = work(catalogue, &setup, run, &outlet).await;
            outlet.end(end).map_err(HostError::Write)?;
        }
        Ok(())
    });
    // what an action has left to other threads ends with the program
    jobs.shutdown_background();
    served
}

/// A runtime of this thread.
fn one_thread() -> Result<Runtime, HostError> {
    Builder::new_current_thread().enable_all().build().map_err(HostError::Start)
}

/// Sends reports on and hears of SIGTERM, on a thread of its own: an action may block the other one.
fn watch(outlet: Arc<Outlet>) -> Result<(), HostError> {
    let runtime = one_thread()?;
    // heard from now on, so that it does not end the program
    let stops = {
        let _runtime = runtime.enter();
        outlet::stops().map_err(HostError::Start)?
    };
    let thread = thread::Builder::new().name("reports".to_owned());
    thread.spawn(move || runtime.block_on(outlet.watch(stops))).map(drop).map_err(HostError::Start)
}

fn hello(catalogue: &Catalogue) -> Hello {
    let offered = |name: &str| Offered { name: name.to_owned(), ..Offered::default() };
    Hello {
        protocol: VERSION,
        program: program(),
        actions: catalogue.names().map(offered).collect(),
        ..Hello::default()
    }
}

/// Name of this program, for people.
fn program() -> String {
    let path = env::args_os().next().unwrap_or_default();
    Path::new(&path).file_name().unwrap_or(&path).to_string_lossy().into_owned()
}

/// Does a job, and answers what is to be said in the end.
async fn work(catalogue: &Catalogue, setup: &Setup, run: Run, outlet: &Outlet) -> End {
    let number = run.number;
    let job = match Job::from_document(run.job) {
        Ok(job) => job,
        Err(error) => return ended(number, Err(Failure::new(format!("cannot read the job: {error}")))),
    };
    let Some(registered) = catalogue.find(&job.action) else {
        let message = Some(format!("this host does not have the action {}", job.action));
        return End { state: EndState::Released, message, ..ended(number, Ok(Success::default())) };
    };
    let cancellation = CancellationToken::new();
    let reports = outlet.begin(number, cancellation.clone());
    let handle = JobHandle::new(job, client(setup, &run.api), run.rerun, reports.clone(), cancellation);
    let action = registered.action.clone();
    let outcome = match tokio::spawn(async move { action.run(handle).await }).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Failure::new(match error.try_into_panic() {
            Ok(panic) => panic_message(&*panic),
            Err(error) => error.to_string(),
        })),
    };
    let mut end = ended(number, outcome);
    if reports.left_out() > 0 {
        let note = left_out_note(reports.left_out());
        end.message = Some(end.message.map_or_else(|| note.clone(), |message| format!("{message}\n{note}")));
    }
    end
}

fn ended(number: u64, outcome: Result<Success, Failure>) -> End {
    let (state, return_code, message) = match outcome {
        Ok(success) => (EndState::Success, success.return_code, success.message),
        Err(failure) => (EndState::Failed, failure.return_code, Some(failure.message)),
    };
    let message = message.map(|message| shortened(&message, crate::LONGEST_MESSAGE).into_owned());
    End { number: Some(number), state, return_code, message, retire: false }
}

/// What a panic says.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panicked without a message").to_owned()
}

/// A client whose requests the executor makes, under the lease of this job.
fn client(setup: &Setup, api: &str) -> Client {
    let socket = setup.socket.as_ref().and_then(|socket| UnixTransport::to_api(socket.into(), api));
    let transport: Arc<dyn Transport> = match socket {
        Some(socket) => Arc::new(socket),
        None => Arc::new(NoSocket),
    };
    Client::new(transport, None)
}

/// An executor without a socket for requests.
struct NoSocket;

#[async_trait]
impl Transport for NoSocket {
    async fn send(&self, _request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        Err("this executor passes no requests on".into())
    }
}

/// What the executor says.
struct Orders {
    pipe: pipe::Receiver,
    buffer: Vec<u8>,
    lines: Lines,
}

impl Orders {
    fn new(pipe: std::os::fd::OwnedFd) -> io::Result<Self> {
        let buffer = vec![0; 64 * 1024];
        Ok(Self { pipe: pipe::Receiver::from_owned_fd(pipe)?, buffer, lines: Lines::default() })
    }

    /// The next message; `None` if there will be none.
    async fn next(&mut self) -> Result<Option<ToHost>, HostError> {
        loop {
            if let Some(line) = self.lines.next_line()? {
                return serde_json::from_slice(&line).map(Some).map_err(HostError::NotUnderstood);
            }
            match self.pipe.try_read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.lines.push(&self.buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pipe.readable().await.map_err(HostError::Read)?;
                }
                Err(error) => return Err(HostError::Read(error)),
            }
        }
    }
}

fn how_to_try(catalogue: &Catalogue) -> String {
    let program = env::current_exe().map_or_else(|_| program(), |path| path.display().to_string());
    let names: Vec<&str> = catalogue.names().collect();
    let action = names.first().copied().unwrap_or("ACTION");
    format!(
        "{} does jobs for an executor, which starts it; its actions: {}\n\nTo try it, say so in a file greeter.toml in a \
         folder of actions:\n\n    [[host]]\n    command = [\"{program}\"]\n\nand run a job:\n\n    slipstream-job actions \
         test {action} --actions-dir FOLDER",
        self::program(),
        names.join(", "),
    )
}

/// Into the log, or to whoever has started the program by hand.
fn tell(text: &str) {
    // nobody is left to tell that it cannot be told
    drop(writeln!(io::stderr(), "{text}"));
}
