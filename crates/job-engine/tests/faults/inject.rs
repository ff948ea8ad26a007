//! [`inject`]: lets a fault happen, and mends it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use slipstream_job_engine::internals::process::Clock;
use slipstream_test_ensemble::Fault;

use crate::impair;
use crate::meddle;
use crate::part::{Part, Way};
use crate::plan::{Kind, Plan};
use crate::records::{How, Record};
use crate::site::Site;
use crate::support::{eventually, lasts};

/// What was done.
#[derive(Clone, Debug)]
pub struct Injected {
    /// How often: processes hit, connections cut, chunks lost or late.
    pub times: u64,
    /// Whose it was, if it was one executor's alone.
    pub victim: Option<String>,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Jobs that were added for it.
    pub jobs: Vec<String>,
}

/// Lets the planned fault happen, under these jobs if there are any. Returns once it is over and everything was started
/// again.
pub async fn inject(site: &mut Site, plan: &Plan, anchors: &[String]) -> Injected {
    let length = plan.length;
    let mut jobs = Vec::new();
    let (victim, from, times) = match plan.kind {
        Kind::ExecutorKilled | Kind::ExecutorPaused | Kind::ExecutorWithoutZooKeeper | Kind::ExecutorWithoutApi => {
            let victim = victim(site, plan, anchors).await;
            let (name, from) = (site.executors[victim].name.clone(), now());
            (Some(name), from, hit_part(&mut site.executors[victim], plan).await)
        }
        Kind::LeaderKilled | Kind::LeaderPaused | Kind::LeaderWithoutZooKeeper => {
            let leader = site.leader().await;
            let from = now();
            (None, from, hit_part(&mut site.distributors[leader], plan).await)
        }
        Kind::ServerKilled | Kind::ServerPaused | Kind::ServerWithoutZooKeeper => {
            let from = now();
            (None, from, hit_part(&mut site.server, plan).await)
        }
        Kind::MemberKilled | Kind::MemberPaused | Kind::QuorumLost => {
            let from = now();
            let times = hit_members(site, plan).await;
            return Injected { times, victim: None, from, until: now(), jobs };
        }
        Kind::ZooKeeperWiped => {
            victim(site, plan, anchors).await;
            let from = now();
            site.ensemble().wipe().await;
            (None, from, 1)
        }
        Kind::EverythingSlow => {
            let from = now();
            (None, from, slow_down(site, plan.delay(), length).await)
        }
        Kind::EverythingAway => {
            victim(site, plan, anchors).await;
            let from = now();
            (None, from, impair::take_everything_away(site, length).await)
        }
        Kind::SlotsBlocked => {
            let from = now();
            victim(site, plan, anchors).await;
            (None, from, impair::until_slots_are_free(site, anchors).await)
        }
        Kind::LogUnread => {
            let from = now();
            (None, from, impair::read_no_log(site, plan).await)
        }
        Kind::ServerClockAhead => {
            let from = now();
            (None, from, impair::set_clock_ahead(site, length, &mut jobs).await)
        }
        Kind::UnreadableEntry => {
            let from = now();
            (None, from, meddle::put_unreadable(site, length).await)
        }
        Kind::QueuedByKazoo => {
            let from = now();
            (None, from, meddle::queue_again(site, &mut jobs).await)
        }
        Kind::TwoStores => {
            let from = now();
            (None, from, meddle::start_another_store(site).await)
        }
    };
    Injected { times, victim, from, until: now(), jobs }
}

fn now() -> Timestamp {
    Clock::system().now()
}

/// The first executor, from the planned one on, that runs one of these jobs once all of them run, or any job if there are
/// none: so that something is there to be lost.
async fn victim(site: &Site, plan: &Plan, jobs: &[String]) -> usize {
    let executors = site.executors.len();
    let in_turn = || (0..executors).map(|offset| (plan.victim + offset) % executors);
    eventually("executors run what is to be lost", async || {
        let mut running: BTreeMap<String, String> = BTreeMap::new();
        for Record { job, executor, how, .. } in site.records() {
            match how {
                How::Begun { .. } => drop(running.insert(job, executor)),
                How::Cancelled | How::Done => drop(running.remove(&job)),
            }
        }
        let all = jobs.iter().all(|job| running.contains_key(job));
        running.retain(|job, _| jobs.is_empty() || jobs.contains(job));
        let has_some = |index: &usize| running.values().any(|executor| *executor == site.executors[*index].name);
        if all { in_turn().find(has_some) } else { None }
    })
    .await
}

/// Hits one process, or one of its ways. Answers how often.
async fn hit_part(part: &mut Part, plan: &Plan) -> u64 {
    match plan.kind {
        Kind::ExecutorKilled | Kind::LeaderKilled | Kind::ServerKilled => {
            let process = part.id();
            part.process().kill();
            assert!(!part.process().runs(), "{} was killed", part.name);
            lasts(plan.length).await;
            part.restart();
            u64::from(part.id() != process)
        }
        Kind::ExecutorPaused | Kind::LeaderPaused | Kind::ServerPaused => {
            part.process().pause().await;
            lasts(plan.length).await;
            let stood_still = part.process().state() == Some('T');
            part.process().resume();
            u64::from(stood_still)
        }
        Kind::ExecutorWithoutApi => cut_off(part, Way::Api, plan.cut(), plan.length).await,
        _ => cut_off(part, Way::ZooKeeper, plan.cut(), plan.length).await,
    }
}

async fn cut_off(part: &Part, way: Way, fault: Fault, length: Duration) -> u64 {
    let before = part.injected(way);
    part.set(way, fault);
    lasts(length).await;
    let times = part.injected(way) - before;
    part.set(way, Fault::None);
    times
}

async fn slow_down(site: &Site, delay: Fault, length: Duration) -> u64 {
    let parts = || std::iter::once(&site.server).chain(&site.executors).chain(&site.distributors);
    let ways = [Way::ZooKeeper, Way::Api];
    let injected = || parts().map(|part| ways.map(|way| part.injected(way)).iter().sum::<u64>()).sum::<u64>();
    let before = injected();
    parts().for_each(|part| ways.iter().for_each(|way| part.set(*way, delay)));
    lasts(length).await;
    parts().for_each(|part| ways.iter().for_each(|way| part.set(*way, Fault::None)));
    injected() - before
}

/// Kills or pauses one member, or two.
async fn hit_members(site: &mut Site, plan: &Plan) -> u64 {
    let members = plan.kind.members();
    let count = if plan.kind == Kind::QuorumLost { 2 } else { 1 };
    let victims: Vec<usize> = (0..count).map(|offset| (plan.victim + offset) % members).collect();
    let kills = plan.kind == Kind::MemberKilled || (plan.kind == Kind::QuorumLost && plan.manner % 2 == 1);
    let ensemble = site.ensemble();
    let processes: Vec<u32> = victims.iter().map(|victim| ensemble.process_id(*victim)).collect();
    for victim in &victims {
        if kills { ensemble.kill(*victim) } else { ensemble.pause(*victim) }
    }
    lasts(plan.length).await;
    for victim in &victims {
        if kills { ensemble.restart(*victim).await } else { ensemble.resume(*victim) }
    }
    ensemble.wait_until_serving().await;
    let changed = victims.iter().zip(processes).filter(|(victim, id)| !kills || ensemble.process_id(**victim) != *id);
    changed.count() as u64
}
