//! Does the jobs whose action is NAME.

use std::process::ExitCode;

use slipstream_action::{Catalogue, Failure, JobHandle, Success, host};

/// A failure makes the job FAILED, with its text as the message.
async fn run(job: JobHandle) -> Result<Success, Failure> {
    let target = job.job().target_resource.as_ref().map_or("nobody", |target| target.href.as_str());
    job.set_progress(50);
    Ok(Success::with_message(format!("hello, {target}")))
}

fn main() -> ExitCode {
    host::run(Catalogue::new().with("NAME", run))
}
