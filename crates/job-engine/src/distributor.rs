//! Distributors: what creates the jobs of one kind on a schedule.
//!
//! [`lead_and_distribute`] stands as a candidate; `term` is what it does while it leads; [`schedule`] and [`rounds`]
//! decide when. Most distributors are [`configured`], not coded.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use slipstream_action::with_causes;
use slipstream_cimi::Client;
use slipstream_coordination::retry::{Complaint, Pauses};
use slipstream_coordination::session::{self, Session};
use slipstream_coordination::{Coordinator, Election, Leadership};
use slipstream_store::Revision;
use tokio::time::sleep;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::marks::HighWaterMark;
use crate::process::clock::Clock;
use crate::process::metrics::Metrics;
use crate::process::paths::{DISTRIBUTORS, ELECTION};
use crate::process::registry::{RegisteredDistributor, Registration, this_process};
use crate::process::stop::Stop;

pub mod configured;
pub mod fan_out;
pub mod marks;
pub mod rounds;
pub mod schedule;
pub mod script;
pub mod store_marks;
pub mod template;
mod term;

use fan_out::Plan;
use rounds::Missed;
use schedule::Schedule;
use script::Script;
use script::found::RefusedScript;
use term::Term;

/// How long a round that is under way may go on after somebody asked to stop. What is then left of it is repeated by
/// the next leader.
pub const GRACE: Duration = Duration::from_secs(10);

/// How often a candidate that does not lead looks how far the leader is.
const LOOK: Duration = Duration::from_secs(10);

/// What creates the jobs of one kind.
#[async_trait]
pub trait Distributor: Send + Sync {
    /// What its high-water mark and the keys of its jobs are named after; another name is another distributor.
    fn name(&self) -> &str;
    /// Name of the election in which it stands, shared with foreign distributors of the same kind (specification 9.6).
    fn election(&self) -> &str;
    /// When its rounds are due.
    fn schedule(&self) -> &Schedule;
    /// What becomes of missed rounds.
    fn missed(&self) -> Missed;
    /// Over which share of the time until the next round the jobs of one are spread, above 0 and up to 1; none if they are
    /// added at once.
    fn spread(&self) -> Option<f64> {
        None
    }
    /// The jobs of one round, at most one for each target: the target tells them apart when a round is repeated.
    async fn plan(&self, client: &Client) -> Result<Plan, slipstream_cimi::Error>;
}

/// Why a mark was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// Another leader wrote it since it was read.
    #[error("the high-water mark of {0} was changed meanwhile")]
    Changed(String),
    /// What lies where it is kept is none.
    #[error("the high-water mark of {name} is damaged: reset it with `slipstream-job distributors reset {name}`")]
    Unreadable {
        /// Name of the distributor.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The keeper refuses it, and can be reached.
    #[error(
        "the coordinator refuses the high-water mark of {name}: check its node's access list and quota, or delete it"
    )]
    Refused {
        /// Name of the distributor.
        name: String,
        /// What the keeper says.
        #[source]
        source: session::Error,
    },
    /// It is out of reach.
    #[error("cannot reach the high-water mark of {name}")]
    Unreachable {
        /// Name of the distributor.
        name: String,
        /// What the keeper says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keeps high-water marks: for `up` its store, for a site with `ZooKeeper` [`marks::NodeMarks`].
#[async_trait]
pub trait Marks: Send + Sync {
    /// The mark, with a revision for [`Marks::save`]; a mark that was never saved is empty and has none. Nor has one that
    /// is gone from where it was kept, as it was when it was last seen here.
    async fn load(&self, distributor: &str) -> Result<(HighWaterMark, MarkRevision), MarkError>;
    /// Replaces the mark if it still has this revision, and answers the new one. Durable when answered.
    async fn save(
        &self,
        distributor: &str,
        mark: &HighWaterMark,
        revision: MarkRevision,
    ) -> Result<MarkRevision, MarkError>;
}

/// Which version of a mark was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkRevision {
    /// There is no mark.
    None,
    /// The version of a node.
    Node(i32),
    /// The revision of a document.
    Document(Revision),
}

