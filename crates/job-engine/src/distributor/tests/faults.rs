//! What goes wrong within a round. Each test asserts that its fault was injected and that work was done.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use slipstream_cimi::Client;
use slipstream_coordination::Coordinator;
use slipstream_coordination::session::{Mode, Operation};

use super::super::configured::Configured;
use super::super::fan_out::Plan;
use super::super::marks::NodeMarks;
use super::super::{Distributor, MarkError, MarkRevision, Marks as _, Missed, Schedule, lead_and_distribute};
use super::keys;
use super::world::{Fault, Several, World, configured, time};
use crate::marks::{HighWaterMark, path};
use crate::process::clock::Clock;
use crate::process::paths::DISTRIBUTORS;
use crate::process::registry::RegisteredDistributor;
use crate::process::stop::Stop;
use crate::process::supervise::supervise;

const TARGETS: &[&str] = &["a", "b", "c"];

fn round_keys(times: &[&str]) -> Vec<String> {
    let key = |time| TARGETS.iter().map(move |target| format!("each 2026-11-24T{time}Z {target}"));
    times.iter().flat_map(key).collect()
}

fn several() -> Several {
    Several(configured("each", 15, Missed::Coalesce), TARGETS)
}

/// A future that is polled so many times and then never again, as that of a process that dies; answers whether it
/// came to its end before.
struct Killed<F> {
    future: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future<Output = ()>> Future for Killed<F> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        if self.polls == 0 {
            return Poll::Ready(false);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(|()| true)
    }
}

/// Runs the distributor until it was polled so often or three rounds are done.
async fn run(world: &World, polls: usize) -> bool {
    let stop = Stop::new();
    let enough = async {
        world.marked(|mark| mark.done >= Some(time("12:00:45"))).await;
        stop.ask();
        std::future::pending::<()>().await;
    };
    let future = lead_and_distribute(Arc::new(several()), world.deps("one"), stop.clone());
    tokio::select! {
        ended = Killed { future: Box::pin(future), polls } => ended,
        () = enough => false,
    }
}

/// Fault: the process dies, at each await in turn. No round is lost or doubled, no job within it either.
#[tokio::test(start_paused = true)]
async fn a_leader_killed_at_any_await_neither_forgets_nor_doubles_a_round() {
    let (mut kills, mut pending, mut half_done, mut unmarked) = (0, 0, 0, 0);
    for polls in 0..1000 {
        let world = World::new();
        if run(&world, polls).await {
            break;
        }
        kills += 1;
        let mark = world.marks.saved.borrow().clone();
        let created = world.server.keys().len();
        pending += usize::from(mark.pending.is_some());
        half_done += usize::from(!created.is_multiple_of(TARGETS.len()));
        unmarked += usize::from(mark.pending.is_some() && created > 0 && created.is_multiple_of(TARGETS.len()));
        assert!(run(&world, usize::MAX).await, "the restart works");
        assert_eq!(
            world.server.keys(),
            round_keys(&["12:00:15", "12:00:30", "12:00:45"]),
            "killed at poll {polls}, mark {mark:?}"
        );
    }
    assert!(kills > 20 && kills < 1000, "{kills} kills");
    assert!(pending >= 9, "{pending} kills hit a pending round");
    assert!(half_done >= 6, "{half_done} kills hit a round of which some jobs were added");
    assert!(unmarked >= 3, "{unmarked} kills hit a round that was added but not marked done");
}

/// Fault: the connection to the coordinator is cut while a job is being added.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_session_is_suspended_within_a_round_adds_nothing_more() {
    let world = World::new();
    world.server.gate.forget_permits(usize::MAX);
    let running = world.start("one", several());
    world.pass("12:00:15").await;
    assert_eq!(world.server.asked.lock().unwrap().len(), 1, "the first job is being added");
    world.coordination.last().suspend();
    world.pass("12:00:16").await;
    world.server.gate.add_permits(1000);
    world.pass("12:01:20").await;
    assert_eq!(world.server.asked.lock().unwrap().len(), 1, "nothing is added while suspended");
    assert_eq!(world.server.keys(), keys(&[]), "not even waited for");
    assert_eq!(world.marks.saved.borrow().pending, Some(time("12:00:15")));
    world.coordination.last().resume();
    world.pass("12:02:00").await;
    running.stop().await;
    let sessions = world.coordination.sessions.lock().unwrap().len();
    assert_eq!(sessions, 1, "the session lives on");
    assert_eq!(world.server.keys()[..6], round_keys(&["12:00:15", "12:01:15"]), "repeated, then what was missed");
    assert!(world.server.keys().ends_with(&round_keys(&["12:02:00"])));
}

