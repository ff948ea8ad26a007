//! Actions that are hosts, programs that do one job after the other, under real keepers: those that behave, and those that do
//! not.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use slipstream_action::Catalogue;
use slipstream_action::protocol::Setup;
use slipstream_cimi::Document;
use slipstream_job_engine::internals::executor::host::{Pool, Runner};
use slipstream_job_engine::internals::executor::load::{HostProvider, Kind, Limits, Offer, Offers, Program, Terms};
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::programs::Context;
use tempfile::TempDir;

use crate::support::acting::{Acting, STALLS, programs};
use crate::support::{InProcess, LIMIT, eventually, state};

mod between;
mod in_rust;
mod left;
mod memory;

/// What each program begins with. With a file `good` beside it, it is a host as it should be.
const PRELUDE: &str = r#"
import json, os, signal, subprocess, sys, time

def path(name):
    return os.path.join("HERE", name)

def say(kind, **members):
    os.write(3, (json.dumps({kind: members}) + "\n").encode())

def hello(**members):
    say("hello", **{"protocol": 1, "program": "test", "actions": [{"name": "act"}], **members})

def run():
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)["run"]

def end(run, message="done", state="SUCCESS", **members):
    say("end", **{"number": run["number"], "state": state, "message": message, **members})

def serve():
    while True:
        end(run())

setup = json.loads(sys.stdin.readline())["setup"]
if os.path.exists(path("good")):
    hello()
    serve()
"#;

/// A server, and an executor that has one host for the action `act`.
struct World {
    acting: Acting,
    pool: Arc<Pool>,
}

impl Deref for World {
    type Target = Acting;

    fn deref(&self) -> &Acting {
        &self.acting
    }
}

/// What a test says of its host.
struct Said {
    terms: Terms,
    limits: Limits,
    threads: usize,
    processes: Option<usize>,
    jobs_per_process: u64,
    start_within: Duration,
    /// Whether the server is none of ours.
    is_foreign: bool,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            terms: Terms::default(),
            limits: Limits::default(),
            threads: 1,
            processes: None,
            jobs_per_process: 10_000,
            start_within: Duration::from_secs(10),
            is_foreign: false,
        }
    }
}

impl World {
    async fn new(script: &str) -> Self {
        Self::with(script, Said::default()).await
    }

    async fn with(script: &str, said: Said) -> Self {
        let folder = tempfile::tempdir().expect("made");
        let file = folder.path().join("act.py");
        let text = format!("{PRELUDE}\n{script}\n").replace("HERE", &folder.path().to_string_lossy());
        fs::write(&file, text).expect("written");
        let program = Program {
            command: vec!["python3".into(), "-u".into(), file.clone().into()],
            file,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            limits: said.limits.clone(),
        };
        let context = Acting::context(&folder);
        Self::of(folder, program, context, said).await
    }

    async fn of(folder: TempDir, program: Program, context: Context, said: Said) -> Self {
        let file = program.file.clone();
        let provider = HostProvider {
            kind: Kind::Host,
            line: None,
            program,
            processes: said.processes,
            jobs_per_process: said.jobs_per_process,
            start_within: said.start_within,
            terms: said.terms.clone(),
            actions: BTreeMap::new(),
        };
        let socket = context.api_socket.as_ref().map(|socket| socket.path().to_string_lossy().into_owned());
        let setup = Setup { executor: "Kenny".to_owned(), threads: said.threads, socket, ..Setup::default() };
        let pool = Arc::new(Pool::start(provider, Arc::new(context), setup));
        let mut offers = Offers::native(&Catalogue::new());
        let runner = Runner::Hosted(pool.clone());
        offers
            .actions
            .insert("act".to_owned(), Offer { runner, terms: said.terms, kind: Kind::Host, file: Some(file) });
        let engine = InProcess::new().await;
        let client = if said.is_foreign { left::foreign(&engine) } else { engine.client.clone() };
        Self { acting: Acting::start_over(engine, client, folder, said.threads, offers), pool }
    }

    /// State and message of a new job.
    async fn outcome(&self) -> (String, String) {
        let id = self.add().await;
        outcome_of(&self.ended(&id).await)
    }

