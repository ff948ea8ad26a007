//! What services of this machine are asked by the admin socket: `threads`, `drain`, `resume`, `log`, and signals that do the
//! same.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use rustix::process::geteuid;

use crate::commands::Ran;
use crate::programs::support::Place;
use crate::services::support::Service;
use crate::support::{eventually, program, state};

/// Asks a client's line by hand.
const BY_HAND: &str = "import socket, sys
asking = socket.socket(socket.AF_UNIX)
asking.connect('\\0slipstream-job/' + sys.argv[1])
asking.sendall(sys.argv[2].encode() + b'\\n')
print(asking.makefile().read())";

const WAIT: &str = "#!/bin/sh\nuntil [ -e HERE/go ]; do sleep 0.05; done\n";

fn asks(arguments: &[&str]) -> Ran {
    Ran::of(&program().args(arguments).output().expect("the binary starts"))
}

/// A place with an executor Kenny of two slots that runs a job until there is a file `go`.
async fn busy() -> (Place, Service, String) {
    let place = Place::new().await;
    place.action("wait", WAIT);
    let kenny = place.executor("Kenny", 2).await;
    let id = place.site.run(&["submit", "wait"]).good().trim().to_owned();
    let client = place.site.client();
    eventually("it runs", async || (state(&client.get(&id).await.ok()?) == "RUNNING").then_some(())).await;
    (place, kenny, id)
}

#[tokio::test]
async fn an_executor_that_drains_ends_its_jobs_and_takes_none_until_it_resumes() {
    let (place, mut kenny, running) = busy().await;
    let (process, client) = (kenny.process().to_string(), place.site.client());
    assert_eq!(asks(&["drain", &process]).good().trim(), "draining: 1 job");
    let is_shown = async || {
        let executors = place.site.run(&["executors", "--json"]).json();
        (executors[0]["draining"] == true).then_some(())
    };
    eventually("it is shown as draining", is_shown).await;
    assert!(place.site.run(&["executors"]).good().contains("1, draining"));
    let waiting = place.site.run(&["submit", "noop"]).good().trim().to_owned();
    let why = "each executor that has the action noop is draining";
    let is_said = async || place.site.run(&["jobs", "show", &waiting]).good().contains(why).then_some(());
    eventually("it is said why a job waits", is_said).await;

    let mut command = program();
    command.args(["drain", "--wait", &process]);
    let mut drain = Service::start(command);
    drain.says("draining: 1 job").await;
    std::fs::write(place.path("go"), "").expect("written");
    assert_eq!(drain.ended().await.code(), Some(0), "{:?}", drain.said());
    drain.says("drained").await;
    kenny.says("drained: no job runs").await;
    assert_eq!(state(&client.get(&running).await.expect("there")), "SUCCESS");
    assert_eq!(state(&client.get(&waiting).await.expect("there")), "QUEUED");

    assert_eq!(asks(&["resume", &process]).good().split(' ').nth(1), Some("of"));
    let is_done = async || (state(&client.get(&waiting).await.ok()?) == "SUCCESS").then_some(());
    eventually("it is done", is_done).await;
    kenny.signal("USR2");
    kenny.says("SIGUSR2: taking no more jobs").await;
    let is_drained = async || asks(&["threads", &process]).good().contains("draining: yes").then_some(());
    eventually("it is drained", is_drained).await;
    kenny.stop().await;
}

#[tokio::test]
async fn each_slot_is_shown_by_threads_and_in_the_log_at_sigusr1() {
    let (place, mut kenny, id) = busy().await;
    let process = kenny.process().to_string();
    let shown = eventually("the program is known", async || {
        let shown = asks(&["threads", &process]).good();
        shown.contains("program wait, process ").then_some(shown)
    })
    .await;
    let lines: Vec<&str> = shown.lines().collect();
    let [head, one, other] = lines[..3] else { panic!("{shown}") };
    assert!(head.contains(&format!(" executor Kenny, process {process}, up ")), "{head}");
    assert!(head.contains("1 of 2 slots busy") && head.ends_with("draining: no"), "{head}");
    assert!(head.contains(&format!("ZooKeeper at {} connected", place.site.ensemble.hosts())), "{head}");
    let (busy, idle) = if one.ends_with("idle") { (other, one) } else { (one, other) };
    assert!(busy.contains(&format!("  {id}  wait  running 00:")), "{busy}");
    assert!(idle.starts_with("slot ") && idle.ends_with("  idle"), "{idle}");
    kenny.signal("USR1");
    kenny.says(&format!("executor Kenny, process {process}, up ")).await;
    kenny.says(&format!("  {id}  wait  running 00:")).await;
    std::fs::write(place.path("go"), "").expect("written");
    kenny.stop().await;
}

