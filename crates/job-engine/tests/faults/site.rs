//! [`Site`]: an ensemble, a server, executors and distributors, each a process that reaches the others through proxies of
//! its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipstream_cimi::http::HttpTransport;
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_cimi::overview::ledger::Ledger;
use slipstream_cimi::{Client, State};
use slipstream_coordination::session::{Mode, Operation, Session, existing};
use slipstream_coordination::zookeeper::Settings;
use slipstream_coordination::{Coordinator, ZooKeeper};
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::RegisteredDistributor;
use slipstream_job_engine::internals::process::paths;
use slipstream_test_ensemble::{Ensemble, Proxy};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::sync::OnceCell;

use crate::part::Part;
use crate::records::{self, Record};
use crate::roles::Role;
use crate::sessions::Sessions;
use crate::support::{PASSWORD, credentials, eventually, program_in, text};

/// Longest wait of the tests' own requests.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// What distributors of a site are called.
pub const TICK: &str = "tick";
/// What the jobs of its distributors work on.
pub const TICK_TARGET: &str = "round";

/// The configuration file of distributors.
const CONFIG: &str = "config.toml";

/// For sites that leave `ZooKeeper` whole: each has a folder of its own. Ends with the process.
static SHARED: OnceCell<Ensemble> = OnceCell::const_new();
static NEXT_FOLDER: AtomicUsize = AtomicUsize::new(0);

/// What a site is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members of an ensemble of its own; none for a folder in one that is shared.
    pub members: Option<usize>,
    pub executors: usize,
    /// Jobs at once of each executor.
    pub threads: usize,
    pub distributors: usize,
    pub session_timeout: Duration,
    pub grace: Duration,
    pub cimi_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            members: None,
            executors: 2,
            threads: 2,
            distributors: 0,
            session_timeout: Duration::from_secs(2),
            grace: Duration::from_mins(2),
            cimi_grace: Duration::from_mins(2),
        }
    }
}

/// A running site. All of it ends when it is dropped.
pub struct Site {
    pub server: Part,
    pub executors: Vec<Part>,
    pub distributors: Vec<Part>,
    /// Asks the server without a proxy between.
    pub client: Client,
    /// Where the server listens.
    pub address: SocketAddr,
    /// When the first distributor was hired, or before.
    pub begun: Timestamp,
    /// Whose sessions ended when.
    pub sessions: Sessions,
    /// When leading distributors were paused.
    pub stopped: Vec<Timestamp>,
    zookeeper: ZooKeeper,
    members: Vec<SocketAddr>,
    root: String,
    own: Option<Ensemble>,
    options: Options,
    folder: TempDir,
    _port: TcpSocket,
}

