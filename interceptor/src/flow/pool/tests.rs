use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use tokio::time::{advance, sleep};

use super::*;

/// What becomes of a connection.
#[derive(Default)]
struct Fate {
    spoke: AtomicBool,
    parted: AtomicUsize,
}

struct Fake {
    number: usize,
    fate: Arc<Fate>,
}

impl Keep for Fake {
    fn is_quiet(&mut self) -> bool {
        !self.fate.spoke.load(Relaxed)
    }

    fn part(self) {
        self.fate.parted.fetch_add(1, Relaxed);
    }
}

/// A pool, the configuration that is valid, and the connections given to it.
struct Rig {
    pool: Arc<Pool<Fake>>,
    valid: Arc<u32>,
    fate: Arc<Fate>,
    given: usize,
}

impl Rig {
    fn new() -> Self {
        Self::sharing(&Arc::new(Semaphore::new(IN_ALL)))
    }

    fn sharing(seats: &Arc<Semaphore>) -> Self {
        Self {
            pool: Arc::new(Pool::new(seats)),
            valid: Arc::new(0),
            fate: Arc::default(),
            given: 0,
        }
    }

    fn give(&mut self, key: &Key) {
        let generation = Generation::of(&self.valid);
        self.give_made_by(key, generation);
    }

    fn give_made_by(&mut self, key: &Key, generation: Generation) {
        let fake = Fake {
            number: self.given,
            fate: Arc::clone(&self.fate),
        };
        self.given += 1;
        let valid = || Generation::of(&self.valid);
        self.pool.give(key.clone(), fake, generation, valid);
    }

    /// The number of the connection that was taken.
    fn take(&self, key: &Key) -> Option<usize> {
        let taken = self.pool.take(key, &Generation::of(&self.valid), |_| true);
        taken.map(|(fake, _)| fake.number)
    }

    fn parted(&self) -> usize {
        self.fate.parted.load(Relaxed)
    }
}

fn key(host: &str) -> Key {
    Key {
        host: host.parse().unwrap(),
        port: 443,
        offer: Box::new([Protocol::Http1]),
        redact: true,
        user: 1000,
        caller: Caller::default(),
    }
}

#[tokio::test]
async fn the_connection_that_was_given_last_is_taken_first_and_once() {
    let mut rig = Rig::new();
    let a = key("a.example");
    assert_eq!(rig.take(&a), None);
    rig.give(&a);
    rig.give(&a);
    assert_eq!(rig.take(&a), Some(1));
    assert_eq!(rig.take(&a), Some(0));
    assert_eq!(rig.take(&a), None);
    assert_eq!(rig.parted(), 0);
}

#[tokio::test]
async fn a_connection_serves_its_own_purpose_only() {
    let mut rig = Rig::new();
    let a = key("a.example");
    rig.give(&a);
    let others = [
        key("b.example"),
        Key {
            port: 8443,
            ..a.clone()
        },
        Key {
            offer: Box::default(),
            ..a.clone()
        },
        Key {
            redact: false,
            ..a.clone()
        },
        Key {
            user: 0,
            ..a.clone()
        },
        Key {
            caller: Caller {
                executables: vec![b"/bin/x"[..].into()],
            },
            ..a.clone()
        },
    ];
    for other in others {
        assert_eq!(rig.take(&other), None, "{other:?}");
    }
    let unfit = rig.pool.take(&a, &Generation::of(&rig.valid), |_| false);
    assert!(unfit.is_none());
    assert_eq!(rig.take(&a), Some(0));
}

#[tokio::test]
async fn a_connection_on_which_something_came_is_ended() {
    let mut rig = Rig::new();
    let a = key("a.example");
    rig.give(&a);
    rig.fate.spoke.store(true, Relaxed);
    assert_eq!(rig.take(&a), None);
    assert_eq!(rig.parted(), 1);
}

#[tokio::test(start_paused = true)]
async fn connections_expire_each_in_its_time() {
    let mut rig = Rig::new();
    let a = key("a.example");
    rig.give(&a);
    advance(IDLE / 2).await;
    rig.give(&a);
    sleep(IDLE / 2 + Duration::from_secs(1)).await;
    assert_eq!(rig.parted(), 1);
    assert_eq!(rig.take(&a), Some(1));
    sleep(IDLE).await;
    // The sweeper has gone by then; another connection is swept as well.
    rig.give(&a);
    sleep(IDLE + Duration::from_secs(1)).await;
    assert_eq!(rig.parted(), 2);
    assert_eq!(rig.take(&a), None);
}

#[tokio::test]
async fn a_reload_ends_what_was_made_before_and_keeps_nothing_that_comes_back_later() {
    let mut rig = Rig::new();
    let a = key("a.example");
    rig.give(&a);
    let before = Generation::of(&rig.valid);
    rig.valid = Arc::new(1);
    assert_eq!(rig.take(&a), None);
    rig.give(&a);
    rig.pool.renew(&Generation::of(&rig.valid));
    assert_eq!(rig.parted(), 1);
    rig.give_made_by(&a, before);
    assert_eq!(rig.parted(), 2);
    assert_eq!(rig.take(&a), Some(1));
}

#[test]
fn a_configuration_is_never_taken_for_one_that_is_gone() {
    let first = Arc::new(0u32);
    let generation = Generation::of(&first);
    assert!(generation == Generation::of(&first));
    drop(first);
    for _ in 0..100 {
        assert!(generation != Generation::of(&Arc::new(0u32)));
    }
}

#[tokio::test]
async fn a_closed_pool_keeps_nothing() {
    let mut rig = Rig::new();
    let a = key("a.example");
    rig.give(&a);
    rig.pool.close();
    rig.give(&a);
    assert_eq!(rig.parted(), 2);
    assert_eq!(rig.take(&a), None);
}

#[tokio::test]
async fn connections_are_bounded_by_purpose_and_by_sandbox() {
    let mut rig = Rig::new();
    let a = key("a.example");
    for _ in 0..ALIKE + 3 {
        rig.give(&a);
    }
    assert_eq!(rig.parted(), 3);
    for number in 0..PER_SANDBOX {
        rig.give(&key(&format!("h{number}.example")));
    }
    assert_eq!(rig.given - rig.parted(), PER_SANDBOX);
    assert_eq!(rig.take(&a), None);
    assert_eq!(rig.take(&key("h0.example")), Some(ALIKE + 3));
}

#[tokio::test]
async fn a_sandbox_cannot_take_the_places_of_another_away() {
    let seats = Arc::new(Semaphore::new(3));
    let (mut one, mut other) = (Rig::sharing(&seats), Rig::sharing(&seats));
    let a = key("a.example");
    one.give(&a);
    one.give(&a);
    other.give(&a);
    other.give(&a);
    assert_eq!((one.parted(), other.parted()), (0, 1));
    assert_eq!(other.take(&a), Some(1));
    assert_eq!(other.take(&a), None);
    one.give(&a);
    one.give(&a);
    other.give(&a);
    assert_eq!((one.parted(), other.parted()), (1, 2));
}
