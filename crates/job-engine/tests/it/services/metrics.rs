//! A real Prometheus scrapes a site, and who cannot work says so.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tokio::net::TcpSocket;

use super::support::{Service, Site, admin, asked};
use crate::support::eventually;

/// A round each second.
const EACH_SECOND: &str =
    "[[distributor]]\nname = \"each\"\naction = \"noop\"\ntarget = \"each/second\"\nevery = \"1s\"\n";

/// The names in the table of `docs/metrics.md`, which a test compares with the code; those of histograms as their samples
/// are called.
fn names() -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md"));
    let page = page.expect("there is a page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `slipstream_")?.split_once("` | "));
    rows.map(|(name, rest)| format!("slipstream_{name}{}", if rest.starts_with("histogram") { "_count" } else { "" }))
        .collect()
}

/// A port that stays ours: who binds it with `SO_REUSEADDR`, as Prometheus does, may listen.
fn hold_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("an address may be used again");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("there are free ports");
    let address = socket.local_addr().expect("a bound socket has an address");
    (socket, address)
}

fn prometheus(folder: &Path, listen: SocketAddr, targets: &[String]) -> Service {
    let targets: Vec<String> = targets.iter().map(|target| format!("'{}'", target.replace("http://", ""))).collect();
    let config = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: slipstream\n    static_configs:\n      - \
         targets: [{}]\n",
        targets.join(", ")
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config).expect("written");
    let mut command = Command::new("prometheus");
    command.arg("--config.file").arg(&file).arg("--storage.tsdb.path").arg(folder.join("prometheus"));
    command.arg(format!("--web.listen-address={listen}"));
    Service::start(command)
}

async fn query(prometheus: &str, name: &str) -> Vec<Value> {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", name).finish();
    let answer = asked(prometheus, "GET", &format!("/api/v1/query?{query}")).await;
    answer.body["data"]["result"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn prometheus_gets_every_metric_of_the_table() {
    let site = Site::new().await;
    let config = site.file("config.toml", EACH_SECOND);
    let config = config.to_str().expect("UTF-8");
    let at = ["--admin-listen", "127.0.0.1:0"];
    let executor = site.service(&[&["executor", "--threads=4"], &at[..]].concat()).await;
    let distributor = site.service(&[&["distributor", "each", "--config", config], &at[..]].concat()).await;
    let mut targets = Vec::new();
    for service in [&site.server, &executor, &distributor] {
        targets.push(admin(service).await);
    }
    let (_held, listen) = hold_port();
    let _prometheus = prometheus(site.folder.path(), listen, &targets);
    let prometheus = format!("http://{listen}");
    let up = async || {
        let up = query(&prometheus, "up").await;
        let good = up.iter().filter(|sample| sample["value"][1] == "1").count();
        (good == targets.len()).then_some(())
    };
    eventually("all three are up", async || {
        // until it listens there is nobody to ask
        tokio::net::TcpStream::connect(listen).await.ok()?;
        up().await
    })
    .await;
    for _ in 0..20 {
        site.run(&["submit", "noop"]).good();
    }
    let names = names();
    assert!(names.len() > 20, "{names:?}");
    let mut missing: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    // rounds and the first scrapes take a moment
    eventually("every name is there", async || {
        for name in missing.clone() {
            if !query(&prometheus, name).await.is_empty() {
                missing.remove(name);
            }
        }
        println!("missing: {missing:?}");
        missing.is_empty().then_some(())
    })
    .await;
    eventually("the jobs have ended", async || {
        let ended = query(&prometheus, "sum(slipstream_jobs_ended_total{state=\"SUCCESS\"})").await;
        let ended: f64 = ended.first()?["value"][1].as_str()?.parse().ok()?;
        (ended >= 20.0).then_some(())
    })
    .await;
    assert!(up().await.is_some(), "a text that Prometheus does not understand is a target that is down");
    let leaders = query(&prometheus, "slipstream_leader").await;
    assert_eq!(leaders[0]["metric"]["distributor"], "each", "{leaders:?}");
}

#[tokio::test]
async fn who_cannot_work_is_not_ready() {
    let mut site = Site::new().await;
    let executor = site.service(&["executor", "--admin-listen", "127.0.0.1:0"]).await;
    let (of_server, of_executor) = (admin(&site.server).await, admin(&executor).await);
    let ready = async |place: &str| {
        let answer = asked(place, "GET", "/readyz").await;
        (answer.status, answer.text)
    };
    let is = async |status: u16, text: &str| {
        eventually(text, async || (ready(&of_executor).await == (status, text.to_owned())).then_some(())).await;
    };
    is(200, "ready\n").await;
    executor.signal("USR2");
    is(503, "executor: draining\n").await;
    eventually("it is counted", async || {
        let scraped = asked(&of_executor, "GET", "/metrics").await.text;
        scraped.contains("slipstream_draining 1\n").then_some(())
    })
    .await;
    site.run(&["resume", &executor.process().to_string()]).good();
    is(200, "ready\n").await;
    site.ensemble.kill(0);
    is(503, "ZooKeeper: the connection is lost\n").await;
    // jobs are added all the same
    assert_eq!(ready(&of_server).await.0, 200);
    site.ensemble.restart(0).await;
    is(200, "ready\n").await;
    site.server.kill();
    is(503, "server: it does not answer\n").await;
    assert_eq!(asked(&of_executor, "GET", "/livez").await.status, 200);
}

/// The files lie in the packages.
#[test]
fn promtool_takes_the_alerts_and_each_fires_when_it_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging");
    let rules = folder.join("root/usr/share/doc/slipstream-job-engine/alerts.yml");
    for (command, file) in [("check", rules), ("test", folder.join("tests/alerts.yml"))] {
        let ran = Command::new("promtool").args([command, "rules"]).arg(file).output();
        let ran = ran.expect("promtool is of the Debian package prometheus");
        assert!(ran.status.success(), "{command}: {ran:?}");
    }
}
