//! The one connection that writes.
//!
//! Writes that come while a transaction is under way share the next one. Each is checked by itself; all are answered
//! only once the transaction is on the disk.

use std::error::Error;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::apply::apply;
use super::failure::{failure, has_no_space};
use super::file::DatabaseFile;
use super::log;
use super::log::{Log, Trouble, checkpoint};
use super::reserve;
use super::reserve::Reserve;
use super::row::{Answer, Change};
use super::schema::BUSY_TIMEOUT;
use crate::StoreError;

/// The most changes in one request. A group of requests that has come to as many takes no other: so a transaction has less
/// than twice as many.
pub(super) const LARGEST_GROUP: usize = 1_024;

/// Changes and whom to tell what has become of them.
pub(super) struct Write {
    pub changes: Vec<Change>,
    pub answer: oneshot::Sender<Vec<Answer>>,
}

/// Which changes are refused.
type Refused = fn(&Change) -> bool;

/// What the writer is asked to do.
pub(super) enum Request {
    Write(Write),
    /// Lets a test hold up the writer, or look at its connection.
    #[cfg(any(test, feature = "testing"))]
    Inspect(Box<dyn FnOnce(&Connection) + Send>),
}

/// What the thread that writes has.
pub(super) struct Writer {
    pub connection: Connection,
    /// For errors, the name by which the store was opened.
    pub path: Arc<PathBuf>,
    /// Locked until this ends, which is last of all threads.
    pub file: DatabaseFile,
    pub reserve: Reserve,
    pub log: Log,
    /// That the file is not where it was is told.
    pub is_moved: bool,
}

