//! What a process does that has ended its job: before it is given the next one, and when that is on its way already.

use super::*;

/// It does one of these after its first job.
const ROWS: [&str; 10] = [
    "os._exit(0)",
    "os._exit(3)",
    "os.kill(os.getpid(), signal.SIGSEGV)",
    "os.close(3); time.sleep(1000)",
    "os.close(0); time.sleep(1000)",
    "os.write(3, b'garbage\\n'); time.sleep(1000)",
    "os.write(3, b'x' * 2000000); time.sleep(1000)",
    "say('end', state='FAILED'); time.sleep(1000)",
    "say('end', state='SUCCESS'); time.sleep(1000)",
    "hello(); time.sleep(1000)",
];

async fn is_replaced_without_a_loss(script: &str) {
    let world = World::new(&format!("hello(); end(run(), str(os.getpid())); {script}")).await;
    let mut processes = BTreeSet::new();
    for _ in 0..5 {
        let (state, process) = world.outcome().await;
        assert_eq!(state, "SUCCESS", "{script}: {process}");
        processes.insert(process);
    }
    assert_eq!(processes.len(), 5, "{script}");
    world.expect_usable().await;
}

#[tokio::test]
async fn what_goes_between_jobs_is_replaced_without_a_loss() {
    for script in ROWS {
        is_replaced_without_a_loss(script).await;
    }
}

#[tokio::test]
async fn what_goes_with_a_job_that_it_has_not_read_is_replaced_without_a_loss() {
    for script in ROWS {
        // the line is in the pipe
        is_replaced_without_a_loss(&format!("import select; select.select([0], [], []); {script}")).await;
    }
}

#[tokio::test]
async fn what_uses_too_much_before_it_has_read_its_job_gives_it_back() {
    let limits = Limits { memory: Some(64 << 20), ..Limits::default() };
    let script = "hello(); x = b'x' * (1 << 27); time.sleep(1000)";
    let world = World::with(script, Said { limits, ..Said::default() }).await;
    let id = world.given_back().await;
    world.touch("good");
    assert_eq!(outcome_of(&world.ended(&id).await), success("done"));
    world.close().await;
}

#[tokio::test]
async fn two_ends_at_once_are_one_and_a_breach() {
    let script = r#"
hello()
number = run()["number"]
os.write(3, b'{"end":{"state":"SUCCESS","message":"once"}}\n{"end":{"state":"FAILED","message":"twice"}}\n')
time.sleep(1000)
"#;
    let world = World::new(script).await;
    for _ in 0..5 {
        assert_eq!(world.outcome().await, success("once"));
    }
    world.expect_usable().await;
}
