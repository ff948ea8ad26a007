//! Jobs whose action this executor does not have (decision 17): they are left to the executors that have it, and given up
//! once none has had it for long. When an executor last had an action is kept in nodes that outlive sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use slipstream_cimi::Job;
use slipstream_cimi::overview::executors::RegisteredExecutor;
use slipstream_coordination::session::{Error, Mode, Node, Operation, Session, existing, make_path};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::offers::Offered;
use super::worker_session::WorkerSession;
use crate::process::clock::{Age, Clock};
use crate::process::paths;
use crate::process::registry::registered;

/// How often executors write down that they have an action, at most: after this time none has it any more.
const WRITTEN_AGAIN: Duration = Duration::from_mins(5);
/// How long what was seen of others is as good as what would be seen now.
const SEEN_AGAIN: Duration = Duration::from_secs(1);
/// Most actions whose last time is kept; the oldest go.
const MOST_KEPT: usize = 1000;
/// Most nodes that one transaction writes.
const MOST_IN_ONE: usize = 100;
/// Longest name of an action that names its node as it is.
const LONGEST_NAME: usize = 200;

/// Who has an action that this executor has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absence {
    /// An executor that is registered has it, or that is not known.
    Elsewhere,
    /// No executor has it, and at one something failed to load, which may be it.
    NotLoaded,
    /// No executor has had it for this long, as far as it is known.
    For(Duration),
}

/// What is known of the executors that have other actions.
pub(super) struct UnknownActions {
    /// When this executor began.
    begun: Instant,
    clock: Clock,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    at: Instant,
    actions: BTreeSet<String>,
    /// Whether anything failed to load at an executor.
    has_failed: bool,
    /// When a claim of an unregistered executor was last seen: one of the original, or one that begins.
    stranger: Option<Instant>,
}

impl UnknownActions {
    pub(super) fn new(clock: Clock) -> Self {
        Self { begun: Instant::now(), clock, seen: Mutex::default() }
    }

    /// Whether another executor has the action of this job, whose entry was first seen here so long ago.
    pub(super) async fn absence(&self, session: &WorkerSession, job: &Job, first_seen: Duration) -> Absence {
        let action = &job.action;
        let (stranger, listed) = match self.look(session, action).await {
            Ok(Look::Nowhere { stranger, listed }) => (stranger, listed),
            Ok(Look::NotLoaded) => return Absence::NotLoaded,
            Ok(Look::Listed) => return Absence::Elsewhere,
            Err(error) => {
                debug!(action, %error, "cannot read which executors have the action");
                return Absence::Elsewhere;
            }
        };
        // a job that was added under a clock that was ahead is as old as what is known of it here
        let added = since(job.created, &self.clock).unwrap_or(first_seen);
        let ages = [Some(self.begun.elapsed()), Some(added), stranger, listed];
        Absence::For(ages.into_iter().flatten().min().unwrap_or_default())
    }

    /// Who has the action now, or when somebody last had it.
    async fn look(&self, WorkerSession { session, claimant, .. }: &WorkerSession, action: &str) -> Result<Look, Error> {
        let mut seen = self.seen.lock().await;
        if seen.as_ref().is_none_or(|seen| seen.at.elapsed() >= SEEN_AGAIN) {
            let stranger = seen.as_ref().and_then(|seen| seen.stranger);
            *seen = Some(Seen::now(&**session, claimant, stranger).await?);
        }
        let Some(Seen { actions, has_failed, stranger, .. }) = &*seen else { return Ok(Look::Listed) };
        if actions.contains(action) {
            return Ok(Look::Listed);
        }
        if *has_failed {
            return Ok(Look::NotLoaded);
        }
        let listed = written(session.data(&path(action)).await)?.and_then(|written| since(written, &self.clock));
        let stranger = stranger.map(|seen| seen.elapsed());
        Ok(Look::Nowhere { stranger, listed: listed.map(|listed| listed.saturating_sub(WRITTEN_AGAIN)) })
    }
}

/// What is seen of an action.
enum Look {
    /// An executor has it.
    Listed,
    /// None has it, and at one something failed to load.
    NotLoaded,
    /// None has it: how long ago an executor was seen that does not register, and how long ago the action was listed.
    Nowhere { stranger: Option<Duration>, listed: Option<Duration> },
}

impl Seen {
    async fn now(session: &dyn Session, own: &str, before: Option<Instant>) -> Result<Self, Error> {
        let executors = registered::<RegisteredExecutor>(session, paths::EXECUTORS).await?.all;
        let claims = existing(session.children(paths::TAKEN).await)?.unwrap_or_default();
        let paths = claims.iter().map(|name| format!("{}/{name}", paths::TAKEN)).collect();
        let claims = session.nodes(paths).await?;
        let is_known = |claimant: &[u8]| {
            claimant == own.as_bytes() || executors.iter().any(|(registered, _)| registered.as_bytes() == claimant)
        };
        // a claim without a session was restored by a backup tool, and says nothing of executors that live
        let living = claims.into_iter().filter_map(|found| found.ok()?).filter(|claim| claim.is_ephemeral);
        let is_stranger = living.into_iter().any(|claim| !is_known(&claim.data));
        let at = Instant::now();
        let stranger = if is_stranger { Some(at) } else { before };
        let has_failed = executors.iter().any(|(_, executor)| !executor.loaded.failed.is_empty());
        let actions = executors.into_iter().flat_map(|(_, executor)| executor.actions).collect();
        Ok(Self { at, actions, has_failed, stranger })
    }
}

