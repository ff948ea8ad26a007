//! [`Outlet`]: what a host says, and the job that it is about.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::Reports;
use crate::protocol::{self, End, FromHost, Reported};

/// Reports that come faster than this are merged: executors read no more than a thousand lines a second.
const BETWEEN_REPORTS: Duration = Duration::from_millis(10);

/// What the two threads of a host share.
pub(super) struct Outlet {
    said: Mutex<Said>,
    /// Something was reported.
    notice: Arc<Notify>,
}

struct Said {
    file: File,
    current: Option<Current>,
}

/// The job under way.
struct Current {
    number: u64,
    reports: Reports,
    cancellation: CancellationToken,
}

/// Hears SIGTERM from now on.
pub(super) fn stops() -> io::Result<Signal> {
    signal(SignalKind::terminate())
}

impl Outlet {
    pub(super) fn new(file: File) -> Self {
        Self { said: Mutex::new(Said { file, current: None }), notice: Arc::default() }
    }

    /// A job begins, whose reports arrive at what is answered.
    pub(super) fn begin(&self, number: u64, cancellation: CancellationToken) -> Reports {
        let reports = Reports::with_notice(Some(self.notice.clone()));
        self.said().current = Some(Current { number, reports: reports.clone(), cancellation });
        reports
    }

    /// The job has ended: says what is left to be reported, and then that.
    pub(super) fn end(&self, end: End) -> io::Result<()> {
        let mut said = self.said();
        let current = said.current.take();
        let mut bytes = current.as_ref().and_then(report).map(|report| line(&report)).unwrap_or_default();
        bytes.extend(line(&FromHost::End(end)));
        said.file.write_all(&bytes)
    }

    pub(super) fn say(&self, message: &FromHost) -> io::Result<()> {
        self.said().file.write_all(&line(message))
    }

    /// Sends reports on and cancels the job at SIGTERM; between jobs that means nothing. Never ends.
    pub(super) async fn watch(&self, mut stops: Signal) {
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                _ = stops.recv() => self.cancel(),
                () = self.report_due(next) => {
                    self.report();
                    next = Instant::now() + BETWEEN_REPORTS;
                }
            }
        }
    }

    async fn report_due(&self, not_before: Instant) {
        sleep_until(not_before).await;
        self.notice.notified().await;
    }

    fn cancel(&self) {
        if let Some(current) = &self.said().current {
            current.cancellation.cancel();
        }
    }

    fn report(&self) {
        let mut said = self.said();
        if let Some(report) = said.current.as_ref().and_then(report) {
            // if nobody listens, saying the end fails too, and that ends the program
            said.file.write_all(&line(&report)).unwrap_or_default();
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().expect("no holder of this lock panics")
    }
}

/// What is to be reported of a job, if anything is.
fn report(current: &Current) -> Option<FromHost> {
    let report = current.reports.take();
    let reported = Reported {
        number: Some(current.number),
        progress: report.progress,
        message: report.status_message,
        affected: report.affected_resources,
    };
    (reported.progress.is_some() || reported.message.is_some() || !reported.affected.is_empty())
        .then_some(FromHost::Report(reported))
}

fn line(message: &FromHost) -> Vec<u8> {
    protocol::line(message).expect("messages and ids have limits far below that of a line")
}