/// Fault: the connection to the coordinator is cut at the very moment at which an add is answered.
#[tokio::test(start_paused = true)]
async fn a_leader_looks_whether_it_leads_before_each_add() {
    let world = World::new();
    let running = world.start("one", several());
    world.pass("12:00:08").await;
    let session = world.coordination.last();
    *world.server.with_answer.lock().unwrap() = Some(Box::new(move || session.suspend()));
    world.pass("12:00:20").await;
    assert!(world.server.with_answer.lock().unwrap().is_none(), "the fault was injected");
    assert_eq!(world.server.asked.lock().unwrap().len(), 1);
    assert_eq!(world.server.keys(), round_keys(&["12:00:15"])[..1]);
    world.coordination.last().resume();
    world.pass("12:00:30").await;
    running.stop().await;
    assert_eq!(world.server.keys(), round_keys(&["12:00:15", "12:00:30"]));
}

/// Fault: the session expires while a job is being added.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_session_expires_leads_again_with_a_new_one() {
    let world = World::new();
    world.server.gate.forget_permits(usize::MAX);
    let running = world.start("one", several());
    world.pass("12:00:15").await;
    assert_eq!(world.server.asked.lock().unwrap().len(), 1, "the first job is being added");
    world.coordination.last().expire();
    world.server.gate.add_permits(1000);
    world.pass("12:00:30").await;
    running.stop().await;
    assert_eq!(world.coordination.sessions.lock().unwrap().len(), 2);
    assert_eq!(world.server.keys(), round_keys(&["12:00:15", "12:00:30"]));
}

/// Fault: the server is out of reach, loses an answer, and is overloaded.
#[tokio::test(start_paused = true)]
async fn a_failed_add_is_repeated_with_growing_pauses() {
    let world = World::new();
    let faults = [Fault::Unreachable, Fault::Status(503), Fault::AnswerLost, Fault::Status(403), Fault::Unreachable];
    world.server.faults.lock().unwrap().extend(faults.into_iter().chain([Fault::Status(500); 2]));
    let running = world.start("one", configured("each", 3600, Missed::Coalesce));
    world.pass("13:05:00").await;
    running.stop().await;
    assert!(world.server.faults.lock().unwrap().is_empty(), "all faults were injected");
    assert_eq!(world.server.keys(), keys(&["13:00:00"]));
    let asked = world.server.asked.lock().unwrap().clone();
    let seconds: Vec<i64> = asked.iter().map(|asked| asked.duration_since(time("13:00:00")).as_secs()).collect();
    assert_eq!(seconds, [0, 1, 3, 7, 15, 31, 61, 91]);
}

/// Fault: the server finds a job malformed.
#[tokio::test(start_paused = true)]
async fn a_malformed_job_does_not_hold_up_the_others() {
    let world = World::new();
    world.server.faults.lock().unwrap().push_back(Fault::Status(400));
    let running = world.start("one", several());
    world.pass("12:00:30").await;
    running.stop().await;
    assert_eq!(world.server.keys(), round_keys(&["12:00:15", "12:00:30"])[1..]);
}

/// A distributor that does not survive its second round the first time, but for what it marked.
struct Crashing(Configured, AtomicI64);

#[async_trait]
impl Distributor for Crashing {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn election(&self) -> &str {
        self.0.election()
    }

    fn schedule(&self) -> &Schedule {
        self.0.schedule()
    }

    fn missed(&self) -> Missed {
        self.0.missed()
    }

    async fn plan(&self, client: &Client) -> Result<Plan, slipstream_cimi::Error> {
        assert_ne!(self.1.fetch_add(1, Ordering::Relaxed), 1, "injected");
        self.0.plan(client).await
    }
}

