//! Faults of the ground that a site stands on: everything is away at once, threads do not yield, logs are not read, clocks
//! are wrong.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipstream_coordination::session::{Mode, Operation};
use slipstream_job_engine::internals::process::Clock;
use slipstream_job_engine::internals::process::paths;

use crate::load::step;
use crate::plan::Plan;
use crate::records::How;
use crate::site::Site;
use crate::support::{eventually, lasts, text};

/// How far the clock of a server is ahead that is wrong.
pub const AHEAD: SignedDuration = SignedDuration::from_hours(1);
/// Jobs that wait while the clock is wrong, each for a moment: more than there are slots.
const WAITING: usize = 60;

/// Kills server and ensemble at once, and starts them again after so long. Answers how many processes were killed.
pub async fn take_everything_away(site: &mut Site, length: Duration) -> u64 {
    site.server.process().kill();
    let ensemble = site.ensemble();
    let member = ensemble.process_id(0);
    ensemble.kill(0);
    lasts(length).await;
    let ensemble = site.ensemble();
    ensemble.restart(0).await;
    let killed = u64::from(ensemble.process_id(0) != member) + u64::from(!site.server.process().runs());
    site.server.restart();
    killed
}

/// Waits until actions that do not yield, one in each slot, have ended. Answers how many ran at the same time.
pub async fn until_slots_are_free(site: &Site, jobs: &[String]) -> u64 {
    let done = || {
        let records = site.records().into_iter();
        records.filter(|record| record.how == How::Done && jobs.contains(&record.job)).count()
    };
    let blocked = jobs.len() - done();
    let all_done = async || (done() == jobs.len()).then_some(());
    eventually("what blocks the slots has ended", all_done).await;
    blocked as u64
}

/// Starts the server, or an executor, again so that nobody reads what it says, and so again that somebody does. Answers 1 if
/// there was no room for its next line all the while that it worked.
pub async fn read_no_log(site: &mut Site, plan: &Plan) -> u64 {
    let victim = plan.victim;
    let part = if plan.manner.is_multiple_of(2) { &mut site.server } else { &mut site.executors[victim] };
    let talkative = |command: &mut Command| {
        command.env("SLIPSTREAM_LOG", "trace");
    };
    part.restart_as(true, talkative).await;
    let choked = async || part.process().is_choked().then_some(());
    eventually("there is no room for its next line", choked).await;
    lasts(plan.length).await;
    let choked = part.process().is_choked();
    // it hears that it is to stop all the same
    part.restart_as(false, |_| {}).await;
    u64::from(choked)
}

/// Starts the server again with a clock that is ahead, and then with one that is right, after what waits was lost. Answers
/// how many entries were.
pub async fn set_clock_ahead(site: &mut Site, length: Duration, jobs: &mut Vec<String>) -> u64 {
    let library = fake_time();
    let preload = |command: &mut Command| {
        command.env("LD_PRELOAD", library).env("FAKETIME", "+1h").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    };
    site.server.restart_as(false, preload).await;
    site.until_it_answers().await;
    lasts(length).await;
    for _ in 0..WAITING {
        let job = step("quiet", Duration::from_millis(600));
        jobs.push(site.client.add("job", &job, None).await.expect("the server answers"));
    }
    let created = site.client.get(&jobs[0]).await.expect("it was added");
    let created: Timestamp = text(&created, "created").parse().expect("a time");
    assert!(created > Clock::system().now() + AHEAD / 2, "the clock is ahead: {created}");
    site.server.process().stop().await;
    let lost = lose_what_waits(site).await;
    site.server.restart();
    site.until_it_answers().await;
    lost
}

/// Deletes all entries that nobody holds, as one does who empties the queue. Answers how many.
async fn lose_what_waits(site: &Site) -> u64 {
    let session = site.session().await;
    let mut lost = 0;
    for name in session.children(paths::ENTRIES).await.expect("the ensemble answers") {
        let claim = format!("{}/{name}", paths::TAKEN);
        let deletion = [
            // nobody takes it meanwhile
            Operation::create(claim.clone(), "", Mode::Ephemeral),
            Operation::delete(format!("{}/{name}", paths::ENTRIES)),
            Operation::delete(claim),
        ];
        lost += u64::from(session.commit(deletion.to_vec()).await.is_ok());
    }
    session.close().await;
    lost
}

/// The library of Debian's package `faketime`.
fn fake_time() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a system has libraries");
    let found =
        folders.flatten().map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.exists());
    found.expect("libfaketime is installed: run the tests by `cargo xtask test`")
}
