//! Jobs that an action leaves to others (LEFT), on a server that may know them and on ours, which does not.

use bytes::Bytes;
use http::{Request, Response};
use jiff::SignedDuration;
use slipstream_cimi::client::TransportError;
use slipstream_cimi::dialect::{ENTRY_POINT, REPORTS};
use slipstream_cimi::{Client, Transport};
use slipstream_coordination::Session as _;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::server::reconcile::Mended;

use super::*;
use crate::support::credentials;

const LEAVES: &str = r#"
hello()
end(run(), "monitored elsewhere", state="LEFT")
again = run()
end(again, "once more: %s" % again["rerun"])
serve()
"#;

/// A server that does not announce what only ours has.
struct Foreign(Arc<dyn Transport>);

#[slipstream_action::async_trait]
impl Transport for Foreign {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        let is_entry_point = request.uri().path().ends_with(ENTRY_POINT);
        let answer = self.0.send(request).await?;
        if !is_entry_point {
            return Ok(answer);
        }
        let mut entry_point: Document = serde_json::from_slice(answer.body())?;
        entry_point.remove(REPORTS).expect("ours announces it");
        let mut shorter = Response::new(Bytes::from(serde_json::to_vec(&entry_point)?));
        *shorter.status_mut() = answer.status();
        Ok(shorter)
    }
}

/// A client of the server that takes it for a foreign one.
pub(super) fn foreign(engine: &InProcess) -> Client {
    Client::new(Arc::new(Foreign(engine.transport.clone())), Some(credentials()))
}

#[tokio::test]
async fn on_another_server_it_stays_running_without_an_entry() {
    let world = World::with(LEAVES, Said { is_foreign: true, ..Said::default() }).await;
    let id = world.add().await;
    let session = world.engine.coordinator.session();
    for folder in [paths::ENTRIES, paths::TAKEN] {
        eventually(folder, async || session.children(folder).await.ok()?.is_empty().then_some(())).await;
    }
    assert_eq!(outcome_of(&world.document(&id).await), ("RUNNING".to_owned(), String::new()), "nothing is written");
    // its own server, for which this one stands, would know that it is monitored
    let mended = world.engine.server.reconcile_once(SignedDuration::ZERO).await.expect("a round");
    assert_eq!(mended, Mended { put: 1, ..Mended::default() });
    assert_eq!(outcome_of(&world.ended(&id).await), success("once more: True"));
    world.expect_usable().await;
}

#[tokio::test]
async fn on_our_server_it_is_given_back_and_run_again() {
    let world = World::new(LEAVES).await;
    let id = world.add().await;
    assert_eq!(outcome_of(&world.ended(&id).await), success("once more: False"));
    world.expect_usable().await;
}
