//! The layouts of OpenShell, with real namespaces, rules and processes. In both, a supervisor that is root, and its
//! proxy, share a cgroup with the workload.

use std::{
    io::Write as _,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use anyhow::Result;
use tests::{
    capture::Capture,
    containers,
    gateway::{Options, record::Token},
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// Serves connections at an address by what a server outside says.
const PROXY: &str = r#"
import socket, sys
server = socket.create_server((sys.argv[1], 3128))
print("listening", flush=True)
while True:
    client, _ = server.accept()
    with client, socket.create_connection(("10.231.7.1", 443), 5) as upstream:
        client.sendall(upstream.recv(64))
"#;

/// Prints what the proxy at an address says.
const CLIENT: &str = r#"
import socket, sys
with socket.create_connection((sys.argv[1], 3128), 5) as proxy:
    print(proxy.recv(64).decode())
"#;

fn python(script: &str, address: &str) -> Vec<String> {
    ["/usr/bin/python3", "-c", script, address]
        .map(str::to_owned)
        .into()
}

/// A server outside that counts who reached it.
fn serve(listener: TcpListener) -> Arc<AtomicUsize> {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&reached);
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            count.fetch_add(1, SeqCst);
            // Whoever is gone already was counted.
            if client.write_all(b"outside").is_err() {
                continue;
            }
        }
    });
    reached
}

struct Stage {
    scenario: Scenario,
    sandbox: Sandbox,
    pod: Netns,
    _outside: Netns,
    reached: Arc<AtomicUsize>,
}

impl Stage {
    /// A pod with a way out, attached before anything of it runs.
    fn new(uid: u32, proxy: &str) -> Result<Self> {
        let (pod, outside) = (Netns::new()?, Netns::new()?);
        pod.route_through(&outside)?;
        let reached = serve(outside.listen("10.231.7.1:443".parse()?)?);
        let exempt = format!(
            "exempt: {{ processes: [{{ netns: {}, uid: {uid} }}]{proxy} }}",
            pod.path().display()
        );
        let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
            configuration.setting(&exempt)
        })?;
        let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[])?;
        Ok(Self {
            scenario,
            sandbox,
            pod,
            _outside: outside,
            reached,
        })
    }

    fn supervisor(&self, uid: u32, address: &str) -> Result<Running> {
        let command = self
            .sandbox
            .command_as(uid, &self.pod, &python(PROXY, address))?;
        let proxy = Running::spawn(command)?;
        proxy.wait_for_line("listening", |line| (line == "listening").then_some(()))?;
        Ok(proxy)
    }

    /// Whether a connection of a user in a namespace goes to the daemon.
    fn is_captured(&self, uid: u32, netns: &Netns) -> Result<bool> {
        let before = self.reached.load(SeqCst);
        let connect = self.scenario.clients.probe(&["connect", "10.231.7.1:443"]);
        let command = self.sandbox.command_as(uid, netns, &connect)?;
        let connected = Running::spawn(command)?.finish()?.event("connected");
        Ok(connected.is_ok() && self.reached.load(SeqCst) == before)
    }

    /// A namespace below the pod's, whose only way leads to the supervisor.
    fn nested(&self) -> Result<Netns> {
        let nested = Netns::new()?;
        nested.join("wl0", &self.pod, "sv0")?;
        for (netns, device, address) in [
            (&nested, "wl0", "10.200.0.2/24"),
            (&self.pod, "sv0", "10.200.0.1/24"),
        ] {
            netns.ip(&["addr", "add", address, "dev", device])?;
            netns.ip(&["link", "set", device, "up"])?;
        }
        nested.ip(&["route", "add", "default", "via", "10.200.0.1"])?;
        Ok(nested)
    }
}

const PROXY_EXEMPT: &str = ", destinations: [{ address: 10.200.0.1, port: 3128 }]";

