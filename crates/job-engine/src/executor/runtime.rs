//! [`ActionRuntime`]: where actions run. An action may block its thread for as long as it likes, so that each run has
//! one of its own, and the engine's own work is on none of them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, Abortable, Aborted};
use slipstream_cimi::Client;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};

/// How long one poll of an action may take before that is worth a line.
const LONG_POLL: Duration = Duration::from_millis(100);
/// Threads beside those of the runs, for what actions themselves leave to `spawn_blocking`; as many as tokio has.
const FOR_BLOCKING_WORK: usize = 512;

/// Where actions run. Clones share it; its threads go when the last one is dropped, as soon as nothing runs on them.
#[derive(Clone)]
pub struct ActionRuntime(Place);

#[derive(Clone)]
enum Place {
    Apart(Arc<Apart>),
    Here,
}

/// A runtime that may be dropped anywhere, also where waiting is not allowed.
struct Apart(Option<Runtime>);

impl ActionRuntime {
    /// Threads of their own for the actions of an executor with so many slots: one for each run under way, made when it
    /// is needed and kept for ten seconds. What actions spawn, and the timers and sockets that they wait for, are looked
    /// after by as many threads as the machine has cores.
    pub fn start(slots: usize) -> io::Result<Self> {
        // runs that do not end after their time limit have a thread and no slot any more
        let most = slots.max(1).saturating_mul(2).saturating_add(FOR_BLOCKING_WORK);
        let runtime =
            Builder::new_multi_thread().thread_name("action").max_blocking_threads(most).enable_all().build()?;
        Ok(Self(Place::Apart(Arc::new(Apart(Some(runtime))))))
    }

    /// The runtime on which the executor itself runs, for simulations and tests whose time is paused: there, actions must
    /// not block.
    #[must_use]
    pub fn shared() -> Self {
        Self(Place::Here)
    }

    /// Begins to run an action. `slow` is told of the first poll that took too long.
    pub(super) fn run<F>(&self, action: F, slow: impl FnOnce(Duration) + Send + Unpin + 'static) -> Running<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (abort, registration) = AbortHandle::new_pair();
        let action = Abortable::new(action, registration);
        let joined = match &self.0 {
            Place::Here => tokio::spawn(action),
            Place::Apart(apart) => {
                let handle = apart.handle().clone();
                let action = Measured { inner: Box::pin(action), slow: Some(slow) };
                apart.handle().spawn_blocking(move || handle.block_on(action))
            }
        };
        Running { joined, abort }
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

impl Apart {
    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A run under way; told to end when dropped.
pub(super) struct Running<T> {
    joined: JoinHandle<Result<T, Aborted>>,
    abort: AbortHandle,
}

/// A run that did not end by itself.
#[derive(Debug)]
pub(super) enum Broken {
    /// It was told to end.
    Aborted,
    /// It panicked, or its runtime is gone.
    Joining(JoinError),
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
        Pin::new(&mut self.joined).poll(context).map(|joined| match joined {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(Aborted)) => Err(Broken::Aborted),
            Err(error) => Err(Broken::Joining(error)),
        })
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Measures each poll until one took too long.
struct Measured<F, S> {
    inner: Pin<Box<F>>,
    slow: Option<S>,
}

impl<F: Future, S: FnOnce(Duration) + Unpin> Future for Measured<F, S> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.slow.is_none() {
            return self.inner.as_mut().poll(context);
        }
        let begun = Instant::now();
        let polled = self.inner.as_mut().poll(context);
        let took = begun.elapsed();
        if took > LONG_POLL
            && let Some(slow) = self.slow.take()
        {
            slow(took);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn as_many_runs_as_there_are_slots_block_and_the_executor_goes_on() {
        const SLOTS: usize = 40;
        let runtime = ActionRuntime::start(SLOTS).unwrap();
        let (begun, all_begun) = mpsc::channel();
        let runs: Vec<_> = (0..SLOTS)
            .map(|number| {
                let (begun, (end, ended)) = (begun.clone(), mpsc::channel::<()>());
                let run = async move {
                    begun.send(()).unwrap();
                    // blocks its thread until the test lets go of it
                    ended.recv().unwrap_err();
                    number
                };
                (end, runtime.run(run, |_| {}))
            })
            .collect();
        for _ in 0..SLOTS {
            all_begun.recv_timeout(Duration::from_mins(1)).expect("each has a thread");
        }
        // the timers of those that do not block are looked after all the while
        let other = runtime.run(tokio::time::sleep(Duration::from_millis(1)), |_| {});
        assert!(other.await.is_ok());
        for (number, (end, run)) in runs.into_iter().enumerate() {
            drop(end);
            assert_eq!(run.await.unwrap(), number);
        }
    }

    #[tokio::test]
    async fn a_long_poll_is_told_once_and_short_ones_never() {
        let runtime = ActionRuntime::start(1).unwrap();
        let (sender, told) = mpsc::channel();
        let long = async {
            for _ in 0..2 {
                let begun = Instant::now();
                while begun.elapsed() <= LONG_POLL {}
                tokio::task::yield_now().await;
            }
        };
        let sent = sender.clone();
        assert!(runtime.run(long, move |took| sent.send(took).unwrap()).await.is_ok());
        assert!(told.recv().unwrap() > LONG_POLL);
        drop(sender);
        assert!(told.recv().is_err(), "told once");
    }

    #[tokio::test]
    async fn a_run_that_is_aborted_or_dropped_ends_at_its_next_await_and_a_panic_is_told() {
        let runtime = ActionRuntime::start(1).unwrap();
        let run = runtime.run(std::future::pending::<()>(), |_| {});
        run.abort();
        assert!(matches!(run.await, Err(Broken::Aborted)));
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let run = runtime.run(
            async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            },
            |_| {},
        );
        drop(run);
        assert!(gone.await.is_err());
        let run = runtime.run(async { panic!("at the disco") }, |_| {});
        assert!(matches!(run.await, Err(Broken::Joining(error)) if error.is_panic()));
    }
}