/// As systemd's watchdog ends a service that is stuck.
#[tokio::test]
async fn a_process_that_is_aborted_says_before_what_it_was_doing() {
    let (_place, mut kenny, id) = busy().await;
    let process = kenny.process();
    kenny.signal("ABRT");
    assert_eq!(kenny.ended().await.signal(), Some(6));
    kenny.says("SIGABRT: this is what the process was doing").await;
    kenny.says(&format!("executor Kenny, process {process}, up ")).await;
    kenny.says(&format!("  {id}  wait  running 00:")).await;
    kenny.says(" threads in ").await;
}

#[tokio::test]
async fn what_is_logged_can_be_changed_while_a_service_runs() {
    let place = Place::new().await;
    let mut kenny = place.executor("Kenny", 1).await;
    let process = kenny.process().to_string();
    assert_eq!(kenny.times(" DEBUG "), 0, "{:?}", kenny.said());
    let said = asks(&["log", "debug", &process]).good();
    assert_eq!(said.trim(), format!("process {process} logs debug from now on"));
    assert_eq!(place.site.run(&["submit", "noop", "--wait"]).code, 0);
    kenny.says("DEBUG").await;
    let wrong = asks(&["log", "slipstream=loud", &process]).failed();
    assert!(wrong.contains("is no filter of the log: give a level such as debug"), "{wrong}");
    asks(&["log", "error", &process]).good();
    kenny.stop().await;
    assert_eq!(kenny.times("executor ends"), 0, "{:?}", kenny.said());
}

#[tokio::test]
async fn who_is_meant_must_be_clear_and_only_root_and_the_own_user_are_answered() {
    let place = Place::new().await;
    let [mut kenny, mut stan] = [place.executor("Kenny-of-this-test", 1).await, place.executor("Stan", 1).await];
    let several = asks(&["threads"]).failed();
    for service in [&kenny, &stan] {
        assert!(several.contains(&format!("\n  {} executor ", service.process())), "{several}");
    }
    let named = asks(&["threads", "--name", "Kenny-of-this-test"]).good();
    assert!(named.contains(&format!("process {}, ", kenny.process())), "{named}");
    let nobody = asks(&["drain", "--name", "nobody"]).failed();
    assert!(nobody.contains("no service is called nobody, only:"), "{nobody}");
    let server = place.site.server.process().to_string();
    assert!(asks(&["drain", &server]).failed().contains("a server takes no jobs, only an executor does"));

    let ask = |user: Option<u32>| {
        let mut command = Command::new("python3");
        command.args(["-c", BY_HAND, &kenny.process().to_string(), "drain"]).stdin(Stdio::null());
        if let Some(user) = user {
            command.uid(user);
        }
        Ran::of(&command.output().expect("python3 starts")).good()
    };
    // only root can be somebody else
    if geteuid().is_root() {
        assert_eq!(ask(Some(65534)).trim(), "refused: only root and the user of the process may ask it");
        assert!(asks(&["threads", &kenny.process().to_string()]).good().contains("draining: no"));
    }
    assert!(ask(None).starts_with("ok\ndrain"));
    kenny.stop().await;
    stan.stop().await;
}

/// The fault: anybody may listen by any name.
#[tokio::test]
async fn who_listens_in_the_place_of_a_process_is_not_believed() {
    let mut other = Command::new("sleep").arg("60").spawn().expect("started");
    let address = SocketAddr::from_abstract_name(format!("slipstream-job/{}", other.id())).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("bound");
    let complained = asks(&["threads", &other.id().to_string()]).failed();
    assert!(complained.contains(&format!("somebody else listens in the place of process {}", other.id())));
    other.kill().expect("it is ours");
    other.wait().expect("it is ours");
    let complained = asks(&["threads", "1"]).failed();
    assert!(complained.contains("no service of slipstream-job is process 1"), "{complained}");
}
