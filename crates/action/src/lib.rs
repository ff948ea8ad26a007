//! For authors of actions: an [`Action`] does one kind of job, by way of a [`JobHandle`].
//!
//! ```
//! use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success, async_trait};
//!
//! /// Touches the job's target, a hundred times.
//! struct TouchTarget;
//!
//! #[async_trait]
//! impl Action for TouchTarget {
//!     async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
//!         let target = job.job().target_resource.as_ref().ok_or_else(|| Failure::new("nothing to touch"))?;
//!         for percent in 1..=100 {
//!             if job.is_cancelled() {
//!                 return Err(Failure::new("cancelled"));
//!             }
//!             job.client().edit(&target.href, &Default::default(), &[]).await?;
//!             job.set_progress(percent);
//!         }
//!         job.add_affected_resource(&target.href);
//!         Ok(Success::with_message("touched"))
//!     }
//! }
//!
//! let mut catalogue = Catalogue::new();
//! assert!(catalogue.register("touch_target", TouchTarget, None));
//! ```

mod blocking;
#[cfg(feature = "host")]
pub mod host;
pub mod protocol;
mod report;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

pub use async_trait::async_trait;
pub use blocking::{Blocking, BlockingHandle};
use slipstream_cimi::{Client, Job};
use tokio_util::sync::CancellationToken;

pub use report::{LONGEST_MESSAGE, MOST_AFFECTED_RESOURCES, Report, Reports, left_out_note, shortened};

/// The code that does a job.
///
/// Runs share a few threads, which nothing else of the engine is on, and one that blocks has one for itself. A run that
/// blocks, by waiting for something without `await` or by computing for long, stops no other job for more than a millisecond
/// or two, and no part of the engine, and yet it costs: the thread; the
/// run's own timers and requests; and above all that it cannot be told to end. [`JobHandle::cancelled`] is not heard, and
/// nothing is aborted. If its job is given back meanwhile, job and slot are held until the run has ended; if its job has
/// ended, because its time limit is over or somebody stopped it, the slot is free, and the thread is not. The first poll that
/// takes more than 100 milliseconds is told in the log, once for each action. Leave what blocks to
/// `tokio::task::spawn_blocking`, and look at [`JobHandle::is_cancelled`] there, or let it await. What a run spawns by
/// `tokio::spawn` shares a few threads with what others spawn, and should never block.
#[async_trait]
pub trait Action: Send + Sync {
    /// Does the job. Should end soon once [`JobHandle::cancelled`] does, with a [`Failure`] unless the job is done
    /// all the same; what has not ended a few seconds later is aborted at its next await. A panic becomes a failure.
    async fn run(&self, job: JobHandle) -> Result<Success, Failure>;
}

/// An asynchronous function of the handle is an action too.
#[async_trait]
impl<F, Run> Action for F
where
    F: Fn(JobHandle) -> Run + Send + Sync,
    Run: Future<Output = Result<Success, Failure>> + Send,
{
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        self(job).await
    }
}

/// The action ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// Becomes the job's return code.
    pub return_code: Option<i64>,
    /// Becomes the job's last status message; without one the last reported message stays.
    pub message: Option<String>,
}

impl Success {
    /// A success with a message alone.
    pub fn with_message(message: impl Into<String>) -> Self {
        Self { return_code: None, message: Some(message.into()) }
    }
}

/// The action did not succeed; the job becomes FAILED.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Becomes the job's status message.
    pub message: String,
    /// Becomes the job's return code.
    pub return_code: Option<i64>,
}

impl Failure {
    /// A failure with a message alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), return_code: None }
    }
}

impl From<slipstream_cimi::Error> for Failure {
    fn from(error: slipstream_cimi::Error) -> Self {
        Self::new(with_causes(&error))
    }
}

/// An error's text and those of all that caused it, joined by colons.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, ": {error}").expect("writing to a string cannot fail");
        cause = error.source();
    }
    text
}

/// An action's way to its job. Clones share it.
#[derive(Clone)]
pub struct JobHandle(Arc<Shared>);

struct Shared {
    job: Job,
    client: Client,
    rerun: bool,
    reports: Reports,
    cancellation: CancellationToken,
}

impl JobHandle {
    /// For executors: a handle whose reports arrive at `reports`.
    #[must_use]
    pub fn new(job: Job, client: Client, rerun: bool, reports: Reports, cancellation: CancellationToken) -> Self {
        Self(Arc::new(Shared { job, client, rerun, reports, cancellation }))
    }

