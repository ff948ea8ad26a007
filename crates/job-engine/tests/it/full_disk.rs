//! `up` on a disk of three megabytes, and under a limit of the size of its files: once it is full nothing is added, but
//! jobs can be stopped and deleted, and it stops and starts as always.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Document};
use slipstream_store::sqlite::SqliteStore;

use crate::support::{InProcess, PASSWORD, Raw, Up, cookie, document, eventually, state, up_command};

/// Where there is little space.
enum Disk {
    /// A file system in a name space of its own, which this process keeps.
    Small { keeper: Child, folder: tempfile::TempDir },
    /// A limit of the size of each file.
    Limited(tempfile::TempDir),
}

impl Disk {
    /// Three megabytes, if a file system can be mounted here. The limit is no substitute: it leaves no space that could be
    /// given back.
    #[expect(clippy::print_stdout, reason = "a test says that it does nothing")]
    fn small() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "mount -t tmpfs -o size=3m none \"$0\" && echo mounted && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(folder.path());
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        if let Ok(mut keeper) = keeper {
            let mut said = String::new();
            let output = keeper.stdout.take().expect("standard output is a pipe");
            BufReader::new(output).read_line(&mut said).expect("it can be read");
            if said.trim() == "mounted" {
                return Some(Self::Small { keeper, folder });
            }
            keeper.wait().expect("it is ours");
        }
        println!("no file system can be mounted here: a full disk is not tried");
        None
    }

    fn limited() -> Self {
        Self::Limited(tempfile::tempdir().expect("a folder"))
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Small { folder, .. } | Self::Limited(folder) => folder.path(),
        }
    }

    /// A program of this name that sees the small file system.
    fn within(keeper: &Child, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--preserve-credentials", "--target", &keeper.id().to_string()]);
        command.arg(program);
        command
    }

    /// Takes what is left of the space by a file beside the data directory.
    fn take_the_rest(&self) {
        let Self::Small { keeper, folder } = self else { panic!("a limit leaves no space") };
        let filler = folder.path().join("filler");
        let script = "if cat /dev/zero >\"$0\"; then exit 1; fi; test \"$(stat -f -c %a \"$0\")\" = 0";
        let status = Self::within(keeper, "sh").args(["-c", script]).arg(filler).stderr(Stdio::null()).status();
        assert!(status.expect("it can be run").success(), "not all is taken");
    }

    fn start(&self) -> Up {
        self.start_logging(Stdio::null())
    }

    fn start_logging(&self, log: impl Into<Stdio>) -> Up {
        let up = up_command(&self.folder().join("data"));
        let mut command = match self {
            Self::Small { keeper, .. } => Self::within(keeper, up.get_program()),
            Self::Limited(_) => {
                let mut command = Command::new("sh");
                command.args(["-c", "ulimit -f 6144 && exec \"$0\" \"$@\""]).arg(up.get_program());
                command
            }
        };
        command.args(up.get_args()).args(["--threads", "1", "--distributors", ""]);
        command.env("SLIPSTREAM_SUPER_PASSWORD", PASSWORD);
        Up::spawn_logging(command, log)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Small { keeper, .. } = self {
            keeper.kill().expect("it is there");
            keeper.wait().expect("it is ours");
        }
    }
}

fn large(bytes: usize) -> Document {
    document(json!({"action": "dummy_test_action", "description": "x".repeat(bytes)}))
}

/// Adds jobs of this size until one is refused for want of space.
async fn fill(client: &Client, bytes: usize) -> Vec<String> {
    let mut added = Vec::new();
    loop {
        match client.add("job", &large(bytes), None).await {
            Ok(id) => added.push(id),
            Err(error) => {
                assert_eq!(error.refusal().map(|refusal| refusal.status), Some(507), "{error}");
                return added;
            }
        }
        assert!(added.len() < 5_000, "the disk is never full");
    }
}

/// Fills the disk of a running `up`, and answers the jobs that are on it.
async fn filled(up: &Up) -> Vec<String> {
    let client = up.client();
    let mut added = fill(&client, 40_000).await;
    assert!(added.len() >= 10, "a floor of work: {}", added.len());
    for bytes in [10_000, 1_000, 10] {
        added.extend(fill(&client, bytes).await);
    }
    added
}

async fn stop(mut up: Up) {
    up.signal("TERM");
    up.line_with("stopping");
    up.signal("TERM");
    assert!(up.ended().await.success());
}

