//! Threads of every kind, asked again and again: each is found where it is, and comes to no harm.

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::io::PipeReader;
use std::os::fd::AsRawFd as _;
use std::panic;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, scope};
use std::time::{Duration, Instant};

use slipstream_stacks::{Capture, Missed, Thread, capture, install};

/// How often the threads are asked, unless this says otherwise, as `cargo xtask test --everything` does.
const CAPTURES: u32 = 200;
const CAPTURES_VARIABLE: &str = "STACKS_CAPTURES";
/// Then, at least this share of captures must show a thread where it is: some find it between two rounds of its loop, and on
/// a machine that is busy with other things some do not find it in time.
const SHARE: f64 = 0.9;
const LIMIT: Duration = Duration::from_secs(30);

/// Threads of all tests here are of one process, and a capture is about them all: one test after the other.
static TURN: Mutex<()> = Mutex::new(());
static ENDS: AtomicBool = AtomicBool::new(false);
static LOCKED: Mutex<()> = Mutex::new(());

static PANICS: AtomicU64 = AtomicU64::new(0);
static OPENED: AtomicU64 = AtomicU64::new(0);
static BORN: AtomicU64 = AtomicU64::new(0);
static SORTED: AtomicU64 = AtomicU64::new(0);

/// Name of a thread, what it does, and what must be among its frames.
type Kind = (&'static str, fn(), &'static str);
const KINDS: [Kind; 8] = [
    ("mutex", waits_for_a_mutex, "waits_for_a_mutex"),
    ("loop", spins, "spins"),
    ("sleep", sleeps, "sleeps"),
    ("dlopen", opens_a_library, "opens_a_library"),
    ("panic", panics, "panics"),
    ("c-sort", sorts_in_c, "sorts_in_c"),
    ("deep", is_deep, "…"),
    ("births", starts_threads, "starts_threads"),
];

#[test]
fn each_thread_is_found_and_none_comes_to_harm() {
    let _turn = turn();
    install().unwrap();
    panic::set_hook(Box::new(|_| ()));
    let wanted = std::env::var(CAPTURES_VARIABLE).ok().map(|number| number.parse().unwrap());
    let captures: u32 = wanted.unwrap_or(CAPTURES);
    ENDS.store(false, Ordering::Relaxed);
    let held = LOCKED.lock().unwrap();
    let counts: Vec<u32> = scope(|scope| {
        let end = End;
        for (name, work, _) in KINDS {
            start(scope, name, work);
        }
        wait_for(|| KINDS.iter().all(|(name, _, frame)| finds(&capture(), name, frame)));
        let mut counts = vec![0; KINDS.len()];
        let begun = Instant::now();
        for _ in 0..captures {
            let all = capture();
            for ((name, _, frame), found) in KINDS.iter().zip(&mut counts) {
                *found += u32::from(finds(&all, name, frame));
                for (other, _, function) in KINDS {
                    let is_within = (*name, other) == ("deep", "sleep");
                    let is_wrong = other != *name && !is_within && finds(&all, name, &format!("::{function}"));
                    assert!(!is_wrong, "{name} is not in {function}:\n{all:#?}");
                }
            }
        }
        println!("{captures} captures in {:?}, each of about {} threads", begun.elapsed(), capture().threads.len());
        drop((end, held));
        counts
    });
    drop(panic::take_hook());
    for ((name, ..), found) in KINDS.iter().zip(counts) {
        println!("{name}: found {found} times");
        let least = if wanted.is_some() { SHARE * f64::from(captures) } else { 1.0 };
        assert!(f64::from(found) >= least, "{name} was found {found} times of {captures}");
    }
    for (what, count) in [("panics", &PANICS), ("opened", &OPENED), ("born", &BORN), ("sorted", &SORTED)] {
        assert!(count.load(Ordering::Relaxed) > 0, "{what}");
    }
}

#[test]
fn what_is_outside_of_rust_has_its_names_too() {
    let _turn = turn();
    install().unwrap();
    ENDS.store(false, Ordering::Relaxed);
    let (reader, writer) = std::io::pipe().unwrap();
    scope(|scope| {
        let end = End;
        start(scope, "c-poll", move || waits_in_c(&reader));
        start(scope, "clock", reads_the_clock);
        wait_for(|| is_within(&capture(), "c-poll", &["poll"], "waits_in_c"));
        // the C library's, and that of the kernel, which is in no file
        wait_for(|| is_within(&capture(), "clock", &["clock_gettime", "clock_gettime"], "reads_the_clock"));
        drop((end, writer));
    });
}

#[test]
fn a_thread_that_blocks_signals_is_missed() {
    let _turn = turn();
    install().unwrap();
    ENDS.store(false, Ordering::Relaxed);
    scope(|scope| {
        let end = End;
        start(scope, "blocks", blocks_signals);
        wait_for(|| {
            let all = capture();
            find(&all, "blocks").is_some_and(|thread| thread.frames.err() == Some(Missed::Blocked)) && all.missed == 1
        });
        drop(end);
    });
}

#[test]
fn a_thread_in_the_handler_of_another_signal_is_missed() {
    let _turn = turn();
    install().unwrap();
    ENDS.store(false, Ordering::Relaxed);
    scope(|scope| {
        let end = End;
        start(scope, "handles", || {
            // SAFETY: the handler only waits.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = stays_in_its_handler as *const () as libc::sighandler_t;
                libc::sigfillset(&raw mut action.sa_mask);
                libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut());
                libc::raise(libc::SIGUSR1);
            }
        });
        wait_for(|| find(&capture(), "handles").is_some_and(|thread| thread.frames.err() == Some(Missed::Blocked)));
        drop(end);
    });
}

