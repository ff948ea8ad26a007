//! [`Threads`]: they poll the runs of actions. Few do while polls are short; as soon as some block, others take over.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use async_task::Runnable;
use tokio::runtime::Handle;

/// For how long nothing may be taken from the queue before the threads at work count as blocked.
const LOOK: Duration = Duration::from_millis(1);
/// After this many looks at an empty queue the watch ends until something waits again.
const LOOKS_AT_NOTHING: u32 = 100;

/// One queue of what can be polled, none of which panics, and as many threads at work on it as the machine has cores. Those
/// that block are not counted, so that what is behind them in the queue waits for two looks at most. The threads are those
/// that the runtime has for blocking work: made when they are needed, kept for ten seconds.
pub(super) struct Threads {
    runtime: Handle,
    cores: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What can be polled, the oldest first.
    ready: VecDeque<Runnable>,
    /// How many were taken from the queue.
    taken: u64,
    /// Threads at work, without those that were found blocked.
    working: usize,
    /// How often all threads at work were found blocked; a thread that began before the last time was among them.
    found_blocked: u64,
    /// Whether the threads at work are watched.
    watched: bool,
}

impl Threads {
    /// At most `cores` threads are at work and not blocked.
    pub(super) fn new(runtime: Handle, cores: usize) -> Arc<Self> {
        Arc::new(Self { runtime, cores: cores.max(1), state: Mutex::default() })
    }

    /// Polls it once, as soon as a thread is free.
    pub(super) fn poll(self: &Arc<Self>, run: Runnable) {
        self.queue(run);
        self.wake();
    }

    /// Puts it into the queue. It is polled after the next [`Threads::wake`], so that many can share one.
    pub(super) fn queue(&self, run: Runnable) {
        self.lock().ready.push_back(run);
    }

    /// Polls what is in the queue.
    pub(super) fn wake(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.ready.is_empty() {
            return;
        }
        if state.working < self.cores {
            state.working += 1;
            self.start(state.found_blocked);
        } else if !state.watched {
            state.watched = true;
            let threads = self.clone();
            self.runtime.spawn_blocking(move || threads.watch());
        }
    }

    fn start(self: &Arc<Self>, found_blocked: u64) {
        let threads = self.clone();
        self.runtime.spawn_blocking(move || threads.work(found_blocked));
    }

    /// Polls until nothing waits.
    fn work(&self, mut found_blocked: u64) {
        let mut state = self.lock();
        loop {
            if state.found_blocked != found_blocked {
                // others are at work instead
                if state.working >= self.cores {
                    return;
                }
                state.working += 1;
                found_blocked = state.found_blocked;
            }
            let Some(run) = state.ready.pop_front() else { break };
            state.taken += 1;
            drop(state);
            run.run();
            state = self.lock();
        }
        state.working -= 1;
    }

    /// Lets others take over where nothing was taken from the queue since the last look.
    fn watch(self: &Arc<Self>) {
        let mut taken = None;
        let mut looks_at_nothing = 0;
        loop {
            thread::park_timeout(LOOK);
            let mut state = self.lock();
            if state.ready.is_empty() {
                looks_at_nothing += 1;
                if looks_at_nothing == LOOKS_AT_NOTHING {
                    state.watched = false;
                    return;
                }
            } else {
                looks_at_nothing = 0;
                if taken == Some(state.taken) {
                    state.found_blocked += 1;
                    state.working = self.cores.min(state.ready.len());
                    for _ in 0..state.working {
                        self.start(state.found_blocked);
                    }
                }
            }
            taken = Some(state.taken);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // nothing panics while it is locked
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    /// Long enough for any machine; nothing waits for it when it goes well.
    const LIMIT: Duration = Duration::from_mins(1);

    fn poll(threads: &Arc<Threads>, work: impl FnOnce() + Send + 'static) {
        let schedule = threads.clone();
        let (run, task) = async_task::spawn(async move { work() }, move |run| schedule.poll(run));
        task.detach();
        run.schedule();
    }

    #[test]
    fn who_blocks_is_not_counted_and_counts_again_when_back() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let threads = Threads::new(runtime.handle().clone(), 2);
        let (sender, receiver) = mpsc::channel();
        let ends: Vec<mpsc::Sender<()>> = (0..5)
            .map(|_| {
                let (sender, (end, ended)) = (sender.clone(), mpsc::channel());
                poll(&threads, move || {
                    sender.send(()).unwrap();
                    // blocks until the test lets go of it
                    ended.recv().unwrap_err();
                });
                end
            })
            .collect();
        for _ in &ends {
            receiver.recv_timeout(LIMIT).expect("each blocks a thread of its own");
        }
        let before = threads.lock().found_blocked;
        assert!(before >= 2, "two at a time block: found {before} times");
        for round in 0..100 {
            let sender = sender.clone();
            poll(&threads, move || sender.send(()).unwrap());
            receiver.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{round}: others are polled beside them"));
        }
        drop(ends);
        let begun = std::time::Instant::now();
        while threads.lock().working > 0 {
            assert!(begun.elapsed() < LIMIT, "all leave when nothing waits: {}", threads.lock().working);
            thread::yield_now();
        }
        drop(runtime);
        assert!(!threads.state.is_poisoned(), "who is back is counted before it leaves");
    }

    #[test]
    fn what_is_only_queued_waits_until_threads_are_woken() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let threads = Threads::new(runtime.handle().clone(), 1);
        let (sender, receiver) = mpsc::channel();
        for number in 0..3 {
            let (schedule, sender) = (threads.clone(), sender.clone());
            let (run, task) =
                async_task::spawn(async move { sender.send(number).unwrap() }, move |run| schedule.poll(run));
            task.detach();
            threads.queue(run);
        }
        assert!(receiver.try_recv().is_err());
        poll(&threads, move || sender.send(3).unwrap());
        for number in 0..=3 {
            assert_eq!(receiver.recv_timeout(LIMIT).unwrap(), number);
        }
    }
}
