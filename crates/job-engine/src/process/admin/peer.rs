//! Who is at the other end of a socket.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

/// A process at the other end, as it was when it connected or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// 0 if it is in no namespace of ours.
    pub(super) process: i32,
    pub(super) user: u32,
}

impl Peer {
    /// Asks the kernel. Not by rustix, for which there is no process 0.
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let mut found = libc::ucred { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX };
        let mut length = libc::socklen_t::try_from(size_of_val(&found)).expect("twelve bytes");
        let (place, descriptor) = ((&raw mut found).cast(), stream.as_raw_fd());
        // SAFETY: the descriptor is open, the two places are valid for writing, and `length` is the size of the first.
        let answer =
            unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_PEERCRED, place, &raw mut length) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { process: found.pid, user: found.uid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let (process, user) = (rustix::process::getpid().as_raw_nonzero().get(), rustix::process::geteuid().as_raw());
        assert_eq!(Peer::of(&one).unwrap(), Peer { process, user });
    }
}
