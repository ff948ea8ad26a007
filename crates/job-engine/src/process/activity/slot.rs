//! [`Slot`] and [`AttemptNotes`]: what is known of a job that runs.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::lock;

/// Where an executor has a job, one at a time.
#[derive(Debug, Default)]
pub struct Slot {
    attempt: Mutex<Option<Arc<AttemptNotes>>>,
    is_taking: AtomicBool,
}

impl Slot {
    /// The slot waits for a job, until this is dropped.
    #[must_use]
    pub fn take(&self) -> Taking<'_> {
        self.is_taking.store(true, Ordering::SeqCst);
        Taking(self)
    }

    /// The slot has this job, until this is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>, job: String) -> Busy {
        let attempt = Arc::new(AttemptNotes::new(job));
        *lock(&self.attempt) = Some(attempt.clone());
        Busy { slot: self.clone(), attempt }
    }

    /// The attempt that is under way, if there is one.
    #[must_use]
    pub fn attempt(&self) -> Option<Arc<AttemptNotes>> {
        lock(&self.attempt).clone()
    }

    /// Whether it has a job.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        lock(&self.attempt).is_some()
    }

    /// Whether it waits for a job.
    #[must_use]
    pub fn is_taking(&self) -> bool {
        self.is_taking.load(Ordering::SeqCst)
    }
}

/// A slot that waits for a job.
#[derive(Debug)]
pub struct Taking<'a>(&'a Slot);

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        self.0.is_taking.store(false, Ordering::SeqCst);
    }
}

/// A slot that has a job.
#[derive(Debug)]
pub struct Busy {
    slot: Arc<Slot>,
    attempt: Arc<AttemptNotes>,
}

impl Busy {
    /// What it has.
    #[must_use]
    pub fn notes(&self) -> &Arc<AttemptNotes> {
        &self.attempt
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.slot.attempt).take();
    }
}

/// What an attempt is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It reads the job and sets it RUNNING.
    Begins,
    /// Another job that was lost before is begun first.
    Waits,
    /// The action runs.
    Runs,
    /// The action was cancelled.
    Cancelled,
    /// The action was cancelled, does not end, and keeps its slot.
    Held,
    /// How it ended is being written.
    Reports,
    /// The claim is given back, or consumed.
    Settles,
}

impl Step {
    const ALL: [Self; 7] =
        [Self::Begins, Self::Waits, Self::Runs, Self::Cancelled, Self::Held, Self::Reports, Self::Settles];

    /// In words for people.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Begins => "asking the server for its job",
            Self::Waits => "waiting for its turn, as the job was lost before",
            Self::Runs => "running",
            Self::Cancelled => "cancelled, waiting for its end",
            Self::Held => "cancelled, does not end",
            Self::Reports => "writing its end: request to the server",
            Self::Settles => "settling its claim",
        }
    }
}

/// What is noted of an attempt. What changes is in atomics, so that noting it costs next to nothing.
pub struct AttemptNotes {
    job: String,
    begun: Instant,
    lease: OnceLock<String>,
    action: OnceLock<String>,
    is_rerun: AtomicBool,
    /// A [`Step`], and since when.
    step: Stamped,
    /// Percent and one, and since when; 0 if nothing was reported.
    progress: Stamped,
    /// The thread that polls a native action right now.
    thread: AtomicI32,
    program: Mutex<Option<Program>>,
}

/// A program that does a job.
#[derive(Clone)]
pub struct Program {
    /// Its name, for people.
    pub name: String,
    /// Its process id.
    pub process: i32,
    /// What it says itself of what it is doing, if it can.
    pub own_words: Option<OwnWords>,
}

/// Asks a program, and does not wait for what it says: that is for the answer.
pub type OwnWords = Arc<dyn Fn() -> Answer + Send + Sync>;

/// What a program says that was asked, in lines for people; waits until then, so it is called where blocking is allowed.
pub type Answer = Box<dyn FnOnce(Instant) -> Vec<String>>;

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, process, .. } = self;
        formatter.debug_struct("Program").field("name", name).field("process", process).finish_non_exhaustive()
    }
}

impl AttemptNotes {
    fn new(job: String) -> Self {
        Self {
            job,
            begun: Instant::now(),
            lease: OnceLock::new(),
            action: OnceLock::new(),
            is_rerun: AtomicBool::new(false),
            step: Stamped::default(),
            progress: Stamped::default(),
            thread: AtomicI32::new(0),
            program: Mutex::default(),
        }
    }

    /// One that no slot has, and at which nobody looks.
    #[must_use]
    pub fn unseen() -> Arc<Self> {
        Arc::new(Self::new(String::new()))
    }

    /// Id of the job.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    /// How long ago it began.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The lease that tells this attempt from others of the job.
    pub fn note_lease(&self, lease: String) {
        self.lease.get_or_init(|| lease);
    }

    /// Its lease, once it is known.
    #[must_use]
    pub fn lease(&self) -> Option<&str> {
        self.lease.get().map(String::as_str)
    }

    /// What the job is.
    pub fn note_job(&self, action: &str, is_rerun: bool) {
        self.action.get_or_init(|| action.to_owned());
        self.is_rerun.store(is_rerun, Ordering::Relaxed);
    }

