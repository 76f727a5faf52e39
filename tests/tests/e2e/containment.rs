//! Nothing leaves a sandbox but through the daemon, and nobody else is touched.

use anyhow::Result;
use tests::{
    capture::{Capture, Packet},
    clients::PLACEHOLDER,
    gateway::{Gateway, Options, record::Token},
    netns::Netns,
    process::Running,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// The other end of a sandbox's way out, with a server that is not to be reached.
struct Outside {
    /// The sandbox's.
    inside: Netns,
    _outside: Netns,
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
            _outside: outside,
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
