//! What each process of a site is: started, killed or stopped, and started again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use slipstream_action::{Action, Catalogue, Failure, JobHandle, Success};
use slipstream_cimi::Client;
use slipstream_cimi::job::NewJob;
use slipstream_coordination::{Coordinator, Session};
use slipstream_job_engine::internals::collections::default_collections;
use slipstream_job_engine::internals::distributor::HighWaterMark;
use slipstream_job_engine::internals::distributor::Missed;
use slipstream_job_engine::internals::distributor::NodeMarks;
use slipstream_job_engine::internals::distributor::Schedule;
use slipstream_job_engine::internals::distributor::StoreMarks;
use slipstream_job_engine::internals::distributor::{
    Deps, Distributor, MarkError, MarkRevision, Marks, lead_and_distribute,
};
use slipstream_job_engine::internals::executor;
use slipstream_job_engine::internals::process::paths;
use slipstream_job_engine::internals::process::{Age, Clock, Metrics};
use slipstream_job_engine::internals::server::{self, Server, Writers, reconcile};
use slipstream_store::Store;
use tokio::task::JoinSet;

use crate::broken::Broken;
use crate::life::Life;
use crate::plan::{Fault, Site};
use crate::refusals;
use crate::session::SeenCoordinator;
use crate::store::SeenStore;
use crate::transport::Network;
use crate::world::{PASSWORD, World, alone_while_starting};

/// Name of the one distributor, of its election, and of what its keys begin with.
pub const DISTRIBUTOR: &str = "tick";
/// Time between its rounds, in seconds.
pub const EVERY: u64 = 45;
/// How many rounds it makes up for: more than all jumps of the clocks together come to.
const CATCH_UP: usize = 200;
/// What it adds jobs for.
pub const TARGETS: [&str; 2] = ["work/3", "work/8"];
/// The action of all jobs.
pub const ACTION: &str = "work";

/// Work of so many seconds, or a multiple, does not end before its part is done, or it is aborted.
const UNSTOPPABLE: u64 = 13;
/// What work of so many seconds, or a multiple, says in the end is refused.
const REFUSED: u64 = 11;

const MAX_ATTEMPTS: u32 = 5;
const SLOTS: usize = 2;
const GRACE: Duration = Duration::from_secs(5);
/// How long an executor waits for the servers with what it has in hand.
pub const CIMI_GRACE: Duration = Duration::from_mins(1);

/// Keeps a process running: what died or ended is started again after a while.
pub async fn keep(world: Arc<World>, process: String) {
    for incarnation in 1_u32.. {
        let life = Arc::new(Life::new(format!("{process}.{incarnation}"), world.trace.begun));
        world.begin(&process, &life);
        world.trace.note(&life.name, "begins");
        tokio::select! {
            biased;
            () = life.over() => world.inject(Fault::Killed, &life.name, ""),
            () = live(&world, &process, &life) => {
                world.trace.note(&life.name, "ends");
                life.kill();
            }
        }
        world.bury(&life);
        // after a wipe all servers start at once
        let most = if world.has_to_rebuild() { 3 } else { 1500 };
        tokio::time::sleep(Duration::from_millis(10 * world.below(most, &life.name, "rests"))).await;
    }
}

async fn live(world: &Arc<World>, process: &str, life: &Arc<Life>) {
    match process.split('-').next() {
        Some("server") => serve(world, life).await,
        Some("executor") => execute(world, life).await,
        Some("distributor") => distribute(world, life).await,
        _ => up(world, life).await,
    }
}

/// Everything in one process, the coordinator too.
async fn up(world: &Arc<World>, life: &Arc<Life>) {
    world.wipe();
    let Some(server) = start_server(world, life).await else { return };
    world.open_door(life, server.transport());
    let mut work = JoinSet::new();
    if world.broken != Broken::NoReconciler {
        let (server, life) = (server.clone(), life.clone());
        work.spawn(async move { server.reconcile(&life.name, life.stop.clone()).await });
    }
    let (executors, distributors) = ((world.clone(), life.clone()), (world.clone(), life.clone()));
    work.spawn(async move { execute(&executors.0, &executors.1).await });
    work.spawn(async move { distribute(&distributors.0, &distributors.1).await });
    while work.join_next().await.is_some() {}
    world.shut_door(life);
}

