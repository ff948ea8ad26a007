//! [`Engine`]: the whole engine as a part of another program, or of a test.
//!
//! `slipstream-job up` is an engine with an address, with distributors and with somebody to talk to.

mod builder;
mod error;
mod parts;
mod submit;
mod wait;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use builder::EngineBuilder;
pub use error::EngineError;
use slipstream_cimi::{Client, Job};
pub use submit::Submit;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::parts::Programs;
use crate::executor::offers::Offers;
pub use crate::instance::error::InstanceError;
use crate::instance::password::Password;
use crate::process::metrics::Metrics;
use crate::process::stop::Stop;
use crate::server::jobs::feed::Feed;

/// A running engine: server, queue and executor in this process.
///
/// Dropping it is a stop without grace that nobody waits for: running jobs are cancelled and run again when the folder
/// is opened again, nothing that was answered is lost, and the folder is free a moment later.
/// [`stop`](Self::stop) lets running jobs end first, and the folder is free when it has answered.
pub struct Engine {
    client: Client,
    folder: PathBuf,
    password: Password,
    address: Option<SocketAddr>,
    endpoint: Option<String>,
    feed: Arc<Feed>,
    programs: Option<Arc<Programs>>,
    metrics: Metrics,
    stop: Stop,
    /// Cancelled once `running` has ended.
    ended: CancellationToken,
    running: JoinHandle<Result<(), EngineError>>,
}

impl Engine {
    /// An engine that is still to be described; [`EngineBuilder::start`] starts it.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Adds a job that the action of this name is to do. Awaited, it answers the job's id once the job is on disk.
    ///
    /// ```no_run
    /// # async fn example(engine: slipstream_job_engine::Engine) -> Result<(), slipstream_job_engine::EngineError> {
    /// let id = engine.submit("greet").target("user/jane").priority(0).key("jane, first time").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&self, action: impl Into<String>) -> Submit<'_> {
        Submit::new(&self.client, action.into())
    }

    /// Waits until a job is in a final state, and answers it as it is then. There is no limit but the one that the
    /// caller sets, e.g. with `tokio::time::timeout`: a wait that is dropped leaves nothing behind.
    pub async fn wait(&self, id: &str) -> Result<Job, EngineError> {
        tokio::select! {
            biased;
            job = wait::until_final(&self.feed, &self.client, id) => job,
            () = self.ended.cancelled() => Err(EngineError::Ended),
        }
    }

    /// The administrator's client, for everything else. It logs in by itself. Once the engine has stopped its requests
    /// and those of its clones fail.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where the documents are kept.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the API listens, if [`EngineBuilder::listen`] asked for it. The password of the user `super` is that of
    /// the [folder](Self::folder): `SLIPSTREAM_SUPER_PASSWORD`, else in the file `super.password`.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes nothing new, lets running jobs end within the [grace](EngineBuilder::grace), then closes everything.
    /// Answers what went wrong since the start, if anything did. If this is dropped, the grace is over.
    pub async fn stop(mut self) -> Result<(), EngineError> {
        self.stop.ask();
        (&mut self.running).await.map_err(InstanceError::Crashed)?
    }

    /// The URL of the API on this machine, e.g. `http://127.0.0.1:8201`, if it listens.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// What it has counted and measured, in the text of `OpenMetrics` 1.0: for a program that offers that to Prometheus.
    pub async fn metrics(&self) -> String {
        self.metrics.text().await
    }

    /// The actions of its programs and of its catalogue, once all are known or these are enough.
    pub(crate) async fn offers(&self, are_enough: impl Fn(&Offers) -> bool) -> Arc<Offers> {
        let Some(programs) = &self.programs else { return Arc::default() };
        programs.providers.offered().settled(are_enough).await
    }

    pub(crate) fn password(&self) -> &Password {
        &self.password
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.ask_at_once();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, address, .. } = self;
        formatter.debug_struct("Engine").field("folder", folder).field("address", address).finish_non_exhaustive()
    }
}