impl Site {
    /// Returns when everybody is at work.
    pub async fn start(options: Options) -> Self {
        let (own, members, root) = if let Some(members) = options.members {
            let ensemble = Ensemble::start(members).await;
            let members = ensemble.addresses();
            (Some(ensemble), members, String::new())
        } else {
            let members = SHARED.get_or_init(|| Ensemble::start(1)).await.addresses();
            let root = format!("/site-{}", NEXT_FOLDER.fetch_add(1, Ordering::Relaxed));
            make_folder(&members, &root).await;
            (None, members, root)
        };
        let folder = tempfile::Builder::new().prefix("faults-").tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join(CONFIG), configuration()).expect("a file can be written");
        let (port, address) = hold_port();
        let settings = Settings::new(&hosts(&members, &root));
        let zookeeper = ZooKeeper::new(settings.clone()).expect("good hosts");
        let server = server(&options, &members, &root, address, folder.path()).await;
        let transport = HttpTransport::new(&format!("http://{address}"), false, TIME_LIMIT).expect("a good address");
        let client = Client::new(Arc::new(transport), Some(credentials()));
        let mut site = Self {
            server,
            executors: Vec::new(),
            distributors: Vec::new(),
            client,
            address,
            begun: Clock::system().now(),
            sessions: Sessions::begin(ZooKeeper::new(settings).expect("good hosts")),
            stopped: Vec::new(),
            zookeeper,
            members,
            root,
            own,
            folder,
            _port: port,
            options,
        };
        site.until_it_answers().await;
        for _ in 0..site.options.executors {
            site.hire_executor().await;
        }
        for _ in 0..site.options.distributors {
            site.hire_distributor().await;
        }
        site.until_all_work().await;
        site
    }

    /// One more executor.
    pub async fn hire_executor(&mut self) {
        let name = format!("executor-{}", self.executors.len() + 1);
        let (zookeeper, api) = (self.proxies().await, Proxy::before(self.address).await);
        let role = Role {
            name: name.clone(),
            hosts: hosts(&addresses(&zookeeper), &self.root),
            session_timeout: self.options.session_timeout,
            endpoint: format!("http://{}", api.address()),
            threads: self.options.threads,
            grace: self.options.grace,
            cimi_grace: self.options.cimi_grace,
            records: self.records_file(),
        };
        let part = Part::start(&name, self.folder.path(), (zookeeper, Some(api)), move || role.command());
        self.executors.push(part);
    }

    /// One more candidate for the one distributor.
    pub async fn hire_distributor(&mut self) {
        let config = self.folder.path().join(CONFIG);
        let name = format!("distributor-{}", self.distributors.len() + 1);
        let (zookeeper, api) = (self.proxies().await, Proxy::before(self.address).await);
        let arguments = [
            ("--name", name.clone()),
            ("--ss-url", format!("http://{}", api.address())),
            ("--ss-user", credentials().username),
            ("--zk-hosts", hosts(&addresses(&zookeeper), &self.root)),
            ("--zk-session-timeout", milliseconds(self.options.session_timeout)),
        ];
        let command = move || {
            let mut command = program();
            command.arg("distributor").arg(TICK).arg("--config").arg(&config).env("SLIPSTREAM_PASS", PASSWORD);
            for (flag, value) in &arguments {
                command.arg(flag).arg(value);
            }
            command
        };
        let part = Part::start(&name, self.folder.path(), (zookeeper, Some(api)), command);
        self.distributors.push(part);
    }

    /// A proxy before each member.
    async fn proxies(&self) -> Vec<Proxy> {
        proxies(&self.members).await
    }

    /// The ensemble, if it is this site's alone.
    pub fn ensemble(&mut self) -> &mut Ensemble {
        self.own.as_mut().expect("an ensemble of its own")
    }

    /// What a client is told that reaches the ensemble without a proxy.
    pub fn hosts(&self) -> String {
        hosts(&self.members, &self.root)
    }

    /// What starts a server with another store on this site's folder.
    pub fn server_with(&self, store: &str) -> Command {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        server_command(address, &self.folder.path().join(store), &self.hosts(), self.options.session_timeout)
    }

    /// Where a process of this name keeps its log.
    pub fn log_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn records_file(&self) -> PathBuf {
        self.folder.path().join("records")
    }

    /// What actions said so far.
    pub fn records(&self) -> Vec<Record> {
        records::read(&self.records_file())
    }

    /// What the server keeps of a job.
    pub async fn ledger(&self, id: &str) -> Option<Ledger> {
        serde_json::from_value(Value::Object(self.client.operation(id, "ledger").await.ok()?)).ok()
    }

    pub async fn state(&self, id: &str) -> Option<State> {
        State::from_text(text(&self.client.get(id).await.ok()?, "state"))
    }

    /// A session of the tests' own, to look with.
    pub async fn session(&self) -> Arc<dyn Session> {
        eventually("a session", async || self.zookeeper.connect().await.ok()).await
    }

    pub async fn until_it_answers(&self) {
        eventually("the server answers", async || self.client.get("cloud-entry-point").await.ok()).await;
    }

    /// Waits until every process works: executors are registered, candidates too, and one of these leads.
    pub async fn until_all_work(&self) {
        self.until_it_answers().await;
        let executors: Vec<u32> = self.executors.iter().map(Part::id).collect();
        let distributors: Vec<u32> = self.distributors.iter().map(Part::id).collect();
        let session = self.session().await;
        eventually("everybody is registered, and one of the candidates leads", async || {
            let known = registered::<RegisteredExecutor>(&*session, paths::EXECUTORS).await?;
            let ids: Vec<u32> = known.iter().map(|(_, executor)| executor.process.id).collect();
            let candidates = registered::<RegisteredDistributor>(&*session, paths::DISTRIBUTORS).await?;
            let standing: Vec<u32> = candidates.iter().map(|(_, candidate)| candidate.process.id).collect();
            let leads = candidates.iter().any(|(_, candidate)| candidate.term.is_some());
            let all =
                executors.iter().all(|id| ids.contains(id)) && distributors.iter().all(|id| standing.contains(id));
            (all && (leads || distributors.is_empty())).then_some(())
        })
        .await;
        session.close().await;
    }

    /// Which of the distributors leads, waiting until one does.
    pub async fn leader(&self) -> usize {
        let session = self.session().await;
        let leader = eventually("one of the candidates leads", async || {
            let candidates = registered::<RegisteredDistributor>(&*session, paths::DISTRIBUTORS).await?;
            let leader = candidates.iter().find(|(_, candidate)| candidate.term.is_some())?.1.process.id;
            self.distributors.iter().position(|part| part.id() == leader)
        })
        .await;
        session.close().await;
        leader
    }

    /// The names below a folder of the node tree.
    pub async fn names(&self, folder: &str) -> Option<Vec<String>> {
        let session = self.zookeeper.connect().await.ok()?;
        let names = existing(session.children(folder).await).ok().map(Option::unwrap_or_default);
        session.close().await;
        names
    }

    /// All logs, for whoever wants to know why something is as it is.
    pub fn logs(&self) -> String {
        let parts = std::iter::once(&self.server).chain(&self.executors).chain(&self.distributors);
        parts.map(|part| format!("===== {}\n{}\n", part.name, part.log())).collect::<Vec<_>>().concat()
    }
}

