//! Cases of [`Election`] and [`Leadership`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use slipstream_coordination::session::{Mode, Operation, make_path};
use slipstream_coordination::{Election, Error, Leadership};
use tokio::task::JoinHandle;

use crate::harness::{Client, Fault, Harness, Plan, eventually, settle, within};
use crate::queue::poll_at_most;

const PATH: &str = "/election/cleanup_jobs";

fn election(client: &Client, identifier: &str) -> Election {
    Election::new(client.session.clone(), PATH, identifier)
}

async fn lead(client: &Client, identifier: &str) -> Leadership {
    within(election(client, identifier).lead()).await.unwrap()
}

/// A candidate that waits behind others.
async fn stand(client: &Client, identifier: &'static str, observer: &Client) -> JoinHandle<Leadership> {
    let election = election(client, identifier);
    let candidate = tokio::spawn(async move { election.lead().await.unwrap() });
    eventually("the candidate stands", || async { contenders(observer).await.iter().any(|who| who == identifier) })
        .await;
    candidate
}

async fn contenders(observer: &Client) -> Vec<String> {
    let contenders = election(observer, "").contenders().await.unwrap();
    contenders.into_iter().map(|contender| contender.identifier.unwrap()).collect()
}

async fn expect_contenders(observer: &Client, expected: &[&str]) {
    eventually(&format!("{expected:?} stand"), || async { contenders(observer).await == expected }).await;
}

async fn nodes(observer: &Client) -> Vec<String> {
    observer.session.children(PATH).await.unwrap()
}

pub async fn candidates_lead_in_order(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let clients = [harness.connect().await, harness.connect().await, harness.connect().await];
    assert_eq!(contenders(&observer).await, Vec::<String>::new());
    let first = lead(&clients[0], "first").await;
    let second = stand(&clients[1], "second", &observer).await;
    let third = stand(&clients[2], "third", &observer).await;
    expect_contenders(&observer, &["first", "second", "third"]).await;
    settle().await;
    assert!(first.holds() && !second.is_finished() && !third.is_finished());
    first.resign().await.unwrap();
    let second = within(second).await.unwrap();
    settle().await;
    assert!(second.holds() && !third.is_finished());
    second.resign().await.unwrap();
    assert!(within(third).await.unwrap().holds());
}