    /// The job as it was when this attempt began.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.0.job
    }

    /// Whether an earlier attempt was lost: the action may have to continue or to clean up.
    #[must_use]
    pub fn is_rerun(&self) -> bool {
        self.0.rerun
    }

    /// A client whose writes count only as long as this attempt is the job's latest.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// Percent done; above 100 counts as 100. Never waits: the executor sends the latest as it can.
    pub fn set_progress(&self, percent: u8) {
        self.0.reports.set_progress(percent);
    }

    /// Says something to whoever watches the job. Never waits. Of what is longer than [`LONGEST_MESSAGE`] the middle is
    /// left out.
    pub fn set_status_message(&self, message: impl Into<String>) {
        self.0.reports.set_status_message(message.into());
    }

    /// Adds a document, e.g. `credential/abc`, to those that the job touched. Never waits. Answers whether it is told: what
    /// is no id, or comes after the first [`MOST_AFFECTED_RESOURCES`], is left out, and the job's last message says so.
    pub fn add_affected_resource(&self, id: impl Into<String>) -> bool {
        self.0.reports.add_affected_resource(id.into())
    }

    /// Ends when the job was stopped, deleted or taken over, its time limit is over, or the executor stops; the
    /// action should end then too.
    pub async fn cancelled(&self) {
        self.0.cancellation.cancelled().await;
    }

    /// Whether [`Self::cancelled`] would end at once.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.cancellation.is_cancelled()
    }
}

/// How long a cancelled action may take to end, unless it is registered with another time.
pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(5);

/// An action and how it is run.
#[derive(Clone)]
pub struct Registered {
    /// The code.
    pub action: Arc<dyn Action>,
    /// The longest that a run may take; without one, as long as it wants.
    pub time_limit: Option<Duration>,
    /// How long a run may take to end once it is cancelled; then it is aborted at its next await.
    pub stop_grace: Duration,
}

impl Registered {
    /// An action that may run for as long as it wants, and has the usual time to end once it is cancelled.
    pub fn new(action: impl Action + 'static) -> Self {
        Self { action: Arc::new(action), time_limit: None, stop_grace: DEFAULT_STOP_GRACE }
    }
}

/// The actions that an executor has, by name.
#[derive(Clone, Default)]
pub struct Catalogue {
    actions: BTreeMap<String, Registered>,
}

impl Catalogue {
    /// An empty catalogue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action under a name; the first of two equal names stays. Answers whether it was added.
    pub fn register(&mut self, name: &str, action: impl Action + 'static, time_limit: Option<Duration>) -> bool {
        self.add(name, Registered { time_limit, ..Registered::new(action) })
    }

    /// Adds an action under a name; the first of two equal names stays. Answers whether it was added.
    pub fn add(&mut self, name: &str, registered: Registered) -> bool {
        let free = !self.actions.contains_key(name);
        if free {
            self.actions.insert(name.to_owned(), registered);
        }
        free
    }

    /// The catalogue with an action more, which may run for as long as it wants. Panics if there is one of this name, as
    /// that is a mistake of the program.
    #[must_use]
    pub fn with(mut self, name: &str, action: impl Action + 'static) -> Self {
        assert!(self.add(name, Registered::new(action)), "two actions have the name `{name}`");
        self
    }

    /// The action of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Registered> {
        self.actions.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ends;

    #[async_trait]
    impl Action for Ends {
        async fn run(&self, _job: JobHandle) -> Result<Success, Failure> {
            Ok(Success::default())
        }
    }

    #[test]
    fn the_first_of_two_equal_names_stays() {
        let mut catalogue = Catalogue::new();
        assert!(catalogue.register("b", Ends, Some(Duration::from_secs(1))));
        assert!(catalogue.register("a", Ends, None));
        assert!(!catalogue.register("b", Ends, None));
        assert_eq!(catalogue.find("b").expect("registered").time_limit, Some(Duration::from_secs(1)));
        assert!(catalogue.find("c").is_none());
        assert_eq!(catalogue.names().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_catalogue_can_be_written_as_one_expression() {
        let catalogue = Catalogue::new().with("b", Ends).with("a", Ends);
        assert_eq!(catalogue.names().collect::<Vec<_>>(), ["a", "b"]);
        let registered = catalogue.find("a").expect("registered");
        assert_eq!((registered.time_limit, registered.stop_grace), (None, DEFAULT_STOP_GRACE));
    }

    #[test]
    #[should_panic(expected = "two actions have the name `a`")]
    fn one_name_for_two_actions_in_one_expression_is_a_mistake() {
        drop(Catalogue::new().with("a", Ends).with("a", Ends));
    }

    #[test]
    fn a_failure_of_a_request_says_all_its_causes() {
        let error =
            slipstream_cimi::Error::Unreachable { request: "GET /api/job/1".to_owned(), source: "refused".into() };
        assert_eq!(Failure::from(error).message, "no answer to GET /api/job/1: refused");
    }
}
