//! `slipstream-job distributor NAME`: adds jobs of one kind to a server that is elsewhere, while it is elected to.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use slipstream_action::protocol::Setup;

use super::peers::Peers;
use super::until_stopped;
use crate::distributor;
use crate::distributor::configured::Configured;
use crate::distributor::marks::NodeMarks;
use crate::distributor::script::found::ScriptFile;
use crate::distributor::script::{Python, Script};
use crate::distributor::{Deps, Kind};
use crate::process::activity::Activity;
use crate::process::clock::Clock;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;
use crate::process::telemetry::announce_up;
use crate::programs::context::Context;
use crate::programs::keepers::Keepers;
use crate::programs::python::write_package;

/// Which distributor runs.
pub enum Chosen {
    /// One that is configuration.
    Configured(Configured),
    /// One that is a script.
    Script(Scripted),
}

impl Chosen {
    fn name(&self) -> &str {
        match self {
            Self::Configured(configured) => &configured.name,
            Self::Script(scripted) => &scripted.script.name,
        }
    }
}

/// A script, and how it is started.
pub struct Scripted {
    /// The script.
    pub script: ScriptFile,
    /// The Python interpreter.
    pub interpreter: PathBuf,
    /// What the script is told on its command line.
    pub arguments: Vec<OsString>,
    /// Below which it works; without one in a temporary folder.
    pub work_dir: Option<PathBuf>,
    /// Who keeps it.
    pub keepers: Keepers,
}

/// Runs until `stop`; `name` is what this process is called in elections.
pub async fn run(
    chosen: Chosen,
    name: String,
    peers: Peers,
    clock: Clock,
    activity: Activity,
    stop: Stop,
) -> anyhow::Result<()> {
    activity.has_role("distributor", chosen.name());
    if !peers.answer("distributor", &activity, &stop).await? {
        return Ok(());
    }
    let what = match &chosen {
        Chosen::Configured(Configured { name, election, schedule, .. }) => {
            (name.clone(), format!("  election      {election}\n  schedule      {schedule}"))
        }
        Chosen::Script(Scripted { script, .. }) => {
            (script.name.clone(), format!("  script        {}", script.file.display()))
        }
    };
    announce_up(
        &activity,
        &format!(
            "slipstream-job {} distributor {} is up\n{}\n  stands as     {name}\n{}",
            env!("CARGO_PKG_VERSION"),
            what.0,
            peers.summary(),
            what.1,
        ),
    );
    let kind = match chosen {
        Chosen::Configured(distributor) => Kind::from(Arc::new(distributor)),
        Chosen::Script(scripted) => Kind::from(Arc::new(script(scripted, &name, &peers)?)),
    };
    let coordinator = peers.coordinator();
    let marks = Arc::new(NodeMarks::new(coordinator.clone()));
    let deps = Deps { coordinator, client: peers.client(), marks, clock, name, metrics: peers.metrics().clone() };
    let (asked, turning) = (stop.clone(), activity.clone());
    let work = supervise(format!("distributor {}", what.0), stop.clone(), move || {
        let work = distributor::lead_and_distribute(kind.clone(), deps.clone(), asked.clone());
        let turning = turning.clone();
        async move { turning.turning("distributor", work).await }
    });
    until_stopped(work, "the current round", distributor::GRACE, &activity, &stop).await
}

fn script(scripted: Scripted, name: &str, peers: &Peers) -> anyhow::Result<Script> {
    let Scripted { script, interpreter, arguments, work_dir, keepers } = scripted;
    let context = Arc::new(Context::open(work_dir.as_deref(), keepers, name.to_owned())?);
    let package = write_package(context.work_dir.path()).context("cannot write the Python package for scripts")?;
    let setup = Setup { url: peers.endpoint().to_owned(), insecure: peers.is_insecure(), ..context.setup(1) };
    let python = Python { interpreter, package, arguments };
    Ok(Script::new(&script, &python, context, setup, peers.client()))
}