/// How long ago that was; nothing if the clock that wrote it is not to be believed.
fn since(stored: Timestamp, clock: &Clock) -> Option<Duration> {
    match Age::of(stored, clock.now()) {
        Age::Past(age) => Duration::try_from(age).ok(),
        Age::Ahead(_) => Some(Duration::ZERO),
        Age::Unbelievable(_) => None,
    }
}

/// Writes down again and again that an executor has these actions, until it is dropped. What cannot be written is written
/// later: no job depends on it.
pub(super) async fn keep_listed(session: &dyn Session, offers: &Offered, clock: &Clock) {
    let mut offers = offers.clone();
    loop {
        match list(session, &offers.names(), clock).await {
            Ok(()) => {}
            Err(Error::Expired) => return std::future::pending().await,
            Err(error) => debug!(%error, "cannot publish this executor's actions"),
        }
        tokio::select! {
            () = sleep(WRITTEN_AGAIN) => {}
            () = offers.changed() => {}
        }
    }
}

/// Writes down those that no executor has written down lately.
async fn list(session: &dyn Session, actions: &[String], clock: &Clock) -> Result<(), Error> {
    let found = session.nodes(actions.iter().map(|action| path(action)).collect()).await?;
    let now = clock.now();
    let (mut new, mut old) = (Vec::new(), Vec::new());
    for (action, found) in actions.iter().zip(found) {
        let is_fresh = |data: &[u8]| {
            let age = parsed(data).and_then(|written| since(written, clock));
            age.is_some_and(|age| age < WRITTEN_AGAIN / 2)
        };
        let data = now.to_string().into_bytes();
        match found {
            Ok(Some(node)) if is_fresh(&node.data) => {}
            Ok(Some(_)) => old.push(Operation::Set { path: path(action), data, version: None }),
            Ok(None) => new.push(Operation::create(path(action), data, Mode::Persistent)),
            Err(cause) => debug!(action, %cause, "cannot read when an executor last had the action"),
        }
    }
    if !new.is_empty() {
        make_path(session, paths::ACTIONS).await?;
        make_room(session, new.len()).await?;
    }
    let operations = [new, old].concat();
    for some in operations.chunks(MOST_IN_ONE) {
        write(session, some).await?;
    }
    Ok(())
}

/// Does what can be done: one that is refused keeps no other from being written. Another executor may have made its node
/// meanwhile, and has written the same then.
async fn write(session: &dyn Session, operations: &[Operation]) -> Result<(), Error> {
    match session.commit(operations.to_vec()).await {
        Err(error) if error.refusal().is_some() && operations.len() > 1 => {
            for operation in operations {
                Box::pin(write(session, std::slice::from_ref(operation))).await?;
            }
        }
        Err(error) if error.refusal().is_some() => debug!(%error, "cannot publish that this executor has the action"),
        answer => drop(answer?),
    }
    Ok(())
}

/// Deletes the oldest nodes, so that there is room for `wanted` new ones.
async fn make_room(session: &dyn Session, wanted: usize) -> Result<(), Error> {
    let names = session.children(paths::ACTIONS).await?;
    let too_many = (names.len() + wanted).saturating_sub(MOST_KEPT);
    if too_many == 0 {
        return Ok(());
    }
    let paths: Vec<String> = names.iter().map(|name| format!("{}/{name}", paths::ACTIONS)).collect();
    let found = session.nodes(paths.clone()).await?;
    let written =
        |found: slipstream_coordination::session::Found| found.ok().flatten().and_then(|node| parsed(&node.data));
    // what cannot be read is older than all
    let mut kept: Vec<_> = found.into_iter().map(written).zip(paths).collect();
    kept.sort_unstable();
    for (_, path) in kept.into_iter().take(too_many) {
        match session.commit(vec![Operation::delete(path)]).await {
            Err(error) if error.refusal().is_none() => return Err(error),
            // another executor was faster, or one that may delete it will
            _ => {}
        }
    }
    Ok(())
}

/// When an executor last had an action, as its node says. One that is not there, or may not be read, says nothing.
fn written(read: Result<Node, Error>) -> Result<Option<Timestamp>, Error> {
    match read {
        Err(error) if error.refusal().is_some() => Ok(None),
        read => Ok(parsed(&read?.data)),
    }
}