async fn serve(world: &Arc<World>, life: &Arc<Life>) {
    let Some(server) = start_server(world, life).await else { return };
    world.open_door(life, server.transport());
    if world.has_two_servers() {
        world.board().inject(Fault::TwoServers);
    }
    if world.broken == Broken::NoReconciler {
        life.stop.asked().await;
    } else {
        server.reconcile(&life.name, life.stop.clone()).await;
    }
    world.shut_door(life);
}

/// As `up` does it: a tree that forgot everything is rebuilt from the store before anybody is served.
async fn start_server(world: &Arc<World>, life: &Arc<Life>) -> Option<Server> {
    life.starting.store(true, Ordering::Relaxed);
    let rebuilds = world.has_to_rebuild();
    if rebuilds {
        let coordinator = world.coordinator();
        reconcile::restore(&*world.documents, &coordinator).await.expect("memory answers and refuses no entry");
        let session = coordinator.session();
        for name in session.children(paths::ENTRIES).await.unwrap_or_default() {
            let entry = session.data(&format!("{}/{name}", paths::ENTRIES)).await.expect("nobody else is at work");
            world.board().entry_put(&name, &String::from_utf8_lossy(&entry.data));
        }
        world.rebuilt();
    }
    let store: Arc<dyn Store> = Arc::new(SeenStore::new(world.clone(), life.clone()));
    let coordinator = Arc::new(SeenCoordinator::new(world.clone(), life.clone()));
    let coordinator_forgets = world.plan.site == Site::Up;
    let writers = if world.has_two_servers() { Writers::Several } else { Writers::One };
    let options = server::Options {
        password: PASSWORD.into(),
        max_attempts: MAX_ATTEMPTS,
        writers,
        coordinator_forgets,
        collections: default_collections(),
        metrics: Metrics::default(),
    };
    let started = Server::start(store, coordinator, world.clocks.of(life.process()), options);
    let started = alone_while_starting(life, started).await;
    life.starting.store(false, Ordering::Relaxed);
    let server = match started {
        Ok(server) => server,
        Err(error) => {
            world.trace.note(&life.name, &format!("does not start: {}", slipstream_action::with_causes(&error)));
            return None;
        }
    };
    world.trace.note(&life.name, "serves");
    if rebuilds && let Err(error) = server.reconcile_once(SignedDuration::ZERO).await {
        world.trace.note(&life.name, &format!("cannot reconcile: {}", slipstream_action::with_causes(&error)));
    }
    Some(server)
}

async fn execute(world: &Arc<World>, life: &Arc<Life>) {
    let options = executor::Options {
        threads: SLOTS,
        grace: GRACE,
        cimi_grace: CIMI_GRACE,
        clock: world.clocks.of(life.process()),
        ..executor::Options::new(&life.name, executor::ActionRuntime::shared())
    };
    let coordinator: Arc<dyn Coordinator> = Arc::new(SeenCoordinator::new(world.clone(), life.clone()));
    let mut catalogue = Catalogue::new();
    let work = Work { world: world.clone(), life: life.clone() };
    assert!(catalogue.register(ACTION, work, None), "the catalogue is empty");
    executor::run(options, coordinator, client(world, life), catalogue, life.stop.clone()).await;
}

async fn distribute(world: &Arc<World>, life: &Arc<Life>) {
    let marks: Arc<dyn Marks> = if world.plan.marks_in_nodes {
        Arc::new(NodeMarks::new(Arc::new(SeenCoordinator::new(world.clone(), life.clone()))))
    } else {
        Arc::new(StoreMarks::new(Arc::new(SeenStore::new(world.clone(), life.clone()))))
    };
    let deps = Deps {
        coordinator: Arc::new(SeenCoordinator::for_elections(world.clone(), life.clone())),
        client: client(world, life),
        marks: Arc::new(SeenMarks { world: world.clone(), clock: world.clocks.of(life.process()), marks }),
        clock: world.clocks.of(life.process()),
        name: life.name.clone(),
        metrics: Metrics::default(),
    };
    let tick = Tick { schedule: Schedule::Every(Duration::from_secs(EVERY)) };
    lead_and_distribute(Arc::new(tick), deps, life.stop.clone()).await;
}

