//! What happens to a site's jobs while one of its parts is away, or is asked to stop.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slipstream_cimi::overview::ledger::Outcome;
use slipstream_cimi::{Document, State};
use slipstream_coordination::session::existing;
use slipstream_job_engine::internals::process::paths;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::load::step;
use crate::records::How;
use crate::site::{Options, Site};
use crate::support::{eventually, lasts};

/// Jobs of one length.
async fn add(site: &Site, count: usize, job: &Document) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(site.client.add("job", job, None).await.expect("added"));
    }
    ids
}

async fn until_done(site: &Site, ids: &[String]) {
    for id in ids {
        eventually("it is done", async || (site.state(id).await? == State::Success).then_some(())).await;
    }
}

/// The fault: whoever listens where the server was closes each connection at once.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_jobs_are_given_back_and_nothing_is_taken_until_it_answers() {
    const THREADS: usize = 4;
    let cimi_grace = Duration::from_secs(2);
    let mut site = Site::start(Options { executors: 1, threads: THREADS, cimi_grace, ..Options::default() }).await;
    let long = add(&site, THREADS, &step("loud", Duration::from_secs(3))).await;
    for id in &long {
        eventually("the job runs", async || (site.ledger(id).await?.attempts.len() == 1).then_some(())).await;
    }
    let waiting = add(&site, 10, &step("loud", Duration::ZERO)).await;
    site.server.process().kill();
    let (tries, listening) = close_connections(site.address).await;
    // the actions end, and their ends cannot be written
    eventually("they are given back", async || site.names(paths::TAKEN).await?.is_empty().then_some(())).await;
    let before = tries.load(Ordering::Relaxed);
    lasts(Duration::from_secs(6)).await;
    let meanwhile = tries.load(Ordering::Relaxed) - before;
    assert!(site.names(paths::TAKEN).await.is_some_and(|claims| claims.len() <= THREADS));
    // each second at first, and then half as often each time, whoever asks
    assert!((1..=4 * THREADS).contains(&meanwhile), "{meanwhile} tries in six seconds");
    drop(listening);
    site.server.restart();
    until_done(&site, &[long.clone(), waiting].concat()).await;
    for id in &long {
        let ledger = site.ledger(id).await.expect("there");
        assert_eq!(ledger.attempts.last().and_then(|last| last.outcome), Some(Outcome::Finished), "{ledger:?}");
    }
}

/// Listens in somebody's place and closes each connection, which are counted.
async fn close_connections(address: std::net::SocketAddr) -> (Arc<AtomicUsize>, AbortOnDropHandle<()>) {
    let listener = eventually("the place is free", async || TcpListener::bind(address).await.ok()).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let listening = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    (tries, AbortOnDropHandle::new(listening))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_stops_lets_jobs_end_within_the_grace_and_gives_back_the_others() {
    let grace = Duration::from_secs(3);
    let mut site = Site::start(Options { executors: 1, threads: 2, grace, ..Options::default() }).await;
    let short = add(&site, 1, &step("loud", Duration::from_secs(2))).await.concat();
    let long = add(&site, 1, &step("loud", Duration::from_secs(8))).await.concat();
    for id in [&short, &long] {
        eventually("the job runs", async || (site.ledger(id).await?.attempts.len() == 1).then_some(())).await;
    }
    let later = add(&site, 3, &step("loud", Duration::ZERO)).await;
    assert!(site.executors[0].process().stop().await.success());
    assert_eq!(site.state(&short).await, Some(State::Success));
    assert_eq!(site.state(&long).await, Some(State::Queued));
    let ledger = site.ledger(&long).await.expect("there");
    assert_eq!((ledger.attempts[0].outcome, ledger.lost), (Some(Outcome::Released), 0));
    for id in &later {
        assert_eq!(site.ledger(id).await.map(|ledger| ledger.attempts.len()), Some(0), "taken after the stop");
    }
    assert_eq!(site.names(paths::TAKEN).await, Some(Vec::new()), "its claims went with it");
    site.hire_executor().await;
    until_done(&site, &[later, vec![long.clone()]].concat()).await;
    let of_long = |record: &crate::records::Record| (record.job == long).then_some(record.how);
    let told: Vec<How> = site.records().iter().filter_map(of_long).collect();
    // nobody lost it: it was given back
    let begun = How::Begun { rerun: false };
    assert_eq!(told, [begun, How::Cancelled, begun, How::Done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_holds_ids_alone_and_claims_those_of_running_jobs() {
    const THREADS: usize = 2;
    let site = Site::start(Options { executors: 2, threads: THREADS, ..Options::default() }).await;
    let ids = add(&site, 12, &step("loud", Duration::from_secs(2))).await;
    let session = site.session().await;
    let names = async |folder: &str| existing(session.children(folder).await).expect("answered").unwrap_or_default();
    eventually("everybody is at work", async || (names(paths::TAKEN).await.len() == 2 * THREADS).then_some(())).await;
    let (entries, claims) = (names(paths::ENTRIES).await, names(paths::TAKEN).await);
    assert!(claims.len() <= 2 * THREADS, "{claims:?}");
    for name in &entries {
        let Ok(node) = session.data(&format!("{}/{name}", paths::ENTRIES)).await else { continue };
        let id = String::from_utf8(node.data).expect("text");
        assert!(ids.contains(&id), "{name} holds `{id}`");
        if claims.contains(name) {
            let begun = async || (site.state(&id).await? != State::Queued).then_some(());
            eventually("what is claimed runs", begun).await;
        } else {
            assert_eq!(site.ledger(&id).await.map(|ledger| ledger.attempts.len() <= 1), Some(true));
        }
    }
    for claim in &claims {
        assert!(entries.contains(claim), "a claim on what is not queued: {claim}");
    }
    until_done(&site, &ids).await;
    let empty = async || (names(paths::ENTRIES).await.is_empty() && names(paths::TAKEN).await.is_empty()).then_some(());
    eventually("nothing is left", empty).await;
}

/// The fault: the only member of the ensemble may not write another byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_zookeeper_holds_up_jobs_and_loses_none() {
    let mut site = Site::start(Options { members: Some(1), ..Options::default() }).await;
    let before = add(&site, 3, &step("loud", Duration::ZERO)).await;
    until_done(&site, &before).await;
    let member = site.ensemble().process_id(0).to_string();
    let limited = Command::new("prlimit").args(["--pid", &member, "--fsize=1:1"]).status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit, of util-linux, sets the limit");
    let during = add(&site, 5, &step("loud", Duration::ZERO)).await;
    // it takes no transaction any more, and may have ended
    assert_eq!(site.names(paths::ENTRIES).await, None, "no session can be had");
    for id in &during {
        assert_eq!(site.state(id).await, Some(State::Queued));
    }
    site.ensemble().restart(0).await;
    until_done(&site, &during).await;
    let after = add(&site, 3, &step("loud", Duration::ZERO)).await;
    until_done(&site, &after).await;
    for id in [during, after].concat() {
        assert_eq!(site.ledger(&id).await.map(|ledger| ledger.attempts.len()), Some(1));
    }
}
