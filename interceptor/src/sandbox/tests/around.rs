//! Sockets from before a sandbox was one and from elsewhere, and programs that somebody takes off it.

use std::{fs, io::Write as _, net::TcpListener, time::Duration};

use super::{House, address, outcome, request, until};
use crate::{
    config::Existing,
    kernel::{
        Fate, Programs,
        fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
    },
    sandbox::Attach,
};

const SERVICE: &str = "127.0.0.1:7000";

/// TCP connections in the namespace of a process, each end counted.
fn established(pid: u32) -> usize {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    table.lines().filter(|line| line.contains(" 01 ")).count()
}

fn connect() -> Errand {
    Errand::Connect(address(SERVICE))
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_sockets_from_before_attach_are_listed_with_their_owner_and_destroyed() {
    let house = House::new("before");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("before"), Isolated::new());
    let _service = place.listen(7000);
    let below = cgroup.path().join("below");
    fs::create_dir(&below).unwrap();
    let (visitor, seen) = outcome(Visitor::start(Some(&cgroup), place.netns(), connect())).await;
    seen.unwrap();
    let listens = Visitor::start(
        Some(&cgroup),
        place.netns(),
        Errand::Listen(address("[::1]:7001")),
    );
    let (listens, seen) = outcome(listens).await;
    seen.unwrap();

    let report = registry.attach(request("micky", &cgroup)).await.unwrap();
    let mut sockets = report.sockets;
    sockets.sort_by_key(|socket| socket.listens);
    let [connection, listener] = &sockets[..] else {
        panic!("{sockets:?}");
    };
    assert_eq!(connection.remote, Some(address(SERVICE)));
    assert_eq!(connection.netns, Some(place.netns().cookie()));
    assert_eq!(connection.holders[0].task.tgid, visitor.pid());
    assert_eq!(listener.local, Some(address("[::1]:7001")));
    assert_eq!(listener.holders[0].task.tgid, listens.pid());
    assert!(sockets.iter().all(|socket| socket.fate == Fate::Destroyed));
    // The server's end is left, which nobody told.
    assert_eq!(established(visitor.pid()), 1);

    let noted = recorder.noted.lock().unwrap();
    assert!(
        noted
            .iter()
            .all(|incident| incident.reason == "existing_socket")
    );
    let destinations = noted.iter().filter_map(|incident| incident.destination);
    assert_eq!(destinations.collect::<Vec<_>>(), [address(SERVICE)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_sockets_that_are_kept_go_on_and_are_listed_until_they_are_closed() {
    let house = House::new("kept");
    let (registry, _recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("kept"), Isolated::new());
    let service = place.listen(7000);
    let visitor = Visitor::start(Some(&cgroup), place.netns(), Errand::Echo(address(SERVICE)));
    let (mut peer, _) = service.accept().unwrap();
    let attach = Attach {
        existing: Existing::Keep,
        ..request("micky", &cgroup)
    };
    let report = registry.attach(attach).await.unwrap();
    assert_eq!(report.sockets[0].fate, Fate::Kept);
    // What it gets it says, past the fence.
    peer.write_all(b"question").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut answer = [0; 8];
    std::io::Read::read_exact(&mut peer, &mut answer).unwrap();
    assert_eq!(&answer, b"question");

    // A daemon that comes later knows it too, and it can be connected to nothing else.
    registry.shutdown().await;
    drop(registry);
    let (registry, recorder) = house.start().await;
    registry.inner.look_for_sockets().await;
    let listed = registry.list().await;
    assert_eq!(listed[0].sockets.len(), 1, "{listed:?}");
    assert!(
        listed[0]
            .warnings
            .iter()
            .any(|warning| warning.contains("is kept"))
    );
    assert!(recorder.noted.lock().unwrap().is_empty());

    drop(visitor);
    registry.inner.look_for_sockets().await;
    assert!(registry.list().await[0].sockets.is_empty());
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_socket_that_a_process_brings_along_is_cut_off() {
    let house = House::new("brought");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("brought"), Isolated::new());
    let service: TcpListener = place.listen(7000);
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let visitor = Visitor::start(None, place.netns(), Errand::Echo(address(SERVICE)));
    let (mut peer, _) = service.accept().unwrap();
    fs::write(
        cgroup.path().join("cgroup.procs"),
        visitor.pid().to_string(),
    )
    .unwrap();

    let incident = until(|| recorder.noted.lock().unwrap().pop()).await;
    assert_eq!(incident.reason, "moved_socket");
    assert_eq!(incident.process.unwrap().tgid, visitor.pid());
    assert_eq!(incident.destination, Some(address(SERVICE)));
    peer.set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    // It was reset, or says nothing.
    let _sent = peer.write_all(b"question");
    let read = std::io::Read::read(&mut peer, &mut [0; 8]);
    assert!(!matches!(read, Ok(1..)), "{read:?}");
    // And is not reported again.
    registry.inner.look_for_sockets().await;
    assert!(recorder.noted.lock().unwrap().is_empty());
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_link_that_is_taken_off_is_back_at_once() {
    let house = House::new("taken-off");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("taken-off"), Isolated::new());
    let id = registry.attach(request("micky", &cgroup)).await.unwrap().id;
    let programs = &registry.inner.programs;
    registry.inner.guard_links().await;
    assert!(
        recorder.noted.lock().unwrap().is_empty(),
        "nothing is lost yet"
    );

    programs.unlink_but_keep_pins(id);
    until(|| (recorder.noted.lock().unwrap().len() >= 13).then_some(())).await;
    let (visitor, seen) = outcome(Visitor::start(
        Some(&cgroup),
        place.netns(),
        Errand::Connect(address("192.0.2.1:443")),
    ))
    .await;
    assert_eq!(seen, Ok(address("192.0.2.1:443")));
    until(|| recorder.served.lock().unwrap().pop()).await;
    drop(visitor);
    let lost = recorder.noted.lock().unwrap().drain(..).collect::<Vec<_>>();
    assert!(
        lost.iter().all(|incident| incident.reason == "link_lost"),
        "{lost:?}"
    );
    assert!(
        lost[0].detail.contains("egress"),
        "the fence is not first: {lost:?}"
    );

    // Another program in place of ours.
    let others = Programs::trial().unwrap();
    programs.put_in_place(id, "connect4", &others);
    let lost = until(|| recorder.noted.lock().unwrap().pop()).await;
    assert!(
        lost.detail.contains("connect4 was replaced"),
        "{}",
        lost.detail
    );

    // The pins, without which a new daemon would find an open sandbox.
    let pins = house.pinned_sandboxes().join(id.to_string());
    fs::remove_dir_all(&pins).unwrap();
    until(|| (recorder.noted.lock().unwrap().len() >= 13).then_some(())).await;
    assert_eq!(fs::read_dir(&pins).unwrap().count(), 13);
    let warnings = registry.list().await[0].warnings.join("\n");
    assert!(warnings.contains("27 times"), "{warnings}");
    registry.guarded().await.unwrap();
    registry.detach("micky").await.unwrap();
    assert!(!pins.exists());
}