    /// Why the host does not start.
    async fn failure(&self, expected: &str) {
        let mut known = self.pool.known();
        let known = tokio::time::timeout(Duration::from_mins(1), known.wait_for(|known| known.failure.is_some())).await;
        let failure = known.expect("it fails").expect("the pool is there").failure.clone().expect("it has failed");
        assert!(failure.contains(expected), "{failure} and not {expected}");
    }

    /// The slot is usable, and nothing is left behind.
    async fn expect_usable(self) {
        self.touch("good");
        assert_eq!(self.outcome().await, success("done"));
        self.close().await;
    }

    async fn close(self) {
        let Self { mut acting, pool } = self;
        acting.stop().await;
        pool.stop().await;
        assert_eq!(programs(acting.folder.path()), Vec::<u32>::new(), "no process is left");
        assert_eq!(acting.directories(), Vec::<OsString>::new());
        drop(pool);
        acting.expect_no_folder();
    }
}

fn outcome_of(document: &Document) -> (String, String) {
    let message = document.get("statusMessage").and_then(Value::as_str).unwrap_or_default();
    (state(document).to_owned(), message.to_owned())
}

fn success(message: &str) -> (String, String) {
    ("SUCCESS".to_owned(), message.to_owned())
}

fn failed(message: &str) -> (String, String) {
    ("FAILED".to_owned(), message.to_owned())
}

#[tokio::test]
async fn one_process_does_one_job_after_the_other() {
    let script = r#"
assert setup == {"protocols": [1], "engine": "", "executor": "Kenny", "url": "", "insecure": False, "dialect": "",
                 "threads": 1, "es-hosts": [], "socket": None}, setup
hello()
print("ready")
for number in range(1, 4):
    job = run()
    assert job["number"] == number and job["rerun"] is False and job["deadline"] is None, job
    assert job["job"]["state"] == "QUEUED" and job["job"]["action"] == "act", job
    assert job["job"]["targetResource"] == {"href": "dummy"}, job
    assert job["directory"] == os.getcwd() == os.environ["TMPDIR"] and os.listdir() == [], job
    open("left", "w").close()
    os.makedirs("deep/er")
    say("report", progress=10 * number, message="working", affected=["credential/%d" % number])
    print("noise on standard output", file=sys.stdout)
    say("end", number=number, state="SUCCESS", message="%d by %d" % (number, os.getpid()), **{"return-code": number})
"#;
    let world = World::new(script).await;
    let mut processes = BTreeSet::new();
    for number in 1..=3 {
        let id = world.add().await;
        let document = world.ended(&id).await;
        let (state, message) = outcome_of(&document);
        let (done, by) = message.split_once(" by ").expect("it says by whom");
        assert_eq!((&*state, done, &document["returnCode"]), ("SUCCESS", &*number.to_string(), &json!(number)));
        let affected = json!({ "href": format!("credential/{number}") });
        assert!(document["affectedResources"].as_array().expect("an array").contains(&affected));
        processes.insert(by.to_owned());
    }
    assert_eq!(processes.len(), 1);
    let known = world.pool.known().borrow().clone();
    let hello = known.hello.expect("it has said hello");
    assert_eq!((&*hello.program, &*hello.actions[0].name, known.failure), ("test", "act", None));
    world.expect_usable().await;
}

#[tokio::test]
async fn reports_reach_the_job_while_it_runs() {
    let script = r#"
hello()
job = run()
say("report", progress=40, message="half way")
while not os.path.exists(path("go")):
    time.sleep(0.01)
end(job)
serve()
"#;
    let world = World::new(script).await;
    let id = world.add().await;
    let document = eventually("progress is in the job", async || {
        let document = world.document(&id).await;
        (document.get("progress") == Some(&json!(40))).then_some(document)
    })
    .await;
    assert_eq!(outcome_of(&document), ("RUNNING".to_owned(), "half way".to_owned()));
    world.touch("go");
    assert_eq!(outcome_of(&world.ended(&id).await), success("done"));
    world.expect_usable().await;
}

