//! What is captured, and what the daemon learns of it.

use std::net::{SocketAddr, TcpListener};

use super::{House, address, outcome, request, until};
use crate::{
    address::SandboxId,
    kernel::fixtures::{Errand, Isolated, ScratchCgroup, Visitor},
};

#[tokio::test(flavor = "multi_thread")]
async fn kernel_connections_arrive_with_their_origin() {
    let house = House::new("origin");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("origin"), Isolated::new());
    let report = registry.attach(request("micky", &cgroup)).await.unwrap();

    for (asked, original) in [
        ("192.0.2.1:443", "192.0.2.1:443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("[::ffff:192.0.2.2]:8443", "192.0.2.2:8443"),
        ("127.0.0.53:53", "127.0.0.53:53"),
    ] {
        let visitor = Visitor::start(
            Some(&cgroup),
            place.netns(),
            Errand::Connect(address(asked)),
        );
        let (visitor, seen) = outcome(visitor).await;
        assert_eq!(seen, Ok(address(original)), "getpeername after {asked}");
        let origin = until(|| recorder.served.lock().unwrap().pop()).await;
        assert_eq!(origin.original.0, address(original), "{asked}");
        assert_eq!(origin.sandbox, report.id);
        assert_eq!(origin.netns, place.netns().cookie());
        assert_eq!(origin.process.tgid, visitor.pid());
        assert_eq!(origin.process.uid, 0);
    }
    let reports = registry.list().await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].netns.len(), 1);
    assert_eq!(reports[0].netns[0].cookie, place.netns().cookie());
    assert_eq!(reports[0].netns[0].port, 61913);
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_namespace_without_ipv6_is_captured_on_both_families() {
    let house = House::new("no-v6");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("no-v6"), Isolated::new());
    place.disable_v6();
    registry.attach(request("micky", &cgroup)).await.unwrap();
    for asked in ["192.0.2.1:443", "[2001:db8::1]:443"] {
        let errand = Errand::Connect(address(asked));
        let visitor = Visitor::start(Some(&cgroup), place.netns(), errand);
        let (_visitor, seen) = outcome(visitor).await;
        assert_eq!(seen, Ok(address(asked)));
        let origin = until(|| recorder.served.lock().unwrap().pop()).await;
        assert_eq!(origin.original.0, address(asked));
    }
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_questions_are_answered_from_the_address_that_was_asked() {
    let house = House::new("dns");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("dns"), Isolated::new());
    let report = registry.attach(request("micky", &cgroup)).await.unwrap();
    let resolvers = ["127.0.0.53:53", "192.0.2.53:53", "[2001:db8::53]:53"];
    for asked in resolvers.map(address) {
        for errand in [Errand::Ask(asked), Errand::AskConnected(asked)] {
            let visitor = Visitor::start(Some(&cgroup), place.netns(), errand);
            let (visitor, from) = outcome(visitor).await;
            assert_eq!(from, Ok(asked), "{errand:?}");
            let origin = until(|| recorder.asked.lock().unwrap().pop()).await;
            assert_eq!(origin.original.0, asked);
            assert_eq!(origin.sandbox, report.id);
            assert_eq!(origin.process.tgid, visitor.pid());
        }
    }
    registry.detach("micky").await.unwrap();
}

