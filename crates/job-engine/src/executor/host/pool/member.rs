//! One process of a pool, from its start to its end.

mod following;
mod starting;

use std::collections::BTreeSet;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustix::process::Signal;
use slipstream_action::Failure;
use slipstream_action::protocol::{self, EndState, ToHost};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, info, warn};

use self::following::Followed;
use super::{Order, STOPPED_BEFORE, Shared, Turn};
use crate::executor::host::conversation::{self, Breach, Conversation, Gone, Said};
use crate::executor::host::{Outcome, at};
use crate::programs::directories::Directory;
use crate::programs::limits;
use crate::programs::lines::LineError;
use crate::programs::process::{Event, Input, Process};
use crate::programs::throttle::Throttle;

/// After so long without a job a process ends, unless it is the only one.
const IDLE: Duration = Duration::from_mins(1);
/// A process that is larger than this after a job is replaced, in bytes.
const LARGEST: u64 = 512 << 20;
/// How often that is looked at.
const MEASURED_EVERY: Duration = Duration::from_secs(1);
/// How long a process may take to end once its input has ended, and once it was asked by SIGTERM.
const END: Duration = Duration::from_secs(2);
/// How long what a program has printed may take to arrive, after what it has said.
const LOG_LAG: Duration = Duration::from_millis(5);
/// After so long what does not end is killed once more.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Starts a process and has it do jobs, beginning with `order` if there is one, for as long as it can and there are any.
///
/// If it does not start the order is given back; and if there was none, another start is tried until it is known what the host
/// can do.
pub(super) fn live(pool: Arc<Shared>, id: u64, order: Option<Order>, turn: Turn) -> BoxFuture<'static, ()> {
    let life = async move {
        let is_first = order.is_none();
        let (mut order, mut turn) = (order, turn);
        let started = loop {
            let begun = Instant::now();
            let reason = match start(&pool, id, &mut order).await {
                Ok(member) => break Some((member, turn)),
                Err(reason) => reason,
            };
            if order.is_none() && pool.ending.is_cancelled() {
                break None;
            }
            let next = pool.not_started(begun, &reason);
            if let Some(order) = order.take() {
                order.end(Outcome::Released(reason));
            }
            // meanwhile a job that comes is given back
            drop(turn);
            let again = if is_first { pool.turn_of_first(next).await } else { None };
            let Some(again) = again else { break None };
            turn = again;
        };
        match started {
            Some((member, turn)) => member.live(order, turn).await,
            None => {
                pool.withdraw(id);
            }
        }
    };
    Box::pin(life)
}

/// Starts a process; an order that is given up meanwhile is taken out. Without one it is given up when no job will come.
async fn start(pool: &Arc<Shared>, id: u64, order: &mut Option<Order>) -> Result<Member, String> {
    let is_unwanted = CancellationToken::new();
    let mut start = pin!(Member::start(pool, id, &is_unwanted));
    loop {
        tokio::select! {
            biased;
            started = &mut start => return started,
            () = given_up(order.as_mut()) => {
                if let Some(order) = order.take() {
                    order.end(Outcome::Released(STOPPED_BEFORE.to_owned()));
                }
            }
            () = pool.ending.cancelled(), if order.is_none() && !is_unwanted.is_cancelled() => is_unwanted.cancel(),
        }
    }
}

/// Ends when an order is cancelled or dropped.
async fn given_up(order: Option<&mut Order>) {
    let Some(order) = order else { return pending().await };
    tokio::select! {
        () = order.run.job.cancelled() => {}
        () = order.reply.closed() => {}
    }
}

/// A process that has said hello.
struct Member {
    pool: Arc<Shared>,
    id: u64,
    begun: Instant,
    process: Process,
    /// None once it has ended.
    input: Option<Input>,
    directory: Arc<Directory>,
    conversation: Conversation,
    throttle: Throttle,
    actions: BTreeSet<String>,
    /// Jobs that it has ended.
    jobs: u64,
    /// Whether it has ever waited for a job.
    has_rested: bool,
    measured: Instant,
    /// Whether the log says that it speaks of jobs that have ended.
    is_told_late: bool,
}

/// What is to be told to whoever has given a job.
struct Answer(oneshot::Sender<Outcome>, Outcome);

/// What becomes of a process after a job.
enum After {
    /// It waits for the next.
    Rest(Answer),
    /// It gets no other.
    Retire(Answer),
    /// It has ended with the job.
    Gone(Answer),
    /// It has ended without the job, for this reason.
    NotTaken(Order, String),
}

/// What a process does next that has no job.
enum Next {
    Work(Order, Turn),
    Leave,
    Gone,
}

