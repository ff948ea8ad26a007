//! The signal that has a thread copy its registers and its stack. All that is unsafe is here.
//!
//! One thread asks, one answers. [`STATE`] says who may write to the places where the copy is left: the asking thread alone
//! lets somebody begin, and reads after the answering thread has said that it is done.

use std::ffi::{c_int, c_long, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Missed;
use crate::registers::{Left, Registers};

/// So much of a stack is copied, in bytes.
const MOST: usize = 64 * 1024;
const WORD: usize = size_of::<u64>();
/// What the kernel copies is cut off between pieces, so that none of them may cross the border of a page.
const PIECE: usize = 4096;
const PIECES: usize = MOST / PIECE + 1;
/// How long the handler of a thread that has begun to copy is waited for.
const COPY: Duration = Duration::from_secs(1);
/// So often another thread gets the processor before the answer is looked for at intervals.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_micros(100);

/// One of the below, or the id of the thread that is asked.
static STATE: AtomicI32 = AtomicI32::new(NOBODY);
const NOBODY: i32 = 0;
const COPYING: i32 = -1;
const COPIED: i32 = -2;

static REGISTERS: Left = Left::new();
static STACK: [AtomicU64; MOST / WORD] = [const { AtomicU64::new(0) }; MOST / WORD];
/// How much of [`STACK`] is filled, in bytes.
static SIZE: AtomicUsize = AtomicUsize::new(0);

/// A thread as it was when it was asked.
#[derive(Debug)]
pub struct Sample {
    pub registers: Registers,
    /// From the stack pointer on.
    stack: Vec<u64>,
}

impl Sample {
    /// The word at this address; none outside of the copy.
    pub fn word(&self, address: u64) -> Option<u64> {
        let distance = usize::try_from(address.checked_sub(self.registers.stack())?).ok()?;
        distance.is_multiple_of(WORD).then(|| self.stack.get(distance / WORD).copied())?
    }

    /// Whether the stack goes on where the copy ends.
    pub fn is_cut(&self) -> bool {
        self.stack.len() * WORD == MOST
    }
}

/// The right to ask threads, of which there is only one.
pub struct Asker(());

impl Asker {
    pub const fn new() -> Self {
        Self(())
    }

    /// Has the thread copy itself; `is_asked` if a signal of an earlier time still waits for it.
    #[expect(clippy::unused_self, reason = "who asks has the right to, which is nobody else's meanwhile")]
    pub fn ask(&mut self, task: i32, is_asked: bool, limit: Duration) -> Result<Sample, Missed> {
        if STATE.load(Ordering::Acquire) == COPYING {
            return Err(Missed::Busy);
        }
        STATE.store(task, Ordering::Release);
        let sent = if is_asked { Ok(()) } else { send(task) };
        let answered = sent.and_then(|()| if is_copied(limit) { Ok(()) } else { Err(Missed::Silent) });
        if let Err(missed) = answered {
            let withdrawn = STATE.compare_exchange(task, NOBODY, Ordering::AcqRel, Ordering::Acquire);
            // else it has begun just now
            if withdrawn.is_ok() || !is_copied(COPY) {
                return Err(missed);
            }
        }
        let stack: Vec<u64> = STACK.iter().take(SIZE.load(Ordering::Relaxed) / WORD).map(load).collect();
        if stack.is_empty() { Err(Missed::Unreadable) } else { Ok(Sample { registers: REGISTERS.load(), stack }) }
    }
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

/// Waits until the copy is made, but not for longer than that.
fn is_copied(limit: Duration) -> bool {
    let begun = Instant::now();
    let mut looks = 0;
    while STATE.load(Ordering::Acquire) != COPIED {
        if begun.elapsed() >= limit {
            return false;
        }
        if looks < LOOKS {
            looks += 1;
            thread::yield_now();
        } else {
            thread::park_timeout(PAUSE);
        }
    }
    true
}

fn signal() -> c_int {
    libc::SIGRTMIN() + 7
}

/// Whether our signal is in this set of the kernel's, in which signal 1 is the lowest bit.
pub fn is_in(set: u64) -> bool {
    set >> (signal() - 1) & 1 == 1
}

/// Sets the handler; an error if the signal has another one already.
pub fn install() -> io::Result<()> {
    let present = handler()?;
    if present == own_handler() {
        return Ok(());
    }
    if present != libc::SIG_DFL {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("signal {} is in use", signal())));
    }
    // SAFETY: of zeros is a valid one, as it consists of numbers and an optional function.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = own_handler();
    // on a stack of signals where there is one, and system calls go on as far as they can
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the function is of the form that SA_SIGINFO asks for, and calls nothing that a handler must not.
    if unsafe { libc::sigaction(signal(), &raw const action, ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether the signal reaches our handler: else it would end the process.
pub fn is_installed() -> bool {
    handler().is_ok_and(|handler| handler == own_handler())
}

fn own_handler() -> libc::sighandler_t {
    copy as *const () as libc::sighandler_t
}

/// What the signal has as its handler.
fn handler() -> io::Result<libc::sighandler_t> {
    let mut present = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new handler it only writes what there is.
    if unsafe { libc::sigaction(signal(), ptr::null(), present.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeros are valid, and so is what the call has written.
    Ok(unsafe { present.assume_init() }.sa_sigaction)
}

fn send(task: i32) -> Result<(), Missed> {
    // SAFETY: it is only numbers, and the caller has seen that the signal has our handler.
    let sent = unsafe {
        libc::syscall(libc::SYS_tgkill, c_long::from(libc::getpid()), c_long::from(task), c_long::from(signal()))
    };
    match sent {
        0 => Ok(()),
        _ if io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) => Err(Missed::Ended),
        // too many signals wait
        _ => Err(Missed::Silent),
    }
}

/// The handler: takes no lock, gets no memory, and leaves `errno` as it was. The calls that it makes are system calls.
extern "C" fn copy(_signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: each thread has its own.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is valid as long as the thread lives.
    let before = unsafe { *errno };
    // SAFETY: with SA_SIGINFO the kernel gives both, valid as long as the handler runs.
    let (info, context) = unsafe { (&*info, &*context.cast::<libc::ucontext_t>()) };
    // SAFETY: it is a signal that a process has sent, and so has its id.
    if info.si_code == libc::SI_TKILL && unsafe { info.si_pid() == libc::getpid() } {
        // SAFETY: it has no arguments.
        let own = unsafe { libc::syscall(libc::SYS_gettid) };
        answer(own, Registers::of(&context.uc_mcontext));
    }
    // SAFETY: as above.
    unsafe { *errno = before };
}

fn answer(own: c_long, registers: Registers) {
    let Ok(own) = i32::try_from(own) else { return };
    if STATE.compare_exchange(own, COPYING, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        // asked in an earlier time, too late
        return;
    }
    REGISTERS.store(registers);
    SIZE.store(read_memory(registers.stack(), &STACK), Ordering::Relaxed);
    STATE.store(COPIED, Ordering::Release);
}

/// Copies what is at this address, as far as it can be read; answers how many bytes. Harmless with any address.
pub fn read_memory(address: u64, into: &[AtomicU64]) -> usize {
    let mut pieces = [const { libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 } }; PIECES];
    let size = (into.len() * WORD).min(MOST);
    let count = cut(address, size, &mut pieces);
    // the memory is of atomics, so that it may be written to by a pointer to what is shared
    let target = libc::iovec { iov_base: into.as_ptr().cast_mut().cast(), iov_len: size };
    // SAFETY: the target is valid for its length, and may be changed. The kernel checks the source itself.
    let copied = unsafe {
        libc::process_vm_readv(libc::getpid(), &raw const target, 1, pieces.as_ptr(), count as libc::c_ulong, 0)
    };
    usize::try_from(copied).unwrap_or(0)
}

/// Cuts what is to be read at the borders of pages; answers how many pieces these are.
fn cut(address: u64, size: usize, pieces: &mut [libc::iovec; PIECES]) -> usize {
    // both architectures have 64 bits
    let mut from = usize::try_from(address).unwrap_or_default();
    let mut left = size;
    let mut count = 0;
    for piece in pieces {
        if left == 0 {
            break;
        }
        let length = (PIECE - from % PIECE).min(left);
        *piece = libc::iovec { iov_base: ptr::without_provenance_mut(from), iov_len: length };
        from = from.wrapping_add(length);
        left -= length;
        count += 1;
    }
    count
}
