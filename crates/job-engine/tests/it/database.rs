//! The file under a running `up`: a backup of it, another name for it, and what happens when it is moved away.

use std::os::unix::fs::symlink;

use slipstream_cimi::query::Search;

use crate::commands::Ran;
use crate::support::{Up, eventually, job, program, state, up_command};

#[tokio::test]
async fn a_backup_beside_a_running_up_is_a_store_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let up = Up::start(&here, &["--distributors", ""]);
    let client = up.client();
    for _ in 0..3 {
        let id = client.add("job", &job("noop"), None).await.expect("added");
        eventually("it is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
    }
    let copy = folder.path().join("copy.db");
    let backup = |arguments: &[&str]| {
        let mut command = program();
        command.arg("backup").arg(&copy).args(arguments).env("SLIPSTREAM_DATA_DIR", &here);
        Ran::of(&command.output().expect("the binary starts"))
    };
    let said = backup(&[]).good();
    assert!(said.contains("copy.db: 3 jobs, ") && said.trim_end().ends_with("checked"), "{said}");
    let refused = backup(&[]).failed();
    assert!(refused.contains("copy.db exists") && refused.contains("--overwrite"), "{refused}");
    client.add("job", &job("noop"), None).await.expect("the server goes on");
    assert!(backup(&["--overwrite"]).good().contains("4 jobs"));
    for name in ["jobs.db-wal", "jobs.db-shm", "jobs.db-reserve", "lock", "endpoint", "super.password", "jobs.db.new"] {
        let mut command = program();
        command.args(["backup", "--overwrite"]).arg(here.join(name)).env("SLIPSTREAM_DATA_DIR", &here);
        let refused = Ran::of(&command.output().expect("the binary starts")).failed();
        assert!(refused.contains(" is a file of the engine itself: choose another file"), "{name}: {refused}");
    }
    let letter = folder.path().join("letter");
    std::fs::write(&letter, "dear Kenny").expect("written");
    let mut command = program();
    command.args(["backup", "--overwrite"]).arg(&letter).env("SLIPSTREAM_DATA_DIR", &here);
    let refused = Ran::of(&command.output().expect("the binary starts")).failed();
    assert!(refused.contains("letter is no backup that this program knows, and is not replaced"), "{refused}");
    assert_eq!(std::fs::read(&letter).expect("there"), b"dear Kenny");
    let elsewhere = backup(&["--overwrite", "--data-dir", "/nowhere"]).failed();
    assert!(elsewhere.contains("there is no database /nowhere/jobs.db"), "{elsewhere}");
    std::fs::create_dir(&there).expect("made");
    std::fs::copy(&copy, there.join("jobs.db")).expect("copied");
    let restored = Up::start(&there, &["--distributors", ""]);
    assert_eq!(restored.client().search("job", &Search::default()).await.expect("searched").count, 4);
}

#[tokio::test]
async fn a_second_up_that_comes_to_the_same_database_through_a_link_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    let up = Up::start(&here, &["--distributors", ""]);
    std::fs::create_dir(&there).expect("made");
    symlink(here.join("jobs.db"), there.join("jobs.db")).expect("linked");
    let refused = Ran::of(&up_command(&there).output().expect("the binary starts")).failed();
    assert!(refused.contains("another process uses the database"), "{refused}");
    up.client().add("job", &job("noop"), None).await.expect("the first goes on");
}

#[tokio::test]
async fn nothing_is_answered_as_added_once_the_database_was_moved_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(folder.path(), &["--distributors", ""]);
    let client = up.client();
    let first = client.add("job", &job("noop"), None).await.expect("added");
    eventually("it is done", async || (state(&client.get(&first).await.ok()?) == "SUCCESS").then_some(())).await;
    let (path, elsewhere) = (folder.path().join("jobs.db"), folder.path().join("moved.db"));
    std::fs::rename(&path, &elsewhere).expect("moved");
    let refused = client.add("job", &job("noop"), None).await.expect_err("it would be lost");
    assert_eq!(refused.refusal().map(|refusal| refusal.status), Some(503), "{refused}");
    std::fs::rename(&elsewhere, &path).expect("put back");
    client.add("job", &job("noop"), None).await.expect("added");
    assert_eq!(client.search("job", &Search::default()).await.expect("searched").count, 2);
}
