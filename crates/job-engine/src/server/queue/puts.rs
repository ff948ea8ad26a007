//! [`Puts`]: puts what many requests add at the same time in few transactions (decision 10). What comes while as many
//! transactions are under way as may be waits, and shares the next one; on an idle server nothing waits.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use slipstream_coordination::Error;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::session_keeper::{Connection, SessionKeeper};
use super::{LIMIT, QueueError};
use crate::process::supervise::Part;

/// Most entries in one transaction.
const MOST_TOGETHER: usize = 100;
/// Most transactions under way. A session carries them out in the order in which they are sent.
const MOST_UNDER_WAY: usize = 4;
/// Most entries that wait for a transaction; more callers wait for these.
const MOST_WAITING: usize = 4_096;

/// An entry to be put.
struct Put {
    id: String,
    priority: u16,
    deadline: Instant,
    answer: oneshot::Sender<Result<String, QueueError>>,
}

/// Puts entries for as long as it lives.
pub(super) struct Puts {
    waiting: mpsc::Sender<Put>,
    _worker: Part,
}

impl Puts {
    pub(super) fn new(keeper: Arc<SessionKeeper>) -> Self {
        let (waiting, puts) = mpsc::channel(MOST_WAITING);
        let puts = Arc::new(Mutex::new(puts));
        let work = move || work(keeper.clone(), puts.clone());
        Self { waiting, _worker: Part::begin("puts", work) }
    }

    /// Puts these in their order, and answers for each.
    pub(super) async fn put_all(&self, mut jobs: Vec<(String, u16)>) -> Vec<Result<String, QueueError>> {
        let mut answers = Vec::with_capacity(jobs.len());
        while !jobs.is_empty() {
            let (deadline, count) = (Instant::now() + LIMIT, jobs.len().min(MOST_TOGETHER));
            let Ok(places) = timeout_at(deadline, self.waiting.reserve_many(count)).await else { break };
            let puts = jobs.drain(..count).map(|(id, priority)| {
                let (answer, answered) = oneshot::channel();
                answers.push(answered);
                Put { id, priority, deadline, answer }
            });
            // a worker that crashes answers nothing to what it had in hand
            puts.collect::<Vec<_>>()
                .into_iter()
                .zip(places.into_iter().flatten())
                .for_each(|(put, place)| place.send(put));
        }
        let ended = |_| Err(QueueError::Unreachable(Error::Expired));
        let answers = join_all(answers).await.into_iter().map(|answer| answer.unwrap_or_else(ended));
        // so many others wait that no place came free for these
        answers.chain(jobs.iter().map(|_| Err(QueueError::Slow(LIMIT)))).collect()
    }
}

/// Each transaction is begun before the next one is thought of, so that entries come in the order of the puts.
async fn work(keeper: Arc<SessionKeeper>, waiting: Arc<Mutex<mpsc::Receiver<Put>>>) -> Infallible {
    let mut waiting = waiting.lock().await;
    let mut under_way = FuturesUnordered::new();
    let mut puts = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = under_way.next() => {}
            received = waiting.recv_many(&mut puts, MOST_TOGETHER), if under_way.len() < MOST_UNDER_WAY => {
                if received == 0 {
                    // whoever puts has gone, and ends this
                    return pending().await;
                }
                let puts = std::mem::take(&mut puts);
                match within(&puts, keeper.connection()).await {
                    Ok(connection) => under_way.push(carry_out(connection, puts)),
                    Err(error) => puts.into_iter().for_each(|put| put.complete(Err(error.clone()))),
                }
            }
        }
    }
}

/// A transaction that the coordinator refuses is settled entry by entry. One whose answer is lost is not: it may have
/// been carried out, and what is not there is put by the reconciler.
async fn carry_out(connection: Connection, puts: Vec<Put>) {
    let values: Vec<(&str, u16)> = puts.iter().map(|put| (put.id.as_str(), put.priority)).collect();
    match within(&puts, connection.queue.put_all(&values)).await {
        Ok(paths) => puts.into_iter().zip(paths).for_each(|(put, path)| put.complete(Ok(path))),
        Err(QueueError::Refused { .. }) if puts.len() > 1 => {
            for put in puts {
                let alone = connection.queue.put(put.id.as_bytes(), put.priority);
                let answer = within(std::slice::from_ref(&put), alone).await;
                put.complete(answer);
            }
        }
        Err(error) => puts.into_iter().for_each(|put| put.complete(Err(error.clone()))),
    }
}

/// Waits no longer than the one of them may that has waited for longest.
async fn within<T>(puts: &[Put], work: impl Future<Output = Result<T, Error>>) -> Result<T, QueueError> {
    let deadline = puts.iter().map(|put| put.deadline).min().unwrap_or_else(Instant::now);
    Ok(timeout_at(deadline, work).await.map_err(|_| QueueError::Slow(LIMIT))??)
}

impl Put {
    fn complete(self, answer: Result<String, QueueError>) {
        // who asked may have gone
        drop(self.answer.send(answer));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slipstream_coordination::Embedded;
    use tokio::time::timeout;

    use super::*;

    /// Whoever drops [`Puts`] drops first by what it is given work: no reason to end, of which there would be an error.
    #[tokio::test(start_paused = true)]
    async fn it_does_not_end_before_it_is_dropped() {
        let keeper = Arc::new(SessionKeeper::begin(Arc::new(Embedded::new())).await);
        let (waiting, puts) = mpsc::channel(1);
        drop(waiting);
        let work = work(keeper, Arc::new(Mutex::new(puts)));
        assert!(timeout(Duration::from_hours(1), work).await.is_err());
    }
}