/// Fault: the code of one distributor panics within a round.
#[tokio::test(start_paused = true)]
async fn a_distributor_that_panics_is_begun_again_and_the_others_go_on() {
    let world = World::new();
    let (stop, surroundings) = (Stop::new(), world.deps("one"));
    let crashing = Arc::new(Crashing(configured("each", 15, Missed::Coalesce), AtomicI64::new(0)));
    let (distributor, asked) = (crashing.clone(), stop.clone());
    let supervised = tokio::spawn(supervise("each", stop.clone(), move || {
        lead_and_distribute(distributor.clone(), surroundings.clone(), asked.clone())
    }));
    let other = Configured { election: "other".to_owned(), ..configured("other", 15, Missed::Coalesce) };
    let other = world.start("one", other);
    world.pass("12:01:00").await;
    stop.ask();
    supervised.await.unwrap();
    other.stop().await;
    assert_eq!(crashing.1.load(Ordering::Relaxed), 5, "the fault was injected and its round repeated");
    let (each, other): (Vec<_>, Vec<_>) = world.server.keys().into_iter().partition(|key| key.starts_with("each"));
    assert_eq!(each, keys(&["12:00:15", "12:00:30", "12:00:45", "12:01:00"]));
    assert_eq!(other.len(), 4, "{other:?}");
}

/// Fault: marks cannot be reached.
#[tokio::test(start_paused = true)]
async fn nothing_is_added_before_its_round_is_marked() {
    let world = World::new();
    let running = world.start("one", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:08").await;
    *world.marks.unreachable.lock().unwrap() = 2;
    world.pass("12:00:17").await;
    assert_eq!(*world.marks.unreachable.lock().unwrap(), 0, "both faults were injected");
    assert_eq!(world.server.keys(), keys(&[]));
    world.pass("12:00:19").await;
    running.stop().await;
    assert_eq!(world.server.keys(), keys(&["12:00:15"]));
}

/// Fault: another leader, who is not known here, has distributed the round meanwhile.
#[tokio::test(start_paused = true)]
async fn a_changed_mark_is_read_again() {
    let world = World::new();
    let running = world.start("one", configured("each", 15, Missed::Coalesce));
    world.pass("12:00:08").await;
    let other =
        HighWaterMark { schedule: Some("every 15s".to_owned()), ..HighWaterMark::from_now_on(time("12:00:15")) };
    *world.marks.intruder.lock().unwrap() = Some(other);
    world.pass("12:00:30").await;
    running.stop().await;
    assert!(world.marks.intruder.lock().unwrap().is_none(), "the fault was injected");
    assert_eq!(world.server.keys(), keys(&["12:00:30"]));
}

/// Fault: the time of day jumps ten years ahead within a leadership, and back after a while.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ahead_and_back_silences_nobody() {
    let world = World::new();
    let (steady, years) = (world.clock.clone(), Arc::new(AtomicI64::new(0)));
    let jumping = years.clone();
    let mut surroundings = world.deps("one");
    surroundings.clock =
        Clock::showing(move || steady.now() + SignedDuration::from_hours(jumping.load(Ordering::Relaxed) * 365 * 24));
    let stop = Stop::new();
    let distributor = Arc::new(configured("each", 15, Missed::Coalesce));
    let running = tokio::spawn(lead_and_distribute(distributor, surroundings, stop.clone()));
    world.pass("12:00:20").await;
    years.store(10, Ordering::Relaxed);
    world.pass("12:00:40").await;
    assert!(world.marks.saved.borrow().done > Some(time("23:00:00")), "the fault was injected");
    years.store(0, Ordering::Relaxed);
    world.pass("12:02:00").await;
    stop.ask();
    running.await.unwrap();
    let keys: Vec<String> = world.server.keys().into_iter().filter(|key| key.contains(" 2026-")).collect();
    let expected = super::keys(&["12:00:15", "12:01:15", "12:01:30", "12:01:45", "12:02:00"]);
    assert!(keys.ends_with(&expected[1..]), "within the interval and the look at the clock: {keys:?}");
    let mark = world.marks.saved.borrow().clone();
    assert_eq!((mark.done, mark.pending), (Some(time("12:02:00")), None));
    assert!(mark.ahead > Some(time("23:00:00")), "what was not believed is kept: {mark:?}");
}

