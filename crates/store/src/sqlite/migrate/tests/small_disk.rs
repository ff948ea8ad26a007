//! A disk that is full at the start or in the middle of the change, each test in a name space of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

/// Has this test run once more where there is so little space, if a file system can be mounted here; answers the folder of
/// that, for the one that runs there.
fn on_a_small_disk(test: &str, size: &str) -> Option<PathBuf> {
    const FOLDER: &str = "STORE_TEST_SMALL_DISK";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let unshared = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, size]).arg(folder.path());
        command
    };
    let mount = "mount -t tmpfs -o size=$0 none \"$1\"";
    if !unshared(mount).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("no file system can be mounted here: a full disk is not tried");
        return None;
    }
    let mut again = unshared(&format!("{mount} && shift && exec \"$@\""));
    again.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(FOLDER, folder.path());
    let again = again.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&again.stdout), String::from_utf8_lossy(&again.stderr));
    assert!(again.status.success() && said.contains("1 passed"), "{said}");
    None
}

/// Writes a file until the disk has no more space than this.
fn leave(folder: &Path, bytes: u64) -> PathBuf {
    let filler = folder.join("filler");
    let free = rustix::fs::statvfs(folder).unwrap();
    let size = (free.f_bavail * free.f_frsize).checked_sub(bytes).expect("there is more than that");
    fs::write(&filler, vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
    filler
}

/// Fault: the disk is full before the file is written anew, and no copy was wanted.
#[tokio::test]
async fn a_disk_that_is_full_while_the_file_is_written_anew_leaves_it_as_it_was() {
    let test =
        "sqlite::migrate::tests::small_disk::a_disk_that_is_full_while_the_file_is_written_anew_leaves_it_as_it_was";
    let Some(folder) = on_a_small_disk(test, "8m") else { return };
    let path = folder.join("store.db");
    file_of_version_2(&path);
    add_jobs(&path, 1_500, 1_000);
    fs::write(path.with_file_name("store.db.before-2"), "").unwrap();
    let filler = leave(&folder, 1 << 20);
    let error = SqliteStore::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    assert_eq!(version(&path), 2);
    assert!(!path.with_file_name("store.db.new").exists());
    // with what was kept for such times it is enough
    fs::remove_file(filler).unwrap();
    fs::write(files::beside(&path, "-reserve"), vec![0; 5 << 19]).unwrap();
    leave(&folder, 1 << 20);
    let store = SqliteStore::open(&path).unwrap();
    holds_all(&store).await;
    holds_jobs(&store, 1_500).await;
    store.close().unwrap();
}

/// Fault: the disk is so full that the index of the log has no space.
#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_survived_by_the_reserve() {
    let test = "sqlite::migrate::tests::small_disk::a_disk_that_is_full_at_the_start_is_survived_by_the_reserve";
    let Some(folder) = on_a_small_disk(test, "4m") else { return };
    let path = folder.join("store.db");
    let open = || SqliteStore::open(&path);
    open().unwrap().close().unwrap();
    assert!(files::beside(&path, "-reserve").metadata().unwrap().len() > 0);
    for suffix in ["-wal", "-shm"] {
        files::remove(&files::beside(&path, suffix)).unwrap();
    }
    let filler = leave(&folder, 0);
    let store = open().unwrap();
    // as whoever ends jobs needs one
    let session = Record {
        id: "session/1".to_owned(),
        revision: Revision::default(),
        document: StoredDocument::default(),
        ledger: Value::Null,
    };
    store.insert(session).await.unwrap();
    store.close().unwrap();
    fs::remove_file(filler).unwrap();
    assert!(open().unwrap().get("session/1").await.unwrap().is_some());
}
