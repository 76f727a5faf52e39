//! Sockets of families that the programs over IPv4 and IPv6 do not see, and the devices that they reach.

use std::net::SocketAddr;

use super::{House, address, outcome, request, until};
use crate::kernel::{
    Cgroup,
    fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
};

async fn send_frame(cgroup: &Cgroup, place: &Isolated, device: u32) -> Result<SocketAddr, i32> {
    outcome(Visitor::start(
        Some(cgroup),
        place.netns(),
        Errand::Frame(device),
    ))
    .await
    .1
}

/// A pair of devices, the first of which has a number of the test's choice.
fn add_pair(place: &Isolated, first: &str, index: u32, second: &str) {
    place.ip(&format!(
        "link add {first} index {index} type veth peer name {second}"
    ));
    place.ip(&format!("link set {first} up"));
    place.ip(&format!("link set {second} up"));
}

const OUT0: u32 = 100;
const OUT1: u32 = 200;

/// ENOBUFS where a device's fence drops it, EAFNOSUPPORT where there is no such socket at all.
fn is_refused(seen: Result<SocketAddr, i32>) -> bool {
    matches!(seen, Err(libc::ENOBUFS | libc::EAFNOSUPPORT))
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_packet_sockets_reach_no_device_of_a_namespace_that_a_sandbox_owns() {
    let house = House::new("devices");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("devices"), Isolated::new());
    place.disable_v6();
    add_pair(&place, "out0", OUT0, "in0");
    // The positive control.
    send_frame(&cgroup, &place, OUT0).await.unwrap();
    assert_eq!(place.received("in0"), 1);

    registry.attach(request("micky", &cgroup)).await.unwrap();
    let errand = Errand::Connect(address("192.0.2.1:443"));
    let (_visitor, seen) = outcome(Visitor::start(Some(&cgroup), place.netns(), errand)).await;
    seen.unwrap();
    let origin = until(|| recorder.served.lock().unwrap().pop()).await;
    assert_eq!(origin.netns, place.netns().cookie());
    for _ in 0..200 {
        if registry.list().await[0].netns[0].fenced {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let seen = send_frame(&cgroup, &place, OUT0).await;
    assert!(is_refused(seen), "{seen:?}");
    let denial = until(|| recorder.denied.lock().unwrap().pop()).await;
    assert!(
        ["packet_egress", "socket_family"].contains(&denial.code),
        "{denial:?}"
    );
    assert_eq!(denial.sandbox, Some(origin.sandbox));

    // One that comes later.
    add_pair(&place, "out1", OUT1, "in1");
    let mut seen = Ok(address("0.0.0.0:0"));
    for _ in 0..200 {
        seen = send_frame(&cgroup, &place, OUT1).await;
        if is_refused(seen) {
            break;
        }
    }
    assert!(is_refused(seen), "{seen:?}");

    // Without a daemon, and with the next one.
    registry.shutdown().await;
    drop(registry);
    for device in [OUT0, OUT1] {
        assert!(is_refused(send_frame(&cgroup, &place, device).await));
    }
    let (registry, _recorder) = house.start().await;
    for device in [OUT0, OUT1] {
        assert!(is_refused(send_frame(&cgroup, &place, device).await));
    }
    assert_eq!(place.received("in0"), 1);
    registry.detach("micky").await.unwrap();
    send_frame(&cgroup, &place, OUT0).await.unwrap();
    assert_eq!(place.received("in0"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_other_families_are_refused_or_said_to_be_open() {
    let house = House::new("families");
    let (registry, _recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("families"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let family = async |family| {
        let errand = Errand::Family(family);
        outcome(Visitor::start(Some(&cgroup), place.netns(), errand))
            .await
            .1
    };
    for allowed in [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ] {
        family(allowed).await.unwrap();
    }
    let doors = registry.list().await[0].doors.clone();
    let seen = family(libc::AF_VSOCK).await;
    // Where the kernel is known to have it, that it does not load is a fault of ours.
    let known = std::env::var("KERNEL_HAS").is_ok_and(|has| has.contains("lsm_cgroup"));
    assert!(doors.is_empty() || !known, "{doors:?}");
    if doors.is_empty() {
        assert_eq!(seen, Err(libc::EAFNOSUPPORT));
        assert_eq!(family(libc::AF_PACKET).await, Err(libc::EAFNOSUPPORT));
    } else {
        assert!(doors[0].contains("AF_VSOCK"), "{doors:?}");
    }
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_options_of_packet_sockets_and_xdp_are_refused() {
    let house = House::new("packet-options");
    let (registry, _recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("packet-options"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    // PACKET_QDISC_BYPASS, which leads past a device's fence, and XDP_UMEM_REG.
    for (level, option) in [(263, 20), (283, 4)] {
        let errand = Errand::SetOption {
            level,
            option,
            value: &[1, 0, 0, 0],
        };
        let visitor = Visitor::start(Some(&cgroup), place.netns(), errand);
        assert_eq!(outcome(visitor).await.1, Err(libc::EPERM), "{level}");
    }
    registry.detach("micky").await.unwrap();
}