/// Fault: the time of day jumps ten years ahead, and back while the rounds that are due by it are under way.
#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_within_rounds_silences_nobody() {
    let world = World::new();
    // so many looks at the clock show a time that is years ahead
    let (steady, ahead) = (world.clock.clone(), Arc::new(AtomicI64::new(0)));
    let looks = ahead.clone();
    let mut surroundings = world.deps("one");
    surroundings.clock = Clock::showing(move || {
        let is_ahead = looks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| (left > 0).then(|| left - 1));
        steady.now() + SignedDuration::from_hours(if is_ahead.is_ok() { 10 * 365 * 24 } else { 0 })
    });
    let stop = Stop::new();
    let distributor = Arc::new(configured("each", 15, Missed::CatchUp { limit: 5 }));
    let running = tokio::spawn(lead_and_distribute(distributor, surroundings, stop.clone()));
    world.pass("12:00:20").await;
    // the end of the wait, and the look that says what is due
    ahead.store(2, Ordering::Relaxed);
    world.pass("12:03:00").await;
    assert_eq!(ahead.load(Ordering::Relaxed), 0, "the fault was injected");
    stop.ask();
    running.await.unwrap();
    let keys: Vec<String> = world.server.keys().into_iter().filter(|key| key.contains(" 2026-")).collect();
    let expected = super::keys(&["12:02:15", "12:02:30", "12:02:45", "12:03:00"]);
    assert!(keys.ends_with(&expected), "within the interval and the look at the clock: {keys:?}");
}

/// Fault: a clock that was behind when this leader came is set right.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_years_behind_doubles_nothing_once_it_is_right() {
    let world = World::new();
    let before =
        HighWaterMark { schedule: Some("every 15s".to_owned()), ..HighWaterMark::from_now_on(time("12:00:00")) };
    assert_eq!(world.marks.save("each", &before, MarkRevision::None).await.unwrap(), MarkRevision::Node(1));
    let (steady, years) = (world.clock.clone(), Arc::new(AtomicI64::new(-10)));
    let jumping = years.clone();
    let mut surroundings = world.deps("one");
    surroundings.clock =
        Clock::showing(move || steady.now() + SignedDuration::from_hours(jumping.load(Ordering::Relaxed) * 365 * 24));
    let stop = Stop::new();
    let distributor = Arc::new(configured("each", 15, Missed::CatchUp { limit: 1000 }));
    let running = tokio::spawn(lead_and_distribute(distributor, surroundings, stop.clone()));
    world.pass("12:00:20").await;
    assert_eq!(world.marks.saved.borrow().ahead, Some(time("12:00:00")), "the fault was injected");
    years.store(0, Ordering::Relaxed);
    world.pass("12:01:00").await;
    stop.ask();
    running.await.unwrap();
    let keys: Vec<String> = world.server.keys().into_iter().filter(|key| key.contains(" 2026-")).collect();
    assert_eq!(
        keys,
        super::keys(&["12:00:15", "12:00:30", "12:00:45", "12:01:00"]),
        "what was done before is not repeated"
    );
}

/// Fault: a mark from a clock that was ahead, of a schedule whose next round is far.
#[tokio::test(start_paused = true)]
async fn a_reset_is_noticed_before_the_next_round() {
    let world = World::new();
    let ahead = HighWaterMark { schedule: Some("every 1h".to_owned()), ..HighWaterMark::from_now_on(time("23:00:00")) };
    assert_eq!(world.marks.save("each", &ahead, MarkRevision::None).await.unwrap(), MarkRevision::Node(1));
    let observer = world.coordination.tree.connect().await.unwrap();
    let problem = async || {
        let names = observer.children(DISTRIBUTORS).await.unwrap();
        let node = observer.data(&format!("{DISTRIBUTORS}/{}", names[0])).await.unwrap();
        serde_json::from_slice::<RegisteredDistributor>(&node.data).unwrap().problem
    };
    let running = world.start("one", configured("each", 3600, Missed::Coalesce));
    world.pass("12:10:00").await;
    let told = problem().await.expect("the fault is told");
    assert!(told.contains("its high-water mark of 2026-11-24T23:00:00Z"), "{told}");
    let (mark, revision) = world.marks.load("each").await.unwrap();
    assert_eq!(mark.ahead, Some(time("23:00:00")));
    world.marks.save("each", &HighWaterMark::from_now_on(time("12:10:00")), revision).await.unwrap();
    world.pass("12:10:40").await;
    assert_eq!(problem().await, None);
    world.pass("13:00:00").await;
    running.stop().await;
    assert_eq!(world.server.keys(), keys(&["13:00:00"]));
}