pub async fn layout_is_kazoos(harness: &dyn Harness) {
    let client = harness.connect().await;
    let observer = harness.operator().await;
    let leadership = lead(&client, "Kenny").await;
    let name = nodes(&observer).await.concat();
    let (prefix, sequence) = name.split_once("__lock__").unwrap();
    assert!(prefix.len() == 32 && prefix.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')), "{name}");
    assert_eq!(sequence, "0000000000");
    assert_eq!(observer.session.data(&format!("{PATH}/{name}")).await.unwrap().data, b"Kenny");
    leadership.resign().await.unwrap();
    assert!(nodes(&observer).await.is_empty());
}

pub async fn resignation_hands_over(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let client = harness.connect().await;
    for _ in 0..3 {
        let leadership = lead(&client, "a").await;
        assert!(leadership.holds());
        // the answer comes after the deed
        leadership.resign().await.unwrap();
        assert!(nodes(&observer).await.is_empty());
    }
}

pub async fn a_dropped_leadership_is_resigned(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let (client, other) = (harness.connect().await, harness.connect().await);
    let leadership = lead(&client, "a").await;
    let next = stand(&other, "b", &observer).await;
    drop(leadership);
    assert!(within(next).await.unwrap().holds());
    expect_contenders(&observer, &["b"]).await;
}

pub async fn expiry_hands_over(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let (client, other) = (harness.connect().await, harness.connect().await);
    let leadership = lead(&client, "a").await;
    let next = stand(&other, "b", &observer).await;
    client.expire().await;
    assert!(!leadership.holds());
    within(leadership.lost()).await;
    assert!(within(next).await.unwrap().holds());
    assert_eq!(within(leadership.resign()).await, Ok(()));
    assert_eq!(within(election(&client, "a").lead()).await.map(drop), Err(Error::Expired));
}

pub async fn suspension_ends_leadership_for_ever(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let (client, other) = (harness.connect().await, harness.connect().await);
    let leadership = lead(&client, "a").await;
    let next = stand(&other, "b", &observer).await;
    client.suspend().await;
    assert!(!leadership.holds());
    within(leadership.lost()).await;
    settle().await;
    assert!(!next.is_finished(), "nobody is elected while the node lives");
    client.resume().await;
    assert!(!leadership.holds());
    // the node goes by itself, and the candidate must stand again
    assert!(within(next).await.unwrap().holds());
    expect_contenders(&observer, &[]).await;
    assert!(lead(&client, "a").await.holds());
    assert!(!leadership.holds());
    assert_eq!(within(leadership.resign()).await, Ok(()));
}

pub async fn a_brief_suspension_ends_it_too(harness: &dyn Harness) {
    let client = harness.connect().await;
    let leadership = lead(&client, "a").await;
    client.suspend().await;
    client.resume().await;
    assert!(!leadership.holds());
    within(leadership.lost()).await;
    assert_eq!(within(leadership.resign()).await, Ok(()));
}

pub async fn a_node_deleted_by_a_stranger_ends_leadership(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let client = harness.connect().await;
    let leadership = lead(&client, "a").await;
    let node = format!("{PATH}/{}", nodes(&observer).await.concat());
    observer.session.commit(vec![Operation::delete(node)]).await.unwrap();
    within(leadership.lost()).await;
    assert!(!leadership.holds());
    assert!(lead(&client, "a").await.holds());
}

/// The fault is the drop; what must be hit is a candidate whose node exists, alone and behind another.
pub async fn a_dropped_candidacy_leaves_no_node(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let leader = harness.operator().await;
    let mut dropped_in_between = 0;
    for behind in [false, true] {
        let leadership = if behind { Some(lead(&leader, "leader").await) } else { None };
        let others: &[&str] = if behind { &["leader"] } else { &[] };
        for times in 0..40 {
            let (client, _) = harness.connect().await.with(Plan::None);
            let elected = poll_at_most(harness, times, election(&client, "dropped").lead()).await.is_some();
            let stands = contenders(&observer).await.len() > others.len();
            dropped_in_between += usize::from(!elected && stands);
            // behind a creation that was under way when the candidate went
            while client.session.sync("/").await.is_err() {}
            expect_contenders(&observer, others).await;
        }
        drop(leadership);
        expect_contenders(&observer, &[]).await;
    }
    assert!(dropped_in_between >= 4, "only {dropped_in_between}");
}

pub async fn foreign_children_do_not_count(harness: &dyn Harness) {
    let client = harness.connect().await;
    make_path(&*client.session, PATH).await.unwrap();
    for name in ["0000000000", "a__rlock__0000000000", "a__lock__12", "a__lock__000000000x"] {
        let create = Operation::create(format!("{PATH}/{name}"), "foreign", Mode::Persistent);
        client.session.commit(vec![create]).await.unwrap();
    }
    assert!(lead(&client, "a").await.holds());
    settle().await;
    // another's lock does, whatever stands before the infix
    let create = Operation::create(format!("{PATH}/kazoo__lock__"), "Kenny", Mode::EphemeralSequential);
    client.session.commit(vec![create]).await.unwrap();
    assert_eq!(contenders(&client).await, ["Kenny"]);
    assert!(poll_at_most(harness, 200, election(&client, "b").lead()).await.is_none());
}

/// The fault: a candidate restored by a backup tool, without a session. It is told by its path, and waited for where
/// kazoo would, until somebody deletes it; where only we stand it is passed over.
pub async fn a_candidate_without_a_session_is_told(harness: &dyn Harness) {
    let (client, observer) = (harness.connect().await, harness.operator().await);
    make_path(&*observer.session, PATH).await.unwrap();
    let restored = format!("{PATH}/{}__lock__0000000000", "a".repeat(32));
    observer.session.commit(vec![Operation::create(&restored, "gone", Mode::Persistent)]).await.unwrap();
    let first = &election(&observer, "").contenders().await.unwrap()[0];
    assert!(first.is_stray && first.node == restored, "{first:?}");
    let shared = Arc::new(election(&client, "a"));
    let mut strays = shared.strays();
    let waiting = tokio::spawn({
        let shared = shared.clone();
        async move { shared.lead().await.unwrap() }
    });
    within(strays.wait_for(|strays| *strays == [restored.clone()])).await.unwrap();
    settle().await;
    assert!(!waiting.is_finished());
    let alone = election(&client, "b").passing_over_strays();
    let passing = {
        let mut strays = alone.strays();
        let leading = tokio::spawn(async move { alone.lead().await.unwrap() });
        // behind the other one, which waits
        within(strays.wait_for(|strays| !strays.is_empty())).await.unwrap();
        leading
    };
    waiting.abort();
    assert!(within(passing).await.unwrap().holds());
    let waiting = tokio::spawn(async move { shared.lead().await.unwrap() });
    expect_contenders(&observer, &["gone", "a"]).await;
    observer.session.commit(vec![Operation::delete(&restored)]).await.unwrap();
    assert!(within(waiting).await.unwrap().holds());
    assert!(strays.borrow().is_empty());
}

pub async fn only_the_next_one_wakes(harness: &dyn Harness) {
    let observer = harness.operator().await;
    let clients = [harness.connect().await, harness.connect().await, harness.connect().await];
    let [first, second, third] = clients;
    let (third, faults) = third.with(Plan::None);
    let leadership = lead(&first, "first").await;
    let second = stand(&second, "second", &observer).await;
    let third = stand(&third, "third", &observer).await;
    settle().await;
    assert_eq!(faults.asked("watch"), 0, "nobody watches the whole election");
    let asked = faults.asked("children") + faults.asked("data");
    leadership.resign().await.unwrap();
    assert!(within(second).await.unwrap().holds());
    // the leadership of the second was dropped with that line, and only now the third may look
    assert_eq!(faults.asked("children") + faults.asked("data"), asked);
    assert!(within(third).await.unwrap().holds());
    assert!(faults.asked("children") + faults.asked("data") > asked);
}

pub async fn a_lost_answer_to_the_candidacy_is_adopted(harness: &dyn Harness) {
    let observer = harness.operator().await;
    for fault in [Fault::Answer, Fault::Request] {
        let (client, faults) = harness.connect().await.with(Plan::Once("create candidate", fault));
        make_path(&*observer.session, PATH).await.unwrap();
        let leadership = lead(&client, "a").await;
        assert_eq!(faults.lost(), 1);
        assert_eq!(nodes(&observer).await.len(), 1);
        assert_eq!(faults.asked("create candidate"), if fault == Fault::Answer { 1 } else { 2 });
        leadership.resign().await.unwrap();
        assert!(nodes(&observer).await.is_empty());
    }
}

/// Who leads at present, as the leaders themselves would say.
#[derive(Default)]
struct Throne {
    leaders: Mutex<Vec<Option<Leadership>>>,
    elections: Mutex<u64>,
}

impl Throne {
    fn check(&self) {
        let holding = self.leaders.lock().unwrap().iter().flatten().filter(|leadership| leadership.holds()).count();
        assert!(holding <= 1, "{holding} leaders at once");
    }

    fn replace(&self, index: usize, leadership: Option<Leadership>) -> Option<Leadership> {
        *self.elections.lock().unwrap() += u64::from(leadership.is_some());
        let before = std::mem::replace(&mut self.leaders.lock().unwrap()[index], leadership);
        self.check();
        before
    }
}

/// Leads again and again for a while; stands anew with a new session after an expiry.
async fn candidate(index: usize, seed: u64, throne: Arc<Throne>, seats: Arc<Vec<tokio::sync::Mutex<Arc<Client>>>>) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let client = seats[index].lock().await.clone();
        let Ok(leadership) = election(&client, &index.to_string()).lead().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        throne.replace(index, Some(leadership));
        for _ in 0..random.random_range(1..10) {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
            throne.check();
        }
        let leadership = throne.replace(index, None);
        if random.random() {
            drop(leadership);
        } else {
            leadership.unwrap().resign().await.unwrap();
        }
    }
}

