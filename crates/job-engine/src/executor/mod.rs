//! The executor: takes entries, runs the actions that jobs name, reports into the documents.

use std::sync::Arc;
use std::time::Duration;

use slipstream_action::Catalogue;
use slipstream_cimi::Client;
use slipstream_coordination::Coordinator;

use crate::stop::Stop;

/// How an executor runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// For people; need not be unique.
    pub name: String,
    /// How many jobs at once.
    pub threads: usize,
    /// How long running actions may go on after a stop was asked for.
    pub grace: Duration,
    /// How long CIMI may be out of reach before a claim is released.
    pub cimi_grace: Duration,
}

/// Runs until `stop`; survives expired sessions and unreachable servers.
pub async fn run(
    options: Options,
    coordinator: Arc<dyn Coordinator>,
    client: Client,
    catalogue: Catalogue,
    stop: Stop,
) {
    drop((client, stop.clone()));
    todo!("{options:?} {} {}", Arc::strong_count(&coordinator), catalogue.names().count());
}
