//! [`Batcher`]: sends the requests of attempts, many in one where the server takes reports, and one by one to every other
//! server.
//!
//! Requests made while another is in flight are batched into the next, which is sent as soon as that one is answered
//! (decision 10). Final writes have their own lane, because they wait for the disk.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slipstream_action::with_causes;
use slipstream_cimi::client::lists::{Report, ReportList, Reported, takes_reports};
use slipstream_cimi::dialect::ENTRY_POINT;
use slipstream_cimi::{AttemptIdentity, Client, Document, Error, Job};
use slipstream_coordination::retry::Pauses;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::executor::offers::Offered;
use crate::process::supervise::persist;

/// Most reports in one request.
const MOST_REPORTS: usize = 256;
/// Most bytes of reports in one request, unless one alone is larger; servers read 1 MiB.
const MOST_BYTES: usize = 512 * 1024;
/// Most reports that wait in one lane; those that come then wait for a place.
const MOST_WAITING: usize = 1024;

/// Sends the requests of attempts in batches.
pub(super) struct Batcher {
    shared: Arc<Shared>,
    /// For what is answered at once: reads, begins, progress.
    quick: Lane,
    /// For what ends an attempt, and is answered once it is on disk.
    lasting: Lane,
}

struct Lane {
    pending: mpsc::Sender<Pending>,
    _work: AbortOnDropHandle<()>,
}

/// What both lanes share.
struct Shared {
    client: Client,
    /// The actions that can be run here.
    offers: Offered,
    takes_reports: AtomicBool,
    /// Notified when a list was refused by a server that had announced to take it.
    doubt: Notify,
}

impl Batcher {
    /// Sends reports as this client, once the server is known to take them, see [`find_out`](Self::find_out). Jobs of
    /// these actions can be begun here.
    pub(super) fn new(client: Client, offers: Offered) -> Self {
        let shared = Arc::new(Shared { client, offers, takes_reports: AtomicBool::new(false), doubt: Notify::new() });
        Self { quick: Lane::new(&shared), lasting: Lane::new(&shared), shared }
    }

    /// Whether the server takes reports, which servers of this engine do.
    pub(super) fn takes_reports(&self) -> bool {
        self.shared.takes_reports.load(Ordering::Relaxed)
    }

    /// Finds out whether the server takes reports, and again whenever that is in doubt. Never ends.
    pub(super) async fn find_out(&self) -> Infallible {
        let mut pauses = Pauses::default();
        loop {
            match self.shared.client.get(ENTRY_POINT).await {
                Ok(entry_point) => {
                    self.shared.takes_reports.store(takes_reports(&entry_point), Ordering::Relaxed);
                    self.shared.doubt.notified().await;
                }
                Err(error) => debug!(cause = with_causes(&error), "not known yet whether the server takes reports"),
            }
            sleep(pauses.take()).await;
        }
    }

    /// Reads the job `id`; `client` is the attempt's own.
    pub(super) async fn read(&self, client: &Client, id: &str) -> Result<Document, Error> {
        match self.batch(&self.quick, || Report::Read { id: id.to_owned(), shows_job: true }).await {
            Some(answer) => document(answer?, id),
            None => client.get(id).await,
        }
    }

    /// Reads the attempt's job and, where the server takes reports and the job's action can be run here, sets it RUNNING,
    /// which begins the attempt: answers the job as it was before, and whether that was done. `asked` becomes true once the
    /// server is asked for that.
    pub(super) async fn begin(
        &self,
        client: &Client,
        attempt: &Arc<AttemptIdentity>,
        asked: &AtomicBool,
    ) -> Result<Fetched, Error> {
        let report = || {
            asked.store(true, Ordering::Relaxed);
            Report::Begin { attempt: attempt.clone(), changes: Document::new() }
        };
        match self.batch(&self.quick, report).await {
            Some(answer) => match answer? {
                Reported::Begin { job, begun, rerun } => {
                    Ok(Fetched { begun, rerun, job: job.map_err(|reason| unintelligible(&attempt.job, reason)) })
                }
                Reported::Done | Reported::Job(_) => Err(unintelligible(&attempt.job, "it shows no job".to_owned())),
            },
            None => Ok(Fetched { begun: false, rerun: None, job: read(client.get(&attempt.job).await?) }),
        }
    }

    /// Edits the attempt's job, and answers it as it is then; not for what ends the attempt.
    pub(super) async fn edit(
        &self,
        client: &Client,
        attempt: &Arc<AttemptIdentity>,
        changes: &Document,
    ) -> Result<Document, Error> {
        match self.batch(&self.quick, || edit(attempt, changes, true)).await {
            Some(answer) => document(answer?, &attempt.job),
            None => client.edit(&attempt.job, changes, &[]).await,
        }
    }

    /// Writes what ends the attempt.
    pub(super) async fn end(
        &self,
        client: &Client,
        attempt: &Arc<AttemptIdentity>,
        changes: &Document,
    ) -> Result<(), Error> {
        match self.batch(&self.lasting, || edit(attempt, changes, false)).await {
            Some(answer) => answer.map(drop),
            None => client.edit(&attempt.job, changes, &[]).await.map(drop),
        }
    }

