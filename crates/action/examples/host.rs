//! A host: a program that does jobs for an executor, which starts it.
//!
//! Say so in a file `host.toml` in the executor's folder of actions, after `cargo build --example host --features host`:
//!
//! ```toml
//! [[host]]
//! command = ["/path/to/target/debug/examples/host"]
//! ```

#![expect(clippy::print_stdout, reason = "a host's standard output is the log")]

use std::process::ExitCode;
use std::time::Duration;

use slipstream_action::{Blocking, BlockingHandle, Catalogue, Failure, JobHandle, Success, host};
use tokio::time::sleep;

/// Greets the job's target.
async fn greet(job: JobHandle) -> Result<Success, Failure> {
    let target = job.job().target_resource.as_ref().ok_or_else(|| Failure::new("there is nobody to greet"))?;
    println!("greeting {}", target.href);
    job.set_progress(50);
    job.add_affected_resource(&target.href);
    Ok(Success::with_message(format!("hello, {}", target.href)))
}

/// Reads the job's target from the server.
async fn look(job: JobHandle) -> Result<Success, Failure> {
    let target = job.job().target_resource.as_ref().ok_or_else(|| Failure::new("there is nothing to look at"))?;
    let document = job.client().get(&target.href).await?;
    Ok(Success::with_message(format!("{} has {} attributes", target.href, document.len())))
}

/// Waits until it is cancelled.
async fn wait(job: JobHandle) -> Result<Success, Failure> {
    job.set_status_message("waiting");
    job.cancelled().await;
    Err(Failure { message: "cancelled".to_owned(), return_code: Some(7) })
}

/// Counts to a hundred, or until it is cancelled, on a thread of its own, which it may block.
fn count(job: &BlockingHandle) -> Result<Success, Failure> {
    for percent in 1..=100 {
        if job.is_cancelled() {
            return Err(Failure::new(format!("cancelled at {percent} percent")));
        }
        job.set_progress(percent);
        job.wait(sleep(Duration::from_millis(20)));
    }
    Ok(Success::default())
}

/// Never lets the thread go on which all actions of a host run.
async fn compute(job: JobHandle) -> Result<Success, Failure> {
    job.set_status_message("computing");
    while !job.is_cancelled() {
        std::hint::spin_loop();
    }
    Err(Failure::new("cancelled while it computed"))
}

/// Panics.
async fn stumble(_job: JobHandle) -> Result<Success, Failure> {
    panic!("stumbled");
}

fn main() -> ExitCode {
    host::run(
        Catalogue::new()
            .with("greet", greet)
            .with("look", look)
            .with("wait", wait)
            .with("count", Blocking(|job| count(&job)))
            .with("compute", compute)
            .with("stumble", stumble),
    )
}
