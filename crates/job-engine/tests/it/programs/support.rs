//! A site whose executors have a folder of actions; and the processes that they start, found by what is in their environment.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::services::support::{Service, Site};

/// How long `ZooKeeper` waits for an executor.
const SESSION: &str = "2s";

/// An ensemble, a server, and folders for the executors, of which each has its own to work in.
pub struct Place {
    pub site: Site,
}

impl Place {
    pub async fn new() -> Self {
        let site = Site::new().await;
        let place = Self { site };
        for folder in [place.actions(), place.path("run")] {
            fs::create_dir(folder).expect("made");
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.site.folder.path().join(name)
    }

    pub fn actions(&self) -> PathBuf {
        self.path("actions")
    }

    /// Where the programs of an executor work.
    pub fn work(&self, executor: &str) -> PathBuf {
        self.path(&format!("work-{executor}"))
    }

    /// A file in the folder of actions; HERE in its text becomes the folder of the site.
    pub fn action(&self, name: &str, text: &str) {
        let file = self.actions().join(name);
        fs::write(&file, text.replace("HERE", &self.site.folder.path().to_string_lossy())).expect("written");
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("permitted");
    }

    pub fn command(&self, executor: &str, threads: usize) -> Command {
        let threads = threads.to_string();
        let mut command = self.site.command(&["executor", "--name", executor, "--threads", &threads]);
        command.args(["--zk-session-timeout", SESSION, "--actions-dir"]).arg(self.actions());
        command.arg("--work-dir").arg(self.work(executor)).env("XDG_RUNTIME_DIR", self.path("run"));
        command.env_remove("RUNTIME_DIRECTORY").env_remove("STATE_DIRECTORY");
        command
    }

    /// An executor that has said that it is up.
    pub async fn executor(&self, name: &str, threads: usize) -> Service {
        let service = Service::start(self.command(name, threads));
        service.says(" is up").await;
        service
    }

    /// Asserts that executors that were stopped have left nothing: no process of an action, no folder.
    pub fn expect_nothing_left(&self, executors: &[&str]) {
        for executor in executors {
            let work = self.work(executor);
            assert_eq!(Found::all_with(&work), Vec::new(), "processes of {executor}");
            assert_eq!(names(&work), Vec::<String>::new(), "folders of {executor}");
        }
        assert_eq!(names(&self.path("run")), Vec::<String>::new(), "sockets");
    }
}

/// What is in a folder.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    entries.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect()
}

/// A process that was found in `/proc` (`proc(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub pid: i32,
    pub parent: i32,
    /// When it began, in ticks since the machine did: with the number this names one process for ever.
    pub begun: u64,
    pub arguments: String,
    environment: Vec<String>,
}

impl Found {
    fn read(pid: i32) -> Option<Self> {
        let read = |file: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        };
        let stat = read("stat")?;
        let stat: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let (parent, begun) = (stat.get(1)?.parse().ok()?, stat.get(19)?.parse().ok()?);
        let arguments = read("cmdline")?.replace('\0', " ");
        let environment = read("environ")?.split('\0').map(str::to_owned).collect();
        Some(Self { pid, parent, begun, arguments, environment })
    }

    /// All processes in whose environment there is this folder, or a path in it.
    pub fn all_with(folder: &Path) -> Vec<Self> {
        let (itself, inside) = (folder.display().to_string(), format!("{}/", folder.display()));
        let numbers = fs::read_dir("/proc").expect("read").flatten();
        let all = numbers.filter_map(|entry| Self::read(entry.file_name().to_str()?.parse().ok()?));
        let is_there = |variable: &String| variable.ends_with(&itself) || variable.contains(&inside);
        all.filter(|found| found.environment.iter().any(is_there)).collect()
    }

    /// All keepers of an executor.
    pub fn keepers_of(executor: &Service, work: &Path) -> Vec<Self> {
        let executor = i32::try_from(executor.process()).expect("a number of a process");
        let mut all = Self::all_with(work);
        all.retain(|found| found.parent == executor && found.arguments.starts_with("slipstream-keeper "));
        all
    }

    /// The program of this keeper, once it runs.
    pub fn program(&self, work: &Path) -> Option<Self> {
        let all = Self::all_with(work).into_iter();
        let children =
            all.filter(|found| found.parent == self.pid && !found.arguments.starts_with("slipstream-keeper "));
        children.min_by_key(|found| found.begun)
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
    }

    /// The directory that it shares with all of its job, or of its process of a host, and with nobody else.
    pub fn directory(&self) -> PathBuf {
        PathBuf::from(self.variable("TMPDIR").expect("each program has its directory"))
    }

    /// `kill -9`, unless it has ended. Answers whether it was there.
    pub fn kill(&self) -> bool {
        let process = Pid::from_raw(self.pid).expect("a number of a process");
        let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else { return false };
        // from here on the number is nobody else's, as far as we are concerned
        let is_the_same = Self::read(self.pid).is_some_and(|now| now.begun == self.begun);
        is_the_same && pidfd_send_signal(&process, Signal::KILL).is_ok()
    }
}