impl Writer {
    /// Works until all senders are gone and everything accepted is written, then puts all into the one file.
    pub fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), rusqlite::Error> {
        self.keep_reserve();
        while let Some(request) = requests.blocking_recv() {
            let (mut group, mut size) = (Vec::new(), 0);
            let mut next = Some(request);
            while let Some(request) = next {
                match request {
                    Request::Write(write) => {
                        size += write.changes.len();
                        group.push(write);
                    }
                    #[cfg(any(test, feature = "testing"))]
                    Request::Inspect(look) => look(&self.connection),
                }
                next = if size < LARGEST_GROUP { requests.try_recv().ok() } else { None };
            }
            self.settle(group);
        }
        self.finish()
    }

    /// Where the disk is full the log stays: everything is in it, and the next start goes on with it.
    fn finish(&mut self) -> Result<(), rusqlite::Error> {
        let mut finished = finish(&self.connection);
        if finished.as_ref().is_err_and(|error| has_no_space(&self.connection, error)) && self.reserve.give_back() {
            finished = finish(&self.connection);
        }
        match finished {
            Err(error) if has_no_space(&self.connection, &error) => {
                tracing::warn!(path = %self.path.display(), "no space left: the write-ahead log stays beside the database");
            }
            finished => finished?,
        }
        self.reserve.take_for_the_next_start();
        Ok(())
    }

    /// A caller that no longer waits for its answers is not told; its changes stay.
    fn settle(&mut self, group: Vec<Write>) {
        let (lists, callers): (Vec<Vec<Change>>, Vec<_>) =
            group.into_iter().map(|write| (write.changes, write.answer)).unzip();
        let sizes: Vec<usize> = lists.iter().map(Vec::len).collect();
        let changes: Vec<Change> = lists.into_iter().flatten().collect();
        let adds = changes.iter().any(Change::is_unneeded);
        let answers = self.admit_and_write(changes);
        let lacks_space = answers.iter().any(|answer| matches!(answer, Err(StoreError::Full { .. })));
        self.reserve.tell(lacks_space, adds && answers.iter().all(Result::is_ok));
        let mut answers = answers.into_iter();
        for (caller, size) in callers.into_iter().zip(sizes) {
            drop(caller.send(answers.by_ref().take(size).collect()));
        }
    }

    fn admit_and_write(&mut self, changes: Vec<Change>) -> Vec<Answer> {
        let Some((refusal, is_refused)) = self.refusal().filter(|_| !changes.is_empty()) else {
            return self.write(&changes);
        };
        let refused: Vec<bool> = changes.iter().map(is_refused).collect();
        let admitted: Vec<Change> = changes.into_iter().filter(|change| !is_refused(change)).collect();
        let mut written = self.write(&admitted).into_iter();
        let answer = |refused| if refused { Err(refusal.clone()) } else { written.next().expect("it was admitted") };
        refused.into_iter().map(answer).collect()
    }

    /// A transaction that fails is settled change by change, so that one that cannot be carried out takes no other with it.
    fn write(&mut self, changes: &[Change]) -> Vec<Answer> {
        match (self.carry_out(changes, true), changes) {
            (Ok(answers), _) => answers,
            (Err(refused), [_]) => vec![Err(refused)],
            (Err(_), _) => {
                let alone = |change| self.carry_out(std::slice::from_ref(change), change.frees_or_ends());
                let only = |answers: Vec<Answer>| answers.into_iter().next().expect("an answer for each change");
                changes.iter().map(alone).map(|answers| answers.and_then(only)).collect()
            }
        }
    }

    /// What is to be refused now, and why.
    fn refusal(&mut self) -> Option<(StoreError, Refused)> {
        let was_moved = mem::replace(&mut self.is_moved, !self.file.is_in_place());
        if self.is_moved {
            if !was_moved {
                tracing::error!(
                    path = %self.path.display(),
                    "the database was moved or replaced, nothing is written: put it back, or stop this server first"
                );
            }
            return Some((StoreError::Moved { path: self.path.display().to_string() }, |_| true));
        }
        let path = self.path.display().to_string();
        let trouble = self.without_waiting(|writer| writer.log.trouble(&writer.connection, writer.file.log_length()));
        if trouble == Trouble::Reader {
            return Some((StoreError::LogTooLong { path }, Change::is_unneeded));
        }
        if trouble == Trouble::NoSpace || self.reserve.is_given() {
            self.make_room();
        }
        let is_full = self.reserve.is_given() && !has_free_pages(&self.connection);
        is_full.then_some((StoreError::Full { path }, Change::is_unneeded))
    }

    /// Does the changes in one transaction; where the disk is full, once more after making room, if that is to be tried.
    fn carry_out(&mut self, changes: &[Change], makes_room: bool) -> Result<Vec<Answer>, StoreError> {
        let mut done = commit(&mut self.connection, changes);
        if makes_room && done.as_ref().is_err_and(|error| has_no_space(&self.connection, error)) {
            self.make_room();
            if changes.iter().all(Change::frees_or_ends) {
                self.reserve.give_back();
            }
            done = commit(&mut self.connection, changes);
        }
        done.map_err(|error| {
            if has_no_space(&self.connection, &error) {
                StoreError::Full { path: self.path.display().to_string() }
            } else {
                failure("write documents", &self.path, Arc::new(error))
            }
        })
    }

    /// Puts the log into the database, with the help of the reserve, and keeps a reserve of what that has freed.
    fn make_room(&mut self) {
        self.reserve.give_back();
        if let Err(error) = self.without_waiting(|writer| checkpoint(&writer.connection)) {
            tracing::debug!(error = &error as &dyn Error, "the log is not put into the database");
        }
        self.keep_reserve();
    }

    /// Takes a reserve if there is none, and keeps the log to what it is enough for.
    fn keep_reserve(&mut self) {
        self.reserve.take();
        if let Err(error) = self.log.keep_to(&self.connection, self.reserve.log()) {
            tracing::error!(error = &error as &dyn Error, "cannot limit the write-ahead log");
        }
    }

    /// Does something that does not wait for whoever reads.
    fn without_waiting<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let set = |connection: &Connection, patience| {
            connection.busy_timeout(patience).expect("an open connection takes any time that is no longer than a day");
        };
        set(&self.connection, Duration::ZERO);
        let answer = act(self);
        set(&self.connection, BUSY_TIMEOUT);
        answer
    }
}

/// Whether what was deleted has left as much space in the database as a reserve has at least.
fn has_free_pages(connection: &Connection) -> bool {
    let free = connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u32>(0));
    free.is_ok_and(|pages| u64::from(pages) * log::PAGE >= reserve::SMALLEST)
}

fn finish(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA optimize;")?;
    checkpoint(connection).map(drop)
}

/// Does the changes in one transaction. After an error nothing is changed: whatever `SQLite` has not rolled back already
/// is rolled back as the transaction is dropped.
fn commit(connection: &mut Connection, changes: &[Change]) -> rusqlite::Result<Vec<Answer>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let answers = apply(&transaction, changes)?;
    transaction.commit()?;
    Ok(answers)
}
