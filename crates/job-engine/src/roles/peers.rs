//! [`Peers`]: whom executor and distributor work with, and the first contact with them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use slipstream_cimi::dialect::{JOB, SESSION};
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal};
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::query::Search;
use slipstream_cimi::{Client, Credentials};
use slipstream_coordination::retry::Pauses;
use slipstream_coordination::session::{Cause, Error, State};
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, ZooKeeper};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::contact::{Contact, WatchedCoordinator, WatchedTransport};
use super::measured::Measured;
use crate::process::activity::{Activity, Peer};
use crate::process::metrics::{MeasuredCoordinator, Metrics};
use crate::process::owner::{Own, Whose};
use crate::process::paths;
use crate::process::service_manager;
use crate::process::stop::Stop;
use crate::process::telemetry::announce;

/// Longest wait for an answer of the server.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait, at the beginning of each session, for what the server tells of its store.
const WHOSE_LIMIT: Duration = Duration::from_secs(5);

const OTHER_LOGIN: &str = "the nodes in ZooKeeper belong to another login: check --zk-user";

/// Where a server is, and who asks it.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its address, e.g. `https://example.org`.
    pub endpoint: String,
    /// Who asks.
    pub credentials: Credentials,
    /// Leaves the server's certificate unchecked.
    pub is_insecure: bool,
}

/// A `ZooKeeper` ensemble and a server.
pub struct Peers {
    coordinator: Arc<dyn Coordinator>,
    client: Client,
    needed: [Arc<Peer>; 2],
    hosts: String,
    endpoint: String,
    user: String,
    is_insecure: bool,
    metrics: Metrics,
}

impl Peers {
    /// Checks what they are called by, and connects to nothing yet.
    pub fn new(account: Account, zookeeper: Settings, metrics: Metrics) -> anyhow::Result<Self> {
        let hosts = zookeeper.hosts.clone();
        let ensemble = MeasuredCoordinator::new(ensemble(zookeeper)?, metrics.clone());
        let Account { endpoint, credentials, is_insecure } = account;
        let user = credentials.username.clone();
        let transport = |limit| HttpTransport::new(&endpoint, is_insecure, limit).context("invalid --ss-url");
        let inner = Measured::new(transport(TIME_LIMIT)?, &metrics);
        let whose = Whose::remote(Client::new(Arc::new(transport(WHOSE_LIMIT)?), None));
        let (coordinator, zookeeper) = coordinator(ensemble, &hosts, whose);
        let contact = Contact::with(format!("the server at {endpoint}"));
        let needed = [zookeeper, contact.peer()];
        let client = Client::new(Arc::new(WatchedTransport { inner, contact }), Some(credentials));
        need(&metrics, &client);
        Ok(Self { coordinator, client, needed, hosts, endpoint, user, is_insecure, metrics })
    }

    /// Address of the server.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether the server's certificate is not checked.
    #[must_use]
    pub fn is_insecure(&self) -> bool {
        self.is_insecure
    }

    /// Logs in as this role, and waits until both have answered. What trying again cannot mend is an error. Answers whether there is work to do:
    /// not if somebody asks to stop before.
    pub async fn answer(&self, role: &str, activity: &Activity, stop: &Stop) -> anyhow::Result<bool> {
        let client = self.client().named(&format!("slipstream-job-{role}/{}", env!("CARGO_PKG_VERSION")));
        activity.needs(self.needed.clone());
        let both = async {
            tokio::try_join!(first_contact(&*self.coordinator), self.first_login(&client))?;
            // now the server has told whose queue it should be
            first_contact(&*self.coordinator).await
        };
        tokio::select! {
            biased;
            () = stop.asked() => {
                announce("stopped");
                Ok(false)
            }
            answered = service_manager::ready_without(activity, both) => answered.map(|()| true),
        }
    }

