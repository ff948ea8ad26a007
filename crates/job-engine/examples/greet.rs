//! A program that embeds an engine: one action of its own, one job, and what became of it.
//!
//! `cargo run --example greet -- user/jane`

#![expect(clippy::print_stdout, reason = "it says what became of the job")]

use slipstream_job_engine::{Engine, EngineError, Failure, JobHandle, Success};

/// Greets the job's target.
async fn greet(handle: JobHandle) -> Result<Success, Failure> {
    let target = handle.job().target_resource.as_ref().ok_or_else(|| Failure::new("there is nobody to greet"))?;
    handle.set_progress(50);
    Ok(Success::with_message(format!("hello, {}", target.href)))
}

#[tokio::main]
async fn main() -> Result<(), EngineError> {
    let target = std::env::args().nth(1).unwrap_or_else(|| "user/world".to_owned());
    let engine = Engine::builder().action("greet", greet).start().await?;
    let id = engine.submit("greet").target(target).await?;
    let job = engine.wait(&id).await?;
    println!("{id} is {}: {}", job.state, job.status_message.unwrap_or_default());
    engine.stop().await
}
