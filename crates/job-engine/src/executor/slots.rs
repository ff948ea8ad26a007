//! [`Slots`]: takes claims for the slots of one session and hands them to those that are free.
//!
//! One task waits for everything that has to do with taking, and the slots wait for it alone: so a claim costs none of these
//! waits. It asks for as many claims as slots are free, and never for more.

use std::sync::Arc;

use slipstream_coordination::Claim;
use slipstream_coordination::queue::Taker;
use slipstream_coordination::session::State;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tracing::debug;

use super::Executor;
use super::api_health::ApiHealth;
use super::attempt::Attempt;
use super::worker_session::WorkerSession;
use crate::process::activity::slot::{Busy, Slot};
use crate::process::supervise::persist;

/// A claim, and the note that a slot has it.
type Work = (Claim, Busy);

/// Begins the slots, and the task that takes for them. All of them end when nothing is to be taken any more.
pub(super) fn begin(executor: &Arc<Executor>, session: &Arc<WorkerSession>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (freed, free_again) = mpsc::unbounded_channel();
    let mut doors = Vec::new();
    for number in 0..executor.options.slots() {
        let (door, work) = mpsc::channel(1);
        doors.push(Door { slot: executor.options.activity.slot(number), work: door });
        let (executor, session) = (executor.clone(), session.clone());
        let (work, freed) = (Mutex::new(work), freed.clone());
        tasks.spawn(async move {
            persist("slot", || async {
                let mut work = work.lock().await;
                while let Some((claim, busy)) = work.recv().await {
                    let _freed = Freed { number, freed: &freed };
                    // goes before the slot is free for another one
                    let busy = busy;
                    Attempt::make(&executor, &session, claim, busy.notes()).await;
                }
            })
            .await;
        });
    }
    let free = (0..doors.len()).rev().collect();
    let slots = Slots { executor: executor.clone(), session: session.clone(), doors, free, free_again };
    let slots = Mutex::new(slots);
    tasks.spawn(async move { persist("filling of slots", || async { slots.lock().await.fill().await }).await });
    tasks
}

/// Says that a slot is free again, also when its attempt crashes.
struct Freed<'a> {
    number: usize,
    freed: &'a mpsc::UnboundedSender<usize>,
}

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        if self.freed.send(self.number).is_err() {
            debug!(slot = self.number, "nothing is taken any more");
        }
    }
}

/// Where the work of a slot goes in.
struct Door {
    slot: Arc<Slot>,
    work: mpsc::Sender<Work>,
}

struct Slots {
    executor: Arc<Executor>,
    session: Arc<WorkerSession>,
    doors: Vec<Door>,
    /// Numbers of those that have nothing to do.
    free: Vec<usize>,
    free_again: mpsc::UnboundedReceiver<usize>,
}

impl Slots {
    /// Takes while it makes sense to take; ends when the session is over.
    async fn fill(&mut self) {
        let executor = self.executor.clone();
        let mut session = self.session.state();
        let mut draining = executor.options.activity.draining();
        loop {
            tokio::select! {
                biased;
                () = executor.stop.asked() => return,
                // nothing is taken that would say so
                () = expired(session.clone()), if *draining.borrow() => return,
                () = ready(&mut session, &executor.api_health, &mut draining) => {}
            }
            tokio::select! {
                biased;
                () = executor.stop.asked() => return,
                Ok(_) = draining.wait_for(|is_wanted| *is_wanted) => {}
                Ok(_) = session.wait_for(|state| *state == State::Suspended) => {}
                () = executor.api_health.until_down() => {}
                () = self.take() => return,
            }
        }
    }

    /// Takes until it is dropped; ends when the session is over.
    async fn take(&mut self) {
        let Some(first) = self.doors.first().map(|door| door.slot.clone()) else { return };
        // stands for all slots; goes after what was taken and not handed on
        let _taking = first.take();
        let mut taker = self.session.queue.taker();
        taker.ask(self.free.len());
        loop {
            tokio::select! {
                biased;
                claim = taker.next() => match claim {
                    Ok(claim) => self.hand_on(claim, &mut taker),
                    Err(error) => {
                        debug!(%error, "queue closed");
                        return;
                    }
                },
                number = self.free_again.recv() => {
                    let Some(number) = number else { return };
                    let before = self.free.len();
                    self.free.push(number);
                    // those that become free together ask together
                    tokio::task::yield_now().await;
                    while let Ok(number) = self.free_again.try_recv() {
                        self.free.push(number);
                    }
                    taker.ask(self.free.len() - before);
                }
            }
        }
    }

    /// To a free slot each.
    fn hand_on(&mut self, first: Claim, taker: &mut Taker) {
        let mut next = Some(first);
        while let Some(claim) = next {
            let door = &self.doors[self.free.pop().expect("no more claims are taken than slots are free")];
            let busy = door.slot.begin(String::from_utf8_lossy(claim.value()).into_owned());
            if door.work.try_send((claim, busy)).is_err() {
                // its task was ended, and so will this one
                debug!("a slot has ended, its claim is given back");
            }
            next = taker.try_next();
        }
    }
}

/// Ends when the session is over.
async fn expired(mut session: watch::Receiver<State>) {
    // a closed channel belongs to such a session, too
    drop(session.wait_for(|state| *state == State::Expired).await);
}

/// Ends when more is to be taken, the session is not suspended and CIMI is not known to be down.
async fn ready(session: &mut watch::Receiver<State>, api_health: &ApiHealth, draining: &mut watch::Receiver<bool>) {
    // the sender is as old as the executor
    drop(draining.wait_for(|is_wanted| !is_wanted).await);
    // A closed channel belongs to a session that is over, which the queue will say.
    if session.wait_for(|state| *state != State::Suspended).await.is_ok() {
        api_health.until_retry().await;
    }
}
