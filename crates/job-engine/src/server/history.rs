//! [`History`]: what happened to jobs within the last 90 days, in numbers.
//!
//! It is made of differences of the [`Counters`]: at the end of each second in which something was counted it takes them,
//! keeps a quarter of an hour by second in memory, and adds them to a document for each minute and each hour in which
//! something happened. Where nothing happens, nothing wakes and nothing is written. A job's way costs it the additions of the
//! counters. The documents are of kinds that no route leads to: no search of jobs finds them, and nobody but the overview
//! reads them.

mod documents;
mod memory;
pub mod numbers;
mod recent;
mod timeline;

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use slipstream_action::with_causes;
use slipstream_cimi::overview::work::{LateWrite, Span};
use slipstream_store::{Store, StoreError};
use uuid::Uuid;

use self::documents::{Documents, Period};
use self::memory::{Memory, minute_of};
use self::numbers::{Numbers, Rows};
use self::recent::Recent;
pub use self::timeline::Timeline;
use crate::process::clock::Clock;
use crate::process::metrics::counters::{Counters, OTHER, Reading};

/// So many actions have rows of their own, the others one together.
const MOST_ACTIONS: usize = 64;
/// Between attempts to write what could not be written, and at most between looks at the clock, which may be set.
const PERIOD: SignedDuration = SignedDuration::from_mins(1);
/// Between removals of what is too old.
const PURGE_PERIOD: SignedDuration = SignedDuration::from_hours(1);

/// What happened to jobs.
pub struct History {
    counters: Arc<Counters>,
    clock: Clock,
    since: Timestamp,
    state: Mutex<State>,
    /// Held by whoever writes or reads documents, so that no minute is found twice or not at all.
    documents: tokio::sync::Mutex<Written>,
}

#[derive(Default)]
struct State {
    /// What the counters said when they were last looked at.
    before: HashMap<Box<str>, Reading>,
    /// Actions that have rows of their own.
    named: HashMap<Box<str>, Arc<str>>,
    memory: Memory,
    recent: Recent,
}

/// What is known of the documents.
struct Written {
    documents: Documents,
    is_closed: bool,
    purged: Option<Timestamp>,
    /// What is in documents of minutes and not in those of their hours, by the second with which the hour begins.
    hours: BTreeMap<i64, Rows>,
    /// What was read last of each span: documents of a minute that has ended change no more.
    read: HashMap<Span, Read>,
}

struct Read {
    /// The minute in which it was read.
    minute: i64,
    begin: i64,
    found: Timeline,
}

