//! The actions that come with the engine.

mod cleanup_jobs;
mod dummy;
mod noop;

use slipstream_action::Catalogue;

use crate::process::clock::Clock;

/// The actions that come with the engine, under their names.
#[must_use]
pub fn built_in(clock: Clock) -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.register("noop", noop::Noop, None);
    catalogue.register("dummy_test_action", dummy::DummyTestAction, None);
    catalogue.register("cleanup_jobs", cleanup_jobs::CleanupJobs { clock }, None);
    catalogue
}

#[cfg(test)]
mod tests {

    use slipstream_action::{JobHandle, Reports, Success};
    use slipstream_cimi::{Job, State};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::executor::tests::fake_server::FakeServer;

    #[tokio::test]
    async fn the_built_in_actions_are_there_and_noop_succeeds() {
        let catalogue = built_in(Clock::system());
        assert_eq!(catalogue.names().collect::<Vec<_>>(), ["cleanup_jobs", "dummy_test_action", "noop"]);
        let server = FakeServer::default();
        server.store("job/1", "noop", State::Running);
        let job = Job::from_document(server.document("job/1")).unwrap();
        let handle = JobHandle::new(job, server.client(), false, Reports::new(), CancellationToken::new());
        assert_eq!(catalogue.find("noop").unwrap().action.run(handle).await, Ok(Success::default()));
        assert!(server.served("job/1").is_empty());
    }
}