/// What leaders of one kind share.
#[derive(Clone)]
pub struct Deps {
    /// Where leadership is won.
    pub coordinator: Arc<dyn Coordinator>,
    /// Where jobs are added.
    pub client: Client,
    /// Where high-water marks are kept.
    pub marks: Arc<dyn Marks>,
    /// The time of day.
    pub clock: Clock,
    /// What this process is called in elections.
    pub name: String,
    /// What is counted.
    pub metrics: Metrics,
}

/// Stands as a candidate in the distributor's election, and distributes each round while leading, until `stop`. No
/// error ends it: what fails is logged and tried again after a pause. On a stop the round under way may end within
/// `GRACE`; then leadership is handed over and the session closed. It may be dropped at any await: the next leader
/// repeats the pending round.
pub async fn lead_and_distribute(kind: impl Into<Kind>, deps: Deps, stop: Stop) {
    let kind = kind.into();
    let candidate = Candidate { kind: &kind, deps: &deps, stop: &stop };
    candidate.run().instrument(tracing::error_span!("distributor", name = kind.name())).await;
}

/// Who says which jobs are added.
#[derive(Clone)]
pub enum Kind {
    /// A schedule, round by round.
    Rounds(Arc<dyn Distributor>),
    /// A program, as it likes.
    Script(Arc<Script>),
    /// A program that may not be started: it stands nowhere, and says why.
    Refused(Arc<RefusedScript>),
}

impl<D: Distributor + 'static> From<Arc<D>> for Kind {
    fn from(distributor: Arc<D>) -> Self {
        Self::Rounds(distributor)
    }
}

impl From<Arc<dyn Distributor>> for Kind {
    fn from(distributor: Arc<dyn Distributor>) -> Self {
        Self::Rounds(distributor)
    }
}

impl From<Arc<Script>> for Kind {
    fn from(script: Arc<Script>) -> Self {
        Self::Script(script)
    }
}

impl From<RefusedScript> for Kind {
    fn from(script: RefusedScript) -> Self {
        Self::Refused(Arc::new(script))
    }
}

impl Kind {
    fn name(&self) -> &str {
        match self {
            Self::Rounds(distributor) => distributor.name(),
            Self::Script(script) => script.name(),
            Self::Refused(script) => &script.name,
        }
    }

    /// When it adds jobs, for people.
    fn schedule(&self) -> String {
        match self {
            Self::Rounds(distributor) => distributor.schedule().to_string(),
            Self::Script(_) | Self::Refused(_) => "as its script says".to_owned(),
        }
    }

    /// The election in which it stands, once it can lead; until then `told` hears what is in the way. `None` if somebody asks
    /// to stop before.
    async fn election(&self, told: impl Fn(String), stop: &Stop) -> Option<String> {
        match self {
            Self::Rounds(distributor) => Some(distributor.election().to_owned()),
            Self::Script(script) => script.election(told, stop).await,
            Self::Refused(script) => {
                told(format!("its script is not started: {}", script.reason));
                stop.asked().await;
                None
            }
        }
    }
}

struct Candidate<'a> {
    kind: &'a Kind,
    deps: &'a Deps,
    stop: &'a Stop,
}

