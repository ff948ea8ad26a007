//! [`Sessions`]: whose session ended when, as `ZooKeeper` itself shows it: an executor's registration goes with the
//! session that its claims go with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_coordination::{Coordinator, ZooKeeper};
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::paths;
use tokio_util::task::AbortOnDropHandle;

use crate::site::registered;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(50);

/// Looks on as long as it lives.
pub struct Sessions {
    ended: Arc<Mutex<Vec<(String, Timestamp)>>>,
    _looking: AbortOnDropHandle<()>,
}

impl Sessions {
    pub fn begin(zookeeper: ZooKeeper) -> Self {
        let ended = Arc::default();
        let looking = tokio::spawn(look(zookeeper, Arc::clone(&ended)));
        Self { ended, _looking: AbortOnDropHandle::new(looking) }
    }

    /// Whether a session of this executor was seen to have ended between these moments.
    pub fn ended(&self, executor: &str, from: Timestamp, until: Timestamp) -> bool {
        let ended = self.ended.lock().expect("nobody panics while holding this");
        ended.iter().any(|(name, time)| name == executor && (from..=until).contains(time))
    }
}

async fn look(zookeeper: ZooKeeper, ended: Arc<Mutex<Vec<(String, Timestamp)>>>) {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut next = tokio::time::interval(PERIOD);
    loop {
        next.tick().await;
        let Ok(session) = zookeeper.connect().await else { continue };
        // none once this session has ended, or while it is suspended
        while let Some(found) = registered::<RegisteredExecutor>(&*session, paths::EXECUTORS).await {
            let now: BTreeMap<_, _> = found.into_iter().map(|(node, executor)| (node, executor.name)).collect();
            let time = Clock::system().now();
            let gone = known.iter().filter(|(node, _)| !now.contains_key(*node));
            ended.lock().expect("nobody panics while holding this").extend(gone.map(|(_, name)| (name.clone(), time)));
            known = now;
            next.tick().await;
        }
        session.close().await;
    }
}
