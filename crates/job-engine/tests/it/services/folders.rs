//! Whose folder of `ZooKeeper` it is: two stores in one would take each other's entries for those of jobs that are gone.

use std::process::Command;

use slipstream_coordination::session::make_path;
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, ZooKeeper};
use slipstream_test_ensemble::Ensemble;

use super::refusals::{beside, refusal};
use super::support::{Service, Site, endpoint, server};
use crate::support::{eventually, program, state};

/// What a line says between two others' words.
fn between<'a>(line: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = line.split_once(before).unwrap_or_else(|| panic!("no `{before}` in {line}"));
    rest.split_once(after).map_or(rest, |(between, _)| between)
}

fn adopt(hosts: &str, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(["queue", "adopt"]).args(arguments).args(["--zk-hosts", hosts]);
    command
}

#[tokio::test]
async fn a_server_of_another_store_is_refused_until_the_folder_is_given_to_it() {
    let mut site = Site::new().await;
    let hosts = site.ensemble.hosts();
    site.server.says("is the queue of this store now").await;
    let mut kenny = site.service(&["executor", "--name", "Kenny"]).await;
    let other = tempfile::tempdir().expect("a folder");
    let second = || server(&other.path().join("jobs.db"), &hosts, "127.0.0.1:0");
    let complained = refusal(second()).await;
    assert!(complained.contains(&format!("cannot use the coordinator at {hosts}: the folder is the queue of another")));
    let identity = between(&complained, "slipstream-job queue adopt ", " --zk-hosts ").to_owned();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(site.run(&["submit", "noop"]).good().trim().to_owned());
    }
    let client = site.client();
    for id in &ids {
        eventually("all are done", async || (state(&client.get(id).await.ok()?) == "SUCCESS").then_some(())).await;
    }
    let unsure = refusal(adopt(&hosts, &[&identity])).await;
    assert!(unsure.contains("nothing changed yet") && unsure.contains("Add --yes"), "{unsure}");
    assert!(refusal(second()).await.contains("another store"), "nothing was changed");

    let given = adopt(&hosts, &[&identity, "--yes"]).output().expect("the binary starts");
    assert!(
        String::from_utf8_lossy(&given.stdout).contains(&format!("is that of the store {identity} now")),
        "{given:?}"
    );
    site.server.says("refused by ZooKeeper").await;
    kenny.says("refused by ZooKeeper").await;
    let taken = Service::start(second());
    taken.says(" is up").await;
    let id = site.run(&["submit", "noop"]).good().trim().to_owned();
    assert_eq!(state(&client.get(&id).await.expect("kept")), "QUEUED");
    let shown = site.run(&["queue"]);
    assert!(shown.code == 2 && shown.complained.contains("is unusable until"), "{shown:?}");
    kenny.stop().await;
    site.server.stop().await;
}

/// The executor of the one beside the server of the other.
#[tokio::test]
async fn an_executor_is_refused_where_the_folder_is_not_that_of_its_servers_store() {
    let site = Site::new().await;
    let settings = Settings::new(&site.ensemble.hosts());
    let session = ZooKeeper::new(settings).expect("good settings").connect().await.expect("connected");
    make_path(&*session, "/second").await.expect("made");
    session.close().await;
    let other = tempfile::tempdir().expect("a folder");
    let hosts = format!("{}/second", site.ensemble.hosts());
    let second = Service::start(server(&other.path().join("jobs.db"), &hosts, "127.0.0.1:0"));
    let second_endpoint = endpoint(&second).await;
    second.says("is the queue of this store now").await;
    for arguments in [&["executor"][..], &["distributor", "jobs_cleanup"]] {
        let complained = refusal(beside(&second_endpoint, &site.ensemble.hosts(), arguments)).await;
        assert!(complained.contains("and the server's is"), "{complained}");
        assert!(complained.contains("check --zk-hosts and --ss-url"), "{complained}");
        let mut taken = Service::start(beside(&second_endpoint, &hosts, arguments));
        taken.says(" is up").await;
        taken.stop().await;
    }
}

#[tokio::test]
async fn a_copied_store_has_the_folder_of_the_one_before() {
    let mut site = Site::over(Ensemble::start(1).await).await;
    let id = site.run(&["submit", "noop"]).good().trim().to_owned();
    site.server.stop().await;
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::copy(site.folder.path().join("jobs.db"), copy.path().join("jobs.db")).expect("copied");
    let second = Service::start(server(&copy.path().join("jobs.db"), &site.ensemble.hosts(), "127.0.0.1:0"));
    let site = Site { endpoint: endpoint(&second).await, server: second, ..site };
    let mut kenny = site.service(&["executor", "--name", "Kenny"]).await;
    let client = site.client();
    eventually("it is done", async || (state(&client.get(&id).await.ok()?) == "SUCCESS").then_some(())).await;
    assert_eq!(site.server.times("identity"), 0, "{:?}", site.server.said());
    kenny.stop().await;
}