/// UDP does not repeat itself, and resolvers ask again after 5 s only.
#[tokio::test(flavor = "multi_thread")]
async fn kernel_the_first_question_of_a_namespace_is_answered() {
    let house = House::new("first-question");
    let (registry, recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("first-question");
    registry.attach(request("micky", &cgroup)).await.unwrap();
    for asked in ["192.0.2.53:53", "[2001:db8::53]:53"].map(address) {
        for errand in [Errand::Ask(asked), Errand::AskConnected(asked)] {
            let place = Isolated::new();
            let visitor = Visitor::start(Some(&cgroup), place.netns(), errand);
            let (visitor, from) = outcome(visitor).await;
            assert_eq!(from, Ok(asked), "{errand:?}");
            let origin = until(|| recorder.asked.lock().unwrap().pop()).await;
            assert_eq!(origin.original.0, asked);
            assert_eq!(origin.process.tgid, visitor.pid());
        }
    }
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_datagram_that_is_not_dns_is_refused_and_reported() {
    let house = House::new("udp");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("udp"), Isolated::new());
    let report = registry.attach(request("micky", &cgroup)).await.unwrap();
    let asked = address("192.0.2.1:443");
    let visitor = Visitor::start(Some(&cgroup), place.netns(), Errand::Ask(asked));
    let (_visitor, seen) = outcome(visitor).await;
    assert_eq!(seen, Err(libc::EPERM));
    let denial = until(|| recorder.denied.lock().unwrap().pop()).await;
    assert_eq!(denial.sandbox, Some(report.id));
    assert_eq!(denial.destination, Some(asked));
    assert_eq!(denial.reason, "a datagram that is not DNS");
    registry.detach("micky").await.unwrap();
}

/// On one thread: nothing is accepted while the test does not wait.
#[tokio::test]
async fn kernel_a_client_that_is_gone_before_it_is_accepted_is_served_all_the_same() {
    let house = House::new("hasty");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("hasty"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let asked = address("192.0.2.1:443");
    let errand = || Errand::Connect(asked);
    let (_first, seen) = outcome(Visitor::start(Some(&cgroup), place.netns(), errand())).await;
    seen.unwrap();
    until(|| recorder.served.lock().unwrap().pop()).await;

    let hasty = Visitor::start(Some(&cgroup), place.netns(), errand());
    hasty.outcome().unwrap();
    let pid = hasty.pid();
    drop(hasty);
    let origin = until(|| recorder.served.lock().unwrap().pop()).await;
    assert_eq!((origin.process.tgid, origin.original.0), (pid, asked));
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_process_outside_is_not_touched_and_gains_nothing() {
    let house = House::new("outside");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("outside"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let inside = Errand::Connect(address("192.0.2.1:443"));
    let (_inside, seen) = outcome(Visitor::start(Some(&cgroup), place.netns(), inside)).await;
    seen.unwrap();
    until(|| recorder.served.lock().unwrap().pop()).await;

    let service = place.listen(7777);
    for (asked, expected) in [
        ("127.0.0.1:7777", Ok(address("127.0.0.1:7777"))),
        ("192.0.2.1:443", Err(libc::ENETUNREACH)),
        // Whoever finds our port is let in and out again.
        ("127.0.0.1:61913", Ok(address("127.0.0.1:61913"))),
    ] {
        let errand = Errand::Connect(address(asked));
        let (_visitor, seen) = outcome(Visitor::start(None, place.netns(), errand)).await;
        assert_eq!(seen, expected, "{asked}");
    }
    let strays = || {
        let counters = registry.counters();
        let strays = counters.into_iter().find(|(name, _)| *name == "strays");
        strays.filter(|(_, value)| *value == 1)
    };
    until(strays).await;
    assert!(recorder.served.lock().unwrap().is_empty());
    drop(service);
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_loopback_is_left_alone_only_where_nobody_else_lives() {
    let house = House::new("private");
    let (registry, recorder) = house.start().await;
    let cgroup = ScratchCgroup::new("private");
    registry.attach(request("micky", &cgroup)).await.unwrap();

    let alone = Isolated::new();
    let service = Errand::Listen(address("127.0.0.1:7777"));
    let (_service, seen) = outcome(Visitor::start(Some(&cgroup), alone.netns(), service)).await;
    seen.unwrap();
    let errand = Errand::Connect(address("127.0.0.1:7777"));
    let (_visitor, seen) = outcome(Visitor::start(Some(&cgroup), alone.netns(), errand)).await;
    assert_eq!(seen, Ok(address("127.0.0.1:7777")));
    assert!(recorder.served.lock().unwrap().is_empty());

    let shared = Isolated::new();
    let _service = shared.listen(7777);
    let neighbour = Errand::Connect(address("127.0.0.1:7777"));
    let (_neighbour, seen) = outcome(Visitor::start(None, shared.netns(), neighbour)).await;
    seen.unwrap();
    let remote = Errand::Connect(address("192.0.2.1:443"));
    let (_remote, seen) = outcome(Visitor::start(Some(&cgroup), shared.netns(), remote)).await;
    seen.unwrap();
    until(|| recorder.served.lock().unwrap().pop()).await;
    let (_visitor, seen) = outcome(Visitor::start(Some(&cgroup), shared.netns(), errand)).await;
    assert_eq!(seen, Ok(address("127.0.0.1:7777")));
    let origin = until(|| recorder.served.lock().unwrap().pop()).await;
    assert_eq!(origin.original.0, address("127.0.0.1:7777"));
    registry.detach("micky").await.unwrap();
}

/// As the resolver of a container engine, which lives elsewhere and listens in there: whoever lives in a namespace does
/// not tell whose sockets are in it.
#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_stranger_that_listens_on_loopback_is_not_reached() {
    let house = House::new("stranger");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("stranger"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let first = Errand::Connect(address("192.0.2.1:443"));
    let (_first, seen) = outcome(Visitor::start(Some(&cgroup), place.netns(), first)).await;
    seen.unwrap();
    assert!(registry.list().await[0].netns[0].private);

    let service: TcpListener = place.listen(7777);
    service.set_nonblocking(true).unwrap();
    for _ in 0..2 {
        let errand = Errand::Connect(address("127.0.0.1:7777"));
        let (_visitor, seen) = outcome(Visitor::start(Some(&cgroup), place.netns(), errand)).await;
        assert_eq!(seen, Err(libc::ETIMEDOUT));
        let denial = until(|| recorder.denied.lock().unwrap().pop()).await;
        assert_eq!(denial.code, "foreign_receiver");
        assert_eq!(denial.destination, Some(address("127.0.0.1:7777")));
    }
    assert_eq!(
        service.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_who_takes_the_port_of_a_daemon_that_ended_gets_nothing() {
    let house = House::new("usurper");
    let (registry, _recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("usurper"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let errand = Errand::Connect(address("192.0.2.1:443"));
    let visit = || Visitor::start(Some(&cgroup), place.netns(), errand);
    let (first, seen) = outcome(visit()).await;
    seen.unwrap();
    let port = registry.list().await[0].netns[0].port;
    drop(first);
    registry.shutdown().await;
    drop(registry);

    let service = place.listen(port);
    service.set_nonblocking(true).unwrap();
    let question = Errand::Ask(address("192.0.2.53:53"));
    let (_visitor, seen) = outcome(visit()).await;
    assert_eq!(seen, Err(libc::ETIMEDOUT));
    assert_eq!(
        service.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    let _resolver = place.bind(port);
    let (_visitor, seen) = outcome(Visitor::start(Some(&cgroup), place.netns(), question)).await;
    assert_eq!(seen, Err(libc::EPERM));

    let (registry, _recorder) = house.start().await;
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_two_sandboxes_do_not_mix() {
    let house = House::new("two");
    let (registry, recorder) = house.start().await;
    let (first, second) = (ScratchCgroup::new("two-a"), ScratchCgroup::new("two-b"));
    let place = Isolated::new();
    let ids: Vec<SandboxId> = vec![
        registry.attach(request("micky", &first)).await.unwrap().id,
        registry
            .attach(request("minnie", &second))
            .await
            .unwrap()
            .id,
    ];
    for _ in 0..2 {
        for (cgroup, id) in [(&first, ids[0]), (&second, ids[1])] {
            let errand = Errand::Connect(address("192.0.2.1:443"));
            let visitor = Visitor::start(Some(cgroup), place.netns(), errand);
            let (visitor, seen) = outcome(visitor).await;
            seen.unwrap();
            let origin = until(|| recorder.served.lock().unwrap().pop()).await;
            assert_eq!((origin.sandbox, origin.process.tgid), (id, visitor.pid()));
        }
    }
    registry.detach("micky").await.unwrap();
    // The namespace is still served for the other.
    let errand = Errand::Connect(SocketAddr::from(([192, 0, 2, 1], 443)));
    let (_visitor, seen) = outcome(Visitor::start(Some(&second), place.netns(), errand)).await;
    seen.unwrap();
    until(|| recorder.served.lock().unwrap().pop()).await;
    registry.detach("minnie").await.unwrap();
}

/// A segment routing header (RFC 8754 §2) by way of 2001:db8::9.
const ROUTE: &[u8] = &[
    0, 4, 4, 1, 1, 0, 0, 0, //
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
    0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
];

#[tokio::test(flavor = "multi_thread")]
async fn kernel_a_flood_of_denials_is_counted_and_reported() {
    let house = House::new("flood");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("flood"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    let flood = Errand::Flood(2000);
    let visitor = Visitor::start(Some(&cgroup), place.netns(), flood);
    outcome(visitor).await.1.unwrap();
    let denials = || {
        let counters = registry.counters();
        counters
            .iter()
            .any(|(name, count)| *name == "denials" && *count >= 2000)
    };
    until(|| denials().then_some(())).await;
    until(|| (!recorder.denied.lock().unwrap().is_empty()).then_some(())).await;
    registry.detach("micky").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kernel_options_that_lead_round_the_hooks_are_refused_and_reported() {
    let house = House::new("options");
    let (registry, recorder) = house.start().await;
    let (cgroup, place) = (ScratchCgroup::new("options"), Isolated::new());
    registry.attach(request("micky", &cgroup)).await.unwrap();
    for (level, option, value) in [
        (libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &b"lo"[..]),
        (libc::IPPROTO_IPV6, libc::IPV6_RTHDR, ROUTE),
        (libc::IPPROTO_IPV6, libc::IPV6_2292PKTOPTIONS, &[0; 16]),
        (libc::IPPROTO_IP, libc::IP_OPTIONS, &[1, 1, 1, 0]),
        (libc::IPPROTO_IP, libc::IP_FREEBIND, &[1, 0, 0, 0]),
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT, &[1, 0, 0, 0]),
        (libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, &[1, 0, 0, 0]),
        (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, &[1, 0, 0, 0]),
    ] {
        let errand = Errand::SetOption {
            level,
            option,
            value,
        };
        let visitor = Visitor::start(Some(&cgroup), place.netns(), errand);
        let (_visitor, refused) = outcome(visitor).await;
        assert_eq!(refused, Err(libc::EPERM), "{level} {option}");
        let denial = until(|| recorder.denied.lock().unwrap().pop()).await;
        assert!(denial.reason.contains("source route"), "{}", denial.reason);
    }
    let errand = Errand::SetOption {
        level: libc::IPPROTO_IPV6,
        option: libc::IPV6_TCLASS,
        value: &[0, 0, 0, 0],
    };
    let visitor = Visitor::start(Some(&cgroup), place.netns(), errand);
    assert!(outcome(visitor).await.1.is_ok());
    registry.detach("micky").await.unwrap();
}