#[test]
fn combined_the_workload_is_captured_and_its_supervisor_and_the_proxy_are_not() -> Result<()> {
    let stage = Stage::new(0, PROXY_EXEMPT)?;
    let nested = stage.nested()?;
    containers::open_only(&nested, "10.200.0.1", 3128)?;
    let _proxy = stage.supervisor(0, "10.200.0.1")?;

    let proxied = stage
        .sandbox
        .run(&nested, &python(CLIENT, "10.200.0.1"))?
        .success()?;
    assert_eq!(proxied.stdout, "outside");
    assert_eq!(stage.reached.load(SeqCst), 1);

    let clients = &stage.scenario.clients;
    let capture = Capture::start(&nested)?;
    stage
        .sandbox
        .run(&nested, &clients.node())?
        .success()?
        .event("ready")?;
    assert_eq!(stage.scenario.gateway.record().tokens(), [Token::Real]);
    // The supervisor's user is nobody special in the workload's namespace, nor the workload's in the pod's.
    assert!(stage.is_captured(65534, &nested)?);
    assert!(stage.is_captured(0, &nested)?);
    assert!(stage.is_captured(65534, &stage.pod)?);
    assert!(!stage.is_captured(0, &stage.pod)?);
    let left: Vec<_> = capture
        .finish()?
        .into_iter()
        .filter(|packet| packet.device != "lo")
        .collect();
    assert_eq!(left, []);
    Ok(())
}

#[test]
fn combined_a_nested_namespace_that_did_not_come_up_opens_nothing() -> Result<()> {
    let stage = Stage::new(0, PROXY_EXEMPT)?;
    let clients = &stage.scenario.clients;
    // Its rules were not loaded.
    let nested = stage.nested()?;
    let capture = Capture::start(&nested)?;
    stage
        .sandbox
        .run(&nested, &clients.node())?
        .success()?
        .event("ready")?;
    assert!(stage.is_captured(65534, &nested)?);
    let datagram = clients.probe(&["datagram", "10.231.7.1:123"]);
    stage.sandbox.run(&nested, &datagram)?;
    stage.sandbox.run(&nested, &clients.sockets("wl0"))?;
    let left: Vec<_> = capture
        .finish()?
        .into_iter()
        .filter(|packet| packet.device != "lo")
        .collect();
    assert_eq!(left, []);
    // It was not made, and the workload is in the pod's.
    assert!(stage.is_captured(65534, &stage.pod)?);
    // It has nothing, not even a loopback device that is up.
    let bare = Netns::new()?;
    bare.ip(&["link", "set", "lo", "down"])?;
    let connect = clients.probe(&["connect", "10.231.7.1:443", "10.231.7.1:443"]);
    stage.sandbox.run(&bare, &connect)?;
    assert_eq!(stage.reached.load(SeqCst), 0);
    Ok(())
}

#[test]
fn sidecar_the_workload_is_captured_and_the_proxy_on_loopback_is_not() -> Result<()> {
    let stage = Stage::new(990, "")?;
    stage.pod.run(
        "nft",
        &["add table inet fence; \
             add chain inet fence outgoing { type filter hook output priority 0; policy drop; }; \
             add rule inet fence outgoing oifname lo accept; \
             add rule inet fence outgoing meta skuid 990 accept; \
             add rule inet fence outgoing reject"],
    )?;
    let _proxy = stage.supervisor(990, "127.0.0.1")?;
    let proxied = stage
        .sandbox
        .run(&stage.pod, &python(CLIENT, "127.0.0.1"))?
        .success()?;
    assert_eq!(proxied.stdout, "outside");
    let node = stage.scenario.clients.node();
    stage
        .sandbox
        .run(&stage.pod, &node)?
        .success()?
        .event("ready")?;
    assert_eq!(stage.scenario.gateway.record().tokens(), [Token::Real]);
    assert!(stage.is_captured(65534, &stage.pod)?);
    assert!(stage.is_captured(0, &stage.pod)?);
    Ok(())
}
