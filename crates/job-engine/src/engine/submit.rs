//! [`Submit`]: a job on its way to an engine.

use std::pin::Pin;

use slipstream_cimi::Client;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::job::NewJob;
use uuid::Uuid;

use super::error::EngineError;

/// A job that is added when this is awaited, which answers its id. From [`Engine::submit`](super::Engine::submit).
#[derive(Clone)]
#[must_use = "a job is added when this is awaited"]
pub struct Submit<'a> {
    client: &'a Client,
    job: NewJob,
    key: Option<String>,
}

impl<'a> Submit<'a> {
    pub(super) fn new(client: &'a Client, action: String) -> Self {
        Self { client, job: NewJob { action, ..NewJob::default() }, key: None }
    }

    /// What the action works on, e.g. `credential/abc`: the job's `targetResource`.
    pub fn target(mut self, href: impl Into<String>) -> Self {
        self.job.target = Some(href.into());
        self
    }

    /// From 0 (first) to 999 (last); without one the job is among the last.
    pub fn priority(mut self, priority: u16) -> Self {
        self.job.priority = Some(priority);
        self
    }

    /// However often jobs are submitted under one key, the first alone is added and its id is answered (decision 11).
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl<'a> IntoFuture for Submit<'a> {
    type Output = Result<String, EngineError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            // With a key, an add that is sent again after a new login cannot add twice.
            let key = self.key.unwrap_or_else(|| Uuid::new_v4().to_string());
            Ok(self.client.add(JOB.name, &self.job.document(), Some(&key)).await?)
        })
    }
}
