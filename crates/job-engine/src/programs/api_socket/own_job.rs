//! [`OwnJobLane`]: the edits of an attempt's own job, one after the other in the order in which they came.
//!
//! They are sent by a task of their own: an edit whose sender has gone away half way must not be overtaken by the next one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use slipstream_cimi::{Client, Document};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, debug, warn};

use super::answers;
use super::folding::{Folding, Taken, report_of};
use super::repeat::{self, Repeats, Unanswered, is_outage};

/// Most edits that wait for their turn; those that come then wait for a place.
const MOST_WAITING: usize = 32;

/// The edits of one attempt's own job.
pub(super) struct OwnJobLane {
    orders: mpsc::Sender<Order>,
    folding: Arc<Mutex<Folding>>,
    _work: AbortOnDropHandle<()>,
}

type Answer = Result<Response<Bytes>, Unanswered>;

enum Order {
    Report(Document, oneshot::Sender<Answer>),
    InTurn(InTurn),
}

/// What comes once all before it is done.
enum InTurn {
    Edit(Box<Request<Bytes>>, Repeats, oneshot::Sender<Answer>),
    Flush(oneshot::Sender<()>),
}

impl OwnJobLane {
    /// A lane for the job `id`, whose edits this client sends.
    pub(super) fn new(client: Client, id: String) -> Self {
        let (orders, received) = mpsc::channel(MOST_WAITING);
        let folding = Arc::new(Mutex::default());
        let work = Work { client, id, folding: folding.clone(), waiting: VecDeque::new(), under_way: None };
        Self { orders, folding, _work: AbortOnDropHandle::new(tokio::spawn(work.run(received).in_current_span())) }
    }

    /// Sends an edit in its turn, or answers for it if it is a report. `is_plain` says that it may be one.
    pub(super) async fn edit(&self, request: Request<Bytes>, repeats: Repeats, is_plain: bool) -> Answer {
        let report = if is_plain { report_of(request.body()) } else { None };
        let (sender, answer) = oneshot::channel();
        let order = match report {
            Some(changes) => Order::Report(changes, sender),
            None => Order::InTurn(InTurn::Edit(Box::new(request), repeats, sender)),
        };
        if self.orders.send(order).await.is_err() {
            return Err(Unanswered::Ended);
        }
        answer.await.unwrap_or(Err(Unanswered::Ended))
    }

    /// Ends once every edit that came before is done, and what was answered is in the job, or cannot be written.
    pub(super) async fn flush(&self) {
        let (sender, done) = oneshot::channel();
        if self.orders.send(Order::InTurn(InTurn::Flush(sender))).await.is_ok() {
            // a lane that has ended has nothing more to write
            done.await.unwrap_or_default();
        }
    }

    /// What was answered and may not be in the job yet, for whoever reads the job.
    pub(super) fn unsettled(&self) -> Document {
        locked(&self.folding).unsettled()
    }
}

fn locked(folding: &Mutex<Folding>) -> MutexGuard<'_, Folding> {
    folding.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the task of a lane knows.
struct Work {
    client: Client,
    id: String,
    folding: Arc<Mutex<Folding>>,
    waiting: VecDeque<Order>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    answer: BoxFuture<'static, Answer>,
    /// Who waits for it, if somebody does.
    sender: Option<oneshot::Sender<Answer>>,
    is_report: bool,
}

