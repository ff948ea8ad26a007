//! A site: an ensemble, a server, executors and distributors, each a process of its own.

use std::time::Duration;

use slipstream_coordination::session::{Change, existing};
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, ZooKeeper};
use tokio::time::{Instant, timeout};

use super::support::{Service, Site, executors};
use crate::support::{LIMIT, eventually, state};

/// A round each second.
const EACH_SECOND: &str =
    "[[distributor]]\nname = \"each\"\naction = \"noop\"\ntarget = \"each/second\"\nevery = \"1s\"\n";

#[tokio::test]
async fn a_site_does_jobs_and_says_who_does_what() {
    let site = Site::new().await;
    let config = site.file("config.toml", EACH_SECOND);
    let config = config.to_str().expect("UTF-8");
    let kenny = site.service(&["executor", "--name", "Kenny"]).await;
    let garrison = site.service(&["executor", "--name", "M. Garrison", "--threads=2"]).await;
    let distributor = site.service(&["distributor", "each", "--config", config, "--name", "Stan"]).await;
    let done = site.run(&["submit", "noop", "--wait"]);
    assert_eq!((done.code, done.complained.lines().last()), (0, Some("SUCCESS")), "{done:?}");

    let listed = site.run(&["executors"]).good();
    for (name, slots) in [("Kenny ", " 1 "), ("M. Garrison ", " 2 ")] {
        assert!(listed.lines().any(|line| line.starts_with(name) && line.contains(slots)), "{listed}");
    }
    let client = site.client();
    eventually("a round is distributed", async || {
        let found = site.run(&["jobs", "--filter", "targetResource/href='each/second'", "--json"]).json();
        (!found.as_array()?.is_empty()).then_some(())
    })
    .await;
    let listed = site.run(&["distributors"]).good();
    assert!(listed.lines().any(|line| line.starts_with("each ") && line.contains(" Stan ")), "{listed}");

    let id = site.run(&["submit", "dummy_test_action"]).good().trim().to_owned();
    let holder = site.holder(&id).await;
    assert!(["Kenny", "M. Garrison"].contains(&holder.as_str()), "{holder}");
    let shown = site.run(&["queue"]).good();
    let short = id.trim_start_matches("job/");
    assert!(shown.lines().any(|line| line.starts_with(short) && line.ends_with(&holder)), "{shown}");
    eventually("it runs", async || (state(&client.get(&id).await.ok()?) == "RUNNING").then_some(())).await;
    let shown = site.run(&["jobs", "show", &id]).good();
    assert!(shown.contains(&holder), "{shown}");

    for mut service in [distributor, kenny, garrison, site.server] {
        let said = service.stop().await;
        assert!(said.iter().any(|line| line.starts_with("stopping")), "{said:?}");
    }
}

#[tokio::test]
async fn the_job_of_a_killed_executor_is_handed_over_when_its_session_ends() {
    let site = Site::new().await;
    let mut services = Vec::new();
    for name in ["Kenny", "Stan"] {
        services.push((name, site.service(&["executor", "--name", name, "--zk-session-timeout", "2s"]).await));
    }
    let id = site.run(&["submit", "dummy_test_action"]).good().trim().to_owned();
    let client = site.client();
    eventually("it runs", async || (state(&client.get(&id).await.ok()?) == "RUNNING").then_some(())).await;
    let holder = site.holder(&id).await;
    let index = services.iter().position(|(name, _)| *name == holder).expect("one of them");
    let (_, killed) = services.remove(index);
    let (other, _) = services[0];
    killed.kill();
    let handed_over = eventually("another one goes on with it", async || {
        let ledger = client.operation(&id, "ledger").await.ok()?;
        (executors(&ledger).len() == 2).then_some(ledger)
    });
    // the session's time-out, the tick of its end, and what a busy machine needs
    let ledger = timeout(Duration::from_secs(15), handed_over).await.expect("handed over with the session's end");
    assert_eq!(executors(&ledger), [holder.as_str(), other]);
    assert_eq!((&ledger["attempts"][0]["outcome"], &ledger["lost"]), (&"lost".into(), &1.into()));
    assert_eq!(site.holder(&id).await, other);
    eventually("it is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
}

#[tokio::test]
async fn a_leader_that_is_asked_to_stop_hands_over_at_once() {
    let site = Site::new().await;
    let config = site.file("config.toml", EACH_SECOND);
    let config = config.to_str().expect("UTF-8");
    let start = async |name: &str| {
        let arguments = ["distributor", "each", "--config", config, "--name", name, "--zk-session-timeout", "60s"];
        site.service(&arguments).await
    };
    let leader = start("Kenny").await;
    leader.says("elected leader").await;
    let mut next = start("Stan").await;
    let session = ZooKeeper::new(Settings::new(&site.ensemble.hosts())).expect("good hosts").connect().await;
    let session = session.expect("connected");
    let election = "/election/noop";
    eventually("both stand", async || {
        let children = existing(session.children(election).await).expect("answered")?;
        (children.len() == 2).then_some(())
    })
    .await;
    let mut changes = session.watch(election).await.expect("watched");
    let begun = Instant::now();
    leader.signal("TERM");
    let gone = async {
        while let Some(change) = changes.recv().await {
            if matches!(change, Change::Deleted(_)) {
                return begun.elapsed();
            }
        }
        panic!("the session has ended");
    };
    // by its own word, long before the end of its session
    let taken = timeout(LIMIT / 2, gone).await.expect("its node goes");
    next.says("elected leader").await;
    println!("the leader's node was gone after {taken:?}, and the next one led after {:?}", begun.elapsed());
    let distributors = site.run(&["distributors", "--json"]).json();
    assert_eq!(distributors[0]["leader"], "Stan", "{distributors}");
    ended(leader).await;
    next.stop().await;
}

async fn ended(mut service: Service) {
    assert_eq!(service.ended().await.code(), Some(0), "{:?}", service.said());
}

#[tokio::test]
async fn the_first_signal_lets_a_job_end_and_the_second_gives_it_back() {
    let site = Site::new().await;
    let client = site.client();
    let running = async |service: &Service| {
        let id = site.run(&["submit", "dummy_test_action"]).good().trim().to_owned();
        eventually("it runs", async || (state(&client.get(&id).await.ok()?) == "RUNNING").then_some(())).await;
        service.signal("TERM");
        service.says("stopping: running jobs may take up to 120 seconds").await;
        id
    };
    let kind = site.service(&["executor", "--name", "Kenny"]).await;
    let first = running(&kind).await;
    let later = site.run(&["submit", "noop"]).good().trim().to_owned();
    ended(kind).await;
    assert_eq!(state(&client.get(&first).await.expect("there")), "SUCCESS");
    assert_eq!(state(&client.get(&later).await.expect("there")), "QUEUED", "nothing new is taken");
    let hasty = site.service(&["executor", "--name", "Stan"]).await;
    let second = running(&hasty).await;
    hasty.signal("INT");
    ended(hasty).await;
    assert_eq!(state(&client.get(&second).await.expect("there")), "QUEUED");
    let ledger = client.operation(&second, "ledger").await.expect("there");
    assert_eq!((&ledger["attempts"][0]["outcome"], &ledger["lost"]), (&"released".into(), &0.into()));
}
