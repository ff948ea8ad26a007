//! How everything is asked to stop. Signals are read here and nowhere else.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Handed to whatever runs until it is told to stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: CancellationToken,
    at_once: CancellationToken,
}

impl Stop {
    /// Nobody asks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for an orderly stop: nothing new is begun, what runs may end within its grace.
    pub fn ask(&self) {
        self.asked.cancel();
    }

    /// Asks to stop without any grace.
    pub fn ask_at_once(&self) {
        self.asked.cancel();
        self.at_once.cancel();
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Ends when somebody asks.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Ends when the grace is over: `grace` after somebody asked, or when somebody asked to stop at once.
    pub async fn grace_over(&self, grace: Duration) {
        self.asked.cancelled().await;
        // Either branch is the end of the grace.
        tokio::select! {
            biased;
            () = tokio::time::sleep(grace) => {}
            () = self.at_once.cancelled() => {}
        }
    }
}

/// Exit code after a third signal: 128 and the number of SIGINT, as shells have it.
const THIRD_SIGNAL: i32 = 130;

/// SIGXFSZ, as Linux has it on nearly every machine, and macOS.
const FILE_TOO_LARGE: i32 = 25;

/// Asks `stop` at the first SIGTERM or SIGINT, to stop at once at the second, and ends the process at the third.
pub fn on_signals(stop: &Stop) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // heard, so that it ends nobody: whoever writes more than this process may is told by the error
    drop(signal(SignalKind::from_raw(FILE_TOO_LARGE))?);
    let stop = stop.clone();
    tokio::spawn(async move {
        for ask in [Stop::ask, Stop::ask_at_once] {
            // Either signal asks for the same.
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            ask(&stop);
        }
        // Whoever asks a third time does not want to wait for anything; what was answered is on disk.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(THIRD_SIGNAL);
    });
    Ok(())
}
