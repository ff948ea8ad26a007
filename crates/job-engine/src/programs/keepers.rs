//! [`Keepers`]: all keepers of this process, and what one leaves behind that is killed.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::DumpableBehavior;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, set_dumpable_behavior, waitpid};
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tracing::warn;

use crate::process::descendants::{children, descendants};

/// This very program, also after another was installed in its place.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// How long killed strays are waited for before they are looked for once more.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);
/// After so many times a stray that does not end, since the kernel does not let it, is left alone.
const SWEEPS: u32 = 1000;

/// The keepers of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Keepers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    program: PathBuf,
    /// Whether what a killed keeper leaves becomes this process's child, and all other children are keepers.
    adopts: bool,
    /// Keepers that were started and not waited for. Held while one is started, so that none is taken for a stray.
    alive: Mutex<BTreeSet<i32>>,
}

impl Keepers {
    /// For a process that starts nothing but keepers: it adopts what a killed keeper leaves behind, and ends it. Nobody else may
    /// look into its memory.
    pub fn of_executor() -> io::Result<Self> {
        set_child_subreaper(Some(rustix::process::getpid()))?;
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        Ok(Self::new(PathBuf::from(THIS_PROGRAM), true))
    }

    /// For a process that has other children too, with another program that is a keeper when it is asked to.
    #[must_use]
    pub fn beside_others(program: PathBuf) -> Self {
        Self::new(program, false)
    }

    fn new(program: PathBuf, adopts: bool) -> Self {
        Self(Arc::new(Shared { program, adopts, alive: Mutex::default() }))
    }

    /// What is started as a keeper.
    pub(crate) fn program(&self) -> &Path {
        &self.0.program
    }

    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut alive = self.alive();
        let child = command.spawn()?;
        alive.extend(child.id().and_then(|id| i32::try_from(id).ok()));
        Ok(child)
    }

    /// A keeper was waited for. One that was killed has not swept: what it leaves is ended here.
    pub(crate) async fn ended(&self, keeper: Pid, status: ExitStatus) {
        self.alive().remove(&keeper.as_raw_nonzero().get());
        if !self.0.adopts || status.signal() != Some(libc::SIGKILL) {
            return;
        }
        for _ in 0..SWEEPS {
            if !self.sweep() {
                return;
            }
            sleep(SWEEP_PAUSE).await;
        }
        warn!("processes of an action that was killed do not end");
    }

    /// Kills all children that are no keepers, with all that descends from them; answers whether there were any.
    fn sweep(&self) -> bool {
        let alive = self.alive();
        let is_keeper = |pid: &Pid| alive.contains(&pid.as_raw_nonzero().get());
        let strays: Vec<Pid> = children(rustix::process::getpid()).into_iter().filter(|pid| !is_keeper(pid)).collect();
        for &stray in &strays {
            for pid in descendants(stray).into_iter().chain([stray]) {
                // one that has ended meanwhile is no error
                kill_process(pid, Signal::KILL).ok();
            }
            // one that is still running is waited for next time
            waitpid(Some(stray), WaitOptions::NOHANG).ok();
        }
        !strays.is_empty()
    }

    fn alive(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.alive.lock().expect("no holder of this lock panics")
    }
}