impl Member {
    async fn live(mut self, order: Option<Order>, turn: Turn) {
        let mut next = (order, turn);
        loop {
            let (order, turn) = next;
            let mut answer = None;
            if let Some(order) = order {
                let about = order.run.about.clone();
                match self.work(order).instrument(about).await {
                    After::Rest(told) => answer = Some(told),
                    After::Retire(told) => {
                        told.tell();
                        return self.leave(Some(turn)).await;
                    }
                    After::Gone(told) => {
                        self.close().await;
                        drop(turn);
                        return told.tell();
                    }
                    After::NotTaken(order, reason) => {
                        let pool = self.pool.clone();
                        self.note_end(&reason);
                        self.close().await;
                        return pool.give_again(order, turn, reason);
                    }
                }
            }
            // whoever is told finds this process idle, unless it has to wait for that
            if self.has_left_something() {
                if let Some(answer) = answer.take() {
                    answer.tell();
                }
                let directory = self.directory.clone();
                spawn_blocking(move || directory.empty()).await.unwrap_or_default();
            }
            let orders = self.pool.rest(self.id);
            drop(turn);
            if let Some(answer) = answer {
                answer.tell();
            }
            match self.rest(orders).await {
                Next::Work(order, turn) => next = (Some(order), turn),
                Next::Leave => return self.leave(None).await,
                Next::Gone => return self.close().await,
            }
        }
    }

    /// Does a job.
    async fn work(&mut self, mut order: Order) -> After {
        if let Some(gone) = self.listen().await {
            return After::NotTaken(order, self.without_job(&gone));
        }
        if order.run.job.is_cancelled() {
            return After::Rest(order.answer(Outcome::Released(STOPPED_BEFORE.to_owned())));
        }
        let job = order.run.job.job();
        if !self.actions.contains(&job.action) {
            let reason = format!("the host does not have the action {} any more", job.action);
            return After::Rest(order.answer(Outcome::Released(reason)));
        }
        let run = protocol::Run {
            number: self.conversation.next_number(),
            job,
            rerun: order.run.job.is_rerun(),
            deadline: order.run.deadline,
            api: order.run.api.clone(),
            directory: self.directory.path().to_string_lossy().into_owned(),
        };
        let Ok(line) = protocol::line(&ToHost::Run(run)) else {
            let failure = format!("its document does not fit into a line of {} bytes", protocol::LONGEST_LINE);
            return After::Rest(order.answer(Outcome::Ended(Err(Failure::new(failure)))));
        };
        self.process.log().begin(order.run.about.clone());
        let _done_by = order.run.notes.done_by(self.process.shown(&self.pool.provider.program));
        let followed = self.follow(&mut order, &line).await;
        if !matches!(&followed, Followed::Ended { end, .. } if end.state == EndState::Success) {
            // what it printed before it said this has been written, and perhaps not been read
            sleep(LOG_LAG).await;
            order.run.output.set(self.process.log().last_lines());
        }
        match followed {
            Followed::Ended { end, is_usable } => {
                self.jobs += 1;
                self.pool.has_worked();
                let retires = end.retire || !is_usable || self.is_worn_out();
                let answer = order.answer(conversation::outcome(end));
                if retires { After::Retire(answer) } else { After::Rest(answer) }
            }
            Followed::Gone(gone) => {
                let failure = gone.failure(&self.process.log().last_lines());
                After::Gone(order.answer(Outcome::Ended(Err(failure))))
            }
            Followed::NotTaken(gone) => After::NotTaken(order, self.without_job(&gone)),
        }
    }

    /// Waits for a job, and for whatever else may happen.
    async fn rest(&mut self, mut orders: oneshot::Receiver<(Order, Turn)>) -> Next {
        self.process.log().begin(Span::none());
        self.has_rested = true;
        let mut leave_at = Instant::now() + IDLE;
        let mut is_chosen = false;
        loop {
            let pause = self.throttle.pause();
            tokio::select! {
                biased;
                order = &mut orders => return order.map_or(Next::Leave, |(order, turn)| Next::Work(order, turn)),
                event = self.process.event(pause.is_none()) => {
                    let Some(gone) = self.hear(event) else { continue };
                    let is_chosen = !self.pool.withdraw(self.id);
                    kill(&mut self.process).await;
                    let reason = self.without_job(&gone);
                    self.note_end(&reason);
                    if is_chosen && let Ok((order, turn)) = orders.await {
                        self.pool.give_again(order, turn, reason);
                    }
                    return Next::Gone;
                }
                () = at(pause) => {}
                () = sleep_until(leave_at) => {
                    if self.pool.may_leave(self.id) {
                        return Next::Leave;
                    }
                    leave_at += IDLE;
                }
                () = self.pool.ending.cancelled(), if !is_chosen => {
                    if self.pool.withdraw(self.id) {
                        return Next::Leave;
                    }
                    // a job is on its way
                    is_chosen = true;
                }
            }
        }
    }