impl History {
    /// Of what is counted from now on; of before, documents tell.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, counters: Arc<Counters>, clock: Clock) -> Self {
        let written = Written {
            documents: Documents::new(store, Uuid::new_v4()),
            is_closed: false,
            purged: None,
            hours: BTreeMap::new(),
            read: HashMap::new(),
        };
        let history = Self {
            since: clock.now(),
            counters,
            clock,
            state: Mutex::default(),
            documents: tokio::sync::Mutex::new(written),
        };
        // who counted before has told of it
        drop(history.differences());
        history
    }

    /// When this process began to count.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// A job has failed with this message.
    pub fn note_failure(&self, job: &str, action: &str, message: &str) {
        self.state().recent.note_failure(self.clock.now(), job, action, message);
    }

    /// A write came too late.
    pub fn note_late(&self, write: LateWrite) {
        self.state().recent.note_late(write);
    }

    /// Samples and writes, for ever.
    pub async fn run(&self) -> Infallible {
        let mut due: Option<Timestamp> = None;
        loop {
            let now = self.clock.now();
            if due.is_some_and(|due| now >= due) {
                self.write(minute_of(now.as_second())).await;
            }
            due = (!self.state().memory.unwritten().is_empty()).then(|| next_minute(now));
            let until_due = async {
                match due {
                    Some(due) => tokio::time::sleep(until(due, self.clock.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = until_due => {}
                () = self.counters.changed() => {
                    let second = self.clock.now().as_second();
                    if let Ok(end) = Timestamp::from_second(second + 1) {
                        tokio::time::sleep(until(end, self.clock.now())).await;
                    }
                    self.sample(second);
                }
            }
        }
    }

    /// Writes what is not written, and ends: what happens later is nowhere.
    pub async fn close(&self) {
        self.sample(self.clock.now().as_second());
        self.write(i64::MAX).await;
        self.documents.lock().await.is_closed = true;
    }

    /// What happened within this span, so far.
    pub async fn within(&self, span: Span) -> Result<Timeline, StoreError> {
        let now = self.clock.now().as_second();
        let mut timeline = Timeline::until(now, span);
        let (begin, minute) = (timeline.begin(), minute_of(now));
        let mut written = self.documents.lock().await;
        // also so that what is shown has what was answered
        self.sample(now);
        let known = written.read.get(&span).filter(|read| (read.minute, read.begin) == (minute, begin));
        if let Some(known) = known {
            timeline = known.found.clone();
        } else {
            let found = written.documents.read(timeline, period_of(span), span != Span::Quarter).await?;
            timeline = found.clone();
            written.read.insert(span, Read { minute, begin, found });
        }
        if span == Span::Season {
            for (hour, rows) in &written.hours {
                for (action, numbers) in rows {
                    timeline.add(*hour, 3_600, action, numbers);
                }
            }
        }
        self.add_memory(&mut timeline, span);
        Ok(timeline)
    }

    fn add_memory(&self, timeline: &mut Timeline, span: Span) {
        let state = self.state();
        if span == Span::Quarter {
            for (second, rows) in state.memory.seconds_from(timeline.begin()) {
                for (action, counts) in rows {
                    timeline.add_counts(*second, 1, action, *counts);
                }
            }
            for (_, rows) in state.memory.minutes_from(timeline.begin()) {
                for (action, numbers) in rows {
                    timeline.add_times(action, &numbers.wait, &numbers.run);
                }
            }
            return;
        }
        for (minute, rows) in state.memory.unwritten() {
            for (action, numbers) in rows {
                timeline.add(*minute, 60, action, numbers);
            }
        }
    }

    /// Jobs added and ended in a second, over the last minute of this process.
    #[must_use]
    pub fn per_second(&self) -> (f64, f64) {
        let begin = self.clock.now().as_second() - 60;
        let state = self.state();
        let seconds = state.memory.seconds_from(begin).flat_map(|(_, rows)| rows);
        let sum = |(added, ended): (u32, u32), (_, counts): &(Arc<str>, numbers::Counts)| {
            (added.saturating_add(counts.added), ended.saturating_add(counts.ended()))
        };
        let (added, ended) = seconds.fold((0, 0), sum);
        (f64::from(added) / 60.0, f64::from(ended) / 60.0)
    }

    /// The latest failures and late writes.
    pub fn with_recent<T>(&self, see: impl FnOnce(&Recent) -> T) -> T {
        see(&self.state().recent)
    }

    /// Takes what was counted since the last time as what happened in this second.
    fn sample(&self, second: i64) {
        let rows = self.differences();
        if !rows.is_empty() {
            self.state().memory.note(second, &rows);
        }
    }

    fn differences(&self) -> Rows {
        let State { before, named, .. } = &mut *self.state();
        let mut rows = Rows::new();
        for of in self.counters.actions() {
            let reading = of.read();
            if before.get(&of.name) == Some(&reading) {
                continue;
            }
            let none = Reading::default();
            let numbers = Numbers::between(before.get(&of.name).unwrap_or(&none), &reading);
            if !named.contains_key(&of.name) && named.len() < MOST_ACTIONS {
                named.insert(of.name.clone(), Arc::from(&*of.name));
            }
            let name = named.get(&of.name).cloned().unwrap_or_else(|| Arc::from(OTHER));
            *rows.entry(name).or_default() += &numbers;
            before.insert(of.name.clone(), reading);
        }
        rows
    }

    /// Writes the minutes that ended by this second. What cannot be written is written a minute later.
    async fn write(&self, until: i64) {
        let mut written = self.documents.lock().await;
        let minutes = self.state().memory.take_unwritten(until);
        if written.is_closed || (minutes.is_empty() && written.hours.is_empty()) {
            return;
        }
        // what is read from now on has them
        written.read.clear();
        let (failed, error) = written.add(minutes).await;
        let lost = self.state().memory.give_back(failed);
        if let Some(error) = error {
            tracing::warn!(error = with_causes(&error), lost_minutes = lost, "history not written, trying again");
            return;
        }
        let now = self.clock.now();
        if written.purged.is_none_or(|purged| now >= purged + PURGE_PERIOD || now < purged) {
            written.purged = Some(now);
            if let Err(error) = written.documents.purge(now).await {
                tracing::warn!(error = with_causes(&error), "old history not removed");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}

impl Written {
    /// Adds minutes to their documents and to those of their hours. Answers the minutes that are in neither, and why
    /// something is missing.
    async fn add(&mut self, minutes: BTreeMap<i64, Rows>) -> (BTreeMap<i64, Rows>, Option<StoreError>) {
        let (mut failed, mut reason) = (BTreeMap::new(), None);
        for (minute, rows) in minutes {
            match self.documents.add(Period::Minute, minute, &rows).await {
                Ok(()) => numbers::add(self.hours.entry(minute - minute.rem_euclid(3_600)).or_default(), &rows),
                Err(error) => {
                    failed.insert(minute, rows);
                    reason = Some(error);
                }
            }
        }
        while let Some((hour, rows)) = self.hours.pop_first() {
            if let Err(error) = self.documents.add(Period::Hour, hour, &rows).await {
                self.hours.insert(hour, rows);
                reason = Some(error);
                break;
            }
        }
        (failed, reason)
    }
}

fn period_of(span: Span) -> Period {
    match span {
        Span::Quarter | Span::Day => Period::Minute,
        Span::Season => Period::Hour,
    }
}

fn next_minute(now: Timestamp) -> Timestamp {
    Timestamp::from_second(minute_of(now.as_second()) + 60).unwrap_or(now)
}

/// How long to sleep until then. A clock that was set back makes nobody wait for longer than a minute.
fn until(then: Timestamp, now: Timestamp) -> Duration {
    then.duration_since(now).min(PERIOD).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests;
