//! `noop`: succeeds at once, for smoke tests and benchmarks.

use slipstream_action::{Action, Failure, JobHandle, Success, async_trait};

pub(super) struct Noop;

#[async_trait]
impl Action for Noop {
    async fn run(&self, _job: JobHandle) -> Result<Success, Failure> {
        Ok(Success::default())
    }
}