impl Drop for Site {
    /// A test that fails leaves the logs where a person finds them.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-site-{}.txt", self.address.port()));
            println!("logs in {}", path.display());
            std::fs::write(path, self.logs()).expect("the folder for temporary files can be written to");
        }
    }
}

/// What is registered in a folder, with the names of the nodes.
pub async fn registered<T: DeserializeOwned>(session: &dyn Session, folder: &str) -> Option<Vec<(String, T)>> {
    let names = existing(session.children(folder).await).ok()?.unwrap_or_default();
    let paths = names.iter().map(|name| format!("{folder}/{name}")).collect();
    let nodes = session.nodes(paths).await.ok()?;
    let read = |(name, node): (String, slipstream_coordination::session::Found)| {
        Some((name, serde_json::from_slice(&node.ok()??.data).ok()?))
    };
    Some(names.into_iter().zip(nodes).filter_map(read).collect())
}

/// One distributor: a round each second, and missed rounds are made up for.
fn configuration() -> String {
    format!(
        "[[distributor]]\nname = \"{TICK}\"\naction = \"noop\"\ntarget = \"{TICK_TARGET}\"\n\
         every = \"1s\"\nmissed = \"catch-up\"\n"
    )
}

async fn make_folder(members: &[SocketAddr], root: &str) {
    let zookeeper = ZooKeeper::new(Settings::new(&hosts(members, ""))).expect("good hosts");
    let session = zookeeper.connect().await.expect("the ensemble serves");
    session.commit(vec![Operation::create(root, "", Mode::Persistent)]).await.expect("a new folder");
    session.close().await;
}

async fn server(options: &Options, members: &[SocketAddr], root: &str, address: SocketAddr, folder: &Path) -> Part {
    let zookeeper = proxies(members).await;
    let hosts = hosts(&addresses(&zookeeper), root);
    let store = folder.join("store/jobs.db");
    let session_timeout = options.session_timeout;
    let command = move || server_command(address, &store, &hosts, session_timeout);
    Part::start("server", folder, (zookeeper, None), command)
}

fn server_command(address: SocketAddr, store: &Path, hosts: &str, session_timeout: Duration) -> Command {
    let mut command = program();
    command.args(["server", "--listen", &address.to_string(), "--store", &format!("sqlite:{}", store.display())]);
    command.args(["--zk-hosts", hosts, "--zk-session-timeout", &milliseconds(session_timeout)]);
    command.env("SLIPSTREAM_SUPER_PASSWORD", PASSWORD);
    command
}

async fn proxies(members: &[SocketAddr]) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for member in members {
        proxies.push(Proxy::before(*member).await);
    }
    proxies
}

fn addresses(proxies: &[Proxy]) -> Vec<SocketAddr> {
    proxies.iter().map(Proxy::address).collect()
}

fn hosts(addresses: &[SocketAddr], root: &str) -> String {
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    format!("{}{root}", addresses.join(","))
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Names the program of servers and distributors, if it is not the one that was built with the tests.
const SERVER_PROGRAM: &str = "FAULTS_SERVER_PROGRAM";

/// The program, which says in its logs what the tests look for, with an environment of its own.
pub fn program() -> Command {
    let mut command = Command::new(program_in(SERVER_PROGRAM, env!("CARGO_BIN_EXE_slipstream-job")));
    std::env::vars().filter(|(name, _)| name.starts_with("SLIPSTREAM_")).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.env("SLIPSTREAM_LOG", "info,slipstream_job_engine=debug");
    command.env("SLIPSTREAM_ADMIN_LISTEN", "none");
    command
}

/// A port that stays ours while nobody listens: others are not given it, and who binds it with `SO_REUSEADDR`, as the
/// server does, may listen.
fn hold_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_reuseaddr(true).expect("an address may be used again");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("there are free ports");
    let address = socket.local_addr().expect("a bound socket has an address");
    (socket, address)
}