    async fn first_login(&self, client: &Client) -> anyhow::Result<()> {
        let mut pauses = Pauses::default();
        loop {
            match client.login().await {
                Err(error) if error.is_transient() => sleep(pauses.take()).await,
                Ok(()) => break,
                Err(error) => return Err(error).with_context(|| format!("cannot log in at {}", self.endpoint)),
            }
        }
        if self.lacks_rights().await {
            bail!("the user {} is not an administrator at {}: name one with --ss-user", self.user, self.endpoint);
        }
        Ok(())
    }

    /// Whether the server says of this user that it has not the role ADMIN. Nobody else may change other people's jobs:
    /// an executor would claim them in vain. A server that says nothing of roles is not believed to say no.
    async fn lacks_rights(&self) -> bool {
        let user = Literal::Text(self.user.clone());
        let own = Filter::Compare(Attribute("username".to_owned()), Comparison::Equal, user).to_string();
        let search = Search { filter: Some(own), last: Some(1), ..Search::default() };
        let Ok(sessions) = self.client.search(SESSION.name, &search).await else { return false };
        let roles = sessions.documents.first().and_then(|session| session.get("roles")?.as_str());
        roles.is_some_and(|roles| !roles.split(' ').any(|role| role == "ADMIN"))
    }

    /// The ensemble.
    #[must_use]
    pub fn coordinator(&self) -> Arc<dyn Coordinator> {
        self.coordinator.clone()
    }

    /// A client of the server.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// For people: a line for each of the two.
    pub(super) fn summary(&self) -> String {
        format!("  server        {}\n  ZooKeeper     {}", self.endpoint, self.hosts)
    }
}

/// An ensemble that is not asked anything yet.
pub fn ensemble(settings: Settings) -> anyhow::Result<ZooKeeper> {
    ZooKeeper::new(settings).context("invalid ZooKeeper options")
}

/// The ensemble as what works with the own store's queue only, logged when it comes or goes.
pub(super) fn coordinator(
    ensemble: MeasuredCoordinator<ZooKeeper>,
    hosts: &str,
    whose: Whose,
) -> (Arc<dyn Coordinator>, Arc<Peer>) {
    let contact = Contact::with(format!("ZooKeeper at {hosts}"));
    let peer = contact.peer();
    (Arc::new(WatchedCoordinator { inner: Own::new(ensemble, hosts.to_owned(), whose), contact }), peer)
}

/// Whoever is asked whether this process is ready asks the server: nothing else may have for a while.
fn need(metrics: &Metrics, client: &Client) {
    let sessions = metrics.clone();
    metrics.health().needs("ZooKeeper", move || {
        let state = sessions.session_state();
        Box::pin(async move {
            match state {
                Some(State::Connected) => Ok(()),
                Some(State::Suspended) => Err("the connection is lost".to_owned()),
                Some(State::Expired) | None => Err("no session".to_owned()),
            }
        })
    });
    // on the runtime that makes all other requests
    let client = client.on(Handle::current());
    metrics.health().needs("server", move || {
        let client = client.clone();
        Box::pin(async move {
            // answered only to those who are logged in, and by a number that the server has
            let none = Search { last: Some(0), ..Search::default() };
            client.search(JOB.name, &none).await.map(drop).map_err(|error| match error.refusal() {
                Some(refusal) if matches!(refusal.status, 401 | 403 | 429) => "not logged in".to_owned(),
                _ => "it does not answer".to_owned(),
            })
        })
    });
}

/// Waits until the coordinator answers, or says that it will not before somebody mends something.
pub(super) async fn first_contact(coordinator: &dyn Coordinator) -> anyhow::Result<()> {
    let mut pauses = Pauses::default();
    loop {
        match coordinator.connect().await {
            Ok(session) => {
                // protected as all nodes are, if they are
                let read = session.data(paths::GENERATION).await;
                session.close().await;
                return match read {
                    Err(error) if error.is(Cause::NotAllowed) => Err(error).context(OTHER_LOGIN),
                    _ => Ok(()),
                };
            }
            Err(error) if error.is(Cause::NotAllowed) => return Err(error).context(OTHER_LOGIN),
            Err(error @ Error::Unusable { .. }) => return Err(error.into()),
            Err(_) => sleep(pauses.take()).await,
        }
    }
}
