//! [`Pipes`]: what connects a host with its executor, out of reach of everything that its actions start.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, fstat};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::stdio::{dup2_stdin, stdin};

/// The descriptor on which an executor awaits what a host says.
const REPORTS: i32 = 3;

pub(super) struct Pipes {
    /// Was standard input, which is `/dev/null` from now on: a program that an action starts reads no orders.
    pub(super) orders: OwnedFd,
    /// What is said to the executor.
    pub(super) reports: File,
}

impl Pipes {
    /// `None` if no executor has started this program.
    pub(super) fn take() -> Option<Self> {
        if !is_pipe(stdin()) {
            return None;
        }
        // SAFETY: it is used to ask whether it is open, and if so to copy it; meanwhile nothing closes it, as this comes first
        // in `main`.
        let reports = unsafe { BorrowedFd::borrow_raw(REPORTS) };
        if !is_pipe(reports) {
            return None;
        }
        Self::move_away(reports).ok()
    }

    fn move_away(reports: BorrowedFd<'_>) -> io::Result<Self> {
        fcntl_setfd(reports, FdFlags::CLOEXEC)?;
        let reports = File::from(fcntl_dupfd_cloexec(reports, REPORTS)?);
        let orders = fcntl_dupfd_cloexec(stdin(), REPORTS)?;
        dup2_stdin(File::open("/dev/null")?)?;
        Ok(Self { orders, reports })
    }
}

fn is_pipe(file: BorrowedFd<'_>) -> bool {
    fstat(file).is_ok_and(|facts| FileType::from_raw_mode(facts.st_mode) == FileType::Fifo)
}
