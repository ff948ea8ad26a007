//! [`SqliteStore`]: documents in one `SQLite` file.
//!
//! One thread writes (`writer`) and four read (`reader`), so that no asynchronous worker ever waits for the disk: one for
//! single documents and one for what the server itself goes through, which therefore never wait behind a search, and two
//! for searches.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_trait::async_trait;
use slipstream_cimi::filter::Filter;
use slipstream_cimi::query::Order;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::attribute::{Declared, may_be_indexed};
pub use self::backup::{BackupError, Copied, backup};
use self::failure::{failure, open_failure};
use self::file::DatabaseFile;
use self::log::Log;
#[cfg(any(test, feature = "testing"))]
pub use self::migrate::version_2;
pub use self::opening::{Done, Opening, Step};
use self::reader::Reader;
use self::reserve::Reserve;
use self::unindexed::unindexed;
use self::writer::{Answer, Change, Request, Write, Writer};
use crate::files::{self, is_full, who_may};
use crate::{Found, IndexRow, Query, Record, Revision, Space, Store, StoreError};

mod attribute;
mod audience;
mod backup;
mod before;
mod column;
mod failure;
mod file;
mod gather;
mod key;
mod log;
mod migrate;
mod opening;
mod reader;
mod reserve;
mod schema;
mod select;
mod tally;
#[cfg(test)]
mod tests;
mod unindexed;
mod writer;

/// Requests that may wait for a thread before callers are held up.
const WAITING: usize = 4_096;
/// How many documents are read before another caller gets its turn.
const READ_AT_ONCE: usize = 64;
/// How long a search may take; only those that no index helps with come near.
const SEARCH_LIMIT: Duration = Duration::from_secs(10);
/// How many documents `remove_matching` removes at once, so that other writes get their turn.
const REMOVED_AT_ONCE: u64 = 1_000;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer version of the program wrote it.
    #[error(
        "{} has version {found} and this program knows versions up to {}; run the program that wrote it, or restore the copy \
         that it made before: {}.before-{}", path.display(), schema::VERSION, path.display(), schema::VERSION
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A copy is to be made before the version changes, and the disk is too small for that.
    #[error(
        "{} is of an older version, and is copied before it is changed: that takes {} MiB of free space; make room, or make \
         {} an empty file to go without a copy", path.display(), needed.div_ceil(1 << 20), copy.display()
    )]
    NoSpaceForCopy {
        /// The database file.
        path: PathBuf,
        /// Bytes that have to be free.
        needed: u64,
        /// Where the copy would be.
        copy: PathBuf,
    },
    /// The copy that is made before the version changes has failed.
    #[error("cannot copy {} before its version changes", path.display())]
    NoCopy {
        /// The database file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<BackupError>,
    },
    /// Somebody stopped it while a file of a version before was copied or changed.
    #[error("stopped before {} was changed to this version; it is as it was", path.display())]
    Stopped {
        /// The database file.
        path: PathBuf,
    },
    /// A database, but not one of this program.
    #[error("{} belongs to another program; choose another file", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// Not a database, or no longer one.
    #[error("{} is not a sound database; {}", path.display(), failure::DAMAGED)]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What `SQLite` says.
        #[source]
        source: rusqlite::Error,
    },
    /// There is no space for a new database, or for opening one.
    #[error("no space left for {}", path.display())]
    Full {
        /// The database file.
        path: PathBuf,
    },
    /// Another process uses it, by this name or another one.
    #[error("another process uses the database {}: stop it, or choose another file", path.display())]
    InUse {
        /// The database file, links resolved.
        path: PathBuf,
    },
    /// The file is there, without anything in it.
    #[error("the database {} is empty: restore it from a backup, or remove it to start without jobs", path.display())]
    Empty {
        /// The database file.
        path: PathBuf,
    },
    /// The file is gone, and its log is not.
    #[error(
        "the database {} is gone, and its log is there: restore it from a backup, or remove {} to start without jobs",
        path.display(), log.display()
    )]
    Gone {
        /// The database file.
        path: PathBuf,
        /// Its log.
        log: PathBuf,
    },
    /// Hard links: under each of its names the file would have a log of its own, and be damaged by the first that knows
    /// nothing of the other.
    #[error("the database {} has several names: remove its other hard links", path.display())]
    SeveralNames {
        /// The database file.
        path: PathBuf,
    },
    /// The operating system refuses the file or its folder, e.g. because it is missing.
    #[error("cannot open {}{}", path.display(), who_may(source, path))]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Anything else.
    #[error("cannot open {}", path.display())]
    Failed {
        /// The database file.
        path: PathBuf,
        /// What `SQLite` says.
        #[source]
        source: rusqlite::Error,
    },
    /// The operating system gives no thread.
    #[error("cannot start a thread for {}", path.display())]
    Thread {
        /// The database file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl OpenError {
    fn of_system(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        if is_full(&source) { Self::Full { path } } else { Self::Unreachable { path, source } }
    }
}

