//! [`supervise`], [`Part`] and [`persist`]: a part that has crashed is started again, so that no process only answers while
//! nobody works in it.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt as _;
use slipstream_coordination::retry::Pauses;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::error;

use crate::process::stop::Stop;

/// Runs a part in a task of its own until it ends after `stop` was asked for. A part that panics, or ends before, is told
/// as an error and begun again after a pause, which grows while it goes on like that. A panic after `stop` is handed on
/// to whoever awaits this. Dropping it drops the part.
pub(crate) async fn supervise<W>(part: impl Into<String>, stop: Stop, mut start: impl FnMut() -> W)
where
    W: Future<Output = ()> + Send + 'static,
{
    let part = part.into();
    let mut pauses = Pauses::default();
    loop {
        let since = Instant::now();
        let ended = AbortOnDropHandle::new(tokio::spawn(start())).await;
        let panic = match ended.map_err(JoinError::try_into_panic) {
            Ok(()) => None,
            Err(Ok(panic)) => Some(panic),
            // only the end of the runtime cancels it
            Err(Err(_)) => return,
        };
        match panic {
            None if stop.is_asked() => return,
            Some(panic) if stop.is_asked() => resume_unwind(panic),
            None => error!(part, "ended unexpectedly, restarting"),
            Some(panic) => error!(part, cause = panic_message(&*panic), "crashed, restarting"),
        }
        pauses.reset_after(since.elapsed());
        stop.pause(pauses.take()).await;
        if stop.is_asked() {
            return;
        }
    }
}

/// A part that works for its owner, in a task of its own, until this is dropped. It never ends by itself, so that nothing
/// which its owner drops before can be taken for an end that nobody expects. If it panics it is begun again.
pub(crate) struct Part {
    _work: AbortOnDropHandle<()>,
}

impl Part {
    pub(crate) fn begin<W>(part: impl Into<String>, mut start: impl FnMut() -> W + Send + 'static) -> Self
    where
        W: Future<Output = Infallible> + Send + 'static,
    {
        let begin = move || {
            let work = start();
            async move { match work.await {} }
        };
        // whoever drops this ends it, nobody asks it to stop
        Self { _work: AbortOnDropHandle::new(tokio::spawn(supervise(part.into(), Stop::new(), begin))) }
    }
}

/// Runs a part where it is awaited, beside others that are not to end with it. A part that panics is told as an error and
/// begun again after a pause, which grows while it goes on like that.
pub(crate) async fn persist<W: Future>(part: &str, mut start: impl FnMut() -> W) -> W::Output {
    let mut pauses = Pauses::default();
    loop {
        let since = Instant::now();
        match AssertUnwindSafe(async { start().await }).catch_unwind().await {
            Ok(ended) => return ended,
            Err(panic) => error!(part, cause = panic_message(&*panic), "crashed, restarting"),
        }
        pauses.reset_after(since.elapsed());
        sleep(pauses.take()).await;
    }
}

/// What a panic says.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panicked without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    /// A part that counts how often it was begun, and the moments of it.
    async fn begun(begins: u32, end: fn()) -> Vec<u64> {
        let (count, moments) = (Arc::new(AtomicU32::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
        let (stop, origin) = (Stop::new(), Instant::now());
        supervise("test", stop.clone(), || {
            let (count, moments, stop) = (count.clone(), moments.clone(), stop.clone());
            async move {
                moments.lock().unwrap().push(origin.elapsed().as_secs());
                if count.fetch_add(1, Ordering::Relaxed) + 1 == begins {
                    stop.ask();
                } else {
                    end();
                }
            }
        })
        .await;
        let moments = moments.lock().unwrap();
        moments.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_crashes_is_started_again_with_growing_pauses() {
        assert_eq!(begun(8, || panic!("as the test wants it")).await, [0, 1, 3, 7, 15, 31, 61, 91]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_in_place_that_crashes_is_started_again_with_growing_pauses() {
        let (origin, mut moments) = (Instant::now(), Vec::new());
        let ended = persist("test", || {
            moments.push(origin.elapsed().as_secs());
            let begins = moments.len();
            async move {
                assert_eq!(begins, 4, "as the test wants it");
                begins
            }
        });
        assert_eq!(ended.await, 4);
        assert_eq!(moments, [0, 1, 3, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_ends_too_early_is_started_again() {
        assert_eq!(begun(4, || {}).await, [0, 1, 3, 7]);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_short_again_after_a_part_has_worked_for_long() {
        let stop = Stop::new();
        let mut begins = 0;
        let start = Instant::now();
        supervise("test", stop.clone(), || {
            begins += 1;
            let (is_last, stop) = (begins == 4, stop.clone());
            async move {
                tokio::time::sleep(Duration::from_mins(1)).await;
                if is_last { stop.ask() } else { panic!("as the test wants it") }
            }
        })
        .await;
        assert_eq!((begins, start.elapsed().as_secs()), (4, 4 * 60 + 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_pause_and_a_panic_after_it_is_handed_on() {
        let stop = Stop::new();
        let pausing = supervise("test", stop.clone(), || async { panic!("before the stop") });
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            stop.ask();
        };
        tokio::join!(pausing, stopping);
        let asked = stop.clone();
        let handed = tokio::spawn(async move { supervise("test", asked, || async { panic!("after the stop") }).await });
        let panic = handed.await.unwrap_err().into_panic();
        assert_eq!(panic_message(&*panic), "after the stop");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_of_an_owner_is_begun_again_until_it_is_dropped() {
        let (begins, held) = (Arc::new(AtomicU32::new(0)), Arc::new(()));
        let (count, part) = (begins.clone(), held.clone());
        let part = Part::begin("test", move || {
            let (is_first, part) = (count.fetch_add(1, Ordering::Relaxed) == 0, part.clone());
            async move {
                assert!(!is_first, "as the test wants it");
                let never = std::future::pending().await;
                drop(part);
                never
            }
        });
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!((begins.load(Ordering::Relaxed), Arc::strong_count(&held)), (2, 3));
        drop(part);
        let ended = async {
            while Arc::strong_count(&held) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), ended).await.expect("it is dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_goes_with_whoever_supervises_it() {
        let held = Arc::new(());
        let stop = Stop::new();
        let part = held.clone();
        let supervised = supervise("test", stop.clone(), move || {
            let part = part.clone();
            async move {
                std::future::pending::<()>().await;
                drop(part);
            }
        });
        assert!(tokio::time::timeout(Duration::from_secs(1), supervised).await.is_err());
        // in paused time, which goes on once nobody has anything to do
        let dropped = async {
            while Arc::strong_count(&held) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), dropped).await.expect("it is dropped");
    }
}
