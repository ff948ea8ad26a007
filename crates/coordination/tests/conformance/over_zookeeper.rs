//! The harness over a real `ZooKeeper`: one server for all cases, a folder for each, a proxy for each session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use slipstream_coordination::ZooKeeper;
use slipstream_coordination::session::{Mode, Operation, Session};
use slipstream_coordination::zookeeper::Settings;
use slipstream_test_ensemble::{Ensemble, Fault, Proxy};
use tokio::sync::OnceCell;
use zookeeper_client as library;

use crate::harness::{Client, Control, Harness, within};

/// Longer than any case is suspended.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Less than a request takes.
const PACE: Duration = Duration::from_micros(200);

/// Names the class path of a `ZooKeeper` 3.5.
const OLD: &str = "SLIPSTREAM_TEST_ZOOKEEPER_3_5";

/// Sessions with a real server, below a folder of their own.
pub struct OverZooKeeper {
    old: bool,
    folder: OnceCell<String>,
}

impl OverZooKeeper {
    /// With recursive watches and reads of several nodes at once, as 3.6 brought them.
    pub fn new() -> Self {
        Self { old: false, folder: OnceCell::new() }
    }

    /// The oldest one that is spoken with, which has neither.
    pub fn old() -> Self {
        Self { old: true, folder: OnceCell::new() }
    }

    /// One server of a kind, which ends with the process.
    async fn hosts(&self) -> String {
        static PRESENT: OnceCell<Ensemble> = OnceCell::const_new();
        static OLDEST: OnceCell<Ensemble> = OnceCell::const_new();
        let oldest = async || {
            let class_path =
                std::env::var(OLD).expect("SLIPSTREAM_TEST_ZOOKEEPER_3_5: run the tests by `cargo xtask test`");
            Ensemble::start_of(&class_path, 1).await
        };
        let server =
            if self.old { OLDEST.get_or_init(oldest).await } else { PRESENT.get_or_init(|| Ensemble::start(1)).await };
        server.hosts()
    }

    async fn folder(&self) -> &str {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let make = async || {
            let folder = format!("/case-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let session = ZooKeeper::new(Settings::new(&self.hosts().await)).unwrap().open().await.unwrap();
            session.commit(vec![Operation::create(&folder, "", Mode::Persistent)]).await.unwrap();
            session.close().await;
            folder
        };
        self.folder.get_or_init(make).await
    }
}

#[async_trait]
impl Harness for OverZooKeeper {
    async fn connect(&self) -> Client {
        let folder = self.folder().await;
        let hosts = self.hosts().await;
        let proxy = Proxy::before(hosts.parse().unwrap()).await;
        let settings =
            Settings { session_timeout: SESSION_TIMEOUT, ..Settings::new(&format!("{}{folder}", proxy.address())) };
        let session = ZooKeeper::new(settings).unwrap().open().await.unwrap();
        let identity = session.identity().unwrap();
        Client::new(Arc::new(session), Arc::new(OneProxy { proxy, hosts, identity }), self.pace())
    }

    fn pace(&self) -> Duration {
        PACE
    }

    fn rounds(&self, rounds: u64) -> u64 {
        rounds.min(100)
    }
}

/// What lies between one session and the server, and a second way to it.
struct OneProxy {
    proxy: Proxy,
    hosts: String,
    identity: library::SessionInfo,
}

#[async_trait]
impl Control for OneProxy {
    /// Somebody else takes the session over and closes it.
    async fn expire(&self) {
        let connector = library::Client::connector().with_session(self.identity.clone());
        match within(connector.connect(&self.hosts)).await {
            Ok(client) => {
                let mut states = client.state_watcher();
                drop(client);
                within(async { while !states.changed().await.is_terminated() {} }).await;
            }
            Err(error) => assert_eq!(error, library::Error::SessionExpired),
        }
        self.proxy.set(Fault::None);
    }

    async fn suspend(&self) {
        self.proxy.set(Fault::Cut);
    }

    async fn resume(&self) {
        self.proxy.set(Fault::None);
    }
}
