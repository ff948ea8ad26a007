//! [`ActionRuntime`]: where actions run. An action may block its thread for as long as it likes, and the engine's own work
//! is on none of these threads.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use async_task::{FallibleTask, Runnable};
use futures_util::future::{AbortHandle, Abortable, Aborted};
use slipstream_cimi::Client;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::yield_now;

use super::threads::Threads;
use crate::process::activity::slot::AttemptNotes;

/// How long one poll of an action may take before that is worth a line.
const LONG_POLL: Duration = Duration::from_millis(100);
/// Threads beside those of the runs, for what actions themselves leave to `spawn_blocking`; as many as tokio has.
const FOR_BLOCKING_WORK: usize = 512;

/// Where actions run. Clones share it; its threads go when the last one is dropped, as soon as nothing runs on them.
#[derive(Clone)]
pub struct ActionRuntime(Place);

#[derive(Clone)]
enum Place {
    Apart(Apart),
    Here,
}

#[derive(Clone)]
struct Apart {
    threads: Arc<Threads>,
    _runtime: Arc<Dropped>,
}

/// A runtime that may be dropped anywhere, also where waiting is not allowed.
struct Dropped(Option<Runtime>);

impl ActionRuntime {
    /// Threads of their own for the actions of an executor with this many slots: a run that blocks has one for itself, all
    /// others share a few. What actions spawn, and the timers and sockets that they wait for, are looked after by as many
    /// threads as the machine has cores.
    pub fn start(slots: usize) -> io::Result<Self> {
        // runs that do not end after their time limit have a thread and no slot any more
        let most = slots.max(1).saturating_mul(2).saturating_add(FOR_BLOCKING_WORK);
        let runtime =
            Builder::new_multi_thread().thread_name("action").max_blocking_threads(most).enable_all().build()?;
        let cores = available_parallelism().map_or(1, usize::from);
        let threads = Threads::new(runtime.handle().clone(), cores);
        Ok(Self(Place::Apart(Apart { threads, _runtime: Arc::new(Dropped(Some(runtime))) })))
    }

    /// The runtime on which the executor itself runs, for simulations and tests whose time is paused: there, actions must
    /// not block.
    #[must_use]
    pub fn shared() -> Self {
        Self(Place::Here)
    }

    /// Begins to run an action, and notes which thread is at it. `slow` is called after the first poll that took too long.
    pub(super) async fn begin<F>(
        &self,
        action: F,
        slow: Arc<impl Fn(Duration) + Send + Sync + 'static>,
        notes: Arc<AttemptNotes>,
    ) -> Running<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (abort, registration) = AbortHandle::new_pair();
        let action =
            Abortable::new(Contained { action: Some(Box::pin(action)), slow, notes, is_reported: false }, registration);
        let task = match &self.0 {
            Place::Apart(Apart { threads, .. }) => {
                let schedule = threads.clone();
                let (run, task) = async_task::spawn(action, move |run| schedule.poll(run));
                threads.queue(run);
                // all that begin in this moment do so with one hand-over
                yield_now().await;
                threads.wake();
                task
            }
            Place::Here => {
                let here = Handle::current();
                let schedule = move |run: Runnable| drop(here.spawn(async move { run.run() }));
                let (run, task) = async_task::spawn(action, schedule);
                run.schedule();
                task
            }
        };
        Running { task: task.fallible(), abort }
    }

    /// A client for actions: its requests are made where the executor runs, so that nothing that other requests need, such
    /// as a login or a connection, is in the hands of a thread that blocks.
    pub(super) fn client(&self, client: Client) -> Client {
        match &self.0 {
            Place::Here => client,
            Place::Apart(_) => client.on(Handle::current()),
        }
    }
}

impl fmt::Debug for ActionRuntime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match &self.0 {
            Place::Apart(_) => "ActionRuntime(apart)",
            Place::Here => "ActionRuntime(shared)",
        })
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

type Panic = Box<dyn Any + Send>;

/// A run under way; aborted when dropped.
pub(super) struct Running<T> {
    task: FallibleTask<Result<Result<T, Panic>, Aborted>>,
    abort: AbortHandle,
}

/// A run that did not end by itself.
#[derive(Debug)]
pub(super) enum Broken {
    /// It was aborted or dropped.
    Aborted,
    Panicked(Panic),
}

impl<T> Running<T> {
    /// Ends the run at its next await.
    pub(super) fn abort(&self) {
        self.abort.abort();
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, Broken>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.task).poll(context).map(|ended| match ended {
            Some(Ok(Ok(outcome))) => Ok(outcome),
            Some(Err(Aborted)) | None => Err(Broken::Aborted),
            Some(Ok(Err(panic))) => Err(Broken::Panicked(panic)),
        })
    }
}

