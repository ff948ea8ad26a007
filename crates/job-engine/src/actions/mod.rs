//! The actions that come with the engine.

mod cleanup_jobs;
mod dummy;
mod noop;

use slipstream_action::Catalogue;

use crate::clock::Clock;

/// The actions that come with the engine, under their names.
#[must_use]
pub fn built_in(clock: Clock) -> Catalogue {
    let mut catalogue = Catalogue::new();
    catalogue.register("noop", noop::Noop, None);
    catalogue.register("dummy_test_action", dummy::DummyTestAction, None);
    catalogue.register("cleanup_jobs", cleanup_jobs::CleanupJobs::new(clock), None);
    catalogue
}
