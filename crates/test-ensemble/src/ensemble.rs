//! [`Ensemble`]: private servers.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::java::Java;
use crate::member::{Member, Ports};

/// Longest wait for servers to serve: Java starts within a second, but not on a machine that does much else.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Pause between two looks at servers that start.
const PAUSE: Duration = Duration::from_millis(50);

/// What all members have in common. Ticks are short, so that sessions of half a second are granted.
const COMMON: &str = "\
tickTime=200
initLimit=50
syncLimit=10
minSessionTimeout=500
maxSessionTimeout=60000
maxClientCnxns=0
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr,wchp
";

/// A private ensemble. Its members are killed and its folder is removed when it is dropped, and also when the process
/// dies without.
pub struct Ensemble {
    // before the folder: servers must not write into one that is being removed
    members: Vec<Member>,
    java: Java,
    _ports: Vec<Ports>,
    _folder: TempDir,
}

impl Ensemble {
    /// One member, or several that serve once most of them are there. Returns when it answers requests.
    pub async fn start(members: usize) -> Self {
        Self::start_with(members, &[], &[]).await
    }

    /// With lines more in `zoo.cfg` (the last one of a name counts) and with system properties of Java.
    pub async fn start_with(members: usize, settings: &[(&str, &str)], java: &[(&str, &str)]) -> Self {
        Self::start_by(members, settings, Java::sparing(java)).await
    }

    /// For benchmarks: by Java as it is by itself, and every transaction forced to the disk, as on a site.
    pub async fn start_as_on_a_site(members: usize, settings: &[(&str, &str)], java: &[(&str, &str)]) -> Self {
        Self::start_by(members, settings, Java::default(java)).await
    }

    async fn start_by(count: usize, settings: &[(&str, &str)], java: Java) -> Self {
        let folder = tempfile::Builder::new().prefix("ensemble-").tempdir().expect("a folder can be made");
        let ports: Vec<Ports> = (0..count).map(|_| Ports::hold()).collect();
        let mut members = Vec::new();
        for (index, own) in ports.iter().enumerate() {
            let address = own.client.address;
            let configuration = configuration(address, &ports, settings);
            members.push(Member::new(folder.path().join(index.to_string()), index + 1, address, &configuration));
        }
        let mut ensemble = Self { members, java, _ports: ports, _folder: folder };
        ensemble.start_all().await;
        ensemble
    }

    /// What a client is told: `127.0.0.1:p1,127.0.0.1:p2`.
    #[must_use]
    pub fn hosts(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(SocketAddr::to_string).collect();
        addresses.join(",")
    }

    /// Where clients find the members.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.address).collect()
    }

    /// The process of a member.
    #[must_use]
    pub fn process_id(&self, member: usize) -> u32 {
        self.members[member].process_id()
    }

    /// Kills a member at once (`SIGKILL`).
    pub fn kill(&mut self, member: usize) {
        self.members[member].kill();
    }

    /// Starts a member that was killed again, at the same address and with the same data; kills it first if it runs.
    /// Returns when it serves, or, if most of the others are not there, when it was started.
    pub async fn restart(&mut self, member: usize) {
        self.members[member].kill();
        self.members[member].start(&self.java);
        if self.has_quorum() {
            self.wait_for(|index, _| index == member).await;
        }
    }

    /// Stops a member where it is (`SIGSTOP`): its connections stay open, nothing is answered.
    pub fn pause(&self, member: usize) {
        self.members[member].signal("STOP");
    }

    /// Lets a paused member go on (`SIGCONT`).
    pub fn resume(&self, member: usize) {
        self.members[member].signal("CONT");
    }

    /// Kills all members and starts them at the same addresses with nothing in them.
    pub async fn wipe(&mut self) {
        self.members.iter_mut().for_each(Member::wipe);
        self.start_all().await;
    }

    /// The member that leads, or the only one; none while most of them are not there.
    pub async fn leader(&self) -> Option<usize> {
        for (index, member) in self.members.iter().enumerate() {
            if member.runs() && member.role().await.is_some_and(|role| role != "follower") {
                return Some(index);
            }
        }
        None
    }

    /// Waits until every member that was not killed serves.
    pub async fn wait_until_serving(&self) {
        self.wait_for(|_, member| member.runs()).await;
    }

    async fn start_all(&mut self) {
        self.members.iter_mut().for_each(|member| member.start(&self.java));
        self.wait_until_serving().await;
    }

    fn has_quorum(&self) -> bool {
        self.members.iter().filter(|member| member.runs()).count() * 2 > self.members.len()
    }

    async fn wait_for(&self, wanted: impl Fn(usize, &Member) -> bool) {
        let deadline = Instant::now() + START_LIMIT;
        for (index, member) in self.members.iter().enumerate() {
            while wanted(index, member) && member.role().await.is_none() {
                assert!(Instant::now() < deadline, "member {index} does not serve:\n{}", member.end_of_log());
                sleep(PAUSE).await;
            }
        }
    }
}

/// What a member is told, apart from where its data are.
fn configuration(client: SocketAddr, all: &[Ports], settings: &[(&str, &str)]) -> String {
    let mut text = format!("{COMMON}clientPort={}\n", client.port());
    if all.len() > 1 {
        for (index, ports) in all.iter().enumerate() {
            let (quorum, election) = (ports.quorum.address, ports.election.address.port());
            writeln!(text, "server.{}={quorum}:{election}", index + 1).expect("a text takes more");
        }
    }
    for (name, value) in settings {
        writeln!(text, "{name}={value}").expect("a text takes more");
    }
    text
}
