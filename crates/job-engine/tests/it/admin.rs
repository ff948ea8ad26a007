//! What services of this machine are asked by the admin socket: `threads`, `drain`, `resume`, `log`, and signals that do the
//! same.

use std::io::Write as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{geteuid, getppid};
use serde_json::json;
use slipstream_job_engine::internals::process::{Activity, admin, telemetry};

use crate::commands::Ran;
use crate::programs::support::Place;
use crate::services::support::Service;
use crate::support::{eventually, program, state};

/// Asks a client's line by hand, or nothing.
const BY_HAND: &str = "import os, socket, sys
asking = socket.socket(socket.AF_UNIX)
asking.connect('\\0slipstream-job/%d/%s' % (os.stat('/proc/self/ns/pid').st_ino, sys.argv[1]))
if sys.argv[2]:
    asking.sendall(sys.argv[2].encode() + b'\\n')
print(asking.makefile().read())";

/// Listens as a service of its process id does, and answers each client with the next argument, the last one again and again.
const FALSE_SERVICE: &str = "import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind('\\0slipstream-job/%d/%d' % (os.stat('/proc/self/ns/pid').st_ino, os.getpid()))
listener.listen()
print('it listens', flush=True)
answers = sys.argv[1:]
while True:
    client, _ = listener.accept()
    client.recv(4096)
    client.sendall((answers.pop(0) if len(answers) > 1 else answers[0]).encode())
    client.close()";

/// Of a service that is drained, as it says.
const DRAINED: &str = r#"ok
{"role":"executor","name":"NAME","words":"drained","draining":true,"drained":true}
"#;

/// A user who has nothing to do with services.
const NOBODY: u32 = 65534;

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
    let drained = asks(&["drain", "--wait", "--json", &process]).json();
    let words = json!({"role": "executor", "name": "Kenny", "words": "drained", "draining": true, "drained": true});
    assert_eq!([&drained, &asks(&["drain", "--json", &process]).json()], [&words; 2]);
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
    let json = asks(&["threads", "--json", &process]).json();
    let slots = json["slots"].as_array().expect("a list");
    let attempt = &slots.iter().find(|slot| !slot["attempt"].is_null()).expect("one is busy")["attempt"];
    assert_eq!(
        (&attempt["job"], &attempt["action"], &attempt["program"]["name"]),
        (&json!(id), &json!("wait"), &json!("wait"))
    );
    let lease = attempt["lease"].as_str().expect("it has one");
    assert!(busy.contains(&format!("lease {lease}, program wait, ")), "{busy}");
    kenny.says(&format!(" lease={lease} ")).await;
    let threads = json["threads"].as_array().expect("a list");
    assert!(
        threads.iter().any(|thread| thread["frames"].as_array().is_some_and(|frames| !frames.is_empty())),
        "{json}"
    );
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
    let (_, why) = wrong.trim().rsplit_once("slipstream_job_engine=debug: ").expect("a reason");
    assert_eq!(wrong.matches(why.rsplit(": ").next().expect("a text")).count(), 1, "{wrong}");
    for (arguments, expected) in [
        (&["log", "", &process][..], "expected error, warn, info, debug, or a filter such as"),
        (&["threads", "abc"], "expected a process id, or --name and a name"),
    ] {
        let wrong = asks(arguments).failed();
        assert!(wrong.contains(expected), "{wrong}");
    }
    asks(&["log", "error", &process]).good();
    assert_eq!(asks(&["drain", &process]).good().trim(), "drained", "it is idle");
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

    let ask = |user: Option<u32>, question: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", BY_HAND, &kenny.process().to_string(), question]).stdin(Stdio::null());
        if let Some(user) = user {
            command.uid(user);
        }
        Ran::of(&command.output().expect("python3 starts")).good()
    };
    // only root can be somebody else
    if geteuid().is_root() {
        // also without a question, so that nobody is waited for
        assert_eq!(ask(Some(NOBODY), "").trim(), "refused: only root and the user of the process may ask it");
        assert!(asks(&["threads", &kenny.process().to_string()]).good().contains("draining: no"));
    }
    assert!(ask(None, "drain").starts_with("ok\ndrain"));
    kenny.stop().await;
    stan.stop().await;
}

/// The fault: anybody may listen by any name.
#[tokio::test]
async fn who_listens_in_the_place_of_a_process_is_not_believed() {
    let mut other = Command::new("sleep").arg("60").spawn().expect("started");
    let _listener = UnixListener::bind_addr(&address_of(other.id())).expect("bound");
    let complained = asks(&["threads", &other.id().to_string()]).failed();
    assert!(complained.contains(&format!("somebody else listens in the place of process {}", other.id())));
    other.kill().expect("it is ours");
    other.wait().expect("it is ours");
    let complained = asks(&["threads", "1"]).failed();
    assert!(complained.contains("no service of slipstream-job is process 1"), "{complained}");
}

/// The socket of a process.
fn address_of(process: u32) -> SocketAddr {
    let namespace = std::fs::metadata("/proc/self/ns/pid").expect("it has one").ino();
    SocketAddr::from_abstract_name(format!("slipstream-job/{namespace}/{process}")).expect("a name")
}

