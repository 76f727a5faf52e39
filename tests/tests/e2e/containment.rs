//! Nothing leaves a sandbox but through the daemon, and nobody else is touched.

use std::{
    io::{ErrorKind, Read as _},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tests::{
    capture::{Capture, Packet},
    clients::PLACEHOLDER,
    gateway::{Gateway, Options, record::Token},
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN, discord},
};

/// The other end of a sandbox's way out, with a server that is not to be reached.
struct Outside {
    /// The sandbox's.
    inside: Netns,
    outside: Netns,
    server: Gateway,
}

const SERVER: &str = "10.231.7.1:443";
const SERVER_V6: &str = "[fd00:231:7::1]:443";

impl Outside {
    fn new() -> Result<Self> {
        let (inside, outside) = (Netns::new()?, Netns::new()?);
        inside.route_through(&outside)?;
        let server = Gateway::start_on(Options::new(TOKEN), outside.listen(SERVER.parse()?)?)?;
        server.listen(outside.listen(SERVER_V6.parse()?)?)?;
        Ok(Self {
            inside,
            outside,
            server,
        })
    }

    /// How many connections have reached the server since the last call. A connection that is closed without a
    /// handshake is recorded as failed.
    fn reached(&self) -> usize {
        let seen = self.server.record().look(<[_]>::len);
        self.server.record().clear();
        seen
    }

    fn wait_until_reached(&self) -> Result<()> {
        self.server
            .record()
            .wait_for("a connection", |seen| (!seen.is_empty()).then_some(()))?;
        self.server.record().clear();
        Ok(())
    }
}

fn not_on_lo(packets: Vec<Packet>) -> Vec<Packet> {
    packets.into_iter().filter(|p| p.device != "lo").collect()
}

#[test]
fn a_process_outside_is_not_touched_and_detach_restores() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let connect = scenario.clients.probe(&["connect", SERVER]);
    let from_outside = |expected: &str| -> Result<()> {
        let mut command = outside.inside.command(&connect[0]);
        command.args(&connect[1..]);
        Running::spawn(command)?.finish()?.event(expected)?;
        Ok(())
    };
    // Positive control: without a sandbox the server is reached.
    from_outside("connected")?;
    outside.wait_until_reached()?;

    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    sandbox.run(&outside.inside, &connect)?.event("connected")?;
    assert_eq!(scenario.daemon.connections()?.len(), 1);
    assert_eq!(outside.reached(), 0, "the sandbox reached the server");

    // The same namespace, another cgroup.
    from_outside("connected")?;
    outside.wait_until_reached()?;
    assert_eq!(scenario.daemon.connections()?.len(), 1);

    sandbox.detach(&scenario.daemon)?;
    sandbox.run(&outside.inside, &connect)?.event("connected")?;
    outside.wait_until_reached()?;
    assert_eq!(scenario.daemon.connections()?.len(), 1);

    sandbox.attach_again(&scenario.daemon)?;
    sandbox.run(&outside.inside, &connect)?.event("connected")?;
    assert_eq!(scenario.daemon.connections()?.len(), 2);
    assert_eq!(outside.reached(), 0, "the sandbox reached the server");
    Ok(())
}

#[test]
fn no_packet_of_a_sandbox_is_seen_on_any_device_but_lo() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let clients = &scenario.clients;
    let attempts = [
        clients.probe(&[
            "connect",
            SERVER,
            SERVER_V6,
            "10.231.7.1:80",
            "[::ffff:10.231.7.1]:22",
        ]),
        clients.probe(&["datagram", "10.231.7.1:9"]),
        clients.probe(&["datagram", "[fd00:231:7::1]:9"]),
        clients.probe(&["datagram", "224.0.0.251:5353"]),
        clients.node(),
        clients.rust(),
    ];

    // Positive control: without a sandbox the capture sees datagrams leave.
    let capture = Capture::start(&outside.inside)?;
    let mut command = outside.inside.command(&attempts[1][0]);
    command.args(&attempts[1][1..]);
    Running::spawn(command)?.finish()?.success()?;
    assert!(!not_on_lo(capture.finish()?).is_empty());

    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let capture = Capture::start(&outside.inside)?;
    for attempt in &attempts {
        sandbox.run(&outside.inside, attempt)?;
    }
    let packets = capture.finish()?;
    assert!(
        packets.iter().any(|packet| packet.device == "lo"),
        "nothing was captured"
    );
    assert_eq!(not_on_lo(packets), []);
    assert_eq!(outside.reached(), 0);
    assert!(scenario.gateway.record().tokens().contains(&Token::Real));
    Ok(())
}