#[tokio::test]
async fn what_does_not_start_gives_its_job_back_until_it_does() {
    let short = || Said { start_within: Duration::from_secs(2), ..Said::default() };
    let rows = [
        ("time.sleep(1000)", "did not say hello within 2s"),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); os.close(3); time.sleep(1000)", "within 2s"),
        ("os.kill(os.getpid(), signal.SIGSTOP)", "within 2s"),
        ("hello(protocol=2); serve()", "it speaks version 2 of the protocol, not 1"),
        ("os.write(3, b'garbage\\n'); time.sleep(1000)", "`garbage` is no message"),
        ("os.write(3, b'x' * 2000000); time.sleep(1000)", "a line is longer than 1048576 bytes"),
        ("say('report', progress=3); hello(); serve()", "something else before `hello`"),
        ("print('no module named x'); sys.exit(3)", "the program ended: exit code 3: no module named x"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the program ended: killed by SIGSEGV"),
    ];
    for (script, expected) in rows {
        let world = World::with(script, if expected.contains("2s") { short() } else { Said::default() }).await;
        let id = world.given_back().await;
        world.failure(expected).await;
        fs::write(world.file("act.py"), PRELUDE.replace("HERE", &world.folder.path().to_string_lossy())).unwrap();
        // where Python starts slowly the short limit is too short: it is tried again
        world.touch("good");
        assert_eq!(outcome_of(&world.ended(&id).await), success("done"), "{script}");
        assert_eq!(world.pool.known().borrow().failure, None);
        world.close().await;
    }
}

#[tokio::test]
async fn what_does_not_start_is_named_with_its_command_and_its_last_words() {
    let world = World::new("print('one'); print('  no module named x', file=sys.stderr); sys.exit(3)").await;
    let file = world.file("act.py");
    world.failure(&format!("python3 -u {}: the program ended: exit code 3: no module named x", file.display())).await;
    world.close().await;
}

#[tokio::test]
async fn what_ends_while_it_waits_for_jobs_has_not_failed_to_start() {
    let world = World::new("open(path('pid'), 'a').write('%d\\n' % os.getpid()); hello(); serve()").await;
    let mut known = world.pool.known();
    known.wait_for(|known| known.hello.is_some()).await.expect("the pool is there");
    let pids = || fs::read_to_string(world.file("pid")).unwrap_or_default();
    let pid = pids().trim().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it was there");
    // the last that is done for it
    eventually("it is gone", async || world.directories().is_empty().then_some(())).await;
    assert_eq!(world.pool.known().borrow().failure, None);
    assert_eq!(world.outcome().await, success("done"), "and the next starts at once");
    assert_eq!((pids().lines().count(), world.pool.known().borrow().failure.clone()), (2, None));
    world.expect_usable().await;
}

#[tokio::test]
async fn a_program_may_take_its_time_to_say_hello() {
    let world = World::new("time.sleep(0.5); hello(); serve()").await;
    assert_eq!(world.outcome().await, success("done"));
    world.expect_usable().await;
}

#[tokio::test]
async fn starts_that_fail_are_damped() {
    let world =
        World::with("open(path('starts'), 'a').write('x'); sys.exit(3)", Said { threads: 4, ..Said::default() }).await;
    // as an executor waits for, before it takes jobs
    world.failure("exit code 3").await;
    let starts = || fs::read(world.file("starts")).map_or(0, |starts| starts.len());
    assert_eq!(starts(), 1);
    for _ in 0..50 {
        world.given_back().await;
    }
    // each pause is twice the one before
    assert!(starts() <= 6, "fifty jobs were given back by {} starts", starts());
    eventually("a second start", async || (starts() >= 2).then_some(())).await;
    world.expect_usable().await;
}

#[tokio::test]
async fn a_start_that_no_job_waits_for_ends_with_the_executor() {
    let said = Said { start_within: Duration::from_hours(1), ..Said::default() };
    let world = World::with("open(path('begun'), 'w').close(); time.sleep(10000)", said).await;
    world.appears("begun").await;
    assert!(!programs(world.folder.path()).is_empty(), "it has not said hello");
    tokio::time::timeout(LIMIT, world.close()).await.expect("it does not wait for a hello");
}

/// A job that ends like this, after which the slot is usable.
async fn ends(script: &str, said: Said, expected: (String, String)) {
    let world = World::with(script, said).await;
    let (state, message) = world.outcome().await;
    assert_eq!((&state, message.starts_with(&expected.1)), (&expected.0, true), "{script}: {message}");
    world.expect_usable().await;
}

