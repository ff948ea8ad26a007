//! How large a program may be between its jobs, and how small its keeper is.

use std::time::Duration;

use super::*;

/// With `large` beside it, it keeps more than a process may have after a job.
const GROWS: &str = r#"
hello()
kept = None
while True:
    job = run()
    if os.path.exists(path("large")):
        kept = b"x" * (520 << 20)
    end(job, str(os.getpid()))
"#;

/// In seconds, from one look at the size of a process to the next.
const LOOKED_AT_AFTER: u64 = 2;

impl World {
    /// The process that does the next job, once it may be measured after it.
    async fn process_of_measured_job(&self) -> String {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(LOOKED_AT_AFTER)).await;
        tokio::time::resume();
        let (state, process) = self.outcome().await;
        assert_eq!(state, "SUCCESS", "{process}");
        process
    }
}

#[tokio::test]
async fn a_process_that_is_too_large_after_a_job_is_replaced() {
    let world = World::new(GROWS).await;
    let first = world.process_of_measured_job().await;
    assert_eq!(world.process_of_measured_job().await, first, "a small one stays");
    world.touch("large");
    assert_eq!(world.process_of_measured_job().await, first);
    fs::remove_file(world.file("large")).expect("removed");
    let second = world.process_of_measured_job().await;
    assert_ne!(second, first);
    assert_eq!(world.process_of_measured_job().await, second, "a small one stays");
    world.close().await;
}

/// More than this it may not have while a job runs, and it keeps as much if it is told to go on with a large job.
const LIMIT_OF_MEMORY: u64 = 40 << 20;
const KEEPS: &str = r#"
hello()
kept = None
while True:
    job = run()
    if os.path.exists(path("large")):
        open(path("begun"), "w").close()
        while not os.path.exists(path("go")): time.sleep(0.01)
        kept = b"x" * (40 << 20)
    end(job, str(os.getpid()))
"#;

#[tokio::test]
async fn what_a_job_has_kept_is_not_held_against_the_next() {
    let limits = Limits { memory: Some(LIMIT_OF_MEMORY), ..Limits::default() };
    let world = World::with(KEEPS, Said { limits, ..Said::default() }).await;
    let (state, first) = world.outcome().await;
    assert_eq!(state, "SUCCESS", "{first}");
    world.touch("large");
    let large = world.add().await;
    // measured at its begin, and not again within a second
    world.appears("begun").await;
    world.touch("go");
    assert_eq!(outcome_of(&world.ended(&large).await), success(&first), "a small one stays");
    fs::remove_file(world.file("large")).expect("removed");
    let (state, second) = world.outcome().await;
    assert_eq!(state, "SUCCESS", "{second}");
    assert_ne!(second, first);
    assert_eq!(world.outcome().await, success(&second), "a small one stays");
    world.close().await;
}

/// Most memory of its own that a keeper has which has nothing to do, in KiB. The pages of its file are not counted: it shares
/// them with its executor, unless that is a test.
const OF_A_KEEPER: u64 = 2048;

#[tokio::test]
async fn the_keeper_of_an_idle_process_is_small() {
    let world = World::new("hello(); serve()").await;
    assert_eq!(world.outcome().await, success("done"));
    let read = |pid: u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs");
    let processes = programs(world.folder.path());
    let keepers: Vec<u32> =
        processes.into_iter().filter(|pid| read(*pid, "cmdline").starts_with("slipstream-keeper\0")).collect();
    let [keeper] = keepers[..] else { panic!("one keeper, not {keepers:?}") };
    eventually("it is small", async || {
        let text = read(keeper, "smaps_rollup");
        let size = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).expect("it is there");
        let size: u64 = size.trim().trim_end_matches(" kB").parse().expect("in KiB");
        (size < OF_A_KEEPER).then_some(())
    })
    .await;
    world.expect_usable().await;
}
