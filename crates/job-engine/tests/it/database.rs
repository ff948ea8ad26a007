//! The file under a running `up`: a backup of it, another name for it, and what happens when it is moved away.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use slipstream_cimi::query::Search;
use slipstream_store::sqlite::version_2;

use crate::commands::Ran;
use crate::signals::terminal;
use crate::support::{LIMIT, Up, eventually, job, program, state, up_command};

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

/// What is shown on a terminal, piece by piece.
fn shown_on(mut terminal: File) -> Receiver<String> {
    let (sender, pieces) = channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        // an error once nobody has the other end
        while let Ok(length @ 1..) = terminal.read(&mut piece) {
            if sender.send(String::from_utf8_lossy(&piece[..length]).into_owned()).is_err() {
                break;
            }
        }
    });
    pieces
}

/// Reads on until the text is there, and answers all since then.
fn read_until(pieces: &Receiver<String>, shown: &mut String, is_there: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_there(shown) {
        let piece = pieces.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        shown.push_str(&piece.unwrap_or_else(|error| panic!("{error}: {shown:?}")));
    }
}

fn make_older_database(path: &Path) {
    version_2::make(path, &[]).expect("made");
}

#[tokio::test]
async fn a_terminal_shows_how_far_the_change_of_an_older_database_is_below_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.db");
    make_older_database(&path);
    // for as long as it is read the change waits
    let reader = rusqlite::Connection::open(&path).expect("opened");
    reader.query_row("SELECT count(*) FROM resource", [], |row| row.get::<_, i64>(0)).expect("read");
    let (ours, theirs) = terminal(50);
    let pieces = shown_on(ours);
    let mut command = up_command(folder.path());
    command.env("TERM", "xterm").stdout(Stdio::null()).stderr(theirs);
    let mut up = command.spawn().expect("the binary starts");
    // ours would stay open for reading
    drop(command);
    // cut where the terminal ends, and drawn in place
    let line = "\rwaiting until nobody else reads the database, for\u{1b}[K";
    let mut shown = String::new();
    read_until(&pieces, &mut shown, |shown| shown.contains(&line.repeat(2)));
    drop(reader);
    let is_erased = |after: &str| after.starts_with("\r\u{1b}[K");
    read_until(&pieces, &mut shown, |shown| {
        let is_gone = shown.rsplit_once(line).is_some_and(|(_, after)| is_erased(after));
        is_gone && shown.contains("the database has the current version")
    });
    let mut drawn = shown.split(line);
    let before = drawn.next().expect("there is a first one");
    assert!(before.contains("waiting until nobody else reads the database\r\n"), "the log says it once: {shown:?}");
    // drawn again, or erased before the next line of the log
    assert!(drawn.all(|after| after.is_empty() || is_erased(after)), "{shown:?}");
    up.kill().expect("it is there");
    up.wait().expect("it is ours");
    // elsewhere there are lines only
    for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        drop(fs::remove_file(folder.path().join(name)));
    }
    make_older_database(&path);
    let log = folder.path().join("log");
    let up = Up::spawn_logging(up_command(folder.path()), File::create(&log).expect("made"));
    let logged = fs::read_to_string(&log).expect("read");
    assert!(
        logged.contains("the database has the current version") && !logged.contains(['\r', '\u{1b}']),
        "{logged:?}"
    );
    up.kill();
}
