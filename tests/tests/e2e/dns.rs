//! Names resolve in a namespace without a resolver, and only names that policy knows.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use serde_json::Value;
use tests::{
    configuration::Configuration,
    gateway::Options,
    nameserver::{A, AAAA, HTTPS, NameServer, PTR, SRV, TXT},
    netns::Netns,
    sandbox::Sandbox,
    scenario::{Scenario, TOKEN},
};

/// RFC 1035 §4.1.1.
const NOERROR: u8 = 0;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;

/// New names under a wildcard that are looked up in a minute.
const NAMES: usize = 60;

const POLICY: &str = "\
version: 1
network_policies:
  names:
    name: names
    endpoints:
      - { host: api.names.example, port: 443, protocol: rest, access: full, enforcement: enforce }
      - { host: '*.wild.example', port: 443, protocol: rest, access: full, enforcement: enforce }
";

#[test]
fn node_glibc_and_musl_resolve_known_names_and_no_others() -> Result<()> {
    let scenario = Scenario::discord()?;
    let clients = &scenario.clients;
    for netns in [Netns::new()?, Netns::without_ipv6()?] {
        let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
        for resolver in ["node", "cc", "musl-gcc"] {
            let command = |name| match resolver {
                "node" => Ok(clients.resolve_with_node(name)),
                compiler => clients.resolve_with_c(compiler, name),
            };
            let known = sandbox.run(&netns, &command("gateway.discord.gg")?)?;
            known.event("resolved")?;
            let unknown = sandbox.run(&netns, &command("exfiltrated.evil.example")?)?;
            let unknown = unknown.event("unresolved")?;
            let error = unknown["error"].as_str().unwrap_or_default();
            assert!(
                ["ENOTFOUND", "EAI_NONAME"].contains(&error),
                "{resolver}: {unknown}"
            );
        }
        sandbox.detach(&scenario.daemon)?;
    }
    Ok(())
}

#[test]
fn every_way_to_ask_a_resolver_is_answered_by_policy() -> Result<()> {
    let scenario = Scenario::discord()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "demo", &[&netns])?;
    for server in [
        "192.0.2.53:53",
        "127.0.0.53:53",
        "127.0.0.11:53",
        "[::1]:53",
        "[2001:db8::53]:53",
        "[::ffff:192.0.2.53]:53",
    ] {
        for way in [&[][..], &["--unconnected"], &["--tcp"], &["--aaaa"]] {
            for (name, code) in [("discord.com", NOERROR), ("evil.example", NXDOMAIN)] {
                let mut ask = vec!["dns", server, name];
                ask.extend(way);
                let finished = sandbox.run(&netns, &scenario.clients.probe(&ask))?;
                let answer = finished.event("answer")?;
                assert_eq!(answer["code"], code, "{ask:?}: {answer}");
                assert_eq!(answer["from"], server, "{ask:?}");
            }
        }
    }
    Ok(())
}

/// A sandbox `names` for [`POLICY`], with a name server that knows both of its hosts, and one that it does not know.
fn named() -> Result<(Scenario, NameServer)> {
    let here: IpAddr = Ipv4Addr::new(127, 0, 0, 9).into();
    let server = NameServer::start(&[
        ("api.names.example", here),
        ("*.wild.example", here),
        ("evil.example", here),
    ])?;
    let address = server.address();
    let scenario = Scenario::with(Options::new(TOKEN), |configuration: Configuration, _| {
        configuration
            .sandbox("names", POLICY, &[])
            .name_server(address)
    })?;
    Ok((scenario, server))
}

fn asked(names: &[(&str, u16)]) -> Vec<(String, u16)> {
    let names = names.iter().map(|(name, kind)| ((*name).into(), *kind));
    names.collect()
}

fn denied(scenario: &Scenario, reason: &str) -> Result<u64> {
    let stats = scenario.daemon.json(&["stats"])?;
    let count = stats.pointer(&format!("/overall/denied/{reason}"));
    Ok(count.and_then(Value::as_u64).unwrap_or_default())
}

#[test]
fn only_addresses_of_known_names_are_looked_up() -> Result<()> {
    let (scenario, server) = named()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "names", &[&netns])?;
    let ask = |name: &str, kind: u16| {
        let kind = kind.to_string();
        let probe = ["dns", "192.0.2.53:53", name, "--kind", &kind];
        let finished = sandbox.run(&netns, &scenario.clients.probe(&probe))?;
        finished.event("answer")
    };
    let known = [("api.names.example", A), ("api.names.example", AAAA)];
    for (name, kind, code, count, looked_up) in [
        ("api.names.example", A, NOERROR, 1, &known[..]),
        ("api.names.example", AAAA, NOERROR, 0, &[]),
        ("api.names.example", HTTPS, NOERROR, 0, &[]),
        ("api.names.example", TXT, NOERROR, 0, &[]),
        ("payload.evil.example", TXT, NXDOMAIN, 0, &[]),
        ("evil.example", A, NXDOMAIN, 0, &[]),
        ("evil.example", HTTPS, NXDOMAIN, 0, &[]),
        ("_payload._tcp.evil.example", SRV, NXDOMAIN, 0, &[]),
        ("9.0.0.127.in-addr.arpa", PTR, NXDOMAIN, 0, &[]),
        (
            "_xmpp._tcp.api.names.example",
            SRV,
            NXDOMAIN,
            0,
            &[("_xmpp._tcp.api.names.example", SRV)],
        ),
    ] {
        let answer = ask(name, kind)?;
        assert_eq!(answer["code"], code, "{name} {kind}: {answer}");
        assert_eq!(answer["answers"], count, "{name} {kind}: {answer}");
        assert_eq!(server.take(), asked(looked_up), "{name} {kind}");
    }
    assert_eq!(denied(&scenario, "dns_type")?, 2);
    assert_eq!(denied(&scenario, "dns")?, 4);
    Ok(())
}

#[test]
fn wildcard_is_no_way_out_for_data() -> Result<()> {
    let (scenario, server) = named()?;
    let netns = Netns::new()?;
    let sandbox = Sandbox::attach(&scenario.daemon, "names", &[&netns])?;
    let ask = |name: &str| {
        let probe = ["dns", "192.0.2.53:53", name];
        let finished = sandbox.run(&netns, &scenario.clients.probe(&probe))?;
        finished.event("answer")
    };
    let data = "4a6f686e20446f6520736563726574206b6579206d6174657269616c21";
    assert_eq!(ask(&format!("{data}.wild.example"))?["code"], NXDOMAIN);
    assert!(server.take().is_empty());
    for number in 0..NAMES {
        let answer = ask(&format!("h{number}.wild.example"))?;
        assert_eq!(answer["code"], NOERROR, "{number}");
    }
    assert_eq!(server.take().len(), 2 * NAMES);
    assert_eq!(ask("h60.wild.example")?["code"], REFUSED);
    assert_eq!(ask("h0.wild.example")?["code"], NOERROR);
    assert_eq!(ask("api.names.example")?["code"], NOERROR);
    // Neither does a connection that names a host which was never asked for.
    let request = [
        "request",
        "h61.wild.example",
        "/",
        "--address",
        "192.0.2.1:443",
    ];
    drop(sandbox.run(&netns, &scenario.clients.probe(&request))?);
    assert_eq!(
        server.take(),
        asked(&[("api.names.example", A), ("api.names.example", AAAA)])
    );
    assert_eq!(denied(&scenario, "dns_name_length")?, 1);
    assert_eq!(denied(&scenario, "dns_rate")?, 2);
    Ok(())
}