impl Work {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            while self.step() {}
            let due = self.wake();
            tokio::select! {
                answer = answer_of(&mut self.under_way) => self.finish(answer),
                order = orders.recv(), if self.waiting.len() < MOST_WAITING => match order {
                    Some(order) => self.waiting.push_back(order),
                    None => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// Does the next thing that can be done now; answers whether there may be more.
    fn step(&mut self) -> bool {
        let now = Instant::now();
        let Some(order) = self.waiting.pop_front() else {
            let is_due = self.folding().due().is_some_and(|due| due <= now);
            return self.under_way.is_none() && is_due && self.send_pending(now);
        };
        if self.under_way.as_ref().is_some_and(|under_way| !under_way.is_report) {
            self.waiting.push_front(order);
            return false;
        }
        match order {
            Order::Report(changes, sender) => self.take_report(changes, sender, now),
            Order::InTurn(order) if self.under_way.is_some() || self.send_pending(now) => {
                self.waiting.push_front(Order::InTurn(order));
                false
            }
            // nobody wants it any more, and nothing of it was sent
            Order::InTurn(InTurn::Edit(_, _, sender)) if sender.is_closed() => true,
            Order::InTurn(InTurn::Edit(request, repeats, sender)) => {
                self.send_edit(*request, repeats, sender);
                true
            }
            Order::InTurn(InTurn::Flush(sender)) => {
                // whoever waits may have gone
                sender.send(()).unwrap_or_default();
                true
            }
        }
    }

    fn take_report(&mut self, changes: Document, sender: oneshot::Sender<Answer>, now: Instant) -> bool {
        let taken = self.folding().report(changes, now);
        match taken {
            Taken::Send(changes) => self.send_report(&changes, Some(sender)),
            Taken::Answered(job) => reply(sender, Ok(answers::json(StatusCode::OK, &job))),
            Taken::Later(changes) => {
                self.waiting.push_front(Order::Report(changes, sender));
                return false;
            }
        }
        true
    }

    /// When there is something to do without an order; none if something under way comes first.
    fn wake(&self) -> Option<Instant> {
        let folding = self.folding();
        folding.due().filter(|_| self.under_way.is_none() && (folding.is_pending() || !self.waiting.is_empty()))
    }

    fn send_pending(&mut self, now: Instant) -> bool {
        let changes = self.folding().take(now);
        let Some(changes) = changes else { return false };
        self.send_report(&changes, None);
        true
    }

    fn send_report(&mut self, changes: &Document, sender: Option<oneshot::Sender<Answer>>) {
        let body = serde_json::to_vec(changes).expect("a document's keys are texts");
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::PUT;
        *request.uri_mut() = format!("/api/{}", self.id).parse().expect("the id of a job is part of a path");
        for name in [ACCEPT, CONTENT_TYPE] {
            request.headers_mut().insert(name, HeaderValue::from_static("application/json"));
        }
        let answer = self.send(request, Repeats::Yes);
        self.under_way = Some(UnderWay { answer, sender, is_report: true });
    }

    fn send_edit(&mut self, mut request: Request<Bytes>, repeats: Repeats, sender: oneshot::Sender<Answer>) {
        // its answer is read here, too
        request.headers_mut().remove(ACCEPT_ENCODING);
        let answer = self.send(request, repeats);
        self.under_way = Some(UnderWay { answer, sender: Some(sender), is_report: false });
    }

    fn send(&self, request: Request<Bytes>, repeats: Repeats) -> BoxFuture<'static, Answer> {
        let client = self.client.clone();
        // what was answered is written also after the attempt's end
        Box::pin(async move { repeat::send(&client, request, repeats, &CancellationToken::new()).await })
    }

    /// What was under way is answered.
    fn finish(&mut self, answer: Answer) {
        let Some(UnderWay { sender, is_report, .. }) = self.under_way.take() else { return };
        if is_report {
            self.finish_report(&answer);
        } else if let Ok(answer) = &answer
            && answer.status().is_success()
        {
            self.folding().learned(job_in(answer));
        }
        if let Some(sender) = sender {
            reply(sender, answer);
        }
    }

    fn finish_report(&mut self, answer: &Answer) {
        let problem = match answer {
            Ok(answer) if answer.status().is_success() => return self.folding().settled(job_in(answer)),
            Ok(answer) if !is_outage(answer) => {
                let status = answer.status().as_u16();
                debug!(status, "the server refused what the action reported");
                return self.folding().settled(None);
            }
            Ok(answer) => Unanswered::OutOfReach(format!("status {}", answer.status().as_u16())),
            Err(problem) => problem.clone(),
        };
        self.folding().undelivered(Instant::now());
        // what comes after it would be written before it
        match self.waiting.pop_front() {
            Some(Order::InTurn(InTurn::Edit(_, _, sender))) => reply(sender, Err(problem)),
            Some(Order::InTurn(InTurn::Flush(sender))) => {
                warn!(?problem, "the last progress that the action reported could not be written");
                sender.send(()).unwrap_or_default();
            }
            Some(report) => self.waiting.push_front(report),
            None => {}
        }
    }

    fn folding(&self) -> MutexGuard<'_, Folding> {
        locked(&self.folding)
    }
}

/// Whoever asked may have gone.
fn reply(sender: oneshot::Sender<Answer>, answer: Answer) {
    drop(sender.send(answer));
}

async fn answer_of(under_way: &mut Option<UnderWay>) -> Answer {
    match under_way {
        Some(under_way) => under_way.answer.as_mut().await,
        None => std::future::pending().await,
    }
}

/// The job, if the server shows it; some answer another body (specification 3.5).
fn job_in(answer: &Response<Bytes>) -> Option<Document> {
    let job: Document = serde_json::from_slice(answer.body()).ok()?;
    job.contains_key("id").then_some(job)
}

#[cfg(test)]
mod tests;