#[test]
fn datagrams_that_are_not_dns_are_refused_and_reported() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    for address in [
        "192.0.2.1:443",
        "[2001:db8::1]:443",
        "[::ffff:192.0.2.1]:443",
    ] {
        let datagram = scenario.clients.probe(&["datagram", address]);
        let events = sandbox.run(&netns, &datagram)?.success()?.events();
        let unconnected = events.iter().find(|event| event["socket"] == "unconnected");
        assert_eq!(
            unconnected.map(|event| &event["event"]),
            Some(&"refused".into()),
            "{events:?}"
        );
    }
    let stats = scenario.daemon.json(&["stats"])?;
    let denials = stats["denials"].to_string();
    assert!(denials.contains("192.0.2.1:443"), "{denials}");
    assert!(denials.contains("[2001:db8::1]:443"), "{denials}");
    Ok(())
}

#[test]
fn every_way_to_send_a_datagram_fails_at_once() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    for host in ["10.231.7.1", "fd00:231:7::1", "::ffff:10.231.7.1"] {
        let send = scenario.clients.datagrams("send", host, 443);
        let finished = sandbox.run(&outside.inside, &send)?.success()?;
        let events = finished.events();
        assert_eq!(events.len(), 8, "{}", finished.stdout);
        for event in events {
            assert_eq!(event["error"], "EPERM", "{host}: {event}");
            let milliseconds = event["milliseconds"].as_u64();
            assert!(milliseconds.is_some_and(|ms| ms < 1000), "{host}: {event}");
        }
    }
    let stats = scenario.daemon.json(&["stats"])?;
    assert!(
        stats["denials"].to_string().contains("\"datagram\""),
        "{stats}"
    );
    Ok(())
}

#[test]
fn what_speaks_quic_goes_on_over_tcp() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let client = scenario.clients.datagrams("fall-back", "10.231.7.1", 443);
    let event = sandbox.run(&outside.inside, &client)?.event("over_tcp")?;
    assert_eq!(event["error"], "EPERM");
    assert!(
        event["milliseconds"].as_u64().is_some_and(|ms| ms < 1000),
        "{event}"
    );
    assert_eq!(scenario.daemon.connections()?.len(), 1);
    assert_eq!(outside.reached(), 0, "the sandbox reached the server");
    Ok(())
}

#[test]
fn datagrams_and_connections_that_are_exempt_leave_by_the_sandboxs_own_route() -> Result<()> {
    let scenario = Scenario::with(Options::new(TOKEN), |configuration, _| {
        configuration
            .setting("udp: [{ address: 10.231.7.1, port: 123 }, { address: \"fd00:231:7::1\", port: 123 }]")
            .setting("exempt: { destinations: [{ address: 10.231.7.1, port: 443 }] }")
    })?;
    let outside = Outside::new()?;
    let clients = &scenario.clients;
    let mut servers = Vec::new();
    for host in ["10.231.7.1", "fd00:231:7::1"] {
        let serve = clients.datagrams("serve", host, 123);
        let mut command = outside.outside.command(&serve[0]);
        command.args(&serve[1..]);
        let server = Running::spawn(command)?;
        server.wait_for_event("serving")?;
        servers.push(server);
    }
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    for host in ["10.231.7.1", "fd00:231:7::1", "::ffff:10.231.7.1"] {
        let ask = clients.datagrams("ask", host, 123);
        let answer = sandbox.run(&outside.inside, &ask)?.event("answer")?;
        assert_eq!(answer["peer"], host);
        let send = clients.datagrams("send", host, 123);
        for event in sandbox.run(&outside.inside, &send)?.success()?.events() {
            let refused = event["way"] == "elsewhere";
            let error = if refused {
                "EPERM".into()
            } else {
                serde_json::Value::Null
            };
            assert_eq!(event["error"], error, "{host}: {event}");
        }
        let other = clients.datagrams("send", host, 124);
        for event in sandbox.run(&outside.inside, &other)?.success()?.events() {
            assert_eq!(event["error"], "EPERM", "{host}: {event}");
        }
    }

    let connect = clients.probe(&["connect", SERVER]);
    sandbox.run(&outside.inside, &connect)?.event("connected")?;
    outside.wait_until_reached()?;
    assert_eq!(scenario.daemon.connections()?.len(), 0);
    // Another port there, and the same port by another address.
    let others = clients.probe(&["connect", "10.231.7.1:80", SERVER_V6]);
    sandbox.run(&outside.inside, &others)?.event("connected")?;
    assert_eq!(scenario.daemon.connections()?.len(), 2);
    assert_eq!(outside.reached(), 0, "the sandbox reached the server");
    let listed = scenario.daemon.json(&["sandboxes"])?;
    // What is exempt passes the fence on devices too.
    assert_eq!(listed[0]["netns"][0]["fenced"], true, "{listed}");
    let exempt = listed[0]["exemptions"].to_string();
    for what in [
        "TCP to 10.231.7.1:443",
        "UDP to 10.231.7.1:123",
        "UDP to [fd00:231:7::1]:123",
    ] {
        assert!(exempt.contains(what), "{exempt}");
    }

    // Reload changes it for the next datagram, and the next connect.
    discord(&scenario.gateway).write(scenario.directory())?;
    scenario.daemon.cli(&["reload"])?.success()?;
    let send = clients.datagrams("send", "10.231.7.1", 123);
    for event in sandbox.run(&outside.inside, &send)?.success()?.events() {
        assert_eq!(event["error"], "EPERM", "{event}");
    }
    sandbox.run(&outside.inside, &connect)?.event("connected")?;
    assert_eq!(outside.reached(), 0, "the sandbox reached the server");
    Ok(())
}

