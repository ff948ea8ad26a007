//! The distributor keeps its schedule, whoever leads.

use std::fmt::Write;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipstream_coordination::session::{Operation, Session};
use slipstream_job_engine::internals::distributor::HighWaterMark;
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::paths;
use slipstream_test_ensemble::Fault;

use crate::leaders::{handed_over, intruders, said};
use crate::part::Way;
use crate::rounds;
use crate::site::{Options, Site, TICK};
use crate::support::{eventually, write_for_the_page};

const SESSION: Duration = Duration::from_secs(2);
/// Leaders that have to go.
const CHANGES: usize = 20;
/// How late an answer to a round's add is that a leader is killed within.
const SLOW: Duration = Duration::from_millis(300);

/// How a leader is made to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Asked to stop, as by its unit, and started again.
    Asked,
    /// Its node in the election is deleted.
    Deposed,
    /// Paused until somebody else leads.
    Paused,
    /// Killed in the middle of a round, and started again.
    Killed,
}

impl Change {
    /// As the page calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked to stop (`SIGTERM`)",
            Self::Deposed => "deposed: its node in the election is deleted",
            Self::Paused => "paused (`SIGSTOP`) until another one leads",
            Self::Killed => "killed (`kill -9`) in the middle of a round",
        }
    }
}

/// Most are quick; the slow ones come now and then.
fn change(number: usize) -> Change {
    match number % 10 {
        3 => Change::Paused,
        7 => Change::Killed,
        number if number % 2 == 0 => Change::Asked,
        _ => Change::Deposed,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_survives_leader_changes() {
    let options = Options { executors: 1, distributors: 3, session_timeout: SESSION, ..Options::default() };
    let mut site = Site::start(options).await;
    let session = site.session().await;
    let begun = site.begun;
    let mut times = Vec::new();
    for number in 0..CHANGES {
        times.push((change(number), force(&mut site, &*session, change(number)).await));
    }
    let until = Clock::system().now();
    // a round after all of it shows that it goes on
    let whole = eventually("all rounds are there", async || {
        let seen = rounds::read(&site.client, begun, Clock::system().now()).await?;
        (seen.missing(until + SignedDuration::from_secs(1)).is_empty()).then_some(seen)
    })
    .await;
    assert_eq!(whole.strangers, Vec::<String>::new(), "jobs of no round");
    let told = said(&site.distributors);
    assert_eq!(intruders(&told, &site.stopped), Vec::<String>::new());
    let mut page = format!("{} rounds in {CHANGES} leaderships, none missed, none doubled.\n\n", whole.rounds.len());
    page.push_str("| The leader is | Times | Best | Median | Worst |\n|---|--:|--:|--:|--:|\n");
    for wanted in [Change::Asked, Change::Deposed, Change::Paused, Change::Killed] {
        let mut these: Vec<Duration> =
            times.iter().filter(|(change, _)| *change == wanted).map(|(_, time)| *time).collect();
        these.sort_unstable();
        let (count, worst) = (these.len(), these[these.len() - 1]);
        let [best, median, last] = [these[0], these[count / 2], worst].map(|time| time.as_millis());
        writeln!(page, "| {} | {count} | {best} ms | {median} ms | {last} ms |", wanted.name())
            .expect("a text takes more");
        let limit = match wanted {
            Change::Asked | Change::Deposed => Duration::ZERO,
            Change::Paused | Change::Killed => SESSION,
        };
        // a session's time-out, the tick of its end, and what a busy machine needs
        assert!(worst <= limit + Duration::from_secs(5), "{wanted:?}: {these:?}");
    }
    println!("{page}");
    write_for_the_page("leaders.md", &page);
}

/// Makes the leader go, and answers how long nobody led.
async fn force(site: &mut Site, session: &dyn Session, change: Change) -> Duration {
    // so that there is somebody to hand over to
    let standing = async || Some(candidates(session).await?.len() == site.distributors.len());
    eventually("everybody stands", async || standing().await?.then_some(())).await;
    let leader = site.leader().await;
    let name = site.distributors[leader].name.clone();
    let from = match change {
        Change::Asked => {
            let from = now();
            assert!(site.distributors[leader].process().stop().await.success());
            from
        }
        Change::Deposed => {
            let node = eventually("the leader has a node", async || first_candidate(session).await).await;
            let from = now();
            session.commit(vec![Operation::delete(node)]).await.expect("deleted");
            from
        }
        Change::Paused => {
            site.distributors[leader].process().pause().await;
            site.stopped.push(now());
            now()
        }
        Change::Killed => kill_within_a_round(site, session, leader).await,
    };
    let taken = eventually("another one leads", async || handed_over(&said(&site.distributors), &name, from)).await;
    let part = &mut site.distributors[leader];
    match change {
        Change::Asked | Change::Killed => part.restart(),
        Change::Paused => {
            assert_eq!(part.process().state(), Some('T'), "it stood still all the while");
            part.process().resume();
        }
        Change::Deposed => {}
    }
    taken
}

/// The round is pending and its add under way, as the server's answers are slow.
async fn kill_within_a_round(site: &mut Site, session: &dyn Session, leader: usize) -> Timestamp {
    site.distributors[leader].set(Way::Api, Fault::Delay(SLOW));
    let pending = eventually("a round is pending", async || mark(session).await?.pending).await;
    let from = now();
    site.distributors[leader].process().kill();
    site.distributors[leader].set(Way::Api, Fault::None);
    assert_eq!(mark(session).await.and_then(|mark| mark.pending), Some(pending), "killed in the middle of a round");
    from
}

async fn mark(session: &dyn Session) -> Option<HighWaterMark> {
    let node = session.data(&format!("{}/{TICK}", paths::MARKS)).await.ok()?;
    serde_json::from_slice(&node.data).ok()
}

/// The node of the candidate that leads.
async fn first_candidate(session: &dyn Session) -> Option<String> {
    let sequence = |name: &String| name.rsplit_once("__lock__").map(|(_, digits)| digits.to_owned());
    let first = candidates(session).await?.into_iter().min_by_key(sequence)?;
    Some(format!("{}/noop/{first}", paths::ELECTION))
}

async fn candidates(session: &dyn Session) -> Option<Vec<String>> {
    session.children(&format!("{}/noop", paths::ELECTION)).await.ok()
}

fn now() -> Timestamp {
    Clock::system().now()
}
