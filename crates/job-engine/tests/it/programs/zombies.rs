//! A host that does not know that its job was given to another executor: what it writes is refused.

use std::fs;

use serde_json::{Value, json};
use slipstream_cimi::overview::ledger::{Ledger, Outcome};
use slipstream_test_ensemble::{Fault, Proxy};

use super::support::Place;
use crate::services::support::Service;
use crate::support::{document, eventually, state};

/// Does nothing until it is told to, by a file with the name of its executor; then it writes to its job, by the socket, and keeps
/// what was answered.
const HOST: &str = r#"#!/usr/bin/env python3
import http.client, json, os, socket, sys, time

def say(kind, **members):
    os.write(3, (json.dumps({kind: members}) + "\n").encode())

class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(setup["socket"])

for line in sys.stdin:
    order = json.loads(line)
    if "setup" in order:
        setup = order["setup"]
        say("hello", protocol=1, program="zombie", actions=[{"name": "write_late"}])
        continue
    run, name = order["run"], setup["executor"]
    open("HERE/begun-" + name, "w").close()
    while not os.path.exists("HERE/go-" + name):
        time.sleep(0.01)
    connection = Connection(run["api"].split("/")[2])
    body = json.dumps({"statusMessage": "by " + name, "returnCode": 7, "state": "FAILED"})
    open("HERE/writes-" + name, "w").close()
    connection.request("PUT", "/api/" + run["job"]["id"], body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    with open("HERE/new", "w") as answered:
        answered.write("%d %s" % (answer.status, answer.read().decode()))
    os.rename("HERE/new", "HERE/answered-" + name)
    say("end", number=run["number"], state="SUCCESS", message="ended by " + name)
"#;

async fn appears(place: &Place, name: &str) {
    eventually(name, async || place.path(name).exists().then_some(())).await;
}

/// The end of its session comes to the executor before the late write, or after it: then the server alone stands between.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_zombie_writes_is_refused_and_the_new_attempt_stands() {
    for learns_late in [false, true] {
        let place = Place::new().await;
        place.action("zombie.sh", HOST);
        place.action("host.toml", "[[host]]\ncommand = [\"./zombie.sh\"]\n");
        let client = place.site.client();
        let proxy = Proxy::before(place.site.ensemble.addresses()[0]).await;
        let mut command = place.command("one", 1);
        command.args(["--zk-hosts", &proxy.address().to_string()]);
        let first = Service::start(command);
        first.says(" is up").await;
        let job = json!({"action": "write_late", "targetResource": {"href": "dummy"}});
        let id = client.add("job", &document(job), None).await.expect("added");
        appears(&place, "begun-one").await;
        let second = place.executor("two", 1).await;

        first.signal("STOP");
        appears(&place, "begun-two").await;
        fs::write(place.path("go-one"), "").expect("written");
        appears(&place, "writes-one").await;
        assert!(!place.path("answered-one").exists(), "who would answer it is paused");
        if learns_late {
            proxy.set(Fault::Cut);
        }
        first.signal("CONT");
        appears(&place, "answered-one").await;
        let answered = fs::read_to_string(place.path("answered-one")).expect("read");
        let (status, body) = answered.split_once(' ').expect("both");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!((status, &body["code"]), ("409", &json!("late-lease")), "{body}");
        proxy.set(Fault::None);

        fs::write(place.path("go-two"), "").expect("written");
        let ended = eventually("the job ends", async || {
            let document = client.get(&id).await.ok()?;
            (state(&document) != "RUNNING").then_some(document)
        })
        .await;
        assert_eq!(
            (state(&ended), &ended["statusMessage"], &ended["returnCode"]),
            ("FAILED", &json!("by two"), &json!(7))
        );
        let ledger = client.operation(&id, "ledger").await.expect("read");
        let ledger: Ledger = serde_json::from_value(Value::Object(ledger)).expect("a ledger");
        let attempts: Vec<_> = ledger.attempts.iter().map(|it| (&*it.executor, it.outcome)).collect();
        assert_eq!(attempts, [("one", Some(Outcome::Lost)), ("two", Some(Outcome::Finished))]);
        if learns_late {
            assert!(ledger.refused.iter().any(|write| write.executor == "one"), "the server refused it: {ledger:?}");
        }
        let mut executors = [first, second];
        for executor in &mut executors {
            executor.stop().await;
        }
        place.expect_nothing_left(&["one", "two"]);
    }
}
