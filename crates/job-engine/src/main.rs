//! `slipstream-job`: the whole engine in one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    slipstream_job_engine::cli::run()
}
