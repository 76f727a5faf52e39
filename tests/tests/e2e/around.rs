//! Sockets from before attach, processes that come and go, and descriptors that are passed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tests::{
    capture::{Capture, Packet},
    cgroup::Cgroup,
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::Scenario,
    steps::Steps,
};

/// A way out, with somebody at its end.
struct Outside {
    inside: Netns,
    outside: Netns,
    server: TcpListener,
    datagrams: UdpSocket,
}

impl Outside {
    fn new() -> Result<Self> {
        let (inside, outside) = (Netns::new()?, Netns::new()?);
        inside.route_through(&outside)?;
        let server = outside.listen("10.231.7.1:7000".parse()?)?;
        server.set_nonblocking(true)?;
        let datagrams = outside.datagrams("10.231.7.1:7001".parse()?)?;
        datagrams.set_read_timeout(Some(Duration::from_secs(1)))?;
        Ok(Self {
            inside,
            outside,
            server,
            datagrams,
        })
    }

    /// A client's connection, if there is one.
    fn accept(&self) -> Option<TcpStream> {
        let (peer, _) = self.server.accept().ok()?;
        peer.set_nonblocking(false).ok()?;
        peer.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        Some(peer)
    }

    fn receive(&self) -> Option<String> {
        let mut bytes = [0; 64];
        let length = self.datagrams.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

/// What a peer gets within a second.
fn heard(peer: &mut TcpStream) -> String {
    let mut bytes = [0; 64];
    let length = peer.read(&mut bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

const TO_SERVER: &str = "connect a 10.231.7.1 7000";

/// A connection, a listener, a UDP socket with a peer and one without.
const OLD: &[&str] = &[
    "tcp a",
    TO_SERVER,
    "tcp l",
    "listen l 10.231.7.2 7100",
    "udp u",
    "connect u 10.231.7.1 7001",
    "udp idle",
    "tcp new",
];

fn escaped(packets: Vec<Packet>) -> Vec<Packet> {
    packets.into_iter().filter(|p| p.device != "lo").collect()
}

/// A directory in which anybody may make a socket.
fn way(scenario: &Scenario) -> Result<String> {
    let path = scenario.directory().join("way");
    fs::create_dir(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    Ok(path.display().to_string())
}

fn attach(scenario: &Scenario, sandbox: &Sandbox, more: &[&str]) -> Result<String> {
    let cgroup = sandbox.cgroup().path().display().to_string();
    let mut all = vec!["attach", "--name", "demo", "--cgroup", &cgroup];
    all.extend(more);
    Ok(scenario.daemon.cli(&all)?.success()?.stdout)
}

/// A sandbox that is not one yet, with a client in it that has old sockets.
fn before(scenario: &Scenario, outside: &Outside) -> Result<(Sandbox, Steps, TcpStream)> {
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    sandbox.detach(&scenario.daemon)?;
    let mut client = Steps::inside(&sandbox, &outside.inside, &scenario.clients)?;
    client.all(OLD)?;
    let mut peer = outside.accept().context("no connection")?;
    client.all(&["send a before", "send u before"])?;
    assert_eq!(heard(&mut peer), "before");
    assert_eq!(outside.receive().as_deref(), Some("before"));
    Ok((sandbox, client, peer))
}

/// However it tries, nothing of what the client has leaves.
fn nothing_leaves(client: &mut Steps, outside: &Outside, peer: &mut TcpStream) -> Result<()> {
    let capture = Capture::start(&outside.inside)?;
    for step in [
        "send a after",
        "send u after",
        "sendto idle 10.231.7.1 7001 after",
        "forget u",
        "sendto u 10.231.7.1 7001 after",
        "connect u 10.231.7.1 7001",
        "send u after",
        "connect new 10.231.7.1 7000",
        "forget a",
        TO_SERVER,
        "send a after",
    ] {
        let _outcome = client.step(step)?;
    }
    assert_eq!(heard(peer), "");
    assert_eq!(outside.receive(), None);
    assert!(outside.accept().is_none(), "a new connection came through");
    assert_eq!(escaped(capture.finish()?), []);
    Ok(())
}

#[test]
fn sockets_from_before_attach_are_listed_and_of_no_use_any_more() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let (sandbox, mut client, mut peer) = before(&scenario, &outside)?;
    let listed = attach(&scenario, &sandbox, &[])?;
    for expected in [
        format!("to 10.231.7.1:7000 of process {} (python3)", client.pid()),
        format!(
            "tcp socket listening on 10.231.7.2:7100 of process {}",
            client.pid()
        ),
        "to 10.231.7.1:7001 of process".to_owned(),
    ] {
        let found = listed
            .lines()
            .any(|line| line.starts_with("destroyed: ") && line.contains(&expected));
        assert!(found, "{expected} is not in {listed}");
    }
    assert!(client.step("accept l b")?.is_err());
    nothing_leaves(&mut client, &outside, &mut peer)?;

    let stats = scenario.daemon.json(&["stats"])?;
    let denials = stats["denials"].as_array().context("denials")?;
    let found = denials.iter().find(|denial| {
        denial["reason"] == "existing_socket" && denial["destination"] == "10.231.7.1:7000"
    });
    assert_eq!(found.context("no event")?["pid"], client.pid());
    // What is made from now on is served.
    client.all(&["tcp c", "connect c 192.0.2.1 443"])?;
    Ok(())
}

#[test]
fn sockets_that_are_kept_serve_their_peers_and_no_others() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let (sandbox, mut client, mut peer) = before(&scenario, &outside)?;
    let listed = attach(&scenario, &sandbox, &["--keep-existing"])?;
    assert!(listed.contains("kept: tcp socket 10.231.7.2:"), "{listed}");
    assert!(!listed.contains("destroyed"), "{listed}");

    client.all(&["send a after", "send u after"])?;
    assert_eq!(heard(&mut peer), "after");
    assert_eq!(outside.receive().as_deref(), Some("after"));
    // The listener answers whoever comes, and what it accepts is an inbound connection.
    let connect = scenario
        .clients
        .probe(&["connect", "--hold", "10.231.7.2:7100"]);
    let mut command = outside.outside.command(&connect[0]);
    command.args(&connect[1..]);
    let visitor = Running::spawn(command)?;
    assert_eq!(client.all(&["accept l b"])?, "10.231.7.1");
    visitor.wait_for_event("connected")?;
    client.all(&["send b welcome"])?;

    // Another peer is none that they had.
    for step in ["forget a", "forget b", "forget u"] {
        let _outcome = client.step(step)?;
    }
    for step in [
        TO_SERVER,
        "connect b 10.231.7.1 7000",
        "connect u 10.231.7.1 7001",
        "sendto idle 10.231.7.1 7001 after",
    ] {
        assert_eq!(client.step(step)?, Err("EPERM".to_owned()), "{step}");
    }
    let sandboxes = scenario.daemon.json(&["sandboxes"])?;
    let kept = sandboxes[0]["sockets"].as_array().context("sockets")?;
    assert!(
        kept.iter().all(|socket| socket["fate"] == "kept"),
        "{sandboxes}"
    );
    assert!(sandboxes[0]["warnings"].to_string().contains("is kept"));
    Ok(())
}

#[test]
fn a_process_that_is_moved_in_loses_the_sockets_that_it_brings() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let mut client = Steps::outside(&outside.inside, &scenario.clients)?;
    client.all(OLD)?;
    let mut peer = outside.accept().context("no connection")?;
    client.all(&["send a before"])?;
    assert_eq!(heard(&mut peer), "before");
    // One that goes nowhere but by this device.
    client.all(&["tcp d", "device d out0", "connect d 10.231.7.1 7000"])?;
    let mut bound = outside.accept().context("no connection")?;
    client.all(&["tcp e", "device e out0"])?;

    fs::write(sandbox.cgroup().procs(), client.pid().to_string())?;
    scenario.daemon.wait_for_log(&[
        "reason=\"moved_socket\"",
        "destroyed: tcp socket",
        "to 10.231.7.1:7000",
    ])?;
    scenario
        .daemon
        .wait_for_log(&["moved_socket", "destroyed: udp socket", ":7001"])?;
    for step in ["send d after", "connect e 10.231.7.1 7000", "device d out0"] {
        assert!(client.step(step)?.is_err(), "{step}");
    }
    assert_eq!(heard(&mut bound), "");
    nothing_leaves(&mut client, &outside, &mut peer)?;
    client.all(&["tcp c", "connect c 192.0.2.1 443"])?;
    Ok(())
}

#[test]
fn what_a_process_has_made_in_a_sandbox_stays_captured_wherever_it_goes() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let mut client = Steps::inside(&sandbox, &outside.inside, &scenario.clients)?;
    client.all(&["tcp a", "tcp new", "udp u"])?;
    let elsewhere = Cgroup::new()?;
    fs::write(elsewhere.procs(), client.pid().to_string())?;
    client.all(&[TO_SERVER])?;
    assert!(client.step("sendto u 10.231.7.1 7001 after")?.is_err());
    assert!(outside.accept().is_none());
    assert_eq!(scenario.daemon.connections()?.len(), 1);

    // The same for one that is given away.
    let mut stranger = Steps::outside(&outside.inside, &scenario.clients)?;
    let path = way(&scenario)?;
    stranger.all(&[&format!("await_hand {path}/s")])?;
    client.all(&[&format!("hand new {path}/s")])?;
    stranger.all(&[&format!("take a {path}/s"), TO_SERVER])?;
    assert!(outside.accept().is_none());
    assert_eq!(scenario.daemon.connections()?.len(), 2);
    // Only what is made elsewhere is out.
    client.all(&["tcp b", "connect b 10.231.7.1 7000"])?;
    assert!(outside.accept().is_some());
    Ok(())
}

#[test]
fn a_socket_that_is_passed_into_a_sandbox_is_cut_off() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let mut stranger = Steps::outside(&outside.inside, &scenario.clients)?;
    stranger.all(&["tcp a", TO_SERVER])?;
    let mut peer = outside.accept().context("no connection")?;
    let mut client = Steps::inside(&sandbox, &outside.inside, &scenario.clients)?;
    let path = way(&scenario)?;
    client.all(&[&format!("await_hand {path}/s")])?;
    stranger.all(&[&format!("hand a {path}/s"), "close a"])?;
    client.all(&[&format!("take a {path}/s")])?;
    scenario
        .daemon
        .wait_for_log(&["moved_socket", "to 10.231.7.1:7000"])?;
    let _sent = peer.write_all(b"question");
    assert!(!matches!(client.step("receive a")?, Ok(text) if text == "question"));
    let _outcome = client.step("forget a")?;
    assert!(client.step(TO_SERVER)?.is_err());
    assert!(outside.accept().is_none());
    Ok(())
}

#[test]
fn threads_children_and_cgroups_below_are_captured_whenever_they_are_made() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let mut client = Steps::inside(&sandbox, &outside.inside, &scenario.clients)?;
    client.all(&["thread a 10.231.7.1 7000", "fork b 10.231.7.1 7000"])?;
    let below = sandbox.cgroup().path().join("below/further");
    fs::create_dir_all(&below)?;
    fs::write(below.join("cgroup.procs"), client.pid().to_string())?;
    client.all(&[
        "tcp c",
        "connect c 10.231.7.1 7000",
        "thread d 10.231.7.1 7000",
    ])?;
    assert!(outside.accept().is_none());
    assert_eq!(scenario.daemon.connections()?.len(), 4);
    Ok(())
}
