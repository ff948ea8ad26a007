//! [`spawn`]: the tasks under a session, none of which can crash unnoticed.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

#[cfg(test)]
mod tests;

/// Runs a part of a session in a task of its own. One that panics, which only a bug makes it do, is logged as an error and
/// ends the session by `close`: its nodes go, whoever rests on them hears of it as of any session that has expired, and
/// begins with a new one. Without that the session would live on, and nobody work in it.
pub(crate) fn spawn<C>(
    part: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
    close: impl FnOnce() -> C + Send + 'static,
) where
    C: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let ended = AssertUnwindSafe(work).catch_unwind().await;
        if let Err(panic) = ended {
            let cause = message(&*panic);
            tracing::error!(part, cause, "crashed: its session ends, a new one follows");
            close().await;
        }
    });
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panicked without a message")
}
