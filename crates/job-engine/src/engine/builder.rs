//! [`EngineBuilder`]: what an engine is to be like.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use slipstream_action::{Action, Catalogue};

use super::error::EngineError;
use super::parts::Options;
use super::{Engine, parts};
use crate::collections::Collections;
use crate::distributor::configured::Configured;
use crate::distributor::script::found::{RefusedScript, ScriptFile};
use crate::executor::UnknownAction;
use crate::executor::load::settings::Loading;
use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::metrics::Metrics;
use crate::process::stop::Stop;
use crate::programs::keepers::Keepers;

/// Describes an engine, and [starts](Self::start) it. From [`Engine::builder`].
#[derive(Default)]
#[must_use = "an engine begins with `start`"]
pub struct EngineBuilder {
    options: Options,
    /// A name that was given to a second action.
    same_name: Option<String>,
}

impl EngineBuilder {
    /// Adds an action: a type that implements [`Action`], or an asynchronous function of a
    /// [`JobHandle`](slipstream_action::JobHandle). Two of one name are an error of [`start`](Self::start).
    pub fn action(self, name: &str, action: impl Action + 'static) -> Self {
        self.register(name, action, None)
    }

    /// Adds an action of which no run may take longer than this; what does is cancelled, and its job FAILED.
    pub fn action_within(self, limit: Duration, name: &str, action: impl Action + 'static) -> Self {
        self.register(name, action, Some(limit))
    }

    fn register(mut self, name: &str, action: impl Action + 'static, limit: Option<Duration>) -> Self {
        if !self.options.catalogue.register(name, action, limit) {
            self.same_name = Some(name.to_owned());
        }
        self
    }

    /// Keeps everything in this folder, made if it is missing, of which one engine at a time is the only user. Without
    /// it: in a temporary folder that goes with the engine.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.folder = Some(path.into());
        self
    }

    /// How many jobs run at once, 8 without this; 0 counts as 1.
    pub fn slots(mut self, slots: usize) -> Self {
        self.options.slots = slots;
        self
    }

    /// How often a job may be claimed and lost before it is given up, 5 times without this (decision 6).
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.options.attempts = attempts;
        self
    }

    /// How long running jobs may go on after [`Engine::stop`], 2 minutes without this. Then they are cancelled, and run
    /// again when the folder is opened again.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// Offers the API over HTTP too. With port 0 the system chooses one, and [`Engine::address`] answers it.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.options.listen = Some(address);
        self
    }

    /// Stops when this is asked to, as by [`Engine::stop`]: so one signal can end several parts of a program.
    pub fn stopped_by(mut self, stop: Stop) -> Self {
        self.options.stop = stop;
        self
    }

    /// Where it notes what it is doing.
    pub(crate) fn activity(mut self, activity: Activity) -> Self {
        self.options.activity = activity;
        self
    }

    /// Tells the time of day by this clock.
    #[doc(hidden)]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.options.clock = clock;
        self
    }

    /// Counts in these; without it in its own, which [`Engine::metrics`] shows.
    #[doc(hidden)]
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.options.metrics = metrics;
        self
    }

    /// All actions at once, instead of those added before.
    pub fn catalogue(mut self, catalogue: Catalogue) -> Self {
        self.options.catalogue = catalogue;
        self
    }

    /// What becomes of jobs whose action this engine has not: FAILED at once without this, as nobody else does its jobs.
    pub(crate) fn unknown_action(mut self, unknown_action: UnknownAction) -> Self {
        self.options.unknown_action = unknown_action;
        self
    }

    /// Has jobs done by the programs that these folders offer, too, under such keepers.
    #[doc(hidden)]
    pub fn programs(mut self, loading: Loading, keepers: Keepers) -> Self {
        self.options.programs = Some((loading, keepers));
        self
    }

    /// Does jobs before all programs have said what they have: for whoever adds none before its action is known.
    pub(crate) fn begins_at_once(mut self) -> Self {
        self.options.begins_at_once = true;
        self
    }

    /// Adds jobs on schedules.
    #[doc(hidden)]
    pub fn distributors(mut self, distributors: Vec<Configured>) -> Self {
        self.options.distributors = distributors;
        self
    }

    /// Keeps these collections beside jobs; without it those that are built in.
    pub(crate) fn collections(mut self, collections: Collections) -> Self {
        self.options.collections = collections;
        self
    }

    /// Adds jobs as these scripts say, and shows those that may not be started. Needs [`programs`](Self::programs).
    pub(crate) fn scripts(mut self, scripts: Vec<ScriptFile>, refused: Vec<RefusedScript>) -> Self {
        (self.options.scripts, self.options.refused_scripts) = (scripts, refused);
        self
    }

    /// Whose word counts over HTTP when they say who asks: the networks of proxies.
    pub fn proxies(mut self, proxies: Vec<IpNet>) -> Self {
        self.options.proxies = proxies;
        self
    }

    /// Starts the engine on the runtime that this is awaited on: jobs that wait in its folder begin at once. Needs a
    /// runtime with time and, to listen, with input and output.
    pub async fn start(self) -> Result<Engine, EngineError> {
        match self.same_name {
            Some(name) => Err(EngineError::SameName { name }),
            None => parts::start(self.options).await,
        }
    }
}