    /// What has happened since the last job; if it is that the process is to go, it has gone when this ends.
    async fn listen(&mut self) -> Option<Gone> {
        loop {
            let reads = self.throttle.pause().is_none();
            let event = self.process.event(reads).now_or_never()?;
            if let Some(gone) = self.hear(event) {
                kill(&mut self.process).await;
                return Some(gone);
            }
        }
    }

    /// Something happens while there is no job; answers why the process has to go, if it has.
    fn hear(&mut self, event: Event) -> Option<Gone> {
        match event {
            Event::Line(line) => {
                self.throttle.count();
                match self.conversation.said(&line, || false) {
                    Ok(Said::Late(what)) => self.tell_late(what),
                    Ok(said) => unreachable!("{said:?} needs a job"),
                    Err(breach) => return Some(Gone::Broke(breach)),
                }
                None
            }
            Event::Breach(error) => Some(gone_by(&error)),
            Event::Silent => Some(Gone::Closed),
            Event::Ended(exit) => Some(Gone::Ended(exit)),
        }
    }

    /// It gets the end of its input, then SIGTERM, then SIGKILL.
    async fn leave(mut self, turn: Option<Turn>) {
        self.pool.withdraw(self.id);
        self.input = None;
        if timeout(END, ended(&mut self.process)).await.is_err() {
            self.process.ask_to_stop();
            if timeout(END, ended(&mut self.process)).await.is_err() {
                kill(&mut self.process).await;
            }
        }
        self.close().await;
        drop(turn);
    }

    /// Nothing of it is left.
    async fn close(self) {
        let Self { pool, id, process, directory, .. } = self;
        pool.withdraw(id);
        drop(process);
        // it may hold much
        spawn_blocking(move || drop(directory)).await.unwrap_or_default();
    }

    /// Whether the next job is better done by another process. A limit of memory counts after each job: what this one has kept
    /// would be held against the next.
    fn is_worn_out(&mut self) -> bool {
        if self.jobs >= self.pool.provider.jobs_per_process {
            return true;
        }
        let is_time = self.measured.elapsed() >= MEASURED_EVERY;
        let most = [self.pool.provider.program.limits.memory, is_time.then_some(LARGEST)].into_iter().flatten().min();
        let Some(most) = most else { return false };
        if is_time {
            self.measured = Instant::now();
        }
        limits::usage(self.process.keeper()).memory > most
    }

    fn has_left_something(&self) -> bool {
        std::fs::read_dir(self.directory.path()).is_ok_and(|mut entries| entries.next().is_some())
    }

    fn tell_late(&mut self, what: &str) {
        if !std::mem::replace(&mut self.is_told_late, true) {
            warn!(host = self.pool.name(), "{what}; said once for each process");
        }
    }

    /// Why the process has gone without a job.
    fn without_job(&self, gone: &Gone) -> String {
        gone.without_job(&self.pool.program(), self.process.log().last_words().as_deref())
    }

    /// The process has ended without a job. One that was started for a job and has not taken it may as well not have started;
    /// what ends one that waited for jobs says nothing of the next.
    fn note_end(&self, reason: &str) {
        if self.jobs == 0 && !self.has_rested {
            self.pool.not_started(self.begun, reason);
        } else {
            info!(host = self.pool.name(), jobs = self.jobs, reason, "a process of the host has ended");
        }
    }
}

impl Answer {
    fn tell(self) {
        // whoever has dropped the run does not want to know
        self.0.send(self.1).ok();
    }
}

impl Order {
    fn answer(self, outcome: Outcome) -> Answer {
        Answer(self.reply, outcome)
    }
}

/// Kills a process and waits until nothing of it is left.
async fn kill(process: &mut Process) {
    loop {
        process.signal(Signal::KILL);
        if timeout(KILL_AGAIN, ended(process)).await.is_ok() {
            return;
        }
    }
}

/// Waits until nothing of a process is left; what it says is not heard.
async fn ended(process: &mut Process) {
    while !matches!(process.event(true).await, Event::Ended(_)) {}
}

/// What comes on descriptor 3 is no line.
fn gone_by(error: &LineError) -> Gone {
    match error {
        LineError::TooLong(_) => Gone::Broke(Breach::TooLong),
        LineError::Io(_) => Gone::Closed,
    }
}