#[tokio::test]
async fn what_ends_within_a_job_fails_it_with_its_last_words() {
    let rows = [
        ("sys.exit(0)", "the program ended: exit code 0"),
        (
            "print('\\n'.join('line %d' % n for n in range(9))); sys.exit(3)",
            "the program ended: exit code 3\nline 4\nline 5\nline 6\nline 7\nline 8",
        ),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the program ended: killed by SIGSEGV"),
        ("os.kill(0, signal.SIGKILL)", "the program ended: killed by SIGKILL"),
        ("os.close(3); time.sleep(1000)", "the program closed file descriptor 3"),
        ("os.write(3, b'{\"end\":{\"state\":\"SUCCESS\"}}'); sys.exit(0)", "the program ended: exit code 0"),
        ("raise RuntimeError('broken')", "the program ended: exit code 1\n"),
    ];
    for (script, expected) in rows {
        ends(&format!("hello(); job = run(); {script}"), Said::default(), failed(expected)).await;
    }
}

#[tokio::test]
async fn a_breach_fails_the_job() {
    let rows = [
        ("os.write(3, b'garbage\\n')", "`garbage` is no message: "),
        ("os.write(3, b'\\n')", "`` is no message: "),
        ("say('pause')", "`{\"pause\": {}}` is no message: unknown variant `pause`"),
        ("say('keeper', pid=1)", "`{\"keeper\": {\"pid\": 1}}` is no message"),
        ("say('end', state='DONE')", "`{\"end\": {\"state\": \"DONE\"}}` is no message"),
        ("hello()", "it says `hello` twice"),
        ("say('end', number=7, state='SUCCESS')", "it names job number 7, which was not given to it"),
        ("os.write(3, b'x' * 2000000 + b'\\n')", "a line is longer than 1048576 bytes"),
    ];
    for (script, expected) in rows {
        let expected = failed(&format!("broke the protocol: {expected}"));
        ends(&format!("hello(); job = run(); {script}; time.sleep(1000)"), Said::default(), expected).await;
    }
}

#[tokio::test]
async fn what_hangs_is_ended_by_its_time_limit() {
    let said = || Said {
        // the job after it needs a new process within that time, on a slow machine too
        terms: Terms { time_limit: Some(Duration::from_secs(5)), stop_grace: Duration::from_millis(200) },
        ..Said::default()
    };
    let rows = [
        "os.write(3, b'{\"end\":{\"state\":\"SUCC'); time.sleep(1000)",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); exec('while True: pass')",
        "subprocess.run(['cat'])",
        "subprocess.Popen(['setsid', 'sh', '-c', 'trap \"\" TERM; sleep 1000 & wait; sleep 1000']); time.sleep(1000)",
    ];
    for script in rows {
        let expected = failed("time limit of 5s exceeded");
        ends(&format!("hello(); job = run(); {script}"), said(), expected).await;
    }
}

#[tokio::test]
async fn what_is_harmless_goes_on() {
    let rows = [
        // closed pipes of the log
        "os.close(1); os.close(2); end(job)",
        // standard output is the log, however much of it there is
        "os.write(1, b'x' * 100000000); end(job)",
        "print('{\"end\":{\"state\":\"FAILED\"}}', flush=True); end(job)",
        // what is about no job of now
        "end(job); end(job); end(job)",
        "end(job); say('report', progress=3)",
        // processes that a job leaves behind
        "subprocess.Popen(['setsid', 'sleep', '1000']); end(job)",
        "os.system('(setsid sleep 1000 > /dev/null 2>&1 3>&- &) &'); end(job)",
        // a child that has all descriptors, and says nothing
        "subprocess.Popen(['sleep', '1000'], close_fds=False, pass_fds=(0, 3)); end(job)",
    ];
    for script in rows {
        let script =
            format!("hello(); job = run(); {script}\njob = run(); end(job, 'second of %d' % job['number'])\nserve()");
        let world = World::new(&script).await;
        assert_eq!(world.outcome().await, success("done"), "{script}");
        assert_eq!(world.outcome().await, success("second of 2"), "{script}");
        world.expect_usable().await;
    }
}