#[tokio::test]
async fn jobs_are_stopped_and_deleted_on_a_full_disk_and_up_starts_again() {
    let Some(disk) = Disk::small() else { return };
    let up = disk.start();
    let added = filled(&up).await;
    // a new session, as every command begins one
    let other = up.client();
    for id in &added[1..4] {
        assert_eq!(state(&other.operation(id, "stop").await.expect("stopped")), "STOPPED");
    }
    for id in &added[4..7] {
        other.delete(id).await.expect("deleted");
    }
    stop(up).await;
    disk.take_the_rest();
    let up = disk.start();
    let client = up.client();
    let found = client.search("job", &Search::default()).await.expect("searched");
    assert_eq!(found.count, added.len() as u64 - 3, "what was answered is there");
    for id in &added[1..4] {
        assert_eq!(state(&client.get(id).await.expect("there")), "STOPPED");
    }
    for id in added[7..].iter().chain(&added[1..4]) {
        client.delete(id).await.expect("deleted");
    }
    eventually("there is space again", async || client.add("job", &large(40_000), None).await.ok()).await;
}

/// However many jobs are refused: a client may send a thousand in a request.
#[tokio::test]
async fn a_full_disk_is_a_warning_and_a_line_for_each_request() {
    let disk = Disk::limited();
    let errors = tempfile::NamedTempFile::new().expect("a file");
    let up = disk.start_logging(errors.reopen().expect("opened"));
    filled(&up).await;
    let (client, transport) = (up.client(), up.transport());
    let list = vec![large(10); 50];
    let sent = Raw::new("POST", "/api/job").json(&json!(list)).header("cookie", &cookie(&transport).await);
    let answered = sent.send(&transport).await;
    let answers = answered.body["jobs"].as_array().unwrap_or_else(|| panic!("a list: {}", answered.text));
    assert!(answers.len() == 50 && answers.iter().all(|answer| answer["status"] == 507), "{}", answered.text);
    let found = client.search("job", &Search::default()).await.expect("searched");
    assert!(found.count >= 10, "a floor of work: {}", found.count);
    stop(up).await;
    let said = std::fs::read_to_string(errors.path()).expect("there");
    let times = |text: &str| said.lines().filter(|line| line.contains(text)).count();
    let bulk: Vec<&str> = said.lines().filter(|line| line.contains("request failed for some of its items")).collect();
    assert_eq!(bulk.len(), 1, "{bulk:?}");
    assert!(bulk[0].contains("no space left for") && bulk[0].contains("items=50 first=\"0\""), "{bulk:?}");
    let (full, over) = (times("no space left: jobs can be stopped"), times("there is space again"));
    assert!(full == over + 1 && full < 10, "the one follows the other: {full} and {over}");
}

/// The signal that comes with it ends nobody.
#[tokio::test]
async fn a_limit_of_the_size_of_files_is_a_full_disk_and_nothing_is_lost() {
    let disk = Disk::limited();
    let up = disk.start();
    let added = filled(&up).await;
    stop(up).await;
    let without_limit = Up::start(&disk.folder().join("data"), &["--threads", "1", "--distributors", ""]);
    let client = without_limit.client();
    let found = client.search("job", &Search::default()).await.expect("searched");
    assert_eq!(found.count, added.len() as u64, "what was answered is there");
    client.add("job", &large(40_000), None).await.expect("added");
}

#[tokio::test]
async fn a_full_disk_is_507_for_a_client_and_the_server_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Arc::new(SqliteStore::open(&folder.path().join("jobs.db")).expect("open"));
    let InProcess { client, .. } = InProcess::over(store.clone()).await;
    client.login().await.expect("logged in");
    let limit = |pages: u32| {
        store.inspect(move |connection| {
            let limit = format!("PRAGMA max_page_count = {pages}");
            connection.query_row(&limit, [], |row| row.get::<_, u32>(0)).expect("it can be limited");
        })
    };
    limit(60).await;
    let job = document(json!({"action": "noop", "description": "x".repeat(5_000)}));
    let mut added = Vec::new();
    let refused = loop {
        match client.add("job", &job, None).await {
            Ok(id) => added.push(id),
            Err(error) => break error,
        }
        assert!(added.len() < 200, "the limit is never reached");
    };
    assert_eq!(refused.refusal().map(|refusal| refusal.status), Some(507), "{refused}");
    assert!(added.len() > 3, "a floor of work: {}", added.len());
    for id in &added {
        assert_eq!(client.get(id).await.expect("there")["state"], "QUEUED", "what was answered is there");
    }
    limit(10_000).await;
    client.add("job", &job, None).await.expect("added");
    let found = client.search("job", &Search::default()).await.expect("searched");
    assert_eq!(found.count, added.len() as u64 + 1);
}
