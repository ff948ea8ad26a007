//! What may become right by itself ends no service: it tries again, says so once, and goes on.

use slipstream_test_ensemble::Ensemble;

use super::support::{Deaf, Service, Site, endpoint, executors, server};
use crate::support::{eventually, job, program, state};

const LOST: &str = "cannot reach ZooKeeper";

#[tokio::test]
async fn a_service_waits_for_both_peers_and_says_once_that_they_are_away() {
    let (zookeeper, cimi) = (Deaf::new().await, Deaf::new().await);
    for arguments in [&["executor"][..], &["distributor", "jobs_cleanup"]] {
        let mut command = program();
        command.args(arguments).args(["--ss-user", "super", "--zk-hosts", &zookeeper.address.to_string()]);
        command.args(["--ss-url", &format!("http://{}", cimi.address)]).env("SLIPSTREAM_PASS", "x");
        let mut service = Service::start(command);
        // each is waited for from the beginning on
        let (zookeeper_before, cimi_before) = (zookeeper.times(), cimi.times());
        tokio::join!(zookeeper.tried(zookeeper_before + 3), cimi.tried(cimi_before + 3));
        for lost in [LOST.to_owned(), format!("cannot reach the server at http://{}", cimi.address)] {
            service.says(&lost).await;
            assert_eq!(service.times(&lost), 1, "{:?}", service.said());
        }
        let said = service.stop().await;
        assert!(said.iter().all(|line| !line.contains(" is up")), "{said:?}");
    }
}

#[tokio::test]
async fn jobs_are_added_while_zookeeper_is_away_and_done_once_it_is_back() {
    let mut ensemble = Ensemble::start(1).await;
    ensemble.kill(0);
    let mut site = Site::over(ensemble).await;
    site.server.says("unreachable: jobs are stored").await;
    let client = site.client();
    let first = client.add("job", &job("noop"), None).await.expect("answered 201");
    let executor = Service::start(site.command(&["executor", "--name", "Kenny"]));
    executor.says(LOST).await;
    site.ensemble.restart(0).await;
    executor.says(" is up").await;
    let done = async |id: &str| {
        eventually("it is done", async || (state(&client.get(id).await.ok()?) == "SUCCESS").then_some(())).await;
    };
    done(&first).await;
    site.ensemble.kill(0);
    executor.says("the connection is lost").await;
    let second = client.add("job", &job("noop"), None).await.expect("answered 201");
    for _ in 0..10 {
        client.add("job", &job("noop"), None).await.expect("answered 201");
    }
    site.ensemble.restart(0).await;
    done(&second).await;
    assert!((1..=2).contains(&site.server.times("entries not put yet")), "{:?}", site.server.said());
    for mut service in [executor, site.server] {
        assert!(service.times(LOST) <= 2, "once for each outage: {:?}", service.said());
        assert!(service.times("connected to") >= 1, "{:?}", service.said());
        service.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_comes_later_or_goes_and_comes_again_is_waited_for() {
    let mut site = Site::new().await;
    let (hosts, store) = (site.ensemble.hosts(), site.folder.path().join("jobs.db"));
    let address = site.endpoint.trim_start_matches("http://").to_owned();
    site.server.stop().await;
    let mut executor = Service::start(site.command(&["executor"]));
    executor.says("cannot reach the server").await;
    for _ in 0..2 {
        site.server = Service::start(server(&store, &hosts, &address));
        endpoint(&site.server).await;
        executor.says(" is up").await;
        let done = site.run(&["submit", "noop", "--wait"]);
        assert_eq!(done.code, 0, "{done:?}");
        site.server.stop().await;
    }
    executor.stop().await;
}

#[tokio::test]
async fn a_password_that_becomes_wrong_later_is_tried_again() {
    let site = Site::new().await;
    let (old, new) = (site.file("old", "the first password"), site.file("new", "the second password"));
    let (old, new) = (old.to_str().expect("UTF-8"), new.to_str().expect("UTF-8"));
    site.run(&["users", "add", "jane", "--administrator", "--password-file", old]).good();
    let mut command = site.command(&["executor", "--name", "Kenny", "--ss-pass-file", old]);
    command.args(["--ss-user", "jane"]);
    let mut executor = Service::start(command);
    executor.says(" is up").await;
    assert_eq!(site.run(&["submit", "noop", "--wait"]).code, 0);
    site.run(&["users", "passwd", "jane", "--password-file", new]).good();
    let id = site.run(&["submit", "noop"]).good().trim().to_owned();
    executor.says("refused by the server at").await;
    site.run(&["users", "passwd", "jane", "--password-file", old]).good();
    let client = site.client();
    eventually("it is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
    assert_eq!(executors(&client.operation(&id, "ledger").await.expect("there")), ["Kenny"]);
    assert_eq!(executor.times("refused by the server at"), 1, "{:?}", executor.said());
    executor.stop().await;
}
