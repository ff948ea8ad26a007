//! [`Term`]: what a leader does from its election to its end.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use slipstream_action::with_causes;
use slipstream_cimi::job::NewJob;
use slipstream_coordination::Leadership;

use super::rounds::{Rounds, rounds};
use super::{Distributor, HighWaterMark, MarkError, Surroundings, complain};
use crate::pauses::{Complaint, Pauses};
use crate::registry::{RegisteredDistributor, RegisteredTerm, Registration};
use crate::stop::Stop;

/// The time of day is looked at this often while waiting for a round, because it can be set.
const LONGEST_LOOK_AWAY: Duration = Duration::from_secs(30);

/// One leadership.
pub struct Term<'a> {
    pub distributor: &'a dyn Distributor,
    pub surroundings: &'a Surroundings,
    pub leadership: &'a Leadership,
    pub registration: &'a Registration<RegisteredDistributor>,
    pub stop: &'a Stop,
}

/// Why a leader does not go on.
enum Interruption {
    /// It is asked to stop, or does not lead any more.
    Over,
    /// Another leader wrote the mark: what is known of it is no longer true.
    MarkChanged,
}

/// The mark as it is stored.
struct Stored {
    mark: HighWaterMark,
    revision: u64,
}

impl Term<'_> {
    /// Distributes each round when it is due, until leadership is lost or somebody asks to stop.
    pub async fn serve(&self) {
        loop {
            match self.serve_from_stored_mark().await {
                Err(Interruption::Over) => return,
                Err(Interruption::MarkChanged) => {
                    tracing::warn!(distributor = self.distributor.name(), "the high-water mark was changed meanwhile");
                    // So that leaders who do not know of each other's end do not fight at full speed.
                    Pauses::default().pause(self.stop).await;
                }
            }
        }
    }

    async fn serve_from_stored_mark(&self) -> Result<Infallible, Interruption> {
        let name = self.distributor.name();
        let load = || self.surroundings.marks.load(name);
        let (mark, revision) = self.insist("cannot load the high-water mark", load).await?;
        let mut stored = Stored { mark, revision };
        if stored.mark == HighWaterMark::default() {
            // Rounds count from the first start on, also if the first one falls into a time when nobody leads.
            self.save(&mut stored, HighWaterMark { pending: None, done: Some(self.surroundings.clock.now()) }).await?;
        } else if stored.revision == 0 {
            tracing::warn!(distributor = name, "the high-water mark is gone, going on from the one that is known here");
            let mark = stored.mark.clone();
            self.save(&mut stored, mark).await?;
        }
        loop {
            let now = self.surroundings.clock.now();
            let plan = rounds(&stored.mark, self.distributor.schedule(), self.distributor.missed(), now);
            self.report(&stored.mark, &plan, now);
            self.tell(&stored.mark, plan.due.first().copied().or(plan.next));
            for time in plan.due {
                if self.stop.is_asked() {
                    return Err(Interruption::Over);
                }
                let done = stored.mark.done;
                self.save(&mut stored, HighWaterMark { pending: Some(time), done }).await?;
                self.distribute(time).await?;
                self.save(&mut stored, HighWaterMark { pending: None, done: done.max(Some(time)) }).await?;
            }
            self.tell(&stored.mark, plan.next);
            self.wait_until(plan.next).await?;
        }
    }

    /// Adds the jobs of one round.
    async fn distribute(&self, round: Timestamp) -> Result<(), Interruption> {
        let name = self.distributor.name();
        let client = &self.surroundings.client;
        let jobs = self.insist("cannot find out which jobs to add", || self.distributor.jobs(client)).await?;
        for job in &jobs {
            self.insist("cannot add a job", || self.add(job, round)).await?;
        }
        tracing::debug!(distributor = name, %round, jobs = jobs.len(), "distributed");
        Ok(())
    }

    /// A job that the server calls malformed (400) is passed over: repeating it would hold up all rounds to come.
    async fn add(&self, job: &NewJob, round: Timestamp) -> Result<(), slipstream_cimi::Error> {
        let name = self.distributor.name();
        let key = key(name, round, job);
        match self.surroundings.client.add("job", &job.document(), Some(&key)).await {
            Ok(_) => Ok(()),
            Err(error) if error.refusal().is_some_and(|refusal| refusal.status == 400) => {
                let error: &(dyn std::error::Error + 'static) = &error;
                tracing::error!(distributor = name, key, error, "the job is malformed and left out");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces the mark, unless it is so already.
    async fn save(&self, stored: &mut Stored, mark: HighWaterMark) -> Result<(), Interruption> {
        if stored.mark == mark {
            return Ok(());
        }
        let name = self.distributor.name();
        let (next, revision) = (&mark, stored.revision);
        let saved = self
            .insist("cannot save the high-water mark", || async move {
                match self.surroundings.marks.save(name, next, revision).await {
                    Ok(revision) => Ok(Some(revision)),
                    Err(MarkError::Changed(_)) => Ok(None),
                    Err(error @ MarkError::Unreachable { .. }) => Err(error),
                }
            })
            .await?;
        let revision = saved.ok_or(Interruption::MarkChanged)?;
        *stored = Stored { mark, revision };
        Ok(())
    }

    /// Tries until it goes well, with growing pauses, while leading.
    async fn insist<T, E, F>(&self, what: &str, mut attempt: impl FnMut() -> F) -> Result<T, Interruption>
    where
        E: std::error::Error + 'static,
        F: Future<Output = Result<T, E>>,
    {
        let (mut pauses, mut complaint) = (Pauses::default(), Complaint::default());
        loop {
            if !self.leadership.holds() {
                return Err(Interruption::Over);
            }
            match attempt().await {
                Ok(result) => return Ok(result),
                Err(error) if complaint.is_new(with_causes(&error)) => complain(self.distributor.name(), what, &error),
                Err(error) => tracing::debug!(distributor = self.distributor.name(), %error, "{what}"),
            }
            if self.stop.is_asked() {
                return Err(Interruption::Over);
            }
            pauses.pause(self.stop).await;
        }
    }

    async fn wait_until(&self, next: Option<Timestamp>) -> Result<(), Interruption> {
        loop {
            if self.stop.is_asked() {
                return Err(Interruption::Over);
            }
            // At the end of its schedule a distributor keeps the leadership and waits to be stopped.
            let left = next.map_or(LONGEST_LOOK_AWAY, |next| {
                Duration::try_from(next.duration_since(self.surroundings.clock.now())).unwrap_or_default()
            });
            if left.is_zero() {
                return Ok(());
            }
            // Either branch is a reason to look at the time again.
            tokio::select! {
                biased;
                () = tokio::time::sleep(left.min(LONGEST_LOOK_AWAY)) => {}
                () = self.stop.asked() => {}
            }
        }
    }

    /// Tells the registry how far this leader is.
    fn tell(&self, mark: &HighWaterMark, next: Option<Timestamp>) {
        let term = RegisteredTerm { last: mark.done, next };
        self.registration.update(|distributor| distributor.term = Some(term));
    }

    fn report(&self, mark: &HighWaterMark, plan: &Rounds, now: Timestamp) {
        let name = self.distributor.name();
        if let Some(first) = plan.given_up {
            tracing::warn!(distributor = name, %first, policy = ?self.distributor.missed(), "rounds were missed");
        }
        if let Some(done) = mark.done.filter(|done| *done > now) {
            tracing::warn!(distributor = name, %done, "already distributed beyond now: was the clock set back?");
        }
    }
}

/// What makes adding a job repeatable (decision 11): the same in every repetition of a round, by whatever leader.
pub(super) fn key(distributor: &str, round: Timestamp, job: &NewJob) -> String {
    let target = job.target.as_deref().unwrap_or_default();
    format!("{distributor} {round} {target}").trim_end().to_owned()
}