#[test]
fn an_attackers_address_under_an_allowed_name_reaches_only_the_real_host() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let header = format!("--header=Authorization: Bot {PLACEHOLDER}");
    for attacker in [SERVER, SERVER_V6] {
        scenario.gateway.record().clear();
        let address = format!("--address={attacker}");
        let request = [
            "request",
            "discord.com",
            "/api/v10/users/@me",
            &header,
            &address,
        ];
        let answer = sandbox.run(&outside.inside, &scenario.clients.probe(&request))?;
        assert_eq!(answer.event("answer")?["status"], 200);
        assert_eq!(scenario.gateway.record().tokens(), [Token::Real]);
        assert_eq!(outside.reached(), 0);
    }
    Ok(())
}

#[test]
fn sockets_that_are_neither_tcp_nor_udp_and_ways_round_lo_are_refused() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    let finished = sandbox.run(&outside.inside, &scenario.clients.sockets("out0"))?;
    let finished = finished.success()?;
    for event in finished.events() {
        let errors = match event["event"].as_str() {
            Some("mptcp") => ["EPROTONOSUPPORT"].as_slice(),
            // Whoever refuses first.
            Some("raw" | "icmp") => &["EPERM", "EACCES", "EPROTONOSUPPORT"],
            _ => &["EPERM"],
        };
        let error = event["error"].as_str().unwrap_or_default();
        assert!(errors.contains(&error), "{event}");
    }
    assert_eq!(finished.events().len(), 6, "{}", finished.stdout);
    Ok(())
}

#[test]
fn a_connection_from_before_attach_carries_nothing_any_more() -> Result<()> {
    let scenario = Scenario::discord()?;
    let outside = Outside::new()?;
    let listener = outside.outside.listen("10.231.7.1:7000".parse()?)?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&outside.inside])?;
    sandbox.detach(&scenario.daemon)?;

    let mut client = sandbox.spawn(
        &outside.inside,
        &scenario.clients.talker("10.231.7.1", 7000),
    )?;
    let (mut server, _) = listener.accept()?;
    server.set_read_timeout(Some(Duration::from_secs(1)))?;
    client.write(b"before\n")?;
    let mut bytes = [0; 16];
    let count = server.read(&mut bytes)?;
    assert_eq!(bytes[..count], *b"before\n");

    sandbox.attach_again(&scenario.daemon)?;
    // The client may have been told already.
    if client.write(b"after\n").is_err() {
        client.close_stdin();
    }
    match server.read(&mut bytes) {
        Ok(count) => assert_eq!(count, 0, "bytes came through"),
        Err(error) => assert!(
            matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset
            ),
            "{error}"
        ),
    }
    Ok(())
}

#[test]
fn a_listener_serves_nobody_but_its_sandbox() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let _sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    let sandboxes = scenario.daemon.json(&["sandboxes"])?;
    let port = sandboxes[0]["netns"][0]["port"]
        .as_u64()
        .context("no port")?;
    // A process in the same namespace that is not in the sandbox.
    let address = format!("--address=127.0.0.1:{port}");
    let header = format!("--header=Authorization: Bot {PLACEHOLDER}");
    let request = [
        "request",
        "discord.com",
        "/api/v10/users/@me",
        &header,
        &address,
    ];
    let probe = scenario.clients.probe(&request);
    let mut command = netns.command(&probe[0]);
    command.args(&probe[1..]).envs(scenario.daemon.trust());
    Running::spawn(command)?.finish()?.event("failed")?;
    assert_eq!(scenario.gateway.record().tokens(), []);
    Ok(())
}