pub async fn never_two_leaders(harness: &dyn Harness) {
    let mut faults = [0; 3];
    let mut elections = 0_u64;
    let rounds = harness.rounds(2000);
    for seed in 0..10 {
        let throne = Arc::new(Throne::default());
        let mut seats = Vec::new();
        for _ in 0..4 {
            seats.push(tokio::sync::Mutex::new(Arc::new(harness.connect().await)));
            throne.leaders.lock().unwrap().push(None);
        }
        let seats = Arc::new(seats);
        let mut candidates = tokio::task::JoinSet::new();
        for index in 0..4 {
            candidates.spawn(candidate(index, seed * 10 + index as u64, throne.clone(), seats.clone()));
        }
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..rounds / 10 {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
            let mut seat = seats[random.random_range(0..4)].lock().await;
            let fault = [0, 1, 1, 2, 2, 2][random.random_range(0..6)];
            match fault {
                0 => seat.suspend().await,
                2 => seat.resume().await,
                _ => {
                    seat.expire().await;
                    *seat = Arc::new(harness.connect().await);
                }
            }
            faults[fault] += 1;
            throne.check();
        }
        elections += *throne.elections.lock().unwrap();
        if let Some(ended) = candidates.try_join_next() {
            ended.unwrap();
        }
        candidates.abort_all();
        for seat in seats.iter() {
            seat.lock().await.expire().await;
        }
    }
    assert!(faults.iter().all(|count| *count >= rounds / 8), "{faults:?}");
    assert!(elections >= rounds / 10, "only {elections} elections");
}
