//! [`Blocking`]: an action that is a plain function, and may block.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::Span;

use crate::{Action, Failure, JobHandle, Success};

/// Makes an [`Action`] of a plain function that may block: each run has a thread for itself.
///
/// It cannot be aborted. A function that does not look at [`JobHandle::is_cancelled`] keeps its job's slot until it ends;
/// what calls foreign code, or may block for long, is better off in a program of its own, a host, which can be killed.
///
/// ```
/// use slipstream_action::{Blocking, Catalogue, Failure, Success};
///
/// let count = Blocking(|job| {
///     for percent in 1..=100 {
///         if job.is_cancelled() {
///             return Err(Failure::new("cancelled"));
///         }
///         job.set_progress(percent);
///     }
///     // requests are asynchronous, and can be waited for
///     let target = job.job().target_resource.as_ref().ok_or_else(|| Failure::new("nothing to count"))?;
///     let document = job.wait(job.client().get(&target.href))?;
///     Ok(Success::with_message(format!("{} members", document.len())))
/// });
/// let catalogue = Catalogue::new().with("count", count);
/// ```
#[derive(Clone, Copy)]
pub struct Blocking<F: Fn(BlockingHandle) -> Result<Success, Failure>>(
    /// The function. Each run has a clone of it.
    pub F,
);

/// A blocking action's way to its job: what [`JobHandle`] can, and [`Self::wait`].
#[derive(Clone)]
pub struct BlockingHandle {
    job: JobHandle,
    runtime: Handle,
}

impl BlockingHandle {
    /// Waits for something asynchronous, for as long as it takes: to end when the job is cancelled, select over
    /// [`JobHandle::cancelled`].
    pub fn wait<T: Future>(&self, future: T) -> T::Output {
        self.runtime.block_on(future)
    }
}

impl Deref for BlockingHandle {
    type Target = JobHandle;

    fn deref(&self) -> &JobHandle {
        &self.job
    }
}

#[async_trait]
impl<F> Action for Blocking<F>
where
    F: Fn(BlockingHandle) -> Result<Success, Failure> + Clone + Send + Sync + 'static,
{
    async fn run(&self, job: JobHandle) -> Result<Success, Failure> {
        let (function, handle) = (self.0.clone(), BlockingHandle { job, runtime: Handle::current() });
        let ended = Arc::new(Ended::default());
        let says_so = SaysEnded(ended.clone());
        // what it logs is about its job, as everywhere else
        let span = Span::current();
        let run = spawn_blocking(move || {
            let _says_so = says_so;
            span.in_scope(|| function(handle))
        });
        // an aborted run is over when its function is: the slot is not free before
        let _waits = WaitsForEnd(ended);
        match run.await {
            Ok(outcome) => outcome,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Failure::new("the runtime ended before the action began")),
            },
        }
    }
}

/// Whether a function has ended.
#[derive(Default)]
struct Ended {
    has: Mutex<bool>,
    changed: Condvar,
}

/// Held by the thread of the function, also while the function is not begun.
struct SaysEnded(Arc<Ended>);

impl Drop for SaysEnded {
    fn drop(&mut self) {
        *self.0.has.lock().expect("no holder of this lock panics") = true;
        self.0.changed.notify_all();
    }
}

/// Held by the run.
struct WaitsForEnd(Arc<Ended>);

impl Drop for WaitsForEnd {
    fn drop(&mut self) {
        let has = self.0.has.lock().expect("no holder of this lock panics");
        drop(self.0.changed.wait_while(has, |has| !*has));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use slipstream_cimi::{Client, Job, Transport, client::TransportError};
    use tokio_util::sync::CancellationToken;
    use tracing::Instrument as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    use super::*;
    use crate::Reports;

    struct NoServer;

    #[async_trait]
    impl Transport for NoServer {
        async fn send(
            &self,
            _request: http::Request<bytes::Bytes>,
        ) -> Result<http::Response<bytes::Bytes>, TransportError> {
            Err("there is no server".into())
        }
    }

    fn handle(reports: &Reports, cancellation: &CancellationToken) -> JobHandle {
        let job = serde_json::json!({
            "id": "job/1", "state": "QUEUED", "action": "a",
            "created": "2026-11-28T06:00:00Z", "updated": "2026-11-28T06:00:00Z",
        });
        let job: Job = serde_json::from_value(job).expect("it is a job");
        let client = Client::new(Arc::new(NoServer), None);
        JobHandle::new(job, client, false, reports.clone(), cancellation.clone())
    }

    #[tokio::test]
    async fn a_function_that_blocks_reports_waits_and_hears_that_it_is_cancelled() {
        let (reports, cancellation) = (Reports::new(), CancellationToken::new());
        let action = Blocking(|job| {
            job.set_progress(40);
            job.wait(job.cancelled());
            assert!(job.is_cancelled());
            Err(job.wait(job.client().get("job/1")).expect_err("there is no server").into())
        });
        // on a runtime of one thread: the function is on another one
        let run = action.run(handle(&reports, &cancellation));
        let stop = async {
            reports.waiting().await;
            assert_eq!(reports.take().progress, Some(40));
            cancellation.cancel();
        };
        let (outcome, ()) = tokio::join!(run, stop);
        assert_eq!(outcome, Err(Failure::new("no answer to GET /api/job/1: there is no server")));
    }

    #[tokio::test]
    async fn what_is_logged_in_a_function_is_in_the_span_of_its_run() {
        // on the function's thread, too
        tracing_subscriber::registry().init();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let action = Blocking(move |job| {
            let name = || Span::current().metadata().map(tracing::Metadata::name);
            let waited = job.wait(async { name() });
            notes.lock().unwrap().extend([name(), waited]);
            Ok(Success::default())
        });
        let run = action.run(handle(&Reports::new(), &CancellationToken::new()));
        run.instrument(tracing::info_span!("attempt")).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [Some("attempt"); 2]);
    }

    #[tokio::test]
    async fn a_panic_of_the_function_is_one_of_the_action() {
        let action = Blocking(|_job| panic!("broken"));
        let run = tokio::spawn(async move { action.run(handle(&Reports::new(), &CancellationToken::new())).await });
        assert_eq!(*run.await.unwrap_err().into_panic().downcast::<&str>().unwrap(), "broken");
    }

    #[tokio::test]
    async fn a_run_that_is_dropped_is_over_when_its_function_is() {
        let (begun, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel::<()>();
        let may_end = Arc::new(Mutex::new(may_end));
        let action = Blocking(move |_job| {
            begun.send(()).expect("it is awaited");
            let told = may_end.lock().unwrap().recv_timeout(Duration::from_mins(1));
            told.map(|()| Success::default()).map_err(|error| Failure::new(error.to_string()))
        });
        let cancellation = CancellationToken::new();
        let mut run = Box::pin(async move { action.run(handle(&Reports::new(), &cancellation)).await });
        let pending = std::future::poll_fn(|context| std::task::Poll::Ready(run.as_mut().poll(context).is_pending()));
        assert!(pending.await);
        has_begun.recv_timeout(Duration::from_mins(1)).expect("the function begins");
        let dropping = std::thread::spawn(move || drop(run));
        assert!(!dropping.is_finished(), "the function has not ended");
        end.send(()).expect("the function waits");
        dropping.join().expect("dropping ends with the function");
        assert!(end.send(()).is_err(), "the function has ended");
    }
}