#[tokio::test]
async fn a_late_word_about_an_earlier_job_ends_no_other() {
    let script = r#"
hello()
first = run()
end(first)
second = run()
say("report", number=1, progress=99, message="late")
end(first, "late", state="FAILED")
say("report", number=2, progress=7)
end(second, "second", state="FAILED", **{"return-code": 7})
serve()
"#;
    let world = World::new(script).await;
    assert_eq!(world.outcome().await, success("done"));
    let id = world.add().await;
    let document = world.ended(&id).await;
    assert_eq!((outcome_of(&document), &document["returnCode"]), (failed("second"), &json!(7)));
    world.expect_usable().await;
}

#[tokio::test]
async fn a_million_reports_slow_down_who_writes_them_alone() {
    let world = World::new(&format!("{STALLS}\nhello()\njob = run()\nend(job, str(stalls()))\nserve()\n")).await;
    let (state, stalls) = world.outcome().await;
    assert_eq!(state, "SUCCESS", "{stalls}");
    assert!(stalls.parse::<u32>().expect("a number") >= 2, "after one thousand and after two nobody reads: {stalls}");
    world.expect_usable().await;
}

#[tokio::test]
async fn a_stop_is_sigterm_and_the_next_job_has_another_process() {
    let script = r#"
hello()
class Cancelled(BaseException): pass
def stop(*_): raise Cancelled()
signal.signal(signal.SIGTERM, stop)
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
while True:
    job = run()
    try:
        open(path("begun"), "a").write("%d\n" % os.getpid())
        while not os.path.exists(path("go")): time.sleep(0.01)
        end(job, str(os.getpid()))
    except Cancelled:
        open(path("heard"), "w").close()
        end(job, "cancelled", state="FAILED")
"#;
    let world = World::new(script).await;
    let id = world.add().await;
    world.appears("begun").await;
    world.engine.client.operation(&id, "stop").await.expect("stopped");
    world.appears("heard").await;
    assert_eq!(state(&world.ended(&id).await), "STOPPED");
    world.touch("go");
    let (state, second) = world.outcome().await;
    let begun = fs::read_to_string(world.file("begun")).unwrap();
    let processes: Vec<&str> = begun.lines().collect();
    assert_eq!((&*state, &*second), ("SUCCESS", processes[1]));
    assert_ne!(processes[0], processes[1]);
    world.close().await;
}

#[tokio::test]
async fn what_ignores_a_stop_is_killed_with_all_that_it_began() {
    let said = Said { terms: Terms { stop_grace: Duration::from_millis(300), ..Terms::default() }, ..Said::default() };
    let script = r#"
hello()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
job = run()
subprocess.Popen(["setsid", "sleep", "1000"])
os.system("(setsid sleep 1001 &) &")
open(path("begun"), "w").close()
while True: time.sleep(1000)
"#;
    let world = World::with(script, said).await;
    let id = world.add().await;
    world.appears("begun").await;
    eventually("keeper, program and two children", async || (programs(world.folder.path()).len() >= 4).then_some(()))
        .await;
    world.engine.client.operation(&id, "stop").await.expect("stopped");
    assert_eq!(state(&world.ended(&id).await), "STOPPED");
    eventually("all are gone", async || programs(world.folder.path()).is_empty().then_some(())).await;
    world.expect_usable().await;
}

#[tokio::test]
async fn a_process_that_retires_or_has_done_its_jobs_is_replaced() {
    let script = "hello()\nwhile True: job = run(); end(job, str(os.getpid()), retire=RETIRE)";
    let twice = Said { jobs_per_process: 2, ..Said::default() };
    for (script, said, expected) in
        [(script.replace("RETIRE", "True"), Said::default(), 4), (script.replace("RETIRE", "False"), twice, 2)]
    {
        let world = World::with(&script, said).await;
        let mut processes = BTreeSet::new();
        for _ in 0..4 {
            processes.insert(world.outcome().await.1);
        }
        assert_eq!(processes.len(), expected, "{script}");
        world.expect_usable().await;
    }
}

const WAITS: &str = r#"
hello()
while True:
    job = run()
    open(path("begun"), "a").write("%d\n" % os.getpid())
    while not os.path.exists(path("go")): time.sleep(0.01)
    end(job)
"#;

