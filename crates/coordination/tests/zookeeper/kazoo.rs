//! kazoo, unmodified, as a peer: what the original engines do to queues and elections, told line by line to a script.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use slipstream_coordination::queue::Settled;
use slipstream_coordination::session::{Mode, Operation, Session};
use slipstream_coordination::zookeeper::ZooKeeperSession;
use slipstream_coordination::{Claim, Election, Leadership, LockingQueue};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::{connect, eventually, hosts, settings, within};

const ELECTION: &str = "/election/cleanup_jobs";

/// A process with kazoo in it. Killed when dropped.
struct Kazoo {
    process: Child,
    commands: ChildStdin,
    answers: mpsc::UnboundedReceiver<String>,
}

impl Kazoo {
    async fn start(hosts: &str) -> Self {
        let python = std::env::var("SLIPSTREAM_TEST_PYTHON")
            .expect("SLIPSTREAM_TEST_PYTHON names the Python with kazoo: run the tests by `cargo xtask test`");
        let mut process = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/kazoo_peer.py"))
            .arg(hosts)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, answers) = mpsc::unbounded_channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // ends with the process
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| said.send(line)));
        let commands = process.stdin.take().unwrap();
        let mut kazoo = Self { process, commands, answers };
        assert_eq!(kazoo.answer().await, "ready");
        kazoo
    }

    /// With a queue at `/job` there.
    async fn with_queue(hosts: &str) -> Self {
        let mut kazoo = Self::start(hosts).await;
        kazoo.does("open /job").await;
        kazoo
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    async fn answer(&mut self) -> String {
        within(self.answers.recv()).await.expect("kazoo lives")
    }

    async fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer().await
    }

    async fn does(&mut self, command: &str) {
        let answer = self.ask(command).await;
        assert!(answer == "done" || answer == "True", "{command}: {answer}");
    }

    fn kill(&mut self) {
        // it may have ended by itself
        drop(self.process.kill());
        self.process.wait().unwrap();
    }
}

