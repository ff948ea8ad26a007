//! Every option in the README of the original, in its spelling, through the command lines of the units.

use slipstream_test_ensemble::Ensemble;

use crate::booted::Booted;
use crate::services::{DISTRIBUTOR, EXECUTOR, PASSWORD, UNITS, job, site};

/// A class file as the original's, which tells what its executor was told.
const TELLS: &str = "\
from slipstream.job.actions import action


@action('tells')
class Tells(object):
    def __init__(self, executor, job):
        self.executor, self.job = executor, job

    def do_work(self):
        told = self.executor.args
        self.job.set_status_message('%s %s' % (' '.join(told.es_hosts_list), told.ss_insecure))
        return 0
";

#[tokio::test(flavor = "multi_thread")]
async fn every_option_of_the_original_is_taken_and_holds() {
    let ensemble = Ensemble::start(1).await;
    let zookeeper = ensemble.hosts();
    tokio::task::spawn_blocking(move || options(&zookeeper)).await.expect("done");
}

/// Specification 9.1: `--opt=value` or `--opt value`, and prefixes of a name that are no other's.
fn options(zookeeper: &str) {
    let Some((booted, url)) = site(zookeeper) else { return };
    booted.shell(&format!("cat > /usr/lib/slipstream/actions/tells.py <<'END'\n{TELLS}END"));
    let whole = format!("--ss-url={url} --ss-user=super --ss-pass={PASSWORD} --ss-insecure --zk-hosts={zookeeper}");
    let short = format!("--ss-ur {url} --ss-us super --ss-p {PASSWORD} --ss-i --z {zookeeper}");
    for (peers, executor, distributor, name) in [
        (&whole, "--name=Kenny --threads=3 --es-hosts-list es1 es2", "--name=Stan", ["Kenny", "Stan"]),
        (&short, "--es es1 es2 --t 3 --n 'M. Garrison'", "--n Kyle", ["M. Garrison", "Kyle"]),
    ] {
        for (service, own) in [("executor", executor), ("distributor", distributor)] {
            let file = format!("/etc/default/slipstream-job-{service}");
            booted.shell(&format!("cat > {file} <<'END'\nDAEMON_ARGS=\"{peers} {own}\"\nEND"));
        }
        for unit in UNITS {
            assert!(booted.is_so(&format!("systemctl restart {unit}")), "{unit}:\n{}", booted.journal(unit));
        }
        hold(&booted, &url, name);
        let checked = booted.shell("slipstream-job config check 2>&1");
        assert!(checked.contains(&format!("{EXECUTOR}: no fault")), "{checked}");
        assert_eq!(checked.contains("--n holds quotation marks"), name[0].contains(' '), "{checked}");
    }
}

fn hold(booted: &Booted, url: &str, [executor, distributor]: [&str; 2]) {
    let registered = booted.shell(&job(url, "executors --json"));
    let registered: serde_json::Value = serde_json::from_str(&registered).expect("JSON");
    assert_eq!((&registered[0]["name"], &registered[0]["slots"]), (&executor.into(), &3.into()), "{registered}");
    let said = booted.shell(&job(url, "submit tells --wait 2>&1"));
    assert!(said.contains("es1 es2 True") && said.contains("SUCCESS"), "{said}\n{}", booted.journal(EXECUTOR));
    let standing = booted.shell(&job(url, "distributors --json"));
    assert!(standing.contains(&format!("\"{distributor}\"")), "{standing}\n{}", booted.journal(DISTRIBUTOR));
}
