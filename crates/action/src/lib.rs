//! For authors of actions: an [`Action`] does one kind of job, by way of a [`JobHandle`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use slipstream_cimi::{Client, Job};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The code that does a job.
#[async_trait]
pub trait Action: Send + Sync {
    /// Does the job. Should end soon once [`JobHandle::cancelled`] does.
    async fn run(&self, job: JobHandle) -> Result<Success, Failure>;
}

/// The action ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    /// Becomes the job's return code.
    pub return_code: Option<i64>,
    /// Becomes the job's last status message; without one the last reported message stays.
    pub message: Option<String>,
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

/// What an action has said so far and is not yet in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Percent, 0 to 100.
    pub progress: Option<u8>,
    /// For people.
    pub status_message: Option<String>,
    /// Ids of documents that the action touched.
    pub affected_resources: Vec<String>,
}

/// An action's way to its job.
#[derive(Clone)]
pub struct JobHandle {
    job: Arc<Job>,
    client: Client,
    rerun: bool,
    reports: Arc<watch::Sender<Report>>,
    cancellation: CancellationToken,
}

impl JobHandle {
    /// For executors: a handle whose reports arrive at `reports`, each merged into what was not taken out yet.
    #[must_use]
    pub fn new(
        job: Arc<Job>,
        client: Client,
        rerun: bool,
        reports: Arc<watch::Sender<Report>>,
        cancellation: CancellationToken,
    ) -> Self {
        Self { job, client, rerun, reports, cancellation }
    }

    /// The job as it was when this attempt began.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Whether an earlier attempt was lost: the action may have to continue or to clean up.
    #[must_use]
    pub fn is_rerun(&self) -> bool {
        self.rerun
    }

    /// A client whose writes count only as long as this attempt is the job's latest.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Percent done; above 100 counts as 100. Never waits: the executor sends the latest as it can.
    pub fn set_progress(&self, percent: u8) {
        self.reports.send_modify(|report| report.progress = Some(percent.min(100)));
    }

    /// Says something to whoever watches the job. Never waits.
    pub fn set_status_message(&self, message: impl Into<String>) {
        let message = message.into();
        self.reports.send_modify(|report| report.status_message = Some(message));
    }

    /// Adds a document to those that the job touched. Never waits.
    pub fn add_affected_resource(&self, id: impl Into<String>) {
        let id = id.into();
        self.reports.send_modify(|report| report.affected_resources.push(id));
    }

    /// Ends when the job was stopped, deleted or taken over, or the executor stops; the action should end then too.
    pub async fn cancelled(&self) {
        self.cancellation.cancelled().await;
    }

    /// Whether [`Self::cancelled`] would end at once.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }
}

/// An action and how it is run.
#[derive(Clone)]
pub struct Registered {
    /// The code.
    pub action: Arc<dyn Action>,
    /// The longest that a run may take; without one, as long as it wants.
    pub time_limit: Option<Duration>,
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
        let free = !self.actions.contains_key(name);
        if free {
            self.actions.insert(name.to_owned(), Registered { action: Arc::new(action), time_limit });
        }
        free
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