impl Candidate<'_> {
    async fn run(&self) {
        let Self { deps, stop, .. } = self;
        let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
        while !stop.is_asked() {
            let connected = tokio::select! {
                biased;
                () = stop.asked() => return,
                connected = deps.coordinator.connect() => connected,
            };
            match connected {
                Ok(session) => {
                    self.stand(&session, &mut pauses, &mut complaint).await;
                    session.close().await;
                }
                // whether it can be reached is said by whoever made it, for all who use it at once
                Err(error) => tracing::debug!(%error, "no session with the coordinator"),
            }
            stop.pause(pauses.take()).await;
        }
    }

    /// Leads as often as it is elected, until the session has expired, somebody asks to stop, or its script has ended. Before
    /// that its script has to start, and whoever looks is told why it does not.
    async fn stand(&self, session: &Arc<dyn Session>, pauses: &mut Pauses, complaint: &mut Complaint) {
        let registration = self.register(session);
        self.leads(false);
        let told = |problem| registration.update(|distributor| distributor.problem = Some(problem));
        let found = tokio::select! {
            biased;
            found = self.kind.election(told, self.stop) => found,
            () = expired(&**session) => return,
        };
        let Some(election) = found else { return };
        let path = format!("{ELECTION}/{election}");
        registration.update(|distributor| (distributor.election, distributor.problem) = (Some(election), None));
        let election = Election::new(Arc::clone(session), &path, &self.deps.name);
        while !self.stop.is_asked() {
            let elected = tokio::select! {
                biased;
                () = self.stop.asked() => return,
                elected = election.lead() => elected,
                () = self.wait_to_lead() => return,
            };
            match elected {
                Ok(leadership) => {
                    pauses.reset();
                    complaint.settle();
                    self.leads(true);
                    self.serve(leadership, &registration).await;
                    self.leads(false);
                    registration.update(|distributor| distributor.term = None);
                    if !matches!(self.kind, Kind::Rounds(_)) {
                        // the next leadership is another process's
                        return;
                    }
                }
                Err(session::Error::Expired) => return complain("cannot join the election", &session::Error::Expired),
                Err(error) if complaint.is_new(error.to_string()) => complain("cannot join the election", &error),
                Err(error) => tracing::debug!(%error, "cannot join the election"),
            }
            self.stop.pause(pauses.take()).await;
        }
    }

    fn leads(&self, leads: bool) {
        self.deps.metrics.distributor().leads(self.kind.name(), leads);
    }

    /// Ends when this candidate cannot lead any more.
    async fn wait_to_lead(&self) {
        match self.kind {
            Kind::Rounds(distributor) => self.look_at_mark(distributor.name()).await,
            Kind::Script(script) => script.broken().await,
            Kind::Refused(_) => pending().await,
        }
    }

    /// Looks at the mark now and then, so that it is known here if it is gone when this candidate is elected. Never ends.
    async fn look_at_mark(&self, name: &str) {
        loop {
            if let Err(error) = self.deps.marks.load(name).await {
                tracing::debug!(error = with_causes(&error), "cannot read the high-water mark");
            }
            sleep(LOOK).await;
        }
    }

    /// Says who stands here, or would (decision 17).
    fn register(&self, session: &Arc<dyn Session>) -> Registration<RegisteredDistributor> {
        let distributor = RegisteredDistributor {
            name: self.kind.name().to_owned(),
            election: match self.kind {
                Kind::Rounds(distributor) => Some(distributor.election().to_owned()),
                Kind::Script(_) | Kind::Refused(_) => None,
            },
            candidate: self.deps.name.clone(),
            process: this_process(),
            schedule: self.kind.schedule(),
            term: None,
            problem: None,
        };
        let name = Uuid::new_v4().simple().to_string();
        Registration::begin(Arc::clone(session), DISTRIBUTORS, &name, distributor)
    }

    async fn serve(&self, leadership: Leadership, registration: &Registration<RegisteredDistributor>) {
        tracing::info!("elected leader");
        let Self { deps, stop, .. } = *self;
        let serve = async {
            match self.kind {
                Kind::Rounds(distributor) => {
                    let distributor = &**distributor;
                    Term { distributor, deps, leadership: &leadership, registration, stop }.serve().await;
                }
                Kind::Script(script) => script.serve(&leadership, registration, stop).await,
                Kind::Refused(_) => {}
            }
        };
        tokio::select! {
            biased;
            // Dropped leadership is withdrawn as soon as the coordinator can be reached; a stop need not wait for that.
            () = leadership.lost() => return tracing::warn!("lost leadership"),
            () = serve => {}
            () = self.stop.grace_over(GRACE) => tracing::warn!("stopped during a round"),
        }
        match tokio::time::timeout(GRACE, leadership.resign()).await {
            Ok(Ok(())) => tracing::info!("resigned leadership"),
            Ok(Err(error)) => complain("cannot resign leadership, it ends with the session", &error),
            Err(error) => complain("cannot resign leadership, it ends with the session", &error),
        }
    }
}

/// Ends with the session.
async fn expired(session: &dyn Session) {
    let mut state = session.state();
    // whoever dropped the sender has ended the session
    drop(state.wait_for(|state| *state == session::State::Expired).await);
}

fn complain(what: &str, error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(error, "{what}");
}

#[cfg(test)]
mod tests;
