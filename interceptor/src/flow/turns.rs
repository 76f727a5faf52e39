//! Whose connection is worked on next, while many are being set up.
//!
//! Handshakes are what costs time: a sandbox that opens thousands of connections would have thousands of tasks in the
//! runtime's one queue, and those of others behind them. So a connection that is being set up takes a turn for each poll,
//! never while it waits for a network. Turns go round among the sandboxes that want one, and there is one less than
//! there are threads, so that what stands already is always carried on.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use crate::address::SandboxId;

/// All turns that there are.
#[derive(Debug)]
pub(super) struct Turns(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    free: usize,
    /// Those who want one. Empty while a turn is free.
    waiting: BTreeMap<SandboxId, VecDeque<Arc<Place>>>,
    /// The sandboxes in `waiting`, in the order in which they are served.
    round: VecDeque<SandboxId>,
}

/// A place in the queue.
#[derive(Debug)]
struct Place(Mutex<Standing>);

#[derive(Debug)]
enum Standing {
    Waits(Waker),
    /// A turn is kept for it.
    IsNext,
    Left,
}

/// Held while something is worked on.
struct Turn<'t>(&'t Turns);

impl Turns {
    /// As many as suit the machine.
    pub(super) fn of_this_machine() -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        Self::new(threads.saturating_sub(1).max(1))
    }

    fn new(turns: usize) -> Self {
        Self(Mutex::new(Queue {
            free: turns,
            waiting: BTreeMap::new(),
            round: VecDeque::new(),
        }))
    }

    /// Takes a turn, or a place in the queue.
    fn take(&self, sandbox: SandboxId, waker: &Waker) -> Result<Turn<'_>, Arc<Place>> {
        let mut queue = lock(&self.0);
        if queue.free > 0 {
            queue.free -= 1;
            return Ok(Turn(self));
        }
        let place = Arc::new(Place(Mutex::new(Standing::Waits(waker.clone()))));
        let own = queue.waiting.entry(sandbox).or_default();
        own.push_back(Arc::clone(&place));
        if own.len() == 1 {
            queue.round.push_back(sandbox);
        }
        Err(place)
    }

    /// Keeps a turn that has become free for whoever is next.
    fn pass_on(&self) {
        let mut queue = lock(&self.0);
        while let Some(place) = queue.next() {
            let mut standing = lock(&place.0);
            let before = std::mem::replace(&mut *standing, Standing::IsNext);
            if let Standing::Waits(waker) = before {
                drop(standing);
                drop(queue);
                waker.wake();
                return;
            }
        }
        queue.free += 1;
    }
}

impl Queue {
    fn next(&mut self) -> Option<Arc<Place>> {
        let sandbox = self.round.pop_front()?;
        let own = self.waiting.get_mut(&sandbox)?;
        let place = own.pop_front();
        if own.is_empty() {
            self.waiting.remove(&sandbox);
        } else {
            self.round.push_back(sandbox);
        }
        place
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.pass_on();
    }
}

/// Work that is done in turns.
pub(super) struct InTurns<F> {
    turns: Arc<Turns>,
    sandbox: SandboxId,
    place: Option<Arc<Place>>,
    work: Pin<Box<F>>,
}

impl<F: Future> InTurns<F> {
    pub(super) fn new(turns: &Arc<Turns>, sandbox: SandboxId, work: F) -> Self {
        Self {
            turns: Arc::clone(turns),
            sandbox,
            place: None,
            work: Box::pin(work),
        }
    }
}

impl<F: Future> Future for InTurns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let turn = match this.place.take() {
            None => match this.turns.take(this.sandbox, context.waker()) {
                Ok(turn) => turn,
                Err(place) => {
                    this.place = Some(place);
                    return Poll::Pending;
                }
            },
            Some(place) => {
                let mut standing = lock(&place.0);
                if let Standing::Waits(waker) = &mut *standing {
                    waker.clone_from(context.waker());
                    drop(standing);
                    this.place = Some(place);
                    return Poll::Pending;
                }
                Turn(&this.turns)
            }
        };
        let polled = this.work.as_mut().poll(context);
        drop(turn);
        polled
    }
}

impl<F> Drop for InTurns<F> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else {
            return;
        };
        let before = std::mem::replace(&mut *lock(&place.0), Standing::Left);
        if let Standing::IsNext = before {
            self.turns.pass_on();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::Wake,
        time::Duration,
    };

    use tokio::{task::JoinSet, time::timeout};

    use super::*;

    const NOISY: SandboxId = SandboxId(1);
    const QUIET: SandboxId = SandboxId(2);

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn turns_go_round_among_sandboxes_whatever_one_of_them_wants() {
        let turns = Turns::new(1);
        let (_, waker) = waker();
        let turn = turns.take(NOISY, &waker).ok().unwrap();
        let noisy: Vec<_> = (0..100)
            .map(|_| turns.take(NOISY, &waker).err().unwrap())
            .collect();
        let quiet = turns.take(QUIET, &waker).err().unwrap();
        let is_next = |place: &Place| matches!(*lock(&place.0), Standing::IsNext);
        drop(turn);
        assert!(is_next(&noisy[0]));
        drop(Turn(&turns));
        assert!(is_next(&quiet), "after one of the noisy sandbox's");
        drop(Turn(&turns));
        assert!(is_next(&noisy[1]));
    }

    #[test]
    fn a_place_that_is_given_up_holds_nobody_up() {
        let turns = Arc::new(Turns::new(1));
        let (woken, waker) = waker();
        let mut context = Context::from_waker(&waker);
        let turn = turns.take(NOISY, &waker).ok().unwrap();
        let mut works: Vec<_> = (0..3)
            .map(|_| InTurns::new(&turns, NOISY, async {}))
            .collect();
        for work in &mut works {
            assert!(Pin::new(work).poll(&mut context).is_pending());
        }
        let mut last = works.pop().unwrap();
        // One that waits, then one that a turn is kept for.
        drop(works.remove(0));
        drop(turn);
        assert_eq!(woken.0.load(Relaxed), 1);
        drop(works);
        assert_eq!(woken.0.load(Relaxed), 2);
        assert!(Pin::new(&mut last).poll(&mut context).is_ready());
        assert_eq!(lock(&turns.0).free, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn everything_is_worked_on_to_its_end_and_all_turns_come_back() {
        let turns = Arc::new(Turns::new(2));
        let mut tasks = JoinSet::new();
        for number in 0..1000_u32 {
            let mut left = 20;
            let work = poll_fn(move |context| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                context.waker().wake_by_ref();
                Poll::Pending
            });
            let work = InTurns::new(&turns, SandboxId(number % 7), work);
            // Some are given up on the way.
            if number % 10 == 0 {
                tasks.spawn(async move {
                    timeout(Duration::from_micros(50), work).await.unwrap_or(());
                });
            } else {
                tasks.spawn(work);
            }
        }
        let all = async { while tasks.join_next().await.is_some() {} };
        timeout(Duration::from_secs(20), all).await.unwrap();
        let queue = lock(&turns.0);
        assert_eq!(queue.free, 2);
        assert!(queue.waiting.is_empty() && queue.round.is_empty());
    }
}