fn parsed(data: &[u8]) -> Option<Timestamp> {
    std::str::from_utf8(data).ok()?.parse().ok()
}

/// The node that keeps when an executor last had an action. A name that is long, or has characters that a path may not have,
/// is shown as its digest.
fn path(action: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let is_name = action.bytes().all(is_plain) && action.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if is_name && action.len() <= LONGEST_NAME {
        return format!("{}/{action}", paths::ACTIONS);
    }
    format!("{}/sha256={}", paths::ACTIONS, hex::encode(Sha256::digest(action.as_bytes())))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use slipstream_coordination::Embedded;
    use slipstream_coordination::session::{Cause, is_path};

    use super::*;

    const BEGIN: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn every_name_of_an_action_names_a_node_of_its_own() {
        let long = "a".repeat(LONGEST_NAME + 1);
        let names = ["dance", "dance.v2", ".", "..", "", "a/b", "ä", "a b", "sha256=", &long, "\u{0}"];
        let paths: BTreeSet<String> = names.iter().map(|name| path(name)).collect();
        assert_eq!(paths.len(), names.len());
        assert!(paths.iter().all(|path| is_path(path)), "{paths:?}");
        assert!(paths.contains("/slipstream/actions/dance"));
    }

    async fn kept(session: &dyn Session) -> Vec<String> {
        let mut names = session.children(paths::ACTIONS).await.unwrap();
        names.sort_unstable();
        names
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_listed_is_kept_over_sessions_and_written_at_most_so_often() {
        let tree = Embedded::new();
        let (session, clock) = (tree.session(), Clock::starting_at(BEGIN));
        let actions = ["a".to_owned(), "b".to_owned()];
        list(&session, &actions, &clock).await.unwrap();
        session.close().await;
        let session = tree.session();
        assert_eq!(kept(&session).await, ["a", "b"]);
        tokio::time::advance(WRITTEN_AGAIN / 3).await;
        list(&session, &actions, &clock).await.unwrap();
        assert_eq!(session.data(&path("a")).await.unwrap().version, 0, "another executor wrote it just now");
        tokio::time::advance(WRITTEN_AGAIN / 3).await;
        list(&session, &actions, &clock).await.unwrap();
        let node = session.data(&path("a")).await.unwrap();
        assert_eq!(since(parsed(&node.data).unwrap(), &clock), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_go_when_there_are_too_many() {
        let tree = Embedded::new();
        let (session, clock) = (tree.session(), Clock::starting_at(BEGIN));
        let names = |from: usize, count: usize| (from..from + count).map(|number| format!("a{number:04}")).collect();
        let first: Vec<String> = names(0, MOST_KEPT);
        list(&session, &first, &clock).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        list(&session, &first[1..], &Clock::showing(|| BEGIN + SignedDuration::from_hours(1))).await.unwrap();
        let second: Vec<String> = names(MOST_KEPT, 1);
        list(&session, &second, &clock).await.unwrap();
        let kept = kept(&session).await;
        assert_eq!((kept.len(), kept.first().map(String::as_str)), (MOST_KEPT, Some("a0001")));
    }

    #[test]
    fn a_time_that_is_far_ahead_says_nothing() {
        let clock = Clock::showing(|| BEGIN);
        assert_eq!(since(BEGIN - SignedDuration::from_secs(7), &clock), Some(Duration::from_secs(7)));
        assert_eq!(since(BEGIN + SignedDuration::from_secs(7), &clock), Some(Duration::ZERO));
        assert_eq!(since(BEGIN + SignedDuration::from_hours(1), &clock), None);
    }

    #[tokio::test]
    async fn one_that_is_refused_keeps_no_other_from_being_written() {
        let session = Embedded::new().session();
        make_path(&session, paths::ACTIONS).await.unwrap();
        let create = |name: &str| Operation::create(path(name), "", Mode::Persistent);
        session.commit(vec![create("sing")]).await.unwrap();
        write(&session, &[create("dance"), create("sing"), create("jump")]).await.unwrap();
        assert_eq!(kept(&session).await, ["dance", "jump", "sing"]);
        session.expire();
        assert!(matches!(write(&session, &[create("run"), create("swim")]).await, Err(Error::Expired)));
    }

    #[test]
    fn what_may_not_be_read_says_nothing_and_an_outage_is_one() {
        let refused = |cause| Err(Error::Refused { path: path("dance"), index: 0, cause });
        for cause in [Cause::NoNode, Cause::NotAllowed] {
            assert_eq!(written(refused(cause)).unwrap(), None, "{cause}");
        }
        assert!(written(Err(Error::ConnectionLoss)).is_err());
        let node = |data: &str| Node { data: data.into(), version: 0, created: 0, is_ephemeral: false, modified: None };
        assert_eq!(written(Ok(node(&BEGIN.to_string()))).unwrap(), Some(BEGIN));
        assert_eq!(written(Ok(node("garbage"))).unwrap(), None);
    }
}