/// A client of this process. It brings no password: the network knows the session.
pub fn client(world: &Arc<World>, life: &Arc<Life>) -> Client {
    Client::new(Arc::new(Network::new(world.clone(), life.clone())), None)
}

/// Works as many seconds as the name of its target says.
struct Work {
    world: Arc<World>,
    life: Arc<Life>,
}

/// Ends a run, however it ends.
struct Run<'a> {
    work: &'a Work,
    number: u64,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.work.world.board().run_ends(self.number);
    }
}

#[async_trait]
impl Action for Work {
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        let id = &job.job().id;
        let number = self.world.board().run_begins(id, &self.life, &self.world.documents);
        let _run = Run { work: self, number };
        let target = job.job().target_resource.as_ref().map(|target| target.href.clone()).unwrap_or_default();
        let seconds: u64 = target.rsplit('/').next().and_then(|text| text.parse().ok()).unwrap_or(1);
        for percent in [50, 100] {
            let part = Duration::from_millis(seconds * 500);
            if seconds.is_multiple_of(UNSTOPPABLE) {
                // it hears that it is to end, and goes on
                let deaf = async {
                    job.cancelled().await;
                    self.world.inject(Fault::Unstoppable, &self.life.name, id);
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(part) => {}
                    () = deaf => {}
                }
            }
            tokio::select! {
                biased;
                () = job.cancelled() => return Err(Failure::new("cancelled")),
                () = tokio::time::sleep(part) => job.set_progress(percent),
            }
        }
        if self.life.is_over() {
            return Err(Failure::new("nobody runs this any more"));
        }
        self.world.board().ran(id);
        if seconds.is_multiple_of(REFUSED) {
            job.add_affected_resource(refusals::MARK);
        }
        if seconds.is_multiple_of(7) { Err(Failure::new("seven is unlucky")) } else { Ok(Success::default()) }
    }
}

struct Tick {
    schedule: Schedule,
}

#[async_trait]
impl Distributor for Tick {
    fn name(&self) -> &str {
        DISTRIBUTOR
    }

    fn election(&self) -> &str {
        DISTRIBUTOR
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn missed(&self) -> Missed {
        Missed::CatchUp { limit: CATCH_UP }
    }

    async fn jobs(&self, _client: &Client) -> Result<Vec<NewJob>, slipstream_cimi::Error> {
        let job = |target: &str| NewJob { action: ACTION.to_owned(), target: Some(target.to_owned()), priority: None };
        Ok(TARGETS.map(job).to_vec())
    }
}

/// Marks, watched.
struct SeenMarks {
    world: Arc<World>,
    clock: Clock,
    marks: Arc<dyn Marks>,
}

#[async_trait]
impl Marks for SeenMarks {
    async fn load(&self, distributor: &str) -> Result<(HighWaterMark, MarkRevision), MarkError> {
        let (mark, revision) = self.marks.load(distributor).await?;
        if self.world.broken == Broken::WaitsForMarks {
            let is_ahead = || mark.done.max(mark.pending).is_some_and(|done| done > self.clock.now());
            while is_ahead() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        let forgets = self.world.broken == Broken::ForgetsMarks;
        Ok((if forgets { HighWaterMark::default() } else { mark }, revision))
    }

    async fn save(
        &self,
        distributor: &str,
        mark: &HighWaterMark,
        revision: MarkRevision,
    ) -> Result<MarkRevision, MarkError> {
        let saved = self.marks.save(distributor, mark, revision).await?;
        // a mark further ahead than clocks may differ begins no rounds: they go on from when the clock is right
        let is_believed =
            |done: &Timestamp| !matches!(Age::of(*done, self.world.clocks.right().now()), Age::Unbelievable(_));
        if let Some(done) = mark.done.filter(is_believed) {
            self.world.board().rounds_begin(done);
        }
        self.world.board().mark_saved(mark);
        Ok(saved)
    }
}