impl World {
    fn begun(&self) -> Vec<String> {
        let begun = fs::read_to_string(self.file("begun")).unwrap_or_default();
        begun.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn jobs_at_once_have_a_process_each_and_all_but_one_end_when_idle() {
    let world = World::with(WAITS, Said { threads: 3, ..Said::default() }).await;
    let jobs = [world.add().await, world.add().await, world.add().await];
    eventually("three begin", async || (world.begun().len() == 3).then_some(())).await;
    assert_eq!(world.begun().into_iter().collect::<BTreeSet<_>>().len(), 3);
    world.touch("go");
    for id in &jobs {
        assert_eq!(outcome_of(&world.ended(id).await), success("done"));
    }
    let processes = || programs(world.folder.path()).len();
    assert_eq!(processes(), 6, "each has a keeper");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    eventually("one is left", async || (processes() == 2).then_some(())).await;
    world.expect_usable().await;
}

#[tokio::test]
async fn a_job_beyond_the_limit_of_processes_waits_and_can_be_stopped() {
    let world = World::with(WAITS, Said { threads: 2, processes: Some(1), ..Said::default() }).await;
    let is_running = async |id: &str| {
        eventually("it is RUNNING", async || (state(&world.document(id).await) == "RUNNING").then_some(())).await;
    };
    let first = world.add().await;
    eventually("the first begins", async || (world.begun().len() == 1).then_some(())).await;
    let second = world.add().await;
    is_running(&second).await;
    world.engine.client.operation(&second, "stop").await.expect("stopped");
    // its slot is free for another
    let third = world.add().await;
    is_running(&third).await;
    assert_eq!((world.begun().len(), state(&world.document(&second).await)), (1, "STOPPED"));
    world.touch("go");
    for id in [&first, &third] {
        assert_eq!(outcome_of(&world.ended(id).await), success("done"));
    }
    assert_eq!(world.begun().into_iter().collect::<BTreeSet<_>>().len(), 1);
    world.expect_usable().await;
}

#[tokio::test]
async fn a_job_may_be_given_back_by_its_action() {
    let script = r#"
hello()
first = run()
open(path("begun"), "a").write("x\n")
end(first, "not now", state="RELEASED")
second = run()
assert second["job"]["id"] == first["job"]["id"], second
end(second, "now")
serve()
"#;
    let world = World::new(script).await;
    assert_eq!(world.outcome().await, success("now"));
    world.expect_usable().await;
}

#[tokio::test]
async fn a_host_is_told_until_when_a_job_may_take() {
    let limit = Duration::from_hours(1);
    let terms = Terms { time_limit: Some(limit), ..Terms::default() };
    let script = "hello(); job = run(); end(job, job['deadline']); serve()";
    let world = World::with(script, Said { terms, ..Said::default() }).await;
    let clock = Clock::system();
    let before = clock.now();
    let (state, deadline) = world.outcome().await;
    assert!(state == "SUCCESS" && deadline.ends_with('Z'), "{state}, {deadline}");
    let deadline: Timestamp = deadline.parse().expect("RFC 3339");
    assert!((before + limit..=clock.now() + limit).contains(&deadline), "{before}, {deadline}");
    world.expect_usable().await;
}

#[tokio::test]
async fn an_action_that_a_later_process_lacks_is_given_back() {
    let script = r#"
if os.path.exists(path("changed")): hello(actions=[{"name": "other"}])
else: hello()
end(run(), retire=True)
run()
"#;
    let world = World::new(script).await;
    assert_eq!(world.outcome().await, success("done"));
    world.touch("changed");
    let id = world.given_back().await;
    assert_eq!(state(&world.document(&id).await), "QUEUED");
    world.close().await;
}

#[tokio::test]
async fn what_uses_too_much_is_killed_and_the_figure_is_said() {
    let limits = Limits { memory: Some(64 << 20), ..Limits::default() };
    let said = Said { limits, ..Said::default() };
    let eats = "hello(); job = run(); x = b'x' * (1 << 28); time.sleep(1000)";
    ends(eats, said, failed("used ")).await;
    let limits = Limits { cpu_time: Some(Duration::from_millis(500)), ..Limits::default() };
    let said = Said { limits, ..Said::default() };
    ends("hello(); job = run(); exec('while True: pass')", said, failed("used ")).await;
}
