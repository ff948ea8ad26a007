//! A process that has not asked for it: its own test program, as the signal's handler is of the whole process.

use slipstream_stacks::{Missed, capture};

#[test]
fn without_a_handler_no_thread_is_asked() {
    let all = capture();
    assert!(!all.threads.is_empty());
    assert_eq!(all.missed, all.threads.len());
    assert!(all.threads.iter().all(|thread| thread.frames == Err(Missed::NotInstalled)));
}

#[test]
fn nobody_loses_a_handler_to_it() {
    extern "C" fn of_somebody_else(_signal: libc::c_int) {}
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(libc::SIGRTMIN() + 7, of_somebody_else as *const () as libc::sighandler_t) };
    let error = slipstream_stacks::install().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(capture().missed, capture().threads.len());
}