async fn false_service(user: Option<u32>, answers: &[&str]) -> Service {
    let mut command = Command::new("python3");
    command.args(["-c", FALSE_SERVICE]).args(answers);
    if let Some(user) = user {
        command.uid(user);
    }
    let service = Service::start(command);
    service.says("it listens").await;
    service
}

/// The fault: some user has a process that says of itself that it is a service, and drained.
#[tokio::test]
async fn who_is_no_user_of_services_is_believed_only_if_the_process_is_named() {
    let name = format!("false-{}", std::process::id());
    let is_root = geteuid().is_root();
    // only root can be somebody else
    let service = false_service(is_root.then_some(NOBODY), &[&DRAINED.replace("NAME", &name)]).await;
    let found = asks(&["drain", "--wait", "--name", &name]);
    if is_root {
        let listed = format!("\n  {} belongs to another user: if you trust it, name it by", service.process());
        assert!(found.complained.contains(&listed), "{found:?}");
    } else {
        assert!(found.good().contains("drained"), "who asks believes himself");
    }
    let process = service.process().to_string();
    assert!(asks(&["drain", &process]).good().contains("\"drained\":true"));
    service.kill();
}

#[tokio::test]
async fn what_a_service_says_steers_no_terminal() {
    let status = DRAINED.replace("drained\",", "\\u001b]0;title\",");
    let service = false_service(None, &["ok\n\u{1b}[31mred\n", &status]).await;
    let process = service.process().to_string();
    let said = asks(&["drain", "--wait", &process]).good();
    assert_eq!(said, "\\u001b[31mred\n\\u001b]0;title\n");
    service.kill();
}

/// The fault: a service gives no answer for a while.
#[tokio::test]
async fn a_service_that_gives_no_answer_has_not_ended() {
    let service = false_service(None, &["ok\ndraining: 1 job\n", "", "", DRAINED]).await;
    let said = asks(&["drain", "--wait", &service.process().to_string()]).good();
    assert_eq!(said, "draining: 1 job\ndrained\n");
    service.kill();
    let service = false_service(None, &["ok\ndraining: 1 job\n", ""]).await;
    let (mut drain, process) = (program(), service.process());
    drain.args(["drain", "--wait", &process.to_string()]);
    let mut drain = Service::start(drain);
    drain.says("draining: 1 job").await;
    service.kill();
    drain.says(&format!("process {process} has ended meanwhile")).await;
    assert_eq!(drain.ended().await.code(), Some(2));
}

/// Makes this binary a process of its own: what it does.
const ROLE: &str = "SLIPSTREAM_TEST_ADMIN";
const ROLES: &str = "admin::a_process_is_heard_of_at_signals_whoever_has_its_name_and_whatever_it_logs";

/// The fault: somebody else has the name of the socket; and later, the thread that hears of signals has ended.
#[tokio::test]
async fn a_process_is_heard_of_at_signals_whoever_has_its_name_and_whatever_it_logs() {
    if let Some(role) = std::env::var_os(ROLE) {
        return be_heard_of(&role.to_string_lossy());
    }
    let start = |role: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this binary has a path"));
        command.args(["--exact", ROLES, "--nocapture"]).env(ROLE, role).env("SLIPSTREAM_LOG", "warn");
        Service::start(command)
    };
    let mut squatted = start("squatted");
    squatted.says("it is there").await;
    squatted.says("cannot listen for `threads`, `drain` and `log`").await;
    squatted.signal("USR1");
    squatted.says("slipstream-job ").await;
    squatted.says(" threads in ").await;
    squatted.signal("ABRT");
    assert_eq!(squatted.ended().await.signal(), Some(6));
    squatted.says("SIGABRT: this is what the process was doing").await;
    assert_eq!(squatted.times("information that nobody wants"), 0, "{:?}", squatted.said());

    let mut ended = start("ended");
    ended.says("it is there").await;
    ended.signal("ABRT");
    assert_eq!(ended.ended().await.signal(), Some(6));
    assert_eq!(ended.times("SIGABRT"), 0, "nobody listens any more: {:?}", ended.said());
}

fn be_heard_of(role: &str) {
    telemetry::start("info").expect("the log starts");
    let squatter = (role == "squatted").then(|| UnixListener::bind_addr(&address_of(std::process::id())));
    let admin = admin::start(Activity::new()).expect("it is heard of all the same");
    let kept = (role != "ended").then_some(admin);
    if kept.is_none() {
        let is_thread = |task: std::io::Result<std::fs::DirEntry>| {
            let name = task.and_then(|task| std::fs::read_to_string(task.path().join("comm")));
            name.is_ok_and(|name| name.trim() == "admin")
        };
        while std::fs::read_dir("/proc/self/task").expect("it has threads").any(is_thread) {
            std::thread::yield_now();
        }
    }
    tracing::info!("information that nobody wants");
    writeln!(std::io::stdout(), "it is there").expect("somebody reads it");
    let parent = getppid();
    while getppid() == parent {
        std::thread::park_timeout(Duration::from_secs(1));
    }
    drop((squatter, kept));
}
