//! An ensemble without a quorum: nobody can prove that it holds what it holds, and nobody can take it away.

use std::time::Duration;

use slipstream_cimi::State;
use slipstream_cimi::overview::ledger::Outcome;

use crate::load::step;
use crate::records::How;
use crate::site::{Options, Site};
use crate::support::{eventually, lasts};

/// Short, so that the time without a quorum is several of them.
const SESSION: Duration = Duration::from_secs(2);
/// How long there is no quorum, unless `FAULTS_QUORUM_SECONDS` says otherwise.
const OUTAGE: u64 = 9;
/// Jobs that run all the while.
const JOBS: usize = 4;

/// The fault: two of three members are paused (`SIGSTOP`), then, in a second turn, killed and started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_minute_without_quorum_cancels_nothing() {
    let outage = Duration::from_secs(crate::number("FAULTS_QUORUM_SECONDS").unwrap_or(OUTAGE));
    let options = Options { members: Some(3), session_timeout: SESSION, ..Options::default() };
    let mut site = Site::start(options).await;
    for kills in [false, true] {
        let length = outage + Duration::from_secs(4);
        let mut ids = Vec::new();
        for _ in 0..JOBS {
            ids.push(site.client.add("job", &step("loud", length), None).await.expect("added"));
        }
        for id in &ids {
            eventually("the job runs", async || (site.ledger(id).await?.attempts.len() == 1).then_some(())).await;
        }
        let ensemble = site.ensemble();
        for member in [0, 1] {
            if kills {
                ensemble.kill(member);
            } else {
                ensemble.pause(member);
            }
        }
        lasts(outage / 2).await;
        // progress is written meanwhile, and jobs are added
        let late = site.client.add("job", &step("loud", Duration::ZERO), None).await.expect("added without a quorum");
        let progress = async |id: &str| site.client.get(id).await.ok()?.get("progress")?.as_u64();
        let before = progress(&ids[0]).await;
        eventually("progress goes on", async || (progress(&ids[0]).await > before).then_some(())).await;
        assert_eq!(site.state(&late).await, Some(State::Queued));
        lasts(outage / 2).await;
        assert_eq!(site.names("/").await, None, "nobody is answered by the member that is left");
        let ensemble = site.ensemble();
        for member in [0, 1] {
            if kills { ensemble.restart(member).await } else { ensemble.resume(member) }
        }
        ensemble.wait_until_serving().await;
        ids.push(late);
        for id in &ids {
            eventually("the job ends", async || (site.state(id).await? == State::Success).then_some(())).await;
            let ledger = site.ledger(id).await.expect("there");
            let outcomes: Vec<_> = ledger.attempts.iter().map(|attempt| attempt.outcome).collect();
            assert_eq!((outcomes.as_slice(), ledger.lost), (&[Some(Outcome::Finished)][..], 0), "{ledger:?}");
            assert_eq!(ledger.refused_total, 0, "{ledger:?}");
        }
        let cancelled: Vec<_> = site.records().into_iter().filter(|it| it.how == How::Cancelled).collect();
        assert!(cancelled.is_empty(), "{cancelled:?}");
    }
}
