//! [`Term`]: what a leader does from its election to its end.

mod adding;

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use slipstream_action::with_causes;

use slipstream_cimi::overview::distributors::GivenUp;
use slipstream_coordination::Leadership;
use slipstream_coordination::retry::{Complaint, Pauses};
use tokio::time::Instant;

use super::rounds::{Rounds, rounds, settled};
use super::{Deps, Distributor, MarkError, MarkRevision, complain};
use crate::marks::HighWaterMark;
use crate::process::clock::Age;
use crate::process::registry::{RegisteredDistributor, Registration};
use crate::process::stop::Stop;

/// The time of day is looked at this often while waiting for a round, because it can be set.
const LONGEST_LOOK_AWAY: Duration = Duration::from_secs(30);

/// One leadership.
pub struct Term<'a> {
    pub distributor: &'a dyn Distributor,
    pub deps: &'a Deps,
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
    revision: MarkRevision,
}

/// What was logged already: each is logged once.
#[derive(Default)]
struct Logged {
    ahead: Option<Timestamp>,
    given_up: Option<Timestamp>,
    /// All that was given up.
    all_given_up: Option<GivenUp>,
    later: Option<Timestamp>,
}

impl Term<'_> {
    /// Distributes each round when it is due, until leadership is lost or somebody asks to stop.
    pub async fn serve(&self) {
        loop {
            match self.serve_from_stored_mark().await {
                Err(Interruption::Over) => return,
                Err(Interruption::MarkChanged) => {
                    tracing::warn!("the high-water mark was changed meanwhile");
                    // So that leaders who do not know of each other's end do not fight at full speed.
                    self.stop.pause(Pauses::default().take()).await;
                }
            }
        }
    }

    async fn serve_from_stored_mark(&self) -> Result<Infallible, Interruption> {
        let name = self.distributor.name();
        let load = || self.deps.marks.load(name);
        let (mark, revision) = self.insist("cannot load the high-water mark", load).await?;
        let mut stored = Stored { mark, revision };
        if stored.revision == MarkRevision::None && stored.mark != HighWaterMark::default() {
            tracing::warn!("high-water mark is gone, continuing from the last known one");
        }
        let schedule = self.distributor.schedule().to_string();
        let mut logged = Logged::default();
        loop {
            let now = self.deps.clock.now();
            let counts = settled(&stored.mark, &schedule, now);
            self.log_how_it_counts(&stored.mark, &counts, &mut logged);
            // also so that the time from which rounds count is known if the first one falls into a time when nobody leads
            self.save(&mut stored, counts).await?;
            let plan = rounds(&stored.mark, self.distributor.schedule(), self.distributor.missed(), now);
            self.log_what_is_missed(&stored.mark, &plan, now, &mut logged);
            self.report(&stored.mark, plan.due.first().copied().or(plan.next), &logged);
            for time in plan.due {
                if self.stop.is_asked() {
                    return Err(Interruption::Over);
                }
                // by a clock that was set back since, something else is due
                if self.deps.clock.now() < now {
                    break;
                }
                let begun = HighWaterMark { pending: Some(time), ..stored.mark.clone() };
                self.save(&mut stored, begun).await?;
                self.distribute(time).await?;
                let done = stored.mark.done.max(Some(time));
                let ended = HighWaterMark { pending: None, done, ..stored.mark.clone() };
                self.save(&mut stored, ended).await?;
            }
            self.report(&stored.mark, plan.next, &logged);
            self.wait_until(plan.next, now, &stored).await?;
        }
    }

    /// Adds the jobs of one round.
    async fn distribute(&self, round: Timestamp) -> Result<(), Interruption> {
        let (client, name) = (&self.deps.client, self.distributor.name());
        let plan = self.insist("cannot find out which jobs to add", || self.distributor.plan(client)).await?;
        let next = self.distributor.schedule().next(round);
        let gap = next.and_then(|next| Duration::try_from(next.duration_since(round)).ok()).unwrap_or_default();
        let span = self.distributor.spread().map_or(Duration::ZERO, |share| gap.mul_f64(share));
        let begun = Round { time: round, jobs: plan.jobs.len() as u64, left_out: plan.left_out, ..Round::default() };
        self.tell(&begun);
        let added = self.add_all(&format!("{name} {round}"), &plan.jobs, span).await?;
        let now = self.deps.clock.now();
        let is_late = next.is_some_and(|next| next < now);
        if is_late {
            tracing::warn!(%round, policy = ?self.distributor.missed(), "the round took longer than until the next one");
        }
        let late = is_late.then(|| "it took longer than until the next round".to_owned());
        let remark = added.first_refusal.or_else(|| begun.left_out.first.clone()).or(late);
        self.tell(&Round { ended: Some(now), added: added.added, refused: added.refused, remark, ..begun });
        self.deps.metrics.distributor().distributed(name);
        tracing::debug!(%round, jobs = plan.jobs.len(), "distributed");
        Ok(())
    }

    /// Writes into the registry how far a round is, in the place of what was said of it before.
    fn tell(&self, round: &Round) {
        self.registration.update(|distributor| {
            let rounds = &mut distributor.term.get_or_insert_default().rounds;
            match rounds.first_mut().filter(|first| first.time == round.time && first.run == round.run) {
                Some(first) => *first = round.clone(),
                None => rounds.insert(0, round.clone()),
            }
            rounds.truncate(MOST_ROUNDS);
        });
    }

    /// Replaces the mark, unless it is so already.
    async fn save(&self, stored: &mut Stored, mark: HighWaterMark) -> Result<(), Interruption> {
        if stored.mark == mark && stored.revision != MarkRevision::None {
            return Ok(());
        }
        let name = self.distributor.name();
        let (next, revision) = (&mark, stored.revision);
        let saved = self
            .insist("cannot save the high-water mark", || async move {
                match self.deps.marks.save(name, next, revision).await {
                    Ok(revision) => Ok(Some(revision)),
                    Err(MarkError::Changed(_)) => Ok(None),
                    Err(error) => Err(error),
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
                Err(error) if complaint.is_new(with_causes(&error)) => {
                    complain(what, &error);
                    let problem = format!("{what}: {}", with_causes(&error));
                    self.registration.update(|distributor| distributor.problem = Some(problem));
                }
                Err(error) => tracing::debug!(%error, "{what}"),
            }
            if self.stop.is_asked() {
                return Err(Interruption::Over);
            }
            self.stop.pause(pauses.take()).await;
        }
    }

    /// Waits within a round; a stop ends it, as the next leader repeats what is left.
    async fn pause_until(&self, time: Instant) -> Result<(), Interruption> {
        self.stop.pause(time.saturating_duration_since(Instant::now())).await;
        if self.stop.is_asked() || !self.leadership.holds() { Err(Interruption::Over) } else { Ok(()) }
    }

    /// Also ends when the clock has been set back since it was `latest`: then the mark may be ahead of it.
    async fn wait_until(
        &self,
        next: Option<Timestamp>,
        mut latest: Timestamp,
        stored: &Stored,
    ) -> Result<(), Interruption> {
        loop {
            if self.stop.is_asked() {
                return Err(Interruption::Over);
            }
            let now = self.deps.clock.now();
            // At the end of its schedule a distributor keeps the leadership and waits to be stopped.
            let left =
                next.map_or(LONGEST_LOOK_AWAY, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
            if left.is_zero() || now < latest {
                return Ok(());
            }
            latest = now;
            if stored.mark.ahead.is_some() {
                self.look_whether_reset(stored).await?;
            }
            self.stop.pause(left.min(LONGEST_LOOK_AWAY)).await;
        }
    }

    /// A mark that is not believed is one that a person may reset.
    async fn look_whether_reset(&self, stored: &Stored) -> Result<(), Interruption> {
        let load = || self.deps.marks.load(self.distributor.name());
        let (_, revision) = self.insist("cannot load the high-water mark", load).await?;
        if revision == stored.revision { Ok(()) } else { Err(Interruption::MarkChanged) }
    }

    /// Writes into the registry how far this leader is.
    fn report(&self, mark: &HighWaterMark, next: Option<Timestamp>, logged: &Logged) {
        let problem = mark.ahead.map(|ahead| {
            format!(
                "ignoring its high-water mark of {ahead}, too far in the future: if this clock is right, reset it \
                 with `slipstream-job distributors reset {}`",
                self.distributor.name()
            )
        });
        self.registration.update(|distributor| {
            let term = distributor.term.get_or_insert_default();
            (term.last, term.next, term.given_up) = (mark.done, next, logged.all_given_up);
            distributor.problem = problem;
        });
    }

    fn log_how_it_counts(&self, stored: &HighWaterMark, counts: &HighWaterMark, logged: &mut Logged) {
        if let Some(ahead) = counts.ahead.filter(|ahead| logged.ahead != Some(*ahead)) {
            tracing::error!(
                %ahead,
                "ignoring a high-water mark too far in the future, rounds count from now on: was a clock set back? if \
                 this one is right, reset it with `slipstream-job distributors reset {}`",
                self.distributor.name()
            );
        }
        logged.ahead = counts.ahead;
        if stored.done.is_some() && stored.schedule != counts.schedule {
            let (before, schedule) = (stored.schedule.as_deref().unwrap_or("not known"), &counts.schedule);
            tracing::info!(before, schedule, "schedule changed, rounds count from now on");
        }
    }

    fn log_what_is_missed(&self, mark: &HighWaterMark, plan: &Rounds, now: Timestamp, logged: &mut Logged) {
        if let Some(first) = plan.given_up.filter(|first| logged.given_up != Some(*first)) {
            self.deps.metrics.distributor().gave_up(self.distributor.name());
            tracing::warn!(%first, policy = ?self.distributor.missed(), "missed rounds");
            let before = logged.all_given_up.unwrap_or(GivenUp { times: 0, first: now, latest: now });
            logged.all_given_up = Some(GivenUp { times: before.times + 1, latest: now, ..before });
        }
        logged.given_up = plan.given_up;
        let is_ahead = |done: &Timestamp| !matches!(Age::of(*done, now), Age::Past(_));
        if let Some(done) = mark.done.filter(|done| is_ahead(done) && logged.later != Some(*done)) {
            tracing::warn!(%done, "last round is in the future: was the clock set back?");
            logged.later = Some(done);
        }
    }
}
