//! One registry after another while both live.

use std::{path::Path, sync::Arc};

use super::{House, Recorder, address, outcome, request, until};
use crate::{
    kernel::{
        Listeners,
        fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
    },
    sandbox::{AttachError, Frozen, Proven, Registry, Successor},
};

const CONNECT: &str = "192.0.2.1:443";
const RESOLVER: &str = "192.0.2.53:53";

fn visitor(cgroup: &ScratchCgroup, place: &Isolated, errand: Errand) -> Visitor {
    Visitor::start(Some(cgroup), place.netns(), errand)
}

/// What a daemon does that takes over, up to the word that there is no way back.
async fn prepare(
    house: &House,
    registry: &Registry<Recorder>,
    frozen: &Frozen,
) -> (Successor<Recorder>, Arc<Recorder>) {
    let lock = registry.lock().unwrap().try_clone_to_owned().unwrap();
    let proven = Proven::try_out().await.unwrap();
    let bpf_dir = house.pins.path().to_owned();
    let loaded = proven.load_beside(bpf_dir, lock).await.unwrap();
    let inherited = frozen.namespaces().map(|(bequest, handles)| {
        let copies = handles.iter().map(|fd| fd.try_clone_to_owned().unwrap());
        let copies = copies.collect();
        let listeners = Listeners::inherit(bequest.cookie, bequest.port, copies).unwrap();
        (bequest, listeners)
    });
    let recorder = Arc::new(Recorder::default());
    let run_dir: &Path = house.run_dir.path();
    let prepared = Successor::prepare(run_dir, loaded, Arc::clone(&recorder), inherited.collect());
    (prepared.await.unwrap(), recorder)
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_what_waits_in_the_queues_of_one_daemon_is_served_by_the_next() {
    let house = House::new("queues");
    let (first, old) = house.start().await;
    let (cgroup, place, later) = (
        ScratchCgroup::new("queues"),
        Isolated::new(),
        Isolated::new(),
    );
    first.attach(request("micky", &cgroup)).await.unwrap();
    let (_served, seen) =
        outcome(visitor(&cgroup, &place, Errand::Connect(address(CONNECT)))).await;
    assert_eq!(seen, Ok(address(CONNECT)));
    until(|| old.served.lock().unwrap().pop()).await;

    let frozen = first.freeze().await;
    let (next, new) = prepare(&house, &first, &frozen).await;
    first.surrender(frozen).await;
    // Nobody accepts: the kernel does, and keeps it, as it keeps a question. A namespace is announced to nobody.
    let connected = visitor(&cgroup, &place, Errand::Connect(address(CONNECT)));
    let (_connected, seen) = outcome(connected).await;
    assert_eq!(seen, Ok(address(CONNECT)));
    let asking = visitor(&cgroup, &place, Errand::Ask(address(RESOLVER)));
    let elsewhere = visitor(&cgroup, &later, Errand::Connect(address(CONNECT)));

    let second = next.begin().await;
    let (_asking, answered) = outcome(asking).await;
    assert_eq!(answered, Ok(address(RESOLVER)));
    let (_elsewhere, seen) = outcome(elsewhere).await;
    assert_eq!(seen, Ok(address(CONNECT)));
    until(|| (new.served.lock().unwrap().len() == 2).then_some(())).await;
    assert!(old.served.lock().unwrap().is_empty());
    assert_eq!(second.list().await[0].netns.len(), 2);
    drop(first);
    second.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_daemon_that_nobody_took_over_from_goes_on() {
    let house = House::new("thawed");
    let (first, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("thawed"), Isolated::new());
    first.attach(request("micky", &cgroup)).await.unwrap();
    let frozen = first.freeze().await;
    let (next, _unused) = prepare(&house, &first, &frozen).await;
    let connecting = visitor(&cgroup, &place, Errand::Connect(address(CONNECT)));
    drop((next, frozen));
    let (_connected, seen) = outcome(connecting).await;
    assert_eq!(seen, Ok(address(CONNECT)));
    until(|| recorder.served.lock().unwrap().pop()).await;
    // The lock is not lost either.
    let second = Proven::try_out().await.unwrap();
    assert!(second.load(house.pins.path().to_owned()).await.is_err());
    first.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_an_attach_that_waits_for_a_handover_is_turned_away_by_it() {
    let house = House::new("turned");
    let (first, _recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("turned");
    let frozen = first.freeze().await;
    let waiting = async {
        let attached = first.attach(request("micky", &cgroup)).await;
        assert!(matches!(attached, Err(AttachError::Stopping)));
    };
    let handover = async {
        tokio::task::yield_now().await;
        first.surrender(frozen).await;
    };
    tokio::join!(waiting, handover);
    assert!(first.list().await.is_empty());
}