    /// Dropped before the report is sent, it takes the report back.
    async fn batch(&self, lane: &Lane, report: impl FnOnce() -> Report) -> Answer {
        if !self.takes_reports() {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        // without its lane a request is sent by itself
        lane.pending.send(Pending { report: report(), answer: sender }).await.ok()?;
        answer.await.ok()?
    }
}

/// Answers to a report; `None` asks for a request of its own.
type Answer = Option<Result<Reported, Error>>;

/// A report that waits to be sent, and where its answer goes.
struct Pending {
    report: Report,
    answer: oneshot::Sender<Answer>,
}

/// The job as it was before its attempt.
pub(super) struct Fetched {
    /// An error if it is not a job that this version understands.
    pub(super) job: Result<Box<Job>, Error>,
    /// Whether the attempt was begun.
    pub(super) begun: bool,
    /// Whether another attempt was lost before, where the server says that.
    pub(super) rerun: Option<bool>,
}

fn edit(attempt: &Arc<AttemptIdentity>, changes: &Document, shows_job: bool) -> Report {
    Report::Edit { attempt: attempt.clone(), changes: changes.clone(), shows_job }
}

/// The job that a report asked for.
fn document(answer: Reported, id: &str) -> Result<Document, Error> {
    match answer {
        Reported::Job(document) => Ok(document),
        Reported::Done | Reported::Begin { .. } => Err(unintelligible(id, "it shows no job".to_owned())),
    }
}

fn unintelligible(id: &str, reason: String) -> Error {
    Error::Unintelligible { request: format!("a report of {id}"), reason }
}

fn read(document: Document) -> Result<Box<Job>, Error> {
    let request = document.get("id").map_or_else(String::new, |id| format!("GET {id}"));
    let job = Job::from_document(document).map(Box::new);
    job.map_err(|error| Error::Unintelligible { request, reason: error.to_string() })
}

impl Lane {
    fn new(shared: &Arc<Shared>) -> Self {
        let (pending, received) = mpsc::channel(MOST_WAITING);
        let (shared, received) = (shared.clone(), Arc::new(Mutex::new(received)));
        // requests under way in a crash are sent one by one
        let work = async move {
            persist("batcher", || async { work(&shared, &mut *received.lock().await).await }).await;
        };
        Self { pending, _work: AbortOnDropHandle::new(tokio::spawn(work)) }
    }
}

/// One request after the other, each with all that has arrived meanwhile.
async fn work(shared: &Shared, received: &mut mpsc::Receiver<Pending>) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(pending) => pending,
            None => match received.recv().await {
                Some(pending) => pending,
                None => return,
            },
        };
        // those that were woken together with the first come along
        tokio::task::yield_now().await;
        // values are no bytes
        let most_bytes = if shared.client.takes_values() { usize::MAX } else { MOST_BYTES };
        let (reports, answers) = gather(first, received, &mut left_over, most_bytes);
        if !reports.is_empty() {
            shared.send(reports.into(), answers).await;
        }
    }
}

/// The reports of one request: those that are waiting, and still waited for, as far as they fit.
fn gather(
    first: Pending,
    received: &mut mpsc::Receiver<Pending>,
    left_over: &mut Option<Pending>,
    most_bytes: usize,
) -> (Vec<Report>, Vec<oneshot::Sender<Answer>>) {
    let (mut reports, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut next = Some(first);
    while let Some(Pending { report, answer }) = next.take() {
        if !answer.is_closed() {
            let size = if most_bytes == usize::MAX { 0 } else { report.size() };
            if bytes + size > most_bytes && !reports.is_empty() {
                *left_over = Some(Pending { report, answer });
                break;
            }
            bytes += size;
            reports.push(report);
            answers.push(answer);
        }
        if reports.len() < MOST_REPORTS {
            // empty or closed: either way this is all
            next = received.try_recv().ok();
        }
    }
    (reports, answers)
}

impl Shared {
    async fn send(&self, reports: Arc<[Report]>, waiting: Vec<oneshot::Sender<Answer>>) {
        // a caller that is gone needs no answer
        let answer_to = |waiting: oneshot::Sender<Answer>, answer| drop(waiting.send(answer));
        let list = ReportList { reports: reports.clone(), actions: self.offers.names().into() };
        match self.client.report(list).await {
            Ok(answers) => {
                for (waiting, answer) in waiting.into_iter().zip(answers) {
                    answer_to(waiting, Some(answer));
                }
            }
            Err(error) if refuses_lists(&error) => {
                debug!(cause = with_causes(&error), "the server does not take reports");
                self.takes_reports.store(false, Ordering::Relaxed);
                self.doubt.notify_one();
                for waiting in waiting {
                    answer_to(waiting, None);
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for (report, waiting) in reports.iter().zip(waiting) {
                    answer_to(waiting, Some(Err(as_if_alone(&error, report))));
                }
            }
        }
    }
}

/// Whether it is the list that is refused, and not what is in it.
fn refuses_lists(error: &Error) -> bool {
    error.refusal().is_some_and(|refusal| matches!(refusal.status, 400 | 404 | 405 | 413 | 415))
}

/// The error that a request of its own would have met.
fn as_if_alone(error: &Arc<Error>, report: &Report) -> Error {
    let request = report.request();
    match &**error {
        Error::Refused { refusal, .. } => Error::Refused { request, refusal: refusal.clone() },
        Error::Unintelligible { reason, .. } => Error::Unintelligible { request, reason: reason.clone() },
        Error::Unreachable { .. } => Error::Unreachable { request, source: Box::new(error.clone()) },
    }
}

#[cfg(test)]
mod tests;
