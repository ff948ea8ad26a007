//! However the first start of `up` ends, the next one is a first start or finds everything whole: what is made is made
//! under another name first. Seeded: `FIRST_START_SEED` repeats a run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slipstream_cimi::{Client, Credentials};
use tokio::time::{Instant, interval_at};

use crate::support::{Up, eventually, job, program, state};

const ENDS: usize = 24;

fn up_command(data_dir: &Path) -> Command {
    let mut command = program();
    command.args(["up", "--listen", "127.0.0.1:0", "--distributors", "", "--data-dir"]).arg(data_dir);
    command
}

fn begin(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

/// The next start: it is up, its password is whole, and it does a job.
async fn assert_starts(data_dir: &Path, ended: &str) {
    let up = Up::spawn(up_command(data_dir));
    let password = std::fs::read_to_string(data_dir.join("super.password")).expect("there is a password");
    assert_eq!(password.trim().len(), 32, "{ended}");
    let credentials = Credentials { username: "super".to_owned(), password: password.trim().into() };
    let client = Client::new(std::sync::Arc::new(up.transport()), Some(credentials));
    let id = client.add("job", &job("noop"), None).await.expect("added");
    eventually("it is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
    up.kill();
}

#[tokio::test]
async fn a_first_start_that_is_killed_at_any_moment_is_followed_by_one_that_works() {
    let given = std::env::var("FIRST_START_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random::<u64>);
    println!("FIRST_START_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut without_store, mut with_store) = (0, 0);
    for round in 0..ENDS {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("data");
        let mut first = begin(up_command(&data_dir));
        // the first is killed before it can do anything, the last once it is up
        let moment = Duration::from_micros(random.random_range(0..150_000));
        if round == ENDS - 1 {
            eventually("it is up", async || data_dir.join("endpoint").exists().then_some(())).await;
        } else if round > 0 {
            interval_at(Instant::now() + moment, Duration::from_secs(1)).tick().await;
        }
        first.kill().expect("it is there");
        first.wait().expect("it is ours");
        if data_dir.join("jobs.db").exists() {
            with_store += 1;
        } else {
            without_store += 1;
        }
        assert_starts(&data_dir, &format!("killed after {moment:?}, seed {seed}")).await;
    }
    assert!(without_store > 0 && with_store > 0, "kills before and after: {without_store}, {with_store}");
}

/// A limit of the size of files ends the first start at each of its writes in turn, as a full disk does.
#[tokio::test]
async fn a_first_start_without_space_is_followed_by_one_that_works() {
    let mut refused = 0;
    for blocks in [0, 1, 2, 8, 9, 40, 100, 150, 200, 250, 300] {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("data");
        let up = up_command(&data_dir);
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -f $0 && exec \"$@\"", &blocks.to_string()]).arg(up.get_program());
        limited.args(up.get_args());
        let mut first = begin(limited);
        let ended = eventually("it ends or is up", async || match first.try_wait().expect("it is ours") {
            None => data_dir.join("endpoint").exists().then_some(None),
            ended => Some(ended),
        });
        if let Some(status) = ended.await {
            assert_eq!(status.code(), Some(2), "{blocks} blocks: it says why, and no signal ends it");
            refused += 1;
        } else {
            first.kill().expect("it is there");
            first.wait().expect("it is ours");
        }
        assert_starts(&data_dir, &format!("{blocks} blocks")).await;
    }
    assert!(refused >= 5, "a floor of ends: {refused}");
}
