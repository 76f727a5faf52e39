//! What goes past the daemon, and what does not.

use std::{net::SocketAddr, path::PathBuf};

use super::{House, Recorder, address, outcome, request, until};
use crate::{
    config::{ExemptProcess, Exemptions, NetnsPlace},
    kernel::{
        Cgroup,
        fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
    },
    sandbox::Registry,
};

/// An address of the namespace itself, which is none of loopback.
const SERVER: &str = "10.9.9.9";

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(SERVER.parse().unwrap(), port)
}

fn place() -> Isolated {
    let place = Isolated::new();
    place.ip(&format!("addr add {SERVER}/32 dev lo"));
    place
}

async fn visit(
    cgroup: &Cgroup,
    place: &Isolated,
    errand: Errand,
) -> (Visitor, Result<SocketAddr, i32>) {
    outcome(Visitor::start(Some(cgroup), place.netns(), errand)).await
}

async fn uses(registry: &Registry<Recorder>) -> Vec<(String, u64)> {
    let exemptions = registry.list().await[0].exemptions.clone();
    let texts = exemptions.into_iter();
    texts
        .map(|(permit, uses)| (permit.to_string(), uses))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_datagrams_go_to_a_granted_address_and_port_and_to_no_other() {
    let house = House::new("udp");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("udp"), place());
    place.echo(at(123));
    place.echo(at(124));
    recorder.exemptions.lock().unwrap().udp = vec![at(123)];
    registry.attach(request("micky", &cgroup)).await.unwrap();

    let mapped = address("[::ffff:10.9.9.9]:123");
    for errand in [
        Errand::Ask(at(123)),
        Errand::AskConnected(at(123)),
        Errand::Ask(mapped),
        Errand::AskConnected(mapped),
    ] {
        let (_visitor, seen) = visit(&cgroup, &place, errand).await;
        assert_eq!(seen, Ok(at(123)), "{errand:?}");
    }
    for errand in [
        Errand::Ask(at(124)),
        Errand::AskConnected(at(124)),
        Errand::Ask(address("[::ffff:10.9.9.9]:124")),
        Errand::AskConnected(address("[::ffff:10.9.9.9]:124")),
        Errand::Ask(address("192.0.2.1:123")),
    ] {
        let (_visitor, seen) = visit(&cgroup, &place, errand).await;
        assert_eq!(seen, Err(libc::EPERM), "{errand:?}");
    }
    assert_eq!(
        uses(&registry).await,
        [("UDP to 10.9.9.9:123".to_owned(), 4)]
    );
    assert!(registry.list().await[0].kernel_denials >= 5);

    // A reload takes it away.
    recorder.exemptions.lock().unwrap().udp.clear();
    registry.enroll_again().await;
    let (_visitor, seen) = visit(&cgroup, &place, Errand::Ask(at(123))).await;
    assert_eq!(seen, Err(libc::EPERM));
    assert_eq!(uses(&registry).await, []);
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_connection_to_an_exempt_destination_is_not_captured() {
    let house = House::new("tcp");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("tcp"), place());
    let server = place.listen_at(at(5432));
    recorder.exemptions.lock().unwrap().tcp = vec![at(5432)];
    registry.attach(request("micky", &cgroup)).await.unwrap();

    for asked in [at(5432), address("[::ffff:10.9.9.9]:5432")] {
        let (_visitor, seen) = visit(&cgroup, &place, Errand::Connect(asked)).await;
        assert_eq!(seen, Ok(at(5432)));
        server.accept().unwrap();
    }
    let (_visitor, seen) = visit(&cgroup, &place, Errand::Connect(at(5433))).await;
    assert_eq!(seen, Ok(at(5433)));
    let origin = until(|| recorder.served.lock().unwrap().pop()).await;
    assert_eq!(origin.original.0, at(5433));
    assert!(recorder.served.lock().unwrap().is_empty());
    assert_eq!(
        uses(&registry).await,
        [("TCP to 10.9.9.9:5432".to_owned(), 2)]
    );
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_process_is_exempt_by_user_and_namespace_together() {
    let house = House::new("process");
    let (registry, recorder) = house.start().await;
    let (cgroup, place, elsewhere) = (ScratchCgroup::new("process"), place(), place());
    let servers = [&place, &elsewhere].map(|place| {
        let server = place.listen_at(at(5432));
        server.set_nonblocking(true).unwrap();
        server
    });
    let task = place.task();
    let file = PathBuf::from(format!("/proc/{}/task/{}/ns/net", task.tgid, task.tid));
    let exempt = |uid| Exemptions {
        processes: vec![ExemptProcess {
            netns: NetnsPlace::Path(file.clone()),
            uid,
        }],
        ..Exemptions::default()
    };
    *recorder.exemptions.lock().unwrap() = exempt(0);
    registry.attach(request("micky", &cgroup)).await.unwrap();

    let (_direct, seen) = visit(&cgroup, &place, Errand::Connect(at(5432))).await;
    assert_eq!(seen, Ok(at(5432)));
    servers[0].accept().unwrap();
    // The same user elsewhere.
    let (_captured, seen) = visit(&cgroup, &elsewhere, Errand::Connect(at(5432))).await;
    assert_eq!(seen, Ok(at(5432)));
    until(|| recorder.served.lock().unwrap().pop()).await;
    servers[1].accept().unwrap_err();
    // Neither raw sockets nor others that are not TCP or UDP.
    visit(&cgroup, &place, Errand::Flood(1)).await.1.unwrap();
    until(|| recorder.denied.lock().unwrap().pop()).await;

    // Another user there.
    *recorder.exemptions.lock().unwrap() = exempt(1);
    registry.enroll_again().await;
    let (_captured, seen) = visit(&cgroup, &place, Errand::Connect(at(5432))).await;
    assert_eq!(seen, Ok(at(5432)));
    until(|| recorder.served.lock().unwrap().pop()).await;
    servers[0].accept().unwrap_err();
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_sandbox_takes_no_more_than_its_share_of_flows() {
    let house = House::new("share");
    let (registry, recorder) = house.start().await;
    let (greedy, modest) = (ScratchCgroup::new("greedy"), ScratchCgroup::new("modest"));
    let (there, here) = (Isolated::new(), Isolated::new());
    registry.attach(request("greedy", &greedy)).await.unwrap();
    registry.attach(request("modest", &modest)).await.unwrap();
    let resolver = address("192.0.2.53:53");
    let share = u32::try_from(interceptor_ebpf::tally::FLOWS_SHARE).unwrap();

    // Listeners first: what is asked before is lost.
    for (cgroup, place) in [(&greedy, &there), (&modest, &here)] {
        let errand = Errand::Connect(address("192.0.2.1:443"));
        visit(cgroup, place, errand).await.1.unwrap();
        until(|| recorder.served.lock().unwrap().pop()).await;
    }
    let (crowd, seen) = visit(&greedy, &there, Errand::AskOften(resolver, share)).await;
    assert_eq!(seen, Ok(resolver));
    let (_refused, seen) = visit(&greedy, &there, Errand::Ask(resolver)).await;
    assert_eq!(seen, Err(libc::EPERM));
    let (_other, seen) = visit(&modest, &here, Errand::Ask(resolver)).await;
    assert_eq!(seen, Ok(resolver));

    // What sockets took comes back with their end.
    drop(crowd);
    let (_again, seen) = visit(&greedy, &there, Errand::AskOften(resolver, share)).await;
    assert_eq!(seen, Ok(resolver));
    registry.detach("greedy").await.unwrap();
    registry.detach("modest").await.unwrap();
}
