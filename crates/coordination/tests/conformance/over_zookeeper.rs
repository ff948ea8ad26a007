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

/// Sessions with a real server, below a folder of their own.
#[derive(Default)]
pub struct OverZooKeeper {
    folder: OnceCell<String>,
}

/// One server, which ends with the process.
async fn hosts() -> String {
    static SERVER: OnceCell<Ensemble> = OnceCell::const_new();
    SERVER.get_or_init(|| Ensemble::start(1)).await.hosts()
}

impl OverZooKeeper {
    async fn folder(&self) -> &str {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let make = async || {
            let folder = format!("/case-{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let session = ZooKeeper::new(Settings::new(&hosts().await)).unwrap().open().await.unwrap();
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
        let hosts = hosts().await;
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