#[tokio::test(start_paused = true)]
async fn a_new_schedule_counts_from_when_it_was_first_seen() {
    for before in [Some("every 7200s".to_owned()), None] {
        let world = World::new();
        let mark = HighWaterMark { schedule: before.clone(), ..HighWaterMark::from_now_on(time("10:00:00")) };
        assert_eq!(world.marks.save("each", &mark, MarkRevision::None).await.unwrap(), MarkRevision::Node(1));
        let running = world.start("one", configured("each", 3600, Missed::Coalesce));
        world.pass("12:59:00").await;
        assert_eq!(world.server.keys(), keys(&[]), "none for a time before the change from {before:?}");
        running.stop().await;
        world.pass("13:30:00").await;
        let running = world.start("two", configured("each", 3600, Missed::Coalesce));
        world.pass("13:31:00").await;
        running.stop().await;
        assert_eq!(world.server.keys(), keys(&["13:00:00"]), "what was missed since is made up for");
        assert_eq!(world.marks.saved.borrow().schedule.as_deref(), Some("every 1h"));
    }
}

#[tokio::test]
async fn marks_in_nodes_are_replaced_only_by_who_knows_the_last() {
    let world = World::new();
    let marks = NodeMarks::new(world.coordination.clone());
    let mark = |second: &str| HighWaterMark::from_now_on(time(second));
    assert_eq!(marks.load("each").await.unwrap(), (HighWaterMark::default(), MarkRevision::None));
    assert_eq!(marks.save("each", &mark("12:00:00"), MarkRevision::None).await.unwrap(), MarkRevision::Node(0));
    assert_eq!(marks.save("each", &mark("12:00:15"), MarkRevision::Node(0)).await.unwrap(), MarkRevision::Node(1));
    for revision in [MarkRevision::None, MarkRevision::Node(0), MarkRevision::Node(2), MarkRevision::Node(i32::MAX)] {
        let error = marks.save("each", &mark("12:00:30"), revision).await.unwrap_err();
        assert!(matches!(error, MarkError::Changed(name) if name == "each"), "{revision:?}");
    }
    assert_eq!(marks.load("each").await.unwrap(), (mark("12:00:15"), MarkRevision::Node(1)));
    assert!(matches!(marks.save("other", &mark("12:00:00"), MarkRevision::Node(0)).await, Err(MarkError::Changed(_))));
    assert_eq!(
        marks.save("other", &mark("12:00:00"), MarkRevision::None).await.unwrap(),
        MarkRevision::Node(0),
        "the parents are there already"
    );
}

/// Fault: session suspended, expired; somebody wrote nonsense.
#[tokio::test]
async fn marks_in_nodes_survive_their_session() {
    let world = World::new();
    let marks = NodeMarks::new(world.coordination.clone());
    let mark = HighWaterMark { pending: Some(time("12:00:00")), ..HighWaterMark::default() };
    assert_eq!(marks.save("each", &mark, MarkRevision::None).await.unwrap(), MarkRevision::Node(0));
    world.coordination.last().suspend();
    assert!(matches!(marks.load("each").await, Err(MarkError::Unreachable { .. })));
    assert!(matches!(marks.save("each", &mark, MarkRevision::Node(0)).await, Err(MarkError::Unreachable { .. })));
    world.coordination.last().expire();
    assert_eq!(marks.load("each").await.unwrap(), (mark, MarkRevision::Node(0)), "over a new session");
    let session = world.coordination.tree.connect().await.unwrap();
    let path = path("broken");
    let nonsense = Operation::Create { path, data: b"tomorrow".to_vec(), mode: Mode::Persistent };
    session.commit(vec![nonsense]).await.unwrap();
    assert!(matches!(marks.load("broken").await, Err(MarkError::Unreadable { name, .. }) if name == "broken"));
}