impl Drop for Kazoo {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn session(hosts: &str) -> Arc<ZooKeeperSession> {
    connect(settings(hosts, Duration::from_secs(10))).await
}

async fn queue(session: &Arc<ZooKeeperSession>) -> LockingQueue {
    LockingQueue::open(session.clone(), "/job", &Uuid::new_v4().simple().to_string()).await.unwrap()
}

async fn take(queue: &LockingQueue) -> Claim {
    within(queue.take()).await.unwrap()
}

fn value(claim: &Claim) -> &str {
    std::str::from_utf8(claim.value()).unwrap()
}

async fn is_empty(session: &ZooKeeperSession) -> bool {
    session.sync("/job").await.unwrap();
    session.children("/job/entries").await.unwrap().is_empty()
        && session.children("/job/taken").await.unwrap().is_empty()
}

/// Takes and consumes so many.
async fn drain(queue: &LockingQueue, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    for _ in 0..count {
        let claim = take(queue).await;
        values.push(value(&claim).to_owned());
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    values
}

/// The fault: a counter near its end, so that the folder is made anew under a kazoo that waits for entries, round after
/// round. Whoever waits hears of the next entry, and what kazoo puts then arrives.
#[tokio::test]
async fn kazoo_works_on_while_the_folder_is_made_anew() {
    let hosts = hosts().await;
    let session = session(&hosts).await;
    let queue = queue(&session).await;
    let (mut consumer, mut producer) = (Kazoo::with_queue(&hosts).await, Kazoo::with_queue(&hosts).await);
    // each put says that the counter is near its end
    queue.renew_from(0);
    for round in 0..10 {
        consumer.tell("get 60");
        // a while in which the other one comes to wait
        for _ in 0..5 {
            assert_eq!(producer.ask("length").await, "0");
        }
        let entry = queue.put(round.to_string().as_bytes(), 5).await.unwrap();
        assert_eq!(entry, "/job/entries/entry-005-0000000000", "made anew");
        assert_eq!(consumer.answer().await, round.to_string());
        consumer.does("consume").await;
        producer.does("put kazoo 7").await;
        let claim = take(&queue).await;
        assert_eq!((value(&claim), claim.entry()), ("kazoo", "/job/entries/entry-007-0000000001"));
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    assert!(is_empty(&session).await);
}

#[tokio::test]
async fn what_one_side_puts_the_other_takes_in_order() {
    let hosts = hosts().await;
    let session = session(&hosts).await;
    let (queue, mut kazoo) = (queue(&session).await, Kazoo::with_queue(&hosts).await);
    for (value, priority) in [("d", 500), ("b", 100), ("e", 999), ("c", 100), ("a", 0)] {
        queue.put(value.as_bytes(), priority).await.unwrap();
    }
    assert_eq!(kazoo.ask("length").await, "5");
    assert_eq!(kazoo.ask("drain 0.5").await, "a,b,c,d,e");
    assert!(is_empty(&session).await);
    // 100 is kazoo's default
    for command in ["put d 101", "put b", "put_all e,f 999", "put_all c,c", "put a 99"] {
        kazoo.does(command).await;
    }
    assert_eq!(drain(&queue, 7).await, ["a", "b", "c", "c", "d", "e", "f"]);
    assert!(is_empty(&session).await);
    assert_eq!(kazoo.ask("get 0.1").await, "nothing");
}

#[tokio::test]
async fn what_one_side_holds_the_other_leaves_alone() {
    let hosts = hosts().await;
    let session = session(&hosts).await;
    let (queue, mut kazoo) = (queue(&session).await, Kazoo::with_queue(&hosts).await);
    for value in ["a", "b", "c"] {
        queue.put(value.as_bytes(), 1).await.unwrap();
    }
    assert_eq!(kazoo.ask("get 30").await, "a");
    let second = take(&queue).await;
    let third = take(&queue).await;
    assert_eq!((value(&second), value(&third)), ("b", "c"));
    let mut more = tokio::spawn({
        let queue = queue.clone();
        async move { take(&queue).await }
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut more).await.is_err());
    // given back by the one, taken by the other: kazoo's here
    kazoo.does("holds_lock").await;
    kazoo.does("release").await;
    let first = more.await.unwrap();
    assert_eq!(value(&first), "a");
    // and ours there
    assert_eq!(kazoo.ask("get 0.2").await, "nothing");
    kazoo.tell("get 30");
    assert_eq!(third.release().await, Ok(Settled::Done));
    assert_eq!(kazoo.answer().await, "c");
    kazoo.does("holds_lock").await;
    kazoo.does("consume").await;
    for claim in [first, second] {
        assert_eq!(claim.consume().await, Ok(Settled::Done));
    }
    assert!(is_empty(&session).await);
}

/// The fault: kazoo's process is killed while it holds an entry.
#[tokio::test]
async fn what_a_killed_kazoo_held_is_free_again() {
    let hosts = hosts().await;
    let session = session(&hosts).await;
    let (queue, mut kazoo) = (queue(&session).await, Kazoo::with_queue(&hosts).await);
    kazoo.does("put a").await;
    assert_eq!(kazoo.ask("get 30").await, "a");
    assert_eq!(session.children("/job/taken").await.unwrap().len(), 1);
    kazoo.kill();
    assert_eq!(drain(&queue, 1).await, ["a"]);
    assert!(is_empty(&session).await);
}

#[tokio::test]
async fn two_of_each_take_every_entry_once() {
    const EACH: usize = 60;
    let hosts = hosts().await;
    let sessions = [session(&hosts).await, session(&hosts).await];
    let mut peers = [Kazoo::with_queue(&hosts).await, Kazoo::with_queue(&hosts).await];
    let mut takers = Vec::new();
    for session in &sessions {
        let queue = queue(session).await;
        let taker = queue.clone();
        takers.push(tokio::spawn(async move {
            let mut values = Vec::new();
            while let Ok(claim) = tokio::time::timeout(Duration::from_secs(2), taker.take()).await {
                let claim = claim.unwrap();
                values.push(value(&claim).to_owned());
                assert_eq!(claim.consume().await, Ok(Settled::Done));
            }
            values
        }));
        for number in 0..EACH {
            queue.put(format!("{}-{number}", takers.len()).as_bytes(), 100).await.unwrap();
        }
    }
    let values: Vec<_> = (0..EACH).map(|number| format!("k-{number}")).collect();
    peers[0].does(&format!("put_all {}", values.join(","))).await;
    for peer in &mut peers {
        peer.tell("drain 2");
    }
    let mut taken = Vec::new();
    for peer in &mut peers {
        let values = peer.answer().await;
        taken.extend(values.split(',').filter(|value| *value != "nothing").map(str::to_owned));
    }
    let by_kazoo = taken.len();
    for taker in takers {
        taken.extend(taker.await.unwrap());
    }
    assert_eq!((taken.len(), taken.iter().collect::<BTreeSet<_>>().len()), (3 * EACH, 3 * EACH));
    assert!((1..taken.len()).contains(&by_kazoo), "both sides had some: {by_kazoo}");
    assert!(is_empty(&sessions[0]).await);
}

/// Entries as both sides make them, sequences beyond 2147483647 among them: those are negative.
#[tokio::test]
async fn both_sides_have_the_same_order() {
    let names =
        ["100-0000000007", "100--2147483648", "099-2147483647", "100--2147483647", "999--0000000001", "000-0000000009"];
    let mut orders = Vec::new();
    for with_kazoo in [true, false] {
        let hosts = hosts().await;
        let session = session(&hosts).await;
        let queue = queue(&session).await;
        for name in names {
            let entry = Operation::create(format!("/job/entries/entry-{name}"), name, Mode::Persistent);
            session.commit(vec![entry]).await.unwrap();
        }
        if with_kazoo {
            let order = Kazoo::with_queue(&hosts).await.ask("drain 0.5").await;
            orders.push(order.split(',').map(str::to_owned).collect());
        } else {
            orders.push(drain(&queue, names.len()).await);
        }
        assert!(is_empty(&session).await);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0].len(), names.len());
}

/// kazoo takes whatever lies in its folder. What is no entry is left to it.
#[tokio::test]
async fn foreign_children_are_left_to_kazoo() {
    let hosts = hosts().await;
    let session = session(&hosts).await;
    let (queue, mut kazoo) = (queue(&session).await, Kazoo::with_queue(&hosts).await);
    for name in ["aaa", "entry-1000-0000000000", "entry--01-0000000000"] {
        let child = Operation::create(format!("/job/entries/{name}"), name, Mode::Persistent);
        session.commit(vec![child]).await.unwrap();
    }
    kazoo.does("put a").await;
    assert_eq!(drain(&queue, 1).await, ["a"]);
    assert_eq!(queue.entries().await, Ok(Vec::new()));
    assert_eq!(kazoo.ask("length").await, "3");
    assert_eq!(kazoo.ask("drain 0.5").await, "aaa,entry--01-0000000000,entry-1000-0000000000");
    assert!(is_empty(&session).await);
}

fn election(session: &Arc<ZooKeeperSession>) -> Election {
    Election::new(session.clone(), ELECTION, "ours")
}

/// Both sides see these, the leader first.
async fn expect_contenders(session: &Arc<ZooKeeperSession>, kazoo: &mut Kazoo, expected: &[&str]) {
    let identifiers = async || {
        let contenders = election(session).contenders().await.unwrap();
        contenders.into_iter().filter_map(|contender| contender.identifier).collect::<Vec<_>>()
    };
    eventually("they stand", || async { identifiers().await == expected }).await;
    assert_eq!(kazoo.ask(&format!("contenders {ELECTION}")).await, expected.join(","));
}

fn stand(session: &Arc<ZooKeeperSession>) -> JoinHandle<Leadership> {
    let election = election(session);
    tokio::spawn(async move { within(election.lead()).await.unwrap() })
}

#[tokio::test]
async fn leadership_is_handed_over_both_ways() {
    let hosts = hosts().await;
    let session = session(&hosts).await;
    let mut kazoo = Kazoo::start(&hosts).await;
    let mut leadership = within(election(&session).lead()).await.unwrap();
    for _ in 0..2 {
        kazoo.does(&format!("stand {ELECTION} Kenny")).await;
        expect_contenders(&session, &mut kazoo, &["ours", "Kenny"]).await;
        assert_eq!(kazoo.ask("is_leader").await, "False");
        assert!(leadership.holds());
        leadership.resign().await.unwrap();
        kazoo.does("leads").await;
        let next = stand(&session);
        expect_contenders(&session, &mut kazoo, &["Kenny", "ours"]).await;
        assert!(!next.is_finished());
        kazoo.does("resign").await;
        leadership = next.await.unwrap();
        expect_contenders(&session, &mut kazoo, &["ours"]).await;
    }
    assert!(leadership.holds());
}

/// The fault: kazoo's process is killed while it leads.
#[tokio::test]
async fn what_a_killed_kazoo_led_is_led_again() {
    let hosts = hosts().await;
    let session = session(&hosts).await;
    let mut kazoo = Kazoo::start(&hosts).await;
    kazoo.does(&format!("stand {ELECTION} Kenny")).await;
    kazoo.does("leads").await;
    let next = stand(&session);
    expect_contenders(&session, &mut kazoo, &["Kenny", "ours"]).await;
    kazoo.kill();
    assert!(next.await.unwrap().holds());
}
