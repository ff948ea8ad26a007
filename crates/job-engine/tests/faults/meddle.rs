//! What others do to a site's folder in `ZooKeeper`: an entry that is not for us, kazoo, a server with another store.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use slipstream_coordination::session::{Cause, Mode, Operation};
use slipstream_coordination::zookeeper::{Login, Scheme, Settings};
use slipstream_coordination::{Coordinator, ZooKeeper};
use slipstream_job_engine::internals::process::paths;

use crate::load::step;
use crate::part::Part;
use crate::plan::SLOTS;
use crate::process::Process;
use crate::site::Site;
use crate::support::{eventually, lasts};

/// Jobs that wait for kazoo to put them again, each for a moment: an executor takes several at once, each several times.
const WAITING: usize = 4;
/// Their priority, and that of all that kazoo puts: before what is added meanwhile.
const PRIORITY: u16 = 100;
/// How often it does.
const TIMES: usize = 4;
/// What a server with another store says.
const REASON: &str = "the folder is the queue of another store";

/// Puts entries that only another login may read before all others, and deletes them after so long. Answers how many could
/// not be read. `ZooKeeper` tells nobody of nodes that they may not read: who lists them finds them.
pub async fn put_unreadable(site: &mut Site, length: Duration) -> u64 {
    stop_executors(site).await;
    let login = Login { scheme: Scheme::Digest, user: "other".to_owned(), password: "other".into(), protects: true };
    let settings = Settings { login: Some(login), ..Settings::new(&site.hosts()) };
    let other = ZooKeeper::new(settings).expect("good hosts").connect().await.expect("the ensemble answers");
    let path = format!("{}/entry-000-", paths::ENTRIES);
    let entry = Operation::create(path, "job/of-somebody-else", Mode::PersistentSequential);
    let paths = other.commit(vec![entry; SLOTS + 1]).await.expect("anybody may put entries");
    site.executors.iter_mut().for_each(Part::restart);
    lasts(length).await;
    site.client.get("queue").await.expect("the server shows the queue all the same");
    let session = site.session().await;
    let mut refused = 0;
    for path in paths {
        refused += u64::from(session.data(&path).await.is_err_and(|error| error.is(Cause::NotAllowed)));
        // for a moment it may be lost to a request that is under way
        eventually("it is deleted", async || other.commit(vec![Operation::delete(path.clone())]).await.ok()).await;
    }
    session.close().await;
    other.close().await;
    refused
}

/// Lets kazoo put all entries again while no executor runs, as somebody does who restores a queue. Answers how many it put.
pub async fn queue_again(site: &mut Site, jobs: &mut Vec<String>) -> u64 {
    stop_executors(site).await;
    for _ in 0..WAITING {
        let mut job = step("quiet", Duration::from_millis(600));
        job.insert("priority".to_owned(), PRIORITY.into());
        jobs.push(site.client.add("job", &job, None).await.expect("the server answers"));
    }
    let session = site.session().await;
    let mut values = Vec::new();
    for name in session.children(paths::ENTRIES).await.expect("the ensemble answers") {
        // it may have been done meanwhile
        let entry = session.data(&format!("{}/{name}", paths::ENTRIES)).await.ok();
        values.extend(entry.map(|entry| String::from_utf8_lossy(&entry.data).into_owned()));
    }
    session.close().await;
    let python = std::env::var("SLIPSTREAM_TEST_PYTHON")
        .expect("SLIPSTREAM_TEST_PYTHON names the Python with kazoo: run the tests by `cargo xtask test`");
    let mut kazoo = Command::new(python);
    kazoo.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../coordination/tests/python/kazoo_peer.py"));
    kazoo.arg(site.hosts()).stdin(Stdio::piped()).stdout(Stdio::piped());
    // each as often in one transaction, one after the other
    let again: Vec<&str> = values.iter().flat_map(|value| [value.as_str(); TIMES]).collect();
    let commands = format!("open {}\nput_all {} {PRIORITY}\n", paths::JOB, again.join(","));
    let said = tokio::task::spawn_blocking(move || {
        let mut kazoo = kazoo.spawn().expect("Python can be started");
        // its end is the end of the peer
        let mut input = kazoo.stdin.take().expect("it was asked for");
        input.write_all(commands.as_bytes()).expect("kazoo listens");
        drop(input);
        kazoo.wait_with_output().expect("kazoo ends")
    });
    let said = said.await.expect("nothing panics");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && !text.contains("failed"), "{text}");
    site.executors.iter_mut().for_each(Part::restart);
    again.len() as u64
}

async fn stop_executors(site: &mut Site) {
    site.executors.iter_mut().for_each(|executor| executor.process().signal("TERM"));
    for executor in &mut site.executors {
        executor.process().ended().await;
    }
}

/// Starts a server with a store of its own on the site's folder. Answers 1 if it ends by itself and says why.
pub async fn start_another_store(site: &Site) -> u64 {
    let log = site.log_of("another-server");
    // a seed before this one may have left its own words there
    let said_before = std::fs::read(&log).map_or(0, |said| said.len());
    let mut another = Process::start(&mut site.server_with("another/jobs.db"), &log);
    let status = another.ended().await;
    let said = std::fs::read(&log).expect("its log can be read").split_off(said_before);
    let said = String::from_utf8_lossy(&said);
    assert!(!status.success() && said.contains(REASON), "a server with another store does not say why it ends: {said}");
    1
}