/// An action whose panics are its own, also one while it is dropped. Each poll is measured until one took too long.
struct Contained<F, S> {
    action: Option<Pin<Box<F>>>,
    slow: Arc<S>,
    notes: Arc<AttemptNotes>,
    is_reported: bool,
}

impl<F: Future, S: Fn(Duration)> Future for Contained<F, S> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { action, slow, notes, is_reported } = self.get_mut();
        let begun = Instant::now();
        let action = action.as_mut().expect("it is there until it is dropped").as_mut();
        let here = notes.polled_here();
        let polled = catch_unwind(AssertUnwindSafe(|| action.poll(context)));
        drop(here);
        let took = begun.elapsed();
        if took > LONG_POLL && !*is_reported {
            *is_reported = true;
            slow(took);
        }
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<F, S> Drop for Contained<F, S> {
    fn drop(&mut self) {
        // its outcome is not awaited any more, and the log has the panic
        drop(catch_unwind(AssertUnwindSafe(|| drop(self.action.take()))));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn ignore() -> Arc<impl Fn(Duration) + Send + Sync> {
        Arc::new(|_| {})
    }

    #[tokio::test]
    async fn as_many_runs_as_there_are_slots_block_and_the_executor_goes_on() {
        const SLOTS: usize = 40;
        let runtime = ActionRuntime::start(SLOTS).unwrap();
        let (begun, all_begun) = mpsc::channel();
        let mut runs = Vec::new();
        for number in 0..SLOTS {
            let (begun, (end, ended)) = (begun.clone(), mpsc::channel::<()>());
            let run = async move {
                begun.send(()).unwrap();
                // blocks its thread until the test lets go of it
                ended.recv().unwrap_err();
                number
            };
            runs.push((end, runtime.begin(run, ignore(), AttemptNotes::unseen()).await));
        }
        for _ in 0..SLOTS {
            all_begun.recv_timeout(Duration::from_mins(1)).expect("each has a thread");
        }
        // those that do not block, or wait where they are for something asynchronous, go on all the while
        let other = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Handle::current().block_on(tokio::time::sleep(Duration::from_millis(1)));
        };
        assert!(runtime.begin(other, ignore(), AttemptNotes::unseen()).await.await.is_ok());
        for (number, (end, run)) in runs.into_iter().enumerate() {
            drop(end);
            assert_eq!(run.await.unwrap(), number);
        }
    }

    #[tokio::test]
    async fn a_long_poll_is_reported_once() {
        let runtime = ActionRuntime::start(1).unwrap();
        let (sender, polls) = mpsc::channel();
        let long = async {
            for _ in 0..2 {
                let begun = Instant::now();
                while begun.elapsed() <= LONG_POLL {}
                tokio::task::yield_now().await;
            }
        };
        let sent = sender.clone();
        let slow = Arc::new(move |took| sent.send(took).unwrap());
        assert!(runtime.begin(long, slow, AttemptNotes::unseen()).await.await.is_ok());
        assert!(polls.recv().unwrap() > LONG_POLL);
        drop(sender);
        assert!(polls.recv().is_err(), "reported once");
    }

    #[tokio::test]
    async fn a_run_that_is_aborted_or_dropped_ends_at_its_next_await_and_a_panic_is_returned() {
        let runtime = ActionRuntime::start(1).unwrap();
        let run = runtime.begin(std::future::pending::<()>(), ignore(), AttemptNotes::unseen()).await;
        run.abort();
        assert!(matches!(run.await, Err(Broken::Aborted)));
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let run = async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        };
        drop(runtime.begin(run, ignore(), AttemptNotes::unseen()).await);
        assert!(gone.await.is_err());
        let run = runtime.begin(async { panic!("at the disco") }, ignore(), AttemptNotes::unseen()).await;
        assert!(matches!(run.await, Err(Broken::Panicked(_))));
    }

    #[tokio::test]
    async fn a_panic_of_what_a_run_leaves_behind_is_its_own() {
        struct Panics(mpsc::Sender<()>);
        impl Drop for Panics {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
                panic!("dropped");
            }
        }

        let runtime = ActionRuntime::start(1).unwrap();
        let (dropped, all_dropped) = mpsc::channel();
        for is_aborted in [true, false] {
            let panics = Panics(dropped.clone());
            let run = async move {
                let _panics = panics;
                std::future::pending::<()>().await;
            };
            let run = runtime.begin(run, ignore(), AttemptNotes::unseen()).await;
            if is_aborted {
                run.abort();
                assert!(matches!(run.await, Err(Broken::Aborted)));
            } else {
                drop(run);
            }
            all_dropped.recv_timeout(Duration::from_mins(1)).unwrap();
        }
        assert!(runtime.begin(async {}, ignore(), AttemptNotes::unseen()).await.await.is_ok());
    }
}