type Read = Box<dyn FnOnce(&Reader) + Send>;

/// Keeps documents in one file, durably. Dropping it [closes](Self::close) it.
pub struct SqliteStore {
    path: Arc<PathBuf>,
    declared: Arc<Declared>,
    /// None once closed.
    channels: RwLock<Option<Channels>>,
    threads: Mutex<Threads>,
    /// Its sender goes with the thread that writes.
    writing: watch::Receiver<()>,
}

/// Those that are not ended yet.
#[derive(Default)]
struct Threads {
    readers: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<rusqlite::Result<()>>>,
}

/// What a search and the log may come to.
#[derive(Clone, Copy)]
struct Limits {
    /// How long a search may take.
    search: Duration,
    /// Bytes of the log.
    log: u64,
}

struct Channels {
    writes: mpsc::Sender<Request>,
    gets: mpsc::Sender<Read>,
    searches: mpsc::Sender<Read>,
    /// The reconciler's walks, and what is removed by the server itself.
    walks: mpsc::Sender<Read>,
}

impl SqliteStore {
    /// Opens the file, made if missing; its folder must exist. Blocks: for milliseconds whatever the file holds, but for
    /// minutes if it is large and of a version before, as it is copied first, checked, and then written anew. One store at a
    /// time has the file, whatever name leads to it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_as(path, Declared::default(), &Opening::default())
    }

    /// The same with declared types, an index of which is filled first if it is new; where somebody wants to know what takes
    /// so long, and may stop it.
    pub fn open_as(path: &Path, declared: Declared, opening: &Opening) -> Result<Self, OpenError> {
        let opened = Self::open_within(path, Limits { search: SEARCH_LIMIT, log: log::LONGEST }, declared, opening);
        opening.end();
        opened
    }

    fn open_within(path: &Path, limits: Limits, declared: Declared, opening: &Opening) -> Result<Self, OpenError> {
        let declared = Arc::new(declared);
        let mut file = DatabaseFile::open(path)?;
        let mut reserve = Reserve::find(file.beside("-reserve"));
        let connection = match migrate::open_writer(&mut file, &declared, opening) {
            Err(OpenError::Full { .. }) if reserve.give_back() => migrate::open_writer(&mut file, &declared, opening)?,
            opened => opened?,
        };
        let (writes, requests) = mpsc::channel(WAITING);
        let (gets, wanted) = mpsc::channel(WAITING);
        let (searches, asked) = mpsc::channel(WAITING);
        let (walks, gone_through) = mpsc::channel(WAITING);
        let (writes_on, writing) = watch::channel(());
        let mut store = Self {
            path: Arc::new(path.to_owned()),
            declared: declared.clone(),
            channels: RwLock::new(Some(Channels { writes, gets, searches, walks })),
            threads: Mutex::default(),
            writing,
        };
        let no_thread = |source| OpenError::Thread { path: path.to_owned(), source };
        let [wanted, asked, gone_through] = [wanted, asked, gone_through].map(|reads| Arc::new(Mutex::new(reads)));
        let readers = [("get", &wanted), ("search", &asked), ("search", &asked), ("walk", &gone_through)];
        for (name, reads) in readers {
            let reader =
                Reader::open(path, declared.clone(), limits.search).map_err(|error| open_failure(path, error))?;
            let reads = Arc::clone(reads);
            let thread = thread::Builder::new().name(format!("store {name}")).spawn(move || serve(&reader, &reads));
            store.threads_mut().readers.push(thread.map_err(no_thread)?);
        }
        let (path, log) = (Arc::clone(&store.path), Log::new(limits.log));
        let last = Writer { connection, path, declared, file, reserve, log, is_moved: false };
        let thread = thread::Builder::new().name("store write".to_owned());
        let thread = thread.spawn(move || {
            let _writes_on = writes_on;
            last.run(requests)
        });
        store.threads_mut().writer = Some(thread.map_err(no_thread)?);
        Ok(store)
    }

    /// Ends when nothing can be written any more, which should never happen: the thread that writes has panicked. Whoever
    /// runs the server ends it, and finds everything that was answered at the next start.
    pub async fn broken(&self) {
        // no value is ever sent: this ends with the sender
        while self.writing.clone().changed().await.is_ok() {}
    }

    /// Has the thread that writes call this with its connection. If that panics, the thread is gone.
    #[cfg(any(test, feature = "testing"))]
    pub async fn inspect(&self, look: impl FnOnce(&rusqlite::Connection) + Send + 'static) {
        let writes = self.sender(|channels| &channels.writes, "look into the database").expect("the store is open");
        assert!(writes.send(Request::Inspect(Box::new(look))).await.is_ok(), "the writer lives");
    }

    /// Refuses later calls, and waits until everything accepted is written and in the one file; blocks. Whoever closes
    /// it again waits for the first. Dropping does the same, but only logs an error.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let channels = self.channels.write().unwrap_or_else(PoisonError::into_inner).take();
        // readers first: their snapshots would keep the log from being put into the file, and whoever closes it last
        // takes the log away, which they may not
        let writes = channels.map(|channels| channels.writes);
        let panicked = threads.readers.drain(..).map(JoinHandle::join).filter(Result::is_err).count();
        drop(writes);
        match threads.writer.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(self.gone("close the store")),
            Some(Ok(Err(error))) => Err(failure("close the store", &self.path, Arc::new(error))),
            _ if panicked > 0 => Err(self.gone("close the store")),
            None | Some(Ok(Ok(()))) => Ok(()),
        }
    }

    fn threads_mut(&mut self) -> &mut Threads {
        self.threads.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread panicked, which its own message says more about.
    fn gone(&self, what: &str) -> StoreError {
        StoreError::Gone { what: format!("{what} in {}", self.path.display()), why: "its thread has ended" }
    }

    /// The way to a thread. Closing waits until it is dropped, so nobody waits for an answer while holding it.
    fn sender<T>(
        &self,
        of: impl FnOnce(&Channels) -> &mpsc::Sender<T>,
        what: &str,
    ) -> Result<mpsc::Sender<T>, StoreError> {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || StoreError::Gone { what: format!("{what} in {}", self.path.display()), why: "it is closed" };
        channels.as_ref().map(|channels| of(channels).clone()).ok_or_else(closed)
    }

    /// At most [`writer::LARGEST_GROUP`] of them.
    async fn carry_out(&self, changes: Vec<Change>) -> Result<Vec<Answer>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let writes = self.sender(|channels| &channels.writes, "write documents")?;
        writes.send(Request::Write(Write { changes, answer })).await.map_err(|_| self.gone("write documents"))?;
        drop(writes);
        answered.await.map_err(|_| self.gone("write documents"))
    }

    async fn look<T: Send + 'static>(
        &self,
        readers: fn(&Channels) -> &mpsc::Sender<Read>,
        what: String,
        read: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        // a caller that no longer waits is not told
        let read: Read = Box::new(move |reader| drop(answer.send(read(reader))));
        let readers = self.sender(readers, &what)?;
        readers.send(read).await.map_err(|_| self.gone(&what))?;
        drop(readers);
        // the thread lives on, see [`serve`]
        let panicked = |_| StoreError::failed(&*what, "the store panicked");
        let found = answered.await.map_err(panicked)?;
        found.map_err(|error| failure(&what, &self.path, Arc::new(error)))
    }
}