#[test]
fn a_thread_is_described() {
    let _turn = turn();
    install().unwrap();
    ENDS.store(false, Ordering::Relaxed);
    scope(|scope| {
        let end = End;
        start(scope, "of a name beyond fifteen bytes", spins);
        start(scope, "sleep", sleeps);
        wait_for(|| {
            let all = capture();
            let found = find(&all, "of a name beyon").zip(find(&all, "sleep"));
            found.is_some_and(|(busy, idle)| {
                busy.state == 'R' && idle.state == 'S' && busy.cpu > Duration::from_millis(50) && busy.cpu > idle.cpu
            })
        });
        drop(end);
    });
}

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the threads end, also when the test fails.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        ENDS.store(true, Ordering::Relaxed);
    }
}

fn goes_on() -> bool {
    !ENDS.load(Ordering::Relaxed)
}

fn start<'scope>(scope: &'scope Scope<'scope, '_>, name: &str, work: impl FnOnce() + Send + 'scope) {
    std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, work).expect("a thread");
}

fn find(capture: &Capture, name: &str) -> Option<Thread> {
    capture.threads.iter().find(|thread| thread.name == name).cloned()
}

/// Whether a thread of this name is in this function; a thread that was born just now has the name of its parent.
fn finds(capture: &Capture, name: &str, frame: &str) -> bool {
    let named = capture.threads.iter().filter(|thread| thread.name == name);
    named.filter_map(|thread| thread.frames.as_ref().ok()).flatten().any(|name| name.ends_with(frame))
}

/// Whether a thread is in these functions, one within the other, the last of which is called from `outer` at some distance.
fn is_within(capture: &Capture, name: &str, inner: &[&str], outer: &str) -> bool {
    let frames = find(capture, name).and_then(|thread| thread.frames.ok()).unwrap_or_default();
    let is_inner = frames.len() > inner.len() && frames.iter().zip(inner).all(|(frame, inner)| frame.ends_with(inner));
    is_inner && frames[inner.len()..].iter().any(|frame| frame.ends_with(outer))
}

#[track_caller]
fn wait_for(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "it does not happen; at last:\n{:#?}", capture());
    }
}

#[inline(never)]
fn waits_for_a_mutex() {
    drop(black_box(LOCKED.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Leaves the processor to the others, which are many.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(1));
}

#[inline(never)]
fn spins() {
    let mut number = 0_u64;
    while goes_on() {
        number = black_box(number.wrapping_mul(3) + 1);
    }
}

#[inline(never)]
fn sleeps() {
    while goes_on() {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    black_box(());
}

#[inline(never)]
fn reads_the_clock() {
    while goes_on() {
        black_box(Instant::now());
    }
}

#[inline(never)]
fn opens_a_library() {
    while goes_on() {
        // SAFETY: the C library's own, which does nothing when it is loaded.
        unsafe {
            let library = libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW);
            assert!(!library.is_null());
            libc::dlclose(library);
        }
        OPENED.fetch_add(1, Ordering::Relaxed);
        pause();
    }
}

#[inline(never)]
fn panics() {
    while goes_on() {
        panic::catch_unwind(|| panics_below(9)).expect_err("it panics");
        PANICS.fetch_add(1, Ordering::Relaxed);
    }
}

#[inline(never)]
fn panics_below(depth: u32) -> u32 {
    // something to drop on the way out
    let _held = black_box(Box::new(depth));
    if black_box(depth) == 0 { panic!("on purpose") } else { panics_below(depth - 1) + 1 }
}

#[inline(never)]
fn sorts_in_c() {
    extern "C" fn compare(a: *const c_void, b: *const c_void) -> c_int {
        // SAFETY: the array is of such numbers.
        let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
        a.cmp(&b) as c_int
    }
    while goes_on() {
        let mut numbers: Vec<u32> = (0..1000_u32).map(|number| number.wrapping_mul(2_654_435_769)).collect();
        // SAFETY: so long is the array, and such are its parts.
        unsafe { libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), size_of::<u32>(), Some(compare)) };
        SORTED.fetch_add(u64::from(numbers.is_sorted()), Ordering::Relaxed);
        pause();
    }
}

/// Deeper than what is copied.
#[inline(never)]
#[expect(clippy::large_stack_arrays, reason = "it is the stack that is to be large")]
fn is_deep() {
    let room = black_box([0_u8; 80 * 1024]);
    sleeps();
    black_box(&room);
}

#[inline(never)]
fn starts_threads() {
    while goes_on() {
        std::thread::spawn(|| BORN.fetch_add(1, Ordering::Relaxed)).join().expect("it only counts");
        pause();
    }
}

#[inline(never)]
fn waits_in_c(reader: &PipeReader) {
    let mut waits = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: it is one, and ours.
    while unsafe { libc::poll(&raw mut waits, 1, 10_000) } < 0 {}
    black_box(());
}

#[inline(never)]
fn blocks_signals() {
    // SAFETY: only this thread's.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
    sleeps();
}

extern "C" fn stays_in_its_handler(_signal: c_int) {
    while goes_on() {
        std::hint::spin_loop();
    }
}
