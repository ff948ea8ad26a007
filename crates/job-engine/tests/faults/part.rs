//! [`Part`]: a process of a site with the ways on which it reaches the others.

use std::path::{Path, PathBuf};
use std::process::Command;

use slipstream_test_ensemble::{Fault, Proxy};

use crate::process::Process;

/// What lies at the end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ZooKeeper,
    Api,
}

/// A process, which can be started again, behind proxies of its own.
pub struct Part {
    pub name: String,
    process: Process,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    zookeeper: Vec<Proxy>,
    api: Option<Proxy>,
    log: PathBuf,
}

impl Part {
    /// Starts it; its log is the file of its name in `folder`.
    pub fn start(
        name: &str,
        folder: &Path,
        ways: (Vec<Proxy>, Option<Proxy>),
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let process = Process::start(&mut command(), &log);
        let (zookeeper, api) = ways;
        Self { name: name.to_owned(), process, command: Box::new(command), zookeeper, api, log }
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it said so far, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Starts it again, with the same name, addresses and log; kills it first if it runs.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = Process::start(&mut (self.command)(), &self.log);
    }

    /// Asks it to stop, and starts it again by its command with this change; nobody reads what it says if it is `unread`.
    pub async fn restart_as(&mut self, unread: bool, change: impl FnOnce(&mut Command)) {
        self.process.stop().await;
        let mut command = (self.command)();
        change(&mut command);
        self.process =
            if unread { Process::start_unread(&mut command) } else { Process::start(&mut command, &self.log) };
    }

    /// From now on, on this way.
    pub fn set(&self, way: Way, fault: Fault) {
        self.proxies(way).for_each(|proxy| proxy.set(fault));
    }

    /// How often faults on this way did something.
    pub fn injected(&self, way: Way) -> u64 {
        self.proxies(way).map(Proxy::injected).sum()
    }

    fn proxies(&self, way: Way) -> impl Iterator<Item = &Proxy> {
        let (zookeeper, api) = match way {
            Way::ZooKeeper => (&self.zookeeper[..], None),
            Way::Api => (&[][..], self.api.as_ref()),
        };
        zookeeper.iter().chain(api)
    }
}
