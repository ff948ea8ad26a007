//! [`Reserve`]: space on the disk that is kept for what frees space and ends jobs, and given back when the disk is full.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::log::USUAL;
use crate::files;

/// Less is of no use: a job that is deleted takes a hundred kilobytes in the log.
pub(super) const SMALLEST: u64 = 256 << 10;
/// Of what is free, this part is kept at most.
const PART: u64 = 4;

/// A file without content beside the database.
pub(super) struct Reserve {
    path: PathBuf,
    state: State,
    /// That the disk is full is told.
    is_told: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes.
    Held(u64),
    /// Given back, or never had, because the disk is full.
    Given,
    /// The file system cannot keep space, or this process may have no file of that size.
    Impossible,
}

impl Reserve {
    /// Takes over what is there; else there is none until it is [taken](Self::take).
    pub fn find(path: PathBuf) -> Self {
        let found = path.metadata().map_or(0, |found| found.len());
        let state = if found >= SMALLEST { State::Held(found) } else { State::Given };
        Self { path, state, is_told: false }
    }

    /// Whether the disk was full and may be so still: nothing is to be written but what frees space and ends jobs.
    pub fn is_given(&self) -> bool {
        self.state == State::Given
    }

    /// Warns once when the disk is full, and once when it is no longer: `lacks_space` says that something was refused for want
    /// of it, `added` that something was written that is not on a full disk.
    pub fn tell(&mut self, lacks_space: bool, added: bool) {
        let folder = self.path.parent().unwrap_or(&self.path).display();
        let is_full = lacks_space || self.is_given();
        if is_full && !self.is_told {
            tracing::warn!(%folder, "no space left: jobs can be stopped and deleted, but none is added until some is free");
            self.is_told = true;
        } else if !is_full && added && self.is_told {
            tracing::warn!(%folder, "there is space again: jobs are added as before");
            self.is_told = false;
        }
    }

    /// How long the log may become, so that the reserve is enough to put it into the database.
    pub fn log(&self) -> u64 {
        match self.state {
            State::Held(size) => size,
            State::Given => SMALLEST,
            State::Impossible => USUAL,
        }
    }

    /// Gives the space back, and answers whether there was any.
    pub fn give_back(&mut self) -> bool {
        if !matches!(self.state, State::Held(_)) {
            return false;
        }
        self.state = State::Given;
        let removed = files::remove(&self.path);
        removed
            .inspect_err(
                |error| tracing::error!(file = %self.path.display(), %error, "cannot give back the reserved space"),
            )
            .is_ok()
    }

    /// Takes the space again, if there is enough; or more than it has, if there is more than there was.
    pub fn take(&mut self) {
        self.take_at_least(0);
    }

    /// The same at the end, when nothing more is written: the next start needs the smallest at least, whoever has taken the
    /// rest by then.
    pub fn take_for_the_next_start(&mut self) {
        self.take_at_least(SMALLEST);
    }

    fn take_at_least(&mut self, least: u64) {
        let held = match self.state {
            State::Held(size) => size,
            State::Given => 0,
            State::Impossible => return,
        };
        self.state = match keep(&self.path, held, least) {
            Ok(size) => State::Held(size),
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => State::Given,
            Err(error) => {
                tracing::debug!(%error, "no space is kept for times when the disk is full");
                State::Impossible
            }
        };
    }
}

/// A file of the largest size that can be had, unless the one that is there has it, and how large that is, in bytes: at most
/// what the log comes to.
fn keep(path: &Path, held: u64, least: u64) -> io::Result<u64> {
    let disk = statvfs(path.parent().unwrap_or(path))?;
    if disk.f_blocks == 0 {
        return Err(ErrorKind::Unsupported.into());
    }
    let mut size = (disk.f_bavail.saturating_mul(disk.f_frsize) / PART).max(least).min(USUAL);
    if held >= size.max(SMALLEST) {
        return Ok(held);
    }
    let mut refused = io::Error::from(ErrorKind::StorageFull);
    while size >= SMALLEST {
        let file = files::begin(path)?;
        refused = match fallocate(&file, FallocateFlags::empty(), 0, size) {
            Ok(()) => return Ok(size),
            Err(error) => error.into(),
        };
        files::remove(path)?;
        if !matches!(refused.kind(), ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded) {
            break;
        }
        size /= 2;
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_until_it_is_given_back_and_found_by_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let mut reserve = Reserve::find(path.clone());
        assert!(reserve.is_given() && !reserve.give_back());
        reserve.take();
        assert!(path.metadata().unwrap().len() >= SMALLEST && !reserve.is_given());
        let mut next = Reserve::find(path.clone());
        assert!(!next.is_given() && next.give_back());
        assert!(!path.exists() && next.is_given());
    }

    #[test]
    fn one_of_times_when_little_was_free_grows_with_what_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        std::fs::write(&path, vec![0; usize::try_from(SMALLEST).unwrap()]).unwrap();
        let mut reserve = Reserve::find(path.clone());
        assert_eq!(reserve.log(), SMALLEST);
        reserve.take();
        assert!(reserve.log() > SMALLEST && path.metadata().unwrap().len() == reserve.log());
    }

    #[test]
    fn a_full_disk_is_told_until_something_is_added_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::find(folder.path().join("reserve"));
        let told = |reserve: &mut Reserve, lacks_space, added| {
            reserve.tell(lacks_space, added);
            reserve.is_told
        };
        assert!(told(&mut reserve, false, true), "the reserve is given back");
        reserve.take();
        assert!(told(&mut reserve, false, false), "nobody has seen that there is space");
        assert!(!told(&mut reserve, false, true));
        assert!(told(&mut reserve, true, false), "a limit that is no disk's has no reserve");
    }

    #[test]
    fn where_there_is_no_disk_it_is_done_without() {
        let mut reserve = Reserve::find(PathBuf::from("/proc/self/reserve"));
        reserve.take();
        assert!(!reserve.is_given(), "nothing is refused for want of it");
    }
}
