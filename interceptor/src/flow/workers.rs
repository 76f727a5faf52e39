//! Where connections are set up: on threads of their own, by turns among the sandboxes.
//!
//! Handshakes are what costs time. On the runtime's threads a sandbox that opens thousands of connections would have
//! thousands of tasks in its one queue, and whatever others wait for behind them. Here each sandbox has a queue, and the
//! queues are served in turn; what stands already is carried on by the runtime meanwhile.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use async_task::{Builder, Runnable};
use tokio::runtime::Handle;

use crate::address::SandboxId;

/// Threads that work until this is dropped.
#[derive(Debug)]
pub(super) struct Workers(Arc<Board>);

/// What is to be worked on.
#[derive(Debug, Default)]
struct Board {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<SandboxId, VecDeque<Runnable>>,
    /// The sandboxes in `waiting`, in the order in which they are served.
    round: VecDeque<SandboxId>,
    closed: bool,
}

impl Workers {
    /// As many as the machine runs at a time. To be called in the runtime whose timers and sockets the work uses.
    ///
    /// # Errors
    /// No thread can be made.
    pub(super) fn start() -> io::Result<Self> {
        let workers = Self(Arc::default());
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            let (board, runtime) = (Arc::clone(&workers.0), Handle::current());
            thread::Builder::new()
                .name("handshakes".into())
                .spawn(move || {
                    let _context = runtime.enter();
                    while let Some(runnable) = board.next() {
                        runnable.run();
                    }
                })?;
        }
        Ok(workers)
    }

    /// Works on something in a sandbox's turns; `None`: it was given up, since the daemon ends.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        sandbox: SandboxId,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let board = Arc::clone(&self.0);
        // A panic is that of the connection, not of the thread.
        let (runnable, task) = Builder::new()
            .propagate_panic(true)
            .spawn(|()| work, move |runnable| board.put(sandbox, runnable));
        runnable.schedule();
        task.fallible().await
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.waiting);
        drop(queue);
        self.0.more.notify_all();
        drop(left);
    }
}

impl Board {
    fn put(&self, sandbox: SandboxId, runnable: Runnable) {
        let mut queue = self.lock();
        if queue.closed {
            drop(queue);
            // What it holds may want to be woken.
            drop(runnable);
            return;
        }
        queue.put(sandbox, runnable);
        drop(queue);
        self.more.notify_one();
    }

    /// Waits for something to do; `None`: there will be nothing more.
    fn next(&self) -> Option<Runnable> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(runnable) = queue.next() {
                return Some(runnable);
            }
            queue = self
                .more
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn put(&mut self, sandbox: SandboxId, runnable: Runnable) {
        let own = self.waiting.entry(sandbox).or_default();
        if own.is_empty() {
            self.round.push_back(sandbox);
        }
        own.push_back(runnable);
    }

    fn next(&mut self) -> Option<Runnable> {
        let sandbox = self.round.pop_front()?;
        let own = self.waiting.get_mut(&sandbox)?;
        let runnable = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&sandbox);
        } else {
            self.round.push_back(sandbox);
        }
        runnable
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        sync::oneshot,
        task::{JoinSet, yield_now},
        time::{sleep, timeout},
    };

    use super::*;

    const NOISY: SandboxId = SandboxId(1);
    const QUIET: SandboxId = SandboxId(2);

    #[test]
    fn turns_go_round_among_sandboxes_whatever_one_of_them_wants() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut queue = Queue::default();
        for sandbox in [NOISY, NOISY, NOISY, NOISY, QUIET, QUIET] {
            let order = Arc::clone(&order);
            let work = async move { order.lock().unwrap().push(sandbox) };
            let (runnable, task) = async_task::spawn(work, |_| {});
            task.detach();
            queue.put(sandbox, runnable);
        }
        while let Some(runnable) = queue.next() {
            runnable.run();
        }
        assert_eq!(
            *order.lock().unwrap(),
            [NOISY, QUIET, NOISY, QUIET, NOISY, NOISY]
        );
        assert!(queue.waiting.is_empty() && queue.round.is_empty());
    }

    #[tokio::test]
    async fn a_sandbox_that_keeps_the_threads_busy_does_not_hold_another_up() {
        let workers = Arc::new(Workers::start().unwrap());
        let mut noisy = JoinSet::new();
        for _ in 0..200 {
            let workers = Arc::clone(&workers);
            noisy.spawn(async move {
                let work = async {
                    for _ in 0..20 {
                        thread::sleep(Duration::from_millis(1));
                        yield_now().await;
                    }
                };
                workers.run(NOISY, work).await
            });
        }
        sleep(Duration::from_millis(50)).await;
        // It would take seconds behind what the other one has.
        let quiet = workers.run(QUIET, async {
            for _ in 0..5 {
                yield_now().await;
            }
        });
        timeout(Duration::from_millis(500), quiet).await.unwrap();
        assert!(!noisy.is_empty());
    }

    #[tokio::test]
    async fn timers_work_there_and_what_is_given_up_ends() {
        let workers = Workers::start().unwrap();
        let slept = workers.run(NOISY, sleep(Duration::from_millis(1)));
        assert_eq!(slept.await, Some(()));
        let (dropped, told) = oneshot::channel::<()>();
        let endless = workers.run(NOISY, async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        });
        assert!(timeout(Duration::from_millis(20), endless).await.is_err());
        assert!(told.await.is_err());
    }

    #[tokio::test]
    async fn a_panic_ends_a_connection_and_no_thread() {
        let workers = Arc::new(Workers::start().unwrap());
        for _ in 0..100 {
            let workers = Arc::clone(&workers);
            let broken = async move { workers.run(NOISY, async { panic!("a fault") }).await };
            assert!(tokio::spawn(broken).await.unwrap_err().is_panic());
        }
        assert_eq!(workers.run(NOISY, async { 1 }).await, Some(1));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_when_the_threads_end() {
        let workers = Workers::start().unwrap();
        let board = Arc::clone(&workers.0);
        drop(workers);
        let late = Workers(board).run(NOISY, async { 1 }).await;
        assert_eq!(late, None);
    }
}
