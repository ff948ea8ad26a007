//! [`Log`]: how long the log of the database may become.
//!
//! It is put into the database now and then, as long as the disk has space for what is new in it, but never what somebody
//! still reads beside: a reader that stays makes it grow with every write. Lengths are in bytes.

use rusqlite::Connection;

use super::failure::has_no_space;

/// As long as that the log may become before it is put into the database, if the disk has space.
pub(super) const USUAL: u64 = 4_000 * PAGE;
/// More than the longest search lets it grow.
pub(super) const LONGEST: u64 = 1 << 30;
/// The first warning comes at this part of the longest, and another one whenever it is half as long again.
const WARNED: u64 = 4;
/// Of the database: the default of `SQLite`.
pub(super) const PAGE: u64 = 4_096;

pub(super) struct Log {
    longest: u64,
    usual: u64,
    /// At this length it is looked at next.
    next: u64,
}

/// What keeps a log long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// The disk has no space for what is new in it.
    NoSpace,
    /// Somebody reads, and it is too long.
    Reader,
}

impl Log {
    pub fn new(longest: u64) -> Self {
        Self { longest, usual: USUAL, next: USUAL }
    }

    /// From now on it is put into the database whenever it is this long.
    pub fn keep_to(&mut self, connection: &Connection, usual: u64) -> rusqlite::Result<()> {
        self.usual = usual;
        self.next = self.comfortable();
        let pages = i64::try_from(usual / PAGE).unwrap_or(i64::MAX);
        connection.query_row(&format!("PRAGMA wal_autocheckpoint = {pages}"), [], |_| Ok(()))
    }

    /// What it comes to while all goes well: the transaction at which it is put into the database is in it, too.
    fn comfortable(&self) -> u64 {
        self.usual + self.usual / 4
    }

    /// Looks what is wrong where it is so long, and mends that if nothing hinders.
    pub fn trouble(&mut self, connection: &Connection, length: u64) -> Trouble {
        if length < self.next.min(self.longest) {
            return Trouble::None;
        }
        match checkpoint(connection) {
            Ok(true) => {
                self.next = self.comfortable();
                Trouble::None
            }
            Err(error) if has_no_space(connection, &error) => Trouble::NoSpace,
            // what fails for another reason fails again in the write that comes next, which says so
            Err(_) => Trouble::None,
            Ok(false) => {
                if length >= self.next.max(self.longest / WARNED) {
                    let hint = "end whoever reads the database for so long, such as a shell of sqlite3";
                    tracing::warn!(
                        bytes = length,
                        "the write-ahead log grows because somebody reads the database: {hint}"
                    );
                }
                self.next = self.next.max(length + length / 2);
                if length < self.longest { Trouble::None } else { Trouble::Reader }
            }
        }
    }
}

/// Puts the log into the database and empties it. Answers whether it could: somebody may be reading.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}