    /// Name of the action, once it is known.
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.get().map(String::as_str)
    }

    /// Whether another attempt was lost before.
    #[must_use]
    pub fn is_rerun(&self) -> bool {
        self.is_rerun.load(Ordering::Relaxed)
    }

    /// It does this from now on.
    pub fn note_step(&self, step: Step) {
        self.step.set(step as u8, self.age());
    }

    /// What it does, and for how long.
    #[must_use]
    pub fn step(&self) -> (Step, Duration) {
        let (step, since) = self.step.get();
        (Step::ALL[usize::from(step)], self.age().saturating_sub(since))
    }

    /// It has reported something, perhaps so many percent.
    pub fn note_progress(&self, percent: Option<u8>) {
        let before = self.progress.get().0;
        self.progress.set(percent.map_or(before, |percent| percent + 1), self.age());
    }

    /// How many percent it has reported last, and how long ago.
    #[must_use]
    pub fn progress(&self) -> Option<(u8, Duration)> {
        let (percent, since) = self.progress.get();
        Some((percent.checked_sub(1)?, self.age().saturating_sub(since)))
    }

    /// This thread polls the action, until the answer is dropped.
    #[must_use]
    pub fn polled_here(&self) -> Polled<'_> {
        self.thread.store(this_thread(), Ordering::Relaxed);
        Polled(self)
    }

    /// The thread that polls the action right now.
    #[must_use]
    pub fn thread(&self) -> Option<i32> {
        Some(self.thread.load(Ordering::Relaxed)).filter(|thread| *thread != 0)
    }

    /// This program does the job, until the answer is dropped.
    #[must_use]
    pub fn done_by(self: &Arc<Self>, program: Program) -> DoneBy {
        *lock(&self.program) = Some(program);
        DoneBy(self.clone())
    }

    /// The program that does the job, if one does.
    #[must_use]
    pub fn program(&self) -> Option<Program> {
        lock(&self.program).clone()
    }
}

impl fmt::Debug for AttemptNotes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, action, .. } = self;
        formatter.debug_struct("AttemptNotes").field("job", job).field("action", action).finish_non_exhaustive()
    }
}

/// A thread that polls an action.
#[derive(Debug)]
pub struct Polled<'a>(&'a AttemptNotes);

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Relaxed);
    }
}

/// A program that does a job.
#[derive(Debug)]
pub struct DoneBy(Arc<AttemptNotes>);

impl Drop for DoneBy {
    fn drop(&mut self) {
        lock(&self.0.program).take();
    }
}

/// Id of this thread; asking for it is a system call.
fn this_thread() -> i32 {
    thread_local! {
        static ID: i32 = rustix::thread::gettid().as_raw_nonzero().get();
    }
    ID.with(|id| *id)
}

/// A small number, and the time at which it was set, in one atomic.
#[derive(Debug, Default)]
struct Stamped(AtomicU64);

impl Stamped {
    const BITS_OF_TIME: u32 = 56;

    fn set(&self, number: u8, since: Duration) {
        // milliseconds of two million years
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX) & ((1 << Self::BITS_OF_TIME) - 1);
        self.0.store(u64::from(number) << Self::BITS_OF_TIME | since, Ordering::Relaxed);
    }

    fn get(&self) -> (u8, Duration) {
        let both = self.0.load(Ordering::Relaxed);
        let number = u8::try_from(both >> Self::BITS_OF_TIME).expect("eight bits are left");
        (number, Duration::from_millis(both & ((1 << Self::BITS_OF_TIME) - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_read_as_it_was_noted() {
        let attempt = AttemptNotes::unseen();
        assert_eq!(attempt.step().0, Step::Begins);
        for step in Step::ALL {
            attempt.note_step(step);
            assert_eq!(attempt.step().0, step);
        }
    }

    #[test]
    fn a_message_without_percent_keeps_them_and_counts_as_progress() {
        let attempt = AttemptNotes::unseen();
        assert_eq!(attempt.progress(), None);
        attempt.note_progress(Some(100));
        attempt.note_progress(None);
        assert_eq!(attempt.progress().map(|(percent, _)| percent), Some(100));
    }

    #[test]
    fn a_slot_has_a_job_and_a_job_its_program_until_they_have_gone() {
        let slot = Arc::new(Slot::default());
        let busy = slot.begin("job/1".to_owned());
        let attempt = slot.attempt().unwrap();
        assert_eq!((attempt.job(), slot.is_busy()), ("job/1", true));
        let program = |process| Program { name: "python3".to_owned(), process, own_words: None };
        for process in [7, 8] {
            let done = attempt.done_by(program(process));
            assert_eq!(attempt.program().map(|program| program.process), Some(process));
            drop(done);
            assert!(attempt.program().is_none());
        }
        drop(busy);
        assert!(slot.attempt().is_none() && !slot.is_busy());
    }

    #[test]
    fn the_thread_is_known_while_it_polls() {
        let attempt = AttemptNotes::unseen();
        let polled = attempt.polled_here();
        assert_eq!(attempt.thread(), Some(rustix::thread::gettid().as_raw_nonzero().get()));
        drop(polled);
        assert_eq!(attempt.thread(), None);
    }
}
