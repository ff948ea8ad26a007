//! [`Opening`]: what the opening of a store is at, where that takes long, and a way to stop it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::ffi::{self, SQLITE_INTERRUPT};
use rusqlite::{Connection, ErrorCode, InterruptHandle};

/// The opening of a store, for whoever waits for it. A file of a version before is copied, checked and written anew first,
/// which may take minutes. Clones share it.
#[derive(Clone, Default)]
pub struct Opening(Arc<Inner>);

#[cfg(test)]
type Look = Box<dyn FnMut(&Opening, Step) + Send>;

#[derive(Default)]
struct Inner {
    is_stopped: AtomicBool,
    under_way: Mutex<UnderWay>,
    /// Somebody stops it.
    asked: Condvar,
    /// What a test does at the beginning of each step.
    #[cfg(test)]
    look: Mutex<Option<Look>>,
}

#[derive(Default)]
struct UnderWay {
    step: Option<Step>,
    interrupt: Option<InterruptHandle>,
}

/// What takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Somebody else reads the file, which is not changed meanwhile.
    Waiting,
    /// The file is copied, of which so many pages are done.
    Copying(Done),
    /// The copy is read, to see whether it is sound.
    Checking,
    /// The file is written anew in the form of this version, of which so many documents are done.
    Writing(Done),
    /// What makes it quick to search is written, of which so many indexes are done.
    Indexing(Done),
    /// The index of what somebody has declared is written, of which so many documents of a type are done.
    Declaring(Done),
}

/// How much of a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// So many.
    pub done: u64,
    /// Of so many.
    pub all: u64,
}

impl Done {
    /// Of hundred.
    #[must_use]
    pub fn percent(self) -> u8 {
        u8::try_from(self.done.saturating_mul(100) / self.all.max(1)).unwrap_or(100)
    }
}

impl Opening {
    /// Has what takes long end soon, and the opening with an error that says so. To be asked again for as long as the
    /// opening goes on: what begins at this very moment does not hear it.
    pub fn stop(&self) {
        self.0.is_stopped.store(true, Ordering::SeqCst);
        self.0.asked.notify_all();
        if let Some(interrupt) = &self.under_way().interrupt {
            interrupt.interrupt();
        }
    }

    /// What it is at, if that takes long.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        self.under_way().step
    }

    /// Waits so long for whoever reads the file; an error if it is to stop.
    pub(super) fn wait(&self, time: Duration) -> rusqlite::Result<()> {
        self.begin(Step::Waiting, None)?;
        drop(self.0.asked.wait_timeout(self.under_way(), time));
        self.begin(Step::Waiting, None)
    }

    /// Notes that so many of all pages are copied; an error if it is to stop.
    pub(super) fn copied(&self, pages: u64, all: u64) -> rusqlite::Result<()> {
        self.begin(Step::Copying(Done { done: pages, all }), None)
    }

    /// The same of documents that are written anew.
    pub(super) fn written(&self, documents: u64, all: u64) -> rusqlite::Result<()> {
        self.begin(Step::Writing(Done { done: documents, all }), None)
    }

    /// The same of documents whose declared attributes are indexed.
    pub(super) fn declared(&self, done: Done) -> rusqlite::Result<()> {
        self.begin(Step::Declaring(done), None)
    }

    /// Does something that takes long with a connection, by which it is stopped.
    pub(super) fn during<T>(
        &self,
        step: Step,
        connection: &Connection,
        work: impl FnOnce() -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.begin(step, Some(connection.get_interrupt_handle()))?;
        let done = work();
        self.under_way().interrupt = None;
        done
    }

    /// Nothing of it takes long any more.
    pub(super) fn end(&self) {
        *self.under_way() = UnderWay::default();
    }

    /// Has this called at the beginning of each step.
    #[cfg(test)]
    pub(super) fn looking(look: impl FnMut(&Self, Step) + Send + 'static) -> Self {
        let opening = Self::default();
        *opening.0.look.lock().unwrap() = Some(Box::new(look));
        opening
    }

    fn begin(&self, step: Step, interrupt: Option<InterruptHandle>) -> rusqlite::Result<()> {
        *self.under_way() = UnderWay { step: Some(step), interrupt };
        #[cfg(test)]
        if let Some(look) = &mut *self.0.look.lock().unwrap_or_else(PoisonError::into_inner) {
            look(self, step);
        }
        if self.0.is_stopped.load(Ordering::SeqCst) {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(SQLITE_INTERRUPT), None));
        }
        Ok(())
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error says that somebody has stopped it.
pub(super) fn is_stop(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_takes_long_is_stopped_while_it_goes_on() {
        let opening = Opening::default();
        let asked = opening.clone();
        let stopper = thread::spawn(move || {
            while asked.step() != Some(Step::Checking) {
                thread::yield_now();
            }
            while asked.step().is_some() {
                asked.stop();
                thread::yield_now();
            }
        });
        let endless =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0";
        let connection = Connection::open_in_memory().unwrap();
        let long = opening
            .during(Step::Checking, &connection, || connection.query_row(endless, [], |row| row.get::<_, i64>(0)));
        assert!(is_stop(&long.unwrap_err()));
        assert!(opening.copied(1, 100).is_err(), "nothing more is begun");
        opening.end();
        stopper.join().unwrap();
    }

    #[test]
    fn it_is_told_how_much_is_copied() {
        let opening = Opening::default();
        for (pages, all, percent) in [(0, 0, 0), (1, 200, 0), (82, 200, 41), (200, 200, 100)] {
            opening.copied(pages, all).unwrap();
            let Some(Step::Copying(done)) = opening.step() else { panic!("it is copied") };
            assert_eq!((done.done, done.all, done.percent()), (pages, all, percent));
        }
    }
}