/// A search that took too long is told what made it slow.
fn explained(error: StoreError, (declared, kind): (&Declared, &str), slow: &Query) -> StoreError {
    match error {
        StoreError::TooSlow { .. } => StoreError::TooSlow { unindexed: unindexed(declared, kind, slow) },
        other => other,
    }
}

fn serve(reader: &Reader, reads: &Mutex<mpsc::Receiver<Read>>) {
    loop {
        let next = reads.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match next {
            Some(read) => {
                // whoever asked is told by the end of the channel, and the panic's own message says more
                if panic::catch_unwind(AssertUnwindSafe(|| read(reader))).is_err() {
                    reader.end_limit();
                }
            }
            None => return,
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot close the store properly");
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    /// A few at a time: others who read a document need not wait for all of these.
    async fn read(&self, ids: &[&str]) -> Vec<Result<Option<Record>, StoreError>> {
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(READ_AT_ONCE) {
            let what = format!("read {}", some.join(", "));
            let wanted: Vec<String> = some.iter().map(|id| (*id).to_owned()).collect();
            let read = move |reader: &Reader| Ok(wanted.iter().map(|id| reader.get(id)).collect::<Vec<_>>());
            match self.look(|channels| &channels.gets, what, read).await {
                Ok(read) => found.extend(some.iter().zip(read).map(|(id, read)| {
                    read.map_err(|error| failure(&format!("read {id}"), &self.path, Arc::new(error)))
                })),
                Err(error) => found.extend(some.iter().map(|_| Err(error.clone()))),
            }
        }
        found
    }

    async fn write(&self, writes: Vec<crate::Write>) -> Vec<Result<Revision, StoreError>> {
        let mut changes = writes.into_iter().map(|write| Change::of(write, &self.declared)).peekable();
        let mut answers = Vec::new();
        while changes.peek().is_some() {
            let some: Vec<Change> = changes.by_ref().take(writer::LARGEST_GROUP).collect();
            let count = some.len();
            answers.extend(self.carry_out(some).await.unwrap_or_else(|error| vec![Err(error); count]));
        }
        answers
    }

    async fn search(&self, kind: &str, query: &Query) -> Result<Found, StoreError> {
        let (what, of, asked) = (format!("search {kind} documents"), kind.to_owned(), query.clone());
        let found = self.look(|channels| &channels.searches, what, move |reader| reader.search(&of, &asked)).await;
        // an aggregation costs as much as ordering by its attribute
        let aggregated =
            query.aggregations.iter().map(|asked| Order { attribute: asked.attribute.clone(), descending: false });
        let order = || query.order.iter().cloned().chain(aggregated).collect();
        let explain = |error| explained(error, (&self.declared, kind), &Query { order: order(), ..query.clone() });
        Ok(found.map_err(explain)?)
    }

    async fn space(&self) -> Option<Space> {
        let path = self.path.clone();
        let look = move || {
            let taken = ["", "-wal"].map(|suffix| files::beside(&path, suffix).metadata().map_or(0, |file| file.len()));
            Some(Space { taken: taken.iter().sum(), free: before::free_space(&path).ok()? })
        };
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    async fn index_rows(&self, after: Option<&str>, limit: u64) -> Result<Vec<IndexRow>, StoreError> {
        let (what, after) = ("read the jobs that are not final".to_owned(), after.unwrap_or_default().to_owned());
        self.look(|channels| &channels.walks, what, move |reader| reader.index_rows(&after, limit)).await
    }

    /// In pages: what is changed between finding and removing stays.
    async fn remove_matching(&self, kind: &str, filter: &Filter) -> Result<u64, StoreError> {
        let mut query = Query { filter: Some(filter.clone()), limit: REMOVED_AT_ONCE, ..Query::default() };
        let mut removed = 0;
        loop {
            let (what, kind, page) = (format!("search {kind} documents"), kind.to_owned(), query.clone());
            let found = self.look(|channels| &channels.walks, what, move |reader| reader.matches(&kind, &page)).await?;
            let Some((last, _)) = found.last() else { return Ok(removed) };
            query.after = Some(last.clone());
            let is_last = (found.len() as u64) < REMOVED_AT_ONCE;
            let removals = found.into_iter().map(|(id, revision)| crate::Write::Remove(id, revision));
            for answer in self.write(removals.collect()).await {
                match answer {
                    Ok(_) => removed += 1,
                    Err(StoreError::Changed(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if is_last {
                return Ok(removed);
            }
        }
    }
}
