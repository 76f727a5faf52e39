use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::policy::{Access, Binaries, Enforcement, Handling, Requests, Target};

const NAME: &str = "api.example.com";

fn host() -> Host {
    NAME.parse().unwrap()
}

fn endpoint(allowed_ips: &[&str]) -> Endpoint {
    Endpoint {
        rule: NAME.into(),
        target: Target::Named(NAME.parse().unwrap()),
        port: 443,
        handling: Handling::Intercept,
        requests: Requests::by_access(Access::Full),
        binaries: Binaries::Any,
        enforcement: Enforcement::Enforce,
        redact: true,
        upgrades: Vec::new(),
        allowed_ips: allowed_ips.iter().map(|ip| ip.parse().unwrap()).collect(),
    }
}

fn resolved(addresses: &[&str], as_written: bool) -> Resolved {
    let addresses = addresses
        .iter()
        .map(|ip| SocketAddr::new(ip.parse().unwrap(), 443))
        .collect();
    Resolved {
        addresses,
        as_written,
        lifetime: Duration::ZERO,
    }
}

/// In the order in which they are tried.
fn tried(addresses: &[&str], as_written: bool, allowed_ips: &[&str]) -> Vec<String> {
    let resolved = resolved(addresses, as_written);
    allowed(&host(), &resolved, &endpoint(allowed_ips))
        .unwrap()
        .iter()
        .map(|address| address.socket.ip().to_string())
        .collect()
}

fn written(sockets: impl IntoIterator<Item = SocketAddr>) -> Vec<Address> {
    sockets
        .into_iter()
        .map(|socket| Address {
            socket,
            as_written: true,
        })
        .collect()
}

/// An address of which nothing is heard: its queue of connections is full, so SYNs are dropped.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    async fn dig() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let patience = Duration::from_millis(200);
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        Self {
            address,
            _listener: listener,
            _queued: queued,
        }
    }
}

async fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which nobody listens.
async fn closed() -> SocketAddr {
    listening().await.1
}

#[test]
fn families_take_turns_and_the_first_one_begins() {
    let mixed = [
        "2606:4700::1",
        "2606:4700::2",
        "2606:4700::3",
        "1.1.1.1",
        "1.1.1.2",
    ];
    assert_eq!(
        tried(&mixed, false, &[]),
        [
            "2606:4700::1",
            "1.1.1.1",
            "2606:4700::2",
            "1.1.1.2",
            "2606:4700::3"
        ]
    );
    let mixed = ["1.1.1.1", "1.1.1.2", "2606:4700::1"];
    assert_eq!(
        tried(&mixed, false, &[]),
        ["1.1.1.1", "2606:4700::1", "1.1.1.2"]
    );
    assert_eq!(tried(&mixed, true, &[]), mixed);
}

#[test]
fn what_the_policy_does_not_allow_is_not_dialled() {
    let special = [
        "127.0.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "ff02::1",
        "2001:db8::1",
    ];
    for address in special {
        let denied = allowed(&host(), &resolved(&[address], false), &endpoint(&[]));
        assert!(
            matches!(denied, Err(DialError::Forbidden { .. })),
            "{address}"
        );
        assert_eq!(
            tried(&[address, "1.1.1.1"], false, &[]),
            ["1.1.1.1"],
            "{address}"
        );
        assert_eq!(tried(&[address], true, &[]).len(), 1, "{address}");
    }
    assert_eq!(
        tried(
            &["10.1.2.3", "10.9.9.9", "1.1.1.1"],
            false,
            &["10.1.0.0/16"]
        ),
        ["10.1.2.3"]
    );
}

#[tokio::test]
async fn an_address_that_is_silent_costs_a_quarter_of_a_second() {
    let hole = BlackHole::dig().await;
    let (_listener, open) = listening().await;
    let begun = Instant::now();
    let dialled = race(&host(), &written([hole.address, open])).await.unwrap();
    assert_eq!(dialled.stream.peer_addr().unwrap(), open);
    let took = begun.elapsed();
    assert!(took >= STAGGER && took < 4 * STAGGER, "{took:?}");
}

#[tokio::test]
async fn an_address_that_refuses_costs_nothing() {
    let (_listener, open) = listening().await;
    let begun = Instant::now();
    let addresses = written([closed().await, closed().await, open]);
    let dialled = race(&host(), &addresses).await.unwrap();
    assert_eq!(dialled.stream.peer_addr().unwrap(), open);
    assert!(begun.elapsed() < STAGGER, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_first_address_is_taken_and_no_other_is_bothered() {
    let (_first, open) = listening().await;
    let (second, other) = listening().await;
    let dialled = race(&host(), &written([open, other])).await.unwrap();
    assert_eq!(dialled.stream.peer_addr().unwrap(), open);
    let more = tokio::time::timeout(2 * STAGGER, second.accept()).await;
    assert!(more.is_err(), "the second address was dialled");
}

#[tokio::test]
async fn all_that_was_tried_is_told() {
    let (one, two) = (closed().await, closed().await);
    let error = race(&host(), &written([one])).await.unwrap_err();
    assert!(matches!(error, DialError::Connect { .. }), "{error:?}");
    let error = race(&host(), &written([one, two])).await.unwrap_err();
    let told = chain(&error);
    let expected = format!(
        "none of the addresses of {NAME} can be reached: {one} does not accept the connection: Connection refused \
         (os error 111); {two} does not accept the connection: Connection refused (os error 111)"
    );
    assert_eq!(told, expected);
}

#[tokio::test]
async fn silence_everywhere_ends_at_one_deadline() {
    let (one, two) = (BlackHole::dig().await, BlackHole::dig().await);
    tokio::time::pause();
    let begun = Instant::now();
    let addresses = written([one.address, two.address]);
    let error = race(&host(), &addresses).await.unwrap_err();
    assert_eq!(begun.elapsed().as_secs(), DEADLINE.as_secs());
    let told = chain(&error);
    for hole in [one, two] {
        let silent = format!("{} did not answer within 10 s", hole.address);
        assert!(told.contains(&silent), "{told}");
    }
}
