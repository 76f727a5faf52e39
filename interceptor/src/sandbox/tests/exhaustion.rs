//! Full tables: denied, counted, and over when there is room again.

use std::time::Duration;

use super::{House, address, outcome, request, until};
use crate::{
    kernel::{
        Cgroup, NetnsState,
        fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
    },
    sandbox::Registry,
};

fn visitor(cgroup: &Cgroup, place: &Isolated) -> Visitor {
    let errand = Errand::Connect(address("192.0.2.1:443"));
    Visitor::start(Some(cgroup), place.netns(), errand)
}

fn counted(registry: &Registry<super::Recorder>, name: &str) -> u64 {
    let counters = registry.counters();
    counters.iter().find(|(other, _)| *other == name).unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_full_table_of_flows_denies_connects_until_there_is_room() {
    let house = House::new("flows");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("flows"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    // Listeners are there.
    outcome(visitor(&cgroup, &place)).await.1.unwrap();
    let programs = &registry.inner.programs;
    let fillers = programs.fill_flows(crate::address::SandboxId(0));
    let (_visitor, seen) = outcome(visitor(&cgroup, &place)).await;
    assert_eq!(seen, Err(libc::ETIMEDOUT));
    let denial = until(|| recorder.denied.lock().unwrap().pop()).await;
    assert!(
        denial.reason.contains("too many connections"),
        "{}",
        denial.reason
    );
    assert!(counted(&registry, "denials") > 0);
    programs.drain_flows(fillers);
    outcome(visitor(&cgroup, &place)).await.1.unwrap();
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_full_table_of_sandboxes_refuses_another_one_and_leaves_nothing_of_it() {
    let house = House::new("sandboxes");
    let (registry, _recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("sandboxes");
    let programs = &registry.inner.programs;
    let before = programs.fill_sandboxes();
    let error = registry
        .attach(request("micky", &cgroup))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("1024"), "{error}");
    assert!(registry.list().await.is_empty());
    let pins = house.pinned_sandboxes();
    assert_eq!(std::fs::read_dir(&pins).unwrap().count(), 0);
    programs.drain_sandboxes(before);
    registry.attach(request("micky", &cgroup)).await.unwrap();
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_full_table_of_namespaces_denies_new_ones_until_there_is_room() {
    let house = House::new("namespaces");
    let (registry, recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("namespaces");
    let (old, new) = (Isolated::new(), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    outcome(visitor(&cgroup, &old)).await.1.unwrap();
    let programs = &registry.inner.programs;
    {
        // The table is cleared at the next tick.
        let _busy = registry.inner.state.lock().await;
        programs.fill_netns();
        let (_visitor, seen) = outcome(visitor(&cgroup, &new)).await;
        assert_eq!(seen, Err(libc::EPERM));
        // Namespaces that are known are not harmed.
        outcome(visitor(&cgroup, &old)).await.1.unwrap();
    }
    let denial = until(|| recorder.denied.lock().unwrap().pop()).await;
    assert!(denial.reason.contains("no listener"), "{}", denial.reason);
    until(|| (programs.netns().len() < 100).then_some(())).await;
    outcome(visitor(&cgroup, &new)).await.1.unwrap();
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_events_that_found_no_room_are_counted_and_their_namespaces_found_all_the_same() {
    let house = House::new("ring");
    let (registry, _recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("ring");
    let (first, second) = (Isolated::new(), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let busy = registry.inner.state.lock().await;
    // Whoever reads the events waits for this one.
    let waiting = visitor(&cgroup, &first);
    let pending = |count: usize| {
        let known = registry.inner.programs.netns().into_iter();
        let pending = known.filter(|(_, entry, _)| entry.state == NetnsState::Pending);
        (pending.count() == count).then_some(())
    };
    until(|| pending(1)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let flood = Visitor::start(Some(&cgroup), first.netns(), Errand::Flood(7000));
    let (_flood, seen) = outcome(flood).await;
    seen.unwrap();
    assert!(counted(&registry, "events_lost") > 0);
    let unheard = visitor(&cgroup, &second);
    until(|| pending(2)).await;
    drop(busy);
    for visitor in [waiting, unheard] {
        outcome(visitor).await.1.unwrap();
    }
    registry.detach("micky").await.unwrap();
}