/// Fault: the node is gone with all others.
#[tokio::test(start_paused = true)]
async fn a_mark_that_is_gone_is_known_to_who_has_seen_it() {
    let world = World::new();
    let wipe = async || {
        let session = world.coordination.tree.connect().await.unwrap();
        session.commit(vec![Operation::delete(path("each"))]).await.unwrap();
    };
    let marks = NodeMarks::new(world.coordination.clone());
    let mark = HighWaterMark::from_now_on(time("12:00:00"));
    assert_eq!(marks.save("each", &mark, MarkRevision::None).await.unwrap(), MarkRevision::Node(0));
    let candidate = NodeMarks::new(world.coordination.clone());
    assert_eq!(candidate.load("each").await.unwrap(), (mark.clone(), MarkRevision::Node(0)));
    wipe().await;
    for who in [&marks, &candidate] {
        assert_eq!(who.load("each").await.unwrap(), (mark.clone(), MarkRevision::None));
    }
    let stranger = NodeMarks::new(world.coordination.clone());
    assert_eq!(stranger.load("each").await.unwrap(), (HighWaterMark::default(), MarkRevision::None));
    assert_eq!(candidate.save("each", &mark, MarkRevision::None).await.unwrap(), MarkRevision::Node(0));
    assert_eq!(stranger.load("each").await.unwrap(), (mark, MarkRevision::Node(0)));
}

/// Fault: the mark is gone when one is elected that never led, and cannot be asked for until two rounds are overdue.
#[tokio::test(start_paused = true)]
async fn a_candidate_goes_on_from_the_mark_of_the_leader_before() {
    let world = World::new();
    let candidate = |name| {
        let mut surroundings = world.deps(name);
        surroundings.marks = Arc::new(NodeMarks::new(world.coordination.clone()));
        let (stop, distributor) = (Stop::new(), Arc::new(configured("each", 15, Missed::CatchUp { limit: 10 })));
        (stop.clone(), tokio::spawn(lead_and_distribute(distributor, surroundings, stop)))
    };
    let (leads, leader) = candidate("one");
    world.pass("12:00:10").await;
    let (stands, other) = candidate("two");
    world.pass("12:00:50").await;
    // by which the candidate looks at marks
    let looks = world.coordination.last();
    looks.suspend();
    let session = world.coordination.tree.connect().await.unwrap();
    session.commit(vec![Operation::delete(path("each"))]).await.unwrap();
    leads.ask();
    leader.await.unwrap();
    world.pass("12:01:20").await;
    assert_eq!(world.server.keys().len(), 3, "the fault was injected");
    looks.resume();
    world.pass("12:01:28").await;
    stands.ask();
    other.await.unwrap();
    assert_eq!(world.server.keys(), keys(&["12:00:15", "12:00:30", "12:00:45", "12:01:00", "12:01:15"]));
}

/// The whole over nodes: another process finds the marks of the first.
#[tokio::test(start_paused = true)]
async fn marks_in_nodes_serve_a_distributor() {
    let world = World::new();
    for until in ["12:00:20", "12:00:40"] {
        let mut surroundings = world.deps("one");
        surroundings.marks = Arc::new(NodeMarks::new(world.coordination.clone()));
        let stop = Stop::new();
        let distributor = Arc::new(configured("each", 15, Missed::Coalesce));
        let task = tokio::spawn(lead_and_distribute(distributor, surroundings, stop.clone()));
        world.pass(until).await;
        stop.ask();
        tokio::time::timeout(Duration::from_secs(1), task).await.unwrap().unwrap();
    }
    assert_eq!(world.server.keys(), keys(&["12:00:15", "12:00:30"]));
    assert_eq!(world.server.asked.lock().unwrap().len(), 2);
}
